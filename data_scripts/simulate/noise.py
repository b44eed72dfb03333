"""What electrodes, muscles, mains and recorders add: noise of nine electrodes, and what goes wrong with them."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfilt

from common.electrodes import ELECTRODES
from data_scripts.simulate.projection import ELECTRODES_TO_LEADS, swap_arms
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


MAINS_HZ = 60.0  # Brazil
BANK_SAMPLES = 1 << 19  # 22 minutes of each kind
BANK_SEED = 20_240_400  # the banks are the same in all cohorts; which stretch of them an exam gets is its own draw
SHORT_SAMPLES, LONG_SAMPLES = 2934, 4096  # the two lengths in CODE-15%
SHORT_SHARE = 0.6


@dataclass(frozen=True)
class Recording:
    """
    How one exam was recorded; amplitudes are of one electrode, in mV.

    `flaws` names what went wrong: `noisy`, `wander`, `offset`, `pop`, `loose`, `mains`, `reversal`.
    """

    n_samples: int
    muscle_mv: float
    wander_mv: float
    mains_mv: float
    offset_mv: float
    pop_mv: float
    flaws: tuple[str, ...]


def draw_recording(rng: np.random.Generator, clean: bool = False) -> Recording:
    """
    How one exam is recorded.

    The medians are those of ten exams of CODE-15%, too few to speak for the archive: exams of 7.3 s come without
    offset, those of 10.24 s with one of some tenths of a millivolt, and in some of several millivolts. How often what
    goes wrong is a choice.

    Args:
        rng (`np.random.Generator`): stream of this exam's noise.
        clean (`bool`): no noise, offset or mistake; the length is still drawn.

    Returns:
        `Recording`
    """
    n_samples = SHORT_SAMPLES if rng.random() < SHORT_SHARE else LONG_SAMPLES
    if clean:
        return Recording(n_samples, 0.0, 0.0, 0.0, 0.0, 0.0, ())
    luck = dict(zip(("noisy", "wander", "offset", "pop", "loose", "mains", "reversal"), rng.random(7), strict=True))
    share = {
        "noisy": 0.09,
        "wander": 0.09,
        "offset": 0.06,
        "pop": 0.05,
        "loose": 0.012,
        "mains": 0.04,
        "reversal": 0.007,
    }
    flaws = tuple(name for name, value in luck.items() if value < share[name])
    offset = 0.01 if n_samples == SHORT_SAMPLES else 0.22
    return Recording(
        n_samples=n_samples,
        muscle_mv=0.0038 * math.exp(rng.normal(0, 0.6)) * (rng.uniform(3, 10) if "noisy" in flaws else 1),
        wander_mv=0.020 * math.exp(rng.normal(0, 0.8)) * (rng.uniform(5, 15) if "wander" in flaws else 1),
        mains_mv=0.0010 * math.exp(rng.normal(0, 1.1)) * (rng.uniform(8, 30) if "mains" in flaws else 1),
        offset_mv=offset * math.exp(rng.normal(0, 0.5)) * (rng.uniform(5, 12) if "offset" in flaws else 1),
        pop_mv=rng.uniform(0.3, 4.0) if "pop" in flaws else 0.0,
        flaws=flaws,
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


@lru_cache(maxsize=2)
def _hum(n_samples: int) -> np.ndarray:
    """Mains hum of unit amplitude: sine, cosine and a weaker third harmonic, float32 (3, n_samples)."""
    phase = 2 * np.pi * MAINS_HZ * np.arange(n_samples) / SAMPLING_RATE
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
    leads += (ELECTRODES_TO_LEADS @ hum).astype(np.float32) @ _hum(n)
    leads += (ELECTRODES_TO_LEADS @ (recording.offset_mv * rng.normal(0, 1, (len(ELECTRODES), 1)))).astype(np.float32)
    if "pop" in recording.flaws:
        electrode = int(rng.integers(0, len(ELECTRODES)))
        leads += np.outer(ELECTRODES_TO_LEADS[:, electrode], _pops(rng, recording.pop_mv, n)).astype(np.float32)


def record(rng: np.random.Generator, heart: np.ndarray, recording: Recording) -> np.ndarray:
    """
    What the recorder writes: the heart's signal with noise, offsets and exchanged arms.

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
    if "reversal" in recording.flaws:
        swap_arms(heart)
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
