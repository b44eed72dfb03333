"""Models of random weights, as a published folder holds them: small, and their outputs are nothing but numbers."""

from pathlib import Path

import torch

from modeling_ecgclip import EcgFeatureExtractor, EcgResNetConfig, EcgResNetForSignalClassification, save_for_hub


def write_small_classifier(folder: Path) -> Path:
    """Writes the tiny classifier of CODE's six labels, with thresholds, and returns its folder."""
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.5,) * 6)
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor())
    return folder
