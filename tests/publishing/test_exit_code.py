"""What a training script tells the shell."""

import pytest

from publishing.model import exit_code
from training.run import STOPPED_BY_SIGNAL


def raising(error):
    raise error


def test_finished_and_stopped_runs_differ(capsys):
    assert exit_code(lambda: {"loss": 1.0}) == exit_code(dict) == 0
    assert exit_code(lambda: None) == STOPPED_BY_SIGNAL == 143
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "error", [ValueError("--labels: unknown"), FloatingPointError("the loss is nan"), OSError("full")]
)
def test_what_the_user_can_fix_is_one_line(error, capsys):
    assert exit_code(lambda: raising(error)) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(KeyError):
        exit_code(lambda: raising(KeyError("x")))
