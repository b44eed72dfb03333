"""Stopping: nothing that was accepted is lost."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from common.project import PROJECT


def start(folder, delay, *flags):
    command = [sys.executable, "serve.py", "--model_name_or_path", str(folder), "--port", "0", *flags]
    server = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OBEDIENT_DELAY_S": str(delay)},
    )  # fmt: skip
    return server, int(re.search(r":(\d+)\n", server.stdout.readline())[1])


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered(obedient_folder, ask, sign):
    server, port = start(obedient_folder, 1.0, "--readers", "2", "--workers", "1")
    try:
        found = []
        threads = [threading.Thread(target=lambda: found.append(ask(port, 1.0))) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        server.send_signal(sign)
        time.sleep(0.2)
        status, headers, answer = ask(port, 1.0)
        assert (status, answer["error"]["type"]) == (503, "Busy") and int(headers["retry-after"]) >= 1
        assert ask(port, path="/ready")[0] == 503 and ask(port, path="/health")[0] == 200
        for thread in threads:
            thread.join()
        assert [status for status, _, _ in found] == [200] * 4
        assert server.wait(60) == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
    finally:
        server.kill()
        server.communicate()


def test_what_takes_longer_than_the_grace_is_counted(obedient_folder, ask):
    server, port = start(obedient_folder, 8, "--readers", "1", "--workers", "1", "--grace_s", "0.5")
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"inputs": 1.0}')
            time.sleep(0.5)
            server.terminate()
            assert server.wait(120) == 1
        assert "1 requests were not answered within 0.5 s" in server.stderr.read()
    finally:
        server.kill()
        server.communicate()
