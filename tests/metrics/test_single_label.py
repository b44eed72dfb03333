import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, f1_score, roc_auc_score

from metrics.single_label import single_label_intervals, single_label_metrics


NAMES = ("NORM", "MI", "STTC", "CD")


def exams(n=400, seed=0, n_occurring=4):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_occurring, n)
    scores = generator.random((n, len(NAMES)))
    scores[np.arange(n), truth] += 0.4
    labels = np.eye(len(NAMES), dtype=np.int8)[truth]
    return scores / scores.sum(axis=1, keepdims=True), labels, truth


def test_metrics_are_those_of_scikit_learn():
    probabilities, labels, truth = exams()
    result = single_label_metrics(probabilities, labels, NAMES)
    told = probabilities.argmax(axis=1)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, told))
    assert result["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, told))
    f1 = f1_score(truth, told, average=None)
    for index, name in enumerate(NAMES):
        values = result["per_class"][name]
        assert values["f1"] == pytest.approx(f1[index])
        assert values["auroc"] == pytest.approx(roc_auc_score(truth == index, probabilities[:, index]))
        expected = average_precision_score(truth == index, probabilities[:, index])
        assert values["average_precision"] == pytest.approx(expected)
        assert values["n_predicted"] == (told == index).sum() and values["n_known"] == 400
    assert result["mean"]["f1"] == pytest.approx(f1.mean()) and result["undefined"] == []


def test_unknown_exams_are_left_out_and_absent_labels_stated():
    probabilities, labels, truth = exams(n_occurring=3)
    labels[::3] = -1
    kept = np.arange(len(truth)) % 3 > 0
    result = single_label_metrics(probabilities, labels, NAMES)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth[kept], probabilities[kept].argmax(axis=1)))
    expected = balanced_accuracy_score(truth[kept], probabilities[kept].argmax(axis=1))
    assert result["balanced_accuracy"] == pytest.approx(expected)
    assert result["per_class"]["CD"]["f1"] is None
    assert {"label": "CD", "metric": "f1", "reason": f"no positive among {kept.sum()} known labels"} in (
        result["undefined"]
    )
    nothing = single_label_metrics(probabilities, np.full_like(labels, -1), NAMES)
    assert nothing["accuracy"] is None and nothing["balanced_accuracy"] is None
    assert {"label": "all", "metric": "accuracy", "reason": "no known label"} in nothing["undefined"]


def test_of_equal_probabilities_one_is_the_decision():
    result = single_label_metrics(np.full((2, 2), 0.5), np.array([[1, 0], [0, 1]]), ("a", "b"))
    assert [result["per_class"][name]["n_predicted"] for name in ("a", "b")] == [2, 0]
    assert result["accuracy"] == 0.5


def test_intervals_are_those_of_resampled_patients():
    probabilities, labels, truth = exams(n=120)
    patients = np.arange(120) // 3
    found = single_label_intervals(probabilities, labels, NAMES, patients, n_resamples=200, seed=5)
    generator, hits = np.random.default_rng(5), truth == probabilities.argmax(axis=1)
    drawn = []
    for _ in range(200):
        weights = np.bincount(generator.integers(0, 40, 40), minlength=40)[patients]
        drawn.append(np.average(hits, weights=weights))
    assert [found["accuracy"][end] for end in ("low", "high")] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert found["balanced_accuracy"] == found["mean"]["recall"]
    assert found["n_groups"] == 40


def test_exams_with_two_labels_or_none_are_refused():
    for row in ([1, 1], [0, 0], [1, -1]):
        with pytest.raises(ValueError, match=r"exam 1: expected one label, or -1 for all of them, found"):
            single_label_metrics(np.full((2, 2), 0.5), np.array([[1, 0], row]), ("a", "b"))
