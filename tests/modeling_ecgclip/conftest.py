"""Toy models and ECGs for the tests of the model package."""

import numpy as np
import pytest
import wfdb

from modeling_ecgclip.clip_ecgclip import EcgClipConfig
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


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


@pytest.fixture
def segmented_record(tmp_path, ecg):
    """Folder of the same ECG as `wfdb_record`, in two segments that the record `rec` names."""
    folder = tmp_path / "segmented"
    folder.mkdir()
    for i, part in enumerate((ecg[:, :400], ecg[:, 400:])):
        wfdb.wrsamp(
            f"rec_{i}", 500, ["mV"] * 12, list(LEAD_NAMES), part.T / 1000, fmt=["16"] * 12, adc_gain=[1000.0] * 12,
            baseline=[0] * 12, write_dir=str(folder),
        )  # fmt: skip
    n_samples = ecg.shape[1]
    (folder / "rec.hea").write_text(f"rec/2 12 500 {n_samples}\nrec_0 400\nrec_1 {n_samples - 400}\n")
    return folder
