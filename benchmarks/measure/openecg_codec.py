"""The same waves and intervals by openecg's codec of single leads, as its documentation shows.

Not a dependency: `pip install --no-deps openecg opendsp`; it runs by onnxruntime. It was trained on LUDB too.
"""

from functools import cache

import numpy as np
import openecg
from openecg.deploy import OnnxCodec

from benchmarks.measure.ludb import WAVES, Ludb, median_intervals


@cache
def _codec() -> OnnxCodec:
    return OnnxCodec()


def delineated(record: Ludb) -> tuple[np.ndarray, dict[str, float | None]]:
    """
    Returns the marks of one record, in seconds, `(beats, 12, 3, 3)`, and its intervals: medians over beats, then
    leads.

    It gives no peaks: the middle stands for them.
    """
    of_leads = []
    for lead in record.signal:
        found = openecg.encode(lead.astype(np.float32), fs=int(record.rate), model=_codec())
        of_leads.append(_beats(found.events("frame", drop_class=0)) / record.rate)
    marks = np.full((max(map(len, of_leads)), 12, 3, 3), np.nan)
    for lead, points in enumerate(of_leads):
        marks[: len(points), lead] = points
    return marks, median_intervals(marks)


def _beats(events: list[tuple[int, int, int]]) -> np.ndarray:
    """Waves of kind 1 (P), 2 (QRS), 3 (T) or 4 (paced QRS): a beat begins where a wave can't follow the one before."""
    beats: list[np.ndarray] = []
    last = len(WAVES)
    for begin, end, kind in events:
        wave = {1: 0, 2: 1, 3: 2, 4: 1}[kind]
        if wave <= last:
            beats.append(np.full((3, 3), np.nan))
        beats[-1][wave] = begin, (begin + end) / 2, end
        last = wave
    return np.array(beats).reshape(-1, 3, 3)
