"""How well a classifier does by age and by sex: F1, AUROC and calibration of each label, on the test split."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


AGE_BANDS = {"<40": (0, 40), "40-64": (40, 65), ">=65": (65, math.inf)}  # years, from and below
SEXES = ("female", "male")
SUBGROUP_METRICS = ("f1", "auroc", "brier", "ece")  # the last without intervals, see metrics/calibration.py
COUNTS = ("n_positive", "n_known")


def subgroup_metrics(
    test: Any, measure: Callable[[Any], dict[str, Any]], intervals: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """
    Metrics of the test split's exams of each age band and each sex.

    Thresholds are those of all exams. The intervals follow the rules of all others: fewer than ten positives of a
    label in a subgroup give none.

    Args:
        test (`SplitPredictions`):
            With `ages`, `sexes` or both.
        measure, intervals (`Callable`):
            From predictions to the result of `multilabel_metrics` and `bootstrap_intervals`, or those of one label of
            several; with those of calibration where they have such.

    Returns:
        `dict` ready for JSON: `kinds` {"age" and "sex", those that the predictions have: `n_unknown` (exams) and
        `groups` {name: `n_exams`, `n_patients`, `per_class` {label: `f1`, `auroc`, `n_positive`, `n_known`}, `mean`,
        `undefined`, `intervals`}}; `undefined` [{subgroup, reason}] of those without an exam.
    """
    kinds: dict[str, Any] = {}
    undefined = []
    for kind, masks in _masks(test).items():
        known = np.any(list(masks.values()), axis=0)
        groups = {}
        for name, rows in masks.items():
            if rows.any():
                groups[name] = _of_group(test.of_rows(rows), measure, intervals)
                continue
            reason = "no exam" if known.any() else f"{kind} is known of no exam"
            undefined.append({"subgroup": f"{kind} {name}", "reason": reason})
        kinds[kind] = {"n_unknown": int((~known).sum()), "groups": groups}
    return {"kinds": kinds, "undefined": undefined}


def _masks(test: Any) -> dict[str, dict[str, np.ndarray]]:
    """Which exams are in which subgroup, bool `(exams,)`, by kind and name."""
    masks = {}
    if test.ages is not None:
        # Comparisons with NaN are false: an unknown age is in no band.
        masks["age"] = {name: (test.ages >= low) & (test.ages < high) for name, (low, high) in AGE_BANDS.items()}
    if test.sexes is not None:
        masks["sex"] = {name: test.sexes == name for name in SEXES}
    return masks


def _of_group(
    part: Any, measure: Callable[[Any], dict[str, Any]], intervals: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    measured, ends = measure(part), intervals(part)
    settings = {key: value for key, value in ends.items() if key in ("level", "n_resamples", "n_groups", "seed")}
    return {
        "n_exams": len(part.exam_ids),
        "n_patients": len(np.unique(part.patient_ids)),
        **_kept(measured, (*SUBGROUP_METRICS, *COUNTS)),
        "intervals": {**settings, **_kept(ends, SUBGROUP_METRICS), "resampled": part.resampled},
    }


def _kept(report: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """`per_class`, `mean` and `undefined` of a report, of some metrics alone."""

    def of(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: values[key] for key in keys if key in values}

    return {
        "per_class": {name: of(values) for name, values in report["per_class"].items()},
        "mean": of(report["mean"]),
        "undefined": [entry for entry in report["undefined"] if entry["metric"] in keys],
    }
