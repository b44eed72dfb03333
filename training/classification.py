"""Stage 2: diagnosis from labels."""

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from modeling_ecgclip.losses_ecgclip import multilabel_loss
from training.data import Batch, EmbeddedSplit, ExamSplit
from training.feed import ExamFeed


MAX_POS_WEIGHT = 100.0  # a label with a handful of positives would otherwise drown the others


def balanced_pos_weight(labels: np.ndarray) -> torch.Tensor:
    """
    Returns how much a positive of each label must weigh for positives and negatives to weigh the same.

    Args:
        labels (`np.ndarray` of shape `(exams, labels)`): 1, 0, or -1 where unknown.

    Returns:
        `torch.Tensor` float32 of shape `(labels,)`: negatives / positives, at most 100; 1 where either is missing.
    """
    positives, negatives = ((labels == value).sum(axis=0) for value in (1, 0))
    defined = (positives > 0) & (negatives > 0)
    weight = np.where(defined, negatives / np.maximum(positives, 1), 1.0)
    return torch.from_numpy(np.minimum(weight, MAX_POS_WEIGHT).astype(np.float32))


class ClassificationTask:
    """
    What the training loop needs to know of stage 2.

    Args:
        feed (`ExamFeed`): Reads the exams; its accelerator prepared `module`.
        module (`nn.Module`):
            [`EcgForSignalClassification`], prepared; or its linear head alone, for exams that are embedded already.
        exams, validation (`ExamSplit` or `EmbeddedSplit`): The latter where the encoder is frozen.
        pos_weight (`torch.Tensor` of shape `(labels,)`, *optional*): Weight of positives, in validation too.
    """

    def __init__(
        self,
        feed: ExamFeed,
        module: nn.Module,
        exams: ExamSplit | EmbeddedSplit,
        validation: ExamSplit | EmbeddedSplit,
        pos_weight: torch.Tensor | None = None,
    ):
        self.feed, self.accelerator = feed, feed.accelerator
        self.module, self.exams, self.validation = module, exams, validation
        self.model = self.accelerator.unwrap_model(module)
        self.pos_weight = None if pos_weight is None else pos_weight.to(self.accelerator.device)

    def backward(self, batches: list[Batch]) -> torch.Tensor:
        """Accumulates the gradients of one optimizer step: those of the mean over all its known labels everywhere."""
        n_known = sum((batch["labels"] >= 0).sum() for batch in batches)
        n_known = self.accelerator.reduce(n_known, reduction="sum")
        total = torch.zeros((), device=self.accelerator.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                logits = self._logits(self.module, batch, training=True)
                loss = multilabel_loss(logits, batch["labels"], self.pos_weight, n_known)
                # DistributedDataParallel takes the mean over processes of what is a part of one sum.
                loss = loss * self.accelerator.num_processes
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _logits(self, module: nn.Module, batch: Batch, training: bool = False) -> torch.Tensor:
        if "embeds" in batch:
            return module(batch["embeds"])
        return module(self.feed.input_values(batch, training)).logits

    def after_step(self) -> None:
        """Nothing to bound."""

    def logits(self, exams: ExamSplit | EmbeddedSplit) -> np.ndarray:
        """Returns the logits of all exams in order, float32 (exams, labels), in every process."""
        return self.feed.rows(exams, lambda batch: self._logits(self.model, batch), exams.labels.shape[1])

    def evaluate(self) -> dict[str, float]:
        """Returns the validation loss."""
        logits = torch.from_numpy(self.logits(self.validation))
        pos_weight = None if self.pos_weight is None else self.pos_weight.cpu()
        return {"loss": multilabel_loss(logits, torch.from_numpy(self.validation.labels), pos_weight).item()}


def embed_split(feed: ExamFeed, encoder: PreTrainedModel, exams: ExamSplit) -> EmbeddedSplit:
    """
    Returns a split whose ECGs are replaced by the frozen encoder's embeddings, computed once and shared out.

    Args:
        feed (`ExamFeed`): Reads the exams.
        encoder (`PreTrainedModel`): An ECG encoder on the device.
        exams (`ExamSplit`): To embed.
    """
    encoder.eval()
    with feed.accelerator.autocast():
        embeds = feed.rows(
            exams, lambda batch: encoder(feed.input_values(batch)).pooler_output, encoder.config.hidden_size
        )
    return EmbeddedSplit(exams, torch.from_numpy(embeds))
