"""Recalibration writes a folder that answers as it says, with the weights as they were."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from transformers import AutoConfig, pipeline

from common.checksums import verify_checksums
from data_scripts.tables.schema import SPLITS
from publishing.export import load_source
from publishing.recalibrate import before_of, labelled_logits, main
from tests.publishing.runs import change_json, write_run
from tests.small_tables import LABELS, SCHEMA, write_small_table
from training.data import ExamTable


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A finished run, and exams that it was not trained on; and some that all have the first label alone."""
    folder = tmp_path_factory.mktemp("recalibrate")
    run = write_run(folder / "cls", LABELS, signal=SCHEMA.signal)
    table = write_small_table(folder / "own")
    rare = write_small_table(folder / "rare", labels=dict(zip(SCHEMA.label_names, (1, 0, 0), strict=True)))
    return run, table, rare


def command(run, table, output, *more):
    return ["--model_name_or_path", str(run), "--dataset_name_or_path", str(table), "--output_dir", str(output), *more]


def test_the_new_folder_answers_as_its_record_says(places, tmp_path, capsys):
    run, table, _ = places
    assert main(command(run, table, tmp_path / "new", "--promised_error", "0.1")) == 0
    said = capsys.readouterr().out
    assert "108 exams of" in said and "Abstention, error of at most 0.1" in said
    assert (tmp_path / "new/model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert {"run.json", "metrics.json", "config.json"} <= set(verify_checksums(tmp_path / "new"))
    config = json.loads((tmp_path / "new/config.json").read_text())
    record = json.loads((tmp_path / "new/run.json").read_text())["recalibration"]
    names = list(record["labels"])
    for at, name in enumerate(names):
        of = record["labels"][name]
        assert of["fitted"] and of["before"] == {"scale": 1.0, "shift": 0.0, "threshold": 0.3}
        assert config["calibration"]["scale"][at] == of["after"]["scale"]
        assert config["thresholds"][at] == of["after"]["threshold"]
        assert config["threshold_prevalence"][at] == of["n_positive"] / of["n_known"]
    brier = [record["cross_validation"][side]["mean"]["brier"] for side in ("before", "after")]
    assert brier[1] < brier[0]  # the weights are random: the share of positives alone is better
    card = (tmp_path / "new/README.md").read_text()
    assert "### Recalibrated" in card and "108 simulated exams" in card and "before this" in card
    assert "promised that at most 10 %" in card
    ecg = {"ecg": np.random.default_rng(0).normal(size=(2, 500)), "sampling_rate": 100, "unit": "mV"}
    ecg["lead_names"] = list(SCHEMA.signal.lead_names)
    answers = [
        {one["label"]: one for one in pipeline("ecg-classification", model=str(of), trust_remote_code=True)(ecg)}
        for of in (run, tmp_path / "new")
    ]
    for at, name in enumerate(names):
        after = record["labels"][name]["after"]
        expected = expit(after["scale"] * logit(answers[0][name]["score"]) + after["shift"])
        assert answers[1][name]["score"] == pytest.approx(expected, abs=1e-5)
        assert answers[1][name]["positive"] == (expected >= after["threshold"])
        low, high = config["abstention"]["low"][at], config["abstention"]["high"][at]
        kind = "negative" if expected < low else "positive" if expected >= high else "uncertain"
        assert answers[1][name]["decision"] == kind and "decision" not in answers[0][name]


def test_fitted_again_it_starts_from_the_head_and_not_from_the_calibration(places, tmp_path):
    run, table, _ = places
    assert main(command(run, table, tmp_path / "one")) == 0
    assert main(command(tmp_path / "one", table, tmp_path / "two")) == 0
    one, two = (AutoConfig.from_pretrained(tmp_path / name).calibration for name in ("one", "two"))
    assert np.allclose(one["scale"], two["scale"]) and np.allclose(one["shift"], two["shift"])
    model, extractor = load_source(str(tmp_path / "one"))
    exams = labelled_logits(model, extractor, ExamTable.load(str(table)), SPLITS)
    assert model.config.calibration == one  # the copy for inference alone went without
    told = before_of(model.config).probabilities(exams.logits[:1])
    assert not np.allclose(told, expit(exams.logits[:1])) and isinstance(model.classifier, torch.nn.Linear)


def test_what_is_too_rare_is_kept_and_refused_by_name(places, tmp_path, capsys):
    run, _, rare = places
    assert main(command(run, rare, tmp_path / "new", "--promised_error", "0.1")) == 0
    said = capsys.readouterr().out
    assert "Kept as they were, with fewer than 1 positive or no negative: NORM, MI, CD." in said
    assert "MI: refused: 0 positives and 108 negatives: a promise of 0.1 takes 9 of each" in said
    config = AutoConfig.from_pretrained(tmp_path / "new")
    assert list(config.thresholds) == [0.3] * 3 and config.abstention["low"] == [None] * 3
    assert list(config.threshold_prevalence) == [None] * 3


def test_exams_of_the_models_own_training_are_refused(places, tmp_path, capsys):
    run, table, _ = places
    trained = tmp_path / "trained"
    trained.mkdir()
    for path in run.iterdir():
        (trained / path.name).write_bytes(path.read_bytes())
    own = write_small_table(tmp_path / "own")
    change_json(own / "conversion.json", digest="abc")
    data = json.loads((trained / "run.json").read_text())["data"]
    change_json(trained / "run.json", data=data | {"conversion": {"digest": "abc", "kept": 108, "found": 108}})
    assert main(command(trained, own, tmp_path / "new")) == 1
    assert "was trained on its training split" in capsys.readouterr().err and not (tmp_path / "new").exists()
    assert main(command(trained, own, tmp_path / "new", "--splits", "validation")) == 0


def test_other_kinds_of_models_and_tables_are_refused(places, tmp_path, capsys):
    _, table, _ = places
    several = write_run(tmp_path / "several", LABELS, "single_label_classification", SCHEMA.signal)
    assert main(command(several, table, tmp_path / "new")) == 1
    assert "expected labels side by side" in capsys.readouterr().err
    others = write_run(tmp_path / "others", signal=SCHEMA.signal)
    assert main(command(others, table, tmp_path / "new")) == 1
    assert "expected some of the model's labels 1dAVb" in capsys.readouterr().err
