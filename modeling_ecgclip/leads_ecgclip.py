"""Names of leads and units as files spell them, and the leads that follow from others."""

from .configuration_ecgclip import LEAD_NAMES


# Recorders' names of the limb leads, folded to upper case; V1 ... V6 have one name only.
LEAD_ALIASES = {"DI": "I", "DII": "II", "DIII": "III", "D1": "I", "D2": "II", "D3": "III"}
# How many of a unit make one millivolt. Dividing is exact for integers, where a factor of 0.001 would not be.
UNITS_PER_MV = {"mV": 1.0, "uV": 1000.0, "V": 0.001}
UNIT_ALIASES = {"MV": "mV", "MILLIVOLT": "mV", "MILLIVOLTS": "mV", "V": "V", "VOLT": "V", "VOLTS": "V"}
UNIT_ALIASES |= {"UV": "uV", "MICROVOLT": "uV", "MICROVOLTS": "uV"}
# Einthoven's and Goldberger's leads as multiples of I and II.
DERIVED_LEADS = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}


def canonical_lead_name(name: str, record_name: str = "ECG") -> str:
    """
    Returns the standard spelling of a lead: `"DI"` and `"d1"` give `"I"`, `"AVR"` gives `"aVR"`, `"v1"` gives `"V1"`.

    Raises:
        `ValueError`: for a name that is no standard lead.
    """
    if not isinstance(name, str):
        raise TypeError(f"{record_name}: lead names must be text: found {name!r}")
    folded = name.strip().upper().removeprefix("LEAD ").strip()
    folded = LEAD_ALIASES.get(folded, folded)
    for lead in LEAD_NAMES:
        if lead.upper() == folded:
            return lead
    raise ValueError(
        f"{record_name}: unknown lead name {name!r}: expected one of {', '.join(LEAD_NAMES)} "
        f"(or {', '.join(LEAD_ALIASES)}, in any case)"
    )


def canonical_unit(unit: str, record_name: str = "ECG") -> str:
    """
    Returns `"mV"`, `"uV"` or `"V"` for a unit as files spell it.

    Raises:
        `ValueError`: for any other unit.
    """
    # Unicode has two signs for micro, and the capital of both is a Greek M.
    folded = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u").upper() if isinstance(unit, str) else unit
    if folded not in UNIT_ALIASES:
        raise ValueError(f"{record_name}: unknown unit {unit!r}: expected one of {', '.join(UNITS_PER_MV)}")
    return UNIT_ALIASES[folded]


__all__ = ["DERIVED_LEADS", "LEAD_ALIASES", "UNITS_PER_MV", "UNIT_ALIASES", "canonical_lead_name", "canonical_unit"]
