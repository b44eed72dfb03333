"""ECGs with the marks of cardiologists and ours, for looking at what went wrong."""

from pathlib import Path

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
import numpy as np  # noqa: E402

from benchmarks.measure.ludb import WAVES, Ludb  # noqa: E402
from common.writing import written_aside  # noqa: E402
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements  # noqa: E402
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES  # noqa: E402


LEADS = ("I", "II", "aVL", "V1", "V2", "V5")
COLOURS = {"P": "tab:purple", "QRS": "tab:red", "T": "tab:green"}
VIEW_S = (-0.4, 0.7)


def draw(path: Path, records: list[tuple[Ludb, str]], measured: dict[int, EcgMeasurements]) -> None:
    """
    Draws one beat of each record, with the cardiologists' onsets and offsets as lines and ours as triangles.

    Args:
        path (`Path`): PNG.
        records (`list[tuple[Ludb, str]]`): Records, and what their rows are called.
        measured (`dict[int, EcgMeasurements]`): By record.
    """
    figure, axes = plt.subplots(len(records), len(LEADS), figsize=(18, 1.9 * len(records)), squeeze=False)
    for row, (record, title) in zip(axes, records, strict=True):
        ours = measured[record.number]
        beat = _middle_beat(ours)
        seconds = np.arange(record.signal.shape[1]) / record.rate - ours.beats_s[beat]
        shown = (seconds > VIEW_S[0]) & (seconds < VIEW_S[1])
        for axis, name in zip(row, LEADS, strict=True):
            lead = LEAD_NAMES.index(name)
            axis.plot(seconds[shown], record.signal[lead, shown], color="black", linewidth=0.8)
            low = record.signal[lead, shown].min()
            for column, (symbol, wave) in enumerate(WAVES.items()):
                for mark in record.marks[lead]:
                    for at in (mark[1], mark[3]):
                        if mark[0] == symbol and VIEW_S[0] < at - ours.beats_s[beat] < VIEW_S[1]:
                            axis.axvline(at - ours.beats_s[beat], color=COLOURS[wave], linewidth=0.8)
                points = ours.marks_s[beat, lead, column, [0, 2]] - ours.beats_s[beat]
                axis.plot(points, [low, low], "^", color=COLOURS[wave], markersize=5)
            axis.set_yticks([])
            axis.tick_params(labelsize=6)
        row[0].set_title(title, loc="left", fontsize=8)
    for axis, name in zip(axes[0], LEADS, strict=True):
        axis.text(0.98, 0.9, name, transform=axis.transAxes, ha="right", fontsize=9)
    figure.tight_layout(h_pad=0.3)
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=60, format="png")
    plt.close(figure)


def _middle_beat(measured: EcgMeasurements) -> int:
    dominant = [at for at, kind in enumerate(measured.beat_kinds) if kind == "dominant"]
    return dominant[len(dominant) // 2]
