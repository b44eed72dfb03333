"""How much one ECG and one request may hold, and the checks that readers, handler and server share.

Files and requests come from strangers. What they claim about their own size is compared with these numbers before
anything of that size is read or unpacked. A 12-lead ECG of 10 s at 500 Hz has 60,000 values.
"""

import math
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .signal_ecgclip import SAMPLING_RATE


# One file. An HDF5 file holds many exams of which one is read, so that only its parts are limited.
MAX_FILE_BYTES = 100_000_000
MAX_CSV_BYTES = 32_000_000
MAX_CSV_CELLS = 2_000_000  # python parses some two million a second
MAX_HEADER_BYTES = 65_536  # WFDB header
MAX_HEADER_LINE = 1_000  # before a regular expression sees it
MAX_CHANNELS = 64
MAX_ZIP_DIRECTORY_BYTES = 65_536  # some 500 members
MAX_EXAMS = 2_000_000  # in one HDF5 file; CODE-15% as a whole has 345,779
MAX_CHUNK_BYTES = 64_000_000  # HDF5 unpacks whole chunks
MAX_CHUNKS = 10_000  # of one exam

# One ECG.
MAX_VALUES = 6_000_000  # leads times samples: 16 minutes of 12 leads at 500 Hz
MAX_SECONDS = 3_600
MIN_SAMPLING_RATE = 10.0  # Hz
MAX_SAMPLING_RATE = 10_000.0  # Hz
# Terms of the ratio of 400 Hz to a rate, which is taken as a fraction of at most 1,000 parts of a hertz.
MAX_RESAMPLING_FACTOR = 1_000_000
# A single sample. Spikes of a pacemaker and codes of lost samples lie far below; what lies far above overflows.
MAX_SAMPLE_MV = 1e6

# One request to an endpoint.
MAX_REQUEST_BYTES = 33_554_432  # 32 MiB: 128 ECGs of 10 s as base64 of float32
MAX_REQUEST_ECGS = 128
MAX_REQUEST_VALUES = 8_000_000  # of all its ECGs together
MAX_REQUEST_LABELS = 100  # candidates of zero-shot classification
MAX_TEXT_LENGTH = 500  # characters of a label, a template, a name, or the message of an error

# What reading a damaged file raises inside numpy, zipfile, h5py and other people's readers.
READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


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
    if math.prod(shape) > MAX_VALUES:
        raise ValueError(
            f"{name}: expected one ECG of at most {MAX_VALUES:,} values: found {math.prod(shape):,}, shape {shape}"
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
    magnitude = abs(signal)
    limit = np.float64(MAX_SAMPLE_MV * per_mv)  # float16 does not hold it
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
    ratio = Fraction(SAMPLING_RATE) / Fraction(rate).limit_denominator(1000)
    if max(ratio.numerator, ratio.denominator) > MAX_RESAMPLING_FACTOR:
        raise ValueError(
            f"{name}: sampling_rate {sampling_rate} is none that a recorder has: state it to a whole hertz"
        )
    seconds = max(shape, default=0) / rate
    if seconds > MAX_SECONDS:
        raise ValueError(f"{name}: expected at most {MAX_SECONDS} s: found {seconds:.0f} s at {rate:g} Hz")


__all__ = [
    "MAX_CHANNELS",
    "MAX_CHUNKS",
    "MAX_CHUNK_BYTES",
    "MAX_CSV_BYTES",
    "MAX_CSV_CELLS",
    "MAX_EXAMS",
    "MAX_FILE_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_HEADER_LINE",
    "MAX_REQUEST_BYTES",
    "MAX_REQUEST_ECGS",
    "MAX_REQUEST_LABELS",
    "MAX_REQUEST_VALUES",
    "MAX_RESAMPLING_FACTOR",
    "MAX_SAMPLE_MV",
    "MAX_SAMPLING_RATE",
    "MAX_SECONDS",
    "MAX_TEXT_LENGTH",
    "MAX_VALUES",
    "MAX_ZIP_DIRECTORY_BYTES",
    "MIN_SAMPLING_RATE",
    "READ_ERRORS",
    "check_file",
    "check_samples",
    "check_sampling_rate",
    "check_values",
    "shorten",
]
