"""The part of an ECG that beats are found in: alone as with all that is cleaned."""

import numpy as np
import pytest

from modeling_ecgclip.beats_ecgclip import clean, qrs_band_of


@pytest.mark.parametrize(("rate", "n"), [(400.0, 4096), (500.0, 5000), (257.0, 900), (100.0, 1000), (499.999, 3)])
def test_qrs_band_alone(rate, n):
    signal = np.random.default_rng(n).normal(size=(3, n)).astype(np.float32)
    cleaned = clean(signal[None], np.ones((1, 3), bool), np.array([[0, n]]), rate)
    band, first, last = qrs_band_of(signal, rate)
    np.testing.assert_array_equal(band, cleaned.qrs_band[0])
    assert (first, last) == (cleaned.first[0], cleaned.last[0])
