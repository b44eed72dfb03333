"""Exit statuses of commands."""

import os
import resource
import signal
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.commands import exit_status
from common.hub_access import HubAccessError
from modeling_ecgclip.checksums_ecgclip import DamagedFileError


def fail(error):
    raise error


@pytest.mark.parametrize(
    "error",
    [HubAccessError("no token"), DamagedFileError("a bit"), FileNotFoundError("no file"), ValueError("no number")],
)
def test_what_a_user_can_fix_is_one_line(error, capsys):
    assert exit_status(lambda: fail(error)) == 1
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_what_a_package_says_in_several_lines_is_one_line(capsys):
    assert exit_status(lambda: fail(OSError("not reached.\nCheck your\n  connection"))) == 1
    assert capsys.readouterr().err == "error: not reached. Check your connection\n"


def test_other_errors_are_a_commands_own_choice(capsys):
    with pytest.raises(ImportError):
        exit_status(lambda: fail(ImportError("no package")))
    assert exit_status(lambda: fail(ImportError("no package")), ImportError) == 1
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr().err == "error: no package\n"


def test_a_value_that_a_package_refuses_keeps_its_traceback(capsys):
    assert exit_status(lambda: h5py.File("no file", mode="?")) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("Traceback")
    assert shown[-1].startswith("error: Invalid mode")


@contextmanager
def little_room():
    """No file may grow beyond 4 kB, as on a disk that is full; nor may the tests' own output."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_weights_for_which_there_is_no_room_are_one_line(tmp_path, capsys):
    weights = {"weight": np.zeros(100_000, np.float32)}
    with little_room():
        code = exit_status(lambda: save_file(weights, tmp_path / "model.safetensors"))
    assert code == 1
    assert capsys.readouterr().err == f"error: [Errno 27] {os.strerror(27)}, writing or reading safetensors\n"


def test_weights_that_are_none_are_no_fault_of_the_system(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(SafetensorError):
        exit_status(lambda: safe_open(path, "np"))
