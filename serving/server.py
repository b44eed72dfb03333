"""Starting, running and stopping a server."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from serving.app import Application
from serving.connections import Connections, protocol_class
from serving.engine import Engine
from serving.settings import Settings


logger = logging.getLogger("serve")

CLOSE_S = 5  # for connections to end, once everything is answered


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which answers what it has accepted before it stops, and then ends well."""

    def __init__(self, config: uvicorn.Config, engine: Engine):
        super().__init__(config)
        self.engine = engine
        self.lost = 0  # requests that were not answered in time
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops in good order; at once when asked twice. uvicorn would end by the signal when all is done."""
        if self.engine.draining or self._loop is None:
            self.lost = self.engine.in_flight
            self.should_exit = self.force_exit = True
        else:
            self.stop()

    def stop(self) -> None:
        """Refuses what is new, answers what was accepted, then ends; from any thread."""
        self.engine.draining = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._answer_the_rest())

    async def _answer_the_rest(self) -> None:
        logger.info("stopping: %d requests are being answered", self.engine.in_flight)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.engine.settings.grace_s):
                while self.engine.in_flight:
                    await asyncio.sleep(0.02)
        self.lost = self.engine.in_flight
        if self.lost:
            logger.error("%d requests were not answered within %g s", self.lost, self.engine.settings.grace_s)
        self.should_exit = True


class EndpointServer:
    """
    A server of one model.

    Args:
        host (`str`): Address to listen at.
        port (`int`): 0 takes a free one.
        settings ([`Settings`], *optional*): Its limits.

    Raises:
        `OSError`: where the address cannot be listened at.
    """

    def __init__(self, host: str, port: int, settings: Settings | None = None):
        self.settings = Settings() if settings is None else settings
        self.engine = Engine(self.settings)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, port), family=family, backlog=1024)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        connections = Connections(self.settings, lambda name: self.engine.metrics.errors.labels(name).inc())
        self.engine.metrics.watch("connections", "Open connections", lambda: connections.shares.taken)
        config = uvicorn.Config(
            Application(self.engine),
            http=protocol_class(connections),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSE_S,
        )
        self.server = DrainingServer(config, self.engine)

    def load(self, handler: Callable[[dict[str, Any]], Any], folder: str) -> None:
        """Begins to answer with the handler of a folder; until then nothing is ready."""
        self.engine.load(handler, folder)

    def run(self) -> int:
        """Serves until it is stopped; returns how many accepted requests were not answered."""
        self.server.run(sockets=[self.socket])
        return self.server.lost

    def close(self) -> None:
        """Ends what the server has behind it, once it neither loads nor runs."""
        self.engine.stop()

    def stop(self) -> None:
        """Refuses what is new, answers what was accepted, then ends; from any thread."""
        self.server.stop()

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Serves in a thread of its own; gives the port."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self.address[1]
        finally:
            self.stop()
            thread.join()
            self.close()


__all__ = ["EndpointServer"]
