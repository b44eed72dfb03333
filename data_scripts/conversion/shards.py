"""Shards of a conversion: consecutive exams that one process reads and writes, finished or to be done again.

A shard is what a killed run loses at most in each process. Which exams it holds depends on the plan alone, so that
any number of processes, and any number of restarts, give the same table.
"""

import errno
import hashlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from multiprocessing import Value
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets.utils import tqdm

from common.checksums import FileState, check_unchanged, file_digest, file_state
from common.processes import end_with_parent
from common.writing import written_aside
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, standard_recording
from data_scripts.tables.digest import row_digests
from data_scripts.tables.schema import SPLITS, ExamSchema
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor


ROWS_PER_SHARD = 2048  # 200 MB: seconds of work to lose, and 180 shards of CODE-15%
ROWS_PER_BLOCK = 64  # exams in one Arrow record batch: 6.3 MB
TEXT_COLUMNS = ("exam_id", "patient_id", "sex", "report", "split", "part", "location")


@dataclass(frozen=True)
class Shard:
    """
    Rows `start` to `stop` of the plan.

    Args:
        files (`dict[str, str]`): For each split that has rows here, the file that shall hold them, below the table.
    """

    number: int
    start: int
    stop: int
    files: dict[str, str]


def plan_table(plan: ExamPlan) -> pa.Table:
    """Returns the plan's exams as Arrow, in their order, with report ids that no sharding can change."""
    exams = plan.exams
    unknown = set(exams["split"]) - set(SPLITS)
    if unknown:
        raise ValueError(f"splits must be {', '.join(SPLITS)}: found {', '.join(map(str, unknown))}")
    codes, _ = pd.factorize(exams["report"], use_na_sentinel=True)  # -1 where there is none
    columns = {name: pa.array(exams[name].to_numpy(dtype=object), pa.string()) for name in TEXT_COLUMNS}
    columns["source"] = pa.array([plan.source] * len(exams), pa.string())
    columns["age"] = pa.array(exams["age"].to_numpy(dtype=np.float32), from_pandas=True)
    columns["report_id"] = pa.array(codes.astype(np.int32))
    columns["labels"] = _struct(exams, [label.name for label in plan.labels], np.int8)
    if plan.target_names:
        columns["targets"] = _struct(exams, plan.target_names, np.float32)
    return pa.table(columns)


def _struct(exams: pd.DataFrame, names: Sequence[str], dtype: type) -> pa.StructArray:
    """Columns as one; NaN is null."""
    arrays = [pa.array(exams[name].to_numpy(dtype=dtype), from_pandas=True) for name in names]
    return pa.StructArray.from_arrays(arrays, list(names))


def plan_shards(table: pa.Table) -> list[Shard]:
    """Returns the shards of a plan, in order; together they hold each of its rows once."""
    splits = table["split"].to_numpy()
    found = [
        (start, stop, [split for split in SPLITS if (splits[start:stop] == split).any()])
        for start, stop in _row_ranges(table["part"].to_numpy())
    ]
    totals = {split: sum(split in held for _, _, held in found) for split in SPLITS}
    counts = dict.fromkeys(SPLITS, 0)
    shards = []
    for number, (start, stop, held) in enumerate(found):
        files = {}
        for split in held:
            files[split] = f"{split}/data-{counts[split]:05d}-of-{totals[split]:05d}.arrow"
            counts[split] += 1
        shards.append(Shard(number, start, stop, files))
    return shards


def _row_ranges(parts: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of at most `ROWS_PER_SHARD` rows; a part is cut only where it is larger, and small ones share a range."""
    borders = [0, *(np.flatnonzero(parts[1:] != parts[:-1]) + 1), len(parts)]
    ranges, start = [], 0
    for begin, end in pairwise(map(int, borders)):
        if end - start <= ROWS_PER_SHARD:
            continue  # there is room for this part beside those before it
        if start < begin:
            ranges.append((start, begin))
        start = begin
        if end - begin > ROWS_PER_SHARD:
            ranges += [(row, min(row + ROWS_PER_SHARD, end)) for row in range(begin, end, ROWS_PER_SHARD)]
            start = end
    return ranges + [(start, len(parts))] if start < len(parts) else ranges


class ShardWorker:
    """
    Reads and writes shards in one process.

    Args:
        builder (`EcgBuilder`): The source.
        folder (`Path`): Of the table that is being made.
        plan (`Path`): The Arrow file of [`plan_table`].
        schema (`ExamSchema`): Of the table.
        done (`multiprocessing.Value`): Counts the exams that are read or were found finished.
        stop (`multiprocessing.Value`): Set to 1 when all processes should stop.
    """

    def __init__(
        self, builder: EcgBuilder, folder: Path, plan: Path, schema: ExamSchema, done: Any, stop: Any
    ) -> None:
        self.builder, self.folder, self.schema, self.done, self.stop = builder, folder, schema, done, stop
        self.extractor = EcgFeatureExtractor(**schema.signal.to_dict(), repair_nan=builder.config.repair_nan)
        self.stated = {column: getattr(schema.signal, column) for column in ("sampling_rate", "lead_names")}
        self.plan = pa.ipc.open_file(pa.memory_map(str(plan))).read_all()

    def finish(self, shards: Sequence[Shard]) -> list[dict[str, Any]]:
        """Returns the records of shards, after writing those that are not there already, whole."""
        records = []
        try:
            for shard in shards:
                states = source_states(self.builder, self._rows(shard))
                record = finished_record(self.folder, shard, self.schema, digest_of(states))
                if record is None:
                    record = self._write(shard, states)
                else:
                    self._count(shard.stop - shard.start)
                records.append(record)
        finally:
            self.builder.close_part()
        return records

    def _rows(self, shard: Shard) -> pa.Table:
        return self.plan.slice(shard.start, shard.stop - shard.start)

    def _write(self, shard: Shard, states: dict[Path, FileState | None]) -> dict[str, Any]:
        rejected: list[Rejection] = []
        rows = self._rows(shard)
        listed = {path: self.builder.states[path] for path in states.keys() & self.builder.states.keys()}
        check_unchanged(listed)  # since the plan was made: its rows may be others by now
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(_ShardFile(self.folder / path, self.schema))
                for split, path in shard.files.items()
            }

            for number, (exam, recording) in enumerate(self._recordings(rows), start=1):
                if isinstance(recording, Rejection):
                    rejected.append(recording)
                else:
                    files[exam["split"]].add(exam | self.stated | recording)
                if number % ROWS_PER_BLOCK == 0:
                    self._count(ROWS_PER_BLOCK)
            self._count(rows.num_rows % ROWS_PER_BLOCK)
        check_unchanged(states)
        record = {
            "source": digest_of(states),
            "files": {path: file_digest(self.folder / path) for path in shard.files.values()},
            "rejected": [asdict(one) for one in rejected],
            "digests": {split: b"".join(file.digests).hex() for split, file in files.items()},
        }
        with _naming(record_path(self.folder, shard)) as path, written_aside(path) as aside:
            aside.write_text(json.dumps(record), encoding="utf-8")
        return record

    def _recordings(self, rows: pa.Table) -> Iterator[tuple[dict[str, Any], dict[str, Any] | Rejection]]:
        for _, exams in groupby(rows.to_pylist(), key=lambda exam: exam["part"]):
            of_part = list(exams)
            for exam, record in zip(of_part, self.builder.read_recordings(of_part), strict=True):
                if self.stop.value:
                    raise InterruptedError(errno.EINTR, "stopped, since another process failed or the run was ended")
                yield exam, standard_recording(exam["exam_id"], record, self.extractor)

    def _count(self, n_exams: int) -> None:
        with self.done.get_lock():
            self.done.value += n_exams


class _ShardFile:
    """An Arrow file of one split of a shard, and the digests of its rows."""

    def __init__(self, path: Path, schema: ExamSchema) -> None:
        self.path, self.schema = path, schema
        self.digests: list[bytes] = []
        self._rows: list[dict[str, Any]] = []
        self._recordings = np.empty((ROWS_PER_BLOCK, schema.ecg_length), np.int16)

    def __enter__(self) -> "_ShardFile":
        with _naming(self.path):
            self._sink = pa.OSFile(str(self.path), "wb")
            self._writer = pa.ipc.new_stream(self._sink, self.schema.arrow_schema)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        with self._sink:
            if kind is None:
                with _naming(self.path):
                    self._write_rows()
                    self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        """Takes a row; writes when `ROWS_PER_BLOCK` are there."""
        self._recordings[len(self._rows)] = row.pop("ecg").ravel()
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_BLOCK:
            with _naming(self.path):
                self._write_rows()

    def _write_rows(self) -> None:
        if self._rows:
            table = _table_of(self._rows, self._recordings[: len(self._rows)], self.schema.arrow_schema)
            self.digests.append(row_digests(table, self.schema))
            self._writer.write_table(table)
            self._rows = []


def _table_of(rows: list[dict[str, Any]], recordings: np.ndarray, schema: pa.Schema) -> pa.Table:
    """Rows without `ecg`, and it, int16 (rows, leads x samples), which is not copied."""
    arrays = [
        pa.FixedSizeListArray.from_arrays(pa.array(recordings.ravel()), recordings.shape[1])
        if column.name == "ecg"
        else pa.array([row[column.name] for row in rows], column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


@contextmanager
def _naming(path: Path) -> Iterator[Path]:
    """Says in an error of writing which file it was."""
    try:
        yield path
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def source_states(builder: EcgBuilder, rows: pa.Table) -> dict[Path, FileState | None]:
    """Returns the state of each file that holds recordings of these rows of the plan."""
    exams = rows.select(["part", "location"]).to_pylist()
    return {path: file_state(path) for path in builder.source_files(exams)}


def digest_of(states: dict[Path, FileState | None]) -> str:
    """Returns files and their states in one text; where the source lies is left out, since it may be moved."""
    return hashlib.sha256(json.dumps([(path.name, state) for path, state in states.items()]).encode()).hexdigest()


def record_path(folder: Path, shard: Shard) -> Path:
    """Returns where the record of a finished shard lies: it is written last."""
    return folder / "work" / "shards" / f"{shard.number:06d}.json"


def finished_record(folder: Path, shard: Shard, schema: ExamSchema, source: str) -> dict[str, Any] | None:
    """
    Returns the record of a shard, or `None` where it has to be written.

    Its files are read again and compared, as a whole and row by row, with the digests that the record states: a kill
    leaves no record, but a power cut may leave one beside files that never reached the disk.

    Args:
        folder, shard, schema: See [`ShardWorker`].
        source (`str`): [`digest_of`] the files that hold its recordings: a shard made of others is not finished.
    """
    path = record_path(folder, shard)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["source"] != source:
            return None
        for split, file in shard.files.items():
            if file_digest(folder / file) != record["files"][file]:
                return None
            digests = b"".join(_digests_of(folder / file, schema))
            if digests.hex() != record["digests"][split]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def _digests_of(path: Path, schema: ExamSchema) -> Iterator[bytes]:
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        for batch in reader:
            yield row_digests(pa.Table.from_batches([batch]), schema)


def run_shards(
    builder: EcgBuilder, folder: Path, plan: Path, schema: ExamSchema, shards: Sequence[Shard], num_proc: int
) -> list[dict[str, Any]]:
    """
    Returns the records of all shards, in order, once all of them are written.

    Args:
        builder, folder, plan, schema: See [`ShardWorker`].
        shards (`list[Shard]`): From [`plan_shards`].
        num_proc (`int`): Processes.

    Raises:
        `OSError`: for a full disk, and as `ChildProcessError` where a process was killed; what is finished stays.
        `ValueError`: for a source that cannot be read, or changes meanwhile.
    """
    for split in SPLITS:
        (folder / split).mkdir(exist_ok=True)
    (folder / "work" / "shards").mkdir(exist_ok=True)
    if not shards:
        return []
    table = pa.ipc.open_file(pa.memory_map(str(plan))).read_all()
    groups = _groups(builder, table["part"], shards)
    shared = (builder, folder, plan, schema, Value("q", 0), Value("b", 0))
    if num_proc == 1:
        executor, finish = ThreadPoolExecutor(1), ShardWorker(*shared).finish
    else:
        executor, finish = (
            ProcessPoolExecutor(min(num_proc, len(groups)), initializer=_start, initargs=shared),
            _finish,
        )
    records: dict[int, dict[str, Any]] = {}
    with executor, tqdm(total=shards[-1].stop, desc="Converting", unit=" exams") as bar:
        try:
            for group, found in _results(executor, finish, groups, bar, shared[4]):
                records |= {shard.number: record for shard, record in zip(group, found, strict=True)}
        except BrokenProcessPool as error:
            raise ChildProcessError("a process of the conversion was killed, perhaps for want of memory") from error
        finally:
            shared[5].value = 1
            executor.shutdown(cancel_futures=True)
    _check_source(builder, table, shards, records)
    return [records[shard.number] for shard in shards]


def _check_source(
    builder: EcgBuilder, table: pa.Table, shards: Sequence[Shard], records: dict[int, dict[str, Any]]
) -> None:
    """Refuses a source that changed after some shards of it were written: then they are not of one state of it."""
    check_unchanged(builder.states)
    for shard in shards:
        rows = table.slice(shard.start, shard.stop - shard.start)
        if digest_of(source_states(builder, rows)) != records[shard.number]["source"]:
            parts = ", ".join(str(builder.part_path(part)) for part in rows["part"].unique().to_pylist())
            raise ValueError(
                f"{parts}: changed while it was read: expected the files as they were when shard {shard.number} was "
                "written, found others. Run the command again when nothing writes there any more"
            )


def _groups(builder: EcgBuilder, parts: pa.ChunkedArray, shards: Sequence[Shard]) -> list[list[Shard]]:
    """What one process takes at a time: a shard, or all shards of a part that has to be unpacked first."""
    groups: list[list[Shard]] = []
    last = None
    for shard in shards:
        part = parts[shard.start].as_py()
        if part == last and builder.unpacked_bytes(part):
            groups[-1].append(shard)
        else:
            groups.append([shard])
        last = part
    return groups


def _results(
    executor: Executor, finish: Any, groups: Sequence[list[Shard]], bar: Any, done: Any
) -> Iterator[tuple[list[Shard], list[dict[str, Any]]]]:
    """Yields groups as they are finished, and keeps the progress bar going meanwhile."""
    futures = {executor.submit(finish, group): group for group in groups}
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in finished:
            yield futures[future], future.result()
        bar.update(done.value - bar.n)


_WORKERS: list[ShardWorker] = []  # the one of this process


def _start(*shared: Any) -> None:
    """Begins a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent tells them to stop
    end_with_parent()
    _WORKERS[:] = [ShardWorker(*shared)]


def _finish(shards: Sequence[Shard]) -> list[dict[str, Any]]:
    return _WORKERS[0].finish(shards)
