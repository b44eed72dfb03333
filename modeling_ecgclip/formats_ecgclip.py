"""One reader for each kind of file that holds an ECG: WFDB, .npy, .npz, .csv, CODE-15% HDF5.

Files are taken for hostile: nothing is unpickled, no file is opened that another one names outside its folder, and
what a file claims about its size is checked against `limits_ecgclip` before anything of that size is read or unpacked.
"""

import csv
import io
import itertools
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .arrays_ecgclip import check_zip_directory, read_array, read_member
from .configuration_ecgclip import LEAD_NAMES, SAMPLING_RATE
from .feature_extraction_ecgclip import UNITS_PER_MV, canonical_unit
from .limits_ecgclip import (
    MAX_CHANNELS,
    MAX_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_CSV_BYTES,
    MAX_CSV_CELLS,
    MAX_EXAMS,
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_LINE,
    check_file,
    check_values,
    shorten,
)
from .record_ecgclip import EcgRecord


# CODE-15% as published holds twice the millivolts; its preprocessing scaled them.
CODE15_UNITS_PER_MV = 2.0
WFDB_SUFFIXES = (".hea", ".dat")
# Names of the signal inside an .npz file, in the order in which they are looked for.
SIGNAL_KEYS = ("ecg", "signal")
# Columns of a .csv file that state the time instead of a lead, and how many of their unit make a second.
TIME_COLUMNS = {"time_s": 1.0, "time_ms": 1000.0}
# What a WFDB header may say, of https://wfdb.io/spec/header-files.html: one segment, and signal files that lie beside
# it. As strict as this, wfdb's own more lenient expressions can understand it in one way only.
_RECORD_LINE = re.compile(r"[-\w]+(?P<segments>/\d+)?\s+(?P<n_sig>\d+)(\s+[\d./()-]+(\s+(?P<sig_len>\d+)(\s.*)?)?)?")
_SIGNAL_LINE = re.compile(
    r"(?P<file_name>[-\w]+(\.\w+)?)\s+(?P<fmt>\d+)(x(?P<per_frame>\d+))?(:(?P<skew>\d+))?(\+(?P<offset>\d+))?(\s.*)?"
)
_SIGNAL_FORMATS = (8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524)
# What reading a damaged file raises inside wfdb, numpy, zipfile and h5py.
_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_wfdb(path: str | Path) -> EcgRecord:
    """
    Returns a WFDB record (header and signal files) in millivolts.

    Args:
        path (`str` or `Path`): The record, with or without `.hea` or `.dat`.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`; invalid samples are NaN.

    Raises:
        `FileNotFoundError`: where header or signal file is missing.
        `ValueError`: for a record that cannot be read, that has several segments, whose signal files do not lie beside
            its header, or with a channel whose unit is no voltage.
    """
    try:
        import wfdb
    except ImportError as error:
        raise ImportError("reading WFDB records needs the package wfdb: pip install wfdb") from error
    base = Path(path)
    if base.suffix in WFDB_SUFFIXES:
        base = base.with_suffix("")
    header = base.with_name(base.name + ".hea")
    if not header.is_file():
        raise FileNotFoundError(f"{base}: no WFDB header found: expected {header}")
    check_wfdb_header(header)
    try:
        record = wfdb.rdrecord(str(base))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{base}: the header names a signal file that is missing: {error}") from error
    except _READ_ERRORS as error:
        raise ValueError(f"{base}: not a readable WFDB record: {shorten(error, 300)}") from error
    if record.p_signal is None or record.p_signal.size == 0:
        raise ValueError(f"{base}: the WFDB record holds no samples")
    if not np.all(np.isfinite(record.adc_gain)):
        raise ValueError(f"{base}: expected finite gains: found {shorten(record.adc_gain)}")
    per_mv = [UNITS_PER_MV[canonical_unit(unit, f"{base}, channel {i}")] for i, unit in enumerate(record.units)]
    signal = (record.p_signal / np.array(per_mv)).T  # (leads, samples)
    # A channel without a name gets one that no lead has, and is refused unless the caller states the leads.
    return EcgRecord(signal, float(record.fs), tuple(name or "" for name in record.sig_name), "mV", str(base))


def check_wfdb_header(header: Path) -> list[str]:
    """
    Returns the names of the signal files, all of them beside the header, that a WFDB header states.

    Raises:
        `FileNotFoundError`: where there is no header.
        `ValueError`: for a header that states several segments, more than one ECG holds, or a path of a signal file.
    """
    check_file(header, MAX_HEADER_BYTES)
    base = header.with_suffix("")
    # Decoded and split as wfdb does it.
    lines = [line.strip() for line in header.read_bytes().decode("ascii", "ignore").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    too_long = next((line for line in lines if len(line) > MAX_HEADER_LINE), None)
    if too_long is not None:
        raise ValueError(f"{base}: not a readable WFDB record: a header line has {len(too_long):,} characters")
    first = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if first is None:
        found = shorten(repr(lines[0])) if lines else "nothing"
        raise ValueError(
            f"{base}: not a readable WFDB record: expected a header that begins with the record's name, its number of "
            f"signals, Hz and samples: found {found}"
        )
    if first["segments"] is not None:
        raise ValueError(f"{base}: expected a WFDB record of one segment: found {first['segments'][1:]}")
    n_sig, sig_len = int(first["n_sig"]), int(first["sig_len"] or 0)
    if not 1 <= n_sig <= MAX_CHANNELS or len(lines) - 1 != n_sig:
        raise ValueError(
            f"{base}: not a readable WFDB record: expected 1 to {MAX_CHANNELS} signals, each with a line: "
            f"the header states {shorten(n_sig)} and has {len(lines) - 1} lines"
        )
    check_values((n_sig, sig_len), str(base))
    formats: dict[str, str] = {}
    for line in lines[1:]:
        signal = _SIGNAL_LINE.fullmatch(line)
        if signal is None:
            raise ValueError(
                f"{base}: not a readable WFDB record: expected signal lines that begin with the name of a file beside "
                f"the header and a format: found {shorten(repr(line))}"
            )
        if int(signal["fmt"]) not in _SIGNAL_FORMATS:
            raise ValueError(f"{base}: expected a format of WFDB, such as 16: found {shorten(repr(line))}")
        if int(signal["per_frame"] or 1) != 1 or int(signal["skew"] or 0) > max(sig_len, 1):
            raise ValueError(f"{base}: expected one sample of each signal at a time: found {shorten(repr(line))}")
        if int(signal["offset"] or 0) > MAX_FILE_BYTES:
            raise ValueError(f"{base}: a signal begins beyond {MAX_FILE_BYTES:,} bytes: found {shorten(repr(line))}")
        if formats.setdefault(signal["file_name"], signal["fmt"]) != signal["fmt"]:
            raise ValueError(f"{base}: expected one format for each signal file: found {shorten(repr(line))}")
    for name in formats:
        if (header.parent / name).exists():
            check_file(header.parent / name)
    return list(formats)


def read_npy(path: str | Path) -> EcgRecord:
    """
    Returns the array of an `.npy` file; sampling rate, leads and unit are not stated there.

    Raises:
        `ValueError`: for pickled objects, which are never loaded, or anything else that is no numeric array.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError(f"{path}: expected one array: found an archive of arrays; name it .npz")
        file.seek(0)
        return EcgRecord(read_array(file, str(path)), None, None, None, str(path))


def read_npz(path: str | Path) -> EcgRecord:
    """
    Returns the array `ecg` (or `signal`, or the only array) of an `.npz` file.

    The scalars `sampling_rate` and `unit` and the array of text `lead_names` are read where it has them.

    Raises:
        `ValueError`: for pickled objects, or where the signal's name cannot be told; the message lists what was found.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{path}: expected an archive of named arrays: found one array; name it .npy")
        check_zip_directory(file, str(path))
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, str(path))
        except _READ_ERRORS as error:
            if str(error).startswith(str(path)):  # said above
                raise
            raise ValueError(f"{path}: not a readable archive of arrays: {shorten(error)}") from error


def read_csv(path: str | Path) -> EcgRecord:
    """
    Returns a table of one column per lead and one row per sample, separated by comma, semicolon or tab.

    A first row of lead names is optional. Columns `time_s` and `time_ms` give the sampling rate. With semicolons or
    tabs the decimal sign may be a comma. Empty cells become NaN.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`.

    Raises:
        `ValueError`: naming the row that is not numeric or has another number of columns.
    """
    path = Path(path)
    check_file(path, MAX_CSV_BYTES)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8: found another encoding, or no text: {error}") from error
    first = io.StringIO(text, newline="").readline()
    delimiter = next((sign for sign in (";", "\t") if sign in first), ",")
    cells = text.count(delimiter) + text.count("\n")
    if cells > MAX_CSV_CELLS:
        raise ValueError(f"{path}: expected a table of at most {MAX_CSV_CELLS:,} cells: found {cells:,}")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [row for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ValueError(f"{path}: not a table of separated values: {error}") from error
    if not rows:
        raise ValueError(f"{path}: the file is empty: expected one column per lead and one row per sample")
    header = None if _is_number(rows[0][0], delimiter) else [name.strip() for name in rows[0]]
    table = _parse_cells(rows if header is None else rows[1:], delimiter, path, first_row=1 if header is None else 2)
    if header is None:
        return EcgRecord(table.T, None, None, None, str(path))
    if len(header) != table.shape[1]:
        raise ValueError(f"{path}: {len(header)} column names for {table.shape[1]} columns")
    if len(header) > MAX_CHANNELS:
        raise ValueError(f"{path}: expected at most {MAX_CHANNELS} columns: found {len(header):,}")
    rate = None
    for name, per_second in TIME_COLUMNS.items():
        if name in header:
            column = header.index(name)
            rate = _rate_of(table[:, column] / per_second, path)
            table = np.delete(table, column, axis=1)
            header.remove(name)
    return EcgRecord(table.T, rate, tuple(header), None, str(path))


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
    except _READ_ERRORS as error:
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


def _read_archive(archive: zipfile.ZipFile, name: str) -> EcgRecord:
    """The ECG of an open `.npz` file."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    key = next((key for key in SIGNAL_KEYS if key in members), None)
    others = [member for member in members if member not in ("sampling_rate", "lead_names", "unit")]
    if key is None and len(others) != 1:
        found = shorten(", ".join(members), 300) or "nothing"
        raise ValueError(f"{name}: expected an array named {' or '.join(SIGNAL_KEYS)}: found {found}")
    signal = read_member(archive, members[key or others[0]], name)
    values = {
        stated: read_member(archive, members[stated], name, kinds, MAX_CHANNELS).tolist()
        for stated, kinds in (("sampling_rate", "fiu"), ("lead_names", "US"), ("unit", "US"))
        if stated in members
    }
    names = values.get("lead_names")
    if names is not None and not isinstance(names, list):
        raise ValueError(f"{name}: expected lead_names as a list of names: found {shorten(repr(names))}")
    return EcgRecord(signal, values.get("sampling_rate"), tuple(names) if names else None, values.get("unit"), name)


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


def _is_number(cell: str, delimiter: str) -> bool:
    try:
        _to_float(cell, delimiter)
    except ValueError:
        return False
    return True


def _to_float(cell: str, delimiter: str) -> float:
    cell = cell.strip()
    if not cell:
        return math.nan
    return float(cell if delimiter == "," else cell.replace(",", "."))


def _parse_cells(rows: list[list[str]], delimiter: str, path: Path, first_row: int) -> np.ndarray:
    """Text cells as float64 (rows, columns)."""
    if not rows:
        raise ValueError(f"{path}: found column names but no samples")
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}, row {first_row + i}: expected {len(rows[0])} columns: found {len(row)}")
    try:
        return np.array([[_to_float(cell, delimiter) for cell in row] for row in rows])
    except ValueError as error:
        raise ValueError(f"{path}: a cell is not a number: {shorten(error)}") from error


def _rate_of(time_s: np.ndarray, path: Path) -> float:
    """Sampling rate of a column of times, to a millihertz, which undoes the rounding of printed times."""
    if len(time_s) < 2 or not np.all(np.diff(time_s) > 0):
        raise ValueError(f"{path}: the time column must rise from row to row")
    return round(float((len(time_s) - 1) / (time_s[-1] - time_s[0])), 3)


__all__ = [
    "EcgRecord",
    "check_wfdb_header",
    "code15_tracing_to_mv",
    "read_code15",
    "read_csv",
    "read_npy",
    "read_npz",
    "read_wfdb",
]
