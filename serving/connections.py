"""Connections: how many there may be, and how long each may take to send and to read."""

import asyncio
import json
import logging
import sys
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.settings import Settings
from serving.shares import Full, Shares


logger = logging.getLogger("serve")

RETRY_AFTER_S = 1
REQUEST_ID = "x-request-id"


def error_body(error_type: str, message: str, request_id: str) -> bytes:
    """Returns the body of an error, in the one form that all errors have."""
    return json.dumps({"error": {"type": error_type, "message": message, "request_id": request_id}}).encode()


class Connections:
    """
    All connections of a server.

    Where there are too many, the oldest that has not sent its request yet makes room; only where all have is a new one
    refused. So whoever sends slowly keeps nobody out.

    Args:
        settings ([`Settings`]): Their limits.
        on_refusal (`Callable`): Called with the name of the error of each request that never became one.
    """

    def __init__(self, settings: Settings, on_refusal: Callable[[str], None]):
        self.settings, self.on_refusal = settings, on_refusal
        most = settings.max_connections
        self.shares = Shares(most, most // 2)
        self.sending: dict[LimitedProtocol, None] = {}  # in the order in which they began

    def admit(self, connection: "LimitedProtocol") -> bool:
        """Counts a connection; False where it is one too many."""
        for _ in range(2):
            try:
                self.shares.take(connection.share)
                return True
            except Full:
                crowded = self.shares.taken < self.shares.total  # by its own address
                slow = (one for one in self.sending if not crowded or one.share == connection.share)
                slowest = next(slow, None)
                if slowest is None:
                    return False
                slowest.refuse(HTTPStatus.REQUEST_TIMEOUT, "Timeout", "others came while the request was being sent")
                self.leave(slowest)  # now, and not when it is closed
        return False

    def leave(self, connection: "LimitedProtocol") -> None:
        """Forgets a connection, where it was admitted."""
        self.sending.pop(connection, None)
        if connection.admitted:
            connection.admitted = False
            self.shares.give(connection.share)


class LimitedProtocol(H11Protocol):
    """uvicorn's connection, with limits: of their number, and of the time to send a request and to take its answer."""

    limits: Connections  # set by the subclass that a server makes
    admitted = False
    share = ""
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection, or refuses it."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        # A proxy brings everybody's requests: it counts against the limit in all, not against that of an address.
        self.share = f"{address} {id(self)}" if address in self.limits.settings.proxies else address
        self.admitted = self.limits.admit(self)
        if self.admitted:
            self._await_request()
        else:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Busy", "too many connections are open")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_waiting()
        if self._writing is not None:
            self._writing.cancel()
        self.limits.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Passes on what comes; the time for a head begins with the connection, or with its first byte."""
        if self.transport.is_closing():
            return
        if self._timer is None and self._is_idle():
            self._await_request()
        super().data_received(data)
        if not self._is_idle():
            self._stop_waiting()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_request(self) -> None:
        self.limits.sending[self] = None
        self._timer = self.loop.call_later(self.limits.settings.timeout_s, self._too_slow)

    def _stop_waiting(self) -> None:
        self.limits.sending.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        seconds = self.limits.settings.timeout_s
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "Timeout", f"expected the request within {seconds:g} s")

    def refuse(self, status: HTTPStatus, error_type: str, message: str) -> None:
        """Answers what never became a request, and closes."""
        self._stop_waiting()
        request_id = uuid.uuid4().hex
        body = error_body(error_type, message, request_id)
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Request-ID: {request_id}",
            "Connection: close",
        ]
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            head.append(f"Retry-After: {RETRY_AFTER_S}")
        self.limits.on_refusal(error_type)
        logger.info("%s - - %s", request_id, status.value)
        if not self.transport.is_closing():
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
            self.transport.close()
        self._watch_writing()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP in the form of all other errors; uvicorn calls this while it handles the error."""
        error = sys.exc_info()[1]
        hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else HTTPStatus.BAD_REQUEST
        status = HTTPStatus(hint)
        self.refuse(status, "InvalidRequest", "expected a request in HTTP/1.1" if status == 400 else status.phrase)

    def pause_writing(self) -> None:
        """Cuts the connection when its client does not go on reading."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._writing is not None and not self.transport.is_closing():
            self._writing.cancel()
            self._writing = None

    def on_response_complete(self) -> None:
        """The rest of an answer, too, is taken in time."""
        if self.transport.get_write_buffer_size():
            self._watch_writing()
        super().on_response_complete()

    def _watch_writing(self) -> None:
        if self._writing is None:
            self._writing = self.loop.call_later(self.limits.settings.write_timeout_s, self._not_read)

    def _not_read(self) -> None:
        self._writing = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def protocol_class(connections: Connections) -> Any:
    """Returns the class of the connections of one server."""
    return type("ServerProtocol", (LimitedProtocol,), {"limits": connections})


__all__ = ["REQUEST_ID", "RETRY_AFTER_S", "Connections", "error_body", "protocol_class"]
