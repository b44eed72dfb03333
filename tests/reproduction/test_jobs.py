import json
import math
from dataclasses import replace

import pytest

from data_scripts.tables.schema import load_exam_table
from reproduction.jobs import JOB_FILE, Inputs, check_jobs, make_jobs, starts_to_make, table_fingerprint, unfinished
from reproduction.paper import PAPER_ARMS
from reproduction.recipes import RECIPES, parse_flags
from reproduction.settings import ARMS, COMPARISONS, PRIMARY, SETTINGS, STARTS


EXAMS = {"train": 10_000, "validation": 1000, "test": 500}
DATA = {"flags": {"dataset_name_or_path": "somewhere"}, "identity": {"exams": "f1"}}
TEXTS = {
    kind: {"flags": {"text_model_name_or_path": kind}, "identity": {"text_model": kind}}
    for kind in ("given", "trained")
}


def jobs_of(recipe=RECIPES["demo"], encoder=None, arms=tuple(ARMS), settings=tuple(SETTINGS)):
    return make_jobs(recipe, settings, arms, Inputs(DATA, EXAMS, encoder, TEXTS))


def test_all_arms_of_a_setting_may_train_equally_long_and_at_least_1000_steps():
    steps = {}
    for job in jobs_of(RECIPES["paper"]):
        if job.stage == "classify":
            assert job.flags["max_train_steps"] >= 1000
            setting, frozen = job.name.split("/")[1], job.flags.get("freeze_encoder", False)
            recipe = {name: job.flags[name] for name in ("max_train_steps", "early_stopping_patience", "eval_steps")}
            assert steps.setdefault(setting, recipe) == recipe
            recipe = RECIPES["paper"]
            assert job.flags["learning_rate"] == (recipe.head_learning_rate if frozen else recipe.learning_rate)
    paper = RECIPES["paper"]
    assert steps["full"]["max_train_steps"] == max(3000, math.ceil(paper.num_train_epochs * 10_000 / paper.batch_size))
    assert steps["exp-5"]["max_train_steps"] == RECIPES["paper"].min_train_steps


def test_each_arm_waits_for_the_encoder_of_its_start_and_seed_and_random_ones_do_not():
    jobs = jobs_of()
    n_starts = len({arm.start for arm in ARMS.values()} - {None})
    assert n_starts == len(STARTS) and len(jobs) == n_starts * 3 + 5 * len(ARMS) * 3
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names)
    for place, job in enumerate(jobs):
        if job.stage == "pretrain":
            assert job.needs is None and job.flags["keep"] == "last"
            continue
        _, _, name, seed = job.name.split("/")
        arm = ARMS[name]
        assert job.needs == (f"pretrained/{arm.start}/{seed}" if arm.start else None)
        assert job.needs is None or names.index(job.needs) < place
        assert job.flags["subset_seed"] == job.flags["seed"] == int(seed.removeprefix("seed-"))
        assert ("encoder_preset" in job.flags) == (arm.start is None)
        assert job.flags.get("freeze_encoder", False) == arm.frozen
        assert ("augment" in job.flags) == arm.augmented


def test_what_is_claimed_is_run_first():
    names = [job.name for job in jobs_of(RECIPES["control"], arms=RECIPES["control"].arms)]
    primary = [name for name in names if name.split("/")[2] in PRIMARY or name.startswith("pretrained/reports/")]
    assert names[: len(primary)] == primary and len(primary) == 5 + 5 * 2 * 5


def test_starts_share_all_but_what_they_are_matched_with():
    jobs = {job.name: job for job in jobs_of() if job.stage == "pretrain" and job.name.endswith("seed-1")}
    plain = jobs["pretrained/reports/seed-1"].identity
    for name, differing in {
        "shuffled": {"pair_with"},
        "random_vectors": {"pair_with"},
        "signals": {"pair_with"},
        "centred": set(),  # the demo's text is centred
        "uncentred": {"center_text"},
        "trained_text_centred": {"text_model"},
        "trained_text_uncentred": {"text_model", "center_text"},
    }.items():
        other = jobs[f"pretrained/{name}/seed-1"].identity
        assert {key for key in plain.keys() | other.keys() if plain.get(key) != other.get(key)} == differing
    assert plain["augment"] == list(RECIPES["demo"].augment)


def test_a_given_encoder_stands_for_the_reports_and_controls_are_still_made():
    encoder = {"flags": {"model_name_or_path": "mine"}, "identity": "sha256 0"}
    jobs = jobs_of(encoder=encoder, arms=("random", "pretrained", "pretrained_linear", "shuffled"))
    assert {job.name.split("/")[1] for job in jobs if job.stage == "pretrain"} == {"shuffled"}
    starts = {job.flags.get("model_name_or_path") for job in jobs if "/pretrained" in job.name}
    assert starts == {"mine"}
    assert starts_to_make(["random", "pretrained"], True) == []


def test_settings_are_those_of_the_paper():
    shares = [SETTINGS[name].share for name in ("full", "exp-1", "exp-3", "exp-5")]
    assert [round(100 * share, 2) for share in shares] == [100, 36.79, 4.98, 0.67]
    assert SETTINGS["unseen"].flags == {"labels_from": "validation"}
    assert [setting.table for setting in SETTINGS.values()] == [2, 3, 4, 5, 6]


def test_arms_and_comparisons_are_told_apart_by_their_titles():
    assert len({arm.title for arm in ARMS.values()}) == len({arm.description for arm in ARMS.values()}) == len(ARMS)
    assert all({a, b} <= ARMS.keys() and a != b for a, b in COMPARISONS) and COMPARISONS[0] == PRIMARY
    assert set(PAPER_ARMS) == set(PRIMARY)
    for recipe in RECIPES.values():
        assert set(recipe.arms) <= ARMS.keys() and set(PRIMARY) <= set(recipe.arms)
    assert len(RECIPES["control"].seeds) >= 5 and RECIPES["paper"].arms == PRIMARY


def test_flags_of_the_command_line_replace_the_presets():
    words = ["center_text=false", "weight_decay=0.01", "augment=amplitude=0.3,shift_s=0.5"]
    flags = parse_flags("pretrain", words)
    assert flags == {"center_text": False, "weight_decay": "0.01", "augment": ["amplitude=0.3", "shift_s=0.5"]}
    recipe = replace(RECIPES["demo"], pretrain_flags={**RECIPES["demo"].pretrain_flags, **flags})
    job = next(job for job in jobs_of(recipe) if job.stage == "pretrain")
    assert job.flags["augment"] == ["amplitude=0.3", "shift_s=0.5"] and job.identity["weight_decay"] == "0.01"
    for wrong in ("seed=3", "center_text", "freeze_encoder=true", "nothing=1"):
        with pytest.raises(ValueError, match=f"--pretrain_flags {wrong}: expected name=VALUE"):
            parse_flags("pretrain", [wrong])
    with pytest.raises(ValueError, match="each name once"):
        parse_flags("finetune", ["dropout=0.1", "dropout=0.2"])


def test_other_parameters_are_refused_by_name_finished_or_not(tmp_path):
    old, new = (
        next(job for job in jobs_of(recipe, arms=["random"]) if "seed-2" in job.name)
        for recipe in (replace(RECIPES["demo"], learning_rate=0.5), RECIPES["demo"])
    )
    for folder in (tmp_path / old.name, unfinished(tmp_path / old.name)):
        folder.mkdir(parents=True)
        (folder / JOB_FILE).write_text(json.dumps(old.identity))
        with pytest.raises(ValueError, match=r"seed-2.*\(learning_rate: expected 0.001, found 0.5\)"):
            check_jobs([new], tmp_path)
        check_jobs([old], tmp_path)
        (folder / JOB_FILE).unlink()


def test_what_changes_the_speed_alone_is_no_parameter(tmp_path):
    pretrained = next(job for job in jobs_of() if job.name.endswith("unseen/pretrained/seed-2"))
    (tmp_path / pretrained.name).mkdir(parents=True)
    older = {**pretrained.identity, "cache_dataset_on_device": True}  # as older folders have it
    older["encoder"] = {**older["encoder"], "dataloader_num_workers": 8}
    (tmp_path / pretrained.name / JOB_FILE).write_text(json.dumps(older))
    flags = {"cache_dataset_on_device": "off", "dataloader_num_workers": 3}
    recipe = replace(
        RECIPES["demo"],
        flags={**RECIPES["demo"].flags, **flags},
        pretrain_flags={**RECIPES["demo"].pretrain_flags, **flags},
    )
    again = next(job for job in jobs_of(recipe) if job.name == pretrained.name)
    assert again.flags["dataloader_num_workers"] == 3 and again.identity == pretrained.identity
    check_jobs([again], tmp_path)


def test_the_cache_was_a_switch_once():
    spellings = {
        word: parse_flags("finetune", [f"cache_dataset_on_device={word}"]) for word in ("true", "False", "auto")
    }
    assert [flags["cache_dataset_on_device"] for flags in spellings.values()] == ["on", "off", "auto"]


def test_fingerprint_sees_a_changed_label_and_not_the_place(exam_table):
    table = load_exam_table(exam_table)
    assert table_fingerprint(table) == table_fingerprint(load_exam_table(str(exam_table)))
    changed = table["test"].map(
        lambda row: {"labels": {name: 1 - value for name, value in row["labels"].items()}}, keep_in_memory=True
    )
    assert table_fingerprint(table) != table_fingerprint({**table, "test": changed})
