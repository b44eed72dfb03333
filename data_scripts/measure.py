"""Measures every ECG of an exam table or of a folder of ECG files: one row for each, as Parquet or CSV.

python -m data_scripts.measure --dataset_name_or_path exams --output_file measurements.parquet [--waves] [--num_proc N]
python -m data_scripts.measure --source_dir D --output_file measurements.csv [--unit mV] [--recorded_rate 500]

What cannot be read is in measurements.rejected.csv, with the reason; what is read, but cannot be measured, has a row
without numbers that says why.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import csv
import json
import signal
import sys
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from datasets import DatasetDict
from datasets.utils import tqdm

from common.arguments import Parser
from common.commands import exit_status
from common.locks import only_writer
from common.processes import end_with_parent
from common.writing import written_aside
from data_scripts.conversion.builder import Rejection, refusal
from data_scripts.folder import Folder, FolderSettings, StatedOfFiles
from data_scripts.tables.schema import conversion_record, ecg_array, load_exam_table
from modeling_ecgclip.feature_extraction_ecgclip import StandardEcg
from modeling_ecgclip.measure_record_ecgclip import measure_ordered, order_record
from modeling_ecgclip.measurements_ecgclip import MEASURES, EcgMeasurements, RhythmEvidence
from modeling_ecgclip.reading_ecgclip import read_exam_row
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


EXAMS_PER_BLOCK = 64  # read and measured at once: 25 MB
ROWS_PER_WRITE = 4096
SUFFIXES = (".parquet", ".csv")
_MORPHOLOGY = {
    "rsr_v1_v2": pa.bool_(),
    "notched_r_lateral": pa.bool_(),
    "absent_q_lateral": pa.bool_(),
    "wide_s_i_v6": pa.bool_(),
    "delta_wave": pa.bool_(),
    "pathological_q_leads": pa.string(),
    "low_voltage_limb": pa.bool_(),
    "low_voltage_chest": pa.bool_(),
    "sokolow_lyon_mv": pa.float64(),
    "cornell_mv": pa.float64(),
    "r_transition": pa.string(),
    "poor_r_progression": pa.bool_(),
}
SCHEMA = pa.schema(
    {
        "exam_id": pa.string(),
        "split": pa.string(),  # null for files of a folder
        **dict.fromkeys((*MEASURES, "rr_ms", "qrs_all_leads_ms"), pa.float64()),
        **{one.name: pa.int32() if one.type is int else pa.float64() for one in fields(RhythmEvidence)},
        "beats": pa.int32(),
        **_MORPHOLOGY,
        **{f"quality_{name}": pa.float64() for name in MEASURES},  # from 0, do not trust it, to 1
        "leads_read": pa.string(),
        "flags": pa.string(),  # what is doubtful about the ECG, or was done to it
        "reasons": pa.string(),  # JSON: why there is no value, by measure
    }
)
# With --waves, of each lead: `r_mv_V1`, null where the lead was not read.
WAVES = ("p_mv", "q_mv", "r_mv", "s_mv", "r2_mv", "st_j_mv", "st_j60_mv", "t_mv", "q_ms", "r_ms", "s_ms")
WAVES_SCHEMA = pa.schema(
    [*SCHEMA, *(pa.field(f"{wave}_{lead}", pa.float32()) for wave in WAVES for lead in LEAD_NAMES)]
)
EXAM_TABLE_KEY = b"exam_table"  # of the Parquet file's metadata: the digest of the exam table that was measured


@dataclass(frozen=True)
class Exam:
    """
    One ECG that is to be measured, or why there is none.

    Args:
        exam_id (`str`): By which it goes.
        split (`str`, *optional*): Of an exam table.
        record (`EcgRecord` or `Rejection`): As it was read.
        flags (`tuple[str]`): What the exam table says of it.
    """

    exam_id: str
    split: str | None
    record: EcgRecord | Rejection
    flags: tuple[str, ...] = ()


class Exams(ABC):
    """ECGs in an order, in blocks that do not depend on how many processes there are."""

    n_exams: int
    digest: str | None = None  # of an exam table, where it states one

    @abstractmethod
    def blocks(self) -> list[Any]:
        """Returns what [`read`] takes, in order."""

    @abstractmethod
    def read(self, block: Any) -> Iterator[Exam]:
        """Yields the ECGs of a block."""


class TableExams(Exams):
    """The rows of an exam table, split by split."""

    def __init__(self, table: DatasetDict, digest: str | None = None) -> None:
        self.table, self.digest = table.with_format("arrow"), digest
        self.n_exams = sum(len(rows) for rows in table.values())

    def blocks(self) -> list[tuple[str, range]]:
        """Returns names of splits with the rows to read."""
        return [(split, rows) for split, of in self.table.items() for rows in _ranges(len(of))]

    def read(self, block: tuple[str, range]) -> Iterator[Exam]:
        """Yields the ECGs of some rows."""
        split, places = block
        rows = self.table[split][places.start : places.stop]
        columns = [
            name
            for name in ("exam_id", "n_samples", "sampling_rate", "lead_names", "quality")
            if name in rows.column_names
        ]
        for ecg, row in zip(ecg_array(rows), rows.select(columns).to_pylist(), strict=True):
            try:
                record: EcgRecord | Rejection = read_exam_row({**row, "ecg": ecg})
            except ValueError as error:
                record = Rejection(row["exam_id"], "unreadable record", str(error))
            yield Exam(row["exam_id"], split, record, tuple(row.get("quality") or ()))


class FolderExams(Exams):
    """The ECG files below a folder, as `data_scripts.folder` finds and reads them."""

    def __init__(self, settings: FolderSettings) -> None:
        self.folder = Folder(settings, Path())
        records, _ = self.folder.find_records(Path(settings.source_dir))
        self.files = [
            {"exam_id": name, "location": record}
            for name, record in zip(records["name"], records["record"], strict=True)
        ]
        self.n_exams = len(self.files)

    def blocks(self) -> list[range]:
        """Returns places in the list of files."""
        return _ranges(self.n_exams)

    def read(self, block: range) -> Iterator[Exam]:
        """Yields the ECGs of some files."""
        files = self.files[block.start : block.stop]
        for file, record in zip(files, self.folder.read_recordings(files), strict=True):
            yield Exam(file["exam_id"], None, record)


def _ranges(n: int) -> list[range]:
    return [range(start, min(start + EXAMS_PER_BLOCK, n)) for start in range(0, n, EXAMS_PER_BLOCK)]


def measure_block(
    exams: Exams, block: Any, repair_nan: bool = False, waves: bool = False
) -> tuple[pa.Table, list[Rejection]]:
    """
    Returns the rows of a block, and what could not be read.

    Args:
        exams ([`Exams`]): The source.
        block: Of `exams.blocks()`.
        repair_nan (`bool`, defaults to `False`): As in `EcgFeatureExtractor`.
        waves (`bool`, defaults to `False`): With the columns of [`WAVES`].
    """
    read: list[tuple[Exam, StandardEcg]] = []
    rejected: list[Rejection] = []
    for exam in exams.read(block):
        if isinstance(exam.record, Rejection):
            rejected.append(exam.record)
            continue
        try:
            read.append((exam, order_record(exam.record, repair_nan)))
        except ValueError as error:
            rejected.append(refusal(exam.exam_id, exam.record, len(LEAD_NAMES), error))
    found = measure_ordered([standard for _, standard in read])
    rows = [_row(exam, standard, one) for (exam, standard), one in zip(read, found, strict=True)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    if waves:
        table = pa.Table.from_arrays([*table.columns, *_waves(found)], schema=WAVES_SCHEMA)
    return table, rejected


def _waves(found: Sequence[EcgMeasurements]) -> list[pa.Array]:
    """The columns of each wave and lead."""
    unread = np.full(len(LEAD_NAMES), np.nan)
    columns = []
    for wave in WAVES:
        of_exams = np.array([one.amplitudes.get(wave, unread) for one in found]).reshape(-1, len(LEAD_NAMES))
        columns += [pa.array(of_lead.astype(np.float32), from_pandas=True) for of_lead in of_exams.T]
    return columns


def _row(exam: Exam, standard: StandardEcg, measurements: EcgMeasurements) -> dict[str, Any]:
    """One row of [`SCHEMA`]."""
    # Beats and leads have no columns here, and would take most of the time.
    values = replace(measurements, beats_s=np.zeros(0), beat_kinds=[], amplitudes={}).to_dict()
    morphology = dict(values["morphology"])
    if morphology:
        morphology["pathological_q_leads"] = " ".join(morphology["pathological_q_leads"])
    return {
        **{name: value for name, value in values.items() if name in SCHEMA.names},
        **values["rhythm"],
        **morphology,
        **{f"quality_{name}": value for name, value in values["quality"].items()},
        "exam_id": exam.exam_id,
        "split": exam.split,
        "beats": len(measurements.beats_s),
        "leads_read": " ".join(values["leads_read"]),
        "flags": " ".join(dict.fromkeys((*exam.flags, *standard.flags))),
        "reasons": json.dumps(values["reasons"]),
    }


def measured_blocks(
    exams: Exams, num_proc: int = 1, repair_nan: bool = False, waves: bool = False
) -> Iterator[tuple[pa.Table, list[Rejection]]]:
    """
    Yields the rows and rejections of all blocks, in order; only a few blocks are held at a time.

    Args:
        exams ([`Exams`]): The source.
        num_proc (`int`, defaults to 1): Processes.
        repair_nan (`bool`, defaults to `False`): As in `EcgFeatureExtractor`.
        waves (`bool`, defaults to `False`): With the columns of [`WAVES`].

    Raises:
        `ChildProcessError`: where a process was killed.
    """
    if num_proc == 1:
        for block in exams.blocks():
            yield measure_block(exams, block, repair_nan, waves)
        return
    waiting: deque[Future[tuple[pa.Table, list[Rejection]]]] = deque()
    with ProcessPoolExecutor(num_proc, initializer=_start, initargs=(exams, repair_nan, waves)) as executor:
        try:
            for block in exams.blocks():
                waiting.append(executor.submit(_measure, block))
                if len(waiting) > 2 * num_proc:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise ChildProcessError("a process was killed, perhaps for want of memory") from error
        finally:
            executor.shutdown(cancel_futures=True)


_WORK: list[Any] = []  # what a process of the pool measures


def _start(*work: Any) -> None:
    """Begins a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends them
    end_with_parent()
    _WORK[:] = work


def _measure(block: Any) -> tuple[pa.Table, list[Rejection]]:
    exams, repair_nan, waves = _WORK
    return measure_block(exams, block, repair_nan, waves)


@dataclass(kw_only=True)
class MeasureArguments(StatedOfFiles):
    """What is measured, and where the numbers go."""

    output_file: str = field(metadata={"help": f"where the rows go: a file that ends in {' or '.join(SUFFIXES)}"})
    dataset_name_or_path: str | None = field(
        default=None, metadata={"help": "exam table: a folder or a data set id on the Hub"}
    )
    source_dir: str | None = field(default=None, metadata={"help": "folder of ECG files, in place of an exam table"})
    repair_nan: bool = field(
        default=False, metadata={"help": "measure exams with gaps too, instead of rejecting them"}
    )
    waves: bool = field(
        default=False,
        metadata={"help": "also the size of each wave in each lead, as train_clip.py --measurements learns"},
    )
    num_proc: int = field(default=1, metadata={"help": "processes; the rows are the same"})

    def __post_init__(self) -> None:
        if (self.dataset_name_or_path is None) == (self.source_dir is None):
            raise ValueError("expected either --dataset_name_or_path or --source_dir")
        if Path(self.output_file).suffix not in SUFFIXES:
            raise ValueError(f"--output_file {self.output_file}: expected a name that ends in {' or '.join(SUFFIXES)}")
        if self.num_proc < 1:
            raise ValueError(f"--num_proc must be at least 1: found {self.num_proc}")
        stated = [name for name, value in self._stated().items() if value is not None]
        if stated and self.source_dir is None:
            raise ValueError(f"--{stated[0]} is for the files of --source_dir: an exam table states it")
        if self.source_dir is not None and not Path(self.source_dir).is_dir():
            raise FileNotFoundError(f"--source_dir {self.source_dir}: no such folder")

    def exams(self) -> Exams:
        """Returns the source."""
        if self.source_dir is None:
            name = str(self.dataset_name_or_path)
            return TableExams(load_exam_table(name), (conversion_record(name) or {}).get("digest"))
        return FolderExams(FolderSettings(self.source_dir, **self._stated()))

    def _stated(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(StatedOfFiles)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures; returns how many exams were `found`, `kept` and `rejected`, and `rejected_by_reason`."""
    (arguments,) = Parser(__doc__, MeasureArguments).parse_args_into_dataclasses(args=argv)
    exams, output = arguments.exams(), Path(arguments.output_file)
    kept, reasons = 0, Counter[str]()
    with ExitStack() as stack:
        stack.enter_context(only_writer(output))
        rows_file = stack.enter_context(written_aside(output))
        rejected_file = stack.enter_context(written_aside(output.with_name(f"{output.stem}.rejected.csv")))
        write = stack.enter_context(_RowsFile(rows_file, WAVES_SCHEMA if arguments.waves else SCHEMA, exams.digest))
        listed = csv.DictWriter(
            stack.enter_context(rejected_file.open("w", newline="", encoding="utf-8")), ["record", "reason", "detail"]
        )
        listed.writeheader()
        bar = stack.enter_context(tqdm(total=exams.n_exams, desc="Measuring", unit=" exams"))
        for rows, rejected in measured_blocks(exams, arguments.num_proc, arguments.repair_nan, arguments.waves):
            write.add(rows)
            listed.writerows(map(asdict, rejected))
            kept += rows.num_rows
            reasons.update(one.reason for one in rejected)
            bar.update(rows.num_rows + len(rejected))
    record = {
        "found": exams.n_exams,
        "kept": kept,
        "rejected": reasons.total(),
        "rejected_by_reason": dict(reasons.most_common()),
    }
    why = "".join(f"; {reason}: {count}" for reason, count in reasons.most_common())
    print(f"{kept} of {exams.n_exams} exams measured, {reasons.total()} rejected{why}; written to {output}")
    return record


class _RowsFile:
    """
    A Parquet or CSV file that is written row by row; of Parquet each page has a checksum.

    Args:
        path (`Path`): Its suffix decides.
        schema (`pyarrow.Schema`): Of its rows.
        digest (`str`, *optional*): Of the exam table that is measured; Parquet states it.
    """

    def __init__(self, path: Path, schema: pa.Schema, digest: str | None) -> None:
        if digest is not None:
            schema = schema.with_metadata({EXAM_TABLE_KEY: digest})
        if path.suffix == ".csv":
            self._writer = pyarrow.csv.CSVWriter(str(path), schema)
        else:
            self._writer = pyarrow.parquet.ParquetWriter(str(path), schema, write_page_checksum=True)
        self._schema = schema
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> "_RowsFile":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self._write()
        self._writer.close()

    def add(self, rows: pa.Table) -> None:
        """Takes rows; writes when `ROWS_PER_WRITE` are there."""
        self._waiting.append(rows)
        if sum(one.num_rows for one in self._waiting) >= ROWS_PER_WRITE:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._schema))
            self._waiting = []


if __name__ == "__main__":
    sys.exit(exit_status(main))
