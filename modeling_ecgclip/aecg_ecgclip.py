"""HL7 annotated ECG (aECG): the rhythm series of a document.

Read by hand: the packages that do it open XML without limits and take the first of several series in silence.
Sources: ANSI/HL7 V3 ECG R1-2004 (PORT_MT020001) and its implementation guide of 2005.
"""

import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from .limits_ecgclip import check_values, shorten
from .record_ecgclip import EcgRecord
from .vendor_ecgclip import (
    build_record,
    check_lead_count,
    in_microvolts,
    private_texts,
    vendor_metadata,
    years_between,
    years_of,
)
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


ROOT = "AnnotatedECG"
_LEAD_PREFIX = "MDC_ECG_LEAD_"
# Codes whose end is not the name of the lead.
_LEAD_NAMES = {"AVRNEG": "-aVR"}
# How many of a unit make one of the unit in the name of the measurement.
_MS = {"ms": Fraction(1), "s": Fraction(1000), "us": Fraction(1, 1000)}
_BPM = {"bpm": Fraction(1), "/min": Fraction(1), "1/min": Fraction(1), "{beats}/min": Fraction(1), "Hz": Fraction(60)}
_DEG = {"deg": Fraction(1)}
_HZ = {"Hz": Fraction(1), "kHz": Fraction(1000)}
_MEASUREMENTS = {
    "MDC_ECG_HEART_RATE": ("heart_rate_bpm", _BPM),
    "MDC_ECG_TIME_PD_RR": ("rr_interval_ms", _MS),
    "MDC_ECG_TIME_PD_P": ("p_duration_ms", _MS),
    "MDC_ECG_TIME_PD_PR": ("pr_interval_ms", _MS),
    "MDC_ECG_TIME_PD_QRS": ("qrs_duration_ms", _MS),
    "MDC_ECG_TIME_PD_QT": ("qt_interval_ms", _MS),
    "MDC_ECG_TIME_PD_QTC": ("qtc_interval_ms", _MS),
    "MDC_ECG_TIME_PD_QTCB": ("qtc_bazett_ms", _MS),
    "MDC_ECG_TIME_PD_QTCF": ("qtc_fridericia_ms", _MS),
    "MDC_ECG_ANGLE_P_FRONT": ("p_axis_deg", _DEG),
    "MDC_ECG_ANGLE_QRS_FRONT": ("qrs_axis_deg", _DEG),
    "MDC_ECG_ANGLE_T_FRONT": ("t_axis_deg", _DEG),
}
_STATEMENTS = ("MDC_ECG_RHY", "MDC_ECG_INTERPRETATION_STATEMENT", "MDC_ECG_INTERPRETATION_SUMMARY")
_FILTERS = {"LOW_PASS": "lowpass_hz", "HIGH_PASS": "highpass_hz", "NOTCH": "notch_hz"}
_AGE_CODE = "21612-7"  # LOINC: reported age


def is_aecg(head: bytes) -> bool:
    """Returns whether a file that begins with `head` (see `SNIFFED_BYTES`) is an annotated ECG."""
    return root_element(head) == ROOT


def read_aecg(path: str | Path) -> EcgRecord:
    """
    Returns the rhythm series of an HL7 annotated ECG.

    Args:
        path (`str` or `Path`): An `.xml` file, or one in gzip.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)` in `"uV"`: origin + scale x digit. Leads are named as
        their codes end (`"I"`, `"AVR"`, `"V1"`), in the order of the file.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`: naming the file: for what `xml_ecgclip` refuses, for several rhythm series, or sets of leads that
            were not recorded at once, and where increment, origin, scale, unit or code of a lead is not stated.
    """
    path = Path(path)
    name = str(path)
    root = read_xml(path, ROOT)
    found = root.findall("component/series")
    series = [one for one in found if text_at(one, "code@code") == "RHYTHM"]
    if len(series) != 1:
        raise ValueError(f"{name}: expected one rhythm series: found {len(series)}, among {len(found)} series")
    sets = series[0].findall("component/sequenceSet")
    nodes = [one for one in series[0].findall("component/sequenceSet/component/sequence") if not _is_time(one)]
    check_lead_count(len(nodes), None, name)
    times = {_time_of(sequences, name) for sequences in sets}
    if len(times) != 1:
        raise ValueError(f"{name}: expected leads recorded at once: found {len(times)} times of recording")
    leads: list[tuple[str, np.ndarray]] = []
    for node in nodes:
        leads.append(_read_lead(node, name))
        check_values((len(leads), len(leads[-1][1])), name)
    _, increment, unit = times.pop()
    return build_record(leads, _rate_of(increment, unit, name), _metadata(root, series[0], name), name)


def _is_time(sequence: Element) -> bool:
    return text_at(sequence, "code@code").startswith("TIME_")


def _type_of(sequence: Element) -> str:
    return text_at(sequence, "value@type").rpartition(":")[2]


def _time_of(sequences: Element, name: str) -> tuple[str, str, str]:
    """When a set of leads begins, the time between its samples and the unit of that, as text."""
    times = [one for one in sequences.findall("component/sequence") if _is_time(one)]
    if len(times) != 1:
        raise ValueError(f"{name}: expected one sequence of times in each set of leads: found {len(times)}")
    kind = _type_of(times[0])
    if not kind.startswith("GLIST"):
        raise ValueError(f"{name}: expected times as head and increment: found {shorten(repr(kind))}")
    required_number(times[0], "value/increment@value", name)
    return (
        text_at(times[0], "value/head@value") + text_at(times[0], "value/head@unit"),
        text_at(times[0], "value/increment@value"),
        required_text(times[0], "value/increment@unit", name),
    )


def _rate_of(increment: str, unit: str, name: str) -> Fraction:
    """
    Sampling rate, Hz, of an increment as it is printed.

    0.002 s is 500 Hz. 0.00333 s is 300 Hz, since no other whole rate is printed so. 0.0033 s may be 300 or 303 Hz.
    """
    if unit not in _MS:
        raise ValueError(f"{name}: expected an increment in {', '.join(_MS)}: found {shorten(repr(unit))}")
    per_second = 1000 / _MS[unit]
    printed = Fraction(increment)
    half_digit = Fraction(10) ** int(Decimal(increment).as_tuple().exponent) / 2
    if printed <= 0:
        raise ValueError(f"{name}: expected an increment above 0: found {shorten(increment)} {unit}")
    rate = per_second / printed
    if rate.denominator == 1 or half_digit >= printed:
        return rate
    lowest = math.ceil(per_second / (printed + half_digit))
    highest = math.floor(per_second / (printed - half_digit))
    if lowest < highest:
        raise ValueError(
            f"{name}: expected an increment that tells the sampling rate: "
            f"{shorten(increment)} {unit} is {lowest} to {highest} Hz"
        )
    return Fraction(lowest) if lowest == highest else rate


def _read_lead(sequence: Element, name: str) -> tuple[str, np.ndarray]:
    """Name and samples, in microvolts, of one lead."""
    code = required_text(sequence, "code@code", name)
    if not code.startswith(_LEAD_PREFIX):
        raise ValueError(f"{name}: expected sequences of {_LEAD_PREFIX}I and so on: found {shorten(repr(code))}")
    lead = code.removeprefix(_LEAD_PREFIX)
    what = f"{name}, lead {shorten(lead)}"
    kind = _type_of(sequence)
    if kind != "SLIST_PQ":
        raise ValueError(f"{what}: expected values as SLIST_PQ, with origin and scale: found {shorten(repr(kind))}")
    origin, scale = (
        in_microvolts(
            required_number(sequence, f"value/{part}@value", what),
            required_text(sequence, f"value/{part}@unit", what),
            what,
        )
        for part in ("origin", "scale")
    )
    if not scale:
        raise ValueError(f"{what}: expected a scale that is not 0")
    digits = samples_text(sequence.find("value/digits"), "value/digits", what)
    values = parse_samples(digits, False, "digits", what)
    return _LEAD_NAMES.get(lead, lead), float(origin) + float(scale) * values


def _metadata(root: Element, series: Element, name: str) -> dict[str, Any]:
    person = root.find("componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject")
    device = series.find("author/seriesAuthor")
    measurements, statements = _annotations(series)
    recorded = text_at(root, "effectiveTime/center@value") or text_at(root, "effectiveTime/low@value")
    birth = text_at(person, "subjectDemographicPerson/birthTime@value")
    reported = _reported_age(root)
    return vendor_metadata(
        "HL7 aECG",
        {
            "manufacturer": text_at(device, "manufacturerOrganization/name"),
            "model": text_at(device, "manufacturedSeriesDevice/manufacturerModelName"),
            "software": text_at(device, "manufacturedSeriesDevice/softwareName"),
        },
        measurements,
        statements,
        private_texts(
            [person, *root.iterfind(".//assignedPerson"), *root.iterfind(".//investigatorPerson")],
            [*root.iterfind("effectiveTime"), *root.iterfind(".//location"), *root.iterfind(".//id")],
        ),
        reported if reported is not None else years_between(birth, recorded),
        text_at(person, "subjectDemographicPerson/administrativeGenderCode@code"),
        dict(_filters(series)),
        name,
    )


def _reported_age(root: Element) -> Fraction | None:
    for observation in root.iterfind("controlVariable/relatedObservation"):
        if text_at(observation, "code@code") == _AGE_CODE:
            return years_of(number_at(observation, "value@value"), text_at(observation, "value@unit"))
    return None


def _annotations(series: Element) -> tuple[dict[str, Fraction | None], list[str]]:
    """
    What the machine, and no person, says of the whole recording: measurements and statements.

    Those of single beats of the rhythm are left out; the representative beat, a derived series, stands for all.
    """
    measurements: dict[str, Fraction | None] = {}
    statements: list[str] = []
    for part in (series, *series.findall("derivation/derivedSeries")):
        for annotations in part.iterfind("subjectOf/annotationSet"):
            if annotations.find("author/assignedEntity/assignedAuthorType/assignedPerson") is not None:
                continue
            for annotation in _walk(annotations, beats=part is not series):
                code = text_at(annotation, "code@code").upper().removesuffix("_GL")
                if code in _MEASUREMENTS:
                    key, units = _MEASUREMENTS[code]
                    number, unit = number_at(annotation, "value@value"), units.get(text_at(annotation, "value@unit"))
                    if number is not None and unit is not None:
                        measurements.setdefault(key, number * unit)
                elif code in _STATEMENTS:
                    statements.append(text_at(annotation, "value") or text_at(annotation, "value@displayName"))
    return measurements, statements


def _walk(node: Element, beats: bool) -> Iterator[Element]:
    """Annotations in a set or an annotation, without those of one lead, and, unless `beats`, of one beat."""
    for annotation in node.iterfind("component/annotation"):
        boundaries = annotation.iterfind("support/supportingROI/component/boundary/code")
        of_one_lead = any(text_at(code, "@code").startswith(_LEAD_PREFIX) for code in boundaries)
        if not of_one_lead and (beats or text_at(annotation, "code@code") != "MDC_ECG_BEAT"):
            yield annotation
            yield from _walk(annotation, beats)


def _filters(series: Element) -> Iterator[tuple[str, Fraction | None]]:
    for variable in series.iterfind("controlVariable/controlVariable"):
        kind = text_at(variable, "code@code").rpartition("_FILTER_")[2]
        for part in variable.iterfind("component/controlVariable"):
            code, unit = text_at(part, "code@code"), _HZ.get(text_at(part, "value@unit"))
            number = number_at(part, "value@value")
            if kind in _FILTERS and code.endswith(("_CUTOFF_FREQ", "_NOTCH_FREQ")) and number is not None and unit:
                yield _FILTERS[kind], number * unit


__all__ = ["is_aecg", "read_aecg"]
