"""Amplitudes of averaged beats, frontal axes, and what the shape of the QRS says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from .beats_ecgclip import RATE, median
from .waves_ecgclip import OFFSET, ONSET, PEAK, QRS, REFERENCE, P, T


VIEW = slice(REFERENCE - 90, REFERENCE + 160)  # samples of an averaged beat that a QRS and its ST segment lie in
LEVEL_S = 0.012  # before the QRS, the level that amplitudes are measured from
MIN_WAVE_MV = 0.03  # a lower deflection is none
MIN_WAVE_SHARE = 0.02  # of what the lead spans
J60_S = 0.06
NOTCH_SHARE, NOTCH_MV = 0.05, 0.05  # of the QRS, between two peaks of one wave
MIN_AXIS_SHARE = 0.15  # of the leads' absolute area: with less a wave has no direction in the frontal plane

# Hancock et al. 2009 (AHA/ACCF/HRS part V) for voltages; Surawicz et al. 2009 (part III) for conduction; Thygesen et
# al. 2018 (fourth universal definition) for Q waves.
LOW_LIMB_MV, LOW_CHEST_MV = 0.5, 1.0
SOKOLOW_LYON_MV = 3.5
MIN_R2_MV = 0.05  # above the level, and above the J point
WIDE_S_MS = 40.0
BROAD_QRS_MS = 120.0
DELTA_PR_MS, DELTA_QRS_MS, DELTA_RISE_MS = 120.0, 100.0, 26.0
Q_MS, Q_MV, Q_MS_V2_V3 = 30.0, 0.1, 20.0
POOR_R_MV = 0.3
LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
LATERAL = ("I", "aVL", "V5", "V6")
# Leads that look at neighbouring walls: a Q wave counts where two of a row have it.
NEIGHBOURS = (("aVL", "I"), ("II", "aVF"), ("aVF", "III"), *zip(CHEST[:-1], CHEST[1:], strict=True))

AMPLITUDES = ("p_mv", "q_mv", "r_mv", "s_mv", "r2_mv", "st_j_mv", "st_j60_mv", "t_mv", "q_ms", "r_ms", "s_ms")


@dataclass
class Shapes:
    """
    Averaged beats in numbers.

    Args:
        amplitudes (`dict[str, np.ndarray]` of arrays of shape `(beats, leads)`):
            `AMPLITUDES`, from the level before the QRS: Q and S are negative, P and T have their sign; milliseconds of
            Q, R and S.
        notched (`np.ndarray` of shape `(beats, leads)`, bool): Two peaks in one wave of the QRS.
        rise_ms (`np.ndarray` of shape `(beats,)`):
            From the onset of the QRS until all leads' slope is half of its most.
        axes (`np.ndarray` of shape `(beats, 3)`): Frontal axes of P, QRS and T in degrees; NaN without I and II, or
            where a wave has no direction there.
    """

    amplitudes: dict[str, np.ndarray]
    notched: np.ndarray
    rise_ms: np.ndarray
    axes: np.ndarray


def shapes(
    means: np.ndarray, valid: np.ndarray, points: np.ndarray, span: np.ndarray, lead_names: Sequence[str]
) -> Shapes:
    """
    Returns averaged beats in numbers.

    Args:
        means (`np.ndarray` of shape `(beats, leads, samples)`): Averaged beats.
        valid (`np.ndarray` of shape `(beats, leads)`, bool): Leads to be read.
        points (`np.ndarray` of shape `(beats, leads, 3, 3)`): Onset, peak and offset of P, QRS and T in samples.
        span (`np.ndarray` of shape `(beats, 2)`, int): Onset and offset of the QRS in all leads.
        lead_names (`list[str]`): Standard spellings.
    """
    at = np.arange(means.shape[-1])
    before = (at >= span[:, :1] - round(LEVEL_S * RATE)) & (at < span[:, :1])
    level = np.einsum("blt,bt->bl", means, before) / np.maximum(before.sum(axis=1), 1)[:, None]
    curve = means - level[..., None]
    found = _deflections(curve[..., VIEW], span - VIEW.start)
    for name, seconds in (("st_j_mv", 0.0), ("st_j60_mv", J60_S)):
        place = np.clip(span[:, 1] + round(seconds * RATE), 2, len(at) - 3)
        near = (at >= place[:, None] - 2) & (at <= place[:, None] + 2)
        found[name] = np.einsum("blt,bt->bl", curve, near) / 5
    found["t_mv"] = _at(curve, points[:, :, T, PEAK])
    ends = [_at(curve, points[:, :, P, point]) for point in (ONSET, OFFSET)]
    found["p_mv"] = _at(curve, points[:, :, P, PEAK]) - (ends[0] + ends[1]) / 2
    relevant = {name: np.where(valid, found[name], np.nan) for name in AMPLITUDES}
    slope = np.abs(np.gradient(scipy.ndimage.gaussian_filter1d(curve[..., VIEW], 2.0, axis=-1), axis=-1))
    together = np.einsum("blt,bl->bt", slope, valid)
    at = np.arange(together.shape[1])
    inside = (at >= span[:, :1] - VIEW.start) & (at <= span[:, 1:] - VIEW.start)
    together = np.where(inside, together, 0)
    rise = (together > 0.5 * together.max(axis=1, keepdims=True)).argmax(axis=1) + VIEW.start - span[:, 0]
    axes = np.stack([_axis(curve, valid, points, span, wave, lead_names) for wave in (P, QRS, T)], axis=-1)
    return Shapes(relevant, _notched(curve[..., VIEW], span - VIEW.start) & valid, rise * 1000 / RATE, axes)


def _at(curve: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The curve at one place in each lead, (beats, leads)."""
    index = np.clip(np.nan_to_num(place), 0, curve.shape[-1] - 1).round().astype(int)
    return np.take_along_axis(curve, index[..., None], axis=-1)[..., 0]


def _deflections(curve: np.ndarray, span: np.ndarray) -> dict[str, np.ndarray]:
    """Q, R, S and R' of the QRS: R is its first wave upwards, R' the highest of those that come after the first S."""
    at = np.arange(curve.shape[-1])
    inside = ((at >= span[:, :1]) & (at <= span[:, 1:]))[:, None]
    curve = np.where(inside, curve, 0)
    least = np.maximum(MIN_WAVE_MV, MIN_WAVE_SHARE * np.ptp(curve, axis=-1, keepdims=True))
    up, down = curve > least, curve < -least
    number = np.cumsum(up & ~np.concatenate([np.zeros_like(up[..., :1]), up[..., :-1]], axis=-1), axis=-1)
    # A wave upwards goes on until the curve turns negative: small notches do not end it.
    since_down = np.maximum.accumulate(np.where(down, at, -1), axis=-1)
    first_up = np.where(up.any(axis=-1), up.argmax(axis=-1), len(at))[..., None]
    second = up & (since_down > first_up)
    first = up & ~second & (number > 0)
    # An ST segment above or below the level is no wave of the QRS.
    j = np.take_along_axis(curve, np.broadcast_to(span[:, 1][:, None, None], (*curve.shape[:2], 1)), axis=-1)
    second &= curve.max(axis=-1, keepdims=True, where=second, initial=0) - np.maximum(j, 0) > MIN_R2_MV
    after_first = down & (at > first_up)
    after_first &= curve.min(axis=-1, keepdims=True, where=after_first, initial=0) - np.minimum(j, 0) < -least
    negative_before, negative_after = down & (at < first_up), after_first
    ms = 1000 / RATE
    return {
        "q_mv": np.where(negative_before, curve, 0).min(axis=-1),
        "r_mv": np.where(first, curve, 0).max(axis=-1),
        "s_mv": np.where(negative_after, curve, 0).min(axis=-1),
        "r2_mv": np.where(second, curve, 0).max(axis=-1),
        "q_ms": negative_before.sum(axis=-1) * ms,
        "r_ms": first.sum(axis=-1) * ms,
        "s_ms": negative_after.sum(axis=-1) * ms,
    }


def _notched(curve: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Whether the largest wave of the QRS has two peaks, (beats, leads)."""
    at = np.arange(curve.shape[-1])
    inside = ((at >= span[:, :1]) & (at <= span[:, 1:]))[:, None]
    curve = np.where(inside, curve, 0)
    highest, lowest = curve.max(axis=-1), -curve.min(axis=-1)
    one_sided = np.maximum(curve * np.where(highest >= lowest, 1, -1)[..., None], 0)
    before = np.maximum.accumulate(one_sided, axis=-1)
    after = np.maximum.accumulate(one_sided[..., ::-1], axis=-1)[..., ::-1]
    depth = np.where(one_sided > 0, np.minimum(before, after) - one_sided, 0).max(axis=-1)
    return depth > np.maximum(NOTCH_MV, NOTCH_SHARE * np.maximum(highest, lowest))


def _axis(
    curve: np.ndarray,
    valid: np.ndarray,
    points: np.ndarray,
    span: np.ndarray,
    wave: int,
    lead_names: Sequence[str],
) -> np.ndarray:
    """The frontal axis of a wave from its areas in I and II, in degrees; NaN where it has none."""
    names = list(lead_names)
    if "I" not in names or "II" not in names:
        return np.full(len(curve), np.nan)
    rows = [names.index("I"), names.index("II")]
    at = np.arange(curve.shape[-1])
    if wave == QRS:
        begin, end = span[:, 0], span[:, 1]
    else:
        middle = median(points[:, rows, wave], axis=1)
        begin, end = middle[:, ONSET], middle[:, OFFSET]
    inside = (at >= begin[:, None]) & (at <= end[:, None])
    limb = curve[:, rows]
    if wave == P:  # from the line between its ends
        low, high = (_at(limb, np.broadcast_to(end_[:, None], limb.shape[:2])) for end_ in (begin, end))
        way = np.clip((at - begin[:, None]) / np.maximum(end - begin, 1)[:, None], 0, 1)
        limb = limb - low[..., None] - (high - low)[..., None] * way[:, None]
    area = np.einsum("blt,bt->bl", limb, inside)
    size = np.einsum("blt,bt->bl", np.abs(limb), inside).sum(axis=1)
    x, y = area[:, 0], (2 * area[:, 1] - area[:, 0]) / np.sqrt(3)
    clear = valid[:, rows].all(axis=1) & (np.hypot(x, y) > MIN_AXIS_SHARE * np.maximum(size, 1e-9))
    return np.where(clear, np.degrees(np.arctan2(y, x)), np.nan)


def morphology(
    amplitudes: dict[str, np.ndarray],
    notched: np.ndarray,
    rise_ms: float,
    lead_names: Sequence[str],
    qrs_ms: float | None,
    pr_ms: float | None,
) -> dict[str, bool | float | str | list[str] | None]:
    """
    Returns what the shape of one ECG's QRS says; None where the leads for it are missing.

    Args:
        amplitudes (`dict[str, np.ndarray]` of arrays of shape `(leads,)`): From [`shapes`]; NaN in missing leads.
        notched (`np.ndarray` of shape `(leads,)`, bool), rise_ms (`float`): From [`shapes`].
        lead_names (`list[str]`): Standard spellings.
        qrs_ms, pr_ms (`float`, *optional*): Duration of the QRS, and the PR interval.
    """
    row = {name: at for at, name in enumerate(lead_names) if np.isfinite(amplitudes["r_mv"][at])}

    def of(name: str, lead: str) -> float:
        return float(amplitudes[name][row[lead]])

    def has(*leads: str) -> bool:
        return all(lead in row for lead in leads)

    def span(lead: str) -> float:
        return max(of("r_mv", lead), of("r2_mv", lead)) - min(of("q_mv", lead), of("s_mv", lead))

    broad = None if qrs_ms is None else qrs_ms >= BROAD_QRS_MS
    lateral = [lead for lead in LATERAL if lead in row]
    q_leads = [lead for lead in row if pathological_q(lead, of("q_mv", lead), of("q_ms", lead), of("r_mv", lead))]
    r_peak = {lead: max(of("r_mv", lead), of("r2_mv", lead)) for lead in CHEST if lead in row}
    wide_s = None if not has("I", "V6") else all(of("s_ms", lead) >= WIDE_S_MS for lead in ("I", "V6"))
    return {
        "rsr_v1_v2": None
        if not ({"V1", "V2"} & row.keys())
        else any(of("r2_mv", lead) > 0 for lead in ("V1", "V2") if lead in row),
        "notched_r_lateral": None
        if not lateral or broad is None
        else broad and any(bool(notched[row[lead]]) and of("r_mv", lead) > -of("s_mv", lead) for lead in lateral),
        "absent_q_lateral": None if not has("I", "V6") else all(of("q_mv", lead) == 0 for lead in ("I", "V6")),
        "wide_s_i_v6": wide_s,
        "delta_wave": None
        if pr_ms is None or qrs_ms is None
        # A late end widens the QRS as a slow start does.
        else not wide_s and pr_ms < DELTA_PR_MS and qrs_ms >= DELTA_QRS_MS and rise_ms >= DELTA_RISE_MS,
        "pathological_q_leads": sorted(
            {lead for pair in NEIGHBOURS if set(pair) <= set(q_leads) for lead in pair}, key=list(row).index
        ),
        "low_voltage_limb": None if not has(*LIMB) else all(span(lead) < LOW_LIMB_MV for lead in LIMB),
        "low_voltage_chest": None if not has(*CHEST) else all(span(lead) < LOW_CHEST_MV for lead in CHEST),
        "sokolow_lyon_mv": None if not has("V1", "V5", "V6") else max(r_peak["V5"], r_peak["V6"]) - _deepest(of, "V1"),
        "cornell_mv": None if not has("aVL", "V3") else of("r_mv", "aVL") - _deepest(of, "V3"),
        "r_transition": next((lead for lead in CHEST if lead in row and r_peak[lead] >= -_deepest(of, lead)), None),
        "poor_r_progression": None if not has("V1", "V2", "V3") else r_peak["V3"] <= POOR_R_MV,
    }


def _deepest(of: Callable[[str, str], float], lead: str) -> float:
    """The S wave, or the QS complex."""
    return min(of("q_mv", lead), of("s_mv", lead))


def pathological_q(lead: str, q_mv: float, q_ms: float, r_mv: float) -> bool:
    """A Q wave as after an infarction; a QS complex counts, but for V1, where it is usual."""
    if lead == "aVR" or q_mv == 0:
        return False
    if lead in ("V2", "V3"):
        return q_ms >= Q_MS_V2_V3
    return (q_ms >= Q_MS and -q_mv >= Q_MV) and not (lead == "V1" and r_mv == 0)
