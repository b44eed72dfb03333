"""
Multi-label metrics of ECG diagnosis, as functions of numpy arrays and as an `evaluate` module.

Every label is scored on the exams where it is known. A metric that the data do not define is `None`, and listed under
`undefined` with the reason; README.md beside this file gives the formulas and the conventions.
"""

# The scanner of `evaluate.load` reads these lines: `import a, b` would be a package named "a,".
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import scipy.sparse

# Relative, so that `evaluate.load` finds and copies it.
from .resampling import (
    Counts,
    check_bootstrap,
    draw_resamples,
    group_numbers,
    interval_report,
    note_what_lacks,
    percentile_interval,
    ratio,
    too_few_for_intervals,
    with_mean,
    with_means_withheld,
)


CONFUSION_METRICS = ("accuracy", "precision", "recall", "f1", "specificity")
RANK_METRICS = ("auroc", "average_precision")
METRICS = CONFUSION_METRICS + RANK_METRICS
NO_CHOICE_THRESHOLD = 0.5  # where a label has one class only: no data speak for another value
# What each metric is a share of, or an order of: with too few of one kind it gets no interval.
RESTS_ON = {
    "accuracy": ("known exams",),
    "precision": ("positives", "exams called positive"),
    "recall": ("positives",),
    "f1": ("positives",),
    "specificity": ("negatives",),
    "auroc": ("positives", "negatives"),
    "average_precision": ("positives",),
}
_COUNTED = {"n_positive": "positives", "n_known": "known exams", "n_predicted": "exams called positive"}
ZERO_DIVISION_METRICS = ("precision", "recall", "f1")  # those to which scikit-learn's `zero_division` applies

_DESCRIPTION = """\
Metrics of multi-label ECG diagnosis per class and mean: accuracy, precision, recall, F1, specificity, AUROC and
average precision, with decision thresholds given or chosen to maximise F1, confidence intervals by a bootstrap over
patients, unknown labels left out, and undefined values stated with their reason instead of counted as 0.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of lists of float): (exams, labels), probabilities in [0, 1].
    references (list of lists of int): (exams, labels), 1 present, 0 absent, -1 unknown.
    thresholds (list of float, optional): one for each label; a diagnosis is made where probability >= threshold. Left
        out, they are chosen on these very data, which flatters the result: give those chosen on validation data.
    label_names (list of str, optional): names for the result, by default "label_0", "label_1", ...
    groups (list, optional): patient of each exam; the bootstrap draws patients. By default every exam is its own.
    n_resamples (int): resamples of the bootstrap, 0 (the default) for no intervals.
    level (float): coverage of the intervals, 0.95 by default.
    seed (int): of the bootstrap, 0 by default.
Returns:
    dict with thresholds, thresholds_chosen_here, per_class, mean, mean_zero_division, undefined and, with n_resamples,
    intervals.
Examples:
    >>> metric = evaluate.load("metrics/ecg_multilabel")
    >>> result = metric.compute(
    ...     predictions=[[0.9], [0.6], [0.2]], references=[[1], [0], [0]], thresholds=[0.5], label_names=["AF"]
    ... )
    >>> result["per_class"]["AF"]["precision"]
    0.5
"""


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    Thresholds that maximise F1, one for each label: float64 `(labels,)`.

    Every cut between two neighbouring distinct probabilities is tried, and the one below the lowest; the threshold is
    the midpoint of the cut (below the lowest: half of the lowest). Of several cuts with the same highest F1 the one
    with the highest threshold is taken, that is the fewest positive calls. A label without a positive or without a
    negative gets `NO_CHOICE_THRESHOLD`; `undefined_thresholds` lists those.

    Args:
        probabilities (`np.ndarray` of shape `(exams, labels)`):
            In [0, 1].
        labels (`np.ndarray` of shape `(exams, labels)`):
            1 present, 0 absent, -1 unknown (left out).

    Raises:
        ValueError: if shapes differ, a probability is not in [0, 1] or a label not in {-1, 0, 1}.
    """
    probabilities, labels = _checked(probabilities, labels)
    thresholds = np.full(labels.shape[1], NO_CHOICE_THRESHOLD)
    for index in range(labels.shape[1]):
        known = labels[:, index] >= 0
        scores, positive = probabilities[known, index], labels[known, index] == 1
        if positive.all() or not positive.any():
            continue
        order = np.argsort(-scores, kind="stable")
        scores, found = scores[order], np.cumsum(positive[order])
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # last exam of each distinct score
        # Equal fractions give equal floats (division rounds correctly), so ties are exact; argmax takes the first.
        best = np.argmax(2 * found[ends] / (ends + 1 + found[-1]))
        upper = scores[ends[best]]
        lower = scores[ends[best + 1]] if best + 1 < len(ends) else 0.0
        middle = (lower + upper) / 2
        # Between neighbouring floats the midpoint rounds to one of them: it must not call the lower one positive.
        thresholds[index] = middle if middle > lower else upper
    return thresholds


def undefined_thresholds(labels: np.ndarray, label_names: Sequence[str]) -> list[dict[str, str]]:
    """Labels for which `choose_thresholds` had nothing to choose by, each as `{"label", "metric", "reason"}`."""
    entries = []
    for index, name in enumerate(label_names):
        column = np.asarray(labels)[:, index]
        n_known, n_positive = int((column >= 0).sum()), int((column == 1).sum())
        if n_positive in (0, n_known):
            missing = "known label" if n_known == 0 else "positive" if n_positive == 0 else "negative"
            reason = f"no {missing} to choose by: {NO_CHOICE_THRESHOLD} is used"
            entries.append({"label": name, "metric": "threshold", "reason": reason})
    return entries


def multilabel_metrics(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    label_names: Sequence[str],
) -> dict[str, Any]:
    """
    Metrics per class and their mean.

    Args:
        probabilities (`np.ndarray` of shape `(exams, labels)`):
            In [0, 1].
        labels (`np.ndarray` of shape `(exams, labels)`):
            1 present, 0 absent, -1 unknown: that exam does not count for that label.
        thresholds (`Sequence[float]` of length `labels`, or `np.ndarray` of shape `(exams, labels)`):
            A diagnosis is made where probability >= threshold. One for each exam states decisions of another kind,
            such as "the most probable label".
        label_names (`Sequence[str]` of length `labels`):
            Names for the result.

    Returns:
        `dict` ready for JSON: `per_class` {label: {each of `METRICS`: float or None, `n_positive`, `n_known`,
        `n_predicted`}}; `mean` {metric: float or None} over the classes for which the labels define the metric, None
        where a model leaves one of those undefined (a precision without calls); `mean_zero_division` {each of
        `ZERO_DIVISION_METRICS`: float or None} over all classes with a known label, an undefined value counted as 0,
        as the macro mean of scikit-learn with `zero_division=0`; `undefined` [{label, metric, reason}].

    Raises:
        ValueError: if shapes differ, a probability is not in [0, 1], a label not in {-1, 0, 1}, or a name repeats.
    """
    probabilities, labels = _checked(probabilities, labels, label_names)
    tally = _Tally(probabilities, labels, _checked_thresholds(thresholds, labels), np.arange(len(labels)))
    return _report(tally, label_names, METRICS)


def rank_metrics(scores: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
    """
    AUROC and average precision, which need no threshold and take any finite scores, such as cosine similarities.

    Args and the result are those of `multilabel_metrics`, with the two metrics and the counts `n_positive`, `n_known`.
    """
    scores, labels = _checked(scores, labels, label_names, bounded=False)
    tally = _Tally(scores, labels, np.full(labels.shape[1], np.inf), np.arange(len(labels)))
    return _report(tally, label_names, RANK_METRICS)


def bootstrap_intervals(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    label_names: Sequence[str],
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Percentile confidence intervals of every metric by a bootstrap over groups.

    Groups (patients) are drawn with replacement, with all their exams: exams of one patient are alike, and drawing
    them singly makes intervals too narrow. Thresholds stay fixed.

    Args:
        probabilities, labels, thresholds, label_names:
            As for `multilabel_metrics`.
        groups (`Sequence` of length `exams`, *optional*):
            Patient of each exam. Without it every exam is a group.
        n_resamples (`int`, defaults to 1000), level (`float`, defaults to 0.95), seed (`int`, defaults to 0):
            Resamples, coverage and seed. The same seed gives the same resamples.

    Returns:
        `dict` ready for JSON: `level`, `n_resamples`, `n_groups`, `seed`; `per_class` {label: {metric: {`low`, `high`,
        `n_resamples`}}} and `mean` {metric: ...}; `undefined`. Where there is no interval `low` and `high` are None,
        and `reason` says why: the metric is undefined, rests (`RESTS_ON`) on fewer than `MIN_POSITIVES_FOR_INTERVAL`
        exams or groups, or is the same in every resample. A resample in which the metric is undefined (say, without a
        positive) is left out, `n_resamples` counts the rest, and fewer than half of them give no interval. The mean
        has an interval where none of its classes has too few, and leaves out a resample in which one of them is
        undefined, so that every resample averages the same classes.

    Raises:
        ValueError: as `multilabel_metrics`, and for groups of another length or impossible settings.
    """
    probabilities, labels = _checked(probabilities, labels, label_names)
    group_index, n_groups = group_numbers(groups, len(labels))
    tally = _Tally(probabilities, labels, _checked_thresholds(thresholds, labels), group_index)
    withheld, in_mean = too_few_for_intervals(tally.counts, label_names, RESTS_ON), tally.in_mean
    return interval_report(
        tally.values, n_groups, label_names, METRICS, n_resamples, level, seed, withheld=withheld, in_mean=in_mean
    )


def paired_bootstrap(
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    labels: np.ndarray,
    thresholds_a: Sequence[float] | np.ndarray,
    thresholds_b: Sequence[float] | np.ndarray,
    label_names: Sequence[str],
    groups: Sequence[Any] | np.ndarray | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Difference of two models on the same exams, b - a, with intervals from resamples that both share.

    Args:
        probabilities_a, probabilities_b (`np.ndarray` of shape `(exams, labels)` or `(runs, exams, labels)`):
            Of the two models; with runs (seeds) a model's metric is its mean over runs, on each resample.
        labels (`np.ndarray` of shape `(exams, labels)`), label_names, groups, n_resamples, level, seed:
            As for `bootstrap_intervals`.
        thresholds_a, thresholds_b (shape `(labels,)` or `(runs, labels)`):
            Of each model, or of each of its runs.

    Returns:
        `dict` ready for JSON: settings as in `bootstrap_intervals`; `per_class` {label: {metric: {`a`, `b`,
        `difference`, `low`, `high`, `p_value`, `n_resamples`, `reason`}}} and `mean` {metric: ...}; `undefined`.
        `reason` says why there is no interval, and is None where there is one. `p_value` is two-sided: twice the
        smaller share of resamples at or beyond 0, each share as (count + 1) / (resamples + 1). A metric that is
        undefined for either model is None for the difference; what rests on too few exams for `bootstrap_intervals`
        in either model gets neither interval nor p-value here. Means are those of `multilabel_metrics`.

    Raises:
        ValueError: as `bootstrap_intervals`, and for runs whose shapes do not fit.
    """
    labels = np.asarray(labels)
    group_index, n_groups = group_numbers(groups, len(labels))
    check_bootstrap(n_resamples, level)
    tallies = [
        _tallies_of_runs(probabilities, labels, thresholds, label_names, group_index)
        for probabilities, thresholds in ((probabilities_a, thresholds_a), (probabilities_b, thresholds_b))
    ]
    ones = np.ones((1, n_groups))
    values = np.stack([np.mean([tally.values(ones)[0] for tally in runs], axis=0) for runs in tallies])
    resampled = np.concatenate(
        [
            np.stack([np.mean([tally.values(weights) for tally in runs], axis=0) for runs in tallies])
            for weights in draw_resamples(n_groups, n_resamples, seed)
        ],
        axis=1,
    )
    in_mean = tallies[0][0].in_mean  # the labels decide, which all share
    difference, resampled_difference = with_mean(values[1] - values[0], resampled[1] - resampled[0], in_mean)
    values = np.stack([with_mean(value, value[None], in_mean)[0] for value in values])
    withheld: dict[tuple[str, str], str] = {}
    for tally in (tally for runs in tallies for tally in runs):
        withheld |= too_few_for_intervals(tally.counts, label_names, RESTS_ON)
    withheld = with_means_withheld(withheld, label_names, METRICS, in_mean)

    undefined: list[dict[str, str]] = []
    rows: dict[str, dict[str, Any]] = {}
    for row, name in enumerate([*label_names, "mean"]):
        rows[name] = {}
        for column, metric in enumerate(METRICS):
            point = dict(zip(("a", "b"), map(_plain, values[:, row, column]), strict=True))
            point["difference"] = _plain(difference[row, column])
            reason = withheld.get((name, metric))
            if point["difference"] is None:
                reason = "undefined for one of the models or both"
            if reason is not None:
                none = {"low": None, "high": None, "p_value": None, "n_resamples": 0, "reason": reason}
                rows[name][metric] = {**point, **none}
                undefined.append({"label": name, "metric": metric, "reason": reason})
                continue
            interval, p_value = percentile_interval(resampled_difference[:, row, column], level)
            rows[name][metric] = {**point, **interval, "p_value": p_value, "reason": interval.get("reason")}
            note_what_lacks(undefined, name, metric, interval, n_resamples)
    mean = rows.pop("mean")
    settings = {"level": level, "n_resamples": n_resamples, "n_groups": n_groups, "seed": seed}
    return {**settings, "per_class": rows, "mean": mean, "undefined": undefined}


def metrics_by_weight(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    label_names: Sequence[str],
    groups: Sequence[Any] | np.ndarray | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """
    The function from weights of the groups to all `METRICS`, for resamplings of one's own.

    Args as for `bootstrap_intervals`. The function takes weights `(resamples, groups)`, groups in the order of their
    sorted names and 1 meaning once, and returns `(resamples, labels, metrics)`, NaN where a resample does not define
    a metric.
    """
    labels = np.asarray(labels)
    index, _ = group_numbers(groups, len(labels))
    (tally,) = _tallies_of_runs(np.asarray(probabilities), labels, thresholds, label_names, index)
    return tally.values


class _Tally:
    """
    What the metrics of any weighting of the groups follow from, collected once.

    A resample is a weight for each group, so a thousand of them are products with sparse matrices instead of a
    thousand sorts. Inside, an undefined value is NaN; it becomes None where results leave this module.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray, group_index: np.ndarray):
        n_groups = int(group_index.max()) + 1
        self.labels = labels
        called, positive, negative = scores >= thresholds, labels == 1, labels == 0
        cells = np.stack([positive & called, negative & called, positive & ~called, negative & ~called], axis=-1)
        exams = np.arange(len(labels))
        members = scipy.sparse.csr_array((np.ones(len(labels)), (group_index, exams)), shape=(n_groups, len(labels)))
        self.confusion = members @ cells.reshape(len(labels), -1).astype(float)  # (groups, labels * 4)
        tp, fp, fn, tn = np.moveaxis(self.confusion.reshape(n_groups, -1, 4), -1, 0)
        kinds = {"positives": tp + fn, "negatives": fp + tn, "exams called positive": tp + fp}
        self.counts = Counts.of({**kinds, "known exams": tp + fp + fn + tn})
        self.rankings = [
            _ranking(scores[known, index], labels[known, index] == 1, group_index[known], n_groups)
            for index, known in enumerate((labels >= 0).T)
        ]

    @property
    def in_mean(self) -> np.ndarray:
        """What the labels define, whatever a model does, and so what a mean is of: bool `(labels, metrics)`."""
        needed = [[kind for kind in RESTS_ON[metric] if kind != "exams called positive"] for metric in METRICS]
        return np.stack([np.all([self.counts.exams[kind] > 0 for kind in kinds], axis=0) for kinds in needed], axis=-1)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """All `METRICS` for weights `(resamples, groups)`: `(resamples, labels, metrics)`, NaN where undefined."""
        cells = (weights @ self.confusion).reshape(len(weights), -1, 4)
        draws = np.ascontiguousarray(weights.T)  # once: each product with a sparse matrix would copy it
        ranks = np.stack([_rank_values(*ranking, draws) for ranking in self.rankings], axis=1)
        return np.concatenate([_confusion_values(cells), ranks], axis=-1)


def _confusion_values(cells: np.ndarray) -> np.ndarray:
    """`CONFUSION_METRICS` of `(..., 4)` counts TP, FP, FN, TN: `(..., 5)`."""
    tp, fp, fn, tn = np.moveaxis(cells, -1, 0)
    any_positive = tp + fn > 0  # without one, precision and F1 are 0 or 0/0 whatever the model does
    return np.stack(
        [
            ratio(tp + tn, tp + fp + fn + tn),
            ratio(tp, np.where(any_positive, tp + fp, 0)),
            ratio(tp, tp + fn),
            ratio(2 * tp, np.where(any_positive, 2 * tp + fp + fn, 0)),
            ratio(tn, tn + fp),
        ],
        axis=-1,
    )


def _ranking(
    scores: np.ndarray, positive: np.ndarray, groups: np.ndarray, n_groups: int
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """
    Positives `(blocks, groups)` and negatives `(2 * blocks + 1, groups)` counted by place in the ranking.

    A block is the exams that share a score which some positive has, from the highest score down. Row 2k + 1 of the
    negatives is block k, row 2k the gap above it, the last row the gap below all: AUROC and average precision need
    nothing finer, and with rare positives this is a small fraction of the exams.
    """
    _, place = np.unique(-scores, return_inverse=True)
    blocks = np.unique(place[positive])
    block = np.searchsorted(blocks, place)
    in_block = np.isin(place, blocks)
    ones = np.ones(len(scores))
    shape = (len(blocks), n_groups)
    positives = scipy.sparse.coo_array((ones[positive], (block[positive], groups[positive])), shape=shape).tocsr()
    rows = (2 * block + in_block)[~positive]
    shape = (2 * len(blocks) + 1, n_groups)
    negatives = scipy.sparse.coo_array((ones[~positive], (rows, groups[~positive])), shape=shape).tocsr()
    return positives, negatives


def _rank_values(
    positives: scipy.sparse.csr_array, negatives: scipy.sparse.csr_array, draws: np.ndarray
) -> np.ndarray:
    """`RANK_METRICS` of one label for weights `(groups, resamples)`: `(resamples, 2)`."""
    found = positives @ draws  # (blocks, resamples)
    passed = negatives @ draws  # (2 * blocks + 1, resamples)
    tied = passed[1::2]
    above = np.cumsum(passed[:-1:2] + tied, axis=0)  # and those tied, (blocks, resamples)
    n_negative, n_positive = passed.sum(axis=0), found.sum(axis=0)
    outranked = (found * (n_negative - above + tied / 2)).sum(axis=0)
    called = np.cumsum(found, axis=0)
    precision = called / np.maximum(called + above, 1)  # 0 called: such a block has weight 0 below
    average_precision = ratio((found * precision).sum(axis=0), n_positive)
    return np.stack([ratio(outranked, n_positive * n_negative), average_precision], axis=-1)


def _report(tally: _Tally, label_names: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Values on all data as the nested dict of `multilabel_metrics`."""
    values = tally.values(np.ones((1, len(tally.labels))))[0]
    places = [METRICS.index(metric) for metric in metrics]
    values, in_mean = values[:, places], tally.in_mean[:, places]
    mean = dict(zip(metrics, map(_plain, with_mean(values, values[None], in_mean)[0][-1]), strict=True))
    per_class, undefined = {}, []
    for row, name in enumerate(label_names):
        counts = {key: int(tally.counts.exams[kind][row]) for key, kind in _COUNTED.items()}
        if metrics != METRICS:
            del counts["n_predicted"]
        per_class[name] = {**dict(zip(metrics, map(_plain, values[row]), strict=True)), **counts}
        for metric in metrics:
            if per_class[name][metric] is None:
                undefined.append({"label": name, "metric": metric, "reason": _reason(**counts)})
    for column, metric in enumerate(metrics):
        left = np.isnan(values[:, column]) & in_mean[:, column]
        n_in_mean = int(in_mean[:, column].sum())
        reason = f"defined for {n_in_mean} of {len(label_names)} classes"
        if left.any():
            reason = "no exam called positive of " + ", ".join(np.asarray(label_names)[left])
        if left.any() or n_in_mean < len(label_names):
            undefined.append({"label": "mean", "metric": metric, "reason": reason})
    report: dict[str, Any] = {"per_class": per_class, "mean": mean, "undefined": undefined}
    if metrics == METRICS:
        report["mean_zero_division"] = _mean_zero_division(values, tally.counts.exams["known exams"] > 0)
    return report


def _mean_zero_division(values: np.ndarray, known: np.ndarray) -> dict[str, float | None]:
    """Mean of `(labels, METRICS)` over the known labels, an undefined value counted as 0."""
    places = [METRICS.index(metric) for metric in ZERO_DIVISION_METRICS]
    counted = np.nan_to_num(values[known][:, places])
    means = counted.mean(axis=0).tolist() if len(counted) else [None] * len(places)
    return dict(zip(ZERO_DIVISION_METRICS, means, strict=True))


def _reason(n_positive: int, n_known: int, n_predicted: int | None = None) -> str:
    """Why a metric of a label with these counts is undefined."""
    if n_known == 0:
        return "no known label"
    if n_positive == 0:
        return f"no positive among {n_known} known labels"
    if n_positive == n_known:
        return f"no negative among {n_known} known labels"
    return f"no exam called positive, {n_positive} positives missed"


def _plain(value: float) -> float | None:
    """Float for JSON, None for NaN."""
    return None if np.isnan(value) else float(value)


def _tallies_of_runs(
    probabilities: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    label_names: Sequence[str],
    group_index: np.ndarray,
) -> list[_Tally]:
    """One tally for each run of a model."""
    probabilities = np.asarray(probabilities)
    runs = probabilities[None] if probabilities.ndim == 2 else probabilities
    if runs.ndim != 3 or len(runs) == 0:
        raise ValueError(
            f"probabilities: expected shape (exams, labels) or (runs, exams, labels), found {probabilities.shape}"
        )
    thresholds = np.asarray(thresholds, dtype=float)
    if thresholds.ndim == 1:
        thresholds = np.broadcast_to(thresholds, (len(runs), len(thresholds)))
    if len(thresholds) != len(runs):
        raise ValueError(f"thresholds: expected one row for each of {len(runs)} runs, found {len(thresholds)}")
    tallies = []
    for run, limits in zip(runs, thresholds, strict=True):
        scores, checked = _checked(run, labels, label_names)
        tallies.append(_Tally(scores, checked, _checked_thresholds(limits, checked), group_index))
    return tallies


def _checked(
    scores: np.ndarray, labels: np.ndarray, label_names: Sequence[str] | None = None, bounded: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and labels as int8, both `(exams, labels)`, or the error that says what is wrong."""
    scores, given = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if given.ndim != 2 or len(given) == 0:
        raise ValueError(f"labels: expected shape (exams, labels) with at least one exam, found {given.shape}")
    if scores.shape != given.shape:
        raise ValueError(f"probabilities: expected the shape of the labels {given.shape}, found {scores.shape}")
    if label_names is not None and len(label_names) != given.shape[1]:
        raise ValueError(
            f"label_names: expected {given.shape[1]} names, found {len(label_names)}: {list(label_names)}"
        )
    if label_names is not None and len(set(label_names) - {"mean"}) != given.shape[1]:
        raise ValueError(f"label_names: expected distinct names other than 'mean', found {list(label_names)}")
    wrong = ~np.isin(given, (-1, 0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"labels: expected 0, 1 or -1 (unknown), found {given[row, column]} at exam {row}, label {column}"
        )
    wrong = ~((scores >= 0) & (scores <= 1)) if bounded else ~np.isfinite(scores)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        wanted = "probabilities in [0, 1] (logits need a sigmoid)" if bounded else "finite scores"
        raise ValueError(f"expected {wanted}, found {scores[row, column]} at exam {row}, label {column}")
    return scores, given.astype(np.int8)


def _checked_thresholds(thresholds: Sequence[float] | np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Thresholds as float64, one for each label, or one for each label of each exam."""
    checked = np.asarray(thresholds, dtype=np.float64)
    if checked.shape not in (labels.shape[1:], labels.shape) or not np.isfinite(checked).all():
        raise ValueError(f"thresholds: expected {labels.shape[1]} finite numbers, found {thresholds!r}")
    return checked


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class EcgMultilabel(evaluate.Metric):
    """`evaluate.load("metrics/ecg_multilabel")`; `compute` takes the arguments described in `inputs_description`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("int8")),
                }
            ),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[int]],
        thresholds: Sequence[float] | None = None,
        label_names: Sequence[str] | None = None,
        groups: Sequence[Any] | None = None,
        n_resamples: int = 0,
        level: float = 0.95,
        seed: int = 0,
    ) -> dict[str, Any]:
        probabilities, labels = _checked(np.array(predictions), np.array(references))
        names = [f"label_{i}" for i in range(labels.shape[1])] if label_names is None else list(label_names)
        chosen = choose_thresholds(probabilities, labels) if thresholds is None else np.asarray(thresholds)
        result = multilabel_metrics(probabilities, labels, chosen, names)
        if thresholds is None:
            result["undefined"] = undefined_thresholds(labels, names) + result["undefined"]
        if n_resamples:
            result["intervals"] = bootstrap_intervals(
                probabilities, labels, chosen, names, groups, n_resamples=n_resamples, level=level, seed=seed
            )
        named = dict(zip(names, map(float, chosen), strict=True))
        return {"thresholds": named, "thresholds_chosen_here": thresholds is None, **result}
