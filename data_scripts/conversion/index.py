"""The CSV that lists a source's exams: read as text, checked, and errors that name the exam."""

from pathlib import Path

import pandas as pd

from common.checksums import file_digest, unchanged
from data_scripts.text.cells import blanked


def read_index(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """
    Returns the CSV that lists a source's exams, every cell as text, blank cells as `""`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a file without rows or without one of `columns`, or that changes meanwhile.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --source_dir must hold it")
    try:
        with unchanged(path):
            with path.open(encoding="utf-8-sig") as file:
                head = file.readline()
            separator = ";" if head.count(";") > head.count(",") else "\t" if "\t" in head and "," not in head else ","
            settings = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "header": None}
            index = pd.read_csv(path, sep=separator, **settings)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, {_not_utf8(path)}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from error
    # Read as a row: pandas would give a name that comes twice another one.
    names = [name.strip() for name in index.iloc[0]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: expected each column once: found {', '.join(map(repr, twice))} more than once")
    index = index.iloc[1:].reset_index(drop=True).set_axis(names, axis="columns")
    missing = [column for column in columns if column not in index]
    if missing:
        raise ValueError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(index.columns)}")
    if not len(index):
        raise ValueError(f"{path}: expected one row for each exam, found none")
    return index


def _not_utf8(path: Path) -> str:
    """The first line of a file that is not UTF-8, for an error."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number}: expected text in UTF-8, found the byte {line[error.start]:#x}"
    return "expected text in UTF-8"


def file_version(path: Path) -> str:
    """Returns name and sha256 of the file that states what a source holds: sources seldom state a version."""
    return f"{path.name} sha256:{file_digest(path)}"


def numbers(cells: pd.Series, path: Path, exam_ids: pd.Series) -> pd.Series:
    """Returns text cells as float64, blank ones as NaN; a `ValueError` names the exam whose cell is no number."""
    cells = blanked(cells)
    values = pd.to_numeric(cells, errors="coerce")
    wrong = values.isna() & (cells != "")
    if wrong.any():
        i = wrong.idxmax()
        raise ValueError(f"{path}, exam {exam_ids[i]}, column {cells.name}: expected a number, found {cells[i]!r}")
    return values


def refuse_duplicates(exam_ids: pd.Series, path: Path) -> None:
    """Raises `ValueError` where an exam is listed twice: which of its rows holds cannot be known."""
    twice = exam_ids[exam_ids.duplicated()].unique()
    if len(twice):
        raise ValueError(
            f"{path}: expected each exam_id once; found {len(twice)} more than once: {', '.join(twice[:5])}"
        )
