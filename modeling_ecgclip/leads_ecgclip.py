"""Names of leads and units as files spell them, and the leads that follow from others."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES


# Recorders' names of the leads, folded to upper case. C1 to C6 are the chest leads' electrodes by IEC 60601-2-25.
LEAD_ALIASES = {"DI": "I", "DII": "II", "DIII": "III", "D1": "I", "D2": "II", "D3": "III"}
LEAD_ALIASES |= {f"C{i}": f"V{i}" for i in range(1, 7)}
# How many of a unit make one millivolt. Dividing is exact for integers, where a factor of 0.001 would not be.
UNITS_PER_MV = {"mV": 1.0, "uV": 1000.0, "V": 0.001}
UNIT_ALIASES = {"MV": "mV", "MILLIVOLT": "mV", "MILLIVOLTS": "mV", "V": "V", "VOLT": "V", "VOLTS": "V"}
UNIT_ALIASES |= {"UV": "uV", "MICROVOLT": "uV", "MICROVOLTS": "uV"}
# Einthoven's and Goldberger's leads as multiples of I and II.
DERIVED_LEADS = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
# Words before a lead's name: "Lead I", "ECG_V1", "EKG lead II", and ISO 11073's "MDC_ECG_LEAD_AVR".
_PREFIX = re.compile(r"^(?:MDC_ECG_LEAD_|(?:(?:ECG|EKG)[\s_:.-]+)?(?:LEAD[\s_:.-]*)?)")
_OF_FOLDED = {lead.upper(): lead for lead in LEAD_NAMES}
# What a metadata entry of this name lists was in the source and is not in the record.
LEFT_OUT = "channels_left_out"


@lru_cache(maxsize=1024)
def parse_lead_name(name: str) -> tuple[str, int] | None:
    """
    Returns the standard spelling of a lead and its sign, or `None` for a name that is no standard lead's.

    `"DI"`, `"d1"` and `"Lead I"` give `("I", 1)`, `"AVR"` and `"aVR+"` `("aVR", 1)`, `"-aVR"` `("aVR", -1)`. A sign
    behind a name belongs to the electrode that it names and turns nothing.
    """
    folded = name.strip().upper().replace("\u2212", "-")
    sign = -1 if folded.startswith("-") else 1
    folded = folded[1:].strip() if folded.startswith(("+", "-")) else folded
    core = _PREFIX.sub("", folded, count=1)
    core = core[:-1].strip() if core.endswith(("+", "-")) else core
    lead = _OF_FOLDED.get(LEAD_ALIASES.get(core, core))
    return None if lead is None else (lead, sign)


def canonical_lead_name(name: str, record_name: str = "ECG") -> str:
    """
    Returns the standard spelling of a lead: `"DI"` and `"d1"` give `"I"`, `"AVR"` gives `"aVR"`, `"v1"` gives `"V1"`.

    Raises:
        `ValueError`: for a name that is no standard lead, or that of an inverted one, which only [`only_leads`] turns.
    """
    if not isinstance(name, str):
        raise TypeError(f"{record_name}: lead names must be text: found {name!r}")
    parsed = parse_lead_name(name)
    if parsed is None:
        raise ValueError(
            f"{record_name}: unknown lead name {name!r}: expected one of {', '.join(LEAD_NAMES)} "
            f"(or {', '.join(LEAD_ALIASES)}, in any case)"
        )
    lead, sign = parsed
    if sign < 0:
        raise ValueError(f"{record_name}: lead {name!r} is {lead} upside down: turn it, and call it {lead}")
    return lead


def canonical_unit(unit: str, record_name: str = "ECG") -> str:
    """
    Returns `"mV"`, `"uV"` or `"V"` for a unit as files spell it.

    Raises:
        `ValueError`: for any other unit.
    """
    known = known_unit(unit)
    if known is None:
        raise ValueError(f"{record_name}: unknown unit {unit!r}: expected one of {', '.join(UNITS_PER_MV)}")
    return known


def known_unit(unit: object) -> str | None:
    """Returns `"mV"`, `"uV"` or `"V"` for a unit as files spell it, and `None` for anything else."""
    if not isinstance(unit, str):
        return None
    # Unicode has two signs for micro, and the capital of both is a Greek M.
    return UNIT_ALIASES.get(unit.strip().replace("\u00b5", "u").replace("\u03bc", "u").upper())


def only_leads(record: EcgRecord) -> EcgRecord:
    """
    Returns a record of standard leads, the right way up.

    Channels whose name is no lead's, such as Frank's `vx`, `V7` or respiration, are left out and listed in
    `metadata["channels_left_out"]`; an inverted lead (`"-aVR"`) is turned. Where no name is a lead's, or none is
    stated, the record stays as it is.
    """
    names = record.lead_names or ()
    parsed = [parse_lead_name(name) if isinstance(name, str) else None for name in names]
    known = [channel for channel, lead in enumerate(parsed) if lead is not None]
    signs = np.array([lead[1] for lead in parsed if lead is not None])
    if not known or (len(known) == len(names) and (signs > 0).all()):
        return record
    axis = 0 if record.signal.shape[0] == len(names) else 1
    if record.signal.shape[axis] != len(names):
        return record  # names and signal do not fit, which the feature extractor says
    signal = record.signal.take(known, axis=axis)
    if (signs < 0).any():  # in floating point, where every value has its opposite
        signal = signal if signal.dtype.kind == "f" else signal.astype(np.float64)
        signal = signal * np.expand_dims(signs.astype(signal.dtype), 1 - axis)
    kept = (name if lead[1] > 0 else lead[0] for name, lead in zip(names, parsed, strict=True) if lead is not None)
    left_out = [names[at] or f"channel {at}" for at, lead in enumerate(parsed) if lead is None]
    return replace(without_channels(record, left_out), signal=signal, lead_names=tuple(kept))


def without_channels(record: EcgRecord, left_out: Iterable[str]) -> EcgRecord:
    """Returns a record whose metadata lists channels that were left out, beside those that it lists already."""
    listed = (*record.metadata.get(LEFT_OUT, ()), *left_out)
    return replace(record, metadata={**record.metadata, LEFT_OUT: listed}) if listed else record


__all__ = [
    "DERIVED_LEADS",
    "LEAD_ALIASES",
    "LEFT_OUT",
    "UNITS_PER_MV",
    "UNIT_ALIASES",
    "canonical_lead_name",
    "canonical_unit",
    "known_unit",
    "only_leads",
    "parse_lead_name",
    "without_channels",
]
