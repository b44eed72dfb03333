import csv
from pathlib import Path

import pytest

from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from reproduction.paper import PAPER_ARMS, PAPER_FILE, paper_number
from reproduction.settings import SETTINGS


METRICS = ("accuracy", "precision", "recall", "f1")
ALL = [(s, a, c, m) for s in SETTINGS for a in PAPER_ARMS for c in (*LABEL_NAMES, "mean") for m in METRICS]


def test_all_280_numbers_are_there_and_nothing_else():
    values = [paper_number(*which) for which in ALL]
    assert len(values) == 280 and all(0 <= value <= 1 for value in values)
    with PAPER_FILE.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 140 and {(row["setting"], int(row["table"])) for row in rows} == {
        (setting.name, setting.table) for setting in SETTINGS.values()
    }
    assert paper_number("full", "shuffled", "mean", "f1") is None
    assert paper_number("full", "random", "mean", "auroc") is None


def test_they_are_those_of_the_stored_copy(sample_data):
    source = sample_data.parent / "paper" / "tables_2_to_6.csv"
    if not source.is_file():
        pytest.skip(f"no copy of the paper's tables at {source}")
    assert PAPER_FILE.read_text() == Path(source).read_text()


@pytest.mark.parametrize("setting", SETTINGS)
def test_means_are_over_the_six_classes_and_an_undefined_precision_counts_as_0(setting):
    for arm in PAPER_ARMS:
        for metric in METRICS:
            of_classes = [paper_number(setting, arm, name, metric) for name in LABEL_NAMES]
            # Both sides are rounded to three digits.
            assert paper_number(setting, arm, "mean", metric) == pytest.approx(sum(of_classes) / 6, abs=0.0011)
