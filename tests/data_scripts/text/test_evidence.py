"""What a sentence rests on: existing samples of the leads that it names."""

import pytest

from data_scripts.text.description import PlainHand, written
from data_scripts.text.evidence import SPANS, evidence_for
from data_scripts.text.reading_of import reading_of
from modeling_ecgclip.measure_ecgclip import measure_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from tests.simulated import simulated


@pytest.mark.parametrize("number", range(6))
def test_every_sentence_names_leads_values_and_samples(number):
    signal = simulated(number)
    measured = measure_ecg(signal, 400, LEAD_NAMES)
    reading = reading_of(measured, 50, "female")
    sentences = written(PlainHand("en"), reading)
    assert sentences
    for sentence in sentences:
        found = evidence_for(sentence.about, reading, measured, 400, signal.shape[1])
        assert found["leads"] and set(found["leads"]) <= set(LEAD_NAMES)
        assert found["values"]
        assert found["samples"]
        assert all(0 <= begin < end <= signal.shape[1] for begin, end in found["samples"]), sentence
        if sentence.about in SPANS and sentence.about not in ("p", "pr"):
            assert len(found["samples"]) <= len(measured.beats_s)


def test_the_interval_in_samples_is_the_interval_that_is_told():
    signal = simulated(1)
    measured = measure_ecg(signal, 400, LEAD_NAMES)
    reading = reading_of(measured)
    found = evidence_for("qrs", reading, measured, 400, signal.shape[1])
    lengths = [(end - begin) * 2.5 for begin, end in found["samples"]]
    assert all(abs(length - measured.qrs_ms) < 40 for length in lengths)
    assert found["values"]["qrs_ms"] == pytest.approx(measured.qrs_ms, abs=0.001)
