"""A server on this machine that answers as Inference Endpoints would, to try a model before it is published.

It imports the `handler.py` of the model's folder, as the endpoint does. One process, no encryption, no passwords: for
trying out, not for the open internet.
"""

import argparse
import importlib.util
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


logger = logging.getLogger("serve")

# A table of one column has nothing by which to tell it. The handler knows every other kind by how its bytes begin.
CONTENT_FORMATS = {"text/csv": "csv", "text/tab-separated-values": "csv"}
JSON_TYPES = ("application/json", "text/json")
DEFAULT_PORT = 8080
DEFAULT_TIMEOUT_S = 20.0  # to send a whole request; 32 MiB take 14 s at 20 Mbit/s
MAX_CONNECTIONS = 16
# What is read and thrown away of a refused body, so that the answer reaches a client that is still sending.
DRAIN_BYTES = 2**20
DRAIN_S = 2.0

EPILOG = """
examples:
  python serve.py
  python serve.py --model_name_or_path runs/cls
  curl http://127.0.0.1:8080/health
  curl -H 'Content-Type: text/csv' --data-binary @ecg.csv 'http://127.0.0.1:8080/?sampling_rate=500&unit=mV'
  curl -H 'Content-Type: application/json' --data @request.json http://127.0.0.1:8080/

docs/endpoint.md describes requests, answers and limits. The code in the folder is run: serve what you trust.
"""


class RefusedRequest(Exception):
    """A request that never reaches the model: HTTP status, name of the error, message."""

    def __init__(self, status: HTTPStatus, error_type: str, message: str):
        super().__init__(message)
        self.status, self.error_type = status, error_type


class EndpointServer(ThreadingHTTPServer):
    """
    Serves one handler; each connection brings one request and has its own thread.

    Args:
        address (`tuple[str, int]`): Host and port; port 0 takes a free one.
        handler: An `EndpointHandler`: called with `inputs` and `parameters`.
        timeout_s (`float`): Time for a client to send a whole request.
    """

    daemon_threads = True
    request_queue_size = 64  # or a burst waits a second for its next try to connect

    def __init__(self, address: tuple[str, int], handler: Callable[[dict[str, Any]], Any], timeout_s: float):
        self.handler = handler
        # What the handler of a folder says of itself; any other callable can be served too.
        inner = getattr(handler, "handler", handler)
        self.model_info = getattr(inner, "model_info", {})
        self.statuses = getattr(inner, "error_types", {})
        self.max_bytes = getattr(inner, "max_request_bytes", 2**25)
        self.timeout_s = timeout_s
        self.free_connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, EndpointRequestHandler)


class EndpointRequestHandler(BaseHTTPRequestHandler):
    """One connection: `POST /` or `POST /predict` with an ECG, `GET /` or `GET /health`."""

    server: EndpointServer
    protocol_version = "HTTP/1.1"  # else clients are not told in time that a body is too large
    server_version = "ecgclip"
    sys_version = ""
    refused = False
    expired = False

    def handle(self) -> None:
        """Answers one request, which has to arrive in time however it trickles."""
        if not self.server.free_connections.acquire(blocking=False):
            self.close_connection = True
            self.requestline, self.request_version, self.command = "", self.protocol_version, "POST"
            self._send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Busy", f"{MAX_CONNECTIONS} requests are being answered")
            return
        self.deadline = threading.Timer(self.server.timeout_s, self._expire)
        self.deadline.daemon = True
        self.deadline.start()
        try:
            super().handle()
        except ConnectionError:  # the client left
            self.close_connection = True
        finally:
            self.deadline.cancel()
            self.server.free_connections.release()

    def do_GET(self) -> None:
        """Says that the server lives, and which model it has."""
        if urlsplit(self.path).path not in ("/", "/health"):
            self._send_error(HTTPStatus.NOT_FOUND, "NotFound", "expected GET /health or POST /")
            return
        self._send(HTTPStatus.OK, {"status": "ok", "model": self.server.model_info})

    def do_POST(self) -> None:
        """Answers with the model."""
        try:
            data = self._read_request()
        except RefusedRequest as error:
            self._send_error(error.status, error.error_type, str(error))
            return
        self.deadline.cancel()
        answer = self.server.handler(data)
        failed = answer.get("error") if isinstance(answer, dict) else None
        status = HTTPStatus(self.server.statuses.get(failed["type"], 400)) if failed else HTTPStatus.OK
        self._send(status, answer)

    def handle_expect_100(self) -> bool:
        """Refuses a body that is too large before the client begins to send it."""
        try:
            self._content_length()
        except RefusedRequest as error:
            self._send_error(error.status, error.error_type, str(error))
            return False
        return super().handle_expect_100()

    def _content_length(self) -> int:
        """Bytes that the client says it sends; refuses them before any is read."""
        if self.headers.get("Transfer-Encoding"):
            raise RefusedRequest(HTTPStatus.LENGTH_REQUIRED, "InvalidRequest", "expected a Content-Length, not chunks")
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RefusedRequest(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedFormat", "expected a body that is not compressed"
            )
        stated = self.headers.get_all("Content-Length") or []
        if not stated:
            raise RefusedRequest(HTTPStatus.LENGTH_REQUIRED, "InvalidRequest", "expected a Content-Length")
        if len(stated) > 1 or not stated[0].isascii() or not stated[0].isdigit() or len(stated[0]) > 18:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "InvalidRequest", "expected one Content-Length, a number")
        if int(stated[0]) > self.server.max_bytes:
            raise RefusedRequest(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "TooLarge",
                f"expected a body of at most {self.server.max_bytes:,} bytes: found {int(stated[0]):,}",
            )
        return int(stated[0])

    def _read_request(self) -> dict[str, Any]:
        """`inputs` and `parameters` of a request, whatever its content type."""
        self._check_deadline()
        address = urlsplit(self.path)
        if address.path not in ("/", "/predict"):
            raise RefusedRequest(HTTPStatus.NOT_FOUND, "NotFound", "expected POST / or GET /health")
        length = self._content_length()
        body = self._read_body(length)
        content_type = self.headers.get_content_type() if "Content-Type" in self.headers else JSON_TYPES[0]
        try:
            parameters = dict(parse_qsl(address.query, keep_blank_values=True, strict_parsing=bool(address.query)))
        except ValueError as error:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "InvalidRequest", "expected a query of name=value") from error
        if content_type not in JSON_TYPES:
            form = CONTENT_FORMATS.get(content_type)
            return {"inputs": body, "parameters": ({"format": form} if form else {}) | parameters}
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "InvalidRequest", "expected a body in JSON") from error
        if parameters and isinstance(data, dict) and "parameters" not in data:
            data["parameters"] = parameters
        return data

    def _read_body(self, length: int) -> bytes:
        try:
            body = self.rfile.read(length)
        except OSError:
            body = b""
        self._check_deadline()
        if len(body) < length:
            raise RefusedRequest(
                HTTPStatus.BAD_REQUEST, "InvalidRequest", f"expected {length:,} bytes: found {len(body):,}"
            )
        return body

    def _check_deadline(self) -> None:
        if self.expired:
            raise RefusedRequest(
                HTTPStatus.REQUEST_TIMEOUT, "Timeout", f"expected the request within {self.server.timeout_s:g} s"
            )

    def _expire(self) -> None:
        """Ends reading, not writing: whoever is late is told so."""
        self.expired = True
        try:
            self.connection.shutdown(socket.SHUT_RD)
        except OSError:  # the client left
            return

    def _send_error(self, status: HTTPStatus, error_type: str, message: str) -> None:
        self.refused = True
        self._send(status, {"error": {"type": error_type, "message": message}})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what `http.server` refuses by itself in the form of all other errors."""
        if self.expired:
            self._send_error(HTTPStatus.REQUEST_TIMEOUT, "Timeout", f"expected it within {self.server.timeout_s:g} s")
            return
        self._send_error(HTTPStatus(code), "InvalidRequest", message or HTTPStatus(code).phrase)

    def _send(self, status: HTTPStatus, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.close_connection = True
        self.request_version = self.protocol_version  # what is no HTTP at all would get an answer without a status
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        """Closes; after a refusal lets the client finish its sentence, or it would never read the answer."""
        super().finish()
        if self.refused and not self.expired:
            try:
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(DRAIN_S)
                drained = 0
                while drained < DRAIN_BYTES and (block := self.connection.recv(65_536)):
                    drained += len(block)
            except OSError:  # the client left
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Logs method, path and status; the query may name a patient's exam."""
        status = args[1] if len(args) > 1 else ""
        path = getattr(self, "path", "").partition("?")[0]
        logger.info("%s %s %s", getattr(self, "command", None), path, status)


def load_handler(model_name_or_path: str) -> Any:
    """
    Returns the `EndpointHandler` of a model's own `handler.py`, loaded as Inference Endpoints loads it.

    Args:
        model_name_or_path (`str`): Folder, or repository id on the Hub.

    Raises:
        `FileNotFoundError`: for a folder without `handler.py`.
    """
    folder = Path(model_name_or_path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model_name_or_path))
    path = folder / "handler.py"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: found no handler.py: expected a folder written by train_cls, train_clip or save_for_hub"
        )
    spec: Any = importlib.util.spec_from_file_location("handler.EndpointHandler", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


def default_model() -> str:
    """Returns the folder of the classifier that comes with ecgclip."""
    from modeling_ecgclip.pretrained_ecgclip import pretrained_folder  # which a folder with its own code does without

    return str(pretrained_folder())


def main(argv: list[str] | None = None) -> int:
    """Serves until it is interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_name_or_path",
        help="folder of a model, or its repository id on the Hub (default: the classifier that comes with ecgclip, "
        "trained on simulated ECGs)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 lets others in (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--timeout_s",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        help="for a client to send a request (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        handler = load_handler(arguments.model_name_or_path or default_model())
        server = EndpointServer((arguments.host, arguments.port), handler, arguments.timeout_s)
    except (OSError, ValueError, OverflowError) as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        address: Any = server.server_address
        host, port = address[:2]
        print(f"{server.model_info.get('architecture', 'model')} at http://{host}:{port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
