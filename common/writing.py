"""Writing aside, then renaming, so that nothing half-finished carries the name of something whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def remove(path: Path) -> None:
    """Removes a file or a folder with all it holds, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def incomplete_path(path: str | Path) -> Path:
    """
    Returns the name under which a file or a folder is written until it is whole.

    It lies in the same folder, so that the renaming stays on one file system, and keeps the suffix, by which writers
    choose a format.
    """
    path = Path(path)
    return path.with_name(f"{path.stem}.incomplete{path.suffix}")


def check_new(path: str | os.PathLike[str], overwrite: bool) -> None:
    """
    Refuses an output folder that is there already; to be asked early, and again by the only writer.

    Args:
        path (`str` or `os.PathLike`): `--output_dir`.
        overwrite (`bool`): `--overwrite_output_dir`.

    Raises:
        `FileExistsError`: saying what to do.
    """
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f"{path} exists: name another --output_dir or add --overwrite_output_dir")


def put_in_place(aside: Path, path: Path) -> None:
    """
    Gives what was written aside its final name, after making sure that it is on the disk.

    Its files may be read by whom the umask allows, whatever wrote them: some writers leave 0600.

    Raises:
        `FileNotFoundError`: if nothing was written.
        `IsADirectoryError`: if a file would replace a folder.
    """
    if not aside.exists():
        raise FileNotFoundError(f"nothing was written for {path}: expected {aside}")
    if aside.is_file() and path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the path of a file to write")
    mode = 0o666 & ~_umask()
    for file in [aside] if aside.is_file() else aside.rglob("*"):
        if file.is_file():
            file.chmod(mode)
            # Without it a power cut can leave the new name on empty files.
            with file.open("rb") as written:
                os.fsync(written.fileno())
    if path.is_dir():
        # A folder cannot be renamed over another one: the old one steps aside for the moment between two renames.
        old = path.with_name(path.name + ".replaced")
        remove(old)
        os.rename(path, old)
        os.rename(aside, path)
        remove(old)
    else:
        os.replace(aside, path)


def _umask() -> int:
    """What new files are not allowed; the system tells it to those alone who set it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextmanager
def written_aside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Yields the name under which to write what shall appear as `path`, a file or a folder, once all of it is written.

    A reader, or a run killed in the middle, sees the old one or the new one, never a part. What an earlier, killed run
    left aside is removed first. When the block raises, what it wrote is removed and `path` stays as it was.

    Args:
        path (`str` or `os.PathLike`):
            The final name. Its folder is made if needed; what has this name already is replaced, a folder by a folder
            only.

    Raises:
        `FileNotFoundError`: if the block ended without writing anything.
        `IsADirectoryError`: if a file was written and `path` is a folder.

    Example:
    ```python
    >>> with written_aside("run/predictions.parquet") as aside:
    ...     pyarrow.parquet.write_table(table, aside)
    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = incomplete_path(path)
    remove(aside)
    try:
        yield aside
        put_in_place(aside, path)
    finally:
        remove(aside)
