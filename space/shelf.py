"""What the page remembers of its visitors: one result each, a few minutes, and no more than a share of memory."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from space.analysis import Analysis


@dataclass
class _Kept:
    analysis: Analysis
    until: float


class Shelf:
    """
    Results under keys that nobody can guess; the oldest go first, where there are too many.

    Args:
        max_results (`int`), max_bytes (`int`): Of all visitors together; see `Analysis.n_bytes`.
        keep_s (`float`): How long after its last use a result is kept.
        clock (`Callable`): For tests.
    """

    def __init__(
        self, max_results: int, max_bytes: int, keep_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_results, self.max_bytes, self.keep_s = max_results, max_bytes, keep_s
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()

    def put(self, analysis: Analysis, key: str | None = None) -> str:
        """Keeps a result, in place of what lies under `key`, and returns its key."""
        key = key or secrets.token_urlsafe(16)
        with self._lock:
            self._kept[key] = _Kept(analysis, self._clock() + self.keep_s)
            self._kept.move_to_end(key)
            self._tidy()
        return key

    def get(self, key: str | None) -> Analysis:
        """
        Returns what lies under a key.

        Raises:
            `ValueError`: where it is not kept any more, or never was.
        """
        with self._lock:
            self._tidy()
            kept = self._kept.get(key or "")
            if kept is None:
                raise ValueError(
                    f"this result is no longer kept (results go after {self.keep_s / 60:g} minutes, earlier where "
                    "many people use the page): upload the ECG again"
                )
            kept.until = self._clock() + self.keep_s
            self._kept.move_to_end(key or "")
            return kept.analysis

    def drop(self, key: str | None) -> None:
        """Forgets what lies under a key, if anything does."""
        with self._lock:
            self._kept.pop(key or "", None)

    def tidy(self) -> None:
        """Forgets what is too old."""
        with self._lock:
            self._tidy()

    @property
    def n_bytes(self) -> int:
        """Memory of all results."""
        with self._lock:
            return self._held()

    def __len__(self) -> int:
        return len(self._kept)

    def _held(self) -> int:
        return sum(kept.analysis.n_bytes for kept in self._kept.values())

    def _tidy(self) -> None:
        now = self._clock()
        for key in [key for key, kept in self._kept.items() if kept.until <= now]:
            del self._kept[key]
        while len(self._kept) > self.max_results or (self._held() > self.max_bytes and len(self._kept) > 1):
            self._kept.popitem(last=False)


__all__ = ["Shelf"]
