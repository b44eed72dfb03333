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
        recorded (`np.ndarray` of shape `(batch, leads, samples)`, bool, *optional*):
            False in padding and missing leads.

    Returns:
        The signals, float32, finite, less their means; the leads to be read, `(batch, leads)`, bool; the first
        recorded sample and the one past the last, `(batch, 2)`, int; and a reason or None for each ECG.
    """
    batch, leads, n = signals.shape
    if n == 0:
        return (
            np.zeros(signals.shape, np.float32),
            np.zeros((batch, leads), bool),
            np.zeros((batch, 2), int),
            ["no sample"] * batch,
        )
    signal = np.empty(signals.shape, dtype=np.float32)
    valid = np.ones((batch, leads), dtype=bool)
    bounds = np.empty((batch, 2), dtype=int)
    reasons: list[str | None] = []
    for exam, one in enumerate(signals):
        highest, lowest = one.max(axis=1).astype(np.float64), one.min(axis=1).astype(np.float64)
        with np.errstate(invalid="ignore"):
            lost, span = None, highest - lowest
            tame = (
                span.max() < MIN_CODE_SPAN_MV and max(highest.max(), -lowest.min()) < MAX_SAMPLE_MV
            )  # not NaN either
            if recorded is not None or not tame:
                lost, span = ~(np.abs(one) < MAX_SAMPLE_MV), None
        if recorded is not None:
            lost = lost | ~recorded[exam]
        signal[exam], valid[exam], bounds[exam] = _prepared(one, lost, span, sampling_rate, names)
        reasons.append(_why_not(valid[exam], bounds[exam], sampling_rate))
    return signal, valid, bounds, reasons


def _prepared(
    one: np.ndarray,
    lost: np.ndarray | None,
    span: np.ndarray | None,
    sampling_rate: float,
    names: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """
    One ECG as in [`prepare`].

    Args:
        one (`np.ndarray` of shape `(leads, samples)`): Millivolts.
        lost (`np.ndarray` of the same shape, bool, *optional*): Where nothing was recorded; None where all was.
        span (`np.ndarray` of shape `(leads,)`, *optional*): From the lowest to the highest sample, where it is known.
    """
    n = one.shape[1]
    there = np.arange(n) if lost is None else np.flatnonzero(~lost.all(axis=0))
    if not there.size:
        return np.zeros(one.shape, np.float32), np.zeros(len(one), bool), (0, 0)
    first, last = _bounds(one, int(there[0]), int(there[-1]) + 1, round(MIN_PADDING_S * sampling_rate))
    inner = one[:, first:last]
    valid = np.ones(len(one), dtype=bool)
    if lost is not None:
        lost = missing_samples(np.where(lost[:, first:last], np.nan, inner))
        filled = fill_missing(np.where(lost, 0, inner), lost, names, sampling_rate)
        inner, valid = filled.signal, filled.lead_mask.copy()
    if span is None or last - first < n:
        span = inner.max(axis=1) - inner.min(axis=1)
    valid &= span > FLAT_MV
    inner = (inner - inner[:, ::7].mean(axis=1, keepdims=True)).astype(np.float32, copy=False)
    if not valid.all():
        inner = np.where(valid[:, None], inner, np.float32(0))
    # The ends of what was recorded go on into the padding: a step there would look like a QRS.
    return np.pad(inner, ((0, 0), (first, n - last)), mode="edge") if last - first < n else inner, valid, (first, last)


def _bounds(one: np.ndarray, first: int, last: int, shortest: int) -> tuple[int, int]:
    """Where the recording begins and ends without padding, in which every lead is constant."""
    if last - first <= shortest:
        return first, last
    begins = (one[:, first : first + shortest + 1] == one[:, first, None]).all()
    ends = (one[:, last - shortest - 1 : last] == one[:, last - 1, None]).all()
    if not begins and not ends:
        return first, last
    moves = np.flatnonzero((one[:, first + 1 : last] != one[:, first : last - 1]).any(axis=0))
    if not moves.size:
        return first, last
    return first + (int(moves[0]) + 1 if begins else 0), first + int(moves[-1]) + 1 if ends else last


def _why_not(valid: np.ndarray, bounds: np.ndarray, sampling_rate: float) -> str | None:
    """Why an ECG cannot be measured; None where it can."""
    seconds = (bounds[1] - bounds[0]) / sampling_rate
    if bounds[1] == bounds[0]:
        return "nothing was recorded"
    if seconds < MIN_SECONDS:
        return f"{seconds:.2f} s were recorded: two beats need {MIN_SECONDS:g} s"
    if sampling_rate < MIN_RATE_HZ:
        return f"{sampling_rate:g} Hz are too few: a QRS needs {MIN_RATE_HZ:g} Hz"
    if not valid.any():
        return "every lead is constant, far beyond an ECG in size, or hardly recorded"
    return None


__all__ = ["MIN_RATE_HZ", "prepare"]
