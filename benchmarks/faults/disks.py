"""Full disks: one line says so, nothing half-written has a final name, what was there stays, and with room all ends.

A disk is a tmpfs of a few megabytes, which only root may mount; without that right the arm refuses.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.faults.cases import Case, Outcome
from benchmarks.faults.commands import Ended
from benchmarks.faults.jobs import (
    CONVERSION,
    EMBEDDING,
    EXPORT,
    FINETUNING,
    PRETRAINING,
    PUBLICATION,
    SEED,
    Job,
    Workshop,
    content,
    torn_files,
)


ARM = "full disk"
JOBS = (CONVERSION, EMBEDDING, PRETRAINING, FINETUNING, EXPORT, PUBLICATION)
QUICK_JOBS = (CONVERSION, FINETUNING)
EACH = 4  # of each job; of a quick one once
LARGE = 1 << 30  # bytes; a tmpfs takes memory for what it holds alone


class SmallDisk:
    """A file system whose size can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: int) -> None:
        """Gives the disk a size in bytes, or as little above it as it needs for what it holds."""
        blocks = os.statvfs(self.folder)
        used = (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize
        _mount("-o", f"remount,size={max(size, used + blocks.f_frsize)}", str(self.folder))

    def leave(self, room: int) -> None:
        """Leaves so many bytes of room."""
        blocks = os.statvfs(self.folder)
        self.resize((blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize + room)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Yields a disk that is mounted on a new folder."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a disk."""
    try:
        with small_disk(folder):
            return True
    except OSError:
        return False
    finally:
        folder.rmdir()


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"mount {' '.join(words)}: {done.stderr.strip()}")


def plan(workshop: Workshop, quick: bool) -> list[Case]:
    """
    Returns the cases: in turn too little room from the start, and a disk that others fill at a random moment.

    Raises:
        `PermissionError`: where this user may not mount a disk.
    """
    if not can_mount(workshop.folder / "disk"):
        raise PermissionError("--arms disks mounts small disks, which root alone may do: leave it out")
    rng, cases = np.random.default_rng(SEED + 1), []
    for job in QUICK_JOBS if quick else JOBS:
        for number in range(1 if quick else EACH):
            share, name = float(rng.uniform(0, 0.9)), f"disks-{number}/{job.name}"
            if number % 2 == 0:
                how = f"room for {share:.2f} of the result"
                cases.append(Case(ARM, job.name, how, partial(_too_small, workshop, job, name, share)))
            else:
                how = f"filled at {share:.2f} of its time"
                cases.append(Case(ARM, job.name, how, partial(_filled, workshop, job, name, share)))
    return cases


def _too_small(workshop: Workshop, job: Job, name: str, share: float) -> Outcome:
    workshop.measure(job)
    size = sum(path.stat().st_size for path in (workshop.folder / "whole" / job.name).rglob("*"))
    with small_disk(workshop.folder / name) as disk:
        disk.leave(int(share * size))
        return _full(workshop, job, f"{name}/{job.name}", disk, 0)


def _filled(workshop: Workshop, job: Job, name: str, share: float) -> Outcome:
    """As [`_too_small`]; where the job replaces what is there, that has to stay."""
    workshop.measure(job)
    with small_disk(workshop.folder / name) as disk:
        if "--overwrite_output_dir" in job.again:
            workshop.starter.must(job.command(f"{name}/{job.name}"))
        return _full(workshop, job, f"{name}/{job.name}", disk, share * workshop.seconds[job.name])


def _full(workshop: Workshop, job: Job, name: str, disk: SmallDisk, wait_s: float) -> Outcome:
    command, folder = job.command(name).but(*job.again), workshop.folder / name
    earlier = content(folder)
    running = workshop.starter.start(command)
    if wait_s:
        time.sleep(wait_s)
        disk.leave(0)
    ended = running.end()
    faults = [] if ended.status == 0 else _faults_of(ended)
    faults += [f"torn: {file}" for file in torn_files(folder)]
    if job.at_once and ended.status:
        faults += [f"{file} of the earlier result changed" for file in sorted(_unlike(earlier, content(folder)))]
    disk.resize(LARGE)
    if ended.status:
        again = workshop.starter.run(command)
        if again.status:
            return Outcome([*faults, f"with room again: {again}"], ended.refusal or "")
    faults += [f"with room again {file} differs" for file in workshop.unlike(job, folder)]
    return Outcome(faults, ended.refusal or ("" if ended.status else "ended before the disk was full"))


def _faults_of(ended: Ended) -> list[str]:
    if ended.refusal is None:
        return [f"no error in one line: {ended}"]
    return [] if "space" in ended.refusal or "MiB free" in ended.refusal else [f"not of the disk: {ended.refusal}"]


def _unlike(a: dict[str, str], b: dict[str, str]) -> set[str]:
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
