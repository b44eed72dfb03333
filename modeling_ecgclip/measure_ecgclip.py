"""Rate, intervals, axes, amplitudes and shape of ECGs, as a cardiograph prints them, and where each wave lies.

A classical detector: QRS complexes from the slopes of all leads, told apart by shape and averaged; waves found in the
averaged beats, then in each beat. See `docs/measurements.md`.
"""

import math
from collections.abc import Sequence

import numpy as np

from .beat_marks_ecgclip import MIN_BEATS, AtrialEvidence, atrial_evidence, beat_marks
from .beats_ecgclip import RATE, BeatClasses, Cleaned, classify, clean, find_beats, median, take_out_spikes
from .leads_ecgclip import canonical_lead_name
from .measure_input_ecgclip import prepare
from .measurements_ecgclip import (
    MEASURES,
    EcgMeasurements,
    RhythmEvidence,
    qtc_bazett,
    qtc_framingham,
    qtc_fridericia,
)
from .morphology_ecgclip import Shapes, morphology, shapes
from .signal_ecgclip import LEAD_NAMES
from .waves_ecgclip import OFFSET, ONSET, PEAK, QRS, REFERENCE, P, T, delineate_p, delineate_qrs, delineate_t


CHUNK = 16  # ECGs at a time: memory does not grow with their number
# Activity of a usual beat over the median one; noise has 1.5.
MIN_CREST = 2.0
MIN_DOMINANT = 0.25  # share of the beats that look alike
PREMATURE = 0.85  # of the median RR interval
VENTRICULAR_SPIKE_S = (-0.16, 0.03)  # from the reference point
ATRIAL_SPIKE_S = (-0.38, -0.16)
SPIKE_TO_QRS_S = 0.016  # a spike's tail is no QRS
# Spread over the leads, in ms, at which a measure's quality is one half.
SPREAD_MS = {"p_ms": 30.0, "pr_ms": 25.0, "qrs_ms": 20.0, "qt_ms": 35.0}
MIN_T_TO_NOISE = 3.0


def measure_ecg(
    signal_mv: np.ndarray,
    sampling_rate: float,
    lead_names: Sequence[str] | None = None,
    recorded: np.ndarray | None = None,
) -> EcgMeasurements:
    """
    Returns the measurements of one ECG.

    Args:
        signal_mv (`np.ndarray` of shape `(leads, samples)` or `(samples,)`):
            Millivolts, not scaled. NaN where nothing was recorded; zeros at both ends count as padding.
        sampling_rate (`float`): Hz.
        lead_names (`list[str]`, *optional*):
            Any spelling of the standard leads; the twelve in the standard order where left out of twelve. Without
            names there are no axes and no morphology.
        recorded (`np.ndarray` of the signal's shape, bool, *optional*):
            False in padding and in missing leads, such as `ecg_attention_mask` of the feature extractor.

    Returns:
        [`EcgMeasurements`]: What cannot be measured is None there, with a reason; no ECG is refused for what is in it.

    Raises:
        `ValueError`: for arrays, names or rates that do not fit together.
    """
    signal = np.asarray(signal_mv)
    if signal.ndim == 1:
        signal = signal[None]
    mask = None if recorded is None else np.asarray(recorded).reshape(1, *signal.shape)
    if signal.ndim != 2:
        raise ValueError(f"expected one ECG (leads, samples): found an array of shape {np.shape(signal_mv)}")
    return measure_ecgs(signal[None], sampling_rate, lead_names, mask)[0]


def measure_ecgs(
    signals_mv: np.ndarray,
    sampling_rate: float,
    lead_names: Sequence[str] | None = None,
    recorded: np.ndarray | None = None,
) -> list[EcgMeasurements]:
    """
    Returns the measurements of several ECGs of one length, rate and order of leads, faster than one by one.

    Args:
        signals_mv (`np.ndarray` of shape `(batch, leads, samples)`): As in [`measure_ecg`].
        sampling_rate, lead_names: As in [`measure_ecg`], for all of them.
        recorded (`np.ndarray` of shape `(batch, leads, samples)`, bool, *optional*): As in [`measure_ecg`].

    Raises:
        `ValueError`: for arrays, names or rates that do not fit together.
    """
    signals = np.asarray(signals_mv)
    if signals.ndim != 3 or not signals.shape[1]:
        raise ValueError(f"expected ECGs (batch, leads, samples): found an array of shape {signals.shape}")
    if signals.dtype.kind not in "fiu":
        raise ValueError(f"expected real numbers of millivolts: found {signals.dtype}")
    if recorded is not None and np.shape(recorded) != signals.shape:
        raise ValueError(f"expected a mask of shape {signals.shape}: found {np.shape(recorded)}")
    if not math.isfinite(sampling_rate) or sampling_rate <= 0:
        raise ValueError(f"sampling_rate must be above 0 Hz: found {sampling_rate}")
    names = _names(lead_names, signals.shape[1])
    found: list[EcgMeasurements] = []
    for begin in range(0, len(signals), CHUNK):
        mask = None if recorded is None else np.asarray(recorded[begin : begin + CHUNK], dtype=bool)
        found += _measure_chunk(signals[begin : begin + CHUNK], float(sampling_rate), names, mask)
    return found


def _names(lead_names: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """Standard spellings; numbers where none are stated."""
    if lead_names is None:
        return LEAD_NAMES if n == len(LEAD_NAMES) else tuple(f"lead {at + 1}" for at in range(n))
    names = tuple(canonical_lead_name(name) for name in lead_names)
    if len(names) != n or len(set(names)) != n:
        raise ValueError(f"expected {n} different lead names, one for each row: found {list(lead_names)}")
    return names


def _measure_chunk(
    signals: np.ndarray, sampling_rate: float, names: tuple[str, ...], recorded: np.ndarray | None
) -> list[EcgMeasurements]:
    batch = len(signals)
    signal, valid, bounds, reasons = prepare(signals, sampling_rate, names, recorded)
    results = [_nothing(names, valid[exam], reason) for exam, reason in enumerate(reasons)]
    todo = [exam for exam in range(batch) if reasons[exam] is None]
    if not todo:
        return results
    if len(todo) < batch:
        signal, valid, bounds = signal[todo], valid[todo], bounds[todo]
    spikes = take_out_spikes(signal, valid, sampling_rate)
    cleaned = clean(signal, valid, bounds, sampling_rate)
    beats: list[BeatClasses] = []
    kept: list[int] = []
    for exam in range(len(todo)):
        places, crest = find_beats(cleaned.qrs_band[exam], valid[exam], cleaned.first[exam], cleaned.last[exam])
        classes = classify(cleaned, exam, places) if len(places) else None
        reason = _no_beats(classes, crest)
        if classes is None or reason is not None:
            results[todo[exam]] = _nothing(names, valid[exam], reason or "no QRS complex")
            continue
        beats.append(classes)
        kept.append(exam)
    for exam, result in zip(kept, _delineated(cleaned, kept, beats, spikes, names), strict=True):
        results[todo[exam]] = result
    return results


def _nothing(names: tuple[str, ...], valid: np.ndarray, reason: str | None) -> EcgMeasurements:
    """No measurement, and why."""
    return EcgMeasurements(names, valid, reasons=dict.fromkeys(MEASURES, reason or ""))


def _no_beats(beats: BeatClasses | None, crest: float) -> str | None:
    """Why what was found are no beats of a heart; None where they are."""
    if beats is None or not len(beats.means):
        return "no QRS complex"
    whole = beats.classes >= 0
    if crest < MIN_CREST or (whole.sum() > MIN_BEATS and (beats.classes == 0).sum() < MIN_DOMINANT * whole.sum()):
        return "no QRS complexes that repeat: noise, or no ordered rhythm"
    return None


def _delineated(
    cleaned: Cleaned, kept: list[int], beats: list[BeatClasses], spikes: list[np.ndarray], names: tuple[str, ...]
) -> list[EcgMeasurements]:
    """The measurements of ECGs with beats; averaged beats of all of them are looked at together."""
    if not kept:
        return []
    counts = [len(one.means) for one in beats]
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]  # the dominant ones
    means = np.concatenate([one.means for one in beats])
    valid = np.repeat(cleaned.valid[kept], counts, axis=0)
    before, after = (np.concatenate(values) for values in zip(*(_rr_of_classes(one) for one in beats), strict=True))
    paced = [
        _spiked(one, spikes[exam], cleaned.offset, VENTRICULAR_SPIKE_S) for exam, one in zip(kept, beats, strict=True)
    ]
    earliest = np.concatenate([_after_spikes(one, at) for one, at in zip(beats, paced, strict=True)])
    qrs, span = delineate_qrs(means, valid, earliest)
    t_wave, t_end = delineate_t(means, valid, span[:, 1], after)
    previous_t = (t_end[first] - before[first] * RATE).astype(int)
    p_wave, p_peak = delineate_p(means[first], valid[first], span[first, 0], previous_t)
    points = np.stack([np.full_like(qrs, np.nan), qrs, t_wave], axis=2)  # (beats, leads, 3, 3)
    points[first, :, P] = p_wave
    measured = shapes(means[first], valid[first], points[first], span[first], names)
    results = []
    for row, exam in enumerate(kept):
        at = first[row]
        evidence = atrial_evidence(cleaned, exam, beats[row], span[at, 0], p_peak[row], t_end[at])
        of_classes = points[at : at + counts[row]]
        marks = beat_marks(cleaned, exam, beats[row], of_classes, evidence)
        result = EcgMeasurements(names, cleaned.valid[exam])
        _fill_rhythm(result, beats[row], marks, evidence, cleaned.offset)
        result.rhythm.paced_beats = int(np.isfinite(paced[row]).sum())
        atrial = _spiked(beats[row], spikes[exam], cleaned.offset, ATRIAL_SPIKE_S)
        result.rhythm.atrial_spikes = int(np.isfinite(atrial).sum())
        result.spikes_s = spikes[exam]
        _fill_intervals(result, of_classes[0], span[at], beats[row], evidence)
        _fill_shape(result, measured, row, evidence)
        results.append(result)
    return results


def _rr_of_classes(beats: BeatClasses) -> tuple[np.ndarray, np.ndarray]:
    """By class, the median seconds from the beat before and to the beat after; of all beats where there is none."""
    rr = np.diff(beats.places) / RATE
    usual = float(median(rr)) if rr.size else 1.0
    n = len(beats.means)
    before, after = np.full(n, usual), np.full(n, usual)
    for kind in range(n):
        members = np.flatnonzero(beats.classes == kind)
        for values, some in ((before, rr[members[members > 0] - 1]), (after, rr[members[members < len(rr)]])):
            if some.size:
                values[kind] = median(some)
    return before, after


def _spiked(beats: BeatClasses, spikes: np.ndarray, offset: int, within: tuple[float, float]) -> np.ndarray:
    """Samples from each beat's reference point to the last spike `within` seconds of it; NaN where there is none."""
    found = np.full(len(beats.places), np.nan)
    if spikes.size:
        apart = spikes * RATE + offset - beats.places[:, None]
        near = (apart >= within[0] * RATE) & (apart <= within[1] * RATE)
        some = near.any(axis=1)
        found[some] = np.where(near, apart, -np.inf).max(axis=1)[some]
    return found


def _after_spikes(beats: BeatClasses, paced: np.ndarray) -> np.ndarray:
    """By class, the first sample at which a QRS can begin: behind the spikes, where most of the class have one."""
    earliest = np.zeros(len(beats.means), dtype=int)
    for kind in range(len(earliest)):
        some = paced[beats.classes == kind]
        if np.isfinite(some).mean() > 0.5:
            earliest[kind] = REFERENCE + round(float(np.nanmedian(some)) + SPIKE_TO_QRS_S * RATE)
    return earliest


def _fill_rhythm(
    result: EcgMeasurements, beats: BeatClasses, marks: np.ndarray, evidence: AtrialEvidence, offset: int
) -> None:
    """Beats, rate, and what the rhythm is read from."""
    result.beats_s = (beats.places - offset) / RATE
    result.marks_s = (marks - offset) / RATE
    result.beat_kinds = ["cut_off" if kind < 0 else "ectopic" if kind else "dominant" for kind in beats.classes]
    rr = np.diff(result.beats_s)
    rhythm = RhythmEvidence(p_likeness=evidence.likeness, tp_power=evidence.tp_power)
    rhythm.ectopic_beats = int((beats.classes > 0).sum())
    result.rhythm = rhythm
    if rr.size:
        result.rr_ms, result.heart_rate_bpm = float(1000 * rr.mean()), float(60 / rr.mean())
        alike = float(np.mean(beats.likeness[beats.classes >= 0]))
        result.quality["heart_rate_bpm"] = alike * min(1.0, len(rr) / 4)
        rhythm.premature_beats = int((rr < PREMATURE * median(rr)).sum())
    else:
        result.reasons["heart_rate_bpm"] = "a single beat has no interval"
    if rr.size > 1:
        result.rr_sd_ms = float(1000 * rr.std(ddof=1))
        result.quality["rr_sd_ms"] = result.quality["heart_rate_bpm"]
        normal = beats.classes <= 0
        usual = normal[1:] & normal[:-1]
        change = np.abs(np.diff(rr))[usual[1:] & usual[:-1]]
        rhythm.irregularity = float(median(change) / median(rr)) if change.size else None
    else:
        result.reasons["rr_sd_ms"] = "fewer than two RR intervals"
    p_peaks = result.overall_s[:, P, PEAK]
    whole = beats.classes >= 0
    if evidence.likeness is not None:
        rhythm.p_before_qrs = float(np.isfinite(p_peaks[whole]).mean())
    between = np.diff(p_peaks)
    between = between[np.isfinite(between)]
    if between.size > 1:
        rhythm.pp_ms, rhythm.pp_sd_ms = float(1000 * between.mean()), float(1000 * between.std(ddof=1))


def _fill_intervals(
    result: EcgMeasurements, points: np.ndarray, span: np.ndarray, beats: BeatClasses, evidence: AtrialEvidence
) -> None:
    """Intervals of the averaged dominant beat, in milliseconds: the median over the leads."""
    leads = points[result.lead_mask] * (1000 / RATE)
    result.qrs_all_leads_ms = float((span[1] - span[0]) * 1000 / RATE)
    parts = {"qrs_ms": leads[:, QRS, OFFSET] - leads[:, QRS, ONSET]}
    if _t_stands_out(beats, points, result.lead_mask):
        parts["qt_ms"] = leads[:, T, OFFSET] - leads[:, QRS, ONSET]
    else:
        result.reasons["qt_ms"] = "the T wave is lost in noise"
    if evidence.present:
        parts["pr_ms"] = leads[:, QRS, ONSET] - leads[:, P, ONSET]
        parts["p_ms"] = leads[:, P, OFFSET] - leads[:, P, ONSET]
    else:
        result.reasons["pr_ms"] = result.reasons["p_ms"] = evidence.reason
    alike = result.quality.get("heart_rate_bpm", 0.5)
    for name, values in parts.items():
        # Ends of QRS complexes scatter little; a P or T wave may be far off in some lead.
        middle = float(values.mean() if name == "qrs_ms" else median(values))
        setattr(result, name, middle)
        spread = 1.48 * float(median(np.abs(values - middle)))
        result.quality[name] = alike / (1 + (spread / SPREAD_MS[name]) ** 2)
        if name in ("pr_ms", "p_ms") and evidence.likeness is not None:
            result.quality[name] *= evidence.likeness
    corrections = {
        "qtc_bazett_ms": qtc_bazett,
        "qtc_fridericia_ms": qtc_fridericia,
        "qtc_framingham_ms": qtc_framingham,
    }
    for name, correct in corrections.items():
        if result.qt_ms is None or result.rr_ms is None:
            result.reasons[name] = result.reasons.get("qt_ms") or result.reasons["heart_rate_bpm"]
        else:
            setattr(result, name, correct(result.qt_ms, result.rr_ms / 1000))
            result.quality[name] = min(result.quality["qt_ms"], result.quality["heart_rate_bpm"])


def _t_stands_out(beats: BeatClasses, points: np.ndarray, lead_mask: np.ndarray) -> bool:
    """Whether some lead's T wave is higher than what is left of the noise in the averaged beat."""
    mean, noise = beats.means[0][lead_mask], beats.noise[0][lead_mask]
    if not np.isfinite(noise).all():
        return True  # too few beats to know
    at = np.clip(points[lead_mask, T].round().astype(int), 0, mean.shape[-1] - 1)
    height = np.take_along_axis(mean, at, axis=-1)
    return bool((np.abs(height[:, PEAK] - height[:, OFFSET]) > MIN_T_TO_NOISE * noise).any())


def _fill_shape(result: EcgMeasurements, measured: Shapes, row: int, evidence: AtrialEvidence) -> None:
    """Amplitudes, axes and morphology of the averaged dominant beat."""
    result.amplitudes = {name: values[row].astype(float) for name, values in measured.amplitudes.items()}
    if not evidence.present:
        result.amplitudes["p_mv"] = np.full(len(result.lead_names), np.nan)
    for wave, name in enumerate(("p_axis_deg", "qrs_axis_deg", "t_axis_deg")):
        axis = float(measured.axes[row, wave])
        basis = {"p_axis_deg": "pr_ms", "qrs_axis_deg": "qrs_ms", "t_axis_deg": "qt_ms"}[name]
        if basis in result.reasons:
            result.reasons[name] = result.reasons[basis]
        elif np.isfinite(axis):
            setattr(result, name, axis)
            result.quality[name] = result.quality[basis]
        else:
            result.reasons[name] = "leads I and II are needed, with a wave that has a direction in the frontal plane"
    result.morphology = morphology(
        result.amplitudes,
        measured.notched[row],
        float(measured.rise_ms[row]),
        result.lead_names,
        result.qrs_ms,
        result.pr_ms,
    )


__all__ = ["measure_ecg", "measure_ecgs"]
