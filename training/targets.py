"""What stage 2 learns: labels side by side, one label of several, or numbers. A class for each, one interface."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from datasets import Dataset
from matplotlib.figure import Figure
from scipy.special import expit, softmax
from torch import nn
from transformers import PreTrainedConfig

from data_scripts.tables.schema import NUMBER_COLUMNS, ExamSchema, labels_array, schema_of, targets_array
from metrics.ecg_multilabel.ecg_multilabel import NO_CHOICE_THRESHOLD
from modeling_ecgclip.labels_ecgclip import OF_EACH_LABEL, UNKNOWN_LABEL, Label, labels_of
from modeling_ecgclip.losses_ecgclip import multilabel_loss, regression_loss, single_label_loss
from training.arguments import ClassificationArguments
from training.evaluation import (
    Predictions,
    SplitPredictions,
    TargetPredictions,
    evaluate_predictions,
    evaluate_single_label,
    evaluate_targets,
)
from training.plots import plot_calibration, plot_confusion, plot_precision_recall, plot_targets
from training.result_tables import metrics_table, targets_table


MAX_POS_WEIGHT = 100.0  # a label with a handful of positives would otherwise drown the others


class Targets(ABC):
    """
    What a model's outputs are to say of an exam.

    Values of a split are an array `(exams, outputs)`, which [`ExamSplit`] holds as `labels`; see `read`.

    Args:
        labels (`Sequence[Label]`): Of the outputs, in their order.

    Raises:
        `ValueError`: for labels that a result cannot tell apart.
    """

    # As transformers names it.
    problem_type: ClassVar[Literal["multi_label_classification", "single_label_classification", "regression"]]
    flag: ClassVar[str]  # of the command line, which chooses the labels

    def __init__(self, labels: Sequence[Label]):
        self.labels = tuple(labels)
        if "mean" in self.names:
            raise ValueError(f"{self.flag}: results hold the mean of all under this name: found one called mean")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return tuple(label.name for label in self.labels)

    # ---- data

    @property
    @abstractmethod
    def sought(self) -> str:
        """What an exam must have to count, in words."""

    @abstractmethod
    def read(self, rows: Dataset) -> np.ndarray:
        """Returns the values of all rows of a split of the exam table, (exams, outputs)."""

    @abstractmethod
    def known(self, values: np.ndarray) -> np.ndarray:
        """Returns where a value is known, bool of the same shape."""

    def counts(self, values: np.ndarray) -> dict[str, dict[str, int]]:
        """Returns what the run record says of a split's values: how many are known, by name."""
        return {"known": dict(zip(self.names, self.known(values).sum(axis=0).tolist(), strict=True))}

    @abstractmethod
    def learn_from(self, values: np.ndarray, allow_one_sided: bool) -> None:
        """
        Takes what the loss needs from the training exams, of which some are known.

        Args:
            values (`np.ndarray` of shape `(exams, outputs)`): Of the training exams.
            allow_one_sided (`bool`): Accept a label that all of them have, or none.

        Raises:
            `ValueError`: where they teach nothing of an output, in one line.
        """

    @abstractmethod
    def notes(self, values: np.ndarray) -> dict[str, str]:
        """Returns lines on the training exams, to be shown before the first step."""

    # ---- model

    def describe(self, config: PreTrainedConfig) -> None:
        """Writes outputs and problem type into a model's configuration; what an earlier training decided by goes."""
        for field in OF_EACH_LABEL:
            setattr(config, field, None)
        config.id2label = dict(enumerate(self.names))
        config.label2id = {name: i for i, name in config.id2label.items()}
        config.label_details = self.details
        config.problem_type = self.problem_type

    @property
    def details(self) -> list[dict[str, str]]:
        """The labels as configurations and records hold them."""
        return [label.to_dict() for label in self.labels]

    def fits(self, config: PreTrainedConfig) -> bool:
        """Returns whether a model's outputs are these already."""
        return tuple(label.name for label in labels_of(config)) == self.names and (
            config.problem_type == self.problem_type
        )

    @abstractmethod
    def begin(self, head: nn.Linear, trained: bool) -> None:
        """Brings a head into the units of the loss; `trained` says whether it gives the outputs' own ones already."""

    @abstractmethod
    def finish(self, head: nn.Linear) -> None:
        """Brings a head into the units of the model's outputs: the reverse of `begin`."""

    # ---- loss and predictions

    @abstractmethod
    def n_known(self, values: torch.Tensor) -> torch.Tensor:
        """Returns how many terms of a batch's loss there are, a scalar."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, values: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
        """
        Returns the mean loss over what is known.

        Args:
            outputs (`torch.Tensor` of shape `(batch, outputs)`): Of the model.
            values (`torch.Tensor` of shape `(batch, outputs)`): Of `read`.
            n_known (`torch.Tensor`, *optional*): Terms of the whole batch, where this one is a part of it.
        """

    @abstractmethod
    def predictions(self, split: str, exams: Any, outputs: np.ndarray) -> Predictions:
        """
        Returns what a file and the metrics hold of a split.

        Args:
            split (`str`): Its name.
            exams (`ExamSplit` or `EmbeddedSplit`): Ids, ages, sexes and values.
            outputs (`np.ndarray` of shape `(exams, outputs)`): Of the model while it is trained.
        """

    # ---- results

    @abstractmethod
    def evaluate(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what `metrics.json` holds, from the predictions of those of validation and test that are there."""

    @abstractmethod
    def table(self, metrics: Mapping[str, Any], split: str) -> str:
        """Returns a split's metrics as a Markdown table."""

    @abstractmethod
    def figures(self, predictions: Any, metrics: Mapping[str, Any]) -> dict[str, Figure]:
        """Returns pictures of a split's predictions, by file name without suffix."""


class _Classes(Targets):
    """What both kinds of classification share: labels of the exam table, 1, 0, or -1 where unknown."""

    flag = "--labels"

    def read(self, rows: Dataset) -> np.ndarray:
        """Returns int8: 1, 0, or -1 where unknown."""
        names = schema_of(rows).label_names
        return np.ascontiguousarray(labels_array(rows)[:, [names.index(name) for name in self.names]])

    def known(self, values: np.ndarray) -> np.ndarray:
        """Returns where a label is known."""
        return values >= 0

    def counts(self, values: np.ndarray) -> dict[str, dict[str, int]]:
        """Returns how many are positive and how many known, by name."""
        positives = dict(zip(self.names, (values == 1).sum(axis=0).tolist(), strict=True))
        return {"positives": positives, **super().counts(values)}

    def learn_from(self, values: np.ndarray, allow_one_sided: bool) -> None:
        """Refuses labels of which the training exams show one side alone, unless that is accepted."""
        lacking = []
        for kind, value in (("positive", 1), ("negative", 0)):
            names = [name for name, n in zip(self.names, (values == value).sum(axis=0), strict=True) if n == 0]
            lacking += [f"no {kind} of {', '.join(names)}"] if names else []
        if lacking and not allow_one_sided:
            raise ValueError(
                f"{len(values):,} training exams have {' and '.join(lacking)}, which teaches nothing of them: leave "
                "them out (--labels names those to learn), or accept it with --allow_one_sided_labels"
            )

    @property
    def sought(self) -> str:
        """A known label."""
        return f"a known label of {', '.join(self.names)}"

    def notes(self, values: np.ndarray) -> dict[str, str]:
        """Returns the positives of each label."""
        positives = self.counts(values)["positives"]
        return {"positives in training": ", ".join(f"{name} {n}" for name, n in positives.items())}

    def begin(self, head: nn.Linear, trained: bool) -> None:
        """Changes nothing: logits have no unit."""

    def finish(self, head: nn.Linear) -> None:
        """Changes nothing either."""

    def table(self, metrics: Mapping[str, Any], split: str) -> str:
        """Returns a row for each label, and the mean."""
        return metrics_table(metrics, split)


class MultiLabel(_Classes):
    """
    Labels side by side: each has a probability of its own, and a threshold.

    Args:
        labels (`Sequence[Label]`): In the order of the outputs.
        balanced (`bool`, defaults to `False`): Positives weigh as much as negatives; see [`balanced_pos_weight`].
    """

    problem_type = "multi_label_classification"

    def __init__(self, labels: Sequence[Label], balanced: bool = False):
        super().__init__(labels)
        self.balanced = balanced
        self.pos_weight: torch.Tensor | None = None  # (labels,), in validation too

    def learn_from(self, values: np.ndarray, allow_one_sided: bool) -> None:
        """Takes the weights of positives, where they are to be balanced."""
        super().learn_from(values, allow_one_sided)
        self.pos_weight = balanced_pos_weight(values) if self.balanced else None

    def n_known(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the known labels."""
        return (values >= 0).sum()

    def loss(self, outputs: torch.Tensor, values: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the mean binary cross-entropy."""
        pos_weight = None if self.pos_weight is None else _constant_on(outputs.device, self.pos_weight)
        return multilabel_loss(outputs, values, pos_weight, n_known)

    def predictions(self, split: str, exams: Any, outputs: np.ndarray) -> SplitPredictions:
        """Returns the sigmoid of the outputs."""
        probabilities = expit(outputs.astype(np.float64))
        return SplitPredictions(split, labels=exams.labels, probabilities=probabilities, **_facts(exams))

    def evaluate(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
        """Chooses thresholds on validation; without it they are 0.5, and the result says why."""
        validation, test = predictions.get("validation"), predictions.get("test")
        if validation is not None:
            return evaluate_predictions(validation, test, self.names)
        metrics = evaluate_predictions(None, test, self.names, [NO_CHOICE_THRESHOLD] * len(self.names))
        reason = f"no validation split to choose by: {NO_CHOICE_THRESHOLD} is used"
        undefined = [{"label": name, "metric": "threshold", "reason": reason} for name in self.names]
        return metrics | {"thresholds_from": "default", "undefined": undefined}

    def figures(self, predictions: Any, metrics: Mapping[str, Any]) -> dict[str, Figure]:
        """Returns precision and recall, with the thresholds, and calibration."""
        return {
            "precision_recall": plot_precision_recall(predictions, metrics["thresholds"], self.names),
            "calibration": plot_calibration(predictions, self.names),
        }


class MultiClass(_Classes):
    """
    One label of several, which exclude each other: their probabilities add up to 1.

    An exam counts where exactly one of the labels is positive; beside it, an unknown one is taken to be absent. All
    others are unknown: they stay out of loss and metrics.
    """

    problem_type = "single_label_classification"

    def __init__(self, labels: Sequence[Label]):
        super().__init__(labels)
        if len(self.labels) < 2:
            raise ValueError(f"--task multi_class needs at least two labels: found {', '.join(self.names)}")

    def read(self, rows: Dataset) -> np.ndarray:
        """Returns int8: one 1 and else 0, or -1 everywhere where not exactly one label is positive."""
        stated = super().read(rows) == 1
        return np.where(stated.sum(axis=1, keepdims=True) == 1, stated, UNKNOWN_LABEL).astype(np.int8)

    @property
    def sought(self) -> str:
        """Exactly one of the labels."""
        return f"exactly one of the labels {', '.join(self.names)}"

    def notes(self, values: np.ndarray) -> dict[str, str]:
        """Returns the exams of each label, and how many have none or several."""
        n_left_out = int((~self.known(values)).all(axis=1).sum())
        return {**super().notes(values), "left out, not one label": f"{n_left_out:,} of {len(values):,} in training"}

    def n_known(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the exams with one label."""
        return (values == 1).sum()

    def loss(self, outputs: torch.Tensor, values: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the mean cross-entropy."""
        place = torch.where((values == 1).any(dim=1), (values == 1).long().argmax(dim=1), UNKNOWN_LABEL)
        return single_label_loss(outputs, place, n_known)

    def predictions(self, split: str, exams: Any, outputs: np.ndarray) -> SplitPredictions:
        """Returns the softmax of the outputs."""
        # Rounded sums of a softmax may lie above 1 by the last digit.
        probabilities = np.clip(softmax(outputs.astype(np.float64), axis=1), 0, 1)
        return SplitPredictions(split, labels=exams.labels, probabilities=probabilities, **_facts(exams))

    def evaluate(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
        """Measures the most probable label: there are no thresholds to choose."""
        return evaluate_single_label(predictions.get("validation"), predictions.get("test"), self.names)

    def figures(self, predictions: Any, metrics: Mapping[str, Any]) -> dict[str, Figure]:
        """Returns precision and recall of each label, calibration, and which label is taken for which."""
        return {
            "precision_recall": plot_precision_recall(predictions, None, self.names),
            "calibration": plot_calibration(predictions, self.names),
            "confusion": plot_confusion(predictions, self.names),
        }


class Regression(Targets):
    """
    Numbers in their own units, such as an age in years; NaN where unknown.

    While it is trained the head gives standardised numbers, less the training exams' mean and divided by their
    standard deviation: learning rate, loss and half precision then do not depend on the unit, and several targets
    weigh the same. `finish` puts mean and deviation into the head's weights, so that the saved model's outputs are in
    the targets' own units, without anything beside it. The loss is the mean squared error divided by the variance: 1
    is a model that gives the mean.
    """

    problem_type = "regression"
    flag = "--target_columns"

    def __init__(self, labels: Sequence[Label]):
        super().__init__(labels)
        # Of the training exams, float64 (outputs,).
        self.mean = torch.zeros(len(self.labels), dtype=torch.float64)
        self.deviation = torch.ones(len(self.labels), dtype=torch.float64)

    @property
    def details(self) -> list[dict[str, str]]:
        """Names and titles: a number has no phrase."""
        return [{"name": label.name, "title": label.title} for label in self.labels]

    @property
    def sought(self) -> str:
        """A known number."""
        return f"a known {' or '.join(self.names)}"

    def read(self, rows: Dataset) -> np.ndarray:
        """Returns float32, NaN where unknown."""
        return targets_array(rows, self.names)

    def known(self, values: np.ndarray) -> np.ndarray:
        """Returns where a number is known."""
        return ~np.isnan(values)

    def learn_from(self, values: np.ndarray, allow_one_sided: bool) -> None:
        """Takes mean and standard deviation of each target, and refuses one that has no spread."""
        for name, column, known in zip(self.names, values.T, self.known(values).T, strict=True):
            found = column[known]
            if not np.isfinite(found).all():
                raise ValueError(f"{self.flag} {name}: expected finite numbers, found {found[~np.isfinite(found)][0]}")
            if len(found) == 0 or (found == found[0]).all():
                same = f"the same {name}, {found[0]:g}" if len(found) else f"no known {name}"
                raise ValueError(
                    f"{len(values):,} training exams have {same}, which teaches nothing: leave it out of {self.flag}, "
                    "or choose a table that states it"
                )
        exact = values.astype(np.float64)
        self.mean = torch.from_numpy(np.nanmean(exact, axis=0))
        self.deviation = torch.from_numpy(np.nanstd(exact, axis=0))

    def notes(self, values: np.ndarray) -> dict[str, str]:
        """Returns how many numbers are known, and how they spread."""
        known = self.counts(values)["known"]
        return {
            f"{name} in training": f"known in {n:,} exams, mean {mean:.4g}, standard deviation {deviation:.4g}"
            for (name, n), mean, deviation in zip(
                known.items(), self.mean.tolist(), self.deviation.tolist(), strict=True
            )
        }

    @torch.no_grad()
    def begin(self, head: nn.Linear, trained: bool) -> None:
        """Standardises a head that gives numbers in their own units; a new one starts at the mean as it is."""
        if trained:
            weight, bias = (part.double().cpu() for part in (head.weight, head.bias))
            head.weight.copy_(weight / self.deviation[:, None])
            head.bias.copy_((bias - self.mean) / self.deviation)

    @torch.no_grad()
    def finish(self, head: nn.Linear) -> None:
        """Puts mean and standard deviation into the weights."""
        weight, bias = (part.double().cpu() for part in (head.weight, head.bias))
        head.weight.copy_(weight * self.deviation[:, None])
        head.bias.copy_(bias * self.deviation + self.mean)

    def n_known(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the known numbers."""
        return (~values.isnan()).sum()

    def loss(self, outputs: torch.Tensor, values: torch.Tensor, n_known: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the mean squared error over the variance; `outputs` are standardised."""
        mean, deviation = (_constant_on(outputs.device, of) for of in (self.mean, self.deviation))
        return regression_loss(outputs, (values - mean) / deviation, n_known)

    def predictions(self, split: str, exams: Any, outputs: np.ndarray) -> TargetPredictions:
        """Returns the outputs in the targets' own units."""
        numbers = outputs * self.deviation.numpy() + self.mean.numpy()
        return TargetPredictions(split, targets=exams.labels, predictions=numbers, **_facts(exams))

    def evaluate(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
        """Measures errors and correlation: there are no thresholds to choose."""
        return evaluate_targets(predictions.get("validation"), predictions.get("test"), self.names)

    def table(self, metrics: Mapping[str, Any], split: str) -> str:
        """Returns a row for each target."""
        return targets_table(metrics, split)

    def figures(self, predictions: Any, metrics: Mapping[str, Any]) -> dict[str, Figure]:
        """Returns predicted against known numbers."""
        return {"scatter": plot_targets(predictions, self.names)}


def _facts(exams: Any) -> dict[str, np.ndarray]:
    """What predictions state of each exam beside its values."""
    return {name: getattr(exams, name) for name in ("exam_ids", "patient_ids", "ages", "sexes")}


def targets_of(args: ClassificationArguments, schema: ExamSchema) -> Targets:
    """
    Returns what `--task`, `--labels` and `--target_columns` ask of an exam table.

    Args:
        args (`ClassificationArguments`): The command line's.
        schema (`ExamSchema`): Of the table.

    Raises:
        `ValueError`: for names that the table does not have, or one that comes twice.
    """
    if args.task == "regression":
        names = list(args.target_columns or ())
        _check_names(names, (*NUMBER_COLUMNS, *schema.target_names), Regression.flag)
        return Regression([Label(name) for name in names])
    names = list(args.labels or schema.label_names)
    _check_names(names, schema.label_names, _Classes.flag)
    labels = [schema.labels[schema.label_names.index(name)] for name in names]
    return MultiClass(labels) if args.task == "multi_class" else MultiLabel(labels, args.pos_weight == "auto")


def _check_names(names: Sequence[str], known: Sequence[str], flag: str) -> None:
    """Refuses names that the exam table does not have, and one that comes twice."""
    for name in names:
        if name not in known:
            raise ValueError(f"{flag} {name}: the exam table has {', '.join(known)}")
        if names.count(name) > 1:
            raise ValueError(f"{flag} {name}: expected each once")


@functools.cache  # copied to the device once: a step that is captured as a graph must not read the processor's memory
def _constant_on(device: torch.device, values: torch.Tensor) -> torch.Tensor:
    return values.float().to(device)


def balanced_pos_weight(labels: np.ndarray) -> torch.Tensor:
    """
    Returns how much a positive of each label must weigh for positives and negatives to weigh the same.

    Args:
        labels (`np.ndarray` of shape `(exams, labels)`): 1, 0, or -1 where unknown.

    Returns:
        `torch.Tensor` float32 of shape `(labels,)`: negatives / positives, at most 100; 1 where either is missing.
    """
    positives, negatives = ((labels == value).sum(axis=0) for value in (1, 0))
    defined = (positives > 0) & (negatives > 0)
    weight = np.where(defined, negatives / np.maximum(positives, 1), 1.0)
    return torch.from_numpy(np.minimum(weight, MAX_POS_WEIGHT).astype(np.float32))
