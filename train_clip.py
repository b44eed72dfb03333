r"""
Stage 1: pre-trains the ECG encoder against the frozen text embeddings of the exams' reports; or a text encoder too
(--train_text_model), or that alone against a frozen ECG encoder (and --freeze_encoder).

Example:
    accelerate launch train_clip.py --dataset_name_or_path exams --text_model_name_or_path pucpr/biobertpt-all \
        --output_dir runs/clip --mixed_precision bf16

The exam table comes from data_scripts, and data_scripts.embed_reports must have embedded its reports with the same
text model. The output folder loads with AutoModel and the zero-shot-ecg-classification pipeline.

With one process `python train_clip.py` does as well; `accelerate launch --quiet` ends an error with its one line.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import DatasetDict
from transformers import AutoTokenizer, PreTrainedConfig

from common.arguments import parse
from common.hub_access import check_model
from data_scripts.embed_reports import distinct_reports, load_text_table, weights_fingerprint
from modeling_ecgclip import EcgClipModel, EcgClipProcessor, save_for_hub
from modeling_ecgclip.labels_ecgclip import Label
from modeling_ecgclip.losses_ecgclip import NO_REPORT
from publishing.model import exit_code, finish_run, finished_before, open_for_run
from publishing.report_text import labels_in_texts
from training.arguments import (
    ContrastiveArguments,
    DataArguments,
    EncoderArguments,
    HubArguments,
    TrainingArguments,
    as_record,
)
from training.augmentation import Augmentation, SignalInput
from training.checkpoints import BestWeights
from training.classification import embed_split
from training.contrastive import ContrastiveTask, Exams
from training.data import (
    ExamSplit,
    ExamTable,
    OpenTable,
    TextEmbeddings,
    fraction_of_patients,
    hold_recordings,
    usable_splits,
)
from training.encoder import encoder_config, load_encoder, load_feature_extractor
from training.feed import ExamFeed
from training.input_statistics import statistics_of_split
from training.loop import TrainingLoop, make_optimizer, plan_steps, total_steps
from training.measured import Measurements, load_measurements, mean_and_spread
from training.pairing import TwoViewsTask, check_pairing, pair_texts
from training.parts import RunParts, data_fingerprints, encoder_fingerprint, fingerprint
from training.plots import plot_loss, plot_retrieval, plot_retrieval_history, save_figure
from training.prompts import PROMPTS, embed_prompts
from training.report_tokens import ReportTokens
from training.retrieval import RetrievalRanks
from training.run import (
    dataset_facts,
    print_plan,
    run_facts,
    started,
    with_sync_batchnorm,
    write_run_record,
)
from training.targets import MultiLabel


logger = get_logger(__name__)

# Zhai et al. 2023, section 3.1: at first nearly every pair is a no.
SIGLIP_START: dict[str, Any] = {"logit_scale_init_value": math.log(10), "logit_bias_init_value": -10.0}


def check_together(
    encoder: EncoderArguments, contrastive: ContrastiveArguments, data: DataArguments, hub: HubArguments
) -> None:
    """
    Raises:
        ValueError: for arguments of two groups that exclude each other.
        FileNotFoundError: for a model that is not there.
    """
    for flag, name in (("model", encoder.model_name_or_path), ("text_model", contrastive.text_model_name_or_path)):
        if name is not None:
            check_model(name, f"--{flag}_name_or_path")
    check_pairing(contrastive, data, hub)
    augmentation = Augmentation.parse(data.augment)
    if contrastive.measurements and augmentation is not None and augmentation.amplitude:
        raise ValueError("--measurements teaches millivolts, and --augment amplitude changes them: choose one")
    if contrastive.freeze_encoder and data.augment:
        raise ValueError("--freeze_encoder embeds each ECG once, and --augment changes it each time: choose one")
    if contrastive.freeze_encoder and contrastive.pair_with != "report":
        raise ValueError("--freeze_encoder goes with --pair_with report")
    if contrastive.freeze_encoder and encoder.model_name_or_path is None:
        raise ValueError("--freeze_encoder needs --model_name_or_path: an encoder with random weights learns nothing")


def read_splits(
    data: DataArguments,
    text: TextEmbeddings | None,
    table: DatasetDict,
    pair_with: str,
    seed: int,
    measured: Measurements | None,
) -> dict[str, ExamSplit]:
    """
    Returns the exams of each split that have a report, with text embeddings, if any, as `--pair_with` asks for, and
    with what was measured of them, if it was.
    """
    splits = {}
    for name, rows in table.items():
        report_ids = rows.data.column("report_id").to_numpy()
        kept = np.arange(len(rows))
        if name != "test":
            patients = rows.data.column("patient_id").to_numpy()
            kept = fraction_of_patients(patients, data.train_fraction, data.subset_seed)
        kept = kept[report_ids[kept] != NO_REPORT]
        if text is not None:
            text.check(report_ids[kept], name)
        numbers = None
        if measured is not None:
            numbers = measured.of(rows.data.column("exam_id").to_numpy()[kept].tolist())
        splits[name] = ExamSplit(rows, kept, text, measurements=numbers)
    if text is not None:
        pair_texts(pair_with, text, splits, seed)
    return usable_splits(
        splits,
        lambda split: len(split) > 0,
        "a report",
        "pre-training needs a table made with reports",
        data.allow_empty_splits,
    )


def text_embeddings(contrastive: ContrastiveArguments, data: DataArguments, model: EcgClipModel) -> TextEmbeddings:
    """Returns what `data_scripts.embed_reports` made of the reports; errors as in [`load_text_table`]."""
    folder = contrastive.text_table_dir or data.dataset_name_or_path
    name = contrastive.text_model_name_or_path
    return TextEmbeddings(load_text_table(folder, name, contrastive.text_pooling, model.text_model, data.verify))


def text_fingerprint(text: TextEmbeddings | None, reports: dict[int, str], model: EcgClipModel) -> dict[str, str]:
    """Returns one number for what ECGs are matched with: embeddings, or reports and the encoder that reads them."""
    if text is not None:
        return {"texts": fingerprint([text.embeds, text.row_of_id])}
    return {"texts": fingerprint([repr(reports).encode(), weights_fingerprint(model.text_model).encode()])}


def measurement_fingerprint(train: ExamSplit) -> dict[str, str | None]:
    """Returns one number for what was measured of the training exams, None where it is not learned."""
    return {"measurements": None if train.measurements is None else fingerprint([train.measurements])}


def build_model(
    encoder: EncoderArguments,
    contrastive: ContrastiveArguments,
    config: PreTrainedConfig,
    labels: Sequence[Label],
    measured: Measurements | None,
) -> EcgClipModel:
    """
    Returns the dual encoder; towers that are not to be trained are frozen.

    Args:
        encoder, contrastive: The command line's.
        config (`PreTrainedConfig`): Of the ECG tower.
        labels (`Sequence[Label]`): On which it is measured, by their phrases.
        measured (`Measurements`, *optional*): What the ECG tower is to tell beside.
    """
    model = EcgClipModel.from_ecg_text_pretrained(
        load_encoder(encoder, config) if encoder.model_name_or_path else config,
        contrastive.text_model_name_or_path,
        projection_dim=contrastive.projection_dim,
        text_projection=contrastive.text_projection,
        text_pooling=contrastive.text_pooling,
        center_text=contrastive.center_text,
        label_details=[label.to_dict() for label in labels],
        measurement_names=None if measured is None else list(measured.names),
        **(SIGLIP_START if contrastive.loss == "siglip" else {}),
    )
    model.text_model.requires_grad_(contrastive.train_text_model)
    model.ecg_model.requires_grad_(not contrastive.freeze_encoder)
    return model


def mean_text_embedding(train: ExamSplit) -> torch.Tensor:
    """Returns the mean over the training exams' texts, (text width,)."""
    ids, counts = np.unique(train.report_ids, return_counts=True)
    return torch.from_numpy(np.average(train.text[ids], axis=0, weights=counts))


def make_task(
    feed: ExamFeed,
    module: torch.nn.Module,
    splits: Mapping[str, Exams],
    contrastive: ContrastiveArguments,
    tokenizer: Any,
    reports: dict[int, str],
) -> ContrastiveTask:
    """Returns what the loop trains; `module` is prepared, and `reports` are the texts by id."""
    model, device = feed.accelerator.unwrap_model(module), feed.accelerator.device
    prompts: dict[str, Callable[[], torch.Tensor]] = {}
    if contrastive.pair_with == "report":  # phrases mean nothing to an encoder that was matched with anything else
        for prefix, language in PROMPTS[contrastive.prompt_language].items():
            prompts[prefix] = partial(embed_prompts, model, tokenizer, device, language)
    tokens = None
    if contrastive.train_text_model:
        tokens = ReportTokens(reports, model.text_model, tokenizer, contrastive.drop_sentences)
    task_class = TwoViewsTask if contrastive.pair_with == "second_view" else ContrastiveTask
    return task_class(
        feed,
        module,
        splits["train"],
        splits.get("validation"),
        contrastive.positives,
        prompts,
        tokens,
        contrastive.measurement_weight if contrastive.measurements else 0.0,
    )


def frozen_prefix(contrastive: ContrastiveArguments) -> str | None:
    """Returns how the names of weights begin that need not be kept: they never change."""
    return None if contrastive.train_text_model else "text_model."


def ready_to_read(
    feed: ExamFeed, model: EcgClipModel, splits: dict[str, ExamSplit], table: ExamTable, freeze: bool, cache: str
) -> tuple[Mapping[str, Exams], str]:
    """Returns the splits as training reads them, embedded where the ECG tower is frozen, and where they are held."""
    device = feed.accelerator.device
    held = hold_recordings(cache, table, splits, device, each_read_once=freeze)
    if not freeze:
        return splits, held
    encoder = model.ecg_model.to(device)
    return {name: embed_split(feed, encoder, split) for name, split in splits.items()}, held


def warn_of_conclusions(data_facts: dict[str, Any]) -> None:
    """Says so where the texts are known to state what stage 2 is to learn: a result is then not comparable."""
    reports = data_facts.get("conversion", {}).get("reports", {})
    seen = labels_in_texts(reports)
    if seen:
        logger.warning(
            f"pre-training sees {seen} (see docs/data.md): labels are not kept from it. Report it with every result"
        )


def measure(
    task: ContrastiveTask, splits: Mapping[str, Exams], best_step: int
) -> tuple[dict[str, Any], RetrievalRanks | None]:
    """What `metrics.json` holds of the splits there are, and the ranks of the test split for its figure."""
    metrics: dict[str, Any] = {}
    if "validation" in splits:
        metrics["validation"] = {"step": best_step, **task.evaluate(splits["validation"])}
    ranks = None
    if "test" in splits:
        metrics["test"], ranks = task.report(splits["test"])
    return metrics, ranks


def write_figures(
    folder: Path, history: list[dict[str, float]], ranks: RetrievalRanks | None, contrastive: ContrastiveArguments
) -> None:
    """Writes the pictures of a finished run into its folder; `ranks` are those of the test split, if there is one."""
    loss = "Contrastive loss and that of measurements" if contrastive.measurements else "Contrastive loss"
    figures = {"loss": plot_loss(history, loss)}
    if any("eval_loss" in entry for entry in history):
        figures["retrieval"] = plot_retrieval_history(history)
    if ranks is not None:
        figures["retrieval_test"] = plot_retrieval(ranks, "Retrieval, test")
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def main(argv: list[str] | None = None, open_table: OpenTable = ExamTable.load) -> dict[str, float] | None:
    """Runs stage 1; returns its validation results, or None where SIGTERM stopped it (after saving a checkpoint)."""
    # ---- 1 arguments and checks
    groups = (EncoderArguments, ContrastiveArguments, DataArguments, TrainingArguments, HubArguments)
    encoder, contrastive, data, args, hub = parse(argv, __doc__, *groups)
    check_together(encoder, contrastive, data, hub)
    arguments = as_record(encoder, contrastive, data, args, hub)
    open_for_run(args.output_dir, hub)

    # ---- 2 accelerator, logging, and the output folder for this run alone
    with started(args, "ecgclip-clip", arguments) as accelerator:
        return train(accelerator, (encoder, contrastive, data, args, hub), open_table)


def train(accelerator: Accelerator, groups: tuple[Any, ...], open_table: OpenTable) -> dict[str, float] | None:
    """The run itself, of what [`main`] parsed; returns the same."""
    encoder, contrastive, data, args, hub = groups
    arguments, output_dir = as_record(*groups), Path(args.output_dir)

    # ---- 3 exam table and model
    table = open_table(data.dataset_name_or_path, data.dataset_revision, data.verify)
    signal, targets = table.schema.signal, MultiLabel(table.schema.labels)  # measured by zero-shot classification
    measured = load_measurements(contrastive.measurements, table) if contrastive.measurements else None
    config = encoder_config(encoder, signal)
    feature_extractor = load_feature_extractor(encoder, config)
    signal_input = SignalInput(feature_extractor, signal, Augmentation.parse(data.augment))
    feed = ExamFeed(accelerator, signal_input, args.per_device_eval_batch_size, data.dataloader_num_workers)
    model = build_model(encoder, contrastive, config, targets.labels, measured)
    tokenizer = AutoTokenizer.from_pretrained(contrastive.text_model_name_or_path)

    # ---- 4 texts and splits
    reports = distinct_reports(table.splits, data.dataset_name_or_path)
    text = None if contrastive.train_text_model else text_embeddings(contrastive, data, model)
    facts = dataset_facts(table)
    warn_of_conclusions(facts)
    splits = read_splits(data, text, table.splits, contrastive.pair_with, args.seed, measured)
    plan = plan_steps(args, len(splits["train"]), accelerator.num_processes)
    steps = total_steps(args, plan)
    of_model = encoder_fingerprint(encoder, model.ecg_model) | text_fingerprint(text, reports, model)
    of_model |= measurement_fingerprint(splits["train"])
    run = RunParts.begin(accelerator, arguments, steps, data_fingerprints(table, splits) | of_model)
    if (finished := finished_before(accelerator, args, run, hub)) is not None:
        return finished.get("validation", {})
    if contrastive.center_text:
        model.text_center.copy_(mean_text_embedding(splits["train"]))
    if splits["train"].measurements is not None:
        model.set_measurement_units_(*mean_and_spread(splits["train"].measurements))
    exams, recordings = ready_to_read(
        feed, model, splits, table, contrastive.freeze_encoder, data.cache_dataset_on_device
    )

    # ---- 5 optimizer and schedule, 6 prepare
    if args.sync_batchnorm:
        model = with_sync_batchnorm(model, accelerator)
    optimizer, schedule = make_optimizer(model, args, steps)
    module, optimizer = accelerator.prepare(model, optimizer)
    task = make_task(feed, module, exams, contrastive, tokenizer, reports)
    best = BestWeights(accelerator, module, output_dir, frozen_prefix(contrastive))
    loop = TrainingLoop(feed, task, optimizer, schedule, plan, args, best, run)
    notes = {
        "matched with": contrastive.pair_with,
        "negatives per ECG": f"{plan.global_batch_size - 1:,}",
        "distinct reports": f"{len(reports):,}",
        "recordings": recordings,
    }
    print_plan(accelerator, table, splits, plan, steps, model, notes)

    # ---- 7 resume, 8 loop
    loop.resume()
    if not loop.run():
        return None

    # ---- 9 final evaluation, save, push
    best.load()
    metrics, ranks = measure(task, exams, loop.state.best_step)
    if accelerator.is_main_process:
        model.config.ecg_config.training_statistics = statistics_of_split(splits["train"], signal)
        save_for_hub(model, output_dir, EcgClipProcessor(feature_extractor, tokenizer))
        write_figures(output_dir, loop.state.history, ranks, contrastive)
        of_run = run_facts("contrastive", table, targets, splits, encoder) | {"best_step": loop.state.best_step}
        write_run_record(output_dir, run.as_of(loop.state.step), facts, **of_run)
        finish_run(output_dir, metrics, hub)
    accelerator.end_training()
    return metrics.get("validation", {})


if __name__ == "__main__":
    sys.exit(exit_code(main))
