"""Stage 1: the ECG encoder against the text of the reports, whose encoder is frozen or trained too."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from modeling_ecgclip.clip_ecgclip import EcgClipModel
from modeling_ecgclip.losses_ecgclip import measurement_loss
from training.data import Batch, EmbeddedSplit, ExamSplit
from training.evaluation import drawn_of
from training.feed import ExamFeed
from training.report_tokens import ReportTokens
from training.retrieval import (
    RetrievalRanks,
    retrieval_metrics,
    retrieval_ranks,
    retrieval_report,
    zero_shot_auroc,
    zero_shot_metrics,
)


# Validation loss depends on the number of negatives: fixed, so that runs with other batch sizes compare.
NEGATIVES_IN_VALIDATION = 256

Exams = ExamSplit | EmbeddedSplit


@contextmanager
def frozen_batch_norm_statistics(module: nn.Module) -> Iterator[None]:
    """Lets BatchNorm use the batch's statistics as in training without moving the running ones."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.SyncBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class ContrastiveTask:
    """
    What the training loop needs to know of stage 1.

    Args:
        feed (`ExamFeed`): Reads the exams; its accelerator prepared `module`.
        module (`nn.Module`): [`EcgClipModel`], prepared; a frozen text tower never runs in training.
        exams, validation (`ExamSplit`, or `EmbeddedSplit` where the ECG tower is frozen):
            With text embeddings, or else `tokens`; `validation` is None where the run does without.
        positives (`str`): `"paired"` or `"same_report"`.
        embed_prompts (`Mapping[str, Callable]`, *optional*):
            For zero-shot AUROC: what gives the pooled text embeddings of the labels' phrases, (labels, text width), by
            the prefix that their results get.
        tokens (`ReportTokens`, *optional*): Of the reports, where the text tower is trained.
        measurement_weight (`float`, defaults to 0.0):
            How much the loss of what was measured, which `exams` then hold, counts beside the contrastive one. 0: none
            of it is learned.
    """

    def __init__(
        self,
        feed: ExamFeed,
        module: nn.Module,
        exams: Exams,
        validation: Exams | None,
        positives: str,
        embed_prompts: Mapping[str, Callable[[], torch.Tensor]] | None = None,
        tokens: ReportTokens | None = None,
        measurement_weight: float = 0.0,
    ):
        self.feed, self.accelerator = feed, feed.accelerator
        self.module, self.exams, self.validation = module, exams, validation
        self.model: EcgClipModel = self.accelerator.unwrap_model(module)
        self.positives, self.embed_prompts, self.tokens = positives, embed_prompts or {}, tokens
        self.measurement_weight = measurement_weight
        self.label_names = [label["name"] for label in self.model.config.label_details]

    def backward(self, batches: list[Batch], rows: list[int]) -> torch.Tensor:
        """
        Accumulates the gradients of one optimizer step, whose negatives are all its exams in all processes.

        With several forward passes a step, all embeddings are computed first without gradient, then the loss over all
        of them, and each pass is repeated with the gradient of its embeddings (Gao et al. 2021,
        https://arxiv.org/abs/2101.06983). So accumulation adds negatives, at the price of a second forward pass.
        """
        n_known = self._n_known(batches)
        if len(batches) == 1:
            output = self._forward(batches[0])
            loss = self._loss(output.ecg_embeds, output.text_embeds, batches[0]["report_ids"], gather=rows)
            if n_known is not None:
                loss = loss + self._measurement_loss(output, batches[0], n_known)
            self.accelerator.backward(loss)
            return loss.detach()
        return self._backward_in_parts(batches, rows, n_known)

    def why_not_captured(self, passes: int) -> str | None:
        """See [`Task`](training/step.py)."""
        if self.tokens is not None:
            return "a text encoder in training reads texts of another length in each step"
        if passes == 1:
            return None
        return "with --gradient_accumulation_steps stage 1 sets the random state back, for each second forward pass"

    def _n_known(self, batches: list[Batch]) -> torch.Tensor | None:
        """How many measurements of a step's exams are known in all processes; None where none are learned."""
        if not self.measurement_weight:
            return None
        known = sum((~batch["measurements"].isnan()).sum() for batch in batches)
        return self.accelerator.reduce(known, reduction="sum")

    def _measurement_loss(self, output: Any, batch: Batch, n_known: torch.Tensor) -> torch.Tensor:
        """A batch's part of the step's loss; DistributedDataParallel takes the mean of the processes' parts."""
        spread = self.model.measurement_spread
        loss = measurement_loss(output.measurements, batch["measurements"], spread, n_known)
        return self.measurement_weight * self.accelerator.num_processes * loss

    def _backward_in_parts(self, batches: list[Batch], rows: list[int], n_known: torch.Tensor | None) -> torch.Tensor:
        dropout_states = []
        ecg_parts, text_parts = [], []
        with torch.no_grad(), frozen_batch_norm_statistics(self.module):
            for batch in batches:
                dropout_states.append(self._random_state())
                output = self._forward(batch)
                ecg_parts.append(output.ecg_embeds)
                text_parts.append(output.text_embeds)
        ecg, text = (torch.cat(parts).requires_grad_() for parts in (ecg_parts, text_parts))
        loss = self._loss(ecg, text, torch.cat([batch["report_ids"] for batch in batches]), gather=rows)
        temperature = [p for p in (self.model.logit_scale, self.model.logit_bias) if p is not None]
        # Not backward(): DistributedDataParallel must see the temperature's gradient once, with the last pass.
        ecg_grad, text_grad, *temperature_grads = torch.autograd.grad(loss, [ecg, text, *temperature])
        sizes = [len(part) for part in ecg_parts]
        last, total = len(batches) - 1, loss.detach()
        grads = zip(batches, ecg_grad.split(sizes), text_grad.split(sizes), strict=True)
        for i, (batch, ecg_part_grad, text_part_grad) in enumerate(grads):
            self._set_random_state(dropout_states[i])
            with nullcontext() if i == last else self.accelerator.no_sync(self.module):
                output = self._forward(batch)
                # Its gradient is the loss's: d loss / d embeddings times d embeddings / d weights.
                stand_in = (output.ecg_embeds * ecg_part_grad).sum() + (output.text_embeds * text_part_grad).sum()
                if i == last:
                    stand_in = stand_in + sum(p * g for p, g in zip(temperature, temperature_grads, strict=True))
                if n_known is not None:
                    of_measurements = self._measurement_loss(output, batch, n_known)
                    stand_in, total = stand_in + of_measurements, total + of_measurements.detach()
                self.accelerator.backward(stand_in)
        return total

    def _forward(self, batch: Batch) -> Any:  # EcgClipOutput, with both embeddings
        # Through the wrapped module's forward: other methods would bypass DistributedDataParallel.
        return self.module(**self._inputs(batch, training=True))

    def _inputs(self, batch: Batch, training: bool = False) -> Batch:
        """What the model takes of a batch: of both towers their input, or their output where they are frozen."""
        if "embeds" in batch:
            inputs = {"ecg_embeds": batch["embeds"]}
        else:
            inputs = {"input_values": self.feed.input_values(batch, training)}
        if self.tokens is not None:
            return inputs | self.tokens(batch["report_ids"], training)
        return inputs | {"text_embeds": batch["text_embeds"]}

    def _loss(
        self, ecg_embeds: torch.Tensor, text_embeds: torch.Tensor, report_ids: torch.Tensor, gather: bool | list[int]
    ) -> torch.Tensor:
        ids = report_ids if self.positives == "same_report" else None
        return self.model.contrastive_loss(ecg_embeds, text_embeds, ids, gather)

    def _random_state(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        cuda = torch.cuda.get_rng_state(self.accelerator.device) if self.accelerator.device.type == "cuda" else None
        return torch.get_rng_state(), cuda

    def _set_random_state(self, state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], self.accelerator.device)

    def after_step(self) -> None:
        """Keeps the temperature in bounds."""
        self.model.clamp_logit_scale_()

    def embed(self, exams: Exams) -> tuple[np.ndarray, np.ndarray]:
        """Returns ECG and text embeddings of all exams in order, float32 (exams, projection_dim), in every process."""
        ecg_embeds, text_embeds, _ = self._outputs(exams, 0)
        return ecg_embeds, text_embeds

    def _outputs(self, exams: Exams, n_numbers: int) -> list[np.ndarray]:
        """As `embed`, and so many measurements as the model tells them, (exams, n_numbers)."""

        def joined(batch: Batch) -> torch.Tensor:
            output = self.model(**self._inputs(batch))
            measurements = [output.measurements] if n_numbers else []
            return torch.cat([output.ecg_embeds, output.text_embeds, *measurements], dim=1)

        return self._rows(exams, joined, n_numbers)

    def _rows(self, exams: Exams, joined: Callable[[Batch], torch.Tensor], n_numbers: int = 0) -> list[np.ndarray]:
        """What a function gives side by side: embeddings of two kinds, and numbers."""
        width = self.model.config.projection_dim
        rows = self.feed.rows(exams, joined, 2 * width + n_numbers)
        return [np.ascontiguousarray(part) for part in np.split(rows, [width, 2 * width], axis=1)]

    def pair_ids(self, exams: Exams) -> np.ndarray:
        """Returns what tells pairs apart, int (exams,): exams with equal numbers have the same text."""
        return exams.report_ids

    @torch.no_grad()
    def evaluate(self, exams: Exams) -> dict[str, float]:
        """Returns the validation loss with a fixed number of negatives, retrieval both ways, and zero-shot AUROC."""
        told = None
        if self.measurement_weight:
            ecg_embeds, text_embeds, told = self._outputs(exams, len(self.model.measurement_spread))
        else:
            ecg_embeds, text_embeds = self.embed(exams)
        ids = self.pair_ids(exams)
        # Mixed once and for all: neighbours in the table may be exams of one patient.
        order = np.random.default_rng(0).permutation(len(ids))
        n_parts = max(1, len(order) // NEGATIVES_IN_VALIDATION)
        losses = []
        for rows in np.array_split(order, n_parts):
            parts = (torch.from_numpy(of[rows]).to(self.accelerator.device) for of in (ecg_embeds, text_embeds, ids))
            losses.append(self._loss(*parts, gather=False))
        retrieval = retrieval_metrics(ecg_embeds, text_embeds, ids, self.accelerator.device)
        results = {"loss": torch.stack(losses).mean().item(), **retrieval}
        if told is not None:
            results["measurement_loss"] = self._measured_loss(told, exams)
            results["loss"] += self.measurement_weight * results["measurement_loss"]
        for prefix in self.embed_prompts:
            results |= self._zero_shot(prefix, ecg_embeds, exams.labels)
        return results

    @torch.no_grad()
    def report(self, exams: Exams) -> tuple[dict[str, Any], RetrievalRanks]:
        """
        Returns what `metrics.json` says of a split that neither weights nor step were chosen on, and its ranks.

        Args:
            exams (`ExamSplit` or `EmbeddedSplit`): Usually the test split.
        """
        ecg_embeds, text_embeds = self.embed(exams)
        ranks = retrieval_ranks(ecg_embeds, text_embeds, self.pair_ids(exams), self.accelerator.device)
        patients = exams.patient_ids.astype(str)
        resampled = drawn_of(exams.exam_ids, exams.patient_ids)
        result: dict[str, Any] = {
            "n_exams": len(exams),
            "n_patients": len(np.unique(patients)),
            "retrieval": {**retrieval_report(ranks, patients), "resampled": resampled},
        }
        for prefix in self.embed_prompts:
            result[prefix] = zero_shot_metrics(
                ecg_embeds, self._prompts(prefix), exams.labels, self.label_names, patients.tolist()
            )
            result[prefix]["intervals"]["resampled"] = resampled
        return result, ranks

    def _prompts(self, prefix: str) -> torch.Tensor:
        """The labels' phrases in the joint space, (labels, projection_dim)."""
        return self.model.get_text_features(text_embeds=self.embed_prompts[prefix]().to(self.accelerator.device))

    def _measured_loss(self, told: np.ndarray, exams: Any) -> float:
        """The loss of what the model tells of a split's measurements, as one batch."""
        spread = self.model.measurement_spread.cpu()
        return measurement_loss(torch.from_numpy(told), torch.from_numpy(exams.measurements), spread).item()

    def _zero_shot(self, prefix: str, ecg_embeds: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """AUROC of each label that is there both ways, and their mean."""
        ranked = zero_shot_auroc(ecg_embeds, self._prompts(prefix), labels, self.label_names)
        of_label = {name: values["auroc"] for name, values in ranked["per_class"].items()}
        found = {f"{prefix}_auroc_{name}": value for name, value in of_label.items() if value is not None}
        return {**found, f"{prefix}_auroc_mean": float(np.mean(list(found.values())))} if found else {}
