"""Several ECGs through a network at once, each with the very bits that it has alone.

A processor's kernels are chosen by the size of their input, so that an ECG's logits differ in their last bits with how
many others go through the network beside it. Who shares a server with others should not get another answer for that.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from .block_convolution_ecgclip import convolve_in_blocks
from .layers_ecgclip import PACKED_CONVOLUTION


# Of parts: on two cores eight get all but 4 % of what 32 get; and every size below, so that a batch that did not fill
# is not taken apart, down to single ECGs.
SIZES = tuple(range(8, 1, -1))
SIZES_OF_GPU = (32, 16, 8, 4, 2)
# What adds up many products, in an order that may depend on how many rows there are; all else has one for each value.
_PRODUCTS = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm)
_SUMS = frozenset((F.linear, torch.conv1d, torch.conv2d, PACKED_CONVOLUTION, convolve_in_blocks, *_PRODUCTS))


class _RowByRow(TorchFunctionMode):
    """Computes some of a network's sums one ECG at a time: `rows` holds which, counted in the order of calls."""

    def __init__(self, rows: set[int]):
        self.rows, self.calls = rows, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in _SUMS:
            return func(*args, **kwargs)
        self.calls += 1
        return self._sum(func, args, kwargs, self.calls)

    def _sum(self, func: Any, args: Any, kwargs: Any, call: int) -> Any:
        return _by_rows(func, args, kwargs) if call in self.rows else func(*args, **kwargs)


class _Trial(_RowByRow):
    """Finds the sums of a network whose bits depend on the number of ECGs, and goes on with those of one alone."""

    def __init__(self, size: int):
        super().__init__(set())
        self.size = size

    def _sum(self, func: Any, args: Any, kwargs: Any, call: int) -> Any:
        result = func(*args, **kwargs)
        if args[0].ndim < 2 or len(args[0]) != self.size:
            return result
        alone = _by_rows(func, args, kwargs)
        if not torch.equal(result, alone):
            self.rows.add(call)
        return alone


def _by_rows(func: Any, args: Any, kwargs: Any) -> torch.Tensor:
    return torch.cat([func(row, *args[1:], **kwargs) for row in args[0].split(1)])


class SameBits:
    """
    A network that gives each ECG of a batch the bits that it gets alone.

    Its first call with several ECGs finds out, on noise, which sums have to be computed one ECG at a time: in the
    project's networks a few small ones. Sizes at which bits differ all the same are not used.

    Args:
        network (`Callable`): `input_values` (ECGs, leads, samples) to a tensor (ECGs, ...).
        sizes (`tuple[int]`): Of the parts of a batch, the largest first.
    """

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], sizes: tuple[int, ...] = SIZES):
        self.network = network
        self.sizes = sizes
        self._rows: dict[int, set[int]] | None = None
        self._one_at_a_time = threading.Lock()

    def __call__(self, input_values: torch.Tensor) -> torch.Tensor:
        """
        Returns the network's output, (ECGs, ...).

        Args:
            input_values (`torch.Tensor` of shape `(ECGs, leads, samples)`): float32.
        """
        if len(input_values) == 1:
            return self.network(input_values)
        rows = self.settle(input_values[:1])
        parts, start = [], 0
        while start < len(input_values):
            size = next((size for size in self.sizes if size in rows and size <= len(input_values) - start), 1)
            with _RowByRow(rows.get(size, set())):
                parts.append(self.network(input_values[start : start + size]))
            start += size
        return torch.cat(parts)

    def settle(self, like: torch.Tensor) -> dict[int, set[int]]:
        """
        Returns, for each size that can be used, which sums are computed one ECG at a time.

        Args:
            like (`torch.Tensor` of shape `(1, leads, samples)`): What inputs are like; its values do not matter.
        """
        with self._one_at_a_time:
            if self._rows is None:
                self._rows = self._found(like)
            return self._rows

    def _found(self, like: torch.Tensor) -> dict[int, set[int]]:
        noise = torch.randn(max(self.sizes), *like.shape[1:], generator=torch.Generator().manual_seed(0))
        alone = [self.network(one) for one in noise.to(like).split(1)]
        found = {}
        for size in self.sizes:
            some = noise[:size].to(like)
            with _Trial(size) as trial:
                self.network(some)
            with _RowByRow(trial.rows):
                together = self.network(some)
            if torch.equal(together, torch.cat(alone[:size])):
                found[size] = trial.rows
        return found


__all__ = ["SIZES", "SIZES_OF_GPU", "SameBits"]
