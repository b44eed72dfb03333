"""From electrodes to leads: Einthoven, Goldberger and Wilson."""

import numpy as np

from common.electrodes import ELECTRODES, electrodes_to_leads
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


def weights(lead):
    (row,) = electrodes_to_leads((lead,))
    return {name: value for name, value in zip(ELECTRODES, row.tolist(), strict=True) if value}


def test_limb_leads_are_differences_of_the_limbs():
    assert weights("I") == {"LA": 1, "RA": -1}
    assert weights("III") == {"LL": 1, "LA": -1}
    assert weights("aVR") == {"RA": 1, "LA": -0.5, "LL": -0.5}
    assert weights("aVF") == {"LL": 1, "RA": -0.5, "LA": -0.5}


def test_chest_leads_are_against_the_mean_of_the_limbs():
    assert weights("V3") == {"V3": 1, "RA": -1 / 3, "LA": -1 / 3, "LL": -1 / 3}


def test_a_potential_of_the_whole_body_is_not_seen():
    np.testing.assert_allclose(electrodes_to_leads(LEAD_NAMES).sum(axis=1), 0, atol=1e-15)
    assert not np.signbit(electrodes_to_leads(LEAD_NAMES)[electrodes_to_leads(LEAD_NAMES) == 0]).any()
