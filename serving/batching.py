"""ECGs of several requests through the network together."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from serving.settings import Settings
from serving.shares import FairQueue


@dataclass
class ToCompute:
    """
    An ECG that waits for the network.

    Args:
        output (`str`): What the network is asked for.
        values (`np.ndarray` of shape `(1, leads, samples)`): float32.
        result (`Future`): Of a tensor `(labels or width,)`.
    """

    output: str
    values: np.ndarray
    result: Future = field(default_factory=Future)


class Batches:
    """
    Computes what waits, in several threads of one core each: several threads for one ECG would wait for each other
    whenever another program has a core.

    Addresses take turns with each ECG, so that a request of one is not kept waiting by one of a hundred.

    Args:
        handler ([`EndpointHandler`]): Its `network` gives an ECG the same bits alone and among others.
        settings ([`Settings`]): How many threads, and ECGs at once.
        on_batch (`Callable`): Called with the number of ECGs of each batch.
    """

    def __init__(self, handler: Any, settings: Settings, on_batch: Callable[[int], None]):
        self.handler, self.settings, self.on_batch = handler, settings, on_batch
        self.waiting: FairQueue[ToCompute] = FairQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(settings.workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, address: str, output: str, values: np.ndarray) -> Future:
        """Returns the future of an ECG's output."""
        ecg = ToCompute(output, values)
        self.waiting.push(address, ecg)
        return ecg.result

    def stop(self) -> None:
        """Ends the threads after what they compute now; what waits is cancelled."""
        for ecg in self.waiting.close():
            ecg.result.cancel()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        torch.set_num_threads(1)
        while (first := self.waiting.pop()) is not None:
            batch = self._batch(first)
            taken = [ecg for _, ecg in batch if ecg.result.set_running_or_notify_cancel()]
            if taken:
                self._compute(taken)
            for address, _ in batch:
                self.waiting.done(address)

    def _batch(self, first: tuple[str, ToCompute]) -> list[tuple[str, ToCompute]]:
        """An ECG and others that want the same: a thread's part of what waits, or comes within some milliseconds."""
        output = first[1].output
        time.sleep(self.settings.batch_wait_s)
        size = min(self.settings.max_batch, math.ceil((1 + len(self.waiting)) / self.settings.workers))
        batch = [first]
        while len(batch) < size and (found := self.waiting.pop(0, lambda ecg: ecg.output == output)) is not None:
            batch.append(found)
        return batch

    def _compute(self, ecgs: list[ToCompute]) -> None:
        try:
            rows = self.handler.network(ecgs[0].output, np.concatenate([ecg.values for ecg in ecgs]))
        # Whoever waits for it says that it failed; the thread goes on for those that follow.
        except Exception as error:
            for ecg in ecgs:
                ecg.result.set_exception(error)
            return
        self.on_batch(len(ecgs))
        for ecg, row in zip(ecgs, rows, strict=True):
            ecg.result.set_result(row)


__all__ = ["Batches"]
