"""When the rows of a table were sampled: the rate from a column of printed times, and where samples are missing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .limits_ecgclip import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE, shorten, spend_steps
from .rates_ecgclip import roundest_between


# How many of a unit of time make a second.
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
# `2024-01-31 12:00:00.250+01:00`, in lower case.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:t| +)(\d\d:\d\d:\d\d)([.,]\d+)?(z|[+-]\d\d:?\d\d)?")
# Where their seconds are counted from: early enough for every recording, late enough for many decimals.
_FIRST_DAY = datetime(1800, 1, 1, tzinfo=UTC)
# Times may have been kept as float32 before they were printed.
_FLOAT32_STEP = 2.0**-24
_STEPS_PER_CLOCK_TIME = 20
# Fewer rows without a gap tell no rate, and fewer rows in all may rise evenly by chance.
_MIN_STRETCH = 3
_MIN_EVEN_ROWS = 5
# Beyond this the printed times leave the rate open.
_MAX_RATE_SPREAD = 1.05


@dataclass(frozen=True)
class TimeAxis:
    """
    What one column says about the time of the rows.

    Args:
        column (`str`): Its name.
        positions (`np.ndarray` of shape `(rows,)`, int64): Which sample each row is, from 0; a lost one is skipped.
        slowest, fastest (`float`): Hz, between which the rate lies; 0 and infinity for a column that counts.
    """

    column: str
    positions: np.ndarray
    slowest: float = 0.0
    fastest: float = math.inf

    @property
    def states_rate(self) -> bool:
        """Whether the column states times, and does not only count."""
        return self.fastest < math.inf

    @property
    def rate(self) -> float:
        """The roundest rate that agrees with every printed time."""
        return roundest_between(self.slowest, self.fastest)


def axis_of_counts(cells: Sequence[str], column: str, where: str, first_row: int) -> TimeAxis:
    """
    Returns what a column of sample numbers says.

    Args: as in [`axis_of_times`]; a blank cell says nothing.

    Raises:
        `ValueError`: where the numbers do not rise by one, save where samples were lost; naming the row.
    """
    rows, values = _numbers(cells, column, where, first_row)
    steps = np.diff(values)
    wrong = np.flatnonzero((steps < np.diff(rows)) | (steps != np.round(steps)))
    if len(wrong) or values[0] != round(values[0]):
        row = int(rows[wrong[0] + 1 if len(wrong) else 0])
        raise ValueError(
            f"{where}, row {first_row + row}: expected the column {shorten(repr(column))} to count the samples: "
            f"found {shorten(cells[row])}"
        )
    if len(steps) and np.median(steps / np.diff(rows)) != 1:
        raise ValueError(
            f"{where}, row {first_row + 1}: expected the column {shorten(repr(column))} to count the samples one by "
            f"one: found steps of {np.median(steps):g}"
        )
    return TimeAxis(column, _spread(rows, (values - values[0]).astype(np.int64), len(cells), column, where, first_row))


def axis_of_times(cells: Sequence[str], unit: str | None, column: str, where: str, first_row: int) -> TimeAxis:
    """
    Returns what a column of printed times says about rate and lost samples.

    Each time is taken to be true to its last printed digit (or to the significant digits that the column has), so that
    times of 360 Hz that were printed to a millisecond give 360 Hz. Steps of several samples are samples that were
    lost.

    Args:
        cells (`list[str]`): As printed: numbers, or clock times as in `0:00:01.250`, with or without a date before
            (`2024-01-31 12:00:01.250`); a blank cell says nothing.
        unit (`str`, *optional*): One of `PER_SECOND`. Left out, it is the only one that gives a possible rate; steps
            of one may be milliseconds or a count, and state no rate.
        column (`str`), where (`str`), first_row (`int`): What errors call it.

    Raises:
        `ValueError`: for times that run backwards, stand still or are not evenly spaced; naming the row.
    """
    cells = [cell.lower() for cell in cells]
    if any(":" in cell for cell in cells):
        spend_steps(_STEPS_PER_CLOCK_TIME * len(cells), where)
        cells, unit = [_of_clock(cell) for cell in cells], "s"
    rows, values = _numbers(cells, column, where, first_row)
    if len(values) < 2:
        raise ValueError(f"{where}: expected two times or more in {shorten(repr(column))} to tell the rate")
    steps = np.diff(values)
    if np.any(steps < 0):
        row, before = rows[np.flatnonzero(steps < 0)[0] + 1], rows[np.flatnonzero(steps < 0)[0]]
        raise ValueError(
            f"{where}, row {first_row + row}: the time column {shorten(repr(column))} must rise from row to row: "
            f"found {shorten(cells[row])} after {shorten(cells[before])}"
        )
    if unit is None and np.all(steps == np.diff(rows)):
        return TimeAxis(column, np.arange(len(cells)))
    per_second = PER_SECOND[unit or _unit_of_steps(values, column, where)]
    times = (values - values[0]) / per_second
    slack = _printed_slack([cells[row] for row in rows.tolist()], values) / per_second
    positions, period = _even_positions(times, rows - rows[0], slack)
    if period is None or positions is None:
        at, step, usual = _odd_step(times, rows)
        raise ValueError(
            f"{where}, row {first_row + at}: expected the time {shorten(repr(column))} to rise evenly, by "
            f"{usual:.6g} s: found {step:.6g} s"
        )
    shortest, longest = period
    if shortest <= 0:
        raise ValueError(f"{where}: the time column {shorten(repr(column))} must rise from row to row")
    if longest > _MAX_RATE_SPREAD * shortest:
        raise ValueError(
            f"{where}: the printed times {shorten(repr(column))} are too coarse to tell the rate: it may lie between "
            f"{1 / longest:.4g} and {1 / shortest:.4g} Hz"
        )
    return TimeAxis(column, _spread(rows, positions, len(cells), column, where, first_row), 1 / longest, 1 / shortest)


def rises_evenly(cells: Sequence[str]) -> bool:
    """Returns whether printed numbers rise by the same step in every row, as times and counts do and no lead does."""
    try:
        rows, values = _numbers(cells, "", "", 0)
    except ValueError:
        return False
    if len(values) < _MIN_EVEN_ROWS or np.any(np.diff(values) < 0):
        return False
    period = _feasible_period(
        values - values[0], rows - rows[0], _printed_slack([cells[row] for row in rows.tolist()], values)
    )
    return period is not None and period[0] > 0


def _even_positions(
    times: np.ndarray, rows: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray | None, tuple[float, float] | None]:
    """Sample numbers of the rows that have a time, without lost samples if possible, and the periods that suit."""
    period = _feasible_period(times, rows, slack)
    if period is not None:
        return rows, period
    positions = _positions_with_gaps(times, slack) if len(rows) == rows[-1] + 1 else None
    return positions, None if positions is None else _feasible_period(times, positions, slack)


def _spread(
    rows: np.ndarray, positions: np.ndarray, n_rows: int, column: str, where: str, first_row: int
) -> np.ndarray:
    """Sample numbers of all rows, those without a time between their neighbours."""
    if len(rows) == n_rows:
        return positions
    if np.any(np.diff(positions) != np.diff(rows)):
        row = int(rows[np.flatnonzero(np.diff(positions) != np.diff(rows))[0] + 1])
        raise ValueError(
            f"{where}, row {first_row + row}: expected {shorten(repr(column))} in every row where samples were lost: "
            "found blank cells before"
        )
    return np.arange(n_rows)


def _feasible_period(times: np.ndarray, positions: np.ndarray, slack: np.ndarray) -> tuple[float, float] | None:
    """
    The periods with which every time lies within its slack of a straight line through the positions; None without any.

    A period fits where no two rows contradict: of the bounds that each row sets to the time of position 0, the
    greatest lower one is below the least upper one. Two rows that contradict say how far to move an end.
    """
    lower, upper = times - slack, times + slack
    span = positions[-1] - positions[0]
    shortest, longest = (lower[-1] - upper[0]) / span, (upper[-1] - lower[0]) / span
    tolerance = 1e-12 * float(times[-1])
    while (pair := _contradiction(lower, upper, positions, shortest, tolerance)) is not None:
        apart, bound = pair
        if apart <= 0 or bound > longest:
            return None
        shortest = bound
    while (pair := _contradiction(lower, upper, positions, longest, tolerance)) is not None:
        apart, bound = pair
        if apart >= 0 or bound < shortest:
            return None
        longest = bound
    return float(shortest), float(longest)


def _contradiction(
    lower: np.ndarray, upper: np.ndarray, positions: np.ndarray, period: float, tolerance: float
) -> tuple[int, float] | None:
    """How many positions the two rows lie apart that contradict a period most, and the period that suits both."""
    late = int(np.argmax(lower - positions * period))
    early = int(np.argmin(upper - positions * period))
    apart, rise = int(positions[late] - positions[early]), float(lower[late] - upper[early])
    if rise - apart * period <= tolerance:
        return None
    return apart, rise / apart if apart else math.nan


def _positions_with_gaps(times: np.ndarray, slack: np.ndarray) -> np.ndarray | None:
    """Sample numbers where some steps stand for several samples; None where the other steps tell no rate."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    is_gap = steps > max(1.5 * usual, usual + 2.001 * float(slack.max()))
    edges = np.flatnonzero(np.concatenate([[True], is_gap, [True]]))
    longest = int(np.argmax(np.diff(edges)))
    stretch = slice(edges[longest], edges[longest + 1])
    if not is_gap.any() or stretch.stop - stretch.start < _MIN_STRETCH:
        return None
    period = _feasible_period(times[stretch], np.arange(stretch.stop - stretch.start), slack[stretch])
    if period is None or period[0] <= 0:
        return None
    usual = 1 / roundest_between(1 / period[1], 1 / period[0])
    # Where each stretch begins, all of its times say together, to less than one of them does.
    starts = edges[:-1]
    within = np.arange(len(times)) - np.repeat(starts, np.diff(edges))
    begins = np.maximum.reduceat(times - slack - within * usual, starts)
    begins = (begins + np.minimum.reduceat(times + slack - within * usual, starts)) / 2
    firsts = np.round((begins - begins[0]) / usual).astype(np.int64)
    return np.repeat(firsts, np.diff(edges)) + within


def _odd_step(times: np.ndarray, rows: np.ndarray) -> tuple[int, float, float]:
    """The row whose step differs most from the usual one, its step and the usual step."""
    steps = np.diff(times) / np.diff(rows)
    usual = float(np.median(steps))
    off = np.abs(steps - usual)
    at = int(np.flatnonzero(off >= 0.999 * off.max())[0])  # of a late time also the next step is odd
    return int(rows[at + 1]), float(steps[at]), usual


def _unit_of_steps(values: np.ndarray, column: str, where: str) -> str:
    """The only unit of time in which such steps are a rate that recorders have."""
    usual = float(np.median(np.diff(values))) or float(values[-1] - values[0]) / (len(values) - 1)
    for unit, per_second in PER_SECOND.items():
        if usual > 0 and MIN_SAMPLING_RATE < per_second / usual <= MAX_SAMPLING_RATE:
            return unit
    raise ValueError(
        f"{where}: expected the time {shorten(column)!r} to rise by a recorder's interval, in seconds or parts of them"
        f": found {usual:g}"
    )


def _printed_slack(cells: Sequence[str], values: np.ndarray) -> np.ndarray:
    """By how much each value may differ from the true one, in its unit: half of the last digit that was printed."""
    decimals = digits = 0
    for cell in cells:
        mantissa, _, exponent = cell.partition("e") if "e" in cell else (cell, "", "")
        point = mantissa.find(".")
        fraction = len(mantissa) - point - 1 if point >= 0 else 0
        decimals = max(decimals, fraction - int(exponent or 0))
        significant = mantissa.lstrip("+-0.")
        digits = max(digits, len(significant) - ("." in significant))
    magnitude = np.floor(np.log10(np.maximum(np.abs(values), 1e-300)))
    of_digits = 0.5 * 10.0 ** np.minimum(magnitude + 1 - digits, 300)
    # What floating point makes of a number, and of its difference from the first one.
    rounding = 4 * np.spacing(np.abs(values)) + _FLOAT32_STEP * np.abs(values - values[0])
    return np.maximum(0.5 * 10.0**-decimals, of_digits) + rounding


def _numbers(cells: Sequence[str], column: str, where: str, first_row: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have a number, and the numbers, float64; a cell that is neither blank nor a number is refused."""
    try:
        rows, values = np.arange(len(cells)), np.array(list(map(float, cells)))
    except ValueError:
        rows = np.array([row for row, cell in enumerate(cells) if cell.strip()], dtype=np.int64)
        values = np.array([_or_nan(cells[row]) for row in rows.tolist()])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong) or not len(values):
        row = int(rows[wrong[0]]) if len(wrong) else 0
        raise ValueError(
            f"{where}, row {first_row + row}: expected a number in the column {shorten(repr(column))}: "
            f"found {shorten(repr(cells[row]))}"
        )
    return rows, values


def _or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _of_clock(cell: str) -> str:
    """`1:02:03.5`, with or without a date before, as seconds with as many decimals; anything else as it is."""
    stamp = _STAMP.fullmatch(cell.strip())
    if stamp is not None:
        return _of_stamp(*stamp.groups()) or cell
    parts = cell.strip().split(":")
    *higher, seconds = parts
    if len(parts) > 3 or not all(part.strip().isdigit() for part in higher) or not seconds[:1].isdigit():
        return cell
    whole, point, fraction = seconds.partition(".")
    if not whole.isdigit() or (point and not fraction.isdigit()):
        return cell
    total = 0
    for part in (*higher, whole):
        total = 60 * total + int(part)
    return f"{total}{point}{fraction}"


def _of_stamp(day: str, clock: str, fraction: str | None, zone: str | None) -> str | None:
    """Seconds with as many decimals; None where there is no such time."""
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{(zone or 'z').upper()}")
    except ValueError:
        return None
    seconds = round((whole - _FIRST_DAY).total_seconds())
    return f"{seconds}{(fraction or '').replace(',', '.')}" if seconds >= 0 else None


__all__ = ["PER_SECOND", "TimeAxis", "axis_of_counts", "axis_of_times", "rises_evenly"]
