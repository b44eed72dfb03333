import json

import pytest
import torch
from safetensors.torch import load_file

import train_cls
from modeling_ecgclip import EcgResNetConfig, EcgResNetForSignalClassification
from training.arguments import TrainingArguments
from training.loop import make_optimizer, zero_shot_loss
from training.states import read_numbers


def arguments(exam_table, output_dir, *more):
    names = ["--dataset_name_or_path", str(exam_table), "--output_dir", str(output_dir), "--encoder_preset", "tiny"]
    return [*names, "--per_device_train_batch_size", "16", "--max_train_steps", "6", *more]


def test_the_head_has_its_own_rate_and_each_weight_one_group():
    model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny"))
    args = TrainingArguments("x", learning_rate=1e-4, weight_decay=0.1, warmup_steps=2)
    optimizer, schedule = make_optimizer(model, args, steps=10, head_learning_rate=1e-2)
    rates = {id(p): g["initial_lr"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rates) == sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (1e-2 if name.startswith("classifier.") else 1e-4), name
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay[id(model.classifier.weight)] == 0.1 and decay[id(model.classifier.bias)] == 0
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5e-4, 0.5e-4, 0.5e-2, 0.5e-2]
    assert len(make_optimizer(model, args, steps=10)[0].param_groups) == 2


def test_a_loss_that_is_no_number_stops_with_its_likely_cause_and_saves_nothing(exam_table, tmp_path):
    # BatchNorm and Adam keep a huge rate alone finite; with weight decay each step multiplies the weights by -1e6.
    more = ["--learning_rate", "1e6", "--weight_decay", "1", "--max_train_steps", "40", "--eval_steps", "40"]
    more += ["--checkpointing_steps", "5", "--logging_steps", "40", "--lr_scheduler_type", "constant_with_warmup"]
    with pytest.raises(FloatingPointError, match=r"loss is \S+ between steps 0 and \d+.*Likely cause: too large"):
        train_cls.main(arguments(exam_table, tmp_path / "nan", *more))
    for checkpoint in (tmp_path / "nan" / "checkpoints").glob("step-*"):
        losses = read_numbers(checkpoint)["loop"]["losses"]
        assert all(abs(loss) < float("inf") for loss in losses)


def test_validation_and_the_saved_model_are_those_of_the_averaged_weights(exam_table, tmp_path):
    results = {}
    for name, more in {"own": [], "averaged": ["--ema_decay", "0.99"], "again": ["--ema_decay", "0.99"]}.items():
        folder = tmp_path / name
        train_cls.main(arguments(exam_table, folder, "--eval_steps", "2", "--logging_steps", "1", *more))
        history = json.loads((folder / "history.json").read_text())
        results[name] = [[e[key] for e in history if key in e] for key in ("loss", "eval_loss")]
    assert results["averaged"] == results["again"]
    assert results["averaged"][0] == results["own"][0]  # training itself does not know of the average
    assert results["averaged"][1][0] == results["own"][1][0]
    assert results["averaged"][1][1:] != results["own"][1][1:]


def test_options_of_a_run_are_taken(exam_table, tmp_path):
    more = [
        "--pos_weight",
        "auto",
        "--head_learning_rate",
        "1e-2",
        "--cache_dataset_on_device",
    ]  # as a switch, which it was once
    more += ["--augment", "noise_mv=0.02", "lead_masking=0.1", "--early_stopping_patience", "3"]
    train_cls.main(arguments(exam_table, tmp_path / "all", *more))
    record = json.loads((tmp_path / "all" / "run.json").read_text())["arguments"]
    assert record["augment"] == ["noise_mv=0.02", "lead_masking=0.1"]
    assert record["head_learning_rate"] == 1e-2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sync_batchnorm"], "--sync_batchnorm needs GPUs"),
        (["--ema_decay", "1"], "--ema_decay must lie between 0 and 1"),
        (["--augment", "noise=1"], "--augment noise=1: expected one or more of"),
        (["--freeze_encoder", "--augment", "noise_mv=1"], "choose one"),
        (["--freeze_encoder", "--head_learning_rate", "1"], "no --head_learning_rate"),
    ],
)
def test_what_cannot_be_honoured_ends_with_a_reason(flags, message, exam_table, tmp_path, capsys):
    if torch.accelerator.is_available() and "--sync_batchnorm" in flags:
        pytest.skip("a GPU takes it")
    with pytest.raises((SystemExit, ValueError)) as error:
        train_cls.main(arguments(exam_table, tmp_path / "x", *flags))
    assert message in capsys.readouterr().err + str(error.value)


def test_keep_last_saves_the_last_step_and_patience_still_counts_from_the_best(exam_table, tmp_path):
    weights, records = {}, {}
    for keep in ("best", "last"):
        # Steps so large that validation never gets better than at the start.
        more = ["--keep", keep, "--learning_rate", "3", "--eval_steps", "1", "--early_stopping_patience", "3"]
        train_cls.main(arguments(exam_table, tmp_path / keep, *more))
        records[keep] = json.loads((tmp_path / keep / "run.json").read_text())
        history = json.loads((tmp_path / keep / "history.json").read_text())
        losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
        best = min(range(len(losses)), key=losses.__getitem__)
        assert len(losses) == best + 4
        weights[keep] = load_file(tmp_path / keep / "model.safetensors")
    assert records["best"]["best_step"] == best and records["last"]["best_step"] == best + 3
    assert any(not torch.equal(weights["best"][name], weights["last"][name]) for name in weights["best"])


def test_zero_shot_decides_over_all_languages_or_says_that_it_cannot():
    results = {"loss": 9.0, "zero_shot_auroc_AF": 0.1, "zero_shot_auroc_mean": 0.7, "zero_shot_en_auroc_mean": 0.9}
    assert zero_shot_loss(results) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="--keep zero_shot needs a label"):
        zero_shot_loss({"loss": 1.0})
