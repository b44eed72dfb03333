"""What the finished runs found, gathered for tables and figure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrics.ecg_multilabel.ecg_multilabel import METRICS, paired_bootstrap
from reproduction.jobs import cell_name
from reproduction.settings import COMPARISONS, PAPER_LABELS
from training.evaluation import SplitPredictions, read_predictions


MEAN = "mean"
LAST_PART = 0.2  # of the steps: what a run still gains there tells whether it had converged


@dataclass(frozen=True)
class Summary:
    """
    A number over seeds.

    Args:
        mean (`float`, *optional*): Over the seeds where it is defined; None where it is in none.
        spread (`float`, *optional*): Sample standard deviation; None with fewer than two.
        n_defined, n_seeds (`int`): How many seeds define it, of how many.
    """

    mean: float | None
    spread: float | None
    n_defined: int
    n_seeds: int


def summarize(values: Sequence[float | None]) -> Summary:
    """Returns mean and spread of a number over seeds, undefined ones (None) left out."""
    defined = [value for value in values if value is not None]
    return Summary(
        float(np.mean(defined)) if defined else None,
        float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        len(defined),
        len(values),
    )


@dataclass(frozen=True)
class Cell:
    """
    One finished fine-tuning.

    Args:
        setting, arm (`str`), seed (`int`): Which.
        metrics (`dict`): `metrics.json`.
        run (`dict`): `run.json`.
        history (`list[dict]`): `history.json`.
        test (`SplitPredictions`): Probabilities on the test split.
    """

    setting: str
    arm: str
    seed: int
    metrics: dict[str, Any]
    run: dict[str, Any]
    history: list[dict[str, float]]
    test: SplitPredictions

    def value(self, label: str, metric: str) -> float | None:
        """Returns a metric of the test split, of a label or of their mean."""
        measured = self.metrics["test"]
        return measured[MEAN][metric] if label == MEAN else measured["per_class"][label][metric]

    @property
    def convergence(self) -> dict[str, float]:
        """
        Returns how the training went: steps, the best one, training loss at the end, lowest and last validation loss,
        and by how much the last fifth of the steps lowered the lowest one, as a share of it.
        """
        evaluations = [(entry["step"], entry["eval_loss"]) for entry in self.history if "eval_loss" in entry]
        losses = [(entry["step"], entry["loss"]) for entry in self.history if "loss" in entry]
        steps = evaluations[-1][0]
        late = (1 - LAST_PART) * steps
        best = min(loss for _, loss in evaluations)
        early = min((loss for step, loss in evaluations if step <= late), default=best)
        return {
            "steps": steps,
            "best_step": min(evaluations, key=lambda pair: pair[1])[0],
            "train_loss": float(np.mean([loss for step, loss in losses if step > late])),
            "best_eval_loss": best,
            "last_eval_loss": evaluations[-1][1],
            "late_gain": (early - best) / early,
        }


class Results:
    """
    All cells of a reproduction.

    Args:
        cells (`list[Cell]`): Of any settings, arms and seeds, each combination once.
    """

    def __init__(self, cells: Sequence[Cell]):
        self.cells = {(cell.setting, cell.arm, cell.seed): cell for cell in cells}
        self.settings, self.arms, self.seeds = (
            list(dict.fromkeys(column)) for column in zip(*self.cells, strict=True)
        )
        first = cells[0]
        self.label_names: list[str] = first.metrics["label_names"]
        self.data: dict[str, Any] = first.run["data"]
        for cell in cells:
            for what, of_cell, of_first in (
                ("test exams", list(cell.test.exam_ids), list(first.test.exam_ids)),
                ("labels", cell.metrics["label_names"], self.label_names),
            ):
                if of_cell != of_first:
                    raise ValueError(
                        f"{cell.setting}/{cell.arm}/seed-{cell.seed} has other {what} than the first cell"
                    )

    @property
    def labels_of_paper(self) -> bool:
        """Whether the labels are the paper's, so that its numbers can stand beside these."""
        return tuple(self.label_names) == PAPER_LABELS

    @property
    def simulated(self) -> bool:
        """Whether any exam is simulated."""
        return "simulated" in self.data["sources"]

    def of(self, setting: str, arm: str) -> list[Cell]:
        """Returns the cells of all seeds."""
        return [self.cells[setting, arm, seed] for seed in self.seeds]

    def summary(self, setting: str, arm: str, label: str, metric: str) -> Summary:
        """Returns a test metric of a label, or of the mean over labels, over seeds."""
        return summarize([cell.value(label, metric) for cell in self.of(setting, arm)])

    def comparisons(self) -> list[tuple[str, str]]:
        """Returns the pairs of arms to compare, of those that were run."""
        return [(a, b) for a, b in COMPARISONS if a in self.arms and b in self.arms]

    def difference(self, setting: str, a: str, b: str, n_resamples: int) -> dict[str, Any]:
        """Returns `paired_bootstrap` of arm b against arm a over test patients, the metrics being means over seeds."""
        cells = self.of(setting, a), self.of(setting, b)
        of_a, of_b = (np.stack([cell.test.probabilities for cell in arm]) for arm in cells)  # (seeds, exams, labels)
        thresholds_a, thresholds_b = (
            np.array([[cell.metrics["thresholds"][name] for name in self.label_names] for cell in arm])
            for arm in cells
        )
        test = cells[0][0].test
        return paired_bootstrap(
            of_a,
            of_b,
            test.labels,
            thresholds_a,
            thresholds_b,
            self.label_names,
            test.patient_ids,
            n_resamples,
        )

    def long_rows(self) -> list[dict[str, Any]]:
        """Returns one row for each cell, label and metric."""
        return [
            {"setting": cell.setting, "arm": cell.arm, "seed": cell.seed, "class": label, "metric": metric}
            | {"value": cell.value(label, metric)}
            for cell in self.cells.values()
            for label in [*self.label_names, MEAN]
            for metric in METRICS
        ]

    def undefined(self) -> list[dict[str, Any]]:
        """Returns what the cells' metrics list as undefined, thresholds that could not be chosen included."""
        rows = []
        for cell in self.cells.values():
            for entry in [*cell.metrics["undefined"], *cell.metrics["test"]["undefined"]]:
                rows.append({"setting": cell.setting, "arm": cell.arm, "seed": cell.seed, **entry})
        return rows


def read_results(output_dir: Path, settings: Sequence[str], arms: Sequence[str], seeds: Sequence[int]) -> Results:
    """
    Returns the cells of an output folder.

    Raises:
        `FileNotFoundError`: where one is not there.
    """
    cells = []
    for setting in settings:
        for arm in arms:
            for seed in seeds:
                folder = output_dir / cell_name(setting, arm, seed)
                metrics, run, history = (
                    json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
                    for name in ("metrics", "run", "history")
                )
                splits, _ = read_predictions(folder / "predictions.parquet")
                cells.append(Cell(setting, arm, seed, metrics, run, history, splits["test"]))
    return Results(cells)
