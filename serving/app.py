"""The ASGI application: what is asked at which address, and what is answered."""

import asyncio
import json
import logging
import re
import time
import uuid
from email.message import Message
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from serving.connections import REQUEST_ID, RETRY_AFTER_S, error_body
from serving.engine import Engine
from serving.shares import Full


logger = logging.getLogger("serve")

PREDICTING = ("/", "/predict")
PATHS = (*PREDICTING, "/health", "/ready", "/metrics")
EXPECTED = "expected POST / or GET /health, /ready or /metrics"
MAX_HEADERS = 100
PART = 65_536  # bytes of an answer that are sent at once
# What is read and thrown away of a refused body, so that the answer reaches a client that is still sending.
DRAIN_BYTES = 2**20
DRAIN_S = 1.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RefusedRequest(Exception):
    """A request that never reaches the model: HTTP status, name of the error, message."""

    def __init__(self, status: int, error_type: str, message: str):
        super().__init__(message)
        self.status, self.error_type = status, error_type


class Application:
    """
    Requests to answers: an ASGI application around one [`Engine`].

    Args:
        engine ([`Engine`]): Reads and computes.
    """

    def __init__(self, engine: Engine):
        self.engine = engine
        routes = [
            Route("/", self.health, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            *(Route(path, self.predict, methods=["POST"]) for path in PREDICTING),
        ]
        self.routes = Starlette(
            routes=routes, exception_handlers={RefusedRequest: _refusal, 404: _no_such, 405: _method}
        )
        self.routes.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request: gives it an id, counts it, logs it."""
        if scope["type"] != "http":
            await self.routes(scope, receive, send)
            return
        began = time.monotonic()
        given = dict(scope["headers"]).get(REQUEST_ID.encode(), b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["state"]["request_id"] = request_id
        status = 0

        async def send_known(message: AsgiMessage) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID.encode(), request_id.encode())]
            await send(message)

        self.engine.in_flight += 1
        try:
            await self._route(scope, receive, send_known)
        except ClientDisconnect:
            status = status or 499
        finally:
            self.engine.in_flight -= 1
            # The path and nothing of the query, which may name a patient's exam; no path that is not ours.
            path = scope["path"] if scope["path"] in PATHS else "(other)"
            method = scope["method"] if scope["method"] in ("GET", "POST") else "(other)"
            seconds = time.monotonic() - began
            self.engine.metrics.requests.labels(path, status).inc()
            if path in PREDICTING and method == "POST":
                self.engine.metrics.seconds.observe(seconds)
            logger.info("%s %s %s %s %.0f ms", request_id, method, path, status, 1000 * seconds)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: RefusedRequest | None
        if len(scope["headers"]) > MAX_HEADERS:
            refused = RefusedRequest(431, "InvalidRequest", f"expected at most {MAX_HEADERS} headers")
        else:
            refused = _with_path(scope)
        if refused is not None:
            await _refusal(Request(scope, receive, send), refused)(scope, receive, send)
            return
        await self.routes(scope, receive, send)

    async def health(self, request: Request) -> Response:
        """Says that the server lives, and which model it has."""
        return _json(200, json.dumps({"status": "ok", "model": self.engine.model_info}).encode())

    async def ready(self, request: Request) -> Response:
        """Says whether a request would be answered now."""
        reason = self.engine.not_ready()
        if reason is not None:
            raise RefusedRequest(503, "Busy", reason)
        return _json(200, b'{"status": "ready"}')

    async def metrics(self, request: Request) -> Response:
        """Says what was counted."""
        return Response(self.engine.metrics.text(), media_type=self.engine.metrics.content_type)

    async def predict(self, request: Request) -> Response:
        """Answers with the model."""
        reason = self.engine.not_ready(queue=False)
        if reason is not None:
            raise RefusedRequest(503, "Busy", reason)
        length = _content_length(request, self.engine.max_request_bytes)
        address = self._address(request)
        with self.engine.bodies(address) as bodies:
            body = await self._body(request, length, bodies)
            query = request.scope["query_string"].decode("latin-1")
            head = {"content_type": _content_type(request), "query": query}
            try:
                status, answer = await self.engine.answer(address, head, body, request.state.request_id)
            except Full as error:
                raise RefusedRequest(503, "Busy", "as many requests are waiting as may") from error
            # A handler of another project may raise anything; its message may quote a recording.
            except Exception as error:
                logger.error("%s: %s", request.state.request_id, type(error).__name__)
                message = "the request could not be answered; the server's log says why"
                raise RefusedRequest(500, "InternalError", message) from error
        return Answer(status, answer, self.engine, address)

    def _address(self, request: Request) -> str:
        """Whose request it is: that of a trusted proxy is of whom the proxy says that it had it from."""
        address = request.client.host if request.client else ""
        if address in self.engine.settings.proxies:
            return request.headers.get("x-forwarded-for", address).rpartition(",")[2].strip()[:64]
        return address

    async def _body(self, request: Request, length: int, bodies: Any) -> bytes:
        seconds = self.engine.settings.timeout_s
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for part in request.stream():
                    bodies.take(len(part))
                    body += part
        except TimeoutError as error:
            raise RefusedRequest(408, "Timeout", f"expected the request within {seconds:g} s") from error
        except Full as error:
            raise RefusedRequest(503, "Busy", "the requests that are being sent fill the memory for them") from error
        if len(body) < length:
            raise RefusedRequest(400, "InvalidRequest", f"expected {length:,} bytes: found {len(body):,}")
        return bytes(body)


class Answer(Response):
    """An answer, which counts as long as its client has not taken it; its connection says how long that may be."""

    def __init__(self, status: int, body: bytes, engine: Engine, address: str):
        super().__init__(body, status, {"content-type": "application/json"})
        self.engine, self.address = engine, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it in parts; uvicorn waits with each until the last was taken."""
        size = len(self.body)
        try:
            self.engine.answers.take(self.address, size)
        except Full:
            refused = RefusedRequest(503, "Busy", "answers that nobody takes fill the memory for them")
            await _refusal(Request(scope, receive, send), refused)(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, size, PART):
                part = bytes(self.body[start : start + PART])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.engine.answers.give(self.address, size)


class Refusal(Response):
    """An error after which the connection ends; lets the client finish its sentence, or it would not read it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer at once, then reads on for a moment."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        if b"expect" not in dict(scope["headers"]):
            await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    drained = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while drained < DRAIN_BYTES:
                message = await receive()
                drained += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, {"content-type": "application/json", **(headers or {})})


def _refusal(request: Request, error: Any) -> Response:
    body = error_body(error.error_type, str(error), request.state.request_id)
    headers = {"content-type": "application/json", "connection": "close"}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_S)
    return Refusal(body, error.status, headers)


def _no_such(request: Request, error: Exception) -> Response:
    return _refusal(request, RefusedRequest(404, "NotFound", EXPECTED))


def _method(request: Request, error: Exception) -> Response:
    if request.method in ("GET", "POST"):
        return _no_such(request, error)
    return _refusal(request, RefusedRequest(501, "InvalidRequest", EXPECTED))


def _with_path(scope: Scope) -> RefusedRequest | None:
    """Takes the path from a target that names the host as well; what is no target at all is refused."""
    target = scope["raw_path"].decode("latin-1")
    if target.startswith("/"):
        return None
    try:
        address = urlsplit(target)
    except ValueError:
        address = urlsplit("")
    if address.scheme not in ("http", "https") or not address.netloc:
        return RefusedRequest(400, "InvalidRequest", "expected a path in the first line of the request")
    scope["path"] = address.path or "/"
    return None


def _content_type(request: Request) -> str:
    """The content type without its parameters; empty where none was sent."""
    if "content-type" not in request.headers:
        return ""
    message = Message()
    message["content-type"] = request.headers["content-type"]
    return message.get_content_type()


def _content_length(request: Request, most: int) -> int:
    """Bytes that the client says it sends; refuses them before any is read."""
    if request.headers.get("transfer-encoding"):
        raise RefusedRequest(411, "InvalidRequest", "expected a Content-Length, not chunks")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedRequest(415, "UnsupportedFormat", "expected a body that is not compressed")
    stated = request.headers.getlist("content-length")
    if not stated:
        raise RefusedRequest(411, "InvalidRequest", "expected a Content-Length")
    if len(stated) > 1 or not stated[0].isascii() or not stated[0].isdigit() or len(stated[0]) > 18:
        raise RefusedRequest(400, "InvalidRequest", "expected one Content-Length, a number")
    if int(stated[0]) > most:
        raise RefusedRequest(413, "TooLarge", f"expected a body of at most {most:,} bytes: found {int(stated[0]):,}")
    return int(stated[0])


__all__ = ["Application"]
