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


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """
    Yields the name under which to write what shall appear as `path`, a file or a folder, once all of it is written.

    What an earlier, killed run left under that name is removed first. When the block raises, what it wrote is removed
    and `path` stays as it was.

    Args:
        path (`str` or `Path`): The final name. Its folder is made if needed; what has this name already is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".incomplete")
    remove(aside)
    try:
        yield aside
        if path.is_dir():
            # A folder cannot be renamed over another one: the old one steps aside for the moment between two renames.
            old = path.with_name(path.name + ".replaced")
            remove(old)
            os.rename(path, old)
            os.rename(aside, path)
            remove(old)
        else:
            os.replace(aside, path)
    finally:
        remove(aside)
