"""What stands for the labels in zero-shot classification."""

from typing import Any

import torch

from data_scripts.embed_reports import embed_texts
from modeling_ecgclip.clip_ecgclip import EcgClipModel
from modeling_ecgclip.labels_ecgclip import labels_named
from modeling_ecgclip.pipeline_ecgclip import HYPOTHESIS_TEMPLATES


# What results are called, and the language of their prompts, for each --prompt_language.
PROMPTS = {"pt": {"zero_shot": "pt"}, "en": {"zero_shot": "en"}, "both": {"zero_shot": "pt", "zero_shot_en": "en"}}


def embed_prompts(model: EcgClipModel, tokenizer: Any, device: torch.device, language: str) -> torch.Tensor:
    """
    Returns the pooled text embedding of each label's phrase, float32 (labels, text width).

    Args:
        model (`EcgClipModel`): Its text tower is set to evaluation.
        tokenizer (`PreTrainedTokenizerBase`): Of that tower.
        device (`torch.device`): Where the tower is, or goes.
        language (`str`): Of phrases and sentence, `"pt"` or `"en"`.
    """
    labels = labels_named(label["name"] for label in model.config.label_details)
    texts = [HYPOTHESIS_TEMPLATES[language].format(label.phrase_in(language)) for label in labels]
    pooling = model.config.text_pooling
    return torch.from_numpy(embed_texts(texts, model.text_model, tokenizer, pooling, device=device, progress=False))
