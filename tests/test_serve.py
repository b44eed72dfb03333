"""The local server over real HTTP, and the examples of docs/endpoint.md run against it."""

import http.client
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import serve
from modeling_ecgclip import (
    limits_ecgclip,
)
from modeling_ecgclip.requests_ecgclip import ERROR_TYPES
from serving.server import EndpointServer
from serving.settings import Settings
from tests.modeling_ecgclip.request_forms import base64_of, request_forms, write_files
from tests.simulated import simulated
from tests.small_models import write_small_classifier
from tests.waiting import wait_until


PROJECT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 2.5


STATED = {"sampling_rate": 500, "unit": "mV"}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return write_small_classifier(tmp_path_factory.mktemp("served") / "classifier")


@pytest.fixture(scope="module")
def handler(model_folder):
    return serve.load_handler(str(model_folder))


@pytest.fixture(scope="module")
def port(handler, model_folder):
    server = EndpointServer("127.0.0.1", 0, Settings(timeout_s=TIMEOUT_S, readers=2, workers=2))
    server.load(handler, str(model_folder))
    with server.running() as port:
        yield port


@pytest.fixture(scope="module")
def ecg():
    """(12, 2500) whole microvolts."""
    return np.rint(1000 * simulated(0, 2500)).astype(np.int16)


def ask(port, method="POST", path="/", body=None, headers=None):
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def say(port, text):
    """Status and JSON of the answer to plain bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(text)
        answer = b""
        while block := connection.recv(65_536):
            answer += block
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def error_type(answer):
    assert set(answer) == {"error"} and set(answer["error"]) == {"type", "message", "request_id"}, answer
    return answer["error"]["type"]


class TestAnswers:
    def test_health(self, port, handler):
        for path in ("/", "/health"):
            status, answer = ask(port, "GET", path)
            assert (status, answer) == (200, {"status": "ok", "model": handler.handler.model_info})

    def test_json(self, port, handler, ecg, tmp_path):
        forms = request_forms(tmp_path, ecg)
        for name in ("leads x samples", "npy", "WFDB pair", "exam-table row"):
            data = {"inputs": forms[name][0], "parameters": forms[name][1]}
            for path in ("/", "/predict"):
                assert ask(port, path=path, body=json.dumps(data)) == (200, handler(data)), name
        # Without a body of its own for them, parameters may stand in the address.
        status, answer = ask(
            port, path="/?sampling_rate=500&unit=mV&top_k=1", body=json.dumps({"inputs": forms["npy"][0]})
        )
        assert (status, len(answer)) == (200, 1)

    def test_measurements(self, port, handler, ecg, tmp_path):
        inputs, parameters, *_ = request_forms(tmp_path, ecg)["npy"]
        body = json.dumps({"inputs": inputs})
        for more in ({"task": "ecg-measurement"}, {"return_measurements": "true"}):
            query = "&".join(f"{name}={value}" for name, value in {**parameters, **more}.items())
            expected = handler({"inputs": inputs, "parameters": {**parameters, **more}})
            assert expected["measurements"]["heart_rate_bpm"] is not None
            assert ask(port, path=f"/?{query}", body=body) == (200, expected)

    def test_plain_bodies(self, port, handler, ecg, tmp_path):
        files = write_files(tmp_path, ecg)
        bodies = [
            ("text/csv", "csv", STATED),
            ("text/csv; charset=utf-8", "csv", STATED),
            ("application/octet-stream", "npy", STATED),
            ("application/octet-stream", "npz", {}),
            ("application/x-npy", "npy", STATED),
            ("application/x-hdf5", "hdf5", {"exam_id": 7}),
            ("application/zip", "zip", {}),
            ("audio/x-audio", "csv", STATED),
        ]
        for content_type, ending, parameters in bodies:
            query = "&".join(f"{name}={value}" for name, value in parameters.items())
            found = ask(port, path=f"/?{query}", body=files[ending], headers={"Content-Type": content_type})
            assert found == (200, handler({"inputs": files[ending], "parameters": parameters})), (content_type, found)
        raw = ecg.astype("<i2").tobytes()
        query = (
            "/?format=int16&shape=12,2500&unit=uV&sampling_rate=500&lead_names=I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
        )
        status, answer = ask(port, path=query, body=raw, headers={"Content-Type": "application/octet-stream"})
        assert (status, len(answer)) == (200, 6)

    def test_several_at_once(self, port, ecg):
        body = json.dumps({"inputs": (ecg / 1000).tolist(), "parameters": STATED})
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(port, body=body))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 8 and all(answer == answers[0] for answer in answers)
        assert answers[0][0] == 200


class TestErrors:
    def test_of_the_request(self, port):
        cases = [
            ("{", 400, "InvalidRequest"), ("", 400, "InvalidRequest"), ("[" * 100_000, 400, "InvalidRequest"),
            ("\xff", 400, "InvalidRequest"), ("[1]", 400, "InvalidRequest"), ("null", 400, "InvalidRequest"),
            ('{"inputs": 3}', 400, "InvalidRequest"), ('{"inputs": ' + "9" * 5000 + "}", 400, "InvalidRequest"),
            (json.dumps({"inputs": [[0.0] * 9] * 12, "parameters": STATED}), 400, "InvalidEcg"),
            (json.dumps({"inputs": "AAAA", "parameters": STATED}), 415, "UnsupportedFormat"),
            (json.dumps({"inputs": ["a,b"] * 999}), 413, "TooLarge"),
        ]  # fmt: skip
        for body, status, kind in cases:
            found, answer = ask(port, body=body.encode("latin-1"), headers={"Content-Type": "application/json"})
            assert (found, error_type(answer)) == (status, kind), (body[:50], answer)
        status, answer = ask(port, path="/?novalue", body="{}")
        assert (status, error_type(answer)) == (400, "InvalidRequest")

    def test_of_the_address_and_the_method(self, port):
        for method, path in (("GET", "/etc/passwd"), ("POST", "/../../etc/passwd"), ("POST", "/health")):
            status, answer = ask(port, method, path, body="{}" if method == "POST" else None)
            assert (status, error_type(answer)) == (404, "NotFound")
        status, answer = ask(port, "DELETE")
        assert (status, error_type(answer)) == (501, "InvalidRequest")

    def test_a_large_body_is_refused_before_it_is_sent(self, port, handler):
        limit = handler.handler.max_request_bytes
        for expect in ("", "Expect: 100-continue\r\n"):
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n{expect}\r\n"
            started = time.monotonic()
            status, answer = say(port, head.encode())
            assert time.monotonic() - started < TIMEOUT_S
            assert (status, error_type(answer)) == (413, "TooLarge")
            assert f"at most {limit:,} bytes: found 500,000,000" in answer["error"]["message"]

    def test_a_large_body_that_is_sent_anyway(self, port):
        status, answer = say(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n" + bytes(900_000))
        assert (status, error_type(answer)) == (413, "TooLarge")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ("", 411),
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: 1e9\r\n", 400),
            ("Content-Length: " + "9" * 400 + "\r\n", 400),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
            ("Content-Length: 3\r\nContent-Encoding: gzip\r\n", 415),
            ("A: b\r\n" * 200, 431),
        ],
    )
    def test_headers(self, port, headers, status):
        found, answer = say(port, f"POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        assert found == status and error_type(answer) in ("InvalidRequest", "UnsupportedFormat")

    def test_noise(self, port):
        status, answer = say(port, b"\x16\x03\x01\x02\x00 hello there\r\n\r\n")
        assert (status, error_type(answer)) == (400, "InvalidRequest")

    @pytest.mark.parametrize(
        "head", [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"POST / HTTP/1.1\r\nHo"]
    )
    def test_slow_clients_are_told_and_hold_nobody_up(self, port, head):
        answers = []
        slow = threading.Thread(target=lambda: answers.append(say(port, head)))
        started = time.monotonic()
        slow.start()
        assert ask(port, "GET", "/health")[0] == 200
        assert time.monotonic() - started < TIMEOUT_S
        slow.join(10)
        assert TIMEOUT_S * 0.9 < time.monotonic() - started < TIMEOUT_S + 3
        assert (answers[0][0], error_type(answers[0][1])) == (408, "Timeout")

    def test_trickling_does_not_help(self, port):
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
            connection.settimeout(0.1)
            answer = b""
            while time.monotonic() - started < 10 and not answer:
                try:
                    connection.sendall(b" ")
                    answer = connection.recv(65_536)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < TIMEOUT_S + 3

    def test_a_client_that_leaves(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert ask(port, "GET", "/health")[0] == 200

    def test_log_holds_no_query(self, port, caplog):
        with caplog.at_level(logging.INFO, logger="serve"):
            ask(port, path="/?exam_id=4711", body="{}")
            wait_until(lambda: "POST / 400" in caplog.text)  # it is written after the answer was sent
        assert "4711" not in caplog.text


class TestCommandLine:
    def test_from_start_to_end(self, model_folder):
        command = [sys.executable, "serve.py", "--model_name_or_path", str(model_folder), "--port", "0"]
        server = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said = server.stdout.readline()
            port = int(re.fullmatch(r"EcgResNetForSignalClassification at http://127\.0\.0\.1:(\d+)\n", said)[1])
            assert ask(port, "GET", "/health")[1]["status"] == "ok"
            server.terminate()
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.communicate()

    def test_folder_without_handler(self, tmp_path, capsys):
        assert serve.main(["--model_name_or_path", str(tmp_path)]) == 1
        assert "found no handler.py" in capsys.readouterr().err

    def test_port_in_use(self, port, model_folder, capsys):
        assert serve.main(["--model_name_or_path", str(model_folder), "--port", str(port)]) == 1
        assert "serve.py: " in capsys.readouterr().err


def test_limits_of_the_documentation():
    page = (PROJECT / "docs" / "endpoint.md").read_text(encoding="utf-8")
    section = page.partition("## Limits")[2]
    for name in ("REQUEST_BYTES", "REQUEST_ECGS", "REQUEST_VALUES", "VALUES", "SECONDS", "FILE_BYTES", "CSV_BYTES"):
        assert f"{getattr(limits_ecgclip, f'MAX_{name}'):,}" in section, name
    assert f"{limits_ecgclip.MIN_SAMPLING_RATE:g} to {limits_ecgclip.MAX_SAMPLING_RATE:,.0f} Hz" in section
    assert f"{limits_ecgclip.MAX_CSV_CELLS:,} cells" in section
    for error_name, status in ERROR_TYPES.items():
        assert re.search(rf"\| `{error_name}` \| {status}\b", page), error_name


def test_examples_of_the_documentation(port, ecg, tmp_path):
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    page = (PROJECT / "docs" / "endpoint.md").read_text(encoding="utf-8")
    examples = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    examples = [example for example in examples if "curl" in example]
    assert len(examples) >= 6
    write_files(tmp_path, ecg)
    (tmp_path / "ecg.int16").write_bytes(ecg.astype("<i2").tobytes())
    (tmp_path / "request.json").write_text(
        json.dumps(
            {
                "inputs": base64_of((tmp_path / "ecg.npy").read_bytes()),
                "parameters": STATED,
            }
        )
    )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
    }
    for example in examples:
        script = example.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("curl ", "curl --silent --show-error ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (example, done.stderr)
        answer = json.loads(done.stdout)
        is_result = isinstance(answer, list) or not {"status", "results", "measurements"}.isdisjoint(answer)
        assert is_result != ("error" in example), (example, answer)
