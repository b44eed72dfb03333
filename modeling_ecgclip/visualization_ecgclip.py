"""An ECG as a clinic prints it: 25 mm/s, 10 mm/mV, three rows of four columns and a rhythm strip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .labels_ecgclip import is_positive
from .measurements_ecgclip import POINTS, WAVES, EcgMeasurements
from .signal_ecgclip import LEAD_NAMES


MM_PER_S = 25.0
MM_PER_MV = 10.0
MM_PER_INCH = 25.4
SPEED_AND_GAIN = f"{MM_PER_S:g} mm/s    {MM_PER_MV:g} mm/mV"  # as the paper says it
COLUMN_S = 2.5
STRIP_S = 10.0
# Rows of the print-out; each lead has one of four columns.
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))

PAPER_COLOUR = "#fffaf7"
MINOR_COLOUR = "#f9dcd5"
MAJOR_COLOUR = "#efb3a7"
TRACE_COLOUR = "#101418"
TEXT_COLOUR = "#222a30"
BAR_COLOUR = "#8fa3b3"
POSITIVE_COLOUR = "#b3261e"
# Of the marks at onset and offset of each wave: apart from each other, from the trace, the paper and a saliency.
WAVE_COLOURS = {"P": "#00796b", "QRS": "#6a1b9a", "T": "#bf6000"}

LEFT_MM = 15.0  # calibration pulse
RIGHT_MM = 5.0
_HEADER_MM = 12.0
_FOOTER_MM = 9.0
_PANEL_MM = 78.0  # probabilities
_MIN_ROW_MM, _MAX_ROW_MM = 25.0, 60.0
_GAP_MM = 5.0
_MARK_MM = 2.0  # to either side of the trace


@dataclass(frozen=True)
class Strip:
    """
    A piece of one lead on paper.

    Args:
        lead (`str`): Its name.
        first (`int`): The signal's sample with which it begins.
        x_mm, y_mm (`np.ndarray` of shape `(samples,)`): Places on paper; `y_mm` around its own median.
        row (`int`): From above.
    """

    lead: str
    first: int
    x_mm: np.ndarray
    y_mm: np.ndarray
    row: int


def plot_ecg(
    signal: np.ndarray,
    sampling_rate: float,
    title: str | None = None,
    probabilities: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | Sequence[float] | None = None,
    rhythm_lead: str | None = None,
    start_s: float = 0.0,
    lead_names: Sequence[str] = LEAD_NAMES,
    figure: Any = None,
    dpi: int = 110,
    measurements: EcgMeasurements | None = None,
    max_height_mm: float | None = None,
) -> Any:
    """
    Returns a figure of an ECG on millimetre paper, at true size.

    The columns follow each other in time, as on a clinic's print-out. Of a recording of less than 10 s each column
    shows 2.5 s all the same, so that neighbouring columns overlap in time. Every piece is centred on its own median.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`): Millivolts, as `EcgFeatureExtractor.standardize` gives.
        sampling_rate (`float`): Hz.
        title (`str`, *optional*): Top left.
        probabilities (`dict[str, float]`, *optional*): Probability of each label; drawn as bars beside the paper.
        thresholds (`dict[str, float]` or `list[float]`, *optional*):
            Decision threshold of each label, or in the order of `probabilities`; marked, bars are red from there on.
        rhythm_lead (`str`, *optional*): Lead of the long strip; II where left out, or the first where there is no II.
        start_s (`float`, defaults to 0): Where the print-out begins, in seconds.
        lead_names (`list[str]`): Leads in the order of `signal`.
        figure (`matplotlib.figure.Figure`, *optional*): Draw into this one; it is emptied and resized.
        dpi (`int`, defaults to 110): Dots per inch of a new figure.
        measurements ([`EcgMeasurements`], *optional*):
            Of the signal, from its first sample on: onset and offset of P, QRS and T are marked in each lead.
        max_height_mm (`float`, *optional*):
            Of the paper: rows that would take more stand nearer to each other, so that tall complexes overlap.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        `ValueError`: for a signal that does not fit its lead names, a `rhythm_lead` that is not among them, or a
            `start_s` past the end.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plotting needs the package matplotlib: pip install matplotlib") from error
    signal = np.asarray(signal, dtype=np.float64)
    strips = cut_strips(signal, sampling_rate, start_s, list(lead_names), rhythm_lead)
    baselines, height = _place_rows(strips, max_height_mm)
    paper_mm = LEFT_MM + STRIP_S * MM_PER_S + RIGHT_MM
    width = paper_mm + (_PANEL_MM if probabilities else 0.0)
    figure = Figure(dpi=dpi) if figure is None else figure
    figure.clear()
    figure.set_size_inches(width / MM_PER_INCH, height / MM_PER_INCH)
    figure.set_facecolor("white")
    axes = figure.add_axes((0, 0, paper_mm / width, 1))
    _draw_paper(axes, paper_mm, height)
    for strip in strips:
        _draw_strip(axes, strip, baselines[strip.row])
        if measurements is not None:
            _draw_marks(axes, strip, baselines[strip.row], measurements, sampling_rate)
    if measurements is not None:
        _draw_key(axes, paper_mm - RIGHT_MM)
    for baseline in baselines:
        _draw_calibration(axes, baseline)
    if title:
        axes.text(5, height - 7.5, title, fontsize=11, color=TEXT_COLOUR, weight="bold", va="baseline")
    notes = f"{SPEED_AND_GAIN}    {sampling_rate:g} Hz"
    recorded_s = signal.shape[1] / sampling_rate - start_s
    if recorded_s < STRIP_S:
        notes += f"    {recorded_s:.1f} s recorded" + (": columns overlap in time" if len(baselines) > 1 else "")
    axes.text(5, 3.2, notes, fontsize=8, color=TEXT_COLOUR, va="baseline", bbox=_label_box())
    if probabilities:
        _draw_probabilities(_panel_beside(figure, paper_mm, len(probabilities)), probabilities, thresholds)
    return figure


def _panel_beside(figure: Any, paper_mm: float, n_bars: int) -> Any:
    """The axes of so many bars, to the right of the paper."""
    width, height = (inches * MM_PER_INCH for inches in figure.get_size_inches())
    panel_mm = min(height - 2 * _HEADER_MM - _FOOTER_MM, 12.0 * n_bars)
    bottom = height - 1.6 * _HEADER_MM - panel_mm
    return figure.add_axes(((paper_mm + 24) / width, bottom / height, (_PANEL_MM - 40) / width, panel_mm / height))


def cut_strips(
    signal: np.ndarray,
    sampling_rate: float,
    start_s: float = 0.0,
    lead_names: Sequence[str] = LEAD_NAMES,
    rhythm_lead: str | None = None,
) -> list[Strip]:
    """
    Returns what [`plot_ecg`] draws, in its order: the pieces of 2.5 s, then the rhythm strip.

    Rows without a lead are left out.

    Args and errors: as [`plot_ecg`].
    """
    lead_names = list(lead_names)
    if signal.ndim != 2 or signal.shape[0] != len(lead_names):
        raise ValueError(f"expected a signal of shape ({len(lead_names)}, samples): found {signal.shape}")
    if rhythm_lead is None:
        rhythm_lead = "II" if "II" in lead_names else lead_names[0]
    if rhythm_lead not in lead_names:
        raise ValueError(f"rhythm_lead must be one of {', '.join(lead_names)}: found {rhythm_lead!r}")
    recorded_s = signal.shape[1] / sampling_rate
    if not 0 <= start_s < recorded_s:
        raise ValueError(f"start_s must lie within the {recorded_s:g} s recorded: found {start_s}")
    shown_s = min(STRIP_S, recorded_s - start_s)
    step_s = min(COLUMN_S, max(0.0, shown_s - COLUMN_S) / 3)

    def cut(lead: str, row: int, begin_s: float, duration_s: float, x_s: float) -> Strip:
        first = round(begin_s * sampling_rate)
        piece = signal[lead_names.index(lead), first : first + round(duration_s * sampling_rate)]
        x_mm = LEFT_MM + (x_s + np.arange(piece.size) / sampling_rate) * MM_PER_S
        return Strip(lead, first, x_mm, (piece - np.median(piece)) * MM_PER_MV, row)

    rows = [row for row in LAYOUT if any(lead in lead_names for lead in row)] if len(lead_names) > 1 else []
    strips = [
        cut(lead, number, start_s + column * step_s, min(COLUMN_S, shown_s), column * COLUMN_S)
        for number, row in enumerate(rows)
        for column, lead in enumerate(row)
        if lead in lead_names
    ]
    return [*strips, cut(rhythm_lead, len(rows), start_s, shown_s, 0.0)]


def _place_rows(strips: list[Strip], max_height_mm: float | None = None) -> tuple[list[float], float]:
    """Baseline of each row and height of the paper, in mm from below: rows move apart for tall complexes."""
    above, below = [], []
    n_rows = strips[-1].row + 1
    for row in range(n_rows):
        values = np.concatenate([strip.y_mm for strip in strips if strip.row == row])
        # Single spikes may cross into the next row; a tall QRS in any one column may not.
        above.append(max(MM_PER_MV + 3, float(np.nanpercentile(values, 99.8)) + 2))
        below.append(max(4.0, -float(np.nanpercentile(values, 0.2))))
    distances = [
        float(np.clip(below[row] + above[row + 1] + _GAP_MM, _MIN_ROW_MM, _MAX_ROW_MM)) for row in range(n_rows - 1)
    ]
    first_from_top = _HEADER_MM + min(above[0], _MAX_ROW_MM / 2)
    last_from_bottom = min(below[-1], _MAX_ROW_MM / 2) + _FOOTER_MM
    height = np.ceil((first_from_top + sum(distances) + last_from_bottom) / 5) * 5  # whole squares
    if max_height_mm is not None and height > max_height_mm and distances:
        height = np.floor(max_height_mm / 5) * 5
        shrink = (height - first_from_top - last_from_bottom) / sum(distances)
        distances = [shrink * one for one in distances]
    baselines = height - first_from_top - np.concatenate([[0.0], np.cumsum(distances)])
    return baselines.tolist(), float(height)


def _draw_paper(axes: Any, width: float, height: float) -> None:
    """Lines each millimetre, stronger ones every five."""
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    axes.fill_between([0, width], 0, height, color=PAPER_COLOUR, zorder=0)
    for every, colour, line_width in ((1, MINOR_COLOUR, 0.4), (5, MAJOR_COLOUR, 0.6)):
        # From the calibration pulse's left edge, so that strips begin on a strong line.
        x = np.arange(LEFT_MM % every, width + 0.01, every)
        y = np.arange(0, height + 0.01, every)
        axes.vlines(x, 0, height, colors=colour, linewidth=line_width, zorder=1)
        axes.hlines(y, 0, width, colors=colour, linewidth=line_width, zorder=1)


def _label_box() -> dict[str, Any]:
    return {"facecolor": PAPER_COLOUR, "edgecolor": "none", "alpha": 0.8, "pad": 0.8}


def _draw_strip(axes: Any, strip: Strip, baseline: float) -> None:
    """One piece of a lead with its name, and the tick that parts it from the column before."""
    axes.plot(strip.x_mm, baseline + strip.y_mm, color=TRACE_COLOUR, linewidth=0.9, solid_joinstyle="round", zorder=3)
    left = strip.x_mm[0]
    if left > LEFT_MM:
        axes.vlines(left, baseline - 3, baseline + 3, colors=TRACE_COLOUR, linewidth=0.9, zorder=3)
    axes.text(
        left + 1.5,
        baseline + 8.5,
        strip.lead,
        fontsize=9.5,
        weight="bold",
        color=TEXT_COLOUR,
        zorder=4,
        bbox=_label_box(),
    )


def _draw_marks(axes: Any, strip: Strip, baseline: float, measurements: EcgMeasurements, sampling_rate: float) -> None:
    """A short line across the trace where a wave begins and where it ends."""
    if strip.lead not in measurements.lead_names or not len(measurements.marks_s):
        return
    marks = measurements.marks_s[:, measurements.lead_names.index(strip.lead)]  # (beats, waves, points)
    for wave, colour in WAVE_COLOURS.items():
        times = marks[:, WAVES[wave], [POINTS["onset"], POINTS["offset"]]].ravel()
        x = strip.x_mm[0] + (times - strip.first / sampling_rate) * MM_PER_S
        x = x[(x >= strip.x_mm[0]) & (x <= strip.x_mm[-1])]  # NaN too is nowhere
        y = baseline + np.interp(x, strip.x_mm, strip.y_mm)
        axes.vlines(x, y - _MARK_MM, y + _MARK_MM, colors=colour, linewidth=0.9, zorder=3.5)


def _draw_key(axes: Any, right: float) -> None:
    """What the colours of the marks mean, in the lower right corner."""
    for name, colour in (("| onset and offset", TEXT_COLOUR), *reversed(WAVE_COLOURS.items())):
        text = axes.text(right, 3.2, name, fontsize=8, color=colour, ha="right", va="baseline", bbox=_label_box())
        if colour != TEXT_COLOUR:
            text.set_weight("bold")
        right -= 3.2 + 1.45 * len(name)


def _draw_calibration(axes: Any, baseline: float) -> None:
    """The pulse of 1 mV over 0.2 s that every print-out begins with."""
    x = np.array([4, 6, 6, 11, 11, 13.0])
    y = baseline + np.array([0, 0, 1, 1, 0, 0]) * MM_PER_MV
    axes.plot(x, y, color=TRACE_COLOUR, linewidth=0.9, solid_joinstyle="miter", zorder=3)


def _draw_probabilities(
    axes: Any, probabilities: Mapping[str, float], thresholds: Mapping[str, float] | Sequence[float] | None
) -> None:
    """One bar for each label, in the given order, with its threshold."""
    if thresholds is not None and not isinstance(thresholds, Mapping):
        thresholds = dict(zip(probabilities, thresholds, strict=True))
    for i, (label, probability) in enumerate(probabilities.items()):
        threshold = None if thresholds is None else thresholds[label]
        positive = threshold is not None and is_positive(probability, threshold)
        colour = POSITIVE_COLOUR if positive else BAR_COLOUR
        axes.barh(i, 1.0, height=0.34, color="#eef1f4", zorder=1)
        axes.barh(i, probability, height=0.34, color=colour, zorder=2)
        if threshold is not None:
            axes.plot([threshold, threshold], [i - 0.29, i + 0.29], color=TEXT_COLOUR, linewidth=1.2, zorder=3)
        weight = "bold" if positive else "normal"
        axes.text(-0.05, i, label, ha="right", va="center", fontsize=9.5, color=TEXT_COLOUR, weight=weight)
        percent = f"{100 * probability:.0f} %" if probability >= 0.005 else "< 1 %"
        axes.text(1.05, i, percent, va="center", fontsize=9, color=colour if positive else TEXT_COLOUR)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(probabilities) - 0.4, -0.6)
    axes.set_axis_off()
    axes.text(0, -0.75, "Probability", fontsize=9.5, color=TEXT_COLOUR, weight="bold", va="bottom")
    if thresholds is not None:
        axes.text(0, len(probabilities) - 0.45, "|  decision threshold", fontsize=8, color=TEXT_COLOUR, va="top")


__all__ = [
    "COLUMN_S",
    "LEFT_MM",
    "MM_PER_S",
    "RIGHT_MM",
    "SPEED_AND_GAIN",
    "STRIP_S",
    "WAVE_COLOURS",
    "Strip",
    "cut_strips",
    "plot_ecg",
]
