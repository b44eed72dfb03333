"""What is put to the test: the commands that write something, and how their results are told apart."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from benchmarks.faults.commands import Command, Starter


SEED = 0
N_EXAMS = 200
STEPS, SAVE_STEPS = 24, 4
# Of a result: the clock, and in how many parts it was made.
NO_TWO_RUNS_SHARE = {"history.json": ("ecg_per_s", "data_wait_ms"), "run.json": ("parts",)}
NOT_COMPARED = (
    "README.md",
    "checkpoints",
    "tracking",
    "SHA256SUMS",
)  # a card tells in how many parts its run came; digests of these


@dataclass(frozen=True)
class Job:
    """
    A command that writes a folder.

    Args:
        name (`str`): In the table.
        module (`str`): Of the command.
        words (`Callable`): Its arguments for an output folder.
        marker (`str`): The file, as a pattern, that a finished folder holds.
        again (`tuple[str, ...]`): What is added to start it again in a folder that may hold its result.
        at_once (`bool`): The folder appears by a renaming, so that what has its name is whole.
    """

    name: str
    module: str
    words: Callable[[str], list[str]]
    marker: str
    again: tuple[str, ...] = ()
    at_once: bool = True

    def command(self, folder: str) -> Command:
        """Returns the command that writes a folder."""
        return Command(self.module, tuple(self.words(folder)))

    def is_finished(self, folder: Path) -> bool:
        """Whether a folder holds a finished result."""
        return any(folder.glob(self.marker))


def _training(*more: str) -> list[str]:
    # All that has a state of its own: order, dropout, augmentation, averaged weights, losses between two log entries.
    words = "--encoder_preset tiny --per_device_train_batch_size 8 --warmup_steps 4 --eval_steps 8 --logging_steps 3"
    words += f" --ema_decay 0.9 --augment noise_mv=0.02 shift_s=0.3 --max_train_steps {STEPS}"
    return [*more, *words.split(), "--checkpointing_steps", str(SAVE_STEPS)]


CONVERSION = Job(
    "conversion",
    "data_scripts.code15",
    lambda out: f"--source_dir cohort --reports cohort/reports.csv --num_proc 2 --output_dir {out}".split(),
    "conversion.json",
    ("--overwrite_output_dir",),
)
EMBEDDING = Job(
    "embedding",
    "data_scripts.embed_reports",
    lambda out: f"--dataset_name_or_path table --text_model_name_or_path text_model --output_dir {out}".split(),
    "text_table/*/text_table.json",
)
PRETRAINING = Job(
    "pre-training",
    "train_clip",
    lambda out: _training(
        *f"--dataset_name_or_path table --text_model_name_or_path text_model --output_dir {out}".split(),
        *"--text_table_dir texts --gradient_accumulation_steps 2".split(),
    ),
    "metrics.json",
    ("--resume_from_checkpoint", "latest"),
    at_once=False,
)
FINETUNING = Job(
    "fine-tuning",
    "train_cls",
    lambda out: _training(
        *f"--dataset_name_or_path table --model_name_or_path clip --output_dir {out}".split(),
        *"--head_learning_rate 0.01 --dropout 0.1".split(),
    ),
    "metrics.json",
    ("--resume_from_checkpoint", "latest"),
    at_once=False,
)
EXPORT = Job(
    "export",
    "training.export",
    lambda out: f"--model_name_or_path cls --format onnx --output_dir {out}".split(),
    "export.json",
    ("--overwrite_output_dir",),
)
PUBLICATION = Job(
    "publication",
    "data_scripts.publish",
    lambda out: f"--dataset_name_or_path table --max_shard_size 8MB --output_dir {out}".split(),
    "README.md",
)
REPRODUCTION = Job(
    "reproduction",
    "reproduce",
    lambda out: (
        f"--output_dir {out} --dataset_name_or_path table --settings full --arms random --seeds 0 --num_proc 1"
        " --encoder_preset tiny --max_train_steps 4 --n_resamples 20"
    ).split(),
    "reproduce.json",
    at_once=False,
)


@dataclass
class Workshop:
    """
    A folder with what the arms start from, each made by the command that its name says.

    Args:
        starter (`Starter`): Of commands; its folder is the workshop's.
        seconds (`dict[str, float]`): How long each job took without a fault.
        results (`dict[str, str]`): [`content`] of what it left.
    """

    starter: Starter
    seconds: dict[str, float]
    results: dict[str, dict[str, str]]

    @property
    def folder(self) -> Path:
        """Where all lies."""
        return self.starter.folder

    def measure(self, job: Job) -> None:
        """Runs a job without a fault, once, and remembers how long it took and what it left."""
        if job.name not in self.results:
            folder = f"whole/{job.name}"
            self.seconds[job.name] = self.starter.must(job.command(folder).but(*job.again)).seconds
            self.results[job.name] = content(self.folder / folder)

    def unlike(self, job: Job, folder: Path) -> list[str]:
        """Returns the files in which a folder differs from the result of a run without a fault."""
        if not job.is_finished(folder):
            return [f"no {job.marker}"]
        found, expected = content(folder), self.results[job.name]
        return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def open_workshop(folder: Path) -> Workshop:
    """Returns a workshop in a new folder, with a simulated cohort, its table, text embeddings and both models."""
    starter = Starter(folder)
    simulation = f"--output_dir cohort --num_exams {N_EXAMS} --exams_per_part 40 --seed {SEED} --prevalence_scale 5"
    starter.must(Command("data_scripts.simulate.__main__", tuple(simulation.split())))
    starter.must(CONVERSION.command("table"))
    texts = ("--dataset_name_or_path", "table", "--output_dir", "text_model")
    starter.must(Command("data_scripts.make_text_model", texts))
    for job, name in ((EMBEDDING, "texts"), (PRETRAINING, "clip"), (FINETUNING, "cls")):
        starter.must(job.command(name))
    return Workshop(starter, {}, {})


def content(folder: Path) -> dict[str, str]:
    """
    Returns a digest of each file of a result, by its name: of its bytes.

    Of a history the clock is left out, and of a run's record the parts in which it ran.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not set(NOT_COMPARED).intersection(name.parts):
            found[str(name)] = hashlib.sha256(_comparable(path)).hexdigest()
    return found


def _comparable(path: Path) -> bytes:
    if path.name not in NO_TWO_RUNS_SHARE:
        return path.read_bytes()
    return json.dumps(_without(json.loads(path.read_text(encoding="utf-8")), NO_TWO_RUNS_SHARE[path.name])).encode()


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_without(one, names) for one in value]
    return {name: one for name, one in value.items() if name not in names} if isinstance(value, dict) else value


def _read_arrow(path: Path) -> None:
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        reader.read_all()


def _read_safetensors(path: Path) -> None:
    with safe_open(path, framework="np") as file:
        for name in file.keys():
            file.get_slice(name)


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".arrow": _read_arrow,
    ".parquet": pq.read_table,
    ".safetensors": _read_safetensors,
}


def torn_files(folder: Path) -> list[str]:
    """
    Returns the files below a folder that cannot be read to their end, though they have their final name.

    What is written aside has `.incomplete` in its name or in a folder's; it is nobody's business.
    """
    torn = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if ".incomplete" in name or not path.is_file() or path.suffix not in READERS:
            continue
        try:
            READERS[path.suffix](path)
        except Exception as error:  # whatever a reader raises: the file is what is asked about
            torn.append(f"{name}: {error}")
    return torn
