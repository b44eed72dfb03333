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


LOOK_S = 0.005  # how often a thread that waits for more ECGs looks whether any are being read


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

    Addresses take turns with each ECG, so that a request of one is not kept waiting by one of a hundred. One ECG alone
    takes longer than one of eight, so that a thread waits a little for those that are being read; where none is,
    it does not wait.

    Args:
        handler ([`EndpointHandler`]): Its `network` gives an ECG the same bits alone and among others.
        settings ([`Settings`]): How many threads, and ECGs at once.
        on_batch (`Callable`): Called with the number of ECGs of each batch.
        coming (`Callable`): Returns how many more may come soon: requests that are being read.
    """

    def __init__(
        self, handler: Any, settings: Settings, on_batch: Callable[[int], None], coming: Callable[[], int]
    ) -> None:
        self.handler, self.settings, self.on_batch, self.coming = handler, settings, on_batch, coming
        self.waiting: FairQueue[ToCompute] = FairQueue()
        self._collecting = threading.Lock()  # two threads that collect would each get half of a batch
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
        while (batch := self._batch()) is not None:
            taken = [ecg for _, ecg in batch if ecg.result.set_running_or_notify_cancel()]
            if taken:
                self._compute(taken)
            for address, _ in batch:
                self.waiting.done(address)

    def _batch(self) -> list[tuple[str, ToCompute]] | None:
        """An ECG and others that want the same: a thread's part of what waits and comes; None at the end."""
        with self._collecting:
            first = self.waiting.pop()
            if first is None:
                return None
            batch, output = [first], first[1].output
            until = time.monotonic() + self.settings.batch_wait_s
            while len(batch) < self._wanted(len(batch)):
                left = until - time.monotonic() if self.coming() else 0.0
                found = self.waiting.pop(min(max(left, 0.0), LOOK_S), lambda ecg: ecg.output == output)
                if found is not None:
                    batch.append(found)
                elif left <= 0:
                    break
            return batch

    def _wanted(self, taken: int) -> int:
        """How many ECGs make a batch: a thread's part of all that are at hand or being read."""
        at_hand = taken + len(self.waiting) + self.coming()
        return min(self.settings.max_batch, math.ceil(at_hand / self.settings.workers))

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
