"""Fixtures that several test folders share."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from data_scripts.make_text_model import make_text_model
from data_scripts.tables.schema import EXAM_FEATURES, SPLITS, ExamSchema
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from tests.loopback_hub import LoopbackHub


PROJECT = Path(__file__).resolve().parent.parent

REPORTS = (
    "Onda P e intervalo PR normais. QRS estreito.",
    "QRS alargado, RSR em V1.",
    "Intervalo PR aumentado.",
    "Ritmo irregular, sem onda P.",
    "Frequência acima do habitual.",
)


@pytest.fixture(scope="module", autouse=True)
def accelerate_as_in_a_new_process():
    """accelerate keeps device and precision for the whole process, in which other modules' tests may have set them."""
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real ECGs (`code15_sample`, `ptbxl_sample`); the test skips where it is absent."""
    folder = Path(os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "ptbxl_sample" / "ptbxl_database.csv").is_file():
        pytest.skip(f"real samples not found in {folder}: set ECGCLIP_SAMPLE_DATA")
    return folder


def random_split(name: str, n_exams: int, seed: int) -> Dataset:
    """Exams of noise whose amplitude tells their report and their labels; every third exam shares its patient."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(0, len(REPORTS), n_exams)
    labels = np.zeros((n_exams, 6), dtype=np.int8)
    for label, kind in enumerate((2, 1, 1, 0, 3, 4)):
        labels[:, label] = kinds == kind
    ecg = generator.normal(scale=(50 + 200 * kinds)[:, None], size=(n_exams, ExamSchema().ecg_length)).astype(np.int16)
    columns = {
        "exam_id": [f"{name}-{i}" for i in range(n_exams)],
        "patient_id": [f"{name}-p{i // 3}" for i in range(n_exams)],
        "source": ["simulated"] * n_exams,
        "ecg": list(ecg),
        "n_samples": [4096] * n_exams,
        "sampling_rate": [400] * n_exams,
        "lead_names": [list(LEAD_NAMES)] * n_exams,
        "age": [50.0] * n_exams,
        "sex": ["female"] * n_exams,
        "labels": [dict(zip(LABEL_NAMES, row, strict=True)) for row in labels.tolist()],
        "report": [REPORTS[kind] for kind in kinds],
        "report_id": kinds.astype(np.int32),
        "quality": [[]] * n_exams,
    }
    return Dataset.from_dict(columns, features=EXAM_FEATURES)


@pytest.fixture(scope="session")
def exam_table(tmp_path_factory) -> Path:
    """Folder of a small exam table: 90 + 30 + 30 exams with reports."""
    folder = tmp_path_factory.mktemp("tables") / "exams"
    sizes = dict(zip(SPLITS, (90, 30, 30), strict=True))
    DatasetDict({name: random_split(name, n, seed) for seed, (name, n) in enumerate(sizes.items())}).save_to_disk(
        str(folder)
    )
    return folder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory) -> Path:
    """Folder of a text encoder of 32 numbers with random weights."""
    folder = tmp_path_factory.mktemp("models") / "toy-text"
    make_text_model(REPORTS, folder, hidden_size=32)
    return folder


@pytest.fixture
def loopback_hub():
    """A Hub on this machine, empty; clients run in processes with `loopback_hub.environment(tmp_path)`."""
    with LoopbackHub() as hub:
        yield hub
