"""The gate by itself, around a page that says what reached it."""

import asyncio
import json
import re
from pathlib import Path

import pytest


pytest.importorskip("starlette", reason="the page needs gradio: pip install -e '.[app]'")

from starlette.responses import HTMLResponse, JSONResponse  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from space import gate as gate_module  # noqa: E402
from space.gate import API, MAX_BODY, Gate, page_policy  # noqa: E402
from space.shelf import Shelf  # noqa: E402
from space.storage import Storage  # noqa: E402
from space.turns import BusyError, Turns  # noqa: E402


DOCUMENT = "<html><script>one()</script><script type='module' src='./a.js'></script><script x>two()</script></html>"
MB = 2**20


async def inner(scope, receive, send):
    """A page: a document at `/`, and elsewhere what was asked."""
    if scope["path"] == "/":
        await HTMLResponse(DOCUMENT)(scope, receive, send)
        return
    body = b""
    while scope["method"] == "POST":
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await JSONResponse({"path": scope["path"], "body": body.decode()})(scope, receive, send)


async def result(key, kind, address):
    if key == "gone":
        raise ValueError("no longer kept: upload the ECG again")
    if key == "busy":
        raise BusyError("40 others are waiting")
    return f"<b>é.{kind}", f"application/{kind}", b"content"


@pytest.fixture
def gate(tmp_path):
    storage = Storage(tmp_path / "uploads", 8 * MB, 3 * MB, 10, 5, max_files=3, keep_s=60)
    limits = {"max_file_bytes": MB, "max_upload_bytes": 2 * MB}
    return Gate(inner, storage, Shelf(2, MB, 60), Turns(), result, **limits, scripts={"/own.js": b"own()"})


@pytest.fixture
def client(gate):
    return TestClient(gate)


def files_of(*contents):
    return [("files", (name, content)) for name, content in contents]


class TestRequests:
    @pytest.mark.parametrize(
        "path",
        [
            f"{API}/file=http://127.0.0.1:9/x",
            f"{API}/file=/etc/passwd",
            f"{API}/proxy=http://127.0.0.1:9/x",
            f"{API}/info",
            f"{API}/deep_link",
            f"{API}/stream/a/1/2/playlist.m3u8",
            "/config",
            "/monitoring",
            "/assets/../../etc/passwd",
            f"{API}/call/show/1",
            "/result/../x/json",
            "/result/key/exe",
        ],
    )
    def test_what_the_page_does_not_need_is_not_there(self, client, path):
        assert client.get(path).status_code == 404

    @pytest.mark.parametrize("name", ["component_server", "process_recording", "run/x", "call/x", "api/x", "stream/x"])
    def test_nor_is_gradio_s_interface(self, client, name):
        assert client.post(f"{API}/{name}", json={"data": []}).status_code == 404

    def test_what_it_needs_is(self, client):
        for path in (
            "/assets/index-a.js",
            "/static/img/a.svg",
            "/theme.css",
            f"{API}/heartbeat/abc",
            "/manifest.json",
        ):
            assert client.get(path).json()["path"] == path

    def test_a_click_is_handed_on_whole(self, client):
        click = {"data": [None, "é"], "fn_index": 1, "session_hash": "s"}
        answer = client.post(f"{API}/queue/join", json=click).json()
        assert json.loads(answer["body"]) == click

    @pytest.mark.parametrize(
        ("content", "status"),
        [(b"x" * (MAX_BODY + 1), 413), (b"no json", 400), (b"[" * 60_000, 400), (b"\xff\xfe", 400)],
    )
    def test_clicks_are_small_and_json(self, client, content, status):
        assert client.post(f"{API}/queue/join", content=content).status_code == status

    @pytest.mark.parametrize("path", ["http://127.0.0.1:9/big", "/etc/passwd", "../x", 7, None, ""])
    def test_a_click_names_only_uploads(self, client, path):
        click = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]], "session_hash": "s"}
        answer = client.post(f"{API}/queue/join", json=click)
        assert (answer.status_code, answer.text) == (400, "expected the names of files that were uploaded here")

    def test_own_scripts_are_served_from_the_pages_own_address(self, client):
        answer = client.get("/own.js")
        assert answer.content == b"own()" and answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/other.js").status_code == client.post("/own.js").status_code == 404

    def test_listening_sessions_are_known(self, gate):
        seen = []

        async def app(scope, receive, send):
            seen.append(dict(gate.turns.listening))
            await JSONResponse({})(scope, receive, send)

        gate.app = app
        TestClient(gate).get(f"{API}/queue/data?session_hash=abc")
        assert seen == [{"abc": 1}] and not gate.turns.listening

    def test_connections_are_counted(self, gate, monkeypatch):
        monkeypatch.setattr(gate_module, "MAX_OPEN_OF_ONE", 2)
        release = asyncio.Event()

        async def app(scope, receive, send):
            await release.wait()
            await JSONResponse({})(scope, receive, send)

        gate.app = app

        async def ask(address):
            sent = []

            async def send(message):
                sent.append(message)

            scope = {"type": "http", "method": "GET", "path": "/theme.css", "client": (address, 1), "headers": []}
            await gate(scope, None, send)
            return sent[0]["status"]

        async def scenario():
            waiting = [asyncio.create_task(ask("a")) for _ in range(2)]
            await asyncio.sleep(0)
            refused = await ask("a")
            other = asyncio.create_task(ask("b"))
            await asyncio.sleep(0)
            release.set()
            return refused, await asyncio.gather(*waiting, other), await ask("a")

        assert asyncio.run(scenario()) == (503, [200, 200, 200], 200)


class TestUploads:
    def test_files_lie_in_a_folder_of_their_own(self, client, gate):
        name = "<img src=x>.npz"
        answers = [client.post(f"{API}/upload", files=files_of((name, b"same"), ("b.dat", b"x"))) for _ in range(2)]
        paths = [Path(path) for answer in answers for path in answer.json()]
        assert [path.name for path in paths] == [name, "b.dat"] * 2 and len(set(paths)) == 4
        assert paths[0].read_bytes() == b"same" and all(map(gate.storage.holds, paths))
        click = {"data": [{"path": str(paths[0])}]}
        assert client.post(f"{API}/queue/join", json=click).status_code == 200

    def test_quotas(self, client, gate):
        def status(*sizes):
            contents = [(f"{i}.npy", bytes(size)) for i, size in enumerate(sizes)]
            return client.post(f"{API}/upload", files=files_of(*contents)).status_code

        assert status(MB + 1) == 400  # one file
        assert status(MB, MB) == 413  # all files of an upload, with what stands around them
        assert status(1, 1, 1, 1) == 400  # too many
        assert gate.storage.n_bytes == 0
        assert [status(MB - 10_000, MB - 10_000), status(MB - 10_000), status(MB)] == [200, 200, 429]
        answer = client.post(f"{API}/upload", files=files_of(("a.npy", bytes(MB))))
        assert "your files may take 3 MB" in answer.text and answer.headers["retry-after"] == "60"

    def test_an_upload_states_its_size_and_is_whole(self, client, gate):
        def endless():
            yield b"--x\r\n"

        assert client.post(f"{API}/upload", content=endless()).status_code == 411
        headers = {"content-type": "multipart/form-data; boundary=x"}
        for content in (
            b"--x\r\nbroken",
            b"",
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n1\r\n--x--',
        ):
            assert client.post(f"{API}/upload", content=content, headers=headers).status_code == 400
        twice = files_of(("a.npy", b"1"), ("b/a.npy", b"2"))
        assert "different names" in client.post(f"{API}/upload", files=twice).text
        assert gate.storage.n_bytes == 0 and list(gate.storage.folder.iterdir()) == []

    def test_what_breaks_off_or_dawdles_leaves_nothing(self, gate, monkeypatch):
        monkeypatch.setattr(gate_module, "UPLOAD_S", 0.05)
        begun = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.npy"\r\n\r\n' + bytes(1000)
        headers = [(b"content-length", b"5000"), (b"content-type", b"multipart/form-data; boundary=x")]
        scope = {"type": "http", "method": "POST", "path": f"{API}/upload", "client": ("a", 1), "headers": headers}

        async def upload(then):
            told, sent = [{"type": "http.request", "body": begun, "more_body": True}], []

            async def receive():
                if told:
                    return told.pop()
                await then()
                return {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            await gate(scope, receive, send)
            return sent[0]["status"]

        assert asyncio.run(upload(lambda: asyncio.sleep(0))) == 400
        assert asyncio.run(upload(lambda: asyncio.sleep(5))) == 408
        assert gate.storage.n_bytes == 0 and list(gate.storage.folder.iterdir()) == []

    def test_all_is_deleted_when_the_server_ends(self, gate):
        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})

        gate.app = app
        with TestClient(gate) as client:
            client.post(f"{API}/upload", files=files_of(("a.npy", b"1")))
            assert len(list(gate.storage.folder.iterdir())) == 1
        assert not gate.storage.folder.exists()


class TestAnswers:
    def test_of_a_document_only_its_own_scripts_run(self, client):
        answer = client.get("/")
        assert answer.text == DOCUMENT
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'" and policy["connect-src"] == "'self'"
        assert policy["form-action"] == policy["frame-src"] == policy["object-src"] == "'none'"
        assert policy["frame-ancestors"] == "'self'"
        # sha256 of "one()" and "two()": neither a script of another text nor one without
        assert policy["script-src"].split()[:2] == ["'self'", "'unsafe-eval'"]
        assert re.findall(r"'sha256-([^']+)'", policy["script-src"]) == [
            "HR7iaask9daLMRRskMI++QeJtjWDOjyPA6lGzYGzKW4=",
            "iMrPAWirDC2X0OhZzLsM2MRIWSmepJGI4r7D8ZlwBOw=",
        ]
        assert not re.search(r"https?:|\*", answer.headers["content-security-policy"])
        assert "frame-ancestors 'self' https://huggingface.co" in page_policy(b"", "https://huggingface.co")

    def test_every_answer_has_the_headers(self, client):
        answers = [client.get(path) for path in ("/", "/theme.css", "/nothing", "/result/gone/json")]
        answers.append(client.post(f"{API}/upload", content=b""))
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "content-security-policy" in answer.headers
        assert answers[1].headers["content-security-policy"].startswith("default-src 'none'; sandbox")

    def test_files_of_results(self, client):
        answer = client.get("/result/some-key/pdf")
        assert (answer.content, answer.headers["content-type"]) == (b"content", "application/pdf")
        assert answer.headers["content-disposition"] == 'attachment; filename="<b>_.pdf"'
        assert answer.headers["cache-control"] == "no-store"
        assert (client.get("/result/gone/json").status_code, client.get("/result/busy/json").status_code) == (404, 503)
        assert "upload the ECG again" in client.get("/result/gone/json").text
