import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from modeling_ecgclip import LEAD_NAMES, EcgClipProcessor, EcgFeatureExtractor
from tests.simulated import simulated


TEXTS = ["QRS alargado, RSR em V1.", "Ritmo irregular."]


@pytest.fixture
def processor(text_model):
    return EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))


@pytest.fixture
def ecg():
    return np.rint(1000 * simulated(0, 5000)).astype(int)


def test_ecg_and_text(processor, ecg):
    out = processor(ecg=[ecg, ecg], text=TEXTS, sampling_rate=500.0, unit="uV", return_tensors="pt")
    plain = processor.feature_extractor(ecg, sampling_rate=500, unit="uV")["input_values"][0]
    assert torch.equal(out["input_values"][1], torch.from_numpy(plain))
    tokens = processor.tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(out["input_ids"], tokens["input_ids"])
    assert torch.equal(out["attention_mask"], tokens["attention_mask"])


def test_text_mask_and_ecg_mask_are_two(processor, ecg):
    out = processor(ecg=ecg, text=TEXTS[0], sampling_rate=500, unit="uV", return_attention_mask=True)
    assert out["ecg_attention_mask"].shape == (1, 12, 4096)
    assert np.ndim(out["attention_mask"]) == 1


def test_either_side_alone(processor, ecg):
    assert set(processor(ecg=ecg, sampling_rate=500, unit="uV")) == {"input_values"}
    assert "input_values" not in processor(text=TEXTS[0])
    assert processor(text=TEXTS[0], return_tensors="pt")["input_ids"].ndim == 2


def test_arguments_reach_both_sides(processor, ecg):
    reverse = LEAD_NAMES[::-1]
    out = processor(
        ecg=ecg[::-1][1:], text=TEXTS, sampling_rate=500, unit="uV", lead_names=reverse[1:], allow_missing_leads=True,
        max_length=3, return_tensors="np",
    )  # fmt: skip
    assert not out["input_values"][0, 11].any()
    plain = processor.feature_extractor(ecg, sampling_rate=500, unit="uV")["input_values"][0]
    np.testing.assert_array_equal(out["input_values"][0, :11], plain[:11])
    assert out["input_ids"].shape == (2, 3)


def test_refused(processor, ecg):
    with pytest.raises(ValueError, match="found neither"):
        processor()
    with pytest.raises(TypeError, match="no argument named sampling_rte"):
        processor(ecg=ecg, sampling_rte=500)
    with pytest.raises(ValueError, match="bed 4: unknown unit 'furlong'"):
        processor(ecg=ecg, sampling_rate=500, unit="furlong", record_names="bed 4")


def test_saving(processor, ecg, tmp_path):
    processor.feature_extractor.scale = 3.0
    processor.save_pretrained(tmp_path)
    loaded = EcgClipProcessor.from_pretrained(tmp_path)
    assert loaded.feature_extractor.scale == 3.0
    assert loaded(text=TEXTS)["input_ids"] == processor(text=TEXTS)["input_ids"]
    assert EcgFeatureExtractor.from_pretrained(tmp_path).scale == 3.0
