"""Toy models and ECGs for the tests of the model package."""

import numpy as np
import pytest
import wfdb

from modeling_ecgclip.clip_ecgclip import EcgClipConfig
from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES, EcgResNetConfig


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


@pytest.fixture
def ecg():
    """(12, 1000) whole microvolts."""
    return np.random.default_rng(0).integers(-2000, 2000, (12, 1000)).astype(np.int16)


@pytest.fixture
def wfdb_record(tmp_path, ecg):
    units = ["mV"] * 11 + ["uV"]
    values = ecg.T / np.array([1000.0] * 11 + [1.0])
    names = ["DI", *LEAD_NAMES[1:]]
    gains = [1000.0] * 11 + [1.0]
    wfdb.wrsamp(
        "rec1", 500, units, names, values, fmt=["16"] * 12, adc_gain=gains, baseline=[0] * 12, write_dir=str(tmp_path)
    )
    return tmp_path / "rec1"
