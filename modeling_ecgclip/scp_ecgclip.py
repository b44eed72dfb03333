"""Reads the rhythm of an SCP-ECG file (EN 1064, ISO 11073-91064), never its reference beat.

Own reader: the libraries that read it are GPL (biosig) or leave out thinned samples and bounds of size (ecgdatakit).
"""

import binascii
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .binary_ecgclip import (
    SCP_LEADS,
    age_in_years,
    clean_text,
    clean_texts,
    cut,
    make_metadata,
    rate_of_interval,
    read_whole,
    unpack,
)
from .limits_ecgclip import MAX_CHANNELS, check_values, spend_steps, spend_unpacked
from .record_ecgclip import EcgRecord
from .scp_decoding_ecgclip import (
    MAX_CODED_VALUES,
    Beat,
    Zone,
    add_beats,
    decode,
    read_tables,
    stored_length,
    undo_differences,
    undo_thinning,
)


MAX_SCP_BYTES = 32_000_000
MAX_BEATS = 1_000
_HEADER_BYTES = 16
_UNSTATED = (0, 9_999, 19_999, 29_999)  # of a measurement: not made, not found, rejected
_NO_CHECKSUM = (0, 0xFFFF)
_AGE_UNITS = {1: Fraction(1), 2: Fraction(1, 12), 3: Fraction(28, 1461), 4: Fraction(4, 1461), 5: Fraction(1, 8766)}
# Text of a file whose language code (tag 14) says so; Latin-1 otherwise.
_ENCODINGS = {0x03: "iso8859_2", 0x0B: "iso8859_4", 0x13: "iso8859_5", 0x1B: "iso8859_6", 0x23: "iso8859_7"}
_ENCODINGS |= {0x2B: "iso8859_8", 0x33: "iso8859_11", 0x3B: "iso8859_15", 0x07: "utf-16-le", 0x0F: "shift_jis"}
_ENCODINGS |= {0x17: "euc_jp", 0x1F: "euc_jp", 0x27: "gb2312", 0x2F: "cp949", 0x37: "utf-8"}
# Tags of section 1 that name a patient or who cares for them, and where.
_PEOPLE_TAGS = (0, 1, 2, 3, 20, 21, 22)
_PLACE_TAGS = (16, 17, 18, 19, 23)


class _Lead(NamedTuple):
    """Section 3: numbers of a lead's first and last sample, and its code."""

    first: int
    last: int
    code: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class _Rhythm(NamedTuple):
    """What section 5 or 6 holds: nV of one step, interval in us, order of differences, thinned or not, each lead."""

    nanovolts: int
    interval: int
    differences: int
    thinned: bool
    stored: list[bytes | memoryview]


class _Compression(NamedTuple):
    """Section 4: length in ms and fiducial of the reference beat, where it was subtracted, and protected zones."""

    length_ms: int
    fiducial: int
    beats: list[Beat]
    zones: list[tuple[int, int]]


def is_scp(head: bytes) -> bool:
    """Whether a file that begins with `head` (32 bytes suffice) is an SCP-ECG file."""
    if len(head) < 32:
        return False
    _, _, _, section, size, *_ = unpack("<HIHHI", head, 0, "head")
    pointed, _, index = unpack("<HII", head, 22, "head")
    return section == 0 and size >= 26 and (size - _HEADER_BYTES) % 10 == 0 and pointed == 0 and index == 7


def read_scp(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm of an SCP-ECG file (section 6) in microvolts.

    Checksums are verified. Huffman codes, differences, thinned samples and subtraction of the reference beat are
    undone.
    Leads that begin or end at another time than others are NaN where they have no sample.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged file, or one without rhythm.
    """
    name = str(path)
    data = memoryview(read_whole(path, MAX_SCP_BYTES))
    if not is_scp(bytes(data[:32])):
        raise ValueError(f"{name}: not an SCP-ECG file: expected its sections' pointers first: found something else")
    sections = _sections(data, name)
    for number, what in ((3, "leads"), (6, "rhythm")):
        if number not in sections:
            long_term = " (only the long-term rhythm of version 3)" if 12 in sections else ""
            raise ValueError(f"{name}: expected section {number}, the {what}: found none{long_term}")
    leads, subtracted = _leads(sections[3], name)
    signals, rate = _decode(sections, leads, subtracted, name)
    start = min(lead.first for lead in leads)
    shape = (len(leads), max(lead.last for lead in leads) - start + 1)
    check_values(shape, name)
    spend_unpacked(8 * shape[0] * shape[1], name)  # also of leads that begin or end apart
    signal = np.full(shape, np.nan)
    for row, lead, values in zip(signal, leads, signals, strict=True):
        row[lead.first - start : lead.last - start + 1] = values / 1000  # nV
    names = tuple(SCP_LEADS.get(lead.code, f"SCP lead {lead.code}" if lead.code else "") for lead in leads)
    return EcgRecord(signal, rate, names if any(names) else None, "uV", name, _metadata(sections, name))


def _sections(data: memoryview, name: str) -> dict[int, memoryview]:
    """Content of each section that is not empty, behind its header; checksums are verified."""
    checksum, size = unpack("<HI", data, 0, name)
    if size != len(data):
        raise ValueError(f"{name}: truncated, or too long: expected {size:,} bytes: found {len(data):,}")
    _verify(data, checksum, name)
    pointers = cut(data, 6, unpack("<I", data, 10, name)[0], name, "the pointers")
    sections: dict[int, memoryview] = {}
    for at in range(_HEADER_BYTES, len(pointers) - 9, 10):
        number, size, index = unpack("<HII", pointers, at, name)
        if size <= _HEADER_BYTES or number == 0:
            continue
        what = f"{name}, section {number}"
        section = memoryview(cut(data, index - 1, size, name, f"section {number}"))
        checksum, found, stated = unpack("<HHI", section, 0, what)
        if found != number or stated != size or number in sections:
            raise ValueError(f"{what}: expected one section of {size:,} bytes: found number {found}, {stated:,} bytes")
        _verify(section, checksum, what)
        sections[number] = section[_HEADER_BYTES:]
    return sections


def _verify(data: memoryview, checksum: int, name: str) -> None:
    found = binascii.crc_hqx(data[2:], 0xFFFF)
    if checksum not in (found, *_NO_CHECKSUM):
        raise ValueError(f"{name}: damaged: expected the checksum {checksum:#06x}: found {found:#06x}")


def _leads(section: memoryview, name: str) -> tuple[list[_Lead], bool]:
    """Leads, and whether the reference beat was subtracted from them."""
    n_leads, flags = unpack("<BB", section, 0, name)
    if not 1 <= n_leads <= MAX_CHANNELS:
        raise ValueError(f"{name}: expected 1 to {MAX_CHANNELS} leads: found {n_leads}")
    leads = [_Lead(*unpack("<IIB", section, 2 + 9 * i, name)) for i in range(n_leads)]
    for lead in leads:
        if lead.last < lead.first:
            raise ValueError(f"{name}: expected samples of every lead: found {lead.first:,} to {lead.last:,}")
    check_values((sum(lead.length for lead in leads),), name)
    return leads, bool(flags & 1)


def _rhythm(section: memoryview, n_leads: int, name: str) -> _Rhythm:
    nanovolts, interval, differences, thinned = unpack("<HHBB", section, 0, name)
    if nanovolts == 0 or interval == 0:
        raise ValueError(f"{name}: expected a resolution and an interval: found {nanovolts} nV and {interval} us")
    sizes = unpack(f"<{n_leads}H", section, 6, name)
    stored, at = [], 6 + 2 * n_leads
    for size in sizes:
        stored.append(cut(section, at, size, name, "a lead"))
        at += size
    return _Rhythm(nanovolts, interval, differences, thinned == 1, stored)


def _decode(
    sections: dict[int, memoryview], leads: list[_Lead], subtracted: bool, name: str
) -> tuple[list[np.ndarray], float]:
    """Nanovolts of each lead, and the rate in Hz."""
    tables = read_tables(sections[2], f"{name}, section 2") if 2 in sections else None
    rhythm = _rhythm(sections[6], len(leads), f"{name}, section 6")
    factor, interval, beat, compression = 1, rhythm.interval, None, None
    if rhythm.thinned or subtracted:
        if 4 not in sections or 5 not in sections:
            raise ValueError(f"{name}: expected sections 4 and 5, by which the rhythm is compressed: found no such")
        beat = _rhythm(sections[5], len(leads), f"{name}, section 5")
        compression = _compression(sections[4], f"{name}, section 4")
        interval, factor = beat.interval, rhythm.interval // beat.interval
        if rhythm.interval % beat.interval or not (2 <= factor <= 4 if rhythm.thinned else factor == 1):
            raise ValueError(
                f"{name}: expected an interval of the rhythm {'2 to 4 times' if rhythm.thinned else 'of'} that of the "
                f"reference beat: found {rhythm.interval} and {beat.interval} us"
            )
    zones = [_zones(lead, compression.zones if compression and rhythm.thinned else [], name) for lead in leads]
    counts = [stored_length(lead.length, kept, factor) for lead, kept in zip(leads, zones, strict=True)]
    n_beat = round(1000 * compression.length_ms / beat.interval) if subtracted and beat and compression else 0
    n_coded = sum(counts) + n_beat * len(leads)
    if tables is not None and n_coded > MAX_CODED_VALUES:
        raise ValueError(f"{name}: expected at most {MAX_CODED_VALUES:,} coded samples: found {n_coded:,}")
    spend_steps(n_coded if tables is not None else 0, name)
    check_values((n_beat, len(compression.beats) if compression else 0), name)
    signals = []
    for i, (lead, kept, count) in enumerate(zip(leads, zones, counts, strict=True)):
        what = f"{name}, lead {i + 1}"
        values = undo_differences(decode(rhythm.stored[i], count, tables, what), rhythm.differences, what)
        signal: np.ndarray = undo_thinning(values, lead.length, kept, factor) * rhythm.nanovolts
        if subtracted and beat is not None and compression is not None:
            reference = decode(beat.stored[i], n_beat, tables, f"{what}, reference beat")
            reference = undo_differences(reference, beat.differences, what) * beat.nanovolts
            add_beats(signal, lead.first, reference, compression.fiducial, compression.beats)
        signals.append(signal)
    return signals, rate_of_interval(interval)


def _compression(section: memoryview, name: str) -> _Compression:
    length_ms, fiducial, n_beats = unpack("<HHH", section, 0, name)
    if n_beats > MAX_BEATS:
        raise ValueError(f"{name}: expected at most {MAX_BEATS:,} beats: found {n_beats:,}")
    rows = [unpack("<HIII", section, 6 + 14 * i, name) for i in range(n_beats)]
    at = 6 + 14 * n_beats
    # Zones are there where samples were thinned.
    zones = (
        [unpack("<II", section, at + 8 * i, name) for i in range(n_beats)] if len(section) >= at + 8 * n_beats else []
    )
    beats = [Beat(first, middle, last) for kind, first, middle, last in rows if kind == 0]
    return _Compression(length_ms, fiducial, beats, [(first, last) for first, last in zones if last >= first > 0])


def _zones(lead: _Lead, zones: list[tuple[int, int]], name: str) -> list[Zone]:
    """The protected zones within a lead, from its own start."""
    within, end = [], -1
    for first, last in zones:
        zone = Zone(max(first, lead.first) - lead.first, min(last, lead.last) - lead.first)
        if zone.last < zone.first:
            continue
        if zone.first <= end:
            raise ValueError(f"{name}: expected protected zones one behind the other: found {first:,} to {last:,}")
        within.append(zone)
        end = zone.last
    return within


def _tags(section: memoryview, name: str) -> dict[int, bytes]:
    """The fields of section 1; of one that comes more than once, the first."""
    tags: dict[int, bytes] = {}
    at = 0
    while at + 3 <= len(section):
        tag, size = unpack("<BH", section, at, name)
        if tag == 255:
            break
        tags.setdefault(tag, bytes(cut(section, at + 3, size, name, f"tag {tag}")))
        at += 3 + size
    return tags


def _metadata(sections: dict[int, memoryview], name: str) -> dict[str, Any]:
    tags = _tags(sections[1], f"{name}, section 1") if 1 in sections else {}
    device = tags.get(14, b"")
    encoding = _ENCODINGS.get(device[16], "latin-1") if len(device) > 16 else "latin-1"
    # Behind its length: program, serial number, system software, SCP software, manufacturer.
    texts = [clean_text(text) for text in device[36:].split(b"\0")]
    people, places = (
        [clean_text(tags[tag], encoding) for tag in chosen if tag in tags] for chosen in (_PEOPLE_TAGS, _PLACE_TAGS)
    )
    return make_metadata(
        "SCP-ECG",
        name,
        people,
        places,
        device={"manufacturer": texts[4] if len(texts) > 4 else "", "model": clean_text(device[8:14])},
        measurements=_measurements(sections[7], f"{name}, section 7") if 7 in sections else {},
        statements=[
            text
            for number in (8, 11)
            if number in sections
            for text in _statements(sections[number], number, encoding)
        ],
        age_years=_age(tags),
        sex={b"\1": "male", b"\2": "female"}.get(tags.get(8, b"")[:1], ""),
        filters=_filters(tags),
    )


def _age(tags: dict[int, bytes]) -> Fraction | None:
    """As stated, or from the dates of birth and of the recording."""
    stated = tags.get(4, b"")
    if len(stated) >= 3 and stated[2] in _AGE_UNITS and any(stated[:2]):
        return Fraction(int(int.from_bytes(stated[:2], "little") * _AGE_UNITS[stated[2]]))
    dates = [tags.get(tag, b"") for tag in (5, 25)]
    if min(map(len, dates)) < 4:
        return None
    birth, recorded = ((int.from_bytes(raw[:2], "little"), raw[2], raw[3]) for raw in dates)
    return age_in_years(birth, recorded)


def _filters(tags: dict[int, bytes]) -> dict[str, float]:
    highpass, lowpass = (int.from_bytes(tags.get(tag, b"")[:2], "little") for tag in (27, 28))
    bits = (tags.get(29) or b"\0")[0]
    notch = 60.0 if bits & 1 else 50.0 if bits & 2 else 0.0
    stated = {"highpass_hz": highpass / 100, "lowpass_hz": float(lowpass), "notch_hz": notch}
    return {key: hertz for key, hertz in stated.items() if hertz}


def _measurements(section: memoryview, name: str) -> dict[str, float]:
    """Intervals and axes of the reference beat (the first block of section 7), and rates."""
    n_blocks, n_spikes, rr, pp = unpack("<BBHH", section, 0, name)
    found: dict[str, float] = {"rr_interval_ms": rr, "pp_interval_ms": pp}
    if n_blocks:
        p_on, p_off, qrs_on, qrs_off, t_off, *axes = unpack("<5H3h", section, 6, name)
        ends = {"p_duration": (p_on, p_off), "pr_interval": (p_on, qrs_on), "qrs_duration": (qrs_on, qrs_off)}
        ends["qt_interval"] = (qrs_on, t_off)
        for key, (first, last) in ends.items():
            if first not in _UNSTATED[1:] and last not in _UNSTATED and last > first:
                found[f"{key}_ms"] = last - first
        found |= {
            f"{key}_axis_deg": axis for key, axis in zip(("p", "qrs", "t"), axes, strict=True) if -181 < axis < 361
        }
    at = 6 + 16 * n_blocks + 10 * n_spikes
    if at + 2 <= len(section):
        at += 2 + unpack("<H", section, at, name)[0]
    if at + 6 <= len(section):
        rate, atrial, qtc = unpack("<HHH", section, at, name)
        found |= {"heart_rate_bpm": rate, "atrial_rate_bpm": atrial, "qtc_interval_ms": qtc}
    return {
        key: float(value) for key, value in found.items() if key.endswith("deg") or value not in (*_UNSTATED, 0xFFFF)
    }


def _statements(section: memoryview, number: int, encoding: str) -> list[str]:
    """Text of section 8, or of section 11, where a byte before it says of which kind it is."""
    data, texts = bytes(section), []
    at = 9
    for _ in range(data[8] if len(data) > 8 else 0):
        size = int.from_bytes(data[at + 1 : at + 3], "little")
        content = data[at + 3 + (number == 11) : at + 3 + size]
        at += 3 + size
        texts += clean_texts(content, encoding)
    return texts


__all__ = ["is_scp", "read_scp"]
