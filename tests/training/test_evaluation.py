"""Predictions, metrics and tables of a split; retrieval against a slow twin."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import f1_score, roc_auc_score

from common.files import write_json
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, choose_thresholds, multilabel_metrics
from training import evaluation
from training.evaluation import (
    RetrievalRanks,
    SplitPredictions,
    evaluate_predictions,
    metrics_table,
    read_predictions,
    retrieval_metrics,
    retrieval_ranks,
    retrieval_report,
    write_predictions,
    zero_shot_auroc,
    zero_shot_metrics,
)


NAMES = ("1dAVb", "RBBB", "LBBB")


def split(name, n=300, seed=0, prevalence=0.25):
    generator = np.random.default_rng(seed)
    labels = (generator.random((n, len(NAMES))) < prevalence).astype(np.int8)
    logits = generator.normal(size=labels.shape) + 1.5 * labels - 1
    patients = [f"{name}-{number}" for number in generator.integers(0, n // 2, n)]
    return SplitPredictions(name, [f"{name}{i}" for i in range(n)], patients, labels, expit(logits))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_ids": ["p"]}, "split test: expected 2 patient_ids, found 1"),
        ({"exam_ids": ["a", None]}, "exam_ids of row 1 is missing"),
        ({"exam_ids": ["a", "a"]}, "exam a comes 2 times"),
        ({"probabilities": [[0.5], [1.5]]}, r"exam b: expected probabilities in \[0, 1\], found \[1\.5\]"),
        ({"probabilities": [[0.5], [np.nan]]}, r"exam b: expected probabilities in \[0, 1\], found \[nan\]"),
        ({"labels": [[1, 0], [1, 0]]}, r"found \(2, 2\) and \(2, 1\)"),
        ({"labels": [1, 0]}, r"found \(2,\) and \(2, 1\)"),
    ],
)
def test_predictions_that_do_not_fit_are_named(change, message):
    given = {
        "split": "test",
        "exam_ids": ["a", "b"],
        "patient_ids": ["p", "q"],
        "labels": [[1], [0]],
        "probabilities": [[0.9], [0.1]],
    }
    with pytest.raises(ValueError, match=message):
        SplitPredictions(**(given | change))


def test_written_predictions_come_back_the_same(tmp_path):
    validation, test = split("validation", seed=1), split("test", n=50, seed=2)
    test.labels[3, 1] = -1
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [validation, test], NAMES)
    back, names = read_predictions(path)
    assert names == NAMES and list(back) == ["validation", "test"]
    for before in (validation, test):
        after = back[before.split]
        for field in ("exam_ids", "patient_ids", "labels", "probabilities"):
            assert np.array_equal(getattr(after, field), getattr(before, field)), field
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]


def test_written_predictions_open_with_pandas_in_the_stated_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    test = split("test", n=5)
    write_predictions(tmp_path / "p.parquet", [test], NAMES)
    table = pandas.read_parquet(tmp_path / "p.parquet")
    labels, probabilities = ([f"{prefix}_{name}" for name in NAMES] for prefix in ("label", "probability"))
    assert table.columns.tolist() == ["exam_id", "patient_id", "split", *labels, *probabilities]
    assert np.array_equal(table[probabilities].to_numpy(), test.probabilities)


def test_predictions_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"split test: expected 1 labels \['AF'\], found 3"):
        write_predictions(tmp_path / "p.parquet", [split("test", n=5)], ["AF"])
    with pytest.raises(FileNotFoundError, match="absent"):
        read_predictions(tmp_path / "absent.parquet")


def test_thresholds_come_from_validation_and_metrics_from_test(tmp_path):
    validation, test = split("validation", seed=1), split("test", seed=2)
    metrics = evaluate_predictions(validation, test, NAMES, n_resamples=50, seed=3)
    thresholds = choose_thresholds(validation.probabilities, validation.labels)
    assert list(metrics["thresholds"].values()) == thresholds.tolist()
    assert thresholds.tolist() != choose_thresholds(test.probabilities, test.labels).tolist()
    assert metrics["thresholds_from"] == "validation" and metrics["undefined"] == []
    f1 = f1_score(test.labels[:, 1], test.probabilities[:, 1] >= thresholds[1])
    assert metrics["test"]["per_class"]["RBBB"]["f1"] == pytest.approx(f1)
    assert metrics["test"]["n_patients"] == len(set(test.patient_ids.tolist()))
    assert metrics["test"]["intervals"] == bootstrap_intervals(
        test.probabilities, test.labels, thresholds, NAMES, test.patient_ids, 50, seed=3
    )
    assert "intervals" not in metrics["validation"]
    write_json(tmp_path / "metrics.json", metrics)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_given_thresholds_need_no_validation():
    test = split("test")
    metrics = evaluate_predictions(None, test, NAMES, thresholds=[0.3, 0.4, 0.5], n_resamples=5)
    expected = multilabel_metrics(test.probabilities, test.labels, [0.3, 0.4, 0.5], NAMES)
    assert metrics["test"]["per_class"] == expected["per_class"]
    assert metrics["thresholds_from"] == "given" and "validation" not in metrics
    with pytest.raises(ValueError, match="found neither"):
        evaluate_predictions(None, test, NAMES)


def test_a_patient_in_both_splits_is_refused():
    validation, test = split("validation"), split("test")
    patients = [*test.patient_ids[:-1], validation.patient_ids[7]]
    test = SplitPredictions("test", test.exam_ids, patients, test.labels, test.probabilities)
    with pytest.raises(ValueError, match=f"1 patients are in both .*the first {validation.patient_ids[7]}"):
        evaluate_predictions(validation, test, NAMES)


def test_undefined_values_reach_the_json_and_the_table(tmp_path):
    validation, test = split("validation", seed=1), split("test", seed=2)
    validation.labels[:, 0] = 0
    test.labels[:, 0] = 0
    metrics = evaluate_predictions(validation, test, NAMES, n_resamples=20)
    write_json(tmp_path / "metrics.json", metrics)
    assert metrics["undefined"][0]["reason"] == "no positive to choose by: 0.5 is used"
    table = metrics_table(metrics)
    row = next(line for line in table.splitlines() if line.startswith("| 1dAVb"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["0 / 300", "0.500"]
    assert row.count("–") == 5
    assert "- 1dAVb: threshold: no positive to choose by: 0.5 is used" in table
    assert "- 1dAVb: precision, recall, F1, AUROC, avg. precision: no positive among 300 known labels" in table
    assert "- mean: precision, recall, F1, AUROC, avg. precision: defined for 2 of 3 classes" in table


def test_table_is_aligned_and_shows_the_numbers():
    metrics = evaluate_predictions(split("validation", seed=1), split("test", seed=2), NAMES, n_resamples=20)
    lines = metrics_table(metrics).splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [*NAMES, "mean"]
    low, high = (metrics["test"]["intervals"]["mean"]["f1"][end] for end in ("low", "high"))
    assert f"{metrics['test']['mean']['f1']:.3f} [{low:.3f}, {high:.3f}]" in lines[5]
    assert "95 % interval, 20 resamples of patients" in lines[7]
    assert "[" not in metrics_table(metrics, "validation")


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


@pytest.mark.parametrize("block", [evaluation.SIMILARITY_BLOCK, 100])
def test_ranks_equal_their_definition_whatever_the_block(monkeypatch, block):
    monkeypatch.setattr(evaluation, "SIMILARITY_BLOCK", block)
    ecg, text, ids = embeddings()
    ranks = retrieval_ranks(torch.tensor(ecg), torch.tensor(text), torch.tensor(ids))
    to_text, to_ecg = slow_ranks(ecg, text, ids)
    assert ranks.ecg_to_text.tolist() == to_text
    assert ranks.text_to_ecg.tolist() == to_ecg
    assert len(set(to_text)) > 5 and len(set(to_ecg)) > 2
    assert ranks.ecgs_of_report.tolist() == np.bincount(ids)[np.unique(ids)].tolist()


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
    # Four ECGs with a report each, of which the first two (one patient) find theirs at once and the others last.
    ranks = RetrievalRanks(np.array([1, 1, 4, 4]), np.array([1, 2, 3, 40]), np.ones(4, dtype=int))
    report = retrieval_report(ranks, ["p", "p", "q", "q"], n_resamples=500)
    first = report["ecg_to_text"]["recall_at_1"]
    assert (first["value"], first["chance"]) == (0.5, 0.25)
    assert (first["low"], first["high"]) == (0.0, 1.0)  # of two patients one may be drawn twice
    assert report["ecg_to_text"]["recall_at_5"]["low"] == 1.0
    assert report["text_to_ecg"]["median_rank"] == 2.5 and "low" not in report["text_to_ecg"]["recall_at_1"]
    assert (report["ecgs"], report["reports"]) == (4, 4)
