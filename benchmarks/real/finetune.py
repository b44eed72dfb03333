"""Fine-tuning with few real labels: which runs there are, and train_cls.py for each of them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from tqdm.auto import tqdm

import train_cls


# The same for every start. Steps are few: on two cores the paper's encoder trains some ten ECGs a second beside other
# work, and validation chooses among them.
STEPS = {1.0: 100, 0.25: 40, 0.05: 20}
RECIPE = {
    "--per_device_train_batch_size": 16,
    "--learning_rate": 1e-3,
    "--lr_scheduler_type": "cosine",
    "--warmup_steps": 5,
    "--mixed_precision": "bf16",
    "--checkpointing_steps": "no",
}
VALIDATIONS = 5  # in the course of a run, beside the one before it


@dataclass(frozen=True)
class Run:
    """
    One fine-tuning.

    Args:
        labels (`str`): Label set, which names the exam table.
        start (`str`): Name of the weights to start from.
        fraction (`float`): Share of the training exams.
        draw (`int`): Which patients, and the seed of everything else.
    """

    labels: str
    start: str
    fraction: float
    draw: int

    @property
    def name(self) -> str:
        """Names its folder."""
        return f"{self.labels}-{self.start}-{self.fraction:g}-{self.draw}"

    def arguments(self, table: Path, model: str | None, preset: str, output_dir: Path) -> list[str]:
        """Returns the command line of train_cls.py."""
        start = ["--encoder_preset", preset] if model is None else ["--model_name_or_path", model]
        steps = STEPS[self.fraction]
        return [
            *("--dataset_name_or_path", str(table), *start, "--output_dir", str(output_dir)),
            *("--train_fraction", str(self.fraction), "--subset_seed", str(self.draw), "--seed", str(self.draw)),
            *("--max_train_steps", str(steps), "--eval_steps", str(steps // VALIDATIONS)),
            *("--allow_one_sided_labels", "--overwrite_output_dir"),
            *(str(word) for setting in RECIPE.items() for word in setting),
        ]


def finetune(
    runs: Sequence[Run], tables: dict[str, Path], starts: dict[str, str | None], preset: str, folder: Path
) -> None:
    """
    Trains the runs that have no result yet, and keeps of each what the table needs.

    Args:
        runs (`Sequence[Run]`): In this order.
        tables (`dict[str, Path]`): Exam table of each label set.
        starts (`dict[str, str]`): Folder or Hub id by name of the start; None for random weights.
        preset (`str`): Encoder of random weights.
        folder (`Path`): Gets a folder for each run.

    Raises:
        `InterruptedError`: where SIGTERM ended a run.
    """
    for run in tqdm(runs, desc="fine-tuning"):
        output_dir = folder / run.name
        if not (output_dir / "metrics.json").is_file():
            arguments = run.arguments(tables[run.labels], starts[run.start], preset, output_dir)
            if train_cls.main(arguments) is None:
                raise InterruptedError(f"{output_dir}: the run was told to end; the same command goes on")
        (output_dir / "model.safetensors").unlink(missing_ok=True)
        shutil.rmtree(output_dir / "logs", ignore_errors=True)


def predicted(folder: Path, run: Run, label_names: Sequence[str]) -> dict[str, list[float]]:
    """Returns by test exam the probabilities of all labels, of a run that has ended."""
    rows = pq.read_table(folder / run.name / "predictions.parquet", filters=[("split", "=", "test")])
    columns = [rows.column(f"probability_{name}").to_pylist() for name in label_names]
    return dict(zip(rows.column("exam_id").to_pylist(), map(list, zip(*columns, strict=True)), strict=True))
