"""A request to an endpoint, read and prepared: all that is done for it before the network, without the model."""

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, AutoFeatureExtractor
from transformers.utils import logging

from .hub_ecgclip import MEASUREMENT_TASK
from .limits_ecgclip import MAX_REQUEST_LABELS, shorten
from .preparation_ecgclip import EcgPreparation
from .reading_ecgclip import read_ecg
from .requests_ecgclip import (
    SETTING_NAMES,
    RequestError,
    quote,
    read_flag,
    read_inputs,
    read_settings,
    read_text,
    read_whole_number,
)


logger = logging.get_logger(__name__)

# The first that a folder offers is what it answers with, unless a request names another.
TASKS = ("ecg-classification", "zero-shot-ecg-classification", "ecg-feature-extraction", MEASUREMENT_TASK)
_TASK_PARAMETERS = {
    "ecg-classification": ("top_k", "thresholds", "return_measurements", "abstain", "return_thresholds"),
    "zero-shot-ecg-classification": ("candidate_labels", "hypothesis_template"),
    "ecg-feature-extraction": (),
    MEASUREMENT_TASK: (),
}
# What of the network each task needs.
_OUTPUTS = {
    "ecg-classification": "logits",
    "zero-shot-ecg-classification": "embeds",
    "ecg-feature-extraction": "embeds",
    MEASUREMENT_TASK: None,
}
_READING_FLAGS = ("allow_missing_leads", "repair_nan")


@dataclass
class PreparedRequest:
    """
    A request whose ECGs are ready for the network.

    Args:
        task (`str`): One of those that the folder offers.
        options (`dict`): What shapes the answer: `top_k`, `abstain`, `candidate_labels`, ...
        thresholds (`dict[str, float]`): By label, in place of the model's.
        several (`bool`): Whether the ECGs came as a list.
        with_model (`bool`): Whether the answer names the model.
        ecgs (`list[dict]`):
            Of each ECG `quality`; for the network `input_values`, a float32 array `(1, leads, samples)`; where they
            are wanted `measurements`.
    """

    task: str
    options: dict[str, Any]
    thresholds: dict[str, float]
    several: bool
    with_model: bool
    ecgs: list[dict[str, Any]]

    @property
    def output(self) -> str | None:
        """What the network is asked for: `"logits"`, `"embeds"`, or None for nothing."""
        return _OUTPUTS[self.task]


class RequestPreparer:
    """
    Reads requests and prepares their ECGs for the model of a folder, of which it needs the settings alone.

    Args:
        path (`str`): Folder or repository id of a model saved by this project.
        config (`PreTrainedConfig`, *optional*), feature_extractor (`EcgFeatureExtractor`, *optional*):
            Read from the folder where left out.

    Raises:
        `ValueError`: for a folder that offers none of the project's pipelines.
    """

    def __init__(self, path: str, config: Any = None, feature_extractor: Any = None):
        self.config = AutoConfig.from_pretrained(path, trust_remote_code=True) if config is None else config
        self.tasks = self.tasks_of(self.config, path)
        if feature_extractor is None:
            feature_extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=True)
        self.preparation = EcgPreparation(self.config, feature_extractor)

    @staticmethod
    def tasks_of(config: Any, path: str) -> list[str]:
        """Returns the tasks that a folder offers, the first of which is its own; `ValueError` for none."""
        offered = getattr(config, "custom_pipelines", None) or {}
        tasks = [task for task in TASKS if task in offered]
        if not tasks:
            raise ValueError(f"{path}: expected a model that offers one of {', '.join(TASKS)}: found none")
        return tasks

    def __call__(self, data: Any) -> PreparedRequest | dict[str, Any]:
        """Returns the prepared request, or `{"error": {"type": ..., "message": ...}}`; never raises."""
        return or_error(self.prepare, data)

    def prepare(self, data: Any) -> PreparedRequest:
        """
        Returns the prepared request.

        Args:
            data (`dict`): `inputs` and optionally `parameters`, see `EndpointHandler`.

        Raises:
            [`RequestError`]: for what cannot be answered.
        """
        if not isinstance(data, Mapping) or "inputs" not in data or set(data) - {"inputs", "parameters"}:
            found = shorten(", ".join(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
            raise RequestError(
                "InvalidRequest", f"expected a dictionary with inputs and optionally parameters: found {found}"
            )
        given = {} if data.get("parameters") is None else data["parameters"]
        if not isinstance(given, Mapping):
            raise RequestError("InvalidRequest", f"expected parameters as a dictionary: found {type(given).__name__}")
        task = self.tasks[0] if given.get("task") is None else given["task"]
        if not isinstance(task, str) or task not in self.tasks:
            raise RequestError(
                "InvalidParameter", f"expected task as one of {', '.join(self.tasks)}: found {quote(task)}"
            )
        options = self._read_parameters(given, task)
        reading = {name: options.pop(name) for name in _READING_FLAGS if name in options}
        measured = options.pop("return_measurements", False)
        rate = self.preparation.feature_extractor.sampling_rate
        ecgs, several = read_inputs(data["inputs"], read_settings(given, "parameters"), rate)
        return PreparedRequest(
            task=task,
            thresholds=options.pop("thresholds", {}),
            with_model=options.pop("with_model", False),
            options=options,
            several=several,
            ecgs=[self._prepare_one(task, ecg, reading, measured) for ecg in ecgs],
        )

    def _prepare_one(self, task: str, ecg: dict[str, Any], reading: dict[str, bool], measured: bool) -> dict[str, Any]:
        try:
            record = read_ecg(ecg)
            if task == MEASUREMENT_TASK:
                return self.preparation.measured(record, reading.get("repair_nan"))
            return self.preparation.model_input(record, **reading, with_measurements=measured)
        except (ValueError, TypeError) as error:
            # The feature extractor names the ECG that it refuses; anything else is a defect.
            if str(error).startswith("inputs"):
                raise RequestError("InvalidEcg", str(error)) from error
            raise

    def _read_parameters(self, given: Mapping[str, Any], task: str) -> dict[str, Any]:
        """The parameters of a request but the settings of its ECGs, in their own types."""
        allowed = ("task", "with_model", *_READING_FLAGS, *SETTING_NAMES, *_TASK_PARAMETERS[task])
        unknown = [str(name) for name in given if name not in allowed]
        if unknown:
            raise RequestError(
                "InvalidParameter",
                f"{task} takes the parameters {', '.join(allowed)}: found {shorten(', '.join(unknown))}",
            )
        if given.get("thresholds") is not None and self.config.problem_type != "multi_label_classification":
            raise RequestError(
                "InvalidParameter",
                "thresholds are for models that decide on each label by itself: this one's problem_type is "
                f"{self.config.problem_type}",
            )
        readers: dict[str, tuple[Callable[[Any], Any], str]] = {
            name: (read_flag, "true or false")
            for name in ("with_model", "return_measurements", "abstain", "return_thresholds", *_READING_FLAGS)
        }
        readers |= {
            "top_k": (read_whole_number, "a whole number of at least 1"),
            "thresholds": (self._read_thresholds, "a dictionary of the model's labels and numbers from 0 to 1"),
            "candidate_labels": (
                _read_labels,
                f"a list of 1 to {MAX_REQUEST_LABELS} different texts, or one text with commas",
            ),
            "hypothesis_template": (_read_template, "a text that holds {} once"),
        }
        options: dict[str, Any] = {}
        for name, (read, expected) in readers.items():
            if given.get(name) is None:
                continue
            try:
                options[name] = read(given[name])
            except (ValueError, TypeError, OverflowError) as error:
                raise RequestError("InvalidParameter", f"expected {name} as {expected}") from error
        if options.get("abstain") and getattr(self.config, "abstention", None) is None:
            raise RequestError("InvalidParameter", "this model has no bounds to abstain by: leave abstain out")
        if task == "zero-shot-ecg-classification" and "candidate_labels" not in options:
            raise RequestError(
                "InvalidParameter", f"{task} needs the parameter candidate_labels: the texts to choose from"
            )
        return options

    def _read_thresholds(self, value: Any) -> dict[str, float]:
        labels = self.config.id2label or {}
        pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else [(None, None)]
        for label, threshold in pairs:
            if label not in labels.values() or isinstance(threshold, bool) or not 0 <= threshold <= 1:
                raise ValueError(label)
        return dict(value)


def or_error(step: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a step of an answer gives, or `{"error": {"type": ..., "message": ...}}` where it raises."""
    try:
        return step(*arguments)
    except RequestError as error:
        return error_answer(error.error_type, str(error))
    # The one place where everything is caught: a defect of ours must neither end the server nor show whoever sent
    # the request its inside. It is logged without its message, which may quote a recording.
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("request failed: %s in %s, line %s", type(error).__name__, last.name, last.lineno)
        return error_answer(
            "InternalError", "the request could not be answered; the server's log says where it failed"
        )


def error_answer(error_type: str, message: str) -> dict[str, Any]:
    """Returns the answer to what cannot be answered."""
    return {"error": {"type": error_type, "message": message}}


def _read_labels(value: Any) -> list[str]:
    labels = [label.strip() for label in value.split(",")] if isinstance(value, str) else value
    if not isinstance(labels, list | tuple) or not 1 <= len(labels) <= MAX_REQUEST_LABELS:
        raise ValueError(value)
    labels = [read_text(label) for label in labels]
    if len(set(labels)) != len(labels):
        raise ValueError(value)
    return labels


def _read_template(value: Any) -> str:
    if read_text(value).count("{}") != 1:
        raise ValueError(value)
    return value


__all__ = ["TASKS", "PreparedRequest", "RequestPreparer", "error_answer", "or_error"]
