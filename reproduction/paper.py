"""Every number of tables 2 to 6 of the paper, which `paper.csv` holds: 280, of one run for each arm."""

import csv
import functools
from pathlib import Path

from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


PAPER_LABELS = LABEL_NAMES  # other labels do not compare with its numbers
PAPER_ARMS = {"random": "baseline", "pretrained": "pretrained"}  # this project's arm, and its column of the file
PAPER_FILE = Path(__file__).with_name("paper.csv")


@functools.cache
def _numbers() -> dict[tuple[str, str, str, str], float]:
    with PAPER_FILE.open(encoding="utf-8") as file:
        return {
            (row["setting"], arm, row["class"], row["metric"]): float(row[column])
            for row in csv.DictReader(file)
            for arm, column in PAPER_ARMS.items()
        }


def paper_number(setting: str, arm: str, label: str, metric: str) -> float | None:
    """
    Returns a number of the paper on its test split of CODE-15%, or None where it has none.

    Args:
        setting, arm (`str`): As in `settings.py`; the paper has two arms.
        label (`str`): One of CODE's six, or "mean". In means an undefined precision counts as 0.
        metric (`str`): "accuracy", "precision", "recall" or "f1".
    """
    return _numbers().get((setting, arm, label, metric))
