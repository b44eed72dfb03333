"""GE MUSE XML: equal to the truth, or refused by name; the patient stays in the file."""

import gzip

import numpy as np
import pytest

from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.muse_ecgclip import is_muse, read_muse
from tests.modeling_ecgclip.vendor_samples import check_physiology, heart_rate_of, vendor_file
from tests.modeling_ecgclip.xml_writers import PRIVATE, STATEMENTS, STORED_LEADS, counts_of_12_leads, muse


COUNTS = counts_of_12_leads()[[0, 1, 6, 7, 8, 9, 10, 11]]


def read(tmp_path, content):
    path = tmp_path / "ecg.xml"
    path.write_bytes(content)
    return read_muse(path)


def test_rhythm_and_not_the_median_beat_equals_the_truth(tmp_path):
    record = read(tmp_path, muse(COUNTS))
    np.testing.assert_array_equal(record.signal, 4.88 * COUNTS)
    assert (record.sampling_rate, record.unit, record.lead_names) == (500.0, "uV", STORED_LEADS)
    ecg = EcgFeatureExtractor()(np.tile(record.signal, 4), 500, record.lead_names, record.unit)["input_values"][0]
    assert ecg.shape == (12, 4096)
    np.testing.assert_allclose(ecg[2], ecg[1] - ecg[0], atol=1e-4)  # III follows from what is stored


@pytest.mark.parametrize(
    ("options", "scale", "rate"),
    [
        ({"base": "250"}, 4.88, 250),
        ({"base": "5", "exponent": "2"}, 4.88, 500),
        ({"base": "500000", "exponent": "-3"}, 4.88, 500),
        ({"scale": "2.5", "unit": "uV"}, 2.5, 500),
        ({"scale": "0.005", "unit": "MILLIVOLTS"}, 5, 500),
        ({"crc": None}, 4.88, 500),
        ({"crc": "0"}, 4.88, 500),
    ],
)
def test_scale_unit_and_rate(tmp_path, options, scale, rate):
    record = read(tmp_path, muse(COUNTS, **options))
    np.testing.assert_array_equal(record.signal, scale * COUNTS)
    assert record.sampling_rate == rate


def test_extremes_of_sixteen_bits(tmp_path):
    counts = np.array([[-32768, 32767, 0, -1]])
    np.testing.assert_array_equal(read(tmp_path, muse(counts, ("I",))).signal, 4.88 * counts)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"base": None}, "expected SampleBase: found none"),
        ({"base": "fast"}, "expected SampleBase as a number: found 'fast'"),
        ({"exponent": None}, "expected SampleExponent: found none"),
        ({"exponent": "2.5"}, "expected SampleExponent as a whole number: found '2.5'"),
        ({"exponent": "99"}, "expected SampleExponent within 9: found 99"),
        ({"base": "500", "exponent": "9"}, "sampling_rate must lie between"),
        ({"scale": None}, "lead I: expected LeadAmplitudeUnitsPerBit: found none"),
        ({"scale": "4,88"}, "lead I: expected LeadAmplitudeUnitsPerBit as a number: found '4,88'"),
        ({"scale": "0"}, "lead I: expected LeadAmplitudeUnitsPerBit other than 0"),
        ({"unit": None}, "lead I: expected LeadAmplitudeUnits: found none"),
        ({"unit": "BITS"}, "lead I: expected a unit of voltage, such as uV or mV: found 'BITS'"),
        ({"size": None}, "lead I: expected LeadSampleSize: found none"),
        ({"size": "4"}, "lead I: expected samples of 2 bytes without a baseline: found 4 bytes"),
        ({"kind": "Median"}, "expected one rhythm waveform: found 0, among 2 waveforms"),
        ({"extra": "<Waveform><WaveformType>Rhythm</WaveformType></Waveform>"}, "found 2, among 3 waveforms"),
        ({"crc": "12345"}, "lead I: expected LeadDataCRC32 12345, as stated: found"),
        ({"leads": ("I", "i", *STORED_LEADS[2:])}, "expected each lead once: found I i"),
    ],
)
def test_what_is_not_stated_is_refused_by_name(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, muse(COUNTS, **options))
    assert str(error.value).startswith(str(tmp_path / "ecg.xml"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<SampleType>CONTINUOUS_SAMPLES", "<SampleType>EPOCHS", "expected continuous samples: found 'EPOCHS'"),
        ("<NumberofLeads>8", "<NumberofLeads>12", "expected 12 leads, as stated: found 8"),
        ("SampleCountTotal>600", "SampleCountTotal>601", "expected LeadSampleCountTotal 601, as stated: found 600"),
        ("ByteCountTotal>1200", "ByteCountTotal>99", "expected LeadByteCountTotal 99, as stated: found 1200"),
        ("<LeadLowLimit>-32768", "<LeadLowLimit>-100", "expected samples within LeadLowLimit -100: found one beyond"),
        ("<LeadHighLimit>32767", "<LeadHighLimit>100", "expected samples within LeadHighLimit 100: found one beyond"),
        ("<FirstSampleBaseline>0", "<FirstSampleBaseline>7", "found 2 bytes, FirstSampleBaseline '7'"),
        ("<LeadID>V6", "<LeadID>", "expected LeadID: found none"),
        ("<WaveFormData>", "<WaveFormData>*", "lead I: expected WaveFormData in base64"),
        ("WaveFormData>", "WaveForm>", "lead I: expected samples in WaveFormData: found none"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_by_name(tmp_path, old, new, reason):
    content = muse(COUNTS).decode("latin-1")
    assert old in content
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, content.replace(old, new).encode("latin-1"))


def test_leads_that_begin_later_are_refused(tmp_path):
    content = muse(COUNTS).decode("latin-1")
    later = "<LeadTimeOffset>100".join(content.rsplit("<LeadTimeOffset>0", 1))
    with pytest.raises(ValueError, match="expected leads that begin together: found the offsets"):
        read(tmp_path, later.encode("latin-1"))


def test_a_claim_of_many_samples_takes_no_memory(tmp_path):
    content = muse(COUNTS).decode("latin-1").replace("<LeadSampleCountTotal>600", "<LeadSampleCountTotal>999999999999")
    with pytest.raises(ValueError, match="as stated: found 600"):
        read(tmp_path, content.encode("latin-1"))


def test_base64_of_more_than_an_ecg_is_refused(tmp_path):
    content = muse(np.zeros((1, 2), int), ("I",)).decode("latin-1")
    at = content.rindex("<WaveFormData>") + len("<WaveFormData>")
    bomb = gzip.compress((content[:at] + "A" * 20_000_000 + content[at:]).encode("latin-1"))
    assert len(bomb) < 50_000
    with pytest.raises(ValueError, match="expected WaveFormData in base64: at most 12,000,000 bytes: found 15,000"):
        read(tmp_path, bomb)


def test_metadata_says_what_the_machine_said_before_anybody_edited_it(tmp_path):
    metadata = read(tmp_path, muse(COUNTS)).metadata
    assert metadata == {
        "format": "GE MUSE XML",
        "device": {"model": "MAC55", "archive": "9.0.0"},
        "measurements": {"heart_rate_bpm": 64, "qrs_duration_ms": 142, "p_axis_deg": 51},
        "statements": [*STATEMENTS, "When compared with ECG of [date] [date], no change"],
        "statements_withheld": 2,
        "age_years": 62,
        "sex": "female",
        "filters": {"highpass_hz": 0.16, "lowpass_hz": 150, "notch_hz": 60},
        "leads_off": ["V6"],
    }
    texts = [*PRIVATE.values(), "03-21-1957", "11-05-2019", "Strand"]
    assert not [text for text in texts if text.casefold() in repr(metadata).casefold()]


def test_what_is_there_where_nobody_edited(tmp_path):
    content = muse(COUNTS).decode("latin-1").replace("OriginalResting", "Other").replace("OriginalDiag", "OtherDiag")
    metadata = read(tmp_path, content.encode("latin-1")).metadata
    assert metadata["measurements"] == {"heart_rate_bpm": 99, "qrs_duration_ms": 140}
    assert metadata["statements"] == []  # "Edited by a doctor" is about a person
    assert metadata["statements_withheld"] == 1


def test_kind_of_file_is_told_by_its_content():
    assert is_muse(muse(COUNTS)[:4096])
    assert not is_muse(b"<restingecgdata/>")


def test_real_file(sample_data):
    path = vendor_file(sample_data, "braveheart_example1.xml")
    assert is_muse(path.read_bytes()[:4096])
    record = read_muse(path)
    assert (record.signal.shape, record.sampling_rate, record.unit) == ((8, 5000), 500.0, "uV")
    assert record.lead_names == STORED_LEADS
    check_physiology(record, limb_uv=0)
    assert heart_rate_of(record) == pytest.approx(record.metadata["measurements"]["heart_rate_bpm"], abs=1)
    assert record.metadata["filters"] == {"highpass_hz": 0.16, "lowpass_hz": 150, "notch_hz": 60}
    assert "SKJ18310123PA" not in repr(record.metadata)
