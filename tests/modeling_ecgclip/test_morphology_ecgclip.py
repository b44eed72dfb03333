"""What the shape of a QRS says: rules on numbers of averaged beats."""

import numpy as np
import pytest

from modeling_ecgclip.leads_ecgclip import LEAD_NAMES
from modeling_ecgclip.morphology_ecgclip import AMPLITUDES, WIDE_S_MS, morphology


def seen(pr_ms=100.0, qrs_ms=130.0, rise_ms=40.0, s_ms=0.0):
    """The morphology of an ECG whose leads all have an R of 1 mV, and an S so long."""
    amplitudes = {name: np.zeros(12) for name in AMPLITUDES}
    amplitudes["r_mv"] += 1.0
    amplitudes["s_ms"] += s_ms
    return morphology(amplitudes, np.zeros(12, bool), rise_ms, LEAD_NAMES, qrs_ms, pr_ms)


@pytest.mark.parametrize(
    ("changes", "delta"),
    [
        ({}, True),
        ({"pr_ms": 130.0}, False),
        ({"qrs_ms": 90.0}, False),
        ({"rise_ms": 20.0}, False),
        ({"pr_ms": None}, None),
        ({"qrs_ms": None}, None),
    ],
)
def test_a_delta_wave_is_a_slow_start_after_a_short_pr(changes, delta):
    assert seen(**changes)["delta_wave"] is delta


def test_a_late_end_of_the_qrs_is_no_delta_wave():
    shape = seen(s_ms=WIDE_S_MS)
    assert shape["wide_s_i_v6"] is True and shape["delta_wave"] is False
