"""Toy models for the tests of the page: classifiers of any outputs and signals, a dual encoder, its report index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from modeling_ecgclip import (
    CODE_LABELS,
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    Label,
    SignalSpec,
    save_for_hub,
)
from space.index_reports import main as index_reports


THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
MANY = tuple(Label(f"L{i:02}", f"statement number {i}") for i in range(71))


def write_classifier(
    folder: Path, labels: Sequence[Label] = CODE_LABELS, signal: SignalSpec | None = None, **settings: Any
) -> Path:
    """Returns the folder of a classifier with random weights; `settings` are those of its configuration."""
    torch.manual_seed(0)
    signal = SignalSpec() if signal is None else signal
    settings |= {"lead_names": signal.lead_names, "sampling_rate": signal.sampling_rate}
    settings |= {"n_samples": signal.n_samples, "id2label": dict(enumerate(label.name for label in labels))}
    config = EcgResNetConfig.from_preset("tiny", label_details=[label.to_dict() for label in labels], **settings)
    classifier = EcgResNetForSignalClassification(config).eval()
    # Spread the random head's probabilities, so that a mix-up shows.
    torch.nn.init.normal_(classifier.classifier.weight, std=0.01)
    return save_for_hub(classifier, folder, EcgFeatureExtractor.for_model(config))


def write_models(folder: Path, text_model: Path, exam_table: Path) -> tuple[Path, Path]:
    """Returns the folders of a classifier and of a dual encoder with the reports of `exam_table`; random weights."""
    write_classifier(folder / "cls", thresholds=THRESHOLDS)
    clip = EcgClipModel.from_ecg_text_pretrained(EcgResNetConfig.from_preset("tiny"), str(text_model)).eval()
    processor = EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))
    save_for_hub(clip, folder / "clip", processor)
    arguments = ["--clip_model_name_or_path", str(folder / "clip"), "--dataset_name_or_path", str(exam_table)]
    if index_reports(arguments) != 0:
        raise RuntimeError("the report index could not be made")
    return folder / "cls", folder / "clip"
