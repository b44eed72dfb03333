"""Metrics against scikit-learn, against numbers worked out by hand and against a published table."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from metrics.ecg_multilabel import resampling
from metrics.ecg_multilabel.ecg_multilabel import (
    METRICS,
    EcgMultilabel,
    bootstrap_intervals,
    choose_thresholds,
    multilabel_metrics,
    paired_bootstrap,
    rank_metrics,
    undefined_thresholds,
)


PROJECT = Path(__file__).resolve().parents[3]
NAMES = ("1dAVb", "RBBB", "LBBB")

# TP, FN, FP, TN of the network on the 827 test exams, and its published precision, recall, specificity and F1.
# Ribeiro et al., Nature Communications 11:1760 (2020), tables 2 and 3 of the article's repository (outputs/tables).
RIBEIRO_2020 = {
    "1dAVb": ((26, 2, 4, 795), (0.867, 0.929, 0.995, 0.897)),
    "RBBB": ((34, 0, 4, 789), (0.895, 1.000, 0.995, 0.944)),
    "LBBB": ((30, 0, 0, 797), (1.000, 1.000, 1.000, 1.000)),
    "SB": ((15, 1, 3, 808), (0.833, 0.938, 0.996, 0.882)),
    "AF": ((10, 3, 0, 814), (1.000, 0.769, 1.000, 0.870)),
    "ST": ((36, 1, 2, 788), (0.947, 0.973, 0.997, 0.960)),
}


def cohort(n=400, prevalence=0.2, decimals=2, seed=0):
    """Labels and informative probabilities with many ties."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, len(NAMES))) < prevalence).astype(int)
    logits = generator.normal(size=labels.shape) + 1.5 * labels - 1
    return np.round(1 / (1 + np.exp(-logits)), decimals), labels


def column(*values):
    return np.array(values)[:, None]


def test_metrics_equal_scikit_learn_with_ties_and_unknown_labels():
    scores, labels = cohort()
    labels[::7, 0] = -1
    thresholds = np.array([0.4, 0.5, 0.55])
    result = multilabel_metrics(scores, labels, thresholds, NAMES)
    assert result["undefined"] == []
    for index, name in enumerate(NAMES):
        known = labels[:, index] >= 0
        truth, score = labels[known, index], scores[known, index]
        called = score >= thresholds[index]
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(truth, called),
            "precision": sklearn_metrics.precision_score(truth, called),
            "recall": sklearn_metrics.recall_score(truth, called),
            "f1": sklearn_metrics.f1_score(truth, called),
            "specificity": sklearn_metrics.recall_score(truth, called, pos_label=0),
            "auroc": sklearn_metrics.roc_auc_score(truth, score),
            "average_precision": sklearn_metrics.average_precision_score(truth, score),
            "n_positive": truth.sum(),
            "n_known": known.sum(),
            "n_predicted": called.sum(),
        }
        assert result["per_class"][name] == pytest.approx(expected, abs=1e-12)
    for metric in METRICS:
        mean = np.mean([result["per_class"][name][metric] for name in NAMES])
        assert result["mean"][metric] == pytest.approx(mean, abs=1e-12)


def test_metrics_equal_those_worked_out_by_hand():
    # Calls at 0.5: TP 2 (0.9, 0.5), FP 1 (0.5), FN 1 (0.2), TN 2. Pairs: 0.9 wins 3, 0.5 wins 2 and ties 1, 0.2 wins 1
    # and ties none: (3 + 2.5 + 1) / 9. Average precision: 1/3 x 1/1, then 1/3 x 2/3, then 1/3 x 3/5.
    scores, labels = column(0.9, 0.5, 0.5, 0.3, 0.2, 0.1), column(1, 1, 0, 0, 1, 0)
    values = multilabel_metrics(scores, labels, [0.5], ["AF"])["per_class"]["AF"]
    assert values == pytest.approx(
        {
            "accuracy": 4 / 6,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "specificity": 2 / 3,
            "auroc": 6.5 / 9,
            "average_precision": (1 + 2 / 3 + 3 / 5) / 3,
            "n_positive": 3,
            "n_known": 6,
            "n_predicted": 3,
        }
    )


def test_published_confusion_matrices_give_the_published_scores():
    scores, labels = np.zeros((827, 6)), np.zeros((827, 6), dtype=int)
    for index, ((tp, fn, fp, _), _) in enumerate(RIBEIRO_2020.values()):
        labels[: tp + fn, index] = 1
        scores[:tp, index] = 1
        scores[tp + fn : tp + fn + fp, index] = 1
    result = multilabel_metrics(scores, labels, np.full(6, 0.5), list(RIBEIRO_2020))
    for name, (_, published) in RIBEIRO_2020.items():
        values = result["per_class"][name]
        found = [values[metric] for metric in ("precision", "recall", "specificity", "f1")]
        assert found == pytest.approx(published, abs=5.01e-4), name


def test_without_positives_only_what_depends_on_the_model_is_a_number():
    result = multilabel_metrics(column(0.9, 0.1), column(0, 0), [0.5], ["AF"])
    values = result["per_class"]["AF"]
    assert (values["accuracy"], values["specificity"]) == (0.5, 0.5)
    lost = {"precision", "recall", "f1", "auroc", "average_precision"}
    assert {metric for metric in METRICS if values[metric] is None} == lost
    of_label = [entry for entry in result["undefined"] if entry["label"] == "AF"]
    assert {entry["metric"] for entry in of_label} == lost
    assert {entry["reason"] for entry in of_label} == {"no positive among 2 known labels"}
    assert result["mean"]["f1"] is None and result["mean"]["accuracy"] == 0.5


def test_positives_but_none_called_leave_precision_undefined_and_f1_zero():
    result = multilabel_metrics(column(0.3, 0.1, 0.2), column(1, 0, 1), [0.5], ["AF"])
    values = result["per_class"]["AF"]
    assert (values["precision"], values["recall"], values["f1"]) == (None, 0.0, 0.0)
    assert result["undefined"][0] == {
        "label": "AF",
        "metric": "precision",
        "reason": "no exam called positive, 2 positives missed",
    }


def test_positives_only_leave_specificity_and_auroc_undefined():
    result = multilabel_metrics(column(0.9, 0.1), column(1, 1), [0.5], ["AF"])
    values = result["per_class"]["AF"]
    assert {metric for metric in METRICS if values[metric] is None} == {"specificity", "auroc"}
    assert values["average_precision"] == 1.0
    assert result["undefined"][0]["reason"] == "no negative among 2 known labels"


def test_a_label_known_nowhere_is_left_out_of_the_mean_and_stated():
    scores, labels = cohort()
    labels[:, 1] = -1
    result = multilabel_metrics(scores, labels, np.full(3, 0.5), NAMES)
    assert all(result["per_class"]["RBBB"][metric] is None for metric in METRICS)
    others = [result["per_class"][name]["f1"] for name in ("1dAVb", "LBBB")]
    assert result["mean"]["f1"] == pytest.approx(np.mean(others))
    assert {"label": "RBBB", "metric": "f1", "reason": "no known label"} in result["undefined"]
    assert {"label": "mean", "metric": "f1", "reason": "defined for 2 of 3 classes"} in result["undefined"]


def test_thresholds_reach_the_best_f1_of_all_cuts():
    scores, labels = cohort(decimals=3)
    labels[::5, 2] = -1
    thresholds = choose_thresholds(scores, labels)
    for index in range(3):
        known = labels[:, index] >= 0
        truth, score = labels[known, index], scores[known, index]
        best = max(sklearn_metrics.f1_score(truth, score >= cut) for cut in np.unique(score))
        assert sklearn_metrics.f1_score(truth, score >= thresholds[index]) == pytest.approx(best, abs=1e-12)
        assert thresholds[index] not in score


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ((0.9, 0.6, 0.2), (1, 0, 0), 0.75),
        ((0.6, 0.2, 0.9), (1, 0, 1), 0.4),
        # Cuts below 0.8 and below 0.2 both have F1 2/3: the higher threshold is taken.
        ((0.8, 0.6, 0.4, 0.2), (1, 0, 0, 1), 0.7),
        # All must be called: half of the lowest score, and 0 where that is 0.
        ((0.6, 0.4), (0, 1), 0.2),
        ((0.6, 0.0), (0, 1), 0.0),
        # Equal scores cannot be parted.
        ((0.7, 0.7, 0.1), (1, 0, 0), 0.4),
        # Unknown labels have no say.
        ((0.9, 0.8, 0.2), (1, -1, 0), 0.55),
    ],
)
def test_thresholds_by_hand(scores, labels, expected):
    assert choose_thresholds(column(*scores), column(*labels))[0] == pytest.approx(expected, abs=1e-15)


def test_threshold_between_neighbouring_floats_parts_them():
    lower = 0.3
    upper = np.nextafter(lower, 1)
    threshold = choose_thresholds(column(upper, lower), column(1, 0))[0]
    assert lower < threshold <= upper


@pytest.mark.parametrize(
    ("labels", "missing"), [((0, 0, 0), "positive"), ((1, 1, -1), "negative"), ((-1, -1, -1), "known label")]
)
def test_one_class_alone_offers_no_threshold(labels, missing):
    assert choose_thresholds(column(0.9, 0.8, 0.7), column(*labels)).tolist() == [0.5]
    assert undefined_thresholds(column(*labels), ["AF"]) == [
        {"label": "AF", "metric": "threshold", "reason": f"no {missing} to choose by: 0.5 is used"}
    ]


def test_rank_metrics_take_any_scores():
    scores, labels = cohort()
    result = rank_metrics(20 * scores - 10, labels, NAMES)
    for index, name in enumerate(NAMES):
        expected = sklearn_metrics.roc_auc_score(labels[:, index], scores[:, index])
        assert result["per_class"][name]["auroc"] == pytest.approx(expected, abs=1e-12)
    assert set(result["mean"]) == {"auroc", "average_precision"}
    assert "f1" not in result["per_class"]["RBBB"]


def test_bootstrap_equals_a_plain_one_that_repeats_rows():
    scores, labels = cohort(n=120)
    patients = np.random.default_rng(1).integers(0, 70, 120)
    names, thresholds = list(NAMES), np.full(3, 0.5)
    found = bootstrap_intervals(scores, labels, thresholds, names, patients, n_resamples=40, level=0.8, seed=5)

    distinct = np.unique(patients)
    generator = np.random.default_rng(5)
    plain = []
    for _ in range(40):
        drawn = distinct[generator.integers(0, len(distinct), len(distinct))]
        rows = np.concatenate([np.flatnonzero(patients == patient) for patient in drawn])
        plain.append(multilabel_metrics(scores[rows], labels[rows], thresholds, names))
    for metric in METRICS:
        values = [result["per_class"]["RBBB"][metric] for result in plain]
        interval = found["per_class"]["RBBB"][metric]
        assert (interval["low"], interval["high"]) == pytest.approx(np.quantile(values, [0.1, 0.9]), abs=1e-12)
        interval = found["mean"][metric]
        means = [result["mean"][metric] for result in plain]
        assert (interval["low"], interval["high"]) == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=1e-12)
    assert (found["n_groups"], found["n_resamples"], found["undefined"]) == (len(distinct), 40, [])


def test_bootstrap_does_not_depend_on_its_chunks(monkeypatch):
    scores, labels = cohort(n=60)
    arguments = (scores, labels, np.full(3, 0.5), NAMES)
    whole = bootstrap_intervals(*arguments, n_resamples=30)
    monkeypatch.setattr(resampling, "CHUNK_ELEMENTS", 400)
    assert bootstrap_intervals(*arguments, n_resamples=30) == whole
    assert bootstrap_intervals(*arguments, n_resamples=30, seed=1) != whole


def test_intervals_by_patient_are_wider_than_by_exam_when_exams_repeat():
    scores, labels = cohort(n=100)
    scores, labels, patients = np.tile(scores, (4, 1)), np.tile(labels, (4, 1)), np.tile(np.arange(100), 4)
    width = {}
    for name, groups in (("patient", patients), ("exam", None)):
        interval = bootstrap_intervals(scores, labels, np.full(3, 0.5), NAMES, groups)["mean"]["f1"]
        width[name] = interval["high"] - interval["low"]
    # Four copies of each exam hold the information of one: intervals by exam are too narrow by a factor of two.
    assert width["patient"] == pytest.approx(2 * width["exam"], rel=0.2)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        scores, labels = (generator.random((150, 1)) < 0.8).astype(float), np.ones((150, 1), dtype=int)
        interval = bootstrap_intervals(scores, labels, [0.5], ["AF"], n_resamples=200, level=0.9)
        recall = interval["per_class"]["AF"]["recall"]
        covered += recall["low"] <= 0.8 <= recall["high"]
    assert 46 <= covered <= 60  # 54 expected; the binomial's 0.1 % point is 46


@pytest.fixture
def few_accepted(monkeypatch):
    """`bootstrap_intervals` with another number of exams that an interval needs."""

    def intervals(needed, *arguments, **settings):
        monkeypatch.setattr(resampling, "MIN_POSITIVES_FOR_INTERVAL", needed)
        found = bootstrap_intervals(*arguments, **settings)
        monkeypatch.undo()
        return found

    return intervals


def test_bootstrap_states_the_resamples_that_a_metric_lost(few_accepted):
    scores, labels = np.linspace(0, 1, 40)[:, None], np.zeros((40, 1), dtype=int)
    labels[-1] = 1
    found = few_accepted(1, scores, labels, [0.5], ["AF"], n_resamples=200)
    used = found["per_class"]["AF"]["precision"]["n_resamples"]
    assert 100 < used < 150  # the one positive is drawn in 1 - 1/e of the resamples
    reason = f"undefined in {200 - used} of 200 resamples"
    assert {"label": "AF", "metric": "precision", "reason": reason} in found["undefined"]
    assert found["per_class"]["AF"]["accuracy"]["n_resamples"] == 200

    labels[:] = 0
    found = bootstrap_intervals(scores, labels, [0.5], ["AF"], n_resamples=20)
    none = {"low": None, "high": None, "n_resamples": 0, "reason": "undefined on all data"}
    assert found["per_class"]["AF"]["f1"] == none
    reason = "undefined on all data: no interval"
    assert {"label": "AF", "metric": "f1", "reason": reason} in found["undefined"]


def test_no_interval_from_fewer_than_half_of_the_resamples(few_accepted):
    # AUROC needs the one known positive and the one known negative: both are drawn in (1 - 1/e) ** 2 = 40 %.
    scores, labels = np.linspace(0, 1, 50)[:, None], np.full((50, 1), -1)
    labels[0], labels[-1] = 0, 1
    found = few_accepted(1, scores, labels, [0.5], ["AF"], n_resamples=400)
    auroc = found["per_class"]["AF"]["auroc"]
    assert auroc["low"] is None and 120 < auroc["n_resamples"] < 200
    assert auroc["reason"] == f"defined in {auroc['n_resamples']} of 400 resamples"
    assert any(entry["metric"] == "auroc" and ": no interval" in entry["reason"] for entry in found["undefined"])


def test_fewer_than_ten_positives_get_no_interval_and_the_reason():
    # One positive, which is missed: resamples that have it all give recall and F1 0, an interval of [0, 0].
    scores, labels = np.linspace(0, 1, 60)[:, None], np.zeros((60, 1), dtype=int)
    labels[0] = 1
    found = bootstrap_intervals(scores, labels, [0.5], ["AF"], n_resamples=20)
    none = {"low": None, "high": None, "n_resamples": 0, "reason": "fewer than 10 positives"}
    for metric in ("precision", "recall", "f1", "auroc", "average_precision"):
        assert found["per_class"]["AF"][metric] == none
        entry = {"label": "AF", "metric": metric, "reason": "fewer than 10 positives: no interval"}
        assert entry in found["undefined"]
    for metric in ("accuracy", "specificity"):  # they rest on the negatives
        assert found["per_class"]["AF"][metric]["low"] < found["per_class"]["AF"][metric]["high"]
    labels[:9] = 1
    assert bootstrap_intervals(scores, labels, [0.5], ["AF"], n_resamples=20)["per_class"]["AF"]["f1"] == none
    labels[9], scores[9] = 1, 0.9
    assert bootstrap_intervals(scores, labels, [0.5], ["AF"], n_resamples=20)["per_class"]["AF"]["f1"]["low"] == 0


def test_an_interval_needs_ten_of_what_its_metric_rests_on():
    def reasons(scores, labels, groups=None):
        found = bootstrap_intervals(scores[:, None], labels[:, None], [0.5], ["AF"], groups, n_resamples=50)
        return {metric: interval.get("reason") for metric, interval in found["per_class"]["AF"].items()}

    half, scores = np.arange(60) % 2, np.random.default_rng(0).random(60)
    assert set(reasons(scores, half).values()) == {None}
    few_calls = reasons(np.where(np.arange(60) < 8, scores / 2 + 0.5, scores / 2), half)
    assert few_calls == dict.fromkeys(METRICS) | {"precision": "fewer than 10 exams called positive"}
    few_negatives = reasons(scores, (np.arange(60) > 5).astype(int))
    lost = {"specificity": "fewer than 10 negatives", "auroc": "fewer than 10 negatives"}
    assert few_negatives == dict.fromkeys(METRICS) | lost
    # Thirty positives of five patients are five draws and not thirty.
    patients = np.where(half == 1, np.arange(60) % 5, np.arange(60))
    assert reasons(scores, half, patients)["recall"] == "fewer than 10 patients with positives"
    assert reasons(scores, half, patients)["specificity"] is None


def test_a_value_that_no_resample_changes_has_no_interval():
    labels = (np.arange(60) % 2)[:, None]
    found = bootstrap_intervals(labels.astype(float), labels, [0.5], ["AF"], n_resamples=20)
    for metric in METRICS:  # a perfect score on thirty positives is not certain: [1, 1] would say so
        interval = found["per_class"]["AF"][metric]
        assert (interval["low"], interval["reason"]) == (None, "the same in every resample")
    entry = {"label": "AF", "metric": "f1", "reason": "the same in every resample: no interval"}
    assert entry in found["undefined"]


def test_a_mean_has_an_interval_where_each_of_its_classes_has_one():
    scores, labels = cohort()
    found = bootstrap_intervals(scores, labels, np.full(3, 0.5), NAMES, n_resamples=20)
    assert found["mean"]["f1"]["low"] < found["mean"]["f1"]["high"]
    labels[np.flatnonzero(labels[:, 1])[3:], 1] = 0
    found = bootstrap_intervals(scores, labels, np.full(3, 0.5), NAMES, n_resamples=20)
    assert found["mean"]["f1"]["low"] is None
    assert found["mean"]["f1"]["reason"] == "1 of its 3 classes have none"
    assert found["mean"]["accuracy"]["low"] is not None
    labels[:, 1] = 0  # no longer one of the mean's classes
    found = bootstrap_intervals(scores, labels, np.full(3, 0.5), NAMES, n_resamples=20)
    assert found["mean"]["f1"]["low"] < found["mean"]["f1"]["high"]


def test_a_class_that_is_never_called_raises_no_mean():
    scores, labels = cohort()
    thresholds = np.full(3, 0.5)
    before = multilabel_metrics(scores, labels, thresholds, NAMES)
    thresholds[1] = 2
    after = multilabel_metrics(scores, labels, thresholds, NAMES)
    assert after["per_class"]["RBBB"]["precision"] is None and after["per_class"]["RBBB"]["f1"] == 0
    assert after["mean"]["precision"] is None
    reason = "no exam called positive of RBBB"
    assert {"label": "mean", "metric": "precision", "reason": reason} in after["undefined"]
    for metric in METRICS:
        now = after["mean"][metric]
        assert now is None or metric in ("accuracy", "specificity") or now <= before["mean"][metric]
    assert after["mean_zero_division"]["precision"] < before["mean_zero_division"]["precision"]
    intervals = bootstrap_intervals(scores, labels, thresholds, NAMES, n_resamples=20)
    assert intervals["mean"]["precision"]["low"] is None


def test_the_mean_with_undefined_as_0_is_scikit_learn_s():
    scores, labels = cohort()
    labels[:, 2] = 0  # called, and never there
    thresholds = np.array([0.5, 2, 0.5])  # never called, and there
    found = multilabel_metrics(scores, labels, thresholds, NAMES)["mean_zero_division"]
    called = scores >= thresholds
    expected = sklearn_metrics.precision_recall_fscore_support(labels, called, average="macro", zero_division=0)[:3]
    assert list(found) == ["precision", "recall", "f1"]
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)
    labels[:, 2] = -1  # known in no exam: no class of this mean
    found = multilabel_metrics(scores, labels, thresholds, NAMES)["mean_zero_division"]
    two = labels[:, :2], called[:, :2]
    expected = sklearn_metrics.precision_recall_fscore_support(*two, average="macro", zero_division=0)[:3]
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)
    nothing = multilabel_metrics(scores, np.full_like(labels, -1), thresholds, NAMES)["mean_zero_division"]
    assert nothing == {"precision": None, "recall": None, "f1": None}


def test_paired_bootstrap_gives_no_interval_where_one_model_would_get_none():
    scores, labels = cohort()
    labels[np.flatnonzero(labels[:, 0])[9:], 0] = 0
    thresholds = np.full(3, 0.5)
    found = paired_bootstrap(scores, scores, labels, thresholds, thresholds + 0.1, NAMES, n_resamples=20)
    row = found["per_class"]["1dAVb"]["f1"]
    assert row["difference"] is not None and (row["low"], row["p_value"]) == (None, None)
    assert row["reason"] == "fewer than 10 positives"
    assert found["mean"]["f1"]["reason"] == "1 of its 3 classes have none"
    assert found["per_class"]["RBBB"]["f1"]["low"] is not None


def test_paired_bootstrap_of_a_model_with_itself_is_zero():
    scores, labels = cohort()
    thresholds = np.full(3, 0.5)
    found = paired_bootstrap(scores, scores, labels, thresholds, thresholds, NAMES, n_resamples=50)
    for metric in METRICS:
        row = found["mean"][metric]
        assert (row["difference"], row["low"], row["high"], row["p_value"]) == (0, None, None, 1)
        assert row["reason"] == "the same in every resample"
        assert row["a"] == row["b"] == multilabel_metrics(scores, labels, thresholds, NAMES)["mean"][metric]


def test_paired_bootstrap_sees_a_small_difference_that_separate_intervals_miss():
    scores, labels = cohort(n=1500)
    better = scores + 0.01 * (labels - scores)
    thresholds = np.full(3, 0.5)
    found = paired_bootstrap(scores, better, labels, thresholds, thresholds, NAMES, n_resamples=300)["mean"]["auroc"]
    assert found["difference"] == pytest.approx(found["b"] - found["a"], abs=1e-12)
    assert 0 < found["low"] <= found["difference"] <= found["high"]
    assert found["p_value"] == pytest.approx(2 / 301)
    separate = [
        bootstrap_intervals(values, labels, thresholds, NAMES, n_resamples=300)["mean"]["auroc"]
        for values in (scores, better)
    ]
    assert separate[0]["high"] > separate[1]["low"]


def test_paired_bootstrap_takes_the_mean_over_runs():
    scores, labels = cohort()
    other = np.roll(scores, 1, axis=0)
    thresholds = np.full((2, 3), [[0.5], [0.4]])
    found = paired_bootstrap(
        np.stack([scores, other]), scores, labels, thresholds, thresholds[0], NAMES, n_resamples=20
    )
    single = [
        multilabel_metrics(values, labels, limits, NAMES)["per_class"]["RBBB"]["f1"]
        for values, limits in zip((scores, other), thresholds, strict=True)
    ]
    assert found["per_class"]["RBBB"]["f1"]["a"] == pytest.approx(np.mean(single), abs=1e-12)
    assert found["per_class"]["RBBB"]["f1"]["b"] == pytest.approx(single[0], abs=1e-12)


def test_paired_bootstrap_leaves_undefined_what_one_model_does():
    scores, labels = cohort()
    silent = scores.copy()
    silent[:, 0] = 0
    thresholds = np.full(3, 0.5)
    found = paired_bootstrap(silent, scores, labels, thresholds, thresholds, NAMES, n_resamples=20)
    row = found["per_class"]["1dAVb"]["precision"]
    assert (row["a"], row["difference"], row["low"], row["p_value"]) == (None, None, None, None)
    reason = "undefined for one of the models or both"
    assert {"label": "1dAVb", "metric": "precision", "reason": reason} in found["undefined"]
    # A mean of the other two classes would hide that the model never calls one.
    mean = found["mean"]["precision"]
    assert (mean["a"], mean["difference"]) == (None, None)
    assert mean["b"] == multilabel_metrics(scores, labels, thresholds, NAMES)["mean"]["precision"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": np.full((4, 1), 1.5)}, r"probabilities in \[0, 1\] .*found 1\.5 at exam 0, label 0"),
        ({"probabilities": np.array([[0.1], [0.2], [np.nan], [0.3]])}, "found nan at exam 2, label 0"),
        ({"probabilities": np.zeros((3, 1))}, r"shape of the labels \(4, 1\), found \(3, 1\)"),
        ({"labels": np.full((4, 1), 2)}, "expected 0, 1 or -1 .*found 2 at exam 0"),
        ({"labels": np.zeros((0, 1)), "probabilities": np.zeros((0, 1))}, "at least one exam"),
        ({"thresholds": [0.5, 0.5]}, "expected 1 finite numbers"),
        ({"thresholds": [float("nan")]}, "expected 1 finite numbers"),
        ({"label_names": ["AF", "ST"]}, "expected 1 names, found 2"),
        ({"label_names": ["mean"]}, "distinct names other than 'mean'"),
        ({"groups": ["a"]}, "one for each of 4 exams, found 1"),
        ({"n_resamples": 0}, "at least 1, found 0"),
        ({"level": 95}, "between 0 and 1, found 95"),
    ],
)
def test_wrong_input_is_named(change, message):
    given = {
        "probabilities": np.full((4, 1), 0.5),
        "labels": column(0, 1, 0, 1),
        "thresholds": [0.5],
        "label_names": ["AF"],
    }
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(**(given | change))


def test_paired_bootstrap_refuses_runs_that_do_not_fit():
    scores, labels = cohort(n=20)
    with pytest.raises(ValueError, match="one row for each of 2 runs, found 3"):
        paired_bootstrap(np.stack([scores] * 2), scores, labels, np.full((3, 3), 0.5), np.full(3, 0.5), NAMES)
    with pytest.raises(ValueError, match=r"\(runs, exams, labels\), found \(3,\)"):
        paired_bootstrap(scores[0], scores, labels, np.full(3, 0.5), np.full(3, 0.5), NAMES)


def test_module_chooses_thresholds_when_none_are_given_and_says_so():
    scores, labels = cohort()
    labels[:, 2] = 0
    result = EcgMultilabel().compute(predictions=scores, references=labels, label_names=NAMES, n_resamples=10)
    assert result["thresholds_chosen_here"] is True
    assert list(result["thresholds"].values()) == choose_thresholds(scores, labels).tolist()
    assert result["undefined"][0]["metric"] == "threshold"
    assert result["intervals"]["n_resamples"] == 10


def test_module_loads_offline_from_its_folder_and_equals_the_functions(tmp_path):
    code = """
import evaluate
result = evaluate.load("metrics/ecg_multilabel").compute(
    predictions=[[0.9], [0.6], [0.2]], references=[[1], [0], [0]], thresholds=[0.5]
)
print(result["per_class"]["label_0"]["precision"], result["thresholds_chosen_here"], "intervals" in result)
"""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["0.5", "False", "False"]


def test_examples_of_the_card_give_what_it_shows(monkeypatch):
    monkeypatch.chdir(PROJECT)
    found = doctest.testfile(str(PROJECT / "metrics/ecg_multilabel/README.md"), module_relative=False)
    assert found.attempted > 15
    assert found.failed == 0
