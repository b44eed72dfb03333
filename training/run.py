"""The beginning and the end of a training run: accelerator, logging, plan and record."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType
from torch import nn
from transformers.utils import cached_file

from common.checksums import read_record
from common.files import public_name, write_json
from common.locks import lock_path, only_writer
from common.writing import remove
from data_scripts.tables.schema import SPLITS, check_patients, patients_known
from data_scripts.text.reports import free_of_conclusions
from modeling_ecgclip.hub_ecgclip import state_saved_settings
from modeling_ecgclip.losses_ecgclip import NO_REPORT
from training.arguments import EncoderArguments, TrainingArguments, check_output_dir
from training.data import ExamSplit, ExamTable, StepPlan
from training.targets import Targets
from training.terminal import set_up_logging


logger = get_logger(__name__)

METRICS = "metrics.json"  # written last: a folder that has it is that of a finished run
PREDICTIONS = "predictions.parquet"  # of the splits that did not train
RECORDS = ("run.json", METRICS, "history.json", PREDICTIONS)
STOPPED_BY_SIGNAL = 143  # 128 + SIGTERM: the exit code that shells and schedulers expect


@contextmanager
def started(args: TrainingArguments, project: str, record: dict[str, Any]) -> Iterator[Accelerator]:
    """
    Yields the accelerator of a new run, with logging, seeds and trackers set up, and holds its output folder.

    Args:
        args (`TrainingArguments`): The command line's.
        project (`str`): Name for the trackers.
        record (`dict`): All arguments, for the trackers.

    Raises:
        `FileExistsError`: where the output folder holds an earlier run.
        `BlockingIOError`: where another process writes there.
        `ValueError`: as [`check_tracker`].
    """
    folder = check_output_dir(args)
    check_tracker(args.report_to)
    accelerator = Accelerator(
        # Said outright: left to itself, accelerate starts processes on a CPU that do not know of each other.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=args.mixed_precision,
        log_with=None if args.report_to == "none" else args.report_to,
        project_dir=str(folder / "tracking"),
    )
    asked_for = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != asked_for:
        raise RuntimeError(f"{asked_for} processes were launched, but accelerate runs {accelerator.num_processes}")
    set_up_logging(accelerator.is_main_process)
    with _own_folder(args, accelerator):
        accelerate.utils.set_seed(args.seed)
        if args.report_to != "none":
            plain = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in record.items()}
            accelerator.init_trackers(project, config=plain)
        yield accelerator


def check_tracker(name: str) -> None:
    """
    Refuses an experiment tracker that accelerate does not know, or whose package is missing, before anything else.

    Args:
        name (`str`): `--report_to`.

    Raises:
        `ValueError`: saying which there are, or what to install.
    """
    known = [one for one in LoggerType.list() if one != "all"]
    if name != "none" and name not in known:
        raise ValueError(f"--report_to {name}: expected none or one of {', '.join(known)}")
    if name != "none" and name not in [one.value for one in get_available_trackers()]:
        raise ValueError(f"--report_to {name}: this tracker is not installed: pip install {name.replace('_', '-')}")


@contextmanager
def _own_folder(args: TrainingArguments, accelerator: Accelerator) -> Iterator[None]:
    """Holds and prepares the output folder on the main process; where it cannot, every process raises why."""
    refused: list[OSError | None] = [None]
    with ExitStack() as held:
        if accelerator.is_main_process:
            try:
                held.enter_context(only_writer(args.output_dir))
                folder = check_output_dir(args)  # another run may have finished meanwhile
                for path in folder.iterdir() if args.overwrite_output_dir and folder.is_dir() else ():
                    if path != lock_path(folder):
                        remove(path)
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                refused = [error]
        (refusal,) = accelerate.utils.broadcast_object_list(refused)
        if refusal is not None:
            raise refusal
        yield


def with_sync_batchnorm(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """
    Returns the model with BatchNorm statistics over the batches of all processes; weights keep their names.

    Raises:
        `ValueError`: on a CPU, for which torch has no such layer.
    """
    if accelerator.device.type == "cpu":
        raise ValueError(
            "--sync_batchnorm needs GPUs: torch's SyncBatchNorm does not run on a CPU. Without it each process "
            "normalises its own batch, so give each at least 16 ECGs"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def print_plan(
    accelerator: Accelerator,
    table: ExamTable,
    splits: dict[str, ExamSplit],
    plan: StepPlan,
    steps: int,
    module: nn.Module,
    notes: dict[str, Any],
) -> None:
    """
    Shows what is about to happen, in numbers that follow from the arguments, before the first step.

    Args:
        table (`ExamTable`): Its patients are compared between splits.
        splits (`dict[str, ExamSplit]`): What of it is used.
        plan (`StepPlan`), steps (`int`): Of the loop.
        module (`nn.Module`): What is trained.
        notes (`dict`): Further lines.
    """
    check_patients(table.splits, table.name_or_path)  # raises where a patient is in two splits
    lines = {f"exams in {name}": f"{len(splits[name]):,}" if name in splits else "none" for name in SPLITS}
    known = patients_known(table.splits, table.record)
    lines["patients in two splits"] = "0" if known else "unknown: split by exam"
    lines["processes, device"] = f"{accelerator.num_processes}, {accelerator.device.type}"
    lines["exams per step"] = (
        f"{plan.global_batch_size} = {plan.batch_size} x {plan.accumulation} passes x {plan.world_size} processes"
    )
    lines["steps"] = f"{steps:,}, {plan.steps_per_epoch:,} an epoch ({plan.left_out_per_epoch} exams left over)"
    lines["parameters trained"] = f"{sum(p.numel() for p in module.parameters() if p.requires_grad):,}"
    lines["parameters frozen"] = f"{sum(p.numel() for p in module.parameters() if not p.requires_grad):,}"
    width = max(map(len, [*lines, *notes]))
    for name, value in {**lines, **notes}.items():
        logger.info(f"{name:<{width}}  {value}")


def dataset_facts(table: ExamTable) -> dict[str, Any]:
    """
    Returns what the run record says of the data: name (of a folder its last part, not where it lies), revision,
    source, fingerprints, numbers of exams, patients and exams with a report, and whether the patients are known.
    """
    facts: dict[str, Any] = {"name": public_name(table.name_or_path), "revision": table.revision}
    if table.record is not None:
        facts["conversion"] = table.record
    splits = table.splits
    facts["sources"] = sorted({source for rows in splits.values() for source in rows.unique("source")})
    facts["exams"] = {split: len(rows) for split, rows in splits.items()}
    facts["exams_with_report"] = {
        split: int((rows.data.column("report_id").to_numpy() != NO_REPORT).sum()) for split, rows in splits.items()
    }
    facts["patients"] = check_patients(splits, table.name_or_path)
    facts["patients_known"] = patients_known(splits, table.record)
    return facts


def starting_point(name_or_path: str | None, revision: str | None) -> dict[str, Any] | None:
    """
    Returns what the run record says of the model that training starts from, or None for random weights.

    Its own run record, where it has one, tells which exams it has seen: they are part of what the new model is made
    of.

    Args:
        name_or_path (`str`, *optional*): Folder or Hub id; of a folder the last part is kept, not where it lies.
        revision (`str`, *optional*): On the Hub.

    Returns:
        `dict` with `name`, `revision`, `on_hub` and, from its own record, `stage`, `data` (its name, `sources`,
        `exams_with_report`, `patients_known`, what was counted in its `reports`, and whether they are
        `free_of_conclusions`) and `starts_from`.
    """
    if name_or_path is None:
        return None
    on_hub = not Path(name_or_path).is_dir()
    found: dict[str, Any] = {
        "name": public_name(name_or_path),
        "revision": revision,
        "on_hub": on_hub,
    }
    path = cached_file(name_or_path, "run.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    if path is not None:
        record = read_record(path)
        data = record.get("data", {})
        reports = data.get("conversion", {}).get("reports", {})
        found["stage"] = record.get("stage")
        found["data"] = {name: data.get(name) for name in ("name", "sources", "exams_with_report")}
        found["data"]["patients_known"] = data.get("patients_known", "patients" not in data.get("conversion", {}))
        # Examples of words are texts of the archive: they stay with the table.
        found["data"]["reports"] = {name: one for name, one in reports.items() if name != "diagnosis_words_left"}
        found["data"]["free_of_conclusions"] = free_of_conclusions(reports)
        found["starts_from"] = record.get("starts_from")
    return found


def used_exams(splits: dict[str, ExamSplit], targets: Targets) -> dict[str, Any]:
    """Returns how many exams and patients, and of what is learned how many values, this run's splits have."""
    return {
        name: {
            "exams": len(split),
            "patients": len(np.unique(split.patient_ids.astype(str))),
            **targets.counts(split.labels),
        }
        for name, split in splits.items()
    }


def run_facts(
    stage: str, table: ExamTable, targets: Targets, splits: dict[str, ExamSplit], encoder: EncoderArguments
) -> dict[str, Any]:
    """
    Returns what the run record says of a run: its stage, what its outputs mean and on what it was trained.

    Args:
        stage (`str`): `"contrastive"` or `"classification"`.
        table (`ExamTable`): The whole one.
        targets (`Targets`): The outputs, or of stage 1 the labels that zero-shot classification is measured on.
        splits (`dict[str, ExamSplit]`): What of the table was used; one that is not there is absent from `used`.
        encoder (`EncoderArguments`): Where the encoder started.
    """
    return {
        "stage": stage,
        "problem_type": targets.problem_type,
        "labels": targets.details,
        "signal": table.schema.signal.to_dict(),
        "used": used_exams(splits, targets),
        "starts_from": starting_point(encoder.model_name_or_path, encoder.model_revision),
    }


def write_run_record(folder: Path, run: dict[str, Any], data: dict[str, Any], **results: Any) -> None:
    """
    Writes `run.json`: everything needed to say what was run, and on what.

    Args:
        folder (`Path`): The output folder.
        run (`dict`): Of [`RunParts.as_of`] the last step.
        data (`dict`): Of [`dataset_facts`].
        results: Further entries.
    """
    write_json(folder / "run.json", {**run, "data": data, **results})


def state_records(folder: Path) -> None:
    """Adds the digests of a finished run's records to the `SHA256SUMS` that its model was saved with."""
    state_saved_settings(folder, *RECORDS)
