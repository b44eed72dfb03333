"""What the readers of recorders' binary files share: fields within bounds, rates, units, leads, and metadata.

Metadata that leaves a reader names no patient: ages are whole years, and a text that contains a name or an id which
the file states of its patient is left out.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from .feature_extraction_ecgclip import canonical_lead_name
from .limits_ecgclip import MAX_FILE_BYTES, MAX_TEXT_LENGTH, check_file, shorten


# How many of a unit make one microvolt, by the unit's name in lower case. Both signs for micro read as "u".
_PER_UV = {"nv": 1000.0, "uv": 1.0, "mv": 0.001, "v": 0.000001}
_UNITS = {"uv": "uV", "mv": "mV", "v": "V"}
# Codes of leads in SCP-ECG (EN 1064, section 3), which DICOM (as 5.6.3-9-N), ISO 11073-10101 and MFER took over.
SCP_LEADS = {1: "I", 2: "II", **{n: f"V{n - 2}" for n in range(3, 10)}, **{n: f"V{n - 8}R" for n in range(10, 16)}}
SCP_LEADS |= {16: "X", 17: "Y", 18: "Z", 19: "CC5", 20: "CM5", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR"}
SCP_LEADS |= {66: "V8", 67: "V9", 68: "V8R", 69: "V9R", 70: "D", 71: "A", 72: "J"}
MAX_STATEMENTS = 200
MAX_SECRETS = 200  # words of names and ids, which every text is searched for
MAX_AGE = 120


def read_whole(path: str | Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """
    Returns the bytes of a file of at most `max_bytes`.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the file.
    """
    check_file(Path(path), max_bytes)
    with Path(path).open("rb") as file:
        return file.read(max_bytes)


def unpack(layout: str, data: bytes | memoryview, at: int, name: str) -> tuple[Any, ...]:
    """
    Returns the values that `struct` finds at byte `at`.

    Raises:
        `ValueError`: where they do not lie within `data`.
    """
    size = struct.calcsize(layout)
    if at < 0 or at + size > len(data):
        raise ValueError(f"{name}: truncated: expected {size} bytes at byte {at}: found {max(0, len(data) - at)}")
    return struct.unpack_from(layout, data, at)


def cut(data: bytes | memoryview, at: int, size: int, name: str, what: str) -> bytes | memoryview:
    """
    Returns `size` bytes from byte `at`.

    Raises:
        `ValueError`: where they do not lie within `data`.
    """
    if at < 0 or size < 0 or at + size > len(data):
        raise ValueError(
            f"{name}: truncated: expected {what} of {size:,} bytes at byte {at:,}: found {max(0, len(data) - at):,}"
        )
    return data[at : at + size]


def rate_of_interval(microseconds: float) -> float:
    """Returns the rate in Hz of an interval that its file rounds to whole microseconds: 3333 gives 300 Hz."""
    whole = round(1e6 / microseconds)
    return float(whole) if whole and abs(1e6 / whole - microseconds) < 1 else 1e6 / microseconds


def voltage_unit(text: str) -> str | None:
    """Returns a unit of voltage in lower case with a plain letter for micro, or `None` for what is none."""
    folded = text.strip().replace("\u00b5", "u").replace("\u03bc", "u").lower()
    return folded if folded in _PER_UV else None


def common_unit(units: Sequence[str]) -> tuple[str, list[float]]:
    """
    Returns one unit for all channels, and by what the values of each channel are multiplied to be in it.

    Args:
        units (`list[str]`): As [`voltage_unit`] gives them. Where they are one, known to the feature extractor, it
            stays and nothing is changed; otherwise the unit is `"uV"`.
    """
    if len(set(units)) == 1 and units[0] in _UNITS:
        return _UNITS[units[0]], [1.0] * len(units)
    # 1 / 0.001 is exactly 1000, and 1 / 1000 the number closest to a thousandth.
    return "uV", [1.0 / _PER_UV[unit] for unit in units]


def standard_lead(text: str) -> str:
    """Returns the standard spelling of a lead, or the name as the file spells it where it is none of the twelve."""
    text = text.strip()
    try:
        return canonical_lead_name(text)
    except ValueError:
        return text


def age_in_years(birth: tuple[int, int, int] | None, recorded: tuple[int, int, int] | None) -> float | None:
    """Returns whole years between two dates (year, month, day), or `None` where one is missing or impossible."""
    if birth is None or recorded is None:
        return None
    try:
        born, taken = date(*birth), date(*recorded)
    except (ValueError, OverflowError):
        return None
    age = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return float(age) if 0 <= age <= MAX_AGE else None


def clean_texts(raw: bytes | memoryview, encoding: str = "latin-1") -> list[str]:
    """Returns the texts between NULs that are not empty, without control characters and without space around them."""
    texts = bytes(raw).decode(encoding, "replace").split("\x00")
    cleaned = (" ".join("".join(sign if sign.isprintable() else " " for sign in text).split()) for text in texts)
    return [text for text in cleaned if text]


def clean_text(raw: bytes | memoryview, encoding: str = "latin-1") -> str:
    """Returns the text before the first NUL, as [`clean_texts`] cleans it."""
    return "".join(clean_texts(bytes(raw).split(b"\x00", 1)[0] if encoding != "utf-16-le" else raw, encoding)[:1])


def make_metadata(kind: str, people: Iterable[str], places: Iterable[str] = (), **stated: Any) -> dict[str, Any]:
    """
    Returns what a file says besides its signal, without what it does not state and without what names the patient.

    Args:
        kind (`str`): Of the file, for `"format"`.
        people (`list[str]`): Names and ids of the patient and of who cares for them. A text of `stated` that holds
            one of their words is left out.
        places (`list[str]`): Names of institutions. A text that holds one of them as a whole is left out.
        stated: `device`, `measurements`, `statements`, `age_years`, `sex`, `filters` and the like.
    """
    words = [word for text in people for word in re.split(r"[\s^=,;/\\]+", text)] + list(places)
    secrets = sorted({word.casefold()[:100] for word in words[:MAX_SECRETS] if len(word) > 1})
    named = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, secrets))})(?!\w)") if secrets else None

    def allowed(value: Any) -> Any:
        if isinstance(value, str):
            text = shorten(value, MAX_TEXT_LENGTH)
            return None if named is not None and named.search(text.casefold()) else text
        if isinstance(value, dict):
            kept = {key: allowed(item) for key, item in value.items()}
            return {key: item for key, item in kept.items() if item not in (None, "", {}, [])}
        if isinstance(value, list):
            return [item for item in map(allowed, value[:MAX_STATEMENTS]) if item not in (None, "", {}, [])]
        return value

    return {"format": kind, **allowed(stated)}


__all__ = [
    "MAX_AGE",
    "SCP_LEADS",
    "age_in_years",
    "clean_text",
    "clean_texts",
    "common_unit",
    "cut",
    "make_metadata",
    "rate_of_interval",
    "read_whole",
    "standard_lead",
    "unpack",
    "voltage_unit",
]
