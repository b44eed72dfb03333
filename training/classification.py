"""Stage 2: labels or numbers from ECGs."""

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from training.data import Batch, EmbeddedSplit, ExamSplit
from training.feed import ExamFeed
from training.targets import Targets


Exams = ExamSplit | EmbeddedSplit


class ClassificationTask:
    """
    What the training loop needs to know of stage 2.

    Args:
        feed (`ExamFeed`): Reads the exams; its accelerator prepared `module`.
        module (`nn.Module`):
            [`EcgForSignalClassification`], prepared; or its linear head alone, for exams that are embedded already.
        exams, validation (`ExamSplit` or `EmbeddedSplit`): The latter where the encoder is frozen; `validation` is
            None where the run does without.
        targets (`Targets`): What the outputs are to say.
    """

    def __init__(
        self,
        feed: ExamFeed,
        module: nn.Module,
        exams: Exams,
        validation: Exams | None,
        targets: Targets,
    ):
        self.feed, self.accelerator = feed, feed.accelerator
        self.module, self.exams, self.validation = module, exams, validation
        self.model = self.accelerator.unwrap_model(module)
        self.targets = targets

    def backward(self, batches: list[Batch], rows: list[int]) -> torch.Tensor:
        """Accumulates the gradients of one optimizer step: of the mean over all that is known of it, everywhere."""
        n_known = sum(self.targets.n_known(batch["labels"]) for batch in batches)
        n_known = self.accelerator.reduce(n_known, reduction="sum")
        total = torch.zeros((), device=self.accelerator.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                outputs = self._outputs(self.module, batch, training=True)
                loss = self.targets.loss(outputs, batch["labels"], n_known)
                # DistributedDataParallel takes the mean over processes of what is a part of one sum.
                loss = loss * self.accelerator.num_processes
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _outputs(self, module: nn.Module, batch: Batch, training: bool = False) -> torch.Tensor:
        if "embeds" in batch:
            return module(batch["embeds"])
        return module(self.feed.input_values(batch, training)).logits

    def why_not_captured(self, passes: int) -> str | None:
        """Nothing is in the way."""
        return None

    def after_step(self) -> None:
        """Nothing to bound."""

    def outputs(self, exams: Exams) -> np.ndarray:
        """Returns the head's outputs for all exams in order, float32 (exams, outputs), in every process."""
        return self.feed.rows(exams, lambda batch: self._outputs(self.model, batch), len(self.targets.labels))

    def evaluate(self, exams: Exams) -> dict[str, float]:
        """Returns the loss of a split as one batch."""
        outputs = torch.from_numpy(self.outputs(exams))
        return {"loss": self.targets.loss(outputs, torch.from_numpy(exams.labels)).item()}


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
