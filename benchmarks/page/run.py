"""
The page under load: many visitors at once, visitors who leave, uploads without end, and what a long recording leaves.

    python -m benchmarks.page.run [--checkout DIR] [--users 20]

starts `app.py` of a checkout (this one) with the default's models on a free port of this machine, and prints a line of
JSON. Comparing two checkouts is running both, one after the other, on a machine that does nothing else.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from common.project import PROJECT
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


API = "/gradio_api"
PATIENCE_S = 300.0
LEFT = 14  # clicks whose visitors leave at once
UPLOADS, UPLOAD_MB = 30, 20
MINUTES = 60  # of the long recording


class Visitor:
    """Clicks on a page as a browser does: joins, and listens for the answer."""

    def __init__(self, address: str, name: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=PATIENCE_S)
        self.name = name
        document = self.http.get("/").text
        self.config = json.loads(re.findall(r"window\.gradio_config = (.*?);</script>", document, re.DOTALL)[0])
        self.components = {one["id"]: one for one in self.config["components"]}

    def join(self, button: str, files: Sequence[str] = (), name: str | None = None) -> int:
        """Presses a button, and returns the status of the answer."""
        pressed = next(one["id"] for one in self.config["components"] if one["props"].get("value") == button)
        click = next(one for one in self.config["dependencies"] if [pressed, "click"] in map(list, one["targets"]))
        data = [self.components[one]["props"].get("value") for one in click["inputs"]]
        if files:
            data[0] = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in files]
        body = {"data": data, "fn_index": click["id"], "session_hash": name or self.name, "trigger_id": pressed}
        return self.http.post(f"{API}/queue/join", json=body).status_code

    def click(self, button: str, files: Sequence[str] = ()) -> tuple[bool, float]:
        """Presses a button, and returns whether a result came and after how many seconds."""
        started = time.monotonic()
        if self.join(button, files) != httpx.codes.OK:
            return False, time.monotonic() - started
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.name}) as answer:
            for line in answer.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_completed":
                    return bool(told["success"]), time.monotonic() - started
        return False, time.monotonic() - started

    def upload(self, name: str, content: bytes) -> list[str]:
        """Uploads a file, and returns its path on the server; nothing where it is refused."""
        answer = self.http.post(f"{API}/upload", files={"files": (name, content)})
        return answer.json() if answer.status_code == httpx.codes.OK else []


@contextmanager
def page_of(checkout: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of a page that is running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                time.sleep(0.5)
                try:
                    httpx.get(address, timeout=5)
                    break
                except httpx.TransportError:
                    if process.poll() is not None:
                        raise RuntimeError(f"{checkout}: app.py ended with {process.returncode}") from None
            yield address, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def at_once(address: str, n_users: int, button: str) -> dict[str, Any]:
    """`n_users` press one button at the same moment."""
    visitors = [Visitor(address, f"user{i}") for i in range(n_users)]
    with ThreadPoolExecutor(n_users) as pool:
        answers = list(pool.map(lambda visitor: visitor.click(button), visitors))
    seconds = [after for served, after in answers if served]
    return {
        "users": n_users,
        "served": len(seconds),
        "median_s": round(statistics.median(seconds), 1) if seconds else None,
        "slowest_s": round(max(seconds), 1) if seconds else None,
    }


def measure(checkout: Path, n_users: int) -> dict[str, Any]:
    """Returns all that is measured of one checkout."""
    button = "Left bundle branch block"
    rate = 400
    with tempfile.TemporaryDirectory() as name, page_of(checkout, Path(name, "gradio")) as (address, pid):
        visitor = Visitor(address, "first")
        visitor.click(button)  # what is loaded with the first
        found: dict[str, Any] = {"alone_s": round(visitor.click(button)[1], 1)}
        found["at_once"] = at_once(address, n_users, button)
        statuses = [visitor.join(button, name=f"left{i}") for i in range(LEFT)]
        served, after = Visitor(address, "behind").click(button)
        found["behind_those_who_left"] = {"left": statuses.count(200), "served": served, "s": round(after, 1)}
        # A long recording that is small as a file.
        beat = np.tile(np.round(np.sin(np.arange(rate) / rate * 2 * np.pi) ** 21, 1), MINUTES * 60)
        leads = np.outer([1, 2, 1, -1.5, 0, 1.5, 1, 1, 1, 1, 1, 1], beat).astype(np.float32)
        path = Path(name, "long.npz")
        np.savez_compressed(path, ecg=leads, sampling_rate=float(rate), unit="mV", lead_names=LEAD_NAMES)
        before = memory_mb(pid)
        kept = [Visitor(address, f"long{i}") for i in range(4)]
        read = [one.click("Analyse", one.upload("long.npz", path.read_bytes()))[0] for one in kept]
        found["long_recording"] = {
            "file_kb": round(path.stat().st_size / 1000),
            "array_mb": round(leads.nbytes / 2**20),
            "read": sum(read),
            "memory_left_mb": round(memory_mb(pid) - before),
        }
        accepted = sum(bool(visitor.upload(f"{i}.npy", bytes([i]) * (UPLOAD_MB * 2**20))) for i in range(UPLOADS))
        stored = sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file() and file != path)
        found["uploads"] = {"tried_mb": UPLOADS * UPLOAD_MB, "accepted": accepted, "stored_mb": round(stored / 2**20)}
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page.run", description=__doc__.strip().splitlines()[0])
    parser.add_argument("--checkout", type=Path, default=PROJECT, help="whose app.py is measured (default: this one)")
    parser.add_argument("--users", type=int, default=20, help="visitors at once (default 20)")
    args = parser.parse_args(argv)
    print(json.dumps(measure(args.checkout.resolve(), args.users)))


if __name__ == "__main__":
    main()
