"""The pipelines: `ecg-classification`, `zero-shot-ecg-classification`, `ecg-feature-extraction`, `ecg-measurement`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Pipeline
from transformers.utils import logging

from .feature_extraction_ecgclip import StandardEcg
from .hub_ecgclip import check_preprocessing, save_for_hub, verify_settings
from .inputs_ecgclip import NumberedInput, are_streamed, is_one_ecg, numbered
from .labels_ecgclip import decision, is_positive
from .preparation_ecgclip import EcgPreparation
from .processing_ecgclip import EcgClipProcessor
from .reading_ecgclip import read_ecg
from .record_ecgclip import EcgRecord
from .visualization_ecgclip import plot_ecg


logger = logging.get_logger(__name__)

# "Electrocardiogram with {}.": reports in Portuguese are what the models are pre-trained on.
DEFAULT_HYPOTHESIS_TEMPLATE = "Eletrocardiograma com {}."
HYPOTHESIS_TEMPLATES = {"pt": DEFAULT_HYPOTHESIS_TEMPLATE, "en": "Electrocardiogram with {}."}
# More bars than this beside a print-out cannot be read; the most probable labels are drawn.
MAX_BARS = 12


class EcgPipeline(Pipeline):
    """
    What the ECG pipelines share: any ECG in, through the model's own feature extractor.

    An ECG is an array `(leads, samples)` or `(samples, leads)`; the path of a WFDB record or of a file of any kind in
    `formats_ecgclip.FORMATS`; a row of an exam table; or a dictionary with `ecg` or `path` and optionally
    `sampling_rate`, `lead_names`, `unit`, `exam_id`. Lists of numbers serve as an array does. Several are a list, an
    array with a leading batch axis, a column or the rows of a `datasets.Dataset`, a `KeyDataset` of transformers, or
    anything that gives one after the other; an error of one begins with its place, `inputs[2]: `.

    Arguments of the constructor or of a call, for sources that do not state them: `sampling_rate` (Hz), `lead_names`,
    `unit` (`"mV"`, `"uV"`, `"V"`), `exam_id` (of an HDF5 file; a list of ids reads several exams),
    `allow_missing_leads`, `repair_nan`. Nothing is guessed: what neither source nor arguments state is refused, and so
    is an ECG that cannot be what they state.

    What is doubtful about an ECG, short of that, its results say: a list `quality` of `code`, `severity` (`"warning"`,
    or `"note"` for what is a fact about the recording and no fault) and `message`.
    """

    # What transformers states of these fits its own models and preprocessing alone.
    model: Any
    feature_extractor: Any
    tokenizer: Any

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor = None
    _load_tokenizer: Any = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.feature_extractor is None:
            self.feature_extractor = getattr(self.processor, "feature_extractor", None)
        if self.tokenizer is None:
            self.tokenizer = getattr(self.processor, "tokenizer", None)
        if self.feature_extractor is None:
            raise ValueError(
                "an ECG pipeline needs a feature extractor: pass feature_extractor= or processor=, or a model folder "
                "with preprocessor_config.json or processor_config.json"
            )
        name = getattr(self.model.config, "_name_or_path", "") or type(self.model).__name__
        check_preprocessing(self.model.config, self.feature_extractor, name)
        commit = getattr(self.model.config, "_commit_hash", None)
        if commit is not None:  # of the Hub, preprocessing arrives after the model was compared
            verify_settings(name, revision=commit)

    def __call__(self, inputs: Any, exam_id: Any = None, **kwargs: Any) -> Any:
        """
        Returns the result of one ECG, or those of several: a list, or for a `KeyDataset`, another dataset of torch and
        what has no length an iterator, which reads each ECG when its turn comes.

        Args:
            inputs: One ECG or several, see the class.
            exam_id (`int`, `str` or a list of them, *optional*): Which exam of an HDF5 file.
            kwargs: `batch_size`, `num_workers`, and the arguments of the class.
        """
        if isinstance(exam_id, Sequence) and not isinstance(exam_id, str):
            inputs, exam_id = [{"path": inputs, "exam_id": one} for one in exam_id], None
        if exam_id is not None:
            kwargs["exam_id"] = exam_id
        if is_one_ecg(inputs):
            rows = isinstance(inputs, list | tuple)  # which transformers would go through
            return super().__call__({"ecg": inputs} if rows else inputs, **kwargs)
        results = super().__call__(numbered(inputs), **kwargs)
        return results if are_streamed(inputs) else list(results)

    def _sanitize_parameters(
        self,
        exam_id: int | str | None = None,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
        local_files_only: bool | None = None,  # `pipeline()` leaves it among the arguments
        **postprocess: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {
            "exam_id": exam_id,
            "sampling_rate": sampling_rate,
            "lead_names": lead_names,
            "unit": unit,
            "allow_missing_leads": allow_missing_leads,
            "repair_nan": repair_nan,
        }
        unknown = sorted(set(postprocess) - set(self._postprocess_arguments))
        if unknown:
            raise TypeError(f"{type(self).__name__} takes no argument named {', '.join(unknown)}")
        return {name: value for name, value in preprocess.items() if value is not None}, {}, postprocess

    _postprocess_arguments: tuple[str, ...] = ()

    def preprocess(self, inputs: Any, **stated: Any) -> dict[str, Any]:
        """Returns what [`prepare`] does, also of one of several ECGs: its errors begin with its place."""
        if not isinstance(inputs, NumberedInput):
            return self.prepare(inputs, **stated)
        with inputs.named_in_errors():
            return self.prepare(inputs.source, **stated)

    def prepare(
        self,
        inputs: Any,
        exam_id: int | str | None = None,
        sampling_rate: float | None = None,
        lead_names: Sequence[str] | None = None,
        unit: str | None = None,
        allow_missing_leads: bool | None = None,
        repair_nan: bool | None = None,
    ) -> dict[str, Any]:
        """
        Returns `input_values` (1, leads, samples) of any ECG, zeros in padding and in missing leads, its `name`, and
        `quality`, a list of what is doubtful, see the class.
        """
        record = read_ecg(inputs, exam_id, sampling_rate, lead_names, unit)
        return _tensors(self.preparation.model_input(record, allow_missing_leads, repair_nan))

    @property
    def preparation(self) -> EcgPreparation:
        """What makes the model's input of an ECG, and needs no model."""
        return EcgPreparation(self.model.config, self.feature_extractor)

    def standardize(
        self, record: EcgRecord, allow_missing_leads: bool | None = None, repair_nan: bool | None = None
    ) -> StandardEcg:
        """Returns an ECG as the model's preparation standardizes it; see [`EcgPreparation.standardize`]."""
        return self.preparation.standardize(record, allow_missing_leads, repair_nan)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Saves model, preprocessing and code, all pipelines of the model included; see [`save_for_hub`]."""
        processor = self.feature_extractor
        if self.tokenizer is not None:
            processor = EcgClipProcessor(self.feature_extractor, self.tokenizer)
        save_for_hub(self.model, save_directory, processor, **kwargs)


class EcgClassificationPipeline(EcgPipeline):
    """
    `ecg-classification`: the labels of a fine-tuned classifier with their probabilities.

    ```python
    classifier = pipeline("ecg-classification", model="folder", trust_remote_code=True)
    classifier("records500/00000/00001_hr")
    # [{"label": "AF", "score": 0.93, "positive": True}, ...]
    classifier("records500/00000/00001_hr", return_measurements=True)
    # {"labels": [{"label": "AF", ...}, ...], "measurements": {"heart_rate_bpm": 88.2, "pr_ms": None, ...}}
    ```
    """

    _load_tokenizer = False
    _postprocess_arguments = ("top_k", "abstain", "return_thresholds")

    def _sanitize_parameters(self, return_measurements: bool | None = None, **kwargs: Any) -> Any:
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        if postprocess.get("abstain") and getattr(self.model.config, "abstention", None) is None:
            raise ValueError(
                "abstain: this model has no bounds to abstain by (abstention in its config.json): "
                "python -m training.recalibrate --promised_error finds them on labelled exams"
            )
        if return_measurements is not None:
            preprocess["return_measurements"] = return_measurements
        return preprocess, forward, postprocess

    def prepare(self, inputs: Any, return_measurements: bool = False, **stated: Any) -> dict[str, Any]:
        """
        Returns what [`EcgPipeline.prepare`] does, and with `return_measurements` those of `ecg-measurement`.

        Args:
            inputs: One ECG, see the class.
            return_measurements (`bool`, defaults to `False`): Measure the ECG too.
            stated: Further arguments of [`EcgPipeline`].
        """
        record, reading = _read(inputs, stated)
        return _tensors(self.preparation.model_input(record, **reading, with_measurements=return_measurements))

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        beside = {name: value for name, value in model_inputs.items() if name in ("quality", "measurements")}
        return {"logits": self.model(input_values=model_inputs["input_values"]).logits, **beside}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        top_k: int | None = None,
        abstain: bool | None = None,
        return_thresholds: bool = False,
    ) -> Any:
        """
        Returns one dictionary for each label, the most probable first.

        Args:
            model_outputs (`dict`): `logits` (1, labels), `quality`, and `measurements` where they are wanted.
            top_k (`int`, *optional*): Only so many.
            abstain (`bool`, *optional*):
                Say `decision` too; left out, where the configuration has bounds to abstain by (`abstention`).
            return_thresholds (`bool`, defaults to `False`):
                Say `threshold` and `threshold_prevalence` too: what a probability must reach, and how frequent the
                label was where that was chosen, None where nobody knows.

        Returns:
            `list[dict]` with `label`, `score` (its probability, or the value itself for a regression); where the
            configuration has thresholds, `positive` (score >= threshold); with `abstain`, `decision` (`"positive"`,
            `"negative"`, `"uncertain"`, or None for a label that nothing can be promised of); where the ECG is
            doubtful, `quality`. With
            `return_measurements` a dictionary of this list, `labels`, and of `measurements`, as `ecg-measurement`
            gives them: they belong to the ECG and not to each of its labels.
        """
        config = self.model.config
        logits = model_outputs["logits"][0].float()
        one_label = config.problem_type == "single_label_classification"
        if config.problem_type == "regression":
            scores = logits.tolist()  # such as an age in years: no probability
        else:
            scores = (logits.softmax(-1) if one_label else logits.sigmoid()).tolist()
        results: list[dict[str, Any]] = [
            {"label": config.id2label[i], "score": score} for i, score in enumerate(scores)
        ]
        if config.thresholds is not None:
            prevalences = getattr(config, "threshold_prevalence", None) or [None] * len(results)
            for result, threshold, prevalence in zip(results, config.thresholds, prevalences, strict=True):
                result["positive"] = is_positive(result["score"], threshold)
                if return_thresholds:
                    result |= {"threshold": threshold, "threshold_prevalence": prevalence}
        bounds = getattr(config, "abstention", None)
        if bounds is not None and abstain is not False:
            for result, low, high in zip(results, bounds["low"], bounds["high"], strict=True):
                result["decision"] = decision(result["score"], low, high)
        results.sort(key=lambda result: -result["score"])
        results = _with_quality(results[:top_k], model_outputs["quality"])
        if "measurements" not in model_outputs:
            return results
        return {"labels": results, "measurements": model_outputs["measurements"]}

    def plot(self, inputs: Any, title: str | None = None, **kwargs: Any) -> Any:
        """
        Returns a `matplotlib` figure of one ECG as a clinical print-out, with its probabilities beside it.

        Args:
            inputs: One ECG, see the class.
            title (`str`, *optional*): The ECG's name where left out.
            kwargs: The arguments of the class.
        """
        arguments, _, _ = self._sanitize_parameters(**kwargs)
        arguments = {**self._preprocess_params, **arguments}
        arguments.pop("return_measurements", None)
        record, reading = _read(inputs, arguments)
        standard = self.standardize(record, **reading)
        results = self(inputs, **{**kwargs, "return_measurements": False})
        title = title or record.name
        config = self.model.config
        if config.problem_type == "regression":
            title += "".join(f"   {result['label']} {result['score']:.3g}" for result in results)
            results = []
        scores = {result["label"]: result["score"] for result in results[:MAX_BARS]}
        labels = [config.id2label[i] for i in sorted(config.id2label)]
        thresholds = None if config.thresholds is None else dict(zip(labels, config.thresholds, strict=True))
        return plot_ecg(
            standard.signal,
            self.feature_extractor.sampling_rate,
            title=title,
            probabilities={label: scores[label] for label in labels if label in scores},
            thresholds=thresholds,
            lead_names=self.feature_extractor.lead_names,
        )


class ZeroShotEcgClassificationPipeline(EcgPipeline):
    """
    `zero-shot-ecg-classification`: which of some texts fits an ECG best, by the dual encoder.

    ```python
    classifier = pipeline("zero-shot-ecg-classification", model="folder", trust_remote_code=True)
    labels = ["ritmo sinusal normal", "bloqueio de ramo direito"]
    classifier("ecg.csv", candidate_labels=labels, sampling_rate=500, unit="mV")
    # [{"score": 0.81, "label": "bloqueio de ramo direito"}, ...]
    ```
    """

    _postprocess_arguments = ("candidate_labels",)

    def __init__(
        self,
        *args: Any,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str = DEFAULT_HYPOTHESIS_TEMPLATE,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if self.tokenizer is None:
            raise ValueError("zero-shot-ecg-classification needs a tokenizer: pass tokenizer= or processor=")
        self.candidate_labels = candidate_labels
        self.hypothesis_template = hypothesis_template

    def __call__(
        self,
        inputs: Any,
        candidate_labels: str | Sequence[str] | None = None,
        hypothesis_template: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Returns the candidate labels with their probabilities, the most probable first; a list of that for several.

        Args:
            inputs: One ECG or several, see [`EcgPipeline`].
            candidate_labels (`list[str]`, or `str` with commas):
                The texts to choose from. Their probabilities add up to 1.
            hypothesis_template (`str`, *optional*): Sentence with one `{}`, where each label is put in.
            kwargs: `batch_size`, `num_workers`, and the arguments of [`EcgPipeline`].

        Raises:
            `ValueError`: for no labels, equal labels, or a template without its one `{}`.
        """
        labels = _distinct_labels(self.candidate_labels if candidate_labels is None else candidate_labels)
        template = self.hypothesis_template if hypothesis_template is None else hypothesis_template
        if template.count("{}") != 1:
            raise ValueError(f"hypothesis_template must hold {{}} once, where the label goes: found {template!r}")
        # Once for all ECGs, and not part of the batch: collating would mix labels up.
        text_embeds = self.embed([template.replace("{}", label) for label in labels])
        return super().__call__(inputs, candidate_labels=labels, text_embeds=text_embeds, **kwargs)

    def _sanitize_parameters(self, text_embeds: torch.Tensor | None = None, **kwargs: Any) -> Any:
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        return preprocess, forward if text_embeds is None else {"text_embeds": text_embeds}, postprocess

    def embed(self, texts: list[str]) -> torch.Tensor:
        """Returns the embeddings of texts, (texts, projection_dim), on the model's device."""
        tokens = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with self.device_placement(), torch.no_grad():
            return self.model.get_text_features(**tokens.to(self.device))

    def _forward(self, model_inputs: dict[str, Any], text_embeds: torch.Tensor) -> dict[str, Any]:
        ecg_embeds = self.model.get_ecg_features(input_values=model_inputs["input_values"])
        return {"logits_per_ecg": self.compare(ecg_embeds, text_embeds), "quality": model_inputs["quality"]}

    def compare(self, ecg_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Returns how well each ECG fits each text: logits (ECGs, texts) of embeddings (n, projection_dim)."""
        return self.model.logit_scale.exp() * ecg_embeds @ text_embeds.T

    def postprocess(self, model_outputs: dict[str, Any], candidate_labels: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Returns `{"score", "label"}` for each candidate, the most probable first; `quality` where it is doubtful."""
        scores = model_outputs["logits_per_ecg"][0].float().softmax(-1).tolist()
        results = [{"score": score, "label": label} for score, label in zip(scores, candidate_labels, strict=True)]
        results.sort(key=lambda result: -result["score"])
        return _with_quality(results, model_outputs["quality"])


class EcgFeatureExtractionPipeline(EcgPipeline):
    """
    `ecg-feature-extraction`: one vector for each ECG.

    With a dual encoder its place in the joint space (`projection_dim` numbers of length 1), with a classifier or a
    tower the encoder's embedding (`hidden_size` numbers). Numbers cannot say what is doubtful about an ECG: it is
    logged as a warning, or returned beside them with `return_quality`.
    """

    _postprocess_arguments = ("return_tensors", "return_quality")

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        values = model_inputs["input_values"]
        if hasattr(self.model, "get_ecg_features"):
            embeds = self.model.get_ecg_features(input_values=values)
        else:
            embeds = self.model.base_model(input_values=values).pooler_output
        return {"embeds": embeds, "quality": model_inputs["quality"], "name": model_inputs["name"]}

    def postprocess(
        self, model_outputs: dict[str, Any], return_tensors: bool = False, return_quality: bool = False
    ) -> Any:
        """
        Returns the embedding.

        Args:
            model_outputs (`dict`): `embeds` (1, width), `quality` and `name`.
            return_tensors (`bool`, defaults to `False`): As a float32 tensor `(width,)` in place of a list of float.
            return_quality (`bool`, defaults to `False`):
                As `{"embedding": ..., "quality": list}` in place of a warning in the log.
        """
        embeds = model_outputs["embeds"][0].float()
        embedding = embeds if return_tensors else embeds.tolist()
        if return_quality:
            return {"embedding": embedding, "quality": model_outputs["quality"]}
        for one in model_outputs["quality"]:
            logger.warning("%s: %s", model_outputs["name"], one["message"])
        return embedding


class EcgMeasurementPipeline(EcgPipeline):
    """
    `ecg-measurement`: rate, intervals, axes, amplitudes and shape of an ECG, and where its waves lie.

    The measurements do not depend on the model, but that its folder brings them; they are those of [`measure_ecg`],
    at the sampling rate of the recording, in all of the twelve leads that it has. Missing leads are left out.

    ```python
    measure = pipeline("ecg-measurement", model="folder", trust_remote_code=True)
    measure("records500/00000/00001_hr")["measurements"]
    # {"heart_rate_bpm": 63.6, "pr_ms": 164.0, "qrs_ms": 92.0, "qt_ms": 396.0, ...}
    ```
    """

    _load_tokenizer = False

    def prepare(self, inputs: Any, allow_missing_leads: bool | None = None, **stated: Any) -> dict[str, Any]:
        """
        Returns the `measurements` of any ECG, and `quality`, a list of what is doubtful, see the class.

        Args:
            inputs: One ECG, see [`EcgPipeline`].
            allow_missing_leads (`bool`, *optional*): As for other pipelines; here missing leads are always allowed.
            stated: Further arguments of [`EcgPipeline`].
        """
        record, reading = _read(inputs, stated)
        return self.preparation.measured(record, **reading)

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        return model_inputs

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns `{"measurements": dict, "quality": list}`: those of [`EcgMeasurements.to_dict`], see the class."""
        return {name: model_outputs[name] for name in ("measurements", "quality")}


def _tensors(prepared: dict[str, Any]) -> dict[str, Any]:
    """What preparing gives, with the model's input as a tensor."""
    return {**prepared, "input_values": torch.from_numpy(prepared["input_values"])}


def _read(inputs: Any, arguments: dict[str, Any]) -> tuple[EcgRecord, dict[str, Any]]:
    """An ECG, and of the arguments of preprocessing those that say how to make it the model's."""
    stated = ("exam_id", "sampling_rate", "lead_names", "unit")
    record = read_ecg(inputs, **{name: value for name, value in arguments.items() if name in stated})
    return record, {name: value for name, value in arguments.items() if name not in stated}


def _with_quality(results: list[dict[str, Any]], quality: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Results of an ECG, each with what is doubtful about it; as they are where nothing is."""
    return [{**result, "quality": quality} for result in results] if quality else results


def _distinct_labels(candidate_labels: str | Sequence[str] | None) -> list[str]:
    if isinstance(candidate_labels, str):
        candidate_labels = [label.strip() for label in candidate_labels.split(",")]
    labels = list(candidate_labels or [])
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"candidate_labels must be one or more texts to choose from: found {candidate_labels!r}")
    if len(set(labels)) != len(labels):
        raise ValueError(f"candidate_labels must differ from each other: found {labels}")
    return labels


__all__ = [
    "EcgClassificationPipeline",
    "EcgFeatureExtractionPipeline",
    "EcgMeasurementPipeline",
    "EcgPipeline",
    "ZeroShotEcgClassificationPipeline",
]
