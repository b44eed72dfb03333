"""LUDB's marks beside measured ones: waves found, errors of onsets and offsets, intervals, rate.

The first and the last beats of its records are not marked, so that only what lies between the first and the last mark
of a lead counts as found too much.
"""

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import wfdb

from modeling_ecgclip.measurements_ecgclip import EcgMeasurements
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


WAVES = {"p": "P", "N": "QRS", "t": "T"}  # LUDB's symbols, in the order of our marks
TOLERANCE_S = 0.15  # ANSI/AAMI EC57
INTERVALS = ("pr_ms", "qrs_ms", "qt_ms")
Mark = tuple[str, float, float, float]  # symbol, onset, peak and offset in seconds; NaN where not marked


@dataclass(frozen=True, kw_only=True)
class Marked:
    """
    What is known of a record.

    Args:
        number (`int`): Tells it from the others.
        marks (`list[list[Mark]]`): For each lead; none in a lead without contact.
        intervals (`dict[str, float]`):
            Median over the leads of the medians over the beats; what is undefined is absent.
    """

    number: int
    marks: list[list[Mark]]
    intervals: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Ludb(Marked):
    """
    One record of LUDB, numbered from 1 on.

    Args:
        signal (`np.ndarray` of shape `(12, samples)`), rate (`float`): As recorded, each lead scaled to 1 mV; Hz.
        diagnoses (`str`): As the record states them.
    """

    signal: np.ndarray
    rate: float
    diagnoses: str


def read_ludb(folder: Path) -> list[Ludb]:
    """The records that `reference_intervals.csv` lists."""
    found = []
    with (folder / "reference_intervals.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = str(folder / "data" / row["record"])
            record = wfdb.rdrecord(path)
            names = [name.lower() for name in LEAD_NAMES]
            order = [record.sig_name.index(name) for name in names]
            marks = [_marks(wfdb.rdann(path, name), record.fs) for name in names]
            stated = {name: row[f"{name}_median_leads"] for name in INTERVALS}
            intervals = {name: float(value) for name, value in stated.items() if value}
            found.append(
                Ludb(
                    number=int(row["record"]),
                    marks=marks,
                    intervals=intervals,
                    signal=record.p_signal.T[order],
                    rate=record.fs,
                    diagnoses=row["diagnoses"],
                )
            )
    return found


def _marks(annotation: wfdb.Annotation, rate: float) -> list[Mark]:
    symbols, times = annotation.symbol, annotation.sample / rate
    marks = []
    for at, symbol in enumerate(symbols):
        if symbol in WAVES:
            onset = times[at - 1] if at and symbols[at - 1] == "(" else np.nan
            offset = times[at + 1] if at + 1 < len(symbols) and symbols[at + 1] == ")" else np.nan
            marks.append((symbol, onset, times[at], offset))
    return marks


@dataclass
class Scores:
    """
    Waves found, and errors in milliseconds.

    Args:
        counts (`dict[tuple[str, int], np.ndarray]`): By wave and lead: found, found too much, missed.
        errors (`dict[tuple[str, str], list[float]]`): By wave and point: ours minus the mark.
    """

    counts: dict[tuple[str, int], np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(3, int)))
    errors: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def rates(self, wave: str, leads: Iterable[int] = range(12)) -> tuple[float, float, float]:
        """Sensitivity, positive predictive value and F1 of a wave over some leads."""
        found, much, missed = np.sum([self.counts[wave, lead] for lead in leads], axis=0)
        return (
            found / max(found + missed, 1),
            found / max(found + much, 1),
            2 * found / max(2 * found + much + missed, 1),
        )


def score(records: Iterable[Marked], marks_s: Mapping[int, np.ndarray]) -> Scores:
    """
    Compares marks with those that are known; leads without any are passed over.

    Args:
        records (`list[Marked]`): Records.
        marks_s (`dict[int, np.ndarray]` of arrays of shape `(beats, 12, 3, 3)`): As `EcgMeasurements.marks_s`.
    """
    scores = Scores()
    for record in records:
        ours = marks_s[record.number]
        for lead, marks in enumerate(record.marks):
            if not marks:
                continue
            begin = np.nanmin([mark[1:3] for mark in marks])
            end = np.nanmax([mark[2:4] for mark in marks])
            for column, (symbol, wave) in enumerate(WAVES.items()):
                true = np.array([mark[1:] for mark in marks if mark[0] == symbol]).reshape(-1, 3)
                found = ours[:, lead, column]
                found = found[np.isfinite(found[:, 1])]
                pairs = _pairs(true[:, 1], found[:, 1])
                alone = np.ones(len(found), dtype=bool)
                alone[[other for _, other in pairs]] = False
                much = alone & (found[:, 1] >= begin) & (found[:, 1] <= end)
                scores.counts[wave, lead] += [len(pairs), much.sum(), len(true) - len(pairs)]
                for one, other in pairs:
                    for point, place in (("onset", 0), ("peak", 1), ("offset", 2)):
                        error = 1000 * (found[other, place] - true[one, place])
                        if np.isfinite(error):
                            scores.errors[wave, point].append(error)
    return scores


def _pairs(true: np.ndarray, found: np.ndarray) -> list[tuple[int, int]]:
    """Nearest first, each at most once, within the tolerance."""
    apart = np.abs(true[:, None] - found)
    near = sorted(zip(*np.nonzero(apart <= TOLERANCE_S), strict=True), key=lambda pair: apart[pair])
    ones, others, pairs = set(), set(), []
    for one, other in near:
        if one not in ones and other not in others:
            ones.add(one)
            others.add(other)
            pairs.append((int(one), int(other)))
    return pairs


def global_errors(
    records: Iterable[Marked], measured: Mapping[int, dict[str, float | None]]
) -> dict[str, dict[int, float]]:
    """By interval and record, ours minus the marks' median over the leads; what either lacks is absent."""
    return {
        name: {
            record.number: value - record.intervals[name]
            for record in records
            if name in record.intervals and (value := measured[record.number].get(name)) is not None
        }
        for name in INTERVALS
    }


def rate_errors(records: Iterable[Ludb], measured: Mapping[int, EcgMeasurements]) -> list[float]:
    """Heart rate between the first and the last marked QRS of lead II, ours minus the marks', in beats per minute."""
    errors = []
    for record in records:
        true = np.array([mark[2] for mark in record.marks[1] if mark[0] == "N"])
        ours = measured[record.number].beats_s
        ours = ours[(ours > true[0] - 0.1) & (ours < true[-1] + 0.1)]
        rates = [
            60 * (len(places) - 1) / (places[-1] - places[0]) if len(places) > 1 else np.inf for places in (ours, true)
        ]
        errors.append(rates[0] - rates[1])
    return errors


def median_intervals(marks: np.ndarray) -> dict[str, float | None]:
    """Intervals of marks of shape `(beats, leads, 3, 3)`, in seconds: medians over beats, then over leads."""
    ends = {"pr_ms": ((0, 0), (1, 0)), "qrs_ms": ((1, 0), (1, 2)), "qt_ms": ((1, 0), (2, 2))}
    found: dict[str, float | None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of leads without any
        for name, (begin, end) in ends.items():
            of_leads = np.nanmedian(marks[:, :, end[0], end[1]] - marks[:, :, begin[0], begin[1]], axis=0)
            middle = float(np.nanmedian(of_leads)) * 1000
            found[name] = middle if np.isfinite(middle) else None
    return found
