"""
Pictures of a run: loss, precision-recall, calibration, confusion, predicted numbers, and retrieval.

Each function returns a matplotlib `Figure` made directly, without pyplot: no window, no global state, safe in any
thread and process. Colours are those of Okabe and Ito, which colour-blind readers tell apart; lines differ in style as
well.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter
from sklearn.metrics import brier_score_loss, precision_recall_curve

from common.writing import written_aside
from metrics.calibration import N_BINS, calibration_bins, expected_calibration_error
from modeling_ecgclip.labels_ecgclip import is_positive
from training.evaluation import SplitPredictions, TargetPredictions
from training.retrieval import RECALL_AT, RetrievalRanks


BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito, 2008
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # text that lines pass behind
DPI = 150
WITHOUT_DATE = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
PANELS_PER_ROW = 3
MAX_PANELS = 12  # of more labels the most frequent are drawn: nobody looks at 71 curves
MAX_CELLS_WITH_NUMBERS = 12  # labels of a confusion matrix; below, each cell says how many
WILSON_Z = 1.96  # 95 % interval of a proportion
SMOOTHED_POINTS = 60  # a longer training curve gets a running mean of about this resolution
LOG_SCALE_RATIO = 8  # a loss that falls by more is drawn on a logarithmic axis


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """
    Write `figure` in the format of `path`'s suffix (`.png`, `.svg`, `.pdf`), aside and then renamed.

    Equal figures have equal bytes: no date, and names of parts that follow from what they show.
    """
    with written_aside(path) as aside, matplotlib.rc_context({"svg.hashsalt": "ecgclip"}):
        figure.savefig(aside, dpi=DPI, facecolor="white", metadata=WITHOUT_DATE.get(aside.suffix))


def plot_loss(history: Sequence[Mapping[str, float]], title: str = "Loss") -> Figure:
    """
    Training and validation loss over the steps, the best validation marked.

    Args:
        history (`Sequence[Mapping[str, float]]`):
            Entries with `step` and `loss` (training), `eval_loss` (validation), or both; others are passed over.
        title (`str`, defaults to "Loss"):
            Of the figure.

    Raises:
        ValueError: if no entry has a loss.
    """
    train, validation = _series(history, "loss"), _series(history, "eval_loss")
    if not len(train) and not len(validation):
        raise ValueError(f"expected history entries with loss or eval_loss, found none in {len(history)} entries")
    figure, axes = _figure(7.2, 4.2)
    if len(train):
        window = math.ceil(len(train) / SMOOTHED_POINTS)
        smoothed = _running_mean(train[:, 1], window)
        if window > 1:
            axes.plot(*train.T, color=BLUE, linewidth=0.8, alpha=0.3)
        axes.plot(train[:, 0], smoothed, color=BLUE, linewidth=1.8, label="training")
    if len(validation):
        axes.plot(*validation.T, color=VERMILLION, linewidth=1.8, marker="o", markersize=4.5, label="validation")
        step, best = validation[np.argmin(validation[:, 1])]
        axes.plot(step, best, "o", color=VERMILLION, markersize=11, markerfacecolor="none", markeredgewidth=1.6)
        axes.axhline(best, color=VERMILLION, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        figure.supxlabel(f"best validation {best:.4g} at step {step:,.0f} (ringed)", fontsize=9, color=MUTED)
    losses = np.concatenate([part[:, 1] for part in (train, validation) if len(part)])
    if losses.min() > 0 and losses.max() > LOG_SCALE_RATIO * losses.min():
        _log_axis(axes, losses.min(), losses.max())
    _finish(axes, title, "optimizer step", "loss")
    _step_axis(axes)
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK)
    return figure


def plot_precision_recall(
    predictions: SplitPredictions, thresholds: Mapping[str, float] | None, label_names: Sequence[str]
) -> Figure:
    """
    Precision-recall curve of each class, its operating point marked.

    Faint lines join points of equal F1; the dotted line is the share of positives, which calling at random reaches. A
    class with no positive has no curve, and its panel says so.

    Args:
        predictions (`SplitPredictions`):
            Usually of the test split.
        thresholds (`Mapping[str, float]`, *optional*):
            By label; a diagnosis is made where probability >= threshold. None where the most probable label is the
            decision.
        label_names (`Sequence[str]`):
            In the order of the predictions' columns.
    """
    drawn = _drawn(predictions)
    figure, panels, _ = _panels(len(drawn))
    for index, axes in zip(drawn, panels, strict=True):
        name = label_names[index]
        truth, scores = _known(predictions, index)
        _finish(axes, None, "recall", "precision")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
        _equal_f1_lines(axes)
        if not truth.any():
            _panel_title(axes, name, f"0 of {len(truth):,} positive")
            axes.text(0.5, 0.45, "no positive:\nno curve", ha="center", fontsize=11, color=MUTED)
            continue
        precision, recall, _ = precision_recall_curve(truth, scores)
        # The curve's last point (recall 0, precision 1) is a convention and no result.
        precision, recall = precision[:-1], recall[:-1]
        average = -np.sum(np.diff(np.append(recall, 0.0)) * precision)
        axes.axhline(truth.mean(), color=MUTED, linewidth=1, linestyle=":")
        axes.step(recall, precision, where="post", color=BLUE, linewidth=1.8)
        called = _called(predictions, index, None if thresholds is None else thresholds[name])
        at_threshold = "" if thresholds is None else f" at {thresholds[name]:.3f}"
        if called.any():
            hits = (truth & called).sum()
            at = hits / truth.sum(), hits / called.sum()
            f1 = 2 * hits / (truth.sum() + called.sum())
            axes.plot(*at, "o", color=VERMILLION, markersize=8, markeredgecolor="white", zorder=5, clip_on=False)
            note = f"F1 {f1:.3f}{at_threshold}"
        else:
            note = f"none called{at_threshold}"
        _panel_title(axes, name, f"avg. precision {average:.3f}, {truth.sum():,} of {len(truth):,} positive", note)
    _figure_title(figure, f"Precision and recall, {predictions.split}", drawn, label_names)
    dot = "where it is the most probable label" if thresholds is None else "at the chosen threshold"
    figure.supxlabel(f"dot: {dot}      dotted: share of positives      faint: equal F1", fontsize=9.5, color=MUTED)
    return figure


def plot_calibration(predictions: SplitPredictions, label_names: Sequence[str]) -> Figure:
    """
    Observed share of positives against the predicted probability, for each class, with how many exams lie where.

    Points are the mean probability and the share of positives in the bins of `metrics.calibration`, which defines ECE,
    bars their Wilson 95 % intervals (of exams, as if each had a patient of its own).

    Args:
        predictions (`SplitPredictions`), label_names (`Sequence[str]`):
            As for [`plot_precision_recall`].
    """
    drawn = _drawn(predictions)
    figure, panels, below = _panels(len(drawn), strip=True)
    edges = np.linspace(0, 1, N_BINS + 1)
    for index, axes, counts_axes in zip(drawn, panels, below, strict=True):
        name = label_names[index]
        truth, scores = _known(predictions, index)
        _finish(axes, None, "", "observed share")
        axes.set(xlim=(0, 1), ylim=(-0.03, 1.03))
        axes.tick_params(labelbottom=False)
        _finish(counts_axes, None, "predicted probability", "exams")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        if not len(truth):
            _panel_title(axes, name, "known in no exam")
            continue
        counts, mean, share = calibration_bins(scores, truth)
        used = counts > 0
        mean, share = mean[used], share[used]
        low, high = _wilson(share, counts[used])
        error = expected_calibration_error(scores, truth)
        brier = brier_score_loss(truth, scores, pos_label=True)
        positives = f"{truth.sum():,} of {len(truth):,} positive"
        _panel_title(axes, name, f"ECE {error:.3f}, Brier {brier:.3f}, {positives}")
        axes.vlines(mean, low, high, color=BLUE, linewidth=1.6, alpha=0.55)
        axes.plot(mean, share, "-o", color=BLUE, linewidth=1.2, markersize=5.5, markeredgecolor="white")
        counts_axes.bar(edges[:-1], counts, width=0.1, align="edge", color=BLUE, alpha=0.55, edgecolor="white")
        counts_axes.set(xlim=(0, 1), yscale="log", ylim=(0.7, 1.6 * counts.max()))
        top = 10 ** int(math.log10(counts.max()))
        counts_axes.yaxis.set_major_locator(FixedLocator(sorted({1, top})))
        counts_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        counts_axes.yaxis.set_minor_locator(NullLocator())
    _figure_title(figure, f"Calibration, {predictions.split}", drawn, label_names)
    figure.supxlabel("dotted: perfect calibration      bars: 95 % interval of the share", fontsize=9.5, color=MUTED)
    return figure


def plot_confusion(predictions: SplitPredictions, label_names: Sequence[str]) -> Figure:
    """
    Which label the most probable one is, for each label: a row adds up to 1. A label that no exam has is a row of
    dashes.

    Args:
        predictions (`SplitPredictions`):
            Of labels that exclude each other; exams whose label is unknown are left out.
        label_names (`Sequence[str]`):
            In the order of the predictions' columns.
    """
    known = (predictions.labels == 1).any(axis=1)
    truth, told = predictions.labels[known].argmax(axis=1), predictions.probabilities[known].argmax(axis=1)
    n = len(label_names)
    counts = np.bincount(truth * n + told, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(max(3.6, 0.62 * n + 2.2), 16)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("blue", ["white", BLUE]), vmin=0, vmax=1)
    if n <= MAX_CELLS_WITH_NUMBERS:
        for row, column in np.ndindex(n, n):
            shown = f"{counts[row, column]:,}" if counts[row].any() else "–"
            colour = "white" if shares[row, column] > 0.6 else INK
            axes.text(column, row, shown, ha="center", va="center", fontsize=9.5, color=colour)
    _finish(axes, f"Confusion, {predictions.split}", "most probable label", "label")
    axes.grid(False)
    axes.set_xticks(range(n), label_names, rotation=45 if n > 4 else 0, ha="right" if n > 4 else "center")
    axes.set_yticks(range(n), label_names)
    figure.supxlabel("colour: share of the row", fontsize=9.5, color=MUTED)
    return figure


def plot_targets(predictions: TargetPredictions, target_names: Sequence[str]) -> Figure:
    """
    Predicted against known value, a panel for each target, with the diagonal and the error's size.

    Args:
        predictions (`TargetPredictions`):
            Usually of the test split.
        target_names (`Sequence[str]`):
            In the order of the predictions' columns.
    """
    drawn = range(min(len(target_names), MAX_PANELS))
    figure, panels, _ = _panels(len(drawn))
    for index, axes in zip(drawn, panels, strict=True):
        known = ~np.isnan(predictions.targets[:, index])
        truth, told = predictions.targets[known, index], predictions.predictions[known, index]
        _finish(axes, None, "known", "predicted")
        if not len(truth):
            _panel_title(axes, target_names[index], "known in no exam")
            continue
        error = np.abs(told - truth).mean()
        _panel_title(axes, target_names[index], f"mean absolute error {error:.3g}, {len(truth):,} exams")
        low, high = min(truth.min(), told.min()), max(truth.max(), told.max())
        margin = 0.04 * (high - low) or 1.0
        axes.axline((low, low), slope=1, color=MUTED, linewidth=1, linestyle=":")
        # Thousands of points on each other: the more there are, the fainter each.
        opacity = float(np.clip(60 / len(truth), 0.05, 0.7))
        axes.plot(truth, told, "o", color=BLUE, markersize=4, markeredgewidth=0, alpha=opacity)
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    _figure_title(figure, f"Predicted numbers, {predictions.split}", drawn, target_names, "targets, the first")
    figure.supxlabel("dotted: predicted as known", fontsize=9.5, color=MUTED)
    return figure


def plot_retrieval(ranks: RetrievalRanks, title: str = "Retrieval") -> Figure:
    """Recall at k for every k in both directions, with what chance would reach (dashed)."""
    figure, axes = _figure(7.2, 4.6)
    n_ecgs, n_reports = len(ranks.ecg_to_text), len(ranks.text_to_ecg)
    ks = np.unique(np.geomspace(1, max(n_ecgs, n_reports), 200).astype(int))
    marked = [k for k in RECALL_AT if k <= ks[-1]]
    named = (("ECG to report", BLUE, "o", ranks.ecg_to_text), ("report to ECG", VERMILLION, "s", ranks.text_to_ecg))
    drawn = zip(named, ranks.recall(ks), ranks.chance(ks), ranks.recall(marked), strict=True)
    for (name, colour, marker, of_query), recall, chance, at_marks in drawn:
        label = f"{name}, median rank {np.median(of_query):,.0f}"
        axes.plot(ks, recall, color=colour, linewidth=2, label=label)
        axes.plot(marked, at_marks, marker, color=colour, markersize=6.5, markeredgecolor="white", zorder=5)
        axes.plot(ks, chance, color=colour, linewidth=1.1, linestyle="--", alpha=0.7)
    axes.set(xscale="log", xlim=(0.92, ks[-1]), ylim=(0, 1.03))
    decades = [10**power for power in range(1, int(math.log10(ks[-1])) + 1)]
    axes.xaxis.set_major_locator(FixedLocator([1, 5, *decades]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _finish(axes, title, f"k, of {n_reports:,} distinct reports and {n_ecgs:,} ECGs", "found among the first k")
    axes.plot([], [], color=MUTED, linewidth=1.1, linestyle="--", label="chance")
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, loc="upper left")
    return figure


def plot_retrieval_history(history: Sequence[Mapping[str, float]], title: str = "Retrieval on validation") -> Figure:
    """
    Recall at 1, 5 and 10 over the steps, one panel for each direction.

    Args:
        history (`Sequence[Mapping[str, float]]`):
            Entries with `step` and the keys of `retrieval_metrics` after `eval_`; others are passed over.
        title (`str`):
            Of the figure.

    Raises:
        ValueError: if no entry has them.
    """
    figure, (left, right) = _figure(9.6, 4.0, columns=2)
    styles = dict(zip(RECALL_AT, ((BLUE, "o", "-"), (GREEN, "s", "--"), (VERMILLION, "^", "-.")), strict=True))
    for axes, direction, name in ((left, "ecg_to_text", "ECG to report"), (right, "text_to_ecg", "report to ECG")):
        for k in reversed(RECALL_AT):
            points = _series(history, f"eval_{direction}_recall_at_{k}")
            if not len(points):
                raise ValueError(f"expected history entries with eval_{direction}_recall_at_{k}, found none")
            colour, marker, line = styles[k]
            axes.plot(*points.T, color=colour, marker=marker, linestyle=line, markersize=5, label=f"first {k}")
        _finish(axes, name, "optimizer step", "found" if axes is left else "")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        _step_axis(axes)
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize=9.5, labelcolor=INK)
    figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=True)


def _panels(count: int, strip: bool = False) -> tuple[Figure, list[Axes], list[Axes]]:
    """A figure with `count` panels, three in a row, and on request a low strip below each."""
    columns = min(count, PANELS_PER_ROW)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.5 * columns + 0.3, (4.1 if strip else 3.5) * rows + 0.9), layout="constrained")
    parts = 2 if strip else 1
    grid = figure.add_gridspec(parts * rows, columns, height_ratios=[4, 0.9][:parts] * rows)
    cells = [divmod(number, columns) for number in range(count)]
    panels = [figure.add_subplot(grid[parts * row, column]) for row, column in cells]
    strips = [figure.add_subplot(grid[parts * row + 1, column]) for row, column in cells] if strip else []
    return figure, panels, strips


def _drawn(predictions: SplitPredictions) -> Sequence[int]:
    """Places of the labels that are drawn, in their order: all, or of too many those with the most positives."""
    positives = (predictions.labels == 1).sum(axis=0)
    return np.sort(np.argsort(-positives, kind="stable")[:MAX_PANELS]).tolist()


def _figure_title(
    figure: Figure, title: str, drawn: Sequence[int], names: Sequence[str], which: str = "labels, the most frequent"
) -> None:
    """The title, which says so where not all of the names have a panel."""
    part = "" if len(drawn) == len(names) else f" ({len(drawn)} of {len(names)} {which})"
    figure.suptitle(title + part, fontsize=13, color=INK, fontweight="bold")


def _finish(axes: Axes, title: str | None, x_label: str, y_label: str) -> None:
    """The look that all axes share."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=9)
    axes.grid(color=FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label, fontsize=10, color=INK)
    axes.set_ylabel(y_label, fontsize=10, color=INK)
    if title is not None:
        axes.set_title(title, fontsize=12, color=INK, fontweight="bold", loc="left")


def _panel_title(axes: Axes, name: str, detail: str, note: str = "") -> None:
    """Name and, on its base line to the right, the note; below them the detail."""
    texts: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
        (name, 0, 23, {"fontsize": 12, "color": INK, "fontweight": "bold"}),
        (note, 1, 23, {"fontsize": 9.5, "color": VERMILLION, "horizontalalignment": "right"}),
        (detail, 0, 7, {"fontsize": 9, "color": MUTED}),
    )
    for text, x, y, style in texts:
        axes.annotate(text, (x, 1), xytext=(0, y), xycoords="axes fraction", textcoords="offset points", **style)


def _equal_f1_lines(axes: Axes) -> None:
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1, 100)  # from precision 1 to recall 1
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=FAINT, linewidth=0.9, zorder=1)
        # On the diagonal a line's F1 is its precision and its recall; most curves cross there once.
        axes.text(f1, f1, f"{f1:g}", fontsize=7.5, color=MUTED, ha="center", va="center", zorder=1, bbox=ON_WHITE)


def _known(predictions: SplitPredictions, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth (bool) and probabilities of the exams where one label is known."""
    known = predictions.labels[:, index] >= 0
    return predictions.labels[known, index] == 1, predictions.probabilities[known, index]


def _called(predictions: SplitPredictions, index: int, threshold: float | None) -> np.ndarray:
    """Whether a label is the decision, bool, for the exams of [`_known`]; without a threshold, the most probable."""
    known = predictions.labels[:, index] >= 0
    if threshold is None:
        return predictions.probabilities[known].argmax(axis=1) == index
    return is_positive(predictions.probabilities[known, index], threshold)


def _series(history: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """`(entries, 2)` steps and values of the entries that have `key`."""
    return np.array([(entry["step"], entry[key]) for entry in history if key in entry], dtype=float).reshape(-1, 2)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` values, over fewer at the ends."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _wilson(share: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of proportions; unlike the normal one it has a width at 0 and 1."""
    centre = share + WILSON_Z**2 / (2 * counts)
    half = WILSON_Z * np.sqrt(share * (1 - share) / counts + (WILSON_Z / (2 * counts)) ** 2)
    scale = 1 + WILSON_Z**2 / counts
    return (centre - half) / scale, (centre + half) / scale


def _step_axis(axes: Axes) -> None:
    """Whole steps only, thousands parted."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _log_axis(axes: Axes, low: float, high: float) -> None:
    """Logarithmic y axis with plain numbers at 1, 2, 5 of each decade."""
    axes.set_yscale("log")
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if 0.8 * low <= tick <= 1.25 * high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
