"""How fast is CODE-15% converted, against reading and writing alone, and does memory grow with the input?

    python benchmarks/convert/run.py [--num_exams 20000] [--num_proc 2] [--rounds 3] [--warm] [--folder D]

Writes a made-up CODE-15% (a few hundred simulated exams, over and over, with ids of their own), once a quarter as
large, and converts both. Ends in one line of JSON. `--folder` needs 0.45 MB of disk for each exam.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from data_scripts.simulate.cohort import CohortSettings, write_cohort  # noqa: E402 (the path comes first)


DISTINCT_EXAMS = 256
N_PARTS = 2
ROWS_AT_A_TIME = 64
EXAM_BYTES = 4096 * 12 * 4  # of float32
SAMPLE_EVERY_S = 0.1
# Timed after the imports, which take seconds whatever the input is; they are stated apart.
CONVERSION = """
import sys, time
began = time.perf_counter()
from data_scripts.code15 import main
imported = time.perf_counter()
main(sys.argv[1:])
print("seconds", imported - began, time.perf_counter() - imported)
"""


def write_source(folder: Path, simulated: Path, num_exams: int) -> None:
    """A folder in the layout of CODE-15%: uncompressed float32 in parts, each with its closing row of zeros."""
    with h5py.File(simulated / "exams_part0.hdf5") as file:
        tracings = file["tracings"][:DISTINCT_EXAMS]
    exams = pd.read_csv(simulated / "exams.csv").head(DISTINCT_EXAMS)
    frames, per_part = [], num_exams // N_PARTS
    folder.mkdir()
    for part in range(N_PARTS):
        ids = np.arange(per_part) + 1 + part * per_part
        frame = exams.iloc[np.arange(per_part) % DISTINCT_EXAMS].copy()
        frame["exam_id"], frame["patient_id"], frame["trace_file"] = ids, ids // 2, f"exams_part{part}.hdf5"
        frames.append(frame)
        with h5py.File(folder / f"exams_part{part}.hdf5", "w") as file:
            file["exam_id"] = np.append(ids, 0)
            stored = file.create_dataset("tracings", (per_part + 1, *tracings.shape[1:]), "f4")
            for start in range(0, per_part, DISTINCT_EXAMS):
                stop = min(start + DISTINCT_EXAMS, per_part)
                stored[start:stop] = tracings[: stop - start]
    pd.concat(frames).to_csv(folder / "exams.csv", index=False)


def forget(folder: Path) -> None:
    """Takes the files of a folder out of the page cache, as those of a large archive are."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_and_write(task: tuple[Path, int, int, str]) -> None:
    """What no conversion can go without: h5py reads, and as many int16 are written; nothing else."""
    path, start, stop, output = task
    with h5py.File(path) as file, open(output, "wb", buffering=0) as sink:
        tracings = file["tracings"]
        for row in range(start, stop, ROWS_AT_A_TIME):
            sink.write(tracings[row : min(row + ROWS_AT_A_TIME, stop)].astype(np.int16).data)
        os.fsync(sink.fileno())


def measure_limit(source: Path, output: Path, num_proc: int) -> float:
    """Seconds of reading and writing alone, in as many processes as convert."""
    tasks = []
    for path in sorted(source.glob("*.hdf5")):
        with h5py.File(path) as file:
            n = len(file["exam_id"]) - 1
        borders = np.linspace(0, n, max(1, num_proc // N_PARTS) + 1).astype(int).tolist()
        tasks += [
            (path, *pair, f"{output}-{path.stem}-{pair[0]}") for pair in zip(borders[:-1], borders[1:], strict=True)
        ]
    with multiprocessing.Pool(num_proc) as pool:
        pool.map(abs, range(num_proc))  # the processes are there when the clock starts
        began = time.perf_counter()
        pool.map(read_and_write, tasks, chunksize=1)
        seconds = time.perf_counter() - began
    for task in tasks:
        os.unlink(task[-1])
    return seconds


class PeakMemory(threading.Thread):
    """Largest sum over a process and all its children, of the memory that is theirs (shared pages counted once)."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.peak, self.ended = psutil.Process(pid), 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_EVERY_S):
            total = 0
            try:
                for process in [self.process, *self.process.children(recursive=True)]:
                    total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it ended meanwhile
            self.peak = max(self.peak, total)


def measure_conversion(source: Path, output: Path, num_proc: int) -> dict[str, float]:
    """Seconds of the imports and of the conversion, and peak memory in MiB, of the command in a process of its own."""
    arguments = ["--source_dir", source, "--output_dir", output, "--num_proc", str(num_proc)]
    process = subprocess.Popen(
        [sys.executable, "-c", CONVERSION, *map(str, arguments)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    memory = PeakMemory(process.pid)
    memory.start()
    stdout, stderr = process.communicate()
    memory.ended.set()
    if process.returncode:
        raise RuntimeError(f"the conversion failed:\n{stderr}")
    record = json.loads((output / "conversion.json").read_text(encoding="utf-8"))
    shutil.rmtree(output)
    imports, seconds = map(float, stdout.splitlines()[-1].split()[1:])
    return {"imports_s": imports, "seconds": seconds, "peak_mib": memory.peak / 2**20, "kept": record["kept"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num_exams", type=int, default=20_000)
    parser.add_argument("--num_proc", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true", help="leave the source in the page cache")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    arguments = parser.parse_args()
    sizes = (arguments.num_exams // 4, arguments.num_exams)
    result = {"exams": sizes[1], "num_proc": arguments.num_proc, "cache": "warm" if arguments.warm else "cold"}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        write_cohort(folder / "simulated", CohortSettings(num_exams=DISTINCT_EXAMS, seed=0), progress=False)
        for size in sizes:
            write_source(folder / f"source-{size}", folder / "simulated", size)
        runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
        for turn in range(arguments.rounds):
            for size in sizes:
                source = folder / f"source-{size}"
                if not arguments.warm:
                    forget(source)
                limit = measure_limit(source, folder / "limit", arguments.num_proc)
                if not arguments.warm:
                    forget(source)
                runs[size].append(
                    measure_conversion(source, folder / "table", arguments.num_proc) | {"limit_s": limit}
                )
                print(
                    f"round {turn + 1}, {size} exams: " + ", ".join(f"{k} {v:.1f}" for k, v in runs[size][-1].items())
                )
    for size, name in zip(sizes, ("quarter", "whole"), strict=True):
        medians = {key: statistics.median(run[key] for run in runs[size]) for key in runs[size][0]}
        megabytes = size * EXAM_BYTES / 1e6
        result[name] = {
            "exams": size,
            "seconds": round(medians["seconds"], 2),
            "mb_per_s": round(megabytes / medians["seconds"]),
            "limit_mb_per_s": round(megabytes / medians["limit_s"]),
            "of_limit": round(statistics.median(run["limit_s"] / run["seconds"] for run in runs[size]), 3),
            "peak_mib": round(max(run["peak_mib"] for run in runs[size])),
        }
    result["imports_s"] = round(medians["imports_s"], 1)
    result["time_ratio"] = round(result["whole"]["seconds"] / result["quarter"]["seconds"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
