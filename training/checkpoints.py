"""Checkpoints that are whole or not there: written aside, listed with sizes, renamed, and checked when read."""

import json
import re
import shutil
from pathlib import Path

import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from common.files import write_json
from common.writing import written_aside


logger = get_logger(__name__)

MANIFEST = "complete.json"  # written last: name and size of every other file
_NAME = re.compile(r"step-(\d+)")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies; saving and resuming share this name."""
    return folder / f"step-{step:08d}"


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, limit: int) -> Path:
    """
    Saves all that a run needs to go on, and removes older checkpoints. Called by every process.

    Args:
        accelerator (`Accelerator`): Holds model, optimizer, and what was registered for checkpointing.
        folder (`Path`): Of all checkpoints of the run.
        step (`int`): Optimizer steps done.
        limit (`int`): How many to keep.

    Returns:
        `Path`: The checkpoint's folder.
    """
    target = checkpoint_path(folder, step)
    aside = target.with_name(f".{target.name}.incomplete")
    if accelerator.is_main_process:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(aside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        sizes = {
            str(file.relative_to(aside)): file.stat().st_size for file in sorted(aside.rglob("*")) if file.is_file()
        }
        write_json(aside / MANIFEST, {"step": step, "num_processes": accelerator.num_processes, "files": sizes})
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
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
        `ValueError`: where it is torn.
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


def check_num_processes(path: Path, num_processes: int) -> None:
    """Raises `ValueError` where a checkpoint was made by another number of processes: batches would differ."""
    found = json.loads((path / MANIFEST).read_text())["num_processes"]
    if found != num_processes:
        raise ValueError(f"{path} was saved by {found} processes: expected the same number, found {num_processes}")


class BestWeights:
    """
    The weights of the best validation so far, on disk.

    Args:
        accelerator (`Accelerator`): Its main process writes.
        module (`nn.Module`): What is trained, prepared.
        path (`Path`): A safetensors file.
        frozen_prefix (`str`, *optional*): Weights under this name never change and are not saved.
    """

    def __init__(self, accelerator: Accelerator, module: nn.Module, path: Path, frozen_prefix: str | None = None):
        self.accelerator, self.path, self.frozen_prefix = accelerator, path, frozen_prefix
        self.model = accelerator.unwrap_model(module)

    def _state(self) -> dict[str, torch.Tensor]:
        state = self.model.state_dict()
        return {k: v for k, v in state.items() if self.frozen_prefix is None or not k.startswith(self.frozen_prefix)}

    def save(self) -> None:
        """Writes the present weights in place of the earlier ones."""
        if self.accelerator.is_main_process:
            with written_aside(self.path) as aside:
                safetensors.torch.save_file({k: v.contiguous() for k, v in self._state().items()}, aside)

    def load(self) -> None:
        """Puts the saved weights into the module, in every process."""
        self.accelerator.wait_for_everyone()
        saved = safetensors.torch.load_file(self.path)
        unlike = set(saved) ^ set(self._state())
        if unlike:
            raise ValueError(f"{self.path} does not fit the model: {sorted(unlike)[:3]} are in one of them alone")
        self.model.load_state_dict(saved, strict=False)


def _by_step(folder: Path) -> list[Path]:
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*") if path.is_dir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in named if match)]


def _fault(path: Path) -> str | None:
    """What keeps a folder from being a whole checkpoint, or None."""
    manifest = path / MANIFEST
    if not manifest.is_file():
        return f"it has no {MANIFEST}"
    try:
        expected = json.loads(manifest.read_text())["files"]
    except (json.JSONDecodeError, KeyError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    for name, size in expected.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, expected {size}"
    return None
