"""Reads MFER waveforms (ISO 22077-1, before ISO/TS 11073-92001; `.mwf`).

Own reader: no library of its own reads MFER, and ecgdatakit (Apache-2.0), which also does, is 49 MB with weights of
networks, bounds no size and returns names of patients.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .binary_ecgclip import SCP_LEADS, age_in_years, clean_text, common_unit, cut, make_metadata, read_whole, unpack
from .limits_ecgclip import MAX_CHANNELS, check_values, spend_steps
from .record_ecgclip import EcgRecord


MAX_DEFINITIONS = 20_000
MAX_DEPTH = 4
_STEPS_PER_DEFINITION = 5
_STEPS_PER_FRAME = 20  # of a channel
MAX_PIECES = 20_000  # frames times channels
_PREAMBLE = 0x40
# Definitions, by what follows the name of their constant MWF_ in the standard.
_BLE, _TXC, _BLK, _CHN, _SEQ, _WFM, _LDN, _DTP, _IVL, _SEN, _OFF, _CMP, _IPD = (
    1,
    3,
    4,
    5,
    6,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
)
_FLT, _NUL, _MAN, _WAV, _ATT, _SKW, _SET, _END = 0x11, 0x12, 0x17, 0x1E, 0x3F, 0x43, 0x67, 0x80
_PNM, _PID, _AGE, _SEX, _TIM = 0x81, 0x82, 0x83, 0x84, 0x85
# Kinds of waveforms (WFM): standard, long-term, stress and monitored ECGs are read; 9 is the dominant beat.
_RHYTHMS = (0, 1, 2, 4, 20, 21)
_DOMINANT_BEAT = 9
_DTYPES = {0: "i2", 1: "u2", 2: "i4", 3: "u1", 5: "i1", 6: "u4", 7: "f4", 8: "f8"}
_STATUS = 4  # a data type that is no waveform
_VOLT = 0
_VOLT_UNITS = {-9: "nv", -6: "uv", -3: "mv", 0: "v"}
_HERTZ, _SECONDS = 0, 1
_FILTERS = {"HPF": "highpass_hz", "LPF": "lowpass_hz", "BEF": "notch_hz"}
_PER_CHANNEL = {_BLK, _SEQ, _WFM, _LDN, _DTP, _IVL, _SEN, _OFF, _NUL, _SKW}


@dataclass
class _Frame:
    """Definitions in force, and what they described so far."""

    name: str
    order: str = ">"
    n_channels: int = 1
    common: dict[int, bytes] = field(default_factory=dict)
    channels: dict[int, dict[int, bytes]] = field(default_factory=dict)
    about: dict[int, list[bytes]] = field(default_factory=dict)
    rhythm: list[list[np.ndarray]] = field(default_factory=list)  # of each frame each channel
    n_values: int = 0  # of all these
    scales: list[tuple[Any, ...]] = field(default_factory=list)  # of each channel, the same in all frames

    def definitions(self, channel: int) -> dict[int, bytes]:
        """What holds for one channel; a lead that was stated for all names none of several."""
        common = dict(self.common)
        if self.n_channels > 1:
            common.pop(_LDN, None)
        return common | self.channels.get(channel, {})

    def whole(self, raw: bytes, signed: bool = False) -> int:
        return int.from_bytes(raw, "big" if self.order == ">" else "little", signed=signed)


def is_mfer(head: bytes) -> bool:
    """Whether a file that begins with `head` (8 bytes suffice) has the preamble of MFER, which is optional there."""
    return len(head) > 5 and head[0] == _PREAMBLE and head[2:5] == b"MFR"


def read_mfer(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm waveform of an MFER file, in the unit that it states.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`; null values are NaN. A rate, unit or lead that the file
        does not state is `None` (or `""`) and not the standard's default.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged or compressed file, one of no ECG, or channels of several rates or units.
    """
    name = str(path)
    data = read_whole(path)
    frame = _Frame(name)
    _read(data, frame, None, MAX_DEPTH, [0])
    if not frame.rhythm:
        raise ValueError(f"{name}: not an MFER file, or one without an ECG: expected a waveform: found none")
    # A data type of status bits is no lead.
    leads = [i for i, scale in enumerate(frame.scales) if scale[0] != _STATUS]
    if not leads:
        raise ValueError(f"{name}: expected a lead of an ECG: found status channels only")
    signals = [np.concatenate([waves[i] for waves in frame.rhythm]) for i in leads]
    rates = {frame.scales[i][1] for i in leads}
    if len(rates) > 1 or len({len(signal) for signal in signals}) > 1:
        raise ValueError(f"{name}: expected channels of one rate and length: found several")
    units = [frame.scales[i][2] for i in leads]
    if any(unit is None for unit in units):
        if any(unit is not None for unit in units):
            raise ValueError(f"{name}: expected a resolution of every channel or of none: found some without")
        unit, factors = None, [1.0] * len(units)
    else:
        unit, factors = common_unit([_VOLT_UNITS[exponent] for exponent, _ in units])
        factors = [factor * float(scale) for factor, (_, scale) in zip(factors, units, strict=True)]
    names = tuple(frame.scales[i][3] for i in leads)
    rate = rates.pop()
    signal = np.array(signals) * np.array(factors)[:, None]
    rate_hz = None if rate is None else float(rate)
    return EcgRecord(signal, rate_hz, names if any(names) else None, unit, name, _metadata(frame))


def _tagged(data: bytes, name: str, count: list[int]) -> Iterator[tuple[int, int | None, bytes]]:
    """Tag, channel (of attributes of one) and content of each definition; `count` bounds those of the whole file."""
    at = 0
    while at < len(data) and data[at] != _END:
        tag, channel = data[at], None
        at += 1
        count[0] += 1
        if count[0] > MAX_DEFINITIONS:
            raise ValueError(f"{name}: expected at most {MAX_DEFINITIONS:,} definitions: found more")
        spend_steps(_STEPS_PER_DEFINITION, name)
        if tag == 0:  # fills or ends
            continue
        if tag == _ATT:
            (channel,) = unpack("B", data, at, name)
            at += 1
            if channel & 0x80:
                raise ValueError(f"{name}: expected at most {MAX_CHANNELS} channels: found attributes of a higher one")
        (size,) = unpack("B", data, at, name)
        at += 1
        if size == 0x80:
            raise ValueError(f"{name}: expected definitions of stated length: found tag {tag:#04x} of none")
        if size > 0x80:
            length = cut(data, at, size & 0x7F if size <= 0x84 else len(data), name, "a length")
            at += len(length)
            size = int.from_bytes(length, "big")
        yield tag, channel, bytes(cut(data, at, size, name, f"the definition {tag:#04x}"))
        at += size


def _read(data: bytes, frame: _Frame, channel: int | None, depth: int, count: list[int]) -> None:
    """Takes in the definitions of a file, of a group, or of one channel."""
    if depth == 0:
        raise ValueError(f"{frame.name}: expected definitions of at most {MAX_DEPTH} levels: found more")
    for tag, of_channel, content in _tagged(data, frame.name, count):
        if tag in (_ATT, _SET):
            inner = of_channel if tag == _ATT else channel
            if inner is not None and inner >= frame.n_channels:
                raise ValueError(f"{frame.name}: expected {frame.n_channels} channels: found attributes of more")
            _read(content, frame, inner, depth - 1, count)
        elif tag in _PER_CHANNEL:
            target = frame.common if channel is None else frame.channels.setdefault(channel, {})
            target.pop(tag, None)
            target |= {tag: content} if content else {}
        elif tag == _WAV:
            _add(content, frame)
        else:
            _define(tag, content, frame)


def _define(tag: int, content: bytes, frame: _Frame) -> None:
    """Takes in what holds for all channels, or for the file."""
    if tag == _BLE:
        order = "<" if any(content) else ">"
        if order != frame.order and (frame.common or frame.channels):
            raise ValueError(f"{frame.name}: expected one order of bytes: found another behind definitions")
        frame.order = order
    elif tag == _CHN:
        frame.n_channels, frame.channels = frame.whole(content[:4]), {}
        if not 1 <= frame.n_channels <= MAX_CHANNELS:
            raise ValueError(f"{frame.name}: expected 1 to {MAX_CHANNELS} channels: found {frame.n_channels}")
    elif tag in (_CMP, _IPD) and any(content[:2]):
        raise ValueError(f"{frame.name}: expected samples as they were taken: found compressed or thinned ones")
    else:
        frame.about.setdefault(tag, []).append(content)


def _add(wave: bytes, frame: _Frame) -> None:
    """Takes in one frame of samples: sequences, in each of them every channel, of that a block of samples."""
    name = frame.name
    if (len(frame.rhythm) + 1) * frame.n_channels > MAX_PIECES:
        raise ValueError(f"{name}: expected at most {MAX_PIECES:,} frames of a channel in all: found more")
    spend_steps(_STEPS_PER_FRAME * frame.n_channels, name)
    parts = [frame.definitions(i) for i in range(frame.n_channels)]
    kinds = {frame.whole(part.get(_WFM, b"\0\0")[:2]) for part in parts}
    if _DOMINANT_BEAT in kinds:
        return
    if not kinds <= set(_RHYTHMS):
        raise ValueError(f"{name}: expected the waveform of an ECG: found kind {sorted(kinds - set(_RHYTHMS))[0]}")
    scales = [_scale(part, frame) for part in parts]
    if frame.scales not in ([], scales):
        raise ValueError(f"{name}: expected frames of the same channels, rates and units: found others in a later one")
    frame.scales = scales
    types = [part.get(_DTP, b"\0")[0] for part in parts]
    unknown = [kind for kind in types if kind not in _DTYPES and kind != _STATUS]
    if unknown:
        raise ValueError(f"{name}: expected samples that are plain numbers: found data type {unknown[0]}")
    dtypes = [np.dtype(frame.order + _DTYPES.get(kind, "u2")) for kind in types]
    blocks = [frame.whole(part.get(_BLK, b"\1")[:4]) for part in parts]
    sequences = {frame.whole(part[_SEQ][:4]) for part in parts if _SEQ in part}
    width = sum(block * dtype.itemsize for block, dtype in zip(blocks, dtypes, strict=True))
    if min(blocks) < 1 or width > len(wave) or len(wave) % width or sequences - {len(wave) // width}:
        raise ValueError(
            f"{name}: truncated, or its sizes contradict each other: expected {sorted(sequences)[:3] or 'some'} "
            f"sequences of {width:,} bytes: found {len(wave):,} bytes"
        )
    frame.n_values += len(wave) // width * sum(blocks)
    check_values((frame.n_values,), name)
    table = np.frombuffer(wave, np.uint8).reshape(-1, width)
    channels, at = [], 0
    for part, dtype, block in zip(parts, dtypes, blocks, strict=True):
        raw = np.ascontiguousarray(table[:, at : at + block * dtype.itemsize]).view(dtype).ravel()
        at += block * dtype.itemsize
        samples = raw.astype(np.float64)
        if _NUL in part and len(part[_NUL]) == dtype.itemsize:
            samples[raw == np.frombuffer(part[_NUL], dtype)[0]] = np.nan
        channels.append(samples)
    frame.rhythm.append(channels)


def _scale(part: dict[int, bytes], frame: _Frame) -> tuple[Any, ...]:
    """Status or not, rate in Hz, unit and what of it one step is, and lead of a channel."""
    name = frame.name
    # An offset moves a lead as a whole. Readers disagree about its sign.
    if any(part.get(_OFF, b"")) or any(part.get(_SKW, b"")):
        raise ValueError(f"{name}: expected samples without offset and skew: found a channel with one")
    lead = part.get(_LDN, b"")
    code = frame.whole(lead[:2]) if len(lead) != 1 else lead[0]
    stated = SCP_LEADS.get(code, f"MFER lead {code}" if code else "") or clean_text(lead[2:])
    status = _STATUS if part.get(_DTP, b"\0")[0] == _STATUS else None
    return status, _rate(part.get(_IVL), frame), _unit(part.get(_SEN), frame), stated


def _rate(interval: bytes | None, frame: _Frame) -> Fraction | None:
    if interval is None:
        return None
    unit, exponent = unpack("Bb", interval, 0, frame.name)
    mantissa = frame.whole(interval[2:10], signed=True)
    if unit not in (_HERTZ, _SECONDS) or mantissa <= 0 or abs(exponent) > 12:
        raise ValueError(
            f"{frame.name}: expected a rate in Hz or an interval in s: found {mantissa}e{exponent}, {unit}"
        )
    value = mantissa * Fraction(10) ** exponent
    return value if unit == _HERTZ else 1 / value


def _unit(resolution: bytes | None, frame: _Frame) -> tuple[int, Fraction] | None:
    """Power of ten of the volt, and how many of these one step is."""
    if resolution is None:
        return None
    unit, exponent = unpack("Bb", resolution, 0, frame.name)
    mantissa = frame.whole(resolution[2:10], signed=True)
    if unit != _VOLT or mantissa == 0 or abs(exponent) > 12:
        raise ValueError(f"{frame.name}: expected a resolution in V: found {mantissa}e{exponent} of unit {unit}")
    of = max((power for power in _VOLT_UNITS if power <= exponent), default=-9)
    return of, mantissa * Fraction(10) ** (exponent - of)


def _metadata(frame: _Frame) -> dict[str, Any]:
    def text(tag: int) -> list[str]:
        return [clean_text(raw, "utf-8") for raw in frame.about.get(tag, [])]

    maker = (text(_MAN) or [""])[0].split("^")
    filters: dict[str, float] = {}
    for stated in text(_FLT):
        kind, _, rest = stated.partition("=")
        hertz = rest.split("^")[0].strip().removesuffix("Hz").strip()
        if kind.strip().upper() in _FILTERS and hertz.replace(".", "", 1).isdigit():
            filters[_FILTERS[kind.strip().upper()]] = float(hertz)
    age = (frame.about.get(_AGE) or [b""])[0]
    time = (frame.about.get(_TIM) or [b""])[0]
    years = Fraction(age[0]) if age and age[0] else None
    if years is None and len(age) >= 7 and len(time) >= 4:
        years = age_in_years((frame.whole(age[3:5]), age[5], age[6]), (frame.whole(time[:2]), time[2], time[3]))
    sex = (frame.about.get(_SEX) or [b""])[0][:1]
    return make_metadata(
        "MFER",
        frame.name,
        [*text(_PNM), *text(_PID)],
        device={"manufacturer": maker[0], "model": maker[1] if len(maker) > 1 else ""},
        age_years=years,
        sex={b"\1": "male", b"\2": "female"}.get(sex, ""),
        filters=filters,
    )


__all__ = ["is_mfer", "read_mfer"]
