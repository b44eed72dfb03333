"""The runs that a reproduction consists of, each with all that decides its numbers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from reproduction.settings import ARMS, SETTINGS, Arm, Recipe, Setting


JOB_FILE = "job.json"  # what decides a run's numbers, in its folder
RESULT_FILE = "metrics.json"  # a folder with it is a finished run
PRETRAINED = "pretrained"  # folder of the encoders of stage 1
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
        cost (`float`): About how long it takes, in any unit, for the time left.
    """

    name: str
    stage: str
    flags: dict[str, Any]
    identity: dict[str, Any]
    needs: str | None
    cost: float

    def is_done(self, output_dir: Path) -> bool:
        """Returns whether its folder holds a finished run."""
        return (output_dir / self.name / RESULT_FILE).is_file()


def cell_name(setting: str, arm: str, seed: int) -> str:
    """Returns the folder of one fine-tuning, inside the output folder."""
    return f"cells/{setting}/{arm}/seed-{seed}"


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


def make_jobs(
    recipe: Recipe,
    settings: Sequence[str],
    arms: Sequence[str],
    data: dict[str, Any],
    exams: dict[str, int],
    encoder: dict[str, Any] | None,
    pretraining: dict[str, Any] | None,
) -> list[Job]:
    """
    Returns all jobs, each after the one it needs: stage 1, then the settings with the fewest labels first.

    Args:
        recipe (`Recipe`): Of all of them.
        settings, arms (`list[str]`): Names of `SETTINGS` and `ARMS`.
        data (`dict`): `flags` that name the exam table, and `identity`.
        exams (`dict[str, int]`): Size of each split.
        encoder (`dict`, *optional*): `flags` and `identity` of a pre-trained encoder that is there already.
        pretraining (`dict`, *optional*): `flags` and `identity` of the text model. Where an arm needs an encoder and
            there is none, stage 1 runs once for each seed.
    """
    jobs: list[Job] = []
    wanted = [ARMS[arm] for arm in arms]
    stages = {}
    if encoder is None and any(arm.pretrained for arm in wanted):
        if pretraining is None:
            raise ValueError("an arm starts from stage 1: expected its text side, found none")
        for seed in recipe.seeds:
            stages[seed] = _pretraining(recipe, seed, data, exams["train"], pretraining)
        jobs += stages.values()
    for name in sorted(settings, key=lambda name: SETTINGS[name].n_training_exams(exams)):
        for arm in sorted(wanted, key=lambda arm: arm.frozen):
            for seed in recipe.seeds:
                start = None if not arm.pretrained else encoder or stages[seed]
                jobs.append(_cell(recipe, SETTINGS[name], arm, seed, data, exams, start))
    return jobs


def _pretraining(recipe: Recipe, seed: int, data: dict[str, Any], n_exams: int, pretraining: dict[str, Any]) -> Job:
    steps = recipe.pretrain_steps(n_exams)
    decides = {
        "encoder_preset": recipe.encoder_preset,
        "per_device_train_batch_size": recipe.pretrain_batch_size,
        "learning_rate": recipe.pretrain_learning_rate,
        "max_train_steps": steps,
        "eval_steps": max(1, steps // recipe.evaluations),
        "seed": seed,
        **recipe.pretrain_flags,
    }
    return Job(
        name=f"{PRETRAINED}/seed-{seed}",
        stage="pretrain",
        flags={**data["flags"], **pretraining["flags"], **decides},
        identity={"stage": "pretrain", **data["identity"], **pretraining["identity"], **decides},
        needs=None,
        cost=steps * recipe.pretrain_batch_size,
    )


def _cell(
    recipe: Recipe,
    setting: Setting,
    arm: Arm,
    seed: int,
    data: dict[str, Any],
    exams: dict[str, int],
    start: Job | dict[str, Any] | None,
) -> Job:
    n_exams = setting.n_training_exams(exams)
    steps = recipe.steps(n_exams)
    decides = {
        "per_device_train_batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "max_train_steps": steps,
        "eval_steps": max(1, steps // recipe.evaluations),
        "seed": seed,
        "subset_seed": seed,
        **setting.flags,
        **({"freeze_encoder": True} if arm.frozen else {}),
        **recipe.flags,
    }
    identity = {"stage": "classify", **data["identity"], **decides}
    # Few labels are the point of some settings: it does not decide a number.
    flags = {**data["flags"], **decides, "allow_one_sided_labels": True}
    needs = None
    if start is None:
        flags["encoder_preset"] = identity["encoder_preset"] = recipe.encoder_preset
    elif isinstance(start, Job):
        identity["encoder"] = start.identity
        needs = start.name
    else:
        flags |= start["flags"]
        identity["encoder"] = start["identity"]
    held = exams["validation"] * (1 if setting.share is None else setting.share)
    evaluation = FROZEN_SPEED * (held * recipe.evaluations + exams["test"])
    embedding = FROZEN_SPEED * (n_exams + held + exams["test"])
    cost = embedding + steps if arm.frozen else steps * recipe.batch_size + evaluation
    return Job(cell_name(setting.name, arm.name, seed), "classify", flags, identity, needs, cost)


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
            found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
            expected = json.loads(json.dumps(job.identity))  # tuples become lists, as in the file
            unlike = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            if unlike:
                shown = "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in unlike)
                raise ValueError(
                    f"{folder} was made with other parameters ({shown}): give another --output_dir, or remove it"
                )


def unfinished(folder: Path) -> Path:
    """Returns where a run works before its folder is whole and gets its name."""
    return folder.with_name(f".{folder.name}.incomplete")
