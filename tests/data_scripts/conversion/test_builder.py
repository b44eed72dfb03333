"""What every converter shares: from a recording to whole microvolts, and shards that depend on the source alone."""

import inspect
import re

import numpy as np
import pytest

from data_scripts.conversion.builder import REASONS, Rejection, standard_recording
from modeling_ecgclip import plausibility_ecgclip
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import EcgRecord, code15_tracing_to_mv
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from publishing.dataset_card import FLAG_MEANINGS
from tests.simulated import simulated


def record_of(signal, rate=400, leads=LEAD_NAMES, unit="mV"):
    return EcgRecord(signal, rate, leads, unit, "record 7")


def make_signal(n_samples=4000, n_leads=12):
    return np.rint(1000 * simulated(0, n_samples)[:n_leads]) / 1000


def test_whole_microvolts_in_the_middle():
    recording = standard_recording("7", record_of(make_signal(2001)), EcgFeatureExtractor())
    assert recording["n_samples"] == 2001 and recording["quality"] == []
    assert recording["ecg"].dtype == np.int16 and recording["ecg"].shape == (12, 4096)
    left = (4096 - 2001) // 2
    np.testing.assert_array_equal(recording["ecg"][:, left : left + 2001], np.rint(make_signal(2001) * 1000))
    assert not recording["ecg"][:, :left].any() and not recording["ecg"][:, left + 2001 :].any()


def test_leads_by_name_other_unit_and_too_long():
    order = np.random.default_rng(1).permutation(12)
    signal = make_signal(5000)
    shuffled = record_of(signal[order] * 1000, leads=[LEAD_NAMES[i] for i in order], unit="uV")
    recording = standard_recording("7", shuffled, EcgFeatureExtractor())
    np.testing.assert_array_equal(recording["ecg"], np.rint(signal[:, 452:4548] * 1000))
    assert recording["n_samples"] == 4096 and recording["quality"] == ["cropped"]


def test_derived_leads_are_flagged_and_missing_ones_rejected():
    keep = [i for i, lead in enumerate(LEAD_NAMES) if lead not in ("III", "aVR")]
    signal, leads = make_signal()[keep], [LEAD_NAMES[i] for i in keep]
    assert standard_recording("7", record_of(signal, leads=leads), EcgFeatureExtractor())["quality"] == [
        "derived:III",
        "derived:aVR",
    ]
    rejected = standard_recording("7", record_of(signal[:-1], leads=leads[:-1]), EcgFeatureExtractor())
    assert rejected.reason == "not a 12-lead ECG" and "record 7" in rejected.detail and "V6" in rejected.detail


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "NaN or infinite values"), (np.inf, "NaN or infinite values")])
def test_nan_is_rejected_or_repaired(value, reason):
    signal = make_signal()
    signal[3, 100:120] = value
    assert standard_recording("7", record_of(signal), EcgFeatureExtractor()) == Rejection(
        "7", reason, "record 7: 20 of 48000 values"
    )
    repaired = standard_recording("7", record_of(signal), EcgFeatureExtractor(repair_nan=True))
    assert repaired["quality"] == ["nan_repaired:aVR:0.5%"]
    nothing = np.full((12, 4000), value)
    assert standard_recording("7", record_of(nothing), EcgFeatureExtractor(repair_nan=True)).reason == reason


def test_zeros_are_rejected_and_rejections_passed_on():
    zeros = standard_recording("7", record_of(np.zeros((12, 4000))), EcgFeatureExtractor())
    assert (zeros.reason, zeros.record) == ("all-zero tracing", "7") and "record 7" in zeros.detail
    assert standard_recording("7", zeros, EcgFeatureExtractor()) is zeros


REFUSED = {
    "leads in another order or inverted": lambda signal: record_of(signal[[0, 1, *range(6, 12), 2, 3, 4, 5]]),
    "amplitude of another unit": lambda signal: record_of(signal, unit="uV"),
    "too short": lambda signal: record_of(signal[:, :700]),
    "no signal": lambda signal: record_of(np.full_like(signal, 3)),
    "unit not stated": lambda signal: record_of(signal, unit=None),
    "sampling_rate not stated": lambda signal: record_of(signal, rate=None),
    "lead_names not stated": lambda signal: record_of(signal[:8], leads=None),
    "leads not named, and limb leads that disagree": lambda signal: record_of(np.cumsum(signal, 0), leads=None),
    "NaN or infinite values": lambda signal: record_of(np.where(np.arange(4000) == 7, -32.768, signal)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_would_be_read_wrongly_is_rejected_by_reason(reason):
    rejected = standard_recording("7", REFUSED[reason](make_signal()), EcgFeatureExtractor())
    assert (rejected.reason, rejected.record) == (reason, "7") and "record 7" in rejected.detail


def test_every_error_of_the_detective_has_a_reason():
    source = inspect.getsource(plausibility_ecgclip)
    codes = set(re.findall(r'Finding\(\s*f?"(\w+)', source))
    doubtful = {"leads_scaled", "not_an_ecg", "arm_reversal", "all_leads_inverted", "flat_lead", "short"}
    assert codes - doubtful == set(REASONS) - {"not_recorded"}
    assert codes - set(REASONS) <= set(FLAG_MEANINGS)


def test_what_is_doubtful_is_flagged_once():
    noise = np.random.default_rng(0).normal(0, 0.5, (12, 1600))
    noise[7] = 0
    recording = standard_recording("7", record_of(noise), EcgFeatureExtractor())
    assert sorted(recording["quality"]) == ["flat_lead", "limb_leads_disagree", "not_an_ecg", "short"]


def slow_recording(signal):
    """The same by the long way: every step in float64, on a copy, looked at sample by sample."""
    signal = signal.astype(np.float32)  # the extractor's output
    exact = signal.astype(np.float64) * 1000
    microvolts = np.where(exact - np.floor(exact) == 0.5, 2 * np.round(exact / 2), np.floor(exact + 0.5))
    flags = ["offset"] if max(abs(lead.mean()) for lead in signal) > 1 else []
    flags += ["clipped"] if (abs(microvolts) > 32767).any() else []
    microvolts = np.minimum(np.maximum(microvolts, -32767), 32767)
    flags += ["flat_lead"] if any(len(set(lead)) == 1 for lead in microvolts.tolist()) else []
    left = (4096 - signal.shape[1]) // 2
    padded = [[0] * left + lead + [0] * (4096 - signal.shape[1] - left) for lead in microvolts.tolist()]
    return {"ecg": np.array(padded, np.int16), "n_samples": signal.shape[1], "quality": flags}


@pytest.mark.parametrize("case", ["plain", "halves", "offset", "flat", "clipped", "short", "lead of zeros"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_fast_way_gives_what_the_long_way_gives(case, dtype):
    rng = np.random.default_rng(len(case))
    tracing = 2 * simulated(len(case)).T.astype(dtype)  # (samples, leads), 2 x mV, as CODE-15% has it
    if case == "halves":
        tracing = (np.rint(1000 * tracing) / 1000).astype(dtype)  # every other one is half a microvolt
    tracing[:, 4] += 2.5 if case == "offset" else 0
    tracing[:, 7] *= 0 if case in ("flat", "lead of zeros") else 1
    tracing[:, 7] += 1e-4 * rng.random(4096) if case == "flat" else 0
    if case == "clipped":
        tracing[2000:2004, 9] = [-90, -80, 90, 65.535]  # no code of lost samples, which repeats
    tracing[: 581 if case == "short" else 0] = 0
    tracing[4096 - 581 if case == "short" else 4096 :] = 0
    signal = code15_tracing_to_mv(tracing, "record 7")
    fast, slow = standard_recording("7", record_of(signal), EcgFeatureExtractor()), slow_recording(signal)
    np.testing.assert_array_equal(fast.pop("ecg"), slow.pop("ecg"))
    assert fast == slow
    copied = standard_recording("7", record_of(np.ascontiguousarray(signal)), EcgFeatureExtractor())
    assert np.array_equal(copied["ecg"], standard_recording("7", record_of(signal), EcgFeatureExtractor())["ecg"])


def test_the_source_is_not_written_to():
    signal = simulated().astype(np.float32)
    before = signal.copy()
    standard = EcgFeatureExtractor().standardize(signal, 400, LEAD_NAMES, "mV")
    assert not np.shares_memory(standard.signal, signal)
    standard_recording("7", record_of(signal), EcgFeatureExtractor())
    np.testing.assert_array_equal(signal, before)
