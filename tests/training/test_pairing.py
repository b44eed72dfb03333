import json

import numpy as np
import pytest

import train_clip
from data_scripts import embed_reports
from training.pairing import other_patients_reports


@pytest.fixture(scope="module")
def embedded_table(exam_table, text_model):
    embed_reports.main(["--dataset_name_or_path", str(exam_table), "--text_model_name_or_path", str(text_model)])
    return exam_table


def arguments(table, text_model, output_dir, *more):
    names = ["--dataset_name_or_path", str(table), "--text_model_name_or_path", str(text_model)]
    names += ["--output_dir", str(output_dir), "--encoder_preset", "tiny", "--per_device_train_batch_size", "16"]
    return [*names, "--max_train_steps", "4", "--eval_steps", "2", "--logging_steps", "1", *more]


def test_reports_are_dealt_to_other_patients_and_none_is_lost():
    generator = np.random.default_rng(0)
    patients = np.array([f"p{i}" for i in generator.integers(0, 20, 100)])
    reports = np.arange(100)  # each exam's own
    dealt = other_patients_reports(reports, patients, seed=3)
    assert sorted(dealt) == sorted(reports)
    assert (patients[dealt] != patients).all()
    assert (dealt == other_patients_reports(reports, patients, seed=3)).all()
    assert (dealt != other_patients_reports(reports, patients, seed=4)).any()
    with pytest.raises(ValueError, match="patient a has 3 of 5 exams, expected at most half"):
        other_patients_reports(np.arange(5), np.array(list("aaabc")), seed=0)


def losses_of(folder):
    return [entry["loss"] for entry in json.loads((folder / "history.json").read_text()) if "loss" in entry]


@pytest.mark.parametrize("how", ["second_view", "other_report", "random_vector"])
def test_each_pairing_trains_repeats_itself_and_is_recorded(how, embedded_table, text_model, tmp_path):
    more = ["--pair_with", how, "--augment", "noise_mv=0.05", "--keep", "last"]
    for name in ("once", "again", "report"):
        words = more if name != "report" else more[2:]
        train_clip.main(arguments(embedded_table, text_model, tmp_path / name, *words))
    assert losses_of(tmp_path / "once") == losses_of(tmp_path / "again") != losses_of(tmp_path / "report")
    record = json.loads((tmp_path / "once" / "run.json").read_text())
    assert record["arguments"]["pair_with"] == how and record["best_step"] == 4
    metrics = json.loads((tmp_path / "once" / "metrics.json").read_text())
    assert "zero_shot" not in metrics["test"]  # phrases mean nothing to it
    assert "zero_shot" in json.loads((tmp_path / "report" / "metrics.json").read_text())["test"]
    page = (tmp_path / "once" / "README.md").read_text()
    assert "of step 4 of 4, the last" in page and "Made for a comparison, not for use" in page


def test_two_views_accumulate_as_one_batch_and_read_no_report(embedded_table, text_model, tmp_path):
    more = ["--pair_with", "second_view", "--augment", "amplitude=0.5", "--dropout", "0"]
    parts = ["--gradient_accumulation_steps", "2"]
    for name, words in {"views": [], "centred": ["--center_text"], "in parts": parts}.items():
        train_clip.main(arguments(embedded_table, text_model, tmp_path / name, *more, *words))
    assert losses_of(tmp_path / "views") == losses_of(tmp_path / "centred")  # another centre of the texts: no change
    assert all(np.isfinite(losses_of(tmp_path / "in parts")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pair_with", "second_view"], "needs --augment"),
        (["--pair_with", "second_view", "--augment", "shift_s=1", "--positives", "same_report"], "reads no report"),
        (["--pair_with", "random_vector", "--push_to_hub"], "is for comparisons"),
    ],
)
def test_what_does_not_go_together_is_refused(flags, message, embedded_table, text_model, tmp_path):
    with pytest.raises(ValueError, match=message):
        train_clip.main(arguments(embedded_table, text_model, tmp_path / "x", *flags))
    assert not (tmp_path / "x").exists()
