"""One number for the content of an exam table: its rows and their order, whatever files or batches hold them."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import pyarrow as pa
import xxhash
from datasets import DatasetDict, IterableDatasetDict

from data_scripts.tables.schema import EXAM_FEATURES, SPLITS, ecg_array


ROW_DIGEST_BYTES = 16
ROWS_AT_A_TIME = 64


def row_digests(table: pa.Table) -> bytes:
    """
    Returns the digests of the rows of a piece of an exam table, 16 bytes each, one after the other.

    A row's digest is the xxh3-128 of its columns as JSON, in the schema's order and without `ecg`, and of the bytes of
    `ecg`. It finds damage and difference; it is no protection against somebody who forges a table.

    Args:
        table (`pyarrow.Table`): With the columns and types of `EXAM_FEATURES`.
    """
    recordings = ecg_array(table)  # (rows, 12, 4096), int16
    others = [column.name for column in EXAM_FEATURES.arrow_schema if column.name != "ecg"]
    digests = []
    for values, recording in zip(
        zip(*(table[name].to_pylist() for name in others), strict=True), recordings, strict=True
    ):
        digest = xxhash.xxh3_128(json.dumps(values, ensure_ascii=False).encode())
        digest.update(recording)
        digests.append(digest.digest())
    return b"".join(digests)


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
    schema = EXAM_FEATURES.arrow_schema

    def pieces(split: str) -> Iterable[bytes]:
        for piece in table[split].with_format("arrow").iter(batch_size=ROWS_AT_A_TIME):
            yield row_digests(piece.select(schema.names).cast(schema))

    return combined_digest({split: pieces(split) for split in SPLITS})
