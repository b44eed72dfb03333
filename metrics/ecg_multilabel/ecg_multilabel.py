"""
Multi-label metrics of ECG diagnosis, as functions of numpy arrays and as an `evaluate` module.

Every label is scored on the exams where it is known. A metric that the data do not define is `None`, and listed under
`undefined` with the reason; README.md beside this file gives the formulas and the conventions.
"""

# The scanner of `evaluate.load` reads these lines: `import a, b` would be a package named "a,".
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import scipy.sparse


CONFUSION_METRICS = ("accuracy", "precision", "recall", "f1", "specificity")
RANK_METRICS = ("auroc", "average_precision")
METRICS = CONFUSION_METRICS + RANK_METRICS
NO_CHOICE_THRESHOLD = 0.5  # where a label has one class only: no data speak for another value
MIN_DEFINED_SHARE = 0.5  # of the resamples; an interval from fewer would describe the lucky ones
CHUNK_ELEMENTS = 1_000_000  # numbers in one block of resampling weights (8 MB)

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
    dict with thresholds, thresholds_chosen_here, per_class, mean, undefined and, with n_resamples, intervals.
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
        `n_predicted`}}, `mean` {metric: float or None} over the classes where the metric is defined, `undefined`
        [{label, metric, reason}].

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
        `n_resamples`}}} and `mean` {metric: ...}; `undefined`. A resample in which the metric is undefined (say,
        without a positive) is left out, `n_resamples` counts the rest, and with fewer than half of them `low` and
        `high` are None. The mean is over the classes where the metric is defined on all data, and leaves out a
        resample in which one of them is undefined, so that every resample averages the same classes.

    Raises:
        ValueError: as `multilabel_metrics`, and for groups of another length or impossible settings.
    """
    probabilities, labels = _checked(probabilities, labels, label_names)
    group_index, n_groups = group_numbers(groups, len(labels))
    tally = _Tally(probabilities, labels, _checked_thresholds(thresholds, labels), group_index)
    return interval_report(tally.values, n_groups, label_names, METRICS, n_resamples, level, seed)


def interval_report(
    values_of: Callable[[np.ndarray], np.ndarray],
    n_groups: int,
    names: Sequence[str],
    metrics: Sequence[str],
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
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

    Raises:
        ValueError: for impossible settings.
    """
    _check_bootstrap(n_resamples, level)
    resampled = np.concatenate([values_of(weights) for weights in _resamples(n_groups, n_resamples, seed)])
    values, resampled = _with_mean(values_of(np.ones((1, n_groups)))[0], resampled)

    undefined: list[dict[str, str]] = []
    rows: dict[str, dict[str, Any]] = {}
    for row, name in enumerate([*names, "mean"]):
        rows[name] = {}
        for column, metric in enumerate(metrics):
            if np.isnan(values[row, column]):
                rows[name][metric] = {"low": None, "high": None, "n_resamples": 0}
                undefined.append({"label": name, "metric": metric, "reason": "undefined on all data: no interval"})
                continue
            rows[name][metric], _ = _interval(resampled[:, row, column], level)
            _note_lost_resamples(undefined, name, metric, rows[name][metric]["n_resamples"], n_resamples)
    mean = rows.pop("mean")
    settings = {"level": level, "n_resamples": n_resamples, "n_groups": n_groups, "seed": seed}
    return {**settings, "per_class": rows, "mean": mean, "undefined": undefined}


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
        `difference`, `low`, `high`, `p_value`, `n_resamples`}}} and `mean` {metric: ...}; `undefined`. `p_value` is
        two-sided: twice the smaller share of resamples at or beyond 0, each share as (count + 1) / (resamples + 1).
        A metric that is undefined for either model is None for the difference. Means are over the classes where the
        metric is defined for both.

    Raises:
        ValueError: as `bootstrap_intervals`, and for runs whose shapes do not fit.
    """
    labels = np.asarray(labels)
    group_index, n_groups = group_numbers(groups, len(labels))
    _check_bootstrap(n_resamples, level)
    tallies = [
        _tallies_of_runs(probabilities, labels, thresholds, label_names, group_index)
        for probabilities, thresholds in ((probabilities_a, thresholds_a), (probabilities_b, thresholds_b))
    ]
    ones = np.ones((1, n_groups))
    values = np.stack([np.mean([tally.values(ones)[0] for tally in runs], axis=0) for runs in tallies])
    resampled = np.concatenate(
        [
            np.stack([np.mean([tally.values(weights) for tally in runs], axis=0) for runs in tallies])
            for weights in _resamples(n_groups, n_resamples, seed)
        ],
        axis=1,
    )
    difference, resampled_difference = _with_mean(values[1] - values[0], resampled[1] - resampled[0])
    # The mean of each model is over the classes that the difference has, so that b - a of the means is the difference.
    values = np.where(np.isnan(difference[:-1]), np.nan, values)
    values = np.stack([_with_mean(value, value[None])[0] for value in values])

    undefined: list[dict[str, str]] = []
    rows: dict[str, dict[str, Any]] = {}
    for row, name in enumerate([*label_names, "mean"]):
        rows[name] = {}
        for column, metric in enumerate(METRICS):
            point = dict(zip(("a", "b"), map(_plain, values[:, row, column]), strict=True))
            point["difference"] = _plain(difference[row, column])
            if point["difference"] is None:
                rows[name][metric] = {**point, "low": None, "high": None, "p_value": None, "n_resamples": 0}
                undefined.append(
                    {"label": name, "metric": metric, "reason": "undefined for one of the models or both"}
                )
                continue
            interval, p_value = _interval(resampled_difference[:, row, column], level)
            rows[name][metric] = {**point, **interval, "p_value": p_value}
            _note_lost_resamples(undefined, name, metric, interval["n_resamples"], n_resamples)
    mean = rows.pop("mean")
    settings = {"level": level, "n_resamples": n_resamples, "n_groups": n_groups, "seed": seed}
    return {**settings, "per_class": rows, "mean": mean, "undefined": undefined}


class _Tally:
    """
    What the metrics of any weighting of the groups follow from, collected once.

    A resample is a weight for each group, so a thousand of them are products with sparse matrices instead of a
    thousand sorts. Inside, an undefined value is NaN; it becomes None where results leave this module.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray, group_index: np.ndarray):
        n_groups = int(group_index.max()) + 1
        self.labels = labels
        self.n_predicted = ((scores >= thresholds) & (labels >= 0)).sum(axis=0)
        called, positive, negative = scores >= thresholds, labels == 1, labels == 0
        cells = np.stack([positive & called, negative & called, positive & ~called, negative & ~called], axis=-1)
        exams = np.arange(len(labels))
        members = scipy.sparse.csr_array((np.ones(len(labels)), (group_index, exams)), shape=(n_groups, len(labels)))
        self.confusion = members @ cells.reshape(len(labels), -1).astype(float)  # (groups, labels * 4)
        self.rankings = [
            _ranking(scores[known, index], labels[known, index] == 1, group_index[known], n_groups)
            for index, known in enumerate((labels >= 0).T)
        ]

    def values(self, weights: np.ndarray) -> np.ndarray:
        """All `METRICS` for weights `(resamples, groups)`: `(resamples, labels, metrics)`, NaN where undefined."""
        cells = (weights @ self.confusion).reshape(len(weights), -1, 4)
        ranks = np.stack([_rank_values(*ranking, weights) for ranking in self.rankings], axis=1)
        return np.concatenate([_confusion_values(cells), ranks], axis=-1)


def _confusion_values(cells: np.ndarray) -> np.ndarray:
    """`CONFUSION_METRICS` of `(..., 4)` counts TP, FP, FN, TN: `(..., 5)`."""
    tp, fp, fn, tn = np.moveaxis(cells, -1, 0)
    any_positive = tp + fn > 0  # without one, precision and F1 are 0 or 0/0 whatever the model does
    return np.stack(
        [
            _ratio(tp + tn, tp + fp + fn + tn),
            _ratio(tp, np.where(any_positive, tp + fp, 0)),
            _ratio(tp, tp + fn),
            _ratio(2 * tp, np.where(any_positive, 2 * tp + fp + fn, 0)),
            _ratio(tn, tn + fp),
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
    positives: scipy.sparse.csr_array, negatives: scipy.sparse.csr_array, weights: np.ndarray
) -> np.ndarray:
    """`RANK_METRICS` of one label for weights `(resamples, groups)`: `(resamples, 2)`."""
    found = positives @ weights.T  # (blocks, resamples)
    passed = negatives @ weights.T  # (2 * blocks + 1, resamples)
    tied = passed[1::2]
    passed = np.cumsum(passed, axis=0)
    above, n_negative, n_positive = passed[1::2], passed[-1], found.sum(axis=0)
    outranked = (found * (n_negative - above + tied / 2)).sum(axis=0)
    called = np.cumsum(found, axis=0)
    precision = called / np.maximum(called + above, 1)  # 0 called: such a block has weight 0 below
    average_precision = _ratio((found * precision).sum(axis=0), n_positive)
    return np.stack([_ratio(outranked, n_positive * n_negative), average_precision], axis=-1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def _with_mean(values: np.ndarray, resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    `(labels, metrics)` and `(resamples, labels, metrics)` with the mean over labels as a further row.

    The mean is over the labels where `values` is defined; a resample where one of those is undefined has mean NaN.
    """
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    mean = _ratio(np.where(defined, values, 0).sum(axis=0), count)
    resampled_mean = np.where(defined, resampled, 0).sum(axis=1) / np.maximum(count, 1)
    return np.vstack([values, mean]), np.concatenate([resampled, resampled_mean[:, None]], axis=1)


def _interval(resampled: np.ndarray, level: float) -> tuple[dict[str, Any], float | None]:
    """Percentile interval of one number's resamples, and the two-sided p-value of 0."""
    kept = resampled[~np.isnan(resampled)]
    if len(kept) == 0 or len(kept) < MIN_DEFINED_SHARE * len(resampled):
        return {"low": None, "high": None, "n_resamples": len(kept)}, None
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    beyond = min((kept <= 0).sum(), (kept >= 0).sum())
    p_value = min(1.0, 2 * (int(beyond) + 1) / (len(kept) + 1))
    return {"low": float(low), "high": float(high), "n_resamples": len(kept)}, p_value


def _note_lost_resamples(undefined: list[dict[str, str]], name: str, metric: str, kept: int, total: int) -> None:
    """Say in `undefined` that resamples were left out of an interval, and whether there is one at all."""
    if kept < total:
        without = " (no interval)" if kept < MIN_DEFINED_SHARE * total else ""
        reason = f"undefined in {total - kept} of {total} resamples{without}"
        undefined.append({"label": name, "metric": metric, "reason": reason})


def _resamples(n_groups: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Weights `(some, groups)` that add up to `n_resamples` rows: how often each group was drawn."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK_ELEMENTS // n_groups)
    for start in range(0, n_resamples, chunk):
        # One draw a resample, so that the resamples do not depend on the chunk.
        draws = (generator.integers(0, n_groups, n_groups) for _ in range(min(chunk, n_resamples - start)))
        yield np.stack([np.bincount(draw, minlength=n_groups) for draw in draws]).astype(float)


def _report(tally: _Tally, label_names: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Values on all data as the nested dict of `multilabel_metrics`."""
    values = tally.values(np.ones((1, len(tally.labels))))[0]
    values = values[:, [METRICS.index(metric) for metric in metrics]]
    mean = _with_mean(values, values[None])[0][-1]
    per_class, undefined = {}, []
    for row, name in enumerate(label_names):
        counts = {
            "n_positive": int((tally.labels[:, row] == 1).sum()),
            "n_known": int((tally.labels[:, row] >= 0).sum()),
        }
        if metrics == METRICS:
            counts["n_predicted"] = int(tally.n_predicted[row])
        per_class[name] = {**dict(zip(metrics, map(_plain, values[row]), strict=True)), **counts}
        for metric in metrics:
            if per_class[name][metric] is None:
                undefined.append({"label": name, "metric": metric, "reason": _reason(**counts)})
    for column, metric in enumerate(metrics):
        lost = int(np.isnan(values[:, column]).sum())
        if lost:
            reason = f"defined for {len(label_names) - lost} of {len(label_names)} classes"
            undefined.append({"label": "mean", "metric": metric, "reason": reason})
    return {"per_class": per_class, "mean": dict(zip(metrics, map(_plain, mean), strict=True)), "undefined": undefined}


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


def group_numbers(groups: Sequence[Any] | None, n_exams: int) -> tuple[np.ndarray, int]:
    """Group of each exam as a number from 0, and how many groups there are; without groups every exam is one."""
    if groups is None:
        return np.arange(n_exams), n_exams
    if len(groups) != n_exams:
        raise ValueError(f"groups: expected one for each of {n_exams} exams, found {len(groups)}")
    distinct, index = np.unique(np.asarray(groups), return_inverse=True)
    return index, len(distinct)


def _check_bootstrap(n_resamples: int, level: float) -> None:
    if n_resamples < 1:
        raise ValueError(f"n_resamples: expected at least 1, found {n_resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}")


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
