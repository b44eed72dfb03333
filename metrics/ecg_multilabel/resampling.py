"""
The bootstrap over groups, and where it gives no interval.

It stands beside `ecg_multilabel.py`, which `evaluate.load` copies elsewhere with what it imports relatively.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


MIN_DEFINED_SHARE = 0.5  # of the resamples; an interval from fewer would describe the lucky ones
# With fewer of what a metric rests on, resamples repeat a handful of exams: one missed positive would give [0, 0].
MIN_POSITIVES_FOR_INTERVAL = 10
UNDEFINED = "undefined on all data"  # why there is no interval of what has no value
CHUNK_ELEMENTS = 1_000_000  # numbers in one block of resampling weights (8 MB)


@dataclass(frozen=True)
class Counts:
    """
    How many exams, and how many groups that have one, there are of a kind such as "positives".

    Args:
        exams, groups (`dict[str, np.ndarray]`): By kind, `(labels,)`.
    """

    exams: dict[str, np.ndarray]
    groups: dict[str, np.ndarray]

    @classmethod
    def of(cls, kinds: Mapping[str, np.ndarray]) -> "Counts":
        """Of the exams of each kind in each group, `(groups, labels)`."""
        exams = {kind: of_groups.sum(axis=0) for kind, of_groups in kinds.items()}
        return cls(exams, {kind: (of_groups > 0).sum(axis=0) for kind, of_groups in kinds.items()})


def interval_report(
    values_of: Callable[[np.ndarray], np.ndarray],
    n_groups: int,
    names: Sequence[str],
    metrics: Sequence[str],
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    withheld: Mapping[tuple[str, str], str] | None = None,
    in_mean: np.ndarray | None = None,
) -> dict[str, Any]:
    """
    The result of `bootstrap_intervals` for any metrics.

    Args:
        values_of (`Callable`):
            From weights of the groups `(resamples, groups)`, 1 meaning once, to values `(resamples, names, metrics)`,
            NaN where a resample does not define one.
        n_groups (`int`), names (`Sequence[str]`), metrics (`Sequence[str]`):
            How many groups there are, and what the values' last two axes hold.
        n_resamples, level, seed:
            As for `bootstrap_intervals`.
        withheld (`Mapping`, *optional*):
            By (name, metric), why a value that is defined gets no interval; then the metric's mean gets none either.
        in_mean (`np.ndarray` of bool, shape `(names, metrics)`, *optional*):
            What a mean is of, by default what is defined.

    Raises:
        ValueError: for impossible settings.
    """
    check_bootstrap(n_resamples, level)
    resampled = np.concatenate([values_of(weights) for weights in draw_resamples(n_groups, n_resamples, seed)])
    values = values_of(np.ones((1, n_groups)))[0]
    in_mean = ~np.isnan(values) if in_mean is None else in_mean
    values, resampled = with_mean(values, resampled, in_mean)
    withheld = with_means_withheld(withheld or {}, names, metrics, in_mean)

    undefined: list[dict[str, str]] = []
    rows: dict[str, dict[str, Any]] = {}
    for row, name in enumerate([*names, "mean"]):
        rows[name] = {}
        for column, metric in enumerate(metrics):
            reason = UNDEFINED if np.isnan(values[row, column]) else withheld.get((name, metric))
            if reason is not None:
                rows[name][metric] = {"low": None, "high": None, "n_resamples": 0, "reason": reason}
                undefined.append({"label": name, "metric": metric, "reason": f"{reason}: no interval"})
                continue
            rows[name][metric], _ = percentile_interval(resampled[:, row, column], level)
            note_what_lacks(undefined, name, metric, rows[name][metric], n_resamples)
    mean = rows.pop("mean")
    settings = {"level": level, "n_resamples": n_resamples, "n_groups": n_groups, "seed": seed}
    return {**settings, "per_class": rows, "mean": mean, "undefined": undefined}


def too_few_for_intervals(
    counts: Counts, names: Sequence[str], rests_on: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], str]:
    """
    What has too few exams, or groups of them, for a bootstrap interval: (name, metric) and the reason.

    Args:
        counts (`Counts`), names (`Sequence[str]`):
            What each label has.
        rests_on (`Mapping[str, Sequence[str]]`):
            By metric, of which kinds there must be enough.
    """
    found: dict[tuple[str, str], str] = {}
    for row, name in enumerate(names):
        for metric, kinds in rests_on.items():
            for kind in kinds:
                few = f"fewer than {MIN_POSITIVES_FOR_INTERVAL}"
                if counts.exams[kind][row] < MIN_POSITIVES_FOR_INTERVAL:
                    found.setdefault((name, metric), f"{few} {kind}")
                elif counts.groups[kind][row] < MIN_POSITIVES_FOR_INTERVAL:
                    found.setdefault((name, metric), f"{few} patients with {kind}")
    return found


def with_means_withheld(
    withheld: Mapping[tuple[str, str], str], names: Sequence[str], metrics: Sequence[str], in_mean: np.ndarray
) -> dict[tuple[str, str], str]:
    """`withheld` with the means that some class in them leaves without an interval."""
    result = dict(withheld)
    for column, metric in enumerate(metrics):
        members = [name for name, member in zip(names, in_mean[:, column], strict=True) if member]
        lost = [withheld[name, metric] for name in members if (name, metric) in withheld]
        if lost:
            result["mean", metric] = f"{len(lost)} of its {len(members)} classes have none"
    return result


def with_mean(values: np.ndarray, resampled: np.ndarray, in_mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    `(labels, metrics)` and `(resamples, labels, metrics)` with the mean over labels as a further row.

    The mean is over the labels of `in_mean`, `(labels, metrics)`. Where one of them is undefined so is the mean, of
    all data as of a resample: left out, a class that a model never calls would raise it.
    """
    count = in_mean.sum(axis=0)
    mean = ratio(np.where(in_mean, values, 0).sum(axis=0), count)
    resampled_mean = np.where(in_mean, resampled, 0).sum(axis=1) / np.maximum(count, 1)
    return np.vstack([values, mean]), np.concatenate([resampled, resampled_mean[:, None]], axis=1)


def percentile_interval(resampled: np.ndarray, level: float) -> tuple[dict[str, Any], float | None]:
    """Percentile interval of one number's resamples, or the reason why it has none, and the two-sided p-value of 0."""
    kept = resampled[~np.isnan(resampled)]
    none = {"low": None, "high": None, "n_resamples": len(kept)}
    if len(kept) == 0 or len(kept) < MIN_DEFINED_SHARE * len(resampled):
        return {**none, "reason": f"defined in {len(kept)} of {len(resampled)} resamples"}, None
    beyond = min((kept <= 0).sum(), (kept >= 0).sum())
    p_value = min(1.0, 2 * (int(beyond) + 1) / (len(kept) + 1))
    if kept.min() == kept.max():
        # Of a perfect score, or of none right: drawing the same exams again cannot tell how certain that is.
        return {**none, "reason": "the same in every resample"}, p_value
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high), "n_resamples": len(kept)}, p_value


def note_what_lacks(
    undefined: list[dict[str, str]], name: str, metric: str, interval: Mapping[str, Any], n_resamples: int
) -> None:
    """Say in `undefined` that there is no interval, or that resamples were left out of it."""
    lost = n_resamples - interval["n_resamples"]
    if "reason" in interval:
        undefined.append({"label": name, "metric": metric, "reason": f"{interval['reason']}: no interval"})
    elif lost:
        reason = f"undefined in {lost} of {n_resamples} resamples"
        undefined.append({"label": name, "metric": metric, "reason": reason})


def draw_resamples(n_groups: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Weights `(some, groups)` that add up to `n_resamples` rows: how often each group was drawn."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK_ELEMENTS // n_groups)
    for start in range(0, n_resamples, chunk):
        # One draw a resample, so that the resamples do not depend on the chunk.
        draws = (generator.integers(0, n_groups, n_groups) for _ in range(min(chunk, n_resamples - start)))
        yield np.stack([np.bincount(draw, minlength=n_groups) for draw in draws]).astype(float)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def group_numbers(groups: Sequence[Any] | np.ndarray | None, n_exams: int) -> tuple[np.ndarray, int]:
    """Group of each exam as a number from 0, and how many groups there are; without groups every exam is one."""
    if groups is None:
        return np.arange(n_exams), n_exams
    if len(groups) != n_exams:
        raise ValueError(f"groups: expected one for each of {n_exams} exams, found {len(groups)}")
    distinct, index = np.unique(np.asarray(groups), return_inverse=True)
    return index, len(distinct)


def check_bootstrap(n_resamples: int, level: float) -> None:
    """
    Raises:
        ValueError: for impossible settings.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples: expected at least 1, found {n_resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}")
