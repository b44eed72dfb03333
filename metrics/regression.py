"""
Metrics of numbers that are read from an ECG: MAE, RMSE, R2 and Pearson's correlation, with intervals by patient.

Every target is measured on the exams where it is known. A value that the data do not define is `None`, and listed
under `undefined` with the reason.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from metrics.ecg_multilabel.resampling import Counts, group_numbers, interval_report, too_few_for_intervals


METRICS = ("mae", "rmse", "r2", "pearson")
# Of a spread, relative to the largest deviation: below it, what is left of equal values is rounding.
_NO_SPREAD = 1e-12


def regression_metrics(predictions: np.ndarray, targets: np.ndarray, target_names: Sequence[str]) -> dict[str, Any]:
    """
    Metrics per target and their mean.

    Args:
        predictions (`np.ndarray` of shape `(exams, targets)`):
            In the targets' own units.
        targets (`np.ndarray` of shape `(exams, targets)`):
            NaN where unknown: that exam does not count for that target.
        target_names (`Sequence[str]` of length `targets`):
            Names for the result.

    Returns:
        `dict` ready for JSON: `per_target` {target: {each of `METRICS`: float or None, `n_known`}}, `mean` {metric:
        float or None} over the targets where the metric is defined, `undefined` [{label, metric, reason}].

    Raises:
        ValueError: if shapes differ, a prediction is not finite, a target is infinite, or a name repeats.
    """
    predictions, targets = _checked(predictions, targets, target_names)
    values = _Sums(predictions, targets, np.arange(len(targets))).values(np.ones((1, len(targets))))[0]
    per_target: dict[str, dict[str, Any]] = {}
    undefined = []
    for row, name in enumerate(target_names):
        known = ~np.isnan(targets[:, row])
        per_target[name] = {metric: _plain(values[row, column]) for column, metric in enumerate(METRICS)}
        per_target[name]["n_known"] = int(known.sum())
        for metric in METRICS:
            if per_target[name][metric] is None:
                reason = _reason(predictions[known, row], targets[known, row])
                undefined.append({"label": name, "metric": metric, "reason": reason})
    mean = {}
    for column, metric in enumerate(METRICS):
        defined = values[~np.isnan(values[:, column]), column]
        mean[metric] = float(defined.mean()) if len(defined) else None
        if len(defined) < len(target_names):
            reason = f"defined for {len(defined)} of {len(target_names)} targets"
            undefined.append({"label": "mean", "metric": metric, "reason": reason})
    return {"per_target": per_target, "mean": mean, "undefined": undefined}


def regression_intervals(
    predictions: np.ndarray,
    targets: np.ndarray,
    target_names: Sequence[str],
    groups: Sequence[Any] | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Intervals of all values of [`regression_metrics`], by a bootstrap over groups.

    Args and the result are those of `bootstrap_intervals`, with `per_target` in place of `per_class`.
    """
    predictions, targets = _checked(predictions, targets, target_names)
    group_index, n_groups = group_numbers(groups, len(targets))
    sums = _Sums(predictions, targets, group_index)
    withheld = too_few_for_intervals(sums.counts, target_names, dict.fromkeys(METRICS, ("known values",)))
    report = interval_report(sums.values, n_groups, target_names, METRICS, n_resamples, level, seed, withheld)
    report["per_target"] = report.pop("per_class")
    return report


class _Sums:
    """What the metrics of any weighting of the groups follow from: sums over each group's exams."""

    def __init__(self, predictions: np.ndarray, targets: np.ndarray, group_index: np.ndarray):
        known = ~np.isnan(targets)
        errors = np.where(known, predictions - targets, 0)
        # Around a value of their own middle, so that the spread is no difference of two large numbers.
        truth, told = (_centred(values, known) for values in (targets, predictions))
        self.scales = [np.abs(values).max(axis=0) ** 2 for values in (truth, told)]
        parts = [known, np.abs(errors), errors**2, truth, truth**2, told, told**2, truth * told]
        columns = np.stack(parts, axis=-1).astype(float)  # (exams, targets, parts)
        shape = (int(group_index.max()) + 1, len(targets))
        members = scipy.sparse.csr_array((np.ones(len(targets)), (group_index, np.arange(len(targets)))), shape=shape)
        self.sums = members @ columns.reshape(len(targets), -1)  # (groups, targets * parts)
        self.n_parts = len(parts)
        self.counts = Counts.of({"known values": self.sums.reshape(shape[0], -1, self.n_parts)[..., 0]})

    def values(self, weights: np.ndarray) -> np.ndarray:
        """All `METRICS` for weights `(resamples, groups)`: `(resamples, targets, metrics)`, NaN where undefined."""
        sums = (weights @ self.sums).reshape(len(weights), -1, self.n_parts)
        n, absolute, squared, y, yy, p, pp, yp = np.moveaxis(sums, -1, 0)
        some = np.maximum(n, 1)
        of_truth, of_told = yy - y**2 / some, pp - p**2 / some
        differs, told_differs = (
            spread > _NO_SPREAD * some * scale for spread, scale in zip((of_truth, of_told), self.scales, strict=True)
        )
        both = differs & told_differs
        product = np.sqrt(np.where(both, of_truth * of_told, 1))
        values = [
            np.where(n > 0, absolute / some, np.nan),
            np.where(n > 0, np.sqrt(squared / some), np.nan),
            np.where(differs, 1 - squared / np.where(differs, of_truth, 1), np.nan),
            np.where(both, np.clip((yp - y * p / some) / product, -1, 1), np.nan),
        ]
        return np.stack(values, axis=-1)


def _centred(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values less the median of the known ones of their column, 0 where unknown."""
    middle = np.array([np.median(column[of]) if of.any() else 0 for column, of in zip(values.T, known.T, strict=True)])
    return np.where(known, values - middle, 0)


def _reason(predictions: np.ndarray, targets: np.ndarray) -> str:
    """Why a metric of these known targets is undefined."""
    if len(targets) == 0:
        return "no known value"
    if (targets == targets[0]).all():
        return f"one value alone among {len(targets)} known"
    return f"one prediction for all {len(predictions)} known"


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _checked(
    predictions: np.ndarray, targets: np.ndarray, target_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 `(exams, targets)`, or the error that says what is wrong."""
    predictions, targets = (np.asarray(values, dtype=np.float64) for values in (predictions, targets))
    if targets.ndim != 2 or len(targets) == 0:
        raise ValueError(f"targets: expected shape (exams, targets) with at least one exam, found {targets.shape}")
    if predictions.shape != targets.shape:
        raise ValueError(f"predictions: expected the shape of the targets {targets.shape}, found {predictions.shape}")
    if len(target_names) != targets.shape[1] or len(set(target_names) - {"mean"}) != targets.shape[1]:
        raise ValueError(
            f"target_names: expected {targets.shape[1]} distinct names other than 'mean', found {list(target_names)}"
        )
    for name, wrong, given in (
        ("predictions", ~np.isfinite(predictions), predictions),
        ("targets", np.isinf(targets), targets),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(f"{name}: expected finite numbers, found {given[row, column]} at exam {row}")
    return predictions, targets
