"""`EndpointHandler`: a saved model behind HTTP, on Hugging Face Inference Endpoints or on the project's `serve.py`.

Requests, answers and limits are described in docs/endpoint.md of the project.
"""

import hashlib
import json
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, Pipeline, pipeline
from transformers.utils import logging

from .hub_ecgclip import MEASUREMENT_TASK
from .labels_ecgclip import is_positive
from .limits_ecgclip import MAX_REQUEST_BYTES, MAX_REQUEST_LABELS, shorten
from .pipeline_ecgclip import EcgFeatureExtractionPipeline, EcgMeasurementPipeline
from .requests_ecgclip import (
    ERROR_TYPES,
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
# Beside the first, with the same weights rather than another copy of them.
_FURTHER_PIPELINES = {
    "ecg-feature-extraction": EcgFeatureExtractionPipeline,
    MEASUREMENT_TASK: EcgMeasurementPipeline,
}
_READING_FLAGS = ("allow_missing_leads", "repair_nan")
_BATCH_SIZE = 32
_WEIGHTS = ("*.safetensors", "*.onnx", "openvino_model.*")


class EndpointHandler:
    """
    Answers requests with the model of a folder, as its pipelines do.

    A request that cannot be answered gets `{"error": {"type": ..., "message": ...}}` and never an exception; `type` is
    one of `error_types`. Nothing of a request is logged or kept. It may be called from several threads.

    Args:
        path (`str`): Folder or repository id of a model saved by this project. Its code is run.

    Attributes:
        error_types (`dict[str, int]`): Names of errors, and the HTTP status that suits each.
        max_request_bytes (`int`): What a server should refuse to read beyond.
        model_info (`dict[str, str]`): `architecture`, `task` and `version`, which tells any two sets of weights and
            their calibrations apart.

    Raises:
        `ValueError`: for a folder that offers none of the project's pipelines.
    """

    error_types = dict(ERROR_TYPES)
    max_request_bytes = MAX_REQUEST_BYTES

    def __init__(self, path: str = ""):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        offered = getattr(config, "custom_pipelines", None) or {}
        tasks = [task for task in TASKS if task in offered]
        if not tasks:
            raise ValueError(f"{path}: expected a model that offers one of {', '.join(TASKS)}: found none")
        task: Any = tasks[0]  # registered by the folder: transformers states types for its own tasks alone
        first = pipeline(task, model=path, trust_remote_code=True, device=0 if torch.cuda.is_available() else -1)
        self.pipelines: dict[str, Pipeline] = {tasks[0]: first}
        for further in tasks[1:]:
            self.pipelines[further] = _FURTHER_PIPELINES[further](
                model=first.model, feature_extractor=first.feature_extractor, device=first.device
            )
        self.model_info = {
            "architecture": type(first.model).__name__,
            "task": tasks[0],
            "version": getattr(config, "_commit_hash", None) or _digest_of_weights(Path(path), config),
        }
        # Decoding runs in parallel; the model itself uses all cores, and pipelines promise nothing about threads.
        self._one_at_a_time = threading.Lock()

    def __call__(self, data: Mapping[str, Any]) -> Any:
        """
        Returns what the pipeline returns for `inputs`: its result for one ECG, a list of those for several.

        What is doubtful about an ECG stands as `quality` in each of its results; of embeddings, which are numbers
        alone, beside them where `with_model` asks for the longer answer.

        Args:
            data (`dict`):
                `inputs`: one ECG or a list of them, see [`read_inputs`]. `parameters` (*optional*): `sampling_rate`,
                `lead_names`, `unit`, `exam_id`, `format`, `shape`, `allow_missing_leads`, `repair_nan`, `task`,
                `with_model`; for classification `top_k`, `return_measurements`, `return_thresholds`, `abstain` and,
                where each label is decided on by itself, `thresholds` (a dictionary by label); for zero-shot
                `candidate_labels` and `hypothesis_template`.

        Returns:
            `list` or, of measurements, `dict`; with `with_model` `{"model": dict, "results": ...}` (of embeddings with
            `quality`), or `{"error": dict}`.
        """
        try:
            return self._answer(data)
        except RequestError as error:
            return _error(error.error_type, str(error))
        # The one place where everything is caught: a defect of ours must neither end the server nor show whoever sent
        # the request its inside. It is logged without its message, which may quote a recording.
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("request failed: %s in %s, line %s", type(error).__name__, last.name, last.lineno)
            return _error("InternalError", "the request could not be answered; the server's log says where it failed")

    def _answer(self, data: Any) -> Any:
        if not isinstance(data, Mapping) or "inputs" not in data or set(data) - {"inputs", "parameters"}:
            found = shorten(", ".join(map(str, data))) if isinstance(data, Mapping) else type(data).__name__
            raise RequestError(
                "InvalidRequest", f"expected a dictionary with inputs and optionally parameters: found {found}"
            )
        given = {} if data.get("parameters") is None else data["parameters"]
        if not isinstance(given, Mapping):
            raise RequestError("InvalidRequest", f"expected parameters as a dictionary: found {type(given).__name__}")
        task = self.model_info["task"] if given.get("task") is None else given["task"]
        if not isinstance(task, str) or task not in self.pipelines:
            raise RequestError(
                "InvalidParameter", f"expected task as one of {', '.join(self.pipelines)}: found {quote(task)}"
            )
        arguments, thresholds, with_model = self._read_parameters(given, task)
        ecgs, several = read_inputs(data["inputs"], read_settings(given, "parameters"))
        results = self._run(task, ecgs, arguments)
        beside: dict[str, Any] = {}
        if task == "ecg-feature-extraction":  # numbers have no place for what is doubtful
            quality = [result["quality"] for result in results]
            results = [result["embedding"] for result in results]
            beside = {"quality": quality if several else quality[0]}
        for result in results if thresholds else ():
            for label in result["labels"] if isinstance(result, dict) else result:
                if label["label"] in thresholds:
                    label["positive"] = is_positive(label["score"], thresholds[label["label"]])
        answer = results if several else results[0]
        return {"model": dict(self.model_info), "results": answer, **beside} if with_model else answer

    def _run(self, task: str, ecgs: list[dict[str, Any]], arguments: dict[str, Any]) -> list[Any]:
        if task == "ecg-feature-extraction":
            arguments = {**arguments, "return_quality": True}
        try:
            with self._one_at_a_time:
                return self.pipelines[task](ecgs, batch_size=min(len(ecgs), _BATCH_SIZE), **arguments)
        except (ValueError, TypeError) as error:
            # The feature extractor names the ECG that it refuses; anything else is a defect.
            if str(error).startswith("inputs"):
                raise RequestError("InvalidEcg", str(error)) from error
            raise

    def _read_parameters(self, given: Mapping[str, Any], task: str) -> tuple[dict[str, Any], dict[str, float], bool]:
        """Arguments of the pipeline, thresholds by label, and whether the answer names the model."""
        allowed = ("task", "with_model", *_READING_FLAGS, *SETTING_NAMES, *_TASK_PARAMETERS[task])
        unknown = [str(name) for name in given if name not in allowed]
        if unknown:
            raise RequestError(
                "InvalidParameter",
                f"{task} takes the parameters {', '.join(allowed)}: found {shorten(', '.join(unknown))}",
            )
        if given.get("thresholds") is not None:
            self._check_decides()
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
        arguments: dict[str, Any] = {}
        for name, (read, expected) in readers.items():
            if given.get(name) is None:
                continue
            try:
                arguments[name] = read(given[name])
            except (ValueError, TypeError, OverflowError) as error:
                raise RequestError("InvalidParameter", f"expected {name} as {expected}") from error
        if arguments.get("abstain") and getattr(self.pipelines[task].model.config, "abstention", None) is None:
            raise RequestError("InvalidParameter", "this model has no bounds to abstain by: leave abstain out")
        if task == "zero-shot-ecg-classification" and "candidate_labels" not in arguments:
            raise RequestError(
                "InvalidParameter", f"{task} needs the parameter candidate_labels: the texts to choose from"
            )
        return arguments, arguments.pop("thresholds", {}), arguments.pop("with_model", False)

    def _check_decides(self) -> None:
        """Refuses thresholds for outputs that are no labels side by side."""
        problem = self.pipelines["ecg-classification"].model.config.problem_type
        if problem != "multi_label_classification":
            raise RequestError(
                "InvalidParameter",
                f"thresholds are for models that decide on each label by itself: this one's problem_type is {problem}",
            )

    def _read_thresholds(self, value: Any) -> dict[str, float]:
        labels = self.pipelines["ecg-classification"].model.config.id2label or {}
        pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else [(None, None)]
        for label, threshold in pairs:
            if label not in labels.values() or isinstance(threshold, bool) or not 0 <= threshold <= 1:
                raise ValueError(label)
        return dict(value)


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


def _digest_of_weights(folder: Path, config: Any) -> str:
    """The first 16 digits of the SHA-256 of a folder's weights, whatever their format, and of their calibration."""
    digest = hashlib.sha256()
    calibration = getattr(config, "calibration", None)
    if calibration is not None:
        digest.update(json.dumps(calibration, sort_keys=True).encode())
    for pattern in _WEIGHTS:
        for path in sorted(folder.glob(pattern)):
            with path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def _error(error_type: str, message: str) -> dict[str, Any]:
    return {"error": {"type": error_type, "message": message}}


__all__ = ["TASKS", "EndpointHandler"]
