"""Predictions to `predictions.parquet` and `metrics.json`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.checksums import verify_checksums
from common.writing import written_aside
from metrics.calibration import brier_intervals, calibration_metrics
from metrics.ecg_multilabel.ecg_multilabel import (
    bootstrap_intervals,
    choose_thresholds,
    multilabel_metrics,
    undefined_thresholds,
)
from metrics.regression import regression_intervals, regression_metrics
from metrics.single_label import single_label_intervals, single_label_metrics
from training.subgroups import subgroup_metrics


@dataclass(frozen=True, eq=False)
class _OfSplit:
    """What predictions of every kind share: exams of a split, each once, with their patients."""

    columns: ClassVar[dict[str, str]] = {}  # of the file: prefix of a column's name, and the attribute it holds

    split: str
    exam_ids: np.ndarray
    patient_ids: np.ndarray
    ages: np.ndarray | None = field(default=None, kw_only=True)
    sexes: np.ndarray | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name, dtype in (("exam_ids", str), ("patient_ids", str), ("ages", np.float64), ("sexes", object)):
            if getattr(self, name) is None:  # ages and sexes, where nobody asked for them
                continue
            values = list(getattr(self, name))
            if len(values) != len(self.exam_ids):
                raise ValueError(f"split {self.split}: expected {len(self.exam_ids)} {name}, found {len(values)}")
            if dtype is str and None in values:
                raise ValueError(f"split {self.split}: {name} of row {values.index(None)} is missing")
            object.__setattr__(self, name, np.array(values, dtype=dtype))
        distinct, counts = np.unique(self.exam_ids, return_counts=True)
        if len(distinct) != len(self.exam_ids):
            raise ValueError(f"split {self.split}: exam {distinct[counts > 1][0]} comes {counts.max()} times")

    @property
    def resampled(self) -> str:
        """What the bootstrap draws; see [`drawn_of`]."""
        return drawn_of(self.exam_ids, self.patient_ids)

    def of_rows(self, rows: np.ndarray) -> Self:
        """Returns the predictions of some exams, by a mask or by places."""
        names = ["exam_ids", "patient_ids", "ages", "sexes", *self.columns.values()]
        values = {name: getattr(self, name) for name in names}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})

    def _check(
        self, truth: str, told: str, dtype: Any, right: Callable[[np.ndarray], np.ndarray], wanted: str
    ) -> None:
        """Makes arrays of both attributes, and refuses shapes that do not fit and rows that are not as `wanted`."""
        object.__setattr__(self, truth, np.asarray(getattr(self, truth), dtype=dtype))
        object.__setattr__(self, told, np.asarray(getattr(self, told), dtype=np.float64))
        truths, tolds = getattr(self, truth), getattr(self, told)
        if truths.ndim != 2 or len(truths) != len(self.exam_ids) or tolds.shape != truths.shape:
            raise ValueError(
                f"split {self.split}: expected {truth} and {told} of shape ({len(self.exam_ids)}, {truth}), "
                f"found {truths.shape} and {tolds.shape}"
            )
        wrong = ~right(tolds).all(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"split {self.split}, exam {self.exam_ids[row]}: expected {wanted}, found {tolds[row].tolist()}"
            )


@dataclass(frozen=True, eq=False)
class SplitPredictions(_OfSplit):
    """
    Labels and probabilities of one split, one row for each exam.

    Args:
        split (`str`):
            Its name, such as "test".
        exam_ids, patient_ids (`Sequence[str]` of length `exams`):
            Each exam once; patients group the exams.
        ages (`Sequence[float]` of length `exams`, *optional*):
            Years at the time of the exam, NaN where unknown.
        sexes (`Sequence[str]` of length `exams`, *optional*):
            `"female"`, `"male"`, or None where unknown.
        labels (`np.ndarray` of int, shape `(exams, labels)`):
            1 present, 0 absent, -1 unknown.
        probabilities (`np.ndarray` of float, shape `(exams, labels)`):
            In [0, 1]; kept as float64, so that metrics computed again from the written file are the same.

    Raises:
        ValueError: if lengths or shapes differ, an exam comes twice (a gather over processes that repeats the last
            batch's exams looks so), an id is missing, or a probability is not in [0, 1], naming the exam.
    """

    columns = {"label_": "labels", "probability_": "probabilities"}

    labels: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "probabilities in [0, 1]"
        self._check("labels", "probabilities", np.int8, lambda values: (values >= 0) & (values <= 1), wanted)


@dataclass(frozen=True, eq=False)
class TargetPredictions(_OfSplit):
    """
    Numbers and their predictions of one split, one row for each exam.

    Args:
        split, exam_ids, patient_ids, ages, sexes:
            As in [`SplitPredictions`].
        targets (`np.ndarray` of float, shape `(exams, targets)`):
            NaN where unknown.
        predictions (`np.ndarray` of float, shape `(exams, targets)`):
            In the targets' own units.

    Raises:
        ValueError: as [`SplitPredictions`], and for a prediction that is not finite.
    """

    columns = {"target_": "targets", "prediction_": "predictions"}

    targets: np.ndarray
    predictions: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("targets", "predictions", np.float64, np.isfinite, "finite predictions")


Predictions = SplitPredictions | TargetPredictions


def drawn_of(exam_ids: np.ndarray, patient_ids: np.ndarray) -> str:
    """Returns what a bootstrap by patient draws: `"patients"`, or `"exams"` where no exam names one but itself."""
    return "exams" if np.array_equal(exam_ids, patient_ids) else "patients"


def write_predictions(path: str | os.PathLike, predictions: Sequence[Predictions], names: Sequence[str]) -> None:
    """
    Write the predictions of one or more splits as one Parquet file, aside and then renamed.

    Columns: `exam_id`, `patient_id`, `split` (string), `age` (float64) and `sex` (string) where the predictions have
    them (null unknown), then `label_<name>` (int8, -1 unknown) and `probability_<name>` (float64) in the order of
    `names`; of numbers `target_<name>` (float64, null unknown) and `prediction_<name>`.

    Raises:
        ValueError: if a split has another number of labels than there are names.
    """
    tables = []
    for part in predictions:
        columns = {
            "exam_id": pa.array(part.exam_ids.tolist(), pa.string()),
            "patient_id": pa.array(part.patient_ids.tolist(), pa.string()),
            "split": pa.array([part.split] * len(part.exam_ids), pa.string()),
        }
        if part.ages is not None:
            columns["age"] = pa.array(part.ages, pa.float64(), from_pandas=True)
        if part.sexes is not None:
            columns["sex"] = pa.array(part.sexes.tolist(), pa.string())
        for prefix, attribute in part.columns.items():
            values = getattr(part, attribute)
            if values.shape[1] != len(names):
                raise ValueError(
                    f"split {part.split}: expected {len(names)} {attribute} {list(names)}, found {values.shape[1]}"
                )
            columns |= {f"{prefix}{name}": pa.array(values[:, i], from_pandas=True) for i, name in enumerate(names)}
        tables.append(pa.table(columns))
    with written_aside(path) as aside:
        pq.write_table(pa.concat_tables(tables), aside)


def read_predictions(path: str | os.PathLike) -> tuple[dict[str, Predictions], tuple[str, ...]]:
    """
    Predictions by split, and the names of labels or targets, from a file of [`write_predictions`].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a column is missing, or the file differs from the digest in its folder's `SHA256SUMS`.
    """
    verify_checksums(Path(path).parent, [Path(path).name])
    table = pq.read_table(path)
    of_targets = any(name.startswith("target_") for name in table.column_names)
    kind = TargetPredictions if of_targets else SplitPredictions
    first, second = kind.columns
    names = tuple(name.removeprefix(first) for name in table.column_names if name.startswith(first))
    wanted = ["exam_id", "patient_id", "split", *(f"{second}{name}" for name in names)]
    missing = [name for name in wanted if name not in table.column_names]
    if missing or not names:
        raise ValueError(f"{path}: expected predictions with {first}* columns and {wanted}, missing {missing}")
    splits = {}
    of_row = table.column("split").to_numpy()
    for split in dict.fromkeys(of_row.tolist()):
        part = table.filter(pa.array(of_row == split))
        arrays = (
            np.stack([part.column(f"{prefix}{name}").to_numpy() for name in names], axis=1) for prefix in kind.columns
        )
        ids = (part.column(name).to_pylist() for name in ("exam_id", "patient_id"))
        of_person = {
            attribute: part.column(name).to_numpy()
            for name, attribute in (("age", "ages"), ("sex", "sexes"))
            if name in part.column_names
        }
        splits[split] = kind(split, *ids, *arrays, **of_person)
    return splits, names


def evaluate_predictions(
    validation: SplitPredictions | None,
    test: SplitPredictions | None,
    label_names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """
    What `metrics.json` holds: thresholds from validation alone, then metrics of the test split with intervals.

    Args:
        validation (`SplitPredictions`, *optional*):
            Where thresholds are chosen (maximum F1); its own metrics are reported too, and flatter. May be None where
            `thresholds` are given.
        test (`SplitPredictions`, *optional*):
            What is measured; None where there is none.
        label_names (`Sequence[str]`):
            In the order of the columns.
        thresholds (`Sequence[float]`, *optional*):
            Use these instead, such as a published model's.
        n_resamples (`int`, defaults to 1000), seed (`int`, defaults to 0):
            Of the bootstrap over test patients.

    Returns:
        `dict` ready for `write_json`: `label_names`, `thresholds` {label: float}, `thresholds_from` ("validation" or
        "given"), `undefined` (labels without a choice), and for each split that is there `n_exams`, `n_patients` and
        the result of `multilabel_metrics` with `brier` and `ece` of `calibration_metrics` beside the other metrics,
        and `binning` of the latter. `test` has `intervals` of `bootstrap_intervals` and `brier_intervals` too, with
        what they `resampled` ("patients", or "exams" where none are known), and where the predictions have ages or
        sexes `subgroups` of [`subgroup_metrics`].

    Raises:
        ValueError: if neither validation predictions nor thresholds are given, or if the splits share a patient.
    """
    undefined: list[dict[str, str]] = []
    if thresholds is not None:
        chosen = np.asarray(thresholds, dtype=np.float64)
    elif validation is not None:
        chosen = choose_thresholds(validation.probabilities, validation.labels)
        undefined = undefined_thresholds(validation.labels, label_names)
    else:
        raise ValueError("expected validation predictions to choose thresholds on, or thresholds; found neither")
    result = {
        "label_names": list(label_names),
        "thresholds": dict(zip(label_names, map(float, chosen), strict=True)),
        "thresholds_from": "validation" if thresholds is None else "given",
        "undefined": undefined,
    }
    settings = {"n_resamples": n_resamples, "seed": seed}
    return result | _of_classes(
        validation,
        test,
        label_names,
        lambda part: multilabel_metrics(part.probabilities, part.labels, chosen, label_names),
        lambda part: bootstrap_intervals(
            part.probabilities, part.labels, chosen, label_names, part.patient_ids, **settings
        ),
        settings,
    )


def evaluate_single_label(
    validation: SplitPredictions | None,
    test: SplitPredictions | None,
    label_names: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """
    What `metrics.json` holds where the most probable label is the decision: no thresholds, and for each split the
    result of `single_label_metrics`, with calibration and subgroups as in [`evaluate_predictions`]. Args as there.
    """
    result = {"label_names": list(label_names), "thresholds": {}, "thresholds_from": "argmax", "undefined": []}
    settings = {"n_resamples": n_resamples, "seed": seed}
    return result | _of_classes(
        validation,
        test,
        label_names,
        lambda part: single_label_metrics(part.probabilities, part.labels, label_names),
        lambda part: single_label_intervals(
            part.probabilities, part.labels, label_names, part.patient_ids, **settings
        ),
        settings,
    )


def evaluate_targets(
    validation: TargetPredictions | None,
    test: TargetPredictions | None,
    target_names: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """
    What `metrics.json` holds of a regression: `target_names`, and for each split the result of `regression_metrics`.
    Args as in [`evaluate_predictions`].
    """
    settings = {"n_resamples": n_resamples, "seed": seed}
    return {"target_names": list(target_names)} | _of_splits(
        validation,
        test,
        lambda part: regression_metrics(part.predictions, part.targets, target_names),
        lambda part: regression_intervals(part.predictions, part.targets, target_names, part.patient_ids, **settings),
    )


def _of_classes(
    validation: SplitPredictions | None,
    test: SplitPredictions | None,
    label_names: Sequence[str],
    measure: Callable[[Any], dict[str, Any]],
    intervals: Callable[[Any], dict[str, Any]],
    settings: Mapping[str, int],
) -> dict[str, Any]:
    """[`_of_splits`] of classifiers: with calibration beside the decisions, and the test split's subgroups."""

    def measured(part: SplitPredictions) -> dict[str, Any]:
        calibration = calibration_metrics(part.probabilities, part.labels, label_names)
        return {**_joined(measure(part), calibration), "binning": calibration["binning"]}

    def with_intervals(part: SplitPredictions) -> dict[str, Any]:
        return _joined(
            intervals(part),
            brier_intervals(part.probabilities, part.labels, label_names, part.patient_ids, **settings),
        )

    result = _of_splits(validation, test, measured, with_intervals)
    if test is not None and not (test.ages is None and test.sexes is None):
        result["test"]["subgroups"] = subgroup_metrics(test, measured, with_intervals)
    return result


def _joined(of_decisions: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The former with the metrics that the latter has of the same classes."""
    return {
        **of_decisions,
        "per_class": {
            name: {**values, **more["per_class"][name]} for name, values in of_decisions["per_class"].items()
        },
        "mean": {**of_decisions["mean"], **more["mean"]},
        "undefined": [*of_decisions["undefined"], *more["undefined"]],
    }


def _of_splits(
    validation: Any,
    test: Any,
    measure: Callable[[Any], dict[str, Any]],
    intervals: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """Results of the splits that are there, of the test split with intervals; no patient may be in both."""
    if validation is not None and test is not None:
        shared = np.intersect1d(validation.patient_ids, test.patient_ids)
        if len(shared):
            raise ValueError(
                f"{len(shared)} patients are in both split {validation.split} and split {test.split}, "
                f"the first {shared[0]}: expected none"
            )
    result = {}
    for name, part in (("validation", validation), ("test", test)):
        if part is not None:
            sizes = {"n_exams": len(part.exam_ids), "n_patients": len(np.unique(part.patient_ids))}
            result[name] = {**sizes, **measure(part)}
    if test is not None:
        result["test"]["intervals"] = {**intervals(test), "resampled": test.resampled}
    return result


def threshold_prevalence(metrics: Mapping[str, Any], label_names: Sequence[str]) -> tuple[float | None, ...] | None:
    """
    Returns the share of positives among the exams that each threshold was chosen on: those of validation.

    Args:
        metrics (`Mapping`): Of [`evaluate_predictions`].
        label_names (`Sequence[str]`): In the order wanted.

    Returns:
        `tuple`: None for a label that no exam knows; None altogether for thresholds from elsewhere.
    """
    if metrics["thresholds_from"] != "validation":
        return None
    counts = (metrics["validation"]["per_class"][name] for name in label_names)
    return tuple(of["n_positive"] / of["n_known"] if of["n_known"] else None for of in counts)
