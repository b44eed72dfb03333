import csv

import numpy as np
import pytest

from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from reproduction.comparing import primary_rows
from reproduction.figure import plot_labels_against_f1
from reproduction.formatting import markdown, shown
from reproduction.paper import PAPER_ARMS, paper_number
from reproduction.results import Cell, Convergence, Pretraining, Results, summarize
from reproduction.settings import SETTINGS as ALL_SETTINGS
from reproduction.statistics import holm
from reproduction.tables import overview_rows, write_tables
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
        "arguments": {"early_stopping_patience": 3},
    }
    history = [{"step": step, "loss": 1 / (1 + step)} for step in (5, 10)]
    history += [{"step": step, "eval_loss": loss} for step, loss in ((0, 1.0), (5, 0.5), (10, 0.6))]
    return Cell(setting, arm, seed, metrics, run, history, test)


def results_of(sources=("simulated",), without=None, names=LABELS, settings=SETTINGS, arms=ARMS):
    return Results([cell(s, a, n, list(sources), without, names) for s in settings for a in arms for n in SEEDS])


@pytest.fixture(scope="module")
def results():
    return results_of()


def test_summary_is_mean_and_sample_deviation_and_counts_the_undefined():
    assert shown(summarize([0.1, 0.2, 0.3])) == "0.200 ± 0.100"
    assert shown(summarize([0.5, None])) == "0.500 (1 of 2)"
    assert shown(summarize([None, None])) == "–"


def test_overview_has_every_arm_and_the_papers_numbers(results):
    rows = {row["arm"]: row for row in overview_rows(results)}
    values = [results.cells["full", "pretrained", seed].metrics["test"]["mean"]["f1"] for seed in SEEDS]
    shown_there = rows["pre-trained"]["all labels"]
    assert shown_there.startswith(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
    paper = rows["paper, random initialisation (real exams, one run)"]
    assert (paper["all labels"], paper["0.67 % of the labels"]) == ("0.746", "0.209")


def test_all_280_numbers_of_the_paper_stand_beside_ours_class_by_class(tmp_path):
    text = write_tables(results_of(settings=ALL_SETTINGS), tmp_path, [], 5).read_text()
    metrics = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
    found = 0
    for setting in ALL_SETTINGS.values():
        part = text.split(f"## Table {setting.table}: ")[1].split("\n## ")[0]
        rows = [[field.strip() for field in line.strip("|").split("|")] for line in part.splitlines() if "|" in line]
        columns = [rows[0].index(f"paper, {title}") for title in ("random initialisation", "pre-trained")]
        for label in (*LABELS, "mean"):
            for metric, title in metrics.items():
                (row,) = [row for row in rows if row[:2] == [label, title]]
                for arm, column in zip(PAPER_ARMS, columns, strict=True):
                    assert row[column] == f"{paper_number(setting.name, arm, label, metric):.3f}"
                    found += row[column + 1] not in ("", "–")  # ours
    assert found == 280


def test_calibration_of_every_class_is_in_the_tables(tmp_path, results):
    text = write_tables(results, tmp_path, [], 5).read_text()
    rows = text.split("## Calibration (simulated)")[1].split("\n## ")[0]
    for metric, title in (("brier", "Brier score"), ("ece", "ECE")):
        values = [results.cells["full", "random", seed].metrics["test"]["per_class"]["AF"][metric] for seed in SEEDS]
        line = next(line for line in rows.splitlines() if f" {title} " in line)
        assert f" {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} " in line


def test_no_sentence_decides_by_spreads(tmp_path, results):
    assert "above both spreads" not in write_tables(results, tmp_path, [], 5).read_text()


def test_the_papers_convention_counts_an_undefined_precision_as_0():
    one = cell("full", "random", 0, ["code15"])
    test = one.metrics["test"]
    test["per_class"]["AF"] |= {"precision": None, "recall": 0.0, "f1": 0.0, "n_predicted": 0}
    precisions = [test["per_class"][name]["precision"] for name in LABELS if name != "AF"]
    test["mean"]["precision"] = float(np.mean(precisions))
    results = Results([one])
    ours, papers = (results.summary("full", "random", "mean", "precision", as_paper=p).mean for p in (False, True))
    assert ours == pytest.approx(np.mean(precisions)) and papers == pytest.approx(sum(precisions) / 6)
    assert results.summary("full", "random", "AF", "precision", as_paper=True).mean == 0
    assert results.summary("full", "random", "AF", "precision").mean is None


def test_primary_comparisons_have_holms_correction_over_the_settings(results, tmp_path):
    rows = primary_rows(results, 50)
    assert [row["setting"] for row in rows] == list(SETTINGS)
    assert [row["p_holm"] for row in rows] == holm([row["p_value"] for row in rows])
    for row in rows:
        means = [results.summary(row["setting"], arm, "mean", "f1").mean for arm in ARMS]
        assert row["difference"] == pytest.approx(means[1] - means[0]) and row["seeds"] == 3
        assert row["low"] <= row["difference"] <= row["high"]
    text = write_tables(results, tmp_path, [], 50).read_text()
    assert "0.209 → 0.518 (+0.309)" in text and "over these 2 comparisons" in text
    same = results_of(arms=("random",))
    cells = [Cell(c.setting, "pretrained", c.seed, c.metrics, c.run, c.history, c.test) for c in same.cells.values()]
    for row in primary_rows(Results([*same.cells.values(), *cells]), 50):
        assert row["difference"] == 0 and row["p_holm"] == 1


def history(losses, every=10):
    entries = [{"step": every * i, "eval_loss": loss} for i, loss in enumerate(losses)]
    return [*entries, *({"step": every * i, "loss": 1.0} for i in range(1, len(losses)))]


@pytest.mark.parametrize(
    ("losses", "patience", "converged"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], None, False),  # still falling
        ([1.0, 0.5, 0.4, 0.399, 0.4, 0.3985, 0.398], None, True),  # the last third gains less than 1 %
        ([1.0, 0.5, 0.4, 0.4, 0.4, 0.39, 0.41], None, False),  # it gains 2.5 %
        ([1.0, 0.5, 0.4, 0.3, 0.31, 0.32, 0.33], 3, True),  # ended by patience
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.3, 0.32], 3, False),  # at the longest run allowed, and not
    ],
)
def test_convergence_is_a_rule(losses, patience, converged):
    found = Convergence.of(history(losses), patience)
    assert found.converged == converged
    assert found.train_loss == 1 and Convergence.of(history(losses)[:7], patience).train_loss is None
    assert found.steps == 60 and found.best_eval_loss == min(losses) and found.last_eval_loss == losses[-1]


def test_a_cell_that_had_not_converged_says_so(tmp_path):
    good, bad = cell("full", "random", 0, ["code15"]), cell("full", "random", 1, ["code15"])
    good.history[:] = history([1.0, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4])
    bad.history[:] = history([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    results = Results([good, bad], pretrainings=[Pretraining("reports", 0, bad.history)])
    assert overview_rows(results)[0]["all labels"].endswith(", not converged (1 of 2)")
    text = write_tables(results, tmp_path, [], 5).read_text()
    assert "| not converged (1 of 2) |" in text and "| reports " in text and "| not converged (1 of 1) |" in text
    assert "lowered the lowest validation loss by less than 1 %" in text


def test_missing_cells_are_listed_and_means_say_over_how_many_seeds(tmp_path):
    cells = [cell("full", arm, seed, ["code15"]) for arm in ARMS for seed in SEEDS]
    missing = ["cells/full/random/seed-2", "cells/full/random/seed-9"]
    results = Results([c for c in cells if (c.arm, c.seed) != ("random", 2)], missing)
    assert " (2 of 3)" in overview_rows(results)[0]["all labels"]
    assert primary_rows(results, 5)[0]["seeds"] == 2
    text = write_tables(results, tmp_path, [], 5, {missing[0]: "out of memory"}).read_text()
    assert "- cells/full/random/seed-2: out of memory" in text and "- 1 more were not run." in text
    with pytest.raises(ValueError, match="no run is finished"):
        Results([])


def test_simulated_stands_in_every_heading_and_the_figure_and_only_then(tmp_path):
    for sources, expected in ((["simulated"], True), (["code15"], False)):
        of_source = results_of(sources)
        text = write_tables(of_source, tmp_path, ["recipe"], 5).read_text()
        headings = [line for line in text.splitlines() if line.startswith("#")]
        assert len(headings) == 11 and all(("simulated" in line) == expected for line in headings)
        assert ("simulated" in plot_labels_against_f1(of_source).get_suptitle()) == expected


def test_what_is_undefined_is_a_dash_and_listed(tmp_path):
    text = write_tables(results_of(without=1), tmp_path, [], 5).read_text()
    row = next(line for line in text.splitlines() if line.startswith("| RBBB ") and "| F1 " in line)
    assert "–" in row
    assert "0.67 % of the labels, RBBB, f1: no positive among 60 known labels (6 of 6 runs)" in text
    with (tmp_path / "csv" / "cells.csv").open() as file:
        values = {row["value"] for row in csv.DictReader(file) if row["class"] == "RBBB" and row["metric"] == "f1"}
    assert values == {""}


def test_figure_has_each_arm_and_the_papers_curve(results):
    (axes,) = plot_labels_against_f1(results).axes
    dashed = {line.get_label(): list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "--"}
    assert list(dashed.values()) == [
        [paper_number(name, arm, "mean", "f1") for name in SETTINGS] for arm in PAPER_ARMS
    ]
    assert "paper, pre-trained (real exams)" in dashed
    assert len(axes.containers) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100 %", "0.67 %"]


def test_other_labels_stand_alone_the_papers_numbers_are_not_theirs(tmp_path):
    results = results_of(names=["NORM", "MI"])
    text = write_tables(results, tmp_path, [], 5).read_text()
    assert "paper, " not in text and "0.746" not in text
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
