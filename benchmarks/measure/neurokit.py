"""The same waves and intervals by neurokit2, lead by lead, as its documentation shows."""

import warnings

import neurokit2
import numpy as np

from benchmarks.measure.ludb import Ludb, median_intervals


METHODS = ("dwt", "cwt", "peak")
_KEYS = (("P", "ECG_P"), ("R", "ECG_R"), ("T", "ECG_T"))


def delineated(record: Ludb, method: str) -> tuple[np.ndarray, dict[str, float | None]]:
    """
    Returns the marks of one record, in seconds, `(beats, 12, 3, 3)`, and its intervals: medians over beats, then
    leads.

    A lead in which neurokit2 fails has no marks.
    """
    rate = int(record.rate)
    of_leads = []
    for lead in record.signal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                cleaned = neurokit2.ecg_clean(lead, sampling_rate=rate)
                _, peaks = neurokit2.ecg_peaks(cleaned, sampling_rate=rate)
                places = np.asarray(peaks["ECG_R_Peaks"])
                _, waves = neurokit2.ecg_delineate(cleaned, places, sampling_rate=rate, method=method)
            except (ValueError, IndexError, KeyError, ZeroDivisionError, TypeError):
                places, waves = np.zeros(0, int), {}
        of_leads.append(_points(places, waves) / rate)
    marks = np.full((max(len(points) for points in of_leads), 12, 3, 3), np.nan)
    for lead, points in enumerate(of_leads):
        marks[: len(points), lead] = points
    return marks, median_intervals(marks)


def _points(places: np.ndarray, waves: dict[str, list[float]]) -> np.ndarray:
    points = np.full((len(places), 3, 3), np.nan)
    for row, (_, key) in enumerate(_KEYS):
        for column, point in enumerate(("Onsets", "Peaks", "Offsets")):
            values = places if (key, point) == ("ECG_R", "Peaks") else waves.get(f"{key}_{point}", [])
            values = np.asarray(values, dtype=float)[: len(places)]
            points[: len(values), row, column] = values
    return points
