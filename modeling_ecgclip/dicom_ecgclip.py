"""Reads the rhythm of a DICOM ECG (12-lead, general and ambulatory ECG waveform storage), never its median beat."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .binary_ecgclip import (
    SCP_LEADS,
    age_in_years,
    clean_text,
    common_unit,
    make_metadata,
    standard_lead,
    voltage_unit,
)
from .dicom_elements_ecgclip import Dataset, is_dicom, read_elements
from .limits_ecgclip import MAX_CHANNELS, MAX_SECONDS, check_values, shorten
from .record_ecgclip import EcgRecord
from .xml_ecgclip import to_number


# Elements, by their names in PS3.6.
_CHARACTER_SET, _SOP_CLASS, _MANUFACTURER, _MODEL = 0x0008_0005, 0x0008_0016, 0x0008_0070, 0x0008_1090
_CODE, _SCHEME, _MEANING = 0x0008_0100, 0x0008_0102, 0x0008_0104
_BIRTH_DATE, _SEX, _AGE, _ACQUIRED, _STUDY_DATE = 0x0010_0030, 0x0010_0040, 0x0010_1010, 0x0008_002A, 0x0008_0020
# Patient's name, ids and birth name; accession, admission and study; physicians and operators.
_PEOPLE: tuple[int, ...] = (0x0010_0010, 0x0010_0020, 0x0010_1000, 0x0010_1001, 0x0010_1005, 0x0010_1060)
_PEOPLE += (0x0008_0050, 0x0038_0010, 0x0008_0090, 0x0008_1048, 0x0008_1050, 0x0008_1060, 0x0008_1070, 0x0032_1032)
_PLACES = (0x0008_0080, 0x0008_0081, 0x0008_1010, 0x0008_1040)
_WAVEFORMS, _CHANNELS, _ORIGINALITY, _LABEL = 0x5400_0100, 0x003A_0200, 0x003A_0004, 0x003A_0020
_N_CHANNELS, _N_SAMPLES, _RATE = 0x003A_0005, 0x003A_0010, 0x003A_001A
_BITS, _INTERPRETATION, _PADDING, _DATA = 0x5400_1004, 0x5400_1006, 0x5400_100A, 0x5400_1010
_CHANNEL_LABEL, _SOURCE, _SENSITIVITY, _UNITS = 0x003A_0203, 0x003A_0208, 0x003A_0210, 0x003A_0211
_CORRECTION, _BASELINE, _TIME_SKEW, _SAMPLE_SKEW, _OFFSET = (
    0x003A_0212,
    0x003A_0213,
    0x003A_0214,
    0x003A_0215,
    0x003A_0218,
)
_FILTERS = {"highpass_hz": 0x003A_0220, "lowpass_hz": 0x003A_0221, "notch_hz": 0x003A_0222}
_ANNOTATIONS, _CONCEPT, _MEASURED_IN, _VALUE, _TEXT = 0x0040_B020, 0x0040_A043, 0x0040_08EA, 0x0040_A30A, 0x0070_0006
_SEQUENCES = frozenset((_WAVEFORMS, _CHANNELS, _SOURCE, _UNITS, _ANNOTATIONS, _CONCEPT, _MEASURED_IN))

_ECG_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.9.1.{n}" for n in (1, 2, 3, 4))
_DTYPES = {
    (8, "SB"): "i1",
    (8, "UB"): "u1",
    (16, "SS"): "<i2",
    (16, "US"): "<u2",
    (32, "SL"): "<i4",
    (32, "UL"): "<u4",
}
_BEATS = re.compile(r"MEDIAN|REPRESENTATIVE|AVERAGE|MEAN\b|TEMPLATE|BEAT", re.IGNORECASE)
MAX_NOTES = 5_000  # measurements, statements and marks of waves that are looked through
MIN_PADDED_S = 0.2  # of the padding value where samples have it as well
# What a measurement is called, its name here, and the units in which it is known: any for an axis, since an axis has
# but one and some writers state another.
_INTERVALS = ("rr interval", "pp interval", "pr interval", "qrs duration", "qt interval", "qtc interval", "p duration")
_PER_MINUTE = ("/min", "bpm", "{beats}/min", "{h.b.}/min", "{beat}/min")
_MEASUREMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{meaning: (f"{meaning.replace(' ', '_')}_ms", ("ms",)) for meaning in _INTERVALS},
    **{f"{which}rate": ("heart_rate_bpm", _PER_MINUTE) for which in ("heart ", "ventricular ", "ventricular heart ")},
    **{f"{which}rate": ("atrial_rate_bpm", _PER_MINUTE) for which in ("atrial ", "atrial heart ")},
    **{f"{wave} axis": (f"{wave}_axis_deg", ()) for wave in ("p", "qrs", "t")},
}
_ENCODINGS = {"": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
_ENCODINGS |= {"ISO_IR 13": "shift_jis", "ISO_IR 166": "iso8859_11", "ISO_IR 203": "iso8859_15"}
_ENCODINGS |= {f"ISO_IR {n}": f"iso8859_{part}" for n, part in ((101, 2), (109, 3), (110, 4), (144, 5), (127, 6))}
_ENCODINGS |= {"ISO_IR 126": "iso8859_7", "ISO_IR 138": "iso8859_8", "ISO_IR 148": "iso8859_9"}


class _Channel(NamedTuple):
    """What turns the codes of one channel into a lead."""

    name: str
    unit: str | None
    step: float
    baseline: float
    skew: int


def read_dicom(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm of a DICOM ECG in the unit of its channels (microvolts where they have several).

    Of the multiplex groups it is the original one labelled RHYTHM, with the most leads, and of these the longest.
    Padding is NaN. A channel that states a skew of a sample or more is moved by it.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged or compressed file, an object that is no ECG, one without rhythm, leads that lie in
            several groups, or a channel that states no sensitivity.
    """
    path = Path(path)
    name = str(path)
    dataset = read_elements(path, _SEQUENCES)
    uid = _text(dataset, _SOP_CLASS)
    if uid not in _ECG_CLASSES:
        raise ValueError(f"{name}: expected an ECG waveform: found an object of class {shorten(uid) or 'none'}")
    group = _rhythm(dataset, name)
    codes, rate = _codes(group, name), _rate(group, name)
    channels = [_channel(one, rate, name) for one in _items(group, _CHANNELS)]
    if len(channels) != len(codes):
        raise ValueError(f"{name}: expected a definition of {len(codes)} channels: found {len(channels)}")
    kept = [i for i, channel in enumerate(channels) if channel.unit is not None]
    if not kept:
        raise ValueError(f"{name}: expected a channel in uV, mV or V: found none")
    unit, factors = common_unit([channels[i].unit or "" for i in kept])
    padding = group.get(_PADDING, b"")
    signal = np.empty((len(kept), codes.shape[1]))
    for row, i, factor in zip(signal, kept, factors, strict=True):
        row[:] = (codes[i] * channels[i].step + channels[i].baseline) * factor
        if not isinstance(padding, list) and len(padding) >= codes.itemsize:
            row[_padded(codes[i], padding, rate)] = np.nan
        _move(row, channels[i].skew)
    names = tuple(channels[i].name for i in kept)
    left_out = [channel.name for channel in channels if channel.unit is None]
    metadata = _metadata(dataset, [_items(group, _CHANNELS)[i] for i in kept], left_out, name)
    return EcgRecord(signal, rate, names if any(names) else None, unit, name, metadata)


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    value = dataset.get(tag)
    return value if isinstance(value, list) else []


def _text(dataset: Dataset, tag: int, encoding: str = "latin-1") -> str:
    value = dataset.get(tag, b"")
    return "" if isinstance(value, list) else clean_text(value[:1024], encoding)


def _first(dataset: Dataset, tag: int) -> Dataset:
    """The one item of a sequence that may hold one."""
    return next(iter(_items(dataset, tag)), {})


def _decimal(dataset: Dataset, tag: int, name: str) -> float | None:
    """A number in text; `None` where there is none."""
    text = _text(dataset, tag)
    if not text:
        return None
    number = to_number(text)
    if number is None:
        raise ValueError(f"{name}: expected a number in element {tag:#010x}: found {shorten(repr(text))}")
    return float(number)


def _whole(dataset: Dataset, tag: int, name: str) -> int:
    """A whole number of two or four bytes."""
    value = dataset.get(tag, b"")
    if isinstance(value, list) or len(value) not in (2, 4):
        raise ValueError(f"{name}: expected a whole number in element {tag:#010x}: found none")
    return int.from_bytes(value, "little")


def _rhythm(dataset: Dataset, name: str) -> Dataset:
    """The group that is the rhythm."""
    groups = _items(dataset, _WAVEFORMS)
    labels = [_text(group, _LABEL).upper() for group in groups]
    original = [_text(group, _ORIGINALITY).upper() == "ORIGINAL" for group in groups]
    rhythms = [
        group
        for group, label, is_original in zip(groups, labels, original, strict=True)
        if label == "RHYTHM" or (is_original and not _BEATS.search(label))
    ]
    if not rhythms:
        found = ", ".join(label or "no label" for label in labels[:10]) or "no group"
        raise ValueError(f"{name}: expected an original waveform of a rhythm: found {shorten(found)}")

    def size(group: Dataset) -> tuple[bool, int, float]:
        seconds = _whole(group, _N_SAMPLES, name) / _rate(group, name)
        return _text(group, _LABEL).upper() == "RHYTHM", len(_items(group, _CHANNELS)), seconds

    chosen = max(rhythms, key=size)
    held = {_lead(channel) for channel in _items(chosen, _CHANNELS)}
    others = {_lead(channel) for group in rhythms for channel in _items(group, _CHANNELS)} - held
    if others:
        raise ValueError(
            f"{name}: expected one group of leads that were taken together: found "
            f"{shorten(', '.join(sorted(others)))} in another"
        )
    return chosen


def _rate(group: Dataset, name: str) -> float:
    rate = _decimal(group, _RATE, name)
    if not rate or rate < 0:
        raise ValueError(f"{name}: expected a sampling frequency: found {rate}")
    return rate


def _codes(group: Dataset, name: str) -> np.ndarray:
    """Stored numbers (channels, samples)."""
    n_channels, n_samples = _whole(group, _N_CHANNELS, name), _whole(group, _N_SAMPLES, name)
    if not 1 <= n_channels <= MAX_CHANNELS or n_samples < 1:
        raise ValueError(f"{name}: expected 1 to {MAX_CHANNELS} channels: found {n_channels} of {n_samples} samples")
    check_values((n_channels, n_samples), name)
    kind = (_whole(group, _BITS, name), _text(group, _INTERPRETATION))
    if kind not in _DTYPES:
        raise ValueError(f"{name}: expected samples that are whole numbers: found {kind[0]} bits of kind {kind[1]!r}")
    dtype = np.dtype(_DTYPES[kind])
    data = group.get(_DATA, b"")
    n_bytes = n_channels * n_samples * dtype.itemsize
    # A value has an even number of bytes.
    if isinstance(data, list) or len(data) != n_bytes + n_bytes % 2:
        raise ValueError(f"{name}: truncated: expected {n_bytes:,} bytes of samples: found {len(data):,}")
    return np.frombuffer(data, dtype, n_channels * n_samples).reshape(n_samples, n_channels).T


def _channel(channel: Dataset, rate: float, name: str) -> _Channel:
    lead = _lead(channel)
    what = f"{name}, channel {shorten(lead) or 'without name'}"
    unit = voltage_unit(_text(_first(channel, _UNITS), _CODE))
    sensitivity = _decimal(channel, _SENSITIVITY, what)
    if not sensitivity and (unit is not None or not _items(channel, _UNITS)):
        raise ValueError(f"{what}: expected a sensitivity: found {sensitivity}")
    correction, baseline = _decimal(channel, _CORRECTION, what), _decimal(channel, _BASELINE, what)
    seconds = (_decimal(channel, _TIME_SKEW, what) or 0.0) + (_decimal(channel, _OFFSET, what) or 0.0)
    skew = seconds * rate if seconds else _decimal(channel, _SAMPLE_SKEW, what) or 0.0
    if abs(skew) > MAX_SECONDS * rate or correction == 0:
        raise ValueError(f"{what}: expected a skew in time and a correction: found {skew:g} samples, {correction}")
    step = (sensitivity or 0.0) * (1.0 if correction is None else correction)
    return _Channel(lead, unit, step, baseline or 0.0, round(skew))


def _lead(channel: Dataset) -> str:
    """The lead that a channel's code states, or its label, or what its code means."""
    source = _first(channel, _SOURCE)
    scheme, code = _text(source, _SCHEME).upper(), _text(source, _CODE)
    number = None
    if scheme in ("SCPECG", "1.0.11073.10101.2") and (match := re.fullmatch(r"5\.6\.3-9-(\d{1,3})", code)):
        number = int(match[1])
    elif scheme == "MDC" and (match := re.fullmatch(r"(?:2:|(?=13\d{4}$))(\d{1,6})", code)):
        # 2:1 in DICOM; 131329, which is 2 * 65536 + 256 + 1, as the potential of the same lead.
        number = int(match[1])
        number = (number - 131_072 if number >= 131_072 else number) % 256
    if number in SCP_LEADS:
        return SCP_LEADS[number]
    return standard_lead(_text(channel, _CHANNEL_LABEL) or _text(source, _MEANING))


def _padded(codes: np.ndarray, padding: bytes | memoryview, rate: float) -> np.ndarray:
    """
    Where a channel has the padding value (codes,), bool.

    Some writers state a padding value of 0, which samples have as well. Such a value is padding in a long run only.
    """
    value = int.from_bytes(bytes(padding[: codes.itemsize]), "little", signed=codes.dtype.kind == "i")
    at = codes == value
    others = codes[~at]
    if not at.any() or others.size == 0 or not others.min() < value < others.max():
        return at
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at, [False]])))
    firsts, ends = edges[::2], edges[1::2]
    is_long = ends - firsts >= MIN_PADDED_S * rate
    changes = np.zeros(len(at) + 1, np.int8)
    changes[firsts[is_long]], changes[ends[is_long]] = 1, -1
    return changes[:-1].cumsum() > 0


def _move(lead: np.ndarray, skew: int) -> None:
    """Moves a lead so many samples later, in place; NaN comes from outside."""
    if skew == 0:
        return
    moved = np.full_like(lead, np.nan)
    n = len(lead) - abs(skew)
    if n > 0:
        moved[max(skew, 0) : max(skew, 0) + n] = lead[max(-skew, 0) : max(-skew, 0) + n]
    lead[:] = moved


def _metadata(dataset: Dataset, channels: list[Dataset], left_out: list[str], name: str) -> dict[str, Any]:
    encoding = _ENCODINGS.get(_text(dataset, _CHARACTER_SET).split("\\")[0].strip(), "ascii")
    measurements: dict[str, float] = {}
    statements = []
    for note in _items(dataset, _ANNOTATIONS)[:MAX_NOTES]:
        statements += [_text(note, _TEXT, encoding)] if _TEXT in note else []
        key, units = _MEASUREMENTS.get(_text(_first(note, _CONCEPT), _MEANING).lower(), ("", ()))
        unit, value = _text(_first(note, _MEASURED_IN), _CODE).lower(), _text(note, _VALUE)
        is_stated = re.fullmatch(r"-?\d{1,6}(\.\d{1,6})?", value) and (key.endswith("deg") or float(value) > 0)
        if key and is_stated and (unit in units or not units):
            measurements.setdefault(key, float(value))
    filters: dict[str, float] = {}
    for key, tag in _FILTERS.items():
        # What not all channels share is not said of the record; 0 is no filter.
        cutoffs = {_text(channel, tag) for channel in channels}
        hertz = cutoffs.pop() if len(cutoffs) == 1 else ""
        if re.fullmatch(r"\d{1,5}(\.\d{1,6})?", hertz) and float(hertz):
            filters[key] = float(hertz)
    return make_metadata(
        "DICOM",
        name,
        [_text(dataset, tag, encoding) for tag in _PEOPLE],
        [_text(dataset, tag, encoding) for tag in _PLACES],
        left_out,
        device={"manufacturer": _text(dataset, _MANUFACTURER, encoding), "model": _text(dataset, _MODEL, encoding)},
        measurements=measurements,
        statements=statements,
        age_years=_age(dataset),
        sex=_text(dataset, _SEX),
        filters=filters,
    )


def _age(dataset: Dataset) -> Fraction | None:
    """As stated, or from the dates of birth and of the recording."""
    stated = re.fullmatch(r"(\d{3})([DWMY])", _text(dataset, _AGE))
    if stated is not None:
        return Fraction(int(stated[1]) // {"D": 365, "W": 52, "M": 12, "Y": 1}[stated[2]])
    recorded = _text(dataset, _ACQUIRED) or _text(dataset, _STUDY_DATE)
    return age_in_years(_day(_text(dataset, _BIRTH_DATE)), _day(recorded))


def _day(text: str) -> tuple[int, int, int] | None:
    match = re.match(r"(\d{4})(\d{2})(\d{2})", text)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


__all__ = ["is_dicom", "read_dicom"]
