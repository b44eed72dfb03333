"""
What stands between the network and the page: which requests there are, how large they may be, how many at once, and
the headers that keep a browser from fetching anything foreign.

Gradio answers many more addresses than this page needs (files by any URL, recordings, its API): they are not here.
"""

import asyncio
import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from space.shelf import Shelf
from space.storage import QuotaError, Storage, Upload
from space.turns import BusyError, Turns


MAX_BODY = 128 * 2**10  # of a click: names of 100 files, 20 phrases of 200 characters, the form
MAX_OPEN, MAX_OPEN_OF_ONE = 1000, 250  # requests that are being answered: all, and of one address
BODY_S, UPLOAD_S = 10.0, 120.0  # in which a click, and an upload, must have arrived
TIDY_S = 20.0
API = "/gradio_api"
_PAGES = re.compile(
    rf"/|/(assets|static)/[\w./-]+|(?:{API})?/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/pwa_icon|"
    rf"{API}/(startup-events|heartbeat/[\w-]+)"
)
_CLICKS = re.compile(rf"{API}/(queue/join|cancel|reset)")
_RESULT = re.compile(r"/result/([\w-]{1,64})/(json|pdf)")
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_NOTHING_RUNS = "default-src 'none'; sandbox; frame-ancestors 'none'"

Result = Callable[[str, str, str], Awaitable[tuple[str, str, bytes]]]


def page_policy(document: bytes, framed_by: str = "") -> str:
    """
    Returns the Content-Security-Policy of an HTML document: of its inline scripts only those that it came with run,
    and nothing is fetched from, sent to or shown from anywhere else.

    Args:
        document (`bytes`): The HTML.
        framed_by (`str`, *optional*): Sites beside the page's own that may show it in a frame.
    """
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(document))
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # Gradio compiles the templates of its HTML blocks in the browser ('unsafe-eval') and sets styles inline.
    return (
        f"default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "media-src 'none'; object-src 'none'; frame-src 'none'; form-action 'none'; base-uri 'self'; "
        f"frame-ancestors 'self' {framed_by}"
    ).strip()


class Gate:
    """
    ASGI middleware around the page.

    Args:
        app (`ASGIApp`): The page.
        storage ([`Storage`]), shelf ([`Shelf`]), turns ([`Turns`]): What the page keeps, tidied here.
        result (`Callable`): Gives name, media type and content of a result's file by key, kind and address.
        max_file_bytes (`int`), max_upload_bytes (`int`): Of one file, and of the files of one upload.
        scripts (`dict[str, bytes]`, *optional*): The page's own, by path.
        framed_by (`str`, *optional*): See [`page_policy`].
    """

    def __init__(
        self,
        app: ASGIApp,
        storage: Storage,
        shelf: Shelf,
        turns: Turns,
        result: Result,
        max_file_bytes: int,
        max_upload_bytes: int,
        scripts: Mapping[str, bytes] | None = None,
        framed_by: str = "",
    ) -> None:
        self.app, self.storage, self.shelf, self.turns, self.result = app, storage, shelf, turns, result
        self.max_file_bytes, self.max_upload_bytes, self.framed_by = max_file_bytes, max_upload_bytes, framed_by
        self.scripts = scripts or {}
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        address = scope["client"][0] if scope.get("client") else "unknown"
        send = _Guarded(send, self.framed_by)
        if self._open.total() >= MAX_OPEN or self._open[address] >= MAX_OPEN_OF_ONE:
            await _say(503, "too many connections at once: try again in a minute")(scope, receive, send)
            return
        with _counted(self._open, address):
            await self._answer(scope, receive, send, address)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        named = _RESULT.fullmatch(path)
        if method in ("GET", "HEAD") and _PAGES.fullmatch(path):
            await self.app(scope, receive, send)
        elif method in ("GET", "HEAD") and path in self.scripts:
            # Asked for again each time: another version of the page may have another one.
            headers = {"cache-control": "no-cache"}
            await Response(self.scripts[path], media_type="text/javascript", headers=headers)(scope, receive, send)
        elif method == "GET" and path == f"{API}/queue/data":
            session = parse_qs(scope["query_string"].decode(errors="replace")).get("session_hash", [""])[0]
            with _counted(self.turns.listening, session):
                await self.app(scope, receive, send)
        elif method == "GET" and path == f"{API}/upload_progress":
            await PlainTextResponse('data: {"msg": "done"}\n\n', media_type="text/event-stream")(scope, receive, send)
        elif method == "GET" and named is not None:
            await (await self._file(named[1], named[2], address))(scope, receive, send)
        elif method == "POST" and path == f"{API}/upload":
            await (await self._upload(scope, receive, address))(scope, receive, send)
        elif method == "POST" and _CLICKS.fullmatch(path):
            await self._click(scope, receive, send)
        else:
            await _say(404, "not found")(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page's life, in which what is old is deleted every now and then, and all in the end."""

        async def tidy() -> None:
            while True:
                await asyncio.sleep(TIDY_S)
                self.shelf.tidy()
                await asyncio.to_thread(self.storage.tidy)

        tidying = asyncio.create_task(tidy())
        try:
            await self.app(scope, receive, send)
        finally:
            tidying.cancel()
            shutil.rmtree(self.storage.folder, ignore_errors=True)

    async def _file(self, key: str, kind: str, address: str) -> Response:
        try:
            name, media_type, content = await self.result(key, kind, address)
        except (BusyError, TimeoutError) as error:
            return _say(503, str(error))
        except ValueError as error:
            return _say(404, str(error))
        disposition = f'attachment; filename="{name.encode("ascii", "replace").decode().replace("?", "_")}"'
        headers = {"content-disposition": disposition, "cache-control": "no-store"}
        return Response(content, media_type=media_type, headers=headers)

    async def _click(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a click on, when it is small and names no files but uploads."""
        try:
            async with asyncio.timeout(BODY_S):
                body = b""
                async for part in Request(scope, receive).stream():
                    body += part
                    if len(body) > MAX_BODY:
                        await _say(413, f"expected at most {MAX_BODY:,} bytes")(scope, receive, send)
                        return
            paths = list(_paths_in(json.loads(body)))
        except TimeoutError:
            await _say(408, f"expected the whole request within {BODY_S:g} s")(scope, receive, send)
            return
        except ClientDisconnect:
            return
        except (ValueError, RecursionError):
            await _say(400, "expected JSON")(scope, receive, send)
            return
        if not all(isinstance(path, str) and self.storage.holds(path) for path in paths):
            await _say(400, "expected the names of files that were uploaded here")(scope, receive, send)
            return
        told = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return told.pop() if told else await receive()

        await self.app(scope, again, send)

    async def _upload(self, scope: Scope, receive: Receive, address: str) -> Response:
        """Stores an upload, in place of Gradio, which would store any number of any size until somebody looks."""
        length = Headers(scope=scope).get("content-length", "")
        if not length.isascii() or not length.isdigit():
            return _say(411, "expected an upload that states its size")
        if int(length) > self.max_upload_bytes:
            return _say(413, f"expected at most {self.max_upload_bytes // 2**20} MB at once")
        try:
            upload = await asyncio.to_thread(self.storage.reserve, address, int(length))
        except QuotaError as error:
            return _say(429, str(error))
        stored = False
        try:
            async with asyncio.timeout(UPLOAD_S):
                paths = await self._store(Request(scope, receive), upload)
            stored = True
            return JSONResponse([str(path) for path in paths])
        except TimeoutError:
            return _say(408, f"expected the whole upload within {UPLOAD_S:g} s")
        except (HTTPException, MultiPartException, ClientDisconnect, ValueError, KeyError) as error:
            return _say(400, str(getattr(error, "detail", error)) or "the upload broke off")
        finally:
            if not stored:
                self.storage.remove(upload.folder / "any")

    async def _store(self, request: Request, upload: Upload) -> list[Path]:
        async with request.form(max_files=self.storage.max_files, max_fields=4) as form:
            files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
            paths = [upload.path_of(file.filename or "") for file in files]
            if not files or len({str(path) for path in paths}) < len(files):
                raise ValueError(
                    "expected files of different names; those of several folders can be sent as a zip archive"
                )
            for file, path in zip(files, paths, strict=True):
                if (file.size or 0) > self.max_file_bytes:
                    raise ValueError(f"expected files of at most {self.max_file_bytes // 2**20} MB")
                await asyncio.to_thread(_copy, file.file, path)
        return paths


class _Guarded:
    """`send` with the headers; HTML is held back until its scripts are known."""

    def __init__(self, send: Send, framed_by: str) -> None:
        self._send, self._framed_by = send, framed_by
        self._start: Message | None = None
        self._document = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            if headers.get("content-type", "").startswith("text/html"):
                self._start = message
                return
            headers["content-security-policy"] = _NOTHING_RUNS
        elif self._start is not None:
            self._document += message.get("body", b"")
            if message.get("more_body"):
                return
            policy = page_policy(self._document, self._framed_by)
            MutableHeaders(scope=self._start)["content-security-policy"] = policy
            await self._send(self._start)
            self._start, message = None, {"type": "http.response.body", "body": self._document}
        await self._send(message)


def _say(status: int, sentence: str) -> Response:
    headers = {"retry-after": "60"} if status in (429, 503) else {}
    return PlainTextResponse(sentence, status, headers)


@contextmanager
def _counted(counter: Counter[str], name: str) -> Iterator[None]:
    counter[name] += 1
    try:
        yield
    finally:
        counter[name] -= 1
        if counter[name] <= 0:
            with suppress(KeyError):
                del counter[name]


def _paths_in(value: Any) -> Iterator[Any]:
    """What stands under "path", the place of a file, anywhere in a request."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "path" in one:
                yield one["path"]
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _copy(source: Any, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file)


__all__ = ["Gate", "page_policy"]
