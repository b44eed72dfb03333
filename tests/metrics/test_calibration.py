"""Calibration by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from metrics.calibration import brier_intervals, calibration_bins, calibration_metrics, expected_calibration_error


NAMES = ("1dAVb", "RBBB", "LBBB")


def cohort(n=400, seed=0):
    generator = np.random.default_rng(seed)
    probabilities = generator.random((n, len(NAMES)))
    labels = (generator.random(probabilities.shape) < probabilities**2).astype(int)
    return probabilities, labels


def test_ece_by_hand():
    # First bin: 0.05 and 0.09, none positive: mean 0.07, distance 0.07. Sixth: 0.5, 0.54, 0.58, two of three positive:
    # mean 0.54, distance 2/3 - 0.54. Last, which holds 1: 0.9 and 1, one positive: mean 0.95, distance 0.45.
    probabilities = np.array([0.05, 0.09, 0.5, 0.54, 0.58, 0.9, 1.0])
    positive = np.array([0, 0, 1, 1, 0, 0, 1], dtype=bool)
    expected = (2 * 0.07 + 3 * (2 / 3 - 0.54) + 2 * 0.45) / 7
    assert expected_calibration_error(probabilities, positive) == pytest.approx(expected, abs=1e-12)
    counts, mean, share = calibration_bins(probabilities, positive)
    assert counts.tolist() == [2, 0, 0, 0, 0, 3, 0, 0, 0, 2]
    assert mean[[0, 5, 9]] == pytest.approx([0.07, 0.54, 0.95]) and np.isnan(mean[1])
    assert share[[0, 5, 9]] == pytest.approx([0, 2 / 3, 0.5]) and np.isnan(share[1])


def test_bins_are_those_of_scikit_learn():
    probabilities, labels = cohort()
    _, mean, share = calibration_bins(probabilities[:, 0], labels[:, 0] == 1)
    expected_share, expected_mean = calibration_curve(labels[:, 0], probabilities[:, 0], n_bins=10)
    assert mean == pytest.approx(expected_mean) and share == pytest.approx(expected_share)


def test_labels_are_measured_where_they_are_known():
    probabilities, labels = cohort()
    labels[::7, 0], labels[:, 1] = -1, -1
    found = calibration_metrics(probabilities, labels, NAMES)
    known = labels[:, 0] >= 0
    expected = brier_score_loss(labels[known, 0], probabilities[known, 0])
    assert found["per_class"]["1dAVb"]["brier"] == pytest.approx(expected, abs=1e-12)
    ece = expected_calibration_error(probabilities[known, 0], labels[known, 0] == 1)
    assert found["per_class"]["1dAVb"]["ece"] == ece
    assert found["per_class"]["RBBB"] == {"brier": None, "ece": None}
    for metric in ("brier", "ece"):
        assert {"label": "RBBB", "metric": metric, "reason": "no known label"} in found["undefined"]
        others = [found["per_class"][name][metric] for name in ("1dAVb", "LBBB")]
        assert found["mean"][metric] == pytest.approx(np.mean(others))
    assert {"label": "mean", "metric": "ece", "reason": "defined for 2 of 3 classes"} in found["undefined"]
    assert found["binning"] == "10 equally wide bins"


def test_a_label_with_one_class_alone_has_both():
    found = calibration_metrics(np.array([[0.2, 1.0], [0.4, 1.0]]), np.array([[0, 1], [0, 1]]), NAMES[:2])
    assert found["per_class"]["1dAVb"] == pytest.approx({"brier": (0.04 + 0.16) / 2, "ece": (0.2 + 0.4) / 2})
    assert found["per_class"]["RBBB"] == {"brier": 0.0, "ece": 0.0}
    assert found["undefined"] == []


def test_intervals_are_those_of_resampled_patients_and_need_ten_positives():
    probabilities, labels = cohort(n=120)
    labels[::5, 0] = -1
    labels[np.flatnonzero(labels[:, 2] == 1)[9:], 2] = 0
    patients = np.random.default_rng(1).integers(0, 70, 120)
    found = brier_intervals(probabilities, labels, NAMES, patients, n_resamples=40, level=0.8, seed=5)
    distinct, generator, drawn = np.unique(patients), np.random.default_rng(5), []
    for _ in range(40):
        chosen = distinct[generator.integers(0, len(distinct), len(distinct))]
        rows = np.concatenate([np.flatnonzero(patients == patient) for patient in chosen])
        drawn.append(calibration_metrics(probabilities[rows], labels[rows], NAMES)["per_class"]["1dAVb"]["brier"])
    interval = found["per_class"]["1dAVb"]["brier"]
    assert (interval["low"], interval["high"]) == pytest.approx(np.quantile(drawn, [0.1, 0.9]), abs=1e-12)
    assert found["per_class"]["LBBB"]["brier"]["reason"] == "fewer than 10 positives"
    assert found["mean"]["brier"]["reason"] == "1 of its 3 classes have none"
