"""WFDB records: a header that names signal files, or records that follow each other, beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .leads_ecgclip import UNITS_PER_MV, canonical_unit, known_unit, parse_lead_name, without_channels
from .limits_ecgclip import check_values, shorten, spend_unpacked
from .record_ecgclip import EcgRecord
from .wfdb_header_ecgclip import NOTHING, Header, Signal, header_lines, read_header, starts_header
from .wfdb_samples_ecgclip import lost_code, read_samples


WFDB_SUFFIXES = (".hea", ".dat")


@dataclass(frozen=True)
class _Recording:
    """
    The channels of a record that may be leads.

    Args:
        signal (`np.ndarray` of shape `(channels, samples)`, float64): In `unit`.
        names (`tuple[str, ...]`): `""` for a channel without.
        unit (`str`, *optional*): That of all channels, millivolts where they differ; `None` for steps, where the
            header does not state how many make a unit.
        per_frame (`int`): Samples in each frame of the record.
        left_out (`tuple[str, ...]`): Names of the other channels.
    """

    signal: np.ndarray
    names: tuple[str, ...]
    unit: str | None
    per_frame: int
    left_out: tuple[str, ...] = ()


def is_wfdb_header(head: bytes) -> bool:
    """Returns whether a file begins with a WFDB record's line, and then one on its first signal or segment."""
    if b"\0" in head:  # an archive that holds a header, not packed
        return False
    lines = header_lines(head)[:2]
    return len(lines) == 2 and starts_header(*lines)


def read_wfdb(path: str | Path) -> EcgRecord:
    """
    Returns a WFDB record (header and signal files, of one segment or of several) in the unit of its header.

    First samples and checksums that the header states are verified. A header without gains ("not calibrated"), or with
    gain 0, gives steps without a unit, and one without a sampling rate gives none: the caller may state what they are.
    A negative gain turns its signal, as the format has it. Samples that were lost, and gaps between segments, are NaN.
    Beside channels with names of leads those that are no voltage, or sampled at another rate, are left out.

    Args:
        path (`str` or `Path`): The record, with or without `.hea` or `.dat`.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`, in millivolts where the leads' units differ.

    Raises:
        `FileNotFoundError`: where a header or signal file is missing.
        `ValueError`: for a record that cannot be read, whose files do not lie beside its header or are damaged, or
            with a lead whose unit is no voltage.
    """
    header_path = _header_path(Path(path))
    where = str(header_path.with_suffix(""))
    header = read_header(header_path)
    recording = (_joined if header.segments else _of_segment)(header, header_path.parent, where)
    if not recording.signal.size:
        raise ValueError(f"{where}: the WFDB record holds no samples")
    rate = None if header.sampling_rate is None else header.sampling_rate * recording.per_frame
    # A channel without a name gets one that no lead has, and is refused unless the caller states the leads.
    names = recording.names if any(recording.names) else None
    record = EcgRecord(recording.signal, rate, names, recording.unit, where)
    return without_channels(record, recording.left_out)


def _header_path(path: Path) -> Path:
    """The header of the record that a path names."""
    if path.suffix.lower() == WFDB_SUFFIXES[0] and path.is_file():
        return path
    base = path.with_suffix("") if path.suffix.lower() in WFDB_SUFFIXES else path
    header = base.with_name(base.name + WFDB_SUFFIXES[0])
    if not header.is_file():
        raise FileNotFoundError(f"{base}: no WFDB header found: expected {header}")
    return header


def _of_segment(header: Header, folder: Path, where: str) -> _Recording:
    """The channels of a record of one segment."""
    kept = _kept_channels(header.signals, where)
    steps = read_samples(header, folder, where)
    signals = [header.signals[at] for at in kept]
    units = {None if one.gain is None else canonical_unit(one.unit) for one in signals}
    unit = units.pop() if len(units) == 1 else "mV"
    signal = np.stack([_physical(steps[at], header.signals[at], unit) for at in kept])
    left_out = tuple(one.name or f"channel {at}" for at, one in enumerate(header.signals) if at not in kept)
    return _Recording(signal, tuple(one.name for one in signals), unit, signals[0].per_frame, left_out)


def _kept_channels(signals: Sequence[Signal], where: str) -> list[int]:
    """
    The channels that may be leads: those with names of leads, and with these all that are alike in rate and voltage.

    Where no name is a lead's, all channels have to be alike.
    """
    named = [at for at, signal in enumerate(signals) if parse_lead_name(signal.name) is not None]
    leads = named or list(range(len(signals)))
    like = signals[leads[0]]
    for at in leads:
        title = f"{where}, channel {at}"
        if signals[at].per_frame != like.per_frame:
            raise ValueError(f"{title}: expected one sampling rate for all leads: found several")
        if (signals[at].gain is None) != (like.gain is None):
            raise ValueError(f"{title}: expected gains for all leads or for none: found some that are not calibrated")
        if like.gain is not None:
            canonical_unit(signals[at].unit, title)
    alike = [
        signal.per_frame == like.per_frame
        and (signal.gain is None) == (like.gain is None)
        and (signal.gain is None or known_unit(signal.unit) is not None)
        for signal in signals
    ]
    return [at for at, is_alike in enumerate(alike) if is_alike]


def _physical(steps: np.ndarray, signal: Signal, unit: str | None) -> np.ndarray:
    """A signal's steps in a unit, or those above its baseline where it is not calibrated; NaN where lost."""
    values = steps.astype(np.float64)
    lost = lost_code(signal.fmt)
    if lost is not None:
        values[steps == lost] = np.nan
    if signal.skew:
        late = min(signal.skew * signal.per_frame, len(values))
        values = np.concatenate([values[late:], np.full(late, np.nan)])
    values -= signal.baseline
    if signal.gain is None or unit is None:
        return values
    values /= signal.gain
    own = canonical_unit(signal.unit)
    return values if own == unit else values / (UNITS_PER_MV[own] / UNITS_PER_MV[unit])


def _joined(master: Header, folder: Path, where: str) -> _Recording:
    """The channels of a record of several segments, one behind the other; what a segment lacks is NaN."""
    is_layout = master.segments[0][1] == 0  # it only names the signals that the others may have
    lengths = [length for _, length in master.segments]
    total = sum(lengths)
    if master.n_samples not in (None, total):
        raise ValueError(f"{where}: expected segments of {master.n_samples:,} samples in all: found {total:,}")
    parts: list[tuple[int, int, _Recording]] = []
    n_values, start = 0, 0
    for name, length in master.segments[is_layout:]:
        if name != NOTHING and length:
            header = _segment_header(master, folder, name, length, where)
            n_values += length * sum(signal.per_frame for signal in header.signals)
            check_values((n_values,), where)
            parts.append((start, length, _of_segment(header, folder, str(folder / name))))
        start += length
    if not parts:
        raise ValueError(f"{where}: the WFDB record holds no samples")
    names = _names_of_parts([part for _, _, part in parts], is_layout, where)
    first = parts[0][2]
    if any((part.unit is None) != (first.unit is None) or part.per_frame != first.per_frame for _, _, part in parts):
        raise ValueError(f"{where}: expected segments alike in gains and rates: found different ones")
    units = {part.unit for _, _, part in parts}
    shape = (len(names), total * first.per_frame)
    check_values(shape, where)
    spend_unpacked(8 * shape[0] * shape[1], where)  # gaps take no room in the files
    signal = np.full(shape, np.nan)
    for start, length, part in parts:
        rows = [names.index(name) for name in part.names] if is_layout else slice(None)
        values = part.signal if len(units) == 1 or part.unit is None else part.signal / UNITS_PER_MV[part.unit]
        signal[rows, start * first.per_frame : (start + length) * first.per_frame] = values
    left_out = dict.fromkeys(name for _, _, part in parts for name in part.left_out if name not in names)
    return _Recording(signal, names, first.unit if len(units) == 1 else "mV", first.per_frame, tuple(left_out))


def _segment_header(master: Header, folder: Path, name: str, length: int, where: str) -> Header:
    """The header of one segment, as far as it agrees with the record's."""
    path = folder / f"{name}{WFDB_SUFFIXES[0]}"
    if not path.is_file():
        raise FileNotFoundError(f"{where}: the header names a segment that is missing: {path}")
    header = read_header(path)
    if header.segments or header.n_sig > master.n_sig:
        raise ValueError(f"{where}: expected segments of at most {master.n_sig} signals: found another in {name}")
    if None not in (header.sampling_rate, master.sampling_rate) and header.sampling_rate != master.sampling_rate:
        raise ValueError(
            f"{where}: expected segments at {master.sampling_rate} Hz: found {header.sampling_rate} Hz in {name}"
        )
    if header.n_samples not in (None, length):
        raise ValueError(f"{where}: expected {length:,} samples in {name}: found {header.n_samples:,}")
    return Header(header.n_sig, header.sampling_rate, length, header.signals)


def _names_of_parts(parts: Sequence[_Recording], is_layout: bool, where: str) -> tuple[str, ...]:
    """The names of all channels; segments of a fixed layout have the same, those of a variable one each some."""
    if not is_layout:
        if len({part.names for part in parts}) > 1:
            raise ValueError(f"{where}: expected the same signals in each segment: found others")
        return parts[0].names
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    if not all(names) or any(len(set(part.names)) < len(part.names) for part in parts):
        raise ValueError(f"{where}: expected signals told apart by their names: found {shorten(', '.join(names))}")
    return names


__all__ = ["WFDB_SUFFIXES", "is_wfdb_header", "read_wfdb"]
