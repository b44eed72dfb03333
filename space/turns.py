"""Whose turn it is: one worker runs what visitors ask for, one after the other, and passes over who has left."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any


LOOK_S = 0.05  # how often the worker looks whether somebody whose turn it is has come
RETRY_S = 1.0  # before somebody who has many things to ask for tries again
MAX_STUCK = 2  # threads that run what was given up; with more of them nothing new begins


class BusyError(ValueError):
    """There is no place to wait, with the sentence that says so."""


@dataclass(eq=False)
class _Job:
    address: str
    session: str | None
    run: Callable[[], Any]
    done: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)


class Turns:
    """
    A queue with a bound, in which addresses take turns and the jobs of one address keep their order.

    A job is run only while its session listens for the answer: who joins and leaves delays nobody.

    Args:
        timeout_s (`float`, defaults to 60): What runs longer is given up, and another thread goes on.
        max_waiting (`int`), max_of_address (`int`), max_of_session (`int`): Jobs that wait: all, and of one.
        grace_s (`float`): How long after asking a session may begin to listen.
    """

    def __init__(
        self,
        timeout_s: float = 60.0,
        max_waiting: int = 40,
        max_of_address: int = 30,
        max_of_session: int = 3,
        grace_s: float = 10.0,
    ) -> None:
        self.timeout_s, self.grace_s = timeout_s, grace_s
        self.max_waiting, self.max_of_address, self.max_of_session = max_waiting, max_of_address, max_of_session
        self.listening: Counter[str] = Counter()  # open connections by session, kept by `Gate`
        self._waiting: dict[str, deque[_Job]] = {}  # by address, whose turn is next first
        self._worker = ThreadPoolExecutor(1, "ecgclip")
        self._stuck: list[asyncio.Future[Any]] = []
        self._serving: asyncio.Task[None] | None = None

    async def take(self, address: str, session: str | None, function: Callable[..., Any], *args: Any) -> Any:
        """
        Returns `function(*args)`, run by the worker when it is this job's turn.

        Args:
            address (`str`), session (`str`, *optional*): Who asks. Without a session the caller waits for the answer.
            function (`Callable`), args: What to run.

        Raises:
            [`BusyError`]: where too many wait already.
            `TimeoutError`: where it runs longer than `timeout_s`.
        """
        self._admit(address, session)
        job = _Job(address, session, lambda: function(*args), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(address, deque()).append(job)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await job.done

    async def take_each(
        self, address: str, session: str, function: Callable[[Any], Any], items: Iterable[Any], within_s: float
    ) -> AsyncIterator[Any]:
        """
        Yields what `function` returns of each item, or the error that it ended with: a turn for each, so that others
        come between, and where no place to wait is free, later.

        Args:
            address (`str`), session (`str`): Who asks.
            function (`Callable`), items: What to run, and on what.
            within_s (`float`): For all; what has not begun by then ends with a `TimeoutError`.

        Raises:
            [`BusyError`]: where nobody listens any more.
        """
        until = time.monotonic() + within_s
        for item in items:
            yield await self._result_of(address, session, function, item, until)

    async def _result_of(
        self, address: str, session: str, function: Callable[[Any], Any], item: Any, until: float
    ) -> Any:
        """What the function returns or the error that it ends with, as soon as there is a place to wait."""
        while time.monotonic() <= until:
            try:
                return await self.take(address, session, function, item)
            except BusyError:
                if not self.listening[session]:
                    raise
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # whoever asked says what becomes of it
                return error
        return TimeoutError("not begun, since all together took too long: send fewer at once")

    def _admit(self, address: str, session: str | None) -> None:
        waiting = [job for jobs in self._waiting.values() for job in jobs]
        if session is not None and sum(job.session == session for job in waiting) >= self.max_of_session:
            raise BusyError("your last clicks are still being worked on: wait for their result")
        of_one = len(self._waiting.get(address, ()))
        if len(waiting) >= self.max_waiting or of_one >= self.max_of_address:
            raise BusyError(f"{len(waiting)} others are waiting for their turn: try again in a minute")

    async def _serve(self) -> None:
        while self._waiting:
            job = self._next()
            if job is None:
                await asyncio.sleep(LOOK_S)
            else:
                await self._run(job)

    def _next(self) -> _Job | None:
        """The job whose turn it is, of those who are here; forgets those who have left."""
        for address in list(self._waiting):
            jobs = self._waiting.pop(address)
            ready = next((job for job in jobs if self._is_here(job)), None)
            too_late = time.monotonic() - self.grace_s
            stay = deque(job for job in jobs if job is not ready and (self._is_here(job) or job.since > too_late))
            for job in jobs:
                if job is not ready and job not in stay and not job.done.done():
                    job.done.set_exception(BusyError("nobody waits for this any more"))
            if stay:
                self._waiting[address] = stay  # behind the other addresses
            if ready is not None:
                return ready
        return None

    def _is_here(self, job: _Job) -> bool:
        return not job.done.done() and (job.session is None or self.listening[job.session] > 0)

    async def _run(self, job: _Job) -> None:
        self._stuck = [future for future in self._stuck if not future.done()]
        while len(self._stuck) > MAX_STUCK:
            await asyncio.wait(self._stuck, return_when=asyncio.FIRST_COMPLETED)
            self._stuck = [future for future in self._stuck if not future.done()]
        running = asyncio.get_running_loop().run_in_executor(self._worker, job.run)
        await asyncio.wait([running], timeout=self.timeout_s)
        if job.done.done():  # its caller was cancelled meanwhile
            running.add_done_callback(lambda future: future.cancelled() or future.exception())
            return
        if not running.done():
            # A thread cannot be stopped: it ends by itself, and a new one serves the others.
            running.add_done_callback(lambda future: future.cancelled() or future.exception())
            self._stuck.append(running)
            self._worker = ThreadPoolExecutor(1, "ecgclip")
            message = f"this took longer than {self.timeout_s:g} s and was given up: try a shorter recording"
            job.done.set_exception(TimeoutError(message))
        elif (error := running.exception()) is not None:
            job.done.set_exception(error)
        else:
            job.done.set_result(running.result())


__all__ = ["BusyError", "Turns"]
