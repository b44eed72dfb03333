"""Predictions to `predictions.parquet`, `metrics.json` and a table."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.markdown import markdown_table
from common.writing import written_aside
from metrics.calibration import brier_intervals, calibration_metrics
from metrics.ecg_multilabel.ecg_multilabel import (
    bootstrap_intervals,
    choose_thresholds,
    multilabel_metrics,
    undefined_thresholds,
)
from metrics.ecg_multilabel.resampling import UNDEFINED
from metrics.regression import regression_intervals, regression_metrics
from metrics.single_label import single_label_intervals, single_label_metrics
from training.subgroups import SUBGROUP_METRICS, subgroup_metrics


TABLE_COLUMNS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "specificity": "specificity",
    "auroc": "AUROC",
    "average_precision": "avg. precision",
    "brier": "Brier",
    "ece": "ECE",
}
TARGET_COLUMNS = {"mae": "MAE", "rmse": "RMSE", "r2": "R2", "pearson": "Pearson's r"}
UNITLESS = ("r2", "pearson")  # what a mean over targets of different units can be taken of
ZERO_DIVISION_MEAN = "mean, undefined as 0"  # of `mean_zero_division`, as the paper's tables have it
NO_INTERVAL = "[–]"


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


def metrics_table(metrics: Mapping[str, Any], split: str = "test") -> str:
    """
    Markdown table of the result of [`evaluate_predictions`] or [`evaluate_single_label`], aligned for a terminal: a
    row per class, the mean, and the mean with undefined values counted as 0; then the subgroups where there are some.

    F1 carries its interval where the split has one. An undefined value is a dash, as is an interval that is not given,
    and the reasons follow the table.
    """
    measured, thresholds = metrics[split], metrics["thresholds"]
    intervals = measured.get("intervals")
    columns = {metric: title for metric, title in TABLE_COLUMNS.items() if metric in measured["mean"]}
    rows = [["class", "positives", *(["threshold"] if thresholds else []), *columns.values()]]
    for name, values in measured["per_class"].items():
        of_f1 = intervals and intervals["per_class"][name]["f1"]
        cells = [f"{values['n_positive']} / {values['n_known']}", *([f"{thresholds[name]:.3f}"] if thresholds else [])]
        rows.append([name, *cells, *_cells(values, columns, of_f1)])
    before = [""] * (2 if thresholds else 1)
    rows.append(["mean", *before, *_cells(measured["mean"], columns, intervals and intervals["mean"]["f1"])])
    if "mean_zero_division" in measured:
        rows.append([ZERO_DIVISION_MEAN, *before, *_cells(measured["mean_zero_division"], columns)])
    return "\n".join(
        [
            markdown_table(rows),
            "",
            f"{_about(split, measured)}; {_decision(metrics, measured)}.{_about_intervals(intervals)}"
            + (f" ECE: {measured['binning']}." if "binning" in measured else ""),
            *_lines("No interval:", _without_interval(intervals, {"f1": "F1"})),
            *_lines("Undefined:", _undefined([*metrics["undefined"], *measured["undefined"]], columns)),
            *_subgroups_lines(measured.get("subgroups")),
        ]
    )


def _cells(
    values: Mapping[str, float | None], columns: Mapping[str, str], of_f1: Mapping[str, Any] | None = None
) -> list[str]:
    """A row's metrics, with the interval of F1; empty where a mean is of fewer metrics."""
    return [
        _shown(values[metric], of_f1 if metric == "f1" else None) if metric in values else "" for metric in columns
    ]


def _subgroups_lines(subgroups: Mapping[str, Any] | None) -> list[str]:
    """A table of the means of each subgroup."""
    if not subgroups:
        return []
    rows = [["subgroup", "exams", "patients", "mean F1", "mean AUROC", "mean Brier", "mean ECE"]]
    for kind, of_kind in subgroups["kinds"].items():
        for group, found in of_kind["groups"].items():
            cells = [
                _shown(found["mean"].get(metric), found["intervals"]["mean"].get(metric))
                for metric in SUBGROUP_METRICS
            ]
            rows.append([f"{kind} {group}", f"{found['n_exams']}", f"{found['n_patients']}", *cells])
    unknown = [f"{kind} of {of_kind['n_unknown']}" for kind, of_kind in subgroups["kinds"].items()]
    said = f"Unknown: {', '.join(unknown)} exams. A mean is over the labels that have positives there."
    undefined = [f"{entry['subgroup']}: {entry['reason']}" for entry in subgroups["undefined"]]
    return ["", markdown_table(rows), "", said, *_lines("Undefined:", undefined)]


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
            *_lines("No interval:", _without_interval(intervals, TARGET_COLUMNS)),
            *_lines("Undefined:", _undefined(measured["undefined"], TARGET_COLUMNS)),
        ]
    )


def _shown(value: float | None, interval: Mapping[str, Any] | None = None) -> str:
    """A cell: the value with its interval, or a dash for what is not there."""
    if value is None:
        return "–"
    if not interval:
        return f"{value:.3f}"
    if interval["low"] is None:
        return f"{value:.3f} {NO_INTERVAL}"
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
    return f" In brackets: {100 * intervals['level']:g} % interval, {about_resamples(intervals)}."


def about_resamples(intervals: Mapping[str, Any]) -> str:
    """What the intervals of a split are from, in words."""
    return f"{intervals['n_resamples']:,} resamples of {of_whom(intervals)}"


def of_whom(record: Mapping[str, Any]) -> str:
    """Patients, or exams, in words; of a record that does not say what it `resampled`, patients."""
    return "exams, whose patients are unknown" if record.get("resampled") == "exams" else "patients"


def without_interval(
    intervals: Mapping[str, Any] | None, metrics: Collection[str]
) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """
    What is defined and has no interval: names of outputs, and "mean", by the reason and the metrics that it holds for.

    Args:
        intervals (`Mapping`, *optional*): Of a split.
        metrics (`Collection[str]`): Those to look at.
    """
    if not intervals:
        return {}
    per = intervals["per_class" if "per_class" in intervals else "per_target"]
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, of_name in [*per.items(), ("mean", intervals["mean"])]:
        reasons: dict[str, list[str]] = {}
        for metric in metrics:
            reason = of_name.get(metric, {}).get("reason", UNDEFINED)
            if reason != UNDEFINED:
                reasons.setdefault(reason, []).append(metric)
        for reason, lacking in reasons.items():
            found.setdefault((reason, tuple(lacking)), []).append(name)
    return found


def _without_interval(intervals: Mapping[str, Any] | None, titles: Mapping[str, str]) -> list[str]:
    """[`without_interval`] in words."""
    return [
        f"{', '.join(names)}: {', '.join(titles[metric] for metric in metrics)}: {reason}"
        for (reason, metrics), names in without_interval(intervals, titles).items()
    ]


def _undefined(entries: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> list[str]:
    """What is undefined, by reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        reasons.setdefault((entry["label"], entry["reason"]), []).append(titles.get(entry["metric"], entry["metric"]))
    return [f"{label}: {', '.join(found)}: {reason}" for (label, reason), found in reasons.items()]


def _lines(title: str, entries: Sequence[str]) -> list[str]:
    """A list with its title, or nothing."""
    return ["", title, "", *(f"- {entry}" for entry in entries)] if entries else []
