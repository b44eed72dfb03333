"""A running average of the weights (EMA), which often validates better than the last step's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """
    Exponential moving average of what is trained, and of BatchNorm's statistics that belong to it.

    The first steps are averaged faster, with decay (1 + n) / (10 + n), or the random start would linger.

    Args:
        model (`nn.Module`): Unwrapped, on its device. Frozen weights are left out.
        decay (`float`): Share of the old average that each step keeps, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.n_updates = decay, 0
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        statistics = {name: b for name, b in model.named_buffers() if b.is_floating_point()}
        self._live = {name: tensor.detach() for name, tensor in {**trained, **statistics}.items()}
        # All in one row, so that an update is one operation whose weight is a tensor: a captured step can replay it.
        self._row = torch.cat([tensor.flatten() for tensor in self._live.values()])
        self._taken = torch.empty_like(self._row)
        self._average = self._parts_of(self._row)
        self._parts_taken = list(self._parts_of(self._taken).values())
        self._share = torch.zeros((), device=self._row.device)  # of the present weights in the next average

    def _parts_of(self, row: torch.Tensor) -> dict[str, torch.Tensor]:
        """Views of a row, in the shapes of the weights."""
        parts = row.split([tensor.numel() for tensor in self._live.values()])
        return {name: part.view(self._live[name].shape) for name, part in zip(self._live, parts, strict=True)}

    def advance(self) -> None:
        """Counts the coming update; called before each optimizer step, on the processor."""
        self.n_updates += 1
        self._share.fill_(1 - min(self.decay, (1 + self.n_updates) / (10 + self.n_updates)))

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present weights; called after each optimizer step, on the device alone."""
        torch._foreach_copy_(self._parts_taken, list(self._live.values()))
        self._row.lerp_(self._taken, self._share)

    def tensors(self) -> list[torch.Tensor]:
        """Returns what an update changes."""
        return [self._row]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights, behind it its own again, bit for bit."""
        own = {name: tensor.detach().clone() for name, tensor in self._live.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            self._live[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"n_updates": self.n_updates, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Takes over `state_dict` of an earlier run.

        Raises:
            `ValueError`: where it belongs to another model.
        """
        unlike = set(state["average"]) ^ set(self._average)
        if unlike:
            raise ValueError(f"the averaged weights do not fit the model: {sorted(unlike)[:3]} are in one alone")
        self.n_updates = state["n_updates"]
        for name, tensor in state["average"].items():
            self._average[name].copy_(tensor)
