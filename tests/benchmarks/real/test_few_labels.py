import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

import train_cls
from benchmarks.real import few_labels, finetune
from benchmarks.real.finetune import Run
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification, save_for_hub
from modeling_ecgclip.towers_ecgclip import encoder_config
from tests.small_tables import LABELS, SCHEMA, write_small_table


COMMAND = ["--ptbxl_dir", "not read", "--label_sets", "small", "--encoder_preset", "tiny", "--fractions", "0.25"]
COMMAND += ["--draws", "2", "--n_resamples", "50"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A comparison on a small table in place of PTB-XL's; returns its folder, its record and the command."""
    folder = tmp_path_factory.mktemp("few")
    config = encoder_config("tiny", **vars(SCHEMA.signal))
    save_for_hub(EcgResNetForSignalClassification(config), folder / "cls", EcgFeatureExtractor.for_model(config))
    table = write_small_table(folder / "small")
    command = [*COMMAND, "--starts", f"ours={folder / 'cls'}", "--output_dir", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_labels, "ptbxl_table", lambda args, labels: table)
        patch.setitem(finetune.STEPS, 0.25, 5)
        record = few_labels.main(command)
        # All runs have ended: the same command only makes the tables.
        patch.setattr(train_cls, "main", lambda argv: pytest.fail("trained again"))
        assert few_labels.main(command) == record
    return folder / "out", record


def test_every_start_is_fine_tuned_and_probed(finished):
    folder, record = finished
    arms = record["label_sets"]["small"]
    assert [(arm["start"], arm["method"]) for arm in arms] == [
        ("random", "fine-tuned"),
        ("random", "linear head"),
        ("ours", "fine-tuned"),
        ("ours", "linear head"),
    ]
    assert json.loads((folder / "few_labels.json").read_text()) == record
    text = (folder / "few_labels.md").read_text()
    assert "25 % of the labels (16 exams)" in text
    for arm in arms:
        assert f"| {arm['method']}, {arm['start']}" in text
        assert list(arm["per_class"]) == [label.name for label in LABELS]


def test_the_numbers_are_those_of_the_runs_predictions(finished):
    folder, record = finished
    by_hand = []
    for draw in range(2):
        rows = pq.read_table(folder / "runs" / f"small-ours-0.25-{draw}" / "predictions.parquet").to_pandas()
        rows = rows[rows["split"] == "test"]
        by_hand.append(roc_auc_score(rows["label_MI"], rows["probability_MI"]))
    (arm,) = (one for one in record["label_sets"]["small"] if (one["start"], one["method"]) == ("ours", "fine-tuned"))
    assert arm["per_class"]["MI"]["auroc"] == pytest.approx(np.mean(by_hand))
    assert arm["per_class"]["MI"]["sd"] == pytest.approx(np.std(by_hand, ddof=1))


def test_fine_tuning_and_linear_head_have_the_same_exams(finished):
    folder, record = finished
    used = [
        json.loads((folder / "runs" / f"small-{start}-0.25-{draw}" / "run.json").read_text())["used"]["train"]["exams"]
        for start in ("random", "ours")
        for draw in range(2)
    ]
    assert used == [16, 16, 16, 16]
    assert {arm["n_trained"] for arm in record["label_sets"]["small"]} == {16}


def test_starts_differ_in_their_start_alone():
    ours, random = (Run("code6", start, 0.05, 1) for start in ("ours", "random"))
    one = ours.arguments("table", "folder", "tiny", "out")
    other = random.arguments("table", None, "tiny", "out")
    assert "folder" in one and "--encoder_preset" not in one
    assert [word for word in one if word not in ("--model_name_or_path", "folder")] == [
        word for word in other if word not in ("--encoder_preset", "tiny")
    ]


def test_a_run_that_was_told_to_end_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(train_cls, "main", lambda argv: None)
    with pytest.raises(InterruptedError, match="small-random-0.25-0"):
        finetune.finetune([Run("small", "random", 0.25, 0)], {"small": tmp_path}, {"random": None}, "tiny", tmp_path)


def test_a_start_that_is_named_as_random_weights_are():
    with pytest.raises(ValueError, match="none of them 'random'"):
        few_labels.main([*COMMAND, "--starts", "random=folder"])


def test_settings_that_are_none(capsys):
    for command, expected in (
        (["--draws", "0"], "--draws and --n_resamples must be at least 1: found 0"),
        (["--fractions", "0.3"], "invalid choice: 0.3"),
    ):
        with pytest.raises(SystemExit):
            few_labels.main(command)
        assert expected in capsys.readouterr().err
