"""Regressions: numbers that belong to an ECG, such as its patient's age."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from publishing.card_text import ecg_kind, in_paragraphs, listed, metric_table, missing_note, some_of, titled
from publishing.stages.base import Table
from publishing.stages.classification import FineTuned, measured_on


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


COLUMNS = {"mae": "mean abs. error", "rmse": "root mean sq. error", "r2": "R²", "pearson": "Pearson's r"}
# Metrics of the metadata: the Hub's name, ours, and the title.
IN_METADATA = (
    ("mae", "mae", "mean absolute error"),
    ("r_squared", "r2", "R²"),
    ("pearsonr", "pearson", "Pearson's r"),
)


class Regression(FineTuned):
    """Values without probabilities, decisions or thresholds."""

    task, task_title = "ecg-regression", "Regression on ECGs"
    printed = ")  # the value itself, no probability"
    needed_with = {"test": ("scatter.png",)}
    metrics = ("mae", "r_squared", "pearsonr")
    figures = {"scatter.png": "Predicted against true values on the test split"}

    def summary(self, run: "RunFolder") -> str:
        """As in the base class."""
        values = some_of([titled(label) for label in run.labels])
        return f"Predicts {values} from {ecg_kind(run.signal)}s. {self.head(run)}"

    def results(self, run: "RunFolder") -> tuple[str, list[Table]]:
        """As in the base class."""
        known = {"exams": lambda _, values: f"{values['n_known']:,}"}
        note = "Errors are in the unit of the value. R² is 0 where the mean would predict as well."
        table = {
            "title": "Predicted against true values",
            "rows": metric_table(run, run.metrics["test"], COLUMNS, known),
            "note": in_paragraphs(note, missing_note(run.metrics["test"], COLUMNS)),
        }
        return measured_on(run), [table]

    def main_result(self, run: "RunFolder") -> tuple[float | None, str]:
        """As in the base class: of several values, whose units may differ, no error."""
        if len(run.labels) == 1:
            (name,) = run.label_names
            return run.metrics["test"]["per_target"][name]["mae"], f"mean absolute error of {name}"
        return run.metrics["test"]["mean"]["r2"], f"mean R² over {listed(run.label_names)}"

    def eval_results(self, run: "RunFolder") -> Iterator[tuple[str, str, float | None]]:
        """As in the base class."""
        for metric, key, title in IN_METADATA:
            for name, values in run.metrics["test"]["per_target"].items():
                yield metric, f"{title}, {name}", values[key]

    def loss_rows(self, arguments: dict[str, Any]) -> list[list[str]]:
        """As in the base class."""
        return [["loss", "mean squared error"]]

    def out_of_scope(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return ["Values far from those of the training exams, which the model has not seen."]

    def counted_as(self, run: "RunFolder") -> str:
        """As in the base class."""
        return "the exams whose value is known"

    def limits(self, run: "RunFolder") -> list[str]:
        """As in the base class."""
        return [
            "Trained on squared errors, it draws extremes to the middle: high values come out too low, low ones too "
            "high."
        ]
