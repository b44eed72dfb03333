"""Is it what it is said to be? Leads, signs, unit, length and shape of one ECG, examined before a model sees it.

`examine` says what is wrong or doubtful and changes nothing. What can be decided exactly comes first and is cheap: a
recording in which nothing is wrong takes one or two milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .beat_shape_ecgclip import arms_exchanged, upside_down, waves, why_no_ecg
from .beats_ecgclip import median
from .lead_algebra_ecgclip import LIMB_LEADS, agreement, explain, own_gains, worst_law
from .limits_ecgclip import MAX_SAMPLE_MV


# Two beats of a heart at 60 a minute: with less there is no interval between beats.
MIN_SECONDS = 2.0
# Print-outs give 2.5 s of each lead. A rate from two or three beats is a guess; models are trained on 7 s and more.
SHORT_SECONDS = 5.0
# A nanovolt: rounding in the last bit moves a lead by less, any converter's step by more.
FLAT_MV = 1e-6
# 99th percentile of |sample - median of its lead|, over all leads that move: 0.13 to 4.5 mV in 1,767 real recordings.
MIN_AMPLITUDE_MV = 0.02
MAX_AMPLITUDE_MV = 20.0
# The same of each lead, the middle one of them: 0.07 to 2.4 mV. Bad electrodes disturb some leads, a wrong unit all.
MAX_USUAL_MV = 5.0
# Below it a QRS is one sample or none. Real recordings resampled to 25 Hz and more: nothing flagged.
MIN_SHAPE_HZ = 25.0
# Samples of each lead that are looked at first; the percentiles of all are taken where these come near to a limit.
_FIRST_LOOK = 500
_NEAR = 2.0
_ENOUGH = 0.5  # share of the samples on which the limb leads are compared
_CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
_UNIT_QUESTION = "Is the unit another one of mV, uV, V, or are these counts of a converter?"


@dataclass(frozen=True)
class Finding:
    """
    Something about a recording that whoever uses it has to know.

    Args:
        code (`str`): Short and stable, for the column `quality`; what follows a colon names leads.
        message (`str`): A sentence for people, without the record's name.
        severity (`str`):
            `"error"`: another reading of it would be wrong without a word, so it should be refused.
            `"warning"`: it may be so; the result should say it.
            `"note"`: it is so, and is no fault: a fact about how the recording was made.
    """

    code: str
    message: str
    severity: Literal["error", "warning", "note"]


def examine(
    signal: np.ndarray,
    lead_names: Sequence[str],
    sampling_rate: float,
    leads_stated: bool = True,
    unit_stated: bool = True,
    recorded: np.ndarray | None = None,
) -> list[Finding]:
    """
    Returns what is wrong or doubtful about a recording; an empty list where nothing is.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)`, float64):
            As recorded, in millivolts, finite: see `missing_samples_ecgclip`. Leads that were computed from others
            are to be left out: they would only confirm themselves.
        lead_names (`list[str]`): Standard spellings, one for each lead.
        sampling_rate (`float`): Hz.
        leads_stated, unit_stated (`bool`):
            Whether the source or the caller stated them, or they are assumed. The feature extractor assumes no unit.
        recorded (`np.ndarray` of shape `(leads, samples)`, bool, *optional*):
            False for samples that were filled in, which obey no law; all were recorded where left out.

    Returns:
        `list[Finding]`, errors first.

    Raises:
        `ValueError`: for values that are not finite, or as many names as there are no leads.
    """
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2 or len(lead_names) != len(signal):
        raise ValueError(f"expected one lead name for each row of the signal: found {len(lead_names)}, {signal.shape}")
    seconds = signal.shape[1] / sampling_rate
    if seconds < MIN_SECONDS:
        return [Finding("too_short", f"expected at least {MIN_SECONDS:g} s: found {seconds:.2f} s", "error")]
    span = signal.max(axis=1) - signal.min(axis=1)
    if not np.isfinite(span).all():
        raise ValueError("expected finite samples: fill_missing comes before examine")
    moves = span > FLAT_MV
    if not moves.any():
        return [Finding("no_signal", f"every lead is constant over all {signal.shape[1]} samples", "error")]
    moving = tuple(name for name, moved in zip(lead_names, moves, strict=True) if moved)
    signal = signal if moves.all() else signal[moves]
    found = _amplitude(signal, unit_stated)
    if span.max() > MAX_SAMPLE_MV or any(entry.severity == "error" for entry in found):
        # Nothing can be said before the unit is right; squares of such numbers may also overflow.
        return found or [_too_high(float(span.max()))]
    limb = _limb_leads(_lawful(signal, recorded), moving, sampling_rate, leads_stated)
    # Which way a lead points says nothing where it is another lead.
    found += limb + _shape(signal, moving, sampling_rate, named=all(entry.severity != "error" for entry in limb))
    if not moves.all():
        flat = ", ".join(name for name in lead_names if name not in moving)
        found.append(Finding("flat_lead", f"constant from beginning to end: {flat}", "warning"))
    if seconds < SHORT_SECONDS:
        found.append(Finding("short", f"{seconds:.1f} s is little: rate and rhythm rest on a few beats", "warning"))
    return sorted(found, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def _lawful(signal: np.ndarray, recorded: np.ndarray | None) -> np.ndarray:
    """The signal with means, which obey the laws, in place of samples that some lead lacks, where these are few."""
    if recorded is None or recorded.all() or (whole := recorded.all(axis=0)).mean() < _ENOUGH:
        return signal
    return np.where(whole, signal, signal[:, whole].mean(axis=1, keepdims=True))


def _too_high(millivolts: float) -> Finding:
    text = f"amplitudes of {millivolts:.3g} mV: an ECG stays below {MAX_AMPLITUDE_MV:g} mV. {_UNIT_QUESTION}"
    return Finding("amplitude_high", text, "error")


def _amplitude(signal: np.ndarray, unit_stated: bool) -> list[Finding]:
    """Amplitudes that no heart and no recorder gives, and whole numbers, which no millivolts are."""
    whole, usual = _percentiles(signal[:, :: max(1, signal.shape[1] // _FIRST_LOOK)])
    if not (MIN_AMPLITUDE_MV * _NEAR < whole < MAX_AMPLITUDE_MV / _NEAR and usual < MAX_USUAL_MV / _NEAR):
        whole, usual = _percentiles(signal)
    if whole < MIN_AMPLITUDE_MV:
        text = f"amplitudes of {whole:.2g} mV: an ECG exceeds {MIN_AMPLITUDE_MV:g} mV. {_UNIT_QUESTION}"
        return [Finding("amplitude_low", text, "error")]
    if whole > MAX_AMPLITUDE_MV:
        return [_too_high(whole)]
    if _whole_numbers(signal):
        text = f"all samples are whole numbers, in steps of 1 mV: no recorder is as coarse. {_UNIT_QUESTION}"
        return [Finding("whole_numbers", text, "warning" if unit_stated else "error")]
    if usual > MAX_USUAL_MV:
        text = f"amplitudes of {usual:.1f} mV in half of the leads or more: unusual. {_UNIT_QUESTION}"
        return [Finding("amplitude_high", text, "warning")]
    return []


def _percentiles(signal: np.ndarray) -> tuple[float, float]:
    """The 99th percentile of |sample - median of its lead|: over all leads, and the middle one of the leads' own."""
    half = signal.shape[1] // 2
    away = signal - np.partition(signal, half, axis=1)[:, half, None]
    np.abs(away, out=away).sort(axis=1)
    at = int(0.99 * (away.shape[1] - 1))
    from_top = away.size - int(0.99 * (away.size - 1))
    highest = away[:, -from_top:]  # nothing else of a lead can be among so many of all
    return float(np.partition(highest, -from_top, axis=None)[-from_top]), float(median(away[:, at]))


def _whole_numbers(signal: np.ndarray) -> bool:
    first = signal[:, :64]
    return bool((first == np.rint(first)).all() and (signal == np.rint(signal)).all())


def _limb_leads(
    signal: np.ndarray, moving: tuple[str, ...], sampling_rate: float, leads_stated: bool
) -> list[Finding]:
    """What Einthoven's and Goldberger's laws say about order and signs."""
    rows = [row for row, name in enumerate(moving) if name in LIMB_LEADS]
    if len(rows) < 3:
        text = "the order of the leads is not stated, and with fewer than three limb leads that move cannot be checked"
        return [] if leads_stated else [Finding("lead_order_unverified", text, "error")]
    limb, limb_names = signal[rows], [moving[row] for row in rows]
    stated = agreement(limb, limb_names)
    if stated.holds:
        return []
    found = explain(signal, rows, limb_names, stated)
    if found is not None:
        return _explained(found.rows, found.inverted, dict(zip(limb_names, rows, strict=True)), moving)
    if own_gains(limb, limb_names) is not None:
        text = "each limb lead has a gain of its own: order and signs are right, amplitudes and axis are not"
        return [Finding("leads_scaled", text, "note")]
    return [] if stated.tolerable else [_disagreement(limb, limb_names, sampling_rate, leads_stated)]


def _disagreement(limb: np.ndarray, names: list[str], sampling_rate: float, leads_stated: bool) -> Finding:
    law, millivolts, at = worst_law(limb, names)
    text = (
        f"the limb leads disagree: {law} should be 0 and reaches {millivolts:.2g} mV at {at / sampling_rate:.2f} s; "
        "no other order or sign explains it"
    )
    return Finding("limb_leads_disagree", text, "warning" if leads_stated else "error")


def _explained(
    rows: dict[str, int], inverted: tuple[str, ...], stated: dict[str, int], moving: tuple[str, ...]
) -> list[Finding]:
    """Findings about leads in another order, and about inverted ones."""
    findings = []
    moved = {name: row for name, row in rows.items() if row != stated[name]}
    if moved:
        order = _order(rows, moving)
        if set(moved.values()) == {stated[name] for name in moved}:
            places = sorted(moved.values())
            text = (
                f"{', '.join(moving[row] for row in places)} are, by the laws of the limb leads, in the order "
                f"{' '.join(order[row] for row in places)}"
            )
        else:
            text = f"the leads look like {_compressed(order)} (the chest leads' own order cannot be checked)"
        findings.append(Finding(f"lead_order:{_compressed(order)}", text, "error"))
    if inverted:
        text = f"{', '.join(inverted)} {'is' if len(inverted) == 1 else 'are'} upside down: the negative is stored"
        findings.append(Finding(f"inverted:{' '.join(inverted)}", text, "error"))
    return findings


def _order(rows: dict[str, int], moving: tuple[str, ...]) -> list[str]:
    """The name of each row, where `rows` holds those of the limb leads."""
    order: list[str] = [""] * len(moving)
    for name, row in rows.items():
        order[row] = name
    free = [row for row, name in enumerate(order) if not name]
    if free and free[-1] - free[0] >= len(free):
        # Chest leads that are torn apart keep their places, those that are together their order.
        for row in free:
            order[row] = moving[row] if moving[row] not in rows else ""
    rest = iter(name for name in moving if name not in order)
    return [name or next(rest) for name in order]


def _compressed(order: list[str]) -> str:
    """`I II V1-V6 III aVR aVL aVF`: the chest leads as one word where they follow each other."""
    return " ".join(order).replace(" ".join(_CHEST), "V1-V6")


def _shape(signal: np.ndarray, moving: tuple[str, ...], sampling_rate: float, named: bool) -> list[Finding]:
    """What the beats say: whether there are any and, where the leads are `named` rightly, which way they point."""
    if sampling_rate < MIN_SHAPE_HZ:
        return []
    seen = waves(signal, moving, sampling_rate)
    looks = why_no_ecg(seen)
    if looks is not None:
        # A warning: ventricular fibrillation has no beats either, and is an ECG.
        return [Finding("not_an_ecg", f"this does not look like an ECG but like {looks}", "warning")]
    if named and arms_exchanged(seen):
        text = "lead I is the opposite of what the chest leads let expect: the electrodes of the arms may be exchanged"
        return [Finding("arm_reversal", text, "warning")]
    if named and upside_down(seen):
        text = "I, II, V5 and V6 point down and aVR points up: all leads may be inverted"
        return [Finding("all_leads_inverted", text, "warning")]
    return []


__all__ = ["Finding", "examine"]
