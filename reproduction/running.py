"""Runs jobs in processes of one thread each; whatever is killed, finished runs stay and the others are not there."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from common.files import write_json
from common.processes import end_with_parent
from reproduction.jobs import JOB_FILE, RESULT_FILE, Job, unfinished


KEPT = (JOB_FILE, RESULT_FILE, "run.json", "history.json", "predictions.parquet")
LOG_FILE = "log.txt"
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


def run_jobs(
    jobs: Sequence[Job], output_dir: Path, scripts: Mapping[str, Train], num_proc: int, keep_models: bool = False
) -> None:
    """
    Runs the jobs whose folder is not there yet.

    Every process has one thread of computation, and every job sets its own seeds: the numbers do not depend on
    `num_proc`, nor on which jobs had been run before.

    Args:
        jobs (`list[Job]`): Each after the one it needs.
        output_dir (`Path`): Of the reproduction.
        scripts (`dict`): `main(argv)` of the training script for each stage; importable by name.
        num_proc (`int`): Processes.
        keep_models (`bool`, defaults to `False`): Keep weights, plots and code of fine-tuned models too.

    Raises:
        `RuntimeError`: where a job failed, naming its log. Other jobs that were running end first, and stay.
    """
    missing = [job for job in jobs if not job.is_done(output_dir)]
    names = {job.name for job in missing}
    bar = tqdm(
        total=sum(job.cost for job in jobs),
        initial=sum(job.cost for job in jobs if job.name not in names),
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left",
    )
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ |= dict.fromkeys(THREAD_VARIABLES, "1")  # read by the libraries while a process starts
    try:
        with bar, _pool(min(num_proc, max(1, len(missing)))) as pool:
            running: dict[Future, Job] = {}
            while missing or running:
                bar.set_description_str(f"{len(jobs) - len(missing) - len(running)} of {len(jobs)} runs")
                _start(missing, running, pool, num_proc, partial(run_job, output_dir, dict(scripts), keep_models))
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    job = running.pop(future)
                    _check(future, job, output_dir)
                    names.discard(job.name)
                    bar.update(job.cost)
            bar.set_description_str(f"{len(jobs)} of {len(jobs)} runs")
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


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
    if scripts[job.stage](command_line(flags)) is None:
        raise InterruptedError(f"{job.name} was asked to stop")
    clean(folder, everything_else=job.stage == "classify" and not keep_models)
    folder.rename(target)


def clean(folder: Path, everything_else: bool) -> None:
    """Removes checkpoints and the log, and on request all but the numbers."""
    for path in folder.iterdir():
        if path.name in ("checkpoints", LOG_FILE) or (everything_else and path.name not in KEPT):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _pool(num_proc: int) -> ProcessPoolExecutor:
    # Spawned: a forked copy of a process that has used torch's threads or a GPU is not safe.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(num_proc, mp_context=context, initializer=_begin_process)


def _begin_process() -> None:
    torch.set_num_threads(1)
    end_with_parent()


def _start(
    missing: list[Job],
    running: dict[Future, Job],
    pool: ProcessPoolExecutor,
    num_proc: int,
    run: Callable[[Job], None],
) -> None:
    """Hands out jobs, in their order, until all processes are busy; one whose need is not done waits."""
    not_done = {job.name for job in [*missing, *running.values()]}
    for job in list(missing):
        if len(running) == num_proc:
            return
        if job.needs not in not_done:
            running[pool.submit(run, job)] = job
            missing.remove(job)


def _check(future: Future, job: Job, output_dir: Path) -> None:
    error = future.exception()
    if error is not None:
        log = unfinished(output_dir / job.name) / LOG_FILE
        raise RuntimeError(f"{job.name} failed: {error!r}; its log is {log}") from error


def _log_to(path: Path) -> None:
    """Sends all that this process prints to a file: at the level of the system, since loggers keep their stream."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)
