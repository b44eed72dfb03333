"""What the rows of an exam table may hold: looked through column by column before anything is learned from them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from data_scripts.tables.schema import ExamSchema, ecg_array
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL
from modeling_ecgclip.losses_ecgclip import NO_REPORT


NEVER_NULL = ("exam_id", "patient_id", "source", "ecg", "n_samples", "report_id")
LABEL_VALUES = (UNKNOWN_LABEL, 0, 1)
MOST_NAMED = 5  # exams in a message
GLANCE = 64  # samples in the middle of the first lead; where all of them are zero, the whole recording is looked at


def check_contents(table: DatasetDict, schema: ExamSchema, name: str) -> None:
    """
    Refuses a table with rows from which nothing true can be learned.

    That are: a null where there must be a value, an exam id that comes twice, a length of no sample or of more than
    the window, labels other than 0, 1 and -1, ages and targets that are infinite, a report id without its report, and
    recordings of zeros alone. Unknown ages and targets, null or NaN, are allowed.

    Args:
        table (`DatasetDict`): From [`load_exam_table`], which has checked splits, columns, signal and patients.
        schema (`ExamSchema`): Of the table.
        name (`str`): For the message.

    Raises:
        `ValueError`: naming split, column, what was found in how many rows, and the first exams.
    """
    for split, rows in table.items():
        for column, fault, wrong in _faults(rows, schema):
            if pc.any(wrong, min_count=0).as_py():
                where = f"exam table {name}, split {split}, column {column}"
                raise ValueError(f"{where}: {fault} in {_named(rows.data, wrong)}")
    _check_repeated(table, name)


def _faults(rows: Dataset, schema: ExamSchema) -> Iterator[tuple[str, str, pa.ChunkedArray | pa.Array]]:
    """Yields column, fault and a mask of the rows that have it; null counts as not."""
    data = rows.data
    for column in NEVER_NULL:
        yield column, "expected a value, found null", pc.is_null(data.column(column))
    if any(chunk.values.null_count for chunk in data.column("ecg").chunks):
        yield "ecg", "expected a value of each sample, found null", _null_samples(data.column("ecg"))
    lengths, window = data.column("n_samples"), schema.signal.n_samples
    wrong = pc.or_(pc.less(lengths, 1), pc.greater(lengths, window))
    yield "n_samples", f"expected 1 to {window}, the table's window, found {_first(lengths, wrong)}", wrong
    for label, column in _labels(data, schema):
        wrong = pc.invert(pc.is_in(column, value_set=pa.array(LABEL_VALUES, column.type)))
        yield f"labels, {label}", f"expected 0, 1 or -1 (unknown), found {_first(column, wrong)}", wrong
    for column, numbers in _numbers(data, schema):
        yield column, "expected finite numbers, or null where unknown, found infinity", pc.is_inf(numbers)
    ids, reports = data.column("report_id"), data.column("report")
    lacks = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(reports)), 0), True)
    yield "report", "expected the text of a report_id, found none", pc.and_(pc.not_equal(ids, NO_REPORT), lacks)
    yield "ecg", "expected a recording, found nothing but zeros", pa.array(_silent(rows, schema))


def _labels(data: pa.Table, schema: ExamSchema) -> Iterator[tuple[str, pa.ChunkedArray | pa.Array]]:
    """Each label's column; older tables have a list of them."""
    column = data.column("labels")
    for place, label in enumerate(schema.label_names):
        is_struct = pa.types.is_struct(column.type)
        yield label, pc.struct_field(column, place) if is_struct else pc.list_element(column, place)


def _numbers(data: pa.Table, schema: ExamSchema) -> Iterator[tuple[str, pa.ChunkedArray | pa.Array]]:
    yield "age", data.column("age")
    for place, target in enumerate(schema.target_names):
        yield f"targets, {target}", pc.struct_field(data.column("targets"), place)


def _null_samples(column: pa.ChunkedArray) -> pa.Array:
    """Which recordings have a null among their samples."""
    length = column.type.list_size
    lacking = [pc.is_null(chunk.flatten()).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return pa.array(np.concatenate(lacking).reshape(-1, length).any(axis=1))


def _silent(rows: Dataset, schema: ExamSchema) -> np.ndarray:
    """
    Returns which recordings hold zeros alone, bool (rows,).

    A few samples in the middle of the first lead tell that of nearly all recordings, as padding lies at the ends; a
    look at every sample of a large table would take as long as an epoch does.
    """
    found = []
    start = max(schema.signal.n_samples - GLANCE, 0) // 2
    for chunk in rows.data.column("ecg").chunks:
        ecg = ecg_array(chunk, len(schema.signal.lead_names))
        silent = ~ecg[:, 0, start : start + GLANCE].any(axis=1)
        for row in np.flatnonzero(silent):
            silent[row] = not ecg[row].any()
        found.append(silent)
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)


def _check_repeated(table: DatasetDict, name: str) -> None:
    """Refuses an exam id that comes twice, in one split or in two."""
    columns = [rows.data.column("exam_id") for rows in table.values()]
    counts = pc.value_counts(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated):
        raise ValueError(
            f"exam table {name}, column exam_id: expected each exam once, found {_listed(repeated)} more than once"
        )


def _first(column: pa.ChunkedArray | pa.Array, wrong: pa.ChunkedArray | pa.Array) -> object:
    """The first wrong value."""
    found = column.filter(wrong)
    return found[0].as_py() if len(found) else None


def _named(data: pa.Table, wrong: pa.ChunkedArray | pa.Array) -> str:
    return _listed(data.column("exam_id").filter(wrong))


def _listed(ids: pa.ChunkedArray | pa.Array) -> str:
    """How many exams, and which the first are."""
    named = ", ".join(map(str, ids[:MOST_NAMED].to_pylist()))
    more = f" and {len(ids) - MOST_NAMED:,} more" if len(ids) > MOST_NAMED else ""
    return f"exam {named}" if len(ids) == 1 else f"{len(ids):,} exams: {named}{more}"
