"""Sampling rates as numbers: the roundest one in an interval, and the ratio of two as a fraction that costs little."""

import math
from fractions import Fraction

from .limits_ecgclip import MAX_RATIO_TERM


# A resampled ECG may end this part of a sample early or late: 25 microseconds at 400 Hz.
MAX_DRIFT_SAMPLES = 0.01
# Fractions of such numbers are taken as they are: any two whole rates up to this many hertz.
MAX_EXACT_TERM = 1000
# `scipy.signal.resample_poly` makes a filter of so many taps for each part of the larger term.
_TAPS_PER_TERM = 20
# To make a tap takes as long as so many products of it.
_PRODUCTS_PER_TAP = 50


def rational_rate_ratio(rate: float, target: float, n_samples: int) -> tuple[int, int]:
    """
    Returns by how much to sample up and down to come from one rate to another.

    The exact ratio where its terms are small, as those of whole rates are; else the simplest fraction that moves no
    sample of the recording by more than `MAX_DRIFT_SAMPLES`. So 499.999 Hz costs what 500 Hz does. The filter of a
    polyphase resampling has some twenty times as many taps as the larger term; where that would become longer than
    what it filters, the closest fraction of terms up to twice the recording's length is taken, which moves no
    sample by more than a quarter. No term is beyond `MAX_RATIO_TERM`: the end of an hour may move by 0.07 s, which is
    less than what a recorder's clock is off.

    Args:
        rate, target (`float`): Hz, above 0.
        n_samples (`int`): Length of the recording at `rate`.

    Returns:
        `tuple[int, int]`: Terms of a reduced fraction close to `target / rate`.
    """
    ratio = Fraction(target) / Fraction(rate)
    exact = ratio.limit_denominator(MAX_EXACT_TERM)
    if exact.numerator <= MAX_EXACT_TERM and math.isclose(exact, target / rate, rel_tol=1e-12):
        return exact.numerator, exact.denominator
    slack = Fraction(MAX_DRIFT_SAMPLES) / max(n_samples, 1)  # of the ratio: times n_samples, a drift of the output
    fraction = _simplest_between(ratio - min(slack, ratio / 2), ratio + slack)
    largest = max(MAX_EXACT_TERM, min(2 * math.ceil(n_samples * max(1.0, target / rate)), MAX_RATIO_TERM))
    if max(fraction.numerator, fraction.denominator) > largest:
        fraction = ratio.limit_denominator(largest) if ratio < 1 else 1 / (1 / ratio).limit_denominator(largest)
    return fraction.numerator, fraction.denominator


def resampling_products(n_leads: int, n_samples: int, rate: float, target: float) -> int:
    """
    Returns how much work it is to resample a recording, in products of its filter.

    Args:
        n_leads, n_samples (`int`): Of the recording.
        rate, target (`float`): Hz, above 0.
    """
    up, down = rational_rate_ratio(rate, target, n_samples)
    taps = _TAPS_PER_TERM * max(up, down) + 1 if up != down else 0
    return n_leads * -(-n_samples * up // down) * -(-taps // up) + _PRODUCTS_PER_TAP * taps


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest terms with 0 < low <= fraction <= high, along the continued fraction of both."""
    whole = low.numerator // low.denominator
    if low == whole:
        return Fraction(whole)
    if whole + 1 <= high:
        return Fraction(whole + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))


def roundest_between(low: float, high: float) -> float:
    """
    Returns the number of the fewest digits with 0 < low <= number <= high; of several the one nearest to the middle.

    Multiples of 1000 come first, then those of 500, 200, 100, 50, ... down to 1e-9.
    """
    middle = (low + high) / 2
    for exponent in range(3, -10, -1):
        for part in (1, 2, 5):  # a whole, a half, a fifth of a power of ten
            per_unit = part * 10.0**-exponent
            nearest = round(middle * per_unit)
            if math.ceil(low * per_unit) <= high * per_unit and not low <= nearest / per_unit <= high:
                nearest = math.ceil(low * per_unit)
            if nearest > 0 and low <= nearest / per_unit <= high:
                return nearest / per_unit
    return middle


__all__ = ["MAX_DRIFT_SAMPLES", "MAX_EXACT_TERM", "rational_rate_ratio", "resampling_products", "roundest_between"]
