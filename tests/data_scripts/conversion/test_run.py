"""The run of a converter: counts must agree, and a failure leaves nothing that looks whole."""

import errno

import numpy as np
import pandas as pd
import pytest

from data_scripts.conversion.builder import EcgBuilder, ExamPlan, SourceSettings
from data_scripts.conversion.run import ConversionArguments, check_output_dir, run_conversion
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, LEAD_NAMES
from modeling_ecgclip.reading_ecgclip import EcgRecord


class Noise(EcgBuilder):
    """Forty exams of noise; patients change with the exam."""

    found = 40
    patients = [str(i) for i in range(40)]

    def plan(self):
        columns = {
            "exam_id": [str(i) for i in range(40)],
            "patient_id": self.patients,
            "split": ["train", "validation", "test", "train"] * 10,
            "age": np.nan,
            "sex": None,
            "report": None,
            "part": ["a"] * 20 + ["b"] * 20,
            "location": "",
        }
        exams = pd.DataFrame(columns | dict.fromkeys(LABEL_NAMES, -1))
        return ExamPlan(exams, "noise", self.found, facts={"source": "noise"})

    def read_recordings(self, exams):
        for exam in exams:
            noise = np.random.default_rng(int(exam["exam_id"])).normal(size=(12, 1000))
            yield EcgRecord(noise, 400, LEAD_NAMES, "mV", exam["exam_id"])


class Miscounted(Noise):
    found = 41


class SharedPatients(Noise):
    patients = ["the same"] * 40


class DiskFull(Noise):
    def read_recordings(self, exams):
        yield from list(super().read_recordings(exams))[:3]
        raise OSError(errno.ENOSPC, "No space left on device")


def convert_noise(builder, tmp_path, **changes):
    arguments = ConversionArguments(output_dir=str(tmp_path / "out"), **changes)
    return run_conversion(builder, SourceSettings(str(tmp_path)), arguments)


def test_a_new_source_needs_a_plan_and_a_reader(tmp_path):
    record = convert_noise(Noise, tmp_path)
    assert (record["found"], record["kept"], record["source"]) == (40, 40, "noise")
    assert record["splits"]["validation"]["labels"]["AF"] == {"positive": 0, "negative": 0, "unknown": 10}


@pytest.mark.parametrize(
    ("builder", "error", "match"),
    [
        (Miscounted, RuntimeError, "41 records found, but 40 kept and 0 rejected"),
        (SharedPatients, ValueError, "patient the same is in train and in validation"),
        (DiskFull, OSError, "No space left on device"),
    ],
)
def test_a_failure_leaves_nothing(tmp_path, builder, error, match):
    with pytest.raises(error, match=match):
        convert_noise(builder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_replacement_leaves_the_old_table(tmp_path):
    convert_noise(Noise, tmp_path)
    before = (tmp_path / "out" / "conversion.json").read_text()
    with pytest.raises(OSError, match="No space left"):
        convert_noise(DiskFull, tmp_path, overwrite_output_dir=True)
    assert (tmp_path / "out" / "conversion.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_may_be_filled_and_a_file_not_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    check_output_dir(tmp_path / "empty", overwrite=False)
    (tmp_path / "file").write_text("text")
    with pytest.raises(FileExistsError, match="file exists and is not an exam table"):
        check_output_dir(tmp_path / "file", overwrite=True)
