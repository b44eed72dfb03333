"""What an ECG of stage 1 is matched with in place of its report: another view of itself, or what has no meaning."""

from types import SimpleNamespace

import numpy as np
import torch

from training.arguments import ContrastiveArguments, DataArguments, HubArguments
from training.contrastive import ContrastiveTask, Exams
from training.data import Batch, ExamSplit, TextEmbeddings


VIEWS_SEED = 0  # of the two views of a validation exam: the same at each evaluation, so that losses compare


def check_pairing(contrastive: ContrastiveArguments, data: DataArguments, hub: HubArguments) -> None:
    """
    Raises:
        ValueError: for arguments that do not go with `--pair_with`.
    """
    how = contrastive.pair_with
    if how == "report":
        return
    if hub.push_to_hub:
        raise ValueError(f"--pair_with {how} is for comparisons: its model card would speak of reports, so no upload")
    if how == "second_view" and not data.augment:
        raise ValueError("--pair_with second_view needs --augment: without it both views are the same")
    if how == "second_view" and (contrastive.positives != "paired" or contrastive.text_projection != "identity"):
        raise ValueError(
            "--pair_with second_view reads no report: it goes with --positives paired and --text_projection identity"
        )


def other_patients_reports(report_ids: np.ndarray, patient_ids: np.ndarray, seed: int) -> np.ndarray:
    """
    Returns the report ids dealt out anew, so that every exam has the report of another patient and none is lost.

    Args:
        report_ids (`np.ndarray` of int, shape `(exams,)`): Of a split.
        patient_ids (`np.ndarray` of str, shape `(exams,)`): Of the same exams.
        seed (`int`): Of the order of the patients.

    Raises:
        `ValueError`: where one patient has more than half of the exams.
    """
    patients, of_row, counts = np.unique(patient_ids.astype(str), return_inverse=True, return_counts=True)
    most = int(counts.max())
    if 2 * most > len(report_ids):
        raise ValueError(
            f"reports of other patients: patient {patients[counts.argmax()]} has {most} of {len(report_ids)} exams, "
            "expected at most half"
        )
    # One patient after the other: moved on by the most exams of any patient, no report stays with its own.
    order = np.argsort(np.random.default_rng(seed).permutation(len(patients))[of_row], kind="stable")
    dealt = np.empty_like(report_ids)
    dealt[order] = report_ids[np.roll(order, most)]
    return dealt


def pair_texts(how: str, text: TextEmbeddings, splits: dict[str, ExamSplit], seed: int) -> None:
    """
    Makes the texts of the splits, in place, what `--pair_with` asks for.

    Args:
        how (`str`): The flag.
        text (`TextEmbeddings`): Of all splits.
        splits (`dict[str, ExamSplit]`): That are used.
        seed (`int`): Of the random vectors, or of the order of the patients.
    """
    if how == "random_vector":
        text.embeds = np.random.default_rng(seed).standard_normal(text.embeds.shape, dtype=np.float32)
    if how == "other_report":
        for split in splits.values():
            split.report_ids = other_patients_reports(split.report_ids, split.patient_ids, seed)


class TwoViewsTask(ContrastiveTask):
    """
    Stage 1 from signals alone: each ECG is matched with another augmented view of itself, by the same loss.

    It is SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709) but for what stage 1 has otherwise: negatives are
    the other exams' second views, the projection is linear, and the temperature is learned.
    """

    def _forward(self, batch: Batch) -> SimpleNamespace:
        first, second = self._two_views(self.module, batch)
        return SimpleNamespace(ecg_embeds=first, text_embeds=second)

    def _two_views(self, module: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in batch.items()}
        output = module(input_values=self.feed.input_values(twice, training=True), text_embeds=twice["text_embeds"])
        first, second = output.ecg_embeds.chunk(2)
        return first, second

    def embed(self, exams: Exams) -> tuple[np.ndarray, np.ndarray]:
        """Returns the embeddings of two views of all exams in order, float32 (exams, projection_dim) each."""
        torch.manual_seed(VIEWS_SEED)  # the loop sets the generator anew for each step
        first, second, _ = self._rows(exams, lambda batch: torch.cat(self._two_views(self.model, batch), dim=1))
        return first, second

    def pair_ids(self, exams: Exams) -> np.ndarray:
        """Returns a number of its own for each exam: no other one has its second view."""
        return np.arange(len(exams))
