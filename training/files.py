"""Writing whole files or none: every output is written aside and renamed, and JSON is strict."""

import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """
    Path beside `path` to write to; on leaving the block it is renamed to `path`, and on an error removed.

    A reader, or a run killed in the middle, sees the old file or the new one, never a part.

    Args:
        path (`str` or `os.PathLike`):
            The file wanted. Its folder is created. The suffix is kept, since writers choose a format by it.

    Raises:
        IsADirectoryError: if `path` is a folder.
        FileNotFoundError: if the block ended without writing the file.

    Example:
    ```python
    >>> with atomic_path("run/predictions.parquet") as aside:
    ...     pyarrow.parquet.write_table(table, aside)
    ```
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the path of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, so that the rename stays on one file system; a random part, so that two writers never share it.
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield aside
        if not aside.is_file():
            raise FileNotFoundError(f"nothing was written for {path}: expected the block to write {aside}")
        with aside.open("rb") as file:
            # Without it a power cut can leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8 with one newline at its end, aside and then renamed."""
    with atomic_path(path) as aside:
        aside.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """
    Write `content` as indented JSON, aside and then renamed.

    Args:
        path (`str` or `os.PathLike`):
            File to write.
        content (`Any`):
            Nested dicts, lists and tuples of str, bool, int, float, None, numpy scalars and arrays, and paths.

    Raises:
        ValueError: if a number is NaN or infinite, naming where it lies: JSON has neither, most readers outside Python
            refuse such a file, and an undefined result should be `None` with its reason beside it.
        TypeError: if a value or a key has no place in JSON, naming where it lies.
    """
    write_text(path, json.dumps(_plain(content, ""), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any, where: str) -> Any:
    """`value` with builtin types only; `where` is the dotted place that an error names."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON cannot hold {value} at {where or 'the top'}: expected a finite number or None")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"JSON needs text as a key at {where or 'the top'}, found {key!r}")
        return {key: _plain(item, f"{where}.{key}" if where else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"JSON cannot hold a {type(value).__name__} at {where or 'the top'}")
