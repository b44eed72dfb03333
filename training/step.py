"""One optimizer step, in two parts: what the processor must say each time, and what the device does by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from training.averaging import WeightAverage
from training.data import Batch


class Task(Protocol):
    """What training needs to know of a stage."""

    module: nn.Module  # what is trained, as accelerator.prepare returned it
    exams: Any  # training split
    validation: Any  # None: the last step is kept

    def backward(self, batches: list[Batch], rows: list[int]) -> torch.Tensor:
        """
        Accumulates one step's gradients; returns the loss, detached, whose mean over processes is the batch's.

        Args:
            batches (`list[Batch]`): Of this process, one for each forward pass.
            rows (`list[int]`): Exams of the step in each process.
        """

    def why_not_captured(self, passes: int) -> str | None:
        """Returns why a step of so many forward passes cannot be captured as a graph, or None where it can."""

    def after_step(self) -> None:
        """Puts parameters back into their bounds."""

    def evaluate(self, exams: Any) -> dict[str, float]:
        """Returns results on `validation`, the same in every process; `loss` decides which step is best."""


StepResult = tuple[torch.Tensor, torch.Tensor]  # loss and norm of the gradient before clipping, on the device
Seed = Callable[[], None]  # makes what the step draws depend on its number
RunStep = Callable[[list[Batch], list[int], Seed], StepResult]  # as `OptimizerStep.__call__`


class OptimizerStep:
    """
    A step that is run eagerly, operation by operation.

    `on_device` works on tensors alone and asks for no value of any, so that a graph can be captured of it; `prepare`
    puts what differs from step to step into such tensors.

    Args:
        accelerator (`Accelerator`): Prepared the task's module and the optimizer.
        task (`Task`): What to train.
        optimizer: Prepared.
        average (`WeightAverage`, *optional*): To update.
        max_grad_norm (`float`): To which gradients are scaled down.
        rates_on_device (`bool`): Learning rates are read from tensors, as a graph needs it. They are float32 on a GPU,
            whose kernel reads no other; so eager steps there take tensors too, and give the bits of captured ones.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        task: Task,
        optimizer: Any,
        average: WeightAverage | None,
        max_grad_norm: float,
        rates_on_device: bool,
    ):
        self.accelerator, self.task, self.optimizer = accelerator, task, optimizer
        self.average, self.max_grad_norm = average, max_grad_norm
        device = accelerator.device
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self._rates = [torch.zeros((), dtype=dtype, device=device) for _ in optimizer.param_groups if rates_on_device]

    def __call__(self, batches: list[Batch], rows: list[int], seed: Seed) -> StepResult:
        """
        Changes the weights once.

        Args:
            batches (`list[Batch]`): Of this process, one for each forward pass.
            rows (`list[int]`): Exams of the step in each process.
            seed (`Callable`): Called before anything is drawn.
        """
        self.prepare()
        seed()
        return self.on_device(batches, rows)

    def prepare(self) -> None:
        """Counts the step, and puts its learning rates where the device reads them."""
        if self.average is not None:
            self.average.advance()
        # By schedule and checkpoints they are plain numbers, whichever way the step runs.
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=bool(self._rates)):
            rate.fill_(group["lr"])

    def on_device(self, batches: list[Batch], rows: list[int]) -> StepResult:
        """Forward and backward passes, clipping, optimizer, bounds and average."""
        loss = self.task.backward(batches, rows)
        grad_norm = self.accelerator.clip_grad_norm_(self.task.module.parameters(), self.max_grad_norm)
        with self._rates_as_tensors():
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.task.after_step()
        if self.average is not None:
            self.average.update()
        return loss, grad_norm

    @contextmanager
    def _rates_as_tensors(self) -> Iterator[None]:
        groups = self.optimizer.param_groups
        own = [(group["lr"], group["capturable"]) for group in groups]
        try:
            for rate, group in zip(self._rates, groups, strict=bool(self._rates)):
                group["lr"], group["capturable"] = rate, True
            yield
        finally:
            for (rate, capturable), group in zip(own, groups, strict=True):
                group["lr"], group["capturable"] = rate, capturable

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Behind the block, weights, statistics, optimizer and average are what they were before it, in place."""
        before = [(tensor, tensor.detach().clone()) for tensor in self._tensors()]
        try:
            yield
        finally:
            with torch.no_grad():
                known = {id(tensor) for tensor, _ in before}
                for tensor in self._tensors():
                    if id(tensor) not in known:
                        tensor.zero_()  # the optimizer makes its moments, and counts, of zeros in its first step
                for tensor, value in before:
                    tensor.copy_(value)
            self.optimizer.zero_grad()

    def _tensors(self) -> list[torch.Tensor]:
        """All that a step changes."""
        module = self.task.module
        found: list[torch.Tensor] = [parameter for parameter in module.parameters() if parameter.requires_grad]
        found += module.buffers()
        for state in self.optimizer.state.values():
            found += [value for value in state.values() if isinstance(value, torch.Tensor)]
        return found + (self.average.tensors() if self.average is not None else [])
