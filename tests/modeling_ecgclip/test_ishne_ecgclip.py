"""ISHNE Holter recordings: samples, resolutions and leads as the header states them."""

import binascii

import numpy as np
import pytest

from modeling_ecgclip.ishne_ecgclip import is_ishne, read_ishne
from tests.modeling_ecgclip.recorder_files import LEADS, SECRETS, ishne_file, known_codes, metadata_of


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def read(folder, data, name="a.ecg"):
    path = folder / name
    path.write_bytes(data)
    return read_ishne(path)


def test_samples_come_back(codes, tmp_path):
    record = read(tmp_path, ishne_file(codes, comment=b"some text of the recorder"))
    assert np.array_equal(record.signal, codes * 2.5)
    assert record.lead_names == LEADS
    assert (record.sampling_rate, record.unit, record.name) == (200.0, "uV", str(tmp_path / "a.ecg"))


def test_resolutions_leads_and_faults_of_a_holter(codes, tmp_path):
    codes = codes[:3].copy()
    codes[1, 100:120] = -32768
    record = read(tmp_path, ishne_file(codes, nanovolts=[1000, 2500, 4880], lead_codes=(17, 0, 19), stated=3000))
    assert record.lead_names == ("ES", "", "AI")
    assert np.array_equal(np.isnan(record.signal), codes == -32768)
    expected = np.where(codes == -32768, np.nan, codes) * np.array([[1.0], [2.5], [4.88]])
    np.testing.assert_allclose(record.signal, expected, rtol=1e-15)
    assert read(tmp_path, ishne_file(codes, lead_codes=(0, 1, 0))).lead_names is None


def test_checksums_in_either_order_or_none(codes, tmp_path):
    data = ishne_file(codes)
    computed = binascii.crc_hqx(data[10:522], 0xFFFF)
    for checksum in (computed >> 8 | (computed & 0xFF) << 8, 0):
        assert np.array_equal(read(tmp_path, ishne_file(codes, checksum=checksum)).signal, codes * 2.5)


def test_what_the_file_says_of_patient_and_device(codes, tmp_path):
    metadata = read(tmp_path, ishne_file(codes)).metadata
    assert metadata == metadata_of("ISHNE", device={"model": "Recorder 9"}, age_years=49, sex="female")
    assert not [secret for secret in SECRETS if secret.lower() in repr(metadata).lower()]


def test_refusals_name_file_and_reason(codes, tmp_path):
    good = ishne_file(codes)
    cases = {
        "not an ISHNE Holter recording": b"ISHNE2.0" + good[8:],
        "truncated: expected 18 bytes": good[:12],
        "the header is damaged: expected the checksum": good[:300] + b"\x55" + good[301:],
        "truncated, or its sizes contradict each other": good[:-2],
        "expected 99,999 samples of 12 leads": ishne_file(codes, stated=99_999),
        "at more than 0 Hz: found 12 at 0 Hz": ishne_file(codes, rate=0),
        "a resolution in nV of every lead": ishne_file(codes, nanovolts=-9),
        "found byte 1,000,000,522": good[:10] + (1_000_000_000).to_bytes(4, "little") + good[14:22]
        + (1_000_000_522).to_bytes(4, "little") + good[26:],
    }  # fmt: skip
    for reason, data in cases.items():
        with pytest.raises(ValueError, match="refused.ecg") as caught:
            read(tmp_path, data, "refused.ecg")
        assert reason in str(caught.value)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_ishne(tmp_path / "absent.ecg")
    assert is_ishne(good[:8]) and not is_ishne(b"ANN  1.0")
