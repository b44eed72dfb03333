"""From dipole to leads: Einthoven, the electrical axis, exchanged arms."""

import numpy as np
import pytest

from common.electrodes import ELECTRODES
from data_scripts.simulate.projection import (
    DOWER,
    ELECTRODES_TO_LEADS,
    exchange_matrix,
    frontal_axis,
    rotation,
    twelve_leads,
)
from modeling_ecgclip.feature_extraction_ecgclip import DERIVED_LEADS
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


@pytest.fixture
def eight():
    return np.random.default_rng(0).normal(size=(8, 50))


def test_limb_leads_obey_einthoven_and_goldberger(eight):
    leads = twelve_leads(eight)
    assert leads.shape == (12, 50)
    np.testing.assert_allclose(leads[0] + leads[2], leads[1], atol=1e-12)
    np.testing.assert_allclose(leads[3:6].sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(leads[3], -(leads[0] + leads[1]) / 2, atol=1e-12)
    np.testing.assert_array_equal(leads[6:], eight[2:])
    for name, (of_i, of_ii) in DERIVED_LEADS.items():
        np.testing.assert_array_equal(leads[LEAD_NAMES.index(name)], of_i * leads[0] + of_ii * leads[1])


@pytest.mark.parametrize("pair", [("RA", "LA"), ("RA", "LL"), ("LA", "LL"), ("V2", "V3")])
def test_exchanged_electrodes_are_what_the_swapped_potentials_give(pair):
    electrodes = np.random.default_rng(1).normal(size=(9, 30))
    one, other = map(ELECTRODES.index, pair)
    order = list(range(9))
    order[one], order[other] = other, one
    right, swapped = (ELECTRODES_TO_LEADS.astype(float) @ electrodes[rows] for rows in (range(9), order))
    assert not np.allclose(right, swapped)
    np.testing.assert_allclose(exchange_matrix(*pair) @ right, swapped, atol=1e-5)


def test_an_arm_on_the_right_leg_leaves_one_lead_nearly_flat():
    eight = np.random.default_rng(2).normal(size=(8, 400))
    right = twelve_leads(eight)
    for arm, flat, shown, as_before in (("RA", 1, 0, 2), ("LA", 2, 0, 1)):
        wrong = twelve_leads(exchange_matrix(arm, "RL") @ eight)
        assert wrong[flat].std() < 0.06 * right[flat].std()
        assert abs(np.corrcoef(wrong[shown], right[as_before])[0, 1]) > 0.99  # I turns into III reversed, or into II
        assert not np.allclose(wrong[6:], right[6:])  # Wilson's terminal has moved


def test_a_potential_common_to_all_electrodes_is_not_seen():
    np.testing.assert_allclose(ELECTRODES_TO_LEADS @ np.ones((9, 1)), 0, atol=1e-6)


@pytest.mark.parametrize("turn", [-60.0, -20.0, 30.0])
def test_turning_the_heart_turns_the_axis_the_same_way(turn):
    dipole = np.array([1.0, 0.5, 0.2])
    before = frontal_axis(DOWER @ dipole)
    after = frontal_axis(DOWER @ rotation(turn, 0, 0) @ dipole)
    assert 0 < (after - before) / turn < 3  # leads I and aVF are not equally strong in Dower's matrix


def test_axis_points_left_and_down_by_convention():
    left, down = np.zeros(8), np.zeros(8)
    left[:2] = 1.0, 0.5  # aVF is 0
    down[1] = 1.0  # I is 0
    assert frontal_axis(left) == pytest.approx(0)
    assert frontal_axis(down) == pytest.approx(90)
