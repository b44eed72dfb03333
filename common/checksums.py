"""Whether files are still what they were: digests of what is written, compared when it is read, and states of sources.

Digests travel with the models, so their code does too.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.files import read_json
from modeling_ecgclip.checksums_ecgclip import (
    SUMS_FILE,
    checksum_lines,
    file_digest,
    read_checksums,
    verify_checksums,
    write_checksums,
)


FileState = tuple[int, int, int]  # bytes, time of the content and of the entry, in ns

# A card may be rewritten on the Hub, and no row depends on it.
FREE_TO_CHANGE = ("README.md",)


def verify_data(folder: str | os.PathLike[str], present: bool = False) -> None:
    """
    Compares the files of a data folder, all but its card, with its `SHA256SUMS`, if there is one.

    Args:
        folder (`str` or `os.PathLike`): A table, or a source.
        present (`bool`, defaults to `False`): Only what is there: of a source, some parts are enough.

    Raises:
        `ValueError`: as [`verify_checksums`].
    """
    names = set(read_checksums(folder)) - set(FREE_TO_CHANGE)
    verify_checksums(folder, [name for name in names if not present or Path(folder, name).is_file()])


def read_record(path: str | os.PathLike[str]) -> Any:
    """
    Returns what a JSON file holds, after a look at its digest, if its folder's `SHA256SUMS` states one.

    Raises:
        `ValueError`: naming the file, where it differs from its digest or is no JSON.
    """
    verify_checksums(Path(path).parent, [Path(path).name])
    return read_json(path)


def file_state(path: Path) -> FileState | None:
    """
    Returns what changes with a file's content at no cost of reading it: size, and both times; None for no file.

    The time of the entry tells of content that was exchanged with its own time put back, as copying tools do.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def check_unchanged(before: Mapping[Path, FileState | None]) -> None:
    """
    Raises `ValueError` where a file is not in the state that it was in, naming it.

    Args:
        before (`dict[Path, FileState]`): From [`file_state`], for each file.
    """
    for path, state in before.items():
        found = file_state(path)
        if found != state:
            raise ValueError(
                f"{path}: changed while it was read: expected {_described(state)}, found {_described(found)}. Run the "
                "command again when nothing writes there any more"
            )


@contextmanager
def unchanged(*paths: Path) -> Iterator[None]:
    """Refuses what a block reads of files that change meanwhile; errors as in [`check_unchanged`]."""
    before = {path: file_state(path) for path in paths}
    yield
    check_unchanged(before)


def _described(state: FileState | None) -> str:
    if state is None:
        return "no such file"
    size, *times = state
    return f"{size} bytes of {datetime.fromtimestamp(max(times) / 1e9, UTC).isoformat(timespec='milliseconds')}"


__all__ = [
    "SUMS_FILE",
    "FileState",
    "check_unchanged",
    "checksum_lines",
    "file_digest",
    "file_state",
    "read_checksums",
    "read_record",
    "unchanged",
    "verify_checksums",
    "verify_data",
    "write_checksums",
]
