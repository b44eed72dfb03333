"""Medians and percentiles along long rows: what numpy's own give, in a half of their time."""

import numpy as np


def middle_of_rows(values: np.ndarray) -> np.ndarray:
    """
    Returns the median of each row, as `np.median(values, axis=1, keepdims=True)`, to the bit.

    One place is sought instead of the two about the middle: the lower one is the highest of what lies below.

    Args:
        values (`np.ndarray` of shape `(rows, samples)`, float): Finite.
    """
    middle = values.shape[1] // 2
    parted = np.partition(values, middle, axis=1)
    upper = parted[:, middle, None]
    if values.shape[1] % 2:
        return upper
    return (parted[:, :middle].max(axis=1, keepdims=True) + upper) / 2


def percentile_of_rows(values: np.ndarray, percent: float) -> np.ndarray:
    """
    Returns a percentile of each row, `(rows,)`, as `np.percentile(values, percent, axis=1)`, but for the last bit.

    Args:
        values (`np.ndarray` of shape `(rows, samples)`, float): Finite.
        percent (`float`): From 0 to 100.
    """
    place = percent / 100 * (values.shape[1] - 1)
    lower = int(place)
    parted = np.partition(values, lower, axis=1)
    value = parted[:, lower]
    if place == lower:
        return value
    return value + (parted[:, lower + 1 :].min(axis=1) - value) * (place - lower)


__all__ = ["middle_of_rows", "percentile_of_rows"]
