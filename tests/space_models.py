"""Toy models for the tests of the page: a classifier with thresholds, a dual encoder, and its report index."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    save_for_hub,
)
from space.index_reports import main as index_reports


THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def write_models(folder: Path, text_model: Path, exam_table: Path) -> tuple[Path, Path]:
    """Returns the folders of a classifier and of a dual encoder with the reports of `exam_table`; random weights."""
    torch.manual_seed(0)
    classifier = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny", thresholds=THRESHOLDS)).eval()
    # Spread the random head's probabilities, so that a mix-up shows.
    torch.nn.init.normal_(classifier.classifier.weight, std=0.01)
    save_for_hub(classifier, folder / "cls", EcgFeatureExtractor())
    clip = EcgClipModel.from_ecg_text_pretrained(EcgResNetConfig.from_preset("tiny"), str(text_model)).eval()
    processor = EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))
    save_for_hub(clip, folder / "clip", processor)
    arguments = ["--clip_model_name_or_path", str(folder / "clip"), "--dataset_name_or_path", str(exam_table)]
    if index_reports(arguments) != 0:
        raise RuntimeError("the report index could not be made")
    return folder / "cls", folder / "clip"
