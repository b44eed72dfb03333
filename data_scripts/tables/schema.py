"""The exam table: its columns, its splits, and how it is opened."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import (
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    List,
    Value,
    load_dataset,
    load_from_disk,
)
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from common.checksums import verify_data
from common.hub_access import one_line_errors
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, UNKNOWN_LABEL, Label, labels_named
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SignalSpec


MICROVOLTS_PER_MILLIVOLT = 1000  # one unit of the column `ecg` is one microvolt
SPLITS = ("train", "validation", "test")
SPLIT_SHARES = (0.85, 0.10, 0.05)
SPLIT_RULE = "sha256 of the patient id: 85 % train, 10 % validation, 5 % test"  # of `split_of`
# Columns that hold numbers to predict, beside those of `targets`.
NUMBER_COLUMNS = ("age",)
_SIGNAL_COLUMNS = ("sampling_rate", "lead_names")  # absent from tables that are older than these columns


@dataclass(frozen=True)
class ExamSchema:
    """
    What the rows of an exam table hold: which signal, which labels, which further numbers.

    Args:
        signal (`SignalSpec`): Of every row.
        labels (`tuple[Label]`): In the order of the struct `labels`.
        target_names (`tuple[str]`): Numbers of the struct `targets`, for regressions.
    """

    signal: SignalSpec = SignalSpec()
    labels: tuple[Label, ...] = CODE_LABELS
    target_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("an exam table needs at least one label: found none")
        for kind, names in (("label", self.label_names), ("target", self.target_names)):
            if len(set(names)) != len(names):
                raise ValueError(f"expected each {kind} once: found {', '.join(names)}")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in their order."""
        return tuple(label.name for label in self.labels)

    @property
    def ecg_length(self) -> int:
        """Values of one recording."""
        return math.prod(self.signal.shape)

    @property
    def features(self) -> Features:
        """
        The columns.

        A flat list of fixed length reads several times faster than Array2D; see docs/architecture.md.
        """
        columns: dict[str, Any] = {
            "exam_id": Value("string"),
            "patient_id": Value("string"),
            "source": Value("string"),
            "ecg": List(Value("int16"), length=self.ecg_length),  # microvolts, one lead after the other
            "n_samples": Value("int32"),  # of each lead before zero padding, which is the same on both sides
            "sampling_rate": Value("int32"),  # Hz
            "lead_names": List(Value("string"), length=len(self.signal.lead_names)),
            "age": Value("float32"),  # years, or null
            "sex": Value("string"),  # "male", "female" or null
            "labels": {name: Value("int8") for name in self.label_names},  # 0, 1, -1 unknown
            "report": Value("string"),  # what the text tower may see of the report, or null
            "report_id": Value("int32"),  # equal for equal texts; -1 where there is none
            "quality": List(Value("string")),  # flags; see data_scripts/conversion/builder.py
        }
        if self.target_names:
            columns["targets"] = {name: Value("float32") for name in self.target_names}  # null where unknown
        return Features(columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        return self.features.arrow_schema

    def to_dict(self) -> dict[str, Any]:
        """Returns what `conversion.json` says of it: `signal`, `labels`, `targets`."""
        return {
            "signal": self.signal.to_dict(),
            "labels": [label.to_dict() for label in self.labels],
            "targets": list(self.target_names),
        }


EXAM_FEATURES = ExamSchema().features


def text_features(width: int) -> Features:
    """Returns the columns of a text table whose embeddings have `width` numbers."""
    return Features(
        {
            "report_id": Value("int32"),
            "report": Value("string"),
            "text_embeds": List(Value("float32"), length=width),
        }
    )


def split_of(patient_id: str, seed: int = 0) -> str:
    """
    Returns the split of a patient: 85 % `"train"`, 10 % `"validation"`, 5 % `"test"`.

    It depends on nothing but the arguments, so that all exams of a patient stay together, in any order, in any
    process, and when exams are added later.

    Args:
        patient_id (`str`): Grouping key.
        seed (`int`, defaults to 0): Another number gives another, independent split.
    """
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    upper = 0.0
    for split, share in zip(SPLITS[:-1], SPLIT_SHARES[:-1], strict=True):
        upper += share
        if position < upper:
            return split
    return SPLITS[-1]


def schema_of(table: DatasetDict | IterableDatasetDict | Dataset, record: dict[str, Any] | None = None) -> ExamSchema:
    """
    Returns what a table's rows hold, from its columns, its first row and the record of its conversion.

    Args:
        table (`DatasetDict`, `IterableDatasetDict` or `Dataset`):
            With the columns of [`ExamSchema`], or with those of tables that are older than the columns
            `sampling_rate` and `lead_names`: 12 leads, 4096 samples at 400 Hz, and CODE's six labels as a list.
        record (`dict`, *optional*): From [`conversion_record`]: titles and phrases of the labels; the signal of a
            table without rows.

    Raises:
        `ValueError`: for columns of another type.
    """
    splits = [table] if isinstance(table, Dataset) else list(table.values())
    record = record or {}
    features = next((rows.features for rows in splits if rows.features is not None), None)
    first = next((row for rows in splits for row in _first_row(rows)), None)
    if features is None:  # streams of Parquet files do not know their columns before a row
        features = EXAM_FEATURES if first is None else {name: first[name] for name in first}
    names = list(features["labels"]) if isinstance(features.get("labels"), dict) else None
    signal = SignalSpec(**record["signal"]) if first is None and "signal" in record else SignalSpec()
    if first is not None and all(first.get(column) is not None for column in _SIGNAL_COLUMNS):
        lead_names = tuple(first["lead_names"])
        signal = SignalSpec(lead_names, int(first["sampling_rate"]), max(len(first["ecg"]) // len(lead_names), 1))
    labels = CODE_LABELS if names is None else labels_named(names, record.get("labels"))
    return ExamSchema(signal, labels, tuple(features.get("targets") or ()))


def exam_columns(rows: Dataset) -> Features:
    """Returns the exam table's own columns of a split, in their order and with their types; others are left out."""
    return Features({name: rows.features[name] for name in (*EXAM_FEATURES, "targets") if name in rows.features})


def _first_row(rows: Dataset | IterableDataset) -> Iterator[dict[str, Any]]:
    """The first row, where there is one."""
    return iter(rows.take(min(1, len(rows)) if isinstance(rows, Dataset) else 1))


def ecg_array(ecg: Dataset | pa.Table | pa.ChunkedArray | pa.Array, n_leads: int | None = None) -> np.ndarray:
    """
    Returns the recordings as numpy: int16 (n, leads, samples), in microvolts, a read-only view where possible.

    A column in one piece, as a slice of a table on disk is, is not copied. A column in several pieces, as a batch of
    random rows is, is joined first, which copies it once: do not ask for a whole large table at a time.

    Args:
        ecg (`datasets.Dataset`, `pyarrow.Table` or the column `ecg` of one):
            For example `dataset.with_format("arrow")[10:20]`.
        n_leads (`int`, *optional*): Of each recording; what a table states where left out, or 12.

    Raises:
        `TypeError`: for a column of another type.
    """
    if isinstance(ecg, Dataset):
        ecg = ecg.with_format("arrow")[:]
    if isinstance(ecg, pa.Table):
        if n_leads is None and "lead_names" in ecg.column_names:
            n_leads = ecg.schema.field("lead_names").type.list_size
        ecg = ecg.column("ecg")
    n_leads = len(LEAD_NAMES) if n_leads is None else n_leads
    if not pa.types.is_fixed_size_list(ecg.type) or ecg.type.value_type != pa.int16() or ecg.type.list_size % n_leads:
        raise TypeError(f"expected lists of int16, as many for each of {n_leads} leads: found {ecg.type}")
    if isinstance(ecg, pa.ChunkedArray):
        ecg = ecg.chunk(0) if ecg.num_chunks == 1 else ecg.combine_chunks()
    # `flatten` honours the offset of a slice, `values` would not.
    return ecg.flatten().to_numpy(zero_copy_only=True).reshape(-1, n_leads, ecg.type.list_size // n_leads)


def label_counts(rows: Dataset, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Returns by label how many rows are `"positive"`, `"negative"` and `"unknown"`."""
    kinds = {"positive": 1, "negative": 0, "unknown": UNKNOWN_LABEL}
    columns = zip(names, labels_array(rows).T, strict=True)
    return {name: {kind: int((of == value).sum()) for kind, value in kinds.items()} for name, of in columns}


def labels_array(rows: Dataset | pa.Table) -> np.ndarray:
    """
    Returns the labels as numpy: int8 of shape (n, labels), in the order of the table's columns.

    Args:
        rows (`datasets.Dataset` or `pyarrow.Table`): With the column `labels`, a struct or, in older tables, a list.
    """
    column = _column(rows, "labels")
    if pa.types.is_struct(column.type):
        columns = [child.to_numpy(zero_copy_only=False) for child in column.flatten()]
        return np.stack(columns, axis=1) if len(column) else np.empty((0, column.type.num_fields), np.int8)
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def targets_array(rows: Dataset | pa.Table, names: Sequence[str]) -> np.ndarray:
    """
    Returns numbers to predict: float32 of shape (n, names), NaN where unknown.

    Args:
        rows (`datasets.Dataset` or `pyarrow.Table`): One split.
        names (`Sequence[str]`): Of `NUMBER_COLUMNS`, or of the struct `targets`.

    Raises:
        `ValueError`: for a name that the table does not have, listing those that it has.
    """
    table = rows.data if isinstance(rows, Dataset) else rows
    known = {name: name for name in NUMBER_COLUMNS if name in table.column_names}
    further: Any = _column(rows, "targets") if "targets" in table.column_names else None
    stated = [] if further is None else [field.name for field in further.type]
    columns = []
    for name in names:
        if name not in known and name not in stated:
            raise ValueError(f"expected target columns of {', '.join([*known, *stated]) or 'none'}: found {name}")
        column = _column(rows, name) if name in known else further.field(name)
        columns.append(column.to_numpy(zero_copy_only=False).astype(np.float32))
    return np.stack(columns, axis=1)


def _column(rows: Dataset | pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    table = rows.data if isinstance(rows, Dataset) else rows
    return table.column(name).combine_chunks()


def load_exam_table(
    name_or_path: str | Path, revision: str | None = None, streaming: bool = False, verify: bool = True
) -> DatasetDict | IterableDatasetDict:
    """
    Returns the three splits of an exam table, checked.

    Args:
        name_or_path (`str` or `Path`): A folder that a converter wrote, or a data set id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        streaming (`bool`, defaults to `False`):
            Read rows as they are asked for, without a local copy. Columns are then checked, patients are not, since
            that would read the whole table; nor are digests.
        verify (`bool`, defaults to `True`):
            Compare the files of a folder with its `SHA256SUMS`, where it has one: they are read once for it.

    Raises:
        `FileNotFoundError`: where a local folder is named that does not exist.
        `ValueError`: for missing splits or columns, columns of another type, a patient in two splits, a file that
            differs from its digest, or `::` in the path.
        `HubAccessError`: where the Hub refuses, or is not reached.
    """
    folder = Path(name_or_path)
    refuse_chained_name(folder)
    if folder.is_dir():
        if verify and not streaming:
            verify_data(folder)
        if (folder / "dataset_dict.json").is_file():
            table = load_from_disk(str(folder))
            if streaming:
                table = IterableDatasetDict({split: as_stream(rows) for split, rows in table.items()})
        else:
            table = load_dataset(str(folder), streaming=streaming)
    elif folder.is_absolute() or str(name_or_path).startswith(".") or len(folder.parts) > 2:
        raise FileNotFoundError(f"exam table {name_or_path}: no such folder, and not the id of a data set on the Hub")
    else:
        with one_line_errors(f"exam table {name_or_path}"):
            try:
                table = load_dataset(str(name_or_path), revision=revision, streaming=streaming)
            except DatasetNotFoundError as error:
                at_revision = f" at {revision}" if revision else ""
                raise FileNotFoundError(
                    f"exam table {name_or_path}{at_revision}: no such folder, and no such data set on the Hub, or it "
                    "is private and the token may not see it"
                ) from error
    if any(split not in table for split in SPLITS):
        add_empty_splits(table, conversion_record(name_or_path, revision))
    check_exam_table(table, str(name_or_path))
    return table


def refuse_chained_name(folder: Path) -> None:
    """
    Refuses the path of a table that `datasets` would take for a chain of file systems, which it parts at `::`.

    Every path of a table comes here before anything is read or written there.

    Raises:
        `ValueError`: naming the path.
    """
    if "::" in str(folder):
        raise ValueError(
            f"{folder}: expected the path of a table without '::', which the library datasets reads as a chain of "
            "file systems: rename the folder"
        )


def conversion_record(name_or_path: str | Path, revision: str | None = None) -> dict[str, Any] | None:
    """
    Returns what the `conversion.json` of an exam table says, or None where it has none or none can be fetched.

    Args:
        name_or_path (`str` or `Path`): A folder, or a data set id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.

    Raises:
        `HubAccessError`: where the Hub refuses.
    """
    path = Path(name_or_path, "conversion.json")
    if not path.parent.is_dir():
        with one_line_errors(f"exam table {name_or_path}"):
            try:
                path = Path(hf_hub_download(str(name_or_path), path.name, repo_type="dataset", revision=revision))
            except EntryNotFoundError:  # offline too
                return None
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def add_empty_splits(table: DatasetDict | IterableDatasetDict, record: dict[str, Any] | None) -> None:
    """
    Adds the splits that hold no exam, as `load_dataset` knows none without rows; others stay missing.

    Args:
        table (`DatasetDict` or `IterableDatasetDict`): From `load_dataset`; changed.
        record (`dict`, *optional*): From [`conversion_record`], which counts the exams of each split.
    """
    for split, counts in (record or {}).get("splits", {}).items():
        if split not in table and counts["exams"] == 0:
            features = next((rows.features for rows in table.values() if rows.features is not None), EXAM_FEATURES)
            rows = Dataset.from_dict({column: [] for column in features}, features=features)
            table[split] = as_stream(rows) if isinstance(table, IterableDatasetDict) else rows


def as_stream(rows: Dataset) -> IterableDataset:
    """Returns a split as a stream; `to_iterable_dataset` refuses one without rows."""
    if len(rows):
        return rows.to_iterable_dataset()
    return IterableDataset.from_generator(list, features=rows.features)


def check_exam_table(table: DatasetDict | IterableDatasetDict, name: str) -> None:
    """
    Refuses a table that lacks a split or a column, has a column of another type, or a patient in two splits.

    Args:
        table (`DatasetDict` or `IterableDatasetDict`): With the latter, patients are not compared.
        name (`str`): For the message.
    """
    missing = [split for split in SPLITS if split not in table]
    if missing:
        raise ValueError(f"exam table {name}: expected the splits {', '.join(SPLITS)}, found {', '.join(table)}")
    for split in SPLITS:
        features = table[split].features
        if features is None:  # a stream does not know its columns before its first row
            features = {column: None for row in table[split].take(1) for column in row} or EXAM_FEATURES
        _check_columns(features, f"exam table {name}, split {split}")
    schema = schema_of(table)
    for split in SPLITS:
        features, expected = table[split].features or {}, schema.features
        for column in ("ecg", "labels", "targets"):
            if features.get(column, expected.get(column)) not in (expected.get(column), _OLD_LABELS):
                raise ValueError(
                    f"exam table {name}, split {split}, column {column}: expected {expected.get(column)} as in the "
                    f"other splits, found {features[column]}"
                )
    if isinstance(table, DatasetDict):
        for split in SPLITS:
            _check_signal(table[split], schema.signal, f"exam table {name}, split {split}")
        check_patients(table, name)


_OLD_LABELS = List(Value("int8"), length=len(CODE_LABELS))


def _check_columns(features: Mapping[str, Any], where: str) -> None:
    """Refuses columns that are missing, or of a type that no exam table has; None is a type that is not known."""
    absent = [column for column in EXAM_FEATURES if column not in (*features, *_SIGNAL_COLUMNS)]
    if absent:
        raise ValueError(f"{where}: missing columns {', '.join(absent)}")
    for column, expected in EXAM_FEATURES.items():
        found = features.get(column)
        if found is None or found == expected:
            continue
        if column == "labels":
            fits = found == _OLD_LABELS or (
                isinstance(found, dict) and all(one == Value("int8") for one in found.values())
            )
        else:
            fits = column in ("ecg", "lead_names") and isinstance(found, List) and found.feature == expected.feature
        if not fits:
            raise ValueError(f"{where}, column {column}: expected {expected}, found {found}")


def _check_signal(rows: Dataset, signal: SignalSpec, where: str) -> None:
    """Refuses a split whose rows state different signals."""
    columns = rows.data
    if not len(rows) or any(column not in columns.column_names for column in _SIGNAL_COLUMNS):
        return
    rates = pc.unique(columns.column("sampling_rate")).to_pylist()
    if rates != [signal.sampling_rate]:
        raise ValueError(f"{where}, column sampling_rate: expected {signal.sampling_rate} in every row, found {rates}")
    names = columns.column("lead_names")
    for i, name in enumerate(signal.lead_names):
        found = pc.unique(pc.list_element(names, i)).to_pylist()
        if found != [name]:
            raise ValueError(f"{where}, column lead_names: expected {name} at place {i} in every row, found {found}")


def patients_known(table: DatasetDict, record: Mapping[str, Any] | None = None) -> bool:
    """
    Returns whether a table's patients are those of its source; False: each exam counts as its own.

    Args:
        table (`DatasetDict`): From [`load_exam_table`].
        record (`Mapping`, *optional*): From [`conversion_record`], which says `patients` where the source states none.
            Without it the ids tell: no patient has another than its exam.
    """
    if record is not None:
        return "patients" not in record
    ids = ([rows.data.column(name) for name in ("patient_id", "exam_id")] for rows in table.values())
    return not all(pc.all(pc.equal(patients, exams), min_count=0).as_py() for patients, exams in ids)


def check_patients(table: DatasetDict, name: str) -> dict[str, int]:
    """
    Returns the number of patients in each split, after making sure that no patient is in two.

    Args:
        table (`DatasetDict`): Any table with a column `patient_id`.
        name (`str`): For the message.
    """
    patients = {split: pc.unique(rows.data.column("patient_id")) for split, rows in table.items()}
    splits = list(patients)
    for i, first in enumerate(splits):
        for second in splits[i + 1 :]:
            shared = patients[first].filter(pc.is_in(patients[first], value_set=patients[second]))
            if len(shared):
                raise ValueError(
                    f"exam table {name}: patient {shared[0].as_py()} is in {first} and in {second} "
                    f"({len(shared)} such patients)"
                )
    return {split: len(ids) for split, ids in patients.items()}
