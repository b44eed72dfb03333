import json
import shutil

import pytest

from modeling_ecgclip import EcgFeatureExtractor, SignalSpec
from modeling_ecgclip.checksums_ecgclip import DamagedFileError
from publishing.card import eval_result_file, model_card
from publishing.run_folder import read_run
from publishing.stages import CLASSIFIERS, CONTRASTIVE, stage_of
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit
from tests.publishing.runs import change_json
from training.run import state_records


@pytest.fixture
def copied(run_of, tmp_path):
    """A folder to change."""
    return shutil.copytree(run_of("superclasses").path, tmp_path / "run")


def test_record_says_stage_labels_and_signal(run_of):
    run = run_of("one_lead")
    assert run.stage is CLASSIFIERS["multi_label_classification"]
    assert [(label.name, label.title) for label in run.labels] == [("NORM", "normal ECG")]
    assert run.signal == SignalSpec(("I",), 500, 5000)
    assert run_of("age").stage is CLASSIFIERS["regression"]
    assert run_of("age").positives("test") == {}


def test_older_records_are_of_labels_side_by_side(copied):
    record = json.loads((copied / "run.json").read_text())
    for name in ("problem_type", "labels", "signal"):
        del record[name]
    (copied / "run.json").write_text(json.dumps(record))
    run = read_run(copied)
    assert run.stage is CLASSIFIERS["multi_label_classification"]
    assert run.label_names == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert stage_of({"stage": "contrastive"}) is CONTRASTIVE


@pytest.mark.parametrize(
    "record", [{}, {"stage": "other"}, {"stage": "classification", "problem_type": "counting", "used": {}}]
)
def test_other_records_are_refused_by_name(copied, record):
    (copied / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"run.json: expected the record of a run of train_clip.py or train_cls.py"):
        read_run(copied)


def test_a_folder_that_states_two_signals_is_refused_in_one_line(copied):
    EcgFeatureExtractor(sampling_rate=250).save_pretrained(copied)
    with pytest.raises(
        ValueError, match=r"run: expected one signal: the model has .*400 Hz; found .*250 Hz"
    ) as caught:
        read_run(copied)
    assert "\n" not in str(caught.value)
    EcgFeatureExtractor().save_pretrained(copied)
    change_json(copied / "run.json", signal=SignalSpec(("I",)).to_dict())
    with pytest.raises(ValueError, match=r"expected one signal: .* found run.json with 1 lead \(I\)"):
        read_run(copied)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "history.json", "config.json"])
def test_a_flipped_bit_of_a_record_is_refused_by_name(copied, name):
    state_records(copied)
    assert read_run(copied)
    flip_bit(copied / name, -3)
    with pytest.raises((ValueError, DamagedFileError), match=rf"{name}: expected SHA-256 [0-9a-f]{{64}}, found"):
        read_run(copied)


def test_a_run_without_validation_and_test_is_finished_and_says_that_nothing_was_measured(copied):
    record, metrics = (json.loads((copied / name).read_text()) for name in ("run.json", "metrics.json"))
    change_json(copied / "run.json", used={"train": record["used"]["train"]})
    undefined = [{"label": name, "metric": "threshold", "reason": "no validation"} for name in metrics["label_names"]]
    for split in ("validation", "test"):
        del metrics[split]
    (copied / "metrics.json").write_text(json.dumps(metrics))
    change_json(copied / "metrics.json", thresholds_from="default", undefined=undefined)
    for name in ("precision_recall", "calibration"):
        (copied / f"{name}.png").unlink()
    run = read_run(copied)
    card = model_card(run, dataset_id="clinic/exams")
    text = str(card)
    assert run.label_names == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert "**Trained on recorded ECGs** of PTB-XL." in text
    assert text.count("The run had no test split: nothing was measured") == 2  # results and limits
    assert "the last: there was no validation" in text and "calibration" not in text
    assert card.data.eval_results is None and eval_result_file(run, "clinic/exams") is None


def test_code_that_the_configuration_names_must_be_there(copied):
    (copied / "modeling_ecgclip.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"names code that is missing: modeling_ecgclip.py"):
        read_run(copied)
