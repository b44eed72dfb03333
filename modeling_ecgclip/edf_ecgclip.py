"""Reads the ECG channels of an EDF or EDF+ file.

Own reader: the format is two tables of text before 16-bit samples, and edfio and pyEDFlib, both permissive, believe
the sizes that a header states.
"""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .binary_ecgclip import (
    age_in_years,
    clean_text,
    common_unit,
    make_metadata,
    read_whole,
    standard_lead,
    voltage_unit,
)
from .limits_ecgclip import check_values, shorten, spend_steps
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES


MAX_SIGNALS = 256
MAX_TIMED_RECORDS = 20_000  # whose onsets are read one by one
_STEPS_PER_RECORD = 10
_SIGNATURE = b"0       "
_ANNOTATIONS = "EDF Annotations"
# Fields of a signal, in the order of the header, and how many characters each has.
_WIDTHS = {"label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8, "digital_min": 8}
_WIDTHS |= {"digital_max": 8, "prefilter": 80, "samples": 8, "reserved": 32}
# Kinds of signal that the labels of EDF+ begin with and that are no ECG.
_OTHER_KINDS = ("EEG", "EOG", "EMG", "ERG", "MEG", "MCG", "EP", "TEMP", "RESP", "SAO2", "LIGHT", "SOUND", "EVENT")
_ECG_KIND = re.compile(r"(ECG|EKG)\s*", re.IGNORECASE)
_FILTER = re.compile(r"(HP|LP|N):\s*([\d.]+)\s*Hz", re.IGNORECASE)
_FILTER_NAMES = {"HP": "highpass_hz", "LP": "lowpass_hz", "N": "notch_hz"}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class _Signal(NamedTuple):
    """One signal's fields of the header, and where its samples begin in a data record."""

    label: str
    unit: str | None
    gain: float
    physical_min: float
    digital_min: float
    prefilter: str
    samples: int
    start: int


def is_edf(head: bytes) -> bool:
    """Whether a file that begins with `head` (256 bytes suffice) is EDF or EDF+."""
    return head[:8] == _SIGNATURE and head[184:192].strip().isdigit()


def read_edf(path: str | Path) -> EcgRecord:
    """
    Returns the ECG channels of an EDF or EDF+ file in the unit that they state.

    ECG channels are those whose label begins with `ECG` or is a standard lead; where there is none, every channel in a
    unit of voltage that is not labelled as another kind (EEG, EMG, ...). The rest is listed in the metadata.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged or truncated file, one with gaps (EDF+D), or ECG channels of several rates.
    """
    name = str(path)
    data = read_whole(path)
    if not is_edf(data[:256]):
        raise ValueError(f"{name}: not an EDF file: expected a header that begins with version 0: found {data[:8]!r}")
    n_signals = _whole_number(data[252:256], name, "the number of signals")
    if not 1 <= n_signals <= MAX_SIGNALS:
        raise ValueError(f"{name}: expected 1 to {MAX_SIGNALS} signals: found {n_signals}")
    signals, record_values = _signals(data, n_signals, name)
    kind = clean_text(data[192:236])
    records = _data_records(data, n_signals, record_values, name)
    chosen, left_out = _choose(signals, name)
    rate = float(Fraction(chosen[0].samples) / _duration(data, name))
    check_values((len(chosen), len(records) * chosen[0].samples), name)
    if kind.startswith("EDF+D"):
        _refuse_gaps(records, signals, _duration(data, name), name)
    unit, factors = common_unit([signal.unit or "" for signal in chosen])
    ecg = np.empty((len(chosen), len(records) * chosen[0].samples))
    for row, signal, factor in zip(ecg, chosen, factors, strict=True):
        digital = records[:, signal.start : signal.start + signal.samples].ravel()
        row[:] = ((digital - signal.digital_min) * signal.gain + signal.physical_min) * factor
    names = tuple(_lead_name(signal.label) for signal in chosen)
    metadata = _metadata(data, chosen, kind, left_out, name)
    return EcgRecord(ecg, rate, names, unit, name, metadata)


def _number(raw: bytes, name: str, what: str) -> float:
    """A number as EDF writes it, in ASCII with spaces behind."""
    text = raw.decode("latin-1").strip(" \x00")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?", text):
        raise ValueError(f"{name}: expected {what} as a number: found {shorten(repr(text))}")
    return float(text)


def _whole_number(raw: bytes, name: str, what: str) -> int:
    value = _number(raw, name, what)
    if value != int(value):
        raise ValueError(f"{name}: expected {what} as a whole number: found {value:g}")
    return int(value)


def _duration(data: bytes, name: str) -> Fraction:
    """Seconds of one data record, exactly as printed."""
    what = "the duration of a data record"
    seconds = _number(data[244:252], name, what)
    if seconds <= 0:
        raise ValueError(f"{name}: expected {what} above 0: found {seconds:g}")
    return Fraction(data[244:252].decode("latin-1").strip(" \x00"))


def _signals(data: bytes, n_signals: int, name: str) -> tuple[list[_Signal], int]:
    """Every signal of the header, and how many samples a data record holds."""
    header_bytes = 256 * (n_signals + 1)
    if _whole_number(data[184:192], name, "the size of the header") != header_bytes or len(data) < header_bytes:
        raise ValueError(f"{name}: expected a header of {header_bytes:,} bytes for {n_signals} signals: found another")
    fields, at = {}, 256
    for field, width in _WIDTHS.items():
        fields[field] = [data[at + i * width : at + (i + 1) * width] for i in range(n_signals)]
        at += width * n_signals
    signals, start = [], 0
    for i in range(n_signals):
        label = clean_text(fields["label"][i])
        what = f"{name}, signal {shorten(label) or i}"
        samples = _whole_number(fields["samples"][i], what, "samples of a data record")
        if samples < 1:
            raise ValueError(f"{what}: expected samples of a data record above 0: found {samples}")
        limits = ("physical_min", "physical_max", "digital_min", "digital_max")
        low, high, digital_low, digital_high = (_number(fields[field][i], what, field) for field in limits)
        if label != _ANNOTATIONS and (low == high or digital_low >= digital_high):
            raise ValueError(
                f"{what}: expected a physical and a rising digital range: found {low:g} to {high:g} and "
                f"{digital_low:g} to {digital_high:g}"
            )
        gain = (high - low) / (digital_high - digital_low) if digital_high > digital_low else 0.0
        unit = voltage_unit(clean_text(fields["unit"][i]))
        prefilter = clean_text(fields["prefilter"][i])
        signals.append(_Signal(label, unit, gain, low, digital_low, prefilter, samples, start))
        start += samples
    return signals, start


def _data_records(data: bytes, n_signals: int, record_values: int, name: str) -> np.ndarray:
    """int16 (data records, values of all signals); the number that the header states must be there, or -1."""
    stated = _whole_number(data[236:244], name, "the number of data records")
    held = len(data) - 256 * (n_signals + 1)
    if held == 0 or held % (2 * record_values) or stated not in (-1, held // (2 * record_values)):
        raise ValueError(
            f"{name}: truncated, or its sizes contradict each other: expected {stated} data records of "
            f"{2 * record_values:,} bytes: found {held:,} bytes"
        )
    return np.frombuffer(data, "<i2", offset=256 * (n_signals + 1)).reshape(-1, record_values)


def _refuse_gaps(records: np.ndarray, signals: list[_Signal], duration: Fraction, name: str) -> None:
    """Refuses a discontinuous file whose data records do not follow each other."""
    keeper = next((signal for signal in signals if signal.label == _ANNOTATIONS), None)
    if keeper is None or len(records) > MAX_TIMED_RECORDS:
        raise ValueError(
            f"{name}: EDF+D: expected a channel {_ANNOTATIONS!r} that times at most {MAX_TIMED_RECORDS:,} data "
            f"records: found {'none' if keeper is None else f'{len(records):,} records'}"
        )
    spend_steps(_STEPS_PER_RECORD * len(records), name)
    first = None
    for i, record in enumerate(records):
        stamp = record[keeper.start : keeper.start + keeper.samples].tobytes()[:64].split(b"\x14", 1)[0]
        onset = _number(stamp, f"{name}, data record {i}", "its onset")
        first = onset if first is None else first
        if abs(onset - first - i * float(duration)) > 0.0005:
            raise ValueError(
                f"{name}: expected data records that follow each other: found record {i} at {onset:g} s in place of "
                f"{first + i * float(duration):g} s"
            )


def _choose(signals: list[_Signal], name: str) -> tuple[list[_Signal], list[str]]:
    """The ECG channels, all of one rate, and the labels of the others."""
    ecg = [signal for signal in signals if signal.unit and _is_ecg(signal.label)]
    if not ecg:
        kinds = tuple(f"{kind} " for kind in _OTHER_KINDS)
        ecg = [s for s in signals if s.unit and not f"{s.label.upper()} ".startswith(kinds)]
    if not ecg:
        labels = shorten(", ".join(signal.label for signal in signals), 300)
        raise ValueError(f"{name}: expected a channel of an ECG in uV, mV or V: found {labels or 'no label'}")
    if len({signal.samples for signal in ecg}) > 1:
        found = ", ".join(f"{signal.label}: {signal.samples}" for signal in ecg)
        raise ValueError(f"{name}: expected ECG channels of one rate: found samples a record {shorten(found, 300)}")
    return ecg, [signal.label for signal in signals if signal not in ecg and signal.label != _ANNOTATIONS]


def _is_ecg(label: str) -> bool:
    return _ECG_KIND.match(label) is not None or standard_lead(label) in LEAD_NAMES


def _lead_name(label: str) -> str:
    """`"ECG V1"` is V1; a label of nothing but its kind stays."""
    return standard_lead(_ECG_KIND.sub("", label, count=1) or label)


def _metadata(data: bytes, chosen: list[_Signal], kind: str, left_out: list[str], name: str) -> dict[str, Any]:
    """Sex, age and equipment, which EDF+ states in fields of their own, and the filters of the channels."""
    patient, recording = clean_text(data[8:88]), clean_text(data[88:168])
    sex, age, equipment = "", None, ""
    fields, texts = patient.split(), recording.split()
    if kind.startswith("EDF+") and len(fields) >= 4:
        sex = fields[1]
        age = age_in_years(_day(fields[2]), _day(texts[1]) if len(texts) > 1 else None)
    if kind.startswith("EDF+") and len(texts) >= 5 and texts[0] == "Startdate":
        equipment = "" if texts[4] == "X" else texts[4].replace("_", " ")
    filters: dict[str, float] = {}
    if len({signal.prefilter for signal in chosen}) == 1:
        for which, hertz in _FILTER.findall(chosen[0].prefilter):
            filters[_FILTER_NAMES[which.upper()]] = _number(hertz.encode(), name, "a filter")
    return make_metadata(
        "EDF+" if kind.startswith("EDF+") else "EDF",
        name,
        [patient.replace("_", " "), *texts[1:4]],
        left_out=left_out,
        device={"model": equipment},
        age_years=age,
        sex=sex,
        filters=filters,
    )


def _day(text: str) -> tuple[int, int, int] | None:
    """A date as EDF+ writes it: 02-MAY-1951."""
    match = re.fullmatch(r"(\d{2})-([A-Z]{3})-(\d{4})", text.upper())
    if match is None or match[2] not in _MONTHS:
        return None
    return int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1])


__all__ = ["is_edf", "read_edf"]
