"""Folders that carry weights, code and preprocessing together, so that they load without this package."""

import copy
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    # Named here so that `save_pretrained` copies it, and all that it names, to every folder: Inference Endpoints looks
    # for a file of this name.
    from .handler import EndpointHandler  # noqa: F401


# A pipeline's "pt" names the Auto class that loads its model; it may not be empty.
_PIPELINES = {
    "ecg-classification": ("pipeline_ecgclip.EcgClassificationPipeline", "AutoModelForAudioClassification"),
    "zero-shot-ecg-classification": ("pipeline_ecgclip.ZeroShotEcgClassificationPipeline", "AutoModel"),
    "ecg-feature-extraction": ("pipeline_ecgclip.EcgFeatureExtractionPipeline", "AutoModel"),
}
_TOWER = {
    "AutoConfig": "configuration_ecgclip.EcgResNetConfig",
    "AutoModel": "modeling_ecgclip.EcgResNetModel",
    "AutoModelForAudioClassification": "modeling_ecgclip.EcgResNetForSignalClassification",
}
_CLIP = {"AutoConfig": "configuration_ecgclip.EcgClipConfig", "AutoModel": "modeling_ecgclip.EcgClipModel"}
_EXPORTED = {
    "AutoConfig": "exported_ecgclip.ExportedEcgConfig",
    "AutoModelForAudioClassification": "exported_ecgclip.ExportedEcgClassifier",
}
# What a folder offers, by the class of its model: Auto classes and tasks.
_OFFERS = {
    "EcgResNetModel": (_TOWER, ("ecg-feature-extraction",)),
    "EcgResNetForSignalClassification": (_TOWER, ("ecg-classification", "ecg-feature-extraction")),
    "ExportedEcgClassifier": (_EXPORTED, ("ecg-classification",)),
    "EcgClipModel": (_CLIP, ("zero-shot-ecg-classification", "ecg-feature-extraction")),
}
# A stale one of these would win over the one just written.
_PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def save_for_hub(model: Any, save_directory: str | Path, processor: Any, **kwargs: Any) -> Path:
    """
    Writes a folder that the Auto classes and the pipelines load with `trust_remote_code=True`, without this package.

    A classifier's folder serves `AutoModelForAudioClassification`, `AutoModel` (its tower), and the pipelines
    `ecg-classification` and `ecg-feature-extraction`; that of an [`EcgClipModel`] serves `AutoModel` and the pipelines
    `zero-shot-ecg-classification` and `ecg-feature-extraction`. Files are written aside and then renamed; other files
    of the folder (a card, metrics) stay.

    Args:
        model (`EcgResNetForSignalClassification`, `EcgClipModel` or `EcgResNetModel`):
            The bare model, not wrapped for distributed training. Call this on one process only.
        save_directory (`str` or `Path`): The folder; made where it does not exist.
        processor (`EcgClipProcessor` or `EcgFeatureExtractor`):
            An [`EcgClipModel`] needs a processor with a tokenizer; of the others only the feature extractor is saved.
        kwargs: For `model.save_pretrained` (`max_shard_size`, `state_dict`, ...).

    Returns:
        `Path`: The folder.

    Raises:
        `TypeError`: for another model, or a processor without what the model needs.
    """
    state_offers(model)
    preprocessor = _own_preprocessor(processor, with_text=hasattr(model, "text_model"))
    folder = Path(save_directory)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.resolve().parent) as aside:
        model.save_pretrained(aside, **kwargs)
        preprocessor.save_pretrained(aside)
        written = sorted(os.listdir(aside))
        for name in written:
            os.replace(os.path.join(aside, name), folder / name)
    for name in set(_PREPROCESSOR_FILES) - set(written):
        (folder / name).unlink(missing_ok=True)
    return folder


def state_offers(model: Any) -> None:
    """
    Writes into a model's configuration which classes and pipelines its folder holds, as saving does with its class.

    Args:
        model (`EcgResNetForSignalClassification`, `EcgClipModel` or `EcgResNetModel`): About to be saved.

    Raises:
        `TypeError`: for another model.
    """
    class_name = type(model).__name__
    if class_name not in _OFFERS:
        raise TypeError(f"expected a model of {', '.join(_OFFERS)}: found {class_name}")
    auto_map, tasks = _OFFERS[class_name]
    model.config.auto_map = dict(auto_map)
    model.config.custom_pipelines = {
        task: {"impl": _PIPELINES[task][0], "pt": [_PIPELINES[task][1]]} for task in sorted(tasks)
    }


def _own_preprocessor(processor: Any, with_text: bool) -> Any:
    """A copy to save: saving a processor marks its feature extractor in a way that misleads elsewhere."""
    extractor = getattr(processor, "feature_extractor", processor)
    if not hasattr(extractor, "standardize"):
        raise TypeError(f"expected an EcgFeatureExtractor or an EcgClipProcessor: found {type(processor).__name__}")
    extractor = copy.deepcopy(extractor)
    vars(extractor).pop("auto_map", None)
    if not with_text:
        return extractor
    if getattr(processor, "tokenizer", None) is None:
        raise TypeError(
            "an EcgClipModel is saved with an EcgClipProcessor, which has a tokenizer: "
            f"found {type(processor).__name__}"
        )
    return type(processor)(extractor, processor.tokenizer)


__all__ = ["save_for_hub", "state_offers"]
