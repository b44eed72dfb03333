"""The exam table: its columns, its splits, and how it is opened."""

import hashlib
import json
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

from common.hub_access import one_line_errors
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, LEAD_NAMES, N_SAMPLES


ECG_SHAPE = (len(LEAD_NAMES), N_SAMPLES)
ECG_LENGTH = len(LEAD_NAMES) * N_SAMPLES
MICROVOLTS_PER_MILLIVOLT = 1000  # one unit of the column `ecg` is one microvolt

# A flat list of fixed length reads several times faster than Array2D; see docs/architecture.md.
EXAM_FEATURES = Features(
    {
        "exam_id": Value("string"),
        "patient_id": Value("string"),
        "source": Value("string"),
        "ecg": List(Value("int16"), length=ECG_LENGTH),  # microvolts at 400 Hz, one lead after the other
        "n_samples": Value("int32"),  # samples of each lead before zero padding, which is the same on both sides
        "age": Value("float32"),  # years, or null
        "sex": Value("string"),  # "male", "female" or null
        "labels": List(Value("int8"), length=len(LABEL_NAMES)),  # in the order of LABEL_NAMES: 0, 1, -1 unknown
        "report": Value("string"),  # what the text tower may see of the report, or null
        "report_id": Value("int32"),  # equal for equal texts; -1 where there is none
        "quality": List(Value("string")),  # flags; see data_scripts/conversion/builder.py
    }
)

SPLITS = ("train", "validation", "test")
SPLIT_SHARES = (0.85, 0.10, 0.05)


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


def ecg_array(ecg: Dataset | pa.Table | pa.ChunkedArray | pa.Array) -> np.ndarray:
    """
    Returns the recordings as numpy: int16 of shape (n, 12, 4096), in microvolts, a read-only view where possible.

    A column in one piece, as a slice of a table on disk is, is not copied. A column in several pieces, as a batch of
    random rows is, is joined first, which copies it once: do not ask for a whole large table at a time.

    Args:
        ecg (`datasets.Dataset`, `pyarrow.Table` or the column `ecg` of one):
            For example `dataset.with_format("arrow")[10:20]`.

    Raises:
        `TypeError`: for a column of another type.
    """
    if isinstance(ecg, Dataset):
        ecg = ecg.with_format("arrow")[:]
    if isinstance(ecg, pa.Table):
        ecg = ecg.column("ecg")
    expected = EXAM_FEATURES.arrow_schema.field("ecg").type
    if ecg.type != expected:
        raise TypeError(f"expected a column of type {expected}: found {ecg.type}")
    if isinstance(ecg, pa.ChunkedArray):
        ecg = ecg.chunk(0) if ecg.num_chunks == 1 else ecg.combine_chunks()
    # `flatten` honours the offset of a slice, `values` would not.
    return ecg.flatten().to_numpy(zero_copy_only=True).reshape(-1, *ECG_SHAPE)


def load_exam_table(
    name_or_path: str | Path, revision: str | None = None, streaming: bool = False
) -> DatasetDict | IterableDatasetDict:
    """
    Returns the three splits of an exam table, checked.

    Args:
        name_or_path (`str` or `Path`): A folder that a converter wrote, or a data set id on the Hub.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        streaming (`bool`, defaults to `False`):
            Read rows as they are asked for, without a local copy. Columns are then checked, patients are not, since
            that would read the whole table.

    Raises:
        `FileNotFoundError`: where a local folder is named that does not exist.
        `ValueError`: for missing splits or columns, columns of another type, or a patient in two splits.
        `HubAccessError`: where the Hub refuses, or is not reached.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
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
            rows = Dataset.from_dict({column: [] for column in EXAM_FEATURES}, features=EXAM_FEATURES)
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
        absent = [column for column in EXAM_FEATURES if column not in features]
        if absent:
            raise ValueError(f"exam table {name}, split {split}: missing columns {', '.join(absent)}")
        for column, expected in EXAM_FEATURES.items():
            if features[column] not in (None, expected):
                raise ValueError(
                    f"exam table {name}, split {split}, column {column}: expected {expected}, found {features[column]}"
                )
    if isinstance(table, DatasetDict):
        check_patients(table, name)


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
