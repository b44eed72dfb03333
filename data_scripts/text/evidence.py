"""What each sentence of a description rests on: leads, values, and the samples in which they were measured."""

from typing import Any

import numpy as np

from data_scripts.text.description import CHEST, Detail, Reading
from data_scripts.text.reading_of import Leads, early_beat_kinds
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements
from modeling_ecgclip.morphology_ecgclip import LIMB
from modeling_ecgclip.waves_ecgclip import OFFSET, ONSET, QRS, P, T


AMPLITUDES = {
    "p": ("p_mv",),
    "qrs": ("q_mv", "r_mv", "s_mv", "r2_mv", "q_ms", "s_ms"),
    "st": ("st_j_mv", "st_j60_mv", "t_mv"),
}
VALUES = {
    "axis": ("qrs_axis_deg",),
    "rate": ("heart_rate_bpm", "rr_ms"),
    "cycles": ("rr_ms", "rr_sd_ms", "irregularity", "premature_beats", "p_before_qrs"),
    "p": ("p_ms", "p_axis_deg", "p_before_qrs", "p_likeness", "tp_power"),
    "pr": ("pr_ms", "p_likeness"),
    "qrs": ("qrs_ms",),
    "st": (),
    "qtc": ("qt_ms", "rr_ms", "qtc_bazett_ms"),
    "early_beats": ("rr_ms", "ectopic_beats", "premature_beats"),
    "spikes": ("paced_beats",),
}
# From which point of which wave to which other; of the dominant beats, whose mean is measured.
SPANS = {
    "axis": ((QRS, ONSET), (QRS, OFFSET)),
    "p": ((P, ONSET), (P, OFFSET)),
    "pr": ((P, ONSET), (QRS, ONSET)),
    "qrs": ((QRS, ONSET), (QRS, OFFSET)),
    "st": ((QRS, OFFSET), (T, OFFSET)),
    "qtc": ((QRS, ONSET), (T, OFFSET)),
}


def evidence_for(
    about: str, reading: Reading, measured: EcgMeasurements, sampling_rate: float, n_samples: int
) -> dict[str, Any]:
    """
    Returns what one sentence rests on.

    Args:
        about (`str`): As [`Sentence.about`].
        reading (`Reading`): What the sentence was written from.
        measured (`EcgMeasurements`): What the reading was made from.
        sampling_rate (`float`): Hz.
        n_samples (`int`): Of each lead of the array that was measured.

    Returns:
        `dict`: `leads`; `values` by name, and by lead where amplitudes were looked at; `samples`, a list of
        `[first, past the last]` of that array.
    """
    leads = Leads(measured)
    which = _leads_of(about, reading, leads)
    values: dict[str, Any] = {}
    for name in VALUES[about]:
        value = getattr(measured.rhythm, name, None) if hasattr(measured.rhythm, name) else getattr(measured, name)
        if value is not None:
            values[name] = round(float(value), 3)
    names = AMPLITUDES.get(about, ())
    if names:
        values["leads"] = {
            lead: {name: round(value, 3) for name in names if np.isfinite(value := leads.of(name, lead))}
            for lead in which
        }
    if about == "qrs" and reading.voltage == "sokolow":
        values["sokolow_lyon_mv"] = round(float(measured.morphology["sokolow_lyon_mv"]), 3)
    spans = _spans(about, reading, measured)
    limited = [
        (max(0, int(begin * sampling_rate)), min(n_samples, int(np.ceil(end * sampling_rate)) + 1))
        for begin, end in spans
    ]
    return {"leads": which, "values": values, "samples": [[begin, end] for begin, end in limited if begin < end]}


def _leads_of(about: str, reading: Reading, leads: Leads) -> list[str]:
    """Those that the sentence names or is measured in; all that were read where it is about all of them."""
    everywhere = list(leads.rows)
    if about == "axis":
        return [lead for lead in ("I", "II") if lead in leads.rows]
    if about == "p":
        return [lead for lead in ("II",) if lead in leads.rows] or everywhere
    if about == "qrs":
        named = _named(reading.qrs_details)
        named |= {"low": set(LIMB), "sokolow": {"V1", "V5", "V6"}}.get(reading.voltage or "", set())
        named |= {"II", "III", "aVF", "aVL"} if reading.fascicle else set()
        named |= set(CHEST[:3]) if any(not detail.leads for detail in reading.qrs_details) else set()
        return [lead for lead in everywhere if lead in named] or everywhere
    if about == "st":
        return [lead for lead in everywhere if lead in _named(reading.st_details)] or everywhere
    return everywhere


def _named(details: tuple[Detail, ...]) -> set[str]:
    return {lead for detail in details for lead in detail.leads}


def _spans(about: str, reading: Reading, measured: EcgMeasurements) -> list[tuple[float, float]]:
    """Begins and ends in seconds; from the first beat to the last where nothing narrower is marked."""
    whole = [(float(measured.beats_s[0]), float(measured.beats_s[-1]))] if len(measured.beats_s) else []
    overall = measured.overall_s
    found: list[tuple[float, float]] = []
    if about in ("p", "pr") and reading.pr == "none":  # from each T wave to the next QRS, where no P wave is
        found = list(zip(overall[:-1, T, OFFSET], overall[1:, QRS, ONSET], strict=True))
    elif about in SPANS:
        (wave, point), (last_wave, last_point) = SPANS[about]
        dominant = [kind == "dominant" for kind in measured.beat_kinds]
        found = list(zip(overall[dominant, wave, point], overall[dominant, last_wave, last_point], strict=True))
    elif about == "early_beats":
        beats = early_beat_kinds(measured)[str(reading.early_beats)]
        found = [(float(measured.beats_s[beat - 1]), float(measured.beats_s[beat])) for beat in beats]
    elif about == "spikes":
        found = [(float(at), float(at)) for at in measured.spikes_s]
    found = [(float(begin), float(end)) for begin, end in found if np.isfinite(begin) and np.isfinite(end)]
    return [span for span in found if span[0] <= span[1]] or whole


__all__ = ["evidence_for"]
