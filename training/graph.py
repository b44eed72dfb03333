"""
A whole optimizer step captured as one graph and replayed, so that a GPU does not wait for Python.

With small batches a step is many short kernels, and launching them takes longer than running them. A graph is launched
as a whole. It does what was captured, at the same addresses: batches are copied into fixed tensors, learning rates and
the share of the running average are tensors, and what is drawn follows `torch.manual_seed` as it does in eager steps.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from training.arguments import TrainingArguments
from training.averaging import WeightAverage
from training.data import Batch, StepPlan
from training.step import OptimizerStep, RunStep, Seed, StepResult, Task


logger = get_logger(__name__)

WARM_UP_STEPS = 3  # torch's own number: what is made once, such as handles and workspaces, must be there before
# Compiling takes tens of seconds, and saved 4 to 11 microseconds an exam in a bare loop (fernandes2024 on an H200).
COMPILED_FROM = 5_000_000  # exams that a run trains on
COMPILERS = ("c++", "g++", "clang++")

Replay = Callable[[], None]


class GraphBackend(Protocol):
    """Captures on one kind of device."""

    def capture(self, run: Callable[[], StepResult]) -> tuple[Replay, StepResult]:
        """
        Runs `run` a few times, then captures it; returns what replays it, and where each replay puts its results.

        Args:
            run (`Callable`): Works on the same tensors each time, and may change them: the caller undoes that.
        """


class CudaGraphs:
    """CUDA graphs on the present device, which share their memory: one is replayed at a time, and leaves nothing."""

    def __init__(self) -> None:
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def capture(self, run: Callable[[], StepResult]) -> tuple[Replay, StepResult]:
        """See [`GraphBackend`]."""
        present, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_STEPS):
                run()
        present.wait_stream(self._stream)
        # Other threads read the table and pin its batches meanwhile: thread_local lets them. The outer block brings
        # the present stream back after a failed capture, which torch leaves in its own.
        capturing = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        with torch.cuda.stream(present), capturing:
            results = run()
        return graph.replay, results


BACKENDS: dict[str, type[GraphBackend]] = {"cuda": CudaGraphs}  # by type of device


@dataclass
class _Captured:
    """A graph, and where it reads and writes."""

    batches: list[Batch]
    replay: Replay
    results: StepResult

    def __call__(self, batches: list[Batch]) -> StepResult:
        for own, batch in zip(self.batches, batches, strict=True):
            for name, tensor in batch.items():
                own[name].copy_(tensor, non_blocking=True)
        self.replay()
        loss, grad_norm = self.results
        return loss.clone(), grad_norm.clone()  # the next replay writes there again


class GraphedStep:
    """
    A step that is captured once for each shape of its batches (those of an epoch's last step are smaller), and then
    replayed. Where that fails, steps run eagerly, and a line says why.

    Args:
        step (`OptimizerStep`): To capture.
        backend (`GraphBackend`): Of the device.
        compiled (`nn.Module`, *optional*): What `torch.compile` makes faster kernels of, in full batches alone: each
            shape costs a compilation.
        full_batch (`int`): Exams of a full forward pass.
    """

    def __init__(self, step: OptimizerStep, backend: GraphBackend, compiled: nn.Module | None, full_batch: int):
        self.step, self.full_batch = step, full_batch
        self._backend: GraphBackend | None = backend
        self._compiled = compiled
        self._captured: dict[Any, _Captured] = {}

    def __call__(self, batches: list[Batch], rows: list[int], seed: Seed) -> StepResult:
        """As [`OptimizerStep`]."""
        self.step.prepare()
        shape = tuple(tuple((name, tensor.shape) for name, tensor in batch.items()) for batch in batches)
        if shape not in self._captured and self._backend is not None:
            self._capture(shape, batches, rows)
        seed()  # behind capturing, which draws too
        if shape not in self._captured:
            return self.step.on_device(batches, rows)
        return self._captured[shape](batches)

    def _capture(self, shape: Any, batches: list[Batch], rows: list[int]) -> None:
        sizes = [len(next(iter(batch.values()))) for batch in batches]
        exams, full = f"steps of {' + '.join(map(str, sizes))} exams", all(size == self.full_batch for size in sizes)
        # torch, its compiler and the driver raise what they like; training can go on without either.
        for module in (self._compiled, None) if full and self._compiled is not None else (None,):
            try:
                self._captured[shape] = self._captured_with(module, batches, rows)
            except Exception as error:  # said in the log
                if module is None:
                    self._backend = None
                    logger.warning(f"--graph auto: {exams} run eagerly, since capturing failed: {_in_one_line(error)}")
                else:
                    logger.warning(f"--graph auto: without torch.compile, which failed: {_in_one_line(error)}")
            else:
                how = "with" if module is not None else "without"
                logger.info(f"{exams} are one graph, {how} torch.compile")
                return

    def _captured_with(self, module: nn.Module | None, batches: list[Batch], rows: list[int]) -> _Captured:
        backend = self._backend
        assert backend is not None
        own = [{name: tensor.clone() for name, tensor in batch.items()} for batch in batches]
        with self.step.undone(), nullcontext() if module is None else _compiled(module):
            replay, results = backend.capture(lambda: self.step.on_device(own, rows))
        return _Captured(own, replay, results)


@contextmanager
def _compiled(module: nn.Module) -> Iterator[None]:
    """Compiles a module for the block alone: validation goes on with its own kernels, for batches of any size."""
    module.compile(dynamic=False)
    try:
        yield
    finally:
        module._compiled_call_impl = None


def make_step(
    accelerator: Accelerator,
    task: Task,
    optimizer: Any,
    average: WeightAverage | None,
    args: TrainingArguments,
    plan: StepPlan,
    steps: int,
) -> RunStep:
    """
    Returns what runs a step: a graph where there can be one, or else eagerly, with a line that says why.

    Args:
        accelerator (`Accelerator`): Prepared the task's module and the optimizer.
        task (`Task`), optimizer, average (`WeightAverage`, *optional*): Of the step.
        args (`TrainingArguments`): The command line's.
        plan (`StepPlan`), steps (`int`): Of the whole run, also of one that is resumed: what is compiled rounds
            otherwise, and a resumed run must give the same bits.
    """
    backend = BACKENDS.get(accelerator.device.type)
    max_grad_norm = args.max_grad_norm or float("inf")
    step = OptimizerStep(accelerator, task, optimizer, average, max_grad_norm, rates_on_device=backend is not None)
    if backend is None or args.graph == "off":
        return step
    why_not = why_not_captured(accelerator, task, args)
    if why_not is not None:
        logger.info(f"--graph auto: steps run eagerly: {why_not}")
        return step
    module = getattr(accelerator.unwrap_model(task.module), "ecg_model", None)
    why_not = why_not_compiled(module, steps * plan.global_batch_size)
    if why_not is not None:
        logger.info(f"--graph auto: without torch.compile: {why_not}")
    return GraphedStep(step, backend(), module if why_not is None else None, plan.batch_size)


def why_not_captured(accelerator: Accelerator, task: Task, args: TrainingArguments) -> str | None:
    """Returns why steps of this run cannot be graphs, or None where they can."""
    if accelerator.mixed_precision == "fp16":
        return "the scaler of --mixed_precision fp16 decides on the processor whether a step counts; bf16 needs none"
    if accelerator.num_processes > 1:
        return f"{accelerator.num_processes} processes, whose collectives no graph holds yet"
    return task.why_not_captured(args.gradient_accumulation_steps)


def why_not_compiled(module: nn.Module | None, n_exams: int) -> str | None:
    """Returns why `torch.compile` is not used in a run that trains on so many exams, or None where it is."""
    if module is None:
        return "the encoder is frozen"
    if n_exams < COMPILED_FROM:
        return f"{n_exams:,} exams to train on, and compiling pays from {COMPILED_FROM:,}"
    if find_spec("triton") is None:
        return "no Triton"
    names = (os.environ["CXX"],) if "CXX" in os.environ else COMPILERS
    return None if any(map(shutil.which, names)) else f"no C++ compiler ({', '.join(names)})"


def _in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
