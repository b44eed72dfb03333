"""HL7 aECG: equal to the truth, or refused by name; the patient stays in the file."""

import numpy as np
import pytest

from modeling_ecgclip.aecg_ecgclip import is_aecg, read_aecg
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from tests.modeling_ecgclip.vendor_samples import (
    check_physiology,
    heart_rate_of,
    private_texts_of_file,
    vendor_file,
)
from tests.modeling_ecgclip.xml_writers import LEADS, PRIVATE, STATEMENTS, aecg, counts_of_12_leads


COUNTS = counts_of_12_leads()


def read(tmp_path, content):
    path = tmp_path / "ecg.xml"
    path.write_bytes(content)
    return read_aecg(path)


def refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, content)
    assert str(error.value).startswith(str(tmp_path / "ecg.xml"))


def test_rhythm_equals_the_truth(tmp_path):
    record = read(tmp_path, aecg(COUNTS))
    np.testing.assert_array_equal(record.signal, 2.5 * COUNTS)
    assert (record.sampling_rate, record.unit, record.signal.dtype) == (500.0, "uV", np.float64)
    assert record.lead_names == ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
    ecg = EcgFeatureExtractor()(np.tile(record.signal, 4), 500, record.lead_names, record.unit)["input_values"]
    assert ecg.shape == (1, 12, 4096)


@pytest.mark.parametrize(
    ("scale", "unit", "origin", "expected"),
    [
        ("2.5", "uV", "0", 2.5 * COUNTS),
        ("0.0025", "mV", "0", 2.5 * COUNTS),
        ("2500", "nV", "0", 2.5 * COUNTS),
        ("2.5e-6", "V", "0", 2.5 * COUNTS),
        ("1", "uV", "-120", COUNTS - 120.0),
        ("-5", "\u00b5V", "10", 10 - 5.0 * COUNTS),
    ],
)
def test_origin_scale_and_unit(tmp_path, scale, unit, origin, expected):
    np.testing.assert_array_equal(read(tmp_path, aecg(COUNTS, scale=scale, unit=unit, origin=origin)).signal, expected)


@pytest.mark.parametrize(
    ("increment", "unit", "rate"),
    [
        ("0.002", "s", 500),
        ("2", "ms", 500),
        ("1000", "us", 1000),
        ("4E-3", "s", 250),
        ("0.00390625", "s", 256),
        ("0.003906", "s", 256),  # 255.98 to 256.05 Hz
        ("0.00333", "s", 300),  # 299.85 to 300.75 Hz
        ("3.9063", "ms", 256),
        ("0.00277469", "s", 1 / 0.00277469),  # 360.40 Hz, and no whole rate
    ],
)
def test_sampling_rate_is_the_one_that_is_printed(tmp_path, increment, unit, rate):
    assert read(tmp_path, aecg(COUNTS, increment=increment, increment_unit=unit)).sampling_rate == pytest.approx(
        rate, abs=1e-9
    )


def test_leads_are_named_as_their_codes_end(tmp_path):
    assert read(tmp_path, aecg(COUNTS[:2], ("V3R", "AVRNEG"))).lead_names == ("V3R", "-aVR")


def test_several_sets_of_leads_are_read_where_they_are_of_one_time(tmp_path):
    content = aecg(COUNTS).decode()
    cut = content.index("</sequenceSet>")
    time = content[content.index("<sequenceSet>") : content.index("</component>", content.index("<sequenceSet>"))]
    lead = aecg(COUNTS[:1] + 1, ("V7",)).decode()
    lead = lead[lead.index('<component><sequence><code code="MDC_ECG_LEAD_V7"') : lead.index("</sequenceSet>")]
    second = f"</sequenceSet></component><component>{time}</component>{lead}"
    record = read(tmp_path, (content[:cut] + second + content[cut:]).encode())
    assert record.lead_names[-1] == "V7"
    np.testing.assert_array_equal(record.signal[-1], 2.5 * (COUNTS[0] + 1))
    later = second.replace("20191105084137", "20191105084140")
    refused(tmp_path, (content[:cut] + later + content[cut:]).encode(), "recorded at once: found 2 times")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"increment": None}, "expected value/increment@value: found none"),
        ({"increment_unit": None}, "expected value/increment@unit: found none"),
        ({"increment_unit": "min"}, "expected an increment in ms, s, us: found 'min'"),
        ({"increment": "0"}, "expected an increment above 0"),
        ({"increment": "-0.002"}, "expected an increment above 0"),
        ({"increment": "0.0033"}, "tells the sampling rate: 0.0033 s is 299 to 307 Hz"),
        ({"increment": "1e-7"}, "sampling_rate must lie between"),
        ({"scale": None}, "lead I: expected value/scale@value: found none"),
        ({"scale": "0"}, "lead I: expected a scale that is not 0"),
        ({"scale": "much"}, "lead I: expected value/scale@value as a number: found 'much'"),
        ({"unit": None}, "lead I: expected value/origin@unit: found none"),
        ({"unit": "mmHg"}, "lead I: expected a unit of voltage, such as uV or mV: found 'mmHg'"),
        ({"origin": None}, "lead I: expected value/origin@value: found none"),
        ({"value_type": "SLIST_INT"}, "lead I: expected values as SLIST_PQ, with origin and scale: found 'SLIST_INT'"),
        ({"code": "REPRESENTATIVE_BEAT"}, "expected one rhythm series: found 0, among 1 series"),
        ({"extra": "<component><series><code code='RHYTHM'/></series></component>"}, "found 2, among 2 series"),
        ({"leads": ("I",) * 12}, "expected each lead once: found I I I"),
        ({"scale": "1e9", "unit": "V"}, "expected samples below 1e\\+06 mV"),
    ],
)
def test_what_is_not_stated_is_refused_by_name(tmp_path, options, reason):
    refused(tmp_path, aecg(COUNTS, **options), reason)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("GLIST_TS", "SLIST_TS", "expected times as head and increment: found 'SLIST_TS'"),
        ("MDC_ECG_LEAD_V6", "MDC_RESP", "expected sequences of MDC_ECG_LEAD_I and so on: found 'MDC_RESP'"),
        ("TIME_ABSOLUTE", "NO_TIME", "expected one sequence of times in each set of leads: found 0"),
        ("<digits>", "<digits>1 ", "expected leads of one length"),
        ("<digits>", "<digits>nan ", "lead I: expected digits as decimal numbers: found 'n'"),
        ("<digits>", "<digits><b/>", "lead I: expected samples in value/digits: found none"),
        ("digits>", "figures>", "lead I: expected samples in value/digits: found none"),
    ],
)
def test_contradictions_are_refused_by_name(tmp_path, old, new, reason):
    content = aecg(COUNTS).decode()
    assert old in content
    refused(tmp_path, content.replace(old, new, 1 if old == "<digits>" and new.endswith(" ") else -1).encode(), reason)


def test_metadata_says_what_the_machine_says_of_the_whole_recording(tmp_path):
    metadata = read(tmp_path, aecg(COUNTS)).metadata
    assert metadata == {
        "format": "HL7 aECG",
        "device": {"manufacturer": "Example Instruments", "model": "Recorder 9", "software": "1.2"},
        # Not the 61 of a person, not the QRS of one beat, and no unit that nobody knows.
        "measurements": {"heart_rate_bpm": 64, "qt_interval_ms": 380, "qrs_duration_ms": 142},
        "statements": [*STATEMENTS, "When compared with ECG of [date] [date], no change"],
        "statements_withheld": 2,
        "age_years": 62,
        "sex": "female",
        "filters": {"lowpass_hz": 150},
    }
    assert not [text for text in PRIVATE.values() if text.casefold() in repr(metadata).casefold()]


def test_kind_of_file_is_told_by_its_content():
    assert is_aecg(aecg(COUNTS)[:4096])
    assert not is_aecg(b"<RestingECG/>")


@pytest.mark.parametrize("file_name", ["ecgtoolkit_Example.aecg.xml", "fda_subject1_0.xml"])
def test_real_files(sample_data, file_name):
    path = vendor_file(sample_data, file_name)
    assert is_aecg(path.read_bytes()[:4096])
    record = read_aecg(path)
    assert (record.signal.shape, record.sampling_rate, record.unit) == ((12, 5000), 500.0, "uV")
    assert {name.upper() for name in record.lead_names} == {name.upper() for name in LEADS}
    check_physiology(record, limb_uv=2.5)  # one digit
    assert heart_rate_of(record) == pytest.approx(71.3, abs=1)
    assert record.metadata["measurements"]["qrs_duration_ms"] == 120
    assert (record.metadata["age_years"], record.metadata["sex"]) == (46, "male")
    assert record.metadata["statements"] == ["Sinus Rhythm"]
    private = private_texts_of_file(path, "componentOf", "id", "location", "performer", "secondaryPerformer", "name",
                                    "birthTime", "effectiveTime", "subjectFindingComment")  # fmt: skip
    private -= {"Mortara Instrument, Inc."}  # the maker of the device
    assert {"Clark", "19530508", "SBJ-123"} <= private or {"Clark", "subject1"} <= private
    assert not [text for text in private if text in repr(record.metadata)]
