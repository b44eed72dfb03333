"""
A run in parts: one for each time that its command was started. What its result depends on is the same in all of them.

An interrupted run is resumed by the same command. With another learning rate its record would state what most of its
steps never had; so whatever changes the result of steps is compared, and refused, before the first step.
"""

import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import PreTrainedModel

from data_scripts.embed_reports import weights_fingerprint
from training.arguments import GROUPS, EncoderArguments
from training.data import ExamSplit, ExamTable


logger = get_logger(__name__)

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "huggingface-hub", "safetensors", "numpy", "scipy")

# Arguments that may be others when a run is resumed. All others are refused, and so is one that is new here.
MAY_CHANGE = frozenset(
    {
        # Where things lie; what they hold is compared by its fingerprint.
        *("dataset_name_or_path", "dataset_revision", "model_name_or_path", "model_revision", "output_dir"),
        *("text_model_name_or_path", "text_table_dir"),
        # No choice changes a number of the run; but for rounding, of the loss on validation or of a compiled step.
        *("dataloader_num_workers", "cache_dataset_on_device", "graph", "per_device_eval_batch_size"),
        # What is compared, allowed, saved, logged and published.
        *("allow_empty_splits", "allow_one_sided_labels", "resume_from_checkpoint", "overwrite_output_dir", "verify"),
        *("checkpointing_steps", "checkpoints_total_limit", "logging_steps", "report_to"),
        *("push_to_hub", "hub_model_id", "hub_private_repo"),
    }
)
# These end a run, and may end it later than before. None is never.
MAY_GROW = ("steps", "early_stopping_patience")


def fingerprint(pieces: Iterable[bytes | np.ndarray]) -> str:
    """Returns the xxh3-128 of some bytes, one piece after the other, as hexadecimal digits."""
    digest = xxhash.xxh3_128()
    for piece in pieces:
        digest.update(np.ascontiguousarray(piece).data if isinstance(piece, np.ndarray) else piece)
    return digest.hexdigest()


def data_fingerprints(table: ExamTable, splits: Mapping[str, ExamSplit]) -> dict[str, str]:
    """
    Returns one number each for an exam table and for what a run uses of it.

    Args:
        table (`ExamTable`): Its own digest, or where it states none what `datasets` knows its files by: that stays
            when a folder is moved or copied.
        splits (`dict[str, ExamSplit]`): Exams, patients, labels and reports in the order of the run.
    """
    digest = (table.record or {}).get("digest")
    if digest is None:
        digest = fingerprint(f"{name} {rows._fingerprint} ".encode() for name, rows in table.splits.items())
    pieces: list[bytes | np.ndarray] = []
    for name, split in splits.items():
        ids = [*split.exam_ids.astype(str), *split.patient_ids.astype(str)]
        pieces += ["\n".join([name, str(len(split)), *ids]).encode(), split.labels, split.report_ids]
    return {"exam_table": digest, "exams": fingerprint(pieces)}


def encoder_fingerprint(encoder: EncoderArguments, model: PreTrainedModel) -> dict[str, str | None]:
    """Returns one number for the encoder that a run starts from; random weights follow from the seed."""
    return {"encoder": None if encoder.model_name_or_path is None else weights_fingerprint(model)}


def machine_facts(accelerator: Accelerator) -> dict[str, Any]:
    """Returns what a part ran with: the project's commit, packages, Python, devices, threads of a process."""
    cuda = accelerator.device.type == "cuda"
    return {
        "commit": _commit(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else ["cpu"],
        "threads": torch.get_num_threads(),
    }


@dataclass
class RunParts:
    """
    What this part of a run was given, and the parts before it.

    Args:
        settings (`dict`): What [`RunParts.compare`] compares, as the run record states it: `arguments`, `steps`,
            `num_processes`, `mixed_precision`, `fingerprints`.
        machine (`dict`): Of [`machine_facts`].
    """

    settings: dict[str, Any]
    machine: dict[str, Any]

    def __post_init__(self) -> None:
        self.first_step = 0
        self.earlier: list[dict[str, Any]] = []
        self.changed: dict[str, tuple[Any, Any]] = {}  # arguments, since the part before

    @classmethod
    def begin(
        cls, accelerator: Accelerator, arguments: Mapping[str, Any], steps: int, fingerprints: Mapping[str, str | None]
    ) -> "RunParts":
        """
        Returns the part that begins now.

        Args:
            accelerator (`Accelerator`): For processes, precision and devices.
            arguments (`dict`): The command line's.
            steps (`int`): After which the run ends.
            fingerprints (`dict`): Of data and models that it was given.
        """
        settings = {
            "arguments": {name: _public(value) for name, value in arguments.items()},
            "steps": steps,
            "num_processes": accelerator.num_processes,
            "mixed_precision": accelerator.mixed_precision,
            "fingerprints": dict(fingerprints),
        }
        return cls(settings, machine_facts(accelerator))

    def compare(self, record: Mapping[str, Any], where: str | Path) -> None:
        """
        Raises:
            `ValueError`: where an earlier part was given something else that changes the result, naming all of it.

        Args:
            record (`dict`): Of a checkpoint, or of a finished run; one of an earlier release states less.
            where (`str` or `Path`): It lies, for the message.
        """
        was, now = _flat(record), _flat(self.settings)
        refused = {
            name: (was[name], now[name])
            for name in now
            if name in was and was[name] != now[name] and not _may_differ(name, was, now)
        }
        if refused:
            raise ValueError(
                f"--resume_from_checkpoint: {where} belongs to a run that was given other settings, and these change "
                f"its result: {_listed(refused)}. Give what it was given, or start anew (--overwrite_output_dir, or "
                "another --output_dir)"
            )

    def goes_beyond(self, record: Mapping[str, Any]) -> bool:
        """Returns whether this part may end later than a finished run that [`RunParts.compare`] let pass."""
        was, now = _flat(record), _flat(self.settings)
        return any(was[name] != now[name] for name in MAY_GROW if name in was)

    def follow(self, record: Mapping[str, Any], step: int) -> None:
        """
        Goes on from a checkpoint that [`RunParts.compare`] let pass, and says what is different.

        Args:
            record (`dict`): Of the checkpoint, as [`RunParts.as_of`] made it.
            step (`int`): Of the checkpoint.
        """
        self.earlier, self.first_step = record["parts"], step
        was, now = (_with_defaults(one["arguments"]) for one in (record, self.settings))
        self.changed = {
            name: (was.get(name), value)
            for name, value in now.items()
            if value != was.get(name) and name != "resume_from_checkpoint"
        }
        if self.changed:
            logger.info(f"other arguments than before: {_listed(self.changed)}")
        if machine := {name: (record[name], now) for name, now in self.machine.items() if record[name] != now}:
            logger.warning(f"the last digits may differ from those of a run of one part: {_listed(machine)}")
        schedule = self.settings["arguments"]["lr_scheduler_type"]
        if record["steps"] != self.settings["steps"] and schedule != "constant_with_warmup":
            logger.warning(
                f"{record['steps']} steps become {self.settings['steps']}: from step {step} on the learning rate is "
                f"that of the {schedule} schedule over {self.settings['steps']} steps, before it was that of the "
                "shorter one: the result is not that of one long run"
            )

    def as_of(self, step: int) -> dict[str, Any]:
        """
        Returns what a record says of the run up to a step: what the present part was given, its machine, and `parts`.

        Of each part there are its `steps` (those it began after, and went up to, as far as later parts build on them),
        how many were `planned`, its machine, and which `arguments` were others in the part before (`was`, `is`).
        """
        here = {
            "steps": [self.first_step, step],
            "planned": self.settings["steps"],
            "arguments": {name: {"was": was, "is": now} for name, (was, now) in self.changed.items()},
            **self.machine,
        }
        return {**self.settings, **self.machine, "parts": [*self.earlier, here]}


def _public(value: Any) -> Any:
    """An argument without where it lies: that is nobody else's business, and not reproducible."""
    if isinstance(value, str) and (Path(value).is_absolute() or Path(value).exists()):
        return Path(value).resolve().name
    return value


def _with_defaults(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments, with those that were not there when a run began: they change nothing by default."""
    defaults = {f.name: f.default for group in GROUPS for f in fields(group) if f.default is not MISSING}
    return defaults | dict(arguments)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that is compared, by name; the precision in force takes the place of the argument."""
    others = {name: record[name] for name in ("steps", "num_processes", "mixed_precision") if name in record}
    return {**_with_defaults(record["arguments"]), **others, **record.get("fingerprints", {})}


def _may_differ(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if name in MAY_GROW:
        return now[name] is None or (was[name] is not None and now[name] > was[name])
    if name == "eval_steps":  # where validation chooses nothing
        return now["keep"] == "last" and now["early_stopping_patience"] is None
    if name in ("num_train_epochs", "max_train_steps"):  # `steps` follow from them, but earlier releases state none
        return "steps" in was
    return name in MAY_CHANGE


def _listed(pairs: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name}: was {_shown(was)}, is {_shown(now)}" for name, (was, now) in pairs.items())


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _commit() -> str | None:
    """The project's commit, where it runs from a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
