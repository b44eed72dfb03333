"""Results as tables, for terminals and cards: measures of labels and of numbers, subgroups, what has no interval."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from common.markdown import markdown_table
from metrics.ecg_multilabel.resampling import UNDEFINED
from training.subgroups import SUBGROUP_METRICS


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
