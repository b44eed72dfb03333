"""Marks of many exams as a table: one row for each beat in each lead, and one for all leads together."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_scripts.simulate.marks import KIND_NAMES, MARKED_LEADS, MARKED_WAVES, PLACES, Marks
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


MARK_NAMES = tuple(f"{wave}_{place}" for wave in MARKED_WAVES for place in PLACES)
_NAMES = pa.dictionary(pa.int8(), pa.string())
MARKS_SCHEMA = pa.schema(
    [("exam_id", pa.int64()), ("lead", _NAMES), ("beat", pa.int16()), ("kind", _NAMES)]
    + [(f"{name}_ms", pa.float32()) for name in MARK_NAMES]
    + [(f"{name}_sample", pa.int16()) for name in MARK_NAMES]
)


def marks_table(exams: Sequence[tuple[int, int, Marks]]) -> pa.Table:
    """
    Table of `MARKS_SCHEMA`.

    `*_ms` count from the first recorded sample, `*_sample` is the nearest sample of the tracing as it is stored, zero
    padding included. Both are null where there is no such wave, or the mark lies outside the recording.

    Args:
        exams (`Sequence[tuple[int, int, Marks]]`): of each exam its id, where in the stored tracing its recording
            begins, and its marks.

    Returns:
        `pyarrow.Table`: exam after exam, lead after lead in the order of `MARKED_LEADS`, beat after beat.
    """
    exam_ids, first_samples, marks = zip(*exams, strict=True)
    n_leads, beats = len(MARKED_LEADS), [len(one.kinds) for one in marks]
    times = [one.times_ms.swapaxes(0, 1).reshape(-1, len(MARK_NAMES)) for one in marks]
    rows = np.concatenate(times).T.copy()
    per_exam = n_leads * np.array(beats)
    samples = np.rint(rows * np.float32(SAMPLING_RATE / 1000)) + np.repeat(first_samples, per_exam)
    absent = np.isnan(rows)
    kinds = np.concatenate([np.tile(one.kinds, n_leads) for one in marks])
    leads = np.concatenate([np.repeat(np.arange(n_leads), n) for n in beats])
    columns = [
        pa.array(np.repeat(exam_ids, per_exam)),
        pa.DictionaryArray.from_arrays(pa.array(leads, pa.int8()), pa.array(MARKED_LEADS)),
        pa.array(np.concatenate([np.tile(np.arange(n), n_leads) for n in beats]), pa.int16()),
        pa.DictionaryArray.from_arrays(pa.array(kinds, pa.int8()), pa.array(list(KIND_NAMES.values()))),
        *(pa.array(row, mask=none) for row, none in zip(rows, absent, strict=True)),
    ]
    whole = np.where(absent, 0, samples).astype(np.int16)
    columns += [pa.array(row, mask=none) for row, none in zip(whole, absent, strict=True)]
    return pa.table(columns, schema=MARKS_SCHEMA)
