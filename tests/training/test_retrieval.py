"""Retrieval against a slow twin, and zero-shot scores."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.utils._python_dispatch import TorchDispatchMode

from training import retrieval
from training.retrieval import (
    RetrievalRanks,
    retrieval_metrics,
    retrieval_ranks,
    retrieval_report,
    zero_shot_auroc,
    zero_shot_metrics,
)


NAMES = ("1dAVb", "RBBB", "LBBB")


def embeddings(n=60, n_reports=25, width=16, seed=0):
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, n_reports, n)
    text = generator.normal(size=(n_reports, width))[ids]
    return text + 1.5 * generator.normal(size=text.shape), text, ids


def slow_ranks(ecg, text, ids):
    """Each query against each candidate, as the definition reads."""
    ecg = ecg / np.linalg.norm(ecg, axis=1, keepdims=True)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    text_of = {report: text[ids == report][0] for report in np.unique(ids)}
    to_text = [
        1 + sum(row @ text_of[other] >= row @ text_of[own] for other in text_of if other != own)
        for row, own in zip(ecg, ids, strict=True)
    ]
    to_ecg = [
        1 + sum(row @ query >= max(ecg[ids == report] @ query) for row in ecg[ids != report])
        for report, query in text_of.items()
    ]
    return to_text, to_ecg


@pytest.mark.parametrize("block", [retrieval.SIMILARITY_BLOCK, 100])
def test_ranks_equal_their_definition_whatever_the_block(monkeypatch, block):
    monkeypatch.setattr(retrieval, "SIMILARITY_BLOCK", block)
    ecg, text, ids = embeddings()
    ranks = retrieval_ranks(torch.tensor(ecg), torch.tensor(text), torch.tensor(ids))
    to_text, to_ecg = slow_ranks(ecg, text, ids)
    assert ranks.ecg_to_text.tolist() == to_text
    assert ranks.text_to_ecg.tolist() == to_ecg
    assert len(set(to_text)) > 5 and len(set(to_ecg)) > 2
    assert ranks.ecgs_of_report.tolist() == np.bincount(ids)[np.unique(ids)].tolist()


def test_similarities_held_at_once_do_not_grow_with_the_exams(monkeypatch):
    monkeypatch.setattr(retrieval, "SIMILARITY_BLOCK", 10_000)
    held = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.mm.default:
                held.append(result.numel())
            return result

    ecg, text, ids = embeddings(n=3000, n_reports=400)
    with Watch():
        retrieval_ranks(ecg, text, ids)
    n_reports = len(np.unique(ids))
    assert sum(held) == len(ids) * n_reports and 0 < max(held) <= 10_000


def test_retrieval_metrics_by_hand():
    # Reports 0 (two ECGs) and 1; ECGs at 10, 50 and 60 degrees, texts at 0 and 90: only ECG 1 prefers the wrong text.
    angles = np.radians([10, 50, 60])
    ecg = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [5], [0.1]]
    text = np.array([[2.0, 0], [2, 0], [0, 1]])
    metrics = retrieval_metrics(ecg, text, [0, 0, 1])
    assert metrics == {
        "ecg_to_text_recall_at_1": pytest.approx(2 / 3),
        "ecg_to_text_recall_at_5": 1.0,
        "ecg_to_text_recall_at_10": 1.0,
        "ecg_to_text_median_rank": 1.0,
        "text_to_ecg_recall_at_1": 1.0,
        "text_to_ecg_recall_at_5": 1.0,
        "text_to_ecg_recall_at_10": 1.0,
        "text_to_ecg_median_rank": 1.0,
        "retrieval_ecgs": 3,
        "retrieval_reports": 2,
    }


def test_collapsed_embeddings_get_the_worst_rank_and_not_the_best():
    collapsed = np.tile(np.random.default_rng(0).normal(size=48), (30, 1))
    ranks = retrieval_ranks(collapsed, collapsed, np.arange(30))
    assert set(ranks.ecg_to_text.tolist()) == set(ranks.text_to_ecg.tolist()) == {30}


def test_exams_without_a_report_are_left_out():
    ecg, text, ids = embeddings()
    ids[::4] = -1
    kept = ids >= 0
    assert retrieval_metrics(ecg, text, ids) == retrieval_metrics(ecg[kept], text[kept], ids[kept])
    with pytest.raises(ValueError, match="found none among 60"):
        retrieval_metrics(ecg, text, np.full(60, -1))


def test_recall_of_random_embeddings_is_that_of_chance():
    generator = np.random.default_rng(0)
    ids = np.repeat(np.arange(200), generator.integers(1, 8, 200))
    text = generator.normal(size=(200, 32))[ids]
    ranks = retrieval_ranks(generator.normal(size=text.shape), text, ids)
    ks = (1, 10, 50, len(ids))
    for found, expected in zip(ranks.recall(ks), ranks.chance(ks), strict=True):
        assert found == pytest.approx(expected, abs=0.06)
    assert ranks.chance([len(ids)])[1].tolist() == [1.0]
    # One of n ECGs drawn: the mean over reports of h / n is 1 / reports.
    assert ranks.chance([1])[1][0] == pytest.approx(1 / 200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_embeds": np.ones((3, 5))}, r"one shape .*found \(3, 4\), \(3, 5\) and \(3,\)"),
        ({"report_ids": np.arange(2)}, r"found \(3, 4\), \(3, 4\) and \(2,\)"),
        (
            {"ecg_embeds": np.zeros((3, 4))},
            "ecg_embeds: expected finite rows that are not zero, found norm 0.0 in row 0",
        ),
        ({"ecg_embeds": np.full((3, 4), np.nan)}, "found norm nan in row 0"),
        ({"report_ids": np.zeros(3, dtype=int)}, "report id 0: expected one text embedding, found different ones"),
    ],
)
def test_embeddings_that_do_not_fit_are_named(change, message):
    given = {"ecg_embeds": np.ones((3, 4)), "text_embeds": np.eye(3, 4), "report_ids": np.arange(3)}
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(**(given | change))


def test_zero_shot_auroc_equals_scikit_learn_on_cosines():
    generator = np.random.default_rng(0)
    labels = (generator.random((200, 3)) < 0.3).astype(int)
    prompts, negatives = generator.normal(size=(2, 3, 8))
    ecg = labels @ (prompts - negatives) + 2 * generator.normal(size=(200, 8))

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    for negative, scores in (
        (None, unit(ecg) @ unit(prompts).T),
        (negatives, unit(ecg) @ (unit(prompts) - unit(negatives)).T),
    ):
        result = zero_shot_auroc(torch.tensor(ecg), prompts, labels, NAMES, negative)
        expected = [roc_auc_score(labels[:, i], scores[:, i]) for i in range(3)]
        assert [result["per_class"][name]["auroc"] for name in NAMES] == pytest.approx(expected, abs=1e-3)
        assert result["mean"]["auroc"] == pytest.approx(np.mean(expected), abs=1e-3)
        assert min(expected) > 0.5


def test_zero_shot_states_what_is_undefined_and_refuses_wrong_prompts():
    ecg, prompts = np.eye(4), np.eye(3, 4)
    result = zero_shot_auroc(ecg, prompts, np.zeros((4, 3), dtype=int), NAMES)
    assert result["mean"]["auroc"] is None and result["undefined"][0]["reason"] == "no positive among 4 known labels"
    with pytest.raises(ValueError, match=r"prompt_embeds: expected shape \(3, 4\), found \(2, 4\)"):
        zero_shot_auroc(ecg, prompts[:2], np.zeros((4, 3), dtype=int), NAMES)


def test_zero_shot_metrics_add_intervals_that_hold_the_value():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, (120, 2))
    prompts = np.eye(2, 5)
    ecg = generator.normal(size=(120, 5)) + labels @ prompts
    found = zero_shot_metrics(ecg, prompts, labels, ("A", "B"), [f"p{i // 2}" for i in range(120)], n_resamples=200)
    plain = zero_shot_auroc(ecg, prompts, labels, ("A", "B"))
    assert {name: found[name] for name in plain} == plain
    assert found["intervals"]["n_groups"] == 60
    for name in ("A", "B"):
        assert set(found["intervals"]["per_class"][name]) == {"auroc", "average_precision"}
        ends = found["intervals"]["per_class"][name]["auroc"]
        assert ends["low"] < found["per_class"][name]["auroc"] < ends["high"] < 1
    assert found["intervals"]["mean"]["auroc"]["low"] < found["mean"]["auroc"]


def test_retrieval_report_resamples_patients():
    # Twenty ECGs with a report each; those of one half of the ten patients find theirs at once, the others ninth.
    ranks = RetrievalRanks(np.tile([1, 1, 9, 9], 5), np.array([1, 2, 3, 40] * 5), np.ones(20, dtype=int))
    report = retrieval_report(ranks, [f"p{i // 2}" for i in range(20)], n_resamples=500)
    first = report["ecg_to_text"]["recall_at_1"]
    assert (first["value"], first["chance"]) == (0.5, 0.05)
    # The quantiles of a binomial of ten patients, not of twenty ECGs, whose interval is [0.3, 0.7].
    assert (first["low"], first["high"]) == pytest.approx((0.2, 0.8))
    few = retrieval_report(ranks, [f"p{i // 4}" for i in range(20)], n_resamples=500)["ecg_to_text"]["recall_at_1"]
    assert (few["low"], few["reason"]) == (None, "fewer than 10 patients with known exams")
    every = report["ecg_to_text"]["recall_at_10"]
    assert (every["value"], every["low"], every["reason"]) == (1.0, None, "the same in every resample")
    assert report["text_to_ecg"]["median_rank"] == 2.5 and "low" not in report["text_to_ecg"]["recall_at_1"]
    assert (report["ecgs"], report["reports"]) == (20, 20)
