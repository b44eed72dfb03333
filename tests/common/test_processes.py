"""Processes that belong to another one."""

import os
import signal
import subprocess
import sys
import time

from tests.conftest import PROJECT


PARENT = """
import multiprocessing, sys, time
from common.processes import end_with_parent

def child():
    end_with_parent()
    time.sleep(60)

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


def is_running(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        assert is_running(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while is_running(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(child)
    finally:
        parent.stdout.close()
        if is_running(child):
            os.kill(child, signal.SIGKILL)
