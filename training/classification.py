"""Stage 2: diagnosis from labels."""

from contextlib import nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import Dataset

from modeling_ecgclip.losses_ecgclip import multilabel_loss

from .data import Batch, EmbeddedSplit, ExamSplit, ordered_batches


class ClassificationTask:
    """
    What the training loop needs to know of stage 2.

    Args:
        accelerator (`Accelerator`): What `module` was prepared with.
        module (`nn.Module`):
            [`EcgResNetForSignalClassification`], prepared; or its linear head alone, for exams that are embedded
            already.
        exams, validation (`ExamSplit` or `EmbeddedSplit`): The latter where the encoder is frozen.
        microvolts_per_unit (`float`): Of the model's input; see `training/data.py`.
        eval_batch_size (`int`): ECGs of one forward pass in validation.
        num_workers (`int`): Processes that read the table.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        exams: Dataset,
        validation: Dataset,
        microvolts_per_unit: float,
        eval_batch_size: int,
        num_workers: int,
    ):
        self.accelerator, self.module, self.exams, self.validation = accelerator, module, exams, validation
        self.microvolts_per_unit = microvolts_per_unit
        self.eval_batch_size, self.num_workers = eval_batch_size, num_workers

    def backward(self, batches: list[Batch]) -> torch.Tensor:
        """Accumulates the gradients of one optimizer step: those of the mean over all its known labels everywhere."""
        n_known = sum((batch["labels"] >= 0).sum() for batch in batches)
        n_known = self.accelerator.reduce(n_known, reduction="sum")
        total = torch.zeros((), device=self.accelerator.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                loss = multilabel_loss(self._logits(batch), batch["labels"], n_known=n_known)
                # DistributedDataParallel takes the mean over processes of what is a part of one sum.
                loss = loss * self.accelerator.num_processes
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _logits(self, batch: Batch) -> torch.Tensor:
        if "embeds" in batch:
            return self.module(batch["embeds"])
        return self.module(batch["ecg"] / self.microvolts_per_unit).logits

    def after_step(self) -> None:
        """Nothing to bound."""

    @torch.no_grad()
    def logits(self, exams: Dataset) -> np.ndarray:
        """Returns the logits of all exams in order, float32 (exams, labels), in every process."""
        parts = [self._logits(batch).float().cpu() for batch in self._ordered(exams)]
        mine = torch.cat([torch.empty(0, exams.labels.shape[1]), *parts]).numpy()
        return np.concatenate(gather_object([mine]))

    def evaluate(self) -> dict[str, float]:
        """Returns the validation loss."""
        logits = torch.from_numpy(self.logits(self.validation))
        return {"loss": multilabel_loss(logits, torch.from_numpy(self.validation.labels)).item()}

    def _ordered(self, exams: Dataset):
        return ordered_batches(
            exams,
            self.eval_batch_size,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.num_workers,
            self.accelerator.device,
        )


@torch.no_grad()
def embed_split(
    accelerator: Accelerator,
    encoder: nn.Module,
    exams: ExamSplit,
    microvolts_per_unit: float,
    batch_size: int,
    num_workers: int,
) -> EmbeddedSplit:
    """
    Returns a split whose ECGs are replaced by the frozen encoder's embeddings, computed once and shared out.

    Args:
        accelerator (`Accelerator`): Its processes share the work.
        encoder (`nn.Module`): [`EcgResNetModel`] on the device.
        exams (`ExamSplit`): To embed.
        microvolts_per_unit, batch_size, num_workers: As in [`ClassificationTask`].
    """
    encoder.eval()
    rank, world = accelerator.process_index, accelerator.num_processes
    parts = []
    with accelerator.autocast():
        for batch in ordered_batches(exams, batch_size, rank, world, num_workers, accelerator.device):
            parts.append(encoder(batch["ecg"] / microvolts_per_unit).pooler_output.float().cpu())
    mine = torch.cat([torch.empty(0, encoder.config.hidden_size), *parts]).numpy()
    return EmbeddedSplit(exams, torch.from_numpy(np.concatenate(gather_object([mine]))))
