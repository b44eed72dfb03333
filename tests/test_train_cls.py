import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import train_cls
from data_scripts.tables.schema import ecg_array, labels_array, load_exam_table
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification


PROJECT = Path(__file__).resolve().parent.parent
ARGUMENTS = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "6"]
ARGUMENTS += ["--eval_steps", "3", "--logging_steps", "1"]


def arguments(exam_table, output_dir, *more):
    return ["--dataset_name_or_path", str(exam_table), "--output_dir", str(output_dir), *ARGUMENTS, *more]


@pytest.fixture(scope="module")
def finished(exam_table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cls"
    return folder, train_cls.main(arguments(exam_table, folder))


def load_labels(exam_table):
    return labels_array(load_exam_table(exam_table)["test"])


def test_a_run_leaves_what_the_documentation_says(finished, exam_table):
    folder, metrics = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "preprocessor_config.json", "metrics.json", "run.json"}
    assert names >= {"predictions.parquet", "history.json", "loss.png", "precision_recall.png", "modeling_ecgclip.py"}
    assert not names & {"best.safetensors"}
    assert json.loads((folder / "metrics.json").read_text())["test"]["n_exams"] == 30
    record = json.loads((folder / "run.json").read_text())
    assert record["data"]["sources"] == ["simulated"]
    assert record["data"]["patients"] == {"train": 30, "validation": 10, "test": 10}
    assert record["arguments"]["encoder_preset"] == "tiny"
    assert record["used"]["train"]["exams"] == 90
    assert sum(record["used"]["test"]["positives"].values()) == (load_labels(exam_table) == 1).sum()
    assert str(folder.parent) not in (folder / "run.json").read_text()
    assert metrics["thresholds_from"] == "validation"


def test_predictions_are_those_of_the_saved_model(finished, exam_table):
    folder, metrics = finished
    model = EcgResNetForSignalClassification.from_pretrained(folder).eval()
    test = load_exam_table(exam_table)["test"]
    ecg = ecg_array(test) / 1000
    inputs = EcgFeatureExtractor.from_pretrained(folder)(list(ecg), sampling_rate=400, return_tensors="pt")
    with torch.inference_mode():
        probabilities = model(**inputs).logits.sigmoid().numpy()
    rows = pq.read_table(folder / "predictions.parquet", filters=[("split", "=", "test")])
    assert rows.column("exam_id").to_pylist() == list(test["exam_id"])
    found = np.stack([rows.column(f"probability_{name}") for name in model.config.id2label.values()], axis=1)
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    assert list(model.config.thresholds) == list(metrics["thresholds"].values())


def test_frozen_encoder_stays_and_the_head_moves(finished, exam_table, tmp_path):
    source, _ = finished
    train_cls.main(arguments(exam_table, tmp_path / "probe", "--freeze_encoder", "--model_name_or_path", str(source)))
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "probe"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_full_fine_tuning_moves_the_encoder(finished, exam_table, tmp_path):
    source, _ = finished
    train_cls.main(arguments(exam_table, tmp_path / "full", "--model_name_or_path", str(source)))
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "full"))
    assert not torch.equal(before["ecg_model.stem.layers.0.weight"], after["ecg_model.stem.layers.0.weight"])


def test_fraction_shrinks_training_and_validation_alike(exam_table):
    data = train_cls.DataArguments(str(exam_table), train_fraction=0.34)
    splits = train_cls.read_splits(data, load_exam_table(exam_table))
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [33, 12, 30]


def test_labels_from_validation_halve_its_patients(exam_table):
    table = load_exam_table(exam_table)
    whole, part = (
        train_cls.read_splits(
            train_cls.DataArguments(str(exam_table), labels_from="validation", train_fraction=fraction), table
        )
        for fraction in (1.0, 0.5)
    )
    assert set(whole["train"].exam_ids) | set(whole["validation"].exam_ids) == set(table["validation"]["exam_id"])
    assert not set(whole["train"].patient_ids) & set(whole["validation"].patient_ids)
    assert abs(len(whole["train"]) - len(whole["validation"])) <= 3  # one patient
    for name in ("train", "validation"):
        assert set(part[name].exam_ids) < set(whole[name].exam_ids)
    assert list(part["test"].exam_ids) == table["test"]["exam_id"][:]


def test_resumed_run_ends_with_the_same_weights(finished, exam_table, tmp_path):
    whole, _ = finished
    part = tmp_path / "part"
    train_cls.main(arguments(exam_table, part, "--checkpointing_steps", "2"))
    for name in ("step-00000006", "step-00000004"):
        checkpoint = part / "checkpoints" / name
        assert checkpoint.is_dir()
    (part / "checkpoints" / "step-00000006" / "model.safetensors").unlink()  # torn: the one before is used
    train_cls.main(arguments(exam_table, part, "--checkpointing_steps", "2", "--resume_from_checkpoint", "latest"))
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, part))
    assert all(torch.equal(a[name], b[name]) for name in a)
    losses = [[e["loss"] for e in json.loads((f / "history.json").read_text()) if "loss" in e] for f in (whole, part)]
    assert losses[0] == losses[1]


def test_two_processes_write_one_output(exam_table, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(PROJECT / "train_cls.py")]
    # 5 and 4 validation exams in batches of 4: one process has two, the other one.
    command += arguments(exam_table, tmp_path / "two", "--train_fraction", "0.3", "--per_device_eval_batch_size", "4")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["num_processes"] == 2
    rows = pq.read_table(tmp_path / "two" / "predictions.parquet")
    assert len(rows) == 39 and len(set(rows.column("exam_id").to_pylist())) == 39


def test_an_earlier_run_is_not_overwritten_unasked(finished, exam_table):
    folder, _ = finished
    with pytest.raises(FileExistsError, match="--resume_from_checkpoint latest, --overwrite_output_dir"):
        train_cls.main(arguments(exam_table, folder))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train_fraction", "0"], "--train_fraction must lie in"),
        (["--checkpointing_steps", "often"], "number, 'epoch' or 'no'"),
        (["--no_such_flag", "1"], "no_such_flag"),
        (["--per_device_train_batch_size", "0"], "must be at least 1"),
    ],
)
def test_impossible_arguments_end_with_a_reason(flags, message, exam_table, tmp_path, capsys):
    with pytest.raises((SystemExit, ValueError)) as error:
        train_cls.main(arguments(exam_table, tmp_path / "x", *flags))
    assert message in capsys.readouterr().err + str(error.value)
