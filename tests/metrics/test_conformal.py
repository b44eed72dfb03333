"""Abstention: the promise is kept on average over draws, whatever the frequencies; and refused where it cannot be."""

import numpy as np
import pytest

from metrics.conformal import abstention_bounds, abstention_metrics, needed_of_each


def exams(generator, n_present, n_absent, apart=1.0):
    scores = np.concatenate([generator.normal(apart, 1, n_present), generator.normal(0, 1, n_absent)])
    return 1 / (1 + np.exp(-scores)), np.repeat([1, 0], [n_present, n_absent])


@pytest.mark.parametrize(("error", "n"), [(0.1, 9), (0.05, 19), (0.01, 99), (0.5, 1)])
def test_how_many_a_promise_takes(error, n):
    generator = np.random.default_rng(0)
    assert needed_of_each(error) == n
    assert abstention_bounds(*exams(generator, n, 200), error, 0.5) is not None
    assert abstention_bounds(*exams(generator, n - 1, 200), error, 0.5) is None
    assert abstention_bounds(*exams(generator, 200, n - 1), error, 0.5) is None


@pytest.mark.parametrize("apart", [0.0, 1.0, 6.0])
def test_the_promise_is_kept_where_the_label_is_rarer(apart):
    generator, error = np.random.default_rng(0), 0.1
    measured = []
    for _ in range(400):
        low, high = abstention_bounds(*exams(generator, 25, 60, apart), error, 0.5)
        assert low <= high
        measured.append(abstention_metrics(*exams(generator, 50, 500, apart), low, high))
    missed, false_alarms = (np.mean([one[name] for one in measured]) for name in ("missed", "false_alarms"))
    # 400 draws of 25 exams: the mean scatters by 0.003.
    assert missed <= error + 0.01 and false_alarms <= error + 0.01
    if apart < 2:  # and no less is decided than the promise asks for
        assert missed > error - 0.05 and false_alarms > error - 0.03
    else:
        assert np.mean([one["certain"] for one in measured]) == 1


def test_unknown_exams_have_no_part_and_ties_are_below():
    probabilities, labels = np.array([0.2] * 10 + [0.2] * 10 + [0.9]), np.array([1] * 10 + [0] * 10 + [-1])
    low, high = abstention_bounds(probabilities, labels, 0.1, 0.5)
    assert abstention_metrics(probabilities, labels, low, high) == {
        "missed": 0.0,
        "false_alarms": 0.0,
        "certain": 0.0,
        "certain_of_positives": 0.0,
        "n_positive": 10,
        "n_negative": 10,
    }


def test_nothing_to_count_is_none():
    measured = abstention_metrics(np.array([0.1]), np.array([0]), 0.3, 0.6)
    assert measured["missed"] is None and measured["certain"] == 1.0


def test_an_error_is_a_share():
    with pytest.raises(ValueError, match="between 0 and 1: found 1"):
        abstention_bounds(np.array([0.1]), np.array([0]), 1, 0.5)
