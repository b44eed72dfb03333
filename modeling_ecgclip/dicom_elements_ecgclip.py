"""The data elements of a DICOM file, as far as a waveform needs them (PS3.5 and PS3.10).

Own reader: pydicom (MIT, well kept; the tests compare with it) inflates a deflated file whatever its size, parses as
many elements and items as a file holds, and prints values of patients in its warnings.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

from .binary_ecgclip import clean_text, cut, read_whole, unpack
from .limits_ecgclip import MAX_UNPACKED_BYTES, shorten, spend_steps, spend_unpacked


Dataset = dict[int, "bytes | memoryview | list[Dataset]"]

MAX_ELEMENTS = 200_000  # in all; an ECG with a page of measurements has 4,000
MAX_DEPTH = 12
_STEPS_PER_ELEMENT = 5
_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
_META_GROUP = 0x0002
_TRANSFER_SYNTAX = 0x0002_0010
_IMPLICIT, _EXPLICIT, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
_UNDEFINED = 0xFFFF_FFFF
# Value representations whose length has four bytes.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


class _Syntax(NamedTuple):
    """How a data set is read: whether representations are written out, and which elements are sequences."""

    explicit: bool
    sequences: frozenset[int]


class _Walk:
    """A place in the bytes of a data set; every element that is passed counts against [`MAX_ELEMENTS`]."""

    def __init__(self, data: bytes | memoryview, name: str) -> None:
        self.data, self.name = memoryview(data), name
        self.left = MAX_ELEMENTS

    def header(self, at: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, representation (empty where it is not written out), length, and where the value begins."""
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"{self.name}: expected at most {MAX_ELEMENTS:,} elements: found more")
        spend_steps(_STEPS_PER_ELEMENT, self.name)
        group, element = unpack("<HH", self.data, at, self.name)
        tag = group << 16 | element
        if not explicit or group == 0xFFFE:
            return tag, b"", unpack("<I", self.data, at + 4, self.name)[0], at + 8
        kind = bytes(self.data[at + 4 : at + 6])
        if kind in _LONG:
            return tag, kind, unpack("<I", self.data, at + 8, self.name)[0], at + 12
        if not (kind.isalpha() and kind.isupper()):
            raise ValueError(f"{self.name}: damaged: expected an element at byte {at:,}: found {tag:#010x} {kind!r}")
        return tag, kind, unpack("<H", self.data, at + 6, self.name)[0], at + 8

    def dataset(self, at: int, end: int | None, syntax: _Syntax, depth: int = 0) -> tuple[Dataset, int]:
        """The elements up to `end`, or up to the end of an item that states no length, and where that is."""
        if depth > MAX_DEPTH:
            raise ValueError(f"{self.name}: expected sequences of at most {MAX_DEPTH} levels: found more")
        values: Dataset = {}
        limit = len(self.data) if end is None else end
        while at < limit:
            tag, kind, length, start = self.header(at, syntax.explicit)
            if tag == _ITEM_END and end is None:
                return values, start
            is_sequence = kind == b"SQ" or tag in syntax.sequences or (length == _UNDEFINED and kind in (b"", b"UN"))
            # An unknown representation hides an implicit one.
            inner = syntax._replace(explicit=syntax.explicit and kind != b"UN")
            if length == _UNDEFINED:
                if not is_sequence:
                    raise ValueError(f"{self.name}: expected values as they are: found compressed ones ({tag:#010x})")
                values[tag], at = self.items(start, None, inner, depth)
                continue
            value = cut(self.data[:limit], start, length, self.name, f"element {tag:#010x}")
            at = start + length
            # What nobody asks for is not looked into.
            wanted = is_sequence and tag in syntax.sequences
            values[tag] = self.items(start, at, inner, depth)[0] if wanted else value
        if end is None and depth:
            raise ValueError(f"{self.name}: truncated: expected the end of an item: found the end of the file")
        return values, at

    def items(self, at: int, end: int | None, syntax: _Syntax, depth: int) -> tuple[list[Dataset], int]:
        """The items of a sequence up to `end`, or up to its mark where it states no length."""
        found: list[Dataset] = []
        limit = len(self.data) if end is None else end
        while at < limit:
            tag, _, length, start = self.header(at, explicit=False)
            if tag == _SEQUENCE_END and end is None:
                return found, start
            if tag != _ITEM:
                raise ValueError(f"{self.name}: damaged: expected an item at byte {at:,}: found {tag:#010x}")
            stop = None if length == _UNDEFINED else start + length
            if stop is not None and stop > limit:
                raise ValueError(f"{self.name}: truncated: expected an item of {length:,} bytes at byte {start:,}")
            item, at = self.dataset(start, stop, syntax, depth + 1)
            found.append(item)
        if end is None:
            raise ValueError(f"{self.name}: truncated: expected the end of a sequence: found the end of the file")
        return found, at


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (132 bytes suffice) is a DICOM file."""
    return head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == _MAGIC


def read_elements(path: Path, sequences: frozenset[int]) -> Dataset:
    """
    Returns the data set of a DICOM file: the bytes of each element by its tag (group in the upper 16 bits).

    Args:
        path (`Path`): The file.
        sequences (`frozenset[int]`): Which elements are looked into; each is a list of data sets.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the file, also where it is damaged, or compressed other than by
            deflation.
    """
    name = str(path)
    data = memoryview(read_whole(path))
    if not is_dicom(bytes(data[: _PREAMBLE_BYTES + 4])):
        raise ValueError(
            f"{name}: not a DICOM file: expected {_MAGIC!r} at byte {_PREAMBLE_BYTES}: found something else"
        )
    at = start = _PREAMBLE_BYTES + 4
    walk = _Walk(data, name)
    uid = ""
    while at + 8 <= len(data) and unpack("<H", data, at, name)[0] == _META_GROUP:
        tag, _, length, value_at = walk.header(at, explicit=True)
        value = cut(data, value_at, length, name, f"element {tag:#010x}")
        uid = clean_text(value[:64]) if tag == _TRANSFER_SYNTAX else uid
        at = value_at + length
    if at == start or uid not in (_IMPLICIT, _EXPLICIT, _DEFLATED):
        raise ValueError(
            f"{name}: expected values in little-endian order, as they are or deflated: found the transfer syntax "
            f"{shorten(uid) or 'of none'}"
        )
    if uid == _DEFLATED:
        return _Walk(_inflate(data[at:], name), name).dataset(0, None, _Syntax(True, sequences))[0]
    return walk.dataset(at, None, _Syntax(uid == _EXPLICIT, sequences))[0]


def _inflate(stored: memoryview, name: str) -> bytes:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(stored, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"{name}: the deflated part is damaged: {error}") from error
    spend_unpacked(len(data), name)
    if not unpacker.eof:
        raise ValueError(f"{name}: truncated: expected the end of the deflated part: found the end of the file")
    return data


__all__ = ["Dataset", "is_dicom", "read_elements"]
