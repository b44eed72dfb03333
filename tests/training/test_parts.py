import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from accelerate import Accelerator

from training.arguments import GROUPS, DataArguments, EncoderArguments, TrainingArguments, as_record
from training.data import ExamSplit, ExamTable
from training.parts import MAY_CHANGE, MAY_GROW, RunParts, data_fingerprints, fingerprint


PRINTS = {"exam_table": "aa", "exams": "bb", "encoder": None}


def given(steps=400, fingerprints=None, **changes):
    """Arguments of a run, with some changes."""
    arguments = as_record(
        EncoderArguments(), DataArguments("exams"), TrainingArguments("out", max_train_steps=steps), *()
    )
    return arguments | changes, steps, {**PRINTS, **(fingerprints or {})}


def part(*args, **changes):
    return RunParts.begin(Accelerator(cpu=True), *given(*args, **changes))


def saved(run, step):
    """What a checkpoint of the run states, as it is read back."""
    return json.loads(json.dumps(run.as_of(step)))


def test_the_same_command_goes_on_and_every_argument_that_differs_is_listed_in_one_line():
    record = saved(part(), 100)
    part().compare(record, "x")
    changes = {"learning_rate": 0.1, "seed": 1, "train_fraction": 0.5, "augment": ["noise_mv=0.1"]}
    other = part(300, {"exam_table": "cc"}, **changes, logging_steps=3)
    with pytest.raises(ValueError, match=r"checkpoints/step-1 belongs to a run that was given other") as error:
        other.compare(record, "checkpoints/step-1")
    message = str(error.value)
    for difference in (
        "learning_rate: was 0.001, is 0.1",
        "seed: was 0, is 1",
        "train_fraction: was 1.0, is 0.5",
        "augment: was None, is noise_mv=0.1",
        "steps: was 400, is 300",
        "exam_table: was aa, is cc",
    ):
        assert difference in message, difference
    assert "logging_steps" not in message and "max_train_steps" not in message and "\n" not in message


ARGUMENTS = {f.name: f for group in GROUPS for f in fields(group)}


def test_what_may_change_are_arguments_that_there_are():
    assert MAY_CHANGE <= ARGUMENTS.keys()
    assert not MAY_CHANGE & set(MAY_GROW)


@pytest.mark.parametrize("name", sorted(given()[0]))
def test_each_argument_is_refused_or_known_not_to_matter(name):
    arguments = given()[0]
    run = part(**{name: "another value" if not isinstance(arguments[name], int | float) else arguments[name] + 1})
    if name in MAY_CHANGE or name in ("num_train_epochs", "max_train_steps", "mixed_precision"):
        run.compare(saved(part(), 1), "x")  # steps and the precision in force are compared in their place
    else:
        with pytest.raises(ValueError, match=f"{name}: was {arguments[name]}, is "):
            run.compare(saved(part(), 1), "x")


def test_a_run_may_end_later_and_no_earlier():
    record = saved(part(400, early_stopping_patience=3), 400)
    later = part(800, early_stopping_patience=5)
    later.compare(record, "x")
    part(early_stopping_patience=None).compare(record, "x")
    assert later.goes_beyond(record) and not part(400, early_stopping_patience=3).goes_beyond(record)
    for fewer in (part(200, early_stopping_patience=3), part(early_stopping_patience=2)):
        with pytest.raises(ValueError, match="steps: was 400, is 200|early_stopping_patience: was 3, is 2"):
            fewer.compare(record, "x")
    with pytest.raises(ValueError, match="early_stopping_patience: was None, is 3"):
        part(early_stopping_patience=3).compare(saved(part(), 1), "x")


def test_validations_may_come_at_other_steps_where_they_choose_nothing():
    part(eval_steps=5, keep="last").compare(saved(part(keep="last"), 1), "x")
    with pytest.raises(ValueError, match="eval_steps: was None, is 5"):
        part(eval_steps=5).compare(saved(part(), 1), "x")
    with pytest.raises(ValueError, match="eval_steps: was None, is 5"):
        stopping = {"keep": "last", "early_stopping_patience": 2}
        part(eval_steps=5, **stopping).compare(saved(part(**stopping), 1), "x")


def test_the_processes_and_the_precision_in_force_are_compared():
    record = saved(part(), 1) | {"num_processes": 2, "mixed_precision": "bf16"}
    with pytest.raises(ValueError, match="num_processes: was 2, is 1") as error:
        part().compare(record, "x")
    assert "mixed_precision: was bf16, is no" in str(error.value)
    # Said outright or by accelerate's configuration: what is in force is the same.
    part(mixed_precision="no").compare(saved(part(), 1), "x")


def test_an_argument_that_is_newer_than_the_checkpoint_was_its_default_then():
    record = saved(part(), 1)
    del record["arguments"]["ema_decay"]
    part().compare(record, "x")
    with pytest.raises(ValueError, match=r"ema_decay: was None, is 0\.9"):
        part(ema_decay=0.9).compare(record, "x")


def test_the_record_tells_the_run_part_by_part(caplog):
    caplog.set_level("INFO")
    first = part(lr_scheduler_type="cosine")
    second = part(800, lr_scheduler_type="cosine", logging_steps=3, resume_from_checkpoint="latest")
    second.machine = second.machine | {"commit": "of another day"}
    second.follow(saved(first, 300), 300)
    third = part(800, lr_scheduler_type="cosine", logging_steps=3, resume_from_checkpoint="latest")
    third.follow(saved(second, 500), 500)
    record = saved(third, 800)
    assert [one["steps"] for one in record["parts"]] == [[0, 300], [300, 500], [500, 800]]
    assert [one["planned"] for one in record["parts"]] == [400, 800, 800]
    assert record["parts"][0]["arguments"] == record["parts"][2]["arguments"] == {}
    assert record["parts"][1]["arguments"] == {
        "max_train_steps": {"was": 400, "is": 800},
        "logging_steps": {"was": 10, "is": 3},
    }
    assert record["parts"][1]["commit"] == "of another day" and record["commit"] == first.machine["commit"]
    assert record["arguments"]["max_train_steps"] == record["steps"] == 800
    said = "\n".join(one.getMessage() for one in caplog.records)
    assert "other arguments than before: max_train_steps: was 400, is 800; logging_steps: was 10, is 3" in said
    assert "400 steps become 800: from step 300 on the learning rate is that of the cosine schedule over 800" in said
    assert "the last digits may differ" in said and "is of another day" in said


def test_a_constant_rate_does_not_know_how_long_the_run_is(caplog):
    run = part(800, lr_scheduler_type="constant_with_warmup")
    run.follow(saved(part(lr_scheduler_type="constant_with_warmup"), 300), 300)
    assert "steps become" not in "\n".join(one.getMessage() for one in caplog.records)


def test_a_record_does_not_say_where_things_lie(tmp_path):
    places = {"dataset_name_or_path": str(tmp_path / "exams"), "model_name_or_path": str(tmp_path / "gone" / "clip")}
    (tmp_path / "exams").mkdir()
    record = part(**places, output_dir=str(tmp_path), text_model_name_or_path="pucpr/biobertpt-all").as_of(1)
    assert str(tmp_path) not in json.dumps(record)
    assert record["arguments"]["dataset_name_or_path"] == "exams"
    assert record["arguments"]["model_name_or_path"] == "clip"
    assert record["arguments"]["text_model_name_or_path"] == "pucpr/biobertpt-all"


def test_fingerprints_tell_a_table_and_what_is_used_of_it(exam_table, tmp_path):
    table = ExamTable.load(str(exam_table))
    moved = ExamTable.load(str(shutil.copytree(exam_table, tmp_path / "elsewhere")))
    splits = {name: ExamSplit(rows) for name, rows in table.splits.items()}
    there = {name: ExamSplit(rows) for name, rows in moved.splits.items()}
    found = data_fingerprints(table, splits)
    assert found == data_fingerprints(moved, there)
    there["train"].labels = there["train"].labels.copy()
    there["train"].labels[3, 2] ^= 1
    assert data_fingerprints(moved, there)["exams"] != found["exams"]
    splits["train"] = ExamSplit(table.splits["train"], np.arange(80))
    assert data_fingerprints(table, splits)["exams"] != found["exams"]
    other = ExamTable(table.name_or_path, None, table.splits, {"digest": "of the conversion"}, table.schema)
    assert data_fingerprints(other, splits)["exam_table"] == "of the conversion"


def test_a_fingerprint_is_that_of_the_bytes():
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert fingerprint([numbers]) == fingerprint([numbers.tobytes()]) != fingerprint([numbers.T])
