"""
The live tracing: what the browser gets to draw an ECG from, and the element that draws it.

`tracing.js` beside this file defines `<ecg-tracing>`; it is served by `space/gate.py` and knows nothing of the server.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
from markupsafe import Markup

from modeling_ecgclip import LEAD_NAMES
from modeling_ecgclip.measurements_ecgclip import POINTS, WAVES
from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR, MIN_DRAWN
from modeling_ecgclip.visualization_ecgclip import (
    MAJOR_COLOUR,
    MINOR_COLOUR,
    PAPER_COLOUR,
    TEXT_COLOUR,
    TRACE_COLOUR,
    WAVE_COLOURS,
)
from space.analysis import Analysis
from space.markup import NOTHING, each, html
from space.measures import in_a_line, reasons_of


SCRIPT_PATH = "/tracing.js"
STEP_MV = 1e-3  # of one count, where the recording fits
PRINTED_S = 10.0  # of a print-out, by which its columns are no shorter for a shorter recording
COLUMNS = (4, 2, 1)  # of the layouts, as far as there are leads
BANDS_HZ = ((0.05, 150.0), (0.5, 40.0))  # diagnostic and monitoring, as recorders name them
BAND_ORDER = 2  # of each way; forth and back make it 4
NOTCHES_HZ = (50.0, 60.0)  # of the mains
NOTCH_QUALITY = 30.0
PAD_S = 1.0  # by which a filter prolongs the recording to either side
_CALIPER_COLOUR = "#0b57d0"
_STRENGTH = 127  # of a saliency of 1
_SPEEDS, _GAINS, _GAIN = (25, 50), (5, 10, 20), 10
_KEYS = (
    "Arrow keys pan, plus and minus zoom, 0 is true size, F fits the width. C switches the caliper: then arrow keys "
    "move its leg, with Shift from mark to mark, up and down from lead to lead; Enter goes on to the other leg, "
    "Escape ends."
)
_NOTE = (
    "At 100 % a millimetre of paper is one on the screen, as far as the browser knows the screen's size: a ruler on "
    "the pulse at the left tells, 10 mm high at 10 mm/mV. A filter changes this drawing only: the model and the "
    "measurements never see it. The wheel zooms once the tracing is clicked, or with Ctrl."
)

CSS = f"""
ecg-tracing {{ display: block; }}
.ec-tools, .ec-tools label, .ec-tools span {{ display: flex; align-items: center; gap: .35rem; }}
.ec-tools {{ flex-wrap: wrap; gap: .35rem .9rem; margin: .4rem 0; font-size: .9rem; }}
.ec-tools select {{ appearance: auto; }}
.ec-tools select, .ec-tools button {{ margin: 0 !important; min-height: 2.1rem; min-width: 2.1rem; padding: 0 .4rem;
  border-radius: 4px;  color: var(--body-text-color); background: var(--input-background-fill);
  border: 1px solid var(--border-color-primary); }}
.ec-tools input {{ width: 1.1rem; height: 1.1rem; margin: 0; accent-color: var(--color-accent); }}
.ec-tools output {{ min-width: 3.2rem; text-align: center; font-variant-numeric: tabular-nums; }}
.ec-tools b {{ padding: 0 .3rem; border-radius: 3px; color: white; }}
.ec-sheet {{ overflow: auto; touch-action: pan-x pan-y; border-radius: 4px; cursor: grab;
  background: {PAPER_COLOUR}; }}
.ec-sheet.ec-measuring {{ cursor: crosshair; }}
.ec-sheet:focus-visible, .ec-tools :focus-visible {{ outline: 2px solid var(--color-accent); outline-offset: 1px; }}
.ec-said {{ min-height: 1.5em; margin: .3rem 0 0; font-weight: 600; font-variant-numeric: tabular-nums; }}
.ec-unseen {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
.ec-sheet svg {{ display: block; max-width: none; user-select: none; -webkit-user-select: none; }}
.ec-sheet path {{ fill: none; vector-effect: non-scaling-stroke; stroke-width: 1.25px; stroke-linejoin: round; }}
.ec-sheet .minor {{ stroke: {MINOR_COLOUR}; stroke-width: .7px; }}
.ec-sheet .far .minor {{ display: none; }}
.ec-sheet .major {{ stroke: {MAJOR_COLOUR}; stroke-width: .9px; }}
.ec-sheet .trace {{ stroke: {TRACE_COLOUR}; }}
.ec-sheet .mark {{ stroke-width: 1.6px; }}
.ec-sheet .shade {{ vector-effect: none; stroke-width: 2.1px; }}
.ec-sheet .for {{ stroke: {FOR_COLOUR}; }}
.ec-sheet .time {{ text-anchor: middle; }}
.ec-sheet .against {{ stroke: {AGAINST_COLOUR}; }}
.ec-sheet text {{ fill: {TEXT_COLOUR}; font: 3.1px system-ui, sans-serif; white-space: pre; }}
.ec-sheet .lead {{ font-size: 3.8px; font-weight: 700; }}
.ec-sheet .time {{ text-anchor: middle; }}
.ec-sheet .again {{ opacity: .6; }}
.ec-sheet .leg {{ stroke: {_CALIPER_COLOUR}; stroke-width: 1.5px; }}
.ec-sheet .active {{ stroke-width: 2.5px; }}
.ec-sheet .span {{ font-size: 3.6px; font-weight: 700; fill: {_CALIPER_COLOUR}; paint-order: stroke;
  stroke: {PAPER_COLOUR}; stroke-width: 1px; }}
""" + "".join(
    f".ec-sheet .{wave} {{ stroke: {colour}; }}\n.ec-tools .{wave} {{ background: {colour}; }}\n"
    for wave, colour in WAVE_COLOURS.items()
)


def script() -> bytes:
    """Returns the element's code, UTF-8."""
    return Path(__file__).with_suffix(".js").read_bytes()


def tracing(analysis: Analysis) -> Markup:
    """Returns the element that draws an ECG, with its controls and what it draws: recording, marks, saliency."""
    ecg = ecg_of(analysis)
    marked = f", marked where it drove {analysis.saliency.label}" if analysis.saliency else ""
    choices = (
        ("Layout", "layout", [(i, one["name"]) for i, one in enumerate(ecg["layouts"])], 0),
        ("Speed", "speed", [(one, f"{one} mm/s") for one in _SPEEDS], _SPEEDS[0]),
        ("Gain", "gain", [(one, f"{one} mm/mV") for one in _GAINS], _GAIN),
        ("Filter", "view", [(0, "none"), *((i, one["name"]) for i, one in enumerate(ecg["views"], 1))], 0),
    )
    return html(
        '<ecg-tracing role="group" aria-label="{label}" data-ecg="{ecg}" data-saliency="{saliency}">'
        '<div class="ec-tools">{choices}'
        '<label><input type="checkbox" name="marks" checked> Marks of {waves}</label>'
        '<label><input type="checkbox" name="caliper"> Caliper</label>'
        '<span role="group" aria-label="Zoom"><button type="button" name="out" aria-label="Smaller">&minus;</button>'
        '<output></output><button type="button" name="in" aria-label="Larger">+</button>'
        '<button type="button" name="true" aria-label="True size">1:1</button>'
        '<button type="button" name="fit" aria-label="Fit the width">Fit</button></span></div>'
        '<p class="ec-unseen">{about}</p><div class="ec-sheet" tabindex="0" role="application" '
        'aria-label="Tracing" aria-description="{keys}"><svg aria-hidden="true"></svg></div>'
        '<p class="ec-said" role="status"></p><p class="ec-foot ec-muted">{note}</p></ecg-tracing>',
        label=f"{len(analysis.lead_names)}-lead ECG {analysis.name}{marked}",
        ecg=json.dumps(ecg, allow_nan=False, separators=(",", ":")),
        saliency=_saliency(analysis),
        choices=NOTHING.join(_choice(*choice) for choice in choices),
        waves=each('<b class="{wave}">{wave}</b>', ({"wave": wave} for wave in WAVE_COLOURS)),
        about=_about(analysis),
        keys=_KEYS,
        note=_NOTE,
    )


def _choice(title: str, name: str, options: Sequence[tuple[int, str]], chosen: int) -> Markup:
    """A list to choose from, with its title."""
    return html(
        '<label>{title} <select name="{name}">{options}</select></label>',
        title=title,
        name=name,
        options=NOTHING.join(
            html(
                '<option value="{value}"{selected}>{text}</option>',
                value=value,
                text=text,
                selected=html(" selected") if value == chosen else "",
            )
            for value, text in options
        ),
    )


def ecg_of(analysis: Analysis) -> dict[str, Any]:
    """
    Returns an ECG as the element reads it.

    Args:
        analysis ([`Analysis`]): Of the ECG.

    Returns:
        `dict`:
        - **leads** -- names, the standard ones first, in their order.
        - **rate** -- Hz, and **start** -- time of the first sample in the recording, in seconds.
        - **samples** -- base64 of int16, little-endian, `(leads, samples)`, each lead from its own median on.
        - **step** -- mV of one count.
        - **marks** -- for each lead `[sample, wave, point]` in the order of time; samples may be fractions.
        - **layouts** -- see [`layouts`], **views** -- filters, see [`views`].
        - **pad** -- samples by which a filter prolongs the recording.
        - **min_drawn** -- of a saliency from 0 to 1, what is not drawn below.
    """
    order = _order(analysis)
    rate = analysis.sampling_rate
    signal = analysis.signal[order].astype(np.float64)
    signal -= np.median(signal, axis=1, keepdims=True)
    step = max(STEP_MV, float(np.abs(signal).max(initial=0.0)) / np.iinfo(np.int16).max)
    leads = [analysis.lead_names[i] for i in order]
    n = signal.shape[1]
    return {
        "leads": leads,
        "rate": rate,
        "start": round(analysis.recording["analysed_from_s"], 4),
        "samples": base64.b64encode(np.rint(signal / step).astype("<i2").tobytes()).decode(),
        "step": step,
        "marks": [_marks(analysis, lead) for lead in leads],
        "layouts": layouts(leads, n, rate),
        "views": views(rate),
        "pad": min(round(PAD_S * rate), n - 1),
        "min_drawn": MIN_DRAWN,
    }


def layouts(leads: Sequence[str], n_samples: int, sampling_rate: float) -> list[dict[str, Any]]:
    """
    Returns the ways to lay leads out on paper: in four columns with a rhythm strip, in two, and one below the other.

    The columns follow each other in time. Those of a recording shorter than a print-out are as long as on one, and
    overlap in time.

    Args:
        leads (`list[str]`): In the order in which they fill the columns.
        n_samples (`int`), sampling_rate (`float`): Of the recording; Hz.

    Returns:
        `list[dict]`: `name`, `note` (what is unusual about it, or nothing), and `pieces`: for each its lead (place in
        `leads`), row, first and last sample, and the seconds between the left edge and its first sample.
    """
    recorded_s = n_samples / sampling_rate
    found = []
    for columns in COLUMNS:
        if columns > len(leads):
            continue
        rows = -(-len(leads) // columns)
        length_s = min(recorded_s, max(recorded_s, PRINTED_S) / columns)
        step_s = (recorded_s - length_s) / max(1, columns - 1)
        length = round(length_s * sampling_rate)
        pieces = []
        for i in range(len(leads)):
            column, row = divmod(i, rows)
            first = round(column * step_s * sampling_rate)
            pieces.append([i, row, first, min(n_samples, first + length) - 1, round(column * length_s, 4)])
        name = f"{rows}x{columns}"
        if columns == COLUMNS[0]:
            name += " + rhythm strip"
            pieces.append([leads.index("II") if "II" in leads else 0, rows, 0, n_samples - 1, 0.0])
        overlap = columns > 1 and columns * length_s > recorded_s + 1 / sampling_rate
        note = f"{recorded_s:.1f} s recorded: columns overlap in time" if overlap else ""
        found.append({"name": name, "note": note, "pieces": pieces})
    return found


def views(sampling_rate: float) -> list[dict[str, Any]]:
    """
    Returns the filters through which a recording may be looked at, run forth and back (zero phase).

    Args:
        sampling_rate (`float`): Hz. Where it cannot hold a band's upper end, the band has none; a notch that it cannot
            hold is left out.

    Returns:
        `list[dict]`: `name`, and `sections`: for each second-order section `b0, b1, b2, a1, a2` and the two values of
        its state in which a constant input of 1 has settled. [`scipy.signal.sosfiltfilt`] does the same.
    """
    found = []
    edges: float | list[float]
    for low, high in BANDS_HZ:
        if high < sampling_rate / 2:
            name, edges, kind = f"{low:g} to {high:g} Hz", [low, high], "bandpass"
        else:
            name, edges, kind = f"from {low:g} Hz", low, "highpass"
        found.append((name, scipy.signal.butter(BAND_ORDER, edges, kind, output="sos", fs=sampling_rate)))
    for mains in NOTCHES_HZ:
        if mains < sampling_rate / 2:
            b, a = scipy.signal.iirnotch(mains, NOTCH_QUALITY, sampling_rate)
            found.append((f"{mains:g} Hz notch", scipy.signal.tf2sos(b, a)))
    return [{"name": name, "sections": _sections(sos)} for name, sos in found]


def _sections(sos: np.ndarray) -> list[list[float]]:
    """(sections, 7); a0 is 1."""
    settled = scipy.signal.sosfilt_zi(sos)
    return np.column_stack([sos[:, :3], sos[:, 4:], settled]).tolist()


def _order(analysis: Analysis) -> list[int]:
    """Places of the leads as they are drawn."""
    names = analysis.lead_names
    standard = [names.index(lead) for lead in LEAD_NAMES if lead in names]
    return standard + [i for i, lead in enumerate(names) if lead not in LEAD_NAMES]


def _marks(analysis: Analysis, lead: str) -> list[tuple[float, str, str]]:
    """Of a lead, the marks that lie within the samples shown: sample, wave, point."""
    measured = analysis.marked_measurements
    if lead not in measured.lead_names or not len(measured.marks_s):
        return []
    samples = measured.marks_s[:, measured.lead_names.index(lead)] * analysis.sampling_rate  # (beats, waves, points)
    return sorted(
        (round(float(sample), 2), wave, point)
        for wave, i in WAVES.items()
        for point, j in POINTS.items()
        for sample in samples[:, i, j]
        if 0 <= sample <= analysis.signal.shape[1] - 1  # NaN is not
    )


def _saliency(analysis: Analysis) -> str:
    """Base64 of int8 `(leads, samples)`, or nothing."""
    if analysis.saliency is None:
        return ""
    counts = np.rint(analysis.saliency.strength[_order(analysis)] * _STRENGTH).astype(np.int8)
    return base64.b64encode(counts.tobytes()).decode()


def _about(analysis: Analysis) -> str:
    """The ECG for those who cannot see it: leads, seconds, measurements, and why there is none of some."""
    first, last = (analysis.recording[f"analysed_{end}_s"] for end in ("from", "to"))
    shown = f"Leads {', '.join(analysis.lead_names)}, from {first:.1f} s to {last:.1f} s of the recording."
    return " ".join(line for line in (shown, in_a_line(analysis.measures), *reasons_of(analysis.measures)) if line)


__all__ = ["CSS", "SCRIPT_PATH", "ecg_of", "layouts", "script", "tracing", "views"]
