"""Simulated ECGs for tests that need what looks, and whose leads agree, like an ECG."""

from functools import lru_cache
from itertools import count

import numpy as np

from data_scripts.simulate.exam import simulate_exam


def simulated(number: int = 0, n_samples: int = 4096) -> np.ndarray:
    """Returns a simulated ECG, float64 millivolts (12, n_samples) at 400 Hz; beyond 4096 samples it runs backwards."""
    signal = _long_exam(number)
    return np.concatenate([signal, signal[:, ::-1]], axis=1)[:, :n_samples]


@lru_cache(maxsize=256)
def _long_exam(number: int) -> np.ndarray:
    for index in count(100 * number):
        signal = simulate_exam(11, index).signal
        if signal.shape[1] == 4096:
            signal = signal.astype(np.float64)
            return signal - signal.mean(axis=1, keepdims=True)  # without the electrodes' offsets
    raise AssertionError("count never ends")


__all__ = ["simulated"]
