"""What every converter shares: the builder that turns recordings into rows of the exam table.

A converter lists its exams once, in the parent process, and says how to read one. Rows then go from shard to Arrow
file in blocks, so memory does not grow with the source.
"""

import abc
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ArrowBasedBuilder, BuilderConfig, DatasetInfo, SplitGenerator
from datasets.builder import Key

from data_scripts.schema import ECG_LENGTH, EXAM_FEATURES, MICROVOLTS_PER_MILLIVOLT, SPLITS
from data_scripts.writing import written_aside
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, N_SAMPLES
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import EcgRecord


ROWS_PER_BLOCK = 64  # exams in memory at a time and in one Arrow record batch: 6.3 MB of int16
ROWS_PER_SHARD = 512  # exams that one process takes at a time
# A mean this far from zero is an electrode's offset: the waves of a heart beat average to tenths of a millivolt.
OFFSET_MV = 1.0

# Flags of the column `quality`; beside these, those of `EcgFeatureExtractor.standardize`.
CLIPPED = "clipped"  # a value beyond +-32.767 mV was limited to it
CROPPED = "cropped"  # longer than 4096 samples at 400 Hz: both ends were cut off
FLAT_LEAD = "flat_lead"  # a lead that does not move by one microvolt
OFFSET = "offset"  # a lead whose mean is more than OFFSET_MV from zero

PLAN_FILE = "plan.arrow"
FACTS_FILE = "plan.json"


@dataclass(frozen=True)
class Rejection:
    """Why a record that was found is not in the table: `reason` from a short list, `detail` for this record."""

    record: str
    reason: str
    detail: str = ""


@dataclass
class ExamPlan:
    """
    All that a source holds, apart from the recordings.

    Args:
        exams (`pandas.DataFrame`):
            The exams to read, in the order of the table's rows, exams of one `part` together. Columns: `exam_id`,
            `patient_id`, `split`, `age` (float, NaN unknown), `sex` (None unknown), the labels by name (int8),
            `report` (None where there is none), `part` and `location` (text, for `read_recordings`).
        source (`str`): For the column of that name.
        found (`int`): Records in the source; must be the kept and the rejected together.
        rejected (`list[Rejection]`): Those that are known not to be readable.
        facts (`dict`): For `conversion.json`.
    """

    exams: pd.DataFrame
    source: str
    found: int
    rejected: list[Rejection] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class EcgBuilderConfig(BuilderConfig):
    """
    Settings that every converter knows.

    Args:
        source_dir (`str`): Folder of the source as it was published.
        repair_nan (`bool`, defaults to `False`): Interpolate NaN and flag the exam instead of rejecting it.
    """

    source_dir: str = ""
    repair_nan: bool = False


class EcgBuilder(ArrowBasedBuilder):
    """
    Base of all converters: a subclass lists its exams ([`plan`]) and reads them ([`read_recordings`]).

    Everything else is here: report ids, shards, the way through the feature extractor, whole microvolts, quality
    flags, and the record of what was rejected.
    """

    BUILDER_CONFIG_CLASS = EcgBuilderConfig

    @abc.abstractmethod
    def plan(self) -> ExamPlan:
        """Returns what the source holds. Called once, in the parent process."""

    @abc.abstractmethod
    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """
        Yields the recording of each exam, or why there is none, in the order given.

        Args:
            exams (`list[dict]`): At most `ROWS_PER_SHARD` rows of the plan, all of one `part`.
        """

    def _info(self) -> DatasetInfo:
        return DatasetInfo(features=EXAM_FEATURES)

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        plan = self.plan()
        table = _plan_table(plan)
        needed, free = len(table) * ECG_LENGTH * 2, shutil.disk_usage(self._output_dir).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{len(table)} exams need {needed >> 20} MiB: found {free >> 20} MiB free")
        with (
            pa.OSFile(str(Path(self._output_dir, PLAN_FILE)), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as file,
        ):
            file.write_table(table)
        facts = {"found": plan.found, "rejected": [asdict(record) for record in plan.rejected], "facts": plan.facts}
        Path(self._output_dir, FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")

        generators, n_shards = [], 0
        for split in SPLITS:
            ranges = _shard_ranges(table, split)
            shards = [(n_shards + i, start, stop) for i, (start, stop) in enumerate(ranges)]
            n_shards += len(shards)
            generator = SplitGenerator(name=split, gen_kwargs={"shards": shards})
            # With it the progress bar knows the time left; datasets sets the true number afterwards.
            generator.split_info.num_examples = sum(stop - start for start, stop in ranges)
            generators.append(generator)
        return generators

    def _generate_tables(self, shards: list[tuple[int, int, int]]) -> Iterator[tuple[Key, pa.Table]]:
        extractor = EcgFeatureExtractor(repair_nan=self.config.repair_nan)
        with pa.memory_map(str(Path(self._output_dir, PLAN_FILE))) as source:
            plan = pa.ipc.open_file(source).read_all()
            for index, (shard, start, stop) in enumerate(shards):
                rejected: list[Rejection] = []
                rows = self._rows(plan.slice(start, stop - start), extractor, rejected)
                for number, table in enumerate(_tables_of_blocks(rows)):
                    yield Key(index, number), table
                with written_aside(Path(self._output_dir, f"rejected-{shard:06d}.json")) as aside:
                    aside.write_text(json.dumps([asdict(record) for record in rejected]), encoding="utf-8")

    def _rows(
        self, plan: pa.Table, extractor: EcgFeatureExtractor, rejected: list[Rejection]
    ) -> Iterator[dict[str, Any]]:
        """Yields the table's rows of one shard; appends what is no row to `rejected`."""
        exams = plan.to_pylist()
        for exam, record in zip(exams, self.read_recordings(exams), strict=True):
            recording = standard_recording(exam["exam_id"], record, extractor)
            if isinstance(recording, Rejection):
                rejected.append(recording)
            else:
                yield exam | recording


def standard_recording(
    exam_id: str, record: EcgRecord | Rejection, extractor: EcgFeatureExtractor
) -> dict[str, Any] | Rejection:
    """
    Returns the columns `ecg`, `n_samples` and `quality` of a recording, or why it is rejected.

    Args:
        exam_id (`str`): For the rejection.
        record (`EcgRecord` or `Rejection`): As a source's reader gave it; a rejection is passed on.
        extractor (`EcgFeatureExtractor`): The one place where leads are ordered, resampled and padded.

    Returns:
        `dict` with `ecg` int16 (12, 4096) in microvolts, `n_samples` before padding and `quality`; or [`Rejection`].
    """
    if isinstance(record, Rejection):
        return record
    finite = np.isfinite(record.signal)
    if not finite.any() or not (extractor.repair_nan or finite.all()):
        detail = f"{finite.size - int(finite.sum())} of {finite.size} values"
        return Rejection(exam_id, "NaN or infinite values", detail)
    if not np.any(record.signal, where=finite):
        return Rejection(exam_id, "all-zero tracing")
    try:
        standard = extractor.standardize(
            record.signal, record.sampling_rate, record.lead_names, record.unit, record.name
        )
    except ValueError as error:
        return Rejection(exam_id, "not a 12-lead ECG", str(error))
    signal = standard.signal  # (leads, samples), mV
    flags = [flag for flag in standard.flags if flag != "resampled"]  # true of a whole source: no flaw of this exam
    if np.abs(signal.mean(axis=1)).max() > OFFSET_MV:
        flags.append(OFFSET)
    if signal.shape[1] > N_SAMPLES:
        flags.append(CROPPED)
    # In float64: a product in float32 would send values near half a microvolt the wrong way.
    microvolts = np.rint(signal * np.float64(MICROVOLTS_PER_MILLIVOLT))
    limit = np.iinfo(np.int16).max
    if np.abs(microvolts).max() > limit:
        flags.append(CLIPPED)
    microvolts = np.clip(microvolts, -limit, limit).astype(np.int16)
    if np.any(np.ptp(microvolts, axis=1) == 0):
        flags.append(FLAT_LEAD)
    n_samples = min(signal.shape[1], N_SAMPLES)
    return {"ecg": extractor.center(microvolts), "n_samples": n_samples, "quality": flags}


def read_index(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """
    Returns the CSV that lists a source's exams, every cell as text, blank cells as `""`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a file without rows or without one of `columns`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --source_dir must hold it")
    try:
        index = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from error
    missing = [column for column in columns if column not in index]
    if missing:
        raise ValueError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(index.columns)}")
    if not len(index):
        raise ValueError(f"{path}: expected one row for each exam, found none")
    return index


def file_version(path: Path) -> str:
    """Returns name and sha256 of the file that states what a source holds: sources seldom state a version."""
    with path.open("rb") as file:
        return f"{path.name} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def numbers(cells: pd.Series, path: Path, exam_ids: pd.Series) -> pd.Series:
    """Returns text cells as float64, blank ones as NaN; a `ValueError` names the exam whose cell is no number."""
    cells = cells.str.strip()
    values = pd.to_numeric(cells, errors="coerce")
    wrong = values.isna() & (cells != "")
    if wrong.any():
        i = wrong.idxmax()
        raise ValueError(f"{path}, exam {exam_ids[i]}, column {cells.name}: expected a number, found {cells[i]!r}")
    return values


def refuse_duplicates(exam_ids: pd.Series, path: Path) -> None:
    """Raises `ValueError` where an exam is listed twice: which of its rows holds cannot be known."""
    twice = exam_ids[exam_ids.duplicated()].unique()
    if len(twice):
        raise ValueError(
            f"{path}: expected each exam_id once; found {len(twice)} more than once: {', '.join(twice[:5])}"
        )


def _plan_table(plan: ExamPlan) -> pa.Table:
    """The exams in the order of splits, with report ids that no sharding can change."""
    exams = plan.exams
    unknown = set(exams["split"]) - set(SPLITS)
    if unknown:
        raise ValueError(f"splits must be {', '.join(SPLITS)}: found {', '.join(map(str, unknown))}")
    codes, _ = pd.factorize(exams["report"], use_na_sentinel=True)  # -1 where there is none
    order = np.argsort(exams["split"].map(SPLITS.index).to_numpy(dtype=np.int64), kind="stable")
    labels = exams[list(LABEL_NAMES)].to_numpy(dtype=np.int8)[order]
    text_columns = ("exam_id", "patient_id", "sex", "report", "split", "part", "location")
    columns = {name: pa.array(exams[name].to_numpy(dtype=object)[order], pa.string()) for name in text_columns}
    columns["source"] = pa.array([plan.source] * len(exams), pa.string())
    columns["age"] = pa.array(exams["age"].to_numpy(dtype=np.float32)[order], from_pandas=True)
    columns["report_id"] = pa.array(codes[order].astype(np.int32))
    columns["labels"] = pa.FixedSizeListArray.from_arrays(pa.array(labels.ravel()), len(LABEL_NAMES))
    return pa.table(columns)


def _shard_ranges(plan: pa.Table, split: str) -> list[tuple[int, int]]:
    """Row ranges of one split, none of which spans two parts or more than `ROWS_PER_SHARD` rows."""
    rows = np.flatnonzero(pc.equal(plan["split"], split).to_numpy())
    if not len(rows):
        return []
    parts = plan["part"].slice(rows[0], len(rows)).to_numpy()
    borders = [0, *(np.flatnonzero(parts[1:] != parts[:-1]) + 1), len(rows)]
    ranges = []
    for begin, end in zip(borders[:-1], borders[1:], strict=True):
        starts = range(begin, end, ROWS_PER_SHARD)
        ranges += [(int(rows[0] + start), int(rows[0] + min(start + ROWS_PER_SHARD, end))) for start in starts]
    return ranges


def _tables_of_blocks(rows: Iterator[dict[str, Any]]) -> Iterator[pa.Table]:
    """Rows gathered into Arrow tables of at most `ROWS_PER_BLOCK`."""
    block: list[dict[str, Any]] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS_PER_BLOCK:
            yield _table_of(block)
            block = []
    if block:
        yield _table_of(block)


def _table_of(block: list[dict[str, Any]]) -> pa.Table:
    schema = EXAM_FEATURES.arrow_schema
    arrays = []
    for column in schema:
        values = [row[column.name] for row in block]
        if column.name == "ecg":
            flat = pa.array(np.stack(values).ravel())  # no Python object for each of 49152 samples
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, ECG_LENGTH))
        else:
            arrays.append(pa.array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)
