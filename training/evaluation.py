"""Predictions to `predictions.parquet`, `metrics.json` and a table."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.markdown import markdown_table
from common.writing import written_aside
from metrics.ecg_multilabel.ecg_multilabel import (
    bootstrap_intervals,
    choose_thresholds,
    multilabel_metrics,
    undefined_thresholds,
)
from metrics.regression import regression_intervals, regression_metrics
from metrics.single_label import single_label_intervals, single_label_metrics


TABLE_COLUMNS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "specificity": "specificity",
    "auroc": "AUROC",
    "average_precision": "avg. precision",
}
TARGET_COLUMNS = {"mae": "MAE", "rmse": "RMSE", "r2": "R2", "pearson": "Pearson's r"}
UNITLESS = ("r2", "pearson")  # what a mean over targets of different units can be taken of


@dataclass(frozen=True, eq=False)
class _OfSplit:
    """What predictions of every kind share: exams of a split, each once, with their patients."""

    columns: ClassVar[dict[str, str]] = {}  # of the file: prefix of a column's name, and the attribute it holds

    split: str
    exam_ids: np.ndarray
    patient_ids: np.ndarray

    def __post_init__(self) -> None:
        for name in ("exam_ids", "patient_ids"):
            values = list(getattr(self, name))
            if len(values) != len(self.exam_ids):
                raise ValueError(f"split {self.split}: expected {len(self.exam_ids)} {name}, found {len(values)}")
            if None in values:
                raise ValueError(f"split {self.split}: {name} of row {values.index(None)} is missing")
            object.__setattr__(self, name, np.array(values, dtype=str))
        distinct, counts = np.unique(self.exam_ids, return_counts=True)
        if len(distinct) != len(self.exam_ids):
            raise ValueError(f"split {self.split}: exam {distinct[counts > 1][0]} comes {counts.max()} times")

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
        split, exam_ids, patient_ids:
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


def write_predictions(path: str | os.PathLike, predictions: Sequence[Predictions], names: Sequence[str]) -> None:
    """
    Write the predictions of one or more splits as one Parquet file, aside and then renamed.

    Columns: `exam_id`, `patient_id`, `split` (string), then `label_<name>` (int8, -1 unknown) and `probability_<name>`
    (float64) in the order of `names`; of numbers `target_<name>` (float64, null unknown) and `prediction_<name>`.

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
        ValueError: if a column is missing.
    """
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
        splits[split] = kind(split, *ids, *arrays)
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
        the result of `multilabel_metrics`; `test` has `intervals` of `bootstrap_intervals` as well.

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
    return result | _of_splits(
        validation,
        test,
        lambda part: multilabel_metrics(part.probabilities, part.labels, chosen, label_names),
        lambda part: bootstrap_intervals(
            part.probabilities, part.labels, chosen, label_names, part.patient_ids, **settings
        ),
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
    result of `single_label_metrics`. Args as in [`evaluate_predictions`].
    """
    result = {"label_names": list(label_names), "thresholds": {}, "thresholds_from": "argmax", "undefined": []}
    settings = {"n_resamples": n_resamples, "seed": seed}
    return result | _of_splits(
        validation,
        test,
        lambda part: single_label_metrics(part.probabilities, part.labels, label_names),
        lambda part: single_label_intervals(
            part.probabilities, part.labels, label_names, part.patient_ids, **settings
        ),
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
        result["test"]["intervals"] = intervals(test)
    return result


def metrics_table(metrics: Mapping[str, Any], split: str = "test") -> str:
    """
    Markdown table of the result of [`evaluate_predictions`] or [`evaluate_single_label`], aligned for a terminal: a
    row per class, and the mean.

    F1 carries its interval where the split has one. An undefined value is a dash, and the reasons follow the table.
    """
    measured, thresholds = metrics[split], metrics["thresholds"]
    intervals = measured.get("intervals")
    rows = [["class", "positives", *(["threshold"] if thresholds else []), *TABLE_COLUMNS.values()]]
    for name, values in [*measured["per_class"].items(), ("mean", measured["mean"])]:
        is_mean = name == "mean"
        of_row = intervals and (intervals["mean"] if is_mean else intervals["per_class"][name])
        cells = ["" if is_mean else f"{values['n_positive']} / {values['n_known']}"]
        if thresholds:
            cells.append("" if is_mean else f"{thresholds[name]:.3f}")
        for metric in TABLE_COLUMNS:
            cells.append(_shown(values[metric], of_row["f1"] if of_row and metric == "f1" else None))
        rows.append([name, *cells])
    return "\n".join(
        [
            markdown_table(rows),
            "",
            f"{_about(split, measured)}; {_decision(metrics, measured)}.{_about_intervals(intervals)}",
            *_undefined_lines([*metrics["undefined"], *measured["undefined"]], TABLE_COLUMNS),
        ]
    )


def targets_table(metrics: Mapping[str, Any], split: str = "test") -> str:
    """
    Markdown table of the result of [`evaluate_targets`], aligned for a terminal: a row per target, and of several
    targets the mean of what has no unit.
    """
    measured = metrics[split]
    intervals = measured.get("intervals")
    rows = [["target", "known", *TARGET_COLUMNS.values()]]
    for name, values in measured["per_target"].items():
        of_row = intervals["per_target"][name] if intervals else {}
        cells = [_shown(values[metric], of_row.get(metric)) for metric in TARGET_COLUMNS]
        rows.append([name, f"{values['n_known']}", *cells])
    if len(measured["per_target"]) > 1:
        of_row = intervals["mean"] if intervals else {}
        cells = [
            _shown(measured["mean"][metric], of_row.get(metric)) if metric in UNITLESS else ""
            for metric in TARGET_COLUMNS
        ]
        rows.append(["mean", "", *cells])
    return "\n".join(
        [
            markdown_table(rows),
            "",
            f"{_about(split, measured)}; MAE and RMSE in each target's own unit.{_about_intervals(intervals)}",
            *_undefined_lines(measured["undefined"], TARGET_COLUMNS),
        ]
    )


def _shown(value: float | None, interval: Mapping[str, Any] | None = None) -> str:
    """A cell: the value, its interval where there is one, or a dash."""
    if value is None:
        return "–"
    if not interval or interval["low"] is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _about(split: str, measured: Mapping[str, Any]) -> str:
    return f"Split {split}: {measured['n_exams']} exams of {measured['n_patients']} patients"


def _decision(metrics: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    """How labels were decided on."""
    source = metrics["thresholds_from"]
    if source == "argmax":
        of_all = measured.get("intervals", {})
        named = [
            f"{name.replace('_', ' ')} {_shown(measured[name], of_all.get(name))}"
            for name in ("accuracy", "balanced_accuracy")
        ]
        return f"the most probable label is the decision: {', '.join(named)}"
    return f"thresholds from {source if source in ('validation', 'default') else 'outside (given)'}"


def _about_intervals(intervals: Mapping[str, Any] | None) -> str:
    if not intervals:
        return ""
    return f" In brackets: {100 * intervals['level']:g} % interval, {intervals['n_resamples']} resamples of patients."


def _undefined_lines(entries: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> list[str]:
    """A list of what is undefined, by reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        reasons.setdefault((entry["label"], entry["reason"]), []).append(titles.get(entry["metric"], entry["metric"]))
    lines = [f"- {label}: {', '.join(found)}: {reason}" for (label, reason), found in reasons.items()]
    return ["", "Undefined:", "", *lines] if lines else []
