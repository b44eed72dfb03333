"""What the finished runs found, gathered for tables and figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.checksums import read_record
from metrics.ecg_multilabel.ecg_multilabel import METRICS, metrics_by_weight
from metrics.ecg_multilabel.resampling import MIN_POSITIVES_FOR_INTERVAL, group_numbers
from reproduction.jobs import RESULT_FILE, cell_name, pretraining_name
from reproduction.paper import PAPER_LABELS
from reproduction.settings import COMPARISONS
from reproduction.statistics import Difference, differences, resampled_values
from training.evaluation import SplitPredictions, read_predictions


MEAN = "mean"
# The rule of convergence, for every arm alike.
LAST_PART = 1 / 3  # of the steps
FLAT = 0.01  # that part may lower the lowest validation loss by less than this share
RULE = (
    "A run has converged where as many validations in a row as its patience brought no better loss, or where the last "
    f"third of its steps lowered the lowest validation loss by less than {100 * FLAT:g} %."
)


@dataclass(frozen=True)
class Convergence:
    """
    How a training went.

    Args:
        steps, best_step (`int`): How many, and that of the lowest validation loss.
        train_loss (`float`, *optional*): Mean over the last third of the steps; None where none of them was logged.
        best_eval_loss, last_eval_loss (`float`): Lowest and last validation loss.
        late_gain (`float`): By how much the last third of the steps lowered the lowest one, as a share of it.
        converged (`bool`): By `RULE`.
    """

    steps: int
    best_step: int
    train_loss: float | None
    best_eval_loss: float
    last_eval_loss: float
    late_gain: float
    converged: bool

    @classmethod
    def of(cls, history: Sequence[dict[str, float]], patience: int | None) -> "Convergence":
        """Returns that of a `history.json`, whose run ends after `patience` validations, where given."""
        evaluations = [(int(entry["step"]), entry["eval_loss"]) for entry in history if "eval_loss" in entry]
        steps = evaluations[-1][0]
        late = (1 - LAST_PART) * steps
        losses = [entry["loss"] for entry in history if "loss" in entry and entry["step"] > late]
        place = min(range(len(evaluations)), key=lambda i: evaluations[i][1])
        best_step, best = evaluations[place]
        early = min((loss for step, loss in evaluations if step <= late), default=best)
        late_gain = (early - best) / early
        at_rest = patience is not None and len(evaluations) - 1 - place >= patience
        return cls(
            steps=steps,
            best_step=best_step,
            train_loss=float(np.mean(losses)) if losses else None,
            best_eval_loss=best,
            last_eval_loss=evaluations[-1][1],
            late_gain=late_gain,
            converged=at_rest or late_gain < FLAT,
        )


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

    def paper_value(self, label: str, metric: str) -> float | None:
        """Returns it by the paper's convention: the precision of a class never predicted is 0, in means too."""
        if label == MEAN:
            values = [self.paper_value(name, metric) for name in self.metrics["label_names"]]
            known = [value for value in values if value is not None]
            return float(np.mean(known)) if known else None
        measured = self.metrics["test"]["per_class"][label]
        never_predicted = metric == "precision" and measured["n_predicted"] == 0 and measured["n_positive"] > 0
        return 0.0 if never_predicted else measured[metric]

    @property
    def convergence(self) -> Convergence:
        """How the fine-tuning went."""
        return Convergence.of(self.history, self.run["arguments"]["early_stopping_patience"])


@dataclass(frozen=True)
class Pretraining:
    """
    One finished stage 1.

    Args:
        start (`str`), seed (`int`): Which.
        history (`list[dict]`): `history.json`.
    """

    start: str
    seed: int
    history: list[dict[str, float]]

    @property
    def convergence(self) -> Convergence:
        """How it went: it trains to its last step."""
        return Convergence.of(self.history, None)


class Results:
    """
    All cells of a reproduction that are finished.

    Args:
        cells (`list[Cell]`): Of any settings, arms and seeds, each combination once.
        missing (`list[str]`): Names of those that should be there and are not.
        pretrainings (`list[Pretraining]`): Of stage 1, where it was run.
    """

    def __init__(self, cells: Sequence[Cell], missing: Sequence[str] = (), pretrainings: Sequence[Pretraining] = ()):
        if not cells:
            raise ValueError("no run is finished: there is nothing to tabulate")
        self.cells = {(cell.setting, cell.arm, cell.seed): cell for cell in cells}
        self.missing, self.pretrainings = list(missing), list(pretrainings)
        self.settings, self.arms, self.seeds = (
            list(dict.fromkeys(column)) for column in zip(*self.cells, strict=True)
        )
        first = cells[0]
        self.label_names: list[str] = first.metrics["label_names"]
        self.data: dict[str, Any] = first.run["data"]
        self._resampled: dict[tuple[str, str, int, int], tuple[np.ndarray, np.ndarray]] = {}
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
        """Returns the cells of all seeds that are there."""
        found = (self.cells.get((setting, arm, seed)) for seed in self.seeds)
        return [cell for cell in found if cell is not None]

    def summary(self, setting: str, arm: str, label: str, metric: str, as_paper: bool = False) -> Summary:
        """
        Returns a test metric of a label, or of the mean over labels, over seeds; a cell that is missing is undefined.

        `as_paper`: by the paper's convention, see [`Cell.paper_value`].
        """
        values = [
            cell.paper_value(label, metric) if as_paper else cell.value(label, metric)
            for cell in self.of(setting, arm)
        ]
        return summarize([*values, *[None] * (len(self.seeds) - len(values))])

    def not_converged(self, setting: str, arm: str) -> int:
        """Returns how many seeds had not converged."""
        return sum(not cell.convergence.converged for cell in self.of(setting, arm))

    def comparisons(self) -> list[tuple[str, str]]:
        """Returns the pairs of arms to compare, of those that were run."""
        return [(a, b) for a, b in COMPARISONS if a in self.arms and b in self.arms]

    def difference(self, setting: str, a: str, b: str, n_resamples: int) -> dict[str, dict[str, Difference]]:
        """
        Returns b - a of each label and of their mean, for each metric, over the seeds that both arms have.

        See [`differences`] for what a resample draws. A label with fewer than ten test positives, or a mean over one,
        has no interval. Thresholds are those of each cell's own validation.
        """
        seeds = [seed for seed in self.seeds if all((setting, arm, seed) in self.cells for arm in (a, b))]
        if not seeds:
            return {}
        all_a, drawn_a = self._of_seeds(setting, a, seeds, n_resamples)
        all_b, drawn_b = self._of_seeds(setting, b, seeds, n_resamples)
        # What the labels define, whatever a model does: a precision where there are positives, as a recall.
        in_mean = ~np.isnan(all_a[0])
        in_mean[:, METRICS.index("precision")] = in_mean[:, METRICS.index("recall")]
        test = self.cells[setting, a, seeds[0]].test
        too_few = (test.labels == 1).sum(axis=0) < MIN_POSITIVES_FOR_INTERVAL
        found = differences((all_a, all_b), (drawn_a, drawn_b), in_mean, too_few)
        return {
            label: dict(zip(METRICS, row, strict=True))
            for label, row in zip([*self.label_names, MEAN], found, strict=True)
        }

    def _of_seeds(
        self, setting: str, arm: str, seeds: Sequence[int], n_resamples: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """On all data `(seeds, labels, metrics)`, and resampled `(seeds, resamples, labels, metrics)`."""
        found = [self._values(setting, arm, seed, n_resamples) for seed in seeds]
        return np.stack([on_all for on_all, _ in found]), np.stack([resampled for _, resampled in found])

    def _values(self, setting: str, arm: str, seed: int, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
        """Of one cell, computed once: each arm stands in several comparisons."""
        key = setting, arm, seed, n_resamples
        if key not in self._resampled:
            cell = self.cells[key[:3]]
            thresholds = [cell.metrics["thresholds"][name] for name in self.label_names]
            _, n_patients = group_numbers(cell.test.patient_ids, len(cell.test.labels))
            values_of = metrics_by_weight(
                cell.test.probabilities, cell.test.labels, thresholds, self.label_names, cell.test.patient_ids
            )
            self._resampled[key] = resampled_values(values_of, n_patients, n_resamples)
        return self._resampled[key]

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


def read_results(
    output_dir: Path, settings: Sequence[str], arms: Sequence[str], seeds: Sequence[int], starts: Sequence[str] = ()
) -> Results:
    """
    Returns the cells of an output folder that are finished, and the names of the others.

    Args:
        output_dir (`Path`): Of the reproduction.
        settings, arms (`list[str]`), seeds (`list[int]`): That are sought.
        starts (`list[str]`): Of stage 1, whose history is sought too.

    Raises:
        `ValueError`: where none is finished.
    """
    cells, missing = [], []
    for setting in settings:
        for arm in arms:
            for seed in seeds:
                folder = output_dir / cell_name(setting, arm, seed)
                if not (folder / RESULT_FILE).is_file():
                    missing.append(cell_name(setting, arm, seed))
                    continue
                metrics, run, history = (
                    read_record(folder / f"{name}.json") for name in ("metrics", "run", "history")
                )
                splits, _ = read_predictions(folder / "predictions.parquet")
                test = splits["test"]
                if not isinstance(test, SplitPredictions):
                    raise ValueError(f"{folder}: expected predictions of labels, found numbers")
                cells.append(Cell(setting, arm, seed, metrics, run, history, test))
    folders = {(start, seed): output_dir / pretraining_name(start, seed) for start in starts for seed in seeds}
    pretrainings = [
        Pretraining(start, seed, read_record(folder / "history.json"))
        for (start, seed), folder in folders.items()
        if (folder / "history.json").is_file()
    ]
    return Results(cells, missing, pretrainings)
