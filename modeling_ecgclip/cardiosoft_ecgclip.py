"""GE CardioSoft and CASE XML: the strip of a resting ECG.

Read by hand: no package on PyPI reads it. Source: the vendor's description of the format ("CardioSoft XML export").
"""

from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from .limits_ecgclip import check_values, shorten
from .record_ecgclip import EcgRecord
from .vendor_ecgclip import build_record, check_lead_count, private_texts, vendor_metadata, years_of
from .xml_ecgclip import (
    number_at,
    parse_samples,
    read_xml,
    required_number,
    required_text,
    root_element,
    samples_text,
    text_at,
)


ROOT = "CardiologyXML"
# How the format spells units, in lower case.
_RATE_UNITS = ("hz",)
_RESOLUTION_UNITS = ("uvperlsb", "\u00b5vperlsb")
_MEASUREMENTS = {
    "heart_rate_bpm": ("VentricularRate", ("bpm", "/min")),
    "rr_interval_ms": ("RRInterval", ("ms",)),
    "pp_interval_ms": ("PPInterval", ("ms",)),
    "p_duration_ms": ("PDuration", ("ms",)),
    "pr_interval_ms": ("PQInterval", ("ms",)),
    "qrs_duration_ms": ("QRSDuration", ("ms",)),
    "qt_interval_ms": ("QTInterval", ("ms",)),
    "qtc_interval_ms": ("QTCInterval", ("ms",)),
    "p_axis_deg": ("PAxis", ("degrees", "degree", "deg")),
    "qrs_axis_deg": ("RAxis", ("degrees", "degree", "deg")),
    "t_axis_deg": ("TAxis", ("degrees", "degree", "deg")),
}
# What of a person's data is not about who it is, and what else is.
_NOT_PRIVATE = ("Age", "Gender", "Race", "Height", "Weight", "PaceMaker")
_PRIVATE = (
    "PatientVisit",
    "UID",
    "ObservationDateTime",
    "ClinicalInfo/Technician",
    "ClinicalInfo/ReasonForStudy",
    "ClinicalInfo/ObservationComment",
)


def is_cardiosoft(head: bytes) -> bool:
    """Returns whether a file that begins with `head` (see `SNIFFED_BYTES`) is CardioSoft or CASE XML."""
    return root_element(head) == ROOT


def read_cardiosoft(path: str | Path) -> EcgRecord:
    """
    Returns the strip of a CardioSoft or CASE document.

    Args:
        path (`str` or `Path`): An `.xml` file, or one in gzip.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)` in `"uV"`.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`: naming the file: for what `xml_ecgclip` refuses, for several strips or none, as in exercise tests
            that hold a full disclosure only, samples that contradict the stated count, and where sampling rate,
            resolution, their units or the name of a lead is not stated.
    """
    path = Path(path)
    name = str(path)
    root = read_xml(path, ROOT)
    strips = [*root.findall("StripData"), *root.findall("Strip/StripData")]
    if len(strips) != 1:
        full = " and a full disclosure" if root.find("FullDisclosure") is not None else ""
        raise ValueError(f"{name}: expected one strip of a resting ECG, StripData: found {len(strips)}{full}")
    strip = strips[0]
    rate = _with_unit(strip, "SampleRate", _RATE_UNITS, name)
    resolution = _with_unit(strip, "Resolution", _RESOLUTION_UNITS, name)
    if resolution <= 0:
        raise ValueError(f"{name}: expected a Resolution above 0: found {float(resolution):g}")
    nodes = strip.findall("WaveformData")
    check_lead_count(len(nodes), number_at(strip, "NumberOfLeads"), name)
    count = number_at(strip, "ChannelSampleCountTotal")
    leads: list[tuple[str, np.ndarray]] = []
    for node in nodes:
        lead = required_text(node, "@lead", name)
        what = f"{name}, lead {shorten(lead)}"
        counts = parse_samples(samples_text(node, "WaveformData", what), True, "samples", what)
        if count not in (None, len(counts)):
            raise ValueError(f"{what}: expected {count} samples, as stated: found {len(counts):,}")
        leads.append((lead, float(resolution) * counts))
        check_values((len(leads), len(counts)), name)
    return build_record(leads, rate, _metadata(root, name), name)


def _with_unit(node: Element, tag: str, units: tuple[str, ...], name: str) -> Fraction:
    number = required_number(node, tag, name)
    unit = required_text(node, f"{tag}@units", name)
    if unit.casefold() not in units:
        raise ValueError(f"{name}: expected {tag} in {units[0]}: found {shorten(repr(unit))}")
    return number


def _metadata(root: Element, name: str) -> dict[str, Any]:
    person, filters = root.find("PatientInfo"), root.find("FilterSetting")
    mains = [hertz for hertz in (50, 60) if text_at(filters, f"Filter{hertz}Hz").casefold() in ("yes", "true", "on")]
    return vendor_metadata(
        "GE CardioSoft XML",
        {
            "model": text_at(root, "Device-Type"),
            "software": text_at(root, "ClinicalInfo/DeviceInfo/SoftwareVer"),
            "analysis": text_at(root, "ClinicalInfo/DeviceInfo/AnalysisVer"),
        },
        {key: _measured(root, f"RestingECGMeasurements/{tag}", units) for key, (tag, units) in _MEASUREMENTS.items()},
        [line.text or "" for line in root.iterfind("Interpretation/Diagnosis/DiagnosisText")],
        private_texts(
            [
                *(node for node in root.iterfind("PatientInfo/*") if node.tag not in _NOT_PRIVATE),
                *root.iterfind(".//FamilyName"),
                *root.iterfind(".//GivenName"),
            ],
            [node for place in _PRIVATE for node in root.iterfind(place)],
        ),
        years_of(number_at(person, "Age"), text_at(person, "Age@units")),
        text_at(person, "Gender"),
        {
            "highpass_hz": _measured(filters, "HighPass", _RATE_UNITS),
            "lowpass_hz": _measured(filters, "LowPass", _RATE_UNITS),
            "notch_hz": Fraction(mains[0]) if len(mains) == 1 else None,
        },
        name,
    )


def _measured(node: Element | None, path: str, units: tuple[str, ...]) -> Fraction | None:
    """A number that is stated in one of these units."""
    return number_at(node, path) if text_at(node, f"{path}@units").casefold() in units else None


__all__ = ["is_cardiosoft", "read_cardiosoft"]
