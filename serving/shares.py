"""Who may have how much: of what is limited in all, one address never gets everything."""

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar


Item = TypeVar("Item")


class Full(Exception):
    """What was asked for is not free now."""


class Shares:
    """
    An amount, limited in all and for each address. For one thread.

    Args:
        total (`int`): In all.
        per_address (`int`): For each.
    """

    def __init__(self, total: int, per_address: int):
        self.total, self.per_address = total, per_address
        self.taken = 0
        self._by_address: Counter[str] = Counter()

    def of(self, address: str) -> int:
        """Returns what an address has."""
        return self._by_address[address]

    def take(self, address: str, amount: int = 1) -> None:
        """Takes so much for an address; [`Full`] where that is too much."""
        if self.taken + amount > self.total or self._by_address[address] + amount > self.per_address:
            raise Full
        self.taken += amount
        self._by_address[address] += amount

    def give(self, address: str, amount: int = 1) -> None:
        """Gives back what was taken."""
        self.taken -= amount
        self._by_address[address] -= amount
        if not self._by_address[address]:
            del self._by_address[address]


class FairQueue(Generic[Item]):
    """
    A queue for several threads in which addresses take turns, however much one of them asks for.

    Args:
        at_once (`int`, *optional*): So much of one address is out at a time, until [`done`]; no limit where left out.
    """

    def __init__(self, at_once: int | None = None):
        self.at_once = at_once
        self._waiting: OrderedDict[str, deque[Item]] = OrderedDict()
        self._out: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def push(self, address: str, item: Item) -> None:
        """Puts an item behind those of its address."""
        with self._changed:
            self._waiting.setdefault(address, deque()).append(item)
            self._changed.notify()

    def pop(self, timeout: float | None = None, fits: Callable[[Item], bool] | None = None) -> tuple[str, Item] | None:
        """
        Returns the next item and its address; None when the queue is closed, or none came in time.

        Args:
            timeout (`float`, *optional*): Seconds to wait; for ever where left out.
            fits (`Callable`, *optional*): Whether the first item of an address is wanted.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._closed:
                found = self._next(fits)
                if found is not None:
                    return found
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def done(self, address: str) -> None:
        """Says that an item of an address is dealt with."""
        with self._changed:
            self._out[address] -= 1
            if not self._out[address]:
                del self._out[address]
            self._changed.notify()

    def close(self) -> list[Item]:
        """Lets nobody wait any more; returns what was left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return [item for items in self._waiting.values() for item in items]

    def _next(self, fits: Callable[[Item], bool] | None) -> tuple[str, Item] | None:
        for address, items in self._waiting.items():
            if self.at_once is not None and self._out[address] >= self.at_once:
                continue
            if fits is not None and not fits(items[0]):
                continue
            item = items.popleft()
            del self._waiting[address]
            if items:  # behind all others
                self._waiting[address] = items
            self._out[address] += 1
            return address, item
        return None


class FairThreads:
    """
    Threads that do what is asked of them, addresses by turns.

    Args:
        n_threads (`int`): How many.
        at_once (`int`, *optional*): So many things of one address are done at a time; no limit where left out.
    """

    def __init__(self, n_threads: int, at_once: int | None = None):
        self._waiting: FairQueue[tuple[Future, Callable[[], Any]]] = FairQueue(at_once)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(n_threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, address: str, step: Callable[[], Any]) -> Future:
        """Returns the future of what `step` returns or raises."""
        result: Future = Future()
        self._waiting.push(address, (result, step))
        return result

    def stop(self) -> None:
        """Ends the threads after what they do now; what waits is cancelled."""
        for result, _ in self._waiting.close():
            result.cancel()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (found := self._waiting.pop()) is not None:
            address, (result, step) = found
            if result.set_running_or_notify_cancel():
                try:
                    result.set_result(step())
                # Whoever waits for it gets it; the thread goes on.
                except BaseException as error:
                    result.set_exception(error)
            self._waiting.done(address)


__all__ = ["FairQueue", "FairThreads", "Full", "Shares"]
