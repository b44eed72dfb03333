"""Checksums of a folder's files, in the file `SHA256SUMS` that `sha256sum -c SHA256SUMS` reads too.

SHA-256 because others must be able to check what is published with the tools they have, and because the Hub states it
of each large file: with a processor's own instructions for it, it is faster than most disks.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath


SUMS_FILE = "SHA256SUMS"
MOST_THREADS = 8  # hashing leaves the interpreter free; beyond, the disk is what counts
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")  # a star says that it was read as bytes, as it always is


class DamagedFileError(Exception):
    """
    A file of a saved model is not the one that was saved; its message names file, expected and found digest.

    No `ValueError`: those transformers' `pipeline` collects, one of each class that it tries, and hides the line that
    says what happened among their tracebacks.
    """


def file_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file's bytes, 64 hexadecimal digits; raises `OSError` where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(folder: str | os.PathLike[str]) -> dict[str, str]:
    """
    Returns the digest of each file that a folder's `SHA256SUMS` states, by its path below the folder.

    Empty where there is no such file: releases up to 0.1.0 wrote none.

    Raises:
        `ValueError`: for a line that is none, or a path that leads out of the folder; naming it.
    """
    path = Path(folder, SUMS_FILE)
    if not path.is_file():
        return {}
    stated = {}
    lines = path.read_bytes().decode("utf-8", "replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        name = PurePosixPath(found[2]) if found else None
        if found is None or name is None or name.is_absolute() or ".." in name.parts or "\\" in line:
            raise ValueError(
                f"{path}, line {number}: expected 64 hexadecimal digits, two spaces and the path of a file in this "
                f"folder: found {line[:120]!r}"
            )
        stated[found[2]] = found[1]
    return stated


def write_checksums(
    folder: str | os.PathLike[str], files: Iterable[str] | None = None, known: dict[str, str] | None = None
) -> Path:
    """
    Writes a folder's `SHA256SUMS`. Call it when all else in the folder is written, before the folder gets its name.

    Args:
        folder (`str` or `os.PathLike`): Which holds the files.
        files (`Iterable[str]`, *optional*):
            Paths below the folder whose lines are written anew, beside those that the file has already of files that
            are still there; left out: all files of the folder and no other line.
        known (`dict[str, str]`, *optional*): Digests by path that need not be computed again.

    Returns:
        `Path`: The file.

    Raises:
        `ValueError`: for a name with a line break or a backslash, which the format writes in another way.
    """
    folder, known = Path(folder), known or {}
    stated = {}
    if files is None:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        names = sorted(path.as_posix() for path in found if path != Path(SUMS_FILE))
    else:
        names = sorted(set(files))
        stated = {name: digest for name, digest in read_checksums(folder).items() if (folder / name).is_file()}
    for name in names:
        if "\n" in name or "\r" in name or "\\" in name:
            raise ValueError(f"{folder}: expected file names without line breaks and backslashes: found {name!r}")
    digests = _digests([folder / name for name in names if name not in known])
    stated |= {name: known.get(name) or digests[folder / name] for name in names}
    path = folder / SUMS_FILE
    aside = path.with_name(f"{SUMS_FILE}.incomplete")
    aside.write_text(checksum_lines(stated), encoding="utf-8")
    os.replace(aside, path)
    return path


def checksum_lines(stated: Mapping[str, str]) -> str:
    """Returns what a `SHA256SUMS` says of files, by their digests."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(stated.items()))


def verify_checksums(folder: str | os.PathLike[str], files: Iterable[str] | None = None) -> list[str]:
    """
    Compares files with what the folder's `SHA256SUMS` states of them, and returns which ones were compared.

    A folder without that file, as earlier releases wrote it, passes, and so does a file of which it states nothing.

    Args:
        folder (`str` or `os.PathLike`): Which holds the files.
        files (`Iterable[str]`, *optional*): Paths below the folder to compare; left out: all that are stated.

    Raises:
        `ValueError`: naming each file that differs or is not there, what was expected and what was found.
    """
    folder, stated = Path(folder), read_checksums(folder)
    names = sorted(stated if files is None else stated.keys() & set(files))
    digests = _digests([folder / name for name in names if (folder / name).is_file()])
    found = {name: digests.get(folder / name, "no such file") for name in names}
    wrong = [
        f"{folder / name}: expected SHA-256 {stated[name]}, found {found[name]}"
        for name in names
        if found[name] != stated[name]
    ]
    if wrong:
        raise ValueError(
            f"{'; '.join(wrong)}: damaged, or changed after it was written. Make or fetch it again; where it was "
            f"changed on purpose, correct or remove its line in {folder / SUMS_FILE}"
        )
    return names


def _digests(paths: list[Path]) -> dict[Path, str]:
    """Of several files at the same time."""
    if len(paths) < 2:
        return {path: file_digest(path) for path in paths}
    with ThreadPoolExecutor(min(len(paths), MOST_THREADS, os.cpu_count() or 1)) as executor:
        return dict(zip(paths, executor.map(file_digest, paths), strict=True))


__all__ = [
    "SUMS_FILE",
    "DamagedFileError",
    "checksum_lines",
    "file_digest",
    "read_checksums",
    "verify_checksums",
    "write_checksums",
]
