"""A folder has one writer. Its holders here are processes of their own."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from common import locks
from common.locks import lock_path, only_writer


PROJECT = Path(__file__).resolve().parent.parent.parent
HOLD = """
import os, sys, time
from common.locks import only_writer
with only_writer(sys.argv[1]):
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(1.5)
        os._exit(0)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(request):
    """Starts another process that holds a folder, and returns it when it does; a line on its input lets it go."""

    def start(folder, *more):
        command = [sys.executable, "-c", HOLD, str(folder), *more]
        process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        request.addfinalizer(lambda: (process.kill(), process.communicate()))
        assert process.stdout.readline() == "held\n"
        return process

    return start


def end(process):
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(20) == 0


def kill(process):
    process.kill()
    assert process.wait(20) == -signal.SIGKILL


def test_a_second_writer_is_refused_by_name_until_the_first_is_done(tmp_path, hold):
    folder = tmp_path / "not" / "there yet"
    process = hold(folder)
    stated = json.loads(lock_path(folder).read_text())
    assert stated["pid"] == process.pid and stated["host"] == socket.gethostname() and "-c" in stated["command"]
    begun = time.monotonic()
    with pytest.raises(BlockingIOError) as refused, only_writer(folder):
        pass
    assert time.monotonic() - begun < 5  # nobody waits for one that lives
    said = str(refused.value)
    assert said.startswith(f"{folder} is being written by process {process.pid} on {socket.gethostname()}, started 2")
    assert json.loads(lock_path(folder).read_text()) == stated  # the lock of another is left alone
    end(process)
    with only_writer(folder):
        assert json.loads(lock_path(folder).read_text())["pid"] == os.getpid()
    assert list(folder.parent.iterdir()) == []


def test_another_folder_and_another_name_of_the_same_one(tmp_path, hold):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    hold(tmp_path / "link")
    with pytest.raises(BlockingIOError), only_writer(tmp_path / "real"):
        pass
    with only_writer(tmp_path / "other"):
        pass


def test_the_lock_of_a_killed_writer_is_taken_over(tmp_path, hold):
    kill(hold(tmp_path / "out"))
    assert lock_path(tmp_path / "out").is_file()
    with only_writer(tmp_path / "out"):
        pass
    assert not lock_path(tmp_path / "out").exists()


def test_children_of_a_killed_writer_hold_the_folder_until_they_end(tmp_path, hold, monkeypatch):
    kill(hold(tmp_path / "out", "fork"))
    with monkeypatch.context() as patched:
        patched.setattr(locks, "ORPHANS_WAIT_S", 0.2)
        with pytest.raises(BlockingIOError, match="is being written by process"), only_writer(tmp_path / "out"):
            pass
    with only_writer(tmp_path / "out"):  # waits for them
        pass


ELSEWHERE = {"pid": 7, "host": "elsewhere", "boot": "-", "started": "2026-11-27T00:00:00+00:00", "command": "train"}


@pytest.fixture
def quick_beats(monkeypatch):
    for name, seconds in (("BEAT_S", 0.02), ("SILENCE_S", 0.5), ("LOOK_S", 0.02)):
        monkeypatch.setattr(locks, name, seconds)


@pytest.mark.parametrize("can_lock", [True, False])
def test_a_writer_of_another_machine_is_taken_over_after_a_long_silence(
    tmp_path, monkeypatch, capsys, quick_beats, can_lock
):
    path, begun = lock_path(tmp_path / "out"), time.monotonic()
    path.write_text(json.dumps(ELSEWHERE))
    if not can_lock:
        monkeypatch.setattr(locks, "fcntl", None)
    with only_writer(tmp_path / "out"):
        assert time.monotonic() - begun >= 0.5
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    watched, taken = capsys.readouterr().err.splitlines()
    assert "taken over if there is no sign of it" in watched
    assert taken.endswith("is taken over from process 7 on elsewhere, started 2026-11-27T00:00:00+00:00: train")


def test_one_of_another_machine_that_lives_is_refused(tmp_path, quick_beats):
    path = lock_path(tmp_path / "out")
    path.write_text(json.dumps(ELSEWHERE))
    os.utime(path, (1, 1))  # clocks differ: no age is asked, but a touch
    beat = threading.Timer(0.2, os.utime, (path, (2, 2)))
    beat.start()
    with (
        pytest.raises(BlockingIOError, match="is being written by process 7 on elsewhere"),
        only_writer(tmp_path / "out"),
    ):
        pass
    beat.join()
    assert json.loads(path.read_text()) == ELSEWHERE


def test_a_writer_touches_its_lock(tmp_path, quick_beats):
    with only_writer(tmp_path / "out"):
        os.utime(lock_path(tmp_path / "out"), (1, 1))
        deadline = time.monotonic() + 20
        while lock_path(tmp_path / "out").stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not any(thread.name == "lock" for thread in threading.enumerate())


def test_a_writer_that_was_taken_over_ends_itself(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "from common import locks\nlocks.BEAT_S = 0.02\n" + HOLD, str(tmp_path / "out")],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    lock_path(tmp_path / "out").write_text(json.dumps(ELSEWHERE))
    assert process.wait(20) == 1
    assert "out was taken over by process 7 on elsewhere" in process.communicate()[1]
    assert json.loads(lock_path(tmp_path / "out").read_text()) == ELSEWHERE


def test_a_container_of_this_machine_has_another_name_but_the_same_start(tmp_path):
    stated = {"pid": 7, "host": "container", "boot": locks._boot_id(), "started": "2026-11-27T00:00:00", "command": ""}
    if not stated["boot"]:
        pytest.skip("this system does not name its start")
    lock_path(tmp_path / "out").write_text(json.dumps(stated))
    with only_writer(tmp_path / "out"):
        assert json.loads(lock_path(tmp_path / "out").read_text())["pid"] == os.getpid()


def test_where_files_cannot_be_locked_the_file_counts(tmp_path, hold, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    process = hold(tmp_path / "out")
    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with (
        pytest.raises(BlockingIOError, match=f"is being written by process {process.pid}"),
        only_writer(tmp_path / "out"),
    ):
        pass
    kill(process)
    with only_writer(tmp_path / "out"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
def test_a_lock_that_says_nothing_is_nobodys(tmp_path, content):
    lock_path(tmp_path / "out").write_text(content)
    with only_writer(tmp_path / "out"):
        assert json.loads(lock_path(tmp_path / "out").read_text())["pid"] == os.getpid()


def test_an_error_within_gives_the_folder_back(tmp_path):
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), only_writer(tmp_path / "out"):
            raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_start_at_once_one_at_a_time_writes(tmp_path):
    """Each writes what it found plus one; two at a time would lose a number."""
    script = """
import sys, time
from pathlib import Path
from common.locks import only_writer
count = Path(sys.argv[1], "count")
for _ in range(40):
    while True:
        try:
            with only_writer(count):
                n = int(count.read_text()) if count.exists() else 0
                time.sleep(0.001)
                count.write_text(str(n + 1))
            break
        except BlockingIOError:
            time.sleep(0.002)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=PROJECT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "160"
