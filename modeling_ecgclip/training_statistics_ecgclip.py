"""Is an ECG like those of the training? A few cheap properties, their range in training, and what lies outside.

A network's answer to an input of a kind that it never saw means little, and nothing in the answer shows it. What a
model's training inputs were like travels in its configuration (`training_statistics`); an ECG outside is told so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .beats_ecgclip import RATE, find_beats, median, qrs_band_of
from .middles_ecgclip import middle_of_rows, percentile_of_rows
from .plausibility_ecgclip import Finding


CODE = "unlike_training"
# A thousandth of the training's exams lies below the lower and above the upper end of each range.
QUANTILES = (0.001, 0.999)
MIN_EXAMS = 100  # of fewer, the ends of a range are those of single exams
# Activity of a usual beat over the median one, as in `measure_ecgclip`; without beats there is no rate.
MIN_CREST = 2.0
# Standard deviation of x[t-1] - 2 x[t] + x[t+1] for noise of standard deviation 1, and of a normal variable for a
# median absolute value of 1: together, noise in millivolts.
_SECOND_DIFFERENCE = 6**0.5
_NORMAL = 1.4826


@dataclass(frozen=True)
class InputProperties:
    """
    What is compared of an ECG.

    Args:
        heart_rate_bpm (`float`, *optional*): From the first beat to the last; None where fewer than two were found.
        amplitude_mv (`np.ndarray` of shape `(leads,)`): 99th percentile of |sample - median|; NaN in missing leads.
        noise_mv (`float`, *optional*):
            Standard deviation of what changes from sample to sample, as if it were white, of the middle lead: QRS
            complexes are too few to count. It depends on the sampling rate, which is the model's for all. None without
            a lead that moves.
        present (`np.ndarray` of shape `(leads,)`, bool): False for leads without a sample other than zero.
    """

    heart_rate_bpm: float | None
    amplitude_mv: np.ndarray
    noise_mv: float | None
    present: np.ndarray


def input_properties(signal: np.ndarray, sampling_rate: float) -> InputProperties:
    """
    Returns the properties of one ECG.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float): Millivolts, without padding; zeros in missing leads.
        sampling_rate (`float`): Hz.
    """
    signal = np.asarray(signal, dtype=np.float32)
    present = (signal != 0).any(axis=1)
    amplitude = np.full(len(signal), np.nan)
    if not present.any() or signal.shape[1] < 3:
        return InputProperties(None, amplitude, None, present)
    moving = signal if present.all() else signal[present]
    away = moving - middle_of_rows(moving)
    amplitude[present] = percentile_of_rows(np.abs(away, out=away), 99)
    bends = np.diff(moving, 2, axis=1)
    noise = median(middle_of_rows(np.abs(bends, out=bends)).ravel() * (_NORMAL / _SECOND_DIFFERENCE))
    return InputProperties(_heart_rate(signal, present, sampling_rate), amplitude, float(noise), present)


def _heart_rate(signal: np.ndarray, present: np.ndarray, sampling_rate: float) -> float | None:
    band, first, last = qrs_band_of(signal, sampling_rate)
    places, crest = find_beats(band, present, first, last)
    if len(places) < 2 or crest < MIN_CREST:
        return None
    return float(60 * RATE * (len(places) - 1) / (places[-1] - places[0]))


def training_statistics(found: Sequence[InputProperties], lead_names: Sequence[str]) -> dict[str, Any]:
    """
    Returns what a configuration holds of the inputs of a training.

    Args:
        found (`Sequence[InputProperties]`): Of its exams, or of a sample of them.
        lead_names (`Sequence[str]`): Of their signals.

    Returns:
        `dict` ready for JSON: `n_exams`, `quantiles`, the lower and the upper end of `heart_rate_bpm`, `noise_mv` and,
        by lead, `amplitude_mv` (left out where it is known of no exam), and `always_present`, the leads that no exam
        lacks.

    Raises:
        `ValueError`: for fewer than `MIN_EXAMS` exams.
    """
    if len(found) < MIN_EXAMS:
        raise ValueError(f"statistics of the training's inputs take at least {MIN_EXAMS} exams: found {len(found)}")
    amplitudes = np.stack([one.amplitude_mv for one in found])
    by_lead = {name: _ends(of_lead) for name, of_lead in zip(lead_names, amplitudes.T, strict=True)}
    rest = {name: _ends([getattr(one, name) for one in found]) for name in ("heart_rate_bpm", "noise_mv")}
    present = np.all([one.present for one in found], axis=0)
    return {
        "n_exams": len(found),
        "quantiles": list(QUANTILES),
        **{name: ends for name, ends in rest.items() if ends},
        "amplitude_mv": {name: ends for name, ends in by_lead.items() if ends},
        "always_present": [name for name, always in zip(lead_names, present, strict=True) if always],
    }


def _ends(values: Any) -> list[float] | None:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    known = known[np.isfinite(known)]
    return np.quantile(known, QUANTILES).tolist() if len(known) else None


def unlike_training(
    found: InputProperties, lead_names: Sequence[str], statistics: dict[str, Any] | None
) -> list[Finding]:
    """
    Returns what about an ECG lies outside the range of a model's training, as warnings.

    Args:
        found (`InputProperties`): Of the ECG, at the model's sampling rate.
        lead_names (`Sequence[str]`): The model's.
        statistics (`dict`, *optional*): Of the model, from [`training_statistics`]; None where it has none.

    Returns:
        `list[Finding]` with the codes `unlike_training:rate`, `:amplitude`, `:noise` (more of it alone: a recorder's
        low-pass takes it away) and `:leads`.
    """
    if not statistics:
        return []
    findings = []
    rate, ends = found.heart_rate_bpm, statistics.get("heart_rate_bpm")
    if rate is not None and ends and not ends[0] <= rate <= ends[1]:
        findings.append(_finding("rate", f"a heart rate of {rate:.0f} bpm", f"{ends[0]:.0f} to {ends[1]:.0f} bpm"))
    of_leads = statistics["amplitude_mv"]
    outside = [
        f"{name} {value:.2f} mV ({of_leads[name][0]:.2f} to {of_leads[name][1]:.2f})"
        for name, value in zip(lead_names, found.amplitude_mv.tolist(), strict=True)
        if name in of_leads and (value < of_leads[name][0] or value > of_leads[name][1])  # NaN is neither
    ]
    if outside:
        findings.append(_finding("amplitude", f"amplitudes of {', '.join(outside)}", "those in brackets"))
    noise, ends = found.noise_mv, statistics.get("noise_mv")
    if noise is not None and ends and noise > ends[1]:
        findings.append(_finding("noise", f"noise of {1000 * noise:.0f} µV", f"up to {1000 * ends[1]:.0f} µV"))
    always = statistics["always_present"]
    lacking = [name for name, there in zip(lead_names, found.present, strict=True) if not there and name in always]
    if lacking:
        findings.append(_finding("leads", f"nothing in {', '.join(lacking)}", "something in all of these"))
    return findings


def _finding(what: str, seen: str, usual: str) -> Finding:
    text = f"{seen}: the exams that the model was trained on had {usual}; its answer may mean less here"
    return Finding(f"{CODE}:{what}", text, "warning")


__all__ = ["InputProperties", "input_properties", "training_statistics", "unlike_training"]
