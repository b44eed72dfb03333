"""One exam table for all runs: opened once in each process, its recordings on the device once for all of them."""

import functools
from collections.abc import Mapping

import torch

from training.data import ExamTable
from training.recordings import Recordings, choose_cache


Held = dict[str, torch.Tensor]  # by split, int16 (exams, leads, samples)

_of_this_process: Held = {}


def hold_table(choice: str, table: ExamTable, device: torch.device) -> tuple[Held, str]:
    """
    Returns the recordings of a whole table on the device, or none, and in one line what was chosen and why.

    Processes that are given them read the same memory: a GPU's, or shared memory of the CPU.

    Args:
        choice (`str`): `--cache_dataset_on_device`.
        table (`ExamTable`): That all runs read.
        device (`torch.device`): Where they train.

    Raises:
        `MemoryError`: where the cache is asked for and does not fit.
    """
    splits = {name: Recordings(rows) for name, rows in table.splits.items()}
    needed = sum(len(split) * split.bytes_per_exam for split in splits.values())
    held, line = choose_cache(choice, needed, device)
    return ({name: split.on_device(device) for name, split in splits.items()} if held else {}), line


def share(held: Mapping[str, torch.Tensor]) -> None:
    """Takes over, in a new process, what another one holds."""
    _of_this_process.update(held)


@functools.cache
def open_table(name_or_path: str, revision: str | None, verify: bool = False) -> ExamTable:
    """
    Returns the table that all runs read, opened once in a process, with what is held of it.

    Its digests are not compared here, whatever `verify` says: `reproduce.py` does so once before the first run.
    """
    table = ExamTable.load(name_or_path, revision, verify=False)
    table.held.update(_of_this_process)
    return table
