"""Intervals and tests over seeds and patients together, and Holm's correction."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.ecg_multilabel.resampling import percentile_interval, with_mean


CHUNK_ELEMENTS = 2_000_000  # numbers in one block of weights (16 MB)
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """
    A metric of one arm less that of another.

    Args:
        a, b, difference (`float`, *optional*): Of both arms, means over seeds, and b - a; None where undefined.
        low, high (`float`, *optional*): 95 % interval over seeds and patients.
        p_value (`float`, *optional*): Two-sided, of no difference.
    """

    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


@functools.cache  # the same for every cell: so arms are paired, and the draws are made once
def patient_counts(n_patients: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """Returns uint8 `(n_resamples, n_patients)`: how often each resample draws each patient, with replacement."""
    generator = np.random.default_rng(seed)
    counts = np.empty((n_resamples, n_patients), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(0, n_patients, n_patients), minlength=n_patients)
    return counts


def resampled_values(
    values_of: Callable[[np.ndarray], np.ndarray], n_patients: int, n_resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns one run's metrics on all data `(labels, metrics)` and on each resample `(resamples, labels, metrics)`.

    Args:
        values_of (`Callable`): From weights `(resamples, patients)` to `(resamples, labels, metrics)`.
        n_patients, n_resamples (`int`): How many.
    """
    counts, rows = patient_counts(n_patients, n_resamples), max(1, CHUNK_ELEMENTS // n_patients)
    blocks = (counts[start : start + rows].astype(float) for start in range(0, n_resamples, rows))
    return values_of(np.ones((1, n_patients)))[0], np.concatenate([values_of(weights) for weights in blocks])


def seed_weights(n_seeds: int, n_resamples: int, seed: int = 1) -> np.ndarray:
    """Returns weights `(n_resamples, n_seeds)`, each row adding up to 1: how often each seed was drawn."""
    return np.random.default_rng(seed).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples) / n_seeds


def differences(
    on_all: tuple[np.ndarray, np.ndarray],
    resampled: tuple[np.ndarray, np.ndarray],
    in_mean: np.ndarray,
    too_few: np.ndarray,
) -> list[list[Difference]]:
    """
    Returns b - a for each label and their mean (the last row), and for each metric.

    A resample draws seeds with replacement, and patients with replacement, the same ones for all seeds and both arms:
    the test patients are the same whatever the seed, and drawing them anew for each seed would average their part of
    the uncertainty away.

    Args:
        on_all (pair of `np.ndarray` of shape `(seeds, labels, metrics)`): Of arms a and b, the same seeds in each.
        resampled (pair of `np.ndarray` of shape `(seeds, resamples, labels, metrics)`): Likewise.
        in_mean (`np.ndarray` of bool, shape `(labels, metrics)`): What means are over. Where a model leaves one of
            those undefined, the mean is undefined too.
        too_few (`np.ndarray` of bool, shape `(labels,)`): Labels with too few positives for an interval; a mean over
            one of them has none either.
    """
    of_a, of_b = (values.mean(axis=0) for values in on_all)
    weights = seed_weights(len(on_all[0]), resampled[0].shape[1])
    drawn = np.einsum("rs,srlm->rlm", weights, resampled[1] - resampled[0])
    _, drawn = with_mean(of_b - of_a, drawn, in_mean)
    of_a, of_b = (with_mean(values, values[None], in_mean)[0] for values in (of_a, of_b))
    withheld = np.vstack([np.broadcast_to(too_few[:, None], in_mean.shape), (too_few[:, None] & in_mean).any(axis=0)])
    return [
        [
            _difference(of_a[label, metric], of_b[label, metric], drawn[:, label, metric], withheld[label, metric])
            for metric in range(drawn.shape[2])
        ]
        for label in range(drawn.shape[1])
    ]


def _difference(a: float, b: float, drawn: np.ndarray, withheld: bool) -> Difference:
    if np.isnan(b - a):
        known_a, known_b = (None if np.isnan(value) else float(value) for value in (a, b))
        return Difference(known_a, known_b, None, None, None, None)
    if withheld:
        return Difference(float(a), float(b), float(b - a), None, None, None)
    interval, p_value = percentile_interval(drawn, LEVEL)
    return Difference(float(a), float(b), float(b - a), interval["low"], interval["high"], p_value)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """
    Returns p-values after Holm's correction (1979): valid however the comparisons depend on each other.

    Args:
        p_values (`list[float]`): Of all comparisons of the family; None where there is none, which stays None.
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[place] = highest
    return corrected
