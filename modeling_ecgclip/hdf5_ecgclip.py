"""HDF5 files of many exams, in the layout of CODE-15%."""

import itertools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .limits_ecgclip import (
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_EXAMS,
    MAX_FILE_BYTES,
    READ_ERRORS,
    check_file,
    check_values,
    shorten,
)
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


# CODE-15% as published holds twice the millivolts; its preprocessing scaled them.
CODE15_UNITS_PER_MV = 2.0
HDF5_SUFFIXES = (".hdf5", ".h5")


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
            row = _find_exam(_read_exam_ids(exam_ids, path), exam_id, path)
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


def _read_exam_ids(dataset: Any, path: str | Path) -> np.ndarray:
    if dataset.ndim != 1 or dataset.dtype.kind not in "iuS" or dataset.size > MAX_EXAMS:
        raise ValueError(
            f"{path}: expected exam_id as at most {MAX_EXAMS:,} whole numbers or texts of fixed length: "
            f"found shape {dataset.shape}, dtype {dataset.dtype}"
        )
    if dataset.nbytes > MAX_FILE_BYTES:
        raise ValueError(f"{path}: expected exam_id of at most {MAX_FILE_BYTES:,} bytes: found {dataset.nbytes:,}")
    _check_chunks(dataset, (slice(dataset.size),), str(path))
    return dataset[:]


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
    if chunk_bytes > MAX_CHUNK_BYTES or n_chunks > MAX_CHUNKS:
        raise ValueError(
            f"{path}: {dataset.name}: expected at most {MAX_CHUNKS:,} chunks of {MAX_CHUNK_BYTES:,} bytes to read: "
            f"found {n_chunks:,} of {chunk_bytes:,}"
        )
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
    try:
        return len(zlib.decompressobj().decompress(stored, n_bytes + 1)) > n_bytes
    except zlib.error:
        return False


def _find_exam(exam_ids: np.ndarray, exam_id: int | str, path: str | Path) -> int:
    """Row of an exam in an HDF5 file."""
    held = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in exam_ids]
    rows = [row for row, value in enumerate(held) if value == str(exam_id)]
    if not rows:
        examples = ", ".join(map(shorten, held[:5])) + (", ..." if len(held) > 5 else "")
        raise ValueError(f"{path}: exam {shorten(exam_id)} not found; the file holds {len(held)} exams: {examples}")
    if len(rows) > 1:
        raise ValueError(f"{path}: exam {exam_id} occurs {len(rows)} times, in rows {shorten(rows)}")
    return rows[0]


__all__ = ["CODE15_UNITS_PER_MV", "HDF5_SUFFIXES", "code15_tracing_to_mv", "is_hdf5", "read_code15"]
