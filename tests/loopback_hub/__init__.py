"""A small Hub on this machine, for tests: the unmodified clients create, push, load and stream against it.

It answers what huggingface_hub, transformers and datasets ask for repositories of models, data sets and spaces, and
keeps all in memory. A second port stands for the storage servers, which get no token.
"""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback_hub.answers import LFS_SUFFIXES, ROUTES
from tests.loopback_hub.repositories import Blob, Commit, HubError, Repository


FIRST_FILE = {".gitattributes": "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)}
BLOCK = 1 << 20


class LoopbackHub:
    """
    The server: `with LoopbackHub() as hub: ...`, then clients run in processes with `hub.environment(...)`.

    Three tokens are known: `write_token` and `read_token` of the user `user`, `stranger_token` of somebody else who
    may write, but not there. Repositories are named like `"models/user/name"`.

    `actions_left` makes it fail on purpose: each LFS upload and each commit uses one up, and the next is refused.
    None, the default, lets all through; so does `POST /fix`, by which the process itself ends the failure.
    """

    user, stranger = "clinic", "stranger"
    write_token, read_token, stranger_token = "hf_testwrite", "hf_testread", "hf_teststranger"
    invalid_token = "hf_testinvalid"

    def __init__(self) -> None:
        self.rights = {
            self.write_token: (self.user, "write"),
            self.read_token: (self.user, "read"),
            self.stranger_token: (self.stranger, "write"),
        }
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []  # method and path with query, in order of arrival
        self.actions_left: int | None = None
        self.lock = threading.RLock()
        self._servers = [Server(("127.0.0.1", 0), self) for _ in range(2)]
        self.endpoint, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def __enter__(self) -> "LoopbackHub":
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def environment(self, home: str | Path, token: str | None = write_token) -> dict[str, str]:
        """The environment of a process whose clients talk to this Hub alone; `home` is a folder for its caches."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not name.lower().endswith("_proxy")
        }
        settings = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(Path(home, "hf_home")),
            "HF_HUB_DISABLE_XET": "1",  # with it no server's answer makes the client upload over HTTP
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "NO_PROXY": "127.0.0.1",
        }
        return kept | settings | ({"HF_TOKEN": token} if token else {})

    def run(
        self, arguments: list[str], home: str | Path, token: str | None = write_token, cwd: str | Path | None = None
    ) -> subprocess.CompletedProcess:
        """Runs Python with these arguments in a process that knows this Hub alone, and returns how it ended."""
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(home, token),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def repository(self, name: str) -> Repository:
        """A repository by a name like `"datasets/user/name"`; `KeyError` where there is none."""
        return self.repositories[name]

    def create(self, name: str, private: bool = True) -> Repository:
        """Makes a repository, as the Hub does: with a first commit."""
        kind, repo_id = name.split("/", 1)
        repository = Repository(kind, repo_id, private)
        files = {path: Blob(text.encode(), lfs=False) for path, text in FIRST_FILE.items()}
        repository.add_commit("main", "initial commit", repository.namespace, files)
        self.repositories[name] = repository
        return repository

    def commits(self, name: str, revision: str = "main") -> list[Commit]:
        """The commits up to a revision, newest first, without the one that every repository begins with."""
        return self.repositories[name].history(revision)[:-1]

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision, without `.gitattributes`."""
        files = self.repositories[name].at(revision).files
        return {path: blob.content for path, blob in sorted(files.items()) if path != ".gitattributes"}

    def use_action(self) -> None:
        """Counts an upload or a commit; refuses it where the test wants the push to be interrupted."""
        with self.lock:
            if self.actions_left is None:
                return
            if self.actions_left == 0:
                # Clients repeat a request that is answered with 500, 502, 503 or 504, with growing pauses.
                raise HubError(501, "The connection broke down")
            self.actions_left -= 1


class Server(ThreadingHTTPServer):
    """One port of the Hub."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], hub: LoopbackHub):
        super().__init__(address, Handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    """Reads a request, finds the function that answers it, and writes the answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's acknowledgement
    server: Server

    def do_GET(self) -> None:  # noqa: D102
        self.respond()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args: object) -> None:  # noqa: D102
        pass

    def respond(self) -> None:
        """Answers one request."""
        self.hub = self.server.hub
        self.body = self.read_body()  # always: an unread body would be taken for the next request
        self.hub.requests.append((self.command, self.path))
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            for methods, pattern, answer in ROUTES:
                # The raw path is split before it is unquoted: revisions and folders carry %2F.
                found = re.fullmatch(pattern, url.path)
                if found and self.command in methods.split():
                    answer(self, **{name: unquote(text or "") for name, text in found.groupdict().items()})
                    return
            raise HubError(404, f"The loopback Hub knows no {self.command} {url.path}")
        except HubError as error:
            self.send(error.status, {"error": str(error)}, error.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (KeyError, TypeError, ValueError) as error:
            # Not 500, which clients would repeat.
            self.send(501, {"error": f"The loopback Hub does not understand {self.path}: {error!r}"})

    def read_body(self) -> bytes:
        """The body, of a stated length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        """Writes an answer: bytes as they are, anything else as JSON."""
        headers = {"Content-Type": "application/octet-stream"} | (headers or {})
        if not isinstance(content, bytes):
            content = b"" if content is None else json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        # An answer to HEAD states the length of what GET would bring.
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(content), BLOCK):
                self.wfile.write(content[start : start + BLOCK])

    def send_bytes(self, content: bytes, headers: dict[str, str]) -> None:
        """Writes a file, or the part of it that is asked for."""
        headers["Accept-Ranges"] = "bytes"
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted or wanted[0] == "bytes=-":
            return self.send(200, content, headers)
        first, last = wanted.groups()
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= stop:
            return self.send(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self.send(206, content[start:stop], headers)

    def who(self) -> tuple[str | None, str]:
        """User and role of the token; None without one."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not token:
            return None, "read"
        if token not in self.hub.rights:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.hub.rights[token]

    def repository(self, kind: str, repo_id: str, write: bool = False) -> Repository:
        """The repository, if the token may see it, and write to it where that is wanted."""
        user, role = self.who()
        repository = self.hub.repositories.get(f"{kind}/{repo_id}")
        if repository is None or (repository.private and user != repository.namespace):
            # As the public Hub does: without a token it does not even say that it does not exist.
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and (user != repository.namespace or role != "write"):
            raise HubError(403, f"You don't have the required permissions to write to {repo_id}")
        return repository

    def json_body(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body or b"{}")
