"""Samples that were not recorded: which ones, and how many of them may be filled in.

Recorders mark a lost sample by NaN, or by a number that no heart gives: the converter's lowest code (-32768), 9999.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


# A lost sample's code lies this far from its lead's median. Recorders' rails and pacemaker spikes in real recordings
# reach 10.2 mV.
MIN_CODE_MV = 20.0
# Codes that lie nearer than this where the unit is a microvolt.
CODES = (9999.0, 32767.0, 32768.0)
# No lead that spans less holds a code.
_MIN_SPAN_MV = 9.9
# Nothing else of the lead is as far out as this share of the code: a lead that swings is no lead with a code in it.
MAX_REST = 0.5

# Filled by a straight line: gaps below the shortest interval between two beats (200 a minute), which hide one beat at
# most, in leads of which this share was recorded.
MAX_GAP_S = 0.3
MIN_RECORDED = 0.8


@dataclass(frozen=True)
class Filled:
    """
    An ECG whose short gaps are filled.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): Finite; zeros in leads that are missing.
        recorded (`np.ndarray` of shape `(leads, samples)`, bool): False for filled samples and in missing leads.
        lead_mask (`np.ndarray` of shape `(leads,)`, bool): False for leads of which too little was recorded.
        flags (`list[str]`):
            `"nan_repaired:V3:2.5%"` for what was filled, `"nan_lead:V3:75.0%"` for what was too much to be filled.
    """

    signal: np.ndarray
    recorded: np.ndarray
    lead_mask: np.ndarray
    flags: list[str]


def missing_samples(signal: np.ndarray) -> np.ndarray:
    """
    Returns which samples of an ECG were not recorded: NaN, infinite, or a code for a lost sample.

    A code is a number that its lead holds once or more, exactly equal, and which is the lead's highest or lowest: 20
    mV or more from the median (or 9999, 32767 or 32768 microvolts), while nothing else in the lead is half as far out
    on that side. A pacemaker's spikes and a saturated amplifier are nearer, or differ from sample to sample.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): Millivolts.

    Returns:
        `np.ndarray` of shape `(leads, samples)`, bool.
    """
    missing = np.zeros(signal.shape, dtype=bool)
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf, and numbers beyond measure
        span = signal.max(axis=1, initial=-np.inf) - signal.min(axis=1, initial=np.inf)
    for lead in np.flatnonzero(~(span < _MIN_SPAN_MV)).tolist():  # NaN, of a lead with such samples, is not below
        missing[lead] = ~np.isfinite(signal[lead])
        values = signal[lead][~missing[lead]]
        while values.size and values.max() - values.min() >= _MIN_SPAN_MV and (codes := _codes(values)):
            missing[lead] |= np.isin(signal[lead], codes)
            values = values[~np.isin(values, codes)]
    return missing


def _codes(values: np.ndarray) -> list[float]:
    """The codes for a lost sample among the finite values of a lead."""
    lowest, highest = values.min(), values.max()
    # Without both extremes: a code may be most of the lead.
    rest = values[(values > lowest) & (values < highest)]
    if not rest.size:
        return []
    middle = np.median(rest)
    codes = []
    for code, nearest in ((lowest, rest.min()), (highest, rest.max())):
        distance = abs(code - middle)
        known = np.isclose(abs(code) * 1000, CODES, rtol=0, atol=1e-6).any()
        if (known or distance >= MIN_CODE_MV) and abs(nearest - middle) < MAX_REST * distance:
            codes.append(float(code))
    return codes


def fill_missing(signal: np.ndarray, missing: np.ndarray, lead_names: Sequence[str], sampling_rate: float) -> Filled:
    """
    Returns an ECG with its short gaps filled by straight lines; a lead with a longer one, or too many, is missing.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): Any unit.
        missing (`np.ndarray` of shape `(leads, samples)`, bool): From [`missing_samples`].
        lead_names (`list[str]`): For the flags.
        sampling_rate (`float`): Hz.
    """
    filled = np.array(signal, dtype=np.float64)
    lead_mask = np.ones(len(signal), dtype=bool)
    flags = []
    at = np.arange(signal.shape[1])
    for lead in np.flatnonzero(missing.any(axis=1)).tolist():
        lost = missing[lead]
        share = f"{lead_names[lead]}:{100 * lost.mean():.1f}%"
        if 1 - lost.mean() < MIN_RECORDED or _longest_run(lost) > MAX_GAP_S * sampling_rate:
            filled[lead], lead_mask[lead] = 0.0, False
            flags.append(f"nan_lead:{share}")
        else:
            filled[lead, lost] = np.interp(at[lost], at[~lost], filled[lead, ~lost])
            flags.append(f"nan_repaired:{share}")
    return Filled(filled, ~missing & lead_mask[:, None], lead_mask, flags)


def _longest_run(lost: np.ndarray) -> int:
    """Samples of the longest stretch of True."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]]).astype(np.int8)))
    return int((borders[1::2] - borders[::2]).max(initial=0))


__all__ = ["Filled", "fill_missing", "missing_samples"]
