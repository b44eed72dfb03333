"""Two processes of torch.distributed on this machine, for tests that compare them with one."""

import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp


def run_two(worker: Callable[[int, int, str], None], folder: Path) -> Path:
    """Runs `worker(rank, port, folder)` in two processes, and returns the folder once both are done."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    multiprocessing.set_forkserver_preload(["train_clip", "train_cls"])  # imported once for all such tests
    mp.start_processes(worker, args=(port, str(folder)), nprocs=2, start_method="forkserver")
    return folder
