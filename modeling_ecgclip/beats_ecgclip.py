"""Where the heart beats: one ECG cleaned, its QRS complexes found, told apart by shape, and averaged.

All of it happens at `RATE` whatever the recording's own rate: one Fourier transform resamples and filters, so that the
filters are the same in hertz everywhere.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

from .rates_ecgclip import rational_rate_ratio


RATE = 500  # Hz, at which everything is measured: the highest usual rate of a resting ECG
HIGHPASS_HZ = 0.4  # half of the amplitude; below a heart rate of 30 a minute
LOWPASS_HZ = 90.0
# Slopes of a QRS without hum, and without P and T waves, which are slower.
QRS_BAND_HZ = (7.0, 22.0)
MAINS_HZ = (50.0, 60.0)
MAINS_EXCESS = 4.0  # times what the neighbouring frequencies hold
EDGE_S = 0.5  # continued at both ends by point reflection

ACTIVITY_S = 0.09  # about a QRS
CENTRE_S, CENTRE_SHARE = 0.12, 0.3  # around the peak of activity, and what of it belongs to the QRS
REFRACTORY_S = 0.22
MIN_HEIGHT = 0.36  # of the activity of a usual beat
MIN_HEIGHT_BACK = 0.2  # where a beat is overdue
OVERDUE = 1.6  # times the usual RR interval
T_WAVE_S = 0.38  # a lower peak this soon after a QRS is its T wave
T_WAVE_HEIGHT = 0.5

BEFORE, AFTER = round(0.5 * RATE), round(0.8 * RATE)  # samples of an averaged beat, around its reference point
SHAPE_S = (0.1, 0.14)  # before and after the reference point: what beats are compared by
SAME_SHAPE = 0.75  # correlation over all leads
CUT_S = (0.06, 0.08)  # a QRS nearer to an end of the recording is not whole
MAX_SHIFT_S = 0.03
MAX_CLASSES = 6
# A pacemaker's spike is there within 4 ms and gone within 16 ms, which no wave of a heart is.
SPIKE_RISE_S = 0.004
SPIKE_FALL_S = 0.016
SPIKE_MV = 0.05  # mean over leads
SPIKE_OVER_NOISE = 8.0
SPIKE_OVER_CHANGE = 2.0  # of the level from before to behind it
SPIKE_OVER_REST = 3.0  # of the change of the level before it
SPIKE_MIN_HZ = 240.0


@dataclass
class Cleaned:
    """
    ECGs as they are measured.

    Args:
        ecg (`np.ndarray` of shape `(batch, leads, samples)`, float32): Millivolts at `RATE`, without wander and hum.
        qrs_band (`np.ndarray` of the same shape): The part that QRS complexes are found in.
        valid (`np.ndarray` of shape `(batch, leads)`, bool): False for leads that are missing or flat.
        first, last (`np.ndarray` of shape `(batch,)`, int): What was recorded, as samples at `RATE`.
        offset (`int`): The place of the recording's first sample in these arrays.
    """

    ecg: np.ndarray
    qrs_band: np.ndarray
    valid: np.ndarray
    first: np.ndarray
    last: np.ndarray
    offset: int


def clean(signal: np.ndarray, valid: np.ndarray, bounds: np.ndarray, sampling_rate: float) -> Cleaned:
    """
    Returns ECGs at `RATE`, filtered.

    Args:
        signal (`np.ndarray` of shape `(batch, leads, samples)`, float32): Millivolts, finite.
        valid (`np.ndarray` of shape `(batch, leads)`, bool): Leads to be read.
        bounds (`np.ndarray` of shape `(batch, 2)`, int): First sample that was recorded, and the one past the last.
        sampling_rate (`float`): Hz.
    """
    filters = _filters(signal.shape[-1], sampling_rate)
    ecg = np.empty((*signal.shape[:2], filters.keep), dtype=np.float32)
    qrs_band = np.empty_like(ecg)
    for exam, one in enumerate(signal):  # one by one, which stays in the processor's cache
        spectrum = filters.spectrum(one)
        ecg[exam] = filters.back(spectrum)
        spectrum *= filters.band
        qrs_band[exam] = filters.back(spectrum)
    first, last = (np.clip(filters.place(bounds[:, at]), 0, filters.keep) for at in (0, 1))
    return Cleaned(ecg, qrs_band, valid, first, last, filters.offset)


def qrs_band_of(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, int, int]:
    """
    Returns what QRS complexes of one ECG are found in, as [`clean`] does, and the first and last sample recorded.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float32): Millivolts, finite.
        sampling_rate (`float`): Hz.
    """
    filters = _filters(signal.shape[-1], sampling_rate)
    spectrum = filters.spectrum(signal)
    spectrum *= filters.band
    return filters.back(spectrum), filters.offset, min(filters.place(signal.shape[-1]), filters.keep)


@dataclass(frozen=True)
class _Filters:
    """
    How recordings of one length and rate come to `RATE` and are filtered: what does not depend on their samples.

    Args:
        up, down (`int`): `RATE` over the recording's own.
        edge (`int`): Samples that are added at either end.
        total, length (`int`): Of the transforms there and back.
        keep (`int`): Samples at `RATE` that are no padding of the transform.
        broad, band (`np.ndarray`, float32): Factors of the spectrum: of the ECG, and of the part that QRS complexes
            are found in.
        mains (`tuple`): For each frequency of the mains the places in the spectrum that are near to it, and beside it.
        ramp (`np.ndarray`, float32): From 0 to 1 along the recording.
    """

    up: int
    down: int
    edge: int
    total: int
    length: int
    keep: int
    broad: np.ndarray
    band: np.ndarray
    mains: tuple[tuple[np.ndarray, np.ndarray], ...]
    ramp: np.ndarray

    @property
    def offset(self) -> int:
        """The place of the recording's first sample at `RATE`."""
        return self.edge // self.down * self.up

    def place(self, sample: Any) -> Any:
        """The place of a sample of the recording at `RATE`."""
        return sample * self.up // self.down + self.offset

    def spectrum(self, one: np.ndarray) -> np.ndarray:
        """The spectrum of an ECG (leads, samples), without wander and hum."""
        padded = self._continued(one)
        # A transform takes the end for what comes before the beginning: both become zero.
        begin = padded[:, :1].copy()
        padded -= begin + (padded[:, -1:] - begin) * self.ramp
        spectrum = scipy.fft.rfft(padded, self.total, axis=-1)[:, : len(self.broad)]
        spectrum *= self.broad
        for near, beside in self.mains:
            _notch(spectrum, near, beside)
        return spectrum

    def _continued(self, one: np.ndarray) -> np.ndarray:
        """An ECG with `edge` samples more at either end, as `np.pad` reflects them, in a third of its time."""
        edge, end = self.edge, self.edge + one.shape[1]
        padded = np.empty((len(one), end + edge), dtype=one.dtype)
        padded[:, :edge] = 2 * one[:, :1] - one[:, edge:0:-1]
        padded[:, edge:end] = one
        padded[:, end:] = 2 * one[:, -1:] - one[:, -2 : -2 - edge : -1]
        return padded

    def back(self, spectrum: np.ndarray) -> np.ndarray:
        """The signal of a spectrum, (leads, `keep`)."""
        return scipy.fft.irfft(spectrum, self.length, axis=-1)[:, : self.keep]


@lru_cache(maxsize=4)  # of an hour 20 MB each
def _filters(n: int, sampling_rate: float) -> _Filters:
    up, down = rational_rate_ratio(sampling_rate, RATE, n)
    edge = max(1, min(round(EDGE_S * sampling_rate), n - 1))
    edge = min(-(-edge // down) * down, n - 1) // down * down if n > down else 0  # whole samples at `RATE`
    total = scipy.fft.next_fast_len(-(-(n + 2 * edge) // down), real=True) * down
    length, keep = total // down * up, -(-(n + 2 * edge) // down) * up
    hertz = np.arange(min(total, length) // 2 + 1) * (sampling_rate / total)
    broad = (1 - np.exp2(-((hertz / HIGHPASS_HZ) ** 2))) * np.exp2(-((hertz / LOWPASS_HZ) ** 4)) * (up / down)
    low, top = QRS_BAND_HZ
    band = (1 - np.exp2(-((hertz / low) ** 4))) * np.exp2(-((hertz / top) ** 2))
    ramp = np.linspace(0, 1, n + 2 * edge, dtype=np.float32)
    mains = tuple(_near_and_beside(hertz, of_mains) for of_mains in MAINS_HZ)
    return _Filters(
        up, down, edge, total, length, keep, broad.astype(np.float32), band.astype(np.float32), mains, ramp
    )


def _near_and_beside(hertz: np.ndarray, mains: float) -> tuple[np.ndarray, np.ndarray]:
    """The places of a spectrum that hold the mains, and those that say how much of it there would be without."""
    away = np.abs(hertz - mains)
    return np.flatnonzero((hertz > mains - 0.6) & (hertz < mains + 0.6)), np.flatnonzero((away > 1.5) & (away < 5))


def take_out_spikes(signal: np.ndarray, valid: np.ndarray, sampling_rate: float) -> list[np.ndarray]:
    """
    Returns the places of a pacemaker's spikes in seconds, by exam, and bridges them in `signal`, in place.

    Args:
        signal (`np.ndarray` of shape `(batch, leads, samples)`, float32): Millivolts, finite.
        valid (`np.ndarray` of shape `(batch, leads)`, bool): Leads to be read.
        sampling_rate (`float`): Hz; below `SPIKE_MIN_HZ` a spike is no longer told from a QRS, and none is looked for.
    """
    n = signal.shape[-1]
    rise, fall = round(SPIKE_RISE_S * sampling_rate), round(SPIKE_FALL_S * sampling_rate)
    before = rise + fall  # samples that are looked at before a spike
    if sampling_rate < SPIKE_MIN_HZ or n <= before + fall:
        return [np.zeros(0)] * len(signal)
    found = []
    for one, share in zip(
        signal, (valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)).astype(np.float32), strict=True
    ):
        behind, ahead = one[:, fall:-before], one[:, before + fall :]
        bulge = behind + ahead
        bulge *= -0.5
        bulge += one[:, before:-fall]
        size = share @ np.abs(bulge, out=bulge)
        at = np.flatnonzero(size > max(SPIKE_MV, SPIKE_OVER_NOISE * float(median(size[::5]))))
        change = share @ np.abs(ahead[:, at] - behind[:, at])
        calm = share @ np.abs(behind[:, at] - one[:, at])
        at = at[(size[at] > SPIKE_OVER_CHANGE * change) & (size[at] > SPIKE_OVER_REST * calm)] + fall
        at = at[np.diff(at, prepend=-n) > 2 * fall]
        for place in at.tolist():
            end = min(place + fall, n - 1)
            way = np.linspace(0, 1, end - place + 1, dtype=np.float32)
            begin = one[:, place, None]
            one[:, place : end + 1] = begin + (one[:, end, None] - begin) * way
        found.append(at / sampling_rate)
    return found


def _notch(spectrum: np.ndarray, near: np.ndarray, beside: np.ndarray) -> None:
    """Takes the mains out of recordings that have it, in place; see `_near_and_beside`."""
    if not near.size or not beside.size:
        return
    power = np.abs(spectrum[..., near]).max(axis=-1)  # (leads,)
    usual = np.abs(spectrum[..., beside]).mean(axis=-1)
    hums = power > MAINS_EXCESS * usual
    if hums.any():
        spectrum[..., near] *= np.where(hums, np.float32(0), np.float32(1))[..., None]


def find_beats(band: np.ndarray, valid: np.ndarray, first: int, last: int) -> tuple[np.ndarray, float]:
    """
    Returns the places of the QRS complexes of one ECG, and how far they stand out.

    Args:
        band (`np.ndarray` of shape `(leads, samples)`): What of the ECG QRS complexes are found in.
        valid (`np.ndarray` of shape `(leads,)`, bool): Leads that are read.
        first, last (`int`): What was recorded.

    Returns:
        `np.ndarray` of shape `(beats,)`, int, and `float`: the median height of the beats over the activity's median.
    """
    size = np.abs(band[:, first:last] if valid.all() else band[valid, first:last])
    ranked = np.partition(size[:, ::4], int(0.97 * size[:, ::4].shape[1]), axis=1)
    scale = ranked[:, int(0.97 * ranked.shape[1])]
    size /= np.maximum(scale, 1e-6)[:, None]
    activity = moving_mean(np.minimum(size, 3.0, out=size).mean(axis=0), round(ACTIVITY_S * RATE))
    places, _ = scipy.signal.find_peaks(activity, distance=round(0.12 * RATE))
    if not places.size:
        return places, 0.0
    heights = activity[places]
    usual = _usual_height(places, heights, len(activity))
    chosen = _choose(places, heights, usual)
    if len(chosen) > 2:
        chosen = _search_back(places, heights, chosen, usual)
    crest = float(median(heights[chosen]) / max(float(median(activity[::5])), 1e-6)) if len(chosen) else 0.0
    return _centred(activity, places[chosen]) + first, crest


def _centred(activity: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The middle of each QRS: a broad one is most active at its two flanks, in some beats at the one or the other."""
    reach = round(CENTRE_S * RATE)
    ahead = np.arange(-reach, reach + 1)
    for _ in range(2):
        around = activity[np.clip(places[:, None] + ahead, 0, len(activity) - 1)]
        weight = np.maximum(around - CENTRE_SHARE * around.max(axis=1, initial=0, keepdims=True), 0)
        places = places + np.rint(weight @ ahead / np.maximum(weight.sum(axis=1), 1e-9)).astype(int)
    return np.clip(places, 0, len(activity) - 1)


def moving_mean(signal: np.ndarray, width: int) -> np.ndarray:
    """Means over about `width` samples along the last axis; as many samples as before."""
    half = width // 2
    width = 2 * half + 1
    before, after = signal[..., :1].repeat(half + 1, axis=-1), signal[..., -1:].repeat(half, axis=-1)
    sums = np.cumsum(np.concatenate([before, signal, after], axis=-1), axis=-1, dtype=np.float64)
    return (sums[..., width:] - sums[..., :-width]) / width


def median(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The median, ten times as fast as `np.median` for few values."""
    ordered = np.sort(values, axis=axis)
    n = values.shape[axis]
    return (ordered.take((n - 1) // 2, axis=axis) + ordered.take(n // 2, axis=axis)) / 2


def _usual_height(places: np.ndarray, heights: np.ndarray, n: int) -> float:
    """The height of a beat: the median of the highest candidates in windows of 1.5 s."""
    width = round(1.5 * RATE)
    window = places // width
    highest = np.zeros(n // width + 1)
    np.maximum.at(highest, window, heights)
    return float(median(highest[highest > 0]))


def _choose(places: np.ndarray, heights: np.ndarray, usual: float) -> list[int]:
    """Candidates that are beats: high enough, not too soon after another, and no T wave."""
    chosen: list[int] = []
    candidates = np.flatnonzero(heights > MIN_HEIGHT * usual).tolist()
    places, heights = places.tolist(), heights.tolist()  # whose numbers compare faster one by one
    for at in candidates:
        if chosen:
            before = chosen[-1]
            apart = places[at] - places[before]
            if apart < REFRACTORY_S * RATE or (
                apart < T_WAVE_S * RATE and heights[at] < T_WAVE_HEIGHT * heights[before]
            ):
                if heights[at] > heights[before]:
                    chosen[-1] = at
                continue
            if apart < T_WAVE_S * RATE and heights[before] < T_WAVE_HEIGHT * heights[at] and len(chosen) == 1:
                chosen[-1] = at
                continue
        chosen.append(at)
    return chosen


def _search_back(places: np.ndarray, heights: np.ndarray, chosen: list[int], usual: float) -> list[int]:
    """Adds the highest of the lower candidates where a beat is overdue."""
    rr = np.diff(places[chosen])
    limit = OVERDUE * median(rr)
    found = list(chosen)
    for before, after in zip(chosen[:-1], chosen[1:], strict=True):
        if places[after] - places[before] <= limit:
            continue
        between = np.arange(before + 1, after)
        far = (places[between] - places[before] > T_WAVE_S * RATE) & (places[after] - places[between] > 0.3 * RATE)
        between = between[far & (heights[between] > MIN_HEIGHT_BACK * usual)]
        if between.size:
            found.append(int(between[np.argmax(heights[between])]))
    return sorted(found)


@dataclass
class BeatClasses:
    """
    The beats of one ECG, by shape; class 0 is the dominant one.

    Args:
        places (`np.ndarray` of shape `(beats,)`, int): Reference points, aligned within each class.
        classes (`np.ndarray` of shape `(beats,)`, int): The class of each beat; -1 for one that is cut off.
        likeness (`np.ndarray` of shape `(beats,)`): Correlation of each QRS with its class.
        means (`np.ndarray` of shape `(classes, leads, samples)`, float32): Beats of each class averaged, from
            `BEFORE` before the reference point to `AFTER` after it.
        noise (`np.ndarray` of shape `(classes, leads)`):
            Of the averages: the spread of beats over the root of their number.
    """

    places: np.ndarray
    classes: np.ndarray
    likeness: np.ndarray
    means: np.ndarray
    noise: np.ndarray


def classify(cleaned: Cleaned, exam: int, places: np.ndarray) -> BeatClasses:
    """
    Returns the beats of one ECG told apart by the shape of their QRS, and averaged.

    Args:
        cleaned (`Cleaned`): From [`clean`].
        exam (`int`): Which ECG of the batch.
        places (`np.ndarray` of shape `(beats,)`, int): From [`find_beats`].
    """
    ecg, valid = cleaned.ecg[exam], cleaned.valid[exam]
    before, after = round(SHAPE_S[0] * RATE), round(SHAPE_S[1] * RATE)
    reach = round(MAX_SHIFT_S * RATE)
    step = 2  # samples: enough to compare shapes
    wide = windows(ecg[valid], places, before + reach, after + reach)  # (leads, beats, samples)
    wide = np.ascontiguousarray(wide.transpose(1, 0, 2))[..., ::step]
    wide = wide - wide.mean(axis=-1, keepdims=True)
    shifts = reach // step
    span = wide.shape[-1] - 2 * shifts
    offset = np.zeros(len(places), dtype=int)
    classes = np.full(len(places), -1)
    likeness = np.zeros(len(places))
    begin, end = (places - round(CUT_S[0] * RATE), places + round(CUT_S[1] * RATE))
    left = np.flatnonzero((begin >= cleaned.first[exam]) & (end <= cleaned.last[exam]))
    for kind in range(MAX_CLASSES if left.size else 0):
        core = wide[left, :, shifts : shifts + span].reshape(len(left), -1)
        core = core / np.maximum(np.linalg.norm(core, axis=1, keepdims=True), 1e-9)
        alike = core @ core.T
        medoid = int(np.argmax((alike > SAME_SHAPE).sum(axis=0) + alike.mean(axis=0)))
        pattern = core[alike[medoid] > SAME_SHAPE].mean(axis=0).reshape(-1, span)
        pattern = pattern - pattern.mean(axis=-1, keepdims=True)
        best, by = best_shift(wide[left], pattern, shifts)
        same = best > SAME_SHAPE
        same[medoid] = True
        if kind == MAX_CLASSES - 1:
            same[:] = True
        classes[left[same]], likeness[left[same]], offset[left[same]] = kind, best[same], by[same] * step
        left = left[~same]
        if not left.size:
            break
    places = np.clip(places + offset, 0, ecg.shape[1] - 1)
    averages = [average(cleaned, exam, places[classes == kind]) for kind in range(classes.max() + 1)]
    means = (
        np.stack([mean for mean, _ in averages]) if averages else np.zeros((0, len(ecg), BEFORE + AFTER), np.float32)
    )
    noise = np.stack([noise for _, noise in averages]) if averages else np.zeros((0, len(ecg)), np.float32)
    return BeatClasses(places, classes, likeness, means, noise)


def windows(signal: np.ndarray, places: np.ndarray, before: int, after: int) -> np.ndarray:
    """The signal (leads, samples) around each place, (leads, places, before + after); its ends are held."""
    at = places[:, None] + np.arange(-before, after)
    return signal[:, np.clip(at, 0, signal.shape[1] - 1)]


def best_shift(wide: np.ndarray, pattern: np.ndarray, shifts: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns the highest correlation of each window with a pattern, and the shift that gives it.

    Args:
        wide (`np.ndarray` of shape `(beats, leads, span + 2 * shifts)`): Windows.
        pattern (`np.ndarray` of shape `(leads, span)`): What they are compared with; its means are 0.
        shifts (`int`): Samples to either side.
    """
    span = pattern.shape[-1]
    views = np.lib.stride_tricks.sliding_window_view(wide, span, axis=-1)  # (beats, leads, 2 shifts + 1, span)
    dots = np.tensordot(views, pattern, axes=((1, 3), (0, 1)))
    sums = _sums(wide, span)
    energy = _sums(np.einsum("bks,bks->bs", wide, wide), span) - np.einsum("bkj,bkj->bj", sums, sums) / span
    alike = dots / np.sqrt(np.maximum(energy * float((pattern * pattern).sum()), 1e-12))
    by = alike.argmax(axis=1)
    return alike[np.arange(len(by)), by], by - shifts


def _sums(signal: np.ndarray, width: int) -> np.ndarray:
    """Sums over `width` samples along the last axis."""
    sums = np.cumsum(signal, axis=-1)
    out = sums[..., width - 1 :].copy()
    out[..., 1:] -= sums[..., :-width]
    return out


def average(cleaned: Cleaned, exam: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The beats at `places` averaged, the lower and the upper quarter left out, and the noise of each lead."""
    ecg = cleaned.ecg[exam]
    whole = places[
        (places - round(0.3 * RATE) >= cleaned.first[exam]) & (places + round(0.45 * RATE) <= cleaned.last[exam])
    ]
    beats = windows(ecg, whole if whole.size else places, BEFORE, AFTER)  # (leads, beats, samples)
    beats = beats - beats[..., BEFORE - 40 : BEFORE + 40].mean(axis=-1, keepdims=True)
    n = beats.shape[1]
    if n < 3:
        mean = beats.mean(axis=1)
        return mean, np.full(len(mean), np.nan)
    ordered = np.sort(beats, axis=1)
    cut = n // 4
    mean = ordered[:, cut : n - cut].mean(axis=1)
    spread = ordered[:, n - 1 - cut] - ordered[:, cut]
    return mean, median(spread[:, ::5]) / 1.35 / np.sqrt(n)
