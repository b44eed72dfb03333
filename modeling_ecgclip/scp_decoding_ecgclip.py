"""Undoes the compression of SCP-ECG (EN 1064): Huffman codes, differences, thinned samples, subtracted beats."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .binary_ecgclip import unpack
from .limits_ecgclip import shorten


DEFAULT_TABLE = 19_999
MAX_TABLES = 8
MAX_CODES = 4_096  # of one table; the standard's has 19
MAX_PREFIX_BITS = 16
# Python takes some million codes a second. 12 leads of 160 s at 1000 Hz; resting ECGs have a tenth.
MAX_CODED_VALUES = 2_000_000
_CODE_BYTES = 9


class Code(NamedTuple):
    """One code of a Huffman table: `prefix` (its first bit is the highest), and what the stream holds behind it."""

    prefix: int
    prefix_bits: int
    total_bits: int
    switches: bool
    value: int


class Table:
    """A Huffman table; `code_at[window]` is the code that the next [`MAX_PREFIX_BITS`] bits begin with."""

    def __init__(self, codes: Sequence[Code], name: str) -> None:
        self.window_bits = max(code.prefix_bits for code in codes)
        self.code_at: list[Code | None] = [None] * (1 << self.window_bits)
        for code in codes:
            free = self.window_bits - code.prefix_bits
            first = code.prefix << free
            if any(self.code_at[first : first + (1 << free)]):
                raise ValueError(f"{name}: expected Huffman codes of which none begins another: found such a pair")
            self.code_at[first : first + (1 << free)] = [code] * (1 << free)


class Zone(NamedTuple):
    """Samples `first` to `last`, counted from 0 at a lead's own start, both within."""

    first: int
    last: int


class Beat(NamedTuple):
    """Where the reference beat was subtracted: samples as the file counts them, and its own `fiducial`."""

    first: int
    fiducial: int
    last: int


def default_table(name: str) -> Table:
    """Returns the table of the standard: a small number as so many ones, a zero, and its sign; 8 or 16 bits else."""
    codes = [Code(0, 1, 1, False, 0)]
    for size in range(1, 9):
        ones = (1 << size) - 1
        codes += [Code(ones << 2, size + 2, size + 2, False, size)]
        codes += [Code(ones << 2 | 1, size + 2, size + 2, False, -size)]
    codes += [Code(0b1111111110, 10, 18, False, 0), Code(0b1111111111, 10, 26, False, 0)]
    return Table(codes, name)


def read_tables(section: bytes | memoryview, name: str) -> list[Table] | None:
    """
    Returns the Huffman tables of section 2; `None` where samples are plain 16-bit numbers.

    Raises:
        `ValueError`: for tables that no stream could be read by.
    """
    (n_tables,) = unpack("<H", section, 0, name)
    if n_tables == DEFAULT_TABLE:
        return [default_table(name)]
    if n_tables == 0:
        return None
    if n_tables > MAX_TABLES:
        raise ValueError(f"{name}: expected at most {MAX_TABLES} Huffman tables: found {n_tables:,}")
    tables, at = [], 2
    for _ in range(n_tables):
        (n_codes,) = unpack("<H", section, at, name)
        if not 1 <= n_codes <= MAX_CODES:
            raise ValueError(f"{name}: expected 1 to {MAX_CODES:,} codes in a Huffman table: found {n_codes:,}")
        codes = [_code(section, at + 2 + i * _CODE_BYTES, name) for i in range(n_codes)]
        tables.append(Table(codes, name))
        at += 2 + n_codes * _CODE_BYTES
    return tables


def _code(section: bytes | memoryview, at: int, name: str) -> Code:
    prefix_bits, total_bits, mode, value, base = unpack("<BBBhI", section, at, name)
    if not 1 <= prefix_bits <= MAX_PREFIX_BITS or not 0 <= total_bits - prefix_bits <= 32 or mode > 1:
        raise ValueError(
            f"{name}: expected a Huffman code of 1 to {MAX_PREFIX_BITS} bits before at most 32 of a value: "
            f"found {prefix_bits} of {total_bits} bits, mode {mode}"
        )
    # The lowest bit of what the table states comes first in the stream.
    prefix = int(f"{base & ((1 << prefix_bits) - 1):0{prefix_bits}b}"[::-1], 2)
    return Code(prefix, prefix_bits, total_bits, mode == 0, value)


def decode(stored: bytes | memoryview, count: int, tables: list[Table] | None, name: str) -> np.ndarray:
    """
    Returns `count` numbers of one lead as int64.

    Raises:
        `ValueError`: where the stream ends before, or holds what is no code.
    """
    if tables is None:
        if len(stored) < 2 * count:
            raise ValueError(f"{name}: truncated: expected {count:,} samples: found {len(stored) // 2:,}")
        return np.frombuffer(stored, "<i2", count).astype(np.int64)
    # The 64 bits that begin at each byte: any code and its value lie within.
    padded = np.frombuffer(bytes(stored) + bytes(8), np.uint8).astype(np.uint64)
    words: np.ndarray = np.zeros(len(stored) + 1, np.uint64)
    for i in range(8):
        words = words << np.uint64(8) | padded[i : i + len(words)]
    ahead = words.tolist()
    values: list[int] = []
    at, end, table, n_switches = 0, 8 * len(stored), tables[0], 0
    while len(values) < count:
        if at >= end:
            raise ValueError(f"{name}: truncated: expected {count:,} samples: found {len(values):,}")
        bits = ahead[at >> 3] << (at & 7) & 0xFFFF_FFFF_FFFF_FFFF
        code = table.code_at[bits >> 64 - table.window_bits]
        if code is None:
            raise ValueError(f"{name}: expected a Huffman code at bit {at:,}: found none of the table")
        at += code.total_bits
        if code.switches:
            if not 1 <= code.value <= len(tables):
                raise ValueError(f"{name}: expected one of {len(tables)} Huffman tables: found number {code.value}")
            table = tables[code.value - 1]
            n_switches += 1
            if n_switches > 2 * count:
                raise ValueError(f"{name}: expected samples between changes of Huffman tables: found changes alone")
            continue
        extra = code.total_bits - code.prefix_bits
        value = code.value
        if extra:
            raw = bits >> 64 - code.total_bits & (1 << extra) - 1
            value += raw - (1 << extra) if raw >> extra - 1 else raw
        values.append(value)
    if at > end:
        raise ValueError(f"{name}: truncated: expected {count:,} samples: found {count - 1:,}")
    return np.array(values, np.int64)


def undo_differences(values: np.ndarray, order: int, name: str) -> np.ndarray:
    """Returns samples of first or second differences; both are those of 16-bit numbers, which wrap."""
    if order not in (0, 1, 2):
        raise ValueError(f"{name}: expected samples, first or second differences: found encoding {shorten(order)}")
    if order == 2 and len(values) > 2:
        steps = np.concatenate([values[1:2] - values[:1], values[2:]]).cumsum()
        values = np.concatenate([values[:1], steps]).cumsum()
    elif order == 1:
        values = values.cumsum()
    return values.astype(np.int16).astype(np.int64) if order else values


def stored_length(length: int, zones: Sequence[Zone], factor: int) -> int:
    """Returns how many numbers are stored of `length` samples that are thinned outside of the protected zones."""
    return sum(_split(last - first + 1, factor, kept)[1] for first, last, kept in _pieces(length, zones))


def undo_thinning(values: np.ndarray, length: int, zones: Sequence[Zone], factor: int) -> np.ndarray:
    """
    Returns `length` samples of those that were thinned outside of the protected zones.

    A stored number stands for `factor` samples and is where their second half begins. Between two of them lies a
    straight line, before the first and behind the last there is nothing to draw one to.

    Args:
        values (`np.ndarray`): As many as [`stored_length`] tells.
        length (`int`): Samples of the lead.
        zones (`list[Zone]`): Protected ones, in order.
        factor (`int`): How many samples one number stands for.
    """
    samples, at = np.empty(length), 0
    for first, last, kept in _pieces(length, zones):
        thinned, n_stored = _split(last - first + 1, factor, kept)
        stored = values[at : at + n_stored]
        at += n_stored
        n_thinned = thinned * factor
        if thinned:
            centres: np.ndarray = np.arange(thinned) * factor + factor // 2
            samples[first : first + n_thinned] = np.interp(np.arange(n_thinned), centres, stored[:thinned])
        samples[first + n_thinned : last + 1] = stored[thinned:]
    return samples


def _split(length: int, factor: int, kept: bool) -> tuple[int, int]:
    """Thinned numbers, and all that are stored: what does not fill one of them is stored as it is."""
    thinned = 0 if kept else length // factor
    return thinned, thinned + length - thinned * factor


def _pieces(length: int, zones: Sequence[Zone]) -> list[tuple[int, int, bool]]:
    """First and last sample of each piece between and in the protected zones, and whether it is one."""
    pieces, at = [], 0
    for zone in zones:
        if zone.first > at:
            pieces.append((at, zone.first - 1, False))
        pieces.append((zone.first, zone.last, True))
        at = zone.last + 1
    if at < length:
        pieces.append((at, length - 1, False))
    return pieces


def add_beats(lead: np.ndarray, start: int, reference: np.ndarray, fiducial: int, beats: Sequence[Beat]) -> None:
    """
    Adds the reference beat where it was subtracted.

    Args:
        lead (`np.ndarray`): Changed in place.
        start (`int`): The file's number of its first sample.
        reference (`np.ndarray`): The beat, in the same unit.
        fiducial (`int`): The number of its sample that lies on a beat's fiducial, from 1.
        beats (`list[Beat]`): Where.
    """
    for beat in beats:
        shift = beat.fiducial - fiducial + 1  # number of the sample on which the reference's first one lies
        first = max(beat.first, start, shift)
        last = min(beat.last, start + len(lead) - 1, shift + len(reference) - 1)
        if last >= first:
            lead[first - start : last - start + 1] += reference[first - shift : last - shift + 1]


__all__ = [
    "MAX_CODED_VALUES",
    "Beat",
    "Zone",
    "add_beats",
    "decode",
    "read_tables",
    "stored_length",
    "undo_differences",
    "undo_thinning",
]
