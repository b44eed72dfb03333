"""Metrics by age and sex."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from common.files import write_json
from metrics.calibration import calibration_metrics
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, multilabel_metrics
from metrics.single_label import single_label_intervals, single_label_metrics
from training.evaluation import SplitPredictions, evaluate_predictions
from training.subgroups import subgroup_metrics


NAMES, THRESHOLDS = ("AF", "ST"), [0.5, 0.4]


def exams(ages, sexes, seed=0):
    generator, n = np.random.default_rng(seed), len(ages)
    labels = (generator.random((n, 2)) < 0.3).astype(np.int8)
    probabilities = np.clip(0.4 * labels + 0.6 * generator.random((n, 2)), 0, 1)
    ids = [f"e{i}" for i in range(n)], [f"p{i // 2}" for i in range(n)]
    return SplitPredictions("test", *ids, labels, probabilities, ages=ages, sexes=sexes)


def measure(part):
    return multilabel_metrics(part.probabilities, part.labels, THRESHOLDS, NAMES)


def intervals(part):
    return bootstrap_intervals(
        part.probabilities, part.labels, THRESHOLDS, NAMES, part.patient_ids, n_resamples=20, seed=3
    )


def test_each_subgroup_is_measured_as_its_exams_alone(tmp_path):
    ages = np.random.default_rng(1).integers(18, 95, 400).astype(float)
    sexes = np.where(np.arange(400) % 3 > 0, "female", "male").astype(object)
    test = exams(ages, sexes)
    found = subgroup_metrics(test, measure, intervals)
    rows = sexes == "male"
    men = found["kinds"]["sex"]["groups"]["male"]
    assert (men["n_exams"], men["n_patients"]) == (rows.sum(), len(set(test.patient_ids[rows])))
    called = test.probabilities[rows, 1] >= THRESHOLDS[1]
    values = men["per_class"]["ST"]
    assert values["f1"] == pytest.approx(f1_score(test.labels[rows, 1], called))
    assert values["auroc"] == pytest.approx(roc_auc_score(test.labels[rows, 1], test.probabilities[rows, 1]))
    assert (values["n_positive"], values["n_known"]) == (test.labels[rows, 1].sum(), rows.sum())
    alone = intervals(test.of_rows(rows))
    assert men["intervals"]["per_class"]["ST"]["f1"] == alone["per_class"]["ST"]["f1"]
    assert men["intervals"]["mean"]["auroc"] == alone["mean"]["auroc"]
    assert men["intervals"]["resampled"] == "patients" and men["intervals"]["n_groups"] == men["n_patients"]
    assert set(men["mean"]) == {"f1", "auroc"}
    write_json(tmp_path / "m.json", found)
    assert json.loads((tmp_path / "m.json").read_text()) == found


def test_calibration_stands_beside_the_decisions():
    sexes = np.where(np.arange(400) % 3 > 0, "female", "male").astype(object)
    test = exams(np.full(400, np.nan), sexes)
    metrics = evaluate_predictions(None, test, NAMES, THRESHOLDS, n_resamples=20)["test"]
    rows = sexes == "male"
    men = metrics["subgroups"]["kinds"]["sex"]["groups"]["male"]
    alone = calibration_metrics(test.probabilities[rows], test.labels[rows], NAMES)
    assert {name: men["per_class"]["AF"][name] for name in ("brier", "ece")} == alone["per_class"]["AF"]
    assert men["mean"]["ece"] == alone["mean"]["ece"]
    ends = men["intervals"]["per_class"]["AF"]
    assert ends["brier"]["low"] < alone["per_class"]["AF"]["brier"] < ends["brier"]["high"] and "ece" not in ends


def test_bands_part_the_years_and_unknown_ones_are_counted():
    ages = [0, 39.9, 40, 64.9, 65, 101, np.nan, None]
    found = subgroup_metrics(exams(ages, ["male"] * 8), measure, intervals)["kinds"]["age"]
    assert {name: group["n_exams"] for name, group in found["groups"].items()} == {"<40": 2, "40-64": 2, ">=65": 2}
    assert found["n_unknown"] == 2


def test_what_a_subgroup_does_not_define_is_stated():
    test = exams([30.0] * 40, [None] * 40)
    test.labels[:, 0] = 0
    test.labels[:, 1] = np.arange(40) < 9
    found = subgroup_metrics(test, measure, intervals)
    young = found["kinds"]["age"]["groups"]["<40"]
    assert young["per_class"]["AF"]["f1"] is None
    assert {"label": "AF", "metric": "f1", "reason": "no positive among 40 known labels"} in young["undefined"]
    assert young["intervals"]["per_class"]["ST"]["f1"]["reason"] == "fewer than 10 positives"
    assert found["kinds"]["sex"] == {"n_unknown": 40, "groups": {}}
    assert {"subgroup": "age 40-64", "reason": "no exam"} in found["undefined"]
    assert {"subgroup": "sex female", "reason": "sex is known of no exam"} in found["undefined"]


def test_one_label_of_several_has_subgroups_too():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 300)
    probabilities = generator.dirichlet([1, 1, 1], 300)
    ids = [f"e{i}" for i in range(300)]
    sexes = np.where(np.arange(300) < 150, "female", "male").astype(object)
    test = SplitPredictions("test", ids, ids, np.eye(3, dtype=np.int8)[truth], probabilities, sexes=sexes)
    names = ("a", "b", "c")
    found = subgroup_metrics(
        test,
        lambda part: single_label_metrics(part.probabilities, part.labels, names),
        lambda part: single_label_intervals(part.probabilities, part.labels, names, part.patient_ids, n_resamples=20),
    )
    assert list(found["kinds"]) == ["sex"]
    expected = f1_score(truth[:150], probabilities[:150].argmax(axis=1), average=None)
    women = found["kinds"]["sex"]["groups"]["female"]
    assert [women["per_class"][name]["f1"] for name in names] == pytest.approx(expected)
    assert women["intervals"]["resampled"] == "exams"
