"""What electrodes, muscles, mains and recorders add: noise of nine electrodes, and what goes wrong with them."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import butter, sosfilt

from common.electrodes import ELECTRODES
from data_scripts.simulate.projection import ELECTRODES_TO_LEADS, exchange_matrix
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


TELE_MAINS_HZ = 60.0  # Brazil
MAINS_HZ = (50.0, 60.0)
TELE_SHARE = 0.35  # of recordings as CODE-15% holds them: unfiltered, with an offset
# Of the others, which hospitals' recorders make: corners in Hz, and how often each is chosen. 0.05 Hz and 150 Hz are
# the bandwidth that Kligfield et al. (Circulation 115:1306, 2007) ask for, 0.5 and 40 Hz the usual monitor setting;
# 48 Hz is what archives of 100 Hz keep.
HIGHPASS_HZ, HIGHPASS_SHARE = (0.05, 0.15, 0.3, 0.5), (0.25, 0.3, 0.2, 0.25)
LOWPASS_HZ, LOWPASS_SHARE = (40.0, 48.0, 100.0, 150.0, math.inf), (0.08, 0.22, 0.1, 0.35, 0.25)
LOWPASS_ORDER = 3
NOTCH_SHARE, NOTCH_WIDTH_HZ = 0.45, 1.2
RESOLUTIONS_MV = (2.0**-10, 2.0**-9, 2.0**-8)  # 1 to 4 microvolts, as powers of two: sums of leads stay exact
SETTLED_S = 1.0  # mirrored at either end before a filter, so that the ends do not ring
BANK_SAMPLES = 1 << 19  # 22 minutes of each kind
BANK_SEED = 20_240_400  # the banks are the same in all cohorts; which stretch of them an exam gets is its own draw
SHORT_SAMPLES, LONG_SAMPLES = 2934, 4096  # the two lengths in CODE-15%
SHORT_SHARE = 0.6
# Pairs of electrodes whose cables are exchanged, RL is the right leg's, and the share of recordings. The arms most
# often, and neighbours: how often is a choice.
ARMS = ("RA", "LA")
EXCHANGES = {
    ARMS: 0.007,
    ("RA", "RL"): 0.0015,
    ("LA", "LL"): 0.0012,
    ("RA", "LL"): 0.0008,
    ("LA", "RL"): 0.0008,
    ("V1", "V2"): 0.0012,
    ("V2", "V3"): 0.0012,
    ("V3", "V4"): 0.0008,
    ("V4", "V5"): 0.0006,
    ("V5", "V6"): 0.0005,
}


@dataclass(frozen=True)
class Recording:
    """
    How one exam was recorded; amplitudes are of one electrode, in mV.

    `flaws` names what went wrong: `noisy`, `wander`, `offset`, `pop`, `loose`, `mains`, `dropout`, `reversal` of the
    arms, `exchange` of two other electrodes. `exchanged` are the two.
    Corners of the filters in Hz: `highpass_hz` and `notch_hz` are 0, `lowpass_hz` infinite, where there is none.
    """

    n_samples: int
    muscle_mv: float
    wander_mv: float
    mains_mv: float
    offset_mv: float
    pop_mv: float
    flaws: tuple[str, ...]
    mains_hz: float = TELE_MAINS_HZ
    highpass_hz: float = 0.0
    lowpass_hz: float = math.inf
    notch_hz: float = 0.0
    resolution_mv: float = RESOLUTIONS_MV[1]
    exchanged: tuple[str, str] | None = None

    @property
    def filtered(self) -> bool:
        """Whether the recorder filters."""
        return self.highpass_hz > 0 or self.notch_hz > 0 or self.lowpass_hz < SAMPLING_RATE / 2


def draw_recording(rng: np.random.Generator, clean: bool = False) -> Recording:
    """
    How one exam is recorded.

    Of two kinds. Tele-electrocardiography: the medians are those of ten exams of CODE-15%, too few to speak for the
    archive; exams of 7.3 s come without offset, those of 10.24 s with one of some tenths of a millivolt, some of
    several millivolts. Hospitals: filtered, without offset; sizes of noise, wander and mains were chosen so that
    `benchmarks/simulate/realism.py` tells them least from PTB-XL, LUDB and CinC 2021. How often what goes wrong is a
    choice.

    Args:
        rng (`np.random.Generator`): stream of this exam's noise.
        clean (`bool`): no noise, filter, offset or mistake; the length is still drawn.

    Returns:
        `Recording`
    """
    n_samples = SHORT_SAMPLES if rng.random() < SHORT_SHARE else LONG_SAMPLES
    if clean:
        return Recording(n_samples, 0.0, 0.0, 0.0, 0.0, 0.0, ())
    share = {
        "noisy": 0.09,
        "wander": 0.09,
        "offset": 0.06,
        "pop": 0.05,
        "loose": 0.012,
        "mains": 0.04,
        "exchange": sum(EXCHANGES.values()),
        "dropout": 0.012,
    }
    luck = dict(zip(share, rng.random(len(share)), strict=True))
    flaws = tuple(name for name, value in luck.items() if value < share[name])
    exchanged = _exchanged(luck["exchange"])
    if exchanged == ARMS:
        flaws = tuple("reversal" if name == "exchange" else name for name in flaws)
    tele = bool(rng.random() < TELE_SHARE)
    offset = 0.01 if n_samples == SHORT_SAMPLES else 0.22
    noise, spread, wander = (0.0038, 0.6, 0.020) if tele else (0.0019, 0.75, 0.030)
    recording = Recording(
        n_samples=n_samples,
        muscle_mv=noise
        * math.exp(rng.normal(0, 0.6 if tele else 0.75))
        * (rng.uniform(3, 10) if "noisy" in flaws else 1),
        wander_mv=wander * math.exp(rng.normal(0, 0.8)) * (rng.uniform(5, 15) if "wander" in flaws else 1),
        mains_mv=0.0010 * math.exp(rng.normal(0, 1.1)) * (rng.uniform(8, 30) if "mains" in flaws else 1),
        offset_mv=offset * math.exp(rng.normal(0, 0.5)) * (rng.uniform(5, 12) if "offset" in flaws else 1),
        pop_mv=rng.uniform(0.3, 4.0) if "pop" in flaws else 0.0,
        flaws=flaws,
        exchanged=exchanged,
    )
    return recording if tele else _of_hospital(rng, recording)


def _exchanged(luck: float) -> tuple[str, str] | None:
    """The electrodes whose turn it is at this number in [0, 1); none at most."""
    for pair, upto in zip(EXCHANGES, np.cumsum(list(EXCHANGES.values())), strict=True):
        if luck < upto:
            return pair
    return None


def _of_hospital(rng: np.random.Generator, recording: Recording) -> Recording:
    """The same with a recorder's filters, which leave no offset, and the mains of either half of the world."""
    mains_hz = float(rng.choice(MAINS_HZ))
    return replace(
        recording,
        mains_hz=mains_hz,
        highpass_hz=float(rng.choice(HIGHPASS_HZ, p=HIGHPASS_SHARE)),
        lowpass_hz=float(rng.choice(LOWPASS_HZ, p=LOWPASS_SHARE)),
        notch_hz=mains_hz if rng.random() < NOTCH_SHARE else 0.0,
        resolution_mv=float(rng.choice(RESOLUTIONS_MV)),
    )


@lru_cache(maxsize=1)
def banks() -> tuple[np.ndarray, np.ndarray]:
    """
    Long stretches of muscle noise and of baseline wander, made once per process.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: each float32 of shape `(BANK_SAMPLES,)`, of unit variance.
    """
    rng = np.random.default_rng(BANK_SEED)
    white = rng.standard_normal(BANK_SAMPLES)
    muscle = sosfilt(butter(1, [15, 120], "bandpass", fs=SAMPLING_RATE, output="sos"), white)
    muscle += 0.25 * rng.standard_normal(BANK_SAMPLES)
    # Bursts: muscles are not equally tense all the time.
    tension = sosfilt(butter(2, 0.4, fs=SAMPLING_RATE, output="sos"), rng.standard_normal(BANK_SAMPLES))
    muscle *= np.exp(0.35 * tension / tension.std())
    wander = sosfilt(butter(1, 0.35, fs=SAMPLING_RATE, output="sos"), rng.standard_normal(BANK_SAMPLES))
    wander = sosfilt(butter(1, 0.6, fs=SAMPLING_RATE, output="sos"), wander)
    return tuple((bank / bank.std()).astype(np.float32) for bank in (muscle, wander))


def _stretches(rng: np.random.Generator, bank: np.ndarray, n_samples: int) -> np.ndarray:
    """A random stretch of the bank for each electrode, (9, n_samples)."""
    starts = rng.integers(0, len(bank) - n_samples, len(ELECTRODES))
    return np.stack([bank[start : start + n_samples] for start in starts.tolist()])


def _pops(rng: np.random.Generator, size_mv: float, n_samples: int) -> np.ndarray:
    """One to three sudden steps of a loose electrode that fade within a second, (n_samples,) in mV."""
    trace = np.zeros(n_samples, dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(0, n_samples))
        fade = np.exp(-np.arange(n_samples - start) / (SAMPLING_RATE * rng.uniform(0.05, 0.6)))
        trace[start:] += rng.choice([-1.0, 1.0]) * size_mv * fade
    return trace


@lru_cache(maxsize=4)
def _hum(n_samples: int, mains_hz: float) -> np.ndarray:
    """Mains hum of unit amplitude: sine, cosine and a weaker third harmonic, float32 (3, n_samples)."""
    phase = 2 * np.pi * mains_hz * np.arange(n_samples) / SAMPLING_RATE
    return np.stack([np.sin(phase), np.cos(phase), 0.3 * np.sin(3 * phase)]).astype(np.float32)


def add_electrode_noise(rng: np.random.Generator, leads: np.ndarray, recording: Recording) -> None:
    """
    Add the noise of the nine electrodes, in place.

    It is drawn per electrode and then seen by all leads that the electrode is part of, as in a real recorder.

    Args:
        rng (`np.random.Generator`): stream of this exam's noise, after `draw_recording`.
        leads (`np.ndarray` of shape `(8, n_samples)`, float32): I, II, V1 ... V6 in mV.
        recording (`Recording`): its amplitudes.
    """
    n = recording.n_samples
    muscle, wander = banks()
    uneven = np.exp(rng.normal(0, 0.45, (3, len(ELECTRODES))))  # electrodes are not all equally good
    # Amplitudes go into the small matrix, so that the long signals are touched once.
    leads += (ELECTRODES_TO_LEADS * (recording.muscle_mv * uneven[0])).astype(np.float32) @ _stretches(rng, muscle, n)
    leads += (ELECTRODES_TO_LEADS * (recording.wander_mv * uneven[1])).astype(np.float32) @ _stretches(rng, wander, n)
    hum = recording.mains_mv * uneven[2][:, None] * rng.normal(0, 1, (len(ELECTRODES), 3))
    leads += (ELECTRODES_TO_LEADS @ hum).astype(np.float32) @ _hum(n, recording.mains_hz)
    leads += (ELECTRODES_TO_LEADS @ (recording.offset_mv * rng.normal(0, 1, (len(ELECTRODES), 1)))).astype(np.float32)
    if "pop" in recording.flaws:
        electrode = int(rng.integers(0, len(ELECTRODES)))
        leads += np.outer(ELECTRODES_TO_LEADS[:, electrode], _pops(rng, recording.pop_mv, n)).astype(np.float32)


@lru_cache(maxsize=512)
def _response(n: int, highpass_hz: float, lowpass_hz: float, notch_hz: float) -> np.ndarray:
    """Gain of a recorder's filters at the frequencies of a transform of n samples, float32 (n // 2 + 1,)."""
    hz = rfftfreq(n, 1 / SAMPLING_RATE)
    gain = 1 / (1 + (hz / lowpass_hz) ** (2 * LOWPASS_ORDER))
    if highpass_hz > 0:
        gain *= hz**2 / (hz**2 + highpass_hz**2)
    if notch_hz > 0:
        gain *= 1 - 1 / (1 + ((hz - notch_hz) / NOTCH_WIDTH_HZ) ** 4)
    return gain.astype(np.float32)


def filter_leads(leads: np.ndarray, recording: Recording) -> np.ndarray:
    """
    The recorder's filters, without delay: Butterworth's corners, run both ways.

    Args:
        leads (`np.ndarray` of shape `(n_leads, n_samples)`, float32): mV.
        recording (`Recording`): its corners.

    Returns:
        `np.ndarray` of shape `(n_leads, n_samples)`, float32, mV.
    """
    n, settled = leads.shape[1], int(SETTLED_S * SAMPLING_RATE)
    # Mirrored about its ends, as filtfilt does: the circle of the transform would join them with a step.
    before = 2 * leads[:, :1] - leads[:, settled:0:-1]
    length = next_fast_len(n + 2 * settled, real=True)
    after = 2 * leads[:, -1:] - leads[:, -2 : -2 - (length - n - settled) : -1]
    spectrum = rfft(np.concatenate([before, leads, after], axis=1))
    spectrum *= _response(length, recording.highpass_hz, recording.lowpass_hz, recording.notch_hz)
    return irfft(spectrum, length)[:, settled : settled + n]


def _drop_out(rng: np.random.Generator, leads: np.ndarray) -> None:
    """One to all leads read zero for a while, or to the end, in place."""
    n = leads.shape[1]
    chosen = rng.random(len(leads)) < rng.choice([0.2, 1.0])
    chosen[rng.integers(len(leads))] = True
    start = int(rng.integers(0, n))
    leads[chosen, start : start + int(SAMPLING_RATE * rng.uniform(0.1, 2.5))] = 0


def record(rng: np.random.Generator, heart: np.ndarray, recording: Recording) -> np.ndarray:
    """
    What the recorder writes: the heart's signal with noise, offsets and exchanged arms, filtered.

    Args:
        rng (`np.random.Generator`): stream of this exam's noise, after `draw_recording`.
        heart (`np.ndarray` of shape `(8, n_samples)`, float32): leads I, II, V1 ... V6 in mV; changed in place.
        recording (`Recording`): its amplitudes and flaws.

    Returns:
        `np.ndarray` of shape `(8, n_samples)`, float32, mV.
    """
    if recording.muscle_mv == 0.0:
        return heart
    add_electrode_noise(rng, heart, recording)
    if recording.exchanged is not None:
        heart = exchange_matrix(*recording.exchanged) @ heart
    if recording.filtered:
        heart = filter_leads(heart, recording)
    if "dropout" in recording.flaws:
        _drop_out(rng, heart)
    return heart


def lose_contact(rng: np.random.Generator, heart: np.ndarray, recording: Recording) -> int | None:
    """
    A chest electrode that lost contact shows noise and no heart.

    Args:
        rng (`np.random.Generator`): stream of this exam's noise, after `record`.
        heart (`np.ndarray` of shape `(8, n_samples)`, float32): leads I, II, V1 ... V6 in mV; changed in place.
        recording (`Recording`): its flaws.

    Returns:
        `int`, *optional*: row of the lead that was lost; None where contact held.
    """
    if "loose" not in recording.flaws:
        return None
    lead = int(rng.integers(2, 8))
    heart[lead] = _stretches(rng, banks()[1], recording.n_samples)[0] * np.float32(rng.uniform(0.02, 0.6))
    return lead
