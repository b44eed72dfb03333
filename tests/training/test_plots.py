"""What the pictures show is what was measured, and drawing leaves matplotlib's global state alone."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from training.evaluation import SplitPredictions, TargetPredictions
from training.plots import (
    BLUE,
    MAX_PANELS,
    VERMILLION,
    plot_calibration,
    plot_confusion,
    plot_loss,
    plot_precision_recall,
    plot_retrieval,
    plot_retrieval_history,
    plot_targets,
    save_figure,
)
from training.retrieval import retrieval_metrics, retrieval_ranks


PROJECT = Path(__file__).resolve().parents[2]
NAMES = ("1dAVb", "RBBB", "LBBB", "SB")
THRESHOLDS = {"1dAVb": 0.5, "RBBB": 0.4, "LBBB": 0.5, "SB": 0.999999}


def predictions():
    """Four labels: the first with unknown exams, the third without a positive, the fourth never called."""
    generator = np.random.default_rng(0)
    labels = (generator.random((400, 4)) < 0.3).astype(int)
    logits = generator.normal(size=labels.shape) + 2 * labels - 1
    labels[::9, 0] = -1
    labels[:, 2] = 0
    ids = [str(number) for number in range(400)]
    return SplitPredictions("test", ids, ids, labels, expit(logits))


def lines(axes, colour):
    return [line for line in axes.get_lines() if to_hex(line.get_color()) == colour.lower()]


def texts(axes):
    return " | ".join(text.get_text() for text in axes.texts)


def history():
    entries = [{"step": step, "loss": 2.0 / step, "learning_rate": 1e-3} for step in range(1, 201)]
    return [*entries, *({"step": step, "eval_loss": abs(step - 100) / 50 + 0.1} for step in (50, 100, 150))]


def test_saved_picture_is_a_png_of_the_stated_size_and_nothing_else_remains(tmp_path):
    save_figure(plot_loss(history()), tmp_path / "plots" / "loss.png")
    picture = (tmp_path / "plots" / "loss.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert int.from_bytes(picture[16:20], "big") == 7.2 * 150
    save_figure(plot_loss(history()), tmp_path / "plots" / "loss.svg")
    assert b"<svg" in (tmp_path / "plots" / "loss.svg").read_bytes()
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["loss.png", "loss.svg"]


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_equal_figures_have_equal_bytes(tmp_path, monkeypatch, suffix):
    for name, date in (("a", "1"), ("b", "1000000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", date)  # what matplotlib takes for the time of day
        save_figure(plot_calibration(predictions(), NAMES), tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_drawing_neither_needs_pyplot_nor_changes_its_settings(tmp_path):
    before = dict(matplotlib.rcParams)
    save_figure(plot_calibration(predictions(), NAMES), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
    code = "import sys, training.plots; print('matplotlib.pyplot' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_loss_curve_shows_both_losses_and_rings_the_best():
    figure = plot_loss(history(), "Pre-training")
    axes = figure.axes[0]
    raw, smoothed = lines(axes, BLUE)
    assert raw.get_ydata() == pytest.approx([2.0 / step for step in range(1, 201)])
    # 200 points are smoothed over 4, and a mean never leaves the range of the values.
    assert smoothed.get_ydata()[100] == pytest.approx(np.mean([2.0 / step for step in (99, 100, 101, 102)]))
    validation, ring, level = lines(axes, VERMILLION)
    assert validation.get_xdata().tolist() == [50, 100, 150]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (100, pytest.approx(0.1))
    assert level.get_ydata()[0] == pytest.approx(0.1)
    assert figure.get_supxlabel() == "best validation 0.1 at step 100 (ringed)"
    assert axes.get_yscale() == "log" and axes.get_title("left") == "Pre-training"


def test_loss_curve_of_a_short_run_is_neither_smoothed_nor_logarithmic():
    axes = plot_loss([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}]).axes[0]
    assert [line.get_ydata().tolist() for line in lines(axes, BLUE)] == [[0.7, 0.6]]
    assert axes.get_yscale() == "linear"
    with pytest.raises(ValueError, match="loss or eval_loss, found none in 1 entries"):
        plot_loss([{"step": 1, "learning_rate": 0.1}])


def test_precision_recall_marks_the_threshold_where_scikit_learn_puts_it():
    data = predictions()
    figure = plot_precision_recall(data, THRESHOLDS, NAMES)
    assert len(figure.axes) == 4
    for index in (0, 1):
        known = data.labels[:, index] >= 0
        truth, scores = data.labels[known, index], data.probabilities[known, index]
        called = scores >= THRESHOLDS[NAMES[index]]
        axes = figure.axes[index]
        (dot,) = lines(axes, VERMILLION)
        expected = recall_score(truth, called), precision_score(truth, called)
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx(expected)
        curve = lines(axes, BLUE)[0]
        assert np.min(np.hypot(curve.get_xdata() - expected[0], curve.get_ydata() - expected[1])) < 1e-12
        assert f"F1 {f1_score(truth, called):.3f} at {THRESHOLDS[NAMES[index]]:.3f}" in texts(axes)
        assert f"avg. precision {average_precision_score(truth, scores):.3f}" in texts(axes)
        assert f"{truth.sum()} of {known.sum()} positive" in texts(axes)


def test_precision_recall_says_what_cannot_be_drawn():
    figure = plot_precision_recall(predictions(), THRESHOLDS, NAMES)
    without_positive, without_call = figure.axes[2], figure.axes[3]
    assert "0 of 400 positive" in texts(without_positive) and "no curve" in texts(without_positive)
    assert lines(without_positive, BLUE) == []
    assert "none called at 1.000" in texts(without_call) and lines(without_call, VERMILLION) == []
    assert len(lines(without_call, BLUE)) == 1


def test_calibration_counts_every_known_exam_and_measures_as_scikit_learn():
    data = predictions()
    figure = plot_calibration(data, NAMES)
    panels, strips = figure.axes[:4], figure.axes[4:]
    for index in range(4):
        known = data.labels[:, index] >= 0
        truth, scores = data.labels[known, index], data.probabilities[known, index]
        heights = [bar.get_height() for bar in strips[index].patches]
        assert heights == np.histogram(scores, bins=np.linspace(0, 1, 11))[0].tolist()
        assert f"Brier {brier_score_loss(truth, scores):.3f}" in texts(panels[index])
        points = lines(panels[index], BLUE)[0]
        in_first = scores < 0.1
        assert points.get_xdata()[0] == pytest.approx(scores[in_first].mean())
        assert points.get_ydata()[0] == pytest.approx(truth[in_first].mean())
    # Wilson's interval of 0 of n is (0, z^2 / (n + z^2)).
    n = int((data.probabilities[:, 2] < 0.1).sum())
    segment = panels[2].collections[0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([0, 1.96**2 / (n + 1.96**2)], abs=1e-12)


def test_calibration_of_a_label_known_nowhere_says_so():
    data = predictions()
    data.labels[:, 1] = -1
    assert "known in no exam" in texts(plot_calibration(data, NAMES).axes[1])


def test_retrieval_curve_passes_through_the_recalls():
    generator = np.random.default_rng(0)
    ids = np.arange(150) % 40
    text = generator.normal(size=(40, 8))[ids]
    ecg = text + generator.normal(size=text.shape)
    axes = plot_retrieval(retrieval_ranks(ecg, text, ids)).axes[0]
    metrics = retrieval_metrics(ecg, text, ids)
    for colour, direction in ((BLUE, "ecg_to_text"), (VERMILLION, "text_to_ecg")):
        curve, marks, chance = lines(axes, colour)
        assert marks.get_ydata() == pytest.approx([metrics[f"{direction}_recall_at_{k}"] for k in (1, 5, 10)])
        assert curve.get_ydata()[0] == marks.get_ydata()[0] and curve.get_ydata()[-1] == 1
        assert np.all(np.diff(chance.get_ydata()) >= 0) and chance.get_ydata()[0] == pytest.approx(1 / 40, abs=0.01)
    assert "40 distinct reports and 150 ECGs" in axes.get_xlabel()


def test_retrieval_history_has_a_panel_for_each_direction():
    entries = [{"step": 0, "loss": 1.0}]
    for step in (1, 2):
        recalls = {
            f"eval_{d}_recall_at_{k}": k * step / 20 for d in ("ecg_to_text", "text_to_ecg") for k in (1, 5, 10)
        }
        entries.append({"step": step, **recalls})
    figure = plot_retrieval_history(entries)
    for axes in figure.axes:
        assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[0.5, 1.0], [0.25, 0.5], [0.05, 0.1]]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    with pytest.raises(ValueError, match="eval_ecg_to_text_recall_at_10, found none"):
        plot_retrieval_history(entries[:1])


def one_label(n_labels, n_exams=300, seed=0):
    generator = np.random.default_rng(seed)
    truth = np.sort(generator.integers(0, n_labels, n_exams) ** 2 // n_labels)  # low labels are more frequent
    probabilities = generator.dirichlet(np.ones(n_labels), n_exams)
    labels = np.eye(n_labels, dtype=np.int8)[truth]
    labels[::10] = -1
    ids = [str(i) for i in range(n_exams)]
    return SplitPredictions("test", ids, ids, labels, probabilities)


def test_without_thresholds_the_dot_is_where_a_label_is_the_most_probable():
    data = one_label(3)
    figure = plot_precision_recall(data, None, NAMES[:3])
    known = data.labels[:, 1] >= 0
    truth, called = data.labels[known, 1] == 1, data.probabilities[known].argmax(axis=1) == 1
    (dot,) = lines(figure.axes[1], VERMILLION)
    expected = recall_score(truth, called), precision_score(truth, called)
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == pytest.approx(expected)
    assert f"F1 {f1_score(truth, called):.3f}" in texts(figure.axes[1]) and " at " not in texts(figure.axes[1])
    assert "most probable" in figure.get_supxlabel()


def test_of_many_labels_the_most_frequent_are_drawn_and_the_title_says_so():
    data, names = one_label(30), [f"L{i}" for i in range(30)]
    for figure in (plot_precision_recall(data, None, names), plot_calibration(data, names)):
        assert f"({MAX_PANELS} of 30 labels, the most frequent)" in figure.get_suptitle()
        drawn = [name for name in names if any(name == text.get_text() for axes in figure.axes for text in axes.texts)]
        positives = (data.labels == 1).sum(axis=0)
        assert len(drawn) == MAX_PANELS
        assert min(positives[names.index(name)] for name in drawn) >= np.sort(positives)[-MAX_PANELS]


def test_confusion_counts_as_scikit_learn():
    data = one_label(3)
    data.labels[(data.labels == 1)[:, 2]] = -1  # the last label is known nowhere
    axes = plot_confusion(data, NAMES[:3]).axes[0]
    known = (data.labels == 1).any(axis=1)
    expected = confusion_matrix(data.labels[known].argmax(1), data.probabilities[known].argmax(1), labels=[0, 1, 2])
    shown = [text.get_text() for text in axes.texts]
    assert shown == [*map(str, expected[:2].ravel()), "–", "–", "–"]


def test_numbers_lie_where_they_were_predicted():
    generator = np.random.default_rng(0)
    targets = generator.normal(60, 15, (40, 2))
    targets[::4, 0], targets[:, 1] = np.nan, np.nan
    told = np.nan_to_num(targets) + 5
    ids = [str(i) for i in range(40)]
    figure = plot_targets(TargetPredictions("test", ids, ids, targets, told), ("age", "height"))
    (points,) = (line for line in lines(figure.axes[0], BLUE))
    known = ~np.isnan(targets[:, 0])
    np.testing.assert_array_equal(points.get_xydata(), np.stack([targets[known, 0], told[known, 0]], axis=1))
    assert "mean absolute error 5, 30 exams" in texts(figure.axes[0])
    assert "known in no exam" in texts(figure.axes[1])
