import csv

import numpy as np
import pytest

from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from reproduction.figure import plot_labels_against_f1
from reproduction.results import Cell, Results, summarize
from reproduction.settings import PAPER
from reproduction.tables import markdown, overview_rows, shown, write_tables
from training.evaluation import SplitPredictions, evaluate_predictions


LABELS = list(LABEL_NAMES)
SETTINGS, ARMS, SEEDS = ("full", "exp-5"), ("random", "pretrained"), (0, 1, 2)


def split(name, n_exams, noise, seed, without=None, n_labels=6):
    generator = np.random.default_rng(seed)
    labels = np.random.default_rng(len(name)).integers(0, 2, (n_exams, n_labels))
    if without is not None:
        labels[:, without] = 0
    probabilities = np.clip(0.25 + 0.5 * labels + noise * generator.normal(size=labels.shape), 0, 1)
    ids = [f"{name}{i}" for i in range(n_exams)]
    return SplitPredictions(name, ids, ids, labels, probabilities)


def cell(setting, arm, seed, sources, without=None, names=LABELS):
    noise, n_labels = 0.1 if arm == "pretrained" else 0.5, len(names)
    validation = split("validation", 40, noise, seed, n_labels=n_labels)
    test = split("test", 60, noise, 100 + seed, without, n_labels)
    metrics = evaluate_predictions(validation, test, names, n_resamples=2)
    counts = {"exams": 10 + seed, "patients": 5, "positives": dict.fromkeys(names, 7) | {names[0]: seed}}
    run = {
        "data": {"sources": sources, "exams": {"test": 60}, "patients": {"test": 60}},
        "used": {"train": counts, "test": {**counts, "exams": 60}},
    }
    history = [{"step": step, "loss": 1 / (1 + step)} for step in (5, 10)]
    history += [{"step": step, "eval_loss": loss} for step, loss in ((0, 1.0), (5, 0.5), (10, 0.6))]
    return Cell(setting, arm, seed, metrics, run, history, test)


def results_of(sources=("simulated",), without=None, names=LABELS):
    return Results([cell(s, a, n, list(sources), without, names) for s in SETTINGS for a in ARMS for n in SEEDS])


@pytest.fixture(scope="module")
def results():
    return results_of()


def test_summary_is_mean_and_sample_deviation_and_counts_the_undefined():
    assert shown(summarize([0.1, 0.2, 0.3])) == "0.200 ± 0.100"
    assert shown(summarize([0.5, None])) == "0.500 (1 of 2)"
    assert shown(summarize([None, None])) == "–"


def test_overview_has_both_arms_their_gain_and_the_papers_numbers(results):
    full, scarce = overview_rows(results)
    values = [results.cells["full", "pretrained", seed].metrics["test"]["mean"]["f1"] for seed in SEEDS]
    assert full["pre-trained"] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert full["gain"].startswith("+") and full["above both spreads"] == "yes"
    assert (full["paper"], scarce["paper"]) == ("0.746 → 0.755", "0.209 → 0.518")


def test_no_gain_is_not_above_the_spread(results):
    cells = [cell("full", "random", n, ["code15"]) for n in SEEDS]
    cells += [Cell("full", "pretrained", c.seed, c.metrics, c.run, c.history, c.test) for c in cells]
    (row,) = overview_rows(Results(cells))
    assert row["gain"] == "+0.000" and row["above both spreads"] == "no"


def test_convergence_says_where_the_best_step_was(results):
    found = results.cells["full", "random", 0].convergence
    assert found["steps"] == 10 and found["best_step"] == 5
    assert found["train_loss"] == pytest.approx(1 / 11)
    assert found["late_gain"] == 0  # the last fifth had no better validation
    assert (found["best_eval_loss"], found["last_eval_loss"]) == (0.5, 0.6)


def test_a_difference_pairs_the_arms_over_seeds(results):
    found = results.difference("full", "random", "pretrained", 20)["mean"]["f1"]
    means = [results.summary("full", arm, "mean", "f1").mean for arm in ARMS]
    assert found["difference"] == pytest.approx(means[1] - means[0])
    assert found["low"] <= found["difference"] <= found["high"]


def test_simulated_stands_in_every_heading_and_the_figure_and_only_then(tmp_path):
    for sources, expected in ((["simulated"], True), (["code15"], False)):
        of_source = results_of(sources)
        text = write_tables(of_source, tmp_path, ["recipe"], 5).read_text()
        headings = [line for line in text.splitlines() if line.startswith("#")]
        assert len(headings) == 9 and all(("simulated" in line) == expected for line in headings)
        assert ("simulated" in plot_labels_against_f1(of_source).get_suptitle()) == expected


def test_what_is_undefined_is_a_dash_and_listed(tmp_path):
    text = write_tables(results_of(without=1), tmp_path, [], 5).read_text()
    row = next(line for line in text.splitlines() if line.startswith("| RBBB "))
    assert "–" in row
    assert "0.67 % of the labels, RBBB, f1: no positive among 60 known labels (6 of 6 runs)" in text
    with (tmp_path / "csv" / "cells.csv").open() as file:
        values = {row["value"] for row in csv.DictReader(file) if row["class"] == "RBBB" and row["metric"] == "f1"}
    assert values == {""}


def test_figure_has_each_arm_and_the_papers_curve(results):
    (axes,) = plot_labels_against_f1(results).axes
    dashed = {line.get_label(): list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "--"}
    assert list(dashed.values()) == [[PAPER[name][place] for name in SETTINGS] for place in (0, 1)]
    assert "paper, pre-trained (real exams)" in dashed
    assert len(axes.containers) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100 %", "0.67 %"]


def test_other_labels_stand_alone_the_papers_numbers_are_not_theirs(tmp_path):
    results = results_of(names=["NORM", "MI"])
    text = write_tables(results, tmp_path, [], 5).read_text()
    assert "paper, mean" not in text and "| paper" not in text and "0.746" not in text
    assert "Mean over the 2 classes" in text and "The paper's numbers are of other labels" in text
    with (tmp_path / "csv" / "tables_2_to_6.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == {"NORM", "MI", "mean"} and {row["paper"] for row in rows} == {""}
    (axes,) = plot_labels_against_f1(results).axes
    assert not any("paper" in line.get_label() for line in axes.lines)


def test_cells_of_other_labels_are_refused():
    cells = [cell("full", "random", 0, ["code15"]), cell("full", "random", 1, ["code15"], names=["NORM", "MI"])]
    with pytest.raises(ValueError, match="full/random/seed-1 has other labels than the first cell"):
        Results(cells)


def test_cells_of_another_test_split_are_refused():
    cells = [cell("full", "random", 0, ["code15"]), cell("full", "random", 1, ["code15"])]
    other = SplitPredictions("test", [f"x{i}" for i in range(60)], ["p"] * 60, cells[1].test.labels, np.zeros((60, 6)))
    cells[1] = Cell("full", "random", 1, cells[1].metrics, cells[1].run, cells[1].history, other)
    with pytest.raises(ValueError, match="full/random/seed-1 has other test exams"):
        Results(cells)


def test_markdown_aligns_text_left_and_numbers_right():
    lines = markdown([{"class": "AF", "F1": "0.5"}, {"class": "ST", "F1": "–"}]).splitlines()
    assert lines == ["| class |  F1 |", "|-------|----:|", "| AF    | 0.5 |", "| ST    |   – |"]
