import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from metrics.regression import METRICS, regression_intervals, regression_metrics


NAMES = ("age", "potassium")


def exams(n=300, seed=0):
    generator = np.random.default_rng(seed)
    targets = np.stack([generator.normal(60, 15, n), generator.normal(4.2, 0.5, n)], axis=1)
    predictions = targets + generator.normal(size=targets.shape) * [8, 0.4]
    targets[::5, 1] = np.nan
    return predictions, targets


def reference(predictions, targets, weights=None):
    known = ~np.isnan(targets)
    predictions, targets = predictions[known], targets[known]
    if weights is not None:
        predictions, targets = (np.repeat(values, weights[known]) for values in (predictions, targets))
    return [
        mean_absolute_error(targets, predictions),
        root_mean_squared_error(targets, predictions),
        r2_score(targets, predictions),
        pearsonr(targets, predictions).statistic,
    ]


def test_metrics_are_those_of_scikit_learn_and_scipy():
    predictions, targets = exams()
    result = regression_metrics(predictions, targets, NAMES)
    expected = [reference(predictions[:, i], targets[:, i]) for i in range(2)]
    for name, values in zip(NAMES, expected, strict=True):
        assert [result["per_target"][name][metric] for metric in METRICS] == pytest.approx(values)
    assert result["per_target"]["potassium"]["n_known"] == 240
    assert list(result["mean"].values()) == pytest.approx(np.mean(expected, axis=0)) and result["undefined"] == []


def test_a_far_offset_costs_no_digits():
    predictions, targets = exams()
    plain = regression_metrics(predictions, targets, NAMES)["per_target"]["age"]
    far = regression_metrics(predictions + 1e8, targets + 1e8, NAMES)["per_target"]["age"]
    assert [far[metric] for metric in METRICS] == pytest.approx([plain[metric] for metric in METRICS], rel=1e-6)


def test_intervals_are_those_of_resampled_patients():
    predictions, targets = exams(n=120)
    patients = np.arange(120) // 3
    found = regression_intervals(predictions, targets, NAMES, patients, n_resamples=100, seed=5)
    generator, drawn = np.random.default_rng(5), []
    for _ in range(100):
        weights = np.bincount(generator.integers(0, 40, 40), minlength=40)[patients]
        drawn.append([reference(predictions[:, i], targets[:, i], weights) for i in range(2)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for i, name in enumerate(NAMES):
        intervals = found["per_target"][name]
        assert [intervals[metric]["low"] for metric in METRICS] == pytest.approx(low[i])
        assert [intervals[metric]["high"] for metric in METRICS] == pytest.approx(high[i])
    assert {"level", "n_resamples", "n_groups", "seed", "per_target", "mean", "undefined"} == set(found)


def test_what_is_undefined_is_stated():
    predictions, targets = exams(n=30)
    predictions[:, 0], targets[:, 1] = 60, np.nan
    result = regression_metrics(predictions, targets, NAMES)
    age, potassium = (result["per_target"][name] for name in NAMES)
    assert age["mae"] is not None and age["r2"] is not None and age["pearson"] is None
    assert [potassium[metric] for metric in METRICS] == [None] * 4 and potassium["n_known"] == 0
    assert {"label": "age", "metric": "pearson", "reason": "one prediction for all 30 known"} in result["undefined"]
    assert {"label": "potassium", "metric": "mae", "reason": "no known value"} in result["undefined"]
    assert {"label": "mean", "metric": "r2", "reason": "defined for 1 of 2 targets"} in result["undefined"]
    same = regression_metrics(predictions[:, :1], np.full((30, 1), 0.1), ["age"])
    assert same["per_target"]["age"]["r2"] is None
    assert same["undefined"][0]["reason"] == "one value alone among 30 known"
    intervals = regression_intervals(predictions, targets, NAMES, n_resamples=10)
    none = {"low": None, "high": None, "n_resamples": 0, "reason": "undefined on all data"}
    assert intervals["per_target"]["potassium"]["mae"] == none
    few = regression_intervals(predictions[:9], targets[:9], NAMES, n_resamples=10)
    assert few["per_target"]["age"]["mae"] == none | {"reason": "fewer than 10 known values"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": [[np.nan], [1.0]]}, "predictions: expected finite numbers, found nan at exam 0"),
        ({"targets": [[1.0], [np.inf]]}, "targets: expected finite numbers, found inf at exam 1"),
        ({"targets": [[1.0, 2.0], [1.0, 2.0]]}, r"predictions: expected the shape of the targets \(2, 2\)"),
        ({"target_names": ["mean"]}, "distinct names other than 'mean'"),
        ({"targets": [1.0, 2.0]}, r"expected shape \(exams, targets\)"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    given = {"predictions": [[1.0], [2.0]], "targets": [[1.0], [np.nan]], "target_names": ["age"]} | change
    with pytest.raises(ValueError, match=message):
        regression_metrics(**given)
