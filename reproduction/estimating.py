"""How long a reproduction takes, before it starts: its steps and exams, and rates that were measured somewhere."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict

from common.markdown import markdown_table
from data_scripts.tables.schema import SPLIT_SHARES, SPLITS, ExamSchema
from reproduction.jobs import FROZEN_SPEED, Inputs, Job, make_jobs
from reproduction.preparation import made_text_model, text_side
from reproduction.recipes import Recipe
from reproduction.running import Train, command_line
from reproduction.settings import GIVEN_TEXT, SETTINGS, TRAINED_TEXT
from training.recordings import BYTES_PER_SAMPLE


STAGES = ("pretrain", "finetune")
RATES_FILE = Path(__file__).with_name("rates.json")
CODE_15_EXAMS = 345_779
HELD_OUT = 64  # exams of validation and of test that the timed runs measure on
NOISE_UV = 300.0
# What no rate speaks of is counted at these, and the estimate says so.
SECONDS_PER_RUN = 20.0
READ_BYTES_PER_S = 1e9


@dataclass(frozen=True)
class Rates:
    """
    What a machine does in a second.

    Args:
        machine, what (`str`): In words: which, and what was timed, when.
        encoder (`str`): Whose steps were timed.
        pretrain, finetune (`dict[int, float]`): ECGs that are trained on, by batch size.
        head_steps_per_s (`float`, *optional*): Of a linear head on a frozen encoder; None: as slow as the encoder's.
        seconds_per_run (`float`, *optional*): What a run takes beside its steps: start, metrics, pictures, files.
        seconds_to_read (`float`, *optional*): The exam table, once.
    """

    machine: str
    what: str
    encoder: str
    pretrain: dict[int, float]
    finetune: dict[int, float]
    head_steps_per_s: float | None
    seconds_per_run: float | None
    seconds_to_read: float | None

    @classmethod
    def of(cls, machine: str, encoder: str) -> "Rates":
        """
        Returns the rates that a name of `rates.json`, or a file with one entry of it, stands for.

        Raises:
            `ValueError`: for a name that is none, a file with other entries, or rates of another encoder.
        """
        known = json.loads(RATES_FILE.read_text(encoding="utf-8"))
        found = known.get(machine)
        if found is None and Path(machine).is_file():
            found = json.loads(Path(machine).read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"--machine {machine}: expected {', '.join(known)}, or a file with one such entry")
        try:
            by_batch = {stage: {int(size): float(rate) for size, rate in found[stage].items()} for stage in STAGES}
            rates = cls(**{**found, **by_batch})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            expected = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"--machine {machine}: expected the entries {expected}; found {error!r}") from None
        if rates.encoder != encoder:
            raise ValueError(f"--machine {machine}: expected rates of {encoder}, found those of {rates.encoder}")
        return rates

    def seconds_per_step(self, stage: str, batch_size: int) -> float:
        """
        Returns how long a step takes: between two sizes that were timed on a line between them, beyond the largest at
        its rate, and never less than the smallest.
        """
        timed = sorted((size, size / rate) for size, rate in getattr(self, stage).items())
        for (low, fast), (high, slow) in pairwise(timed):
            if low <= batch_size <= high:
                return fast + (slow - fast) * (batch_size - low) / (high - low)
        (smallest, least), (largest, most) = timed[0], timed[-1]
        return least if batch_size < smallest else most * batch_size / largest


def sizes_of(num_exams: int) -> dict[str, int]:
    """Returns about how many exams each split of a table has."""
    return {name: round(share * num_exams) for name, share in zip(SPLITS, SPLIT_SHARES, strict=True)}


def seconds_of(job: Job, rates: Rates) -> float:
    """Returns how long a run takes if nothing stops it before its last step."""
    stage = "pretrain" if job.stage == "pretrain" else "finetune"
    batch_size, steps = job.flags["per_device_train_batch_size"], job.flags["max_train_steps"]
    step = rates.seconds_per_step(stage, batch_size)
    own = rates.seconds_per_run if rates.seconds_per_run is not None else SECONDS_PER_RUN
    if job.flags.get("freeze_encoder"):
        head = step if rates.head_steps_per_s is None else 1 / rates.head_steps_per_s
        training = head * steps
    else:
        training = step * job.trained / batch_size
    return training + FROZEN_SPEED * job.evaluated * step / batch_size + own


def planned_jobs(
    recipe: Recipe, settings: Sequence[str], sizes: dict[str, int], encoder_is_given: bool = False
) -> list[Job]:
    """Returns the runs as they will be, without what they read."""
    nothing: dict[str, Any] = {"flags": {}, "identity": {}}
    texts = dict.fromkeys((GIVEN_TEXT, TRAINED_TEXT), nothing)
    return make_jobs(
        recipe, settings, recipe.arms, Inputs(nothing, sizes, nothing if encoder_is_given else None, texts)
    )


def estimate(jobs: Sequence[Job], rates: Rates, sizes: Mapping[str, int], schema: ExamSchema) -> str:
    """
    Returns steps, exams and the expected time of all runs one after the other, each as long as it may train.

    Args:
        jobs (`list[Job]`): All runs.
        rates (`Rates`): Of the machine.
        sizes (`dict[str, int]`): Exams of each split.
        schema (`ExamSchema`): Of the exam table.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        key = "stage 1" if job.stage == "pretrain" else SETTINGS[job.name.split("/")[1]].title
        groups.setdefault(key, []).append(job)
    bytes_in_all = BYTES_PER_SAMPLE * schema.ecg_length * sum(sizes.values())
    reading = rates.seconds_to_read if rates.seconds_to_read is not None else bytes_in_all / READ_BYTES_PER_S
    rows = [["", "runs", "steps of each", "ECGs trained on", "ECGs evaluated", "minutes"]]
    total = reading
    for name, members in groups.items():
        seconds = sum(seconds_of(job, rates) for job in members)
        total += seconds
        steps = sorted({job.flags["max_train_steps"] for job in members})
        trained = sum(0 if job.flags.get("freeze_encoder") else job.trained for job in members)
        evaluated = sum(job.evaluated for job in members)
        counts = [f"{len(members)}", " or ".join(f"{n:,}" for n in steps), f"{trained:,.0f}", f"{evaluated:,.0f}"]
        rows.append([name, *counts, f"{seconds / 60:.1f}"])
    rows.append(["reading the exam table, once", "", "", "", "", f"{reading / 60:.1f}"])
    rows.append(["all", f"{len(jobs)}", "", "", "", f"{total / 60:.1f}"])
    lines = [
        f"{sum(sizes.values()):,} exams: " + ", ".join(f"{name} {count:,}" for name, count in sizes.items()),
        f"Rates of {rates.machine}: {rates.what}.",
        markdown_table(rows),
        *_about(rates),
        f"Expected: {_duration(total)}, one run at a time, each for as many steps as it may.",
    ]
    return "\n".join(lines)


def _about(rates: Rates) -> list[str]:
    """What the estimate takes for granted, and what it leaves out."""
    shown = [
        f"stage {stage} " + ", ".join(f"{rate:,.0f} ECG/s at batch {size}" for size, rate in of_stage.items())
        for stage, of_stage in ((1, rates.pretrain), (2, rates.finetune))
    ]
    if rates.seconds_per_run is not None:
        shown.append(f"{rates.seconds_per_run:.0f} s of a run beside its steps")
    lines = [f"Timed: {'; '.join(shown)}."]
    lines.append(f"An ECG that is only evaluated counts {FROZEN_SPEED:g} of one that trains.")
    if rates.head_steps_per_s is None:
        lines.append("A step of a linear head was not timed: it counts as one of the encoder, which is too much.")
    if rates.seconds_per_run is None:
        lines.append(f"What a run takes beside its steps was not timed: assumed {SECONDS_PER_RUN:g} s.")
    if rates.seconds_to_read is None:
        lines.append(f"Reading was not timed: assumed {READ_BYTES_PER_S / 1e9:g} GB/s.")
    lines.append("Not in it: making the exam table and embedding its reports, which is done once.")
    return lines


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes" if minutes >= 1 else "under a minute"
    return f"{minutes / 60:.1f} hours" if minutes < 2 * 24 * 60 else f"{minutes / 60 / 24:.1f} days"


def measure_rates(
    recipe: Recipe, schema: ExamSchema, scripts: Mapping[str, Train], folder: Path, steps: int | None = None
) -> Rates:
    """
    Returns rates of this machine, from short runs of the training scripts on noise of a table's shape.

    Args:
        recipe (`Recipe`): Its encoder, batches and flags are timed.
        schema (`ExamSchema`): Of the exam table.
        scripts (`dict`): `main(argv)` of the training script for each stage.
        folder (`Path`): For what they read and write.
        steps (`int`, *optional*): Of each run; left out, few on a CPU and many on a GPU.
    """
    accelerator = torch.accelerator.current_accelerator()
    steps = steps or (4 if accelerator is None else 400)
    n_exams = max(recipe.batch_size, recipe.pretrain_batch_size)
    sizes = dict(zip(SPLITS, (n_exams, HELD_OUT, HELD_OUT), strict=True))
    table = DatasetDict({name: _noise(schema, n, seed) for seed, (name, n) in enumerate(sizes.items())})
    begun = time.perf_counter()
    table.save_to_disk(str(folder / "exams"))
    text_model = made_text_model(table, folder / "text_model")
    data = {"flags": {"dataset_name_or_path": str(folder / "exams"), "dataset_revision": None}, "identity": {}}
    texts = dict.fromkeys((GIVEN_TEXT, TRAINED_TEXT), text_side(str(folder / "exams"), text_model, folder))
    arms = ("random", "pretrained", "random_linear")
    jobs = make_jobs(replace(recipe, seeds=recipe.seeds[:1]), ["full"], arms, Inputs(data, sizes, None, texts))
    timed = {job.name.split("/")[-2]: job for job in jobs if "/pretrained/" not in job.name}
    rates, own = {}, []
    for arm, job in timed.items():
        begun = time.perf_counter()
        flags: dict[str, Any] = {"max_train_steps": steps, "eval_steps": steps, "logging_steps": max(1, steps // 8)}
        flags |= {"output_dir": folder / arm, "early_stopping_patience": None, "warmup_steps": 1}
        scripts[job.stage](command_line({**job.flags, **flags}))
        history = json.loads((folder / arm / "history.json").read_text(encoding="utf-8"))
        found = [entry["ecg_per_s"] for entry in history if "ecg_per_s" in entry]
        rates[arm] = median(found[1:])  # the first one warms up
        trained = steps * job.flags["per_device_train_batch_size"]
        own.append(max(0.0, time.perf_counter() - begun - trained / rates[arm]))
    return Rates(
        machine="this machine" if accelerator is None else torch.cuda.get_device_name(),
        what=f"{steps} steps of each training script, as it is run here",
        encoder=recipe.encoder_preset,
        pretrain={recipe.pretrain_batch_size: rates["reports"]},
        finetune={recipe.batch_size: rates["random"]},
        head_steps_per_s=rates["random_linear"] / recipe.batch_size,
        seconds_per_run=max(own),
        seconds_to_read=None,
    )


def _noise(schema: ExamSchema, n_exams: int, seed: int) -> Dataset:
    """A split of noise with any labels and a few reports: for the clock alone."""
    generator = np.random.default_rng(seed)
    ecg = generator.normal(scale=NOISE_UV, size=(n_exams, schema.ecg_length)).astype(np.int16)
    labels = generator.integers(0, 2, (n_exams, len(schema.label_names))).tolist()
    reports = [f"texto {i % 8}" for i in range(n_exams)]
    columns: dict[str, Any] = {
        "exam_id": [f"{seed}-{i}" for i in range(n_exams)],
        "patient_id": [f"{seed}-{i}" for i in range(n_exams)],
        "source": ["noise"] * n_exams,
        "ecg": list(ecg),
        "n_samples": [schema.signal.n_samples] * n_exams,
        "sampling_rate": [schema.signal.sampling_rate] * n_exams,
        "lead_names": [list(schema.signal.lead_names)] * n_exams,
        "age": [50.0] * n_exams,
        "sex": ["female"] * n_exams,
        "labels": [dict(zip(schema.label_names, row, strict=True)) for row in labels],
        "report": reports,
        "report_id": [i % 8 for i in range(n_exams)],
        "quality": [[]] * n_exams,
    }
    if schema.target_names:
        columns["targets"] = [dict.fromkeys(schema.target_names)] * n_exams
    return Dataset.from_dict(columns, features=schema.features)
