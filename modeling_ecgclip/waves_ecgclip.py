"""Where P, QRS and T begin, culminate and end in averaged beats, lead by lead.

A QRS ends where its slopes do. P and T end where the area between the curve and its level at the end is largest
(Zhang et al. 2006): a tangent that needs no derivative. All leads say together where a wave is, each says where it
ends, not far from the others.

Constants were chosen on the records of LUDB with an even number; `benchmarks/measure/README.md` has the others'
result.
"""

import numpy as np
import scipy.ndimage

from .beats_ecgclip import BEFORE, RATE


P, QRS, T = range(3)  # waves, the second-last axis of marks
ONSET, PEAK, OFFSET = range(3)  # points, the last one
REFERENCE = BEFORE  # the reference point's place in an averaged beat

BAND_STEP = 3  # samples: waves are looked for in every third

QRS_SIGMA = 3.0  # samples: a Gaussian that leaves slopes of 6 ms
QRS_CORE_S = (0.1, 0.12)  # where the steepest slope lies, before and after the reference point
QRS_ONSET_SLOPE, QRS_OFFSET_SLOPE = 0.06, 0.08  # of the steepest, all leads together
LEAD_ONSET_SLOPE, LEAD_OFFSET_SLOPE = 0.06, 0.08  # of the lead's steepest
QUIET_S = 0.012  # slopes stay below for so long
# Noise: the mean slope before or after the QRS, whichever is less, times this; leads weigh by how little they have.
NOISE_TIMES, WEIGHT_FLOOR, REST_AFTER_S = 1.8, 0.03, 0.16
LEAD_REACH_S = 0.03  # a lead's end is this near to that of all
QRS_REACH_S = (0.14, 0.2)
QRS_VIEW_S = (0.2, 0.26)
# Physicians put the mark before the first slope that stands out, and hardly behind the last.
ONSET_EARLY_S, OFFSET_LATE_S = 0.005, 0.001

T_SIGMA = 6.0
T_HOLD_S, T_START_S = 0.05, 0.09  # after the QRS: what comes before is not looked at, is no T wave
T_BAND = (6.0, 30.0)  # samples: difference of Gaussians that a T wave stands out of
T_AREA_S, T_ONSET_AREA_S = 0.125, 0.12
# A T wave culminates this long after the QRS at a heart rate of 60; earlier at others, as QT does (Bazett 1920). The
# P wave of the next beat comes later.
T_PEAK_S, T_PEAK_SPREAD_S = 0.28, 0.12
T_FALL_S = 0.08  # at the least, from peak to end of all leads together
# The latest end from the reference point: a constant, and times the root of RR; and before the next beat.
LONGEST_QT_S, NEXT_P_S = (0.06, 0.5), 0.09
T_LONG_S = 0.4  # from peak to end, the less likely the later
T_REACH_S, T_SIGN_S = 0.08, 0.02
T_HALF_S = (0.04, 0.16)  # from peak to end in one lead

P_BACK_S = 0.42  # before the QRS
P_SIGMA = 4.0
P_BAND = (8.0, 30.0)
P_AREA_S = 0.065
P_HALF_S = (0.02, 0.1)
P_REACH_S = 0.03
P_END_REACH_S = 0.035
P_FIRST_PART, P_FIRST_PART_S = 0.6, (0.02, 0.08)  # area, and time before the onset of the second part
P_MARGIN_S = (0.03, 0.025)  # from what is before, and from the QRS


def _samples(seconds: float) -> int:
    return round(seconds * RATE)


def delineate_qrs(means: np.ndarray, valid: np.ndarray, earliest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns where the QRS of averaged beats begins and ends.

    Args:
        means (`np.ndarray` of shape `(beats, leads, samples)`): From [`classify`].
        valid (`np.ndarray` of shape `(beats, leads)`, bool): Leads to be read.
        earliest (`np.ndarray` of shape `(beats,)`, int): The first sample that can belong to the QRS.

    Returns:
        `np.ndarray` of shape `(beats, leads, 3)`: Onset, peak and offset in each lead, in samples; and of shape
        `(beats, 2)`, int: onset and offset of all leads together.
    """
    beats = len(means)
    view = slice(REFERENCE - _samples(QRS_VIEW_S[0]), REFERENCE + _samples(QRS_VIEW_S[1]))
    n, zero = view.stop - view.start, REFERENCE - view.start
    curve = _smooth(means[..., view], QRS_SIGMA)
    slope = np.abs(np.gradient(curve, axis=-1))
    core = slice(zero - _samples(QRS_CORE_S[0]), zero + _samples(QRS_CORE_S[1]))
    steepest = np.maximum(slope[..., core].max(axis=-1), 1e-9)
    rest = np.minimum(*(slope[..., part].mean(axis=-1) for part in _around(zero, n)))
    relative = slope / steepest[..., None]
    weight = valid / (WEIGHT_FLOOR + rest / steepest)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    together = np.sqrt(np.einsum("blt,bl->bt", relative * relative, weight))
    top = together[:, core].max(axis=-1)
    calm = NOISE_TIMES * np.minimum(*(together[:, part].mean(axis=-1) for part in _around(zero, n)))
    here, earliest = np.full(beats, zero), earliest - view.start
    onset = _quiet_before(together, np.maximum(QRS_ONSET_SLOPE * top, calm), here, zero - _samples(QRS_REACH_S[0]))
    onset = np.maximum(onset, earliest)
    last = n - 1 - zero - _samples(QRS_REACH_S[1])
    limit = np.maximum(QRS_OFFSET_SLOPE * top, calm)
    offset = n - 1 - _quiet_before(together[:, ::-1], limit, n - 1 - here, last)
    reach = _samples(LEAD_REACH_S)
    calm = NOISE_TIMES * rest
    limit = np.maximum(LEAD_ONSET_SLOPE * steepest, calm)
    begin = _quiet_before(slope, limit, onset[:, None] + reach, onset[:, None] - reach)
    limit = np.maximum(LEAD_OFFSET_SLOPE * steepest, calm)
    mirrored = n - 1 - offset[:, None]
    end = n - 1 - _quiet_before(slope[..., ::-1], limit, mirrored + reach, mirrored - reach)
    begin = np.maximum(begin, earliest[:, None])
    level = np.take_along_axis(curve, begin[..., None], axis=-1)
    inside = _within(np.abs(curve - level), begin, np.maximum(end, begin), -1)
    points = np.stack([begin - ONSET_EARLY_S * RATE, inside.argmax(axis=-1), end + OFFSET_LATE_S * RATE], axis=-1)
    return points + view.start, np.stack([onset, offset], axis=-1) + view.start


def _around(zero: int, n: int) -> tuple[slice, slice]:
    """Before and after the widest QRS."""
    return slice(0, zero - _samples(QRS_REACH_S[0])), slice(min(zero + _samples(REST_AFTER_S), n - 2), n)


def delineate_t(
    means: np.ndarray, valid: np.ndarray, offset: np.ndarray, rr: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns where the T wave of averaged beats begins, culminates and ends.

    Args:
        means, valid: As for [`delineate_qrs`].
        offset (`np.ndarray` of shape `(beats,)`, int): Where the QRS ends.
        rr (`np.ndarray` of shape `(beats,)`): Seconds to the next beat.

    Returns:
        `np.ndarray` of shape `(beats, leads, 3)`: Onset, peak and offset in samples; and of shape `(beats,)`, int: the
        end in all leads together.
    """
    beats, leads, n = means.shape
    n -= REFERENCE  # what is before the reference point is not looked at
    offset = offset - REFERENCE
    at = np.maximum(np.arange(n), (offset + _samples(T_HOLD_S))[:, None]) + REFERENCE
    held = np.take_along_axis(means, np.broadcast_to(at[:, None], (beats, leads, n)), axis=-1)
    curve = _smooth(held, T_SIGMA)
    start = offset + _samples(T_START_S)
    limit = np.minimum(LONGEST_QT_S[0] + LONGEST_QT_S[1] * np.sqrt(rr), rr - NEXT_P_S) * RATE
    limit = np.clip(limit.astype(int), start + _samples(0.08), n - 2)
    usual = np.sqrt(rr)[:, None] * RATE
    prior = 1 / (1 + ((np.arange(n) - T_PEAK_S * usual) / (T_PEAK_SPREAD_S * usual)) ** 4)
    top, up = _top(held, valid, T_BAND, start, limit - _samples(T_FALL_S), prior)
    area = _area_behind(curve, _samples(T_AREA_S))
    after = (np.arange(n) - top[:, None]) / RATE
    sum_of_all = (area * up).sum(axis=1) * np.maximum(1 - (after / T_LONG_S) ** 2, 0)
    # Where it only rises until the limit, the next wave has begun.
    crest = np.where(sum_of_all >= np.roll(sum_of_all, -1, axis=-1), sum_of_all, -1e9)
    end_of_all = _within(crest, top + _samples(T_HALF_S[0]), limit - 1, -np.inf).argmax(axis=-1)

    away = (np.arange(n) - end_of_all[:, None])[:, None] / RATE
    sign = np.sign((area * np.maximum(1 - (away / T_SIGN_S) ** 2, 0)).sum(axis=-1, keepdims=True))
    sign = np.where(sign == 0, 1, sign)
    likely = area * sign * np.maximum(1 - (away / T_REACH_S) ** 2, 0)
    end = _within(likely, start[:, None], limit[:, None], -np.inf).argmax(axis=-1)
    nearest, farthest = (_samples(seconds) for seconds in T_HALF_S)
    first = np.minimum(np.maximum(end - farthest, start[:, None]), end - nearest)
    peak = _within(curve * sign, first, end - nearest, -np.inf).argmax(axis=-1)
    ahead = _area_ahead(curve, _samples(T_ONSET_AREA_S)) * sign
    first = np.minimum(np.maximum(peak - _samples(0.2), start[:, None] - _samples(0.03)), peak - _samples(0.05))
    begin = _within(ahead, first, peak - nearest, -np.inf).argmax(axis=-1)
    return np.stack([begin, peak, end], axis=-1) + float(REFERENCE), end_of_all + REFERENCE


def delineate_p(
    means: np.ndarray, valid: np.ndarray, onset: np.ndarray, earliest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns where the P wave of averaged beats would begin, culminate and end; whether there is one is another matter.

    Args:
        means, valid: As for [`delineate_qrs`].
        onset (`np.ndarray` of shape `(beats,)`, int): Where the QRS begins.
        earliest (`np.ndarray` of shape `(beats,)`, int): Where the T wave of the beat before ends.

    Returns:
        `np.ndarray` of shape `(beats, leads, 3)`: Onset, peak and offset in samples; and of shape `(beats,)`, int: the
        peak in all leads together.
    """
    beats, leads, _ = means.shape
    span = _samples(P_BACK_S)
    earliest = np.clip(earliest, np.maximum(onset - span, 0), onset - _samples(0.12))
    begin_of_view = onset - span
    at = np.clip(begin_of_view[:, None] + np.arange(span + 1), earliest[:, None], (onset - 2)[:, None])
    view = np.take_along_axis(means, np.broadcast_to(at[:, None], (beats, leads, span + 1)), axis=-1)
    curve = _smooth(view, P_SIGMA)
    low = earliest - begin_of_view + _samples(P_MARGIN_S[0])
    top, up = _top(view, valid, P_BAND, low, np.full(beats, span - _samples(P_MARGIN_S[1])))
    near, middle = _samples(P_REACH_S), np.broadcast_to(top[:, None], (beats, leads))
    shortest, longest = (_samples(seconds) for seconds in P_HALF_S)
    width = _samples(P_AREA_S)
    peak = _within(curve * up, middle - near, middle + near, -np.inf).argmax(axis=-1)
    behind, ahead = _area_behind(curve, width) * up, _area_ahead(curve, width) * up
    first = _within(ahead.sum(axis=1), np.maximum(top - longest, 0), top - shortest, -np.inf).argmax(axis=-1)
    earlier = _earlier_part(ahead, valid, first)
    ahead = np.where((earlier < first)[:, None, None], np.abs(ahead), ahead)
    begin = _near(ahead, earlier, np.minimum(np.maximum(top - longest, 0), earlier - near), top - shortest)
    latest = np.minimum(top + longest, span)
    last = _within(behind.sum(axis=1), top + shortest, latest, -np.inf).argmax(axis=-1)
    end = _near(behind, last, top + shortest, latest)
    points = np.stack([begin, peak, end], axis=-1) + begin_of_view[:, None, None]
    return points.astype(float), top + begin_of_view


def _near(area: np.ndarray, place: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where each lead's area is largest from `low` to `high`, not far from the place of all, (beats, leads)."""
    away = (np.arange(area.shape[-1]) - place[:, None])[:, None] / RATE
    likely = area * np.maximum(1 - (away / P_END_REACH_S) ** 2, 0)
    return _within(likely, low[:, None], high[:, None], -np.inf).argmax(axis=-1)


def _earlier_part(area: np.ndarray, valid: np.ndarray, onset: np.ndarray) -> np.ndarray:
    """The onset of a P wave whose first part, of the right atrium, points elsewhere than the second; else `onset`."""
    power = np.sqrt(np.einsum("blt,blt,bl->bt", area, area, valid))
    rises = power > np.roll(power, 1, axis=-1)
    crest = rises & (power >= np.roll(power, -1, axis=-1))
    crest &= power > P_FIRST_PART * np.take_along_axis(power, onset[:, None], axis=-1)
    first, last = _samples(P_FIRST_PART_S[0]), _samples(P_FIRST_PART_S[1])
    crest = _within(crest, onset - last, onset - first, False)
    return np.where(crest.any(axis=-1), crest.argmax(axis=-1), onset)


def _top(
    view: np.ndarray,
    valid: np.ndarray,
    band: tuple[float, float],
    low: np.ndarray,
    high: np.ndarray,
    prior: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Where a wave stands out most in all leads together, (beats,), and which way it points, (beats, leads, 1)."""
    few = view[..., ::BAND_STEP]
    stands_out = _smooth(few, band[0] / BAND_STEP) - _smooth(few, band[1] / BAND_STEP)
    power = np.einsum("blt,blt,bl->bt", stands_out, stands_out, valid)
    if prior is not None:
        power = power * prior[:, ::BAND_STEP]
    top = _within(power, low / BAND_STEP, high / BAND_STEP, -1).argmax(axis=-1)
    up = np.sign(np.take_along_axis(stands_out, top[:, None, None], axis=-1)) * valid[..., None]
    return top * BAND_STEP, up


def _smooth(signal: np.ndarray, sigma: float) -> np.ndarray:
    return scipy.ndimage.gaussian_filter1d(signal, sigma, axis=-1, truncate=3.0, mode="nearest")


def _quiet_before(values: np.ndarray, limit: np.ndarray, start: np.ndarray, earliest: np.ndarray | int) -> np.ndarray:
    """
    The last place before `start` where values have been below `limit` for a while; `earliest` where there is none.
    """
    hold = _samples(QUIET_S)
    loudest = scipy.ndimage.maximum_filter1d(values, hold, axis=-1, origin=(hold - 1) // 2)
    n = values.shape[-1]
    quiet = (loudest < limit[..., None]) & (np.arange(n) < np.expand_dims(start, -1))
    last = n - 1 - np.argmax(quiet[..., ::-1], axis=-1)
    return np.maximum(np.where(quiet.any(axis=-1), last, earliest), earliest)


def _within(values: np.ndarray, low: np.ndarray, high: np.ndarray, fill: float) -> np.ndarray:
    """The values from `low` to `high` along the last axis, and `fill` elsewhere."""
    at = np.arange(values.shape[-1])
    return np.where((at >= low[..., None]) & (at <= high[..., None]), values, fill)


def _area_behind(curve: np.ndarray, width: int) -> np.ndarray:
    """By place, the area between the last `width` samples and the level there; 0 where there are fewer."""
    sums = np.cumsum(curve, axis=-1, dtype=np.float64)
    area = np.zeros(curve.shape)
    area[..., width:] = sums[..., width:] - sums[..., :-width] - width * curve[..., width:]
    return area


def _area_ahead(curve: np.ndarray, width: int) -> np.ndarray:
    return _area_behind(curve[..., ::-1], width)[..., ::-1]
