"""ECGs of beats whose every onset and offset is known, as sums of bumps that begin and end."""

import numpy as np

from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


# Seconds from the R peak.
P_ON, P_OFF, QRS_ON, QRS_OFF, T_ON, T_OFF = -0.20, -0.10, -0.045, 0.045, 0.17, 0.36
PR_MS, QRS_MS, QT_MS = 1000 * (QRS_ON - P_ON), 1000 * (QRS_OFF - QRS_ON), 1000 * (T_OFF - QRS_ON)
# Of I and II; with R alone the axis is atan2((2 II - I) / sqrt(3), I).
FRONTAL = {"I": 0.6, "II": 1.0}
CHEST = {"V1": -0.7, "V2": -0.4, "V3": 0.5, "V4": 1.2, "V5": 1.3, "V6": 1.0}
Q_SHARE, S_SHARE = 0.15, 0.2  # of R, in every second lead, I the first
T_SIGNS = {"V1": -0.5}
AXIS_DEG = float(np.degrees(np.arctan2((2 * FRONTAL["II"] - FRONTAL["I"]) / np.sqrt(3), FRONTAL["I"])))


def gains() -> np.ndarray:
    """Of the R wave in each lead, in millivolts."""
    one, two = FRONTAL["I"], FRONTAL["II"]
    limb = {"I": one, "II": two, "III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return np.array([(limb | CHEST)[lead] for lead in LEAD_NAMES])


def bump(seconds: np.ndarray, begin: float, end: float) -> np.ndarray:
    """A raised cosine of height 1 from `begin` to `end`."""
    way = (seconds - begin) / (end - begin)
    return np.where((way > 0) & (way < 1), 0.5 - 0.5 * np.cos(2 * np.pi * way), 0)


def beat(seconds: np.ndarray, broad: bool = False, p_wave: bool = True, pr_more: float = 0.0) -> np.ndarray:
    """One beat around 0 s, (leads, samples) in millivolts: as known above, or a `broad` one without a P wave."""
    gain = gains()[:, None]
    t_sign = np.array([T_SIGNS.get(lead, 1.0) * np.sign(g) for lead, g in zip(LEAD_NAMES, gains(), strict=True)])[
        :, None
    ]
    if broad:
        return -1.3 * gain * bump(seconds, -0.08, 0.1) + 0.5 * t_sign * bump(seconds, 0.15, 0.45)
    # Q and S in every second lead: in a heart no moment is without a slope in all of them.
    narrow = (
        bump(seconds, -0.028, 0.028)
        - Q_SHARE * bump(seconds, QRS_ON, -0.015)
        - S_SHARE * bump(seconds, 0.015, QRS_OFF)
    )
    qrs = np.where(np.arange(len(gain))[:, None] % 2 == 0, narrow, bump(seconds, QRS_ON, QRS_OFF))
    p = 0.15 * bump(seconds, P_ON - pr_more, P_OFF - pr_more) if p_wave else 0.0
    return gain * (qrs + p) + 0.3 * t_sign * bump(seconds, T_ON, T_OFF)


def ecg(
    rate: float = 500.0,
    seconds: float = 10.0,
    r_peaks: np.ndarray | None = None,
    broad: tuple[int, ...] = (),
    p_wave: bool = True,
    noise_mv: float = 0.005,
    seed: int = 0,
) -> np.ndarray:
    """
    An ECG (leads, samples) in millivolts, with beats at `r_peaks` seconds, or every 0.8 s from 0.5 s on.

    Args:
        broad (`tuple[int]`): Which beats are ectopic.
        noise_mv (`float`): Standard deviation of its noise, up to 40 Hz whatever the rate.
    """
    time = np.arange(round(seconds * rate)) / rate
    r_peaks = np.arange(0.5, seconds, 0.8) if r_peaks is None else r_peaks
    signal = sum(beat(time - at, number in broad, p_wave) for number, at in enumerate(r_peaks))
    rng = np.random.default_rng(seed)
    waves, phases = rng.uniform(1, 40, 60), rng.uniform(0, 2 * np.pi, (len(LEAD_NAMES), 60))
    noise = np.sin(2 * np.pi * waves * time[:, None] + phases[:, None]).sum(axis=-1) / np.sqrt(30)
    return signal + noise_mv * noise
