"""`EndpointHandler`: a saved model behind HTTP, on Hugging Face Inference Endpoints or on the project's `serve.py`.

Requests, answers and limits are described in docs/endpoint.md of the project.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, Pipeline, pipeline

from .hub_ecgclip import MEASUREMENT_TASK, verify_settings
from .labels_ecgclip import is_positive
from .limits_ecgclip import MAX_REQUEST_BYTES
from .pipeline_ecgclip import DEFAULT_HYPOTHESIS_TEMPLATE, EcgFeatureExtractionPipeline, EcgMeasurementPipeline
from .prepared_request_ecgclip import TASKS, PreparedRequest, RequestPreparer, or_error
from .requests_ecgclip import ERROR_TYPES
from .same_bits_ecgclip import SIZES, SIZES_OF_GPU, SameBits


# Beside the first, with the same weights rather than another copy of them.
_FURTHER_PIPELINES = {
    "ecg-feature-extraction": EcgFeatureExtractionPipeline,
    MEASUREMENT_TASK: EcgMeasurementPipeline,
}
_WEIGHTS = ("*.safetensors", "*.onnx", "openvino_model.*")


class EndpointHandler:
    """
    Answers requests with the model of a folder, as its pipelines do.

    A request that cannot be answered gets `{"error": {"type": ..., "message": ...}}` and never an exception; `type` is
    one of `error_types`. Nothing of a request is logged or kept. It may be called from several threads. An ECG gets
    the same bits alone and among others.

    A call does three steps one after the other, which a server may do in processes and threads of their own:
    `preparer` reads and checks, [`network`] computes, [`answer`] says.

    Args:
        path (`str`): Folder or repository id of a model saved by this project. Its code is run.

    Attributes:
        error_types (`dict[str, int]`): Names of errors, and the HTTP status that suits each.
        max_request_bytes (`int`): What a server should refuse to read beyond.
        model_info (`dict[str, str]`): `architecture`, `task` and `version`, which tells any two sets of weights and
            their calibrations apart.
        input_shape (`tuple[int, int]`): Leads and samples of what the network reads of one ECG.
        outputs (`tuple[str, ...]`): What [`network`] can be asked for.

    Raises:
        `ValueError`: for a folder that offers none of the project's pipelines.
    """

    error_types = dict(ERROR_TYPES)
    max_request_bytes = MAX_REQUEST_BYTES
    # Makes the first step of a folder without its weights.
    preparer_class = RequestPreparer

    def __init__(self, path: str = ""):
        verify_settings(path)
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        tasks = RequestPreparer.tasks_of(config, path)
        task: Any = tasks[0]  # registered by the folder: transformers states types for its own tasks alone
        first = pipeline(task, model=path, trust_remote_code=True, device=0 if torch.cuda.is_available() else -1)
        if hasattr(first.model, "for_inference"):  # of what is exported there is no faster copy
            first.model = first.model.for_inference()
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
        self.preparer = RequestPreparer(path, first.model.config, first.feature_extractor)
        self.input_shape = (len(first.feature_extractor.lead_names), first.feature_extractor.input_samples)
        sizes = SIZES_OF_GPU if first.device.type == "cuda" else SIZES
        networks = {"logits": "ecg-classification", "embeds": "ecg-feature-extraction"}
        self._networks = {
            output: SameBits(self._network_of(output, self.pipelines[of]), sizes)
            for output, of in networks.items()
            if of in self.pipelines
        }
        self.outputs = tuple(self._networks)
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
        prepared = self.preparer(data)
        return or_error(self._whole_answer, prepared) if isinstance(prepared, PreparedRequest) else prepared

    def _whole_answer(self, prepared: PreparedRequest) -> Any:
        with self._one_at_a_time:
            if prepared.output is None:
                return self._answer(prepared, [])
            values = np.concatenate([ecg["input_values"] for ecg in prepared.ecgs])
            return self._answer(prepared, list(self.network(prepared.output, values)))

    def network(self, output: str, input_values: np.ndarray) -> torch.Tensor:
        """
        Returns what the network makes of some ECGs: float32 `(ECGs, labels or width)`, in the processor's memory.

        Args:
            output (`str`): One of `outputs`: `"logits"` or `"embeds"`.
            input_values (`np.ndarray` of shape `(ECGs, leads, samples)`): float32, of any requests.
        """
        with torch.inference_mode():
            return self._networks[output](torch.from_numpy(input_values))

    def answer(self, prepared: PreparedRequest, outputs: list[torch.Tensor]) -> Any:
        """
        Returns the answer to a request, or `{"error": ...}`; never raises.

        Args:
            prepared ([`PreparedRequest`]): From `preparer`.
            outputs (`list[torch.Tensor]`): Of [`network`] for each of its ECGs; empty where it asks for none.
        """
        return or_error(self._answer, prepared, outputs)

    def _answer(self, prepared: PreparedRequest, outputs: list[torch.Tensor]) -> Any:
        results = self._results(prepared, outputs)
        beside: dict[str, Any] = {}
        if prepared.task == "ecg-feature-extraction":  # numbers have no place for what is doubtful
            quality = [ecg["quality"] for ecg in prepared.ecgs]
            beside = {"quality": quality if prepared.several else quality[0]}
        for result in results if prepared.thresholds else ():
            for label in result["labels"] if isinstance(result, dict) else result:
                if label["label"] in prepared.thresholds:
                    label["positive"] = is_positive(label["score"], prepared.thresholds[label["label"]])
        answer = results if prepared.several else results[0]
        return {"model": dict(self.model_info), "results": answer, **beside} if prepared.with_model else answer

    def _results(self, prepared: PreparedRequest, outputs: list[torch.Tensor]) -> list[Any]:
        """The result of each ECG, by the pipeline of the task."""
        of_task: Any = self.pipelines[prepared.task]
        options = dict(prepared.options)
        texts: torch.Tensor | None = None
        if prepared.task == "zero-shot-ecg-classification":
            template = options.pop("hypothesis_template", DEFAULT_HYPOTHESIS_TEMPLATE)
            texts = of_task.embed([template.replace("{}", label) for label in options["candidate_labels"]])
        elif prepared.task == "ecg-feature-extraction":
            options = {"return_quality": True}
        results = []
        for number, ecg in enumerate(prepared.ecgs):
            found: dict[str, Any] = {name: ecg[name] for name in ("quality", "measurements") if name in ecg}
            if texts is not None:
                with torch.inference_mode():
                    found["logits_per_ecg"] = of_task.compare(outputs[number][None].to(texts.device), texts)
            elif prepared.output is not None:
                found[prepared.output] = outputs[number][None]
            result = of_task.postprocess(found, **options)
            results.append(result["embedding"] if prepared.task == "ecg-feature-extraction" else result)
        return results

    @staticmethod
    def _network_of(output: str, of_task: Any) -> Any:
        def network(input_values: torch.Tensor) -> torch.Tensor:
            return of_task.forward({"input_values": input_values, "quality": [], "name": ""})[output].float()

        return network


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


__all__ = ["TASKS", "EndpointHandler"]
