"""Reads the ECG of a MATLAB file: version 4, as WFDB and the CinC challenges write it, and version 5 to 7.

Own reader of nothing but numbers and text: `scipy.io.loadmat` inflates whatever is there, and builds the objects,
cells and functions that a file may hold.
"""

import math
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .binary_ecgclip import clean_text, cut, make_metadata, read_whole, unpack
from .limits_ecgclip import MAX_CHANNELS, MAX_VALUES, check_values, shorten, spend_steps, spend_unpacked
from .record_ecgclip import EcgRecord


# Names of the matrix that is the signal; `ECG` may be a structure with the field `data`, as in CinC 2018.
SIGNAL_NAMES = ("val", "ecg", "ECG", "signal")
# Fewer names than `keys_ecgclip` knows: other variables are passed over here, and one called `rate` is a heart's.
RATE_NAMES = ("sampling_rate", "sample_rate", "sampling_frequency", "fs", "Fs", "sfreq")
UNIT_NAMES = ("unit", "units")
LEAD_LISTS = ("lead_names", "leads", "channels", "sig_name")
MAX_VARIABLES = 1_000
MAX_DEPTH = 4
_NAME_BYTES = 4_096  # of a compressed variable are inflated to see its name
_SIGNAL_BYTES = 8 * MAX_VALUES + 65_536  # of a compressed signal, and of any other variable, are inflated at most
_VARIABLE_BYTES = 65_536
_STEPS_PER_ELEMENT = 10
_HEADER_BYTES = 128
# dtypes of version 4 by the third digit of its type, and of version 5 by the type of an element.
_V4_DTYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_V5_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXT_TYPES = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_MATRIX, _COMPRESSED = 14, 15
# Classes of arrays: 6 to 15 are numbers.
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)
_COMPLEX = 0x800


class _Element(NamedTuple):
    """One tagged piece of a version 5 file, and where the next one begins."""

    kind: int
    data: bytes | memoryview
    end: int


def is_matlab(head: bytes) -> bool:
    """Whether a file that begins with `head` (128 bytes suffice) is a MATLAB file; version 4 has no signature."""
    if head[:6] == b"MATLAB":
        return head[126:128] in (b"IM", b"MI")
    if len(head) < 21:
        return False
    order = _v4_order(head)
    if order is None:
        return False
    _, rows, columns, _, name_bytes = unpack(f"{order}5i", head, 0, "head")
    text = head[20 : 20 + max(0, name_bytes) - 1]
    return rows >= 0 and columns >= 0 and 1 < name_bytes < 64 and text.isascii() and text[:1].isalpha()


def read_matlab(path: str | Path) -> EcgRecord:
    """
    Returns the matrix `val` (or `ECG.data`, `ECG`, `ecg`, `signal`) of a MATLAB file.

    Such a file of the CinC challenges states neither rate nor unit nor leads: its WFDB header does. Variables such as
    `fs`, `units` and `leads` are read where there are any.

    Returns:
        [`EcgRecord`] with `signal` of the file's dtype, `(leads, samples)` or `(samples, leads)` as it is there.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged file, one without such a matrix, or version 7.3, which is HDF5.
    """
    name = str(path)
    data = memoryview(read_whole(path))
    if not is_matlab(bytes(data[:_HEADER_BYTES])):
        raise ValueError(f"{name}: not a MATLAB file of version 4 to 7: found {shorten(repr(bytes(data[:8])))}")
    wanted = {*SIGNAL_NAMES, *RATE_NAMES, *UNIT_NAMES, *LEAD_LISTS}
    read = _read_v5 if bytes(data[:6]) == b"MATLAB" else _read_v4
    values, others = read(data, wanted, name)
    keys = [key for key in SIGNAL_NAMES if key in values]
    if not keys:
        found = shorten(", ".join([*values, *others]), 300) or "nothing"
        raise ValueError(f"{name}: expected one matrix named {', '.join(SIGNAL_NAMES)}: found {found}")
    signal, about = values[keys[0]], {}
    if isinstance(signal, dict):
        about, signal = signal, signal.get("data")
    if not isinstance(signal, np.ndarray) or signal.ndim != 2 or signal.size == 0:
        raise ValueError(f"{name}: expected {keys[0]} as a matrix of numbers with two axes: found another kind")
    check_values(signal.shape, name)
    signal = signal.astype(signal.dtype.newbyteorder("="))  # of its own, and in the order of this machine
    metadata = make_metadata("MATLAB", name, sex=_sex(about.get("sex")), age_years=_age(about.get("age")))
    rate = _scalar(values, RATE_NAMES, name)
    return EcgRecord(signal, rate, _lead_names(values, name), _unit(values, name), name, metadata)


def _v4_order(head: bytes | memoryview) -> str | None:
    """Byte order of a version 4 header. Its type has four digits: order, 0, dtype, and 0 for numbers or 1 for text."""
    for order, digit in (("<", 0), (">", 1)):
        (kind,) = unpack(f"{order}i", head, 0, "head")
        if kind // 1000 == digit and kind // 100 % 10 == 0 and kind // 10 % 10 < len(_V4_DTYPES) and kind % 10 < 3:
            return order
    return None


def _read_v4(data: memoryview, wanted: set[str], name: str) -> tuple[dict[str, Any], list[str]]:
    """Numbers and text of the wanted variables, and the names of the others."""
    values: dict[str, Any] = {}
    others: list[str] = []
    at = 0
    while at < len(data):
        order = _v4_order(data[at : at + 4]) if at + 4 <= len(data) else None
        if order is None or len(values) + len(others) >= MAX_VARIABLES:
            raise ValueError(f"{name}: expected a variable of MATLAB 4 at byte {at:,}: found none, or too many before")
        kind, rows, columns, is_complex, name_bytes = unpack(f"{order}5i", data, at, name)
        variable = clean_text(cut(data, at + 20, name_bytes, name, "a name"))
        dtype = np.dtype(order + _V4_DTYPES[kind // 10 % 10])
        if rows < 0 or columns < 0 or is_complex not in (0, 1):
            raise ValueError(f"{name}: expected a real matrix {shorten(variable)}: found {rows} x {columns}")
        n_bytes = rows * columns * dtype.itemsize * (1 + is_complex)
        content = cut(data, at + 20 + name_bytes, n_bytes, name, f"the matrix {shorten(variable)}")
        at += 20 + name_bytes + n_bytes
        _refuse_second(values, variable, name)
        if variable in wanted and kind % 10 < 2 and not is_complex:
            check_values((rows, columns), name)
            matrix = np.frombuffer(content, dtype).reshape((rows, columns), order="F")
            values[variable] = _joined(matrix) if kind % 10 == 1 else matrix
        else:
            others.append(variable)
    return values, others


def _refuse_second(values: dict[str, Any], variable: str, name: str) -> None:
    """Refuses a variable that was there already, and a second signal, before it is read."""
    found = [key for key in values if key == variable or {key, variable} <= set(SIGNAL_NAMES)]
    if found:
        raise ValueError(f"{name}: expected one matrix named {', '.join(SIGNAL_NAMES)}: found {found[0]}, {variable}")


def _joined(codes: np.ndarray) -> list[str]:
    """Rows of text from a matrix of character codes."""
    if codes.size > 10_000:
        return []
    return ["".join(chr(int(code)) if 31 < code < 0x110000 else " " for code in row).strip() for row in codes]


def _read_v5(data: memoryview, wanted: set[str], name: str) -> tuple[dict[str, Any], list[str]]:
    """As [`_read_v4`]; a structure is a dictionary of its fields."""
    order = "<" if bytes(data[126:128]) == b"IM" else ">"
    (version,) = unpack(f"{order}H", data, 124, name)
    if version != 0x100:
        raise ValueError(
            f"{name}: expected MATLAB 5 to 7: found version {version:#x}; save it with -v7 in place of -v7.3"
        )
    values: dict[str, Any] = {}
    others: list[str] = []
    for element in _elements(data, _HEADER_BYTES, order, name, MAX_VARIABLES):
        kind, content = element.kind, element.data
        if kind == _COMPRESSED:
            # What is no signal is not inflated beyond its name.
            head = _inflate(element.data, _NAME_BYTES, name, whole=False)
            inner = _Header.of(head[8:], order, name) if len(head) > 8 else None
            if inner is None or inner.variable not in wanted:
                others.append("" if inner is None else inner.variable)
                continue
            _refuse_second(values, inner.variable, name)
            max_bytes = _SIGNAL_BYTES if inner.variable in SIGNAL_NAMES else _VARIABLE_BYTES
            kind, content, _ = _element(_inflate(element.data, max_bytes, name), 0, order, name)
        if kind != _MATRIX or len(content) == 0:
            continue
        header = _Header.of(content, order, name)
        _refuse_second(values, header.variable, name)
        value = _value(content, header, order, name, MAX_DEPTH) if header.variable in wanted else None
        if value is None:
            others.append(header.variable)
        else:
            values[header.variable] = value
    return values, others


def _inflate(stored: bytes | memoryview, max_bytes: int, name: str, whole: bool = True) -> bytes:
    """The beginning of a compressed element, or all of it where it is not larger than `max_bytes`."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(stored, max_bytes + whole)
    except zlib.error as error:
        raise ValueError(f"{name}: a compressed variable is damaged: {error}") from error
    if whole and len(data) > max_bytes:
        raise ValueError(f"{name}: expected a variable of at most {max_bytes:,} bytes: found one that unpacks to more")
    spend_unpacked(len(data), name)
    return data


def _element(data: bytes | memoryview, at: int, order: str, name: str) -> _Element:
    """The element at byte `at`; short ones have type and length in one word and four bytes of data behind it."""
    kind, size = unpack(f"{order}II", data, at, name)
    if kind >> 16:
        size, kind = kind >> 16, kind & 0xFFFF
        if size > 4:
            raise ValueError(f"{name}: expected a short element of at most 4 bytes: found {size}")
        return _Element(kind, data[at + 4 : at + 4 + size], at + 8)
    content = cut(data, at + 8, size, name, "an element")
    padded = size if kind == _COMPRESSED else math.ceil(size / 8) * 8
    return _Element(kind, content, at + 8 + padded)


def _elements(data: bytes | memoryview, at: int, order: str, name: str, max_elements: int) -> Iterator[_Element]:
    for _ in range(max_elements):
        if at >= len(data):
            return
        spend_steps(_STEPS_PER_ELEMENT, name)
        element = _element(data, at, order, name)
        yield element
        at = element.end
    if at < len(data):
        raise ValueError(f"{name}: expected at most {max_elements:,} elements: found more")


class _Header(NamedTuple):
    """What stands before the values of an array."""

    kind: int
    shape: tuple[int, ...]
    variable: str
    end: int

    @classmethod
    def of(cls, content: bytes | memoryview, order: str, name: str) -> "_Header":
        flags = _element(content, 0, order, name)
        (bits,) = unpack(f"{order}I", flags.data, 0, name)
        lengths = _element(content, flags.end, order, name)
        label = _element(content, lengths.end, order, name)
        shape = tuple(np.frombuffer(lengths.data[: len(lengths.data) // 4 * 4], f"{order}i4").tolist())
        if len(shape) != 2 or min(shape) < 0 or bits & _COMPLEX:
            return cls(0, shape[:4], clean_text(label.data[:64]), label.end)  # a kind that is never read
        return cls(bits & 0xFF, shape, clean_text(label.data[:64]), label.end)


def _value(content: bytes | memoryview, header: _Header, order: str, name: str, depth: int) -> Any:
    """An array of numbers, text as a list of rows, cells of text as a list, a structure as a dictionary; or `None`."""
    value: Any = None
    if header.kind in _NUMBERS:
        value = _numbers(_element(content, header.end, order, name), header.shape, order, name)
    elif header.kind == _CHAR:
        value = _rows(_element(content, header.end, order, name), header.shape, order)
    elif header.kind == _CELL and depth and math.prod(header.shape) <= MAX_CHANNELS:
        cells = _parts(content, header.end, order, name, depth - 1)
        value = [row for cell in cells if isinstance(cell, list) for row in cell]
    elif header.kind == _STRUCT and depth and header.shape == (1, 1):
        width = _element(content, header.end, order, name)
        fields = _element(content, width.end, order, name)
        (size,) = unpack(f"{order}i", width.data, 0, name)
        if 1 <= size <= 64 and len(fields.data) <= 64 * size:
            names = [clean_text(fields.data[i : i + size]) for i in range(0, len(fields.data), size)]
            value = dict(zip(names, _parts(content, fields.end, order, name, depth - 1), strict=False))
    return value


def _parts(content: bytes | memoryview, at: int, order: str, name: str, depth: int) -> list[Any]:
    """The arrays within a cell array or a structure."""
    parts: list[Any] = []
    for element in _elements(content, at, order, name, 2 * MAX_CHANNELS):
        if element.kind != _MATRIX or len(element.data) == 0:
            parts.append(None)
            continue
        header = _Header.of(element.data, order, name)
        parts.append(_value(element.data, header, order, name, depth))
    return parts


def _numbers(element: _Element, shape: tuple[int, ...], order: str, name: str) -> np.ndarray:
    check_values(shape, name)
    dtype = np.dtype(order + _V5_DTYPES[element.kind]) if element.kind in _V5_DTYPES else None
    if dtype is None or len(element.data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name}: expected a matrix of shape {shape}: found {len(element.data):,} bytes")
    return np.frombuffer(element.data, dtype).reshape(shape, order="F")


def _rows(element: _Element, shape: tuple[int, ...], order: str) -> list[str] | None:
    """Rows of text, which is stored column by column."""
    encoding = _TEXT_TYPES.get(element.kind)
    if encoding is None or len(element.data) > 10_000:
        return None
    encoding += ("-le" if order == "<" else "-be") if encoding == "utf-16" else ""
    text = bytes(element.data).decode(encoding, "replace")
    if len(text) != math.prod(shape):
        return None
    return ["".join(text[row :: shape[0]]).strip() for row in range(shape[0])]


def _scalar(values: dict[str, Any], names: tuple[str, ...], name: str) -> float | None:
    """The one number that a variable of these names holds."""
    stated = [(key, values[key]) for key in names if key in values]
    if not stated:
        return None
    key, value = stated[0]
    if len(stated) > 1 or not isinstance(value, np.ndarray) or value.size != 1 or not np.isfinite(value).all():
        raise ValueError(
            f"{name}: expected one number in {' or '.join(key for key, _ in stated)}: found something else"
        )
    return float(value.reshape(-1)[0])


def _unit(values: dict[str, Any], name: str) -> str | None:
    stated = [values[key] for key in UNIT_NAMES if key in values]
    if not stated:
        return None
    texts = set(stated[0]) if isinstance(stated[0], list) else set()
    if len(stated) > 1 or len(texts) != 1:
        raise ValueError(f"{name}: expected one unit in {' or '.join(UNIT_NAMES)}: found {shorten(sorted(texts))}")
    return texts.pop()


def _lead_names(values: dict[str, Any], name: str) -> tuple[str, ...] | None:
    stated = [values[key] for key in LEAD_LISTS if key in values]
    if not stated:
        return None
    if len(stated) > 1 or not isinstance(stated[0], list) or not 0 < len(stated[0]) <= MAX_CHANNELS:
        raise ValueError(f"{name}: expected one list of names in {' or '.join(LEAD_LISTS)}: found something else")
    return tuple(stated[0])


def _sex(value: Any) -> str:
    """From the text of a field."""
    return value[0] if isinstance(value, list) and value else ""


def _age(value: Any) -> Fraction | None:
    if isinstance(value, np.ndarray) and value.size == 1 and np.isfinite(value).all():
        return Fraction(float(value.reshape(-1)[0]))
    return None


__all__ = ["is_matlab", "read_matlab"]
