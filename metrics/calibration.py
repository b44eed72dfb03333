"""
How well probabilities say how often a label is there: Brier score and expected calibration error (ECE), per label.

Both are measured on the exams where a label is known. ECE has `N_BINS` equally wide bins, [0, 0.1), [0.1, 0.2), ...,
[0.9, 1]; it is the mean over exams of the distance between mean probability and share of positives in their bin. A
rare label lies nearly whole in the first bin, where ECE says whether the probabilities are right on average, and no
more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss

from metrics.ecg_multilabel.resampling import Counts, group_numbers, interval_report, ratio, too_few_for_intervals


N_BINS = 10
BINNING = f"{N_BINS} equally wide bins"
METRICS = ("brier", "ece")


def calibration_bins(probabilities: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Exams, mean probability and share of positives of each bin, `(N_BINS,)`; the latter two are NaN in an empty one.

    Args:
        probabilities (`np.ndarray` of shape `(exams,)`):
            In [0, 1].
        positive (`np.ndarray` of bool, shape `(exams,)`):
            Whether the label is there.
    """
    bins = np.minimum((np.asarray(probabilities) * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    sums = (np.bincount(bins, weights, N_BINS) for weights in (probabilities, positive))
    mean, share = (ratio(of_bins, counts) for of_bins in sums)
    return counts, mean, share


def expected_calibration_error(probabilities: np.ndarray, positive: np.ndarray) -> float:
    """ECE of at least one exam; arguments as for [`calibration_bins`]."""
    counts, mean, share = calibration_bins(probabilities, positive)
    used = counts > 0
    return float(np.average(np.abs(share - mean)[used], weights=counts[used]))


def calibration_metrics(probabilities: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """
    Brier score and ECE per label, and their means.

    Args:
        probabilities (`np.ndarray` of shape `(exams, labels)`):
            In [0, 1]; of labels that exclude each other, each label's against all others.
        labels (`np.ndarray` of shape `(exams, labels)`):
            1 present, 0 absent, -1 unknown: that exam does not count for that label.
        label_names (`Sequence[str]` of length `labels`):
            Names for the result.

    Returns:
        `dict` ready for JSON: `binning` (of ECE, in words), `per_class` {label: {`brier`, `ece`}}, `mean` over the
        labels that are known in some exam, `undefined` [{label, metric, reason}].
    """
    per_class: dict[str, dict[str, float | None]] = {}
    undefined = []
    for name, scores, truth in zip(label_names, np.transpose(probabilities), np.transpose(labels), strict=True):
        known = truth >= 0
        if not known.any():
            per_class[name] = dict.fromkeys(METRICS)
            undefined += [{"label": name, "metric": metric, "reason": "no known label"} for metric in METRICS]
            continue
        told, positive = scores[known], truth[known] == 1
        brier = float(brier_score_loss(positive, told, pos_label=True))
        per_class[name] = {"brier": brier, "ece": expected_calibration_error(told, positive)}
    mean: dict[str, float | None] = {}
    for metric in METRICS:
        found = (values[metric] for values in per_class.values())
        defined = [value for value in found if value is not None]
        mean[metric] = float(np.mean(defined)) if defined else None
        if len(defined) < len(per_class):
            reason = f"defined for {len(defined)} of {len(per_class)} classes"
            undefined.append({"label": "mean", "metric": metric, "reason": reason})
    return {"binning": BINNING, "per_class": per_class, "mean": mean, "undefined": undefined}


def brier_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Intervals of the Brier scores by a bootstrap over groups; args and result as those of `bootstrap_intervals`.

    ECE has none: a resample's bins scatter more than those of the data, so its ECE is larger, and percentiles of such
    values need not hold the value that they are to surround.
    """
    labels = np.asarray(labels)
    known = labels >= 0
    index, n_groups = group_numbers(groups, len(labels))
    parts = (np.where(known, (np.asarray(probabilities) - labels) ** 2, 0), known, labels == 1)
    squared, n_known, n_positive = (_by_group(part, index, n_groups) for part in parts)
    kinds = Counts.of({"known exams": n_known, "positives": n_positive})
    withheld = too_few_for_intervals(kinds, label_names, {"brier": ("known exams", "positives")})

    def values(weights: np.ndarray) -> np.ndarray:
        return ratio(weights @ squared, weights @ n_known)[..., None]

    return interval_report(values, n_groups, label_names, ("brier",), n_resamples, level, seed, withheld)


def _by_group(values: np.ndarray, index: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums over the exams of each group, `(groups, labels)`."""
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, index, values)
    return sums
