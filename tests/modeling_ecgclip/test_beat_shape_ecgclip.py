import numpy as np
import pytest

from benchmarks.plausibility.faults import LEADS, exchanged_arms, no_ecgs
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.beat_shape_ecgclip import arms_exchanged, upside_down, waves, why_no_ecg


KINDS = tuple(no_ecgs(500, 5000, np.random.default_rng(0)))


def seen(signal, rate, names=LEADS):
    return waves(signal, names, rate)


@pytest.fixture(scope="module")
def exams():
    """Simulated exams, noisy ones among them, at 400 Hz."""
    return [simulate_exam(3, index) for index in range(40)]


@pytest.mark.parametrize("rate", [100, 250, 400, 500, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_ecg(kind, rate):
    for seed in range(3):
        made = no_ecgs(rate, 10 * rate, np.random.default_rng(seed))
        if kind in made:  # the mains need more than twice their frequency
            assert why_no_ecg(seen(made[kind], rate)) is not None


def test_simulated_exams_are_ecgs(exams):
    assert [why_no_ecg(seen(exam.signal.astype(float), 400)) for exam in exams] == [None] * len(exams)


@pytest.mark.parametrize("seconds", [2, 2.5, 5])
def test_short_stretches_are_ecgs(exams, seconds):
    n = int(seconds * 400)
    found = [why_no_ecg(seen(exam.signal[:, 400 : 400 + n].astype(float), 400)) for exam in exams]
    assert found.count(None) >= len(exams) - 1


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_does_not_matter(exams, factor):
    noise = np.random.default_rng(0).normal(size=(12, 4000))
    assert why_no_ecg(seen(noise * factor, 400)) == "noise"
    assert why_no_ecg(seen(exams[0].signal * factor, 400)) is None
    assert arms_exchanged(seen(exchanged_arms(exams[0].signal.astype(float)) * factor, 400))


def test_an_artefact_in_some_leads_does_not_hide_the_heart(exams):
    signal = exams[0].signal.astype(float)
    signal[6:11] = np.random.default_rng(0).normal(0, 3, (5, signal.shape[1]))
    assert why_no_ecg(seen(signal, 400)) is None


def test_zero_padding_does_not_hide_the_heart(exams):
    padded = np.pad(exams[0].signal.astype(float), ((0, 0), (581, 581)))
    assert why_no_ecg(seen(padded, 400)) is None


def test_exchanged_arms(exams):
    signals = [exam.signal.astype(float) for exam in exams if not {"reversal", "exchange"} & set(exam.flaws)]
    assert not any(arms_exchanged(seen(signal, 400)) for signal in signals)
    assert np.mean([arms_exchanged(seen(exchanged_arms(signal), 400)) for signal in signals]) > 0.8
    without = tuple(name for name in LEADS if name != "V4")
    rows = [LEADS.index(name) for name in without]
    assert not any(arms_exchanged(seen(exchanged_arms(signal)[rows], 400, without)) for signal in signals)


def test_all_leads_inverted(exams):
    signals = [exam.signal.astype(float) for exam in exams]
    assert not any(upside_down(seen(signal, 400)) for signal in signals)
    # Scars, blocks and paced beats leave some of them in doubt, as real ECGs do (docs/plausibility.md).
    assert np.mean([upside_down(seen(-signal, 400)) for signal in signals]) > 0.4
    assert not upside_down(seen(-signals[0][:3], 400, LEADS[:3]))
