"""Processes that belong to another one."""

import os
import threading
from multiprocessing import parent_process
from typing import Any


def end_with_parent() -> None:
    """
    Lets this process end when the one that started it does, even by a kill; to be called once, in the child.

    Nobody else would end it, and it would write into the files of its parent's successor.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent: Any = parent_process()  # it is there, since this runs in a child
    parent.join()
    os._exit(1)
