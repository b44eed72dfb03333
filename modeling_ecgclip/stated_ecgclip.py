"""What an ECG must state before it is read, and the errors of ECGs that do not, or that cannot be what they state.

Here and nowhere else is decided what may be left out: pipelines, page, endpoint and converters ask this.
"""

from collections.abc import Sequence

from .leads_ecgclip import UNITS_PER_MV
from .signal_ecgclip import LEAD_NAMES


class UnstatedError(ValueError):
    """
    An ECG of which neither its source nor whoever uses it states what cannot be guessed.

    Args:
        record_name (`str`): What the ECG is called.
        setting (`str`): `"sampling_rate"`, `"unit"` or `"lead_names"`.
        expected (`str`): What should have been stated.
    """

    def __init__(self, record_name: str, setting: str, expected: str):
        super().__init__(f"{record_name}: expected {setting} {expected}: neither the source nor the caller states it")
        self.record_name, self.setting, self.expected = record_name, setting, expected


class ImplausibleEcgError(ValueError):
    """
    An ECG that cannot be what it is said to be.

    Args:
        message (`str`): Names the record, and what was found.
        code (`str`): Of the `Finding`, or `"not_recorded"` where too many samples are missing.
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


def check_stated(
    record_name: str,
    shape: tuple[int, ...],
    sampling_rate: float | None,
    lead_names: Sequence[str] | None,
    unit: str | None,
) -> None:
    """
    Refuses an ECG whose rate, unit or leads nobody states. Of twelve leads the standard order may be meant.

    Args:
        record_name (`str`): What the ECG is called.
        shape (`tuple[int]`): Of its signal, leads along either axis.
        sampling_rate (`float`, *optional*), lead_names (`list[str]`, *optional*), unit (`str`, *optional*):
            As stated by the source or the caller.

    Raises:
        [`UnstatedError`]: naming the first that is missing.
    """
    if sampling_rate is None:
        raise UnstatedError(record_name, "sampling_rate", "in Hz")
    if unit is None:
        raise UnstatedError(record_name, "unit", f"({', '.join(UNITS_PER_MV)})")
    if lead_names is None and len(LEAD_NAMES) not in shape:
        raise UnstatedError(
            record_name,
            "lead_names",
            f"for each lead of shape {shape}, since the standard order is taken of {len(LEAD_NAMES)} leads only",
        )


__all__ = ["ImplausibleEcgError", "UnstatedError", "check_stated"]
