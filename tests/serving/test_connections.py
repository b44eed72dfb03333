"""Clients that do not read, do not write, or do not speak HTTP."""

import json
import logging
import socket
import time

from tests.waiting import wait_until


def request(inputs, **parameters):
    body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_clients_that_never_read_are_cut_off(serve_obedient, ask):
    with serve_obedient(write_timeout_s=0.5) as (server, port):
        silent = []
        for _ in range(8):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(request(1.0, filler=12_000_000))
            silent.append(connection)
        wait_until(lambda: server.engine.answers.taken > 12_000_000)
        assert ask(port, path="/health")[0] == 200 and ask(port, 1.0)[0] == 200
        wait_until(lambda: server.engine.answers.taken == 0 and server.engine.in_flight == 0)
        for connection in silent:
            connection.close()


def test_a_client_that_reads_slowly_but_reads_gets_it_all(serve_obedient):
    with serve_obedient(write_timeout_s=1) as (_, port), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request(1.0, filler=2_000_000).replace(b"Host: x", b"Host: x\r\nConnection: close"))
        answer = b""
        while block := connection.recv(65_536):
            answer += block
            time.sleep(0.05)
        assert answer.count(b"x") >= 2_000_000


def test_slow_senders_make_room_for_others(serve_obedient, ask):
    with serve_obedient(max_connections=8, timeout_s=20) as (server, port):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for connection in slow[:10]:
            try:
                connection.sendall(b"POST / HT")
            except OSError:  # it has made room already
                continue
        for _ in range(5):
            assert ask(port, 1.0)[0] == 200 and ask(port, path="/health")[0] == 200
        slow[0].settimeout(5)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 408 ")
        assert ask(port, 1.0, source="127.0.0.2")[0] == 200
        for connection in slow:
            connection.close()


def test_addresses_of_a_proxy_are_its_clients(serve_obedient, ask):
    settings = {"max_connections": 4, "max_requests": 2, "delay": 0.5, "proxies": ("127.0.0.1",)}
    with serve_obedient(**settings) as (_, port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for number, connection in enumerate(held):
            told = b"X-Forwarded-For: 1.2.3.4, 10.0.0.%d" % number
            connection.sendall(request(1.0).replace(b"Host: x", b"Host: x\r\n" + told))
        for connection in held:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            connection.close()


MALFORMED = [
    b"GET http://[::1/health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n",
    b"\x1b]0;owned\x07\r\n\r\n",
    b"GET /\r\n\r\n",
]


def test_malformed_requests(serve_obedient, say, caplog):
    with serve_obedient(readers=1) as (_, port), caplog.at_level(logging.INFO):
        answers = [say(port, text) for text in MALFORMED]
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "InvalidRequest"
    assert caplog.text.isascii() and not [sign for sign in caplog.text if sign < " " and sign != "\n"]


def test_a_log_names_no_path_that_is_not_ours(serve_obedient, ask, caplog):
    with serve_obedient(readers=1) as (_, port), caplog.at_level(logging.INFO):
        assert ask(port, path="/patient/4711%1b%0aowned")[0] == 404
        assert ask(port, 1.0, path="/?name=4711")[0] == 200
        assert ask(port, path="http://127.0.0.1/health")[0] == 200
        wait_until(lambda: "GET /health 200" in caplog.text)  # it is written after the answer was sent
    assert "4711" not in caplog.text and "owned" not in caplog.text
    assert "GET (other) 404" in caplog.text and "POST / 200" in caplog.text


def test_a_head_without_end(serve_obedient, say):
    with serve_obedient(readers=1) as (_, port):
        answer = say(port, b"GET / HTTP/1.1\r\nX-A: " + b"a" * 100_000)
    assert answer.startswith(b"HTTP/1.1 431 ")
