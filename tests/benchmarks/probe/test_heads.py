import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks.probe.heads import fit_heads, head_scores


STRENGTHS = (1e-3, 1e-2)


def made_up(n_exams: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings, and three labels that depend on them."""
    generator = np.random.default_rng(seed)
    embeds = generator.normal(size=(n_exams, width))
    chances = embeds @ generator.normal(size=(width, 3)) + generator.normal(size=(n_exams, 3))
    return embeds.astype(np.float32), (chances > 0.5).astype(np.int8)


@pytest.mark.parametrize("n_exams", [20, 150])  # fewer exams than numbers, and more
def test_all_labels_at_once_are_what_one_by_one_gives(n_exams):
    embeds, labels = made_up(n_exams, 40)
    weights, biases = fit_heads(embeds, labels, STRENGTHS)
    for i, strength in enumerate(STRENGTHS):
        for label in range(labels.shape[1]):
            slow = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit(embeds, labels[:, label])
            assert weights[i, :, label] == pytest.approx(slow.coef_[0], abs=3e-3)
            assert biases[i, label] == pytest.approx(slow.intercept_[0], abs=3e-2)


def test_an_unknown_label_is_as_if_the_exam_were_not_there():
    embeds, labels = made_up(120, 10)
    known = labels.copy()
    known[80:, 1] = -1
    with_unknown, _ = fit_heads(embeds, known, STRENGTHS)
    without, _ = fit_heads(embeds[:80], labels[:80], STRENGTHS)
    assert with_unknown[:, :, 1] == pytest.approx(without[:, :, 1], abs=3e-3)
    assert np.abs(with_unknown[:, :, 0] - without[:, :, 0]).max() > 1e-2


def test_a_label_that_no_exam_has_ranks_nothing():
    embeds, labels = made_up(60, 10)
    labels[:, 2] = 0
    rows = np.arange(60)
    scores = head_scores(embeds, labels, rows, rows, STRENGTHS)
    assert scores.shape == (2, 60, 3)
    assert (scores[:, :, 2] == 0.5).all()
    assert scores[1, :, 0].std() > 0.01


def test_the_unit_of_an_embedding_does_not_matter():
    embeds, labels = made_up(60, 10)
    rows = np.arange(50)
    scaled = embeds * np.linspace(0.1, 50, 10, dtype=np.float32) + 3
    one, other = (head_scores(x, labels, rows, rows[:30], STRENGTHS) for x in (embeds, scaled))
    assert one == pytest.approx(other, abs=2e-3)
