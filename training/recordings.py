"""Where a split's recordings are read from: its memory map, by threads ahead of the step, or the device."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import psutil
import torch
from datasets import Dataset

from data_scripts.tables.schema import ecg_array
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


Item = TypeVar("Item")
Read = TypeVar("Read")

BYTES_PER_SAMPLE = 2  # int16 microvolts
READ_THREADS = 4  # on a GPU: one thread reads about as fast as it trains on the smallest batches
AHEAD = 4  # batches that each thread has read or is to read
BLOCK = 256  # exams that are copied at a time: of twelve leads 25 MB
AUTO_SHARE = 0.6  # of the free memory; the rest is for training, and for neighbours
LARGEST_SHARE = 0.9  # where the cache is asked for


def recording_shape(split: Dataset) -> tuple[int, int]:
    """Returns leads and samples of a split's recordings; its columns say so even where it has no row."""
    length = split.features["ecg"].length
    n_leads = split.features["lead_names"].length if "lead_names" in split.features else len(LEAD_NAMES)
    return n_leads, length // n_leads


class Recordings:
    """
    The recordings of one split of an exam table, read in place from its memory map.

    Args:
        split (`datasets.Dataset`): With the columns of `data_scripts/tables/schema.py`.

    Raises:
        `ValueError`: for a split with an index mapping.
    """

    def __init__(self, split: Dataset):
        if split._indices is not None:
            raise ValueError("a split with an index mapping cannot be read in place: call flatten_indices() first")
        self.shape = recording_shape(split)
        chunks = split.data.column("ecg").chunks
        self._chunks = [ecg_array(chunk, self.shape[0]) for chunk in chunks]  # views, no copies
        self._starts = np.cumsum([0] + [len(chunk) for chunk in self._chunks])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def bytes_per_exam(self) -> int:
        """Of one recording."""
        return BYTES_PER_SAMPLE * math.prod(self.shape)

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """Returns int16 (rows, leads, samples) in microvolts, on the CPU."""
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        recordings = torch.empty((len(rows), *self.shape), dtype=torch.int16)
        # Row by row: shuffled rows share next to no chunk, and fancy indexing would copy each of them twice. Each copy
        # lets other threads run.
        for target, row, chunk in zip(recordings.numpy(), rows, chunks, strict=True):
            target[:] = self._chunks[chunk][row - self._starts[chunk]]
        return recordings

    def on_device(self, device: torch.device, rows: np.ndarray | None = None) -> torch.Tensor:
        """
        Returns int16 (rows, leads, samples) on a device, read in blocks by several threads: as fast as the disk is.

        Args:
            device (`torch.device`): Where to.
            rows (`np.ndarray` of int, *optional*): Which, in this order; left out, all.
        """
        rows = np.arange(len(self)) if rows is None else rows
        held = torch.empty((len(rows), *self.shape), dtype=torch.int16, device=device)
        blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
        start = 0
        for read in read_ahead(lambda block: pinned(self.read(block), device), blocks, READ_THREADS):
            held[start : start + len(read)].copy_(read, non_blocking=True)
            start += len(read)
        return held


def pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns a tensor of the CPU that a GPU can fetch by itself, while the processor goes on."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


def reading_threads(asked: int | None, device: torch.device) -> int:
    """Returns how many threads read ahead where `asked` says nothing: on a CPU none, which it would lack."""
    if asked is not None:
        return asked
    return 0 if device.type == "cpu" else READ_THREADS


def read_ahead(read: Callable[[Item], Read], items: Iterable[Item], threads: int) -> Iterator[Read]:
    """
    Yields `read(item)` of each item in order, whatever the number of threads.

    Args:
        read (`Callable`): Its errors come where its result would have come.
        items (`Iterable`): Taken a few at a time, in the thread that asks.
        threads (`int`): That read ahead of who asks; 0: nothing is read before it is asked for.
    """
    if threads == 0:
        yield from map(read, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    waiting: deque[Future[Read]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) == AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where nobody asks for the rest
        pool.shutdown(wait=False, cancel_futures=True)


def free_memory(device: torch.device) -> int:
    """Returns the bytes that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def choose_cache(choice: str, needed: int, device: torch.device) -> tuple[bool, str]:
    """
    Returns whether recordings are held on the device, and the choice with its reason in one line.

    Args:
        choice (`str`): `"auto"`, `"on"` or `"off"`.
        needed (`int`): Bytes of all recordings that would be held.
        device (`torch.device`): Where training runs.

    Raises:
        `MemoryError`: where the cache is asked for and does not fit.
    """
    from_map = "read from the memory map"
    if choice == "off":
        return False, f"{from_map}, as asked for"
    if choice == "auto" and device.type == "cpu":
        return False, f"{from_map}: on a CPU a cache would be a copy in the same memory"
    free = free_memory(device)
    share = AUTO_SHARE if choice == "auto" else LARGEST_SHARE
    why = f"{gibibytes(needed)} of recordings, {gibibytes(free)} free"
    if needed <= share * free:
        return True, f"held on {device}: {why}"
    why += f" on {device}, of which a cache may take {share:.0%}"
    if choice == "on":
        raise MemoryError(
            f"--cache_dataset_on_device on: {why}: leave the flag out; the memory map is read by "
            "--dataloader_num_workers threads instead"
        )
    return False, f"{from_map}: {why}"


def gibibytes(n_bytes: float) -> str:
    """Returns a size for a log."""
    return f"{n_bytes / 2**30:.1f} GiB"
