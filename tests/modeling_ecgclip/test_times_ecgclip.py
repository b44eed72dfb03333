"""Rates from printed times, and what printed times say besides."""

import numpy as np
import pytest

from modeling_ecgclip.times_ecgclip import axis_of_counts, axis_of_times, rises_evenly


def printed(times, pattern="%.3f"):
    return [pattern % time for time in times]


def axis(cells, unit="s", **options):
    return axis_of_times(cells, unit, "time", "a.csv", 2, **options)


@pytest.mark.parametrize("rate", [360, 257, 512, 977, 400, 500, 1000, 128, 250, 62.5, 100, 2000, 333])
@pytest.mark.parametrize("pattern", ["%.3f", "%.4f", "%.6f", "%g", "%.18e", "%s"])
@pytest.mark.parametrize("start", [0, 7.5])
def test_ten_seconds_at_any_rate_and_precision(rate, pattern, start):
    times = start + np.arange(round(10 * rate)) / rate
    found = axis(printed(times.tolist(), pattern))
    assert found.slowest <= rate <= found.fastest
    # Six significant digits of later times are too coarse to tell apart what lies this close.
    assert found.rate == pytest.approx(rate, rel=1e-5 if pattern == "%g" and start else 1e-12)
    np.testing.assert_array_equal(found.positions, np.arange(len(times)))


@pytest.mark.parametrize("truncate", [np.floor, np.ceil, np.rint])
def test_times_cut_or_rounded(truncate):
    for rate in (360, 257, 977):
        cells = printed(truncate(np.arange(10 * rate) / rate * 1000) / 1000)
        assert axis(cells).rate == rate


def test_times_kept_as_float32():
    times = (np.arange(5000) / 500).astype(np.float32).astype(float)
    assert axis([repr(time) for time in times.tolist()]).rate == 500


def test_an_odd_rate_is_as_odd_as_it_was_printed():
    assert axis(printed(np.arange(5000) / 499.9998, "%.6f")).rate == 499.9998
    assert axis(printed(np.arange(5000) / 499.9998, "%.3f")).rate == 500


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        (printed(np.arange(0, 1000, 2), "%d"), "ms"),
        (printed(np.arange(0, 1000, 2), "%d"), None),  # 0.5 Hz in seconds, half a megahertz in microseconds
        (printed(np.arange(500) / 500, "%.3f"), None),
        (printed(np.arange(0, 1_000_000, 2000), "%d"), None),
        ([f"0:00:{i / 500:06.3f}" for i in range(500)], None),
        ([f"2023-12-31 23:59:{59 + i // 500}.{i % 500 * 2:03d}" for i in range(500)], None),
        ([f"2024-02-29t00:00:00.{i * 2:03d}000-0330" for i in range(500)], None),
        ([f"59:{59 + i // 500}.{i % 500 * 2:03d}" for i in range(500)], None),
        (printed(1.7e9 + np.arange(500) / 500, "%.3f"), None),
        ([str(1_700_000_000_000_000_000 + i * 2_000_000) for i in range(500)], "ns"),
    ],
)
def test_units_and_clocks(cells, unit):
    assert axis(cells, unit).rate == 500


def test_steps_of_one_state_no_rate():
    found = axis(printed(np.arange(50), "%d"), None)
    assert not found.states_rate and len(found.positions) == 50
    assert axis(printed(np.arange(50), "%d"), "ms").rate == 1000


@pytest.mark.parametrize("rate", [500, 360, 977])
@pytest.mark.parametrize("pattern", ["%.3f", "%.6f"])
def test_lost_samples_are_positions_left_out(rate, pattern):
    kept = np.r_[0:1000, 1250:1600, 1700:3000]
    found = axis(printed(kept / rate, pattern))
    assert found.rate == rate
    np.testing.assert_array_equal(found.positions, kept)


def test_one_lost_sample():
    kept = np.delete(np.arange(2000), 700)
    np.testing.assert_array_equal(axis(printed(kept / 500)).positions, kept)


def test_blank_times_between_others():
    cells = printed(np.arange(100) / 500)
    cells[0] = cells[20] = cells[21] = cells[99] = ""
    found = axis(cells)
    assert found.rate == 500
    np.testing.assert_array_equal(found.positions, np.arange(100))


EVEN = np.arange(100) / 500


@pytest.mark.parametrize(
    ("times", "pattern", "message"),
    [
        (
            np.r_[EVEN[:50], EVEN[10], EVEN[51:]],
            "%.3f",
            "row 52: the time column 'time' must rise.* found 0.020 after",
        ),
        (
            np.r_[EVEN[:50], EVEN[50] + 0.0007, EVEN[51:]],
            "%.4f",
            r"row 52: .* rise evenly, by 0.002 s: found 0.0027 s",
        ),
        (np.r_[EVEN[:50], EVEN[50:] + 0.003], "%.4f", r"row 52: .* rise evenly, by 0.002 s: found 0.005 s"),
        (np.r_[EVEN[:50], EVEN[49:]], "%.3f", r"row 52: .* rise evenly, by 0.002 s: found 0 s"),
        (np.zeros(50), "%.3f", "time column 'time' must rise"),
        (np.arange(5) / 500, "%.2f", "must rise"),
        (np.arange(12) / 500, "%.2f", r"too coarse to tell the rate: it may lie between \d+\.?\d* and \d+"),
        (np.random.default_rng(0).uniform(0, 0.004, 100).cumsum(), "%.6f", "rise evenly"),
        (EVEN[:1], "%.3f", "two times or more"),
    ],
)
def test_what_no_recorder_writes(times, pattern, message):
    with pytest.raises(ValueError, match=f"a.csv.*{message}"):
        axis(printed(times, pattern))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["0", "0.002", "x"], "row 4: expected a number in the column 'time': found 'x'"),
        (["0", "inf", "0.004"], "row 3: expected a number in the column 'time': found 'inf'"),
        (["0", "", "0.004", "0.006", "0.100"], "rise evenly"),
        (["", "", ""], "row 2: expected a number"),
        (["2020-01-32 00:00:00", "2020-01-32 00:00:01"], "row 2: expected a number"),
    ],
)
def test_cells_that_are_no_times(cells, message):
    with pytest.raises(ValueError, match=f"a.csv.*{message}"):
        axis(cells)


def test_an_hour_that_comes_twice_is_told_by_its_zone():
    clocks = [f"2024-10-27T02:59:59.{i * 2:03d}+02:00" for i in range(500)]
    assert axis([*clocks, *(f"2024-10-27T02:00:00.{i * 2:03d}+01:00" for i in range(500))], None).rate == 500
    with pytest.raises(ValueError, match="must rise from row to row"):
        axis([*clocks, *(f"2024-10-27T02:00:00.{i * 2:03d}+02:00" for i in range(500))], None)


def test_counts():
    np.testing.assert_array_equal(axis_of_counts(["7", "8", "", "10"], "n", "a.csv", 2).positions, range(4))
    np.testing.assert_array_equal(axis_of_counts(["7", "8", "9", "12"], "n", "a.csv", 2).positions, [0, 1, 2, 5])
    for cells, message in (
        (["1", "2", "2"], "row 4: .*to count the samples: found 2"),
        (["1", "2", "2.5"], "row 4"),
        (["0.5", "1.5"], "row 2"),
        (["0", "2", "4", "6"], "one by one: found steps of 2"),
        (["1", "2", "", "2"], "row 5"),
    ):
        with pytest.raises(ValueError, match=f"a.csv.*{message}"):
            axis_of_counts(cells, "n", "a.csv", 2)


def test_what_rises_evenly():
    assert rises_evenly(printed(np.arange(100) / 360)) and rises_evenly(printed(np.arange(100), "%d"))
    generator = np.random.default_rng(0)
    wave = np.sin(np.arange(100))
    for column in (wave, generator.normal(size=100), np.zeros(100), np.arange(100)[::-1], np.arange(4)):
        assert not rises_evenly(printed(column))
    assert not rises_evenly(["a"] * 9)
