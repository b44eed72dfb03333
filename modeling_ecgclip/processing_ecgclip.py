"""Feature extractor and tokenizer in one, for the dual encoder."""

import os
from collections.abc import Sequence
from typing import Any

from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import AudioKwargs, ProcessingKwargs, ProcessorMixin

from .feature_extraction_ecgclip import EcgFeatureExtractor
from .hub_ecgclip import state_saved_settings


class EcgKwargs(AudioKwargs, total=False):
    """Call-time arguments of [`EcgFeatureExtractor`]; a signal with a feature extractor is "audio" to transformers."""

    sampling_rate: float | Sequence[float] | None  # type: ignore[misc]  # audio has one rate, and a whole one
    lead_names: Sequence[str] | Sequence[Sequence[str]] | None
    unit: str | Sequence[str] | None
    record_names: str | Sequence[str] | None
    allow_missing_leads: bool | None
    repair_nan: bool | None


class EcgClipProcessorKwargs(ProcessingKwargs, total=False):
    """Call-time arguments of [`EcgClipProcessor`], by modality."""

    audio_kwargs: EcgKwargs  # type: ignore[misc]  # a typed dictionary has no narrower fields, but these are merged


# The rest of AudioKwargs (padding, max_length, ...) means tokens here, not samples.
ECG_ARGUMENTS = (
    "sampling_rate",
    "lead_names",
    "unit",
    "record_names",
    "allow_missing_leads",
    "repair_nan",
    "return_attention_mask",
    "return_tensors",
)


class EcgClipProcessor(ProcessorMixin):
    """
    Prepares ECGs and texts for [`EcgClipModel`].

    Args:
        feature_extractor ([`EcgFeatureExtractor`]): For `ecg`.
        tokenizer (`PreTrainedTokenizerBase`): For `text`; the text tower's own.
    """

    valid_processor_kwargs: Any = EcgClipProcessorKwargs
    text_kwargs = {"padding": True, "truncation": True}

    def __init__(self, feature_extractor: EcgFeatureExtractor, tokenizer: Any):
        super().__init__(feature_extractor, tokenizer)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """As in transformers; a model's `SHA256SUMS` in the same folder states the new files."""
        written = super().save_pretrained(save_directory, *args, **kwargs)
        state_saved_settings(save_directory)
        return written

    def __call__(
        self,
        ecg: Any = None,
        text: str | list[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """
        Returns the model's inputs for ECGs, texts or both.

        Args:
            ecg (array, tensor or list of them, *optional*): See [`EcgFeatureExtractor.__call__`].
            text (`str` or `list[str]`, *optional*): Descriptions or hypotheses; padded to the longest and truncated to
                what the text tower takes, unless `kwargs` say otherwise.
            kwargs: Arguments of the feature extractor ([`EcgKwargs`]) and of the tokenizer (`max_length`, ...), and
                `return_tensors`, which holds for both. Of `ecg`: `sampling_rate` (`float`, Hz), `lead_names`
                (`list[str]`, in its order) and `unit` (`"mV"`, `"uV"` or `"V"`), of which nothing is guessed, and
                `record_names`, `allow_missing_leads`, `repair_nan`.

        Returns:
            `BatchFeature` with `input_values` float32 `(batch, leads, samples)` in millivolts for ECGs (and
            `ecg_attention_mask` where a lead is missing or `return_attention_mask=True`), `input_ids` and
            `attention_mask` for texts.

        Raises:
            `ValueError`: where neither `ecg` nor `text` is given, or the ECG is not usable.
            `TypeError`: for an argument that neither side knows.
        """
        if ecg is None and text is None:
            raise ValueError("EcgClipProcessor needs ecg, text or both: found neither")
        self._check_arguments(kwargs)
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        ecg_kwargs, text_kwargs = merged["audio_kwargs"], merged["text_kwargs"]
        data: dict[str, Any] = {}
        if text is not None:
            data.update(self.tokenizer(text, **text_kwargs))
        if ecg is not None:
            arguments = {name: ecg_kwargs[name] for name in ECG_ARGUMENTS if name in ecg_kwargs}
            data.update(self.feature_extractor(ecg, **arguments))
        return BatchFeature(data)

    def _check_arguments(self, kwargs: dict[str, Any]) -> None:
        """Refuses misspelt arguments, which transformers drops with a warning."""
        by_modality = self.valid_processor_kwargs.__annotations__
        known = {*by_modality, "common_kwargs", *EcgKwargs.__annotations__}
        known.update(by_modality["text_kwargs"].__annotations__)
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise TypeError(f"EcgClipProcessor takes no argument named {', '.join(unknown)}")


# Here rather than in the package, so that a copy loaded as remote code saves its own code as well.
EcgClipProcessor.register_for_auto_class()

__all__ = ["EcgClipProcessor"]
