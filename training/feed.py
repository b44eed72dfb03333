"""How a run reads its exams: one object in place of device, processes, unit, batch size and workers."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from training.augmentation import SignalInput
from training.data import Batch, Batched, StepPlan, ordered_batches, training_batches
from training.recordings import reading_threads


class ExamFeed:
    """
    Brings exams to the device, shared out over the processes, and results of theirs together.

    Args:
        accelerator (`Accelerator`): Its processes and its device.
        signal_input (`SignalInput`): Makes the model's input of a batch.
        eval_batch_size (`int`): ECGs of one forward pass without training.
        num_workers (`int`, *optional*): Threads that read the table ahead; left out, what suits the device.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        signal_input: SignalInput,
        eval_batch_size: int,
        num_workers: int | None = None,
    ):
        self.accelerator, self.signal_input = accelerator, signal_input
        self.eval_batch_size = eval_batch_size
        self.num_workers = reading_threads(num_workers, accelerator.device)

    def training(self, exams: Batched, plan: StepPlan, start: int, stop: int) -> Iterator[Batch]:
        """Yields this process's batches of the plan, on its device, from step `start` to before `stop`."""
        rank, device = self.accelerator.process_index, self.accelerator.device
        return training_batches(exams, plan, rank, start, stop, self.num_workers, device)

    def ordered(self, exams: Batched) -> Iterator[Batch]:
        """Yields this process's share of all exams, in order, on its device."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        return ordered_batches(exams, self.eval_batch_size, rank, world, self.num_workers, self.accelerator.device)

    def input_values(self, batch: Batch, training: bool = False) -> torch.Tensor:
        """Returns what the model reads of a batch, float32 (batch, leads, input_samples); see [`SignalInput`]."""
        return self.signal_input(batch, training)

    @torch.no_grad()
    def rows(self, exams: Batched, compute: Callable[[Batch], torch.Tensor], width: int) -> np.ndarray:
        """
        Returns what `compute` gives for all exams in order, float32 (exams, width), in every process.

        Args:
            exams (`Batched`): A split.
            compute (`Callable`): From a batch to (batch, width). It must not be the wrapped module, which would wait
                for the other processes: they may have one batch less.
            width (`int`): Also of a process without an exam.
        """
        parts = [compute(batch).float().cpu() for batch in self.ordered(exams)]
        mine = torch.cat([torch.empty(0, width), *parts]).numpy()
        return np.concatenate(gather_object([mine]))
