import json
import math
from dataclasses import replace

import pytest

from data_scripts.tables.schema import load_exam_table
from reproduction.jobs import JOB_FILE, check_jobs, make_jobs, table_fingerprint, unfinished
from reproduction.settings import ARMS, PAPER, RECIPES, SETTINGS


EXAMS = {"train": 10_000, "validation": 1000, "test": 500}
DATA = {"flags": {"dataset_name_or_path": "somewhere"}, "identity": {"exams": "f1"}}
TEXT = {"flags": {"text_model_name_or_path": "m"}, "identity": {"text_model": "f2"}}


def jobs_of(recipe=RECIPES["demo"], encoder=None, arms=tuple(ARMS), settings=tuple(SETTINGS)):
    return make_jobs(recipe, settings, arms, DATA, EXAMS, encoder, TEXT)


def test_all_arms_of_a_setting_train_equally_long_and_at_least_1000_steps():
    steps = {}
    for job in jobs_of(RECIPES["paper"]):
        if job.stage == "classify":
            assert job.flags["max_train_steps"] >= 1000
            setting = job.name.split("/")[1]
            recipe = {name: job.flags[name] for name in ("max_train_steps", "learning_rate", "eval_steps")}
            assert steps.setdefault(setting, recipe) == recipe
    assert steps["full"]["max_train_steps"] == math.ceil(30 * 10_000 / 32)
    assert steps["exp-5"]["max_train_steps"] == RECIPES["paper"].min_train_steps


def test_pretrained_arms_wait_for_the_encoder_of_their_seed_and_random_ones_do_not():
    jobs = jobs_of()
    assert len(jobs) == 3 + 5 * 4 * 3
    assert [job.name for job in jobs[:3]] == [f"pretrained/seed-{seed}" for seed in (0, 1, 2)]
    for job in jobs[3:]:
        _, _, arm, seed = job.name.split("/")
        assert job.needs == (f"pretrained/{seed}" if ARMS[arm].pretrained else None)
        assert job.flags["subset_seed"] == job.flags["seed"] == int(seed.removeprefix("seed-"))
        assert ("encoder_preset" in job.flags) != ARMS[arm].pretrained
        assert job.flags.get("freeze_encoder", False) == ARMS[arm].frozen


def test_a_given_encoder_is_used_by_all_seeds():
    encoder = {"flags": {"model_name_or_path": "mine"}, "identity": "sha256 0"}
    jobs = jobs_of(encoder=encoder)
    assert {job.stage for job in jobs} == {"classify"} and not any(job.needs for job in jobs)
    starts = {job.flags.get("model_name_or_path") for job in jobs if "pretrained" in job.name}
    assert starts == {"mine"}


def test_settings_are_those_of_the_paper():
    shares = [SETTINGS[name].share for name in ("full", "exp-1", "exp-3", "exp-5")]
    assert [round(100 * share, 2) for share in shares] == [100, 36.79, 4.98, 0.67]
    assert SETTINGS["unseen"].flags == {"labels_from": "validation"}
    assert [SETTINGS[name].table for name in PAPER] == [2, 3, 4, 5, 6]


def test_other_parameters_are_refused_by_name_finished_or_not(tmp_path):
    old = jobs_of(replace(RECIPES["demo"], learning_rate=0.5))[-1]
    new = jobs_of()[-1]
    for folder in (tmp_path / old.name, unfinished(tmp_path / old.name)):
        folder.mkdir(parents=True)
        (folder / JOB_FILE).write_text(json.dumps(old.identity))
        with pytest.raises(ValueError, match=r"seed-2.*\(learning_rate: expected 0.001, found 0.5\)"):
            check_jobs([new], tmp_path)
        check_jobs([old], tmp_path)
        (folder / JOB_FILE).unlink()


def test_fingerprint_sees_a_changed_label_and_not_the_place(exam_table):
    table = load_exam_table(exam_table)
    assert table_fingerprint(table) == table_fingerprint(load_exam_table(str(exam_table)))
    changed = table["test"].map(
        lambda row: {"labels": {name: 1 - value for name, value in row["labels"].items()}}, keep_in_memory=True
    )
    assert table_fingerprint(table) != table_fingerprint({**table, "test": changed})
