"""Waves: durations asked for, and the pictures by which each block is known."""

from dataclasses import replace

import numpy as np
import pytest

from data_scripts.simulate.morphology import NORMAL_QRS, draw_gains, draw_heart, qrs_span, render
from data_scripts.simulate.physiology import draw_condition
from data_scripts.simulate.projection import twelve_leads
from data_scripts.simulate.rhythm import draw_beats
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


N = 4096
QRS_MS = {"none": 88.0, "rbbb": 142.0, "lbbb": 152.0}


def condition_of(block, index=0, **changes):
    patient, condition = draw_condition(2, index, 1.0)
    plain = {"rhythm": "sinus", "heart_rate": 65.0, "rr_variation": 0.005, "sinus_arrhythmia": False, "pr_ms": 160.0}
    plain |= {"repolarisation": "normal", "ectopics": "none", "block": block, "block_severity": 1.0}
    plain |= {"qrs_ms": QRS_MS[block], "qtc_ms": 410.0} | changes
    patient = replace(
        patient, frontal_deg=-15.0 if block == "lbbb" else 0.0, horizontal_deg=0.0, sagittal_deg=0.0, gain=1.0
    )
    return patient, replace(condition, **plain)


def beat_of(block, index=0, **changes):
    """Median beat by lead, and sample of its reference point."""
    patient, condition = condition_of(block, index, **changes)
    rng = np.random.default_rng(index)
    beats = draw_beats(rng, condition, N / SAMPLING_RATE)
    heart = draw_heart(rng, patient, condition)
    leads = twelve_leads(render(rng, beats, heart, condition, draw_gains(rng, beats), N))
    at = [round(t * SAMPLING_RATE) for t in beats.times if 0.4 < t < N / SAMPLING_RATE - 0.6]
    mean = np.median([leads[:, k - 140 : k + 220] for k in at], axis=0)
    return dict(zip(LEAD_NAMES, mean, strict=True)), 140, heart


def qrs_of(lead, at, heart):
    """Samples of the QRS, against the level before P."""
    begin, end = (at + round(t * SAMPLING_RATE) for t in (heart.onset_s, heart.offset_s))
    return lead[begin : end + 1] - np.median(lead[:30])


@pytest.mark.parametrize("block", QRS_MS)
def test_qrs_lasts_as_long_as_asked(block):
    patient, condition = condition_of(block)
    heart = draw_heart(np.random.default_rng(0), patient, condition)
    assert 1000 * (heart.offset_s - heart.onset_s) == pytest.approx(QRS_MS[block], abs=0.01)


def test_span_of_a_single_gaussian_is_where_it_exceeds_five_percent():
    begin, end = qrs_span(np.array([(0.0, 10.0, 1.0, 0.0, 0.0)]))
    assert (begin, end) == pytest.approx((-24.48, 24.48), abs=0.5)
    assert qrs_span(NORMAL_QRS)[1] - qrs_span(NORMAL_QRS)[0] > 60


def test_r_grows_from_v1_to_v4_and_s_shrinks_to_v6():
    r, s = np.zeros((12, 6)), np.zeros((12, 6))
    for index in range(12):
        leads, at, heart = beat_of("none", index)
        waves = [qrs_of(leads[f"V{k}"], at, heart) for k in range(1, 7)]
        r[index], s[index] = [w.max() for w in waves], [-w.min() for w in waves]
    r, s = np.median(r, axis=0), np.median(s, axis=0)
    assert (np.diff(r[:4]) > 0).all() and r[0] < 0.5 < r[4]
    assert s[1] > 0.8 and (np.diff(s[1:]) < 0).all() and s[5] < 0.4


def test_proportions_of_a_normal_beat():
    p, qrs, t = [], [], []
    for index in range(12):
        leads, at, heart = beat_of("none", index)
        lead = leads["II"] - np.median(leads["II"][:30])
        onset = at + round(heart.onset_s * SAMPLING_RATE)
        p.append(lead[onset - 64 : onset - 8].max())
        qrs.append(qrs_of(leads["II"], at, heart).max())
        t.append(lead[at + 60 : at + 170].max())
    assert 0.05 < np.median(p) < 0.25
    assert 0.4 < np.median(qrs) < 1.6
    assert 0.1 < np.median(t) < 0.5 * np.median(qrs)


def test_right_bundle_branch_block_has_rsr_in_v1_and_broad_s_in_i_and_v6():
    for index in range(8):
        leads, at, heart = beat_of("rbbb", index)
        v1 = qrs_of(leads["V1"], at, heart)
        late = v1[len(v1) // 2 :]
        assert late.max() > 0.3 and v1[: len(v1) // 2].min() < -0.1  # S, then R'
        for name in ("I", "V6"):
            wave = qrs_of(leads[name], at, heart)
            assert (wave[len(wave) // 2 :] < -0.03).sum() / SAMPLING_RATE > 0.030


def test_left_bundle_branch_block_has_broad_r_without_q_in_i_and_v6_and_is_negative_in_v1():
    notched = 0
    for index in range(8):
        leads, at, heart = beat_of("lbbb", index)
        for name in ("I", "V6"):
            wave = qrs_of(leads[name], at, heart)
            assert wave[: len(wave) // 3].min() > -0.06  # no q
            assert (wave > 0.4 * wave.max()).sum() / SAMPLING_RATE > 0.050
            inner = wave[wave > 0.4 * wave.max()]
            notched += int(np.any(np.diff(np.sign(np.diff(inner))) > 0))
        v1 = qrs_of(leads["V1"], at, heart)
        assert -v1.min() > 3 * v1.max()
        assert leads["V6"][at + 90 : at + 180].min() < -0.05  # T against the QRS
    assert notched >= 10  # of 16 leads


def test_pr_is_the_distance_from_p_to_qrs():
    """Two beats that differ in PR alone have the same P wave, moved by the difference."""
    short, at, heart = beat_of("none", pr_ms=150.0)
    long, _, _ = beat_of("none", pr_ms=230.0)
    onset = at + round(heart.onset_s * SAMPLING_RATE)
    moved = round(0.080 * SAMPLING_RATE)
    window = slice(onset - 58, onset - 14)
    np.testing.assert_allclose(long["II"][window.start - moved : window.stop - moved], short["II"][window], atol=0.01)


def test_fibrillation_has_no_p_and_f_waves_largest_in_v1():
    ratio, v1, v6 = [], [], []
    for index in range(10):
        patient, condition = condition_of("none", index, rhythm="af", pr_ms=None, rr_variation=0.15)
        rng = np.random.default_rng(index)
        beats = replace(draw_beats(rng, condition, N / SAMPLING_RATE), times=np.array([-1.5]), kinds=np.zeros(1, int))
        beats = replace(beats, rr_s=beats.rr_s[:1])
        heart = draw_heart(rng, patient, condition)
        leads = twelve_leads(
            render(rng, beats, heart, condition, draw_gains(rng, beats), N)[:, :]
        )  # nothing but f-waves
        power = np.abs(np.fft.rfft(leads[6])) ** 2
        hertz = np.fft.rfftfreq(N, 1 / SAMPLING_RATE)
        ratio.append(power[(hertz > 3.5) & (hertz < 16)].sum() / power[1:].sum())
        v1.append(leads[6].std()), v6.append(leads[11].std())
    assert np.median(ratio) > 0.95
    assert np.median(v1) > 1.3 * np.median(v6)
    assert 0.005 < np.median(v1) < 0.1
