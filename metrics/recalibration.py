"""
Probabilities and thresholds fitted to a few labelled exams from where a model is to be used.

A logit z becomes `scale * z + shift`, label by label (Platt's scaling; with a scale alone it is temperature). Few
exams hold few positives, so both are kept near to what leaves the model as it is (scale 1, shift 0): normal priors on
the scale's logarithm and on the shift, whose widths are constants below and not fitted to anything. A threshold does
not rest on where the few positives lie, but on the fitted probabilities of all exams: F1 is expected to be highest at
half of the F1 that the best threshold is expected to reach.

Isotonic regression, the other usual way, is left out: its steps take hundreds of positives, they make ties of what the
model tells apart, and an exported graph would have to hold a table where two numbers serve.

Source: Platt 1999, "Probabilistic outputs for support vector machines"; Lipton, Elkan and Naryanaswamy 2014, "Optimal
thresholding of classifiers to maximize F1 measure" (https://arxiv.org/abs/1402.1892), for the half.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit


# Standard deviations of the priors. A factor of e^(2 * 0.5) = 2.7 on all logits and e^(2 * 1.5) = 20 on the odds are
# unusual, and need data to be believed; labels ten times as frequent as in training are not unusual.
PRIOR_LOG_SCALE = 0.5
PRIOR_SHIFT = 1.5
# With the priors one exam moves a label little; without any, nothing says that the label was looked for.
MIN_POSITIVES = 1


@dataclass(frozen=True)
class Recalibrated:
    """
    What was fitted to some exams, in the order of the labels.

    Args:
        scales, shifts, thresholds (`np.ndarray` of shape `(labels,)`, float64):
            Of the logits, and of the probabilities that follow.
        fitted (`np.ndarray` of shape `(labels,)`, bool): False for labels that keep what they had.
    """

    scales: np.ndarray
    shifts: np.ndarray
    thresholds: np.ndarray
    fitted: np.ndarray

    @classmethod
    def keeping(cls, scales: Sequence[float], shifts: Sequence[float], thresholds: Sequence[float]) -> "Recalibrated":
        """Returns what a model has, nothing of it fitted to the exams at hand."""
        return cls(
            np.asarray(scales, dtype=np.float64),
            np.asarray(shifts, dtype=np.float64),
            np.asarray(thresholds, dtype=np.float64),
            np.zeros(len(thresholds), dtype=bool),
        )

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns float64 `(exams, labels)` of a model's own logits."""
        return expit(self.scales * logits + self.shifts)


def recalibrate(logits: np.ndarray, labels: np.ndarray, before: Recalibrated) -> Recalibrated:
    """
    Returns scale, shift and threshold of each label.

    Args:
        logits (`np.ndarray` of shape `(exams, labels)`): Of the model, without any calibration.
        labels (`np.ndarray` of shape `(exams, labels)`): 1 present, 0 absent, -1 unknown (left out).
        before (`Recalibrated`): What labels of fewer than `MIN_POSITIVES` positives, or no negative, keep.
    """
    scales, shifts, thresholds = (array.copy() for array in (before.scales, before.shifts, before.thresholds))
    fitted = np.zeros(len(scales), dtype=bool)
    for at, (of_label, truth) in enumerate(zip(logits.T, labels.T, strict=True)):
        known = truth >= 0
        if (truth == 1).sum() < MIN_POSITIVES or not (truth == 0).any():
            continue
        scales[at], shifts[at] = fit_scale_and_shift(of_label[known], truth[known] == 1)
        thresholds[at] = expected_f1_threshold(expit(scales[at] * of_label[known] + shifts[at]))
        fitted[at] = True
    return Recalibrated(scales, shifts, thresholds, fitted)


def fit_scale_and_shift(logits: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """
    Returns scale and shift of the highest posterior density, under the priors above.

    Args:
        logits (`np.ndarray` of shape `(exams,)`): Of one label.
        positive (`np.ndarray` of shape `(exams,)`, bool): Whether the label is there.
    """
    logits, sign = np.asarray(logits, dtype=np.float64), np.where(positive, 1.0, -1.0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_scale, shift = parameters
        scale = np.exp(log_scale)
        margin = sign * (scale * logits + shift)
        value = np.logaddexp(0, -margin).sum()
        value += (log_scale / PRIOR_LOG_SCALE) ** 2 / 2 + (shift / PRIOR_SHIFT) ** 2 / 2
        slope = -sign * expit(-margin)
        gradient = np.array([(slope * scale * logits).sum(), slope.sum()])
        return value, gradient + np.array([log_scale / PRIOR_LOG_SCALE**2, shift / PRIOR_SHIFT**2])

    log_scale, shift = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return float(np.exp(log_scale)), float(shift)


def expected_f1_threshold(probabilities: np.ndarray) -> float:
    """
    Returns half of the highest F1 that calling the most probable exams is expected to reach.

    Args:
        probabilities (`np.ndarray` of shape `(exams,)`): Of one label, calibrated, of exams as they come.
    """
    ordered = np.sort(np.asarray(probabilities, dtype=np.float64))[::-1]
    found, called = np.cumsum(ordered), np.arange(1, len(ordered) + 1)
    return float((found / (called + ordered.sum())).max())


def folds_of(groups: Sequence[str] | np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """
    Returns the fold of each exam, int `(exams,)`; those of one patient are in one fold.

    Args:
        groups (`Sequence[str]` of length `exams`): Patients, dealt out at random.
        n_folds (`int`), seed (`int`): Of the folds.

    Raises:
        ValueError: for fewer groups than folds.
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < n_folds:
        raise ValueError(f"{n_folds} folds need as many patients: found {len(names)}")
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[index]


def cross_validated(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, before: Recalibrated
) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns what recalibration gives exams that it was not fitted to.

    Args:
        logits, labels, before: As for [`recalibrate`].
        folds (`np.ndarray` of shape `(exams,)`): Of [`folds_of`].

    Returns:
        `tuple`: Probabilities, float64, and decisions at the thresholds of the same fold's fit, bool; both
        `(exams, labels)`.
    """
    probabilities, decisions = np.empty(logits.shape), np.empty(logits.shape, dtype=bool)
    for held in np.unique(folds):
        out = folds == held
        fit = recalibrate(logits[~out], labels[~out], before)
        probabilities[out] = fit.probabilities(logits[out])
        decisions[out] = probabilities[out] >= fit.thresholds
    return probabilities, decisions


def f1_of_decisions(decisions: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """F1 of each label from decisions (bool) and labels `(exams, labels)`; NaN without a positive among the known."""
    known, positive = labels >= 0, labels == 1
    called = (decisions & known).sum(axis=0)
    found = (decisions & positive).sum(axis=0)
    return np.where(positive.any(axis=0), 2 * found / np.maximum(called + positive.sum(axis=0), 1), np.nan)
