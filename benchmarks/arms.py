"""The arms of a benchmark: each in a process of its own, so that they take turns and share nothing."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any


def start_arm(serve: Callable[..., None], *arguments: Any) -> tuple[Connection, BaseProcess]:
    """Starts `serve(*arguments, pipe)` in a new process; returns the other end of its pipe, and the process."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=serve, args=(*arguments, far_end), daemon=True)
    process.start()
    return pipe, process
