"""What `run.py` does to real recordings, and what it makes that is no recording at all."""

from collections.abc import Callable

import numpy as np

from modeling_ecgclip.lead_algebra_ecgclip import LIMB_LEADS


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Orders that are found in the field. `-` marks what is stored upside down.
DIALECTS = {
    "I II V1-V6 III aVR aVL aVF": "I II V1 V2 V3 V4 V5 V6 III aVR aVL aVF",
    "V1-V6 first": "V1 V2 V3 V4 V5 V6 I II III aVR aVL aVF",
    "V1-V6 first, augmented before": "V1 V2 V3 V4 V5 V6 aVR aVL aVF I II III",
    "aVL aVF aVR (CODE test set)": "I II III aVL aVF aVR V1 V2 V3 V4 V5 V6",
    "Cabrera": "aVL I -aVR II aVF III V1 V2 V3 V4 V5 V6",
    "Cabrera, aVR as it is": "aVL I aVR II aVF III V1 V2 V3 V4 V5 V6",
    "I III II": "I III II aVR aVL aVF V1 V2 V3 V4 V5 V6",
}
# What is taken for millivolts, and by how much it is too large.
UNITS = {
    "volts": (0.001, False),
    "microvolts": (1000.0, False),
    "counts of 10 uV": (100.0, True),
    "counts of 4.88 uV": (1 / 0.00488, True),
    "counts of 0.1 mV": (10.0, True),
    "tenths of mV, not rounded": (10.0, False),
}
# Codes for a lost sample, in millivolts: the lowest and the highest of 16 bits at several gains, and nines.
CODES = (-32.768, 32.767, -163.84, -6553.6, 9999.0, -9999.0, 9.999, 99999.0)


def in_order(signal: np.ndarray, order: str) -> np.ndarray:
    """Rows of a standard recording in another order, some of them upside down."""
    names = order.split()
    return np.stack([(-1 if name[0] == "-" else 1) * signal[LEADS.index(name.removeprefix("-"))] for name in names])


def exchanged_arms(signal: np.ndarray) -> np.ndarray:
    """What the recorder writes where the electrodes of the arms are exchanged."""
    changed = signal.copy()
    changed[0] *= -1
    changed[[1, 2, 4, 3]] = signal[[2, 1, 3, 4]]
    return changed


def _twelve(eight: np.ndarray) -> np.ndarray:
    limb = np.array(list(LIMB_LEADS.values())) @ eight[:2]
    return np.concatenate([limb, eight[2:]])


def no_ecgs(rate: float, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Twelve leads that obey the laws of the limb leads, in millivolts, and hold no heart."""
    t = np.arange(n) / rate
    gains = rng.uniform(0.4, 1.2, (8, 1)) * rng.choice([-1, 1], (8, 1))

    def own(draw: Callable[[], np.ndarray]) -> np.ndarray:
        return _twelve(np.stack([draw() for _ in range(8)]) * gains)

    def shared(wave: np.ndarray) -> np.ndarray:
        return _twelve(np.tile(wave, (8, 1)) * gains)

    def walk() -> np.ndarray:
        return 0.3 * np.cumsum(rng.normal(0, 1, n)) / np.sqrt(rate)

    cycle = 1.2 * t + rng.random()
    made = {
        "white noise": own(lambda: rng.normal(0, 0.3, n)),
        "white noise, the same in all": shared(rng.normal(0, 0.3, n)),
        "uniform noise": own(lambda: rng.uniform(-1, 1, n)),
        "random walk": own(walk),
        "random walk, the same in all": shared(walk()),
        "ramp": shared(t / t[-1] * 2),
        "sine 1.2 Hz": shared(np.sin(2 * np.pi * cycle)),
        "sine 8 Hz": shared(np.sin(2 * np.pi * 8 * t)),
        "square wave 1.2 Hz": shared(0.5 * np.sign(np.sin(2 * np.pi * cycle))),
        "square wave 5 Hz": shared(0.5 * np.sign(np.sin(2 * np.pi * 5 * (t + 0.013)))),
        "square wave with noise": shared(0.5 * np.sign(np.sin(2 * np.pi * cycle)))
        + own(lambda: rng.normal(0, 0.02, n)),
        "triangle": shared(2 * np.abs(2 * (cycle % 1) - 1)),
        "sawtooth": shared(cycle % 1),
        "pulse wave": shared(np.sin(2 * np.pi * cycle) + 0.4 * np.sin(4 * np.pi * cycle + 0.6)),
        "silence and one spike": shared(1.5 * (np.arange(n) == n // 3)),
        "noise and one spike": shared(1.5 * (np.arange(n) == n // 3)) + own(lambda: rng.normal(0, 0.005, n)),
        "one step": shared((t > t[-1] / 2) * 1.0),
    }
    for hertz in (50, 60):
        if hertz < rate / 2:
            hum = 0.5 * np.sin(2 * np.pi * hertz * t + rng.random())
            made[f"hum {hertz} Hz"] = shared(hum) + own(lambda: rng.normal(0, 0.005, n))
            made[f"hum {hertz} Hz and wander"] = shared(hum + 0.5 * np.sin(2 * np.pi * 0.3 * t))
    return made
