"""What pipelines and processes without a model share."""

import numpy as np
import torch

from modeling_ecgclip import (
    EcgClassificationPipeline,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    read_ecg,
)
from modeling_ecgclip.preparation_ecgclip import EcgPreparation
from tests.simulated import simulated


def test_pipelines_prepare_as_this_does():
    torch.manual_seed(0)
    model, extractor = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny")), EcgFeatureExtractor()
    pipe = EcgClassificationPipeline(model=model, feature_extractor=extractor)
    record = read_ecg({"ecg": simulated(0, 2000), "sampling_rate": 400, "unit": "mV"})
    found = EcgPreparation(model.config, extractor).model_input(record, with_measurements=True)
    expected = pipe.preprocess(record, return_measurements=True)
    assert found["input_values"].dtype == np.float32 and found["input_values"].shape == (1, 12, 4096)
    assert torch.equal(torch.from_numpy(found.pop("input_values")), expected.pop("input_values"))
    assert found == expected and found["measurements"]["heart_rate_bpm"] is not None
