"""What the readers of recorders' XML share."""

from fractions import Fraction
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest

from modeling_ecgclip.leads_ecgclip import canonical_lead_name
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.vendor_ecgclip import (
    MAX_PRIVATE_TEXTS,
    MAX_STATEMENTS,
    build_record,
    check_lead_count,
    in_microvolts,
    private_texts,
    vendor_metadata,
    years_between,
    years_of,
)
from tests.modeling_ecgclip.fuzzing import time_limit
from tests.modeling_ecgclip.vendor_samples import vendor_file


def metadata_of(statements=(), private=(), device=None, age=None, sex="", name="r"):
    return vendor_metadata("format", device or {}, {}, statements, private, age, sex, {}, name)


def test_records_are_whole_or_refused():
    leads = [("I", np.arange(3.0)), ("II", np.arange(3.0) * 2)]
    record = build_record(leads, Fraction(500), {"a": 1}, "r")
    np.testing.assert_array_equal(record.signal, [[0, 1, 2], [0, 2, 4]])
    assert (record.lead_names, record.sampling_rate, record.unit, record.metadata) == (
        ("I", "II"),
        500.0,
        "uV",
        {"a": 1},
    )
    for other, rate, reason in (
        ([], 500, "r: expected 1 to 64 leads: found 0"),
        ([("I", np.arange(3.0)), ("i", np.arange(3.0))], 500, "r: expected each lead once: found I i"),
        ([("I", np.arange(3.0)), ("II", np.arange(2.0))], 500, "r: expected leads of one length: found {'I': 3, 'II"),
        ([("I", np.empty(0))], 500, "r: expected samples: found none"),
        (leads, 1, "r: sampling_rate must lie between"),
        ([("I", np.full(3, 1e10))], 500, "r: expected samples below"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            build_record(other, Fraction(rate), {}, "r")
    with pytest.raises(ValueError, match="r: expected 1 to 64 leads: found 65"):
        check_lead_count(65, None, "r")


@pytest.mark.parametrize(
    ("number", "unit", "microvolts"),
    [("2.5", "uV", 2.5), ("0.0025", "mV", 2.5), ("4880", "nV", 4.88), ("4.88", "MICROVOLTS", 4.88), ("1e-6", "V", 1),
     ("3", "\u00b5V", 3), ("3", "\u03bcV", 3)],
)  # fmt: skip
def test_voltages_become_microvolts_exactly(number, unit, microvolts):
    assert float(in_microvolts(Fraction(number), unit, "r")) == microvolts


@pytest.mark.parametrize("unit", ["", "ms", "volts?", "kV", "1"])
def test_what_is_no_voltage_is_refused(unit):
    with pytest.raises(ValueError, match="^r: expected a unit of voltage"):
        in_microvolts(Fraction(1), unit, "r")


@pytest.mark.parametrize(
    "line",
    [
        "Confirmed by SMITH, JOHN (12) on 1/2/2003 4:05:06 PM",
        "Unconfirmed report, reviewed electronically by J. Doe",
        "Referred by: Dr. X",
        "Referring physician: X",
        "Technician: ab",
        "Patient name: Y",
        "MRN: 1234567",
        "Interpreted by the on-call team",
        "Dr Who has seen this",
        "A. Smith, M.D.",
        "ECG of Ann-Marie Li",
        "PID 77-123",
    ],
)
def test_lines_on_people_are_withheld_and_counted(line):
    metadata = metadata_of(["Sinus rhythm", line], private=["Ann-Marie Li", "77-123"])
    assert metadata["statements"] == ["Sinus rhythm"]
    assert metadata["statements_withheld"] == 1


@pytest.mark.parametrize(
    "line",
    [
        "Sinus bradycardia (rate< 50)",
        "2:1 AV block",
        "QRSd >115mS, not LBBB/RBBB",
        "ST >0.20 mV in V1-V4 & LVH",
        "Unconfirmed diagnosis",
        "Abnormal R-wave progression, caused by lead placement",
        "PR 0.14 s, QTc 412/430 ms",
        ">>> Acute MI <<<",
        "Patient may be paced",
        "Considering lidocaine",
    ],
)
def test_lines_on_hearts_stay_as_they_are(line):
    metadata = metadata_of([f"  {line}\n"], private=["Li", "X", "00", "Ida"])
    assert metadata["statements"] == [line]
    assert "statements_withheld" not in metadata


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("compared with 01-JAN-2018 07:30", "compared with [date] [date]"),
        ("compared with 2018-01-01", "compared with [date]"),
        ("compared with 1/2/03, no change", "compared with [date], no change"),
        ("compared with 20180101", "compared with [date]"),
        ("compared with 1.2.2018 at 10:20:30", "compared with [date] at [date]"),
    ],
)
def test_dates_and_times_are_masked(line, kept):
    assert metadata_of([line])["statements"] == [kept]


def test_devices_that_name_a_person_are_left_out():
    device = {"model": "Cart of Ann-Marie Li", "software": "1.2", "maker": ""}
    assert metadata_of(private=["Ann-Marie Li"], device=device)["device"] == {"software": "1.2"}


def test_private_texts_are_names_in_words_and_others_whole():
    names = fromstring("<name use='L'>Ann-Marie <family>Li Chen</family></name>")
    places = fromstring("<place id='7'>Heart Station</place>")
    texts = {text.strip() for text in private_texts([names, None], [places])}
    assert {"ann", "marie", "li", "chen", "Li Chen", "Heart Station", "7"} <= texts
    assert "heart" not in texts
    metadata = metadata_of(["Low heart rate", "Chen", "ann"], private=sorted(texts))
    assert metadata["statements"] == ["Low heart rate"]


@pytest.mark.parametrize(
    ("age", "sex", "expected"),
    [
        (Fraction(62), "FEMALE", (62, "female")),
        (Fraction(1, 4), "m", (0.25, "male")),
        (Fraction(0), "F", (0, "female")),
        (Fraction(-1), "Unknown", (None, None)),
        (Fraction(121), "", (None, None)),
        (None, "undifferentiated", (None, None)),
    ],
)
def test_age_and_sex_are_plausible_or_unknown(age, sex, expected):
    metadata = metadata_of(age=age, sex=sex)
    assert (metadata["age_years"], metadata["sex"]) == expected


def test_ages():
    assert (years_of(Fraction(6), "months"), years_of(Fraction(61), "YEARS")) == (Fraction(1, 2), 61)
    assert (years_of(Fraction(6), "blinks"), years_of(None, "years")) == (None, None)
    assert float(years_of(Fraction(1461), "d")) == 4
    assert years_between("1957-03-21", "2019-03-20") == 61
    assert years_between("19570321", "20190321084137.000") == 62
    for birth, recorded in (("", "2019-01-01"), ("1957-13-01", "2019-01-01"), ("1957-03-21", "03-21-2019")):
        assert years_between(birth, recorded) is None


def test_long_and_many_texts_are_bounded():
    with time_limit("long texts"):
        metadata = metadata_of(["x" * 10_000_000, "word " * 2_000_000], private=["a b " * 5_000_000])
        assert max(map(len, metadata["statements"])) <= 500
        with pytest.raises(ValueError, match=f"^r: expected at most {MAX_STATEMENTS} statements"):
            metadata_of(["Sinus rhythm"] * 100_000)
        with pytest.raises(ValueError, match=f"{MAX_PRIVATE_TEXTS:,} texts on the patient: found 0 and 100,000"):
            metadata_of(private=[f"id{i}" for i in range(100_000)])
        metadata_of(["ab " * 200] * MAX_STATEMENTS, private=[f"ab ab id{i}" for i in range(MAX_PRIVATE_TEXTS)])


def test_elements_in_elements_are_looked_at_once():
    node = fromstring("<a>" * 60 + "<b c='x'/>" * 20_000 + "</a>" * 60)
    with time_limit("nested elements"):
        assert set(private_texts(node.iter(), node.iter())) == {"x", ""}


def test_one_recording_in_three_formats(sample_data):
    """A recording that one converter wrote as DICOM, SCP-ECG and aECG is the same in all three to a microvolt."""
    dicom, *others = (
        read_ecg(vendor_file(sample_data, f"ecgtoolkit_Example.{ending}")) for ending in ("dcm", "scp", "aecg.xml")
    )
    for other in others:
        assert (other.sampling_rate, other.unit) == (dicom.sampling_rate, dicom.unit) == (500, "uV")
        leads = [canonical_lead_name(name) for name in other.lead_names]
        order = [leads.index(canonical_lead_name(name)) for name in dicom.lead_names]
        assert len(order) == 12
        np.testing.assert_allclose(other.signal[order], dicom.signal, rtol=0, atol=1)
