"""One number for the content of an exam table: its rows and their order, whatever files or batches hold them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import xxhash
from datasets import DatasetDict, IterableDatasetDict

from data_scripts.tables.schema import SPLITS, ExamSchema, ecg_array, schema_of


ROW_DIGEST_BYTES = 16
ROWS_AT_A_TIME = 64


# Columns of a row's digest beside `ecg`, in their order, whatever the table's is.
DIGEST_COLUMNS = (
    "exam_id",
    "patient_id",
    "source",
    "n_samples",
    "age",
    "sex",
    "labels",
    "report",
    "report_id",
    "quality",
)


def row_digests(table: pa.Table, schema: ExamSchema | None = None) -> bytes:
    """
    Returns the digests of the rows of a piece of an exam table, 16 bytes each, one after the other.

    A row's digest is the xxh3-128 of its columns as JSON, in the order of `DIGEST_COLUMNS`, of what the schema states
    where that is not the default, and of the bytes of `ecg`. It finds damage and difference; it is no protection
    against somebody who forges a table.

    Args:
        table (`pyarrow.Table`): With the columns of an exam table.
        schema (`ExamSchema`, *optional*): What the table's rows hold; the default where left out.
    """
    schema = ExamSchema() if schema is None else schema
    recordings = ecg_array(table, len(schema.signal.lead_names))  # (rows, leads, samples), int16
    columns = [table[name].to_pylist() for name in DIGEST_COLUMNS]
    place = DIGEST_COLUMNS.index("labels")
    columns[place] = [list(labels.values()) if isinstance(labels, dict) else labels for labels in columns[place]]
    columns += _further_columns(table, schema)
    digests = []
    for values, recording in zip(zip(*columns, strict=True), recordings, strict=True):
        digest = xxhash.xxh3_128(json.dumps(values, ensure_ascii=False).encode())
        digest.update(recording)
        digests.append(digest.digest())
    return b"".join(digests)


def _further_columns(table: pa.Table, schema: ExamSchema) -> list[list[Any]]:
    """What tables of other signals and labels state, which the default leaves out: its digests stay what they were."""
    default = ExamSchema()
    columns: list[list[Any]] = []
    if schema.signal != default.signal:
        columns.append([schema.signal.to_dict()] * table.num_rows)
    if schema.label_names != default.label_names:
        columns.append([list(schema.label_names)] * table.num_rows)
    if schema.target_names:
        columns.append(table["targets"].to_pylist())
    return columns


def combined_digest(digests: Mapping[str, Iterable[bytes]]) -> str:
    """
    Returns the digest of a table, as hexadecimal sha256, from those of its rows.

    Args:
        digests (`dict[str, Iterable[bytes]]`): For each split the output of [`row_digests`], in pieces of any size.
    """
    total = hashlib.sha256()
    for split in SPLITS:
        of_split, size = hashlib.sha256(), 0
        for piece in digests[split]:
            of_split.update(piece)
            size += len(piece)
        total.update(f"{split}:{size // ROW_DIGEST_BYTES}:{of_split.hexdigest()}\n".encode())
    return total.hexdigest()


def table_digest(table: DatasetDict | IterableDatasetDict) -> str:
    """
    Returns the digest of an exam table's content: what `conversion.json` states as `digest`.

    It depends on the rows of each split and their order alone: not on how many files or record batches hold them, how
    many processes wrote them, whether they are Arrow or Parquet, on disk or streamed. Reads the whole table once, 64
    rows at a time.

    Args:
        table (`DatasetDict` or `IterableDatasetDict`): See [`load_exam_table`].

    Raises:
        `KeyError`, `ValueError`: for a table that lacks a split or a column.
    """
    schema = schema_of(table)

    def pieces(split: str) -> Iterable[bytes]:
        for piece in table[split].with_format("arrow").iter(batch_size=ROWS_AT_A_TIME):
            yield row_digests(piece, schema)

    return combined_digest({split: pieces(split) for split in SPLITS})


def verify_rows(table: DatasetDict, record: Mapping[str, Any] | None, name: str) -> None:
    """
    Compares the rows of an exam table with the digest that its record states, whatever files they came through.

    Args:
        table (`DatasetDict`): The rows, all of which are read.
        record (`dict`, *optional*): Its `conversion.json`; one that states no digest passes.
        name (`str`): Of the table on the Hub.

    Raises:
        `ValueError`: naming both digests.
    """
    stated = (record or {}).get("digest")
    if stated is not None and (found := table_digest(table)) != stated:
        raise ValueError(
            f"exam table {name}: expected rows with the digest {stated}, which conversion.json states, found {found}: "
            f"damaged here, or changed there. load_dataset({name!r}, download_mode='force_redownload') fetches it anew"
        )
