"""
The paper's tables 2 to 6 and its figure 4, on any exam table with its own labels, from one command.

Example:
    python reproduce.py --preset demo --output_dir build/reproduction
    python reproduce.py --preset paper --dataset_name_or_path exams --text_model_name_or_path pucpr/biobertpt-all \
        --output_dir runs/paper

Without an exam table it simulates a cohort; without --model_name_or_path it pre-trains an encoder for each seed.
The same command continues an interrupted run: finished runs are kept, and the numbers are the same. See
docs/reproduce.md.
"""

import logging
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import DatasetDict
from datasets.utils.logging import disable_progress_bar

import train_clip
import train_cls
from common.commands import exit_status
from common.files import write_json
from data_scripts.make_text_model import make_text_model
from data_scripts.tables.schema import load_exam_table
from reproduction.figure import plot_labels_against_f1
from reproduction.jobs import Job, check_jobs, make_jobs, table_fingerprint
from reproduction.preparation import given_encoder, simulated_table, text_side
from reproduction.results import read_results
from reproduction.running import run_jobs
from reproduction.settings import ARMS, RECIPES, SETTINGS, Recipe
from reproduction.tables import write_tables
from training.arguments import parse
from training.plots import save_figure


logger = logging.getLogger(__name__)


@dataclass
class ReproduceArguments:
    """What to reproduce; what is left out comes from the preset."""

    output_dir: str = field(metadata={"help": "Folder for tables, figure and runs; an interrupted one is continued."})
    preset: Literal["demo", "paper"] = field(
        default="demo", metadata={"help": "demo: two cores, 30 minutes. paper: one GPU and CODE-15%%."}
    )
    dataset_name_or_path: str | None = field(
        default=None, metadata={"help": "Exam table, folder or Hub id. Left out: a cohort is simulated (demo)."}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "Of an exam table on the Hub."})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Pre-trained encoder, folder or Hub id. Left out: stage 1 runs for each seed."}
    )
    model_revision: str | None = field(default=None, metadata={"help": "Of a model on the Hub."})
    text_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Text encoder for stage 1, folder or Hub id. Left out: a small random one (demo)."},
    )
    settings: list[str] = field(
        default_factory=lambda: list(SETTINGS), metadata={"help": "How many labels.", "choices": list(SETTINGS)}
    )
    arms: list[str] = field(
        default_factory=lambda: list(ARMS), metadata={"help": "Which encoders.", "choices": list(ARMS)}
    )
    seeds: list[int] | None = field(default=None, metadata={"help": "One run of each cell for each of them."})
    num_proc: int | None = field(
        default=None, metadata={"help": "Runs at a time, one thread each; default: the cores, or 1 with a GPU."}
    )
    encoder_preset: str | None = field(default=None, metadata={"help": "Encoder of the random arms and of stage 1."})
    max_train_steps: int | None = field(default=None, metadata={"help": "Of every fine-tuning, in all settings."})
    learning_rate: float | None = field(default=None, metadata={"help": "Of every fine-tuning."})
    per_device_train_batch_size: int | None = field(default=None, metadata={"help": "Of every fine-tuning."})
    pretrain_epochs: float | None = field(default=None, metadata={"help": "Of stage 1."})
    num_exams: int | None = field(default=None, metadata={"help": "Of the simulated cohort."})
    n_resamples: int = field(default=1000, metadata={"help": "Of the bootstrap over test patients."})
    keep_models: bool = field(default=False, metadata={"help": "Keep fine-tuned weights and plots of every run."})

    def __post_init__(self) -> None:
        for name in ("num_proc", "max_train_steps", "per_device_train_batch_size", "num_exams", "n_resamples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1: found {value}")
        for name in ("settings", "arms", "seeds"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) < len(values)):
                raise ValueError(f"--{name} must name at least one, each once: found {values}")
        if self.dataset_name_or_path is None and RECIPES[self.preset].cohort is None:
            raise ValueError(f"--preset {self.preset} needs --dataset_name_or_path")
        if self.dataset_name_or_path is not None and self.num_exams is not None:
            raise ValueError("--num_exams is for a simulated cohort, which --dataset_name_or_path replaces")

    @property
    def recipe(self) -> Recipe:
        """The preset with the changes asked for."""
        changes: dict[str, Any] = {
            "encoder_preset": self.encoder_preset,
            "learning_rate": self.learning_rate,
            "batch_size": self.per_device_train_batch_size,
            "pretrain_epochs": self.pretrain_epochs,
            "seeds": None if self.seeds is None else tuple(self.seeds),
        }
        if self.max_train_steps is not None:
            changes |= {"min_train_steps": self.max_train_steps, "num_train_epochs": 0}
        recipe = RECIPES[self.preset]
        if self.num_exams is not None:
            changes["cohort"] = {**recipe.cohort, "num_exams": self.num_exams}
        return replace(recipe, **{name: value for name, value in changes.items() if value is not None})


def text_model_of(args: ReproduceArguments, table: DatasetDict) -> str:
    """Returns the text encoder of stage 1; for the demo one with random weights, made from the training reports."""
    if args.text_model_name_or_path is not None:
        return args.text_model_name_or_path
    if args.preset != "demo":
        raise ValueError("stage 1 needs --text_model_name_or_path, such as pucpr/biobertpt-all")
    folder = Path(args.output_dir) / "text_model"
    if not folder.is_dir():
        aside = folder.with_name(f".{folder.name}.incomplete")
        shutil.rmtree(aside, ignore_errors=True)
        make_text_model(sorted(report for report in table["train"].unique("report") if report), aside)
        aside.rename(folder)
    return str(folder)


def plan_jobs(args: ReproduceArguments, recipe: Recipe, num_proc: int) -> tuple[list[Job], DatasetDict]:
    """Returns the jobs and the exam table, after making what is missing of data and text embeddings."""
    exams = args.dataset_name_or_path
    if exams is None:
        exams = str(simulated_table(Path(args.output_dir) / "cohort", recipe.cohort, num_proc))
    table = load_exam_table(exams, args.dataset_revision)
    data = {
        "flags": {"dataset_name_or_path": exams, "dataset_revision": args.dataset_revision},
        "identity": {"exams": table_fingerprint(table)},
    }
    encoder = pretraining = None
    if args.model_name_or_path is not None:
        encoder = given_encoder(args.model_name_or_path, args.model_revision)
    elif any(ARMS[arm].pretrained for arm in args.arms):
        pretraining = text_side(exams, text_model_of(args, table), Path(args.output_dir))
    sizes = {split: len(rows) for split, rows in table.items()}
    return make_jobs(recipe, args.settings, args.arms, data, sizes, encoder, pretraining), table


def recipe_lines(args: ReproduceArguments, recipe: Recipe, sizes: dict[str, int]) -> list[str]:
    """Returns how the cells were trained, in words, for the head of the tables."""
    steps = ", ".join(
        f"{SETTINGS[name].title} {recipe.steps(SETTINGS[name].n_training_exams(sizes)):,}" for name in args.settings
    )
    lines = [
        f"Preset {args.preset}: encoder `{recipe.encoder_preset}`, seeds {', '.join(map(str, recipe.seeds))}.",
        f"Fine-tuning, all arms alike: AdamW, peak learning rate {recipe.learning_rate:g}, {recipe.batch_size} exams "
        f"a step, {recipe.evaluations} validations; optimizer steps: {steps}.",
    ]
    if args.model_name_or_path is not None:
        lines.append("Pre-trained encoder: given, the same for all seeds.")
    elif any(ARMS[arm].pretrained for arm in args.arms):
        lines.append(
            f"Pre-training, once for each seed, on the training split's reports: {recipe.pretrain_batch_size} exams a "
            f"step, {recipe.pretrain_steps(sizes['train']):,} steps, peak learning rate "
            f"{recipe.pretrain_learning_rate:g}; the step is chosen by the loss on the validation split's reports."
        )
    return lines


def main(argv: list[str] | None = None) -> Path:
    """Runs what is missing, and writes tables and figure; returns the path of `tables.md`."""
    (args,) = parse(argv, __doc__, ReproduceArguments)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    disable_progress_bar()  # of datasets; the runs have their own
    recipe, output_dir = args.recipe, Path(args.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    num_proc = args.num_proc or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)

    jobs, table = plan_jobs(args, recipe, num_proc)
    check_jobs(jobs, output_dir)
    done = sum(job.is_done(output_dir) for job in jobs)
    logger.info(f"{len(jobs)} runs, {done} of them finished earlier; {num_proc} at a time")
    run_jobs(jobs, output_dir, {"pretrain": train_clip.main, "classify": train_cls.main}, num_proc, args.keep_models)

    results = read_results(output_dir, args.settings, args.arms, recipe.seeds)
    sizes = {split: len(rows) for split, rows in table.items()}
    tables = write_tables(results, output_dir, recipe_lines(args, recipe, sizes), args.n_resamples)
    if any(SETTINGS[name].share is not None for name in args.settings):
        figure = plot_labels_against_f1(results)
        for suffix in ("png", "svg"):
            save_figure(figure, output_dir / f"figure4.{suffix}")
    write_json(output_dir / "reproduce.json", {"recipe": asdict(recipe), "data": results.data, "jobs": len(jobs)})
    logger.info(f"tables in {tables}")
    return tables


if __name__ == "__main__":
    sys.exit(exit_status(main))
