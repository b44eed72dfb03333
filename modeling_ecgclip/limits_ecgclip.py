"""How much one ECG and one request may hold, and the checks that readers, handler and server share.

Files and requests come from strangers. What they claim about their own size is compared with these numbers before
anything of that size is read or unpacked. A 12-lead ECG of 10 s at 500 Hz has 60,000 values.
"""

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np


# One file. An HDF5 file holds many exams of which one is read, so that only its parts are limited.
MAX_FILE_BYTES = 100_000_000
MAX_CSV_BYTES = 32_000_000
MAX_CSV_CELLS = 2_000_000  # python parses some two million a second
MAX_HEADER_BYTES = 65_536  # WFDB header
MAX_HEADER_LINE = 1_000  # before a regular expression sees it
MAX_CHANNELS = 64
MAX_ZIP_DIRECTORY_BYTES = 65_536  # some 500 members
MAX_EXAMS = 2_000_000  # in one HDF5 file; CODE-15% as a whole has 345,779
MAX_CHUNKS = 10_000  # of one exam
# What one file unpacks to, HDF5 by the chunk: eight bytes for each value of a request, and what stands around them.
MAX_UNPACKED_BYTES = 67_108_864

# One ECG.
MAX_VALUES = 6_000_000  # leads times samples: 16 minutes of 12 leads at 500 Hz
MAX_SECONDS = 3_600
MIN_SAMPLING_RATE = 10.0  # Hz
MAX_SAMPLING_RATE = 10_000.0  # Hz
# Terms of the ratio of two rates: a filter of twenty times as many taps takes 50 MB and a tenth of a second. Where no
# such fraction is exact, the closest is 20 parts in a million off at most, as recorders' clocks are.
MAX_RATIO_TERM = 50_000
# A single sample. Spikes of a pacemaker and codes of lost samples lie far below; what lies far above overflows.
MAX_SAMPLE_MV = 1e6

# One request to an endpoint.
MAX_REQUEST_BYTES = 33_554_432  # 32 MiB: 128 ECGs of 10 s as base64 of float32
MAX_REQUEST_ECGS = 128
MAX_REQUEST_VALUES = 8_000_000  # of all its ECGs together
MAX_REQUEST_LABELS = 100  # candidates of zero-shot classification
# Of all its ECGs together, kept or not. A step is some half a microsecond of Python: a cell of a table is one, a tag
# of XML several. A product is one of a resampling filter, a nanosecond or two.
MAX_REQUEST_UNPACKED_BYTES = 134_217_728
MAX_REQUEST_STEPS = 20_000_000
MAX_REQUEST_PRODUCTS = 2_000_000_000
# Its JSON, counted before it is parsed. A list takes some 70 bytes of memory, a dictionary 200.
MAX_REQUEST_LISTS = 1_000_000  # 128 ECGs of a list for each of 5,000 samples have 640,000
MAX_REQUEST_TEXTS = 100_000  # settings, and names of leads
MAX_REQUEST_DICTIONARIES = 1_000
MAX_TEXT_LENGTH = 500  # characters of a label, a template, a name, or the message of an error

# What reading a damaged file raises inside numpy, zipfile, h5py and other people's readers.
BEYOND_MEASURE = (MemoryError, OverflowError, RecursionError, SystemError)
READ_ERRORS = (
    *BEYOND_MEASURE,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

# What the request that is being read may still take; none where no request is.
_LEFT: ContextVar[dict[str, int] | None] = ContextVar("left", default=None)


class TooLargeError(ValueError):
    """What would take more memory or work than one ECG, or one request, may."""


@contextlib.contextmanager
def one_request() -> Iterator[None]:
    """
    Counts all that is unpacked and looked at within against the limits of one request.

    Readers say what they are about to take by [`spend_unpacked`], [`spend_steps`] and [`spend_products`]; a file that
    is read outside of a request has only its own limits.
    """
    token = _LEFT.set(
        {
            "bytes unpacked": MAX_REQUEST_UNPACKED_BYTES,
            "steps (cells of tables, tags, codes)": MAX_REQUEST_STEPS,
            "products for resampling": MAX_REQUEST_PRODUCTS,
        }
    )
    try:
        yield
    finally:
        _LEFT.reset(token)


def spend_unpacked(n_bytes: int, name: str) -> None:
    """
    Takes memory for what a file holds in less: unpacked bytes, gaps.

    Raises:
        [`TooLargeError`]: naming the record, for more than one file, or the request, may take.
    """
    if n_bytes > MAX_UNPACKED_BYTES:
        raise TooLargeError(f"{name}: expected at most {MAX_UNPACKED_BYTES:,} bytes unpacked: found {n_bytes:,}")
    _spend("bytes unpacked", n_bytes, name)


def spend_steps(n_steps: int, name: str) -> None:
    """Takes so many steps of work in Python; raises as [`spend_unpacked`]."""
    _spend("steps (cells of tables, tags, codes)", n_steps, name)


def spend_products(n_products: int, name: str) -> None:
    """Takes so many products of filters; raises as [`spend_unpacked`]."""
    _spend("products for resampling", n_products, name)


def _spend(what: str, amount: int, name: str) -> None:
    left = _LEFT.get()
    if left is None:
        return
    if amount > left[what]:
        raise TooLargeError(
            f"{name}: expected fewer {what} in all ECGs of a request: found {amount:,} more where {left[what]:,} are "
            "left: send fewer at once"
        )
    left[what] -= amount


def shorten(text: Any, length: int = 100) -> str:
    """Returns `text` with its middle left out where it is longer than `length`, for errors that quote a file."""
    text = str(text)
    return text if len(text) <= length else f"{text[: length - 30]} ... {text[-20:]}"


def check_file(path: Path, max_bytes: int | None = MAX_FILE_BYTES) -> None:
    """
    Refuses what is no file, and a file of more than `max_bytes`, before anything of it is read.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, or no regular one")
    size = path.stat().st_size
    if max_bytes is not None and size > max_bytes:
        raise ValueError(f"{path}: expected one ECG in at most {max_bytes:,} bytes: found a file of {size:,} bytes")


def check_values(shape: tuple[int, ...], name: str) -> None:
    """
    Refuses a shape of more than `MAX_VALUES` numbers.

    Raises:
        `ValueError`: naming the record.
    """
    n_values = math.prod(shape)
    if n_values > MAX_VALUES:
        found = f"{n_values:,}" if n_values < 2**64 else "far more"
        raise ValueError(
            f"{name}: expected one ECG of at most {MAX_VALUES:,} values: found {found}, shape {shorten(shape)}"
        )


def check_samples(signal: Any, per_mv: float, name: str) -> None:
    """
    Refuses a finite sample of more than `MAX_SAMPLE_MV`; NaN and Inf are left to the feature extractor.

    Args:
        signal (`np.ndarray` or `torch.Tensor`): Real numbers.
        per_mv (`float`): How many of its unit make a millivolt.
        name (`str`): What errors call the ECG.

    Raises:
        `ValueError`: naming the record.
    """
    limit = np.float64(MAX_SAMPLE_MV * per_mv)  # float16 does not hold it
    if math.prod(signal.shape) and signal.max() <= limit and signal.min() >= -limit:
        return  # as nearly always: NaN and Inf, which are allowed, are looked for in what remains
    magnitude = abs(signal)
    if bool(((magnitude > limit) & (magnitude != math.inf)).any()):
        raise ValueError(
            f"{name}: expected samples below {MAX_SAMPLE_MV:g} mV: found a larger one. Is the unit another one?"
        )


def check_sampling_rate(sampling_rate: Any, shape: tuple[int, ...], name: str) -> None:
    """
    Refuses a rate that no recorder has, or states, and a recording that is too long.

    What is no number is left to the feature extractor, which says so.

    Args:
        sampling_rate (`float`): Hz.
        shape (`tuple[int]`): Of the ECG; its longer side is time.
        name (`str`): What errors call the ECG.

    Raises:
        `ValueError`: naming the record.
    """
    try:
        rate = float(sampling_rate)
    except (TypeError, ValueError, OverflowError):
        return
    if not MIN_SAMPLING_RATE <= rate <= MAX_SAMPLING_RATE:
        raise ValueError(
            f"{name}: sampling_rate must lie between {MIN_SAMPLING_RATE:g} and {MAX_SAMPLING_RATE:g} Hz: "
            f"found {shorten(sampling_rate)}"
        )
    seconds = max(shape, default=0) / rate
    if seconds > MAX_SECONDS:
        raise ValueError(f"{name}: expected at most {MAX_SECONDS} s: found {seconds:.0f} s at {rate:g} Hz")


__all__ = [
    "BEYOND_MEASURE",
    "MAX_CHANNELS",
    "MAX_CHUNKS",
    "MAX_CSV_BYTES",
    "MAX_CSV_CELLS",
    "MAX_EXAMS",
    "MAX_FILE_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_HEADER_LINE",
    "MAX_RATIO_TERM",
    "MAX_REQUEST_BYTES",
    "MAX_REQUEST_DICTIONARIES",
    "MAX_REQUEST_ECGS",
    "MAX_REQUEST_LABELS",
    "MAX_REQUEST_LISTS",
    "MAX_REQUEST_PRODUCTS",
    "MAX_REQUEST_STEPS",
    "MAX_REQUEST_TEXTS",
    "MAX_REQUEST_UNPACKED_BYTES",
    "MAX_REQUEST_VALUES",
    "MAX_SAMPLE_MV",
    "MAX_SAMPLING_RATE",
    "MAX_SECONDS",
    "MAX_TEXT_LENGTH",
    "MAX_UNPACKED_BYTES",
    "MAX_VALUES",
    "MAX_ZIP_DIRECTORY_BYTES",
    "MIN_SAMPLING_RATE",
    "READ_ERRORS",
    "TooLargeError",
    "check_file",
    "check_samples",
    "check_sampling_rate",
    "check_values",
    "one_request",
    "shorten",
    "spend_products",
    "spend_steps",
    "spend_unpacked",
]
