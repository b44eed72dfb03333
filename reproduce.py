r"""
The paper's tables 2 to 6 and its figure 4, with controls, on any exam table with its own labels, from one command.

Example:
    python reproduce.py --preset demo --output_dir build/reproduction
    python reproduce.py --preset control --num_proc 12 --output_dir runs/control
    python reproduce.py --preset paper --estimate --machine h200
    python reproduce.py --preset paper --dataset_name_or_path exams --text_model_name_or_path pucpr/biobertpt-all \
        --output_dir runs/paper

Without an exam table it simulates a cohort; without --model_name_or_path it pre-trains encoders for each seed.
The same command continues an interrupted run: finished runs are kept, and the numbers are the same. See
docs/reproduce.md.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from datasets import DatasetDict
from datasets.utils.logging import disable_progress_bar

import train_clip
import train_cls
from common.arguments import parse
from common.commands import exit_status
from common.files import write_json
from common.locks import only_writer
from data_scripts.tables.schema import ExamSchema, load_exam_table
from reproduction.describing import recipe_lines
from reproduction.estimating import CODE_15_EXAMS, Rates, estimate, measure_rates, planned_jobs, sizes_of
from reproduction.figure import plot_labels_against_f1
from reproduction.jobs import Inputs, Job, check_jobs, make_jobs, starts_to_make, table_fingerprint
from reproduction.preparation import given_encoder, made_text_model, simulated_table, text_side
from reproduction.recipes import RECIPES, Recipe, parse_flags
from reproduction.results import read_results
from reproduction.running import run_jobs
from reproduction.settings import ARMS, SETTINGS, TRAINED_TEXT
from reproduction.sharing import Held, hold_table, open_table
from reproduction.tables import write_tables
from training.data import ExamTable
from training.plots import save_figure


logger = logging.getLogger(__name__)

SCRIPTS = {
    "pretrain": partial(train_clip.main, open_table=open_table),
    "classify": partial(train_cls.main, open_table=open_table),
}


@dataclass
class ReproduceArguments:
    """What to reproduce; what is left out comes from the preset."""

    output_dir: str = field(
        default="", metadata={"help": "Folder for tables, figure and runs; an interrupted one is continued."}
    )
    preset: Literal["demo", "control", "paper"] = field(
        default="demo",
        metadata={
            "help": "demo: a first look on two cores. control: all arms and controls, five seeds, on one GPU. paper: "
            "one GPU and CODE-15%%, the paper's two arms, three seeds; its batch, rate and epochs are choices of this "
            "project, since the paper states none, as are the symmetric loss and the learned temperature."
        },
    )
    dataset_name_or_path: str | None = field(
        default=None, metadata={"help": "Exam table, folder or Hub id. Left out: a cohort is simulated."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Of an exam table on the Hub."})
    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Encoder pre-trained on reports, folder or Hub id. Left out: stage 1 runs for each seed."},
    )
    model_revision: str | None = field(default=None, metadata={"help": "Of a model on the Hub."})
    text_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Text encoder for stage 1, folder or Hub id. Left out: a small random one (not for paper)."},
    )
    settings: list[str] = field(
        default_factory=lambda: list(SETTINGS), metadata={"help": "How many labels.", "choices": list(SETTINGS)}
    )
    arms: list[str] | None = field(
        default=None, metadata={"help": "What is compared; default: the preset's arms.", "choices": list(ARMS)}
    )
    seeds: list[int] | None = field(default=None, metadata={"help": "One run of each cell for each of them."})
    num_proc: int | None = field(
        default=None,
        metadata={
            "help": "Processes that make a cohort, and runs at a time where --cells_per_device says nothing; default: "
            "the cores, or 1 with a GPU."
        },
    )
    cells_per_device: int | None = field(
        default=None,
        metadata={
            "help": "Runs at a time on the GPU, or on the cores, one thread each; all read one copy of the exam "
            "table. Default: --num_proc."
        },
    )
    stop_after_minutes: float | None = field(
        default=None, metadata={"help": "Begin no further run after so long; tables are of what is finished then."}
    )
    estimate: bool = field(
        default=False,
        metadata={
            "help": "Run nothing: steps, exams and the expected time. Without an exam table, of one as large as "
            "--num_exams says, or the cohort, or CODE-15%%."
        },
    )
    machine: str | None = field(
        default=None,
        metadata={
            "help": "Whose rates --estimate takes: a name of reproduction/rates.json, such as h200, or a file with "
            "one such entry. Left out: this machine's, from short runs of the training scripts."
        },
    )
    tables_only: bool = field(
        default=False, metadata={"help": "Run nothing: tables and figure of what is finished in --output_dir."}
    )
    encoder_preset: str | None = field(default=None, metadata={"help": "Encoder of the random arms and of stage 1."})
    max_train_steps: int | None = field(
        default=None, metadata={"help": "Of every fine-tuning, in all settings, at most."}
    )
    learning_rate: float | None = field(default=None, metadata={"help": "Of every fine-tuning but linear heads."})
    per_device_train_batch_size: int | None = field(default=None, metadata={"help": "Of every fine-tuning."})
    pretrain_epochs: float | None = field(default=None, metadata={"help": "Of stage 1."})
    pretrain_flags: list[str] | None = field(
        default=None,
        metadata={"help": "Flags of train_clip.py that replace the preset's, such as center_text=false; recorded."},
    )
    finetune_flags: list[str] | None = field(
        default=None,
        metadata={"help": "Flags of train_cls.py that replace the preset's, such as weight_decay=0.01; recorded."},
    )
    num_exams: int | None = field(
        default=None, metadata={"help": "Of the simulated cohort, or of the table that --estimate speaks of."}
    )
    report_reader: Literal["shared", "independent"] | None = field(
        default=None,
        metadata={
            "help": "Of the simulated cohort. independent: its reports come from a reading of their own, so that "
            "words and labels err apart; left out: from the labels' reading."
        },
    )
    n_resamples: int = field(default=2000, metadata={"help": "Of the bootstrap over seeds and test patients."})
    keep_models: bool = field(default=False, metadata={"help": "Keep fine-tuned weights and plots of every run."})

    def __post_init__(self) -> None:
        for name in (
            "num_proc",
            "cells_per_device",
            "max_train_steps",
            "per_device_train_batch_size",
            "num_exams",
            "n_resamples",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1: found {value}")
        if self.stop_after_minutes is not None and self.stop_after_minutes <= 0:
            raise ValueError(f"--stop_after_minutes must be above 0: found {self.stop_after_minutes}")
        for name in ("settings", "arms", "seeds"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) < len(values)):
                raise ValueError(f"--{name} must name at least one, each once: found {values}")
        if not (self.output_dir or self.estimate):
            raise ValueError("--output_dir is needed, but for --estimate")
        if self.machine is not None and not self.estimate:
            raise ValueError("--machine is for --estimate")
        runs = not (self.tables_only or self.estimate)
        if self.dataset_name_or_path is None and RECIPES[self.preset].cohort is None and runs:
            raise ValueError(f"--preset {self.preset} needs --dataset_name_or_path")
        for name in ("num_exams", "report_reader"):
            if self.dataset_name_or_path is not None and getattr(self, name) is not None:
                raise ValueError(f"--{name} is for a simulated cohort, which --dataset_name_or_path replaces")
        for stage in ("pretrain", "finetune"):
            parse_flags(stage, getattr(self, f"{stage}_flags"))

    @property
    def recipe(self) -> Recipe:
        """The preset with the changes asked for."""
        recipe = RECIPES[self.preset]
        changes: dict[str, Any] = {
            "encoder_preset": self.encoder_preset,
            "learning_rate": self.learning_rate,
            "batch_size": self.per_device_train_batch_size,
            "pretrain_epochs": self.pretrain_epochs,
            "seeds": None if self.seeds is None else tuple(self.seeds),
            "arms": None if self.arms is None else tuple(self.arms),
        }
        if self.max_train_steps is not None:
            changes |= {"min_train_steps": self.max_train_steps, "num_train_epochs": 0}
        cohort = {"num_exams": self.num_exams, "report_reader": self.report_reader}
        if recipe.cohort is not None:
            changes["cohort"] = recipe.cohort | {name: value for name, value in cohort.items() if value is not None}
        changed = {stage: parse_flags(stage, getattr(self, f"{stage}_flags")) for stage in ("pretrain", "finetune")}
        changes["flags"] = {**recipe.flags, **changed["finetune"]}
        changes["pretrain_flags"] = {**recipe.pretrain_flags, **changed["pretrain"]}
        changes["changed"] = {f"{stage}_flags": flags for stage, flags in changed.items() if flags}
        return replace(recipe, **{name: value for name, value in changes.items() if value is not None})


def text_sides(
    args: ReproduceArguments, recipe: Recipe, kinds: Sequence[str], exams: str, table: DatasetDict
) -> dict[str, dict[str, Any]]:
    """Returns the text side of stage 1 for each kind of text model, after making and embedding what is missing."""
    output_dir, sides = Path(args.output_dir), {}
    for kind in dict.fromkeys(kinds):
        if kind == TRAINED_TEXT:
            model = made_text_model(table, output_dir / "text_model_trained", recipe.masked_word_steps)
        elif args.text_model_name_or_path is not None:
            model = args.text_model_name_or_path
        elif args.preset == "paper":
            raise ValueError("stage 1 needs --text_model_name_or_path, such as pucpr/biobertpt-all")
        else:
            model = made_text_model(table, output_dir / "text_model")
        sides[kind] = text_side(exams, model, output_dir)
    return sides


def plan_jobs(args: ReproduceArguments, recipe: Recipe, num_proc: int) -> list[Job]:
    """Returns the jobs, after making what is missing of data and text embeddings."""
    exams = args.dataset_name_or_path
    if exams is None:
        exams = str(simulated_table(Path(args.output_dir) / "cohort", recipe.cohort or {}, num_proc))
    table = load_exam_table(exams, args.dataset_revision)
    data = {
        "flags": {"dataset_name_or_path": exams, "dataset_revision": args.dataset_revision},
        "identity": {"exams": table_fingerprint(table)},
    }
    encoder = None
    if args.model_name_or_path is not None:
        encoder = given_encoder(args.model_name_or_path, args.model_revision)
    kinds = [start.text for start in starts_to_make(recipe.arms, encoder is not None)]
    texts = text_sides(args, recipe, kinds, exams, table)
    sizes = {split: len(rows) for split, rows in table.items()}
    return make_jobs(recipe, args.settings, recipe.arms, Inputs(data, sizes, encoder, texts))


def hold_exams(recipe: Recipe, job: Job) -> Held:
    """Returns the recordings that all runs share, where they are held on the device; says what was chosen and why."""
    accelerator = torch.accelerator.current_accelerator()
    device = torch.device("cpu") if accelerator is None else torch.device(accelerator.type, 0)
    # Compared with its digests when the jobs were planned.
    table = ExamTable.load(job.flags["dataset_name_or_path"], job.flags["dataset_revision"], verify=False)
    held, line = hold_table(recipe.flags.get("cache_dataset_on_device", "auto"), table, device)
    logger.info(f"recordings of all runs: {line}")
    return held


def tabulate(args: ReproduceArguments, recipe: Recipe, failed: dict[str, str]) -> Path:
    """Writes tables and figure of the runs that are finished; returns the path of `tables.md`."""
    output_dir = Path(args.output_dir)
    starts = [start.name for start in starts_to_make(recipe.arms, args.model_name_or_path is not None)]
    results = read_results(output_dir, args.settings, recipe.arms, recipe.seeds, starts)
    sizes, text_model = results.data["exams"], args.text_model_name_or_path
    lines = recipe_lines(args.preset, recipe, args.settings, sizes, text_model, args.model_name_or_path)
    tables = write_tables(results, output_dir, lines, args.n_resamples, failed)
    if any(SETTINGS[name].share is not None for name in results.settings):
        figure = plot_labels_against_f1(results)
        for suffix in ("png", "svg"):
            save_figure(figure, output_dir / f"figure4.{suffix}")
    record = {"recipe": asdict(recipe), "data": results.data, "runs": len(results.cells), "missing": results.missing}
    write_json(output_dir / "reproduce.json", record)
    logger.info(f"tables in {tables}")
    return tables


def estimated(args: ReproduceArguments, recipe: Recipe) -> str:
    """Returns how long the runs would take, with rates of this machine or of the one that was named."""
    if args.dataset_name_or_path is not None:
        table = ExamTable.load(args.dataset_name_or_path, args.dataset_revision, verify=False)  # for its sizes
        schema, sizes = table.schema, {split: len(rows) for split, rows in table.splits.items()}
    else:
        schema = ExamSchema()
        sizes = sizes_of(args.num_exams or (recipe.cohort or {}).get("num_exams", CODE_15_EXAMS))
    if args.machine is not None:
        rates = Rates.of(args.machine, recipe.encoder_preset)
    else:
        logging.disable(logging.INFO)  # what runs on noise say means nothing
        try:
            with TemporaryDirectory() as folder:
                rates = measure_rates(recipe, schema, SCRIPTS, Path(folder))
        finally:
            logging.disable(logging.NOTSET)
    jobs = planned_jobs(recipe, args.settings, sizes, args.model_name_or_path is not None)
    return estimate(jobs, rates, sizes, schema)


def main(argv: list[str] | None = None) -> Path | None:
    """
    Runs what is missing, and writes tables and figure; returns the path of `tables.md`, or None for an estimate.

    Raises:
        `RuntimeError`: where runs failed, after the tables of the others were written.
        `BlockingIOError`: where another reproduction is at work in the same folder.
    """
    (args,) = parse(argv, __doc__, ReproduceArguments)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    disable_progress_bar()  # of datasets; the runs have their own
    recipe = args.recipe
    if args.estimate:
        print(estimated(args, recipe))
        return None
    with only_writer(args.output_dir):
        return tabulate(args, recipe, {}) if args.tables_only else reproduce(args, recipe)


def reproduce(args: ReproduceArguments, recipe: Recipe) -> Path:
    """Runs what is missing in a folder that nobody else writes, and writes tables and figure; as [`main`]."""
    begun, output_dir = time.monotonic(), Path(args.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    num_proc = args.num_proc or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)

    jobs = plan_jobs(args, recipe, num_proc)
    check_jobs(jobs, output_dir)
    done = sum(job.is_done(output_dir) for job in jobs)
    at_a_time = args.cells_per_device or num_proc
    logger.info(f"{len(jobs)} runs, {done} of them finished earlier; {at_a_time} at a time")
    held = {} if done == len(jobs) else hold_exams(recipe, jobs[0])
    left = math.inf if args.stop_after_minutes is None else 60 * args.stop_after_minutes - (time.monotonic() - begun)
    failed = run_jobs(jobs, output_dir, SCRIPTS, at_a_time, args.keep_models, left, held)

    tables = tabulate(args, recipe, failed)
    if failed:
        name, why = next(iter(failed.items()))
        raise RuntimeError(
            f"{len(failed)} of {len(jobs)} runs failed; {tables} has the others. The first is {name}: {why}"
        )
    return tables


if __name__ == "__main__":
    sys.exit(exit_status(main))
