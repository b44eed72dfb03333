import itertools

import numpy as np
import pytest

from benchmarks.plausibility.faults import LEADS, in_order
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.lead_algebra_ecgclip import LIMB_LEADS, agreement, explain, own_gains, worst_law


LIMB = list(LIMB_LEADS)


@pytest.fixture(scope="module")
def signal():
    return simulate_exam(0, 1).signal[:, ::4].astype(np.float64)  # the laws hold at any rate


def found(signal, names=LIMB):
    rows = list(range(len(names)))
    return explain(signal, rows, names, agreement(signal[rows], names))


def test_laws_hold_in_any_subset_of_limb_leads(signal):
    for size in range(3, 7):
        for names in itertools.combinations(LIMB, size):
            stated = agreement(signal[[LEADS.index(name) for name in names]], names)
            assert stated.holds and stated.residual < 0.01, names


def test_rounding_and_offsets_of_single_leads_are_tolerated(signal):
    offsets = np.arange(6)[:, None] - 2.5
    assert agreement(np.round(signal[:6] / 0.005) * 0.005 + offsets, LIMB).holds


def test_every_order_of_the_limb_leads_is_noticed_and_explained(signal):
    right, wrong = 0, 0
    for order in itertools.permutations(range(6)):
        if order == tuple(range(6)):
            continue
        changed = np.concatenate([signal[list(order)], signal[6:]])
        assert not agreement(changed[:6], LIMB).holds
        told = found(changed)
        assert told is not None and told.residual < 0.01
        true = {name: order.index(row) for row, name in enumerate(LIMB)}
        right += told.rows == true and not told.inverted
        wrong += told.rows != true
    # The rest obey the laws with an inverted lead or two as well.
    assert (right, wrong) == (681, 38)


def test_any_two_inverted_leads_are_told_by_name(signal):
    for size in (1, 2):
        for names in itertools.combinations(LIMB, size):
            changed = signal.copy()
            changed[[LIMB.index(name) for name in names]] *= -1
            assert found(changed).inverted == names


def test_order_and_sign_together(signal):
    told = found(in_order(signal, "aVL I -aVR II aVF III V1 V2 V3 V4 V5 V6"))
    assert [LIMB[row] for row in (4, 0, 3, 1, 5, 2)] == sorted(told.rows, key=told.rows.get)
    assert told.inverted == ("aVR",)


def test_limb_leads_are_found_among_chest_leads(signal):
    told = found(in_order(signal, "I II V1 V2 V3 V4 V5 V6 III aVR aVL aVF"))
    assert told.rows == {"I": 0, "II": 1, "III": 8, "aVR": 9, "aVL": 10, "aVF": 11}


def test_three_limb_leads_are_enough(signal):
    eight = signal[[1, 0, 2, 6, 7, 8, 9]]  # II I III named I II III
    assert found(eight, ["I", "II", "III"]).rows == {"I": 1, "II": 0, "III": 2}


def test_what_is_right_needs_no_explanation_and_noise_has_none(signal):
    assert found(signal) is None
    noise = np.random.default_rng(0).normal(size=(12, 4000))
    assert found(noise) is None and not agreement(noise[:6], LIMB).tolerable


def test_leads_scaled_each_on_their_own_keep_their_order(signal):
    gains = np.array([2.0, 0.7, 1.3, 0.5, 1.1, 3.0])
    factors = own_gains(signal[:6] * gains[:, None], LIMB)
    undone = factors * gains
    np.testing.assert_allclose(undone / undone.mean(), 1, atol=0.02)
    assert own_gains(signal[[1, 0, 2, 3, 4, 5]] * gains[:, None], LIMB) is None
    gains[3] *= -1
    assert own_gains(signal[:6] * gains[:, None], LIMB) is None
    assert own_gains(signal[:3], LIMB[:3]) is None  # three leads obey under some gains by chance


def test_the_worst_law_names_leads_size_and_sample(signal):
    changed = signal[:6].copy()
    changed[5, 123] += 3
    law, millivolts, at = worst_law(changed, LIMB)
    assert "aVF" in law and at == 123
    assert 2.9 < millivolts < 6.1
