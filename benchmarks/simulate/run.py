"""
Speed and memory of the simulator, to HDF5, at two sizes: cost must grow linearly, memory not at all.

    python benchmarks/simulate/run.py [--sizes 1000 10000] [--num_proc 1] [--compression none] [--marks]

Each size runs in a process of its own, whose peak memory is that of the run. Ends in one line of JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


PROJECT = Path(__file__).resolve().parents[2]


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has waited for: other programs do not lengthen it."""
    return sum(os.times()[:4])


def measure(num_exams: int, num_proc: int, compression: str, marks: bool, folder: str) -> dict[str, float]:
    """Seconds, exams per second of clock and of processor time, peak memory (MiB); without the time to import."""
    from data_scripts.simulate.cohort import CohortSettings, write_cohort
    from data_scripts.simulate.exam import simulate_exam

    simulate_exam(0, 0)  # the noise banks are made once per process
    start, cpu_start = time.perf_counter(), cpu_seconds()
    settings = CohortSettings(num_exams=num_exams, seed=1, compression=compression, marks=marks)
    write_cohort(Path(folder) / "cohort", settings, num_proc, progress=False)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu_start
    size = sum(path.stat().st_size for path in (Path(folder) / "cohort").iterdir())
    # Kilobytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {
        "num_exams": num_exams,
        "seconds": round(seconds, 2),
        "exams_per_s": round(num_exams / seconds, 1),
        "exams_per_cpu_s": round(num_exams / cpu, 1),
        "peak_mib": round(peak, 1),
        "kb_per_exam": round(size / num_exams / 1e3, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--num_proc", type=int, default=1)
    parser.add_argument("--compression", default="none")
    parser.add_argument("--marks", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(PROJECT))
    if arguments.one is not None:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(arguments.one, arguments.num_proc, arguments.compression, arguments.marks, folder)
            print(json.dumps(result))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs = []
    for size in arguments.sizes:
        command = [sys.executable, __file__, "--one", str(size), "--num_proc", str(arguments.num_proc)]
        command += ["--compression", arguments.compression, *(["--marks"] if arguments.marks else [])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        print(runs[-1], file=sys.stderr)
    print(
        json.dumps(
            {
                "benchmark": "simulate",
                "num_proc": arguments.num_proc,
                "compression": arguments.compression,
                "marks": arguments.marks,
                "runs": runs,
            }
        )
    )


if __name__ == "__main__":
    main()
