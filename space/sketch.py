"""Small drawings of ECGs in SVG: a strip for a table's row, averaged beats of two ECGs on one paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from modeling_ecgclip.measurements_ecgclip import POINTS, WAVES
from modeling_ecgclip.visualization_ecgclip import (
    MAJOR_COLOUR,
    MINOR_COLOUR,
    MM_PER_MV,
    MM_PER_S,
    PAPER_COLOUR,
    STRIP_S,
    TRACE_COLOUR,
)
from space.analysis import Analysis
from space.markup import NOTHING, each, html


BEFORE_S, AFTER_S = 0.32, 0.6  # of an averaged beat, around the place at which beats are aligned
LEVEL_S = 0.024  # before the QRS begins: the level from which a beat is drawn
# At most this of the usual RR interval lies before that place, so that no other beat's T wave is drawn.
BEFORE_SHARE = 0.4
MARGIN_MM = 2.0
EARLIER_COLOUR, NEW_COLOUR = "#0b57d0", TRACE_COLOUR
_COLUMNS = 150  # of a strip: each is drawn from its lowest to its highest sample
_STRIP_MM, _ABOVE_MM, _BELOW_MM = STRIP_S * MM_PER_S, 36.0, 16.0
_STRIP_MM_PER_MV = 2 * MM_PER_MV  # small as it is


@dataclass(frozen=True)
class AveragedBeat:
    """
    The median of an ECG's usual beats.

    Args:
        mv (`np.ndarray` float64 of shape `(leads, samples)`): Millivolts from the level before the QRS.
        seconds (`np.ndarray` of shape `(samples,)`): From the place at which beats are aligned.
        lead_names (`tuple[str]`): Leads in the order of `mv`, those that were recorded.
        n_beats (`int`): How many beats it is the median of.
    """

    mv: np.ndarray
    seconds: np.ndarray
    lead_names: tuple[str, ...]
    n_beats: int


def averaged_beat(analysis: Analysis, at_onset: bool = True) -> AveragedBeat | None:
    """
    Returns the averaged beat of what the model saw, or None where no usual beat lies whole in it.

    Beats are aligned at their reference points, which `measure_ecg` places by the shape of all leads, and then moved
    as one by the median time from there to the onset of the QRS.

    Args:
        analysis ([`Analysis`]): Of the ECG.
        at_onset (`bool`, defaults to `True`): Left at the reference points, the middle of the QRS, where False.
    """
    measured, rate = analysis.measurements, analysis.sampling_rate
    usual = np.array([kind == "dominant" for kind in measured.beat_kinds], dtype=bool)
    if not usual.any():
        return None
    onsets = measured.overall_s[usual, WAVES["QRS"], POINTS["onset"]] - measured.beats_s[usual]
    onsets = onsets[np.isfinite(onsets)]
    onset = float(np.median(onsets)) if onsets.size else 0.0
    moved = onset if at_onset else 0.0
    places = measured.beats_s[usual] + moved - analysis.recording["analysed_from_s"]
    rr = AFTER_S + BEFORE_S if measured.rr_ms is None else measured.rr_ms / 1000
    before_s = min(BEFORE_S, BEFORE_SHARE * rr)
    before, after = round(before_s * rate), round(min(AFTER_S, rr - before_s) * rate)
    at = np.round(places * rate).astype(int)
    at = at[(at >= before) & (at + after < analysis.signal.shape[1])]
    if not at.size:
        return None
    mean = np.median(analysis.signal[:, at[:, None] + np.arange(-before, after + 1)].astype(np.float64), axis=1)
    begin = max(1, before + round((onset - moved) * rate))
    level = np.median(mean[:, max(0, begin - round(LEVEL_S * rate)) : begin], axis=1, keepdims=True)
    read = dict(zip(measured.lead_names, measured.lead_mask, strict=True))
    kept = [row for row, name in enumerate(analysis.lead_names) if read.get(name, True)]
    names = tuple(analysis.lead_names[row] for row in kept)
    return AveragedBeat((mean - level)[kept], np.arange(-before, after + 1) / rate, names, len(at))


def beats_on_paper(earlier: AveragedBeat | None, new: AveragedBeat | None, lead_names: Sequence[str]) -> Markup:
    """
    Returns a drawing for each lead: both averaged beats over each other, 25 mm/s and 10 mm/mV.

    Args:
        earlier, new ([`AveragedBeat`], *optional*): None where an ECG has none.
        lead_names (`list[str]`): Which leads, in order; what was not recorded of one is said beside its name.
    """
    beats = {"earlier": (EARLIER_COLOUR, earlier), "new": (NEW_COLOUR, new)}
    traces = {lead: {title: (ink, _trace(beat, lead)) for title, (ink, beat) in beats.items()} for lead in lead_names}
    cells = NOTHING
    for chest in (False, True):  # each with heights of their own, as they share rows
        leads = {lead: drawn for lead, drawn in traces.items() if lead.startswith("V") is chest}
        mm = np.concatenate(
            [one[1] for drawn in leads.values() for _, one in drawn.values() if one is not None] or [[0]]
        )
        above, below = (5 * math.ceil((MARGIN_MM + float(most)) / 5) for most in (mm.max(), -mm.min()))
        cells += NOTHING.join(_cell(lead, drawn, above, above + below) for lead, drawn in leads.items())
    return cells


def _trace(beat: AveragedBeat | None, lead: str) -> np.ndarray | None:
    """Places of a lead's samples, (2, samples): mm from the left edge, and above the level."""
    if beat is None or lead not in beat.lead_names:
        return None
    return np.stack([(beat.seconds + BEFORE_S) * MM_PER_S, beat.mv[beat.lead_names.index(lead)] * MM_PER_MV])


def _cell(lead: str, drawn: Mapping[str, tuple[str, np.ndarray | None]], zero: float, height: float) -> Markup:
    """One lead, its level `zero` mm below the upper edge."""
    width = (BEFORE_S + AFTER_S) * MM_PER_S
    missing = " and ".join(title for title, (_, trace) in drawn.items() if trace is None)
    lines = each(
        '<path d="{d}" stroke="{ink}"/>',
        ({"d": _path(trace[0], zero - trace[1]), "ink": ink} for ink, trace in drawn.values() if trace is not None),
    )
    return html(
        '<figure class="ec-beat" data-lead="{lead}"><figcaption><b>{lead}</b>{missing}</figcaption>'
        '<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{lead}: averaged beats{missing}">'
        '{paper}<path d="M{aligned:g} 0V{height:g}" class="ec-onset"/>{lines}</svg></figure>',
        lead=lead,
        missing=f" (none of the {missing} one)" if missing else "",
        width=width,
        height=height,
        paper=_paper(width, height, zero),
        aligned=BEFORE_S * MM_PER_S,
        lines=lines,
    )


def strip(analysis: Analysis) -> Markup:
    """Returns a thumbnail: 10 s of lead II, or of the first where there is no II, 25 mm/s to 20 mm/mV."""
    lead = "II" if "II" in analysis.lead_names else analysis.lead_names[0]
    signal = analysis.signal[analysis.lead_names.index(lead)][: round(STRIP_S * analysis.sampling_rate)]
    edges = np.linspace(0, signal.size, min(_COLUMNS, signal.size) + 1).astype(int)
    columns = [signal[begin:end] for begin, end in zip(edges[:-1], edges[1:], strict=True)]
    mv = np.array([sorted((one.min(), one.max()), reverse=bool(one[0] > one[-1])) for one in columns])
    y = _ABOVE_MM - (mv - np.median(signal)) * _STRIP_MM_PER_MV
    x = np.repeat(edges[:-1] / analysis.sampling_rate * MM_PER_S, 2)
    return html(
        '<svg class="ec-strip" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="lead {lead}">'
        '<path d="{d}"/></svg>',
        width=_STRIP_MM,
        height=_ABOVE_MM + _BELOW_MM,
        lead=lead,
        d=_path(x, y.ravel(), digits=1),
    )


def _paper(width: float, height: float, zero: float) -> Markup:
    """Millimetre paper, its strong lines every five; two of them are the level and where beats are aligned."""
    first = BEFORE_S * MM_PER_S % 5
    lines = []
    for colour, every in ((MINOR_COLOUR, 1), (MAJOR_COLOUR, 5)):
        upright = "".join(f"M{x:g} 0V{height:g}" for x in np.arange(first % every, width, every))
        lying = "".join(f"M0 {y:g}H{width:g}" for y in np.arange(zero % every, height, every))
        lines.append({"d": upright + lying, "colour": colour})
    return html('<rect width="100%" height="100%" fill="{paper}"/>', paper=PAPER_COLOUR) + each(
        '<path d="{d}" stroke="{colour}" class="ec-lines"/>', lines
    )


def _path(x: np.ndarray, y: np.ndarray, digits: int = 2) -> str:
    """The line through points, as SVG writes it."""
    return "M" + "L".join(f"{one:.{digits}f} {other:.{digits}f}" for one, other in zip(x, y, strict=True))


__all__ = ["EARLIER_COLOUR", "NEW_COLOUR", "AveragedBeat", "averaged_beat", "beats_on_paper", "strip"]
