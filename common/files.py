"""Text and JSON files, whole or not at all: they are written aside and renamed, and JSON is strict."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.writing import written_aside


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8 with one newline at its end, aside and then renamed."""
    with written_aside(path) as aside:
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


def read_json(path: str | os.PathLike) -> Any:
    """Returns what a JSON file holds; raises `ValueError`, naming the file, where it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON: {error}") from error


def public_name(name_or_path: str | os.PathLike) -> str:
    """Returns a repository's id as it is, and of a folder here its own name: where it lies is nobody's business."""
    path = Path(name_or_path)
    return path.resolve().name if path.is_dir() else str(name_or_path)


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
