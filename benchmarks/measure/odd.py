"""
ECGs that are damaged, odd or none, for what must neither crash nor be guessed at. Simulated, none from a patient.
"""

from collections.abc import Callable, Iterator

import numpy as np

from data_scripts.simulate.exam import simulate_exam


RATE = 400.0
# Signal (leads, samples) in millivolts and Hz, from an ECG and a generator of random numbers.
Damage = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, float]]


def _at_400(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Damage:
    return lambda signal, rng: (change(signal, rng), RATE)


def _with_gap(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for lead in rng.choice(len(signal), rng.integers(1, len(signal)), replace=False):
        start = rng.integers(0, signal.shape[1] - 1)
        signal[lead, start : start + rng.integers(1, 2000)] = np.nan
    return signal


def _with_spikes(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for place in range(int(rng.integers(50, 300)), signal.shape[1] - 4, int(rng.integers(200, 500))):
        signal[:, place : place + 2] += rng.uniform(-3, 3, (len(signal), 1))
    return signal


def _stuck(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(0, signal.shape[1]))
    signal[:, start:] = signal[:, start, None]
    return signal


def _with_nan_leads(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    signal[rng.choice(len(signal), rng.integers(1, len(signal)), replace=False)] = np.nan
    return signal


def _shape_of(signal: np.ndarray, one: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 1, (len(signal), 1)) * one[None, : signal.shape[1]]


def _tone(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds = np.arange(signal.shape[1]) / RATE
    return _shape_of(signal, np.sin(2 * np.pi * rng.uniform(0.3, 60) * seconds), rng)


def _fibrillating(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waves of 4 to 7 Hz whose frequency and size change, as of ventricular fibrillation."""
    n = signal.shape[1]
    pace = 5.5 + np.cumsum(rng.normal(0, 0.03, (len(signal), n)), axis=1)
    size = 0.4 + 0.2 * np.sin(np.cumsum(rng.normal(0, 0.02, (len(signal), n)), axis=1))
    return size * np.sin(2 * np.pi * np.cumsum(pace, axis=1) / RATE)


DAMAGES: dict[str, Damage] = {
    "muscle noise of 0.2 mV": _at_400(lambda x, rng: x + rng.normal(0, 0.2, x.shape)),
    "muscle noise of 1 mV": _at_400(lambda x, rng: x + rng.normal(0, 1, x.shape)),
    "noise alone": _at_400(lambda x, rng: rng.normal(0, rng.uniform(0.01, 2), x.shape)),
    "random walk": _at_400(lambda x, rng: np.cumsum(rng.normal(0, 0.05, x.shape), axis=1)),
    "tone": _at_400(_tone),
    "ventricular fibrillation": _at_400(_fibrillating),
    "flat": _at_400(lambda x, rng: np.full(x.shape, rng.choice([0.0, 1.5, -300.0]))),
    "flat from somewhere": _at_400(_stuck),
    "1 s": _at_400(lambda x, rng: x[:, :400]),
    "2.5 s": _at_400(lambda x, rng: x[:, 500:1500]),
    "one sample": _at_400(lambda x, rng: x[:, :1]),
    "no sample": _at_400(lambda x, rng: x[:, :0]),
    "all NaN": _at_400(lambda x, rng: np.full(x.shape, np.nan)),
    "all infinite": _at_400(lambda x, rng: np.full(x.shape, np.inf)),
    "gaps": _at_400(_with_gap),
    "leads of NaN": _at_400(_with_nan_leads),
    "codes of lost samples": _at_400(lambda x, rng: np.where(rng.random(x.shape) < 0.01, -32.768, x)),
    "spikes": _at_400(_with_spikes),
    "leads in another order": _at_400(lambda x, rng: x[rng.permutation(len(x))]),
    "upside down": _at_400(lambda x, rng: -x),
    "one lead twelve times": _at_400(lambda x, rng: np.repeat(x[1:2], len(x), axis=0)),
    "one lead": _at_400(lambda x, rng: x[rng.integers(len(x))][None]),
    "three leads": _at_400(lambda x, rng: x[:3]),
    "microvolts": _at_400(lambda x, rng: np.rint(x * 1000)),
    "volts": _at_400(lambda x, rng: x / 1000),
    "counts beyond every ECG": _at_400(lambda x, rng: x * 1e9),
    "clipped": _at_400(lambda x, rng: np.clip(x, -0.2, 0.2)),
    "offset of 300 mV": _at_400(lambda x, rng: x + 300),
    "wander of 5 mV": _at_400(lambda x, rng: x + 5 * np.sin(np.arange(x.shape[1]) / RATE * 2 * np.pi * 0.25)),
    "mains of 1 mV": _at_400(lambda x, rng: x + np.sin(np.arange(x.shape[1]) / RATE * 2 * np.pi * 50)),
    "zeros on both sides": _at_400(lambda x, rng: np.pad(x, ((0, 0), (581, 581)))),
    "said to be 25 Hz": lambda x, rng: (x, 25.0),
    "said to be 4,000 Hz": lambda x, rng: (x, 4000.0),
    "rate that is not whole": lambda x, rng: (x, 399.987),
}


def odd_ecgs(n: int, seed: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """
    Yields what was done, the signal (leads, samples) in millivolts, and Hz.

    Args:
        n (`int`): How many, each kind of damage in turn.
        seed (`int`): Of the simulated ECGs and of the damage.
    """
    rng = np.random.default_rng(seed)
    for index, kind in zip(range(n), list(DAMAGES) * (n // len(DAMAGES) + 1), strict=False):
        signal = simulate_exam(seed, index).signal.astype(np.float64)
        signal, rate = DAMAGES[kind](signal, rng)
        yield kind, signal, rate
