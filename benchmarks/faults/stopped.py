"""Runs that were killed half-way, for arms that begin there; each is made once."""

import time
from pathlib import Path

from benchmarks.faults.commands import TIMEOUT_S
from benchmarks.faults.jobs import CONVERSION, STEPS, Job, Workshop


WAIT_S = 0.002


def stopped_conversion(workshop: Workshop) -> str:
    """Returns the folder of a conversion that was killed when its first shard was whole."""
    return _stopped(workshop, CONVERSION, "stopped/conversion.incomplete", "work/shards/*.json")


def stopped_training(workshop: Workshop, job: Job, step: int = STEPS) -> str:
    """Returns the folder of a training that was killed when the checkpoint of a step was whole."""
    return _stopped(workshop, job, f"stopped-{step}/{job.name}", f"checkpoints/step-{step:08d}")


def _stopped(workshop: Workshop, job: Job, name: str, sign: str) -> str:
    folder = workshop.folder / name
    if folder.exists():
        return name
    workshop.measure(job)
    running = workshop.starter.start(job.command(name.removesuffix(".incomplete")).but(*job.again))
    _wait(folder, sign)
    running.kill()
    running.end()
    time.sleep(1)  # its processes end by themselves
    if job.is_finished(folder):
        raise RuntimeError(f"{folder}: expected a run that was killed in time, found a finished one")
    return name


def _wait(folder: Path, sign: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not any(folder.glob(sign)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{folder}: no {sign} within {TIMEOUT_S} s")
        time.sleep(WAIT_S)
