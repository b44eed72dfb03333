"""A graph without a GPU: operations are recorded as torch dispatches them, and run again without the step's Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.step import StepResult


# What needs a value of a tensor: a GPU would have to be waited for, which no captured step may do.
WAITING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique")


def _tensors(*trees: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, torch.Tensor)]


class _Recorder(TorchDispatchMode):
    def __init__(self, calls: list[tuple[Any, Any, Any, Any]]):
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in WAITING:
            raise RuntimeError(f"a captured step may not wait for the device: {func}")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class RecordedGraph:
    """
    A [`GraphBackend`](training/graph.py) for the CPU that behaves as a CUDA graph does: a replay runs no Python of the
    step, every number that it was given is that of the capture, and all tensors have the addresses of then.
    """

    warm_up_steps = 2

    def capture(self, run: Callable[[], StepResult]) -> tuple[Callable[[], None], StepResult]:
        for _ in range(self.warm_up_steps):
            run()
        calls: list[tuple[Any, Any, Any, Any]] = []
        # What torch.compile made runs in the warm-up alone: a recording needs the operations themselves.
        with torch.compiler.set_stance("force_eager"), _Recorder(calls):
            results = run()

        def replay() -> None:
            with torch._C._AutoDispatchBelowAutograd():
                for func, args, kwargs, result in calls:
                    given = {tensor.untyped_storage()._cdata for tensor in _tensors(args, kwargs)}
                    for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
                        if old.untyped_storage()._cdata not in given:  # neither a view nor changed in place
                            old.copy_(new)

        return replay, results
