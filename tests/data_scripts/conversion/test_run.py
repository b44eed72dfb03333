"""The run of a converter: counts must agree, and a failure leaves nothing that looks whole."""

import errno

import pytest

from data_scripts.conversion.builder import SourceSettings
from data_scripts.conversion.run import ConversionArguments, check_output_dir, in_words, run_conversion
from tests.data_scripts.conversion.noise import Noise


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


def test_facts_are_told_in_words():
    facts = {"with_text": 3, "labels_named": {"AF": 2, "ST": 0}, "sections": False, "note": "By hand."}
    assert in_words(facts) == "with text 3; labels named (AF 2, ST 0); sections no; note By hand."
