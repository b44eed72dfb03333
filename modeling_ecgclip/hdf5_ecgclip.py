"""HDF5 files of many exams, in the layout of CODE-15%."""

import itertools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .limits_ecgclip import (
    MAX_CHUNKS,
    MAX_EXAMS,
    MAX_TEXT_LENGTH,
    MAX_UNPACKED_BYTES,
    READ_ERRORS,
    check_file,
    check_values,
    shorten,
    spend_steps,
    spend_unpacked,
)
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


# CODE-15% as published holds twice the millivolts; its preprocessing scaled them.
CODE15_UNITS_PER_MV = 2.0
HDF5_SUFFIXES = (".hdf5", ".h5")
_IDS_AT_ONCE = 100_000  # of ids that lie in no chunks
_STEPS_PER_CHUNK = 50  # to look one up costs that much
_BLOCK_BYTES = 1_000_000


def is_hdf5(head: bytes) -> bool:
    """Returns whether a file begins as HDF5 does."""
    return head.startswith(b"\x89HDF\r\n\x1a\n")


def read_code15(path: str | Path, exam_id: int | str | None) -> EcgRecord:
    """
    Returns one exam of an HDF5 file in the layout of CODE-15%, in millivolts and without its zero padding.

    The file holds `exam_id` (exams,) and `tracings` (exams, samples, 12) at 400 Hz, whose value is twice the
    millivolts. The same number of zeros goes from either end, so that centring in 4096 samples gives the stored row
    back.

    Args:
        path (`str` or `Path`): The file.
        exam_id (`int` or `str`): The exam. The row is found by it, not by its place in `exams.csv`.

    Returns:
        [`EcgRecord`] with `signal` float32 `(12, samples)`.

    Raises:
        `ValueError`: for a file that is truncated or lacks a dataset, datasets that lie in another file, an exam that
            it does not hold or holds twice, or an all-zero tracing; the message lists what was found.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("reading HDF5 files needs the package h5py: pip install h5py") from error
    if exam_id is None:
        raise ValueError(f"{path}: an HDF5 file holds many exams: exam_id must say which one")
    check_file(Path(path), max_bytes=None)
    name = f"{path}, exam {shorten(exam_id)}"
    try:
        with h5py.File(path, "r") as file:
            exam_ids, tracings = (_own_dataset(file, dataset, str(path)) for dataset in ("exam_id", "tracings"))
            row = _find_exam(exam_ids, exam_id, path)
            if tracings.ndim != 3 or tracings.shape[2] != len(LEAD_NAMES):
                raise ValueError(
                    f"{path}: expected tracings of shape (exams, samples, {len(LEAD_NAMES)}): found {tracings.shape}"
                )
            if tracings.dtype.kind not in "fiu":
                raise ValueError(f"{path}: expected tracings of numbers: found dtype {tracings.dtype}")
            if row >= tracings.shape[0]:
                raise ValueError(f"{path}: exam {exam_id} is row {row} of exam_id; tracings has {tracings.shape[0]}")
            check_values(tracings.shape[1:], name)
            _check_chunks(tracings, (slice(row, row + 1), *map(slice, tracings.shape[1:])), str(path))
            tracing = tracings[row]  # (samples, leads)
    except READ_ERRORS as error:
        if str(error).startswith(str(path)):  # said above
            raise
        raise ValueError(f"{path}: not a readable HDF5 file, or truncated: {shorten(error, 300)}") from error
    return EcgRecord(code15_tracing_to_mv(tracing, name), SAMPLING_RATE, LEAD_NAMES, "mV", name)


def code15_tracing_to_mv(tracing: np.ndarray, record_name: str) -> np.ndarray:
    """
    Returns a published CODE-15% tracing in millivolts, leads first, without the zeros on both sides.

    Args:
        tracing (`np.ndarray` of shape `(samples, 12)`): Twice the millivolts, zero-padded on both sides.
        record_name (`str`): For the error.

    Returns:
        `np.ndarray` of shape `(12, recorded samples)`, of the tracing's dtype.

    Raises:
        `ValueError`: for a tracing of nothing but zeros.
    """
    moves = np.ravel(tracing != 0)
    if not moves.any():
        raise ValueError(f"{record_name}: the tracing is all zeros")
    # Rows of zeros before the first and after the last value, found from either end without a look at each row.
    padding = moves.argmax() // tracing.shape[1]
    if padding:  # the look from the end, which copies, is for the shorter exams
        padding = min(padding, moves[::-1].argmax() // tracing.shape[1])
    return tracing[padding : len(tracing) - padding].T / tracing.dtype.type(CODE15_UNITS_PER_MV)


def _own_dataset(file: Any, name: str, path: str) -> Any:
    """A dataset whose values lie in this very file; links and references to other files are not followed."""
    import h5py

    links = file.id.links
    if not links.exists(name.encode()):
        found = shorten(", ".join(itertools.islice(file, 10)), 300) or "none"
        raise ValueError(f"{path}: expected the datasets exam_id and tracings: found {found}")
    # Asking for the object itself would follow the link.
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{path}: expected {name} to lie in this file: found a link, which is not followed")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{path}: expected {name} to be a dataset: found {type(dataset).__name__}")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{path}: expected {name} to lie in this file: found values of another file, not followed")
    return dataset


def _check_chunks(dataset: Any, selection: tuple[slice, ...], path: str) -> None:
    """Refuses chunks that would unpack to more than they state: HDF5 inflates whatever is there."""
    import h5py

    if dataset.chunks is None:
        return
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    allowed = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)
    if filters != [one for one in allowed if one in filters]:
        raise ValueError(f"{path}: {dataset.name}: expected no compression or gzip: found the filters {filters}")
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    starts = [
        range(part.start // length * length if part.start else 0, part.stop, length)
        for part, length in zip(selection, dataset.chunks, strict=True)
    ]
    n_chunks = math.prod(map(len, starts))
    if chunk_bytes > MAX_UNPACKED_BYTES or n_chunks > MAX_CHUNKS:
        raise ValueError(
            f"{path}: {dataset.name}: expected at most {MAX_CHUNKS:,} chunks of {MAX_UNPACKED_BYTES:,} bytes to read: "
            f"found {n_chunks:,} of {chunk_bytes:,}"
        )
    spend_steps(_STEPS_PER_CHUNK * n_chunks, path)
    for _ in range(n_chunks):
        spend_unpacked(chunk_bytes, path)
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    for start in itertools.product(*starts):
        if not dataset.id.get_chunk_info_by_coord(start).size:  # never written: zeros
            continue
        mask, stored = dataset.id.read_direct_chunk(start)
        skipped = mask >> filters.index(h5py.h5z.FILTER_DEFLATE) & 1
        if len(stored) > 2 * chunk_bytes + 1024:
            raise ValueError(f"{path}: {dataset.name}: a chunk of {chunk_bytes:,} bytes is stored in {len(stored):,}")
        # A stream that is damaged is left to HDF5, which says so.
        if not skipped and _inflates_beyond(stored, chunk_bytes):
            raise ValueError(f"{path}: {dataset.name}: a chunk unpacks to more than its {chunk_bytes:,} bytes")


def _inflates_beyond(stored: bytes, n_bytes: int) -> bool:
    """Whether a stream holds more, found without room for it."""
    unpacker = zlib.decompressobj()
    found = 0
    try:
        while found <= n_bytes and (block := unpacker.decompress(stored, _BLOCK_BYTES)):
            found += len(block)
            stored = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return found > n_bytes


def _find_exam(dataset: Any, exam_id: int | str, path: str | Path) -> int:
    """Row of an exam in an HDF5 file, whose ids are read a chunk at a time."""
    kind, n_exams = dataset.dtype.kind, dataset.size
    if dataset.ndim != 1 or kind not in "iuS" or n_exams > MAX_EXAMS or dataset.dtype.itemsize > MAX_TEXT_LENGTH:
        raise ValueError(
            f"{path}: expected exam_id as at most {MAX_EXAMS:,} whole numbers or texts of fixed length: "
            f"found shape {dataset.shape}, dtype {dataset.dtype}"
        )
    _check_chunks(dataset, (slice(n_exams),), str(path))
    wanted = _as_stored(str(exam_id), dataset.dtype)
    at_once = _IDS_AT_ONCE if dataset.chunks is None else dataset.chunks[0]
    rows: list[int] = []
    first: list[str] = []
    n_found = 0
    for start in range(0, n_exams, at_once):
        held = dataset[start : start + at_once]
        if not first:
            first = [one.decode("utf-8", "replace") if kind == "S" else str(one) for one in held[:5].tolist()]
        if wanted is not None:
            found = start + np.flatnonzero(held == wanted)
            n_found += len(found)
            rows += found[:10].tolist()
    if not rows:
        examples = ", ".join(map(shorten, first)) + (", ..." if n_exams > len(first) else "")
        raise ValueError(f"{path}: exam {shorten(exam_id)} not found; the file holds {n_exams} exams: {examples}")
    if n_found > 1:
        raise ValueError(f"{path}: exam {shorten(exam_id)} occurs {n_found} times, in rows {shorten(rows)}")
    return rows[0]


def _as_stored(exam_id: str, dtype: np.dtype) -> Any:
    """An id as a file of ids of this kind holds it; `None` where it can hold no such id."""
    if dtype.kind == "S":
        return exam_id.encode("utf-8", "replace")
    try:
        number = dtype.type(int(exam_id))
    except (ValueError, OverflowError):
        return None
    return number if str(number) == exam_id else None  # "007" is another id than 7


__all__ = ["CODE15_UNITS_PER_MV", "HDF5_SUFFIXES", "code15_tracing_to_mv", "is_hdf5", "read_code15"]
