"""
Runs jobs side by side in processes of one thread each, on the cores or on one GPU, on one copy of the exam table.
Whatever fails or is killed, finished runs stay, the others go on, and what is not finished is not there.
"""

import gc
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from common.checksums import SUMS_FILE, write_checksums
from common.files import write_json
from common.processes import end_with_parent
from reproduction.jobs import JOB_FILE, Job, unfinished
from reproduction.sharing import Held, share
from training.run import RECORDS


KEPT = (JOB_FILE, SUMS_FILE, *RECORDS)
LOG_FILE = "log.txt"
TRIES = 3  # of a job whose process dies: the last one alone, where nobody else can be to blame
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Train = Callable[[list[str]], Any]


def command_line(flags: Mapping[str, Any]) -> list[str]:
    """Returns flags as a training script reads them: True is a switch, None left out, a list several words."""
    words = []
    for name, value in flags.items():
        if value is not None and value is not False:
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, values)]
    return words


@dataclass
class Progress:
    """
    What is to do, and what came of it.

    Args:
        missing (`list[Job]`): Not begun, in their order.
        failed (`dict[str, str]`): Why, by job.
        broken (`Counter[str]`): How often a process died while the job ran. It may have been another one's fault, so
            that it is tried again: first beside others, then alone.
        late (`bool`): No time is left to begin another.
    """

    missing: list[Job]
    failed: dict[str, str] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    late: bool = False

    def take(self, running: Collection[Job]) -> Job | None:
        """Returns the next job whose need is there, or None; one whose need failed has failed too."""
        for job in list(self.missing):
            if job.needs in self.failed:
                self.missing.remove(job)
                self.failed[job.name] = f"it needs {job.needs}, which failed"
        waiting = {job.name for job in [*self.missing, *running]}
        for job in self.missing:
            if job.needs not in waiting:
                self.missing.remove(job)
                return job
        return None

    def note(self, job: Job, error: BaseException, output_dir: Path) -> None:
        """Remembers a failure; a job whose process died is put back, unless it was alone."""
        if isinstance(error, BrokenProcessPool) and self.broken[job.name] < TRIES - 1:
            self.broken[job.name] += 1
            self.missing.insert(0, job)
            return
        log = unfinished(output_dir / job.name) / LOG_FILE
        self.failed[job.name] = f"{error!r}; its log is {log}"


def run_jobs(
    jobs: Sequence[Job],
    output_dir: Path,
    scripts: Mapping[str, Train],
    num_proc: int,
    keep_models: bool = False,
    seconds: float = math.inf,
    held: Held | None = None,
) -> dict[str, str]:
    """
    Runs the jobs whose folder is not there yet.

    Every process has one thread of computation, and every job sets its own seeds: the numbers do not depend on
    `num_proc`, nor on which jobs had been run before. A job that fails does not end the others.

    Args:
        jobs (`list[Job]`): Each after the one it needs.
        output_dir (`Path`): Of the reproduction.
        scripts (`dict`): `main(argv)` of the training script for each stage; importable by name.
        num_proc (`int`): Processes.
        keep_models (`bool`, defaults to `False`): Keep weights, plots and code of fine-tuned models too.
        seconds (`float`, *optional*): After so many, no further job begins; those that run come to their end.
        held (`dict[str, torch.Tensor]`, *optional*): Recordings that all processes read; see [`hold_table`].

    Returns:
        `dict[str, str]`: By job that failed, why, and where its log is.
    """
    progress = Progress([job for job in jobs if not job.is_done(output_dir)])
    cost = {job.name: job.cost for job in progress.missing}
    total = sum(job.cost for job in jobs)
    bar = tqdm(
        total=total,
        initial=total - sum(cost.values()),
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left",
    )
    run = partial(run_job, output_dir, dict(scripts), keep_models)
    pool = partial(_pool, held or {})
    end = time.monotonic() + seconds
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")  # read by the libraries while a process starts
    try:
        with bar:
            while progress.missing and not progress.late:
                # A new pool where a process died and took the old one with it.
                suspect = next((job for job in progress.missing if progress.broken[job.name] == TRIES - 1), None)
                if suspect is None:
                    _run_in_pool(progress, run, output_dir, num_proc, pool, end, bar)
                else:
                    progress.missing.remove(suspect)
                    alone = Progress([suspect], progress.failed, progress.broken)
                    _run_in_pool(alone, run, output_dir, 1, pool, end, bar)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
    return progress.failed


def _run_in_pool(
    progress: Progress,
    run: Callable[[Job], None],
    output_dir: Path,
    num_proc: int,
    make_pool: Callable[[int], ProcessPoolExecutor],
    end: float,
    bar: tqdm,
) -> None:
    """Runs jobs until none is left, the time is over, or a process of the pool died."""
    with make_pool(min(num_proc, len(progress.missing))) as pool:
        running: dict[Future, Job] = {}
        whole = True
        while True:
            progress.late = progress.late or time.monotonic() >= end
            while whole and not progress.late and len(running) < num_proc:
                job = progress.take(running.values())
                if job is None:
                    break
                try:
                    running[pool.submit(run, job)] = job
                except BrokenProcessPool:  # a process died while it had nothing to do
                    progress.missing.insert(0, job)
                    whole = False
            if not running:
                return
            bar.set_description_str(f"{len(progress.missing)} runs to begin, {len(running)} running")
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job, error = running.pop(future), future.exception()
                if error is not None:
                    whole = whole and not isinstance(error, BrokenProcessPool)
                    progress.note(job, error, output_dir)
                bar.update(job.cost if error is None else 0)


def run_job(output_dir: Path, scripts: Mapping[str, Train], keep_models: bool, job: Job) -> None:
    """
    Runs one job in this process, whose output goes to a log in the job's unfinished folder.

    An unfinished folder that an interrupted run left is continued from its last checkpoint, if it has one.
    """
    target = output_dir / job.name
    folder = unfinished(target)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOB_FILE, job.identity)
    _log_to(folder / LOG_FILE)
    flags = {**job.flags, "output_dir": folder, "resume_from_checkpoint": "latest"}
    if job.needs is not None:
        flags["model_name_or_path"] = output_dir / job.needs
    try:
        if scripts[job.stage](command_line(flags)) is None:
            raise InterruptedError(f"{job.name} was asked to stop")
    finally:
        # The next job of this process, and its neighbours on the same GPU, need the memory of this one.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    clean(folder, everything_else=job.stage == "classify" and not keep_models)
    folder.rename(target)


def clean(folder: Path, everything_else: bool) -> None:
    """Removes checkpoints and the log, and on request all but the numbers."""
    for path in folder.iterdir():
        if path.name in ("checkpoints", LOG_FILE) or (everything_else and path.name not in KEPT):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if (folder / SUMS_FILE).is_file():
        write_checksums(folder, ())  # without those of what is gone


def _pool(held: Held, num_proc: int) -> ProcessPoolExecutor:
    # Spawned: a forked copy of a process that has used torch's threads or a GPU is not safe. Of torch: its processes
    # are given the place of a tensor, not a copy.
    context = torch.multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(num_proc, mp_context=context, initializer=_begin_process, initargs=(held,))


def _begin_process(held: Held) -> None:
    torch.set_num_threads(1)
    end_with_parent()
    share(held)


def _log_to(path: Path) -> None:
    """Sends all that this process prints to a file: at the level of the system, since loggers keep their stream."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
