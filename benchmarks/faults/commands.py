"""The project's commands, started by the dozen: each in a process of its own that has imported everything already."""

import multiprocessing
import os
import re
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Barrier


PRELOADED = "benchmarks.faults.preloaded"
TIMEOUT_S = 300.0
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Command:
    """
    A command line.

    Args:
        module (`str`): As behind `python -m`.
        words (`tuple[str, ...]`): Its arguments; paths lie below the folder in which it is started.
    """

    module: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        start = f"-m {self.module}" if "." in self.module else f"{self.module}.py"
        return f"python {start} {' '.join(self.words)}"

    def but(self, *words: str) -> "Command":
        """Returns the command with further arguments behind its own; of one that is given twice the last counts."""
        return Command(self.module, (*self.words, *words))


@dataclass(frozen=True)
class Ended:
    """
    How a command ended.

    Args:
        status (`int`): What the shell sees; of a killed one the signal's number, negative.
        seconds (`float`): From its start.
        lines (`list[str]`): All that it printed.
    """

    status: int
    seconds: float
    lines: list[str]

    @property
    def refusal(self) -> str | None:
        """The one line in which the command says why it refused; None for one that did not, or with a traceback."""
        said = [line for line in self.lines if re.match(r"(\S[^:]*: )?error: ", line)]
        return said[-1] if self.status > 0 and said and not self.has_traceback else None

    @property
    def has_traceback(self) -> bool:
        """Whether it printed one."""
        return any(line.startswith("Traceback") for line in self.lines)

    def __str__(self) -> str:
        return f"exit {self.status}, {self.lines[-1][:200] if self.lines else 'without a word'}"


class Running:
    """A command that was started; what it prints goes to `log`."""

    def __init__(self, process: BaseProcess, log: Path, gate: Barrier | None) -> None:
        self.process, self.log, self.began = process, log, time.monotonic()
        self.gate = gate  # it is gone for the process too when nobody here knows it any more

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.process.is_alive()

    def kill(self) -> None:
        """Ends it at once, as a power cut would; its own processes have to notice by themselves."""
        self.process.kill()

    def end(self) -> Ended:
        """Waits for its end."""
        self.process.join(TIMEOUT_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"{self.log}: no end within {TIMEOUT_S} s")
        seconds = time.monotonic() - self.began
        # One that is killed in its first moment has no log yet.
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        return Ended(self.process.exitcode, seconds, lines)


class Starter:
    """
    Starts commands in a folder.

    A server that has imported everything is asked to fork, so that a command takes its own time and not that of the
    imports, and a kill at a random moment hits work.

    Args:
        folder (`Path`): In which commands are started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        # Before the server starts: it hands its environment on. One thread, no device: the same bits each time.
        os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        os.environ["HF_MODULES_CACHE"] = str(folder / "modules")  # where transformers puts the code of models
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["__main__", PRELOADED])
        (folder / "logs").mkdir(parents=True, exist_ok=True)

    def start_together(self, *commands: Command) -> list[Running]:
        """Starts commands that begin at the same moment."""
        gate = self.context.Barrier(len(commands))
        return [self.start(command, gate) for command in commands]

    def start(self, command: Command, gate: Barrier | None = None) -> Running:
        """Starts a command; with a gate it begins when all are there that wait at it."""
        self.count += 1
        log = self.folder / "logs" / f"{self.count:04d}.txt"
        process = self.context.Process(target=_run, args=(command, str(self.folder), str(log), gate))
        process.start()
        return Running(process, log, gate)

    def run(self, command: Command) -> Ended:
        """Starts a command and waits for its end."""
        return self.start(command).end()

    def must(self, command: Command) -> Ended:
        """
        Runs what an arm needs to begin with.

        Raises:
            `RuntimeError`: where it fails.
        """
        ended = self.run(command)
        if ended.status:
            raise RuntimeError(f"{command}\n" + "\n".join(ended.lines[-20:]))
        return ended


def _run(command: Command, folder: str, log: str, gate: Barrier | None) -> None:
    with open(log, "wb", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    # As a command has it that the shell starts; here it would be the server's way, which imports everything again.
    multiprocessing.set_start_method("fork", force=True)
    sys.argv = [command.module, *command.words]
    sys.modules.pop(command.module, None)  # it was imported ahead, and runs as a script now
    if gate is not None:
        gate.wait(TIMEOUT_S)
    runpy.run_module(command.module, run_name="__main__", alter_sys=True)
