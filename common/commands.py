"""What the commands share that are run in a terminal."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from common.hub_access import HubAccessError
from modeling_ecgclip.checksums_ecgclip import DamagedFileError


def exit_status(command: Callable[[], Any], *more_errors: type[Exception]) -> int:
    """
    Runs a command and returns its exit status: 0, or 1 after an error that the user can fix, said in one line.

    A value that an installed package refuses may be a fault of ours: there the line comes below a traceback.

    Args:
        command (`Callable`): The command, its arguments put in.
        more_errors (`type[Exception]`): What a user of this command can fix, beside the Hub's refusals, files and
            values.
    """
    can_be_fixed: tuple[type[Exception], ...] = (HubAccessError, DamagedFileError, OSError, ValueError, *more_errors)
    try:
        with _of_the_system():
            command()
    except can_be_fixed as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if isinstance(error, ValueError) and "site-packages" in Path(raised_in).parts:
            traceback.print_exc()
        # Those of packages have line breaks and hints of several lines.
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _of_the_system() -> Iterator[None]:
    """Makes an `OSError` of what safetensors has no error of its own for, such as a full disk."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), f"{os.strerror(int(number[1]))}, writing or reading safetensors") from error
