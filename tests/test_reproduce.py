import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reproduce
from common.arguments import parse
from reproduction.recipes import RECIPES


PROJECT = Path(__file__).resolve().parent.parent
SETTINGS, ARMS, SEEDS = ["exp-1", "unseen"], ["random", "pretrained_linear"], ["1"]
CELLS = [f"cells/{s}/{a}/seed-{n}" for s in SETTINGS for a in ARMS for n in SEEDS]


def arguments(exam_table, text_model, output_dir, *more):
    words = ["--dataset_name_or_path", str(exam_table), "--text_model_name_or_path", str(text_model)]
    words += ["--output_dir", str(output_dir), "--settings", *SETTINGS, "--arms", *ARMS, "--seeds", *SEEDS]
    words += ["--max_train_steps", "5", "--pretrain_epochs", "3", "--n_resamples", "20"]
    return [*words, *more]


@pytest.fixture(scope="module")
def whole(exam_table, text_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproductions") / "whole"
    reproduce.main(arguments(exam_table, text_model, folder, "--num_proc", "1"))
    return folder


def test_every_output_is_there_and_says_that_the_exams_are_simulated(whole):
    tables = (whole / "tables.md").read_text()
    headings = [line for line in tables.splitlines() if line.startswith("#")]
    assert {"## Table 3: 36.8 % of the labels (simulated)", "## Table 6: data unseen in pre-training (simulated)"} <= (
        set(headings)
    )
    assert all("simulated" in line for line in headings)
    assert all(number in tables for number in ("0.726", "0.743", "0.521", "0.707"))  # the paper's
    assert "Text model of stage 1: `toy-text`. Text embeddings are centred" in tables
    assert "augmentation" in tables.lower() and "The paper states neither batch size" in tables
    assert (whole / "figure4.png").read_bytes().startswith(b"\x89PNG")
    svg = (whole / "figure4.svg").read_text()
    assert svg.startswith("<?xml") and "simulated exams" in svg
    with (whole / "csv" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(CELLS) * 7 * 7  # six classes and their mean, seven metrics
    f1 = next(row for row in rows if row["class"] == "mean" and row["metric"] == "f1")
    cell = json.loads(
        (whole / "cells" / f1["setting"] / f1["arm"] / f"seed-{f1['seed']}" / "metrics.json").read_text()
    )
    assert float(f1["value"]) == cell["test"]["mean"]["f1"]


def test_finished_cells_keep_numbers_and_no_weights(whole):
    for cell in CELLS:
        names = {path.name for path in (whole / cell).iterdir()}
        records = {"metrics.json", "run.json", "history.json", "predictions.parquet"}
        assert names == {"job.json", "SHA256SUMS", *records}
    assert (whole / "pretrained" / "reports" / "seed-1" / "model.safetensors").is_file()
    assert not list(whole.rglob("*.incomplete"))


def test_arms_differ_in_what_they_should(whole):
    jobs = {cell: json.loads((whole / cell / "job.json").read_text()) for cell in CELLS}
    random, linear = jobs["cells/exp-1/random/seed-1"], jobs["cells/exp-1/pretrained_linear/seed-1"]
    assert linear["encoder"]["seed"] == 1 and linear["freeze_encoder"] is True
    differing = {name for name in random.keys() | linear.keys() if random.get(name) != linear.get(name)}
    assert differing == {"encoder", "encoder_preset", "freeze_encoder", "learning_rate"}  # a head takes larger steps
    used = [json.loads((whole / cell / "run.json").read_text())["used"] for cell in CELLS]
    assert all(entry["test"]["exams"] == 30 for entry in used)
    of = dict(zip(CELLS, used, strict=True))
    assert of["cells/exp-1/random/seed-1"]["train"]["exams"] in range(33, 37)
    assert of["cells/unseen/random/seed-1"]["train"]["exams"] in range(12, 19)
    assert of["cells/unseen/random/seed-1"] == of["cells/unseen/pretrained_linear/seed-1"]


def test_killed_in_the_middle_it_continues_to_the_same_numbers(whole, exam_table, text_model, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, str(PROJECT / "reproduce.py")]
    command += arguments(exam_table, text_model, folder, "--num_proc", "2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not any((folder / cell / "metrics.json").is_file() for cell in CELLS):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finished = {
        cell: (folder / cell / "metrics.json").stat().st_mtime_ns for cell in CELLS if (folder / cell).is_dir()
    }
    assert 0 < len(finished) < len(CELLS)
    assert not (folder / "tables.md").exists()

    reproduce.main(arguments(exam_table, text_model, folder, "--num_proc", "2"))
    for cell, written in finished.items():
        assert (folder / cell / "metrics.json").stat().st_mtime_ns == written, f"{cell} was run again"
    assert (folder / "tables.md").read_text() == (whole / "tables.md").read_text()
    for path in (whole / "csv").iterdir():
        assert (folder / "csv" / path.name).read_bytes() == path.read_bytes()


def test_cells_side_by_side_on_one_held_table_give_the_numbers_of_one_at_a_time(
    whole, exam_table, text_model, tmp_path, caplog
):
    words = ["--cells_per_device", "2", "--num_proc", "1"]
    for stage in ("pretrain", "finetune"):
        words += [f"--{stage}_flags", "cache_dataset_on_device=on"]
    with caplog.at_level("INFO", "reproduce"):
        reproduce.main(arguments(exam_table, text_model, tmp_path / "held", *words))
    assert "2 at a time" in caplog.text and "recordings of all runs: held on cpu: 0.0 GiB of recordings" in caplog.text
    for path in (whole / "csv").iterdir():
        assert (tmp_path / "held" / "csv" / path.name).read_bytes() == path.read_bytes()
    for cell in CELLS:
        assert (tmp_path / "held" / cell / "job.json").read_bytes() == (whole / cell / "job.json").read_bytes()


def test_tables_can_be_made_again_without_the_data(whole, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.safetensors", "tables.md", "csv", "text_table"))
    words = ["--output_dir", str(folder), "--tables_only", "--settings", *SETTINGS, "--arms", *ARMS, "--seeds", *SEEDS]
    # What only the command line knows is repeated.
    words += ["--n_resamples", "20", "--max_train_steps", "5", "--pretrain_epochs", "3"]
    reproduce.main([*words, "--text_model_name_or_path", "toy-text"])
    assert (folder / "tables.md").read_text() == (whole / "tables.md").read_text()


def test_other_flags_are_recorded_and_a_failed_run_does_not_keep_the_others_from_the_tables(
    exam_table, text_model, tmp_path
):
    words = arguments(
        exam_table, text_model, tmp_path / "x", "--num_proc", "1", "--pretrain_flags", "center_text=false"
    )
    words += ["--finetune_flags", "weight_decay=0.01", "augment=noise_mv=0.01"]  # a frozen encoder cannot have it
    with pytest.raises(RuntimeError, match=r"2 of 5 runs failed; .*tables.md has the others. .*pretrained_linear"):
        reproduce.main(words)
    tables = (tmp_path / "x" / "tables.md").read_text()
    assert "Changed by --pretrain_flags: center_text off." in tables and "weight_decay 0.01" in tables
    assert "## Runs that are missing (simulated)" in tables and "cells/unseen/pretrained_linear/seed-1: " in tables
    record = json.loads((tmp_path / "x" / "cells" / "exp-1" / "random" / "seed-1" / "run.json").read_text())
    assert record["arguments"]["weight_decay"] == 0.01 and record["arguments"]["augment"] == ["noise_mv=0.01"]
    pretraining = json.loads((tmp_path / "x" / "pretrained" / "reports" / "seed-1" / "run.json").read_text())
    assert pretraining["arguments"]["center_text"] is False
    assert json.loads((tmp_path / "x" / "reproduce.json").read_text())["recipe"]["changed"].keys() == {
        "pretrain_flags",
        "finetune_flags",
    }


def test_other_parameters_than_those_of_the_folder_are_refused(whole, exam_table, text_model):
    before = (whole / "tables.md").read_text()
    with pytest.raises(ValueError, match="learning_rate: expected 0.5, found 0.001"):
        reproduce.main(arguments(exam_table, text_model, whole, "--learning_rate", "0.5"))
    assert (whole / "tables.md").read_text() == before


def test_a_cohort_is_simulated_once_and_another_refused(tmp_path):
    cohort = {**RECIPES["demo"].cohort, "num_exams": 60}
    exams = reproduce.simulated_table(tmp_path, cohort, num_proc=1)
    table = reproduce.load_exam_table(exams)
    assert sum(len(rows) for rows in table.values()) == 60 and set(table["train"]["source"]) == {"simulated"}
    assert not (tmp_path / "raw").exists()
    assert reproduce.simulated_table(tmp_path, cohort, num_proc=1) == exams
    with pytest.raises(ValueError, match="is another cohort"):
        reproduce.simulated_table(tmp_path, {**cohort, "seed": 1}, num_proc=1)


def test_reports_from_a_reading_of_their_own(tmp_path):
    given = ["--output_dir", str(tmp_path), "--num_exams", "60"]
    cohorts = [
        parse([*given, *more], "", reproduce.ReproduceArguments)[0].recipe.cohort
        for more in ([], ["--report_reader", "independent"])
    ]
    tables = [
        reproduce.load_exam_table(reproduce.simulated_table(tmp_path / str(i), cohort, 1))
        for i, cohort in enumerate(cohorts)
    ]
    shared, independent = (table["train"] for table in tables)
    assert shared["labels"][:] == independent["labels"][:] and shared["ecg"][0] == independent["ecg"][0]
    assert shared["report"][:] != independent["report"][:]


def test_an_estimate_needs_neither_table_nor_folder_and_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(["--preset", "paper", "--estimate", "--machine", "h200"]) is None
    paper = capsys.readouterr().out
    assert "345,779 exams: train 293,912" in paper and re.search(r"Expected: \d\d minutes", paper)
    reproduce.main(["--preset", "paper", "--estimate", "--machine", "h200", "--num_exams", "3457"])
    assert "3,457 exams: train 2,938" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_this_machine_is_timed_by_the_training_scripts(exam_table, capsys):
    words = ["--estimate", "--dataset_name_or_path", str(exam_table), "--settings", "exp-5", "--seeds", "0"]
    reproduce.main([*words, "--arms", "random", "--per_device_train_batch_size", "4", "--max_train_steps", "5"])
    text = capsys.readouterr().out
    assert "150 exams: train 90, validation 30, test 30" in text
    assert "Rates of this machine: 4 steps of each training script" in text and "stage 2" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "paper"], "--preset paper needs --dataset_name_or_path"),
        (["--output_dir", ""], "--output_dir is needed"),
        (["--machine", "h200"], "--machine is for --estimate"),
        (["--cells_per_device", "0"], "--cells_per_device must be at least 1"),
        (["--seeds", "1", "1"], "--seeds must name at least one, each once"),
        (["--num_proc", "0"], "--num_proc must be at least 1"),
        (["--settings", "half"], "invalid choice"),
        (["--stop_after_minutes", "0"], "--stop_after_minutes must be above 0"),
        (["--finetune_flags", "seed=1"], "--finetune_flags seed=1: expected name=VALUE"),
        (["--dataset_name_or_path", "x", "--num_exams", "9"], "--num_exams is for a simulated cohort"),
        (["--dataset_name_or_path", "x", "--report_reader", "shared"], "--report_reader is for a simulated cohort"),
    ],
)
def test_impossible_arguments_end_with_a_reason(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["--output_dir", str(tmp_path), *flags])
    assert message in capsys.readouterr().err
