"""Do the limb leads obey Einthoven's and Goldberger's laws, and under which order or signs would they?

I, II, III, aVR, aVL and aVF come from three electrodes, so that all six are sums of any two of them. Whatever is left
of six leads after the best such fit is a measure of how well names, signs and signals agree, and costs one product of
small matrices. Only where it is too large are other orders and signs tried, all of them, on the leads' covariances
alone. Chest leads have an electrode each and no law: of them nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .leads_ecgclip import DERIVED_LEADS


# Each limb lead as multiples of I and II, in the standard order.
LIMB_LEADS: dict[str, tuple[float, float]] = {"I": (1.0, 0.0), "II": (0.0, 1.0), **DERIVED_LEADS}
# Laws as they are written, for messages: leads and their factors, whose sum is zero.
_LAWS: tuple[dict[str, float], ...] = (
    {"I": 1, "III": 1, "II": -1},
    {"aVR": 1, "aVL": 1, "aVF": 1},
    {"aVR": 2, "I": 1, "II": 1},
    {"aVL": 2, "I": -1, "III": 1},
    {"aVF": 2, "II": -1, "III": -1},
)
# Shares of the limb leads' energy, as roots. Measured over 2,067 recordings, see benchmarks/plausibility: rounding and
# each lead's own filter leave at most 0.023, any two limb leads exchanged at least 0.08.
AGREES = 0.03
DOUBTFUL = 0.05
# Another order is believed where it leaves this much at most, and at most half of what the stated one leaves.
MAX_EXPLAINED = 0.1
# A single sample: artefacts that one lead alone has. PTB-XL's record 162 has one of 5 mV, all others 0.3 mV at most.
MAX_DEPARTURE_MV = 1.0
# What is left where each lead may have a gain of its own. LUDB scales each to a span of 1 mV and leaves 0.004.
SCALED = 0.02


@dataclass(frozen=True)
class Explanation:
    """
    An order and signs under which the limb leads obey the laws.

    Args:
        rows (`dict[str, int]`): For each limb lead the row of the recording that holds it.
        inverted (`tuple[str]`): Limb leads that are stored upside down.
        residual (`float`): Root of the share of their energy that is left.
    """

    rows: dict[str, int]
    inverted: tuple[str, ...]
    residual: float


@dataclass(frozen=True)
class Agreement:
    """
    How well the limb leads obey the laws, as they are named.

    Args:
        residual (`float`): Root of the share of their energy that is left after the best fit of three electrodes.
        departure_mv (`float`): Largest single sample of what is left.
    """

    residual: float
    departure_mv: float

    @property
    def holds(self) -> bool:
        """Whether names, signs and signals agree."""
        return self.residual <= AGREES and self.departure_mv <= MAX_DEPARTURE_MV

    @property
    def tolerable(self) -> bool:
        """Whether they agree well enough where no other order or sign does better."""
        return self.residual <= DOUBTFUL and self.departure_mv <= MAX_DEPARTURE_MV


@lru_cache(maxsize=64)
def _laws_projector(names: tuple[str, ...]) -> np.ndarray:
    """Projects limb leads (leads, samples) on what no three electrodes can give; (leads, leads), of rank leads - 2."""
    basis, _ = np.linalg.qr(np.array([LIMB_LEADS[name] for name in names]))
    return np.eye(len(names)) - basis @ basis.T


def agreement(limb: np.ndarray, names: Sequence[str]) -> Agreement:
    """
    Returns how well limb leads obey the laws.

    Args:
        limb (`np.ndarray` of shape `(leads, samples)`, float64): Three limb leads or more, in millivolts, that move.
        names (`list[str]`): Theirs, keys of `LIMB_LEADS`.
    """
    centred = limb - limb.mean(axis=1, keepdims=True)
    left = _laws_projector(tuple(names)) @ centred
    energy = max(float(np.einsum("ls,ls->", centred, centred)), 1e-300)
    residual = float(np.sqrt(np.einsum("ls,ls->", left, left) / energy))
    return Agreement(residual, float(max(left.max(), -left.min())))


def own_gains(limb: np.ndarray, names: Sequence[str]) -> np.ndarray | None:
    """
    Returns the positive gains by which limb leads would obey the laws, or None where there are none.

    A recording whose leads were each scaled on their own, to one span or one deviation, keeps their order and signs
    and loses their proportions.

    Args: as in [`agreement`]; four leads or more, since fewer obey the laws under some gains by chance.

    Returns:
        `np.ndarray` of shape `(leads,)`: Factors, of mean 1, that undo the scaling but for what is common to all.
    """
    if len(names) < 4:
        return None
    centred = limb - limb.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    # Sum over the laws of |law applied to the scaled leads|^2, as a quadratic form in the gains.
    left, gains = np.linalg.eigh(_laws_projector(tuple(names)) * covariance / np.outer(deviation, deviation))
    best = gains[:, 0] * np.sign(gains[:, 0].sum())
    if best.min() <= 0 or max(left[0], 0.0) > SCALED**2:
        return None
    factors = best / deviation
    return factors / factors.mean()


def worst_law(limb: np.ndarray, names: Sequence[str]) -> tuple[str, float, int]:
    """
    Returns the law that is broken most, by how many millivolts and at which sample.

    Args: as in [`agreement`].
    """
    place = {name: row for row, name in enumerate(names)}
    centred = limb - np.median(limb, axis=1, keepdims=True)
    worst = ("the laws of the limb leads", 0.0, 0)
    for law in _LAWS:
        if not all(name in place for name in law):
            continue
        left = np.abs(sum(factor * centred[place[name]] for name, factor in law.items()))
        at = int(left.argmax())
        if left[at] > worst[1]:
            worst = (_written(law), float(left[at]), at)
    return worst


def explain(signal: np.ndarray, rows: Sequence[int], names: Sequence[str], stated: Agreement) -> Explanation | None:
    """
    Returns the order and signs under which the limb leads obey the laws, where another than the stated one does.

    Every pair of leads is tried as the first two limb leads, with both signs. Each of the others is then a known sum
    of these, and the lead that comes closest takes its place. The laws hold for exchanged electrodes too, so that six
    orders and signs explain a recording equally well. Of these the simplest is returned: the fewest leads moved, where
    an inverted lead counts as two. That is the true one for 681 of the 719 other orders of the limb leads, and for 39
    of the 41 ways to invert up to three of them; the rest are explained by another that fits as well.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64): All leads that move, chest leads too.
        rows (`list[int]`): Which of them are named as limb leads.
        names (`list[str]`): The names of these.
        stated ([`Agreement`]): Of the names as they stand.
    """
    centred = signal - signal.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T
    names = tuple(names)
    found = []
    for order, towards in _candidates(covariance, names):
        residual, signs = _exact(covariance, order, towards, names)
        inverted = tuple(name for name, sign in zip(names, signs, strict=True) if sign < 0)
        moved = sum(at != row for at, row in zip(order, rows, strict=True))
        if moved or inverted:
            found.append((residual, moved + 2 * len(inverted), len(inverted), order, inverted))
    if not found:
        return None
    # Those that differ from the best by rounding alone are equally good.
    limit = 1.25 * min(entry[0] for entry in found) + 0.005
    residual, _, _, order, inverted = min(
        (entry for entry in found if entry[0] <= limit), key=lambda entry: entry[1:3]
    )
    if residual > min(MAX_EXPLAINED, stated.residual / 2):
        return None
    return Explanation(dict(zip(names, order, strict=True)), inverted, residual)


def _candidates(covariance: np.ndarray, names: tuple[str, ...]) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Orders (a row for each name) and signs that come close to the laws, the best of all and what is near it."""
    vectors = np.array([LIMB_LEADS[name] for name in names])
    others = vectors[2:] @ np.linalg.inv(vectors[:2])  # (places, 2): each other lead from the first two
    n = len(covariance)
    energy = np.diag(covariance)
    tried = []
    for sign in (1.0, -1.0):
        a, b = others[:, :1, None], sign * others[:, 1:, None]
        predicted = a**2 * energy[:, None] + b**2 * energy + 2 * a * b * covariance  # (places, first, second)
        cross = a[..., None] * covariance[:, None, :] + b[..., None] * covariance[None, :, :]  # and (..., row)
        cost = energy + predicted[..., None] - 2 * np.abs(cross)
        first, second = np.arange(n)[:, None, None], np.arange(n)[None, :, None]
        cost[:, (first == np.arange(n)) | (second == np.arange(n)) | (first == second)] = np.inf
        best = cost.argmin(axis=3)  # (places, first, second)
        total = np.take_along_axis(cost, best[..., None], axis=3)[..., 0].sum(axis=0)
        used = energy[:, None] + energy + energy[best].sum(axis=0)
        share = total / used
        for i, j in zip(*np.unravel_index(np.argsort(share, axis=None)[:24], share.shape), strict=True):
            order = (int(i), int(j), *best[:, i, j].tolist())
            if np.isfinite(share[i, j]) and len(set(order)) == len(order):
                towards = np.sign(cross[np.arange(len(others)), i, j, best[:, i, j]])
                tried.append((float(share[i, j]), order, np.array([1.0, sign, *towards])))
    tried.sort(key=lambda entry: entry[0])
    return [(order, signs) for _, order, signs in tried[:24]]


def _exact(
    covariance: np.ndarray, order: tuple[int, ...], signs: np.ndarray, names: tuple[str, ...]
) -> tuple[float, np.ndarray]:
    """The residual of an order and signs by the best fit, and the signs with fewer than half of them negative."""
    if (signs < 0).sum() > len(signs) / 2:
        signs = -signs
    chosen = covariance[np.ix_(order, order)]
    left = signs @ (_laws_projector(names) * chosen) @ signs
    return float(np.sqrt(max(left, 0.0) / np.trace(chosen))), signs


def _written(law: dict[str, float]) -> str:
    """`I + III - II`, `2 aVL - I + III`."""
    terms = [
        f"{'-' if factor < 0 else '+'} {'' if abs(factor) == 1 else f'{abs(factor):g} '}{name}"
        for name, factor in law.items()
    ]
    return " ".join(terms).removeprefix("+ ")


__all__ = ["LIMB_LEADS", "Agreement", "Explanation", "agreement", "explain", "own_gains", "worst_law"]
