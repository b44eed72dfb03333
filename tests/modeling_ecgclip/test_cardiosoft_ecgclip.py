"""CardioSoft and CASE XML: equal to the truth, or refused by name; the patient stays in the file."""

import numpy as np
import pytest

from modeling_ecgclip.cardiosoft_ecgclip import is_cardiosoft, read_cardiosoft
from tests.modeling_ecgclip.xml_writers import LEADS, PRIVATE, STATEMENTS, cardiosoft, counts_of_12_leads


COUNTS = counts_of_12_leads()


def read(tmp_path, content):
    path = tmp_path / "ecg.xml"
    path.write_bytes(content)
    return read_cardiosoft(path)


@pytest.mark.parametrize(
    ("options", "resolution", "rate"),
    [
        ({}, 5, 500),
        ({"separator": ","}, 5, 500),
        ({"resolution": "4.88", "rate": "250"}, 4.88, 250),
        ({"resolution_unit": "UVPERLSB", "rate_unit": "HZ"}, 5, 500),
        ({"total": None}, 5, 500),
    ],
)
def test_strip_and_not_the_median_beat_equals_the_truth(tmp_path, options, resolution, rate):
    record = read(tmp_path, cardiosoft(COUNTS, **options))
    np.testing.assert_array_equal(record.signal, resolution * COUNTS.astype(float))
    assert (record.sampling_rate, record.unit, record.lead_names) == (rate, "uV", LEADS)


def test_a_strip_below_another_element_and_a_comma_at_the_end(tmp_path):
    content = cardiosoft(COUNTS).decode("latin-1").replace("<StripData>", "<Strip><StripData>")
    content = content.replace("</StripData>", "</StripData></Strip>").replace("</WaveformData>", ",</WaveformData>")
    np.testing.assert_array_equal(read(tmp_path, content.encode("latin-1")).signal, 5.0 * COUNTS)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": None}, "expected SampleRate: found none"),
        ({"rate_unit": None}, "expected SampleRate@units: found none"),
        ({"rate_unit": "kHz"}, "expected SampleRate in hz: found 'kHz'"),
        ({"resolution": None}, "expected Resolution: found none"),
        ({"resolution": "-5"}, "expected a Resolution above 0: found -5"),
        ({"resolution_unit": None}, "expected Resolution@units: found none"),
        ({"resolution_unit": "mVperLsb"}, "expected Resolution in uvperlsb: found 'mVperLsb'"),
        ({"total": "4999"}, "lead I: expected 4999 samples, as stated: found 600"),
        ({"strip": "OtherData"}, "expected one strip of a resting ECG, StripData: found 0"),
        ({"strip": "FullDisclosure"}, "StripData: found 0 and a full disclosure"),
        ({"extra": "<StripData/>"}, "StripData: found 2"),
        ({"leads": ("I",) * 12}, "expected each lead once: found I I I"),
        ({"leads": ("",) * 12}, "expected @lead: found none"),
        ({"separator": " "}, "lead I: expected samples as decimal numbers"),
        ({"separator": ",,"}, "lead I: expected samples as decimal numbers"),
    ],
)
def test_what_is_not_stated_is_refused_by_name(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, cardiosoft(COUNTS, **options))
    assert str(error.value).startswith(str(tmp_path / "ecg.xml"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<NumberOfLeads>12", "<NumberOfLeads>8", "expected 8 leads, as stated: found 12"),
        ('lead="V6">', 'lead="V6">7,', "lead V6: expected 600 samples, as stated: found 601"),
    ],
)
def test_contradictions_are_refused_by_name(tmp_path, old, new, reason):
    content = cardiosoft(COUNTS).decode("latin-1")
    assert old in content
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, content.replace(old, new).encode("latin-1"))


def test_metadata_says_what_the_machine_says(tmp_path):
    metadata = read(tmp_path, cardiosoft(COUNTS)).metadata
    assert metadata == {
        "format": "GE CardioSoft XML",
        "device": {"model": "CASE", "software": "6.7"},
        "measurements": {"heart_rate_bpm": 64, "pr_interval_ms": 150},  # no QT in a unit that nobody knows
        "statements": [*STATEMENTS, "When compared with ECG of [date] [date], no change"],
        "statements_withheld": 2,
        "age_years": 62,
        "sex": "female",
        "filters": {"highpass_hz": 0.01, "lowpass_hz": 40, "notch_hz": 50},
    }
    texts = [*PRIVATE.values(), "Strand", "Hallvard", "1957", "2019"]
    assert not [text for text in texts if text.casefold() in repr(metadata).casefold()]


def test_kind_of_file_is_told_by_its_content():
    assert is_cardiosoft(cardiosoft(COUNTS)[:4096])
    assert not is_cardiosoft(b"<RestingECG/>")
