"""What a request to an endpoint holds: ECGs in the forms that JSON and plain bytes allow, and their settings.

The forms are described in docs/endpoint.md of the project. A request never names a file of the server or an address: a
text is base64 or a table, nothing else.
"""

import base64
import binascii
import io
import json
import math
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays_ecgclip import check_zip_directory
from .formats_ecgclip import FORMATS as FILE_KINDS
from .formats_ecgclip import format_named, format_of
from .limits_ecgclip import (
    MAX_CHANNELS,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_DICTIONARIES,
    MAX_REQUEST_ECGS,
    MAX_REQUEST_LISTS,
    MAX_REQUEST_TEXTS,
    MAX_REQUEST_VALUES,
    MAX_TEXT_LENGTH,
    MAX_VALUES,
    TooLargeError,
    one_request,
    shorten,
    spend_products,
    spend_steps,
    spend_unpacked,
)
from .rates_ecgclip import resampling_products
from .reading_ecgclip import read_ecg
from .record_ecgclip import EcgRecord
from .signal_ecgclip import SAMPLING_RATE
from .stated_ecgclip import UnstatedError, check_stated
from .wfdb_header_ecgclip import FILE_NAME, main_header, read_header


# The names of errors, and the HTTP status that suits them.
ERROR_TYPES = {
    "InvalidRequest": 400,  # no `inputs`, or in none of the known forms
    "InvalidParameter": 400,  # a parameter that is unknown, missing or of another kind
    "InvalidEcg": 400,  # an ECG that cannot be read, or that no heart gives
    "UnsupportedFormat": 415,  # bytes of an unknown kind, or a kind whose package is not installed here
    "TooLarge": 413,
    "InternalError": 500,
}
# Kinds of bytes: whole files, and samples without a word about themselves. A WFDB record is several files.
FILE_FORMATS = tuple(sorted(kind.name for kind in FILE_KINDS if kind.name != "wfdb"))
RAW_FORMATS: dict[str, np.dtype] = {"float32": np.dtype("<f4"), "int16": np.dtype("<i2")}
FORMATS = (*FILE_FORMATS, *RAW_FORMATS, "wfdb")
_STEPS_PER_FILE = 2_000  # of a WFDB record, which is written, found and opened
_FILE_NAME = "ecg"  # of the temporary file; whoever sends a request chooses no name here


class RequestError(ValueError):
    """
    A request that cannot be answered.

    Args:
        error_type (`str`): One of `ERROR_TYPES`.
        message (`str`): What was expected and what was found; goes to whoever sent the request.
    """

    def __init__(self, error_type: str, message: str):
        super().__init__(shorten(message, MAX_TEXT_LENGTH))
        self.error_type = error_type


def read_json(body: bytes) -> Any:
    """
    Returns what a body in JSON holds; lists, texts and values are counted before any of them is made.

    Args:
        body (`bytes`): In UTF-8.

    Raises:
        [`RequestError`]: for what is no JSON, and for more than a request of the allowed ECGs has.
    """
    # Without escapes, so that every quotation mark left begins or ends a text. What lies between two texts is counted.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    n_texts = plain.count(b'"') // 2
    if n_texts > MAX_REQUEST_TEXTS:
        raise RequestError("TooLarge", f"expected at most {MAX_REQUEST_TEXTS:,} texts in JSON: found {n_texts:,}")
    between = plain.split(b'"')[::2]
    for sign, limit, what in (
        (b"[", MAX_REQUEST_LISTS, "lists"),
        (b"{", MAX_REQUEST_DICTIONARIES, "dictionaries"),
        (b",", MAX_REQUEST_VALUES + MAX_REQUEST_LISTS, "values"),
    ):
        count = sum(part.count(sign) for part in between)
        if count > limit:
            raise RequestError("TooLarge", f"expected at most {limit:,} {what} in JSON: found {count:,}")
    del plain, between
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RequestError("InvalidRequest", "expected a body in JSON, in UTF-8") from error


def read_inputs(
    inputs: Any, settings: Mapping[str, Any], target_rate: float = SAMPLING_RATE
) -> tuple[list[dict[str, Any]], bool]:
    """
    Returns the ECGs of a request as the pipelines take them, and whether they came as a list.

    What all of them take together, to be read and to be resampled, is counted before the work begins.

    Args:
        inputs: One ECG or a list of them. An ECG is a list of leads or of samples; a text (base64 of a file or of raw
            samples, or a table of separated values); bytes (the same, plain); or a dictionary with `ecg`, `data`, or
            `hea` and `dat`, and settings of its own.
        settings (`dict`): From [`read_settings`], for ECGs that have none of their own.
        target_rate (`float`, defaults to 400): Hz to which the model's feature extractor resamples.

    Raises:
        [`RequestError`]: naming the ECG (`inputs`, `inputs[3]`).
    """
    items, several = _split(inputs)
    if len(items) > MAX_REQUEST_ECGS:
        raise RequestError("TooLarge", f"inputs: expected at most {MAX_REQUEST_ECGS} ECGs: found {len(items):,}")
    ecgs = []
    n_values = 0
    with one_request():
        for i, item in enumerate(items):
            record = _read_one(item, settings, f"inputs[{i}]" if several else "inputs", target_rate)
            n_values += math.prod(record.signal.shape)
            if n_values > MAX_REQUEST_VALUES:
                raise RequestError(
                    "TooLarge",
                    f"inputs: expected at most {MAX_REQUEST_VALUES:,} values in all: found more by {record.name}",
                )
            ecgs.append(
                {
                    "ecg": record.signal,
                    "sampling_rate": record.sampling_rate,
                    "lead_names": None if record.lead_names is None else list(record.lead_names),
                    "unit": record.unit,
                    "name": record.name,
                }
            )
    return ecgs, several


def read_settings(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """
    Returns the settings of ECGs that `given` holds, in their own types; the rest of it is left alone.

    Numbers and lists may be text, as they are in the query of an address.

    Args:
        given (`dict`): May hold `sampling_rate`, `lead_names`, `unit`, `exam_id`, `format`, `shape`.
        where (`str`): What errors call it.

    Raises:
        [`RequestError`]: for a setting of another type.
    """
    settings = {}
    for name, (read, expected) in _SETTINGS.items():
        value = given.get(name)
        if value is None:
            continue
        try:
            settings[name] = read(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise RequestError(
                "InvalidParameter", f"{where}: expected {name} as {expected}: found {quote(value)}"
            ) from error
    return settings


def read_flag(value: Any) -> bool:
    """Returns a boolean, also of its name in JSON; `ValueError` for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value] if value in ("true", "false") else _refuse(value)


def read_whole_number(value: Any) -> int:
    """Returns a whole number of at least 1, also of a text; `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str) or int(value) < 1:
        raise ValueError(value)
    return int(value)


def read_text(value: Any) -> str:
    """Returns a text of usual length; `ValueError` for anything else."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT_LENGTH else _refuse(value)


def _read_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def _read_names(value: Any) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not 1 <= len(names) <= MAX_CHANNELS:
        raise ValueError(value)
    return [read_text(name) for name in names]


def _read_exam_id(value: Any) -> int | str:
    return value if isinstance(value, int) and not isinstance(value, bool) else read_text(value)


def _read_format(value: Any) -> str:
    return value if isinstance(value, str) and value in FORMATS else _refuse(value)


def _read_shape(value: Any) -> tuple[int, int]:
    lengths = value.split(",") if isinstance(value, str) else value
    rows, columns = lengths
    return read_whole_number(rows), read_whole_number(columns)


def _refuse(value: Any) -> Any:
    raise ValueError(value)


_SETTINGS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "sampling_rate": (_read_number, "a number of Hz"),
    "lead_names": (_read_names, f"a list of 1 to {MAX_CHANNELS} names"),
    "unit": (read_text, "mV, uV or V"),
    "exam_id": (_read_exam_id, "a whole number or text"),
    "format": (_read_format, f"one of {', '.join(FORMATS)}"),
    "shape": (_read_shape, "two whole numbers, such as [12, 5000]"),
}
SETTING_NAMES = tuple(_SETTINGS)


def quote(value: Any) -> str:
    """Returns a text or number as it was given; of anything else, and of a number beyond measure, its type."""
    if isinstance(value, str | float | None) or (isinstance(value, int) and value.bit_length() <= 64):
        return shorten(repr(value))
    has_length = isinstance(value, list | tuple | dict | bytes | bytearray)
    return type(value).__name__ + (f" of length {len(value)}" if has_length else "")


def _split(inputs: Any) -> tuple[list[Any], bool]:
    """The single ECGs of `inputs`, and whether they came as a list."""
    if isinstance(inputs, str | bytes | bytearray | Mapping):
        return [inputs], False
    if isinstance(inputs, np.ndarray):
        return (list(inputs), True) if inputs.ndim == 3 else ([inputs], False)
    if not isinstance(inputs, list | tuple) or len(inputs) == 0:
        raise RequestError("InvalidRequest", f"inputs: expected one ECG or a list of ECGs: found {quote(inputs)}")
    depth, first = 0, inputs
    while isinstance(first, list | tuple) and len(first) and depth < 4:
        depth, first = depth + 1, first[0]
    if all(isinstance(item, list | tuple) for item in inputs) and depth <= 2:
        return [inputs], False
    return list(inputs), True


def _read_one(item: Any, settings: Mapping[str, Any], name: str, target_rate: float) -> EcgRecord:
    """One ECG in any of its forms, which can be resampled within the request's limits."""
    try:
        if isinstance(item, Mapping):
            record = _read_mapping(item, settings, name)
        else:
            record = _read_content(item, settings, name)
    except RequestError:
        raise
    except ImportError as error:
        raise RequestError("UnsupportedFormat", f"{name}: {error}") from error
    except (ValueError, TypeError, OverflowError, FileNotFoundError) as error:
        message = str(error)
        raise RequestError(_type_of(error), message if message.startswith(name) else f"{name}: {message}") from error
    shape = record.signal.shape
    try:
        check_stated(name, shape, record.sampling_rate, record.lead_names, record.unit)
        if record.sampling_rate is not None and record.signal.size:
            spend_products(resampling_products(min(shape), max(shape), record.sampling_rate, target_rate), name)
    except UnstatedError as error:
        raise RequestError("InvalidParameter", str(error)) from error
    except TooLargeError as error:
        raise RequestError("TooLarge", str(error)) from error
    return record


def _type_of(error: Exception) -> str:
    """The name of an error that a reader raised."""
    return "TooLarge" if isinstance(error, TooLargeError) else "InvalidEcg"


def _read_mapping(item: Mapping[str, Any], settings: Mapping[str, Any], name: str) -> EcgRecord:
    """An ECG with settings of its own."""
    contents = ("ecg", "data", "hea", "dat")
    held = [key for key in contents if item.get(key) is not None]
    unknown = [key for key in item if key not in (*contents, *SETTING_NAMES, "n_samples", "name")]
    if unknown or held not in (["ecg"], ["data"], ["hea", "dat"]):
        found = shorten(", ".join(map(str, item))) or "nothing"
        raise RequestError(
            "InvalidRequest",
            f"{name}: expected a dictionary with ecg, with data, or with hea and dat, and optionally "
            f"{', '.join(SETTING_NAMES)}, name: found {found}",
        )
    settings = {**settings, **read_settings(item, name)}
    if item.get("name") is not None:
        try:
            name = f"{name} ({read_text(item['name'])})"
        except ValueError as error:
            raise RequestError("InvalidParameter", f"{name}: expected name as a text of usual length") from error
    if "n_samples" in item:
        if not isinstance(item.get("ecg"), list | np.ndarray):
            raise RequestError("InvalidEcg", f"{name}: expected ecg as a list of 12 x 4096 whole numbers")
        ecg = item["ecg"] if isinstance(item["ecg"], np.ndarray) else _numbers([item["ecg"]], name)[0]
        return _read({"ecg": ecg, "n_samples": item["n_samples"]}, settings, name)
    if held == ["hea", "dat"]:
        header = _content_bytes(item["hea"], f"{name}, hea", is_text=lambda text: " " in text)
        return _read_pair(
            header, _content_bytes(item["dat"], f"{name}, dat", is_text=lambda text: False), settings, name
        )
    content = item[held[0]]
    if held == ["data"] and not isinstance(content, str | bytes | bytearray):
        raise RequestError("InvalidRequest", f"{name}: expected data as text: found {quote(content)}")
    return _read_content(content, settings, name)


def _read_content(content: Any, settings: Mapping[str, Any], name: str) -> EcgRecord:
    """An ECG without settings of its own: numbers, text or bytes."""
    if isinstance(content, np.ndarray):
        return _read({"ecg": content}, settings, name)
    if isinstance(content, list | tuple):
        return _read({"ecg": _numbers(content, name)}, settings, name)
    if not isinstance(content, str | bytes | bytearray):
        raise RequestError("InvalidRequest", f"{name}: expected numbers, text or a dictionary: found {quote(content)}")
    stated = settings.get("format")
    # Signs that a table has and base64 has not.
    looks_like_table = stated == "csv" or (
        stated is None and isinstance(content, str) and re.search("[,;\t|]", content)
    )
    content = _content_bytes(content, name, is_text=lambda text: bool(looks_like_table))
    kind = stated or _sniff(content, name)
    if kind in RAW_FORMATS:
        return _read({"ecg": _raw_samples(content, kind, settings, name)}, settings, name)
    if stated == "wfdb" or (kind == "npz" and stated is None):
        members = _unpack_wfdb(content, name)
        if members is not None:
            return _read_members(members, settings, name)
        kind = "npz"
    with tempfile.TemporaryDirectory(prefix="ecg-") as folder:
        path = Path(folder, _FILE_NAME + format_named(kind).suffixes[0])
        path.write_bytes(content)
        found = format_of(path)
        if found is None or found.name != kind:  # kinds that share an ending
            other = "other bytes" if found is None else found.name
            raise RequestError("InvalidEcg", f"{name}: expected a file of format {kind}: found {other}")
        return _read(path, settings, name)


def _read(source: Any, settings: Mapping[str, Any], name: str) -> EcgRecord:
    """As `read_ecg`, with the ECG's name in errors and never the place of a temporary file."""
    stated = {key: settings.get(key) for key in ("exam_id", "sampling_rate", "lead_names", "unit")}
    if not isinstance(source, Path):
        source = {**source, "name": name} if "n_samples" not in source else source
        stated["exam_id"] = None
    try:
        record = read_ecg(source, **stated)
    except (ValueError, TypeError, FileNotFoundError) as error:
        message = str(error)
        if isinstance(source, Path):
            message = message.replace(str(source.with_name(_FILE_NAME)), name).replace(f"{source.parent}/", "")
        raise RequestError(_type_of(error), message if name in message else f"{name}: {message}") from error
    return replace(record, name=name)


def _numbers(leads: Sequence[Any], name: str) -> np.ndarray:
    """Lists of numbers of one length as an array; null is NaN."""
    if len(leads) > MAX_REQUEST_LISTS:
        raise RequestError(
            "TooLarge", f"{name}: expected at most {MAX_REQUEST_LISTS:,} lists of numbers: found {len(leads):,}"
        )
    for lead in leads:
        if not isinstance(lead, list | tuple):
            raise RequestError("InvalidEcg", f"{name}: expected a list of lists of numbers: found {quote(lead)} in it")
        # Before numpy sees it, which would make room for the longest text in every place.
        strange = set(map(type, lead)) - {int, float, type(None)}
        if strange:
            raise RequestError("InvalidEcg", f"{name}: expected numbers: found {strange.pop().__name__}")
    lengths = sorted(set(map(len, leads)))
    if len(lengths) != 1:
        raise RequestError("InvalidEcg", f"{name}: expected lists of one length: found {shorten(lengths)}")
    if len(leads) * lengths[0] > MAX_VALUES:
        raise RequestError("TooLarge", f"{name}: expected at most {MAX_VALUES:,} values: found {len(leads)} lists")
    array = np.array(leads)
    if array.dtype == object:  # null, or whole numbers beyond 64 bits
        array = np.array(leads, dtype=np.float64)
    return array


def _content_bytes(content: Any, name: str, is_text: Callable[[str], bool]) -> bytes:
    """Bytes of an ECG that came as bytes, as base64, or as the text itself."""
    if isinstance(content, bytes | bytearray):
        result = bytes(content)
    elif not isinstance(content, str):
        raise RequestError("InvalidRequest", f"{name}: expected text: found {quote(content)}")
    elif len(content) > MAX_REQUEST_BYTES:
        raise RequestError("TooLarge", f"{name}: expected at most {MAX_REQUEST_BYTES:,} bytes: found {len(content):,}")
    elif is_text(content):
        result = content.encode("utf-8")
    else:
        try:
            result = base64.b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError(
                "InvalidRequest", f"{name}: expected base64, or a table of separated values: {error}"
            ) from error
    if len(result) > MAX_REQUEST_BYTES:
        raise RequestError("TooLarge", f"{name}: expected at most {MAX_REQUEST_BYTES:,} bytes: found {len(result):,}")
    if not result:
        raise RequestError("InvalidEcg", f"{name}: expected an ECG: found nothing")
    return result


def _sniff(content: bytes, name: str) -> str:
    """The kind of some bytes, by how they begin."""
    kind = format_of(content)
    if kind is not None and kind.name in FILE_FORMATS:
        return kind.name
    found = "other bytes" if kind is None else f"a file of {kind.title} that needs the files that it names"
    raise RequestError(
        "UnsupportedFormat",
        f"{name}: expected a file of {', '.join(FILE_FORMATS)}, a zip archive of a WFDB record, or the parameter "
        f"format (one of {', '.join(FORMATS)}); pickles are never loaded: found {found}",
    )


def _raw_samples(content: bytes, kind: str, settings: Mapping[str, Any], name: str) -> np.ndarray:
    dtype = RAW_FORMATS[kind]
    if "shape" not in settings:
        raise RequestError("InvalidParameter", f"{name}: format {kind} needs the parameter shape, such as [12, 5000]")
    shape = settings["shape"]
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise RequestError(
            "InvalidEcg",
            f"{name}: expected {math.prod(shape) * dtype.itemsize:,} bytes of {kind} for shape {list(shape)}: "
            f"found {len(content):,}",
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _unpack_wfdb(content: bytes, name: str) -> dict[str, bytes] | None:
    """Members of a zip archive of a WFDB record; `None` for an archive without a header."""
    check_zip_directory(io.BytesIO(content), name)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            headers = [info for info in members if info.filename.endswith(".hea")]
            if not headers:
                return None
            names = [info.filename for info in members]
            strange = next((one for one in names if not (one.isascii() and FILE_NAME.fullmatch(one))), None)
            if strange is not None:
                raise RequestError(
                    "InvalidEcg", f"{name}: expected members without folders: found {shorten(repr(strange))}"
                )
            spend_steps(_STEPS_PER_FILE * len(members), name)
            spend_unpacked(sum(info.file_size for info in members), name)
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members):
                raise RequestError("InvalidEcg", f"{name}: expected members stored or deflated")
            return {info.filename: archive.read(info) for info in members}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, NotImplementedError) as error:
        raise RequestError("InvalidEcg", f"{name}: not a readable zip archive: {shorten(error)}") from error


def _read_members(members: Mapping[str, bytes], settings: Mapping[str, Any], name: str) -> EcgRecord:
    """A WFDB record of all its files by name; of one that names segments these are members as well."""
    headers = {one: content for one, content in members.items() if one.endswith(".hea")}
    main = main_header(headers)
    if main is None:
        raise RequestError("InvalidEcg", f"{name}: expected one WFDB header: found {len(headers)}")
    with tempfile.TemporaryDirectory(prefix="ecg-") as folder:
        for member, content in members.items():
            Path(folder, member).write_bytes(content)
        return _read(Path(folder, main), settings, name)


def _read_pair(header: bytes, signals: bytes, settings: Mapping[str, Any], name: str) -> EcgRecord:
    """A WFDB record of its header and its only signal file, whatever the header calls it."""
    with tempfile.TemporaryDirectory(prefix="ecg-") as folder:
        path = Path(folder, _FILE_NAME + ".hea")
        path.write_bytes(header)
        try:
            stated = read_header(path).file_names
        except ValueError as error:
            raise RequestError("InvalidEcg", str(error).replace(str(path.with_suffix("")), name)) from error
        if len(stated) != 1 or stated[0] == path.name:
            raise RequestError(
                "InvalidEcg", f"{name}: expected a header of one signal file: found {shorten(', '.join(stated))}"
            )
        Path(folder, stated[0]).write_bytes(signals)
        return _read(path, settings, name)


__all__ = [
    "ERROR_TYPES",
    "FORMATS",
    "SETTING_NAMES",
    "RequestError",
    "quote",
    "read_flag",
    "read_inputs",
    "read_json",
    "read_settings",
    "read_text",
    "read_whole_number",
]
