"""Headers of WFDB records, as https://wfdb.io/spec/header-files.html describes them, and no more lenient than that.

Dates, times and the record's own name mean nothing here, and no form of them refuses a record. The names of files do:
none is opened that does not lie beside the header.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .limits_ecgclip import (
    MAX_CHANNELS,
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_LINE,
    MAX_VALUES,
    check_file,
    check_values,
    shorten,
)


# Files and segments beside the header: no separators of folders, no drives, no addresses.
FILE_NAME = re.compile(r"[-\w](?:[-.\w]*\w)?")
MAX_SEGMENTS = 2_000  # each is a file to open; records of a day have some hundred
# Name of a segment, or of a signal's file, that stands for nothing recorded.
NOTHING = "~"
_RECORD = re.compile(
    r"[^\s/]+(?:/(?P<n_segments>\d+))?\s+(?P<n_sig>\d+)"
    r"(?:\s+(?P<rate>\d*\.?\d+(?:e[+-]?\d+)?)(?:/\S*)?(?:\s+(?P<n_samples>\d+)(?:\s.*)?)?)?",
    re.IGNORECASE,
)
_SIGNAL = re.compile(
    r"(?P<file_name>\S+)\s+(?P<fmt>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>-?\d*\.?\d+(?:e[+-]?\d+)?|-?\d+\.)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+(?P<resolution>\d+)(?:\s+(?P<zero>-?\d+)(?:\s+(?P<first>-?\d+)(?:\s+(?P<checksum>-?\d+)"
    r"(?:\s+(?P<block>\d+)(?:\s+(?P<name>.*))?)?)?)?)?)?)?",
    re.IGNORECASE,
)
_SEGMENT = re.compile(r"(?P<name>\S+)\s+(?P<n_samples>\d+)")


@dataclass(frozen=True)
class Signal:
    """
    One line of a header on a signal.

    Args:
        file_name (`str`): Beside the header; `"~"` where nothing was recorded.
        fmt (`int`): How its samples are stored.
        per_frame (`int`): Samples in each frame: the signal's rate is so many times that of the record.
        skew (`int`): Frames by which it lies late in its file.
        offset (`int`): Bytes of the file before the first sample.
        gain (`float`, *optional*): Steps in one physical unit, negative where the steps fall as the voltage rises;
            `None` where it is absent or 0, which both mean "not calibrated".
        baseline (`int`): The step of 0 physical units.
        unit (`str`): Physical; millivolts where the header states none, as the format has it.
        first, checksum (`int`, *optional*): The first sample, and the sum of all in 16 bits; `None` where not stated.
        name (`str`): `""` where not stated.
    """

    file_name: str
    fmt: int
    per_frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: int
    unit: str
    first: int | None
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """
    What a header states.

    Args:
        n_sig (`int`): Signals.
        sampling_rate (`float`, *optional*): Hz, of frames; `None` where not stated.
        n_samples (`int`, *optional*): Frames; `None` where not stated.
        signals (`tuple[Signal, ...]`): Empty for a record of segments.
        segments (`tuple[tuple[str, int], ...]`): Names of the records that follow each other, `"~"` for a gap, and
            their lengths in frames; empty for a record of one.
    """

    n_sig: int
    sampling_rate: float | None
    n_samples: int | None
    signals: tuple[Signal, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()

    @property
    def file_names(self) -> list[str]:
        """Names of the signal files, each once, in their order."""
        return list(dict.fromkeys(signal.file_name for signal in self.signals if signal.file_name != NOTHING))


def header_lines(content: bytes) -> list[str]:
    """Returns the lines of a header that are neither blank nor comments."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = (line.strip() for line in re.split(r"[\r\n]+", text))
    return [line for line in lines if line and not line.startswith("#")]


def starts_header(first: str, second: str) -> bool:
    """Returns whether two lines are those of a record and of its first signal or segment."""
    record = _RECORD.fullmatch(first) if len(first) <= MAX_HEADER_LINE else None
    if record is None or len(second) > MAX_HEADER_LINE:
        return False
    # Numbers parted by blanks may look like both lines, but they are no file's name.
    signal = re.match(r"[-\w.]*\.\w*[a-z]\w*\s+\d|~\s+\d", second, re.IGNORECASE)
    return bool(_SEGMENT.fullmatch(second) if record["n_segments"] else signal)


def main_header(headers: Mapping[str, bytes]) -> str | None:
    """
    Returns the name of the header that stands for all: the only one, or the only one of a record of segments.

    Args:
        headers (`Mapping[str, bytes]`): Contents, or how they begin, by name.
    """
    if len(headers) > 1:
        firsts = {name: _RECORD.fullmatch(lines[0][:MAX_HEADER_LINE]) for name, lines in _lines_of(headers).items()}
        headers = {name: headers[name] for name, first in firsts.items() if first and first["n_segments"]}
    return next(iter(headers)) if len(headers) == 1 else None


def _lines_of(headers: Mapping[str, bytes]) -> dict[str, list[str]]:
    return {name: header_lines(content) or [""] for name, content in headers.items()}


def read_header(path: Path) -> Header:
    """
    Returns what a header states.

    Args:
        path (`Path`): The header file.

    Raises:
        `FileNotFoundError`: where there is none.
        `ValueError`: for a header that is damaged, states more than one ECG holds, or a path of a file.
    """
    check_file(path, MAX_HEADER_BYTES)
    where = f"{path.with_suffix('')}"
    lines = header_lines(path.read_bytes())
    too_long = next((line for line in lines if len(line) > MAX_HEADER_LINE), None)
    if too_long is not None:
        raise ValueError(f"{where}: not a readable WFDB record: a header line has {len(too_long):,} characters")
    first = _RECORD.fullmatch(lines[0]) if lines else None
    if first is None:
        found = shorten(repr(lines[0])) if lines else "nothing"
        raise ValueError(
            f"{where}: not a readable WFDB record: expected a header that begins with the record's name, its number "
            f"of signals, Hz and samples: found {found}"
        )
    n_sig, rate = int(first["n_sig"]), float(first["rate"]) if first["rate"] else None
    n_samples = int(first["n_samples"]) if first["n_samples"] and int(first["n_samples"]) else None
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"{where}: expected a sampling rate above 0 Hz: found {shorten(first['rate'])}")
    if n_sig > MAX_CHANNELS:
        raise ValueError(f"{where}: expected at most {MAX_CHANNELS} signals: found {shorten(n_sig)}")
    if first["n_segments"] is not None:
        segments = _segments(lines[1:], int(first["n_segments"]), where)
        check_values((n_sig, sum(length for _, length in segments)), where)
        return Header(n_sig, rate, n_samples, segments=segments)
    if n_sig < 1 or len(lines) - 1 != n_sig:
        raise ValueError(
            f"{where}: not a readable WFDB record: expected 1 to {MAX_CHANNELS} signals, each with a line: "
            f"the header states {shorten(n_sig)} and has {len(lines) - 1} lines"
        )
    signals = tuple(_signal(line, n_samples or 0, where) for line in lines[1:])
    check_values((sum(signal.per_frame for signal in signals), n_samples or 0), where)
    _check_files(signals, where)
    return Header(n_sig, rate, n_samples, signals)


def _segments(lines: list[str], stated: int, where: str) -> tuple[tuple[str, int], ...]:
    """The segments of a record and their lengths."""
    if not 1 <= len(lines) <= MAX_SEGMENTS or len(lines) != stated:
        raise ValueError(
            f"{where}: not a readable WFDB record: expected 1 to {MAX_SEGMENTS:,} segments, each with a line: "
            f"the header states {shorten(stated)} and has {len(lines):,} lines"
        )
    segments = []
    for line in lines:
        match = _SEGMENT.fullmatch(line)
        if match is None or not (match["name"] == NOTHING or FILE_NAME.fullmatch(match["name"])):
            raise ValueError(
                f"{where}: not a readable WFDB record: expected segments' lines of the name of a record beside the "
                f"header and its length: found {shorten(repr(line))}"
            )
        segments.append((match["name"], int(match["n_samples"])))
    return tuple(segments)


def _signal(line: str, n_samples: int, where: str) -> Signal:
    """What a header's line states on a signal."""
    match = _SIGNAL.fullmatch(line)
    if match is None or not (match["file_name"] == NOTHING or FILE_NAME.fullmatch(match["file_name"])):
        raise ValueError(
            f"{where}: not a readable WFDB record: expected signal lines that begin with the name of a file beside "
            f"the header and a format: found {shorten(repr(line))}"
        )
    per_frame, skew, offset = (int(match[name] or 0) for name in ("per_frame", "skew", "offset"))
    per_frame = 1 if match["per_frame"] is None else per_frame
    if not 1 <= per_frame <= MAX_VALUES or skew > max(n_samples, 1):
        raise ValueError(f"{where}: expected samples of the record's frames: found {shorten(repr(line))}")
    if offset > MAX_FILE_BYTES:
        raise ValueError(f"{where}: a signal begins beyond {MAX_FILE_BYTES:,} bytes: found {shorten(repr(line))}")
    gain = float(match["gain"] or 0)
    zero = int(match["zero"] or 0)
    baseline = zero if match["baseline"] is None else int(match["baseline"])
    if not math.isfinite(gain) or not abs(baseline) < 2**31:
        raise ValueError(f"{where}: expected finite gains and baselines: found {shorten(repr(line))}")
    first, checksum = (None if match[name] is None else int(match[name]) for name in ("first", "checksum"))
    if not checksum:  # the places before a name have to be filled, and are with zeros by those who do not count
        first, checksum = first or None, None
    return Signal(
        file_name=match["file_name"],
        fmt=int(match["fmt"]),
        per_frame=per_frame,
        skew=skew,
        offset=offset,
        gain=gain or None,
        baseline=baseline,
        unit=match["unit"] or "mV",
        first=first,
        checksum=checksum,
        name=(match["name"] or "").strip(),
    )


def _check_files(signals: tuple[Signal, ...], where: str) -> None:
    """Refuses a file of several formats, or whose samples would begin in several places."""
    of_file: dict[str, Signal] = {}
    for signal in signals:
        first = of_file.setdefault(signal.file_name, signal)
        if signal.fmt != first.fmt or (signal.offset and signal.offset != first.offset):
            raise ValueError(
                f"{where}: expected one format and one offset for each signal file: found "
                f"{signal.fmt}+{signal.offset} and {first.fmt}+{first.offset} for {shorten(signal.file_name)}"
            )


__all__ = [
    "FILE_NAME",
    "MAX_SEGMENTS",
    "NOTHING",
    "Header",
    "Signal",
    "header_lines",
    "main_header",
    "read_header",
    "starts_header",
]
