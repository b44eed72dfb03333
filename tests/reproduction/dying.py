"""Stand-ins for training scripts, which a process can import by name: each gets the words of a command line."""

import os
from pathlib import Path


def die_once(words):
    """Ends its whole process the first time, as a crash in a library or a lack of memory does."""
    mark = Path(words[words.index("--output_dir") + 1]) / "died"
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return words


def die(words):
    os._exit(1)
