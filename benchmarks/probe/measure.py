"""Who trains, who chooses, who is tested: a probe's protocols, and the AUROC that they give."""

import hashlib
from collections.abc import Callable, Sequence
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
    ratio,
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

    def same_as(self, other: "Exams") -> bool:
        """Returns whether another table holds the same exams in the same order."""
        mine, others = (
            (one.names, one.labels.tolist(), one.patients.tolist(), one.splits.tolist()) for one in (self, other)
        )
        return mine == others


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
        heads (`np.ndarray` of int, shape `(exams,)`): Which part scored an exam; -1: not tested.
        facts (`dict`): `fraction`, exams trained on (mean over draws and parts), strengths chosen in each part.
    """

    scores: np.ndarray
    heads: np.ndarray
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
    heads = np.full(len(exams.labels), -1)
    chosen, sizes = [], []
    for number, part in enumerate(parts):
        chosen.append(chosen_strength(embeds, exams, part, fraction, n_draws))
        heads[part.test] = number
        for draw in range(n_draws):
            trained = drawn(exams, part.final, fraction, draw)
            found = head_scores(embeds, exams.labels, part.final, trained, (chosen[-1],))[0]
            scores[draw, part.test] = found[part.test]
            sizes.append(len(trained))
    return Probed(scores, heads, {"fraction": fraction, "n_trained": float(np.mean(sizes)), "strengths": chosen})


def auroc_by_weight(scores: np.ndarray, exams: Exams, heads: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """
    Returns the function from weights of the patients, `(resamples, patients)` in the order of their sorted names, to
    the AUROC of each label, `(resamples, labels)`, NaN where undefined.

    Exams are ranked against those alone that the same head scored: another one has another bias, by which it would
    put all of its exams above or below. So it is the share of all such pairs of a positive and a negative that are in
    order.

    Args:
        scores (`np.ndarray` of shape `(exams, labels)`): Any order of rank within a head.
        exams (`Exams`): With the labels.
        heads (`np.ndarray` of int, shape `(exams,)`): As in [`Probed`].
    """
    group, _ = group_numbers(exams.patients, len(exams.patients))
    half = np.full(len(exams.names), 0.5)
    of_heads = []
    for head in np.unique(heads[heads >= 0]):
        rows = np.flatnonzero(heads == head)
        patients, place = np.unique(group[rows], return_inverse=True)
        labels = exams.labels[rows]
        values = metrics_by_weight(scores[rows], labels, half, exams.names, exams.patients[rows])
        positives, negatives = (counted(place, labels == value, len(patients)) for value in (1, 0))
        of_heads.append((values, patients, positives, negatives))

    def auroc(weights: np.ndarray) -> np.ndarray:
        in_order, pairs = np.zeros((2, len(weights), len(exams.names)))
        for values, patients, positives, negatives in of_heads:
            of_head = weights[:, patients]
            n_pairs = (of_head @ positives) * (of_head @ negatives)
            in_order += np.where(n_pairs > 0, values(of_head)[:, :, AUROC] * n_pairs, 0)
            pairs += n_pairs
        return ratio(in_order, pairs)

    return auroc


def counted(group: np.ndarray, which: np.ndarray, n_groups: int) -> np.ndarray:
    """Returns how many of `which`, bool `(exams, labels)`, each group has: `(groups, labels)`."""
    return np.stack([np.bincount(group, of_label, n_groups) for of_label in which.T], axis=1)


def measured(exams: Exams, scores: np.ndarray, heads: np.ndarray, n_resamples: int = 1000) -> dict[str, Any]:
    """
    Returns AUROC of each label and its means, each the mean over draws, with 95 % intervals over patients.

    A resample weighs the patients alike in all draws. Labels with fewer than ten positives (or patients that have
    them) have no interval, as everywhere in this project; `mean` is over all labels that the exams define, `mean_10`
    over those that have an interval.

    Args:
        exams (`Exams`): With the labels.
        scores (`np.ndarray` of shape `(draws, exams, labels)`), heads (`np.ndarray` of int, shape `(exams,)`):
            As in [`Probed`].
        n_resamples (`int`, defaults to 1000): Of the bootstrap.

    Returns:
        `dict` ready for JSON: `per_class` {label: {`auroc`, `sd` over draws, `low`, `high`, `n_positive`}}, `mean`
        and `mean_10` {the same, with `n_labels`}; None where undefined.
    """
    group, n_groups = group_numbers(exams.patients, len(exams.patients))
    draws = [auroc_by_weight(of_draw, exams, heads) for of_draw in scores]
    by_draw = np.concatenate([auroc(np.ones((1, n_groups))) for auroc in draws])  # (draws, labels)
    resampled = np.concatenate(
        [np.mean([auroc(weights) for auroc in draws], axis=0) for weights in draw_resamples(n_groups, n_resamples, 0)]
    )  # (resamples, labels)
    tested = np.where(heads[:, None] >= 0, exams.labels, UNKNOWN_LABEL)
    kinds = {kind: counted(group, tested == value, n_groups) for kind, value in (("positives", 1), ("negatives", 0))}
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
