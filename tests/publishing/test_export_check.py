"""What is near enough, of probabilities, of one label of several, and of values."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from data_scripts.tables.schema import SPLITS, ExamSchema
from modeling_ecgclip import EcgFeatureExtractor, SignalSpec
from publishing import export_check
from publishing.export_check import ExamEcgs, compare, random_ecgs, refuse_if_different, simulated_ecgs


ECGS = [np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(6, 10, dtype=np.float32).reshape(2, 2) / 3]


class Toy:
    """Logits are the ECG itself, by a factor and an offset."""

    def __init__(self, problem_type, factor=1.0, offset=0.0, thresholds=None):
        self.config = SimpleNamespace(problem_type=problem_type, thresholds=thresholds)
        self.factor, self.offset = factor, offset

    def __call__(self, ecgs):
        return SimpleNamespace(logits=ecgs * self.factor + torch.tensor(self.offset))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_labels_side_by_side_are_decided_at_their_thresholds():
    thresholds = (0.9, 0.95)
    check = compare(
        Toy("multi_label_classification", thresholds=thresholds),
        Toy("multi_label_classification", 0.9, [0.0, -0.5]),
        ECGS,
    )
    ecgs = np.concatenate(ECGS).astype(float)
    expected, found = sigmoid(ecgs), sigmoid(ecgs * 0.9 - [0, 0.5])
    assert check["ecgs"] == 5 and check["decisions"] == 10
    assert check["largest_difference"] == pytest.approx(np.abs(found - expected).max(), abs=1e-6)
    assert check["mean_difference"] == pytest.approx(np.abs(found - expected).mean(), abs=1e-6)
    assert check["equal_decisions"] == ((found >= thresholds) == (expected >= thresholds)).sum() < 10


def test_of_several_labels_the_most_probable_one_decides():
    original = Toy("single_label_classification")
    check = compare(original, Toy("single_label_classification", offset=[2.0, 0.0]), ECGS)
    assert (check["decisions"], check["equal_decisions"]) == (5, 0)  # the second was always the larger one by less
    assert check["largest_difference"] == pytest.approx(sigmoid(1) - sigmoid(1 - 2), abs=0.02)
    assert compare(original, original, ECGS)["equal_decisions"] == 5


def test_values_are_compared_in_parts_of_their_spread():
    check = compare(Toy("regression", 10.0, [50.0, 0.0]), Toy("regression", 10.0, [50.4, 0.0]), ECGS)
    assert check["spread"] == pytest.approx([40, 40])
    assert check["largest_difference"] == pytest.approx(0.01, rel=1e-3)
    assert check["mean_difference"] == pytest.approx(0.005, rel=1e-3)
    assert "decisions" not in check
    alike = compare(Toy("regression", 0.0, [57.0, 1.0]), Toy("regression", 0.0, [57.0, 1.0]), ECGS)
    assert alike["largest_difference"] == 0 and alike["spread"] == pytest.approx([0.57, 0.01])


def test_float32_is_held_to_its_bound_everywhere():
    same = {"ecgs": 5, "largest_difference": 1e-6, "mean_difference": 1e-7, "decisions": 10, "equal_decisions": 9}
    refuse_if_different({"random": same, "simulated": same}, "float32")
    other = same | {"largest_difference": 0.2}
    with pytest.raises(ValueError, match=r"by 0.2 in the probability of a label, on random ECGs: .*less than 0.0001"):
        refuse_if_different({"random": other}, "float32")
    with pytest.raises(ValueError, match=r"by 0.2 of the spread of a value, on simulated ECGs"):
        refuse_if_different({"simulated": {**other, "spread": [1.0]}}, "float32")


def test_other_precisions_are_held_to_decisions_or_to_the_mean_of_values():
    labels = {"ecgs": 5, "largest_difference": 0.5, "mean_difference": 0.2, "decisions": 10, "equal_decisions": 9}
    refuse_if_different({"random": labels}, "int8")  # noise does not count
    refuse_if_different({"exam table": labels}, "int8", min_equal_decisions=0.9)
    with pytest.raises(ValueError, match=r"of the decisions on exam table ECGs 90.00% .* at least 99.00%"):
        refuse_if_different({"exam table": labels}, "int8")
    values = {"ecgs": 5, "largest_difference": 0.5, "mean_difference": 0.03, "spread": [1.0]}
    refuse_if_different({"exam table": values}, "bfloat16", max_mean_difference=0.03)
    with pytest.raises(ValueError, match=r"differ from PyTorch's by 3.00% of their spread.*at most 2.00%"):
        refuse_if_different({"exam table": values}, "bfloat16")


@pytest.fixture
def table(monkeypatch):
    """Name and signal of a table: two leads at 100 Hz; the test split has no exam."""
    schema = ExamSchema(SignalSpec(("I", "V2"), 100, 1000))
    row = dict.fromkeys(("age", "sex", "report"))
    row |= {"source": "clinic", "n_samples": 900, "sampling_rate": 100, "lead_names": ["I", "V2"], "report_id": -1}
    row |= {"labels": dict.fromkeys(schema.label_names, 0), "quality": [], "ecg": np.arange(2000, dtype=np.int16)}
    splits = {}
    for split in SPLITS:
        rows = [row | {"exam_id": f"{split}{i}", "patient_id": f"{split}{i}"} for i in range(3)]
        splits[split] = Dataset.from_list(rows, features=schema.features)
    splits["test"] = Dataset.from_dict({column: [] for column in schema.features}, features=schema.features)
    monkeypatch.setattr(export_check, "load_exam_table", lambda name: DatasetDict(splits))
    return "exams", schema.signal


def test_exam_tables_are_read_as_the_model_reads_them(table):
    name, signal = table
    extractor = EcgFeatureExtractor(signal.lead_names, signal.sampling_rate, signal.n_samples, pad_to_multiple_of=512)
    ecgs = ExamEcgs(name, "validation", 2, extractor)
    (batch,) = ecgs
    assert batch.shape == (2, 2, 1024) and ecgs.sources == {"clinic": 2}
    np.testing.assert_array_equal(batch[0, :, 12:1012], np.arange(2000, dtype=np.float32).reshape(2, 1000) / 1000)
    with pytest.raises(
        ValueError, match=r"expected one signal: the model has 12 leads .*; found the exam table with 2"
    ):
        ExamEcgs(name, "validation", 2, EcgFeatureExtractor())
    with pytest.raises(ValueError, match="split test: expected exams, found none"):
        ExamEcgs(name, "test", 2, extractor)


def test_simulated_and_random_ecgs_have_the_model_s_signal():
    extractor = EcgFeatureExtractor(("II",), 500, 5000, pad_to_multiple_of=512)
    (batch,) = simulated_ecgs(2, extractor)
    assert batch.shape == (2, 1, 5120)
    shapes = [ecgs.shape for ecgs in random_ecgs(SimpleNamespace(n_leads=1, input_samples=5120))]
    assert shapes == [(1, 1, 5120), (16, 1, 5120)]
