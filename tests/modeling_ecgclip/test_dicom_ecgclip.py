"""DICOM ECGs: the rhythm as pydicom reads it, and refusals of what is none or cannot be read rightly."""

import struct
import warnings
import zlib

import numpy as np
import pydicom
import pytest

from modeling_ecgclip import dicom_ecgclip
from modeling_ecgclip.dicom_ecgclip import is_dicom, read_dicom
from modeling_ecgclip.scp_ecgclip import read_scp
from tests.modeling_ecgclip.dicom_files import SYNTAXES, channel, coded, group, note, write_dicom
from tests.modeling_ecgclip.recorder_files import LEADS, SCP_CODES, SECRETS, known_codes, metadata_of


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def by_pydicom(path, index=0):
    """(leads, samples) as pydicom scales them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path).waveform_array(index).T


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_rhythm_in_every_transfer_syntax(codes, tmp_path, syntax, undefined):
    path = write_dicom(tmp_path / "a.dcm", [group(codes)], syntax, undefined=undefined)
    record = read_dicom(path)
    assert np.array_equal(record.signal, codes * 2.5)
    assert np.array_equal(record.signal, by_pydicom(path))
    assert record.lead_names == LEADS
    assert (record.sampling_rate, record.unit, record.name) == (500.0, "uV", str(path))


def test_gain_correction_baseline_and_units_of_each_channel(codes, tmp_path):
    channels = [
        channel("I", 1, ChannelSensitivity="1.25", ChannelSensitivityCorrectionFactor="1.02", ChannelBaseline="-7.5"),
        channel("II", 2, scheme="MDC", ChannelSensitivity="0.0025", unit="mV"),
        channel("V9", 67, ChannelSensitivityCorrectionFactor=None, ChannelBaseline=None),
        channel("SpO2", 999, unit="%"),
    ]
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes[:4], channels=channels)]))
    assert record.lead_names == ("I", "II", "V9") and record.unit == "uV"
    assert record.metadata["channels_left_out"] == ["Lead SpO2"]
    expected = [codes[0] * (1.25 * 1.02) - 7.5, codes[1] * 0.0025 * 1000, codes[2] * 2.5]
    np.testing.assert_allclose(record.signal, expected, rtol=1e-15, atol=1e-12)
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes[1:2], channels=channels[1:2])]))
    assert record.unit == "mV" and np.array_equal(record.signal, codes[1:2] * 0.0025)


@pytest.mark.parametrize(
    ("dtype", "interpretation"), [("i1", "SB"), ("u1", "UB"), ("<u2", "US"), ("<i4", "SL"), ("<u4", "UL")]
)
def test_kinds_of_samples(tmp_path, dtype, interpretation):
    stored = (known_codes(999, 3, limit=100) + (100 if "u" in dtype else 0)).astype(dtype)
    path = write_dicom(tmp_path / "a.dcm", [group(stored, interpretation=interpretation)])
    assert np.array_equal(read_dicom(path).signal, stored * 2.5)


def test_the_median_beat_is_never_read(codes, tmp_path):
    beat = group(codes[:, :600] // 2, label="MEDIAN BEAT", originality="DERIVED")
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [beat, group(codes), group(codes[:2, :500], label="STRIP")]))
    assert np.array_equal(record.signal, codes * 2.5)
    for label, originality in (("MEDIAN BEAT", "DERIVED"), ("MEDIAN BEAT", "ORIGINAL"), ("FILTERED", "DERIVED")):
        path = write_dicom(tmp_path / "b.dcm", [group(codes, label=label, originality=originality)])
        with pytest.raises(ValueError, match=f"b.dcm: expected an original waveform of a rhythm: found {label}"):
            read_dicom(path)


def test_leads_of_several_groups_are_refused(codes, tmp_path):
    channels = [channel(name, number) for name, number in zip(LEADS, SCP_CODES, strict=True)]
    groups = [group(codes[i : i + 3], channels=channels[i : i + 3]) for i in range(0, 12, 3)]
    with pytest.raises(ValueError, match="one group of leads that were taken together: found V1, V2, V3, V4"):
        read_dicom(write_dicom(tmp_path / "a.dcm", groups[:1] + groups[2:] + groups[1:2]))


def test_codes_labels_and_meanings_of_leads(codes, tmp_path):
    channels = [channel(name, number) for name, number in zip(LEADS, SCP_CODES, strict=True)][:6]
    channels[1].ChannelSourceSequence = coded("131330", "MDC", "something")
    channels[2].ChannelSourceSequence = coded("X1", "99LOCAL", "Lead III")
    channels[3].ChannelSourceSequence = coded("X1", "99LOCAL", "nothing")
    channels[3].ChannelLabel = "avr"
    channels[4].ChannelSourceSequence = coded("X1", "99LOCAL", "Chest thing")
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes[:6], channels=channels)]))
    assert record.lead_names == ("I", "II", "III", "aVR", "Chest thing", "aVF")


def test_skewed_channels_are_moved(codes, tmp_path):
    channels = [
        channel("I", 1),
        channel("II", 2, ChannelSampleSkew="3"),
        channel("III", 61, ChannelTimeSkew="-0.004"),
        channel("aVR", 62, ChannelTimeSkew="0.0004"),
    ]
    signal = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes[:4], channels=channels)])).signal
    assert np.isnan(signal[1, :3]).all() and np.array_equal(signal[1, 3:], codes[1, :-3] * 2.5)
    assert np.isnan(signal[2, -2:]).all() and np.array_equal(signal[2, :-2], codes[2, 2:] * 2.5)
    assert np.array_equal(signal[[0, 3]], codes[[0, 3]] * 2.5)


def test_padding_is_missing(codes, tmp_path):
    padded = codes.copy()
    padded[3, 400:] = -32768
    record = read_dicom(
        write_dicom(tmp_path / "a.dcm", [group(padded, WaveformPaddingValue=struct.pack("<h", -32768))])
    )
    assert np.array_equal(np.isnan(record.signal), padded == -32768)
    # 0 is a sample as well: only long runs of it are padding.
    padded = codes.copy()
    padded[2, 500:700] = 0
    padded[4, 10:12] = 0
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(padded, WaveformPaddingValue=b"\0\0")]))
    assert np.isnan(record.signal).sum() == 200 and np.isnan(record.signal[2, 500:700]).all()
    assert np.array_equal(read_dicom(write_dicom(tmp_path / "b.dcm", [group(padded)])).signal, padded * 2.5)


def test_what_the_file_says_of_patient_and_device(codes, tmp_path):
    notes = [
        note("Sinusrhythmus, überprüft"),
        note("Seen: Quux, Z."),
        note("Ospedali Galliera, ward 2"),
        note("compared with 22-NOV-2002"),
        note("Confirmed by: Somebody Else, MD"),
        note(meaning="PR Interval", value=161),
        note(meaning="QRS Axis", value=-61, unit="ms"),
        note(meaning="QRS Duration", value="0.1", unit="s"),
        note(meaning="Ventricular Heart Rate", value=61, unit="{H.B.}/min"),
        note(meaning="PP Interval", value=0),
    ]
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes)], notes=notes))
    assert record.metadata == metadata_of(
        "DICOM",
        device={"manufacturer": "Maker", "model": "Recorder 9"},
        measurements={"pr_interval_ms": 161, "qrs_axis_deg": -61, "heart_rate_bpm": 61},
        statements=["Sinusrhythmus, überprüft", "compared with [date]"],
        statements_withheld=3,
        age_years=49,
        sex="female",
        filters={"highpass_hz": 0.05, "lowpass_hz": 150, "notch_hz": 50},
    )
    assert not [secret for secret in SECRETS if secret.lower() in repr(record.metadata).lower()]
    record = read_dicom(write_dicom(tmp_path / "a.dcm", [group(codes)], PatientAge="018M"))
    assert record.metadata["age_years"] == 1.0


def test_refusals_name_file_and_reason(codes, tmp_path):
    path = tmp_path / "refused.dcm"
    cases = {
        "expected an ECG waveform: found an object of class 1.2.840.10008.5.1.4.1.1.9.7.1": {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.7.1"
        },
        "expected a sensitivity": {"groups": [group(codes[:1], channels=[channel("I", 1, ChannelSensitivity=None)])]},
        "expected a channel in uV": {"groups": [group(codes[:1], channels=[channel("I", 1, unit="mm[Hg]")])]},
        "bits of kind 'MB'": {"groups": [group(codes.astype(np.int8), interpretation="MB")]},
        "expected 24,000 bytes of samples: found 23,990": {"groups": [group(codes, WaveformData=bytes(23_990))]},
        "at most 6,000,000 values": {"groups": [group(codes, NumberOfWaveformSamples=4_000_000_000)]},
        "1 to 64 channels": {"groups": [group(codes, NumberOfWaveformChannels=65)]},
        "a sampling frequency: found 0": {"groups": [group(codes, SamplingFrequency="0")]},
        "a definition of 12 channels: found 3": {"groups": [group(codes, channels=[channel("I", 1)] * 3)]},
        "rhythm: found no group": {"groups": []},
    }
    for reason, arguments in cases.items():
        write_dicom(path, **{"groups": [group(codes)], **arguments})
        with pytest.raises(ValueError, match="refused.dcm") as caught:
            read_dicom(path)
        assert reason in str(caught.value)
    for content, reason in (
        (b"no DICOM" * 100, "not a DICOM file"),
        (bytes(128) + b"DICM", "found the transfer syntax of none"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            read_dicom(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_dicom(tmp_path / "absent.dcm")


def test_other_transfer_syntaxes_are_refused(codes, tmp_path):
    content = write_dicom(tmp_path / "a.dcm", [group(codes)]).read_bytes()
    for uid in (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5"):
        (tmp_path / "b.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", uid + b"\0"))
        with pytest.raises(ValueError, match=f"found the transfer syntax {uid.decode()}"):
            read_dicom(tmp_path / "b.dcm")
    assert is_dicom(content[:132]) and not is_dicom(content[:131])


def hostile(kind, content):
    """A file whose data set is hostile."""
    start = content.index(b"\x08\0\x05\0CS")
    head, element = content[:start], b"\x09\0\x01\0LO\0\0"
    explicit = b"1.2.840.10008.1.2.1\0"
    at = head.index(explicit)
    deflated = head[: at - 2] + struct.pack("<H", 22) + b"1.2.840.10008.1.2.1.99" + head[at + 20 :]
    bomb = zlib.compressobj(9, wbits=-15)
    item, sequence = b"\xfe\xff\0\xe0\xff\xff\xff\xff", b"\x00\x54\x00\x01SQ\0\0\xff\xff\xff\xff"
    return {
        "bomb": lambda: deflated + bomb.compress(bytes(300_000_000)) + bomb.flush(),
        "elements": lambda: head + element * 3_000_000,
        "items": lambda: head + sequence + b"\xfe\xff\0\xe0\0\0\0\0" * 3_000_000,
        "deep": lambda: head + (sequence + item) * 100_000,
        "long": lambda: head + b"\x09\0\x01\0UT\0\0\xf0\xff\xff\xff" + content[start:],
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bomb", "at most 67,108,864 bytes unpacked"),
        ("elements", "at most 200,000 elements"),
        ("items", "at most 200,000 elements"),
        ("deep", "at most 12 levels"),
        ("long", "truncated: expected element 0x00090001 of 4,294,967,280 bytes"),
    ],
)
def test_hostile_files_are_refused_before_they_unfold(codes, tmp_path, kind, reason):
    content = write_dicom(tmp_path / "a.dcm", [group(codes)]).read_bytes()
    (tmp_path / "hostile.dcm").write_bytes(hostile(kind, content))
    with pytest.raises(ValueError, match="hostile.dcm") as caught:
        read_dicom(tmp_path / "hostile.dcm")
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["ecgtoolkit_Example.dcm", "pydicom_waveform_ecg.dcm"])
def test_real_files(sample_data, name):
    path = sample_data / "vendor" / name
    if not path.is_file():
        pytest.skip(f"{path} not found")
    record = read_dicom(path)
    assert np.array_equal(record.signal, by_pydicom(path))
    leads = dict(zip(record.lead_names, record.signal, strict=True))
    step = 2.5 if name.startswith("ecgtoolkit") else 1.25
    assert np.abs(leads["I"] + leads["III"] - leads["II"]).max() <= step
    assert np.abs(leads["aVR"] + leads["aVL"] + leads["aVF"]).max() <= step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
    stated = [str(data[key].value) for key in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate")]
    stated += [str(data.get(key, "")) for key in ("AccessionNumber", "InstitutionName", "ReferringPhysicianName")]
    for secret in filter(None, stated):
        assert secret not in repr(record.metadata)


def test_one_recording_as_dicom_and_as_scp(sample_data):
    path = sample_data / "vendor" / "ecgtoolkit_Example.dcm"
    if not path.is_file():
        pytest.skip(f"{path} not found")
    dicom, scp = read_dicom(path), read_scp(path.with_suffix(".scp"))
    assert dicom.sampling_rate == scp.sampling_rate and dicom.unit == scp.unit
    order = [scp.lead_names.index(name) for name in dicom.lead_names]
    assert np.array_equal(dicom.signal, scp.signal[order])
    assert dicom.metadata["age_years"] == scp.metadata["age_years"]
    shared = dicom.metadata["measurements"]
    assert shared == {key: scp.metadata["measurements"][key] for key in shared}


def test_numbers_without_end_are_none():
    """A float of them would be infinite, and no comparison with a bound holds of it."""
    tag = 0x003A001A
    assert dicom_ecgclip._decimal({tag: b"500.0 "}, tag, "x") == 500.0
    with pytest.raises(ValueError, match="x: expected a number in element"):
        dicom_ecgclip._decimal({tag: b"9" * 400}, tag, "x")
