"""Predictions, metrics and tables of a split."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, precision_score, r2_score

from common.checksums import write_checksums
from common.files import write_json
from metrics.calibration import brier_intervals, expected_calibration_error
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, choose_thresholds, multilabel_metrics
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit
from training.evaluation import (
    SplitPredictions,
    TargetPredictions,
    evaluate_predictions,
    evaluate_single_label,
    evaluate_targets,
    read_predictions,
    write_predictions,
)
from training.result_tables import metrics_table, targets_table


NAMES = ("1dAVb", "RBBB", "LBBB")


def split(name, n=300, seed=0, prevalence=0.25):
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, len(NAMES))) < prevalence).astype(np.int8)
    logits = generator.normal(size=labels.shape) + 1.5 * labels - 1
    patients = [f"{name}-{number}" for number in generator.integers(0, n // 2, n)]
    return SplitPredictions(name, [f"{name}{i}" for i in range(n)], patients, labels, expit(logits))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_ids": ["p"]}, "split test: expected 2 patient_ids, found 1"),
        ({"exam_ids": ["a", None]}, "exam_ids of row 1 is missing"),
        ({"exam_ids": ["a", "a"]}, "exam a comes 2 times"),
        ({"probabilities": [[0.5], [1.5]]}, r"exam b: expected probabilities in \[0, 1\], found \[1\.5\]"),
        ({"probabilities": [[0.5], [np.nan]]}, r"exam b: expected probabilities in \[0, 1\], found \[nan\]"),
        ({"labels": [[1, 0], [1, 0]]}, r"found \(2, 2\) and \(2, 1\)"),
        ({"labels": [1, 0]}, r"found \(2,\) and \(2, 1\)"),
    ],
)
def test_predictions_that_do_not_fit_are_named(change, message):
    given = {
        "split": "test",
        "exam_ids": ["a", "b"],
        "patient_ids": ["p", "q"],
        "labels": [[1], [0]],
        "probabilities": [[0.9], [0.1]],
    }
    with pytest.raises(ValueError, match=message):
        SplitPredictions(**(given | change))


def test_written_predictions_come_back_the_same(tmp_path):
    validation, test = split("validation", seed=1), split("test", n=50, seed=2)
    test.labels[3, 1] = -1
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [validation, test], NAMES)
    back, names = read_predictions(path)
    assert names == NAMES and list(back) == ["validation", "test"]
    for before in (validation, test):
        after = back[before.split]
        for field in ("exam_ids", "patient_ids", "labels", "probabilities"):
            assert np.array_equal(getattr(after, field), getattr(before, field)), field
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]
    write_checksums(tmp_path)
    flip_bit(path, 40)
    with pytest.raises(ValueError, match="predictions.parquet: expected SHA-256"):
        read_predictions(path)


def test_written_predictions_open_with_pandas_in_the_stated_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    test = split("test", n=5)
    write_predictions(tmp_path / "p.parquet", [test], NAMES)
    table = pandas.read_parquet(tmp_path / "p.parquet")
    labels, probabilities = ([f"{prefix}_{name}" for name in NAMES] for prefix in ("label", "probability"))
    assert table.columns.tolist() == ["exam_id", "patient_id", "split", *labels, *probabilities]
    assert np.array_equal(table[probabilities].to_numpy(), test.probabilities)


def test_predictions_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"split test: expected 1 labels \['AF'\], found 3"):
        write_predictions(tmp_path / "p.parquet", [split("test", n=5)], ["AF"])
    with pytest.raises(FileNotFoundError, match="absent"):
        read_predictions(tmp_path / "absent.parquet")


def test_thresholds_come_from_validation_and_metrics_from_test(tmp_path):
    validation, test = split("validation", seed=1), split("test", seed=2)
    metrics = evaluate_predictions(validation, test, NAMES, n_resamples=50, seed=3)
    thresholds = choose_thresholds(validation.probabilities, validation.labels)
    assert list(metrics["thresholds"].values()) == thresholds.tolist()
    assert thresholds.tolist() != choose_thresholds(test.probabilities, test.labels).tolist()
    assert metrics["thresholds_from"] == "validation" and metrics["undefined"] == []
    f1 = f1_score(test.labels[:, 1], test.probabilities[:, 1] >= thresholds[1])
    assert metrics["test"]["per_class"]["RBBB"]["f1"] == pytest.approx(f1)
    assert metrics["test"]["n_patients"] == len(set(test.patient_ids.tolist()))
    found = metrics["test"]["intervals"]
    of_decisions = bootstrap_intervals(
        test.probabilities, test.labels, thresholds, NAMES, test.patient_ids, 50, seed=3
    )
    of_brier = brier_intervals(test.probabilities, test.labels, NAMES, test.patient_ids, 50, seed=3)
    for name in NAMES:
        assert found["per_class"][name] == of_decisions["per_class"][name] | of_brier["per_class"][name]
    assert found["mean"] == of_decisions["mean"] | of_brier["mean"]
    assert (found["resampled"], found["n_groups"]) == ("patients", of_decisions["n_groups"])
    assert "intervals" not in metrics["validation"]
    write_json(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_given_thresholds_need_no_validation():
    test = split("test")
    metrics = evaluate_predictions(None, test, NAMES, thresholds=[0.3, 0.4, 0.5], n_resamples=5)
    expected = multilabel_metrics(test.probabilities, test.labels, [0.3, 0.4, 0.5], NAMES)
    for name, values in expected["per_class"].items():
        assert metrics["test"]["per_class"][name].items() >= values.items()
    assert metrics["thresholds_from"] == "given" and "validation" not in metrics
    with pytest.raises(ValueError, match="found neither"):
        evaluate_predictions(None, test, NAMES)


def test_a_patient_in_both_splits_is_refused():
    validation, test = split("validation"), split("test")
    patients = [*test.patient_ids[:-1], validation.patient_ids[7]]
    test = SplitPredictions("test", test.exam_ids, patients, test.labels, test.probabilities)
    with pytest.raises(ValueError, match=f"1 patients are in both .*the first {validation.patient_ids[7]}"):
        evaluate_predictions(validation, test, NAMES)


def test_undefined_values_reach_the_json_and_the_table(tmp_path):
    validation, test = split("validation", seed=1), split("test", seed=2)
    validation.labels[:, 0] = 0
    test.labels[:, 0] = 0
    metrics = evaluate_predictions(validation, test, NAMES, n_resamples=20)
    write_json(tmp_path / "metrics.json", metrics)
    assert metrics["undefined"][0]["reason"] == "no positive to choose by: 0.5 is used"
    table = metrics_table(metrics)
    row = next(line for line in table.splitlines() if line.startswith("| 1dAVb"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["0 / 300", "0.500"]
    assert row.count("–") == 5
    assert "- 1dAVb: threshold: no positive to choose by: 0.5 is used" in table
    assert "- 1dAVb: precision, recall, F1, AUROC, avg. precision: no positive among 300 known labels" in table
    assert "- mean: precision, recall, F1, AUROC, avg. precision: defined for 2 of 3 classes" in table


def test_table_is_aligned_and_shows_the_numbers():
    metrics = evaluate_predictions(split("validation", seed=1), split("test", seed=2), NAMES, n_resamples=20)
    lines = metrics_table(metrics).splitlines()
    assert len({len(line) for line in lines[:7]}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:7]] == [*NAMES, "mean", "mean, undefined as 0"]
    low, high = (metrics["test"]["intervals"]["mean"]["f1"][end] for end in ("low", "high"))
    assert f"{metrics['test']['mean']['f1']:.3f} [{low:.3f}, {high:.3f}]" in lines[5]
    assert "95 % interval, 20 resamples of patients. ECE: 10 equally wide bins." in lines[8]
    assert "[" not in metrics_table(metrics, "validation")


def test_brier_score_and_ece_stand_beside_the_other_metrics():
    test = split("test", seed=2)
    metrics = evaluate_predictions(split("validation", seed=1), test, NAMES, n_resamples=20)
    values = metrics["test"]["per_class"]["LBBB"]
    assert values["brier"] == pytest.approx(brier_score_loss(test.labels[:, 2], test.probabilities[:, 2]))
    assert values["ece"] == expected_calibration_error(test.probabilities[:, 2], test.labels[:, 2] == 1)
    assert metrics["test"]["binning"] == metrics["validation"]["binning"] == "10 equally wide bins"
    header, _, _, _, row = metrics_table(metrics).splitlines()[:5]
    assert [cell.strip() for cell in header.split("|")[-3:-1]] == ["Brier", "ECE"]
    assert [cell.strip() for cell in row.split("|")[-3:-1]] == [f"{values[key]:.3f}" for key in ("brier", "ece")]


def test_metrics_of_earlier_runs_are_shown_without_what_they_lack():
    metrics = evaluate_predictions(split("validation", seed=1), split("test", seed=2), NAMES, n_resamples=20)
    earlier = {key: value for key, value in metrics["test"].items() if key not in ("binning", "mean_zero_division")}
    for values in [*earlier["per_class"].values(), earlier["mean"]]:
        del values["brier"], values["ece"]
    del earlier["intervals"]["resampled"]
    table = metrics_table(metrics | {"test": earlier})
    assert "Brier" not in table and "undefined as 0" not in table
    assert "20 resamples of patients." in table and f"{earlier['mean']['auroc']:.3f}" in table


def test_a_class_that_is_never_called_leaves_the_mean_undefined_and_the_paper_s_beside_it():
    test = split("test")
    metrics = evaluate_predictions(None, test, NAMES, thresholds=[0.3, 1.0, 0.5], n_resamples=20)
    assert metrics["test"]["mean"]["precision"] is None
    expected = precision_score(test.labels, test.probabilities >= [0.3, 1.0, 0.5], average="macro", zero_division=0)
    table = metrics_table(metrics)
    mean, counted = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| mean")
    )
    place = [cell.strip() for cell in table.splitlines()[0].split("|")[1:-1]].index("precision")
    assert (mean[place], counted[place]) == ("–", f"{expected:.3f}")
    assert "- mean: precision: no exam called positive of RBBB" in table


def test_few_positives_are_shown_without_an_interval_and_with_the_reason():
    test = split("test")
    test.labels[np.flatnonzero(test.labels[:, 0] == 1)[1:], 0] = 0
    metrics = evaluate_predictions(None, test, NAMES, thresholds=[0.9, 0.4, 0.5], n_resamples=20)
    table = metrics_table(metrics)
    row = next(line for line in table.splitlines() if line.startswith("| 1dAVb"))
    assert f"{metrics['test']['per_class']['1dAVb']['f1']:.3f} [–]" in row
    assert "- 1dAVb: F1: fewer than 10 positives" in table
    assert "- mean: F1: 1 of its 3 classes have none" in table


def test_exams_without_known_patients_are_what_is_resampled():
    test = split("test")
    alone = SplitPredictions("test", test.exam_ids, test.exam_ids, test.labels, test.probabilities)
    metrics = evaluate_predictions(None, alone, NAMES, thresholds=[0.5] * 3, n_resamples=20)
    assert metrics["test"]["intervals"]["resampled"] == "exams"
    assert "20 resamples of exams, whose patients are unknown" in metrics_table(metrics)


def of_persons(predictions):
    generator = np.random.default_rng(7)
    ages = generator.integers(20, 90, len(predictions.exam_ids)).astype(float)
    sexes = np.array(["female", "male"], dtype=object)[generator.integers(0, 2, len(ages))]
    ages[::10], sexes[::20] = np.nan, None
    return replace(predictions, ages=ages, sexes=sexes)


def test_ages_and_sexes_come_back_from_the_file_and_are_checked(tmp_path):
    test = of_persons(split("test", n=40))
    write_predictions(tmp_path / "p.parquet", [test], NAMES)
    back = read_predictions(tmp_path / "p.parquet")[0]["test"]
    np.testing.assert_array_equal(back.ages, test.ages)
    assert back.sexes.tolist() == test.sexes.tolist() and None in back.sexes.tolist()
    with pytest.raises(ValueError, match="split test: expected 40 ages, found 1"):
        replace(test, ages=[50])


def test_subgroups_are_in_the_result_and_the_table_where_ages_are_known():
    test = of_persons(split("test", n=600))
    metrics = evaluate_predictions(split("validation", seed=1), test, NAMES, n_resamples=20)
    women = metrics["test"]["subgroups"]["kinds"]["sex"]["groups"]["female"]
    mean, interval = women["mean"]["f1"], women["intervals"]["mean"]["f1"]
    table = metrics_table(metrics)
    row = next(line for line in table.splitlines() if line.startswith("| sex female"))
    assert f"{mean:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]" in row
    assert "Unknown: age of 60, sex of 30 exams." in table
    without = evaluate_predictions(split("validation", seed=1), split("test", n=600), NAMES, n_resamples=20)
    assert "subgroups" not in without["test"] and "subgroup" not in metrics_table(without)


def one_label(name, n=300, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, n)
    probabilities = generator.dirichlet([1, 1, 1], n)
    probabilities[np.arange(n), truth] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    ids = [f"{name}{i}" for i in range(n)]
    return SplitPredictions(name, ids, ids, np.eye(3, dtype=np.int8)[truth], probabilities), truth


def test_one_label_of_several_is_measured_without_thresholds(tmp_path):
    (validation, _), (test, truth) = one_label("validation", seed=1), one_label("test", seed=2)
    metrics = evaluate_single_label(validation, test, NAMES, n_resamples=20)
    assert (metrics["thresholds"], metrics["thresholds_from"]) == ({}, "argmax")
    expected = accuracy_score(truth, test.probabilities.argmax(axis=1))
    assert metrics["test"]["accuracy"] == pytest.approx(expected)
    low, high = (metrics["test"]["intervals"]["accuracy"][end] for end in ("low", "high"))
    write_json(tmp_path / "metrics.json", metrics)
    table = metrics_table(metrics)
    assert "threshold" not in table
    assert f"the most probable label is the decision: accuracy {expected:.3f} [{low:.3f}, {high:.3f}]" in table
    assert f"accuracy {metrics['validation']['accuracy']:.3f}, balanced" in metrics_table(metrics, "validation")


def numbers(name, n=200, seed=0):
    generator = np.random.default_rng(seed)
    targets = generator.normal([60, 4], [15, 0.5], (n, 2))
    predictions = targets + generator.normal(scale=[8, 0.4], size=(n, 2))
    targets[::4, 1] = np.nan
    ids = [f"{name}{i}" for i in range(n)]
    return TargetPredictions(name, ids, ids, targets, predictions)


def test_numbers_are_measured_and_shown_with_intervals(tmp_path):
    names = ("age", "potassium")
    metrics = evaluate_targets(numbers("validation"), numbers("test", seed=1), names, n_resamples=20)
    test = numbers("test", seed=1)
    age = metrics["test"]["per_target"]["age"]
    assert age["r2"] == pytest.approx(r2_score(test.targets[:, 0], test.predictions[:, 0]))
    assert metrics["target_names"] == list(names) and "intervals" not in metrics["validation"]
    write_json(tmp_path / "metrics.json", metrics)
    lines = targets_table(metrics).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == [*names, "mean"]
    low, high = (metrics["test"]["intervals"]["per_target"]["age"]["mae"][end] for end in ("low", "high"))
    assert f"{age['mae']:.3f} [{low:.3f}, {high:.3f}]" in lines[2]
    assert [cell.strip() for cell in lines[4].split("|")[2:5]] == ["", "", ""]  # no mean of years and mmol/L


def test_numbers_and_their_unknown_values_come_back_from_the_file(tmp_path):
    before = numbers("test", n=9)
    write_predictions(tmp_path / "p.parquet", [before], ("age", "potassium"))
    back, names = read_predictions(tmp_path / "p.parquet")
    assert names == ("age", "potassium") and isinstance(back["test"], TargetPredictions)
    np.testing.assert_array_equal(back["test"].targets, before.targets)
    np.testing.assert_array_equal(back["test"].predictions, before.predictions)
    with pytest.raises(ValueError, match=r"exam a: expected finite predictions, found \[nan\]"):
        TargetPredictions("test", ["a"], ["p"], [[1.0]], [[np.nan]])


def test_a_split_that_is_not_there_is_not_in_the_result():
    validation = split("validation")
    metrics = evaluate_predictions(validation, None, NAMES)
    assert "test" not in metrics and metrics["thresholds_from"] == "validation"
    assert "Split validation" in metrics_table(metrics, "validation")
    assert set(evaluate_targets(None, None, ("age",))) == {"target_names"}
