"""Philips Sierra XML: equal to the truth, or refused by name; the patient stays in the file."""

import base64
import gzip

import numpy as np
import pytest

from modeling_ecgclip.sierra_ecgclip import is_sierra, read_sierra
from tests.modeling_ecgclip.vendor_samples import (
    check_physiology,
    heart_rate_of,
    private_texts_of_file,
    vendor_file,
)
from tests.modeling_ecgclip.xml_writers import LEADS, PRIVATE, STATEMENTS, counts_of_12_leads, sierra, xli


COUNTS = counts_of_12_leads()
# The mark of 1 mV at 5 uV, as recorders put it behind 10.6 s: 0.1 s of nothing, 0.2 s of it, 0.1 s of nothing.
MARK = np.repeat([0, 200, 0], [50, 100, 50])


def read(tmp_path, content):
    path = tmp_path / "ecg.xml"
    path.write_bytes(content)
    return read_sierra(path)


@pytest.mark.parametrize("version", ["1.03", "1.04", "1.04.01", "1.04.02"])
@pytest.mark.parametrize("stored", [{}, {"encoding": "Plain"}, {"compression": "XLI"}, {"text_encoding": "UTF-16"}])
def test_rhythm_and_not_the_representative_beat_equals_the_truth(tmp_path, version, stored):
    record = read(tmp_path, sierra(COUNTS, version=version, **stored))
    np.testing.assert_array_equal(record.signal, 5.0 * COUNTS)
    # 1.04 states how the waveform is now, and 1000 Hz and 1 uV for how it was acquired.
    assert (record.sampling_rate, record.unit, record.lead_names) == (500.0, "uV", LEADS)


def test_compressed_leads_need_not_obey_the_algebra(tmp_path):
    counts = np.random.default_rng(5).integers(-900, 900, (12, 600))
    np.testing.assert_array_equal(read(tmp_path, sierra(counts, compression="XLI")).signal, 5.0 * counts)


def test_more_leads_than_twelve_and_spare_channels(tmp_path):
    counts = np.concatenate([COUNTS, COUNTS[6:9] + 3])
    leads = (*LEADS, "V7", "V8", "V9")
    spare = base64.b64encode(xli(counts, spare_channels=1)).decode()
    record = read(tmp_path, sierra(counts, leads, compression="XLI", samples=spare))
    np.testing.assert_array_equal(record.signal, 5.0 * counts)
    assert record.lead_names == leads


def test_gzip_around_the_document(tmp_path):
    content = gzip.compress(sierra(COUNTS, compression="XLI"))
    assert is_sierra(content[:4096])
    np.testing.assert_array_equal(read(tmp_path, content).signal, 5.0 * COUNTS)


@pytest.mark.parametrize(
    ("options", "expected", "rate"),
    [
        ({"resolution": "2.5"}, 2.5 * COUNTS, 500),
        ({"rate": "1000", "resolution": "1.25"}, 1.25 * COUNTS, 1000),
        ({"offset": "100"}, 5.0 * (COUNTS - 100), 500),
    ],
)
@pytest.mark.parametrize("version", ["1.03", "1.04"])
def test_scale_offset_and_rate(tmp_path, version, options, expected, rate):
    record = read(tmp_path, sierra(COUNTS, version=version, **options))
    np.testing.assert_array_equal(record.signal, expected)
    assert record.sampling_rate == rate


def test_an_offset_that_is_not_stated_is_0_since_1_04(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, sierra(COUNTS, offset=None)).signal, 5.0 * COUNTS)
    with pytest.raises(ValueError, match="expected signaloffset: found none"):
        read(tmp_path, sierra(COUNTS, version="1.03", offset=None))


@pytest.mark.parametrize("stored", [{}, {"compression": "XLI"}, {"encoding": "Plain"}])
def test_the_calibration_mark_is_no_heart(tmp_path, stored):
    counts = np.concatenate([COUNTS, np.tile(MARK, (12, 1))], axis=1)
    record = read(tmp_path, sierra(counts, **stored))
    np.testing.assert_array_equal(record.signal, 5.0 * COUNTS)
    assert record.metadata["calibration_mark_s"] == 0.4


@pytest.mark.parametrize(
    "tail",
    [
        np.zeros((12, 200), int),  # no mark
        np.tile(MARK // 2, (12, 1)),  # not 1 mV
        np.concatenate([np.tile(MARK, (11, 1)), [MARK + 1]]),  # not in all leads
    ],
)
def test_what_is_no_calibration_mark_stays(tmp_path, tail):
    counts = np.concatenate([COUNTS, tail], axis=1)
    record = read(tmp_path, sierra(counts))
    np.testing.assert_array_equal(record.signal, 5.0 * counts)
    assert "calibration_mark_s" not in record.metadata


def test_a_calibration_alone_is_no_ecg(tmp_path):
    with pytest.raises(ValueError, match="ecg.xml: expected samples: found none"):
        read(tmp_path, sierra(np.tile(MARK, (12, 1))))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"version": "1.02"}, "expected version 1.03, 1.04, 1.04.01, 1.04.02: found '1.02'"),
        ({"version": "1.03", "rate": None, "duration": "1200"}, "samplespersecond or samplingrate: found none"),
        ({"version": "1.03", "resolution": None}, "expected resolution or signalresolution: found none"),
        ({"rate": None, "duration": "1200"}, "samplespersecond or samplingrate: found none"),
        ({"resolution": None}, "expected resolution or signalresolution: found none"),
        ({"resolution": "0"}, "expected a resolution above 0: found 0"),
        ({"resolution": "fine"}, "expected @resolution as a number: found 'fine'"),
        ({"rate": "1e9", "duration": "1200"}, "at most 6,000,000 values"),
        ({"duration": None}, "expected @durationperchannel: found none"),
        ({"duration": "1201"}, "expected a duration of whole samples: found 600.5"),
        ({"duration": "1100"}, "expected 6,600 samples, as stated: found 7,200"),
        ({"duration": "1100", "compression": "XLI"}, "XLI channel 1: expected 1,100 bytes unpacked: found more"),
        ({"duration": "1300", "compression": "XLI"}, "XLI channel 1: expected 1,300 bytes unpacked: found 1,200"),
        ({"duration": "9e12"}, "expected one ECG of at most 6,000,000 values"),
        ({"bits": None}, "expected bitspersample or nbitspersample: found none"),
        ({"bits": "14"}, "expected signed samples of 16 bits: found 14 bits"),
        ({"signed": "False"}, "expected signed samples of 16 bits: found 16 bits, signalsigned 'false'"),
        ({"signed": None}, "signalsigned ''"),
        ({"offset": "0.5"}, "expected @signaloffset as a whole number: found '0.5'"),
        ({"encoding": "Hex"}, "expected samples in Base64, plain or as XLI, or as decimal numbers: found 'Hex'"),
        ({"compression": "Huffman"}, "found 'Base64', compression 'Huffman'"),
        ({"samples": "", "compression": "XLI"}, "expected samples in parsedwaveforms: found none"),
        ({"samples": "AAAA"}, "expected samples of 16 bits: found 3 bytes"),
        ({"samples": "****"}, "expected parsedwaveforms in base64"),
        ({"samples": "1 2 3.5 4", "encoding": "Plain", "duration": "2", "leads": ("I", "II", "V1", "V2")},
         "expected whole samples of 16 bits: found another one"),
        ({"samples": "1 2 3 40000", "encoding": "Plain", "duration": "2", "leads": ("I", "II", "V1", "V2")},
         "expected whole samples of 16 bits: found another one"),
        ({"leads": LEADS[::-1], "compression": "XLI"}, "aVF before other compressed leads: found V6"),
        ({"leads": LEADS[:11]}, "expected 6,600 samples, as stated: found 7,200"),
        ({"version": "1.03", "acquisition": "EASI"}, "expected names of leads: found channels of 'EASI'"),
        ({"version": "1.03", "leads": LEADS[:8]}, "expected 8 leads, as stated: found 12"),
    ],
)  # fmt: skip
def test_what_is_not_stated_is_refused_by_name(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, sierra(COUNTS, **options))
    assert str(error.value).startswith(str(tmp_path / "ecg.xml"))


def test_compressed_channels_without_a_name_are_refused(tmp_path):
    packed = base64.b64encode(xli(COUNTS)).decode()
    with pytest.raises(ValueError, match="expected a name for each compressed channel: found none for channel 9"):
        read(tmp_path, sierra(COUNTS, LEADS[:8], compression="XLI", samples=packed))
    with pytest.raises(ValueError, match="expected 12 compressed channels: found 8"):
        read(tmp_path, sierra(COUNTS, compression="XLI", samples=base64.b64encode(xli(COUNTS[:8])).decode()))


@pytest.mark.parametrize("version", ["1.03", "1.04"])
def test_metadata_says_what_the_machine_said_before_anybody_edited_it(tmp_path, version):
    metadata = read(tmp_path, sierra(COUNTS, version=version)).metadata
    assert metadata == {
        "format": f"Philips Sierra XML {version}",
        "device": {"manufacturer": "Philips", "model": "PageWriter", "software": "A.01"},
        "measurements": {"heart_rate_bpm": 64, "qrs_duration_ms": 142},
        "statements": [*STATEMENTS, "When compared with ECG of [date] [date], no change", "- ABNORMAL ECG -"],
        "statements_withheld": 2,
        "age_years": 62,  # of two dates; the default age is the recorder's
        "sex": "female",
        "filters": {"highpass_hz": 0.05, "lowpass_hz": 150} | ({"notch_hz": 60} if version == "1.04" else {}),
    }
    assert not [text for text in PRIVATE.values() if text.casefold() in repr(metadata).casefold()]


def test_kind_of_file_is_told_by_its_content():
    assert is_sierra(sierra(COUNTS)[:4096])
    assert is_sierra(sierra(COUNTS, text_encoding="UTF-16")[:4096])
    assert not is_sierra(b"<RestingECG/>")


@pytest.mark.parametrize(
    ("file_name", "n_samples", "limb_uv", "mark_s", "age"),
    [("1_03_129DYPRG.xml", 5264, 10, 0.472, 50), ("1_04_3191723.xml", 5300, 0, 0.4, 60)],
)
def test_real_files(sample_data, file_name, n_samples, limb_uv, mark_s, age):
    path = vendor_file(sample_data, file_name)
    assert is_sierra(path.read_bytes()[:4096])
    record = read_sierra(path)
    assert (record.signal.shape, record.sampling_rate, record.unit) == ((12, n_samples), 500.0, "uV")
    assert record.lead_names == LEADS
    check_physiology(record, limb_uv)
    assert heart_rate_of(record) == pytest.approx(record.metadata["measurements"]["heart_rate_bpm"], abs=3)
    assert record.metadata["calibration_mark_s"] == mark_s
    assert (record.metadata["age_years"], record.metadata["sex"]) == (age, "male")
    assert record.metadata["statements"][0].casefold().startswith("sinus")
    private = private_texts_of_file(path, "patient", "acquirer", "orderinfo", "userdefines", "documentname")
    assert {"9999", "ZZDEMOPTONLY", "1950-01-01"} <= private or {"1112010721168bdc", "EMS", "GE EMS"} <= private
    assert not [text for text in private if text in repr(record.metadata)]
    machine = private_texts_of_file(path, "dataacquisition") & {"2011-12-01", "07:27:34", "2010-01-19", "15:19:22"}
    assert len(machine) == 2
    assert not [text for text in machine if text in repr(record.metadata)]
