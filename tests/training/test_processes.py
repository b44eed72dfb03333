"""Several processes against one: the same loss and the same gradient of every weight."""

import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import BertConfig

from modeling_ecgclip import (
    EcgClipConfig,
    EcgClipModel,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
)
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, Label
from modeling_ecgclip.signal_ecgclip import SignalSpec
from tests.two_processes import run_two
from training.augmentation import SignalInput
from training.classification import ClassificationTask
from training.contrastive import ContrastiveTask
from training.data import StepPlan
from training.feed import ExamFeed
from training.targets import MultiClass, MultiLabel, Regression


N_EXAMS, TEXT_WIDTH = 12, 16
FLOAT32_TOLERANCE, BF16_TOLERANCE = 1e-5, 0.03
# n_exams below the batch: the last step of an epoch, uneven over the processes.
CONTRASTIVE = {
    "paired": {},
    "same_report": {"positives": "same_report"},
    "uneven": {"positives": "same_report", "n_exams": 11},
    "accumulated": {"positives": "same_report", "passes": 2},
    "uneven_accumulated": {"n_exams": 11, "passes": 2},
    "siglip": {"loss": "siglip"},
    "siglip_accumulated": {"loss": "siglip", "positives": "same_report", "n_exams": 11, "passes": 2},
    "measured": {"measurement_weight": 4.0, "n_exams": 11},
    "measured_accumulated": {"measurement_weight": 4.0, "n_exams": 11, "passes": 2},
    "bf16": {"positives": "same_report", "n_exams": 11, "bf16": True},
}
CLASSIFICATION = {
    "labels": {},
    "labels_uneven": {"n_exams": 11},
    "labels_accumulated": {"n_exams": 11, "passes": 2},
    "one_label": {"kind": "multi_class", "n_exams": 11, "passes": 2},
    "numbers": {"kind": "regression", "n_exams": 11, "passes": 2},
}


def in_evaluation(accelerator, model):
    """BatchNorm with fixed statistics: of a batch, they differ by process."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) / 10)
            module.running_var.copy_(1 + torch.rand(module.running_var.shape, generator=generator))
    return accelerator.prepare(model).eval()


def feed_of(accelerator):
    return ExamFeed(accelerator, SignalInput(EcgFeatureExtractor(), SignalSpec()), eval_batch_size=8)


def contrastive_task(accelerator, positives="paired", loss="clip", measurement_weight=0.0):
    torch.manual_seed(0)
    text = BertConfig(hidden_size=TEXT_WIDTH, num_hidden_layers=1, num_attention_heads=1, vocab_size=10)
    start = {"logit_bias_init_value": -10.0} if loss == "siglip" else {}
    ecg = EcgResNetConfig.from_preset("tiny", dropout=0.0)
    config = EcgClipConfig(
        ecg_config=ecg.to_dict(), text_config=text.to_dict(), text_projection="linear", projection_dim=8, **start
    )
    if measurement_weight:
        config.measurement_names = ["heart_rate_bpm", "r_mv_V5"]
    model = EcgClipModel(config)
    if measurement_weight:
        model.set_measurement_units_(np.array([70.0, 1.0]), np.array([15.0, 0.5]))
    model.text_model.requires_grad_(False)
    return ContrastiveTask(
        feed_of(accelerator),
        in_evaluation(accelerator, model),
        None,
        None,
        positives,
        measurement_weight=measurement_weight,
    )


def targets_of_kind(kind):
    if kind == "multi_class":
        return MultiClass(CODE_LABELS)
    if kind == "regression":
        targets = Regression([Label("age"), Label("potassium")])
        targets.learn_from(labels_of_kind(kind).numpy(), allow_one_sided=False)
        return targets
    targets = MultiLabel(CODE_LABELS)
    targets.pos_weight = torch.full((6,), 3.0)
    return targets


def labels_of_kind(kind):
    """Of N_EXAMS exams; some are unknown, and not equally many in each half."""
    generator = torch.Generator().manual_seed(3)
    if kind == "multi_class":
        labels = torch.eye(6, dtype=torch.int8)[torch.randint(0, 6, (N_EXAMS,), generator=generator)]
        labels[[0, 1, 7]] = -1
        return labels
    if kind == "regression":
        numbers = torch.randn(N_EXAMS, 2, generator=generator) * torch.tensor([15.0, 0.5]) + torch.tensor([60.0, 4.0])
        numbers[[0, 1, 7], 0] = torch.nan
        return numbers
    return None


def classification_task(accelerator, kind="multi_label"):
    torch.manual_seed(0)
    targets = targets_of_kind(kind)
    config = EcgResNetConfig.from_preset("tiny", dropout=0.0)
    targets.describe(config)
    module = in_evaluation(accelerator, EcgResNetForSignalClassification(config))
    return ClassificationTask(feed_of(accelerator), module, None, None, targets)


def batches_of(accelerator, n_exams, passes, kind=None):
    generator = torch.Generator().manual_seed(2)
    exams = {
        "ecg": torch.randint(-1000, 1000, (N_EXAMS, 12, 4096), generator=generator, dtype=torch.int16),
        "labels": torch.randint(-1, 2, (N_EXAMS, 6), generator=generator, dtype=torch.int8),
        "report_ids": torch.randint(0, 4, (N_EXAMS,), generator=generator),
        "text_embeds": torch.randn(N_EXAMS, TEXT_WIDTH, generator=generator),
        "measurements": labels_of_kind("regression") + torch.tensor([10.0, -3.0]),  # some unknown, in one half more
    }
    if labels_of_kind(kind) is not None:
        exams["labels"] = labels_of_kind(kind)
    world = accelerator.num_processes
    plan = StepPlan(n_exams, N_EXAMS // (passes * world), passes, world)
    batches = [
        {name: column[torch.tensor(indices)] for name, column in exams.items()}
        for indices in plan.batches(accelerator.process_index, 0, 1)
    ]
    return batches, plan.rows(0)


def run_case(accelerator, name):
    """Returns the loss of the whole batch, and the gradient of every weight that is trained."""
    case = dict(CONTRASTIVE.get(name) or CLASSIFICATION.get(name) or {})
    n_exams, passes, bf16 = case.pop("n_exams", N_EXAMS), case.pop("passes", 1), case.pop("bf16", False)
    task = contrastive_task(accelerator, **case) if name in CONTRASTIVE else classification_task(accelerator, **case)
    with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
        loss = task.backward(*batches_of(accelerator, n_exams, passes, case.get("kind")))
    results = {"loss": accelerator.reduce(loss, reduction="mean")}
    for weight, parameter in task.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, weight
            results[weight] = parameter.grad.clone()
    return results


def _worker(rank, port, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    for name in [*CONTRASTIVE, *CLASSIFICATION]:
        results = run_case(accelerator, name)
        if rank == 0:
            torch.save(results, f"{folder}/{name}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """Folder with the results of two processes."""
    return run_two(_worker, tmp_path_factory.mktemp("two"))


def largest_difference(found, expected):
    assert found.keys() == expected.keys() and len(found) > 20
    return max(((found[name] - expected[name]).abs().max() / expected[name].abs().max()).item() for name in expected)


@pytest.mark.parametrize("name", [*CONTRASTIVE, *CLASSIFICATION])
def test_two_processes_give_the_loss_and_every_gradient_of_one(name, of_two):
    expected = run_case(Accelerator(cpu=True), name)
    difference = largest_difference(torch.load(of_two / f"{name}.pt", weights_only=True), expected)
    print(f"{name}: largest relative difference {difference:.1e}")
    assert difference < (BF16_TOLERANCE if name == "bf16" else FLOAT32_TOLERANCE)
    assert all(np.isfinite(value.numpy()).all() for value in expected.values())


@pytest.mark.parametrize("name", ["paired", "same_report", "siglip"])
def test_accumulation_gives_the_gradient_of_one_large_batch(name):
    accelerator = Accelerator(cpu=True)
    task = contrastive_task(accelerator, **CONTRASTIVE[name])
    loss = task.backward(*batches_of(accelerator, N_EXAMS, passes=3))
    found = {"loss": loss} | {n: p.grad for n, p in task.model.named_parameters() if p.requires_grad}
    assert largest_difference(found, run_case(accelerator, name)) < FLOAT32_TOLERANCE


@pytest.mark.parametrize("kind", ["multi_label", "multi_class", "regression"])
def test_accumulation_gives_the_gradient_of_one_mean_over_what_is_known(kind):
    accelerator = Accelerator(cpu=True)
    results = []
    for passes in (1, 3):
        task = classification_task(accelerator, kind)
        loss = task.backward(*batches_of(accelerator, N_EXAMS, passes, kind))
        results.append({"loss": loss} | {n: p.grad for n, p in task.model.named_parameters()})
    assert largest_difference(results[1], results[0]) < FLOAT32_TOLERANCE
