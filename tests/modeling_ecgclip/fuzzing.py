"""What the fuzz tests share: a clock for each case, mutations, and what counts as an answer."""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


CASE_LIMIT_S = 5.0
# Counts and sizes that no file of an ECG has, or only the largest.
LARGE = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFF, 0x7FFF, 100_000_000, 6_000_001)


class TooSlowError(BaseException):
    """A case that hangs; no `except Exception` on the way swallows it."""


@contextlib.contextmanager
def time_limit(name: str) -> Iterator[None]:
    """Fails a case that takes longer than `CASE_LIMIT_S`, also where it would never end."""

    def stop(*_: Any) -> None:
        raise TooSlowError(f"{name} took more than {CASE_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, CASE_LIMIT_S)
    started = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # What runs in C is not interrupted.
    if time.monotonic() - started > CASE_LIMIT_S:
        raise TooSlowError(f"{name} took {time.monotonic() - started:.1f} s")


def in_little_memory(work: Callable[[], str], n_bytes: int) -> str:
    """
    What `work` returns in a process of its own that may take so many bytes beyond what this one has; `"MemoryError"`
    where that is too little.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * os.sysconf("SC_PAGE_SIZE") + n_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
            os.write(writing, work().encode()[:4000])
        except BaseException as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Truncates, flips bits, overwrites, doubles or removes a part."""
    data = bytearray(content)
    kind = generator.integers(6)
    # Half of the damage is done where files describe themselves.
    end = len(data) if generator.random() < 0.5 else min(len(data), 512)
    if kind == 0:
        return bytes(data[: generator.integers(len(data))])
    if kind in (1, 2):
        for at in generator.integers(0, end, generator.choice([1, 4, 32])):
            data[at] ^= 1 << int(generator.integers(8))
    elif kind == 3:
        at, length = generator.integers(end), generator.integers(1, 64)
        data[at : at + length] = generator.bytes(length)
    elif kind == 4:
        at, length = generator.integers(end), generator.integers(1, 512)
        data[at:at] = data[at : at + length]
    else:
        at, length = generator.integers(end), generator.integers(1, 512)
        del data[at : at + length]
    return bytes(data)


def damage(content: bytes, generator: np.random.Generator) -> bytes:
    """As [`mutate`], and every fourth time a count or a size that is inflated."""
    if generator.integers(4):
        return mutate(content, generator)
    data = bytearray(content)
    at = int(generator.integers(min(len(data) - 4, 1024 if generator.integers(2) else len(data))))
    large = int(generator.choice(LARGE))
    data[at : at + 4] = large.to_bytes(4, "big" if generator.integers(4) == 0 else "little")
    return bytes(data)


def is_classification(result: Any, n_labels: int) -> bool:
    """Whether a result is what the classification pipeline gives for one ECG."""
    return (
        isinstance(result, list)
        and len(result) == n_labels
        and all(set(label) - {"quality"} == {"label", "score", "positive"} for label in result)
        and all(math.isfinite(label["score"]) and 0 <= label["score"] <= 1 for label in result)
    )
