r"""
Stage 2: fine-tunes the ECG encoder to diagnose from labels, and chooses decision thresholds on validation data; or to
tell one label of several, or numbers such as an age (`--task`).

Example:
    accelerate launch train_cls.py --dataset_name_or_path exams --model_name_or_path runs/clip --train_fraction 0.05 \
        --output_dir runs/cls

Without --model_name_or_path the encoder starts from random weights: the paper's baseline. The output folder loads with
AutoModelForAudioClassification and the ecg-classification pipeline.

With one process `python train_cls.py` does as well; `accelerate launch --quiet` ends an error with its one line.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import DatasetDict
from torch import nn

from common.arguments import parse
from common.hub_access import check_model
from modeling_ecgclip import EcgFeatureExtractor, EcgForSignalClassification, save_for_hub
from publishing.model import exit_code, finish_run, finished_before, open_for_run
from training.arguments import (
    ClassificationArguments,
    DataArguments,
    EncoderArguments,
    HubArguments,
    TrainingArguments,
    as_record,
)
from training.augmentation import Augmentation, SignalInput
from training.checkpoints import BestWeights
from training.classification import ClassificationTask, Exams, embed_split
from training.data import ExamSplit, ExamTable, OpenTable, fraction_of_patients, hold_recordings, usable_splits
from training.encoder import encoder_config, load_classifier, load_feature_extractor
from training.evaluation import Predictions, threshold_prevalence, write_predictions
from training.feed import ExamFeed
from training.input_statistics import statistics_of_split
from training.loop import TrainingLoop, make_optimizer, plan_steps, total_steps
from training.parts import RunParts, data_fingerprints, encoder_fingerprint
from training.plots import plot_loss, save_figure
from training.run import (
    PREDICTIONS,
    dataset_facts,
    print_plan,
    run_facts,
    started,
    with_sync_batchnorm,
    write_run_record,
)
from training.targets import Targets, targets_of


logger = get_logger(__name__)


def check_together(encoder: EncoderArguments, classification: ClassificationArguments, data: DataArguments) -> None:
    """
    Raises:
        ValueError: for arguments of two groups that exclude each other.
        FileNotFoundError: for a model that is not there.
    """
    if encoder.model_name_or_path is not None:
        check_model(encoder.model_name_or_path, "--model_name_or_path")
    if classification.freeze_encoder and data.augment:
        raise ValueError("--freeze_encoder embeds each ECG once, and --augment changes it each time: choose one")


def read_splits(data: DataArguments, table: DatasetDict, targets: Targets) -> dict[str, ExamSplit]:
    """Returns the exams of each split; training and validation cut to `--train_fraction`, test whole."""
    patients = {name: rows.data.column("patient_id").to_numpy() for name, rows in table.items()}
    fraction, seed = data.train_fraction, data.subset_seed
    if data.labels_from == "validation":
        held = patients["validation"]
        training = fraction_of_patients(held, fraction / 2, seed)  # inside the half that no fraction leaves
        others = np.setdiff1d(np.arange(len(held)), fraction_of_patients(held, 0.5, seed))
        validation = others[fraction_of_patients(held[others], fraction, seed)]
        source = table["validation"]
    else:
        training, validation = (
            fraction_of_patients(patients[name], fraction, seed) for name in ("train", "validation")
        )
        source = table["train"]
    parts = {
        "train": (source, training),
        "validation": (table["validation"], validation),
        "test": (table["test"], None),
    }
    splits = {name: ExamSplit(rows, kept, labels=targets.read(rows)) for name, (rows, kept) in parts.items()}
    return usable_splits(
        splits,
        lambda split: bool(targets.known(split.labels).any()),
        targets.sought,
        f"choose a table that has some, or others by {targets.flag}",
        data.allow_empty_splits,
    )


def freeze_encoder(
    feed: ExamFeed, model: EcgForSignalClassification, splits: dict[str, ExamSplit]
) -> tuple[nn.Module, dict[str, Exams]]:
    """Returns the head alone, and the splits as embeddings of the encoder, computed once."""
    model.ecg_model.requires_grad_(False)
    encoder = model.ecg_model.to(feed.accelerator.device)
    return model.classifier, {name: embed_split(feed, encoder, split) for name, split in splits.items()}


def predict(task: ClassificationTask, splits: dict[str, Exams]) -> dict[str, Predictions]:
    """Returns the predictions of validation and test, of those that there are."""
    return {
        name: task.targets.predictions(name, split, task.outputs(split))
        for name, split in splits.items()
        if name != "train"
    }


def save_classifier(
    model: EcgForSignalClassification,
    output_dir: Path,
    feature_extractor: EcgFeatureExtractor,
    targets: Targets,
    metrics: dict[str, Any],
    trained_on: ExamSplit,
) -> None:
    """Saves the model for the Hub, with the thresholds that validation chose, and what its inputs were like."""
    model.config.training_statistics = statistics_of_split(trained_on, feature_extractor.signal)
    if metrics.get("thresholds"):
        model.config.thresholds = tuple(metrics["thresholds"][name] for name in targets.names)
        model.config.threshold_prevalence = threshold_prevalence(metrics, targets.names)
    save_for_hub(model, output_dir, feature_extractor)


def write_results(
    folder: Path,
    targets: Targets,
    predictions: dict[str, Predictions],
    metrics: dict[str, Any],
    history: list[dict[str, float]],
) -> None:
    """Writes predictions and pictures of a finished run into its folder, and shows its numbers."""
    for name in ("test", "validation"):
        if name in metrics:
            logger.info(f"{name} results\n{targets.table(metrics, name)}")
            break
    if predictions:
        write_predictions(folder / PREDICTIONS, list(predictions.values()), targets.names)
    figures = {"loss": plot_loss(history)}
    if "test" in predictions:
        figures |= targets.figures(predictions["test"], metrics)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def main(argv: list[str] | None = None, open_table: OpenTable = ExamTable.load) -> dict[str, Any] | None:
    """Runs stage 2; returns what `metrics.json` holds, or None where SIGTERM stopped it after a checkpoint."""
    # ---- 1 arguments and checks
    groups = (EncoderArguments, ClassificationArguments, DataArguments, TrainingArguments, HubArguments)
    encoder, classification, data, args, hub = parse(argv, __doc__, *groups)
    check_together(encoder, classification, data)
    arguments = as_record(encoder, classification, data, args, hub)
    open_for_run(args.output_dir, hub)

    # ---- 2 accelerator, logging, and the output folder for this run alone
    with started(args, "ecgclip-cls", arguments) as accelerator:
        return train(accelerator, (encoder, classification, data, args, hub), open_table)


def train(accelerator: Accelerator, groups: tuple[Any, ...], open_table: OpenTable) -> dict[str, Any] | None:
    """The run itself, of what [`main`] parsed; returns the same."""
    encoder, classification, data, args, hub = groups
    arguments, output_dir = as_record(*groups), Path(args.output_dir)

    # ---- 3 data
    table = open_table(data.dataset_name_or_path, data.dataset_revision, data.verify)
    signal = table.schema.signal
    targets = targets_of(classification, table.schema)
    splits = read_splits(data, table.splits, targets)
    targets.learn_from(splits["train"].labels, classification.allow_one_sided_labels)
    plan = plan_steps(args, len(splits["train"]), accelerator.num_processes)
    steps = total_steps(args, plan)

    # ---- 4 model
    config = encoder_config(encoder, signal)
    feature_extractor = load_feature_extractor(encoder, config)
    signal_input = SignalInput(feature_extractor, signal, Augmentation.parse(data.augment))
    feed = ExamFeed(accelerator, signal_input, args.per_device_eval_batch_size, data.dataloader_num_workers)
    model = load_classifier(encoder, config, targets)
    fingerprints = {**data_fingerprints(table, splits), **encoder_fingerprint(encoder, model.ecg_model)}
    run = RunParts.begin(accelerator, arguments, steps, fingerprints)
    if (done := finished_before(accelerator, args, run, hub, [PREDICTIONS] if len(splits) > 1 else [])) is not None:
        return done
    trained: nn.Module = model
    exams: dict[str, Exams] = {**splits}
    # A frozen encoder reads each recording once.
    choice, frozen = data.cache_dataset_on_device, classification.freeze_encoder
    notes = {"recordings": hold_recordings(choice, table, splits, accelerator.device, each_read_once=frozen)}
    if classification.freeze_encoder:
        trained, exams = freeze_encoder(feed, model, splits)

    # ---- 5 optimizer and schedule, 6 prepare
    if args.sync_batchnorm:
        trained = with_sync_batchnorm(trained, accelerator)
    optimizer, schedule = make_optimizer(trained, args, steps, classification.head_learning_rate)
    module, optimizer = accelerator.prepare(trained, optimizer)
    task = ClassificationTask(feed, module, exams["train"], exams.get("validation"), targets)
    best = BestWeights(accelerator, module, output_dir)
    loop = TrainingLoop(feed, task, optimizer, schedule, plan, args, best, run)
    print_plan(accelerator, table, splits, plan, steps, model, targets.notes(splits["train"].labels) | notes)

    # ---- 7 resume, 8 loop
    loop.resume()
    if not loop.run():
        return None

    # ---- 9 final evaluation, save, push
    best.load()
    predictions = predict(task, exams)
    metrics = targets.evaluate(predictions)
    targets.finish(model.classifier)
    if accelerator.is_main_process:
        save_classifier(model, output_dir, feature_extractor, targets, metrics, splits["train"])
        write_results(output_dir, targets, predictions, metrics, loop.state.history)
        of_run = run_facts("classification", table, targets, splits, encoder) | {"best_step": loop.state.best_step}
        write_run_record(output_dir, run.as_of(loop.state.step), dataset_facts(table), **of_run)
        finish_run(output_dir, metrics, hub)
    accelerator.end_training()
    return metrics


if __name__ == "__main__":
    sys.exit(exit_code(main))
