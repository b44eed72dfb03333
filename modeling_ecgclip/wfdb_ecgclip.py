"""WFDB records: a header that names signal files beside it."""

import re
from pathlib import Path

import numpy as np

from .leads_ecgclip import UNITS_PER_MV, canonical_unit
from .limits_ecgclip import (
    MAX_CHANNELS,
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_LINE,
    READ_ERRORS,
    check_file,
    check_values,
    shorten,
)
from .record_ecgclip import EcgRecord


WFDB_SUFFIXES = (".hea", ".dat")
# What a WFDB header may say, of https://wfdb.io/spec/header-files.html: one segment, and signal files that lie beside
# it. As strict as this, wfdb's own more lenient expressions can understand it in one way only.
_RECORD_LINE = re.compile(r"[-\w]+(?P<segments>/\d+)?\s+(?P<n_sig>\d+)(\s+[\d./()-]+(\s+(?P<sig_len>\d+)(\s.*)?)?)?")
_SIGNAL_LINE = re.compile(
    r"(?P<file_name>[-\w]+(\.\w+)?)\s+(?P<fmt>\d+)(x(?P<per_frame>\d+))?(:(?P<skew>\d+))?(\+(?P<offset>\d+))?(\s.*)?"
)
_SIGNAL_FORMATS = (8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524)


def is_wfdb_header(head: bytes) -> bool:
    """Returns whether a file begins with a WFDB record's name and sizes, and then a line on its first signal."""
    lines = [line.strip() for line in head.decode("ascii", "ignore").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")][:2]
    if not lines or len(lines[0]) > MAX_HEADER_LINE:
        return False
    first = _RECORD_LINE.fullmatch(lines[0])
    # Numbers parted by blanks may look like a record's line, but they are no file's name.
    return first is not None and len(lines) == 2 and re.match(r"[-\w]+\.\w+\s+\d", lines[1]) is not None


def read_wfdb(path: str | Path) -> EcgRecord:
    """
    Returns a WFDB record (header and signal files) in millivolts.

    Args:
        path (`str` or `Path`): The record, with or without `.hea` or `.dat`.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`; invalid samples are NaN.

    Raises:
        `FileNotFoundError`: where header or signal file is missing.
        `ValueError`: for a record that cannot be read, that has several segments, whose signal files do not lie beside
            its header, or with a channel whose unit is no voltage.
    """
    try:
        import wfdb
    except ImportError as error:
        raise ImportError("reading WFDB records needs the package wfdb: pip install wfdb") from error
    base = Path(path)
    if base.suffix in WFDB_SUFFIXES:
        base = base.with_suffix("")
    header = base.with_name(base.name + ".hea")
    if not header.is_file():
        raise FileNotFoundError(f"{base}: no WFDB header found: expected {header}")
    check_wfdb_header(header)
    try:
        record = wfdb.rdrecord(str(base))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{base}: the header names a signal file that is missing: {error}") from error
    except READ_ERRORS as error:
        raise ValueError(f"{base}: not a readable WFDB record: {shorten(error, 300)}") from error
    if record.p_signal is None or record.p_signal.size == 0:
        raise ValueError(f"{base}: the WFDB record holds no samples")
    if not np.all(np.isfinite(record.adc_gain)):
        raise ValueError(f"{base}: expected finite gains: found {shorten(record.adc_gain)}")
    per_mv = [UNITS_PER_MV[canonical_unit(unit, f"{base}, channel {i}")] for i, unit in enumerate(record.units)]
    signal = (record.p_signal / np.array(per_mv)).T  # (leads, samples)
    # A channel without a name gets one that no lead has, and is refused unless the caller states the leads.
    return EcgRecord(signal, float(record.fs), tuple(name or "" for name in record.sig_name), "mV", str(base))


def check_wfdb_header(header: Path) -> list[str]:
    """
    Returns the names of the signal files, all of them beside the header, that a WFDB header states.

    Raises:
        `FileNotFoundError`: where there is no header.
        `ValueError`: for a header that states several segments, more than one ECG holds, or a path of a signal file.
    """
    check_file(header, MAX_HEADER_BYTES)
    base = header.with_suffix("")
    # Decoded and split as wfdb does it.
    lines = [line.strip() for line in header.read_bytes().decode("ascii", "ignore").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    too_long = next((line for line in lines if len(line) > MAX_HEADER_LINE), None)
    if too_long is not None:
        raise ValueError(f"{base}: not a readable WFDB record: a header line has {len(too_long):,} characters")
    first = _RECORD_LINE.fullmatch(lines[0]) if lines else None
    if first is None:
        found = shorten(repr(lines[0])) if lines else "nothing"
        raise ValueError(
            f"{base}: not a readable WFDB record: expected a header that begins with the record's name, its number of "
            f"signals, Hz and samples: found {found}"
        )
    if first["segments"] is not None:
        raise ValueError(f"{base}: expected a WFDB record of one segment: found {first['segments'][1:]}")
    n_sig, sig_len = int(first["n_sig"]), int(first["sig_len"] or 0)
    if not 1 <= n_sig <= MAX_CHANNELS or len(lines) - 1 != n_sig:
        raise ValueError(
            f"{base}: not a readable WFDB record: expected 1 to {MAX_CHANNELS} signals, each with a line: "
            f"the header states {shorten(n_sig)} and has {len(lines) - 1} lines"
        )
    check_values((n_sig, sig_len), str(base))
    formats: dict[str, str] = {}
    for line in lines[1:]:
        signal = _SIGNAL_LINE.fullmatch(line)
        if signal is None:
            raise ValueError(
                f"{base}: not a readable WFDB record: expected signal lines that begin with the name of a file beside "
                f"the header and a format: found {shorten(repr(line))}"
            )
        if int(signal["fmt"]) not in _SIGNAL_FORMATS:
            raise ValueError(f"{base}: expected a format of WFDB, such as 16: found {shorten(repr(line))}")
        if int(signal["per_frame"] or 1) != 1 or int(signal["skew"] or 0) > max(sig_len, 1):
            raise ValueError(f"{base}: expected one sample of each signal at a time: found {shorten(repr(line))}")
        if int(signal["offset"] or 0) > MAX_FILE_BYTES:
            raise ValueError(f"{base}: a signal begins beyond {MAX_FILE_BYTES:,} bytes: found {shorten(repr(line))}")
        if formats.setdefault(signal["file_name"], signal["fmt"]) != signal["fmt"]:
            raise ValueError(f"{base}: expected one format for each signal file: found {shorten(repr(line))}")
    for name in formats:
        if (header.parent / name).exists():
            check_file(header.parent / name)
    return list(formats)


__all__ = ["WFDB_SUFFIXES", "check_wfdb_header", "is_wfdb_header", "read_wfdb"]
