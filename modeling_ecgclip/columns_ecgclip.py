"""What the name of a table's column says: a lead and its unit, the time and its unit, a count, or nothing."""

import re
from dataclasses import dataclass
from typing import Literal

from .leads_ecgclip import known_unit, parse_lead_name
from .times_ecgclip import PER_SECOND


_TIME_WORDS = (
    "time|times|t|timestamp|time stamp|elapsed|elapsed time|time elapsed|date ?time|date|zeit|tempo|tiempo|temps"
)
_TIME_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanosecond", "nanoseconds"), "ns"),
}
_TIME = re.compile(rf"(?P<word>{_TIME_WORDS})?(?:(?:^| |in )*(?P<unit>{'|'.join(_TIME_UNITS)}))?")
_CLOCK = re.compile(r"h+ ?m+ ?s+(?: ?m+s?)?")  # "hh:mm:ss.mmm"
_COUNT = re.compile(r"(?:index|idx|row|n|no|nr|(?:sample|samples|frame)(?: ?(?:index|idx|number|no|nr|id|#))?|#)")
# `pandas` writes whole numbers of a float index as `3.0`.
_NUMBER = re.compile(r"\d{1,6}(?:[.,]0*)?", re.ASCII)
_UNNAMED = re.compile(r"(?:unnamed: \d+)?", re.IGNORECASE)
_BRACKETS = re.compile(r"(.*?)\s*[(\[{]\s*([^()\[\]{}]*?)\s*[)\]}]")
_SUFFIX = re.compile(r"(.+?)[\s_/.,-]+((?:[mu\u00b5\u03bc]|milli|micro)?v(?:olts?)?)", re.IGNORECASE)
# No longer name is that of anything known.
_MAX_TITLE = 100


@dataclass(frozen=True)
class Column:
    """
    What a column is, by its name.

    Args:
        kind (`str`): `"time"`; `"count"` of samples; `"number"`, a lead whose title is only its number or its unit;
            `"unnamed"`; `"lead"`, which is any other, known or not.
        name (`str`): Without the unit.
        unit (`str`, *optional*): As spelled, of a lead; one of `times_ecgclip.PER_SECOND` of a time.
    """

    kind: Literal["time", "count", "number", "unnamed", "lead"]
    name: str
    unit: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the name is that of a standard lead, of time, or of a count."""
        return self.kind in ("time", "count") or (self.kind == "lead" and parse_lead_name(self.name) is not None)


def parse_column(title: str, unit: str = "") -> Column:
    """
    Returns what a column is.

    Args:
        title (`str`): Its name, which may hold its unit: `"I (mV)"`, `"V1_uV"`, `"Time [s]"`, `"t_ms"`.
        unit (`str`): Of a row of units below the names.

    Raises:
        `ValueError`: for a time in a unit that is unknown, or in two.
    """
    title, unit = title.strip(), unit.strip("()[]")
    if len(title) > _MAX_TITLE:
        return Column("lead", title)
    if _UNNAMED.fullmatch(title):
        return Column("unnamed", title)
    if is_number(title) or (len(title) > 1 and known_unit(title)):
        return Column("number", title, unit or known_unit(title))
    brackets = _BRACKETS.fullmatch(title)
    bare, inside = (brackets[1], brackets[2]) if brackets else (title, "")
    time = _time_unit(bare, inside or unit)
    if time is not None:
        return Column("time", title, time or None)
    return Column("count", title) if _COUNT.fullmatch(_folded(title)) else _lead_column(title, bare, inside, unit)


def is_number(title: str) -> bool:
    """Returns whether the title of a column only counts it."""
    return _NUMBER.fullmatch(title) is not None


def _lead_column(title: str, bare: str, inside: str, unit: str) -> Column:
    """A lead's column, whose unit stands in brackets, behind the name, or below it."""
    if inside and (known_unit(inside) or parse_lead_name(bare)):
        return Column("lead", bare, inside)
    suffix = _SUFFIX.fullmatch(title)
    if suffix and (parse_lead_name(suffix[1]) or len(suffix[2]) > 1):
        return Column("lead", suffix[1], suffix[2])
    return Column("lead", title, unit or None)


def _time_unit(bare: str, stated: str) -> str | None:
    """The unit of a time's column; `""` where it is not stated, `None` for a name of something else."""
    match = _TIME.fullmatch(_folded(bare))
    if match is None or not bare:
        return None
    within, beside = match["unit"] or "", _folded(stated)
    if not beside or _CLOCK.fullmatch(beside):
        return _TIME_UNITS.get(within, "")
    unit = _TIME_UNITS.get(beside)
    if unit is None or _TIME_UNITS.get(within, unit) != unit:
        raise ValueError(f"expected the time {bare!r} in {', '.join(PER_SECOND)}: found {stated!r}")
    return unit


def _folded(text: str) -> str:
    """Lower case, and one blank for all that is no letter, digit or number sign."""
    text = text.casefold().replace("\u00b5", "u").replace("\u03bc", "u")
    return re.sub(r"[^a-z0-9#]+", " ", text).strip()


__all__ = ["Column", "is_number", "parse_column"]
