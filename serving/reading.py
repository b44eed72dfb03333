"""What a process does that reads requests: bytes to ECGs that are ready for the network. It has no model."""

import gc
import importlib.util
import json
import os
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from modeling_ecgclip.prepared_request_ecgclip import error_answer
from modeling_ecgclip.requests_ecgclip import RequestError, read_json


# A table of one column has nothing by which to tell it. The handler knows every other kind by how its bytes begin.
CONTENT_FORMATS = {"text/csv": "csv", "text/tab-separated-values": "csv"}
JSON_TYPES = ("application/json", "text/json")
NICENESS = 5  # beside the network and what answers; more would starve a reader where other programs run
READY = b"ready"
PREPARED, ANSWERED = b"p", b"a"  # how what is sent back begins


def read_request(content_type: str, query: str, body: bytes) -> Any:
    """
    Returns what a request says: `inputs` and `parameters`, where it is right.

    Args:
        content_type (`str`): Without its parameters, in small letters; empty for JSON.
        query (`str`): Of the address.
        body (`bytes`): As it was sent.

    Raises:
        [`RequestError`]: for a body that is no JSON or more of it than is answered, and for a query that is none.
    """
    try:
        parameters: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        raise RequestError("InvalidRequest", "expected a query of name=value") from error
    if content_type and content_type not in JSON_TYPES:
        form = CONTENT_FORMATS.get(content_type)
        return {"inputs": body, "parameters": ({"format": form} if form else {}) | parameters}
    data = read_json(body)
    if parameters and isinstance(data, dict) and "parameters" not in data:
        data["parameters"] = parameters
    return data


def with_request(step: Callable[[Any], Any], content_type: str, query: str, body: bytes) -> Any:
    """Returns what `step` makes of a request, or `{"error": {"type": ..., "message": ...}}`; see [`read_request`]."""
    try:
        data = read_request(content_type, query, body)
    except RequestError as error:
        return error_answer(error.error_type, str(error))
    return step(data)


def handler_path(folder: Path) -> Path:
    """
    Returns the `handler.py` of a folder.

    Raises:
        `FileNotFoundError`: for a folder without one.
    """
    path = folder / "handler.py"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: found no handler.py: expected a folder written by train_cls, train_clip or save_for_hub"
        )
    return path


def handler_class(folder: Path) -> Any:
    """Returns the `EndpointHandler` of a folder's own `handler.py`, loaded as Inference Endpoints loads it."""
    spec: Any = importlib.util.spec_from_file_location("handler.EndpointHandler", handler_path(folder))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler


def read_for_ever(connection: Connection, folder: str, temporary: str) -> None:
    """
    Answers one request after the other until the other end is closed or the process killed.

    Args:
        connection (`Connection`): Brings, by turns, JSON of content type and query, and a body; takes an answer.
        folder (`str`): Of the model.
        temporary (`str`): Where files of requests lie while they are read; whoever kills the process empties it.
    """
    os.nice(NICENESS)  # health, the network and other people's answers come first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: whoever started this process ends it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tempfile.tempdir = temporary
    prepare = handler_class(Path(folder)).preparer_class(folder)
    gc.collect()
    gc.freeze()  # what is loaded stays: it need not be looked through again beside every request
    connection.send_bytes(READY)
    while True:
        try:
            head = json.loads(connection.recv_bytes())
            body = connection.recv_bytes()
        except EOFError:
            return
        for part in packed(with_request(prepare, **head, body=body)):
            connection.send_bytes(part)


def packed(prepared: Any) -> list[bytes]:
    """
    Returns what was prepared as bytes without code in them, each ECG by itself: see `serving.readers.unpacked`.

    Args:
        prepared ([`PreparedRequest`] or `dict`): Or the answer, where there is an error.
    """
    if isinstance(prepared, dict):
        return [ANSWERED + json.dumps(prepared).encode()]
    fields = {name: value for name, value in vars(prepared).items() if name != "ecgs"}
    parts = [PREPARED + json.dumps({**fields, "n_ecgs": len(prepared.ecgs)}).encode()]
    for ecg in prepared.ecgs:
        values = ecg.get("input_values")
        shape = None if values is None else values.shape
        about = {name: value for name, value in ecg.items() if name != "input_values"}
        parts.append(json.dumps({"shape": shape, "about": about}).encode())
        if values is not None:
            parts.append(np.ascontiguousarray(values, np.float32).tobytes())
    return parts


__all__ = ["ANSWERED", "PREPARED", "READY", "handler_class", "handler_path", "packed", "read_for_ever", "with_request"]
