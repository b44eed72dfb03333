"""What the readers of recorders' binary files share: fields within bounds, rates, units, leads, and metadata."""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from .leads_ecgclip import LEFT_OUT, known_unit, parse_lead_name
from .limits_ecgclip import MAX_FILE_BYTES, MAX_TEXT_LENGTH, check_file, shorten
from .vendor_ecgclip import MAX_STATEMENTS, in_microvolts, vendor_metadata, words_of, years_between


# Units of voltage that these files use; both signs for micro read as "u".
_VOLTS = ("nv", "uv", "mv", "v")
# Codes of leads in SCP-ECG (EN 1064, section 3), which DICOM (as 5.6.3-9-N), ISO 11073-10101 and MFER took over.
SCP_LEADS = {1: "I", 2: "II", **{n: f"V{n - 2}" for n in range(3, 10)}, **{n: f"V{n - 8}R" for n in range(10, 16)}}
SCP_LEADS |= {16: "X", 17: "Y", 18: "Z", 19: "CC5", 20: "CM5", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", 65: "-aVR"}
SCP_LEADS |= {66: "V8", 67: "V9", 68: "V8R", 69: "V9R", 70: "D", 71: "A", 72: "J"}


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
    return folded if folded in _VOLTS else None


def common_unit(units: Sequence[str]) -> tuple[str, list[float]]:
    """
    Returns one unit for all channels, and by what the values of each channel are multiplied to be in it.

    Args:
        units (`list[str]`): As [`voltage_unit`] gives them. Where they are one, known to the feature extractor, it
            stays and nothing is changed; otherwise the unit is `"uV"`.
    """
    unit = known_unit(units[0]) if len(set(units)) == 1 else None
    if unit is not None:
        return unit, [1.0] * len(units)
    return "uV", [float(in_microvolts(Fraction(1), one, "a channel")) for one in units]


def standard_lead(text: str) -> str:
    """Returns the standard spelling of a lead, or the name as the file spells it where it is none of the twelve."""
    text = text.strip()
    parsed = parse_lead_name(text)
    return parsed[0] if parsed is not None and parsed[1] > 0 else text


def age_in_years(birth: tuple[int, int, int] | None, recorded: tuple[int, int, int] | None) -> Fraction | None:
    """Returns whole years between two dates (year, month, day), or `None` where one is missing or impossible."""
    if birth is None or recorded is None:
        return None
    return years_between(*(f"{year:04d}-{month:02d}-{day:02d}" for year, month, day in (birth, recorded)))


def clean_texts(raw: bytes | memoryview, encoding: str = "latin-1") -> list[str]:
    """Returns the texts between NULs that are not empty, without control characters and without space around them."""
    texts = bytes(raw).decode(encoding, "replace").split("\x00")
    cleaned = (" ".join("".join(sign if sign.isprintable() else " " for sign in text).split()) for text in texts)
    return [text for text in cleaned if text]


def clean_text(raw: bytes | memoryview, encoding: str = "latin-1") -> str:
    """Returns the text before the first NUL, as [`clean_texts`] cleans it."""
    return "".join(clean_texts(bytes(raw).split(b"\x00", 1)[0] if encoding != "utf-16-le" else raw, encoding)[:1])


def make_metadata(
    kind: str,
    name: str,
    people: Iterable[str] = (),
    places: Iterable[str] = (),
    left_out: Sequence[str] = (),
    device: Mapping[str, str] | None = None,
    measurements: Mapping[str, float] | None = None,
    statements: Sequence[str] = (),
    filters: Mapping[str, float] | None = None,
    age_years: Fraction | None = None,
    sex: str = "",
) -> dict[str, Any]:
    """
    Returns the metadata of a record, as [`vendor_metadata`] does, with `channels_left_out` where there are such.

    Args:
        kind (`str`): Of the file.
        name (`str`): What errors call it.
        people (`list[str]`): Names and ids of the patient and of who cares for them: each word of them counts.
        places (`list[str]`): Names of institutions and the like, which count as a whole.
        left_out (`list[str]`): Channels that the file has and the record has not.
        device, measurements, statements, filters, age_years, sex: What the file states; more statements than any ECG
            has are cut off.
    """
    private = {text[:MAX_TEXT_LENGTH] for text in (*people, *places)}
    private |= {part for text in people for part in re.split(r"[\s^=,;/\\]+", text[:MAX_TEXT_LENGTH])}
    # Half of a double name is a name; a number within an id may be a heart rate.
    private |= {word for text in people for word in words_of(text) if not word.isdigit()}
    metadata = vendor_metadata(
        kind,
        device or {},
        {key: Fraction(value) for key, value in (measurements or {}).items()},
        statements[:MAX_STATEMENTS],
        private,
        age_years,
        sex,
        {key: Fraction(value) for key, value in (filters or {}).items()},
        name,
    )
    return metadata | ({LEFT_OUT: [shorten(label) for label in left_out]} if left_out else {})


__all__ = [
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
