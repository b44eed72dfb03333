"""EDF and EDF+: the ECG channels as they are, in their unit, and refusals of what would be guessed."""

import numpy as np
import pytest

from modeling_ecgclip.edf_ecgclip import is_edf, read_edf
from tests.modeling_ecgclip.recorder_files import LEADS, SECRETS, edf_file, edf_simple, known_codes, metadata_of


LIMITS = ((-81920, 81917.5), (-32768, 32767))


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def read(folder, data, name="a.edf"):
    path = folder / name
    path.write_bytes(data)
    return read_edf(path)


@pytest.mark.parametrize("kind", ["", "EDF+C"])
def test_samples_come_back(codes, tmp_path, kind):
    record = read(tmp_path, edf_simple(codes, kind=kind))
    assert np.array_equal(record.signal, codes * 2.5)
    assert record.lead_names == LEADS
    assert (record.sampling_rate, record.unit, record.name) == (250.0, "uV", str(tmp_path / "a.edf"))
    assert record.metadata["format"] == ("EDF+" if kind else "EDF")


def test_units_of_several_channels_and_a_falling_scale(codes, tmp_path):
    channels = [
        ("ECG I", "mV", (-32.768, 32.767), (-32768, 32767), codes[0]),
        ("ekg II", "µV", (32768, -32767), (-32768, 32767), codes[1]),
    ]
    record = read(tmp_path, edf_file(channels, [500, 500], duration="2"))
    assert record.unit == "uV" and record.lead_names == ("I", "II") and record.sampling_rate == 250.0
    np.testing.assert_allclose(record.signal, [codes[0], -codes[1]], atol=1e-8)


@pytest.mark.parametrize(
    ("duration", "samples", "rate"), [("0.5", 125, 250.0), ("0.004", 1, 250.0), ("4", 1000, 250.0), ("1", 200, 200.0)]
)
def test_rates(codes, tmp_path, duration, samples, rate):
    record = read(tmp_path, edf_file([("ECG", "uV", *LIMITS, codes[0])], [samples], duration=duration))
    assert record.sampling_rate == rate and record.lead_names == ("ECG",)
    assert np.array_equal(record.signal, codes[:1] * 2.5)


def test_other_channels_are_left_out_and_listed(codes, tmp_path):
    stamps = [f"+{i}" for i in range(4)]
    slow = codes[2].reshape(4, 250)[:, :25].ravel()
    channels = [
        ("Resp chest", "mV", *LIMITS, slow),
        ("V1", "uV", *LIMITS, codes[0]),
        ("EEG Fpz-Cz", "uV", *LIMITS, slow),
        ("ECG II", "uV", *LIMITS, codes[1]),
    ]
    record = read(tmp_path, edf_file(channels, [25, 250, 25, 250], stamps=stamps))
    assert record.lead_names == ("V1", "II") and np.array_equal(record.signal, codes[:2] * 2.5)
    assert record.metadata["channels_left_out"] == ["Resp chest", "EEG Fpz-Cz"]
    channels = [("Channel 1", "uV", *LIMITS, codes[0]), ("EMG chin", "uV", *LIMITS, codes[1])]
    record = read(tmp_path, edf_file(channels, [250, 250]))
    assert record.lead_names == ("Channel 1",) and record.metadata["channels_left_out"] == ["EMG chin"]


def test_records_that_follow_each_other_though_they_need_not(codes, tmp_path):
    arguments = {"kind": "EDF+D", "stamps": ["+0.25", "+1.25", "+2.25", "+3.25"]}
    assert np.array_equal(read(tmp_path, edf_simple(codes, **arguments)).signal, codes * 2.5)
    with pytest.raises(
        ValueError, match="a.edf: expected data records that follow each other: found record 2 at 3.25"
    ):
        read(tmp_path, edf_simple(codes, **arguments | {"stamps": ["+0.25", "+1.25", "+3.25", "+4.25"]}))
    with pytest.raises(ValueError, match="a.edf: EDF.D: expected a channel"):
        read(tmp_path, edf_simple(codes, kind="EDF+D"))


def test_an_unknown_number_of_records_is_counted(codes, tmp_path):
    assert np.array_equal(read(tmp_path, edf_simple(codes, n_records=-1)).signal, codes * 2.5)


def test_what_the_file_says_of_patient_and_device(codes, tmp_path):
    metadata = read(tmp_path, edf_simple(codes)).metadata
    filters = {"highpass_hz": 0.05, "lowpass_hz": 150, "notch_hz": 50}
    assert metadata == metadata_of("EDF+", device={"model": "Recorder 9"}, age_years=49, sex="female", filters=filters)
    assert not [secret for secret in SECRETS if secret.lower() in repr(metadata).lower()]
    metadata = read(
        tmp_path, edf_simple(codes, kind="", patient="Zenobia Quux, SBJ-77", recording="Galliera")
    ).metadata
    assert metadata == metadata_of("EDF", filters=filters)
    metadata = read(tmp_path, edf_simple(codes, recording="Startdate 22-NOV-2002 X X Quux_9")).metadata
    assert metadata["device"] == {}


def test_refusals_name_file_and_reason(codes, tmp_path):
    good = edf_simple(codes)
    fast = [("ECG I", "uV", *LIMITS, codes[0]), ("ECG II", "uV", *LIMITS, codes[1][:500])]
    cases = {
        "not an EDF file": b"\xffBIOSEMI" + good[8:],
        "truncated, or its sizes contradict each other": good[:-10],
        "expected 9 data records of 6,000 bytes: found 24,000 bytes": edf_simple(codes, n_records=9),
        "ECG channels of one rate: found samples a record ECG I: 250, ECG II: 125": edf_file(fast, [250, 125]),
        "expected a channel of an ECG in uV, mV or V": edf_file([("ECG", "bpm", *LIMITS, codes[0])], [250]),
        "expected a physical and a rising digital range": edf_file(
            [("ECG", "uV", (5, 5), (-32768, 32767), codes[0])], [250]
        ),
        "expected the duration of a data record above 0": edf_simple(codes, duration="0"),
        "expected the duration of a data record as a number: found 'nan'": edf_simple(codes, duration="nan"),
        "expected 1 to 256 signals: found 9999": good[:252] + b"9999" + good[256:],
        "expected a header of 3,328 bytes for 12 signals": good[:184] + b"512     " + good[192:],
    }
    for reason, data in cases.items():
        with pytest.raises(ValueError, match="refused.edf") as caught:
            read(tmp_path, data, "refused.edf")
        assert reason in str(caught.value)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_edf(tmp_path / "absent.edf")
    assert is_edf(good[:256]) and not is_edf(good[:100]) and not is_edf(b"0       " + bytes(300))
