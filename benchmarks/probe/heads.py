"""Linear heads on embeddings: logistic regressions of all labels at once, along a path of penalties."""

import numpy as np
import scipy.optimize
from scipy.special import expit


# As scikit-learn's C: how much the exams' loss counts beside half the squared length of the weights.
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
MAX_ITERATIONS = 500


def fit_heads(embeds: np.ndarray, labels: np.ndarray, strengths: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """
    Returns weights `(strengths, width, labels)` and biases `(strengths, labels)` of logistic regressions.

    The labels are independent, so that their losses can be minimised as one sum, whose gradient is one product of
    matrices. Each strength starts from the one before. The bias is not penalised.

    Args:
        embeds (`np.ndarray` of shape `(exams, width)`): Standardised.
        labels (`np.ndarray` of shape `(exams, labels)`): 1, 0 or -1 (unknown: that exam does not count). A label whose
            known exams are all alike gets a head of zeros, which ranks nothing.
        strengths (`tuple[float]`): Ascending.
    """
    embeds = embeds.astype(np.float32)  # half the time of float64, and the same ranks but for exams that are equal
    known, positive = labels >= 0, labels == 1
    counted = known & (positive.any(axis=0) & (known & ~positive).any(axis=0))
    # Weights of the optimum lie in the span of the exams: with fewer exams than numbers it is found in that span.
    basis = np.linalg.qr(embeds.T)[0] if len(embeds) < embeds.shape[1] else np.eye(embeds.shape[1], dtype=np.float32)
    inside = embeds @ basis  # (exams, rank)
    sign = np.where(positive, 1, -1).astype(np.float32)

    def loss_and_gradient(flat: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        heads = flat.astype(np.float32).reshape(-1, labels.shape[1])
        margin = sign * (inside @ heads[:-1] + heads[-1])  # (exams, labels)
        slope = -sign * expit(-margin) * counted
        gradient = np.concatenate([inside.T @ slope + heads[:-1] / strength, slope.sum(axis=0, keepdims=True)])
        penalty = (heads[:-1] ** 2).sum() / (2 * strength)
        loss = np.logaddexp(0, -margin).sum(where=counted, dtype=np.float64)
        return loss + penalty, gradient.ravel().astype(np.float64)

    flat, found = np.zeros((inside.shape[1] + 1) * labels.shape[1]), []
    for strength in strengths:
        options = {"maxiter": MAX_ITERATIONS, "gtol": 1e-3, "ftol": 1e-7}
        flat = scipy.optimize.minimize(
            loss_and_gradient, flat, args=(strength,), jac=True, method="L-BFGS-B", options=options
        ).x
        found.append(flat.reshape(-1, labels.shape[1]))
    heads = np.stack(found)
    return basis @ heads[:, :-1], heads[:, -1]


def head_scores(
    embeds: np.ndarray, labels: np.ndarray, pool: np.ndarray, trained: np.ndarray, strengths: tuple[float, ...]
) -> np.ndarray:
    """
    Returns probabilities of all exams, float64 `(strengths, exams, labels)`, from heads that are trained on some.

    Args:
        embeds (`np.ndarray` of shape `(exams, width)`): Of all exams.
        labels (`np.ndarray` of shape `(exams, labels)`): Of all exams.
        pool (`np.ndarray` of int): Exams of the training part, with whose mean and standard deviation embeddings are
            standardised. That takes no label.
        trained (`np.ndarray` of int): Those of them whose labels are used.
        strengths (`tuple[float]`): Ascending.
    """
    spread = embeds[pool].std(axis=0)
    standard = (embeds - embeds[pool].mean(axis=0)) / np.where(spread > 0, spread, 1)
    weights, biases = fit_heads(standard[trained], labels[trained], strengths)
    return expit(standard @ weights + biases[:, None])
