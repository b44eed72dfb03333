"""One bit flips, size and time stay: does the command that reads the file notice, and name it?"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.faults.cases import Case, Outcome
from benchmarks.faults.commands import Command, Ended
from benchmarks.faults.jobs import (
    CONVERSION,
    EXPORT,
    FINETUNING,
    PUBLICATION,
    REPRODUCTION,
    SEED,
    STEPS,
    Job,
    Workshop,
)
from benchmarks.faults.stopped import stopped_conversion, stopped_training


ARM = "flipped bit"
TEXT_MODEL = "text_model_name_or_path"
LAST = f"checkpoints/step-{STEPS:08d}"  # what a resumed run reads first
CASES = 60
QUICK = ("exam table: Arrow, trained on", "checkpoint: optimizer", "model: weights, trained on")


@dataclass(frozen=True)
class Kind:
    """
    A kind of file.

    Args:
        what (`str`): In the table.
        folder (`Callable`): Gives the folder, below the workshop's, that holds such files.
        patterns (`tuple[str, ...]`): Of the files in it.
        read (`Callable`): From the damaged copy of the folder, a path below the workshop's, the command that reads it.
        job (`Job`, *optional*): Whose result the command then leaves in the copy, where it may also notice the damage
            by making the file again.
        silent (`bool`): Whether it may do so without a word, as nothing of the damaged file goes into the result.
    """

    what: str
    folder: Callable[[Workshop], str]
    patterns: tuple[str, ...]
    read: Callable[[str], Command]
    job: Job | None = None
    silent: bool = False


def _whole(job: Job) -> Callable[[Workshop], str]:
    def folder(workshop: Workshop) -> str:
        workshop.measure(job)
        return f"whole/{job.name}"

    return folder


def _made(name: str) -> Callable[[Workshop], str]:
    return lambda workshop: name


def _train(table: str) -> Command:
    words = f"--dataset_name_or_path {table} --encoder_preset tiny --max_train_steps 1 --output_dir {table}-read"
    return Command("train_cls", tuple(words.split()))


def _pretrain(flag: str, folder: str) -> Command:
    flags = {"text_table_dir": "texts", TEXT_MODEL: "text_model", flag: folder}
    words = f"--dataset_name_or_path table --encoder_preset tiny --max_train_steps 1 --output_dir {folder}-read"
    given = (word for name, value in flags.items() for word in (f"--{name}", value))
    return Command("train_clip", (*words.split(), *given))


def _convert(cohort: str) -> Command:
    words = f"--source_dir {cohort} --reports {cohort}/reports.csv --output_dir {cohort}-read"
    return Command("data_scripts.code15", tuple(words.split()))


def _continue(job: Job) -> Callable[[str], Command]:
    return lambda folder: job.command(folder.removesuffix(".incomplete")).but(*job.again)


def _on_from(folder: str) -> Command:
    words = f"--dataset_name_or_path table --model_name_or_path {folder} --max_train_steps 1"
    return Command("train_cls", (*words.split(), "--output_dir", f"{folder}-read"))


def _export(folder: str) -> Command:
    words = f"--model_name_or_path {folder} --format onnx --output_dir {folder}-read"
    return Command("training.export", tuple(words.split()))


def _publish_model(folder: str) -> Command:
    return Command("training.publish", ("--folder", folder, "--repo_id", "nobody/nothing"))


def _publish_table(folder: str) -> Command:
    return Command("data_scripts.publish", ("--dataset_name_or_path", folder, "--output_dir", f"{folder}-read"))


def _tabulate(folder: str) -> Command:
    return REPRODUCTION.command(folder).but("--tables_only")


def _use(folder: str) -> Command:
    return Command("benchmarks.faults.use", (folder,))


_stopped = partial(stopped_training, job=FINETUNING)
_tuned, _resume = _whole(FINETUNING), _continue(FINETUNING)
KINDS = (
    Kind("simulated recordings (HDF5)", _made("cohort"), ("*.hdf5",), _convert),
    Kind("simulated tables (CSV)", _made("cohort"), ("exams.csv", "reports.csv"), _convert),
    Kind("killed conversion's shards", stopped_conversion, ("t*/*.arrow",), _continue(CONVERSION), CONVERSION, True),
    Kind("exam table: Arrow, trained on", _made("table"), ("*/*.arrow",), _train),
    Kind("exam table: Arrow, published", _made("table"), ("*/*.arrow",), _publish_table),
    Kind("exam table: JSON", _made("table"), ("*.json", "*/*.json"), _train),
    Kind(
        "text model", _made("text_model"), ("*.safetensors", "*.json"), partial(_pretrain, "text_model_name_or_path")
    ),
    Kind("text embeddings", _made("texts"), ("*/*/*.arrow", "*/*/*.json"), partial(_pretrain, "text_table_dir")),
    Kind("checkpoint: weights", _stopped, (f"{LAST}/model.safetensors",), _resume, FINETUNING),
    Kind("checkpoint: optimizer", _stopped, (f"{LAST}/optimizer*",), _resume, FINETUNING),
    Kind("checkpoint: all else", _stopped, (f"{LAST}/[!mo]*",), _resume, FINETUNING),
    Kind("best weights", _stopped, ("best.safetensors",), _resume, FINETUNING, True),
    Kind("model: weights, trained on", _tuned, ("model.safetensors",), _on_from),
    Kind("model: weights, used", _tuned, ("model.safetensors",), _use),
    Kind("model: settings", _tuned, ("config.json", "preprocessor_config.json"), _export),
    Kind("model: records", _tuned, ("run.json", "metrics.json", "history.json"), _publish_model),
    Kind("export: weights", _whole(EXPORT), ("model.onnx",), _use),
    Kind("export: settings", _whole(EXPORT), ("config.json", "preprocessor_config.json"), _use),
    Kind("Parquet, reused", _whole(PUBLICATION), ("data/*",), _continue(PUBLICATION), PUBLICATION, True),
    Kind("Parquet, trained on", _whole(PUBLICATION), ("data/*",), _train),
    Kind("reproduction: predictions", _whole(REPRODUCTION), ("*/*/*/*/predictions.parquet",), _tabulate),
)


def plan(workshop: Workshop, quick: bool) -> list[Case]:
    """Returns the cases, as many of each kind as come out even; files and bits are drawn when they are there."""
    kinds = [kind for kind in KINDS if kind.what in QUICK] if quick else KINDS
    return [
        Case(
            ARM,
            kind.what,
            f"draw {number} of seed {SEED}",
            partial(_flip, workshop, kind, f"flips/{number}", np.random.default_rng((SEED, number))),
        )
        for number, kind in enumerate(islice(cycle(kinds), len(kinds) if quick else CASES))
    ]


def flip_bit(path: Path, rng: np.random.Generator) -> str:
    """Flips a bit of a file as a disk would, its size and time as before; tells which."""
    before = path.stat()
    byte, bit = int(rng.integers(before.st_size)), int(rng.integers(8))
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"bit {bit} of byte {byte}"


def _flip(workshop: Workshop, kind: Kind, name: str, rng: np.random.Generator) -> Outcome:
    source = kind.folder(workshop)
    copy = f"{name}/{Path(source).name}"
    folder = workshop.folder / copy
    shutil.copytree(workshop.folder / source, folder)
    files = [path for pattern in kind.patterns for path in folder.glob(pattern) if path.is_file()]
    files = sorted(path for path in files if path.stat().st_size)  # what was begun as the kill came has no bit to flip
    file = files[int(rng.integers(len(files)))]
    where = f"{file.relative_to(folder)}, {flip_bit(file, rng)}"
    ended = workshop.starter.run(kind.read(copy))
    faults = [] if kind.silent else _unnoticed(ended, file)
    if kind.job is not None and ended.status == 0:
        result = folder.with_name(folder.name.removesuffix(".incomplete"))
        faults += [f"{changed} of the result differs" for changed in workshop.unlike(kind.job, result)]
    shutil.rmtree(workshop.folder / name)
    return Outcome(faults, f"{where}: {ended.refusal or ended}")


def _unnoticed(ended: Ended, file: Path) -> list[str]:
    """What is wrong with what a command said of a damaged file."""
    if ended.status == 0:
        passed_over = any("passing over" in line and file.parent.name in line for line in ended.lines)
        return [] if passed_over else ["missed"]
    if ended.refusal is None:
        return ["no error in one line"]
    return [] if file.name in ended.refusal else ["refused, and not for the damaged file"]
