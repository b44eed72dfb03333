"""Toy models for the tests of the model package."""

import pytest

from modeling_ecgclip.clip_ecgclip import EcgClipConfig
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig


TOY_TEXT_CONFIG = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}


@pytest.fixture
def clip_config() -> EcgClipConfig:
    return EcgClipConfig(ecg_config=EcgResNetConfig.from_preset("tiny").to_dict(), text_config=dict(TOY_TEXT_CONFIG))
