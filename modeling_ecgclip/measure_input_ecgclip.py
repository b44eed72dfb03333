"""ECGs made ready to be measured: padding and missing samples set aside, and what cannot be measured told."""

import numpy as np

from .limits_ecgclip import MAX_SAMPLE_MV
from .missing_samples_ecgclip import fill_missing, missing_samples
from .plausibility_ecgclip import FLAT_MV, MIN_SECONDS


MIN_RATE_HZ = 50.0  # below, a QRS is five samples or less
# Constant in all leads for so long at an end of the recording: padding.
MIN_PADDING_S = 0.05
MIN_CODE_SPAN_MV = 9.9  # leads that span less hold no code of lost samples


def prepare(
    signals: np.ndarray, sampling_rate: float, names: tuple[str, ...], recorded: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str | None]]:
    """
    Returns ECGs without gaps, which leads of them to read, and why some cannot be measured.

    Args:
        signals (`np.ndarray` of shape `(batch, leads, samples)`): Millivolts; NaN where nothing was recorded.
        sampling_rate (`float`): Hz.
        names (`tuple[str]`): Leads.
        recorded (`np.ndarray` of shape `(batch, leads, samples)`, bool, *optional*): False in padding and missing leads.

    Returns:
        The signals, float32, finite, less their medians; the leads to be read, `(batch, leads)`, bool; the first recorded
        sample and the one past the last, `(batch, 2)`, int; and a reason or None for each ECG.
    """
    batch, leads, n = signals.shape
    if n == 0:
        return np.zeros(signals.shape, np.float32), np.zeros((batch, leads), bool), np.zeros((batch, 2), int), ["no sample"] * batch
    signal = np.empty(signals.shape, dtype=np.float32)
    valid = np.ones((batch, leads), dtype=bool)
    bounds = np.empty((batch, 2), dtype=int)
    reasons: list[str | None] = []
    for exam, one in enumerate(signals):
        mask = None if recorded is None else recorded[exam]
        signal[exam], valid[exam], bounds[exam] = _prepared(one, sampling_rate, names, mask)
        reasons.append(_why_not(valid[exam], bounds[exam], sampling_rate, one))
    return signal, valid, bounds, reasons


def _prepared(
    one: np.ndarray, sampling_rate: float, names: tuple[str, ...], mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """One ECG as in [`prepare`]."""
    n = one.shape[1]
    lost = ~(np.abs(one) < MAX_SAMPLE_MV)  # NaN too
    if mask is not None:
        lost |= ~mask
    first, last = _bounds(one, lost, round(MIN_PADDING_S * sampling_rate))
    if last <= first:
        return np.zeros(one.shape, np.float32), np.zeros(len(one), bool), (0, 0)
    inner, lost = one[:, first:last].astype(np.float64), lost[:, first:last]
    valid = np.ones(len(one), dtype=bool)
    if lost.any() or (inner.max(axis=1) - inner.min(axis=1)).max() > MIN_CODE_SPAN_MV:
        lost = missing_samples(np.where(lost, np.nan, inner))
        filled = fill_missing(np.where(lost, 0, inner), lost, names, sampling_rate)
        inner, valid = filled.signal, filled.lead_mask.copy()
    valid &= inner.max(axis=1) - inner.min(axis=1) > FLAT_MV
    inner -= np.median(inner[:, ::7], axis=1, keepdims=True)
    # The ends of what was recorded go on into the padding: a step there would look like a QRS.
    whole = np.pad(inner, ((0, 0), (first, n - last)), mode="edge") if last - first < n else inner
    return np.where(valid[:, None], whole, 0).astype(np.float32), valid, (first, last)


def _bounds(one: np.ndarray, lost: np.ndarray, shortest: int) -> tuple[int, int]:
    """Where the recording begins and ends between padding: samples that no lead has, or in which all are constant."""
    n = one.shape[1]
    there = np.flatnonzero(~lost.all(axis=0))
    if not there.size:
        return 0, 0
    first, last = int(there[0]), int(there[-1]) + 1
    moves = np.flatnonzero((one[:, first + 1 : last] != one[:, first : last - 1]).any(axis=0))
    if not moves.size:
        return first, last
    if moves[0] >= shortest:
        first += int(moves[0]) + 1
    if last - 1 - (there[0] + moves[-1] + 1) >= shortest:
        last = int(there[0] + moves[-1] + 1)
    return first, min(last, n)


def _why_not(valid: np.ndarray, bounds: tuple[int, int], sampling_rate: float, one: np.ndarray) -> str | None:
    """Why an ECG cannot be measured; None where it can."""
    seconds = (bounds[1] - bounds[0]) / sampling_rate
    if bounds[1] == bounds[0]:
        return "nothing was recorded"
    if seconds < MIN_SECONDS:
        return f"{seconds:.2f} s were recorded: two beats need {MIN_SECONDS:g} s"
    if sampling_rate < MIN_RATE_HZ:
        return f"{sampling_rate:g} Hz are too few: a QRS needs {MIN_RATE_HZ:g} Hz"
    if not valid.any():
        flat = np.isfinite(one).any(axis=1).all()
        return "every lead is constant, or too little of it was recorded" if flat else "too little of every lead was recorded"
    return None


__all__ = ["MIN_RATE_HZ", "prepare"]
