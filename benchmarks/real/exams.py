"""The real ECGs that a classifier of CODE's six labels can be measured on, with what their sources say of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_scripts.ptbxl import PtbXlSettings, read_database, read_statements
from data_scripts.wfdb_folder import named_records, read_header, with_labels
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, LABEL_NAMES


# Folders of the samples, in the order in which one that is in two of them is taken, and Hz.
PTBXL = {"ptbxl100": 100, "ptbxl_sample": 500}
CINC = "cinc2021"
SETS = (*PTBXL, CINC)


@dataclass(frozen=True)
class RealExam:
    """
    A real ECG.

    Args:
        set (`str`): The folder that it lies in, one of `SETS`.
        exam_id (`str`): The same in two sets for one exam.
        patient_id (`str`): Of a source that knows no patients, the exam's own.
        path (`Path`): Its WFDB record.
        labels (`tuple[int]`): In the order of `LABEL_NAMES`: 1, 0, or -1 where the source does not say.
        age (`float`): Years, NaN where unknown.
        sex (`str`, *optional*): `"female"`, `"male"`, or None where unknown.
    """

    set: str
    exam_id: str
    patient_id: str
    path: Path
    labels: tuple[int, ...]
    age: float
    sex: str | None


def real_exams(folder: Path) -> list[RealExam]:
    """
    Returns all exams of all sets; one that is in two of them comes twice, see [`once`].

    Args:
        folder (`Path`): It holds `ptbxl100`, `ptbxl_sample` and `cinc2021`.

    Raises:
        `FileNotFoundError`: naming the set that is missing.
    """
    missing = [name for name in SETS if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(f"{folder}: expected the folders {', '.join(SETS)}: missing {', '.join(missing)}")
    found = [exam for name, rate in PTBXL.items() for exam in _ptbxl_exams(folder / name, rate)]
    return found + list(_cinc_exams(folder / CINC))


def once(exams: list[RealExam]) -> np.ndarray:
    """Returns a mask that takes each exam once: from the first set that has it."""
    first: dict[str, int] = {}
    for place, exam in enumerate(exams):
        first.setdefault(exam.exam_id, place)
    return np.isin(np.arange(len(exams)), list(first.values()))


def _ptbxl_exams(folder: Path, rate: int) -> Iterator[RealExam]:
    """Labels by the statements of `ptbxl_database.csv`, as its converter reads them."""
    settings = PtbXlSettings(source_dir=str(folder), sampling_rate=500 if rate == 500 else 100)
    rows, rejected = read_database(folder / "ptbxl_database.csv", settings, read_statements(folder, "code6"))
    if rejected:
        raise ValueError(f"{folder}, exam {rejected[0].record}: {rejected[0].reason}")
    for row in rows.to_dict("records"):
        yield RealExam(
            folder.name,
            f"ptbxl/{row['exam_id']}",
            f"ptbxl/{row['patient_id']}",
            folder / row["location"],
            tuple(row[name] for name in LABEL_NAMES),
            row["age"],
            row["sex"],
        )


def _cinc_exams(folder: Path) -> Iterator[RealExam]:
    """Labels by the codes of the headers, as the converter of WFDB folders reads them."""
    paths = sorted((folder / "records").glob("*.hea"))
    records = named_records([path.stem for path in paths])
    headers = [read_header(path) for path in paths]
    labelled = with_labels(records.assign(codes=[header["codes"] for header in headers]), CODE_LABELS)
    for path, header, row in zip(paths, headers, labelled.to_dict("records"), strict=True):
        labels = tuple(row[name] for name in LABEL_NAMES)
        exam_id = f"cinc/{path.stem}"
        yield RealExam(folder.name, exam_id, exam_id, path.with_suffix(""), labels, header["age"], header["sex"])
