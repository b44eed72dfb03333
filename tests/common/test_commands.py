"""Exit statuses of commands."""

import h5py
import pytest

from common.commands import exit_status
from common.hub_access import HubAccessError


def fail(error):
    raise error


@pytest.mark.parametrize("error", [HubAccessError("no token"), FileNotFoundError("no file"), ValueError("no number")])
def test_what_a_user_can_fix_is_one_line(error, capsys):
    assert exit_status(lambda: fail(error)) == 1
    assert capsys.readouterr() == ("", f"error: {error}\n")


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
