"""Classifiers: labels that an ECG has or has not, and labels of which each ECG has one."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from metrics.ecg_multilabel.resampling import MIN_POSITIVES_FOR_INTERVAL
from modeling_ecgclip.labels_ecgclip import Label
from publishing.card_text import (
    FEW_TO_CHOOSE,
    MANY_LABELS,
    counted,
    ecg_kind,
    exams_of,
    few_of,
    few_to_measure,
    folded_table,
    in_order,
    in_paragraphs,
    listed,
    metric_table,
    missing_note,
    some_of,
    titled,
    with_interval,
)
from publishing.stages.base import Stage, Table
from training.evaluation import threshold_prevalence
from training.result_tables import NO_INTERVAL, TABLE_COLUMNS, ZERO_DIVISION_MEAN, about_resamples
from training.subgroups import SUBGROUP_METRICS


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


DECISIONS, RANKING = ("f1", "precision", "recall", "specificity"), ("auroc", "average_precision")
CALIBRATION = ("brier", "ece")
ABOUT_ZERO_DIVISION = (
    f"*{ZERO_DIVISION_MEAN}* is how the paper's tables count: a precision of no calls, and all that a label without "
    "positives leaves undefined, is 0 (scikit-learn's `zero_division=0`)."
)
# Metrics of the metadata: the Hub's name, ours, and the title. hf.co/metrics has no entry for the last.
IN_METADATA = (
    ("f1", "f1", "F1"),
    ("roc_auc", "auroc", "AUROC"),
    ("average_precision", "average_precision", "average precision"),
)


class FineTuned(Stage):
    """What all runs of `train_cls.py` share: an encoder with a linear head."""

    name = "classification"
    pipeline = "ecg-classification"
    needed = ("preprocessor_config.json",)
    serves_page = True
    printed: ClassVar[str]  # of a result, the end of the snippet's last line

    def head(self, run: "RunFolder") -> str:
        """Returns a sentence about encoder, head and what was trained."""
        trained = "the linear head alone was trained" if run.arguments["freeze_encoder"] else "all of it was trained"
        return f"{run.encoder} with a linear head, {run.parameters[0]:,} parameters; {trained}."

    def snippet(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return [
            f'for result in read(ecg, sampling_rate={run.signal.sampling_rate}, unit="mV", lead_names=leads):',
            f'    print(result["label"], round(result["score"], 3){self.printed}',
        ]

    def use_note(self, run: "RunFolder") -> str:
        """As in the base class."""
        return (
            "`read.plot(ecg, ...)` draws the ECG as on paper, with its result. Without pipelines: "
            "`AutoModelForAudioClassification` (transformers' class for a signal with a feature extractor) and "
            "`AutoFeatureExtractor`, both with `trust_remote_code=True`."
        )

    def intended(self, run: "RunFolder") -> str:
        """As in the base class."""
        return f"Research on automatic reading of {ecg_kind(run.signal)}s, and comparison of methods."


class _Classifier(FineTuned):
    """What both kinds of labels share."""

    task, task_title = "ecg-classification", "ECG classification"

    def eval_results(self, run: "RunFolder") -> Iterator[tuple[str, str, float | None]]:
        """As in the base class; of many labels the mean alone, as the card's tables have them all."""
        test = run.metrics["test"]
        rows = [("mean", test["mean"]), *test["per_class"].items()]
        for metric, key, title in IN_METADATA:
            for name, values in rows if len(rows) <= MANY_LABELS + 1 else rows[:1]:
                yield metric, f"{title}, {name}", values[key]


class MultiLabel(_Classifier):
    """Labels side by side: each is there or not, and has a threshold."""

    printed = ', result["positive"])'
    needed_with = {"test": ("precision_recall.png", "calibration.png")}
    metrics = ("f1", "precision", "recall", "roc_auc")
    figures = {
        "precision_recall.png": (
            "Precision and recall of each label on the test split; the dot is the chosen threshold"
        ),
        "calibration.png": "Calibration on the test split: how often a label is there, against its probability",
    }

    def summary(self, run: "RunFolder") -> str:
        """As in the base class."""
        labels = [titled(label) for label in in_order(run, "train")]
        many = "each of " if len(labels) > 1 else ""
        return (
            f"Gives {ecg_kind(run.signal)}s a probability for {many}{counted(len(labels), 'label', 'labels')}: "
            f"{some_of(labels)}. {self.head(run)}"
        )

    def results(self, run: "RunFolder") -> tuple[str, list[Table]]:
        """As in the base class."""
        thresholds = run.metrics["thresholds"]
        with_threshold = {"positives": _positives, "threshold": lambda label, _: f"{thresholds[label.name]:.3f}"}
        names = [label.name for label in run.labels]
        prevalence = dict(zip(names, threshold_prevalence(run.metrics, names) or [None] * len(names), strict=True))
        if any(share is not None for share in prevalence.values()):
            with_threshold["chosen at"] = lambda label, _: _percent(prevalence[label.name])
        return measured_on(run), [
            _table(run, "Decisions at the thresholds", DECISIONS, with_threshold, self._thresholds(run)),
            _table(run, "Ranking, without a threshold", RANKING, {"positives": _positives}),
            *calibration_table(run),
            *subgroup_tables(run),
        ]

    def _thresholds(self, run: "RunFolder") -> str:
        """Where the thresholds come from, and which of them nothing was there to choose by."""
        if run.metrics["thresholds_from"] == "given":
            return "Thresholds were given, and not chosen in this run."
        said = "Thresholds were not chosen: the run had no validation split."
        if run.metrics["thresholds_from"] == "validation":
            said = (
                f"Thresholds maximise F1 on the validation split ({exams_of(run, run.metrics['validation'])}), never "
                "on the test split. They are in `config.json`; the pipeline uses them for `positive`. *chosen at*: "
                "the share of positives there (`threshold_prevalence`); where yours is far from it, choose again, as "
                "`training.recalibrate` does on labelled exams."
            )
        reasons: dict[str, list[str]] = {}
        for entry in run.metrics["undefined"]:
            if entry["metric"] == "threshold":
                reasons.setdefault(entry["reason"], []).append(entry["label"])
        return said + "".join(f" {some_of(labels)}: {reason}." for reason, labels in reasons.items())

    def main_result(self, run: "RunFolder") -> tuple[float | None, str]:
        """As in the base class."""
        chosen = "chosen on" if run.metrics["thresholds_from"] == "validation" else "not chosen on"
        return run.metrics["test"]["mean"]["f1"], f"mean F1 over labels, thresholds {chosen} validation"

    def loss_rows(self, arguments: dict[str, Any]) -> list[list[str]]:
        """As in the base class."""
        return [["loss", f"binary cross-entropy, weight of positives: {arguments['pos_weight']}"]]

    def out_of_scope(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return ["Diagnoses other than the labels above. An ECG with none of them is not thereby normal."]

    def limits(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        lines = few_to_measure(run)
        few = few_of(run.positives("validation"), FEW_TO_CHOOSE)
        if few and run.metrics["thresholds_from"] == "validation":
            lines.append(
                f"Thresholds rest on fewer than {FEW_TO_CHOOSE} positives of {few} in validation. Choose them again "
                "on exams of your own before you use `positive`."
            )
        if run.is_measured:
            lines.append(
                "Probabilities are as good as the calibration plot shows, for exams with the test split's prevalences."
            )
        return lines


class MultiClass(_Classifier):
    """One label for each ECG: the most probable one."""

    printed = ")  # the most probable one comes first"
    needed_with = {"test": ("confusion.png", "precision_recall.png", "calibration.png")}
    metrics = ("accuracy", "f1", "precision", "recall", "roc_auc")
    figures = {
        "confusion.png": "Which label was given to exams of each label, on the test split",
        "precision_recall.png": "Precision and recall of each label on the test split, by its probability",
        "calibration.png": MultiLabel.figures["calibration.png"],
    }

    def summary(self, run: "RunFolder") -> str:
        """As in the base class."""
        labels = [titled(label) for label in in_order(run, "train")]
        return (
            f"Gives {ecg_kind(run.signal)}s one of {len(labels)} labels, with probabilities that add up to 1: "
            f"{some_of(labels)}. {self.head(run)}"
        )

    def results(self, run: "RunFolder") -> tuple[str, list[Table]]:
        """As in the base class."""
        test = run.metrics["test"]
        shown = {
            title: with_interval(test[metric], test["intervals"].get(metric), {})
            for metric, title in (("accuracy", "Accuracy"), ("balanced_accuracy", "balanced accuracy"))
        }
        overall = ", ".join(f"{title} {value}" for title, value in shown.items())
        return measured_on(run), [
            _table(run, "Decisions for the most probable label", DECISIONS, {"positives": _positives}, f"{overall}."),
            _table(run, "Ranking by the probability of each label", RANKING, {"positives": _positives}),
            *calibration_table(run),
            *subgroup_tables(run),
        ]

    def eval_results(self, run: "RunFolder") -> Iterator[tuple[str, str, float | None]]:
        """As in the base class."""
        yield "accuracy", "accuracy", run.metrics["test"]["accuracy"]
        yield from super().eval_results(run)

    def main_result(self, run: "RunFolder") -> tuple[float | None, str]:
        """As in the base class."""
        return run.metrics["test"]["mean"]["f1"], "mean F1 over labels, of which the most probable one is taken"

    def loss_rows(self, arguments: dict[str, Any]) -> list[list[str]]:
        """As in the base class."""
        return [["loss", "cross-entropy"]]

    def out_of_scope(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return ["Diagnoses other than the labels above: an ECG with none of them is given one all the same."]

    def limits(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return [
            *few_to_measure(run),
            "Of an ECG with several of the labels the model names one alone. Exams with several, or with none, had no "
            "part in training and in the numbers above.",
        ]


def measured_on(run: "RunFolder") -> str:
    """Returns on which exams the test split's numbers were measured, and what their brackets are."""
    test = run.metrics["test"]
    intervals = test["intervals"]
    return (
        f"Test split: {exams_of(run, test)}"
        f"{', simulated' if run.simulated else ''}, none of them in training or validation. In brackets: "
        f"{100 * intervals['level']:g} % intervals, {about_resamples(intervals)}."
    )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2g} %"


def _positives(label: Label, values: Mapping[str, Any]) -> str:
    return f"{values['n_positive']:,} of {values['n_known']:,}"


def _table(run: "RunFolder", title: str, metrics: tuple[str, ...], begin: Mapping[str, Any], note: str = "") -> Table:
    columns, test = {metric: TABLE_COLUMNS[metric] for metric in metrics}, run.metrics["test"]
    said = [note]
    if set(metrics) & test.get("mean_zero_division", {}).keys() and len(run.labels) > 1:
        said.append(ABOUT_ZERO_DIVISION)
    note = in_paragraphs(*said, missing_note(test, columns))
    return {"title": title, "rows": metric_table(run, test, columns, begin), "note": note}


def calibration_table(run: "RunFolder") -> list[Table]:
    """Returns the table of Brier score and ECE; none for records that are older than these."""
    test = run.metrics["test"]
    if "binning" not in test:
        return []
    begin = {"positives": _positives, "Brier of their share": _brier_of_share}
    note = (
        "Brier: mean squared error of the probability, 0 at best; beside it that of giving every exam the label's "
        f"share of positives. ECE: mean distance between probability and share of positives in {test['binning']}, "
        "weighted by exams; without an interval, since resampling raises it."
    )
    return [_table(run, "Calibration of the probabilities", CALIBRATION, begin, note)]


def _brier_of_share(_: Label, values: Mapping[str, Any]) -> str:
    """The Brier score of a model that knows nothing but how frequent a label is in these exams."""
    if not values["n_known"]:
        return "not defined (no known labels)"
    share = values["n_positive"] / values["n_known"]
    return f"{share * (1 - share):.3f}"


def subgroup_tables(run: "RunFolder") -> list[Table]:
    """Returns tables of F1, AUROC, Brier score and ECE by age and sex; none for records that are older than these."""
    subgroups = run.metrics["test"].get("subgroups")
    if subgroups is None:
        return []
    groups = {
        f"{kind} {name}": group
        for kind, of_kind in subgroups["kinds"].items()
        for name, group in of_kind["groups"].items()
    }
    without = [f"{entry['subgroup']} ({entry['reason']})" for entry in subgroups["undefined"]]
    lacking = f" Not measured: {listed(without)}." if without else ""
    if not groups:
        return [{"title": "By age and sex", "rows": lacking.strip(), "note": ""}]
    unknown = ", ".join(f"{kind} of {of_kind['n_unknown']:,} exams" for kind, of_kind in subgroups["kinds"].items())
    thresholds = " Thresholds are those of all exams." if run.metrics["thresholds"] else ""
    note = (
        f"Behind each value the positives. Ages in years at the exam. Unknown: {unknown}.{lacking}{thresholds} A mean "
        "is over the labels that have positives in the subgroup, and so not over the same labels everywhere. "
        f"{NO_INTERVAL}: no interval, for fewer than {MIN_POSITIVES_FOR_INTERVAL} positives, negatives or patients "
        "that have them, a mean of such, or a value that is the same in every resample."
    )
    tables = []
    measured = [metric for metric in SUBGROUP_METRICS if all(metric in group["mean"] for group in groups.values())]
    for metric in measured:  # earlier records have no calibration there
        rows = [
            [label.name, *(_of_subgroup(group, label.name, metric) for group in groups.values())]
            for label in in_order(run)
        ]
        sizes = [["exams", *(f"{group['n_exams']:,}" for group in groups.values())]]
        means = [["mean", *(_of_subgroup(group, None, metric) for group in groups.values())]]
        table = folded_table(["label", *groups], rows, first=sizes, last=means if len(rows) > 1 else [])
        tables.append({"title": f"{TABLE_COLUMNS[metric]} by age and sex", "rows": table, "note": ""})
    tables[-1]["note"] = note
    return tables


def _of_subgroup(group: Mapping[str, Any], label: str | None, metric: str) -> str:
    """A cell: a label's metric in a subgroup, or the mean of all."""
    if label is None:
        return with_interval(group["mean"][metric], group["intervals"]["mean"].get(metric), {})
    values = group["per_class"][label]
    shown = with_interval(values[metric], group["intervals"]["per_class"][label].get(metric), values)
    return shown if values[metric] is None else f"{shown} {values['n_positive']:,}"
