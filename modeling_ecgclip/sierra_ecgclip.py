"""Philips Sierra XML, versions 1.03 and 1.04: the rhythm of PageWriter, TraceMaster and HeartStart recorders.

Read by hand, `xli_ecgclip` included: the package `sierraecg` returns counts without their scale, rebuilds leads that
were stored whole, and keeps the calibration mark at the end as if it were heart.
Source: SierraECGSchema_1_04_01.xsd, which states that amplitudes are in microvolts and durations in milliseconds.
"""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from .limits_ecgclip import MAX_VALUES, check_sampling_rate, check_values, shorten
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES
from .vendor_ecgclip import build_record, check_lead_count, private_texts, vendor_metadata, years_between, years_of
from .xli_ecgclip import unpack_xli
from .xml_ecgclip import (
    decode_base64,
    number_at,
    parse_samples,
    read_xml,
    required_number,
    required_text,
    root_element,
    samples_text,
    text_at,
    to_number,
)


ROOT = "restingecgdata"
VERSIONS = ("1.03", "1.04", "1.04.01", "1.04.02")
# Kinds of recording, in 1.03, whose channels are the twelve standard leads in their order.
_TWELVE_LEADS = ("STD-12", "10-WIRE")
_LIMB_LEADS = LEAD_NAMES[:6]
_CALIBRATION_UV = 1000
_BITS = 16
_FULL_SCALE = 1 << (_BITS - 1)
# Names of a measurement, in the order in which they are looked for.
_MEASUREMENTS = {
    "heart_rate_bpm": ("heartrate", "meanventrate"),
    "atrial_rate_bpm": ("atrialrate",),
    "rr_interval_ms": ("rrint",),
    "p_duration_ms": ("pdur",),
    "pr_interval_ms": ("print", "meanprint"),
    "qrs_duration_ms": ("qrsdur", "meanqrsdur"),
    "qt_interval_ms": ("qtint", "meanqtint"),
    "qtc_interval_ms": ("meanqtc",),
    "qtc_bazett_ms": ("qtcb",),
    "qtc_fridericia_ms": ("qtcf",),
    "p_axis_deg": ("pfrontaxis",),
    "qrs_axis_deg": ("qrsfrontaxis",),
    "t_axis_deg": ("tfrontaxis",),
}
# The interpretation's own come before those that the program worked with.
_MEASURED = (
    "interpretations/interpretation/globalmeasurements",
    "interpretations/interpretation/interpretationmeasurements",
    "internalmeasurements/crossleadmeasurements",
    "measurements/globalmeasurements",
)
# What of a person's data is not about who it is, and what else is.
_NOT_PRIVATE = ("age", "pacestatus", "sex", "race", "height", "weight")
_PRIVATE = ("patient/generalpatientdata/age", "dataacquisition/acquirer", "documentinfo", "orderinfo", "userdefines")
_BANDWIDTH = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)-(\d{1,4})", re.ASCII)


def is_sierra(head: bytes) -> bool:
    """Returns whether a file that begins with `head` (see `SNIFFED_BYTES`) is Philips Sierra XML."""
    return root_element(head) == ROOT


def read_sierra(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm of a Philips Sierra document.

    Args:
        path (`str` or `Path`): An `.xml` file, or one in gzip.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)` in `"uV"`. The mark of 1 mV that recorders put behind
        the ECG in all leads at once is cut off, with the gap before it; `metadata` says how much, as
        `calibration_mark_s`.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`: naming the file: for what `xml_ecgclip` refuses, other versions, encodings and compressions,
            channels without a name, samples that contradict the stated duration, and where sampling rate, resolution,
            bits or sign of a sample are not stated.
    """
    path = Path(path)
    name = str(path)
    root = read_xml(path, ROOT)
    version = required_text(root, "documentinfo/documentversion", name)
    if version not in VERSIONS:
        raise ValueError(f"{name}: expected version {', '.join(VERSIONS)}: found {shorten(repr(version))}")
    waveforms = root.findall("waveforms/parsedwaveforms")
    if len(waveforms) != 1:
        raise ValueError(f"{name}: expected one element parsedwaveforms: found {len(waveforms)}")
    # Since 1.04 the waveform says everything of itself, and the acquisition may have been another: archives resample.
    acquisition = root.find("dataacquisition/signalcharacteristics") if version == VERSIONS[0] else None
    signal = _Signal(waveforms[0], acquisition, name)
    counts = _read_counts(signal) - signal.offset
    cut = _calibration_start(counts, signal.resolution)
    microvolts = float(signal.resolution) * counts[:, :cut]
    metadata = _metadata(root, signal, version)
    if cut < counts.shape[1]:
        metadata["calibration_mark_s"] = (counts.shape[1] - cut) / float(signal.rate)
    return build_record(list(zip(signal.leads, microvolts, strict=True)), signal.rate, metadata, name)


class _Signal:
    """What a document says of its waveform, in its attributes or, in 1.03, in elements of the acquisition."""

    def __init__(self, waveform: Element, acquisition: Element | None, name: str):
        self.waveform = waveform
        self.acquisition = acquisition
        self.name = name
        self.rate = self.number("samplespersecond", "samplingrate")
        self.resolution = self.number("resolution", "signalresolution")  # microvolts
        if self.resolution <= 0:
            raise ValueError(f"{name}: expected a resolution above 0: found {float(self.resolution):g}")
        stated = acquisition is not None or self.text("signaloffset")  # 1.04: "assume 0 if not present"
        self.offset = int(self.number("signaloffset", whole=True)) if stated else 0
        if abs(self.offset) > _FULL_SCALE:
            raise ValueError(f"{name}: expected an offset of {_BITS} bits: found {self.offset}")
        self.leads = self._leads()
        n_samples = required_number(waveform, "@durationperchannel", name) * self.rate / 1000
        if n_samples.denominator != 1 or n_samples < 1:
            raise ValueError(f"{name}: expected a duration of whole samples: found {float(n_samples):g}")
        self.shape = (len(self.leads), int(n_samples))
        check_values(self.shape, name)
        check_sampling_rate(float(self.rate), self.shape, name)

    def text(self, *names: str) -> str:
        places = [(self.waveform, f"@{one}") for one in names] + [(self.acquisition, one) for one in names]
        return next((text for text in (text_at(*place) for place in places) if text), "")

    def number(self, *names: str, whole: bool = False) -> Fraction:
        for node, prefix in ((self.waveform, "@"), (self.acquisition, "")):
            for one in names:
                if text_at(node, prefix + one):
                    return required_number(node, prefix + one, self.name, whole)
        raise ValueError(f"{self.name}: expected {' or '.join(names)}: found none")

    def _leads(self) -> list[str]:
        leads = text_at(self.waveform, "@leadlabels").split()
        if leads:
            stated = required_number(self.waveform, "@numberofleads", self.name)
        else:
            kind = text_at(self.acquisition, "acquisitiontype") or text_at(self.acquisition, "leadset")
            if kind not in _TWELVE_LEADS:
                raise ValueError(f"{self.name}: expected names of leads: found channels of {shorten(repr(kind))}")
            leads = list(LEAD_NAMES)
            stated = required_number(self.acquisition, "numberchannelsallocated", self.name)
        check_lead_count(len(leads), stated, self.name)
        return leads


def _read_counts(signal: _Signal) -> np.ndarray:
    """Stored counts, int64 (leads, samples)."""
    name = signal.name
    bits = signal.number("bitspersample", "nbitspersample")
    signed = signal.text("signalsigned").casefold()
    if bits != _BITS or signed != "true":
        raise ValueError(
            f"{name}: expected signed samples of {_BITS} bits: found {bits} bits, signalsigned {shorten(repr(signed))}"
        )
    encoding = text_at(signal.waveform, "@dataencoding")
    compression = _compression(signal.waveform)
    text = samples_text(signal.waveform, "parsedwaveforms", name)
    if encoding == "Plain" and not compression:
        values = parse_samples(text, False, "parsedwaveforms", name)
    elif encoding == "Base64" and compression in ("", "XLI"):
        stored = decode_base64(text, MAX_VALUES * _BITS // 8, "parsedwaveforms", name)
        if compression:
            return _rebuild(unpack_xli(stored, signal.shape[1], name), signal)
        if len(stored) % (_BITS // 8):
            raise ValueError(f"{name}: expected samples of {_BITS} bits: found {len(stored):,} bytes")
        values = np.frombuffer(stored, "<i2")
    else:
        raise ValueError(
            f"{name}: expected samples in Base64, plain or as XLI, or as decimal numbers: "
            f"found {shorten(repr(encoding))}, compression {shorten(repr(compression))}"
        )
    n_values = signal.shape[0] * signal.shape[1]
    if len(values) != n_values:
        raise ValueError(f"{name}: expected {n_values:,} samples, as stated: found {len(values):,}")
    if values.min() < -_FULL_SCALE or values.max() >= _FULL_SCALE or (values != np.rint(values)).any():
        raise ValueError(f"{name}: expected whole samples of {_BITS} bits: found another one")
    return values.astype(np.int64).reshape(signal.shape)


def _compression(waveform: Element) -> str:
    """Name of the compression, `""` for none; 1.03 states it with a flag, 1.04 by its name."""
    if text_at(waveform, "@compressflag").casefold() == "false":
        return ""
    compression = text_at(waveform, "@compression") or text_at(waveform, "@compressmethod")
    if not compression and text_at(waveform, "@compressflag"):
        return "unknown"
    return "" if compression.casefold() in ("uncompressed", "none") else compression


def _rebuild(channels: list[np.ndarray], signal: _Signal) -> np.ndarray:
    """
    Leads from the channels of XLI, in which III, aVR, aVL and aVF are what I and II do not explain.

    Recorders write sixteen channels. Those beyond the named leads hold nothing but the calibration mark.
    """
    name, leads = signal.name, signal.leads
    if [lead.casefold() for lead in leads[:6]] != [lead.casefold() for lead in _LIMB_LEADS]:
        raise ValueError(
            f"{name}: expected {' '.join(_LIMB_LEADS)} before other compressed leads: found {shorten(' '.join(leads))}"
        )
    if len(channels) < len(leads):
        raise ValueError(f"{name}: expected {len(leads)} compressed channels: found {len(channels)}")
    for i, channel in enumerate(channels[len(leads) :], len(leads) + 1):
        if set(np.unique(channel).tolist()) - {0, _CALIBRATION_UV / signal.resolution}:
            raise ValueError(f"{name}: expected a name for each compressed channel: found none for channel {i}")
    counts = np.stack(channels[: len(leads)])
    one, two = counts[:2]
    counts[2] = two - one - counts[2]
    counts[3] = -counts[3] - (one + two) // 2
    counts[4] = (one - counts[2]) // 2 - counts[4]
    counts[5] = (two + counts[2]) // 2 - counts[5]
    return counts


def _calibration_start(counts: np.ndarray, resolution: Fraction) -> int:
    """
    Index of the first sample behind the ECG: where a calibration mark, or the gap before it, begins.

    The mark is 1 mV in all leads at once, which no heart gives: aVR + aVL + aVF would be 3 mV.
    """
    apart = np.flatnonzero((counts != counts[0]).any(axis=0))
    start = apart[-1] + 1 if apart.size else 0
    mark = _CALIBRATION_UV / resolution
    return int(start) if set(np.unique(counts[0, start:]).tolist()) == {0, mark} else counts.shape[1]


def _metadata(root: Element, signal: _Signal, version: str) -> dict[str, Any]:
    person = root.find("patient/generalpatientdata")
    machine = root.find("dataacquisition/machine")
    details = text_at(machine, "@detaildescription").split(":")  # manufacturer:model:software
    band = _BANDWIDTH.fullmatch(text_at(signal.acquisition, "signalbandwidth"))
    notched = signal.text("notchfiltered").casefold() == "true"
    recorded = text_at(root, "dataacquisition@date")
    return vendor_metadata(
        f"Philips Sierra XML {version}",
        {
            "manufacturer": details[0],
            "model": text_at(machine, ""),
            "software": details[-1] if len(details) > 2 else "",
        },
        _measurements(root),
        _statements(root),
        private_texts(
            [node for node in root.iterfind("patient/generalpatientdata/*") if node.tag not in _NOT_PRIVATE],
            [node for place in _PRIVATE for node in root.iterfind(place)],
        ),
        _age(person, recorded),
        text_at(person, "sex"),
        {
            "highpass_hz": to_number(signal.text("hipass") or (band[1] if band else "")),
            "lowpass_hz": to_number(signal.text("lowpass") or (band[2] if band else "")),
            "notch_hz": to_number(signal.text("notchfilterfreqs")) if notched else None,
        },
        signal.name,
    )


def _age(person: Element | None, recorded: str) -> Fraction | None:
    """As stated in any unit, or from the date of birth; never the recorder's default age."""
    for unit in ("years", "months", "weeks", "days"):
        age = years_of(number_at(person, f"age/{unit}"), unit)
        if age is not None:
            return age
    return years_between(text_at(person, "age/dateofbirth"), recorded)


def _measurements(root: Element) -> dict[str, Fraction | None]:
    """As the machine measured, where someone has edited it since."""
    places = [node for node in map(root.find, _MEASURED) if node is not None]
    found: dict[str, Fraction | None] = {}
    for key, tags in _MEASUREMENTS.items():
        for node in (place.find(tag) for place in places for tag in tags):
            if node is not None and key not in found:
                edited = text_at(node, "@editedflag").casefold() == "true"
                number = number_at(node, "@uneditedvalue" if edited else "")
                if number is not None:
                    found[key] = number
    return found


def _statements(root: Element) -> list[str]:
    """Statements of the first interpretation, each with its reason, and last the severity; not what people edited."""
    interpretation = root.find("interpretations/interpretation")
    if interpretation is None:
        return []
    lines = []
    for statement in interpretation.iterfind("statement"):
        if text_at(statement, "@editedflag").casefold() != "true":
            left, right = text_at(statement, "leftstatement"), text_at(statement, "rightstatement")
            lines.append(f"{left} ({right})" if right else left)
    return [*lines, text_at(interpretation, "severity")]


__all__ = ["is_sierra", "read_sierra"]
