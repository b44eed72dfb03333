"""A user's own CSV with a row for each exam: reports, patients, labels and numbers to predict, by any names."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from data_scripts.conversion.builder import ReportSettings
from data_scripts.conversion.index import numbers, read_index, refuse_duplicates
from data_scripts.tables.schema import NUMBER_COLUMNS, SPLITS
from data_scripts.text.cells import blanked
from data_scripts.text.reports import id_strings
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES, UNKNOWN_LABEL, Label, labels_named


SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
LABEL_CELLS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
LABEL_CELLS |= {"": UNKNOWN_LABEL, "-1": UNKNOWN_LABEL, "-1.0": UNKNOWN_LABEL}
OLDEST_AGE = 120.0  # beyond it, and below 0, an age is a slip of the pen
# What a column may hold, by the name that is looked for where none is given.
PARTS = ("record", "exam_id", "patient_id", "report", "age", "sex", "split")


@dataclass
class ExamCsvSettings(ReportSettings):
    """Where a user's own table lies, and how its columns are named; without a name, the default where it is there."""

    table: str | None = field(default=None, metadata={"help": "CSV with reports, labels, patients: a row per exam"})
    record_column: str | None = field(default=None, metadata={"help": "path or name of the record; default record"})
    exam_id_column: str | None = field(default=None, metadata={"help": "default exam_id, or the record's name"})
    patient_id_column: str | None = field(default=None, metadata={"help": "default patient_id"})
    report_column: str | None = field(default=None, metadata={"help": "default report"})
    age_column: str | None = field(default=None, metadata={"help": "default age"})
    sex_column: str | None = field(default=None, metadata={"help": "default sex"})
    split_column: str | None = field(default=None, metadata={"help": "default split; by patient where there is none"})
    label_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "columns of 0, 1, and -1 or blank for unknown, of any name: these are then the table's labels. "
            "LABEL=column gives a label another name than its column. Default: CODE's six, where they are there"
        },
    )
    class_column: str | None = field(
        default=None, metadata={"help": "column that names one diagnosis each: every name becomes a label"}
    )
    target_columns: list[str] | None = field(
        default=None, metadata={"help": "columns of numbers to predict, for train_cls.py --task regression"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_columns and self.class_column:
            raise ValueError("--label_columns and --class_column both say what the labels are: give one")
        of_table = [f"{part}_column" for part in PARTS]
        of_table += ["label_columns", "class_column", "target_columns", "conclusion_headings", "mask_diagnoses"]
        given = [name for name in of_table if getattr(self, name)]
        if given and self.table is None:
            raise ValueError(f"--{given[0]} is about what a table holds: give --table")


@dataclass(frozen=True)
class ExamCsv:
    """
    What a user's table says.

    Args:
        rows (`pandas.DataFrame`):
            `record`, `exam_id`, and of `patient_id`, `report`, `age`, `sex`, `given_split`, the labels and the
            targets those that the table has.
        named (`set[str]`): Which of `PARTS` and of the labels it has.
        labels (`tuple[Label]`, *optional*): Those that the command line asked for; None: CODE's.
        target_names (`tuple[str]`): Numbers to predict.
        unused (`list[str]`): Columns that nothing uses.
        ages_left_out (`int`): Ages that no patient has, which are taken for unknown.
    """

    rows: pd.DataFrame
    named: set[str]
    labels: tuple[Label, ...] | None
    target_names: tuple[str, ...]
    unused: list[str]
    ages_left_out: int


def read_exam_csv(path: Path, settings: ExamCsvSettings, suffixes: tuple[str, ...]) -> ExamCsv:
    """
    Returns what a user's table says of the exams.

    Args:
        path (`Path`): The CSV.
        settings (`ExamCsvSettings`): Its columns' names.
        suffixes (`tuple[str]`): Endings that a record's name may have, and that are left out.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--table {path}: no such file")
    index = read_index(path, ())
    columns = _columns(path, list(index.columns), settings)
    label_columns, labels = _label_columns(path, index, settings)
    if "record" not in columns and "exam_id" not in columns:
        raise ValueError(
            f"{path}: expected a column record or exam_id that names the records: found {', '.join(index.columns)}. "
            "--record_column says which one it is"
        )
    rows = _identified(path, index, columns, suffixes)
    if "patient_id" in columns:
        rows["patient_id"] = id_strings(blanked(index[columns["patient_id"]]))
    if "report" in columns:
        rows["report"] = blanked(index[columns["report"]])
    left_out = 0
    if "age" in columns:
        ages = numbers(index[columns["age"]], path, rows["exam_id"])
        possible = ages.between(0, OLDEST_AGE) | ages.isna()
        left_out, rows["age"] = int((~possible).sum()), ages.where(possible)
    if "sex" in columns:
        rows["sex"] = _known(path, index[columns["sex"]], SEXES | {"": None}, rows["exam_id"]).astype(object)
    if "split" in columns:
        cells = _known(path, index[columns["split"]], {split: split for split in SPLITS} | {"": None}, rows["exam_id"])
        rows["given_split"] = cells.astype(object)
    for name, column in label_columns.items():
        rows[name] = _known(path, index[column], LABEL_CELLS, rows["exam_id"]).astype(np.int8)
    class_column = None
    if settings.class_column is not None:
        class_column = _named_column(path, settings.class_column, list(index.columns), "--class_column")
        labels = _add_classes(rows, blanked(index[class_column]))
    targets = _targets(path, index, rows, settings)
    used = {*columns.values(), *label_columns.values(), *targets, class_column}
    named = {*columns, *label_columns, *(() if labels is None else (label.name for label in labels))}
    return ExamCsv(rows, named, labels, tuple(targets), [name for name in index if name not in used], left_out)


def _columns(path: Path, found: list[str], settings: ExamCsvSettings) -> dict[str, str]:
    """Which column of the table holds which part; a column that was named must be there, others are taken if so."""
    given = {part: getattr(settings, f"{part}_column") for part in PARTS}
    missing = [name for name in given.values() if name is not None and name.casefold() not in map(str.casefold, found)]
    missing += [name for name in _label_names(settings).values() if name.casefold() not in map(str.casefold, found)]
    if missing:
        raise ValueError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(found)}")
    columns = {}
    for part, name in given.items():
        if name is not None:
            columns[part] = _named_column(path, name, found, f"--{part}_column")
        else:
            same = [column for column in found if column.casefold() == part]
            if same:
                columns[part] = same[0]
    free = [column for column in found if column not in columns.values()]
    looked_for = [part for part in PARTS if part not in columns]
    labels = [] if settings.label_columns or settings.class_column else list(LABEL_NAMES)
    near = [
        (column, part)
        for column in free
        for part in [*looked_for, *labels]
        if _folded(column) == _folded(part) and column.casefold() != part.casefold()
    ]
    if near:
        listed = "; ".join(f"{column!r} resembles {part}" for column, part in near)
        raise ValueError(
            f"{path}: {listed}: rename the column, or name it by --{near[0][1]}_column or --label_columns LABEL=column"
        )
    return columns


def _folded(name: str) -> str:
    """Letters and digits of a name alone, in lower case."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _named_column(path: Path, name: str, found: list[str], flag: str) -> str:
    """A column by its name, in any case where that is clear."""
    same = [column for column in found if column == name] or [
        column for column in found if column.casefold() == name.strip().casefold()
    ]
    if len(same) != 1:
        raise ValueError(f"{path}: {flag} {name}: missing columns {name}; found {', '.join(found)}")
    return same[0]


def _label_columns(
    path: Path, index: pd.DataFrame, settings: ExamCsvSettings
) -> tuple[dict[str, str], tuple[Label, ...] | None]:
    """Label to column, and the labels where the command line chose others than CODE's six."""
    found = list(index.columns)
    if settings.class_column is not None:
        _named_column(path, settings.class_column, found, "--class_column")
        return {}, None
    entries = [entry.partition("=") for entry in settings.label_columns or []]
    named = _label_names(settings)
    if len(named) != len(entries):
        raise ValueError(f"--label_columns: expected each label once: found {', '.join(settings.label_columns or [])}")
    columns = {label: _named_column(path, column, found, "--label_columns") for label, column in named.items()}
    if entries and not all(equals and label in LABEL_NAMES for label, equals, _ in entries):
        return columns, labels_named(columns)
    by_case = {column.casefold(): column for column in reversed(found)}
    for label in LABEL_NAMES:
        if label not in columns and label.casefold() in by_case:
            columns[label] = by_case[label.casefold()]
    return columns, None


def _label_names(settings: ExamCsvSettings) -> dict[str, str]:
    """Label to column, as `--label_columns` has them."""
    entries = [entry.partition("=") for entry in settings.label_columns or []]
    return {label: column or label for label, _, column in entries}


def _identified(path: Path, index: pd.DataFrame, columns: dict[str, str], suffixes: tuple[str, ...]) -> pd.DataFrame:
    """The table's exams by record and id."""
    records = index[columns.get("record", columns.get("exam_id"))].str.strip()
    pattern = "|".join(re.escape(suffix) for suffix in suffixes)
    records = records.str.replace("\\", "/").str.removeprefix("./").str.replace(f"({pattern})$", "", regex=True)
    exam_ids = id_strings(index[columns["exam_id"]]) if "exam_id" in columns else records.str.rpartition("/")[2]
    for name, cells in (("record", records), ("exam_id", exam_ids)):
        if (cells == "").any():
            raise ValueError(f"{path}, row {int((cells == '').idxmax()) + 2}: expected a {name}, found a blank cell")
    refuse_duplicates(exam_ids, path)
    return pd.DataFrame({"record": records, "exam_id": exam_ids})


def _known(path: Path, column: pd.Series, known: dict, exam_ids: pd.Series) -> pd.Series:
    """The meaning of each cell; another cell than the known ones is refused."""
    cells = blanked(column).str.lower()
    if not cells.isin(known).all():
        i = (~cells.isin(known)).idxmax()
        raise ValueError(
            f"{path}, exam {exam_ids[i]}, column {column.name}: "
            f"expected one of {', '.join(filter(None, known))}, found {column[i]!r}"
        )
    return pd.Series([known[cell] for cell in cells], index=column.index)


def _add_classes(rows: pd.DataFrame, cells: pd.Series) -> tuple[Label, ...]:
    """Adds a column for each name that occurs; a blank cell leaves all of them unknown."""
    names = sorted(set(cells) - {""})
    for name in names:
        rows[name] = np.where(cells == "", UNKNOWN_LABEL, cells == name).astype(np.int8)
    return labels_named(names)


def _targets(path: Path, index: pd.DataFrame, rows: pd.DataFrame, settings: ExamCsvSettings) -> list[str]:
    """Adds the numbers to predict; age is a column of every exam table."""
    names = [name for name in settings.target_columns or [] if name not in NUMBER_COLUMNS]
    columns = [_named_column(path, name, list(index.columns), "--target_columns") for name in names]
    for column in columns:
        if column in rows:
            raise ValueError(f"{path}: --target_columns {column}: the column holds something else already")
        rows[column] = numbers(index[column], path, rows["exam_id"])
    return columns
