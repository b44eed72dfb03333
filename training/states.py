"""
What a run knows between two steps, as safetensors and JSON: no pickle is written, and none is read.

A pickled state is a program that runs when it is loaded; a checkpoint may come from anywhere.
"""

import json
import random
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

from common.files import write_json
from training.averaging import WeightAverage


NUMBERS = "state.json"  # all that is no tensor
WEIGHTS, OPTIMIZER, AVERAGE = "model.safetensors", "optimizer.safetensors", "average.safetensors"

Numbers = dict[str, Any]  # values that JSON has
Tensors = dict[str, torch.Tensor]


class Plain(Protocol):
    """A state of plain numbers."""

    def state_dict(self) -> Numbers:
        """Returns values that JSON has."""

    def load_state_dict(self, state: Numbers) -> None:
        """Takes over the values of `state_dict`."""


class RunState:
    """
    All that a step changes, and that the next one needs.

    Args:
        accelerator (`Accelerator`): Its scaler, if there is one, is part of the state.
        module (`nn.Module`): What is trained, prepared.
        optimizer (`torch.optim.Optimizer`): Prepared.
        average (`WeightAverage`, *optional*): Of the weights.
        plain (`dict[str, Plain]`): What has numbers alone, by name.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: Any,
        average: WeightAverage | None,
        plain: dict[str, Plain],
    ):
        self.accelerator, self.model = accelerator, accelerator.unwrap_model(module)
        self.optimizer, self.average = optimizer, average
        self.plain = plain | ({"scaler": accelerator.scaler} if accelerator.scaler is not None else {})

    def write(self, folder: Path, record: Numbers) -> None:
        """
        Writes it into a folder; called by every process, each of which adds its random numbers.

        Args:
            folder (`Path`): Of the checkpoint.
            record (`dict`): What [`read_numbers`] shall find besides.
        """
        save_file(random_state(self.accelerator.device), self._random(folder))
        if not self.accelerator.is_main_process:
            return
        save_model(self.model, str(folder / WEIGHTS))
        tensors, groups = optimizer_state(self.optimizer)
        save_file(tensors, folder / OPTIMIZER)
        numbers = {name: one.state_dict() for name, one in self.plain.items()} | {"optimizer": groups} | record
        if self.average is not None:
            averaged = self.average.state_dict()
            # Its tensors are views of one row, which safetensors takes for shared ones.
            save_file({name: tensor.clone() for name, tensor in averaged["average"].items()}, folder / AVERAGE)
            numbers["average"] = {"n_updates": averaged["n_updates"]}
        write_json(folder / NUMBERS, numbers)

    def read(self, folder: Path) -> None:
        """
        Takes over what [`RunState.write`] wrote; called by every process.

        Raises:
            `ValueError`, `RuntimeError`: where it belongs to another model.
        """
        numbers = read_numbers(folder)
        load_model(self.model, folder / WEIGHTS)
        set_optimizer_state(self.optimizer, load_file(folder / OPTIMIZER), numbers["optimizer"])
        for name, one in self.plain.items():
            one.load_state_dict(numbers[name])
        if self.average is not None:
            self.average.load_state_dict({**numbers["average"], "average": load_file(folder / AVERAGE)})
        set_random_state(load_file(self._random(folder)), self.accelerator.device)

    def _random(self, folder: Path) -> Path:
        return folder / f"random_{self.accelerator.process_index}.safetensors"


def read_numbers(folder: Path) -> Numbers:
    """Returns the numbers of a checkpoint."""
    return json.loads((folder / NUMBERS).read_text(encoding="utf-8"))


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, list[Numbers]]:
    """Returns an optimizer's tensors, named `parameter.what` by the number of the parameter, and its groups."""
    state = optimizer.state_dict()
    tensors = {
        f"{number}.{what}": tensor.contiguous()
        for number, of_parameter in state["state"].items()
        for what, tensor in of_parameter.items()
    }
    return tensors, state["param_groups"]


def set_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Tensors, groups: list[Numbers]) -> None:
    """Puts what [`optimizer_state`] returned into an optimizer of the same parameters."""
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        number, what = name.split(".", 1)
        state.setdefault(int(number), {})[what] = tensor
    # JSON has no tuples.
    groups = [{name: tuple(v) if name == "betas" else v for name, v in group.items()} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state(device: torch.device) -> Tensors:
    """Returns the state of all that draws in this process: Python, numpy, torch, and torch on its GPU."""
    _, integers, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    found = {
        "python": torch.tensor(integers, dtype=torch.int64),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*numpy["state"]["key"].tolist(), numpy["state"]["pos"], numpy["has_gauss"]]),
        "numpy_gauss": torch.tensor(numpy["gauss"], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_random_state(state: Tensors, device: torch.device) -> None:
    """Puts back what [`random_state`] returned; the GPU's only where it was saved on one."""
    gauss = state["python_gauss"].tolist()
    random.setstate((random.getstate()[0], tuple(state["python"].tolist()), gauss[0] if gauss else None))
    *key, place, has_gauss = state["numpy"].tolist()
    numpy = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": place}}
    np.random.set_state(numpy | {"has_gauss": has_gauss, "gauss": state["numpy_gauss"].item()})
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
