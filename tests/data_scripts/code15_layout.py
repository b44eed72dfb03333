"""Writes the layout in which CODE-15% is published."""

import h5py
import numpy as np
import pandas as pd
from datasets import concatenate_datasets

from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from tests.simulated import simulated


def make_tracing(seed, n_samples=4096):
    """A tracing (4096, 12) in published units, 2 x mV, with zeros on both sides of `n_samples` samples."""
    padding = (4096 - n_samples) // 2
    tracing = np.zeros((4096, 12), dtype=np.float32)
    tracing[padding : padding + n_samples] = 2 * simulated(seed, n_samples).T
    return tracing


def write_part(path, ids, tracings, zero_row=True):
    """One HDF5 part, by default with the published row of zeros at its end."""
    ids, tracings = list(ids), list(tracings)
    if zero_row:
        ids, tracings = [*ids, 0], [*tracings, np.zeros_like(tracings[0])]
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array(ids, dtype=np.int64)
        file.create_dataset("tracings", data=np.stack(tracings), chunks=(1, *tracings[0].shape), compression="gzip")


def exams_frame(parts):
    """exams.csv of `{part: ids}`, two exams of a patient each, with the columns and blanks of the published one."""
    rows = []
    for part, ids in parts.items():
        for exam_id in ids:
            row = {"exam_id": exam_id, "age": 20 + exam_id % 60, "is_male": exam_id % 2 == 0, "nn_predicted_age": 50.5}
            row |= {label: exam_id % 7 == i for i, label in enumerate(LABEL_NAMES)}
            row |= {"patient_id": exam_id // 2, "death": "", "timey": "", "normal_ecg": False, "trace_file": part}
            rows.append(row)
    return pd.DataFrame(rows)


def edit_csv(folder, **changes):
    frame = pd.read_csv(folder / "exams.csv", dtype=str, keep_default_na=False)
    for column, value in changes.items():
        frame.loc[0, column] = value
    frame.to_csv(folder / "exams.csv", index=False)
    return frame["exam_id"][0]


def rows_of(table):
    """All rows by exam id."""
    return {row["exam_id"]: row for row in concatenate_datasets(list(table.values()))}


def microvolts(tracing):
    """Published values (4096, 12) are twice the millivolts."""
    return np.rint(tracing.T.astype(np.float64) / 2 * 1000)
