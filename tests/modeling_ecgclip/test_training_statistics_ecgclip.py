"""What is unlike a model's training is said, and nothing of what is like it."""

import json

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_ecgclip import LEAD_NAMES, EcgFeatureExtractor, EcgResNetConfig, EcgResNetForSignalClassification
from modeling_ecgclip.training_statistics_ecgclip import (
    InputProperties,
    input_properties,
    training_statistics,
    unlike_training,
)
from tests.simulated import simulated


RATE = 400


@pytest.fixture(scope="module")
def statistics():
    found = [input_properties(simulated(number), RATE) for number in range(8)]
    made = training_statistics([one for one in found for _ in range(13)], LEAD_NAMES)
    assert json.loads(json.dumps(made)) == made
    return made


def codes(signal, statistics, rate=RATE):
    return [one.code for one in unlike_training(input_properties(signal, rate), LEAD_NAMES, statistics)]


def test_the_properties_are_what_they_say():
    signal = simulated(3)
    of = input_properties(signal, RATE)
    assert of.amplitude_mv[1] == pytest.approx(np.percentile(np.abs(signal[1] - np.median(signal[1])), 99), rel=1e-4)
    assert 40 < of.heart_rate_bpm < 160 and of.present.all()
    assert input_properties(signal, RATE / 2).heart_rate_bpm == pytest.approx(of.heart_rate_bpm / 2, rel=0.03)
    noisy = signal + np.random.default_rng(0).normal(scale=0.2, size=signal.shape)
    assert input_properties(noisy, RATE).noise_mv == pytest.approx(0.2, rel=0.05)
    nothing = input_properties(np.zeros((12, 4096)), RATE)
    assert nothing.heart_rate_bpm is None and nothing.noise_mv is None and not nothing.present.any()


def test_an_ecg_of_the_training_raises_no_alarm_and_others_do(statistics):
    signal = simulated(2)
    assert codes(signal, statistics) == [] and codes(signal, None) == []
    assert codes(20 * signal, statistics) == ["unlike_training:amplitude", "unlike_training:noise"]
    hum = np.random.default_rng(0).normal(scale=1.0, size=signal.shape)
    assert "unlike_training:noise" in codes(signal + hum, statistics)
    assert codes(np.where(np.arange(12)[:, None] == 7, 0, signal), statistics) == ["unlike_training:leads"]
    assert codes(signal, statistics | {"heart_rate_bpm": [10.0, 20.0]}) == ["unlike_training:rate"]


def test_leads_that_the_training_lacked_may_lack(statistics):
    of = [input_properties(np.where(np.arange(12)[:, None] == 7, 0, simulated(1)), RATE)] * 100
    made = training_statistics(of, LEAD_NAMES)
    assert LEAD_NAMES[7] not in made["always_present"] and LEAD_NAMES[7] not in made["amplitude_mv"]
    assert "unlike_training:leads" not in codes(simulated(1), made)


def test_few_exams_say_nothing():
    with pytest.raises(ValueError, match="at least 100 exams: found 1"):
        training_statistics([InputProperties(60.0, np.ones(12), 0.1, np.ones(12, bool))], LEAD_NAMES)


def test_pipelines_say_it_in_quality(statistics):
    torch.manual_seed(0)
    model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny", training_statistics=statistics))
    classify = pipeline("ecg-classification", model=model.eval(), feature_extractor=EcgFeatureExtractor())
    stated = {"sampling_rate": RATE, "unit": "mV"}
    assert "quality" not in classify(simulated(2), **stated)[0]
    quality = classify(3 * simulated(2), **stated)[0]["quality"]
    assert {"unlike_training:amplitude": "warning"}.items() <= {
        one["code"]: one["severity"] for one in quality
    }.items()
    assert "V3" in "".join(one["message"] for one in quality)
