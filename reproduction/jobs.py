"""The runs that a reproduction consists of, each with all that decides its numbers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from reproduction.recipes import Recipe
from reproduction.settings import ARMS, PRIMARY, REPORTS, SETTINGS, STARTS, Arm, Setting, Start


JOB_FILE = "job.json"  # what decides a run's numbers, in its folder
RESULT_FILE = "metrics.json"  # a folder with it is a finished run
PRETRAINED = "pretrained"  # folder of the encoders of stage 1
DECIDE_NOTHING = ("cache_dataset_on_device", "dataloader_num_workers")  # flags that change no number, only the speed
FROZEN_SPEED = 0.3  # time of an ECG that is only embedded, against one that trains


@dataclass(frozen=True)
class Job:
    """
    One run of train_clip.py or train_cls.py.

    Args:
        name (`str`): Its folder inside the output folder, such as "cells/full/random/seed-0".
        stage (`str`): "pretrain" or "classify".
        flags (`dict`): Of the training script, but for the output folder; True for a switch.
        identity (`dict`): All that decides its numbers, without places on this machine; kept in its folder.
        needs (`str`, *optional*): Name of the job whose folder becomes `--model_name_or_path`.
        trained (`float`): ECGs that it trains on, if nothing stops it before its last step; of a head on a frozen
            encoder the steps, each of which takes about as long as one of these.
        evaluated (`float`, defaults to 0): ECGs that are only embedded: for validations, the test, or a head.
    """

    name: str
    stage: str
    flags: dict[str, Any]
    identity: dict[str, Any]
    needs: str | None
    trained: float
    evaluated: float = 0.0

    @property
    def cost(self) -> float:
        """About how long it takes, in ECGs that are trained on."""
        return self.trained + FROZEN_SPEED * self.evaluated

    def is_done(self, output_dir: Path) -> bool:
        """Returns whether its folder holds a finished run."""
        return (output_dir / self.name / RESULT_FILE).is_file()


def cell_name(setting: str, arm: str, seed: int) -> str:
    """Returns the folder of one fine-tuning, inside the output folder."""
    return f"cells/{setting}/{arm}/seed-{seed}"


def pretraining_name(start: str, seed: int) -> str:
    """Returns the folder of one stage 1, inside the output folder."""
    return f"{PRETRAINED}/{start}/seed-{seed}"


def table_fingerprint(table: DatasetDict) -> str:
    """Returns a sha256 of an exam table's exams, patients, labels and reports, without the recordings."""
    digest = hashlib.sha256()
    for split, rows in table.items():
        digest.update(split.encode())
        for column in ("exam_id", "patient_id", "labels", "report_id"):
            for batch in rows.data.select([column]).to_batches():
                digest.update(json.dumps(batch.column(0).to_pylist()).encode())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Returns the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Inputs:
    """
    What the runs read.

    Args:
        data (`dict`): `flags` that name the exam table, and `identity`.
        exams (`dict[str, int]`): Size of each split.
        encoder (`dict`, *optional*): `flags` and `identity` of an encoder that was pre-trained on the reports already.
        texts (`dict[str, dict]`): By kind of text model, `flags` and `identity` of stage 1's text side.
    """

    data: dict[str, Any]
    exams: dict[str, int]
    encoder: dict[str, Any] | None
    texts: dict[str, dict[str, Any]]


def starts_to_make(arms: Sequence[str], encoder_is_given: bool) -> list[Start]:
    """Returns the starts of these arms that stage 1 has to make: a given encoder takes the place of the reports'."""
    names = dict.fromkeys(ARMS[arm].start for arm in arms)
    return [STARTS[name] for name in names if name is not None and not (encoder_is_given and name == REPORTS)]


def make_jobs(recipe: Recipe, settings: Sequence[str], arms: Sequence[str], inputs: Inputs) -> list[Job]:
    """
    Returns all jobs, each after the one it needs.

    The primary arms of all seeds come first, and among the others seed after seed, so that a run that is cut short has
    what it claims. Within a seed the longest come first, or they would be alone at the end.

    Args:
        recipe (`Recipe`): Of all of them.
        settings, arms (`list[str]`): Names of `SETTINGS` and `ARMS`.
        inputs (`Inputs`): What they read.
    """
    stages: dict[tuple[str, int], Job] = {}
    for start in starts_to_make(arms, inputs.encoder is not None):
        if start.text not in inputs.texts:
            raise ValueError(f"an arm starts from stage 1: expected its text side {start.text!r}, found none")
        for seed in recipe.seeds:
            stages[start.name, seed] = _pretraining(recipe, start, seed, inputs)
    primary = [ARMS[arm].start for arm in PRIMARY if arm in arms]
    parts: list[tuple[tuple[bool, int, bool, float], Job]] = [
        ((start_name not in primary, recipe.seeds.index(seed), False, -job.cost), job)
        for (start_name, seed), job in stages.items()
    ]
    for place, seed in enumerate(recipe.seeds):
        for setting in settings:
            for arm in arms:
                name = ARMS[arm].start
                begin = None if name is None else stages.get((name, seed), inputs.encoder)
                job = _cell(recipe, SETTINGS[setting], ARMS[arm], seed, inputs, begin)
                parts.append(((arm not in PRIMARY, place, True, -job.cost), job))
    return [job for _, job in sorted(parts, key=lambda part: part[0])]


def _augmented(recipe: Recipe) -> dict[str, Any]:
    return {"augment": list(recipe.augment)} if recipe.augment else {}


def _pretraining(recipe: Recipe, start: Start, seed: int, inputs: Inputs) -> Job:
    steps = recipe.pretrain_steps(inputs.exams["train"])
    text = inputs.texts[start.text]
    decides = {
        "encoder_preset": recipe.encoder_preset,
        "per_device_train_batch_size": recipe.pretrain_batch_size,
        "learning_rate": recipe.pretrain_learning_rate,
        "max_train_steps": steps,
        "eval_steps": max(1, steps // recipe.evaluations),
        "seed": seed,
        **_augmented(recipe),
        **recipe.pretrain_flags,
        **start.flags,
    }
    views = 2 if start.flags.get("pair_with") == "second_view" else 1
    return Job(
        name=pretraining_name(start.name, seed),
        stage="pretrain",
        flags={**inputs.data["flags"], **text["flags"], **decides},
        identity=_deciding({"stage": "pretrain", **inputs.data["identity"], **text["identity"], **decides}),
        needs=None,
        trained=steps * recipe.pretrain_batch_size * views,
        evaluated=inputs.exams["validation"] * recipe.evaluations + inputs.exams["test"],
    )


def _cell(
    recipe: Recipe, setting: Setting, arm: Arm, seed: int, inputs: Inputs, start: Job | dict[str, Any] | None
) -> Job:
    exams = inputs.exams
    n_exams = setting.n_training_exams(exams)
    steps = recipe.steps(n_exams)
    decides = {
        "per_device_train_batch_size": recipe.batch_size,
        "learning_rate": recipe.head_learning_rate if arm.frozen else recipe.learning_rate,
        "max_train_steps": steps,
        "eval_steps": max(1, steps // recipe.evaluations),
        "early_stopping_patience": recipe.patience,
        "seed": seed,
        "subset_seed": seed,
        **setting.flags,
        **({"freeze_encoder": True} if arm.frozen else {}),
        **recipe.flags,
        **(_augmented(recipe) if arm.augmented else {}),
    }
    identity = _deciding({"stage": "classify", **inputs.data["identity"], **decides})
    # Few labels are the point of some settings: it does not decide a number.
    flags = {**inputs.data["flags"], **decides, "allow_one_sided_labels": True}
    needs = None
    if start is None:
        flags["encoder_preset"] = identity["encoder_preset"] = recipe.encoder_preset
    elif isinstance(start, Job):
        identity["encoder"] = start.identity
        needs = start.name
    else:
        flags |= start["flags"]
        identity["encoder"] = start["identity"]
    held = exams["validation"] * (0.5 if setting.share is None else setting.share)
    once = held + exams["test"]
    evaluated = once + n_exams if arm.frozen else once + held * recipe.evaluations
    trained = steps if arm.frozen else steps * recipe.batch_size
    return Job(cell_name(setting.name, arm.name, seed), "classify", flags, identity, needs, trained, evaluated)


def check_jobs(jobs: Sequence[Job], output_dir: Path) -> None:
    """
    Makes sure that what lies in the output folder, finished or begun, was made with the same parameters.

    Raises:
        `ValueError`: naming the folder and what differs.
    """
    for job in jobs:
        for folder in (output_dir / job.name, unfinished(output_dir / job.name)):
            if not (folder / JOB_FILE).is_file():
                continue
            found = _deciding(json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))
            expected = json.loads(json.dumps(job.identity))  # tuples become lists, as in the file
            unlike = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            if unlike:
                shown = "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in unlike)
                raise ValueError(
                    f"{folder} was made with other parameters ({shown}): give another --output_dir, or remove it"
                )


def _deciding(identity: dict[str, Any]) -> dict[str, Any]:
    """An identity, and that of the encoder in it, without what decides no number; older folders have it."""
    return {
        name: _deciding(value) if isinstance(value, dict) else value
        for name, value in identity.items()
        if name not in DECIDE_NOTHING
    }


def unfinished(folder: Path) -> Path:
    """Returns where a run works before its folder is whole and gets its name."""
    return folder.with_name(f".{folder.name}.incomplete")
