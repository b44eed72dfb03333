"""GE MUSE XML (`restecg.dtd`): the rhythm waveform of a resting ECG.

Read by hand: it is a few elements and base64, and the packages for it guess the unit where a file leaves it out.
"""

import re
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from .limits_ecgclip import MAX_VALUES, shorten
from .record_ecgclip import EcgRecord
from .vendor_ecgclip import build_record, check_lead_count, in_microvolts, private_texts, vendor_metadata, years_of
from .xml_ecgclip import (
    decode_base64,
    number_at,
    read_xml,
    required_number,
    required_text,
    root_element,
    samples_text,
    text_at,
)


ROOT = "RestingECG"
_SAMPLE_BYTES = 2
_STARTS = ("LeadTimeOffset", "LeadOffsetFirstSample")
_MEASUREMENTS = {
    "heart_rate_bpm": "VentricularRate",
    "atrial_rate_bpm": "AtrialRate",
    "pr_interval_ms": "PRInterval",
    "qrs_duration_ms": "QRSDuration",
    "qt_interval_ms": "QTInterval",
    "qtc_interval_ms": "QTCorrected",
    "qtc_fridericia_ms": "QTcFrederica",
    "p_axis_deg": "PAxis",
    "qrs_axis_deg": "RAxis",
    "t_axis_deg": "TAxis",
}
# What of a person's data is not about who it is, and what of a test's data is.
_NOT_PRIVATE = ("PatientAge", "AgeUnits", "Gender", "Race", "HeightIN", "HeightCM", "WeightLBS", "WeightKG")
_PRIVATE = re.compile(r"ID|Name|Date|Time|Site|Location|Room|Bed|MD")


def is_muse(head: bytes) -> bool:
    """Returns whether a file that begins with `head` (see `SNIFFED_BYTES`) is one of GE MUSE."""
    return root_element(head) == ROOT


def read_muse(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm waveform of a GE MUSE document.

    Args:
        path (`str` or `Path`): An `.xml` file, or one in gzip.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)` in `"uV"`: the leads that are stored, mostly I, II and
        V1 to V6, from which the others follow. `metadata` names those whose electrode was off, as `leads_off`.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`: naming the file: for what `xml_ecgclip` refuses, for several rhythm waveforms or none, leads that
            do not begin together, samples that contradict the stated count or checksum, and where sampling rate,
            scale, unit, size of a sample or name of a lead is not stated.
    """
    path = Path(path)
    name = str(path)
    root = read_xml(path, ROOT)
    waveforms = root.findall("Waveform")
    rhythms = [one for one in waveforms if text_at(one, "WaveformType").casefold() == "rhythm"]
    if len(rhythms) != 1:
        raise ValueError(
            f"{name}: expected one rhythm waveform: found {len(rhythms)}, among {len(waveforms)} waveforms"
        )
    rhythm = rhythms[0]
    kind = text_at(rhythm, "SampleType")
    if kind not in ("", "CONTINUOUS_SAMPLES"):
        raise ValueError(f"{name}: expected continuous samples: found {shorten(repr(kind))}")
    nodes = rhythm.findall("LeadData")
    check_lead_count(len(nodes), number_at(rhythm, "NumberofLeads"), name)
    starts = {tuple(text_at(node, tag) or "0" for tag in _STARTS) for node in nodes}
    if len(starts) > 1:
        raise ValueError(f"{name}: expected leads that begin together: found the offsets {shorten(sorted(starts))}")
    leads = [_read_lead(node, name) for node in nodes]
    return build_record(leads, _sampling_rate(rhythm, name), _metadata(root, rhythm, name), name)


def _sampling_rate(rhythm: Element, name: str) -> Fraction:
    """SampleBase times ten to the power of SampleExponent, Hz."""
    base = required_number(rhythm, "SampleBase", name)
    exponent = required_number(rhythm, "SampleExponent", name, whole=True)
    if abs(exponent) > 9:
        raise ValueError(f"{name}: expected SampleExponent within 9: found {exponent}")
    return base * Fraction(10) ** int(exponent)


def _read_lead(node: Element, name: str) -> tuple[str, np.ndarray]:
    """Name and samples, in microvolts, of one lead."""
    lead = required_text(node, "LeadID", name)
    what = f"{name}, lead {shorten(lead)}"
    size = required_number(node, "LeadSampleSize", what)
    baseline = number_at(node, "FirstSampleBaseline") if text_at(node, "FirstSampleBaseline") else Fraction(0)
    if size != _SAMPLE_BYTES or baseline != 0:
        raise ValueError(
            f"{what}: expected samples of {_SAMPLE_BYTES} bytes without a baseline: "
            f"found {size} bytes, FirstSampleBaseline {shorten(repr(text_at(node, 'FirstSampleBaseline')))}"
        )
    per_bit = required_number(node, "LeadAmplitudeUnitsPerBit", what)
    scale = in_microvolts(per_bit, required_text(node, "LeadAmplitudeUnits", what), what)
    if not scale:
        raise ValueError(f"{what}: expected LeadAmplitudeUnitsPerBit other than 0")
    text = samples_text(node.find("WaveFormData"), "WaveFormData", what)
    stored = decode_base64(text, MAX_VALUES * _SAMPLE_BYTES, "WaveFormData", what)
    if len(stored) % _SAMPLE_BYTES:
        raise ValueError(f"{what}: expected samples of {_SAMPLE_BYTES} bytes: found {len(stored):,} bytes")
    counts = np.frombuffer(stored, "<i2")
    for tag, found in (
        ("LeadSampleCountTotal", len(counts)),
        ("LeadByteCountTotal", len(stored)),
        ("LeadDataCRC32", zlib.crc32(stored)),
    ):
        stated = text_at(node, tag)
        # A checksum of 0 is one that nobody computed.
        if stated and stated != str(found) and (tag, stated) != ("LeadDataCRC32", "0"):
            raise ValueError(f"{what}: expected {tag} {shorten(stated)}, as stated: found {found}")
    for tag, outside in (("LeadLowLimit", np.less), ("LeadHighLimit", np.greater)):
        limit = number_at(node, tag)
        if limit is not None and outside(counts, float(limit)).any():
            raise ValueError(f"{what}: expected samples within {tag} {limit}: found one beyond")
    return lead, float(scale) * counts


def _metadata(root: Element, rhythm: Element, name: str) -> dict[str, Any]:
    person, test = root.find("PatientDemographics"), root.find("TestDemographics")
    # As the machine measured, where someone has edited it since.
    measured = root.find("OriginalRestingECGMeasurements")
    if measured is None:
        measured = root.find("RestingECGMeasurements")
    diagnosis = root.find("OriginalDiagnosis")
    if diagnosis is None:
        diagnosis = root.find("Diagnosis")
    highpass = number_at(rhythm, "HighPassFilter")
    people = [node for node in root.iterfind("PatientDemographics/*") if node.tag not in _NOT_PRIVATE]
    people += [node for node in root.iterfind("TestDemographics/*") if node.tag.endswith(("FirstName", "LastName"))]
    others = [node for node in root.iterfind("TestDemographics/*") if _PRIVATE.search(node.tag)]
    others += [*root.iterfind("Order"), *root.iterfind("PharmaData"), *root.iterfind("ExtraQuestions")]
    metadata = vendor_metadata(
        "GE MUSE XML",
        {
            "model": text_at(test, "AcquisitionDevice"),
            "software": text_at(test, "AcquisitionSoftwareVersion"),
            "analysis": text_at(test, "AnalysisSoftwareVersion"),
            "archive": text_at(root, "MuseInfo/MuseVersion"),
        },
        {key: number_at(measured, tag) for key, tag in _MEASUREMENTS.items()},
        _statements(diagnosis),
        private_texts(people, others),
        years_of(number_at(person, "PatientAge"), text_at(person, "AgeUnits")),
        text_at(person, "Gender"),
        {
            "highpass_hz": None if highpass is None else highpass / 100,  # stored in hundredths
            "lowpass_hz": number_at(rhythm, "LowPassFilter"),
            "notch_hz": number_at(rhythm, "ACFilter"),
        },
        name,
    )
    nodes = rhythm.findall("LeadData")
    off = [text_at(node, "LeadID") for node in nodes if text_at(node, "LeadOff").casefold() == "true"]
    return metadata | ({"leads_off": off} if off else {})


def _statements(diagnosis: Element | None) -> list[str]:
    """Lines of a diagnosis, whose statements are parts of a line until one is marked as its end."""
    lines, parts = [], []
    for statement in () if diagnosis is None else diagnosis.iterfind("DiagnosisStatement"):
        parts.append(text_at(statement, "StmtText"))
        if any((flag.text or "").strip().upper() == "ENDSLINE" for flag in statement.iterfind("StmtFlag")):
            lines.append(" ".join(parts))
            parts = []
    return [*lines, *parts]


__all__ = ["is_muse", "read_muse"]
