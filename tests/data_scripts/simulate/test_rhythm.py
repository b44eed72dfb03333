"""Beats: rates and irregularity asked for, ectopic beats where they belong."""

from dataclasses import replace

import numpy as np
import pytest

from data_scripts.simulate.physiology import draw_condition
from data_scripts.simulate.rhythm import MIN_RR_S, NORMAL, SUPRAVENTRICULAR, VENTRICULAR, draw_beats


SECONDS = 10.24
PLAIN = {"ectopics": "none", "ectopic_share": 0.0, "sinus_arrhythmia": False, "age": 50.0}


@pytest.fixture
def sinus():
    """A condition of plain sinus rhythm."""
    return replace(draw_condition(1, 0, 1.0)[1], rhythm="sinus", rr_variation=0.008, heart_rate=70.0, **PLAIN)


def beats_of(condition, seed=0):
    return draw_beats(np.random.default_rng(seed), condition, SECONDS)


@pytest.mark.parametrize("rate", [38.0, 71.0, 150.0])
def test_sinus_rhythm_has_the_rate_asked_for(sinus, rate):
    beats = beats_of(replace(sinus, heart_rate=rate))
    assert beats.heart_rate(SECONDS) == pytest.approx(rate, rel=0.03)
    assert beats.rr_variation(SECONDS) < 0.05
    assert beats.times[0] < -0.3 and beats.times[-1] > SECONDS


def test_fibrillation_is_irregular_and_sinus_arrhythmia_less_so(sinus):
    af = [replace(sinus, rhythm="af", rr_variation=0.2, heart_rate=90.0)] * 20
    breathing = [replace(sinus, sinus_arrhythmia=True)] * 20
    af_variation = [beats_of(c, k).rr_variation(SECONDS) for k, c in enumerate(af)]
    breathing_variation = [beats_of(c, k).rr_variation(SECONDS) for k, c in enumerate(breathing)]
    plain_variation = [beats_of(sinus, k).rr_variation(SECONDS) for k in range(20)]
    assert np.median(af_variation) > 0.2
    assert np.median(plain_variation) < np.median(breathing_variation) < np.median(af_variation)


def test_fibrillation_keeps_the_rate_and_the_refractory_period(sinus):
    rates = [
        beats_of(replace(sinus, rhythm="af", rr_variation=0.2, heart_rate=90.0), k).heart_rate(SECONDS)
        for k in range(60)
    ]
    assert np.mean(rates) == pytest.approx(90, rel=0.05)
    fast = beats_of(replace(sinus, rhythm="af", rr_variation=0.28, heart_rate=160.0))
    assert np.diff(fast.times).min() > MIN_RR_S - 1e-9


@pytest.mark.parametrize(("name", "kind"), [("ventricular", VENTRICULAR), ("supraventricular", SUPRAVENTRICULAR)])
def test_ectopic_beats_come_early(sinus, name, kind):
    beats = beats_of(replace(sinus, ectopics=name, ectopic_share=0.28))
    rr = np.diff(beats.times)
    early = beats.kinds[1:] == kind
    assert set(beats.kinds) == {NORMAL, kind}
    assert rr[early].max() < 0.85 * np.median(rr[~early])


def test_ventricular_beats_are_followed_by_a_compensating_pause(sinus):
    beats = beats_of(replace(sinus, ectopics="ventricular", ectopic_share=0.14))
    (at,) = np.nonzero(beats.kinds[1:-1] == VENTRICULAR)
    assert len(at) > 0
    around = beats.times[at + 2] - beats.times[at]
    assert around == pytest.approx(2 * 60 / 70, rel=0.08)


def test_flutter_conducts_whole_multiples_of_the_atrial_cycle(sinus):
    ratios = np.diff(beats_of(replace(sinus, rhythm="flutter", heart_rate=100.0)).times) / 0.2
    assert np.abs(ratios - np.round(ratios)).max() < 0.15
    assert np.round(ratios).min() >= 2
