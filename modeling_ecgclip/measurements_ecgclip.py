"""What is measured of an ECG: numbers with their quality, or the reason why there is none."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .waves_ecgclip import OFFSET, ONSET, PEAK, QRS, P, T


WAVES = {"P": P, "QRS": QRS, "T": T}
POINTS = {"onset": ONSET, "peak": PEAK, "offset": OFFSET}
# What `reasons` and `quality` speak of.
MEASURES = (
    "heart_rate_bpm",
    "rr_sd_ms",
    "p_ms",
    "pr_ms",
    "qrs_ms",
    "qt_ms",
    "qtc_bazett_ms",
    "qtc_fridericia_ms",
    "qtc_framingham_ms",
    "p_axis_deg",
    "qrs_axis_deg",
    "t_axis_deg",
)


def qtc_bazett(qt_ms: float, rr_s: float) -> float:
    """QT at a heart rate of 60 a minute. Source: Bazett HC. Heart 1920;7:353."""
    return float(qt_ms / np.sqrt(rr_s))


def qtc_fridericia(qt_ms: float, rr_s: float) -> float:
    """QT at a heart rate of 60 a minute. Source: Fridericia LS. Acta Med Scand 1920;53:469."""
    return float(qt_ms / np.cbrt(rr_s))


def qtc_framingham(qt_ms: float, rr_s: float) -> float:
    """QT at a heart rate of 60 a minute. Source: Sagie A et al. Am J Cardiol 1992;70:797."""
    return float(qt_ms + 154 * (1 - rr_s))


@dataclass
class RhythmEvidence:
    """
    What a rhythm is read from; no rhythm is named here.

    Args:
        irregularity (`float`, *optional*):
            Median change from one RR interval to the next over the median RR interval, ectopic beats left out.
        p_before_qrs (`float`, *optional*): Share of the beats that have a P wave before them.
        p_likeness (`float`, *optional*): Median correlation of a beat's P wave with the mean of the others'.
        tp_power (`float`, *optional*):
            Power between T and P over that of the P wave: fibrillation and flutter have some.
        pp_ms (`float`, *optional*), pp_sd_ms (`float`, *optional*): Intervals between P waves of successive beats.
        ectopic_beats (`int`): Beats with another QRS than the dominant ones, cut off ones left out.
        premature_beats (`int`): Beats whose RR interval is below 85 % of the median, whatever their QRS.
        paced_beats (`int`): Beats with a pacemaker's spike just before the QRS.
        atrial_spikes (`int`): Beats with a spike where a P wave would be.
    """

    irregularity: float | None = None
    p_before_qrs: float | None = None
    p_likeness: float | None = None
    tp_power: float | None = None
    pp_ms: float | None = None
    pp_sd_ms: float | None = None
    ectopic_beats: int = 0
    premature_beats: int = 0
    paced_beats: int = 0
    atrial_spikes: int = 0


@dataclass
class EcgMeasurements:
    """
    The measurements of one ECG. What could not be measured is None, with a reason in `reasons`.

    Durations and intervals are those of the averaged dominant beat: in each lead from its own onset to its own offset,
    then the median over the leads (of the QRS the mean); `qrs_all_leads_ms` reaches from the first lead's onset to the
    last one's offset. Research software, not a medical device.

    Args:
        lead_names (`tuple[str]`): Leads in the order of all arrays.
        lead_mask (`np.ndarray` of shape `(leads,)`, bool): Leads that were read.
        heart_rate_bpm (`float`, *optional*): 60 over the mean RR interval.
        rr_ms, rr_sd_ms (`float`, *optional*): Mean and standard deviation of the RR intervals.
        p_ms, pr_ms, qrs_ms, qrs_all_leads_ms, qt_ms (`float`, *optional*): Milliseconds.
        qtc_bazett_ms, qtc_fridericia_ms, qtc_framingham_ms (`float`, *optional*):
            QT corrected for the mean RR interval.
        p_axis_deg, qrs_axis_deg, t_axis_deg (`float`, *optional*): Frontal axes from -180 to 180 degrees, from areas.
        rhythm (`RhythmEvidence`): What a rhythm is read from.
        amplitudes (`dict[str, np.ndarray]` of arrays of shape `(leads,)`):
            `p_mv`, `q_mv`, `r_mv`, `s_mv`, `r2_mv` (R'), `st_j_mv`, `st_j60_mv`, `t_mv`, and `q_ms`, `r_ms`, `s_ms`
            of the averaged dominant beat; NaN in leads that were not read.
        morphology (`dict`): What the shape of the QRS says; see `docs/measurements.md`.
        beats_s (`np.ndarray` of shape `(beats,)`):
            Reference points of the QRS complexes, seconds from the first sample.
        beat_kinds (`list[str]`):
            `"dominant"`, `"ectopic"` (another QRS) or `"cut_off"` (by an end of the recording), for each beat.
        marks_s (`np.ndarray` of shape `(beats, leads, 3, 3)`):
            Onset, peak and offset (last axis) of P, QRS and T in each beat and lead, in seconds from the first sample;
            NaN where there is no such wave.
        spikes_s (`np.ndarray` of shape `(spikes,)`): A pacemaker's spikes, in seconds.
        quality (`dict[str, float]`): For each measure that is there, from 0 (do not trust it) to 1.
        reasons (`dict[str, str]`): For each measure that is None, why.
    """

    lead_names: tuple[str, ...]
    lead_mask: np.ndarray
    heart_rate_bpm: float | None = None
    rr_ms: float | None = None
    rr_sd_ms: float | None = None
    p_ms: float | None = None
    pr_ms: float | None = None
    qrs_ms: float | None = None
    qrs_all_leads_ms: float | None = None
    qt_ms: float | None = None
    qtc_bazett_ms: float | None = None
    qtc_fridericia_ms: float | None = None
    qtc_framingham_ms: float | None = None
    p_axis_deg: float | None = None
    qrs_axis_deg: float | None = None
    t_axis_deg: float | None = None
    rhythm: RhythmEvidence = field(default_factory=RhythmEvidence)
    amplitudes: dict[str, np.ndarray] = field(default_factory=dict)
    morphology: dict[str, Any] = field(default_factory=dict)
    beats_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    beat_kinds: list[str] = field(default_factory=list)
    marks_s: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3, 3)))
    spikes_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    quality: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def overall_s(self) -> np.ndarray:
        """The marks of each beat in the median lead, (beats, 3, 3) in seconds; NaN where no lead has the wave."""
        if not self.marks_s.size:
            return np.full((len(self.beats_s), 3, 3), np.nan)
        marks = self.marks_s[:, self.lead_mask]
        there = np.isfinite(marks)
        ordered = np.sort(marks, axis=1)  # NaN last
        count = there.sum(axis=1, keepdims=True)
        low, high = (
            np.take_along_axis(ordered, np.maximum(at, 0), axis=1)
            for at in ((count - 1) // 2, count // 2 - (count == 0))
        )
        return ((low + high) / 2)[:, 0]

    def to_dict(self) -> dict[str, Any]:
        """
        Returns all of it as JSON has it: numbers rounded, NaN as None, arrays by the name of lead, wave and point.
        """
        single = {name: _number(getattr(self, name), 0.1) for name in (*MEASURES, "rr_ms", "qrs_all_leads_ms")}
        leads = {
            lead: {
                name: _number(values[row], 0.001 if name.endswith("mv") else 1.0)
                for name, values in self.amplitudes.items()
            }
            for row, lead in enumerate(self.lead_names)
            if self.amplitudes and self.lead_mask[row]
        }
        overall = self.overall_s
        beats = [
            {
                "at_s": _number(at, 0.001),
                "kind": kind,
                "waves": {
                    wave: {point: _number(overall[beat, row, column], 0.001) for point, column in POINTS.items()}
                    for wave, row in WAVES.items()
                    if np.isfinite(overall[beat, row, PEAK])
                },
            }
            for beat, (at, kind) in enumerate(zip(self.beats_s, self.beat_kinds, strict=True))
        ]
        return single | {
            "rhythm": {name: _number(value, 0.001) for name, value in vars(self.rhythm).items()},
            "morphology": {
                name: _number(value, 0.001) if isinstance(value, float) else value
                for name, value in self.morphology.items()
            },
            "leads": leads,
            "leads_read": [name for name, read in zip(self.lead_names, self.lead_mask, strict=True) if read],
            "beats": beats,
            "spikes_s": [_number(at, 0.001) for at in self.spikes_s],
            "quality": {name: _number(value, 0.01) for name, value in self.quality.items()},
            "reasons": dict(self.reasons),
        }


def _number(value: Any, step: float) -> Any:
    """A number as JSON has it, in steps of a power of ten; None for NaN."""
    if value is None or isinstance(value, bool | int):
        return value
    return round(float(value), max(0, -round(np.log10(step)))) if np.isfinite(value) else None


__all__ = ["EcgMeasurements", "RhythmEvidence", "qtc_bazett", "qtc_framingham", "qtc_fridericia"]
