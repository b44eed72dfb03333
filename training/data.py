"""From the exam table to batches on the device, without Python work for each sample."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from accelerate.logging import get_logger
from datasets import Dataset, DatasetDict
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from data_scripts.tables.schema import (
    MICROVOLTS_PER_MILLIVOLT,
    ExamSchema,
    conversion_record,
    ecg_array,
    labels_array,
    load_exam_table,
    schema_of,
)
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SignalSpec, check_same_signal


logger = get_logger(__name__)

Batch = dict[str, torch.Tensor]

CACHE_SHARE = 0.9  # of the free memory
CACHE_BLOCK = 1024  # exams read at a time while caching


@dataclass(frozen=True)
class ExamTable:
    """
    An exam table, with what it states of itself.

    Args:
        name_or_path (`str`), revision (`str`, *optional*): Folder or Hub id.
        splits (`DatasetDict`): Its rows.
        record (`dict`, *optional*): Of its conversion.
        schema (`ExamSchema`): Signal, labels and targets of its rows.
    """

    name_or_path: str
    revision: str | None
    splits: DatasetDict
    record: dict[str, Any] | None
    schema: ExamSchema

    @classmethod
    def load(cls, name_or_path: str, revision: str | None = None) -> "ExamTable":
        """Returns the table of a folder or of a data set on the Hub; errors as in [`load_exam_table`]."""
        splits = load_exam_table(name_or_path, revision)
        record = conversion_record(name_or_path, revision)
        return cls(name_or_path, revision, splits, record, schema_of(splits, record))


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

    @property
    def width(self) -> int:
        """Numbers of one embedding."""
        return self.embeds.shape[1]

    def __getitem__(self, report_ids: np.ndarray) -> np.ndarray:
        """float32 (batch, width) for int (batch,)."""
        return self.embeds[self.row_of_id[report_ids]]

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


def recording_shape(split: Dataset) -> tuple[int, int]:
    """Returns leads and samples of a split's recordings; its columns say so even where it has no row."""
    length = split.features["ecg"].length
    n_leads = split.features["lead_names"].length if "lead_names" in split.features else len(LEAD_NAMES)
    return n_leads, length // n_leads


class ExamSplit(TorchDataset):
    """
    One split, or a part of it, read in batches of rows straight from the memory map.

    Args:
        split (`datasets.Dataset`): With the columns of `data_scripts/tables/schema.py`.
        rows (`np.ndarray` of int, *optional*): The rows to use, in this order; left out, all.
        text (`TextEmbeddings`, *optional*): Adds `text_embeds` to the batches.
        labels (`np.ndarray` of shape `(exams, outputs)`, *optional*):
            What is to be learned of each exam of the whole split; left out, the table's labels.
    """

    def __init__(
        self,
        split: Dataset,
        rows: np.ndarray | None = None,
        text: TextEmbeddings | None = None,
        labels: np.ndarray | None = None,
    ):
        if split._indices is not None:
            raise ValueError("a split with an index mapping cannot be read in place: call flatten_indices() first")
        self.rows = np.arange(len(split)) if rows is None else np.asarray(rows)
        self.text = text
        columns = split.data
        self.shape = recording_shape(split)
        self._chunks = [ecg_array(chunk, self.shape[0]) for chunk in columns.column("ecg").chunks]  # views, no copies
        self._starts = np.cumsum([0] + [len(chunk) for chunk in self._chunks])
        self.exam_ids = columns.column("exam_id").to_numpy()[self.rows]
        self.patient_ids = columns.column("patient_id").to_numpy()[self.rows]
        self.report_ids = columns.column("report_id").to_numpy()[self.rows].astype(np.int64)
        self.n_samples = columns.column("n_samples").to_numpy()[self.rows]
        self.ages = columns.column("age").to_numpy()[self.rows]  # years, NaN where unknown
        self.sexes = columns.column("sex").to_numpy()[self.rows]  # None where unknown
        self._cached: torch.Tensor | None = None
        self.labels = (labels_array(split) if labels is None else labels)[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def on_device(self) -> bool:
        """Whether [`cache_on`] was called: recordings are then read in the training process."""
        return self._cached is not None

    def cache_on(self, device: torch.device) -> None:
        """
        Holds all recordings of the split on the device, two bytes a sample, so that no step waits for reading.

        Raises:
            `MemoryError`: where less than that, and a tenth for training, is free.
        """
        needed = len(self) * 2 * math.prod(self.shape)
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
        if needed > CACHE_SHARE * free:
            raise MemoryError(
                f"--cache_dataset_on_device: {len(self):,} exams need {needed / 2**30:.1f} GiB, but {device} has "
                f"{free / 2**30:.1f} GiB free and {1 - CACHE_SHARE:.0%} of it is kept for training: leave the flag "
                "out; the memory map is read by --dataloader_num_workers instead"
            )
        cached = torch.empty((len(self), *self.shape), dtype=torch.int16, device=device)
        for start in range(0, len(self), CACHE_BLOCK):
            stop = min(start + CACHE_BLOCK, len(self))
            cached[start:stop] = self.ecg(np.arange(start, stop)).to(device)
        self._cached = cached

    def ecg(self, indices: np.ndarray) -> torch.Tensor:
        """Returns int16 (batch, leads, samples) in microvolts, on the CPU or where it is cached."""
        if self._cached is not None:
            return self._cached[torch.from_numpy(np.asarray(indices)).to(self._cached.device)]
        rows = self.rows[indices]
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        recordings = torch.empty((len(rows), *self.shape), dtype=torch.int16)
        # Row by row: shuffled rows share next to no chunk, and fancy indexing would copy each of them twice.
        for target, row, chunk in zip(recordings.numpy(), rows, chunks, strict=True):
            target[:] = self._chunks[chunk][row - self._starts[chunk]]
        return recordings

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns one batch; torch's DataLoader calls this with all indices of the batch at once."""
        rows = np.asarray(indices)
        batch = {"ecg": self.ecg(rows), "labels": torch.from_numpy(self.labels[rows])}
        batch["n_samples"] = torch.from_numpy(self.n_samples[rows])
        if self.text is not None:
            batch["report_ids"] = torch.from_numpy(self.report_ids[rows])
            batch["text_embeds"] = torch.from_numpy(self.text[self.report_ids[rows]])
        return batch


def cache_splits(splits: dict[str, ExamSplit], device: torch.device) -> None:
    """Holds what every epoch reads on the device; see [`ExamSplit.cache_on`]."""
    for name in ("train", "validation"):
        if name in splits:
            splits[name].cache_on(device)


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


class EmbeddedSplit(TorchDataset):
    """
    A split whose ECGs were embedded once by a frozen encoder, for training a head alone.

    Args:
        split (`ExamSplit`): Where the exams come from.
        embeds (`torch.Tensor` of shape `(exams, hidden_size)`): In the order of `split`.
    """

    def __init__(self, split: ExamSplit, embeds: torch.Tensor):
        self.embeds = embeds
        self.labels, self.exam_ids, self.patient_ids = split.labels, split.exam_ids, split.patient_ids
        self.ages, self.sexes = split.ages, split.sexes

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Returns one batch."""
        return {"embeds": self.embeds[indices], "labels": torch.from_numpy(self.labels[indices])}


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


class _Batches(Sampler):
    """A list of index lists that is made while it is read."""

    def __init__(self, make_batches: Any):
        super().__init__()
        self._make_batches = make_batches

    def __iter__(self) -> Iterator[list[int]]:
        return self._make_batches()


def _as_it_is(batch: Any) -> Any:
    return batch


def _loader(exams: TorchDataset, make_batches: Any, num_workers: int, device: torch.device) -> DataLoader:
    cached = getattr(exams, "on_device", False)
    num_workers = 0 if cached else num_workers
    return DataLoader(
        exams,
        batch_sampler=_Batches(make_batches),
        collate_fn=_as_it_is,
        num_workers=num_workers,
        pin_memory=device.type == "cuda" and not cached,
        prefetch_factor=4 if num_workers else None,
    )


def training_batches(
    exams: TorchDataset, plan: StepPlan, rank: int, start: int, stop: int, num_workers: int, device: torch.device
) -> Iterator[Batch]:
    """Yields the batches of one process, on its device, from step `start` to before `stop`."""
    for batch in _loader(exams, lambda: plan.batches(rank, start, stop), num_workers, device):
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def ordered_batches(
    exams: TorchDataset, batch_size: int, rank: int, world_size: int, num_workers: int, device: torch.device
) -> Iterator[Batch]:
    """Yields this process's share of all exams, in order; the shares of all ranks joined are the whole."""
    mine = np.array_split(np.arange(len(exams)), world_size)[rank]

    def batches() -> Iterator[list[int]]:
        return (mine[i : i + batch_size].tolist() for i in range(0, len(mine), batch_size))

    for batch in _loader(exams, batches, num_workers, device):
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


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
