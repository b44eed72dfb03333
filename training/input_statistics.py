"""
Writes into a model's folder what the inputs of its training were like, from an exam table of the same kind: afterwards
its pipelines say of each ECG what is unlike them (`unlike_training` in `quality`). Training does this by itself.

Example:
    python -m training.input_statistics --model_name_or_path runs/cls --dataset_name_or_path exams
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.arguments import parse
from common.commands import exit_status
from common.files import write_json
from data_scripts.tables.schema import MICROVOLTS_PER_MILLIVOLT
from modeling_ecgclip.hub_ecgclip import state_saved_settings, verify_settings
from modeling_ecgclip.signal_ecgclip import SignalSpec, check_same_signal
from modeling_ecgclip.training_statistics_ecgclip import (
    MIN_EXAMS,
    InputProperties,
    input_properties,
    training_statistics,
)
from training.data import ExamSplit, ExamTable


logger = logging.getLogger(__name__)

MAX_EXAMS = 2048  # a range of so many is as wide as that of all, and takes ten seconds


@dataclass
class StatisticsArguments:
    """Which model, and which exams."""

    model_name_or_path: str = field(metadata={"help": "Folder of a model; its config.json is written anew."})
    dataset_name_or_path: str = field(
        metadata={"help": "Exam table that the model was trained on, or one of the same kind: its training split."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the Hub."})
    max_exams: int = field(default=MAX_EXAMS, metadata={"help": "Exams that are looked at, evenly chosen."})

    def __post_init__(self) -> None:
        if self.max_exams < MIN_EXAMS:
            raise ValueError(f"--max_exams must be at least {MIN_EXAMS}: found {self.max_exams}")
        folder = self.model_name_or_path
        if not (Path(folder) / "config.json").is_file():
            raise FileNotFoundError(f"--model_name_or_path {folder}: expected a folder with config.json")


def properties_of(split: ExamSplit, signal: SignalSpec, indices: Iterable[int]) -> Iterator[InputProperties]:
    """
    Yields the properties of exams of a split.

    Args:
        split (`ExamSplit`): Of an exam table.
        signal (`SignalSpec`): Of its recordings.
        indices (`Iterable[int]`): The exams to look at.
    """
    for index in indices:
        ecg = split.ecg(np.array([index]))[0].cpu().numpy()  # (leads, samples), microvolts
        recorded = int(split.n_samples[index])
        left = (ecg.shape[1] - recorded) // 2  # zeros fill both sides
        millivolts = ecg[:, left : left + recorded].astype(np.float32) / MICROVOLTS_PER_MILLIVOLT
        yield input_properties(millivolts, signal.sampling_rate)


def statistics_of_split(split: ExamSplit, signal: SignalSpec, max_exams: int = MAX_EXAMS) -> dict[str, Any] | None:
    """
    Returns what a configuration holds of the inputs of a training; None for too few exams to say anything.

    Args:
        split (`ExamSplit`): The exams that were trained on, before any augmentation.
        signal (`SignalSpec`): Of its recordings.
        max_exams (`int`): At most so many of them are looked at, evenly chosen.
    """
    if len(split) < MIN_EXAMS:
        return None
    chosen = np.linspace(0, len(split) - 1, min(len(split), max_exams)).round().astype(int)
    return training_statistics(list(properties_of(split, signal, chosen.tolist())), signal.lead_names)


def add_statistics(args: StatisticsArguments) -> dict[str, Any]:
    """
    Writes the statistics into the `config.json` of a folder, and returns them; all else in it stays.

    Raises:
        `ValueError`: for a table of another signal than the model's, or with too few exams.
    """
    path = Path(args.model_name_or_path) / "config.json"
    verify_settings(path.parent)  # damage shall not be stated anew
    config = json.loads(path.read_text(encoding="utf-8"))
    of_encoder = config.get("ecg_config", config)
    table = ExamTable.load(args.dataset_name_or_path, args.dataset_revision)
    stated = SignalSpec(tuple(of_encoder["lead_names"]), of_encoder["sampling_rate"], of_encoder["n_samples"])
    check_same_signal((("the model", stated), ("the exam table", table.schema.signal)), str(path.parent))
    rows = table.splits["train"]
    statistics = statistics_of_split(ExamSplit(rows), stated, args.max_exams)
    if statistics is None:
        raise ValueError(
            f"--dataset_name_or_path {args.dataset_name_or_path}, split train: expected at least {MIN_EXAMS} exams, "
            f"found {len(rows)}"
        )
    of_encoder["training_statistics"] = statistics
    write_json(path, config)
    state_saved_settings(path.parent, path.name)
    return statistics


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return exit_status(lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    (args,) = parse(argv, __doc__, StatisticsArguments)
    statistics = add_statistics(args)
    for name, unit in (("heart_rate_bpm", "bpm"), ("noise_mv", "mV")):
        if name in statistics:
            low, high = statistics[name]
            print(f"{name}: {low:.3g} to {high:.3g} {unit}")
    for lead, (low, high) in statistics["amplitude_mv"].items():
        print(f"amplitude_mv {lead}: {low:.2f} to {high:.2f} mV")
    print(f"{statistics['n_exams']} exams: written to {args.model_name_or_path}/config.json")


if __name__ == "__main__":
    sys.exit(main())
