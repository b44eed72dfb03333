"""
Decisions with a promised error, which abstain where the promise cannot be kept otherwise: class-conditional conformal
prediction of each label by itself.

For a label, "negative" is only said below `low` and "positive" only from `high` on; between them stands "uncertain".
Of the exams that have the label at most a share `error` is called negative, of those that have it not at most a share
`error` positive: on average over calibration exams and new ones that are exchangeable with them within each class,
whatever the model, its calibration and the label's frequency. That the classes keep their own promise makes it hold
where a label is rarer or more frequent than among the calibration exams.

Source: Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world", section 4.5 (Mondrian conformal
predictors).
"""

import math
from typing import Any

import numpy as np


def needed_of_each(error: float) -> int:
    """Returns how many exams of each class a promise takes: 9 for 0.1, 19 for 0.05; with fewer nothing can be said."""
    return math.ceil(1 / error - 1 - 1e-9)  # the last digit of 1 / 0.1 must not make 10 of 9


def abstention_bounds(
    probabilities: np.ndarray, labels: np.ndarray, error: float, threshold: float
) -> tuple[float, float] | None:
    """
    Returns `low` and `high` of one label, or None where one of its classes has fewer exams than `needed_of_each`.

    Args:
        probabilities (`np.ndarray` of shape `(exams,)`): Of exams that had no part in the model's training. A
            calibration may have been fitted to them: it keeps their order, and nothing else counts here.
        labels (`np.ndarray` of shape `(exams,)`): 1 present, 0 absent, -1 unknown (left out).
        error (`float`): What is promised, between 0 and 1.
        threshold (`float`): What decides where the classes are so far apart that nothing has to be uncertain.

    Raises:
        ValueError: for an error that is none.
    """
    if not 0 < error < 1:
        raise ValueError(f"expected a promised error between 0 and 1: found {error}")
    present, absent = (np.sort(probabilities[labels == value]) for value in (1, 0))
    if min(len(present), len(absent)) < needed_of_each(error):
        return None
    # The k-th lowest of n exams lies above a new one of their class with a chance of at most k / (n + 1).
    low = float(present[_rank(error, len(present)) - 1])
    high = float(np.nextafter(absent[len(absent) - _rank(error, len(absent))], np.inf))  # what equals it is below
    if low < high:
        return low, high
    at = min(max(threshold, high), low)
    return at, at


def _rank(error: float, n: int) -> int:
    return math.floor(error * (n + 1) + 1e-9)


def abstention_metrics(
    probabilities: np.ndarray, labels: np.ndarray, low: float, high: float
) -> dict[str, float | int | None]:
    """
    What abstaining does on exams of one label: arguments as for [`abstention_bounds`].

    Returns:
        `dict`: `missed` (share of the positives that are called negative), `false_alarms` (of the negatives, those
        called positive), `certain` (of all known exams, those decided on) and `certain_of_positives`, None where there
        are none to count; `n_positive` and `n_negative`.
    """
    present, absent = probabilities[labels == 1], probabilities[labels == 0]
    of_all = np.concatenate([present, absent])
    return {
        "missed": _share(present < low),
        "false_alarms": _share(absent >= high),
        "certain": _share((of_all < low) | (of_all >= high)),
        "certain_of_positives": _share((present < low) | (present >= high)),
        "n_positive": len(present),
        "n_negative": len(absent),
    }


def _share(which: Any) -> float | None:
    return float(which.mean()) if len(which) else None
