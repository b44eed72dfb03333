"""Descriptions of the exams of a table, in pieces of consecutive rows: measured, worded, finished or to be done again.

What a piece holds depends on the table alone, and what an exam is told on its ECG, its id and the wording: any number
of processes and of restarts give the same texts.
"""

import errno
import hashlib
import json
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import Value
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict
from datasets.utils import tqdm

from common.processes import end_with_parent
from common.writing import written_aside
from data_scripts.tables.schema import MICROVOLTS_PER_MILLIVOLT, SPLITS, ExamSchema, ecg_array, schema_of
from data_scripts.text.description import Hand, PlainHand, Reading, styled, write_by, written
from data_scripts.text.evidence import evidence_for
from data_scripts.text.reading_of import reading_of
from modeling_ecgclip.measure_ecgclip import measure_ecgs
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements


ROWS_PER_PIECE = 256  # seconds of work
ROWS_AT_A_TIME = 64  # measured together: 13 MB of millivolts
NOTHING_SAID = "nothing of it could be measured well enough to be said"


@dataclass(frozen=True)
class Wording:
    """
    How what was measured is told.

    Args:
        language (`str`): `"pt"` or `"en"`.
        plain (`bool`): All that was seen, with numbers, in the same words; or else by one of many hands.
        seed (`int`): Which hand writes which exam, and how.
        explain (`bool`): Also tell what each sentence rests on.
    """

    language: str = "pt"
    plain: bool = False
    seed: int = 0
    explain: bool = False

    def hand(self, exam_id: str) -> Hand:
        """Returns who writes of an exam: the same one wherever the exam stands."""
        if self.plain:
            return PlainHand(self.language)
        digest = hashlib.sha256(f"{self.seed}:{exam_id}".encode()).digest()
        return Hand(np.random.default_rng(int.from_bytes(digest[:8], "big")), self.language)


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a split."""

    split: str
    start: int
    stop: int

    @property
    def file(self) -> str:
        """Returns the name of the file that holds its texts."""
        return f"{self.split}-{self.start:09d}.json"


def plan_pieces(table: DatasetDict) -> list[Piece]:
    """Returns the pieces of a table, in the order of its rows."""
    return [
        Piece(split, start, min(start + ROWS_PER_PIECE, len(table[split])))
        for split in SPLITS
        for start in range(0, len(table[split]), ROWS_PER_PIECE)
    ]


def measured_rows(rows: pa.Table, schema: ExamSchema) -> list[EcgMeasurements]:
    """
    Returns the measurements of rows of an exam table; padding is passed over.

    Args:
        rows (`pyarrow.Table`): With the columns `ecg` and `n_samples`.
        schema (`ExamSchema`): Of the table.
    """
    names, n_samples = schema.signal.lead_names, schema.signal.n_samples
    microvolts = ecg_array(rows, len(names))  # (rows, leads, samples)
    recorded = rows["n_samples"].to_numpy()
    start = (n_samples - recorded) // 2  # zeros fill both sides
    at = np.arange(n_samples)
    there = (at >= start[:, None]) & (at < (start + recorded)[:, None])
    mask = np.broadcast_to(there[:, None], microvolts.shape)
    millivolts = microvolts / np.float32(MICROVOLTS_PER_MILLIVOLT)
    return measure_ecgs(millivolts, schema.signal.sampling_rate, names, mask)


def explained(
    row: dict[str, Any], text: str, hand: Hand, reading: Reading, measured: EcgMeasurements, schema: ExamSchema
) -> dict[str, Any]:
    """
    Returns a description with what each of its sentences rests on.

    Args:
        row (`dict`): `exam_id`, and whatever else shall stand first.
        text (`str`): The description.
        hand (`Hand`): Who wrote it, as new.
        reading (`Reading`), measured (`EcgMeasurements`): What it was written from.
        schema (`ExamSchema`): Of the table; sample ranges are those of its column `ecg`, lead by lead.
    """
    rate, n_samples = schema.signal.sampling_rate, schema.signal.n_samples
    told = [
        {"text": styled(hand, one.text), "about": one.about}
        | evidence_for(one.about, reading, measured, rate, n_samples)
        for one in written(hand, reading)
    ]
    return row | {"report": text, "sampling_rate": rate, "sentences": told}


def describe_piece(rows: Dataset, piece: Piece, schema: ExamSchema, wording: Wording) -> dict[str, Any]:
    """
    Returns the texts of a piece.

    Args:
        rows (`datasets.Dataset`): The split.
        piece (`Piece`): Which of its rows.
        schema (`ExamSchema`): Of the table.
        wording (`Wording`): How it is told.

    Returns:
        `dict` with `texts` (None where nothing could be said), `reasons` (why, with counts) and `explained`.
    """
    texts: list[str | None] = []
    reasons: Counter[str] = Counter()
    lines: list[dict[str, Any]] = []
    columns = rows.with_format("arrow")
    for start in range(piece.start, piece.stop, ROWS_AT_A_TIME):
        some = columns[start : min(start + ROWS_AT_A_TIME, piece.stop)]
        facts = zip(*(some[name].to_pylist() for name in ("exam_id", "age", "sex")), strict=True)
        for (exam_id, age, sex), measured in zip(facts, measured_rows(some, schema), strict=True):
            reading = reading_of(measured, age, sex)
            text = write_by(wording.hand(exam_id), reading)
            texts.append(text or None)
            if not text:
                reasons[measured.reasons.get("qrs_ms", NOTHING_SAID)] += 1
            if wording.explain:
                row = {"exam_id": exam_id, "split": piece.split}
                lines.append(explained(row, text, wording.hand(exam_id), reading, measured, schema))
    return {"texts": texts, "reasons": dict(reasons), "explained": lines}


class PieceWorker:
    """
    Describes pieces in one process.

    Args:
        table (`DatasetDict`): The exams.
        folder (`Path`): Where the texts of finished pieces lie.
        wording (`Wording`): How it is told.
        stop (`multiprocessing.Value`): Set to 1 when all processes should stop.
    """

    def __init__(self, table: DatasetDict, folder: Path, wording: Wording, stop: Any) -> None:
        self.table, self.folder, self.wording, self.stop = table, folder, wording, stop
        self.schema = schema_of(table)

    def finish(self, piece: Piece) -> int:
        """Writes the texts of a piece, unless they are there; returns its number of rows."""
        if finished_piece(self.folder, piece) is None:
            if self.stop.value:
                raise InterruptedError(errno.EINTR, "stopped, since another process failed or the run was ended")
            found = describe_piece(self.table[piece.split], piece, self.schema, self.wording)
            with written_aside(self.folder / piece.file) as aside:
                aside.write_text(json.dumps(asdict(piece) | found, ensure_ascii=False), encoding="utf-8")
        return piece.stop - piece.start


def finished_piece(folder: Path, piece: Piece) -> dict[str, Any] | None:
    """Returns what [`describe_piece`] found, or `None` where it has to be done, again after a power cut perhaps."""
    try:
        found = json.loads((folder / piece.file).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = found["stop"] == piece.stop and len(found["texts"]) == piece.stop - piece.start
    return found if whole else None


def describe_pieces(
    table: DatasetDict, folder: Path, wording: Wording, pieces: Sequence[Piece], num_proc: int
) -> None:
    """
    Writes the texts of all pieces into `folder`.

    Raises:
        `OSError`: for a full disk, and as `ChildProcessError` where a process was killed; what is finished stays.
    """
    folder.mkdir(exist_ok=True)
    shared = (table, folder, wording, Value("b", 0))
    executor: Executor
    if num_proc == 1:
        executor, finish = ThreadPoolExecutor(1), PieceWorker(*shared).finish
    else:
        executor, finish = ProcessPoolExecutor(num_proc, initializer=_start, initargs=shared), _finish
    n_exams = sum(piece.stop - piece.start for piece in pieces)
    with executor, tqdm(total=n_exams, desc="Describing", unit=" exams") as bar:
        try:
            for done in as_completed([executor.submit(finish, piece) for piece in pieces]):
                bar.update(done.result())
        except BrokenProcessPool as error:
            raise ChildProcessError("a process that describes was killed, perhaps for want of memory") from error
        finally:
            shared[3].value = 1
            executor.shutdown(cancel_futures=True)


_WORKERS: list[PieceWorker] = []  # the one of this process


def _start(*shared: Any) -> None:
    """Begins a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent tells them to stop
    end_with_parent()
    _WORKERS[:] = [PieceWorker(*shared)]


def _finish(piece: Piece) -> int:
    return _WORKERS[0].finish(piece)
