"""Medians and percentiles of long rows against numpy's own."""

import numpy as np
import pytest

from modeling_ecgclip.middles_ecgclip import middle_of_rows, percentile_of_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 100, 101, 4000])
def test_as_numpy(n, dtype):
    values = np.random.default_rng(n).normal(size=(5, n)).astype(dtype)
    # Of the last, every 15th sample of 4,000 is the same: what is looked at first says nothing about the rest.
    periodic = np.where(np.arange(n) % 15 == 0, values.max(), values).astype(dtype)
    for rows in (values, np.round(values, 1), np.zeros_like(values), np.sort(values, axis=1), periodic):
        found = middle_of_rows(rows)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.median(rows, axis=1, keepdims=True))
        for percent in (0, 50, 99, 100):
            expected = np.percentile(rows, percent, axis=1)
            np.testing.assert_allclose(percentile_of_rows(rows, percent), expected, rtol=1e-6, atol=1e-7)
