"""The training loop of both stages: evaluate, save, stop, step, log. It never asks which loss it runs."""

import math
import signal
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from torch import nn
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import get_scheduler

from common.files import write_json
from training.arguments import TrainingArguments
from training.averaging import WeightAverage
from training.checkpoints import BestWeights, find_checkpoint, save_checkpoint
from training.data import Batch, StepPlan
from training.feed import ExamFeed
from training.graph import make_step
from training.parts import RunParts
from training.run import METRICS
from training.states import RunState, read_numbers
from training.step import Task
from training.terminal import validation_line


logger = get_logger(__name__)

HEAD_PREFIX = "classifier."
STOP_CHECK_STEPS = 10  # several processes agree on stopping this often; each agreement costs a synchronisation


@dataclass
class LoopState:
    """All that a run knows beyond weights and optimizer; saved with each checkpoint."""

    step: int = 0
    evaluated_step: int = -1  # evaluation comes before saving: a resumed run must not repeat it
    best_step: int = -1
    best_loss: float | None = None
    evaluations_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # since the last log entry, as of the checkpoint

    def state_dict(self) -> dict[str, Any]:
        """Returns values that JSON has."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the values of `state_dict`."""
        for name, value in state.items():
            setattr(self, name, value)


class StopRequest:
    """Remembers that SIGTERM came (a scheduler wants the machine back), so that the loop can save before it ends."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *exception: Any) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: Any) -> None:
        self.asked = True


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Returns two groups for the optimizer: weight decay is for matrices and kernels, not for biases and scales."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def plan_steps(args: TrainingArguments, n_exams: int, world_size: int) -> StepPlan:
    """Returns which of `n_exams` exams each step of each of `world_size` processes sees."""
    return StepPlan(n_exams, args.per_device_train_batch_size, args.gradient_accumulation_steps, world_size, args.seed)


def total_steps(args: TrainingArguments, plan: StepPlan) -> int:
    """Returns the optimizer steps of a whole run."""
    return args.max_train_steps or math.ceil(args.num_train_epochs * plan.steps_per_epoch)


def make_optimizer(
    module: nn.Module, args: TrainingArguments, steps: int, head_learning_rate: float | None = None
) -> tuple[torch.optim.Optimizer, Any]:
    """
    Returns AdamW and its schedule over `steps` optimizer steps.

    Args:
        module (`nn.Module`): Its parameters that require a gradient are trained.
        args (`TrainingArguments`): The command line's.
        steps (`int`): Over which the schedule runs.
        head_learning_rate (`float`, *optional*): Peak rate of what is named `classifier`, in place of the common one.
    """
    named = list(module.named_parameters())
    head = [p for name, p in named if head_learning_rate is not None and name.startswith(HEAD_PREFIX)]
    in_head = {id(p) for p in head}
    groups = decay_groups((p for _, p in named if id(p) not in in_head), args.weight_decay)
    if head:
        groups += [{**group, "lr": head_learning_rate} for group in decay_groups(head, args.weight_decay)]
    # fused: one pass over the weights in place of ten, a third of the time on a processor; benchmarks/training_speed
    optimizer = torch.optim.AdamW(groups, lr=args.learning_rate, fused=True)
    schedule = get_scheduler(
        args.lr_scheduler_type, optimizer, num_warmup_steps=args.warmup_steps, num_training_steps=steps
    )
    return optimizer, schedule


def seed_step(seed: int, step: int, rank: int) -> None:
    """Makes a step's dropout depend on nothing but its number and process, so that a resumed run repeats it."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1))


def zero_shot_loss(results: dict[str, float]) -> float:
    """
    Returns what `--keep zero_shot` makes as small as it can: 1 - mean AUROC, over the languages of the prompts.

    Args:
        results (`dict[str, float]`): Of `evaluate` of a task.

    Raises:
        `ValueError`: where it measured none.
    """
    aurocs = [value for name, value in results.items() if name.startswith("zero_shot") and name.endswith("auroc_mean")]
    if not aurocs:
        raise ValueError(
            "--keep zero_shot needs a label that some validation exams have and others have not, and --pair_with "
            "report: found none"
        )
    return 1 - float(np.mean(aurocs))


def broadcast_statistics(module: nn.Module) -> None:
    """
    Gives every process the main one's BatchNorm statistics: all evaluate the same model.

    DistributedDataParallel does so in each training pass, but evaluation runs the bare model.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        for statistic in module.buffers():
            dist.broadcast(statistic, src=0)


class TrainingLoop:
    """
    Trains one task to the end, to an early stop, or to a request to stop.

    Args:
        feed (`ExamFeed`): Its accelerator prepared the task's module and the optimizer.
        task (`Task`): What to train.
        optimizer, schedule: Of [`make_optimizer`]; the optimizer prepared, the schedule not.
        plan (`StepPlan`): Which exams each step sees.
        args (`TrainingArguments`): The command line's.
        best (`BestWeights`): Gets them where a validation was the best so far, or is the last so far and `--keep
            last`.
        parts (`RunParts`): What the run was given.
    """

    def __init__(
        self,
        feed: ExamFeed,
        task: Task,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        plan: StepPlan,
        args: TrainingArguments,
        best: BestWeights,
        parts: RunParts,
    ):
        self.feed, self.accelerator, self.task = feed, feed.accelerator, task
        self.schedule = schedule
        self.plan, self.args, self.best, self.parts = plan, args, best, parts
        if task.validation is None and args.early_stopping_patience is not None:
            raise ValueError("--early_stopping_patience needs a validation split: found none")
        self.steps = total_steps(args, plan)
        self.eval_steps = args.eval_steps or plan.steps_per_epoch
        saving = args.checkpointing_steps
        self.save_steps = int(saving) if saving.isdigit() else {"epoch": plan.steps_per_epoch, "no": None}[saving]
        self.checkpoints = Path(args.output_dir) / "checkpoints"
        self.saved_step = 0
        self.state = LoopState()
        self.grad_norm = torch.zeros(())
        self.losses: list[torch.Tensor] = []  # since the last log entry, left on the device
        self.waited = 0.0  # seconds in which the steps since then waited for their batches
        self.average = None
        if args.ema_decay is not None:
            self.average = WeightAverage(self.accelerator.unwrap_model(task.module), args.ema_decay)
        plain = {"loop": self.state, "schedule": schedule}
        self.run_state = RunState(self.accelerator, task.module, optimizer, self.average, plain)
        self.run_step = make_step(self.accelerator, task, optimizer, self.average, args, plan, self.steps)

    def resume(self) -> None:
        """
        Takes over the checkpoint that `--resume_from_checkpoint` names; without a whole one starts from step 0.

        Raises:
            `ValueError`: where the run was given something else that changes its result, naming all of it.
        """
        request = self.args.resume_from_checkpoint
        if request is None:
            return
        self._take_over(request)
        # It may have been finished, with fewer steps.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (Path(self.args.output_dir) / METRICS).unlink(missing_ok=True)

    def _take_over(self, request: str) -> None:
        path = find_checkpoint(request, self.checkpoints)
        if path is None:
            logger.info("no checkpoint yet: starting from the beginning")
            return
        record = read_numbers(path)["run"]
        self.parts.compare(record, path)
        self.run_state.read(path)
        self.best.take_from(path)
        self.parts.follow(record, self.state.step)
        self.saved_step = self.state.step
        self.losses = list(torch.tensor(self.state.losses, device=self.accelerator.device))
        logger.info(f"resumed from {path}: {self.state.step} of {self.steps} steps done")

    def run(self) -> bool:
        """
        Trains; returns whether the run ended by itself, and not by SIGTERM.

        Raises:
            `FloatingPointError`: where the loss is not a finite number, with the likely cause.
        """
        state, accelerator = self.state, self.accelerator
        batches = self.feed.training(self.task.exams, self.plan, state.step, self.steps)
        clock = time.perf_counter()
        # None: a bar is for a terminal, not for a file.
        hidden = None if accelerator.is_main_process else True
        progress = tqdm(total=self.steps, initial=state.step, disable=hidden, unit="step", desc="training")
        with progress, logging_redirect_tqdm(), StopRequest() as stop:
            while True:
                done = state.step >= self.steps
                due = state.step % self.eval_steps == 0 and self.task.validation is not None
                if (done or due) and state.step != state.evaluated_step:
                    self._evaluate()
                    clock = time.perf_counter()  # validation is not training time
                exhausted = self._patience_is_over()
                asked = self._asked_to_stop(stop)
                self._save(last=done or exhausted, asked=asked)
                if done or exhausted or asked:
                    return done or exhausted
                asked_for_data = time.perf_counter()
                batches_of_step = [next(batches) for _ in range(self.plan.accumulation)]
                self.waited += time.perf_counter() - asked_for_data
                self.losses.append(self._step(batches_of_step))
                state.step += 1
                progress.update()
                if state.step % self.args.logging_steps == 0 or state.step == self.steps:
                    self._log(time.perf_counter() - clock, progress)
                    clock = time.perf_counter()

    def _step(self, batches: list[Batch]) -> torch.Tensor:
        self.task.module.train()
        step = self.state.step
        seed = partial(seed_step, self.args.seed, step, self.accelerator.process_index)
        loss, self.grad_norm = self.run_step(batches, self.plan.rows(step), seed)
        self.schedule.step()
        return loss

    def _evaluate(self) -> None:
        """Validates, and keeps the best weights so far; the last ones with `--keep last`, and without validation."""
        state = self.state
        self._check_finite()
        self.task.module.eval()
        with self.average.applied() if self.average is not None else nullcontext():
            broadcast_statistics(self.task.module)
            if self.task.validation is None:
                state.best_step = state.step
                self.best.save()
            else:
                self._validate()
        state.evaluated_step = state.step

    def _validate(self) -> None:
        state, results = self.state, self.task.evaluate(self.task.validation)
        if not math.isfinite(results["loss"]):
            self._stop_for("validation loss", results["loss"])
        score = zero_shot_loss(results) if self.args.keep == "zero_shot" else results["loss"]
        better = state.best_loss is None or score < state.best_loss
        state.evaluations_since_best = 0 if better else state.evaluations_since_best + 1
        state.best_loss = score if better else state.best_loss
        if better or self.args.keep == "last":
            state.best_step = state.step
            self.best.save()
        self._record({f"eval_{name}": value for name, value in results.items()})
        logger.info(validation_line(state.step, results))

    def _patience_is_over(self) -> bool:
        patience = self.args.early_stopping_patience
        return patience is not None and self.state.evaluations_since_best >= patience

    def _asked_to_stop(self, stop: StopRequest) -> bool:
        """Whether any process got SIGTERM; all answer the same, or some would wait for the others for ever."""
        if self.accelerator.num_processes == 1:
            return stop.asked
        if self.state.step % STOP_CHECK_STEPS:
            return False
        return any(gather_object([stop.asked]))

    def _save(self, last: bool, asked: bool) -> None:
        """Saves where a checkpoint is due; who asks the run to stop gets one even with `--checkpointing_steps no`."""
        step = self.state.step
        due = self.save_steps is not None and (last or step % self.save_steps == 0)
        if step == self.saved_step or not (due or asked):
            return
        self._check_finite()
        # Of all processes: each resumes from the same file.
        self.losses = [self.accelerator.reduce(loss, reduction="mean") for loss in self.losses]
        self.state.losses = [loss.item() for loss in self.losses]
        save_checkpoint(self.accelerator, self.checkpoints, step, self.args.checkpoints_total_limit, self._write)
        self.saved_step = step

    def _write(self, folder: Path) -> None:
        self.run_state.write(folder, {"run": self.parts.as_of(self.state.step)})
        self.best.copy_to(folder)

    def _log(self, seconds: float, progress: tqdm) -> None:
        # The only synchronisation with the device between two log entries.
        self._check_finite()
        loss = self.accelerator.reduce(torch.stack(self.losses).mean(), reduction="mean").item()
        grad_norm = float(self.grad_norm)
        entry = {
            "loss": loss,
            # With float16 it overflows now and then; the scaler then passes over the step.
            **({"grad_norm": grad_norm} if math.isfinite(grad_norm) else {}),
            "learning_rate": self.schedule.get_last_lr()[0],
            "ecg_per_s": len(self.losses) * self.plan.global_batch_size / seconds,
            "data_wait_ms": 1000 * self.waited / len(self.losses),  # of a step
        }
        self.losses, self.waited = [], 0.0
        rates = {name: f"{entry[name]:.{digits}f}" for name, digits in (("ecg_per_s", 0), ("data_wait_ms", 1))}
        progress.set_postfix(loss=f"{loss:.4f}", **rates)
        self._record(entry)

    def _check_finite(self) -> None:
        """Raises where a loss since the last log entry is not a number: such weights must not be saved."""
        if not self.losses:
            return
        loss = self.accelerator.reduce(torch.stack(self.losses).sum(), reduction="sum").item()
        if not math.isfinite(loss):
            self._stop_for("loss", loss)

    def _stop_for(self, what: str, value: float) -> None:
        raise FloatingPointError(
            f"the {what} is {value} between steps {self.state.step - len(self.losses)} and {self.state.step}; "
            f"learning rate {self.schedule.get_last_lr()[0]:.2g}, gradient norm {float(self.grad_norm):.3g}. "
            f"{self._likely_cause()}"
        )

    def _likely_cause(self) -> str:
        if self.args.mixed_precision == "fp16":
            return "Likely cause: float16 overflowed; use --mixed_precision bf16 or no"
        if self.args.warmup_steps == 0:
            return "Likely cause: too large first steps; set --warmup_steps or a lower --learning_rate"
        return "Likely cause: too high a --learning_rate, or none of --max_grad_norm"

    def _record(self, entry: dict[str, float]) -> None:
        self.state.history.append({"step": self.state.step, **entry})
        self.accelerator.log(entry, step=self.state.step)
        if self.accelerator.is_main_process:
            write_json(Path(self.args.output_dir) / "history.json", self.state.history)
