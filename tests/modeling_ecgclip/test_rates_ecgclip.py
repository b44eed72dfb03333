"""Ratios of sampling rates: exact where they are simple, cheap and true to a hundredth of a sample where not."""

import numpy as np
import pytest
import scipy.signal

from modeling_ecgclip.limits_ecgclip import MAX_RATIO_TERM
from modeling_ecgclip.rates_ecgclip import (
    MAX_DRIFT_SAMPLES,
    MAX_EXACT_TERM,
    rational_rate_ratio,
    resampling_products,
    roundest_between,
)


@pytest.mark.parametrize(
    ("rate", "ratio"),
    [
        (500, (4, 5)), (400, (1, 1)), (360, (10, 9)), (257, (400, 257)), (977, (400, 977)), (1000, (2, 5)),
        (100, (4, 1)), (2000, (1, 5)), (62.5, (32, 5)), (499.999, (4, 5)), (999.999, (2, 5)), (1000.001, (2, 5)),
        (333.333, (6, 5)), (250.0000001, (8, 5)),
    ],
)  # fmt: skip
def test_ten_seconds_to_400_hz(rate, ratio):
    assert rational_rate_ratio(rate, 400, round(10 * rate)) == ratio


def test_any_rate_and_length_stays_cheap_and_true():
    generator = np.random.default_rng(0)
    drifts = []
    for rate in [*generator.uniform(10, 10_000, 300), 10, 10_000, 123.4567, np.pi * 100]:
        for seconds in (0.1, 1, 10, 600, 3600):
            n = max(1, round(seconds * rate))
            for target in (400, 100, 500):
                up, down = rational_rate_ratio(rate, target, n)
                n_out = n * target / rate
                drifts.append(abs(n * up / down - n_out))
                assert drifts[-1] <= max(0.25, n_out / MAX_RATIO_TERM), (rate, target, n)
                largest = min(2 * np.ceil(n * max(1, target / rate)), MAX_RATIO_TERM)
                assert max(up, down) <= max(MAX_EXACT_TERM, largest), (rate, target, n)
    assert np.mean(np.array(drifts) <= MAX_DRIFT_SAMPLES) > 0.9


@pytest.mark.parametrize("rate", [400.00008, 400.0004, 10.00001, 10_000 / 3, 399.9997])
def test_an_hour_at_a_rate_that_nobody_has_takes_no_long_filter(rate):
    n = round(3600 * rate)
    up, down = rational_rate_ratio(rate, 400, n)
    assert max(up, down) <= MAX_RATIO_TERM  # 400.00008 Hz would be 2,880,000 parts, and 57 million taps
    assert abs(n * up / down - n * 400 / rate) / (n * 400 / rate) <= 1 / MAX_RATIO_TERM


@pytest.mark.parametrize(
    ("rate", "products"), [(400, 0), (500, 12 * 4000 * 26), (100, 12 * 16_000 * 21), (1000, 12 * 1600 * 51)]
)
def test_the_work_of_resampling_is_counted(rate, products):
    n_taps = 20 * max(rational_rate_ratio(rate, 400, 5000 if rate != 100 else 4000)) + 1
    counted = resampling_products(12, 5000 if rate != 100 else 4000, rate, 400)
    assert counted == 0 if not products else products <= counted <= 1.3 * products + 50 * n_taps


@pytest.mark.parametrize("rate", [499.999, 500.004, 999.999, 333.333, 257.003, 499.98])
def test_a_resampled_wave_lies_where_it_did(rate):
    n = round(10 * rate)
    wave = np.sin(2 * np.pi * 25 * np.arange(n) / rate)  # as steep as a QRS complex: a millivolt in 6 ms
    resampled = scipy.signal.resample_poly(wave, *rational_rate_ratio(rate, 400, n), window=("kaiser", 8.0))
    true = np.sin(2 * np.pi * 25 * np.arange(len(resampled)) / 400)
    assert np.abs(resampled - true)[50:-50].max() < 0.015


@pytest.mark.parametrize(
    ("low", "high", "roundest"),
    [
        (359.99, 360.02, 360), (256.98, 257.01, 257), (976.99, 977.02, 977), (399.97, 400.01, 400), (470, 530, 500),
        (240, 260, 250), (499.99981, 499.99985, 499.9998), (62.49, 62.51, 62.5), (900, 1100, 1000), (512, 512, 512),
        (333.33325, 333.33335, 333.3333), (2 / 3, 2 / 3, 2 / 3),
    ],
)  # fmt: skip
def test_roundest(low, high, roundest):
    assert roundest_between(low, high) == pytest.approx(roundest, rel=3e-7)
    assert low <= roundest_between(low, high) <= high
