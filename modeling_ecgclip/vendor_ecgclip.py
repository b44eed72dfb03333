"""What the readers of recorders' XML share: leads into one record, and what the machine says, but not of whom.

Names, ids, dates, places and people stay in the file. What is free text, and could hold them, is looked through.
"""

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from .limits_ecgclip import (
    MAX_CHANNELS,
    MAX_TEXT_LENGTH,
    check_samples,
    check_sampling_rate,
    check_values,
    shorten,
)
from .record_ecgclip import EcgRecord


# How many microvolts make one of a unit, whose name is folded to lower case.
_MICROVOLTS = {"nv": Fraction(1, 1000), "uv": Fraction(1), "mv": Fraction(1000), "v": Fraction(1_000_000)}
_MICROVOLTS |= {"\u00b5v": _MICROVOLTS["uv"], "\u03bcv": _MICROVOLTS["uv"]}  # micro sign and Greek mu
_MICROVOLTS |= {"microvolt": Fraction(1), "microvolts": Fraction(1)}
_MICROVOLTS |= {"millivolt": Fraction(1000), "millivolts": Fraction(1000)}
_SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
_YEARS = {"a": Fraction(1), "mo": Fraction(1, 12), "wk": Fraction(7 * 4, 1461), "d": Fraction(4, 1461)}
_YEARS |= {"years": _YEARS["a"], "months": _YEARS["mo"], "weeks": _YEARS["wk"], "days": _YEARS["d"]}
MAX_AGE_YEARS = 120
MAX_STATEMENTS = 200  # lines; a recorder prints a dozen
MAX_PRIVATE_TEXTS = 2000
_MIN_PRIVATE_LENGTH = 3  # shorter ones ("X", "00") are in every sentence
_WORD = re.compile(r"[^\W_]+")
_ISO_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_DATE = re.compile(
    r"\b(?:\d{1,2}|\d{4})(?P<mark>[-/.])(?:\d{1,2}|[A-Za-z]{3,9})(?P=mark)(?:\d{4}|\d{1,2})\b"
    r"|\b(?:19|20)\d{6}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b"
)
# Lines that recorders and archives put between those on the heart: who confirmed, referred, operated.
_ON_PEOPLE = re.compile(
    r"\b(?:confirmed|reviewed|interpreted|over-?read|edited|ordered|referred|signed|verified|requested|performed|"
    r"acquired|electronically)\b.{0,40}\bby\b"
    r"|\b(?:referring|ordering|attending|reviewing|physician|technician|operator|cardiologist|doctor|patient|name|"
    r"mrn|id|dob|birth)\b[^:]{0,20}:|\b(?:Dr|M\.? ?D)\b\.?",
    re.IGNORECASE,
)


def build_record(
    leads: Sequence[tuple[str, np.ndarray]], sampling_rate: Fraction, metadata: Mapping[str, Any], name: str
) -> EcgRecord:
    """
    Returns a record of leads that were recorded at once.

    Args:
        leads (`list` of `tuple`): Name and samples, `np.ndarray` of shape `(samples,)` in microvolts, in the order of
            the file.
        sampling_rate (`Fraction`): Hz.
        metadata (`dict`): As of [`vendor_metadata`].
        name (`str`): What errors call the record.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)` in `"uV"`.

    Raises:
        `ValueError`: for no leads, leads of one name or of several lengths, and for what `limits_ecgclip` refuses.
    """
    names = [lead for lead, _ in leads]
    check_lead_count(len(leads), None, name)
    if len({lead.casefold() for lead in names}) < len(names):
        raise ValueError(f"{name}: expected each lead once: found {shorten(' '.join(names))}")
    lengths = {lead: len(samples) for lead, samples in leads}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name}: expected leads of one length: found {shorten(lengths, 300)}")
    shape = (len(leads), len(leads[0][1]))
    if not shape[1]:
        raise ValueError(f"{name}: expected samples: found none")
    check_values(shape, name)
    check_sampling_rate(float(sampling_rate), shape, name)
    signal = np.stack([samples for _, samples in leads]).astype(np.float64, copy=False)
    if not np.isfinite(signal).all():
        raise ValueError(f"{name}: expected finite samples: found one that is not")
    check_samples(signal, float(_MICROVOLTS["mv"]), name)
    return EcgRecord(signal, float(sampling_rate), tuple(names), "uV", name, metadata)


def check_lead_count(found: int, stated: Fraction | None, name: str) -> None:
    """
    Refuses no leads, more than any recorder has, and another number of leads than a file states.

    Raises:
        `ValueError`: naming the record.
    """
    if not 1 <= found <= MAX_CHANNELS:
        raise ValueError(f"{name}: expected 1 to {MAX_CHANNELS} leads: found {found}")
    if stated not in (None, found):
        raise ValueError(f"{name}: expected {stated} leads, as stated: found {found}")


def in_microvolts(number: Fraction, unit: str, name: str) -> Fraction:
    """
    Returns a voltage in microvolts, exactly.

    Raises:
        `ValueError`: for a unit that is no voltage, naming the record.
    """
    factor = _MICROVOLTS.get(unit.casefold())
    if factor is None:
        raise ValueError(f"{name}: expected a unit of voltage, such as uV or mV: found {shorten(repr(unit))}")
    return number * factor


def vendor_metadata(
    format_name: str,
    device: Mapping[str, str],
    measurements: Mapping[str, Fraction | None],
    statements: Sequence[str],
    private: Iterable[str],
    age_years: Fraction | None,
    sex: str,
    filters: Mapping[str, Fraction | None],
    name: str,
) -> dict[str, Any]:
    """
    Returns a record's metadata from what a file states, without what is about a person.

    Args:
        format_name (`str`): With its version, where it has several.
        device (`dict`), measurements (`dict`), filters (`dict`): Entries without a value are left out. Keys of numbers
            end in their unit: `_bpm`, `_ms`, `_deg`, `_hz`.
        statements (`list[str]`): Lines of the machine's interpretation.
        private (`list[str]`): Names, ids, dates, places and people of the file, of [`private_texts`].
        age_years (`Fraction`, *optional*), sex (`str`): As stated; what is implausible or unknown becomes `None`.
        name (`str`): What errors call the record.

    Returns:
        `dict` with `format`, `device`, `measurements`, `statements`, `age_years`, `sex`, `filters`. Dates and times in
        statements become `[date]`. Lines that name a person, or anything of `private`, are left out and counted in
        `statements_withheld`.

    Raises:
        `ValueError`: for more statements, or more about the person, than any ECG has.
    """
    secrets = {folded for folded in map(_folded, private) if len(folded.strip()) >= _MIN_PRIVATE_LENGTH}
    if len(statements) > MAX_STATEMENTS or len(secrets) > MAX_PRIVATE_TEXTS:
        raise ValueError(
            f"{name}: expected at most {MAX_STATEMENTS} statements, and {MAX_PRIVATE_TEXTS:,} texts on the patient: "
            f"found {len(statements)} and {len(secrets):,}"
        )

    def is_private(text: str) -> bool:
        folded = _folded(text)
        return any(secret in folded for secret in secrets)

    lines = [line for line in (" ".join(shorten(line, MAX_TEXT_LENGTH).split()) for line in statements) if line]
    device = {key: shorten(text) for key, text in device.items()}
    kept = [_DATE.sub("[date]", line) for line in lines if not is_private(line) and not _ON_PEOPLE.search(line)]
    metadata = {
        "format": format_name,
        "device": {key: text for key, text in device.items() if text and not is_private(text)},
        "measurements": _numbers(measurements),
        "statements": kept,
        "age_years": _plain(age_years) if age_years is not None and 0 <= age_years <= MAX_AGE_YEARS else None,
        "sex": _SEXES.get(sex.casefold()),
        "filters": _numbers(filters),
    }
    if len(kept) < len(lines):
        metadata["statements_withheld"] = len(lines) - len(kept)
    return metadata


def private_texts(names: Iterable[Element | None], others: Iterable[Element | None] = ()) -> list[str]:
    """
    Returns the texts and attributes of elements and of all that is in them.

    Args:
        names (`list[Element]`): Elements with names of people: each word of them counts.
        others (`list[Element]`, *optional*): Elements with ids, dates, places: what they hold counts as a whole.
    """
    texts = set()
    for nodes, in_words in ((names, True), (others, False)):
        waiting = [node for node in nodes if node is not None]
        seen: set[Element] = set()  # one may lie in another
        while waiting:
            element = waiting.pop()
            if element in seen:
                continue
            seen.add(element)
            waiting.extend(element)
            for text in (element.text or "", *element.attrib.values()):
                texts |= {text, *(words_of(text) if in_words else ())}
    return sorted(texts)


def years_of(number: Fraction | None, unit: str) -> Fraction | None:
    """Returns an age in years; `None` for a unit that is none of time."""
    factor = _YEARS.get(unit.casefold())
    return None if number is None or factor is None else number * factor


def years_between(birth: str, recording: str) -> Fraction | None:
    """Returns the whole years between two dates, `YYYY-MM-DD` or `YYYYMMDD...`; `None` where one is none."""
    days = []
    for text in (birth, recording):
        match = _ISO_DATE.match(text)
        try:
            days.append(datetime.date(*map(int, match.groups())) if match else None)
        except ValueError:
            days.append(None)
    born, seen = days
    if born is None or seen is None:
        return None
    return Fraction(seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)))


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case, without the signs between them."""
    return _WORD.findall(text[:MAX_TEXT_LENGTH].casefold())


def _folded(text: str) -> str:
    """The words of a text in lower case with a blank around each, so that whole words are found in it."""
    return f" {' '.join(words_of(text))} "


def _numbers(stated: Mapping[str, Fraction | None]) -> dict[str, int | float]:
    return {key: _plain(number) for key, number in stated.items() if number is not None}


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


__all__ = [
    "MAX_AGE_YEARS",
    "MAX_PRIVATE_TEXTS",
    "MAX_STATEMENTS",
    "build_record",
    "check_lead_count",
    "in_microvolts",
    "private_texts",
    "vendor_metadata",
    "words_of",
    "years_between",
    "years_of",
]
