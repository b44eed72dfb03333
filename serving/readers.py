"""The processes that read requests, and the watch over what each takes: whoever takes too much is replaced."""

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from modeling_ecgclip.prepared_request_ecgclip import PreparedRequest, error_answer
from serving.reading import PREPARED, READY, read_for_ever
from serving.settings import MEBIBYTE, Settings
from serving.shares import FairQueue


logger = logging.getLogger("serve")

LOOK_S = 0.05  # how often a process that reads is looked at
START_S = 120.0  # for a process to start; where nothing is loaded yet it imports torch and transformers
# What processes start from: what takes long to import is imported once, and shared.
PRELOADED = ["serving.reading", "modeling_ecgclip.handler_ecgclip"]


@dataclass
class ToRead:
    """
    A request that waits to be read.

    Args:
        head (`dict`): `content_type` and `query`.
        body (`bytes`): As it was sent.
        result (`Future`): Of a `PreparedRequest`, or of `{"error": ...}`.
    """

    head: dict[str, str]
    body: bytes
    result: Future = field(default_factory=Future)


class ReaderFailed(Exception):
    """A process that ended, or was ended, while it read: the answer to the request, and why."""

    def __init__(self, reason: str, answer: dict[str, Any]):
        super().__init__(reason)
        self.reason, self.answer = reason, answer


class Reader:
    """
    One process that reads requests. For one thread.

    Args:
        folder (`str`): Of the model.
        settings ([`Settings`]): What a request may take.
        temporary (`Path`): Where files of requests may lie.
    """

    def __init__(self, folder: str, settings: Settings, temporary: Path):
        self.settings, self.temporary = settings, temporary
        self._stopping = threading.Lock()
        temporary.mkdir(exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.connection, far_end = context.Pipe()
        _limit_sending(self.connection, settings.reader_wall_s)
        self.process = context.Process(target=read_for_ever, args=(far_end, folder, str(temporary)), daemon=True)
        self.process.start()
        far_end.close()
        self._usage = _Usage(self.process.pid)
        try:
            if not self.connection.poll(START_S) or self.connection.recv_bytes() != READY:
                raise EOFError
        except (EOFError, OSError) as error:
            self.stop()
            raise RuntimeError(f"{folder}: a process that reads requests did not start") from error

    def read(self, request: ToRead) -> PreparedRequest | dict[str, Any]:
        """
        Returns what a process makes of a request.

        Raises:
            [`ReaderFailed`]: when it took too much, or ended by itself; the reader is of no use afterwards.
        """
        began, cpu, memory = time.monotonic(), self._usage.cpu_s(), self._usage.memory_bytes()
        most = self.settings
        try:
            self.connection.send_bytes(json.dumps(request.head).encode())
            self.connection.send_bytes(request.body)
            while not self.connection.poll(LOOK_S):
                if self._usage.cpu_s() - cpu > most.reader_cpu_s:
                    raise self._too_much("time", f"{most.reader_cpu_s:g} s of processor time")
                if time.monotonic() - began > most.reader_wall_s:
                    raise self._too_much("time", f"{most.reader_wall_s:g} s")
                if self._usage.memory_bytes() - memory > most.reader_memory_mb * MEBIBYTE:
                    raise self._too_much("memory", f"{most.reader_memory_mb:g} MiB of memory")
            return unpacked(self.connection.recv_bytes)
        except BlockingIOError as error:  # it did not take the request
            raise self._too_much("time", f"{most.reader_wall_s:g} s") from error
        except (EOFError, OSError) as error:
            message = "the process that read the request ended: is a file in it damaged?"
            raise ReaderFailed("ended", error_answer("InternalError", message)) from error

    def stop(self) -> None:
        """Kills the process, and removes what it was reading; again, or from two threads at once, as well."""
        with self._stopping:  # one end of a connection is not closed by two
            self.process.kill()
            self.process.join()
            self.connection.close()
            self._usage.close()
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _too_much(self, reason: str, found: str) -> ReaderFailed:
        message = f"expected a request that takes at most {found} to read: found one that takes more"
        return ReaderFailed(reason, error_answer("TooLarge", message))


class Readers:
    """
    Reads requests in several processes, addresses by turns; one address never has all of them.

    Args:
        folder (`str`): Of the model.
        settings ([`Settings`]): How many, and what a request may take.
        on_failure (`Callable`): Called with the reason whenever a process is replaced.
    """

    def __init__(self, folder: str, settings: Settings, on_failure: Callable[[str], None]):
        self.folder, self.settings, self.on_failure = folder, settings, on_failure
        self.waiting: FairQueue[ToRead] = FairQueue(max(1, settings.readers - 1))
        self._temporary = tempfile.TemporaryDirectory(prefix="ecg-serve-", ignore_cleanup_errors=True)
        self._readers: list[Reader | None] = [self._start(number) for number in range(settings.readers)]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(settings.readers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, address: str, request: ToRead) -> Future:
        """Returns the future of a request, which waits until a process is free."""
        self.waiting.push(address, request)
        return request.result

    def stop(self) -> None:
        """Ends all processes; what still waits is cancelled."""
        for request in self.waiting.close():
            request.result.cancel()
        for thread in self._threads:
            thread.join(1.0)
        for reader in self._readers:
            if reader is not None:
                reader.stop()
        for thread in self._threads:
            thread.join(5.0)
        self._temporary.cleanup()

    def _start(self, number: int) -> Reader:
        return Reader(self.folder, self.settings, Path(self._temporary.name, str(number)))

    def _work(self, number: int) -> None:
        while (next_one := self.waiting.pop()) is not None:
            address, request = next_one
            if request.result.set_running_or_notify_cancel():
                request.result.set_result(self._read(number, request))
            self.waiting.done(address)
            if self._readers[number] is None:  # before somebody waits for it
                with contextlib.suppress(RuntimeError, OSError):
                    self._readers[number] = self._start(number)

    def _read(self, number: int, request: ToRead) -> PreparedRequest | dict[str, Any]:
        try:
            reader = self._readers[number] = self._readers[number] or self._start(number)
            return reader.read(request)
        except ReaderFailed as error:
            logger.warning("a process that read a request is replaced: %s", error.reason)
            self.on_failure(error.reason)
            reader.stop()
            self._readers[number] = None
            return error.answer
        # Whatever else happens, the thread goes on for the requests that follow.
        except Exception as error:
            logger.error("reading failed: %s", type(error).__name__)
            return error_answer("InternalError", "the request could not be read; the server's log says why")


def unpacked(receive: Callable[[], bytes]) -> PreparedRequest | dict[str, Any]:
    """
    Returns what `serving.reading.packed` turned into bytes.

    Args:
        receive (`Callable`): Gives one part after the other.
    """
    first = receive()
    fields = json.loads(first[1:])
    if not first.startswith(PREPARED):
        return fields
    ecgs = []
    for _ in range(fields.pop("n_ecgs")):
        part = json.loads(receive())
        values = {} if part["shape"] is None else {"input_values": np.frombuffer(receive(), np.float32)}
        ecgs.append(part["about"] | {name: value.reshape(part["shape"]) for name, value in values.items()})
    return PreparedRequest(**fields, ecgs=ecgs)


def _limit_sending(connection: Connection, seconds: float) -> None:
    """Lets sending fail with `BlockingIOError` after so long: a process that hangs would block whoever sends much."""
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    with socket.socket(fileno=os.dup(connection.fileno())) as end:  # a second handle of the same socket
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", whole, part))


class _Usage:
    """
    What a process takes, as the system says; zeros where it does not.

    Its files stay open: opening them anew for each request took a quarter of what a request costs the server here.
    """

    def __init__(self, pid: int | None):
        self._files: dict[str, FileIO] = {}
        for name in ("stat", "statm"):
            with contextlib.suppress(OSError):
                self._files[name] = FileIO(f"/proc/{pid}/{name}")

    def cpu_s(self) -> float:
        """Seconds of processor time that it had."""
        # The name of the command, in brackets, may hold spaces.
        fields = self._text("stat").rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def memory_bytes(self) -> int:
        """Bytes of memory that it holds."""
        fields = self._text("statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _text(self, name: str) -> bytes:
        with contextlib.suppress(OSError, ValueError, KeyError):  # it ended; the file was closed; there is none
            self._files[name].seek(0)
            return self._files[name].read()
        return b""


__all__ = ["Readers", "ToRead", "unpacked"]
