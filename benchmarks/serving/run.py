"""
The server under load and under attack: clients, memory, SIGTERM in flight, and attacks beside a polite client.

    python benchmarks/serving/run.py                 # all of it, on quiet cores: about an hour
    python benchmarks/serving/run.py --quick         # every arm for some seconds
    python benchmarks/serving/run.py --arms clients  # one of clients, memory, sigterm, attacks

The server is `serve.py` with the default model, in a process of its own. Clients send ten seconds of twelve leads
as int16, one ECG a request. The batch rate is what the network alone makes of 32 ECGs at a time with all cores, as
`from_pretrained` gives it and as its copy for inference, measured in the same run. Attackers have an address of their
own, and with `--same_address` the polite client's. Prints tables in Markdown, and writes them to `--output_file`.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from benchmarks.arms import start_arm  # noqa: E402
from benchmarks.serving.clients import ATTACKERS, ATTACKS, Timed, attack, run_clients, run_requests  # noqa: E402
from benchmarks.serving.payloads import polite, several  # noqa: E402
from common.files import write_text  # noqa: E402
from common.markdown import markdown_table  # noqa: E402


ARMS = ("clients", "memory", "sigterm", "attacks")
CLIENTS = (1, 8, 32, 200)
PARTS = 3  # of the seconds of each, with the batch rates between them: other programs on a host come and go
BEGINNING = 0.1  # of a part, in which clients begin to ask; what comes in it is not counted
START_S = 300
PAUSE_S = 0.1  # between a polite client's requests
MAX_P99_S = 2.0
MIN_OF_BATCH_RATE = 0.7


class Server:
    """`serve.py` in a process of its own."""

    def __init__(self, model: str | None, *flags: str):
        command = [sys.executable, str(PROJECT / "serve.py"), "--port", "0", *flags]
        command += [] if model is None else ["--model_name_or_path", model]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        found = re.search(r":(\d+)\n", line)
        if found is None:
            raise RuntimeError(f"serve.py did not start: it said {line!r}")
        self.port = int(found[1])

    def memory_mb(self) -> float:
        """What the server and its processes hold, shared pages divided by those that share them."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(process.memory_full_info().pss for process in processes) / 2**20

    def health_s(self) -> float:
        """Seconds until `/health` answers."""
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60) as answer:
            answer.read()
        return time.monotonic() - began

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(120)


@contextmanager
def serving(model: str | None) -> Iterator[Server]:
    server = Server(model)
    try:
        yield server
    finally:
        server.stop()


def serve_batches(model: str | None, pipe: Any) -> None:
    """An arm of its own: ECGs a second of batches of 32 with all cores, whenever it is asked; of the copy as well."""
    import torch

    from modeling_ecgclip import EcgResNetForSignalClassification, pretrained_folder

    network = EcgResNetForSignalClassification.from_pretrained(model or str(pretrained_folder())).eval()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    batch = torch.randn(32, 12, network.config.input_samples) * 0.3
    networks = (network, network.for_inference())
    while pipe.recv() is not None:
        rates = []
        for one in networks:
            with torch.inference_mode():
                one(input_values=batch)
                began = time.perf_counter()
                for _ in range(3):
                    one(input_values=batch)
                rates.append(3 * len(batch) / (time.perf_counter() - began))
        pipe.send(rates)


def quantile(seconds: list[float], share: float) -> str:
    return f"{1000 * float(np.quantile(seconds, share)):.0f}" if seconds else "none"


def refusals(timed: Timed) -> str:
    others = {status: count for status, count in timed.statuses.items() if status != 200}
    parts = [f"{count} of {status}" for status, count in sorted(others.items())]
    return ", ".join([*parts, *([f"{len(timed.unanswered)} without an answer"] if timed.unanswered else [])]) or "none"


class BatchRates:
    """The batch rates, measured before and after whatever is measured beside them."""

    def __init__(self, pipe: Any):
        self.pipe = pipe
        self.measured = [self._measure()]

    def beside(self, rate: float) -> np.ndarray:
        """The shares of a rate that was measured just now."""
        self.measured.append(self._measure())
        return rate / ((self.measured[-2] + self.measured[-1]) / 2)

    def _measure(self) -> np.ndarray:
        self.pipe.send(True)
        return np.array(self.pipe.recv())


def steady_rate(port: int, n_clients: int, seconds: float, timed: Timed) -> float:
    """Answers a second of so many clients that have begun; adds what they saw."""
    began, beginning = time.monotonic(), BEGINNING * seconds
    seen = run_clients(port, polite(), n_clients, seconds)
    timed.extend(seen)
    return sum(beginning <= came - began <= seconds for came in seen.came) / (seconds - beginning)


def rate_of_32(port: int, seconds: float, timed: Timed) -> float:
    """ECGs a second of one client that sends 32 a request; adds what it saw."""
    seen = run_requests(port, several(32), max(2, int(seconds / 3)), 1)
    timed.extend(seen)
    return 32 / median(seen.seconds) if seen.seconds else 0.0


def measure_clients(options: argparse.Namespace) -> str:
    """Latency, throughput and refusals of some numbers of clients, in parts, and the batch rates between them."""
    pipe, process = start_arm(serve_batches, options.model_name_or_path)
    rows: list[list[object]] = [
        ["clients", "p50, ms", "p99, ms", "ECG/s", "of the batch rate", "of that of the copy", "refused"]
    ]
    with serving(options.model_name_or_path) as server:
        run_clients(server.port, polite(), 8, min(3.0, options.seconds))  # everything is warm
        measures = {str(n_clients): partial(steady_rate, server.port, n_clients) for n_clients in CLIENTS}
        measures["1, of 32 ECGs each"] = partial(rate_of_32, server.port)
        batch_rates = BatchRates(pipe)
        for name, measure in measures.items():
            timed, rates, shares = Timed(), [], []
            for _ in range(PARTS):
                rates.append(measure(options.seconds / PARTS, timed))
                shares.append(batch_rates.beside(rates[-1]))
            latency = [quantile(timed.seconds, share) for share in (0.5, 0.99)]
            found = [f"{np.mean(rates):.1f}", *(f"{share:.2f}" for share in np.mean(shares, axis=0)), refusals(timed)]
            rows.append([name, *latency, *found])
    pipe.send(None)
    process.join()
    plain, copied = np.median(batch_rates.measured, axis=0)
    wanted = f"Wanted of 32 clients: {MIN_OF_BATCH_RATE} of the batch rate, here {plain:.0f} ECG/s"
    return f"{wanted}; of the copy for inference it is {copied:.0f} ECG/s.\n\n{markdown_table(rows)}"


def measure_memory(options: argparse.Namespace) -> str:
    """Memory after the first hundred requests, and after many."""
    rows: list[list[object]] = [["requests", "memory, MiB", "refused"]]
    with serving(options.model_name_or_path) as server:
        for n_requests in (100, options.requests):
            timed = run_requests(server.port, polite(), n_requests)
            rows.append([n_requests, f"{server.memory_mb():.0f}", refusals(timed)])
    return markdown_table(rows)


def measure_sigterm(options: argparse.Namespace) -> str:
    """SIGTERM while eight clients ask: what was sent before has its answer, and the server ends well."""
    counts = {"answered": 0, "refused by 503": 0, "sent before and lost": 0, "too late": 0}
    ends: dict[int, int] = {}
    chance = random.Random(0)
    for turn in range(options.sigterms):
        server = Server(options.model_name_or_path)
        with ThreadPoolExecutor(1) as clients:
            asked = clients.submit(run_requests, server.port, polite(), 200, 8)
            time.sleep(chance.uniform(0.1, 1.5))
            stopped = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            end = server.process.wait(120)
        timed = asked.result()
        lost = sum(began < stopped for began in timed.unanswered)
        ends[end] = ends.get(end, 0) + 1
        counts["answered"] += len(timed.seconds)
        counts["refused by 503"] += timed.statuses.get(503, 0)
        counts["sent before and lost"] += lost
        counts["too late"] += timed.unconnected + len(timed.unanswered) - lost
        print(f"SIGTERM {turn + 1} of {options.sigterms}: {counts}", file=sys.stderr, flush=True)
    exits = ", ".join(f"{count} with {status}" for status, count in sorted(ends.items()))
    return markdown_table([["SIGTERM", *counts, "exits"], [options.sigterms, *counts.values(), exits]])


def measure_attacks(options: argparse.Namespace) -> str:
    """A polite client beside one attack after the other: its latency, that of `/health`, and the server's memory."""
    rows: list[list[object]] = [
        ["attack", "polite p50, ms", "p99, ms", "answered", "refused", "health, ms at most", "memory, MiB at most"]
    ]
    with serving(options.model_name_or_path) as server:
        run_requests(server.port, polite(), 8)  # everything is warm
        for name in (None, *ATTACKS):
            rows.append(beside_attack(name, server, options))
            print(rows[-1], file=sys.stderr, flush=True)
    return f"Wanted: a p99 below {MAX_P99_S:g} s.\n\n{markdown_table(rows)}"


def beside_attack(name: str | None, server: Server, options: argparse.Namespace) -> list[object]:
    """The row of one attack; without a name, of a server that nobody attacks."""
    seconds = options.attack_seconds
    source = "127.0.0.1" if options.same_address else ATTACKERS
    attacker = multiprocessing.get_context("spawn").Process(
        target=attack, args=(name, server.port, seconds, source), daemon=True
    )
    if name is not None:
        attacker.start()
        time.sleep(2)
    health, memory = [server.health_s()], [server.memory_mb()]
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(run_clients, server.port, polite(), 1, seconds - 2, PAUSE_S)
        while not asked.done():
            health.append(server.health_s())
            memory.append(server.memory_mb())
            time.sleep(0.2)
    if name is not None:
        attacker.join(5)
        attacker.kill()
    timed = asked.result()
    p50, p99 = quantile(timed.seconds, 0.5), quantile(timed.seconds, 0.99)
    at_most = [f"{1000 * max(health):.0f}", f"{max(memory):.0f}"]
    return [name or "none", p50, p99, len(timed.seconds), refusals(timed), *at_most]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", help="left out: the default, whose network is the paper's")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each number of clients")
    parser.add_argument("--requests", type=int, default=10_000, help="before memory is looked at again")
    parser.add_argument("--sigterms", type=int, default=100)
    parser.add_argument("--attack_seconds", type=float, default=60.0)
    parser.add_argument("--same_address", action="store_true", help="attackers have the polite client's address")
    parser.add_argument("--quick", action="store_true", help="3 s of clients, 200 requests, 2 SIGTERM, 8 s of attack")
    parser.add_argument("--output_file", type=Path, default=PROJECT / "build" / "serving.md")
    options = parser.parse_args(argv)
    if options.quick:
        options.seconds, options.requests, options.sigterms, options.attack_seconds = 3.0, 200, 2, 8.0
    measures = {
        "clients": measure_clients,
        "memory": measure_memory,
        "sigterm": measure_sigterm,
        "attacks": measure_attacks,
    }
    sections = []
    for arm in options.arms:
        sections.append(f"## {arm.capitalize()}\n\n{measures[arm](options)}\n")
        print(sections[-1], flush=True)
    options.output_file.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.output_file, "\n".join(sections))
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "output_file": options.output_file.name}))


if __name__ == "__main__":
    main()
