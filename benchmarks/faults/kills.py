"""SIGKILL at random moments: what has its final name is whole, and the same command ends as if nothing had been."""

import time
from functools import partial

import numpy as np

from benchmarks.faults.cases import Case, Outcome
from benchmarks.faults.commands import KILLED
from benchmarks.faults.jobs import (
    CONVERSION,
    EMBEDDING,
    EXPORT,
    FINETUNING,
    PRETRAINING,
    SEED,
    Job,
    Workshop,
    torn_files,
)
from common.writing import remove


ARM = "kill"
JOBS = (CONVERSION, EMBEDDING, PRETRAINING, FINETUNING, EXPORT)
QUICK_JOBS = (CONVERSION, FINETUNING)
EACH = 6  # of each job; of a quick one once
DRAWS = 10  # of moments, where the run ended before the kill


def plan(workshop: Workshop, quick: bool) -> list[Case]:
    """Returns the cases; moments are uniformly random shares of the time that a run takes without a fault."""
    rng = np.random.default_rng(SEED)
    cases = []
    for job in QUICK_JOBS if quick else JOBS:
        for number in range(1 if quick else EACH):
            moments = rng.uniform(0, 1, DRAWS).tolist()
            kill = partial(_kill, workshop, job, f"kills-{number}/{job.name}", moments)
            cases.append(Case(ARM, job.name, f"draw {number} of seed {SEED}", kill))
    return cases


def _kill(workshop: Workshop, job: Job, name: str, moments: list[float]) -> Outcome:
    workshop.measure(job)
    folder, command = workshop.folder / name, job.command(name).but(*job.again)
    for moment in moments:
        remove(folder)  # what ended before the kill would have nothing left to do
        running = workshop.starter.start(command)
        time.sleep(moment * workshop.seconds[job.name])
        running.kill()
        killed = running.end()
        if killed.status == KILLED:
            break
    else:
        raise RuntimeError(f"{command}: ended {DRAWS} times before it was killed")
    said = f"killed at {moment:.2f} of its time"
    faults = [f"torn: {file}" for file in torn_files(folder)]
    if job.at_once and job.is_finished(folder):
        faults += [f"half a result: {file} differs" for file in workshop.unlike(job, folder)]
    ended = workshop.starter.run(command)
    if ended.status:
        return Outcome([*faults, f"the same command again: {ended}"], said)
    faults += [f"{file} differs from the undisturbed run's" for file in workshop.unlike(job, folder)]
    return Outcome(faults, said)
