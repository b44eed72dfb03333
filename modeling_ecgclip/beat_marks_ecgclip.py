"""From averaged beats to each beat: is there a P wave before it, and how early or late are its P and T waves?"""

from dataclasses import dataclass

import numpy as np

from .beats_ecgclip import RATE, BeatClasses, Cleaned, best_shift, median
from .waves_ecgclip import OFFSET, ONSET, PEAK, QRS, REFERENCE, P, T


P_VIEW_S = 0.16  # long, and ends at the QRS at the latest
P_AFTER_PEAK_S = 0.08
BEFORE_QRS_S = 0.008
# Before the P wave, of the interval from T to P: the longer view where enough beats have room for it.
TP_VIEW_S = (0.22, 0.16)
# Correlation of a beat's P wave with that of the others. LUDB: 0.71 and more with P waves; dissociation and most
# fibrillation 0.67 and less. This limit and the next were set with an eye on all of its records.
MIN_P_LIKENESS = 0.68
# Power between T and P over that of P. LUDB: 0.4 at the most with P waves; flutter and fibrillation 0.8 and more.
MAX_TP_POWER = 0.65
MIN_BEATS = 3
# A single beat's P wave against the mean one: of the dominant class, and of another.
MIN_BEAT_P, MIN_OTHER_P = 0.4, 0.75
MAX_P_SHIFT_S, MAX_T_SHIFT_S = 0.048, 0.06
MIN_T_LIKENESS = 0.6
T_VIEW_S = (0.1, 0.04)  # before the peak, after the end
P_STEP, T_STEP = 2, 4  # samples between those that are compared


@dataclass
class AtrialEvidence:
    """
    What speaks for P waves before the dominant beats.

    Args:
        likeness (`float`, *optional*): Median correlation of a beat's P wave with the mean of the others'.
        tp_power (`float`, *optional*):
            Power between T and P over that of the P wave; None where no interval from T to P is long enough.
        present (`bool`): Whether there are P waves.
        reason (`str`): Why not.
    """

    likeness: float | None
    tp_power: float | None
    present: bool
    reason: str


def atrial_evidence(
    cleaned: Cleaned, exam: int, beats: BeatClasses, onset: int, p_peak: int, t_end: int
) -> AtrialEvidence:
    """
    Returns whether the dominant beats of one ECG have P waves.

    Args:
        cleaned (`Cleaned`), exam (`int`): The ECG.
        beats (`BeatClasses`): Its beats.
        onset, p_peak, t_end (`int`): Onset of the QRS, peak of the P wave and end of the T wave in the averaged beat.
    """
    end = min(p_peak - REFERENCE + round(P_AFTER_PEAK_S * RATE), onset - REFERENCE - round(BEFORE_QRS_S * RATE))
    begin = end - round(P_VIEW_S * RATE)
    dominant = beats.classes == 0
    before = np.concatenate([[-(10**9)], beats.places[:-1]])[dominant]
    places = beats.places[dominant]
    whole = (places + begin >= cleaned.first[exam]) & (places + end <= cleaned.last[exam])
    places, before = places[whole], before[whole]
    if len(places) < MIN_BEATS:
        return AtrialEvidence(None, None, False, f"fewer than {MIN_BEATS} beats whose P wave was recorded")
    ecg = cleaned.ecg[exam][cleaned.valid[exam]]
    views = _straightened(ecg, places, begin, end)
    others = (views.sum(axis=0) - views) / (len(views) - 1)
    power = np.einsum("bls,bls->b", views, views)
    size = np.sqrt(power * np.einsum("bls,bls->b", others, others))
    likeness = float(median(np.einsum("bls,bls->b", views, others) / np.maximum(size, 1e-12)))
    tp_power = None
    for seconds in TP_VIEW_S:
        length = round(seconds * RATE)
        first = places + begin - length
        free = (first > before + t_end - REFERENCE + 5) & (first >= cleaned.first[exam])
        if free.sum() >= MIN_BEATS:
            between = _straightened(ecg, places[free], begin - length, begin)
            ratio = np.einsum("bls,bls->b", between, between) / max(float(power.mean()), 1e-12)
            tp_power = float(median(ratio) * views.shape[-1] / between.shape[-1])
            break
    if likeness < MIN_P_LIKENESS:
        return AtrialEvidence(likeness, tp_power, False, "no P wave that repeats before the QRS")
    if tp_power is not None and tp_power > MAX_TP_POWER:
        return AtrialEvidence(likeness, tp_power, False, "atrial activity between T and P as large as the P wave")
    return AtrialEvidence(likeness, tp_power, True, "")


def _straightened(ecg: np.ndarray, places: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Means over 10 ms of the ECG from `begin` to `end` around each place, without slope, (beats, leads, means)."""
    n = (end - begin) // 5
    at = places[:, None] + np.arange(end - 5 * n, end)
    view = ecg[:, np.clip(at, 0, ecg.shape[1] - 1)].reshape(len(ecg), len(places), n, 5) @ np.full(5, 0.2, np.float32)
    view = view.transpose(1, 0, 2)
    line = np.linspace(-1, 1, n, dtype=np.float32)
    view = view - view.mean(axis=-1, keepdims=True)
    return view - (view @ line)[..., None] * (line / (line @ line))


def beat_marks(
    cleaned: Cleaned, exam: int, beats: BeatClasses, points: np.ndarray, evidence: AtrialEvidence
) -> np.ndarray:
    """
    Returns the marks of each beat: those of its class, P and T moved to where they are in this beat.

    Args:
        cleaned, exam, beats: As for [`atrial_evidence`].
        points (`np.ndarray` of shape `(classes, leads, 3, 3)`):
            Onset, peak and offset of P, QRS and T in averaged beats.
        evidence (`AtrialEvidence`): Whether there are P waves.

    Returns:
        `np.ndarray` of shape `(beats, leads, 3, 3)`: In samples of `cleaned`; NaN where there is no such wave.
    """
    places, classes = beats.places, beats.classes
    kind = np.maximum(classes, 0)
    marks = points[kind].astype(float)
    next_ = np.concatenate([places[1:], [10**9]])
    before = np.concatenate([[-(10**9)], places[:-1]])
    valid = cleaned.valid[exam]
    ecg = cleaned.ecg[exam][valid]
    middle = median(points[:, valid], axis=1)  # (classes, 3, 3)
    t_end = middle[kind, T, OFFSET] - REFERENCE
    if evidence.present:
        marks[:, :, P] = points[0, :, P]
        onset = middle[kind, QRS, ONSET] - REFERENCE
        end = min(middle[0, P, PEAK] + P_AFTER_PEAK_S * RATE, middle[0, QRS, ONSET] - BEFORE_QRS_S * RATE) - REFERENCE
        low = before + np.concatenate([[0], t_end[:-1]])
        likeness, shift = _moved(
            ecg, places, (end - P_VIEW_S * RATE, end), MAX_P_SHIFT_S, P_STEP, classes == 0, low, places + onset - 4
        )
        marks[:, :, P] += shift[:, None, None]
        absent = likeness < np.where(classes == 0, MIN_BEAT_P, MIN_OTHER_P)
        absent |= marks[:, valid, P, OFFSET].max(axis=1) > onset + REFERENCE + 10
        marks[absent, :, P] = np.nan
    else:
        marks[:, :, P] = np.nan
    for one in range(len(points)):
        members = classes == one
        if members.sum() > 1:
            span = (middle[one, T, PEAK] - T_VIEW_S[0] * RATE, middle[one, T, OFFSET] + T_VIEW_S[1] * RATE)
            span = (max(span[0], middle[one, QRS, OFFSET] + 15) - REFERENCE, span[1] - REFERENCE)
            some = places[members]
            likeness, shift = _moved(
                ecg, some, span, MAX_T_SHIFT_S, T_STEP, np.ones(len(some), bool), some, next_[members] - 0.1 * RATE
            )
            marks[members, :, T] += np.where(likeness > MIN_T_LIKENESS, shift, 0)[:, None, None]
    marks += (places - REFERENCE)[:, None, None, None]
    marks[classes < 0] = np.nan
    marks[:, ~valid] = np.nan
    outside = (marks[..., ONSET] < cleaned.first[exam]) | (marks[..., OFFSET] > cleaned.last[exam])
    outside[:, :, T] |= marks[:, :, T, PEAK] > (next_ - 0.08 * RATE)[:, None]
    marks[outside] = np.nan
    return marks


def _moved(
    ecg: np.ndarray,
    places: np.ndarray,
    span: tuple[float, float],
    most_s: float,
    step: int,
    model: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """
    How a wave of each beat is like that of the mean of the beats `model`, and by how many samples it is later.

    Args:
        span (`tuple[float, float]`): Where the wave is, from a beat's reference point.
        most_s (`float`): Seconds by which it may be earlier or later.
        step (`int`): Samples between those that are compared.
        low, high (`np.ndarray` of shape `(beats,)`): The ECG is held before and after these places.
    """
    shifts = round(most_s * RATE / step)
    begin, end = round(span[0]), round(span[1])
    at = np.arange(begin - shifts * step, end + shifts * step + 1, step) + places[:, None]
    at = np.clip(at, low[:, None], np.maximum(high, low)[:, None])
    wide = ecg[:, np.clip(at, 0, ecg.shape[1] - 1).astype(int)].transpose(1, 0, 2)  # (beats, leads, samples)
    pattern = wide[model][..., shifts:-shifts].mean(axis=0)
    pattern = pattern - pattern.mean(axis=-1, keepdims=True)
    likeness, shift = best_shift(np.ascontiguousarray(wide), pattern, shifts)
    return likeness, shift * step
