"""Exam tables of two short leads with labels and numbers of their own: quick to train on, and unlike CODE's."""

import json
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict

from data_scripts.tables.schema import SPLITS, ExamSchema
from modeling_ecgclip.labels_ecgclip import Label
from modeling_ecgclip.signal_ecgclip import SignalSpec


LABELS = (Label("NORM", "normal ECG", "ritmo sinusal"), Label("MI", "infarction", "onda Q"), Label("CD"))
# The tiny network's strides do not divide 500 samples.
SCHEMA = ExamSchema(SignalSpec(("II", "V2"), 100, 500), LABELS, ("potassium",))
SIZES = dict(zip(SPLITS, (60, 24, 24), strict=True))
REPORTS = ("Ritmo sinusal.", "Onda Q em V2.", "QRS alargado.")


def small_split(name: str, n_exams: int, seed: int, **columns) -> Dataset:
    """
    Exams of noise whose amplitude tells which label they have, their age and their report; every seventh has two
    labels, every second the patient of the one before. `columns` replace what would be there.
    """
    generator = np.random.default_rng(seed)
    kinds = generator.permutation(np.arange(n_exams) % len(LABELS))
    labels = np.eye(len(LABELS), dtype=int)[kinds]
    labels[::7, -1] = 1
    ecg = generator.normal(scale=(50 + 200 * kinds)[:, None], size=(n_exams, SCHEMA.ecg_length)).astype(np.int16)
    made = {
        "exam_id": [f"{name}-{i}" for i in range(n_exams)],
        "patient_id": [f"{name}-p{i // 2}" for i in range(n_exams)],
        "source": ["simulated"] * n_exams,
        "ecg": list(ecg),
        "n_samples": [SCHEMA.signal.n_samples] * n_exams,
        "sampling_rate": [SCHEMA.signal.sampling_rate] * n_exams,
        "lead_names": [list(SCHEMA.signal.lead_names)] * n_exams,
        "age": (30 + 20 * kinds + generator.normal(size=n_exams)).tolist(),
        "sex": ["female"] * n_exams,
        "labels": [dict(zip(SCHEMA.label_names, row, strict=True)) for row in labels.tolist()],
        "report": [REPORTS[kind] for kind in kinds],
        "report_id": kinds.tolist(),
        "quality": [[]] * n_exams,
        "targets": [{"potassium": None if i % 5 == 0 else 3.5 + 0.2 * kind} for i, kind in enumerate(kinds)],
    }
    return Dataset.from_dict(made | {name: [value] * n_exams for name, value in columns.items()}, SCHEMA.features)


def write_small_table(folder: Path, sizes: dict[str, int] | None = None, **columns) -> Path:
    """Writes a table with its record; returns the folder."""
    sizes = SIZES | (sizes or {})
    splits = {name: small_split(name, n, seed, **columns) for seed, (name, n) in enumerate(sizes.items())}
    # One file also for a split without exams, as the converters write it.
    DatasetDict(splits).save_to_disk(str(folder), num_shards=dict.fromkeys(splits, 1))
    counts = {"found": sum(sizes.values()), "kept": sum(sizes.values()), "rejected": 0}
    (folder / "conversion.json").write_text(json.dumps(counts | SCHEMA.to_dict()), encoding="utf-8")
    return folder
