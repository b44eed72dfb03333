"""From the exam table to batches on the device, without Python work for each sample."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate.logging import get_logger
from datasets import Dataset, DatasetDict

from data_scripts.tables.contents import check_contents
from data_scripts.tables.digest import verify_rows
from data_scripts.tables.schema import (
    MICROVOLTS_PER_MILLIVOLT,
    ExamSchema,
    conversion_record,
    labels_array,
    load_exam_table,
    schema_of,
)
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.signal_ecgclip import SignalSpec, check_same_signal
from training.recordings import Recordings, choose_cache, pinned, read_ahead


logger = get_logger(__name__)

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ExamTable:
    """
    An exam table, with what it states of itself.

    Args:
        name_or_path (`str`), revision (`str`, *optional*): Folder or Hub id.
        splits (`DatasetDict`): Its rows.
        record (`dict`, *optional*): Of its conversion.
        schema (`ExamSchema`): Signal, labels and targets of its rows.
        held (`dict[str, torch.Tensor]`): By split, all its recordings on a device, int16 (exams, leads, samples),
            where several runs share them.
    """

    name_or_path: str
    revision: str | None
    splits: DatasetDict
    record: dict[str, Any] | None
    schema: ExamSchema
    held: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def load(cls, name_or_path: str, revision: str | None = None, verify: bool = True) -> "ExamTable":
        """
        Returns the table of a folder or of a data set on the Hub, after a look at every row.

        Errors as in [`load_exam_table`] and [`check_contents`]: what cannot be learned from is known before a step. Of
        several processes on a machine the first compares digests, of a data set on the Hub those of its rows as they
        arrived; its error ends the others.
        """
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        splits = load_exam_table(name_or_path, revision, verify=verify and first)
        record = conversion_record(name_or_path, revision)
        if verify and first and not Path(name_or_path).is_dir():
            verify_rows(splits, record, name_or_path)
        schema = schema_of(splits, record)
        check_contents(splits, schema, name_or_path)
        return cls(name_or_path, revision, splits, record, schema)

    def held_of(self, rows: Dataset) -> torch.Tensor | None:
        """Returns the recordings of the split that has these rows, where they are held."""
        return next((held for name, held in self.held.items() if self.splits[name] is rows), None)


OpenTable = Callable[[str, str | None, bool], ExamTable]  # by folder or Hub id, revision, and whether to verify


class TextEmbeddings:
    """
    Pooled text embeddings, found by report id.

    Args:
        table (`datasets.Dataset`): Columns `report_id`, `report`, `text_embeds`; see `data_scripts/embed_reports.py`.
    """

    def __init__(self, table: Dataset):
        columns = table.with_format("arrow")[:]
        ids = columns.column("report_id").to_numpy()
        embeds = columns.column("text_embeds").combine_chunks()
        self.embeds = embeds.flatten().to_numpy().reshape(len(ids), -1)  # (reports, width)
        self.row_of_id = np.full(ids.max(initial=-1) + 1, -1, dtype=np.int64)
        self.row_of_id[ids] = np.arange(len(ids))
        self._copies: dict[torch.device, torch.Tensor] = {}

    @property
    def width(self) -> int:
        """Numbers of one embedding."""
        return self.embeds.shape[1]

    def __getitem__(self, report_ids: np.ndarray) -> np.ndarray:
        """float32 (batch, width) for int (batch,)."""
        return self.embeds[self.row_of_id[report_ids]]

    def on_device(self, device: torch.device) -> torch.Tensor:
        """Returns all embeddings, float32 (reports, width), on a device: one copy for all splits."""
        if device not in self._copies:
            self._copies[device] = torch.tensor(self.embeds, device=device)
        return self._copies[device]

    def check(self, report_ids: np.ndarray, split: str) -> None:
        """Raises `ValueError` where an id has no embedding."""
        known = np.zeros(len(report_ids), dtype=bool)
        inside = (report_ids >= 0) & (report_ids < len(self.row_of_id))
        known[inside] = self.row_of_id[report_ids[inside]] >= 0
        if not known.all():
            raise ValueError(
                f"{int((~known).sum())} exams of split {split} have report ids without an embedding, the first "
                f"{report_ids[~known][0]}: run data_scripts.embed_reports on this table again"
            )


class ExamSplit:
    """
    One split, or a part of it, read in batches of rows straight from the memory map.

    Args:
        split (`datasets.Dataset`): With the columns of `data_scripts/tables/schema.py`.
        rows (`np.ndarray` of int, *optional*): The rows to use, in this order; left out, all.
        text (`TextEmbeddings`, *optional*): Adds `text_embeds` to the batches.
        labels (`np.ndarray` of shape `(exams, outputs)`, *optional*):
            What is to be learned of each exam of the whole split; left out, the table's labels.
        measurements (`np.ndarray` of shape `(rows, numbers)`, float32, *optional*):
            What was measured of the rows that are used, NaN where unknown; adds `measurements` to the batches.
    """

    def __init__(
        self,
        split: Dataset,
        rows: np.ndarray | None = None,
        text: TextEmbeddings | None = None,
        labels: np.ndarray | None = None,
        measurements: np.ndarray | None = None,
    ):
        self.source, self.recordings = split, Recordings(split)
        self.rows = np.arange(len(split)) if rows is None else np.asarray(rows)
        self.text = text
        columns = split.data
        self.exam_ids = columns.column("exam_id").to_numpy()[self.rows]
        self.patient_ids = columns.column("patient_id").to_numpy()[self.rows]
        self.report_ids = columns.column("report_id").to_numpy()[self.rows].astype(np.int64)
        self.n_samples = columns.column("n_samples").to_numpy()[self.rows]
        self.ages = columns.column("age").to_numpy()[self.rows]  # years, NaN where unknown
        self.sexes = columns.column("sex").to_numpy()[self.rows]  # None where unknown
        self.labels = (labels_array(split) if labels is None else labels)[self.rows]
        self.measurements = measurements
        self._held: _Held | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Leads and samples of its recordings."""
        return self.recordings.shape

    @property
    def on_device(self) -> bool:
        """Whether [`hold_on`] was called: batches are then made on the device."""
        return self._held is not None

    def hold_on(self, device: torch.device, recordings: torch.Tensor | None = None) -> None:
        """
        Holds all that batches are made of on a device, so that no step waits for reading or for a copy.

        Args:
            device (`torch.device`): Where training runs.
            recordings (`torch.Tensor`, *optional*):
                Those of the whole split that this one is a part of, where they are on the device already.
        """
        if recordings is None:
            recordings, places = self.recordings.on_device(device, self.rows), np.arange(len(self))
        else:
            places = self.rows
        columns = {"labels": self.labels, "n_samples": self.n_samples, "report_ids": self.report_ids}
        if self.measurements is not None:
            columns["measurements"] = self.measurements
        embeds = None
        if self.text is not None:
            columns["text_rows"] = self.text.row_of_id[self.report_ids]
            embeds = self.text.on_device(device)
        tensors = {name: torch.tensor(values, device=device) for name, values in columns.items()}
        self._held = _Held(recordings, torch.tensor(places, device=device), tensors, embeds)

    def ecg(self, indices: np.ndarray) -> torch.Tensor:
        """Returns int16 (batch, leads, samples) in microvolts, on the CPU, from the memory map."""
        return self.recordings.read(self.rows[indices])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns one batch, on the CPU, or on the device where it is held there."""
        rows = np.asarray(indices)
        if self._held is not None:
            return self._held.batch(rows)
        batch = {"ecg": self.ecg(rows), "labels": torch.from_numpy(self.labels[rows])}
        batch["n_samples"] = torch.from_numpy(self.n_samples[rows])
        if self.measurements is not None:
            batch["measurements"] = torch.from_numpy(self.measurements[rows])
        return batch | self.texts(rows)

    def texts(self, rows: np.ndarray) -> Batch:
        """Returns what a batch says of reports: `report_ids`, and `text_embeds` where they are known."""
        report_ids = self.report_ids[rows]
        found = {"report_ids": torch.from_numpy(report_ids)}
        if self.text is not None:
            found["text_embeds"] = torch.from_numpy(self.text[report_ids])
        return found


@dataclass(frozen=True, eq=False)
class _Held:
    """What an [`ExamSplit`] holds on a device: recordings and the row of each exam's, columns, text embeddings."""

    recordings: torch.Tensor  # (rows, leads, samples)
    places: torch.Tensor  # (exams,)
    columns: dict[str, torch.Tensor]  # (exams, ...)
    text_embeds: torch.Tensor | None  # (reports, width)

    def batch(self, rows: np.ndarray) -> Batch:
        """One batch, for which the device fetches nothing but these row numbers."""
        device = self.places.device
        index = pinned(torch.from_numpy(rows), device).to(device, non_blocking=True)
        batch = {name: column[index] for name, column in self.columns.items()}
        if self.text_embeds is not None:
            batch["text_embeds"] = self.text_embeds[batch.pop("text_rows")]
        return {"ecg": self.recordings[self.places[index]], **batch}


def hold_recordings(
    choice: str, table: ExamTable, splits: dict[str, ExamSplit], device: torch.device, each_read_once: bool = False
) -> str:
    """
    Holds on the device what every epoch reads, where that is worth it; returns in one line what was chosen and why.

    Args:
        choice (`str`): `--cache_dataset_on_device`.
        table (`ExamTable`): What it holds already serves all splits.
        splits (`dict[str, ExamSplit]`): That the run uses.
        device (`torch.device`): Where training runs.
        each_read_once (`bool`, defaults to `False`): No recording is read a second time.

    Raises:
        `MemoryError`: where the cache is asked for and does not fit.
    """
    if table.held and choice != "off":
        for split in splits.values():
            split.hold_on(device, table.held_of(split.source))
        return f"held on {device}, for all runs on this table"
    if choice == "auto" and each_read_once:
        return "read from the memory map: each is read once"
    of_epochs = [splits[name] for name in ("train", "validation") if name in splits]
    needed = sum(len(split) * split.recordings.bytes_per_exam for split in of_epochs)
    held, line = choose_cache(choice, needed, device)
    if held:
        for split in of_epochs:
            split.hold_on(device)
    return line


# What a run does without a split.
WITHOUT_SPLIT = {"validation": "the last step is kept", "test": "nothing is measured on it"}


def usable_splits(
    splits: dict[str, ExamSplit],
    is_usable: Callable[[ExamSplit], bool],
    sought: str,
    remedy: str,
    allow_empty: bool,
) -> dict[str, ExamSplit]:
    """
    Returns the splits that hold what a run needs; one that is left out is absent from all results.

    Args:
        splits (`dict[str, ExamSplit]`): train, validation and test.
        is_usable (`Callable`): Whether a split holds it.
        sought (`str`): What an exam must have, in words.
        remedy (`str`): How to get exams that have it, in words.
        allow_empty (`bool`): Whether the run does without validation or test.

    Raises:
        `ValueError`: naming a split that is needed and has no such exam.
    """
    kept = {}
    for name, split in splits.items():
        if is_usable(split):
            kept[name] = split
            continue
        lack = f"split {name}: none of {len(split):,} exams has {sought}"
        if name not in WITHOUT_SPLIT:
            raise ValueError(f"{lack}, and training needs some: {remedy}")
        if not allow_empty:
            raise ValueError(
                f"{lack}: {remedy}, or do without the split by --allow_empty_splits ({WITHOUT_SPLIT[name]})"
            )
        logger.warning(f"{lack}: {WITHOUT_SPLIT[name]}")
    return kept


class EmbeddedSplit:
    """
    A split whose ECGs were embedded once by a frozen encoder, for training what follows it.

    Args:
        split (`ExamSplit`): Where the exams come from.
        embeds (`torch.Tensor` of shape `(exams, hidden_size)`): In the order of `split`.
    """

    def __init__(self, split: ExamSplit, embeds: torch.Tensor):
        self.embeds, self.texts, self.report_ids = embeds, split.texts, split.report_ids
        self.labels, self.exam_ids, self.patient_ids = split.labels, split.exam_ids, split.patient_ids
        self.ages, self.sexes = split.ages, split.sexes

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns one batch."""
        rows = np.asarray(indices)
        return {"embeds": self.embeds[rows], "labels": torch.from_numpy(self.labels[rows])} | self.texts(rows)


def microvolts_per_unit(feature_extractor: EcgFeatureExtractor, signal: SignalSpec) -> float:
    """
    Returns how many of an exam table's microvolts make one unit of what the model reads.

    Exam tables are what the feature extractor makes of a recording, before scaling; so this division, and zeros for
    the network's strides, are all that is left to do, on the device. Without scaling it gives the extractor's bits.

    Args:
        feature_extractor (`EcgFeatureExtractor`): The model's preprocessing.
        signal (`SignalSpec`): Of the exam table.

    Raises:
        `ValueError`: for an extractor that gives another signal than the table holds, or that filters, since the table
            holds unfiltered recordings.
    """
    parts = (("the exam table", signal), ("the feature extractor", feature_extractor.signal))
    check_same_signal(parts, "training reads exam tables as they are")
    if feature_extractor.highpass_hz or feature_extractor.notch_hz:
        raise ValueError(
            "training reads exam tables as they are: expected a feature extractor without filters, found "
            f"highpass_hz={feature_extractor.highpass_hz}, notch_hz={feature_extractor.notch_hz}"
        )
    scale = feature_extractor.scale if feature_extractor.do_scale else 1.0
    return MICROVOLTS_PER_MILLIVOLT / scale


@dataclass(frozen=True)
class StepPlan:
    """
    Which exams each optimizer step of each process sees: a function of the step's number alone.

    So an interrupted run needs to remember nothing but its step, and one process with a batch of 64 sees what two
    with 32 see together.

    Args:
        n_exams (`int`): In the training split.
        batch_size (`int`): Exams of one forward pass in one process.
        accumulation (`int`): Forward passes per step.
        world_size (`int`): Processes.
        seed (`int`): Of the order.
    """

    n_exams: int
    batch_size: int
    accumulation: int = 1
    world_size: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{self.n_exams} training exams are too few for {self.world_size} processes with "
                f"{self.accumulation} forward passes each: every pass needs at least 2"
            )

    @property
    def global_batch_size(self) -> int:
        """Exams of one step, over all processes."""
        return self.batch_size * self.accumulation * self.world_size

    @property
    def steps_per_epoch(self) -> int:
        """Full steps, and a last one if it is at least half full; every forward pass needs 2 exams for BatchNorm."""
        full, rest = divmod(self.n_exams, self.global_batch_size)
        half = self.global_batch_size / 2 if full else 0
        return full + (rest >= max(half, 2 * self.accumulation * self.world_size))

    @property
    def left_out_per_epoch(self) -> int:
        """Exams that an epoch passes over; others in each epoch, since the order changes."""
        return max(0, self.n_exams - self.steps_per_epoch * self.global_batch_size)

    def rows(self, step: int) -> list[int]:
        """Returns how many exams of a step each process sees."""
        before = step % self.steps_per_epoch * self.global_batch_size
        each, more = divmod(min(self.global_batch_size, self.n_exams - before), self.world_size)
        return [each + (rank < more) for rank in range(self.world_size)]

    def batches(self, rank: int, start: int, stop: int) -> Iterator[list[int]]:
        """Yields the indices of each forward pass of process `rank`, from step `start` up to before `stop`."""
        epoch_of_order, order = None, np.empty(0, dtype=np.int64)
        for step in range(start, stop):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != epoch_of_order:
                epoch_of_order, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.n_exams)
            of_step = order[place * self.global_batch_size : (place + 1) * self.global_batch_size]
            of_rank = np.array_split(of_step, self.world_size)[rank]
            for of_pass in np.array_split(of_rank, self.accumulation):
                yield of_pass.tolist()


class Batched(Protocol):
    """A split that gives batches."""

    def __len__(self) -> int:
        """Exams."""

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns one batch."""


def _batches_on(
    device: torch.device, exams: Batched, batches: Iterable[list[int]], num_workers: int
) -> Iterator[Batch]:
    """Yields the batches in order, read ahead by threads and copied while the device computes."""

    def read(indices: list[int]) -> Batch:
        return {name: pinned(tensor, device) for name, tensor in exams.__getitems__(indices).items()}

    # What is held on the device is indexed by it, in the order of its work: threads would add nothing.
    threads = 0 if getattr(exams, "on_device", False) else num_workers
    for batch in read_ahead(read, batches, threads):
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def training_batches(
    exams: Batched, plan: StepPlan, rank: int, start: int, stop: int, num_workers: int, device: torch.device
) -> Iterator[Batch]:
    """Yields the batches of one process, on its device, from step `start` to before `stop`."""
    return _batches_on(device, exams, plan.batches(rank, start, stop), num_workers)


def ordered_batches(
    exams: Batched, batch_size: int, rank: int, world_size: int, num_workers: int, device: torch.device
) -> Iterator[Batch]:
    """Yields this process's share of all exams, in order; the shares of all ranks joined are the whole."""
    mine = np.array_split(np.arange(len(exams)), world_size)[rank]
    batches = (mine[i : i + batch_size].tolist() for i in range(0, len(mine), batch_size))
    return _batches_on(device, exams, batches, num_workers)


def fraction_of_patients(patient_ids: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """
    Returns the rows of a random part of the patients, in the table's order.

    Patients are put in an order that depends on the seed and their id alone; the first ones are taken until the exams'
    share is reached. So a smaller fraction lies inside a larger one.

    Args:
        patient_ids (`np.ndarray` of str): Of each row.
        fraction (`float`): Share of the exams, in (0, 1].
        seed (`int`): Another number gives another order.
    """
    if fraction >= 1:
        return np.arange(len(patient_ids))
    patients, of_row, counts = np.unique(patient_ids.astype(str), return_inverse=True, return_counts=True)
    keys = [hashlib.sha256(f"{seed}:{patient}".encode()).digest() for patient in patients]
    order = np.array(sorted(range(len(patients)), key=keys.__getitem__))
    # The exam that crosses the limit is in: no fraction gives an empty set.
    taken = np.searchsorted(np.cumsum(counts[order]), fraction * len(patient_ids)) + 1
    keep = np.zeros(len(patients), dtype=bool)
    keep[order[:taken]] = True
    return np.flatnonzero(keep[of_row])
