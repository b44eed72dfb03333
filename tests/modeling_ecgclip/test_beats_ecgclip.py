"""The part of an ECG that beats are found in: alone as with all that is cleaned."""

import numpy as np
import pytest

from modeling_ecgclip import beats_ecgclip
from modeling_ecgclip.beats_ecgclip import clean, median, moving_mean, qrs_band_of


@pytest.mark.parametrize(("rate", "n"), [(400.0, 4096), (500.0, 5000), (257.0, 900), (100.0, 1000), (499.999, 3)])
def test_qrs_band_alone(rate, n):
    signal = np.random.default_rng(n).normal(size=(3, n)).astype(np.float32)
    cleaned = clean(signal[None], np.ones((1, 3), bool), np.array([[0, n]]), rate)
    band, first, last = qrs_band_of(signal, rate)
    np.testing.assert_array_equal(band, cleaned.qrs_band[0])
    assert (first, last) == (cleaned.first[0], cleaned.last[0])


@pytest.mark.parametrize(("rate", "n"), [(400.0, 4096), (500.0, 333), (500.0, 2), (500.0, 1), (250.0, 3), (400.0, 5)])
def test_ends_are_continued_as_numpy_does(rate, n):
    signal = np.random.default_rng(n).normal(size=(3, n)).astype(np.float32)
    filters = beats_ecgclip._filters(n, rate)
    edges = ((0, 0), (filters.edge, filters.edge))
    found = filters._continued(signal)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.pad(signal, edges, mode="reflect", reflect_type="odd"))


@pytest.mark.parametrize("mains", beats_ecgclip.MAINS_HZ)
def test_mains_leave_the_leads_that_have_them(mains):
    at = np.arange(4000) / 400
    plain = np.random.default_rng(0).normal(size=(3, 4000)).astype(np.float32)
    hum = plain.copy()
    hum[1] += np.sin(2 * np.pi * mains * at).astype(np.float32)
    of_plain, of_hum = (beats_ecgclip._filters(4000, 400.0).spectrum(one) for one in (plain, hum))
    np.testing.assert_array_equal(of_hum[[0, 2]], of_plain[[0, 2]])
    hertz = np.arange(of_hum.shape[1]) * (400 / beats_ecgclip._filters(4000, 400.0).total)
    near = (hertz > mains - 0.6) & (hertz < mains + 0.6)
    assert near.any() and not of_hum[1, near].any() and of_hum[1, ~near][1:].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (11, 40), (12, 41)])
def test_median_as_numpy(shape, dtype):
    values = np.random.default_rng(shape[0]).normal(size=shape).astype(dtype)
    for axis in (0, 1):
        np.testing.assert_array_equal(median(values, axis=axis), np.median(values, axis=axis))


@pytest.mark.parametrize("shape", [(1,), (30,), (500,), (3, 100)])
def test_moving_mean_holds_the_ends(shape):
    signal = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    held = np.pad(signal, [(0, 0)] * (len(shape) - 1) + [(22, 22)], mode="edge").astype(np.float64)
    expected = np.lib.stride_tricks.sliding_window_view(held, 45, axis=-1).mean(axis=-1)
    found = moving_mean(signal, 45)
    assert found.shape == shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
