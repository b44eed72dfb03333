"""Health, readiness, metrics and ids of requests."""

import re
import threading
import time


def test_a_request_has_an_id(serve_obedient, ask):
    with serve_obedient(readers=1) as (_, port):
        assert ask(port, 1.0, headers={"X-Request-ID": "bed-4.17"})[1]["x-request-id"] == "bed-4.17"
        for odd in ("a" * 65, "a b", "<b>", "", "\x1b[31m"):
            assert re.fullmatch("[0-9a-f]{32}", ask(port, 1.0, headers={"X-Request-ID": odd})[1]["x-request-id"])
        status, headers, answer = ask(port, path="/nowhere", headers={"X-Request-ID": "bed-5"})
        assert (status, headers["x-request-id"], answer["error"]["request_id"]) == (404, "bed-5", "bed-5")


def test_a_full_queue_refuses_and_stays_healthy(serve_obedient, ask):
    with serve_obedient(delay=0.6, max_requests=4, workers=1, max_batch=1) as (server, port):
        found = []
        threads = [threading.Thread(target=lambda: found.append(ask(port, 1.0))) for _ in range(8)]
        for thread in threads:
            thread.start()
        while server.engine.requests.taken < 2:
            time.sleep(0.01)
        began = time.monotonic()
        assert ask(port, path="/health")[0] == 200
        assert time.monotonic() - began < 0.5
        assert ask(port, 1.0, source="127.0.0.2")[0] == 200  # one address never has the whole queue
        for thread in threads:
            thread.join()
        statuses = [status for status, _, _ in found]
        assert statuses.count(200) >= 2 and statuses.count(503) >= 1
        refused = next(one for one in found if one[0] == 503)
        assert refused[2]["error"]["type"] == "Busy" and int(refused[1]["retry-after"]) >= 1


def test_readiness(serve_obedient, ask):
    with serve_obedient(readers=1) as (server, port):
        assert ask(port, path="/ready")[0] == 200
        server.engine._loaded.clear()
        assert ask(port, path="/ready")[0] == 503 and ask(port, 1.0)[0] == 503 and ask(port, path="/health")[0] == 200
        server.engine._loaded.set()
        server.engine.requests.taken += server.engine.requests.total
        assert ask(port, path="/ready")[0] == 503
        server.engine.requests.taken -= server.engine.requests.total


def test_metrics(serve_obedient, ask):
    with serve_obedient(readers=1) as (_, port):
        ask(port, 1.0), ask(port, path="/nowhere"), ask(port, "neither"), ask(port, 1.0)
        text = ask(port, path="/metrics")[2]
    for line in (
        'ecgclip_requests_total{path="/",status="200"} 2.0',
        'ecgclip_requests_total{path="(other)",status="404"} 1.0',
        "ecgclip_ecgs_total 2.0",
        "ecgclip_ready 1.0",
        "ecgclip_requests_waiting 0.0",
    ):
        assert line in text, text


def test_a_handler_of_another_project(tmp_path, ask):
    from serving.reading import handler_class
    from serving.server import EndpointServer
    from serving.settings import Settings

    (tmp_path / "handler.py").write_text(
        "class EndpointHandler:\n"
        "    def __init__(self, path=''):\n        self.path = path\n"
        "    def __call__(self, data):\n        return [data['inputs']]\n"
    )
    server = EndpointServer("127.0.0.1", 0, Settings(readers=1))
    server.load(handler_class(tmp_path)(str(tmp_path)), str(tmp_path))
    with server.running() as port:
        assert ask(port, "anything")[2] == ["anything"]
