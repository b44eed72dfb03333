"""Figure 4 of the paper: mean F1 against the share of labels."""

import itertools
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reproduction.paper import PAPER_ARMS, paper_number
from reproduction.results import MEAN, Results
from reproduction.settings import ARMS, SETTINGS
from training.plots import BLUE, FAINT, INK, MUTED, VERMILLION


STYLES: dict[str, dict[str, Any]] = {
    "random": {"color": BLUE, "marker": "o", "linewidth": 2.2},
    "pretrained": {"color": VERMILLION, "marker": "s", "linewidth": 2.2},
    "random_linear": {"color": BLUE, "marker": "o", "linewidth": 1.1, "alpha": 0.45, "markersize": 4},
    "pretrained_linear": {"color": VERMILLION, "marker": "s", "linewidth": 1.1, "alpha": 0.45, "markersize": 4},
}

# Controls and variants: thin and grey, told apart by their markers.
OTHERS: dict[str, Any] = {"color": MUTED, "linewidth": 0.9, "alpha": 0.7, "markersize": 5}
MARKERS = "^vDPX*<>d"


def plot_labels_against_f1(results: Results) -> Figure:
    """
    Returns the figure: a line for each arm with its spread over seeds, linear heads lighter, the paper's arms dashed
    where its labels are these.

    Args:
        results (`Results`): Settings that are no share of the labels are passed over.

    Raises:
        `ValueError`: where no setting is a share of the labels.
    """
    names = [name for name in results.settings if SETTINGS[name].share is not None]
    if not names:
        raise ValueError(f"figure 4 needs settings with a share of the labels, found {', '.join(results.settings)}")
    shares = [100 * (SETTINGS[name].share or 0) for name in names]
    figure = Figure(figsize=(7.8, 5.4), layout="constrained")
    axes = figure.subplots()
    others = [arm for arm in results.arms if arm not in STYLES]
    markers = dict(zip(others, itertools.cycle(MARKERS), strict=False))
    for arm in results.arms:
        style = STYLES.get(arm) or {**OTHERS, "marker": markers[arm]}
        values = [results.summary(name, arm, MEAN, "f1") for name in names]
        means = [math.nan if value.mean is None else value.mean for value in values]
        spreads = [value.spread or 0.0 for value in values]
        axes.errorbar(shares, means, spreads, capsize=3, label=ARMS[arm].title, zorder=3, **style)
    for arm in PAPER_ARMS if results.labels_of_paper else ():
        known = [paper_number(name, arm, MEAN, "f1") for name in names]
        curve = [math.nan if value is None else value for value in known]
        label = f"paper, {ARMS[arm].title} (real exams)"
        axes.plot(shares, curve, linestyle=(0, (5, 3)), linewidth=1.3, color=STYLES[arm]["color"], label=label)
    _finish(axes, shares)
    figure.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="outside lower center", ncols=3)
    title = f"Mean F1 of {len(results.label_names)} labels against the share of labels"
    figure.suptitle(title + (", simulated exams" if results.simulated else ""), fontsize=12.5, fontweight="bold")
    axes.set_xlabel(
        "share of the training and validation labels (logarithmic); bars: standard deviation over seeds",
        fontsize=9.5,
        color=INK,
    )
    return figure


def _finish(axes: Axes, shares: list[float]) -> None:
    axes.set(xscale="log", ylim=(0, 1), ylabel="mean F1 on test")
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shares, [f"{share:.2f} %" if share < 10 else f"{share:.3g} %" for share in shares])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=9)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
