"""The test set of CODE as published on Zenodo to an exam table with one split, `test`.

    python -m data_scripts.code_test --source_dir D --output_dir O [--annotator gold_standard]

827 exams in `ecg_tracings.hdf5`, whose one dataset `tracings` (827, 4096, 12) is in CODE-15%'s unit, twice the
millivolts; `attributes.csv` and `annotations/*.csv` have one line for each, in the same order.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from common.commands import exit_status
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, SourceSettings
from data_scripts.conversion.index import file_version, numbers, read_index
from data_scripts.conversion.run import convert
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.reading_ecgclip import EcgRecord, code15_tracing_to_mv
from modeling_ecgclip.signal_ecgclip import N_SAMPLES, SAMPLING_RATE


TRACINGS_FILE = "ecg_tracings.hdf5"
# Not CODE-15%'s: the data set's own description has this order, and for it alone aVL = I - II / 2 holds in all its
# recordings (the sum of aVR, aVL and aVF is 0 in any order).
CODE_TEST_LEADS = ("I", "II", "III", "aVL", "aVF", "aVR", "V1", "V2", "V3", "V4", "V5", "V6")
SEXES = {"M": "male", "F": "female", "": None}


@dataclass
class CodeTestSettings(SourceSettings):
    """Settings of [`CodeTest`]."""

    annotator: str = field(
        default="gold_standard",
        metadata={"help": "whose labels: gold_standard, cardiologist1, cardiologist2, dnn, ..."},
    )


class CodeTest(EcgBuilder):
    """
    Reads the test set of CODE.

    Source: Ribeiro et al., "Automatic diagnosis of the 12-lead ECG using a deep neural network", Nature
    Communications 11:1760 (2020); Zenodo record 3765780.
    """

    config: CodeTestSettings

    def plan(self) -> ExamPlan:
        """Returns all exams, after the files were found to belong together."""
        folder = Path(self.config.source_dir)
        annotations = folder / "annotations" / f"{self.config.annotator}.csv"
        if not annotations.is_file() and annotations.parent.is_dir():
            known = ", ".join(sorted(path.stem for path in annotations.parent.glob("*.csv"))) or "none"
            raise ValueError(f"{annotations.parent}: no annotator {self.config.annotator!r}: found {known}")
        n_exams = read_n_exams(folder / TRACINGS_FILE)
        attributes = read_index(folder / "attributes.csv", ("age", "sex"))
        labels = read_index(annotations, LABEL_NAMES)
        for path, rows in ((folder / "attributes.csv", attributes), (annotations, labels)):
            if len(rows) != n_exams:
                raise ValueError(f"{path}: expected {n_exams} lines, one for each tracing: found {len(rows)}")
        exam_ids = pd.Series([str(row) for row in range(n_exams)], dtype=object)
        sexes = attributes["sex"].str.strip()
        if not sexes.isin(SEXES).all():
            i = (~sexes.isin(SEXES)).idxmax()
            raise ValueError(f"{folder / 'attributes.csv'}, exam {i}: expected the sex M or F, found {sexes[i]!r}")
        exams = pd.DataFrame(
            {
                "exam_id": exam_ids,
                "patient_id": exam_ids,
                "split": "test",
                "age": numbers(attributes["age"], folder / "attributes.csv", exam_ids),
                "sex": sexes.map(SEXES).astype(object).where(sexes != "", None),
                "report": None,
                "part": TRACINGS_FILE,
                "location": exam_ids,
            }
        )
        for label in LABEL_NAMES:
            cells = labels[label].str.strip().str.removesuffix(".0")
            if not cells.isin(("0", "1")).all():
                i = (~cells.isin(("0", "1"))).idxmax()
                raise ValueError(f"{annotations}, exam {i}, column {label}: expected 0 or 1, found {cells[i]!r}")
            exams[label] = cells.astype(np.int8)
        facts = {
            "source": "code_test",
            "source_version": file_version(annotations),
            "split_rule": "every exam is test: the source is for evaluation",
            "patients": "no ids are published; the exams are of different patients, so each exam is its own patient",
            "annotator": self.config.annotator,
        }
        return ExamPlan(exams, "code_test", n_exams, [], facts)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the tracings in millivolts, without their zero padding."""
        path = Path(self.config.source_dir, TRACINGS_FILE)
        with h5py.File(path, "r") as file:
            for exam in exams:
                name = f"{path.name}, row {exam['location']}"
                try:
                    tracing = file["tracings"][int(exam["location"])]  # (samples, leads)
                except OSError as error:
                    yield Rejection(exam["exam_id"], "unreadable tracing", f"{name}: {error}")
                    continue
                if tracing.any():
                    yield EcgRecord(code15_tracing_to_mv(tracing, name), SAMPLING_RATE, CODE_TEST_LEADS, "mV", name)
                else:
                    yield Rejection(exam["exam_id"], "all-zero tracing", name)


def read_n_exams(path: Path) -> int:
    """
    Returns the number of tracings in the HDF5 file.

    Raises:
        `FileNotFoundError`, `ValueError`: for a missing, truncated or different file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --source_dir must hold it")
    try:
        with h5py.File(path, "r") as file:
            if "tracings" not in file:
                raise ValueError(f"{path}: expected the dataset tracings, found {', '.join(file) or 'none'}")
            shape, dtype = file["tracings"].shape, file["tracings"].dtype
    except OSError as error:
        raise ValueError(f"{path}: not a readable HDF5 file, or truncated: {error}") from error
    if len(shape) != 3 or shape[1:] != (N_SAMPLES, len(CODE_TEST_LEADS)) or dtype.kind != "f":
        raise ValueError(
            f"{path}: expected tracings of shape (exams, {N_SAMPLES}, {len(CODE_TEST_LEADS)}) in floating point, "
            f"found {shape} in {dtype}"
        )
    return shape[0]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(CodeTest, CodeTestSettings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
