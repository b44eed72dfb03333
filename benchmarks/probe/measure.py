"""Who trains, who chooses, who is tested: a probe's protocols, and the AUROC that they give."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.probe.heads import STRENGTHS, head_scores
from metrics.ecg_multilabel.ecg_multilabel import METRICS, RESTS_ON, metrics_by_weight, rank_metrics
from metrics.ecg_multilabel.resampling import (
    Counts,
    draw_resamples,
    group_numbers,
    percentile_interval,
    too_few_for_intervals,
)
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL
from training.data import ExamSplit, fraction_of_patients


AUROC = METRICS.index("auroc")
N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Exams:
    """
    All exams of a table, split after split.

    Args:
        names (`tuple[str]`): Of the labels.
        labels (`np.ndarray` of shape `(exams, labels)`): 1, 0 or -1 (unknown).
        patients (`np.ndarray` of str): Of each exam.
        splits (`np.ndarray` of str): Of each exam.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray
    splits: np.ndarray

    @classmethod
    def of(cls, splits: dict[str, ExamSplit], names: Sequence[str]) -> "Exams":
        """Returns the exams of a table's splits."""
        labels = np.concatenate([split.labels for split in splits.values()])
        patients = np.concatenate([split.patient_ids.astype(str) for split in splits.values()])
        return cls(tuple(names), labels, patients, np.repeat(list(splits), [len(one) for one in splits.values()]))


@dataclass(frozen=True, eq=False)
class Part:
    """
    Rows of one training and test.

    Args:
        train, validation (`np.ndarray` of int): For choosing the penalty.
        final (`np.ndarray` of int): From which the heads that are tested are trained.
        test (`np.ndarray` of int): Without a patient of the others.
    """

    train: np.ndarray
    validation: np.ndarray
    final: np.ndarray
    test: np.ndarray


def split_part(exams: Exams) -> Part:
    """Returns the table's own splits."""
    train, validation, test = (np.flatnonzero(exams.splits == name) for name in ("train", "validation", "test"))
    return Part(train, validation, train, test)


def fold_parts(patients: np.ndarray, n_folds: int = N_FOLDS) -> list[Part]:
    """
    Returns the rotations of folds by patient, whose splits are passed over: each fold is tested once, the next one
    chooses the penalty of heads from the others, and then trains with them.
    """
    digests = [hashlib.sha256(f"fold:{patient}".encode()).digest() for patient in patients]
    fold = np.array([int.from_bytes(digest[:8], "big") % n_folds for digest in digests])
    rows = [np.flatnonzero(fold == number) for number in range(n_folds)]
    parts = []
    for number, test in enumerate(rows):
        validation = rows[(number + 1) % n_folds]
        final = np.setdiff1d(np.arange(len(patients)), test)
        parts.append(Part(np.setdiff1d(final, validation), validation, final, test))
    return parts


def drawn(exams: Exams, pool: np.ndarray, fraction: float, draw: int) -> np.ndarray:
    """Returns the rows of a random part of a pool's patients."""
    return pool[fraction_of_patients(exams.patients[pool], fraction, draw)]


def chosen_strength(embeds: np.ndarray, exams: Exams, part: Part, fraction: float, n_draws: int) -> float:
    """Returns the strength of the highest mean AUROC on validation, over all draws; the lowest one of equals."""
    reached = np.zeros(len(STRENGTHS))
    for draw in range(n_draws):
        trained = drawn(exams, part.train, fraction, draw)
        scores = head_scores(embeds, exams.labels, part.train, trained, STRENGTHS)[:, part.validation]
        found = [rank_metrics(one, exams.labels[part.validation], exams.names)["mean"]["auroc"] for one in scores]
        reached += np.array(found, float)  # undefined, where validation has no label two ways: NaN
    return STRENGTHS[int(np.nan_to_num(reached).argmax())]


@dataclass(frozen=True, eq=False)
class Probed:
    """
    Scores of the tested exams.

    Args:
        scores (`np.ndarray` of shape `(draws, exams, labels)`): Probabilities.
        tested (`np.ndarray` of bool, shape `(draws, exams)`): Which exams count.
        facts (`dict`): `fraction`, exams trained on (mean over draws and parts), strengths chosen in each part.
    """

    scores: np.ndarray
    tested: np.ndarray
    facts: dict[str, Any]


def probe(embeds: np.ndarray, exams: Exams, parts: Sequence[Part], fraction: float, n_draws: int) -> Probed:
    """
    Returns what linear heads say of every tested exam.

    Args:
        embeds (`np.ndarray` of shape `(exams, width)`): Of a frozen encoder.
        exams (`Exams`): Their labels and patients.
        parts (`Sequence[Part]`): The rotations; each test exam is in one of them.
        fraction (`float`): Share of the training exams whose labels are used, whole patients. All are one draw.
        n_draws (`int`): Draws of a smaller share.
    """
    n_draws = 1 if fraction == 1 else n_draws
    scores = np.full((n_draws, *exams.labels.shape), 0.5)
    tested = np.zeros((n_draws, len(exams.labels)), bool)
    chosen, sizes = [], []
    for part in parts:
        chosen.append(chosen_strength(embeds, exams, part, fraction, n_draws))
        tested[:, part.test] = True
        for draw in range(n_draws):
            trained = drawn(exams, part.final, fraction, draw)
            found = head_scores(embeds, exams.labels, part.final, trained, (chosen[-1],))[0]
            scores[draw, part.test] = found[part.test]
            sizes.append(len(trained))
    return Probed(scores, tested, {"fraction": fraction, "n_trained": float(np.mean(sizes)), "strengths": chosen})


def measured(exams: Exams, scores: np.ndarray, tested: np.ndarray, n_resamples: int = 1000) -> dict[str, Any]:
    """
    Returns AUROC of each label and its means, each the mean over draws, with 95 % intervals over patients.

    A resample weighs the patients alike in all draws. Labels with fewer than ten positives (or patients that have
    them) have no interval, as everywhere in this project; `mean` is over all labels that the exams define, `mean_10`
    over those that have an interval.

    Args:
        exams (`Exams`): With the labels.
        scores (`np.ndarray` of shape `(draws, exams, labels)`): Any order of rank.
        tested (`np.ndarray` of bool, shape `(draws, exams)`): What counts in each draw.
        n_resamples (`int`, defaults to 1000): Of the bootstrap.

    Returns:
        `dict` ready for JSON: `per_class` {label: {`auroc`, `sd` over draws, `low`, `high`, `n_positive`}}, `mean`
        and `mean_10` {the same, with `n_labels`}; None where undefined. `n_positive` is that of all draws together.
    """
    labels = np.where(tested[:, :, None], exams.labels, UNKNOWN_LABEL)  # (draws, exams, labels)
    group, n_groups = group_numbers(exams.patients, len(exams.patients))
    half = np.full(len(exams.names), 0.5)
    values_of = [
        metrics_by_weight(of_draw, known, half, exams.names, exams.patients)
        for of_draw, known in zip(scores, labels, strict=True)
    ]
    by_draw = np.stack([values(np.ones((1, n_groups)))[0, :, AUROC] for values in values_of])  # (draws, labels)
    resampled = np.concatenate(
        [
            np.mean([values(weights)[:, :, AUROC] for values in values_of], axis=0)
            for weights in draw_resamples(n_groups, n_resamples, 0)
        ]
    )  # (resamples, labels)
    ever = labels.max(axis=0)  # tested in one draw or more
    kinds = {
        kind: np.stack([np.bincount(group, of, n_groups) for of in (ever == value).T], axis=1)
        for kind, value in (("positives", 1), ("negatives", 0))
    }
    counts = Counts.of(kinds)
    few = too_few_for_intervals(counts, exams.names, {"auroc": RESTS_ON["auroc"]})
    positives = counts.exams["positives"].astype(int).tolist()

    def entry(columns: np.ndarray, with_interval: bool) -> dict[str, Any]:
        if not len(columns) or np.isnan(by_draw[:, columns]).any():
            return dict.fromkeys(("auroc", "sd", "low", "high"))
        means = by_draw[:, columns].mean(axis=1)
        spread = float(means.std(ddof=1)) if len(means) > 1 else None
        ends = percentile_interval(resampled[:, columns].mean(axis=1), 0.95)[0] if with_interval else {}
        return {"auroc": float(means.mean()), "sd": spread, "low": ends.get("low"), "high": ends.get("high")}

    defined = np.flatnonzero(~np.isnan(by_draw).any(axis=0))
    enough = np.array([i for i in defined if (exams.names[i], "auroc") not in few], int)
    per_class = {
        name: entry(np.array([i]), i in enough) | {"n_positive": positives[i]} for i, name in enumerate(exams.names)
    }
    mean = entry(defined, len(defined) == len(enough)) | {"n_labels": len(defined)}
    return {"per_class": per_class, "mean": mean, "mean_10": entry(enough, True) | {"n_labels": len(enough)}}
