"""Two processes write into one folder at the same moment: one does it, the other refuses and names the folder."""

import re
from functools import partial

from benchmarks.faults.cases import Case, Outcome
from benchmarks.faults.jobs import (
    CONVERSION,
    EMBEDDING,
    EXPORT,
    FINETUNING,
    PRETRAINING,
    PUBLICATION,
    REPRODUCTION,
    Job,
    Workshop,
    torn_files,
)


ARM = "two writers"
JOBS = (CONVERSION, EMBEDDING, PRETRAINING, FINETUNING, EXPORT, PUBLICATION, REPRODUCTION)
QUICK_JOBS = (CONVERSION, FINETUNING)
EACH = 3  # of each job; of a quick one once


def plan(workshop: Workshop, quick: bool) -> list[Case]:
    """Returns the cases; who of the two is first is chance."""
    return [
        Case(ARM, job.name, "at the same moment", partial(_both, workshop, job, f"writers-{number}/{job.name}"))
        for job in (QUICK_JOBS if quick else JOBS)
        for number in range(1 if quick else EACH)
    ]


def _both(workshop: Workshop, job: Job, name: str) -> Outcome:
    workshop.measure(job)
    # Without leave to replace what is there, but as one that goes on where another stopped.
    command = job.command(name).but(*(word for word in job.again if word != "--overwrite_output_dir"))
    ended = [one.end() for one in workshop.starter.start_together(command, command)]
    refused = [one for one in ended if one.status != 0]
    faults = [] if len(refused) == 1 else [f"{len(refused)} of two refused"]
    for one in refused:
        if one.refusal is None:
            faults.append(f"no error in one line: {one}")
        elif not re.search(rf"{job.name}\b.* (is being written by|exists|is not empty|holds) ", one.refusal):
            faults.append(f"not the folder's writer is the reason: {one.refusal}")
    faults += [f"torn: {file}" for file in torn_files(workshop.folder / name)]
    faults += [f"{file} differs from a lone writer's" for file in workshop.unlike(job, workshop.folder / name)]
    return Outcome(faults, "; ".join(one.refusal or str(one) for one in refused))
