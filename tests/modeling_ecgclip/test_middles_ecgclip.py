"""Medians and percentiles of long rows against numpy's own."""

import numpy as np
import pytest

from modeling_ecgclip.middles_ecgclip import middle_of_rows, percentile_of_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 100, 101, 4000, 4001])
def test_as_numpy(n, dtype):
    values = np.random.default_rng(n).normal(size=(5, n)).astype(dtype)
    periodic = np.where(np.arange(n) % 15 == 0, values.max(), values).astype(dtype)
    constant, two_values = np.zeros_like(values), np.sign(values)
    constant[1] = -0.0
    for rows in (values, np.round(values, 1), constant, two_values, np.sort(values, axis=1), periodic, values[:1]):
        before = rows.copy()
        found = middle_of_rows(rows)
        assert found.dtype == dtype
        np.testing.assert_array_equal(rows, before)
        np.testing.assert_array_equal(found, np.median(rows, axis=1, keepdims=True))
        for percent in (0, 50, 99, 100):
            expected = np.percentile(rows, percent, axis=1)
            np.testing.assert_allclose(percentile_of_rows(rows, percent), expected, rtol=1e-6, atol=1e-7)
