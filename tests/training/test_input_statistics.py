"""Statistics of a table's inputs, written into a folder that has none."""

import json

import pytest

from modeling_ecgclip import EcgFeatureExtractor, EcgResNetConfig, EcgResNetForSignalClassification, save_for_hub
from tests.small_tables import SCHEMA, write_small_table
from training.data import ExamSplit, ExamTable
from training.input_statistics import main, statistics_of_split


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_small_table(tmp_path_factory.mktemp("table") / "exams", {"train": 120})


def save_tiny(folder, **signal):
    config = EcgResNetConfig.from_preset("tiny", **signal)
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor.for_model(config))


def test_the_command_adds_them_and_changes_nothing_else(table, tmp_path, capsys):
    save_tiny(tmp_path / "cls", **vars(SCHEMA.signal))
    before = json.loads((tmp_path / "cls/config.json").read_text())
    assert main(["--model_name_or_path", f"{tmp_path}/cls", "--dataset_name_or_path", str(table)]) == 0
    after = json.loads((tmp_path / "cls/config.json").read_text())
    statistics = after.pop("training_statistics")
    assert after == {name: value for name, value in before.items() if name != "training_statistics"}
    assert statistics["n_exams"] == 120 and list(statistics["amplitude_mv"]) == ["II", "V2"]
    assert EcgResNetConfig.from_pretrained(tmp_path / "cls").training_statistics == statistics
    assert "120 exams" in capsys.readouterr().out


def test_another_signal_is_refused(table, tmp_path, capsys):
    save_tiny(tmp_path / "cls")
    assert main(["--model_name_or_path", f"{tmp_path}/cls", "--dataset_name_or_path", str(table)]) == 1
    assert "the exam table" in capsys.readouterr().err


def test_too_few_exams_give_none(table):
    rows = ExamTable.load(str(table)).splits["validation"]
    assert statistics_of_split(ExamSplit(rows), SCHEMA.signal) is None
