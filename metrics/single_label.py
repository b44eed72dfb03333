"""
Metrics of ECG diagnosis where labels exclude each other and the most probable one is the decision.

Each label is measured as in `ecg_multilabel`, against all others; accuracy and balanced accuracy speak of all at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, multilabel_metrics


_ALWAYS, _NEVER = 0.0, 2.0  # thresholds that every probability reaches, and none


def single_label_metrics(probabilities: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """
    Metrics per class, their mean, and how often the most probable label is the right one.

    Args:
        probabilities (`np.ndarray` of shape `(exams, labels)`):
            In [0, 1].
        labels (`np.ndarray` of shape `(exams, labels)`):
            Of each exam one 1 and else 0, or -1 everywhere where its label is unknown (left out).
        label_names (`Sequence[str]` of length `labels`):
            Names for the result.

    Returns:
        `dict` ready for JSON: `accuracy`, `balanced_accuracy` (mean recall of the labels that occur), and `per_class`,
        `mean`, `undefined` of `multilabel_metrics`.

    Raises:
        ValueError: as `multilabel_metrics`, and for an exam with several labels or with none.
    """
    hits, known = _hits(probabilities, labels)
    result = multilabel_metrics(probabilities, labels, _limits(probabilities), label_names)
    accuracy = float(hits[known].mean()) if known.any() else None
    if accuracy is None:
        result["undefined"].append({"label": "all", "metric": "accuracy", "reason": "no known label"})
    return {"accuracy": accuracy, "balanced_accuracy": result["mean"]["recall"], **result}


def single_label_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    groups: Sequence[Any] | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Intervals of all values of [`single_label_metrics`], by a bootstrap over groups.

    Args and the result are those of `bootstrap_intervals`, with `accuracy` and `balanced_accuracy` besides.
    """
    hits, known = _hits(probabilities, labels)
    draws = (groups, n_resamples, level, seed)
    result = bootstrap_intervals(probabilities, labels, _limits(probabilities), label_names, *draws)
    # Whether a known exam's label was found is a label of its own, which is to be 1; the resamples are the same.
    of_hits = np.where(known, 1, -1)[:, None]
    found = bootstrap_intervals(hits[:, None].astype(float), of_hits, [0.5], ["hits"], *draws)
    accuracy = found["per_class"]["hits"]["accuracy"]
    return {"accuracy": accuracy, "balanced_accuracy": result["mean"]["recall"], **result}


def _hits(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the most probable label is the right one, and whether the right one is known, both bool (exams,)."""
    labels = np.asarray(labels)
    known: np.ndarray = (labels >= 0).all(axis=1)
    wrong = np.where(known, (labels == 1).sum(axis=1) != 1, (labels >= 0).any(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"exam {row}: expected one label, or -1 for all of them, found {labels[row].tolist()}")
    chosen = np.asarray(probabilities).argmax(axis=1)
    return np.equal(labels[np.arange(len(labels)), chosen], 1), known


def _limits(probabilities: np.ndarray) -> np.ndarray:
    """Thresholds (exams, labels) that the most probable label of each exam alone reaches."""
    limits = np.full(np.shape(probabilities), _NEVER)
    limits[np.arange(len(limits)), np.asarray(probabilities).argmax(axis=1)] = _ALWAYS
    return limits
