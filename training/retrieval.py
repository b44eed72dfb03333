"""Retrieval and zero-shot scores of embeddings, with intervals by patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, rank_metrics


RECALL_AT = (1, 5, 10)
# Cosines in float32 differ by this much with the order of summation; closer ones count as equal.
TIE_TOLERANCE = 1e-6
SIMILARITY_BLOCK = 16_000_000  # similarities held at once (64 MB), whatever the number of exams


@dataclass(frozen=True, eq=False)
class RetrievalRanks:
    """
    Rank of the best hit of each query, 1 the best.

    Args:
        ecg_to_text (`np.ndarray` of int64, shape `(ecgs,)`):
            Place of each ECG's own report among the distinct reports.
        text_to_ecg (`np.ndarray` of int64, shape `(reports,)`):
            Place of the best of a report's own ECGs among the ECGs, its other own ECGs not counted.
        ecgs_of_report (`np.ndarray` of int64, shape `(reports,)`):
            How many ECGs have each report.
    """

    ecg_to_text: np.ndarray
    text_to_ecg: np.ndarray
    ecgs_of_report: np.ndarray

    def recall(self, ks: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Recall at each of `ks`, ECG to text and text to ECG: two float arrays of the length of `ks`."""
        to_text, to_ecg = (np.array([(of <= k).mean() for k in ks]) for of in (self.ecg_to_text, self.text_to_ecg))
        return to_text, to_ecg

    def chance(self, ks: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What ranking at random would reach, in the shape of `recall`."""
        n_ecgs, n_reports = len(self.ecg_to_text), len(self.text_to_ecg)
        to_text = np.minimum(1.0, np.asarray(ks) / n_reports)
        misses = (n_ecgs - self.ecgs_of_report)[:, None]
        # No hit in the first k drawn without replacement; a factor of 0 where the misses have run out.
        drawn = np.arange(min(max(ks), n_ecgs))
        no_hit = np.cumprod(np.maximum(misses - drawn, 0) / (n_ecgs - drawn), axis=1).mean(axis=0)
        return to_text, 1 - no_hit[np.minimum(np.asarray(ks), n_ecgs) - 1]


def retrieval_ranks(
    ecg_embeds: Any, text_embeds: Any, report_ids: Any, device: torch.device | str = "cpu"
) -> RetrievalRanks:
    """
    Ranks by cosine similarity in both directions, in blocks, so that memory does not grow with exams x reports.

    Reports repeat, so candidates and queries on the text side are the distinct reports, and a hit is any equal
    `report_id`: a normal ECG's report must not take thousands of places. Equal similarities count against the hit, or
    embeddings that have all collapsed into one would look perfect.

    Args:
        ecg_embeds, text_embeds (array or tensor of shape `(exams, width)`):
            Of the same exams, row by row; any length, they are normalised here.
        report_ids (array or tensor of int, shape `(exams,)`):
            Equal for equal texts; exams with -1 (no report) are left out.
        device (`torch.device` or `str`, defaults to `"cpu"`):
            Where similarities are computed, in float32.

    Raises:
        ValueError: if shapes differ, no exam has a report, an embedding is zero or not finite, or rows with equal
            `report_id` have different text embeddings.
    """
    ecg, text = to_numpy(ecg_embeds).astype(np.float32), to_numpy(text_embeds).astype(np.float32)
    ids = to_numpy(report_ids)
    if ecg.ndim != 2 or ecg.shape != text.shape or ids.shape != ecg.shape[:1]:
        raise ValueError(
            f"expected ECG and text embeddings of one shape (exams, width) and report ids (exams,), "
            f"found {ecg.shape}, {text.shape} and {ids.shape}"
        )
    kept = ids >= 0
    if not kept.any():
        raise ValueError(f"expected exams with a report (report_id >= 0), found none among {len(ids)}")
    ecg, text = _unit_rows(ecg[kept], "ecg_embeds"), _unit_rows(text[kept], "text_embeds")
    distinct, first, report = np.unique(ids[kept], return_index=True, return_inverse=True)
    # sqrt(2 - 2 cos) = 0.01: room for bf16 rounding, not for another text.
    differing = np.einsum("ij,ij->i", text, text[first][report]) < 1 - 5e-5
    if differing.any():
        raise ValueError(f"report id {ids[kept][differing][0]}: expected one text embedding, found different ones")
    text = text[first]

    own = np.einsum("ij,ij->i", ecg, text[report])
    best_of_report = np.full(len(distinct), -np.inf, dtype=np.float32)
    np.maximum.at(best_of_report, report, own)
    ecg_to_text, text_to_ecg = _places(ecg, text, report, own - TIE_TOLERANCE, best_of_report - TIE_TOLERANCE, device)
    return RetrievalRanks(ecg_to_text, text_to_ecg, np.bincount(report))


@torch.no_grad()
def _places(
    ecg: np.ndarray,
    text: np.ndarray,
    report: np.ndarray,
    of_ecg: np.ndarray,
    of_text: np.ndarray,
    device: torch.device | str,
) -> tuple[np.ndarray, np.ndarray]:
    """1 + the foreign candidates that reach the limit of each ECG and of each text: int64 `(ecgs,)`, `(texts,)`."""
    ecgs, texts, own, limits, text_limits = (
        torch.from_numpy(array).to(device) for array in (ecg, text, report, of_ecg, of_text)
    )
    to_text, to_ecg = (torch.ones(len(of), dtype=torch.int64, device=device) for of in (ecgs, texts))
    block = max(1, SIMILARITY_BLOCK // len(texts))
    for start in range(0, len(ecgs), block):
        rows = slice(start, start + block)
        similarity = ecgs[rows] @ texts.T  # (block, texts)
        similarity.scatter_(1, own[rows, None], -torch.inf)  # hits do not outrank each other
        # int32: a processor counts in torch's own int64 half as fast
        to_text[rows] += (similarity >= limits[rows, None]).sum(dim=1, dtype=torch.int32)
        to_ecg += (similarity >= text_limits).sum(dim=0, dtype=torch.int32)
    return to_text.cpu().numpy(), to_ecg.cpu().numpy()


def retrieval_metrics(
    ecg_embeds: Any, text_embeds: Any, report_ids: Any, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """
    Recall at 1, 5 and 10 and median rank in both directions; arguments, ties and errors as [`retrieval_ranks`].

    Returns:
        Flat `dict` for logs: `ecg_to_text_recall_at_1` ... `ecg_to_text_median_rank`, `text_to_ecg_...`, and the sizes
        `retrieval_ecgs` and `retrieval_reports`, without which a recall says nothing.
    """
    ranks = retrieval_ranks(ecg_embeds, text_embeds, report_ids, device)
    result: dict[str, float] = {}
    recalls = ranks.recall(RECALL_AT)
    for name, recall in zip(("ecg_to_text", "text_to_ecg"), recalls, strict=True):
        result |= {f"{name}_recall_at_{k}": float(value) for k, value in zip(RECALL_AT, recall, strict=True)}
        result[f"{name}_median_rank"] = float(np.median(getattr(ranks, name)))
    return result | {"retrieval_ecgs": len(ranks.ecg_to_text), "retrieval_reports": len(ranks.text_to_ecg)}


def zero_shot_auroc(
    ecg_embeds: Any,
    prompt_embeds: Any,
    labels: Any,
    label_names: Sequence[str],
    negative_prompt_embeds: Any | None = None,
) -> dict[str, Any]:
    """
    AUROC and average precision of the cosine similarity between an ECG and the text that names a diagnosis.

    Args:
        ecg_embeds (array or tensor of shape `(exams, width)`), prompt_embeds (of shape `(labels, width)`):
            Any length; normalised here.
        labels (array or tensor of shape `(exams, labels)`):
            1 present, 0 absent, -1 unknown.
        label_names (`Sequence[str]`):
            In the order of `prompt_embeds`.
        negative_prompt_embeds (of shape `(labels, width)`, *optional*):
            Texts that name the absence; the score is then the difference of the two similarities.

    Returns:
        `dict` of `rank_metrics`: `per_class`, `mean`, `undefined`.

    Raises:
        ValueError: if shapes do not fit, or an embedding is zero or not finite.
    """
    scores = _prompt_scores(ecg_embeds, prompt_embeds, label_names, negative_prompt_embeds)
    return rank_metrics(scores, to_numpy(labels), label_names)


def zero_shot_metrics(
    ecg_embeds: Any,
    prompt_embeds: Any,
    labels: Any,
    label_names: Sequence[str],
    patient_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """
    The result of [`zero_shot_auroc`] with `intervals` by a bootstrap over patients.

    Args:
        ecg_embeds, prompt_embeds, labels, label_names:
            As for [`zero_shot_auroc`].
        patient_ids (`Sequence[str]` of length `exams`):
            Patients group the exams.
        n_resamples (`int`, defaults to 1000), seed (`int`, defaults to 0):
            Of the bootstrap.

    Returns:
        `dict` ready for `write_json`: `per_class`, `mean`, `undefined`, and `intervals` of `bootstrap_intervals` for
        the two metrics that need no threshold.
    """
    scores = _prompt_scores(ecg_embeds, prompt_embeds, label_names)
    labels = to_numpy(labels)
    # Any rising function of the cosine has the same ranks; the bootstrap takes probabilities.
    as_probabilities = np.clip((scores.astype(np.float64) + 1) / 2, 0, 1)
    unused = [0.5] * len(label_names)
    intervals = bootstrap_intervals(
        as_probabilities, labels, unused, label_names, patient_ids, n_resamples=n_resamples, seed=seed
    )
    ranked = rank_metrics(scores, labels, label_names)
    kept = ranked["mean"]
    intervals["per_class"] = {
        name: {metric: values[metric] for metric in kept} for name, values in intervals["per_class"].items()
    }
    intervals["mean"] = {metric: intervals["mean"][metric] for metric in kept}
    intervals["undefined"] = [entry for entry in intervals["undefined"] if entry["metric"] in kept]
    return {**ranked, "intervals": intervals}


def retrieval_report(
    ranks: RetrievalRanks, patient_ids: Sequence[str], n_resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """
    Recall at 1, 5 and 10 in both directions with what chance would reach, as nested `dict` ready for `write_json`.

    Args:
        ranks (`RetrievalRanks`):
            Of [`retrieval_ranks`].
        patient_ids (`Sequence[str]` of length `ecgs`):
            Of the ECGs that were ranked. The intervals of ECG to report come from a bootstrap over patients; a report
            is no patient's own, so the other direction has none.
        n_resamples (`int`, defaults to 1000), seed (`int`, defaults to 0):
            Of the bootstrap.

    Returns:
        `dict` with `ecgs`, `reports` (distinct), and for `ecg_to_text` and `text_to_ecg`: `median_rank` and
        `recall_at_<k>` {`value`, `chance`, and for ECG to report `low`, `high`, None with a `reason` where there are
        too few queries or patients}.
    """
    names = [f"recall_at_{k}" for k in RECALL_AT]
    hits = (ranks.ecg_to_text[:, None] <= np.array(RECALL_AT)).astype(float)
    # Where every query has a hit to find, the share of queries that found it is the accuracy of a classifier.
    drawn = bootstrap_intervals(
        hits, np.ones_like(hits, dtype=int), [0.5] * len(names), names, patient_ids, n_resamples=n_resamples, seed=seed
    )
    report: dict[str, Any] = {"ecgs": len(ranks.ecg_to_text), "reports": len(ranks.text_to_ecg)}
    directions = zip(("ecg_to_text", "text_to_ecg"), ranks.recall(RECALL_AT), ranks.chance(RECALL_AT), strict=True)
    for direction, recall, chance in directions:
        report[direction] = {"median_rank": float(np.median(getattr(ranks, direction)))}
        for name, value, by_chance in zip(names, recall, chance, strict=True):
            report[direction][name] = {"value": float(value), "chance": float(by_chance)}
            if direction == "ecg_to_text":
                interval = drawn["per_class"][name]["accuracy"]
                report[direction][name] |= {key: interval[key] for key in ("low", "high", "reason") if key in interval}
    return report


def _prompt_scores(
    ecg_embeds: Any, prompt_embeds: Any, label_names: Sequence[str], negative_prompt_embeds: Any | None = None
) -> np.ndarray:
    """`(exams, labels)` cosines of ECGs and texts, less those of the negative texts where there are some."""
    ecg = _unit_rows(to_numpy(ecg_embeds).astype(np.float32), "ecg_embeds")
    scores = np.zeros((len(ecg), len(label_names)), dtype=np.float32)
    for sign, name, given in (
        (1, "prompt_embeds", prompt_embeds),
        (-1, "negative_prompt_embeds", negative_prompt_embeds),
    ):
        if given is None:
            continue
        prompts = _unit_rows(to_numpy(given).astype(np.float32), name)
        if prompts.shape != (len(label_names), ecg.shape[1]):
            raise ValueError(f"{name}: expected shape ({len(label_names)}, {ecg.shape[1]}), found {prompts.shape}")
        scores = scores + sign * (ecg @ prompts.T)
    return scores


def _unit_rows(embeds: np.ndarray, name: str) -> np.ndarray:
    """Rows of length 1."""
    if embeds.ndim != 2:
        raise ValueError(f"{name}: expected shape (rows, width), found {embeds.shape}")
    norms = np.linalg.norm(embeds, axis=1, keepdims=True)
    wrong = ~(np.isfinite(norms) & (norms > 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name}: expected finite rows that are not zero, found norm {norms[row, 0]} in row {row}")
    return embeds / norms


def to_numpy(values: Any) -> np.ndarray:
    """Array of a numpy array, a sequence or a torch tensor on any device; half precisions become float32."""
    if hasattr(values, "detach"):  # a tensor, without importing torch for those who have none
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
        values = values.numpy()
    return np.asarray(values)
