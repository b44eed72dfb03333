"""What a server allows, in one place; docs/endpoint.md says why."""

import os
from dataclasses import dataclass, field


MEBIBYTE = 2**20


def usable_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """
    Limits of a server. Where something is limited in all, one address gets half of it.

    Args:
        timeout_s (`float`): For a client to send a whole request.
        write_timeout_s (`float`): For a client to take a part of its answer, 64 KiB or less.
        grace_s (`float`): For what is accepted to be answered, when the server is asked to stop.
        readers (`int`): Processes that read requests.
        reader_cpu_s, reader_memory_mb (`float`): What one request may take in such a process: processor time, MiB.
        workers (`int`): Threads that compute, each on one core.
        max_batch (`int`): ECGs that a worker takes at once.
        batch_wait_s (`float`): How long a worker waits at most for ECGs that are being read.
        max_requests (`int`): That are read, wait or are computed at a time.
        max_connections (`int`): In all.
        max_body_bytes, max_answer_bytes (`int`): Of all requests, and all answers that are not taken yet.
        proxies (`tuple[str, ...]`): Addresses whose `X-Forwarded-For` is believed.
    """

    timeout_s: float = 20.0  # 32 MiB take 14 s at 20 Mbit/s
    write_timeout_s: float = 5.0
    grace_s: float = 30.0
    readers: int = field(default_factory=lambda: usable_cores() + 1)
    reader_cpu_s: float = 20.0
    reader_memory_mb: float = 1024.0
    workers: int = field(default_factory=usable_cores)
    max_batch: int = 8
    # A busy core takes about as long for eight ECGs, and whoever waits leaves it to those that read: nothing is lost
    # but where requests take longer to be read, for which others do not wait.
    batch_wait_s: float = 0.2
    max_requests: int = 128
    max_connections: int = 512
    max_body_bytes: int = 256 * MEBIBYTE
    max_answer_bytes: int = 256 * MEBIBYTE
    proxies: tuple[str, ...] = ()

    @property
    def reader_wall_s(self) -> float:
        """Seconds for a request in a process that reads, which may have to share its core."""
        return 3 * self.reader_cpu_s


__all__ = ["MEBIBYTE", "Settings", "usable_cores"]
