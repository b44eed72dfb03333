"""A cohort on disk, in the layout in which CODE-15% is published, with reports and the truth beside it."""

import csv
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from common.checksums import write_checksums
from common.locks import only_writer
from common.writing import written_aside
from data_scripts.simulate.exam import (
    ID_STRIDE,
    Measurements,
    SimulatedExam,
    check_report_language,
    check_report_reader,
    check_seed,
    simulate_exam,
)
from data_scripts.simulate.findings import FindingShares
from data_scripts.simulate.marks_table import MARKS_SCHEMA, marks_table
from data_scripts.simulate.noise import banks
from data_scripts.simulate.physiology import TARGET_PREVALENCE, check_prevalence_scale
from data_scripts.simulate.reader import ReadExam
from data_scripts.simulate.streams import Purpose, stream
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, N_SAMPLES


GENERATOR = "ecgclip simulator 3"
EXAM_COLUMNS = (
    "exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,death,timey,normal_ecg,trace_file"
).split(",")
REPORT_COLUMNS = ("exam_id", "report")
TRUTH_COLUMNS = tuple(field.name for field in fields(Measurements))
READ_COLUMNS = ("rhythm", "heart_rate", "pr_ms", "qrs_ms", "qtc_ms", "axis_deg")
MEASUREMENT_COLUMNS = (
    "exam_id",
    "n_samples",
    *TRUTH_COLUMNS,
    *(f"read_{n}" for n in READ_COLUMNS),
    "findings",
    "flaws",
)
# What an independent reader of the reports read, behind the rest: the columns before are the label's reading.
REPORT_READING_COLUMNS = (*(f"report_read_{n}" for n in READ_COLUMNS), "report_findings")
UNITS_PER_MV = 2.0  # CODE-15% stores twice the millivolts
CHUNK_EXAMS = 64  # exams in memory at a time
DEFAULT_EXAMS_PER_PART = 2000
COMPRESSIONS = ("none", "lzf", "gzip")


@dataclass(frozen=True)
class CohortSettings:
    """
    What defines a cohort; how many processes make it does not.

    Args:
        num_exams (`int`): 1 or more.
        seed (`int`): 0 or more.
        prevalence_scale (`float`, defaults to 1.0): multiplies CODE-15%'s prevalences.
        clean (`bool`, defaults to `False`): no noise, for measuring instruments.
        exams_per_part (`int`, defaults to 2000): exams in one HDF5 file.
        compression (`str`, defaults to `"none"`): of the tracings: `"none"` is fastest, `"lzf"` takes a third of the
            space, `"gzip"` a quarter (and is read outside h5py too).
        report_reader (`str`, defaults to `"shared"`): `"independent"`: reports come from another reading than labels.
        marks (`bool`, defaults to `False`): also write where P, QRS and T begin, peak and end in each beat and lead.
        report_language (`str`, defaults to `"pt"`): Portuguese, `"en"` for English, or `"both"`: every other exam's.
        finding_scale (`float`, defaults to 1.0): multiplies the shares of findings beside the six labels; 0: none.
        finding_shares (`dict`, *optional*): share of single kinds of `findings.KINDS`, in place of the scaled one.

    Raises:
        `ValueError`: for a value out of range.
    """

    num_exams: int
    seed: int
    prevalence_scale: float = 1.0
    clean: bool = False
    exams_per_part: int = DEFAULT_EXAMS_PER_PART
    compression: str = "none"
    report_reader: str = "shared"
    marks: bool = False
    report_language: str = "pt"
    finding_scale: float = 1.0
    finding_shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_prevalence_scale(self.prevalence_scale)
        check_report_reader(self.report_reader)
        check_report_language(self.report_language)
        _ = self.shares  # refuses unknown kinds
        if not 1 <= self.num_exams < ID_STRIDE:
            raise ValueError(f"num_exams must lie in [1, {ID_STRIDE}), found {self.num_exams}")
        if self.exams_per_part < 1:
            raise ValueError(f"exams_per_part must be 1 or more, found {self.exams_per_part}")
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression must be one of {', '.join(COMPRESSIONS)}, found {self.compression!r}")

    @cached_property
    def shares(self) -> FindingShares:
        """How often findings are drawn."""
        return FindingShares.parse(self.finding_scale, self.finding_shares)

    @property
    def measurement_columns(self) -> tuple[str, ...]:
        """Columns of measurements.csv."""
        return MEASUREMENT_COLUMNS + (REPORT_READING_COLUMNS if self.report_reader == "independent" else ())


@dataclass(frozen=True)
class PartTask:
    """One HDF5 file to write: exams `start` to `stop` of the cohort."""

    settings: CohortSettings
    folder: str
    part: int
    start: int
    stop: int


PartRows = tuple[list[list], list[list], list[list]]  # rows of exams.csv, reports.csv and measurements.csv


def _trace_file(part: int) -> str:
    return f"exams_part{part}.hdf5"


def _exam_row(exam: SimulatedExam, seed: int, index: int, trace_file: str) -> list:
    """One row of exams.csv. What was followed up (death, years) is filled at the first exam only, as published."""
    rng = stream(seed, Purpose.TABLE, index)
    predicted_age, died, years = exam.age + rng.normal(0, 9), rng.random() < 0.003 * exam.age / 5, rng.uniform(0, 8)
    values = {
        "exam_id": exam.exam_id,
        "age": int(exam.age),
        "is_male": exam.is_male,
        "nn_predicted_age": f"{predicted_age:.5f}",
        **{name: bool(value) for name, value in exam.labels.items()},
        "patient_id": exam.patient_id,
        "death": bool(died) if exam.visit == 0 else "",
        "timey": f"{years:.6f}" if exam.visit == 0 else "",
        "normal_ecg": not exam.reading.findings,
        "trace_file": trace_file,
    }
    return [values[name] for name in EXAM_COLUMNS]


def _rounded(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else value


def _reading_cells(reading: ReadExam) -> list:
    return [*(_rounded(getattr(reading, name)) for name in READ_COLUMNS), " ".join(reading.findings)]


def _measurement_row(exam: SimulatedExam, settings: CohortSettings) -> list:
    truth = exam.measurements
    row = [
        exam.exam_id,
        exam.signal.shape[1],
        *(_rounded(getattr(truth, name)) for name in TRUTH_COLUMNS),
        *_reading_cells(exam.reading),
        " ".join(exam.flaws),
    ]
    return row + _reading_cells(exam.report_reading) if settings.report_reader == "independent" else row


def write_part(task: PartTask) -> PartRows:
    """
    Simulate the exams of one HDF5 file and write it.

    Args:
        task (`PartTask`): which exams, of which cohort, and where to.

    Returns:
        `PartRows`: rows of the three tables; those of exams.csv in another order than the tracings, as published.
    """
    settings, n = task.settings, task.stop - task.start
    trace_file = _trace_file(task.part)
    exam_rows, report_rows, measurement_rows = [], [], []
    storage = {"shuffle": True, "compression": settings.compression} if settings.compression != "none" else {}
    if settings.compression == "gzip":
        storage["compression_opts"] = 1
    with ExitStack() as stack:
        file = stack.enter_context(h5py.File(Path(task.folder) / trace_file, "w"))
        marks_file = None
        if settings.marks:
            path = Path(task.folder) / f"marks_part{task.part}.parquet"
            marks_file = stack.enter_context(
                pq.ParquetWriter(path, MARKS_SCHEMA, use_dictionary=["lead", "kind"], compression="zstd")
            )
        # The published files end in one row with exam_id 0 and zeros.
        ids = np.zeros(n + 1, dtype=np.int64)
        shape = (N_SAMPLES, len(LEAD_NAMES))
        tracings = file.create_dataset("tracings", (n + 1, *shape), "<f4", chunks=(1, *shape), **storage)
        chunk = np.zeros((min(CHUNK_EXAMS, n), *shape), dtype=np.float32)
        for begin in range(0, n, CHUNK_EXAMS):
            end = min(n, begin + CHUNK_EXAMS)
            chunk[:] = 0
            marked = []
            for row in range(begin, end):
                index = task.start + row
                exam = simulate_exam(
                    settings.seed,
                    index,
                    settings.prevalence_scale,
                    settings.clean,
                    settings.report_reader,
                    settings.marks,
                    settings.report_language,
                    settings.shares,
                )
                left = (N_SAMPLES - exam.signal.shape[1]) // 2
                np.multiply(exam.signal.T, UNITS_PER_MV, out=chunk[row - begin, left : left + exam.signal.shape[1]])
                ids[row] = exam.exam_id
                exam_rows.append(_exam_row(exam, settings.seed, index, trace_file))
                report_rows.append([exam.exam_id, exam.report])
                measurement_rows.append(_measurement_row(exam, settings))
                if exam.marks is not None:
                    marked.append((exam.exam_id, left, exam.marks))
            tracings[begin:end] = chunk[: end - begin]
            if marks_file is not None:
                marks_file.write_table(marks_table(marked))
        tracings[n] = np.zeros(shape, dtype=np.float32)
        file["exam_id"] = ids
    order = stream(settings.seed, Purpose.ORDER, task.part).permutation(n)
    return [exam_rows[k] for k in order], report_rows, measurement_rows


def _parts(tasks: list[PartTask], num_proc: int) -> Iterator[PartRows]:
    """Rows of all parts in order, made by `num_proc` processes."""
    banks()  # made before the processes part, so that those that share memory share the banks
    if num_proc == 1 or len(tasks) == 1:
        yield from map(write_part, tasks)
        return
    with multiprocessing.Pool(min(num_proc, len(tasks))) as pool:
        yield from pool.imap(write_part, tasks)


def write_cohort(
    output_dir: str | Path,
    settings: CohortSettings,
    num_proc: int = 1,
    progress: bool = True,
) -> dict:
    """
    Write a simulated cohort: exams.csv, exams_partN.hdf5, reports.csv, measurements.csv, simulation.json, SHA256SUMS.

    The same settings give the same data in every file, whatever `num_proc`. Memory does not grow with the
    number of exams.

    Args:
        output_dir (`str` or `Path`): appears when all is written. A folder there is replaced if it holds a simulation.
        settings (`CohortSettings`): what to simulate.
        num_proc (`int`, defaults to 1): processes; each HDF5 file is made by one of them.
        progress (`bool`, defaults to `True`): show a progress bar.

    Returns:
        `dict`: the content of simulation.json.

    Raises:
        `ValueError`: if `output_dir` holds something else than a simulation, or `num_proc` is below 1.
        `BlockingIOError`: where another process writes there.
    """
    output_dir = Path(output_dir)
    if num_proc < 1:
        raise ValueError(f"num_proc must be 1 or more, found {num_proc}")
    with only_writer(output_dir):
        _check_output_dir(output_dir)
        return _write_cohort(output_dir, settings, num_proc, progress)


def _check_output_dir(output_dir: Path) -> None:
    if output_dir.exists() and not (output_dir / "simulation.json").is_file() and any(output_dir.iterdir()):
        raise ValueError(
            f"{output_dir} is not empty and holds no simulation.json: expected a new folder or a simulation"
        )


def _write_cohort(output_dir: Path, settings: CohortSettings, num_proc: int, progress: bool) -> dict:
    """[`write_cohort`] into a folder that nobody else writes."""
    with written_aside(output_dir) as aside:
        aside.mkdir(parents=True)
        step = settings.exams_per_part
        tasks = [
            PartTask(settings, str(aside), part, start, min(settings.num_exams, start + step))
            for part, start in enumerate(range(0, settings.num_exams, step))
        ]
        positives: Counter[str] = Counter()
        n_patients = 0
        tables = {"exams": EXAM_COLUMNS, "reports": REPORT_COLUMNS, "measurements": settings.measurement_columns}
        with ExitStack() as stack:
            writers = []
            for name, columns in tables.items():
                file = stack.enter_context(open(aside / f"{name}.csv", "w", newline="", encoding="utf-8"))
                writers.append(csv.writer(file, lineterminator="\n"))
                writers[-1].writerow(columns)
            bar = stack.enter_context(tqdm(total=settings.num_exams, unit="exam", disable=not progress))
            for rows in _parts(tasks, num_proc):
                for writer, table in zip(writers, rows, strict=True):
                    writer.writerows(table)
                for row in rows[0]:
                    positives.update(name for name in LABEL_NAMES if row[EXAM_COLUMNS.index(name)])
                    n_patients += row[EXAM_COLUMNS.index("death")] != ""
                bar.update(len(rows[0]))
        summary = {
            "simulated": True,
            "generator": GENERATOR,
            **asdict(settings),
            "n_parts": len(tasks),
            "n_first_exams": n_patients,
            "positives": {name: positives[name] for name in LABEL_NAMES},
            "target_prevalence": {n: round(v * settings.prevalence_scale, 6) for n, v in TARGET_PREVALENCE.items()},
            "numpy": np.__version__,
        }
        (aside / "simulation.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        write_checksums(aside)
    return summary
