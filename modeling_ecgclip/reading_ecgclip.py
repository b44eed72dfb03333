"""Reads one ECG from whatever holds it: arrays, WFDB records, .npy, .npz, .csv, CODE-15% HDF5, exam-table rows.

Nothing is unpickled, and nothing is changed but the unit: resampling and ordering belong to the feature extractor.
"""

import csv
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .configuration_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE
from .feature_extraction_ecgclip import UNITS_PER_MV, canonical_unit


# CODE-15% as published holds twice the millivolts; its preprocessing scaled them.
CODE15_UNITS_PER_MV = 2.0
HDF5_SUFFIXES = (".hdf5", ".h5")
WFDB_SUFFIXES = (".hea", ".dat")
# Names of the signal inside an .npz file or a dictionary, in the order in which they are looked for.
SIGNAL_KEYS = ("ecg", "signal")
# Columns of a .csv file that state the time instead of a lead, and how many of their unit make a second.
TIME_COLUMNS = {"time_s": 1.0, "time_ms": 1000.0}


@dataclass(frozen=True)
class EcgRecord:
    """
    One ECG as its source holds it.

    Args:
        signal (`np.ndarray` of shape `(leads, samples)` or `(samples, leads)`): In `unit`.
        sampling_rate (`float`, *optional*): Hz; `None` where the source does not state it.
        lead_names (`tuple[str]`, *optional*): As the source spells them; `None` where it does not state them.
        unit (`str`, *optional*): `"mV"`, `"uV"` or `"V"`; `None` where the source does not state it.
        name (`str`): What errors call it.
    """

    signal: np.ndarray
    sampling_rate: float | None
    lead_names: tuple[str, ...] | None
    unit: str | None
    name: str


def read_ecg(
    source: Any,
    exam_id: int | str | None = None,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
) -> EcgRecord:
    """
    Returns the ECG that `source` holds.

    Args:
        source:
            - `np.ndarray` or `torch.Tensor` of shape `(leads, samples)` or `(samples, leads)`;
            - path of a WFDB record, with or without `.hea` or `.dat`;
            - path of an `.npy`, `.npz` or `.csv` file (see [`read_npy`], [`read_npz`], [`read_csv`]);
            - path of an `.hdf5` file in the layout of CODE-15%, with `exam_id`;
            - row of an exam table: a dictionary with `ecg` (int16 microvolts, flat) and `n_samples`;
            - dictionary with `ecg` (an array) or `path`, and optionally `sampling_rate`, `lead_names`, `unit`,
              `exam_id`, `name`;
            - [`EcgRecord`].
        exam_id (`int` or `str`, *optional*): Which exam of an HDF5 file.
        sampling_rate (`float`, *optional*), unit (`str`, *optional*):
            For sources that do not state them. Where one does, a different value is refused.
        lead_names (`list[str]`, *optional*):
            For sources that do not state them, or in place of names that no table knows.

    Returns:
        [`EcgRecord`].

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`, `TypeError`: naming the file, what was expected and what was found.
    """
    if isinstance(source, Mapping):
        record = _read_mapping(source, exam_id)
        exam_id = None if "path" in source else exam_id
    elif isinstance(source, EcgRecord):
        record = source
    elif isinstance(source, str | Path):
        record, exam_id = _read_path(Path(source), exam_id), None
    elif isinstance(source, np.ndarray) or hasattr(source, "detach"):
        record = EcgRecord(source, None, None, None, "ECG")
    else:
        raise TypeError(
            "an ECG may be an array, a path, an exam-table row or a dictionary with 'ecg' or 'path': "
            f"found {type(source).__name__}"
        )
    if exam_id is not None:
        raise ValueError(f"{record.name}: exam_id selects an exam of an HDF5 file; this source holds one ECG only")
    return _complete(record, sampling_rate, lead_names, unit)


def read_wfdb(path: str | Path) -> EcgRecord:
    """
    Returns a WFDB record (header and signal files) in millivolts.

    Args:
        path (`str` or `Path`): The record, with or without `.hea` or `.dat`.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`; invalid samples are NaN.

    Raises:
        `FileNotFoundError`: where header or signal file is missing.
        `ValueError`: for a record that cannot be read, or a channel whose unit is no voltage.
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
    try:
        record = wfdb.rdrecord(str(base))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{base}: the header names a signal file that is missing: {error}") from error
    except (ValueError, IndexError, TypeError, OSError) as error:
        raise ValueError(f"{base}: not a readable WFDB record: {error}") from error
    if record.p_signal is None or record.p_signal.size == 0:
        raise ValueError(f"{base}: the WFDB record holds no samples")
    per_mv = [UNITS_PER_MV[canonical_unit(unit, f"{base}, channel {i}")] for i, unit in enumerate(record.units)]
    signal = (record.p_signal / np.array(per_mv)).T  # (leads, samples)
    return EcgRecord(signal, float(record.fs), tuple(record.sig_name), "mV", str(base))


def read_npy(path: str | Path) -> EcgRecord:
    """
    Returns the array of an `.npy` file; sampling rate, leads and unit are not stated there.

    Raises:
        `ValueError`: for pickled objects, which are never loaded, or anything else that is no numeric array.
    """
    loaded = _load_numpy(Path(path))
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise ValueError(f"{path}: expected one array: found an archive of arrays; name it .npz")
    return EcgRecord(loaded, None, None, None, str(path))


def read_npz(path: str | Path) -> EcgRecord:
    """
    Returns the array `ecg` (or `signal`, or the only array) of an `.npz` file.

    The scalars `sampling_rate` and `unit` and the array of text `lead_names` are read where it has them.

    Raises:
        `ValueError`: for pickled objects, or where the signal's name cannot be told; the message lists what was found.
    """
    loaded = _load_numpy(Path(path))
    if isinstance(loaded, np.ndarray):
        raise ValueError(f"{path}: expected an archive of named arrays: found one array; name it .npy")
    with loaded:
        found = list(loaded.files)
        stated = ("sampling_rate", "lead_names", "unit")
        key = next((key for key in SIGNAL_KEYS if key in found), None)
        others = [name for name in found if name not in stated]
        if key is None and len(others) != 1:
            raise ValueError(f"{path}: expected an array named {' or '.join(SIGNAL_KEYS)}: found {', '.join(found)}")
        try:
            signal = loaded[key or others[0]]
            values = {name: loaded[name].tolist() for name in stated if name in found}
        except ValueError as error:
            raise ValueError(f"{path}: holds pickled objects, which are never loaded: {error}") from error
    names = values.get("lead_names")
    return EcgRecord(
        signal, values.get("sampling_rate"), tuple(names) if names else None, values.get("unit"), str(path)
    )


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
    _check_file(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        delimiter = next((sign for sign in (";", "\t") if sign in first), ",")
        rows = [row for row in csv.reader(file, delimiter=delimiter) if any(cell.strip() for cell in row)]
    if not rows:
        raise ValueError(f"{path}: the file is empty: expected one column per lead and one row per sample")
    header = None if _is_number(rows[0][0], delimiter) else [name.strip() for name in rows[0]]
    table = _parse_cells(rows if header is None else rows[1:], delimiter, path, first_row=1 if header is None else 2)
    if header is None:
        return EcgRecord(table.T, None, None, None, str(path))
    if len(header) != table.shape[1]:
        raise ValueError(f"{path}: {len(header)} column names for {table.shape[1]} columns")
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
        `ValueError`: for a file that is truncated or lacks a dataset, an exam that it does not hold or holds twice, or
            an all-zero tracing; the message lists what was found.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("reading HDF5 files needs the package h5py: pip install h5py") from error
    if exam_id is None:
        raise ValueError(f"{path}: an HDF5 file holds many exams: exam_id must say which one")
    _check_file(Path(path))
    name = f"{path}, exam {exam_id}"
    try:
        with h5py.File(path, "r") as file:
            if "exam_id" not in file or "tracings" not in file:
                raise ValueError(
                    f"{path}: expected the datasets exam_id and tracings: found {', '.join(file) or 'none'}"
                )
            row = _find_exam(file["exam_id"][:], exam_id, path)
            if file["tracings"].ndim != 3 or file["tracings"].shape[2] != len(LEAD_NAMES):
                raise ValueError(
                    f"{path}: expected tracings of shape (exams, samples, {len(LEAD_NAMES)}): "
                    f"found {file['tracings'].shape}"
                )
            tracing = file["tracings"][row]  # (samples, leads)
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file, or truncated: {error}") from error
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
    padding = min(moves.argmax(), moves[::-1].argmax()) // tracing.shape[1]
    return tracing[padding : len(tracing) - padding].T / tracing.dtype.type(CODE15_UNITS_PER_MV)


def read_exam_row(row: Mapping[str, Any]) -> EcgRecord:
    """
    Returns the ECG of an exam-table row, without its zero padding.

    Args:
        row (`dict`): `ecg` int16 of 12 x 4096 microvolts, lead-major, flat or not, at 400 Hz, centred; `n_samples`,
            how many of the 4096 were recorded; `exam_id`.

    Returns:
        [`EcgRecord`] with `signal` int16 `(12, n_samples)` in `"uV"`.
    """
    name = f"exam {row['exam_id']}" if "exam_id" in row else "exam-table row"
    ecg = np.asarray(row["ecg"])
    if ecg.size != len(LEAD_NAMES) * N_SAMPLES or ecg.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected ecg as {len(LEAD_NAMES)} x {N_SAMPLES} whole microvolts: "
            f"found {ecg.size} values of dtype {ecg.dtype}"
        )
    n_samples = int(row["n_samples"])
    if not 1 <= n_samples <= N_SAMPLES:
        raise ValueError(f"{name}: n_samples must lie between 1 and {N_SAMPLES}: found {n_samples}")
    left = (N_SAMPLES - n_samples) // 2
    signal = ecg.reshape(len(LEAD_NAMES), N_SAMPLES)[:, left : left + n_samples]
    return EcgRecord(signal, SAMPLING_RATE, LEAD_NAMES, "uV", name)


def _read_path(path: Path, exam_id: int | str | None) -> EcgRecord:
    """Chooses the reader by the file's ending; what has none is a WFDB record."""
    if path.is_dir():
        raise ValueError(f"{path}: expected one ECG: found a folder")
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return read_code15(path, exam_id)
    if exam_id is not None:
        raise ValueError(f"{path}: exam_id selects an exam of an HDF5 file ({', '.join(HDF5_SUFFIXES)})")
    readers = {".npy": read_npy, ".npz": read_npz, ".csv": read_csv}
    if suffix in readers:
        return readers[suffix](path)
    if suffix in WFDB_SUFFIXES or path.with_name(path.name + ".hea").is_file():
        return read_wfdb(path)
    kinds = ", ".join([*readers, *HDF5_SUFFIXES])
    if path.is_file():
        raise ValueError(f"{path}: unknown kind of file: expected a WFDB record or one of {kinds}: found {suffix!r}")
    raise FileNotFoundError(f"{path}: found neither such a file ({kinds}) nor a WFDB record {path.name}.hea")


def _read_mapping(source: Mapping[str, Any], exam_id: int | str | None) -> EcgRecord:
    """Reads an exam-table row, or a dictionary that states array or path and what belongs to it."""
    if "ecg" in source and "n_samples" in source:
        return read_exam_row(source)
    stated = ("sampling_rate", "lead_names", "unit")
    unknown = set(source) - {"ecg", "path", "exam_id", "name", *stated}
    if unknown or ("ecg" in source) == ("path" in source):
        raise ValueError(
            "a dictionary must hold 'ecg' (with 'n_samples' for an exam-table row) or 'path', and may hold "
            f"{', '.join(stated)}, exam_id, name: found {', '.join(map(str, source)) or 'nothing'}"
        )
    if "path" in source:
        record = _read_path(Path(source["path"]), source.get("exam_id", exam_id))
    else:
        ecg = source["ecg"]
        signal = ecg if hasattr(ecg, "detach") else np.asarray(ecg)
        record = EcgRecord(signal, None, None, None, "ECG")
    if source.get("name") is not None:
        record = replace(record, name=str(source["name"]))
    return _complete(record, *(source.get(key) for key in stated))


def _complete(
    record: EcgRecord, sampling_rate: float | None, lead_names: Sequence[str] | None, unit: str | None
) -> EcgRecord:
    """Adds what the caller states, and refuses what contradicts the source."""
    if sampling_rate is not None:
        if record.sampling_rate is not None and float(sampling_rate) != float(record.sampling_rate):
            raise ValueError(
                f"{record.name}: the source states {record.sampling_rate} Hz; "
                f"sampling_rate={sampling_rate} contradicts it"
            )
        record = replace(record, sampling_rate=sampling_rate)
    if unit is not None:
        unit = canonical_unit(unit, record.name)
        if record.unit is not None and unit != canonical_unit(record.unit, record.name):
            raise ValueError(f"{record.name}: the source is in {record.unit}; unit={unit!r} contradicts it")
        record = replace(record, unit=unit)
    if lead_names is not None:
        record = replace(record, lead_names=tuple(lead_names))
    return record


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")


def _load_numpy(path: Path) -> Any:
    """An array or an archive of arrays; pickles stay closed."""
    _check_file(path)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: not a numeric numpy file (pickled objects are never loaded): {error or 'it is empty'}"
        ) from error


def _find_exam(exam_ids: np.ndarray, exam_id: int | str, path: str | Path) -> int:
    """Row of an exam in an HDF5 file."""
    held = [value.decode() if isinstance(value, bytes) else str(value) for value in exam_ids]
    rows = [row for row, value in enumerate(held) if value == str(exam_id)]
    if not rows:
        examples = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "")
        raise ValueError(f"{path}: exam {exam_id} not found; the file holds {len(held)} exams: {examples}")
    if len(rows) > 1:
        raise ValueError(f"{path}: exam {exam_id} occurs {len(rows)} times, in rows {rows}")
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
        raise ValueError(f"{path}: a cell is not a number: {error}") from error


def _rate_of(time_s: np.ndarray, path: Path) -> float:
    """Sampling rate of a column of times, to a millihertz, which undoes the rounding of printed times."""
    if len(time_s) < 2 or not np.all(np.diff(time_s) > 0):
        raise ValueError(f"{path}: the time column must rise from row to row")
    return round(float((len(time_s) - 1) / (time_s[-1] - time_s[0])), 3)


__all__ = [
    "EcgRecord",
    "code15_tracing_to_mv",
    "read_code15",
    "read_csv",
    "read_ecg",
    "read_exam_row",
    "read_npy",
    "read_npz",
    "read_wfdb",
]
