"""Clients of the benchmark: polite ones that are timed, and those that are meant to harm."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from benchmarks.serving.payloads import HEAVY, Ask, long_answer


ATTACKERS = "127.0.0.2"  # Linux has the whole of 127.0.0.0/8
UNCONNECTED, UNANSWERED = -1, 0
SENDERS = 16
SOCKETS = 1_082
NEVER_READ, TRICKLE, SLOW = "16 clients that never read", "1,082 sockets, a byte in 0.7 s", "16 slow senders"
ATTACKS = (*HEAVY, NEVER_READ, TRICKLE, SLOW)


@dataclass
class Timed:
    """
    What clients saw: seconds of each answer with status 200 and when it came, how often each status, when requests
    began that were sent and have no answer, and how many could not be sent, as nobody listened.
    """

    seconds: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    unanswered: list[float] = field(default_factory=list)
    unconnected: int = 0

    def add(self, status: int, began: float) -> None:
        if status == 200:
            self.came.append(time.monotonic())
            self.seconds.append(self.came[-1] - began)
        if status == UNCONNECTED:
            self.unconnected += 1
        elif status == UNANSWERED:
            self.unanswered.append(began)
        else:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def extend(self, other: "Timed") -> None:
        """Adds what others saw, or the same at another time."""
        self.seconds += other.seconds
        self.came += other.came
        self.unanswered += other.unanswered
        self.unconnected += other.unconnected
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count


async def ask(port: int, text: bytes, source: str | None = None) -> int:
    """The status of an answer that was read whole, `UNANSWERED`, or `UNCONNECTED`."""
    try:
        local = None if source is None else (source, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
    except OSError:
        return UNCONNECTED
    try:
        writer.write(text)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split()[1])
    except (OSError, EOFError, asyncio.LimitOverrunError):
        return UNANSWERED
    finally:
        writer.close()


async def in_turn(port: int, request: Ask, until: float, timed: Timed, pause: float = 0.0) -> None:
    """One client: asks, waits for the answer, asks again; after a refusal it waits as it was told."""
    text = request.text("Connection: close")
    while time.monotonic() < until:
        began = time.monotonic()
        status = await ask(port, text)
        timed.add(status, began)
        await asyncio.sleep(pause if status == 200 else max(pause, 1.0))


def run_clients(port: int, request: Ask, n_clients: int, seconds: float, pause: float = 0.0) -> Timed:
    """What so many clients saw in so many seconds."""
    timed = Timed()

    async def run() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(in_turn(port, request, until, timed, pause) for _ in range(n_clients)))

    asyncio.run(run())
    return timed


def run_requests(port: int, request: Ask, n_requests: int, n_clients: int = 16) -> Timed:
    """What the clients saw that asked so often in all."""
    timed = Timed()
    left = iter(range(n_requests))

    async def client() -> None:
        text = request.text("Connection: close")
        for _ in left:
            began = time.monotonic()
            timed.add(await ask(port, text), began)

    async def run() -> None:
        await asyncio.gather(*(client() for _ in range(n_clients)))

    asyncio.run(run())
    return timed


def attack(name: str, port: int, seconds: float, source: str) -> None:
    """Attacks for so long; meant for a process of its own."""
    asyncio.run(_attack(name, port, time.monotonic() + seconds, source))


async def _attack(name: str, port: int, until: float, source: str) -> None:
    if name in HEAVY:
        text = HEAVY[name]().text("Connection: close")
        await asyncio.gather(*(_again(port, text, until, source) for _ in range(4)))
    elif name == NEVER_READ:
        await asyncio.gather(*(_silent(port, long_answer().text(), until, source) for _ in range(SENDERS)))
    elif name == TRICKLE:
        await asyncio.gather(*(_trickle(port, b"POST / HTTP/1.1\r\nX: ", 0.7, until, source) for _ in range(SOCKETS)))
    else:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n"
        await asyncio.gather(*(_trickle(port, head, 0.2, until, source) for _ in range(SENDERS)))


async def _again(port: int, text: bytes, until: float, source: str) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.1, until - time.monotonic())):
                if await ask(port, text, source) <= 0:
                    await asyncio.sleep(0.1)


async def _silent(port: int, text: bytes, until: float, source: str) -> None:
    """Asks for a long answer, and never reads."""
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), limit=1)
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way not to read
            writer.write(text)
            await asyncio.sleep(min(10, max(0, until - time.monotonic())))
            writer.transport.abort()
        except OSError:
            await asyncio.sleep(0.1)


async def _trickle(port: int, head: bytes, pause: float, until: float, source: str) -> None:
    """Sends a byte now and then, and begins anew when it is cut off."""
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            writer.write(head)
            while time.monotonic() < until and not reader.at_eof():
                writer.write(b"a")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1024), pause)
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)


__all__ = ["ATTACKERS", "ATTACKS", "Timed", "ask", "attack", "run_clients", "run_requests"]
