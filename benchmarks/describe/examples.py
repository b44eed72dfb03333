"""Real exams described, beside their traces: contact sheets, and the texts in Markdown on the standard output.

    python benchmarks/describe/examples.py --tables described_pt described_en --output docs/figures/descriptions.png

Both tables are of the same exams, described with the same wording in two languages.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.writing import written_aside
from data_scripts.tables.schema import MICROVOLTS_PER_MILLIVOLT, load_exam_table


COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
ROW_MV, LIMIT_MV = 2.2, 2.0
PANELS_ACROSS = 3
COLOURS = 16  # of the picture: lines on white need no more


def trace(row: dict[str, Any]) -> tuple[dict[str, np.ndarray], int]:
    """Returns the recorded millivolts of an exam by lead, without their median, and its Hz."""
    leads, rate = row["lead_names"], row["sampling_rate"]
    ecg = np.array(row["ecg"], dtype=np.float32).reshape(len(leads), -1) / MICROVOLTS_PER_MILLIVOLT
    start = (ecg.shape[1] - row["n_samples"]) // 2
    ecg = ecg[:, start : start + row["n_samples"]]
    return dict(zip(leads, ecg - np.median(ecg, axis=1, keepdims=True), strict=True)), rate


def draw(axes: Axes, row: dict[str, Any], title: str) -> None:
    """Draws twelve leads in four columns, a quarter of the recording each, and the whole of lead II below."""
    leads, rate = trace(row)
    seconds = len(leads["II"]) / rate
    quarter = seconds / len(COLUMNS)
    for column, names in enumerate(COLUMNS):
        begin, end = (round((column + more) * quarter * rate) for more in (0, 1))
        for place, name in enumerate(names):
            _line(axes, np.arange(begin, end) / rate, leads[name][begin:end], place, name)
    _line(axes, np.arange(len(leads["II"])) / rate, leads["II"], len(COLUMNS[0]), "II")
    for column in range(1, len(COLUMNS)):
        axes.axvline(column * quarter, ymin=0.25, color="0.8", linewidth=0.5)
    axes.set(xlim=(0, seconds), ylim=(-3 * ROW_MV - 1.2, 1.9), xticks=[], yticks=[])
    axes.set_title(title, fontsize=7, loc="left", pad=2)


def _line(axes: Axes, at: np.ndarray, millivolts: np.ndarray, place: int, name: str) -> None:
    axes.plot(at, np.clip(millivolts, -LIMIT_MV, LIMIT_MV) - place * ROW_MV, color="black", linewidth=0.4)
    axes.text(at[0], 0.55 - place * ROW_MV, f" {name}", fontsize=5)


def write_sheet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes the traces of exams as one PNG."""
    down = -(-len(rows) // PANELS_ACROSS)
    figure = Figure(figsize=(4.4 * PANELS_ACROSS, 2.1 * down), layout="constrained")
    grid = np.ravel(figure.subplots(down, PANELS_ACROSS, squeeze=False))
    for axes in grid[len(rows) :]:
        axes.set_axis_off()
    for axes, row in zip(grid, rows, strict=False):
        draw(axes, row, f"exam {row['exam_id']}, {row['n_samples'] / row['sampling_rate']:.0f} s")
    with written_aside(path) as aside:
        figure.savefig(aside, dpi=110)
        with Image.open(aside) as picture:
            few = picture.convert("L").quantize(COLOURS)
        few.save(aside, optimize=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the sheet and prints the texts."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/describe/examples.py", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--tables", nargs="+", required=True, help="described tables of the same exams")
    parser.add_argument("--output", type=Path, required=True, help="the picture: .png")
    arguments = parser.parse_args(argv)
    by_table = [list(chain(*load_exam_table(table).values())) for table in arguments.tables]
    write_sheet(by_table[0], arguments.output)
    for rows in zip(*by_table, strict=True):
        texts = [f"- {row['report']}" for row in rows]
        print("\n".join([f"**{rows[0]['exam_id']}**", "", *texts, ""]))


if __name__ == "__main__":
    main()
