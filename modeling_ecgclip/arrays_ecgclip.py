"""Arrays of callers, and those of `.npy` and `.npz` files: never unpickled, never larger than an ECG."""

import io
import math
import struct
import zipfile
import zlib
from numbers import Real
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from .limits_ecgclip import (
    MAX_TEXT_LENGTH,
    MAX_UNPACKED_BYTES,
    MAX_ZIP_DIRECTORY_BYTES,
    check_values,
    shorten,
    spend_unpacked,
)


# The end of a zip archive: signature, two disk numbers, members here and in all, bytes of the directory, its place,
# bytes of the comment.
_ZIP_END = struct.Struct("<4s4H2LH")
_MAX_AXES = 32  # that numpy of any version has; the reader says how many an ECG has
_CHARACTER_BYTES = 4
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_BLOCK_BYTES = 1_000_000
# What numpy raises for a damaged header, whose text it parses as Python.
_HEADER_ERRORS = (
    ArithmeticError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)


def real_numbers(ecg: Any, name: str) -> np.ndarray:
    """
    Returns an array of real numbers of whatever a caller holds.

    Args:
        ecg (`np.ndarray`, `torch.Tensor` or lists): Of numbers. Tensors come off their device, masked samples become
            NaN (and whole numbers then float64).
        name (`str`): What errors call it.

    Raises:
        `TypeError`: for booleans, complex numbers, text and objects.
        `ValueError`: for lists of different lengths.
    """
    if hasattr(ecg, "detach"):
        ecg = _of_tensor(ecg, name)
    elif isinstance(ecg, np.ma.MaskedArray):
        if ecg.dtype.kind in "iu" and np.ma.is_masked(ecg):
            ecg = ecg.astype(np.float64)
        ecg = ecg.filled(np.nan) if ecg.dtype.kind == "f" else ecg.data
    try:
        array = np.asarray(ecg)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: expected an array of numbers, all leads of one length: {shorten(error)}") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: an ECG must hold real numbers: found dtype {shorten(array.dtype)}")
    return array


def is_rows_of_numbers(source: Any) -> bool:
    """Tells whether a list or tuple holds, by its first entry, rows of numbers, as an ECG in JSON or Arrow does."""
    if not isinstance(source, list | tuple) or not source:
        return False
    row = source[0]
    if isinstance(row, list | tuple):
        return bool(row) and isinstance(row[0], Real)
    return getattr(row, "ndim", None) == 1


def _of_tensor(tensor: Any, name: str) -> np.ndarray:
    """A tensor as numpy has it; bfloat16, which numpy does not know, and all other fractions as float32."""
    try:
        plain = tensor.detach().cpu()
        return plain.float().numpy() if plain.is_floating_point() else plain.numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantized, without data
        raise TypeError(
            f"{name}: an ECG must hold real numbers: found a tensor of {tensor.dtype}, {tensor.layout}: "
            f"{shorten(str(error).splitlines()[0])}"
        ) from error


def check_zip_directory(file: BinaryIO, name: str) -> None:
    """
    Refuses a zip archive of more members than arrays of an ECG, before `zipfile` lists them.

    Args:
        file: Open for reading, at any place; left at its beginning.
        name (`str`): What errors call it.

    Raises:
        `ValueError`: also where the file is no zip archive, or a pickle.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _ZIP_END.size - 65_535))  # the longest comment
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _ZIP_END.size:
        raise ValueError(
            f"{name}: not a numeric numpy file (pickled objects are never loaded): expected an archive of arrays"
        )
    _, _, _, _, members, directory_bytes, _, _ = _ZIP_END.unpack_from(tail, at)
    # With a locator of the 64-bit format `zipfile` believes another record instead.
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise ValueError(f"{name}: expected an archive of a few arrays: found the 64-bit format of large archives")
    if directory_bytes > MAX_ZIP_DIRECTORY_BYTES:
        raise ValueError(f"{name}: expected an archive of a few arrays: found {members} members or more")


def read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, kinds: str = "fiu", max_values: int | None = None
) -> np.ndarray:
    """
    Returns one array of an `.npz` file, whose size is checked before it is unpacked.

    Args: as in [`read_array`], with the archive and the member.

    Raises:
        `ValueError`: naming file and member.
    """
    member = f"{name}: {shorten(info.filename)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member}: expected an array stored or deflated: found compression {info.compress_type}")
    spend_unpacked(info.file_size, member)
    try:
        with archive.open(info) as file:
            return read_array(file, member, kinds, max_values)
    except (RuntimeError, NotImplementedError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{member}: not a readable member of an archive: {shorten(error)}") from error


def read_array(file: Any, name: str, kinds: str = "fiu", max_values: int | None = None) -> np.ndarray:
    """
    Returns the array of an open `.npy` file, whose claims about its size are checked before anything is read.

    `np.load` would allocate what the header claims.

    Args:
        file: Binary, at the beginning of the array's header.
        name (`str`): What errors call it.
        kinds (`str`): Allowed kinds of dtype, as numpy writes them.
        max_values (`int`, *optional*): Fewer than `MAX_VALUES`.

    Raises:
        `ValueError`: for pickled objects, other kinds, too large or truncated arrays.
    """
    header_readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in header_readers:
            raise ValueError(f"format version {version}")
        shape, fortran_order, dtype = header_readers[version](file)
    except _HEADER_ERRORS as error:
        raise ValueError(
            f"{name}: not a numeric numpy file (pickled objects are never loaded): "
            f"{shorten(error) or type(error).__name__}"
        ) from error
    if dtype.hasobject:
        raise ValueError(f"{name}: holds pickled objects, which are never loaded")
    if dtype.kind not in kinds or dtype.itemsize == 0:
        wanted = "numbers" if kinds == "fiu" else "text"
        raise ValueError(f"{name}: expected an array of {wanted}: found dtype {shorten(dtype)}")
    # `True` is a whole number to numpy's reader.
    if len(shape) > _MAX_AXES or any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"{name}: expected at most {_MAX_AXES} lengths of 0 or more: found shape {shorten(shape)}")
    check_values(tuple(max(length, 1) for length in shape), name)  # also beside an axis of length 0
    n_bytes = math.prod(shape) * dtype.itemsize
    # One long text makes room for as many characters in the place of each other.
    too_long = dtype.kind in "US" and dtype.itemsize > _CHARACTER_BYTES * MAX_TEXT_LENGTH
    if too_long or n_bytes > MAX_UNPACKED_BYTES or (max_values is not None and math.prod(shape) > max_values):
        raise ValueError(f"{name}: expected a smaller array: found shape {shorten(shape)} of dtype {shorten(dtype)}")
    data = _read_bytes(file, n_bytes)
    if len(data) < n_bytes:
        raise ValueError(f"{name}: truncated: shape {shorten(shape)} takes {n_bytes:,} bytes: found {len(data):,}")
    return np.ndarray(shape, dtype, buffer=data, order="F" if fortran_order else "C")


def read_texts(array: np.ndarray, name: str) -> list[str]:
    """
    Returns the texts of an array of kind `"U"` or `"S"`, one behind the other.

    Raises:
        `ValueError`: for what is no text: numbers beyond Unicode or of no character, bytes that are not UTF-8.
    """
    if array.dtype.kind == "U":
        codes = np.ascontiguousarray(array).ravel().view(f"{array.dtype.byteorder}u4")
        if codes.max(initial=0) > _LAST_CHARACTER or ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1])).any():
            raise ValueError(f"{name}: expected text: found a number that is no character of Unicode")
        return array.ravel().tolist()
    try:
        return [value.decode("utf-8") for value in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: expected text in UTF-8: found other bytes: {shorten(error)}") from error


def _read_bytes(file: Any, n_bytes: int) -> bytearray:
    """So many bytes, writable and only once in memory, or as many as there are."""
    data = bytearray()
    while len(data) < n_bytes and (block := file.read(min(_BLOCK_BYTES, n_bytes - len(data)))):
        data += block
    return data


__all__ = ["check_zip_directory", "read_array", "read_member", "read_texts", "real_numbers"]
