"""Checkpoints that are whole or not there: written aside, listed with digests, renamed, and checked when read."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from common.checksums import file_digest
from common.files import write_json
from common.writing import put_in_place, written_aside


logger = get_logger(__name__)

MANIFEST = "complete.json"  # written last: size and digest of every other file, by name
BEST = "best.safetensors"
PICKLED = (".bin", ".pkl")  # what checkpoints of earlier releases hold
_NAME = re.compile(r"step-(\d+)")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies; saving and resuming share this name."""
    return folder / f"step-{step:08d}"


def save_checkpoint(
    accelerator: Accelerator, folder: Path, step: int, limit: int, write: Callable[[Path], None]
) -> Path:
    """
    Saves all that a run needs to go on, and removes older checkpoints. Called by every process.

    Args:
        accelerator (`Accelerator`): Of the processes.
        folder (`Path`): Of all checkpoints of the run.
        step (`int`): Optimizer steps done.
        limit (`int`): How many to keep.
        write (`Callable`): Called by every process with a folder, into which it puts its files.

    Returns:
        `Path`: The checkpoint's folder.
    """
    target = checkpoint_path(folder, step)
    aside = target.with_name(f".{target.name}.incomplete")
    if accelerator.is_main_process:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    accelerator.wait_for_everyone()
    write(aside)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files = {
            str(file.relative_to(aside)): {"size": file.stat().st_size, "digest": file_digest(file)}
            for file in sorted(aside.rglob("*"))
            if file.is_file()
        }
        write_json(aside / MANIFEST, {"files": files})
        put_in_place(aside, target)
        for old in _by_step(folder)[:-limit]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return target


def find_checkpoint(request: str, folder: Path) -> Path | None:
    """
    Returns the checkpoint to resume from.

    Args:
        request (`str`): `"latest"`, or a checkpoint's folder.
        folder (`Path`): Of all checkpoints of the run.

    Returns:
        `Path`, or `None` where `"latest"` was asked for and there is no whole one: the run then starts from the
        beginning.

    Raises:
        `FileNotFoundError`: where the folder named is no checkpoint.
        `ValueError`: where it is torn or damaged, or where an earlier release wrote it.
    """
    if request != "latest":
        path = Path(request)
        if not path.is_dir():
            raise FileNotFoundError(f"--resume_from_checkpoint: no folder {path}")
        if fault := _fault(path):
            raise ValueError(f"--resume_from_checkpoint: {path} is not whole: {fault}")
        return path
    for path in reversed(_by_step(folder)):
        fault = _fault(path)
        if fault is None:
            return path
        logger.warning(f"passing over the checkpoint {path}: {fault}")
    return None


class BestWeights:
    """
    The weights of the best validation so far, on disk.

    Each checkpoint has a copy of its own: those on disk may be of a later step than the checkpoint, and a run that is
    resumed in another folder has none.

    Args:
        accelerator (`Accelerator`): Its main process writes.
        module (`nn.Module`): What is trained, prepared.
        folder (`Path`): Of the run.
        frozen_prefix (`str`, *optional*): Weights under this name never change and are not saved.
    """

    def __init__(self, accelerator: Accelerator, module: nn.Module, folder: Path, frozen_prefix: str | None = None):
        self.accelerator, self.path, self.frozen_prefix = accelerator, folder / BEST, frozen_prefix
        self.model = accelerator.unwrap_model(module)
        self._digest: str | None = None  # of the file, where this process wrote it

    def _state(self) -> dict[str, torch.Tensor]:
        state = self.model.state_dict()
        return {k: v for k, v in state.items() if self.frozen_prefix is None or not k.startswith(self.frozen_prefix)}

    def save(self) -> None:
        """Writes the present weights in place of the earlier ones."""
        if self.accelerator.is_main_process:
            with written_aside(self.path) as aside:
                safetensors.torch.save_file({k: v.contiguous() for k, v in self._state().items()}, aside)
                self._digest = file_digest(aside)

    def load(self) -> None:
        """
        Puts the saved weights into the module, ready to be measured, in every process.

        Raises:
            `ValueError`: where the file is no longer what was written, or does not fit.
        """
        self.accelerator.wait_for_everyone()
        self._check(self.path)
        saved = safetensors.torch.load_file(self.path)
        unlike = set(saved) ^ set(self._state())
        if unlike:
            raise ValueError(f"{self.path} does not fit the model: {sorted(unlike)[:3]} are in one of them alone")
        self.model.load_state_dict(saved, strict=False)
        self.model.eval()

    def copy_to(self, checkpoint: Path) -> None:
        """
        Adds the weights, if there are any yet, to a checkpoint.

        Raises:
            `ValueError`: where they are no longer what was written.
        """
        if self._digest is not None:
            shutil.copyfile(self.path, checkpoint / BEST)
            self._check(checkpoint / BEST)

    def take_from(self, checkpoint: Path) -> None:
        """Puts those of a checkpoint, if it has any, in place of what a later step may have left."""
        source = checkpoint / BEST
        if self.accelerator.is_main_process and source.is_file():
            with written_aside(self.path) as aside:
                shutil.copyfile(source, aside)
            self._digest = manifest_of(checkpoint)[BEST]["digest"]

    def _check(self, path: Path) -> None:
        # Only the process that wrote the weights knows their digest, and its end is the end of all.
        if self._digest is not None and (found := file_digest(path)) != self._digest:
            raise ValueError(
                f"{self.path} is damaged: expected digest {self._digest}, found {found}; "
                "--resume_from_checkpoint latest writes it anew"
            )


def manifest_of(checkpoint: Path) -> dict[str, Any]:
    """
    Returns size and digest of each file of a checkpoint, by name.

    Raises:
        `ValueError`: where its list cannot be read.
    """
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {str(name): {"size": stated["size"], "digest": stated["digest"]} for name, stated in files.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{MANIFEST} cannot be read ({error!r})") from error


def _by_step(folder: Path) -> list[Path]:
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*") if path.is_dir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in named if match)]


def _fault(path: Path) -> str | None:
    """
    What keeps a folder from being a whole checkpoint, or None.

    Raises:
        `ValueError`: where an earlier release wrote it. Passing over it would throw its steps away unasked.
    """
    if not (path / MANIFEST).is_file():
        return f"it has no {MANIFEST}"
    try:
        expected = manifest_of(path)
    except ValueError as error:
        if pickled := sorted(file.name for file in path.iterdir() if file.suffix in PICKLED):
            raise ValueError(
                f"--resume_from_checkpoint: {path} was written by an earlier release: its states ({pickled[0]}, ...) "
                "are pickled, and what is pickled is not loaded. Finish that run with the release that began it, or "
                "start anew (--overwrite_output_dir, or another --output_dir)"
            ) from None
        return str(error)
    for name, stated in expected.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != stated["size"]:
            return f"{name} has {file.stat().st_size} bytes, expected {stated['size']}"
        if (found := file_digest(file)) != stated["digest"]:
            return f"{name} has digest {found}, expected {stated['digest']}"
    return None
