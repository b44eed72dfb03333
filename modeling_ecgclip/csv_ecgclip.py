"""Tables of one column per lead and one row per sample."""

import csv
import io
import math
from pathlib import Path

import numpy as np

from .limits_ecgclip import MAX_CHANNELS, MAX_CSV_BYTES, MAX_CSV_CELLS, check_file, shorten
from .record_ecgclip import EcgRecord


# Columns of a .csv file that state the time instead of a lead, and how many of their unit make a second.
TIME_COLUMNS = {"time_s": 1.0, "time_ms": 1000.0}


def is_csv(head: bytes) -> bool:
    """Returns whether a file begins as text in which something separates cells; no other kind is such a text."""
    return b"\0" not in head and any(sign in head for sign in b",;\t")


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


__all__ = ["is_csv", "read_csv"]
