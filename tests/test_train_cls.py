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
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, labels_of
from tests.small_tables import LABELS, SCHEMA, write_small_table
from training.targets import MultiLabel


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
    extractor = EcgFeatureExtractor.from_pretrained(folder)
    # What it does with an ECG's samples: noise is none that it would take.
    inputs = np.stack([extractor.frame(one) for one in ecg.astype(np.float32)])
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(inputs)).logits.sigmoid().numpy()
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
    splits = train_cls.read_splits(data, load_exam_table(exam_table), MultiLabel(CODE_LABELS))
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [33, 12, 30]


def test_labels_from_validation_halve_its_patients(exam_table):
    table = load_exam_table(exam_table)
    whole, part = (
        train_cls.read_splits(
            train_cls.DataArguments(str(exam_table), labels_from="validation", train_fraction=fraction),
            table,
            MultiLabel(CODE_LABELS),
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


# ---- other labels, other numbers, another signal

SMALL = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "20", "--max_train_steps", "4"]
AUGMENT = ["--augment", "amplitude=0.2", "noise_mv=0.02", "wander_mv=0.1", "shift_s=0.5", "lead_masking=0.1"]
SMALL += ["--eval_steps", "2", "--logging_steps", "1", "--checkpointing_steps", "no"]


@pytest.fixture(scope="module")
def small_table(tmp_path_factory):
    return write_small_table(tmp_path_factory.mktemp("tables") / "small")


@pytest.fixture
def train(small_table, tmp_path):
    """Trains on the small table; returns the folder and what `main` returned."""

    def train(*more, table=small_table, name="run"):
        folder = tmp_path / name
        return folder, train_cls.main(
            ["--dataset_name_or_path", str(table), "--output_dir", str(folder), *SMALL, *more]
        )

    return train


def outputs_of(folder, table):
    """What the saved model says of the test split, through its own preprocessing."""
    model = EcgResNetForSignalClassification.from_pretrained(folder).eval()
    extractor = EcgFeatureExtractor.from_pretrained(folder)
    signal = SCHEMA.signal
    assert model.config.signal == extractor.signal == signal and extractor.input_samples == 512
    ecg = list(ecg_array(load_exam_table(table)["test"]))
    inputs = extractor(ecg, signal.sampling_rate, signal.lead_names, "uV", return_tensors="pt")
    with torch.inference_mode():
        return model, model(**inputs).logits


def columns_of(folder, prefix, names):
    rows = pq.read_table(folder / "predictions.parquet", filters=[("split", "=", "test")])
    return np.stack([rows.column(f"{prefix}{name}").to_numpy() for name in names], axis=1)


@pytest.mark.parametrize(
    ("flags", "problem_type", "names"),
    [
        ([], "multi_label_classification", ["NORM", "MI", "CD"]),
        (["--labels", "CD", "NORM", *AUGMENT], "multi_label_classification", ["CD", "NORM"]),
        (["--task", "multi_class"], "single_label_classification", ["NORM", "MI", "CD"]),
    ],
)
def test_labels_of_the_table_are_learned_on_its_own_signal(flags, problem_type, names, train, small_table):
    folder, metrics = train(*flags)
    model, logits = outputs_of(folder, small_table)
    assert (model.config.problem_type, list(model.config.id2label.values())) == (problem_type, names)
    assert set(labels_of(model.config)) <= set(LABELS)
    one_label = problem_type == "single_label_classification"
    probabilities = (logits.softmax(-1) if one_label else logits.sigmoid()).numpy()
    np.testing.assert_allclose(columns_of(folder, "probability_", names), probabilities, atol=1e-5)
    assert list(metrics["test"]["per_class"]) == names and metrics["label_names"] == names
    assert (model.config.thresholds is None) == one_label == (metrics["thresholds_from"] == "argmax")
    record = json.loads((folder / "run.json").read_text())
    assert record["problem_type"] == problem_type and [label["name"] for label in record["labels"]] == names
    assert record["signal"] == {"lead_names": ["II", "V2"], "sampling_rate": 100, "n_samples": 500}
    stated = labels_array(load_exam_table(small_table)["train"]) == 1
    kept = stated.sum(axis=1) == 1 if one_label else np.full(60, True)
    assert 50 < kept.sum() < 60 or not one_label
    assert record["used"]["train"]["known"] == dict.fromkeys(names, kept.sum())
    assert record["used"]["train"]["positives"]["NORM"] == stated[kept, 0].sum()
    assert (folder / "confusion.png").is_file() == one_label


def test_numbers_are_learned_in_their_own_units(train, small_table):
    names = ["age", "potassium"]
    folder, metrics = train("--task", "regression", "--target_columns", *names, "--max_train_steps", "40")
    model, outputs = outputs_of(folder, small_table)
    assert model.config.problem_type == "regression" and list(model.config.id2label.values()) == names
    np.testing.assert_allclose(columns_of(folder, "prediction_", names), outputs, rtol=1e-4)
    assert np.isnan(columns_of(folder, "target_", names)[::5, 1]).all()
    age = metrics["test"]["per_target"]["age"]
    assert age["n_known"] == 24 and age["mae"] < 13 and age["r2"] > 0  # the mean would miss by 13
    record = json.loads((folder / "run.json").read_text())
    assert record["labels"] == [{"name": name, "title": name} for name in names]
    assert record["used"]["test"] == {"exams": 24, "patients": 12, "known": {"age": 24, "potassium": 19}}
    assert {path.name for path in folder.glob("*.png")} == {"loss.png", "scatter.png"}

    # Going on without learning leaves the numbers where they were: the head is theirs already.
    more = ["--model_name_or_path", str(folder), "--learning_rate", "1e-12", "--max_train_steps", "1"]
    again, _ = train("--task", "regression", "--target_columns", *names, *more, "--eval_steps", "1", name="again")
    kept, before = (load_file(of / "model.safetensors")["classifier.weight"] for of in (again, folder))
    torch.testing.assert_close(kept, before, rtol=1e-4, atol=1e-5)


def test_a_head_for_numbers_learns_alone(train, small_table):
    folder, _ = train("--task", "regression", "--target_columns", "age", "--freeze_encoder")
    _, outputs = outputs_of(folder, small_table)
    np.testing.assert_allclose(columns_of(folder, "prediction_", ["age"]), outputs, rtol=1e-4)


def test_empty_splits_are_refused_by_name_or_done_without(train, tmp_path):
    table = write_small_table(tmp_path / "table", {"validation": 0, "test": 0})
    with pytest.raises(ValueError, match="split validation: none of 0 exams has a known label .*--allow_empty_splits"):
        train(table=table)
    folder, metrics = train("--allow_empty_splits", "--ema_decay", "0.9", table=table, name="without")
    assert set(metrics) == {"label_names", "thresholds", "thresholds_from", "undefined"}
    assert metrics["thresholds_from"] == "default" and set(metrics["thresholds"].values()) == {0.5}
    record = json.loads((folder / "run.json").read_text())
    assert list(record["used"]) == ["train"] and record["best_step"] == 4
    assert not (folder / "predictions.parquet").exists() and not (folder / "precision_recall.png").exists()
    assert EcgResNetForSignalClassification.from_pretrained(folder).config.thresholds == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="--early_stopping_patience needs a validation split"):
        train("--allow_empty_splits", "--early_stopping_patience", "2", table=table, name="patient")


def test_a_test_split_alone_is_measured_and_so_is_validation_alone(train, tmp_path):
    for name, other in (("validation", "test"), ("test", "validation")):
        table = write_small_table(tmp_path / f"without_{name}", {name: 0})
        folder, metrics = train("--allow_empty_splits", "--task", "multi_class", table=table, name=f"run_{name}")
        assert other in metrics and name not in metrics
        assert set(pq.read_table(folder / "predictions.parquet").column("split").to_pylist()) == {other}


@pytest.mark.parametrize("task", ["multi_label", "multi_class"])
def test_training_without_a_known_label_is_refused_before_the_first_step(task, train, tmp_path):
    unknown = dict.fromkeys(SCHEMA.label_names, -1)
    table = write_small_table(tmp_path / "unknown", labels=unknown)
    with pytest.raises(
        ValueError, match="split train: none of 60 exams has .*training needs some: .*--labels"
    ) as error:
        train("--task", task, table=table)
    assert "\n" not in str(error.value)


def test_labels_without_positives_are_refused_before_the_first_step(train, tmp_path):
    table = write_small_table(tmp_path / "one_sided", labels={"NORM": 1, "MI": 0, "CD": -1})
    message = "60 training exams have no positive of MI, CD and no negative of NORM, CD"
    with pytest.raises(ValueError, match=message):
        train(table=table)
    folder, metrics = train("--allow_one_sided_labels", table=table, name="allowed")
    assert metrics["test"]["per_class"]["MI"]["f1"] is None


def test_a_model_of_another_signal_is_refused_before_the_first_step(finished, train):
    source, _ = finished
    with pytest.raises(ValueError, match="the exam table has 2 leads .* at 100 Hz; found .* with 12 leads"):
        train("--model_name_or_path", str(source))
