"""
A killed training is resumed with one argument changed, each in turn: refused by name, or the same weights and a record
that states the change. Arguments that end a run may end it later.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any, Literal, get_args, get_origin

from benchmarks.faults.cases import Case, Outcome
from benchmarks.faults.commands import Command, Ended
from benchmarks.faults.jobs import FINETUNING, PRETRAINING, STEPS, Job, Workshop
from benchmarks.faults.stopped import stopped_training
from common.arguments import parse
from common.project import PROJECT
from training.arguments import (
    ClassificationArguments,
    ContrastiveArguments,
    DataArguments,
    EncoderArguments,
    HubArguments,
    TrainingArguments,
)


ARM = "changed resume"
STEP = 12  # at which the runs were killed; they evaluate at 8, 16 and 24
COMMON = (EncoderArguments, DataArguments, TrainingArguments, HubArguments)
GROUPS = {"train_clip": (*COMMON, ContrastiveArguments), "train_cls": (*COMMON, ClassificationArguments)}
WEIGHTS = ("model.safetensors", f"checkpoints/step-{STEPS:08d}/model.safetensors")  # the best and the last
MAY_GROW = ("max_train_steps", "num_train_epochs", "early_stopping_patience")
HOW_TO_RESUME = ("resume_from_checkpoint", "output_dir")  # no settings of the run: nothing for its record
ASKS_THE_HUB = "push_to_hub"
# What no other value can be made up of; a copy of the same data or model has to be as good as itself.
OTHER: dict[str, tuple[str, ...]] = {
    "output_dir": ("{elsewhere}",),
    "resume_from_checkpoint": ("{folder}/checkpoints/step-00000012",),
    "dataset_name_or_path": ("copies/table_copy", "other_table"),
    "dataset_revision": ("another",),
    "model_name_or_path": ("copies/clip_copy", "cls"),
    "model_revision": ("another",),
    "encoder_preset": ("xresnet1d50",),
    "text_model_name_or_path": ("copies/text_model_copy",),
    "text_table_dir": ("copies/texts_copy",),
    "measurements": ("another.parquet",),
    "augment": ("noise_mv=0.03",),
    "labels": ("AF RBBB",),
    "target_columns": ("age",),
    "checkpointing_steps": ("3",),
    "hub_model_id": ("another",),
    "report_to": ("tensorboard",),
}
# Given together by the scripts that have both, since neither can be changed alone.
WITH = {
    "output_dir": ("resume_from_checkpoint", "{folder}/checkpoints/step-00000012"),
    "labels_from": ("allow_one_sided_labels",),  # of few exams, which are refused for another reason
}
QUICK = ("learning_rate", "logging_steps")


def plan(workshop: Workshop, quick: bool) -> list[Case]:
    """
    Returns the cases: every argument of both scripts, but the one that asks the Hub.

    Raises:
        `ValueError`: for an argument that `--help` shows and no group has, or of which no other value is known.
    """
    cases: list[Case] = []
    for job in (FINETUNING,) if quick else (PRETRAINING, FINETUNING):
        check_groups(job.module)
        for name, value in changes(job):
            if quick and name not in QUICK:
                continue
            folder = f"resumes/{len(cases)}/{job.name}"
            case = partial(_resume, workshop, job, name, value, folder)
            cases.append(Case(ARM, f"{job.name}, --{name}", f"--{name} {value}", case))
    return cases


def changes(job: Job) -> Iterator[tuple[str, str]]:
    """Yields each argument of a script, and a value that it does not have in the job's command."""
    groups = GROUPS[job.module]
    given = parse(list(job.command("out").words), "", *groups)
    for group, values in zip(groups, given, strict=True):
        for field in fields(group):
            if field.name != ASKS_THE_HUB:
                others = OTHER.get(field.name) or (_other(field.name, field.type, getattr(values, field.name)),)
                yield from ((field.name, other) for other in others)


def _other(name: str, kind: Any, value: Any) -> str:
    kinds = (kind, *get_args(kind))
    choices = [choice for one in kinds if get_origin(one) is Literal for choice in get_args(one)]
    if choices:
        return next(choice for choice in choices if choice != value)
    if bool in kinds:
        return str(not value).lower()
    if int in kinds:
        return "3" if value is None else str(value + 4)
    if float in kinds:
        return "0.2" if value is None else f"{value / 2 if value else 0.1:g}"
    raise ValueError(f"--{name} is new: state another value of it in OTHER")


def check_groups(module: str) -> None:
    """
    Compares the arguments of a script's groups with those that its `--help` shows.

    Raises:
        `ValueError`: naming those that only one of the two has.
    """
    command = (sys.executable, str(PROJECT / f"{module}.py"), "--help")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"^  --([a-z][a-z_]*)\b", shown, re.MULTILINE))
    if flags != (known := _arguments_of(module)):
        raise ValueError(f"{module}: --help and GROUPS differ by {', '.join(sorted(flags ^ known))}")


def _arguments_of(module: str) -> set[str]:
    return {field.name for group in GROUPS[module] for field in fields(group)}


def _resume(workshop: Workshop, job: Job, name: str, value: str, folder: str) -> Outcome:
    source = stopped_training(workshop, job, STEP)
    shutil.copytree(workshop.folder / source, workshop.folder / folder)
    _make_others(workshop)
    elsewhere = f"resumes/elsewhere/{job.name}"
    value = value.format(folder=folder, elsewhere=elsewhere)
    other, *its_value = WITH.get(name, ("",))
    both = other in _arguments_of(job.module)
    together = (f"--{other}", *(one.format(folder=folder) for one in its_value)) if both else ()
    words = (*job.again, *together)
    ended = workshop.starter.run(job.command(folder).but(*words, f"--{name}", *value.split()))
    if ended.status:
        return Outcome(_not_named(ended, name), ended.refusal or str(ended))
    result = workshop.folder / (elsewhere if name == "output_dir" else folder)
    whole = workshop.folder / "whole" / job.name
    unlike = [file for file in WEIGHTS if (result / file).read_bytes() != (whole / file).read_bytes()]
    faults = [] if name in MAY_GROW else [f"accepted, and {file} differs" for file in unlike]
    if name not in HOW_TO_RESUME and not _is_recorded(json.loads((result / "run.json").read_text()), name):
        faults.append("accepted, and the record does not state the change")
    return Outcome(faults, "accepted")


def _not_named(ended: Ended, name: str) -> list[str]:
    if ended.refusal is None:
        return ["no error in one line"]
    of_content = {"dataset_name_or_path": "exam_table", "model_name_or_path": "encoder"}
    return [] if any(one in ended.refusal for one in (name, of_content.get(name, name))) else ["refused, not by name"]


def _is_recorded(record: dict[str, Any], name: str) -> bool:
    """Whether the record of a run tells that an argument was another one in its last part."""
    parts = record.get("parts", [])
    return len(parts) > 1 and name in parts[-1]["arguments"]


def _make_others(workshop: Workshop) -> None:
    """Copies of what the runs start from, and a table that is another one."""
    copies = workshop.folder / "copies"
    if copies.exists():
        return
    for name in ("table", "clip", "text_model", "texts"):
        # Of another name too: where a folder lies is not in a record.
        shutil.copytree(workshop.folder / name, copies / f"{name}_copy")
    words = "--source_dir cohort --reports cohort/reports.csv --seed 1 --output_dir other_table"
    workshop.starter.must(Command("data_scripts.code15", tuple(words.split())))
