"""What stage 1 may learn beside the texts: what `data_scripts.measure` measured of each ECG, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from data_scripts.measure import EXAM_TABLE_KEY, WAVES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from training.data import ExamTable


INTERVALS = (
    *("heart_rate_bpm", "rr_ms", "rr_sd_ms", "p_ms", "pr_ms", "qrs_ms", "qrs_all_leads_ms", "qt_ms"),
    "qtc_fridericia_ms",
)
AXES = ("p_axis_deg", "qrs_axis_deg", "t_axis_deg")
RHYTHM = ("irregularity", "p_before_qrs", "p_likeness", "tp_power", "ectopic_beats", "premature_beats", "paced_beats")
OF_LEADS = tuple(f"{wave}_{lead}" for wave in WAVES for lead in LEAD_NAMES)
# An axis is two numbers: -179 and 179 degrees are neighbours.
PARTS_OF_AXIS = {"cos": np.cos, "sin": np.sin}


@dataclass(frozen=True, eq=False)
class Measurements:
    """
    What was measured of exams.

    Args:
        names (`tuple[str]`): Of the numbers.
        values (`np.ndarray` of shape `(rows, numbers)`, float32):
            In the units of `EcgMeasurements`, NaN where unknown.
        row_of_exam (`dict[str, int]`): By exam id.
    """

    names: tuple[str, ...]
    values: np.ndarray
    row_of_exam: dict[str, int]

    def of(self, exam_ids: Sequence[str]) -> np.ndarray:
        """Returns the numbers of exams, float32 (exams, numbers); NaN for those that could not be measured."""
        rows = np.array([self.row_of_exam.get(exam_id, -1) for exam_id in exam_ids])
        return np.where(rows[:, None] >= 0, self.values[rows], np.float32(np.nan))


def load_measurements(path: str, table: ExamTable) -> Measurements:
    """
    Returns what `data_scripts.measure --waves` wrote of an exam table.

    Args:
        path (`str`): Its Parquet file; each page is compared with its checksum.
        table (`ExamTable`): That was measured.

    Raises:
        `FileNotFoundError`: where there is none.
        `ValueError`: for a file of another kind, a damaged one, or one of another table; the message has the command
            that makes it.
    """
    made = f"python -m data_scripts.measure --dataset_name_or_path {table.name_or_path} --output_file {path} --waves"
    made = f"--measurements {path} is made by {made}"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{made}: no such file")
    columns = ["exam_id", *INTERVALS, *AXES, *RHYTHM, *OF_LEADS]
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.schema_arrow
            missing = [name for name in columns if name not in found.names]
            if missing:
                raise ValueError(f"{made}: expected a column {missing[0]}, found none")
            rows = file.read(columns)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{made}: not a whole Parquet file: {error}") from error
    digest = (found.metadata or {}).get(EXAM_TABLE_KEY, b"").decode()
    stated = (table.record or {}).get("digest")
    if digest and stated and digest != stated:
        raise ValueError(f"{made}: expected measurements of this exam table, found those of another")
    return _as_numbers(rows)


def _as_numbers(rows: pa.Table) -> Measurements:
    def column(name: str) -> np.ndarray:
        return rows.column(name).cast(pa.float32()).to_numpy()  # null becomes NaN

    numbers = {name: column(name) for name in (*INTERVALS, *RHYTHM, *OF_LEADS)}
    numbers |= {f"{part}_{name}": of(np.radians(column(name))) for name in AXES for part, of in PARTS_OF_AXIS.items()}
    ids = rows.column("exam_id").to_pylist()
    values = np.stack(list(numbers.values()), axis=1).astype(np.float32)
    return Measurements(tuple(numbers), values, {exam_id: row for row, exam_id in enumerate(ids)})


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of each number over exams, (numbers,); 0 and 1 where nothing is known."""
    known = ~np.isnan(values)
    count = known.sum(axis=0).clip(min=1)
    mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / count
    spread = np.sqrt((np.where(known, values - mean, 0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 0, spread, 1)
