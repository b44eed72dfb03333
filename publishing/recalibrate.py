r"""
Fits a classifier's probabilities and thresholds to a few labelled exams from where it is to be used, and writes a new
folder: weights as they were, `config.json` with what was fitted, a record, and a card that says so.

A label without a positive keeps what it has. What it gains is measured by cross-validation within those exams. With
--promised_error each label is also given bounds between which it is "uncertain".

Example:
    python -m training.recalibrate --model_name_or_path runs/cls --dataset_name_or_path own --output_dir runs/own
    python -m training.recalibrate --model_name_or_path runs/cls --dataset_name_or_path own --output_dir runs/own \
        --promised_error 0.1
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download

from common.arguments import parse
from common.checksums import verify_data
from common.commands import exit_status
from common.files import public_name, read_json, write_json
from common.locks import only_writer
from common.markdown import markdown_table
from common.writing import check_new, written_aside
from data_scripts.tables.schema import SPLITS, labels_array
from metrics.calibration import calibration_metrics
from metrics.conformal import abstention_bounds, abstention_metrics, needed_of_each
from metrics.recalibration import (
    MIN_POSITIVES,
    Recalibrated,
    cross_validated,
    f1_of_decisions,
    folds_of,
    recalibrate,
)
from modeling_ecgclip import EcgFeatureExtractor, EcgForSignalClassification, save_for_hub
from modeling_ecgclip.hub_ecgclip import state_saved_model
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL, labels_of
from publishing.export import load_source
from publishing.model import complete_folder, is_published
from publishing.run_folder import WEIGHTS, read_run
from training.augmentation import SignalInput
from training.data import ExamSplit, ExamTable
from training.run import state_records


logger = logging.getLogger(__name__)

WITHOUT_THRESHOLDS = 0.5  # what decides where a configuration has none
_WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
MEASURES = {"f1": "F1", "ece": "ECE", "brier": "Brier"}


@dataclass
class RecalibrateArguments:
    """Which classifier, by which exams, and how."""

    model_name_or_path: str = field(metadata={"help": "Folder or Hub id of a classifier of labels side by side."})
    dataset_name_or_path: str = field(
        metadata={"help": "Exam table of your own labelled exams, none of which the model was trained on."}
    )
    output_dir: str = field(metadata={"help": "Folder to write."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    splits: list[str] = field(
        default_factory=lambda: list(SPLITS),
        metadata={"help": "Splits of the table that are used; of the model's own table validation alone."},
    )
    promised_error: float | None = field(
        default=None,
        metadata={
            "help": "Abstain: at most this share of the exams with a label is called negative, and of those without "
            "it positive; what lies between is uncertain. 0.1 takes 9 positives of a label, 0.05 takes 19."
        },
    )
    folds: int = field(default=5, metadata={"help": "Of the cross-validation, by patient."})
    seed: int = field(default=0, metadata={"help": "Of the folds."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "ECGs of one forward pass."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace the folder if it exists."})

    def __post_init__(self) -> None:
        unknown = [split for split in self.splits if split not in SPLITS]
        if unknown or not self.splits:
            raise ValueError(f"--splits takes {', '.join(SPLITS)}: found {', '.join(unknown) or 'none'}")
        if self.promised_error is not None and not 0 < self.promised_error < 0.5:
            raise ValueError(f"--promised_error must lie between 0 and 0.5: found {self.promised_error}")
        if self.folds < 2:
            raise ValueError(f"--folds must be at least 2: found {self.folds}")
        if self.per_device_eval_batch_size < 1:
            raise ValueError(
                f"--per_device_eval_batch_size must be at least 1: found {self.per_device_eval_batch_size}"
            )
        check_new(self.output_dir, self.overwrite_output_dir)


@dataclass(frozen=True)
class LabelledLogits:
    """
    Exams as recalibration sees them.

    Args:
        logits (`np.ndarray` of shape `(exams, labels)`, float64): Of the head, without any calibration.
        labels (`np.ndarray` of shape `(exams, labels)`, int8): 1 present, 0 absent, -1 unknown.
        patient_ids (`np.ndarray` of shape `(exams,)`): Patients.
    """

    logits: np.ndarray
    labels: np.ndarray
    patient_ids: np.ndarray


def before_of(config: Any) -> Recalibrated:
    """Returns what a classifier's configuration decides by before anything is fitted."""
    n = config.num_labels
    calibration = getattr(config, "calibration", None) or {"scale": [1.0] * n, "shift": [0.0] * n}
    thresholds = config.thresholds or [WITHOUT_THRESHOLDS] * n
    return Recalibrated.keeping(calibration["scale"], calibration["shift"], thresholds)


@torch.inference_mode()
def labelled_logits(
    model: EcgForSignalClassification,
    extractor: EcgFeatureExtractor,
    table: ExamTable,
    splits: Sequence[str],
    batch_size: int = 32,
) -> LabelledLogits:
    """
    Returns the logits of a table's exams, and what is known of the model's labels.

    Args:
        model (`EcgForSignalClassification`), extractor (`EcgFeatureExtractor`): Of [`load_source`].
        table (`ExamTable`): Labels that it lacks are unknown.
        splits (`Sequence[str]`): Those that are read.
        batch_size (`int`): ECGs of one forward pass.

    Raises:
        `ValueError`: for a table of another signal, without exams, or with none of the model's labels.
    """
    names, stated = [label.name for label in labels_of(model.config)], table.schema.label_names
    if not set(names) & set(stated):
        raise ValueError(
            f"exam table {table.name_or_path}: expected some of the model's labels {', '.join(names)}: found "
            f"{', '.join(stated)}"
        )
    signal_input, fast = SignalInput(extractor, table.schema.signal), model.for_inference()
    config: Any = fast.config
    config.calibration = None  # a copy's own
    logits, labels, patients = [np.empty((0, len(names)))], [], []
    for name in splits:
        split = ExamSplit(table.splits[name])
        for start in range(0, len(split), batch_size):
            batch = split.__getitems__(list(range(start, min(start + batch_size, len(split)))))
            logits.append(fast(signal_input(batch)).logits.double().numpy())
        of_table = labels_array(table.splits[name])
        known = np.full((len(split), len(names)), UNKNOWN_LABEL, dtype=np.int8)
        for at, label in enumerate(names):
            if label in stated:
                known[:, at] = of_table[:, stated.index(label)]
        labels.append(known)
        patients.append(split.patient_ids.astype(str))
    found = LabelledLogits(np.concatenate(logits), np.concatenate(labels), np.concatenate(patients))
    if not len(found.labels):
        raise ValueError(f"exam table {table.name_or_path}: expected exams in {', '.join(splits)}: found none")
    return found


def measured_before_and_after(
    exams: LabelledLogits, before: Recalibrated, folds: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """
    Returns F1, ECE and Brier score of each label and their means as the model is, and cross-validated as it becomes.

    Returns:
        `dict`: `before` and `after`: by label, and `mean`, a dictionary of `MEASURES`; None where undefined.
    """
    as_it_is = before.probabilities(exams.logits)
    sides = {
        "before": (as_it_is, as_it_is >= before.thresholds),
        "after": cross_validated(exams.logits, exams.labels, folds, before),
    }
    found: dict[str, dict[str, Any]] = {}
    for side, (probabilities, decisions) in sides.items():
        calibration = calibration_metrics(probabilities, exams.labels, names)
        f1 = f1_of_decisions(decisions, exams.labels)
        found[side] = {
            name: {"f1": None if np.isnan(of) else float(of), **calibration["per_class"][name]}
            for name, of in zip(names, f1, strict=True)
        }
        defined = f1[~np.isnan(f1)]
        found[side]["mean"] = {"f1": float(defined.mean()) if len(defined) else None, **calibration["mean"]}
    return found


def abstention_of(
    exams: LabelledLogits, fit: Recalibrated, error: float, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """
    Returns the bounds of each label as a configuration holds them, and why those that have none are refused, by name.
    """
    probabilities = fit.probabilities(exams.logits)
    low: list[float | None] = []
    high: list[float | None] = []
    refused = {}
    for at, name in enumerate(names):
        labels = exams.labels[:, at]
        bounds = abstention_bounds(probabilities[:, at], labels, error, fit.thresholds[at])
        low.append(bounds and bounds[0])
        high.append(bounds and bounds[1])
        if bounds is None:
            refused[name] = (
                f"{(labels == 1).sum()} positives and {(labels == 0).sum()} negatives: a promise of {error:g} takes "
                f"{needed_of_each(error)} of each"
            )
    return {"error": error, "low": low, "high": high}, refused


def measured_abstention(
    exams: LabelledLogits, before: Recalibrated, folds: np.ndarray, error: float, names: Sequence[str]
) -> dict[str, Any]:
    """Returns [`abstention_metrics`] of each label over the folds that others gave bounds to, or None."""
    found: dict[str, Any] = {}
    numbers = np.unique(folds).tolist()
    fits = {held: recalibrate(exams.logits[folds != held], exams.labels[folds != held], before) for held in numbers}
    for at, name in enumerate(names):
        parts = []
        for held, fit in fits.items():
            probabilities, labels, rest = fit.probabilities(exams.logits)[:, at], exams.labels[:, at], folds != held
            bounds = abstention_bounds(probabilities[rest], labels[rest], error, fit.thresholds[at])
            if bounds is not None:
                # As 0, 1 and 2, so that folds with bounds of their own can be counted together.
                decided = (probabilities[~rest] >= bounds[0]).astype(int) + (probabilities[~rest] >= bounds[1])
                parts.append((decided, labels[~rest]))
        if len(parts) < len(fits):
            found[name] = None  # fewer than all folds would leave out just those that many positives fell in
            continue
        decided, labels = (np.concatenate(side) for side in zip(*parts, strict=True))
        found[name] = abstention_metrics(decided, labels, 1, 2)
    return found


def run_recalibration(args: RecalibrateArguments) -> dict[str, Any]:
    """
    Writes the folder; returns what its record (`run.json`) says of the recalibration.

    Raises:
        `ValueError`: for another kind of model, a table that does not fit, or exams that the model was trained on.
        `BlockingIOError`: where another process writes there.
    """
    with only_writer(args.output_dir):
        check_new(args.output_dir, args.overwrite_output_dir)
        return _recalibrate(args)


def _recalibrate(args: RecalibrateArguments) -> dict[str, Any]:
    """[`run_recalibration`] into a folder that nobody else writes."""
    source = Path(args.model_name_or_path)
    if not source.is_dir():
        source = Path(snapshot_download(args.model_name_or_path))
    model, extractor = load_source(str(source))
    config: Any = model.config
    if config.problem_type != "multi_label_classification":
        raise ValueError(
            f"{args.model_name_or_path} has problem_type {config.problem_type}: expected labels side by side "
            "(multi_label_classification), which alone have thresholds"
        )
    table = ExamTable.load(args.dataset_name_or_path, args.dataset_revision)
    verify_data(source, present=True)
    run = read_json(path) if (path := source / "run.json").is_file() else {}
    _refuse_own_exams(args, table, run)
    exams = labelled_logits(model, extractor, table, args.splits, args.per_device_eval_batch_size)
    names, before = [label.name for label in labels_of(config)], before_of(config)
    folds = folds_of(exams.patient_ids, args.folds, args.seed)
    fit = recalibrate(exams.logits, exams.labels, before)
    record = _record(args, table, exams, fit, before, names)
    measured = measured_before_and_after(exams, before, folds, names)
    record |= {"cross_validation": {"folds": args.folds, "seed": args.seed, **measured}}
    _write_into(config, fit, exams)
    if args.promised_error is not None:
        config.abstention, refused = abstention_of(exams, fit, args.promised_error, names)
        of_folds = measured_abstention(exams, before, folds, args.promised_error, names)
        record["abstention"] = {**config.abstention, "refused": refused, "cross_validation": of_folds}
    with written_aside(args.output_dir) as folder:
        _write_folder(folder, source, model, extractor, {**run, "recalibration": record})
    return record


def _refuse_own_exams(args: RecalibrateArguments, table: ExamTable, run: dict[str, Any]) -> None:
    """Thresholds come from exams that the weights do not know; a table is known by its digest."""
    trained_on = run.get("data", {}).get("conversion", {}).get("digest")
    if "train" in args.splits and trained_on is not None and trained_on == (table.record or {}).get("digest"):
        raise ValueError(
            f"--dataset_name_or_path {args.dataset_name_or_path}: {args.model_name_or_path} was trained on its "
            "training split, where probabilities are too good to be true: expected other exams, or --splits validation"
        )


def _record(
    args: RecalibrateArguments,
    table: ExamTable,
    exams: LabelledLogits,
    fit: Recalibrated,
    before: Recalibrated,
    names: Sequence[str],
) -> dict[str, Any]:
    of_labels = {}
    for at, name in enumerate(names):
        labels = exams.labels[:, at]
        of_labels[name] = {
            "n_positive": int((labels == 1).sum()),
            "n_known": int((labels >= 0).sum()),
            "fitted": bool(fit.fitted[at]),
            **{
                side: {
                    "scale": float(of.scales[at]),
                    "shift": float(of.shifts[at]),
                    "threshold": float(of.thresholds[at]),
                }
                for side, of in (("before", before), ("after", fit))
            },
        }
    return {
        "model": public_name(args.model_name_or_path),
        "data": {
            "name": public_name(table.name_or_path),
            "revision": table.revision,
            "sources": sorted({one for split in args.splits for one in table.splits[split].unique("source")}),
            "splits": list(args.splits),
            "digest": (table.record or {}).get("digest"),
        },
        "exams": len(exams.labels),
        "patients": len(np.unique(exams.patient_ids)),
        "labels": of_labels,
    }


def _write_into(config: Any, fit: Recalibrated, exams: LabelledLogits) -> None:
    """What was fitted, and at which share of positives; labels that keep their threshold keep their share too."""
    kept = getattr(config, "threshold_prevalence", None) or [None] * len(fit.fitted)
    known, positives = (exams.labels >= 0).sum(axis=0), (exams.labels == 1).sum(axis=0)
    config.threshold_prevalence = tuple(
        float(positives[at] / known[at]) if fitted else kept[at] for at, fitted in enumerate(fit.fitted)
    )
    config.calibration = {"scale": fit.scales.tolist(), "shift": fit.shifts.tolist()}
    config.thresholds = tuple(fit.thresholds.tolist())
    config.abstention = None  # what was promised before, was of other probabilities


def _write_folder(
    folder: Path,
    source: Path,
    model: EcgForSignalClassification,
    extractor: EcgFeatureExtractor,
    record: dict[str, Any],
) -> None:
    """A whole folder: code and configuration anew, the weights' own bytes, and what the source's run left."""
    save_for_hub(model, folder, extractor)
    for pattern in _WEIGHT_FILES:
        for path in folder.glob(pattern):
            path.unlink()
    for path in sorted(source.iterdir()):
        if path.is_file() and is_published(path.name) and path.suffix != ".md" and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise FileNotFoundError(f"{source}: expected weights as {WEIGHTS[0]}, found none")
    state_saved_model(folder)
    write_json(folder / "run.json", record)
    state_records(folder)
    try:
        read_run(folder)
    except (FileNotFoundError, ValueError) as error:
        logger.warning(f"no card was written: {_of(source, folder, error)}")
        return
    complete_folder(folder)


def _of(source: Path, folder: Path, error: Exception) -> str:
    """An error about the new folder, which has what its source has, as one about that."""
    return str(error).replace(str(folder), str(source))


def summary(record: dict[str, Any]) -> str:
    """Returns what was done and gained, as text for a terminal."""
    measured = record["cross_validation"]
    rows = [["label", "positives", "threshold", *(f"{title} before, after" for title in MEASURES.values())]]
    for name, of in [*record["labels"].items(), ("mean", None)]:
        cells = ["", ""]
        if of is not None:
            cells = [
                f"{of['n_positive']} / {of['n_known']}",
                f"{of['before']['threshold']:.3f}, {of['after']['threshold']:.3f}",
            ]
        pairs = ((measured[side][name][measure] for side in ("before", "after")) for measure in MEASURES)
        rows.append([name, *cells, *(", ".join(map(_number, pair)) for pair in pairs)])
    lines = [
        markdown_table(rows),
        "",
        f"{record['exams']} exams of {record['patients']} patients; after: {measured['folds']} folds by patient, each "
        "measured with what the others fitted.",
    ]
    kept = [name for name, of in record["labels"].items() if not of["fitted"]]
    if kept:
        lines.append(f"Kept as they were, with fewer than {MIN_POSITIVES} positive or no negative: {', '.join(kept)}.")
    promise = record.get("abstention")
    if promise:
        lines += [f"Abstention, error of at most {promise['error']:g}:"]
        for name, low, high in zip(record["labels"], promise["low"], promise["high"], strict=True):
            said = f"refused: {promise['refused'].get(name)}"
            if low is not None:
                said = f"uncertain from {low:.3f} to {high:.3f}" if low < high else f"nothing uncertain, at {low:.3f}"
            lines.append(f"  {name}: {said}{_abstained(promise, name)}")
    return "\n".join(lines)


def _abstained(promise: dict[str, Any], name: str) -> str:
    found = promise["cross_validation"][name]
    if found is None:
        return ""
    return (
        f"; in the folds {_number(found['certain'])} of the exams decided, {_number(found['missed'])} of the "
        f"positives missed, {_number(found['false_alarms'])} of the negatives called"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return exit_status(lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    (args,) = parse(argv, __doc__, RecalibrateArguments)
    print(summary(run_recalibration(args)))
    print(f"written to {args.output_dir}")
