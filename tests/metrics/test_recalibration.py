"""Recalibration on few exams: what it finds, what it leaves alone, and what it promises."""

import numpy as np
import pytest
from scipy.special import expit

from metrics.calibration import expected_calibration_error
from metrics.ecg_multilabel.ecg_multilabel import multilabel_metrics
from metrics.recalibration import (
    Recalibrated,
    cross_validated,
    expected_f1_threshold,
    f1_of_decisions,
    fit_scale_and_shift,
    folds_of,
    recalibrate,
)


KEPT = Recalibrated.keeping([1.0, 1.3], [0.0, -0.2], [0.4, 0.3])


def drawn(n, scale, shift, seed=0):
    """Logits whose probabilities are right after `scale` and `shift`, with the labels that follow."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-2, 3, n)
    return logits, (generator.random(n) < expit(scale * logits + shift)).astype(np.int8)


def test_many_exams_tell_scale_and_shift():
    logits, labels = drawn(20_000, 0.6, -1.2)
    scale, shift = fit_scale_and_shift(logits, labels == 1)
    assert scale == pytest.approx(0.6, abs=0.03) and shift == pytest.approx(-1.2, abs=0.1)


def test_few_exams_move_little():
    # One positive below all others, of five: believed without priors, the order would turn over.
    scale, shift = fit_scale_and_shift(np.array([-6.0, -1, 1, 2, 3]), np.array([True, False, False, False, False]))
    assert 0 < scale < 1 and -2 < shift < 0


def test_labels_without_positives_keep_what_they_have():
    logits, labels = drawn(200, 1, 1)
    both = np.stack([logits, logits], axis=1)
    found = recalibrate(both, np.stack([labels, np.zeros_like(labels)], axis=1), KEPT)
    assert found.fitted.tolist() == [True, False]
    assert (found.scales[1], found.shifts[1], found.thresholds[1]) == (1.3, -0.2, 0.3)
    assert found.thresholds[0] != 0.4 and KEPT.thresholds[0] == 0.4


def test_unknown_exams_have_no_part():
    logits, labels = drawn(100, 1, 0)
    alone = recalibrate(logits[:, None], labels[:, None], Recalibrated.keeping([1], [0], [0.5]))
    more = np.concatenate([logits, np.full(50, 9.0)]), np.concatenate([labels, np.full(50, -1)])
    beside = recalibrate(more[0][:, None], more[1][:, None], Recalibrated.keeping([1], [0], [0.5]))
    assert beside.scales == alone.scales and beside.thresholds == alone.thresholds


def test_the_threshold_is_the_best_of_all_where_probabilities_are_right():
    logits, labels = drawn(200_000, 1, -2)
    probabilities = expit(logits - 2)
    found = f1_of_decisions((probabilities >= expected_f1_threshold(probabilities))[:, None], labels[:, None])[0]
    best = max(f1_of_decisions((probabilities >= at)[:, None], labels[:, None])[0] for at in np.arange(0.02, 1, 0.02))
    assert found == pytest.approx(best, abs=2e-3)


def test_cross_validation_mends_what_is_miscalibrated_and_keeps_patients_together():
    logits, labels = drawn(600, 0.5, -2)
    before = Recalibrated.keeping([1], [0], [0.5])
    patients = np.repeat(np.arange(300), 2).astype(str)
    folds = folds_of(patients, 5, 0)
    assert np.array_equal(folds[::2], folds[1::2]) and set(folds) == set(range(5))
    probabilities, decisions = cross_validated(logits[:, None], labels[:, None], folds, before)
    ece = [expected_calibration_error(of, labels == 1) for of in (expit(logits), probabilities[:, 0])]
    assert ece[1] < ece[0] / 2
    assert decisions.shape == (600, 1)
    # Labels of a patient that would teach its own fold: the fit of another fold does not know them.
    changed = labels.copy()
    changed[:2] = 1 - changed[:2]
    again, _ = cross_validated(logits[:, None], changed[:, None], folds, before)
    assert np.array_equal(again[:2], probabilities[:2]) and not np.array_equal(again, probabilities)
    with pytest.raises(ValueError, match="5 folds need as many patients: found 1"):
        folds_of(["one"] * 600, 5, 0)


def test_f1_of_decisions_is_that_of_the_metric():
    generator = np.random.default_rng(3)
    probabilities, labels = generator.random((50, 2)), generator.integers(-1, 2, (50, 2))
    labels[:, 1] = np.minimum(labels[:, 1], 0)
    expected = multilabel_metrics(probabilities, labels, [0.5, 0.5], ["a", "b"])["per_class"]
    found = f1_of_decisions(probabilities >= 0.5, labels)
    assert found[0] == pytest.approx(expected["a"]["f1"]) and expected["b"]["f1"] is None and np.isnan(found[1])
