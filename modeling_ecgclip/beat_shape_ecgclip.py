"""Is there a heart in it, and is it the right way round? What the shape of the beats says about a recording.

All of it is seen at some 100 Hz: samples are averaged to 10 ms, then over 20 ms, which takes the mains out, and a mean
over a second is taken off, which takes the baseline's wander out. Every measure is free of the unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from .beats_ecgclip import median


SHAPE_HZ = 100.0
# In recordings of this length one beat is none.
MIN_SECONDS_FOR_BEATS = 5.0
# Root mean square of the slope over the lead's span: hum that the smoothing took out leaves 0, real recordings 0.037.
MIN_SLOPE = 0.005
# Fourth moment of the slope over its squared second: 1.5 for a sine, 1 for a triangle, 2.7 to 46 for real recordings.
MIN_PEAKEDNESS = 2.0
# A QRS goes up and down within 150 ms; the weaker of the two slopes as a share of the stronger. Real recordings: 0.53
# and more; steps, saws, ramps and pulse waves: 0.24 at most.
MIN_TWO_SIDED = 0.35
# Fourth moment of the lead itself: 1 for a square wave of any frequency, 1.66 and more for real recordings.
MIN_LEVELS = 1.35
# How far the slope's 95th percentile lies above its median, and how alike two events are: (crest, likeness). Noise is
# below one of the pairs in both, since its peaks hardly stand out and do not repeat. The least of real recordings:
# likeness 0.95; crest 1.2 for ventricular tachycardia, which repeats to 0.99, else 2.7.
NOISE = ((2.2, 0.9), (3.0, 0.8))
MIN_EVENTS_TO_COMPARE = 4
MAX_EVENTS_TO_COMPARE = 60  # each with each, of a recording of minutes evenly chosen ones
# Lead I from V1 ... V6: least squares over every second recording of PTB-XL, the CinC challenges and CODE-15%.
LEAD_I_FROM_CHEST = {"V1": -0.50, "V2": 0.22, "V3": 0.02, "V4": -0.04, "V5": 0.13, "V6": 0.25}
# Correlation of lead I with what the chest leads predict. Real ones with a lead I that points down: -0.5 and more.
EXCHANGED_ARMS = -0.6
# Skewness: leads that nearly always point up all point down as much as this, and aVR up. Real ones: -0.9 at the least.
UPSIDE_DOWN = -1.2


@dataclass(frozen=True)
class Waves:
    """
    A recording as its waves are looked at.

    Args:
        leads (`dict[str, np.ndarray]`): Each lead without wander and hum, `(samples,)`.
        slope (`np.ndarray` of shape `(leads, samples)`): Change over 40 ms, wander included.
        span (`np.ndarray` of shape `(leads,)`): From the lowest to the highest sample of each lead as it was recorded.
        sampling_rate (`float`): Hz of both.
        seconds (`float`): Length of the recording.
    """

    leads: Mapping[str, np.ndarray]
    slope: np.ndarray
    span: np.ndarray
    sampling_rate: float
    seconds: float


def waves(signal: np.ndarray, lead_names: tuple[str, ...], sampling_rate: float) -> Waves:
    """
    Returns the waves of leads that move.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): Of two seconds at least, in any unit.
        lead_names (`tuple[str]`): One for each lead.
        sampling_rate (`float`): Hz.
    """
    each = max(1, round(sampling_rate / SHAPE_HZ))
    n = signal.shape[1] // each
    rate = sampling_rate / each
    # A product: ten times as fast as `mean` along so short an axis.
    smooth = signal[:, : n * each].reshape(len(signal), n, each) @ np.full(each, 1 / each)
    smooth = _mean_over(smooth, max(1, round(0.02 * rate)))
    step = max(1, round(0.02 * rate))
    second = int(rate) | 1
    steady = smooth[:, second // 2 : smooth.shape[1] - second // 2] - _mean_over(smooth, second)
    slope = smooth[:, 2 * step :] - smooth[:, : -2 * step]
    span = signal.max(axis=1) - signal.min(axis=1)
    return Waves(dict(zip(lead_names, steady, strict=True)), slope, span, rate, signal.shape[1] / sampling_rate)


def why_no_ecg(seen: Waves) -> str | None:
    """
    Returns what a recording looks like where it does not look like an ECG, else None.

    Leads vote: each measure is the median over them, so that an artefact in some does not hide the heart in others.
    """
    size = np.sqrt((seen.slope * seen.slope).mean(axis=1))
    slope = seen.slope / np.maximum(size, 1e-300)[:, None]
    width = round(0.1 * seen.sampling_rate)
    activity = _mean_over(median(np.abs(slope), axis=0), width)
    ranked = np.sort(activity)
    events = _events(activity, ranked, seen.sampling_rate) + width // 2
    events = events[:: 1 + len(events) // MAX_EVENTS_TO_COMPARE]
    around = _windows(slope, events, round(0.15 * seen.sampling_rate))  # (leads, events, samples)
    if around.shape[1] < 2 and seen.seconds >= MIN_SECONDS_FOR_BEATS:
        return "a single event"
    if median(size / seen.span) < MIN_SLOPE or _peakedness(slope) < MIN_PEAKEDNESS:
        return "a tone, hum or slow wave"
    if _two_sided(around) < MIN_TWO_SIDED or _peakedness(np.stack(list(seen.leads.values()))) < MIN_LEVELS:
        return "steps, or pulses that do not return"
    if around.shape[1] >= MIN_EVENTS_TO_COMPARE:
        crest = ranked[int(0.95 * len(ranked))] / max(ranked[len(ranked) // 2], 1e-3)
        likeness = _likeness(_windows(slope, events, width))
        if any(crest < most and likeness < least for most, least in NOISE):
            return "noise"
    return None


def arms_exchanged(seen: Waves) -> bool:
    """
    Returns whether the electrodes of the two arms look exchanged.

    Lead I then has the opposite sign of what the chest leads, which no arm touches, let expect, and points down.
    """
    if "I" not in seen.leads or not all(name in seen.leads for name in LEAD_I_FROM_CHEST):
        return False
    expected = sum(weight * seen.leads[name] for name, weight in LEAD_I_FROM_CHEST.items())
    found = seen.leads["I"]
    size = np.sqrt(np.dot(expected, expected) * np.dot(found, found))
    return bool(size > 0 and np.dot(expected, found) < EXCHANGED_ARMS * size and _skewness(found) < 0)


def upside_down(seen: Waves) -> bool:
    """Returns whether all leads look inverted: I, II, V5 and V6 point down, and aVR points up, all of them clearly."""
    upright = ("I", "II", "V5", "V6")
    if not all(name in seen.leads for name in (*upright, "aVR")):
        return False
    down = all(_skewness(seen.leads[name]) < UPSIDE_DOWN for name in upright)  # mostly decided by the first
    return down and -_skewness(seen.leads["aVR"]) < UPSIDE_DOWN


def _events(activity: np.ndarray, ranked: np.ndarray, rate: float) -> np.ndarray:
    """Places of the peaks that stand out, at least 250 ms apart; `ranked` is the activity in ascending order."""
    apart = int(0.25 * rate)
    height = 0.5 * max(ranked[int(0.98 * len(ranked))], 0.1 * ranked[-1])
    around = scipy.ndimage.maximum_filter1d(activity, 2 * apart + 1, mode="nearest")
    places: list[int] = []
    for place in np.flatnonzero((activity >= height) & (activity == around)).tolist():
        if not places or place - places[-1] >= apart:
            places.append(place)
    return np.array(places, dtype=int)


def _windows(slope: np.ndarray, places: np.ndarray, reach: int) -> np.ndarray:
    """The slope around each place that is not too near to an end, (leads, places, 2 reach + 1)."""
    inside = places[(places >= reach) & (places + reach < slope.shape[1])]
    return slope[:, inside[:, None] + np.arange(-reach, reach + 1)]


def _peakedness(signal: np.ndarray) -> float:
    """Fourth moment over the squared second, the median over leads."""
    squares = signal * signal
    spread = squares.mean(axis=1)
    return float(median((squares * squares).mean(axis=1) / np.maximum(spread * spread, 1e-300)))


def _two_sided(around: np.ndarray) -> float:
    """The weaker of rising and falling slope over the stronger, the median over leads and events; 1 for no event."""
    if not around.shape[1]:
        return 1.0
    up, down = np.maximum(around.max(axis=2), 0), np.maximum(-around.min(axis=2), 0)
    return float(median((np.minimum(up, down) / np.maximum(np.maximum(up, down), 1e-12)).ravel()))


def _likeness(around: np.ndarray) -> float:
    """Correlation of an event with the one that is most like it, the median over events; 1 where all repeat."""
    products = around @ around.transpose(0, 2, 1)
    size = np.sqrt(np.maximum(np.einsum("lee->le", products), 1e-24))
    alike = median(products / (size[:, :, None] * size[:, None, :]), axis=0)
    np.fill_diagonal(alike, -1)
    return float(median(alike.max(axis=1)))


def _skewness(lead: np.ndarray) -> float:
    squares = lead * lead
    return float((squares * lead).mean() / max(squares.mean() ** 1.5, 1e-300))


def _mean_over(signal: np.ndarray, width: int) -> np.ndarray:
    """Means over `width` samples along the last axis, without the ends."""
    sums = np.zeros((*signal.shape[:-1], signal.shape[-1] + 1))
    np.cumsum(signal, axis=-1, out=sums[..., 1:])
    means = sums[..., width:] - sums[..., :-width]
    means /= width
    return means


__all__ = ["Waves", "arms_exchanged", "upside_down", "waves", "why_no_ecg"]
