import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.probe.heads import STRENGTHS
from benchmarks.probe.measure import Exams, chosen_strength, drawn, fold_parts, measured, probe, split_part


def made_up(n_patients: int = 90) -> tuple[np.ndarray, Exams]:
    """Two exams a patient; "easy" stands in the first number, "rare" has three positives, "none" has none."""
    generator = np.random.default_rng(0)
    patients = np.array([f"p{i // 2}" for i in range(2 * n_patients)])
    easy = generator.integers(0, 2, 2 * n_patients)
    embeds = generator.normal(size=(2 * n_patients, 6)).astype(np.float32)
    embeds[:, 0] += 2 * easy
    rare = np.zeros(2 * n_patients, int)
    rare[[0, 60, 170]] = 1
    labels = np.stack([easy, rare, np.zeros_like(rare)], axis=1).astype(np.int8)
    splits = np.repeat(["train", "validation", "test"], [100, 40, 40])
    return embeds, Exams(("easy", "rare", "none"), labels, patients, splits)


def test_every_exam_is_tested_once_and_no_patient_stands_on_two_sides():
    _, exams = made_up()
    parts = fold_parts(exams.patients)
    tested = np.concatenate([part.test for part in parts])
    assert sorted(tested) == list(range(len(exams.labels)))
    for part in parts:
        assert not set(exams.patients[part.test]) & set(exams.patients[part.final])
        assert not set(exams.patients[part.train]) & set(exams.patients[part.validation])
        assert sorted([*part.train, *part.validation]) == sorted(part.final)


def test_a_share_is_whole_patients_and_another_in_each_draw():
    _, exams = made_up()
    pool = split_part(exams).train
    draws = [set(drawn(exams, pool, 0.25, draw)) for draw in range(3)]
    for rows in draws:
        assert 24 <= len(rows) <= 28 and rows <= set(pool)
        assert all(row ^ 1 in rows for row in rows)  # the patient's other exam
    assert draws[0] != draws[1] != draws[2]
    assert set(drawn(exams, pool, 0.1, 0)) < draws[0]


def test_auroc_is_that_of_the_tested_exams():
    embeds, exams = made_up()
    part = split_part(exams)
    found = probe(embeds, exams, [part], 1.0, 5)
    assert found.scores.shape == (1, 180, 3)
    assert np.flatnonzero(found.heads >= 0).tolist() == part.test.tolist()
    assert found.facts["n_trained"] == 100 and found.facts["strengths"][0] in STRENGTHS
    result = measured(exams, found.scores, found.heads, 200)
    by_hand = roc_auc_score(exams.labels[part.test, 0], found.scores[0, part.test, 0])
    easy = result["per_class"]["easy"]
    assert easy["auroc"] == pytest.approx(by_hand) and 0.7 < by_hand < 1
    assert easy["low"] < by_hand < easy["high"]
    assert easy["n_positive"] == exams.labels[part.test, 0].sum()


def test_what_rests_on_few_exams_has_no_interval_and_no_place_in_the_second_mean():
    embeds, exams = made_up()
    found = probe(embeds, exams, fold_parts(exams.patients), 1.0, 5)
    result = measured(exams, found.scores, found.heads, 100)
    rare, none = result["per_class"]["rare"], result["per_class"]["none"]
    assert rare["auroc"] is not None and rare["low"] is None and rare["n_positive"] == 3
    assert none["auroc"] is None and none["n_positive"] == 0
    assert result["mean"]["n_labels"] == 2 and result["mean"]["low"] is None
    assert result["mean_10"]["n_labels"] == 1
    assert result["mean_10"]["auroc"] == result["per_class"]["easy"]["auroc"]
    assert result["mean_10"]["low"] is not None


def test_draws_are_averaged_and_their_spread_is_shown():
    embeds, exams = made_up()
    found = probe(embeds, exams, [split_part(exams)], 0.1, 4)
    result = measured(exams, found.scores, found.heads, 50)["per_class"]["easy"]
    test = split_part(exams).test
    by_hand = [roc_auc_score(exams.labels[test, 0], scores[test, 0]) for scores in found.scores]
    assert len(by_hand) == 4
    assert result["auroc"] == pytest.approx(np.mean(by_hand))
    assert result["sd"] == pytest.approx(np.std(by_hand, ddof=1))


def test_the_test_split_has_no_say_in_the_penalty():
    embeds, exams = made_up()
    part = split_part(exams)
    other = exams.labels.copy()
    other[part.test] = 1 - other[part.test]
    turned = Exams(exams.names, other, exams.patients, exams.splits)
    assert chosen_strength(embeds, exams, part, 0.25, 2) == chosen_strength(embeds, turned, part, 0.25, 2)
    one, two = (probe(embeds, of, [part], 0.25, 2).scores for of in (exams, turned))
    assert (one == two).all()


def test_exams_of_two_heads_are_not_ranked_against_each_other():
    _, exams = made_up()
    heads = np.repeat([0, 1], [100, 80])
    scores = np.random.default_rng(1).random((1, *exams.labels.shape))
    result = measured(exams, scores, heads, 50)["per_class"]["easy"]
    by_hand, pairs = 0.0, 0
    for head in (0, 1):
        labels, of_head = exams.labels[heads == head, 0], scores[0, heads == head, 0]
        n_pairs = int((labels == 1).sum() * (labels == 0).sum())
        by_hand, pairs = by_hand + n_pairs * roc_auc_score(labels, of_head), pairs + n_pairs
    assert result["auroc"] == pytest.approx(by_hand / pairs)
    raised = scores + heads[None, :, None] * 0.5  # another head's bias
    assert measured(exams, raised / 2, heads, 50)["per_class"]["easy"] == result
