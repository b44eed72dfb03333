"""MFER: samples of every layout and order of bytes; what a file does not state stays unstated."""

import numpy as np
import pytest

from modeling_ecgclip.mfer_ecgclip import is_mfer, read_mfer
from tests.modeling_ecgclip.recorder_files import LEADS, SECRETS, known_codes, metadata_of, mfer_file, tlv


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def read(folder, data, name="a.mwf"):
    path = folder / name
    path.write_bytes(data)
    return read_mfer(path)


@pytest.mark.parametrize(("blocks", "frames"), [(None, 1), (1, 1), (50, 1), (50, 4)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_come_back(codes, tmp_path, order, blocks, frames):
    record = read(tmp_path, mfer_file(codes, order, blocks=blocks, frames=frames))
    assert np.array_equal(record.signal, codes * 2.5)
    assert record.lead_names == LEADS
    assert (record.sampling_rate, record.unit, record.name) == (500.0, "uV", str(tmp_path / "a.mwf"))


@pytest.mark.parametrize(
    ("interval", "rate"), [((1, -3, 2), 500.0), ((0, 0, 250), 250.0), ((1, -4, 25), 400.0), ((0, 2, 10), 1000.0)]
)
def test_rates_as_hertz_and_as_seconds(codes, tmp_path, interval, rate):
    assert read(tmp_path, mfer_file(codes, interval=interval)).sampling_rate == rate


@pytest.mark.parametrize(
    ("resolution", "unit", "step"),
    [((0, -6, 5), "uV", 5.0), ((0, -7, 25), "uV", 2.5), ((0, -3, 1), "mV", 1.0), ((0, -9, 1250), "uV", 1.25)],
)
def test_resolutions(codes, tmp_path, resolution, unit, step):
    record = read(tmp_path, mfer_file(codes, resolution=resolution))
    assert record.unit == unit
    np.testing.assert_allclose(record.signal, codes * step, rtol=1e-15)


def test_what_is_not_stated_stays_so(codes, tmp_path):
    record = read(tmp_path, mfer_file(codes, interval=None, resolution=None))
    assert record.sampling_rate is None and record.unit is None
    assert np.array_equal(record.signal, codes)


def test_null_values_are_missing(codes, tmp_path):
    codes = codes.copy()
    codes[3, 5:9] = -32768
    record = read(tmp_path, mfer_file(codes, t18=b"\x00\x80"))
    assert np.array_equal(np.isnan(record.signal), codes == -32768)


def test_the_dominant_beat_is_never_read(codes, tmp_path):
    beat = mfer_file(codes[:, :300], head=tlv(8, b"\x09\x00"))[:-2]
    rhythm = mfer_file(codes)
    assert np.array_equal(read(tmp_path, beat + rhythm).signal, codes * 2.5)
    with pytest.raises(ValueError, match="a.mwf: not an MFER file, or one without an ECG"):
        read(tmp_path, beat)


def test_what_the_file_says_of_patient_and_device(codes, tmp_path):
    for order in "<>":
        metadata = read(tmp_path, mfer_file(codes, order)).metadata
        device = {"manufacturer": "Maker", "model": "Recorder 9"}
        filters = {"highpass_hz": 0.05}
        assert metadata == metadata_of("MFER", device=device, age_years=49, sex="female", filters=filters)
        assert not [secret for secret in SECRETS if secret.lower() in repr(metadata).lower()]


def test_refusals_name_file_and_reason(codes, tmp_path):
    good = mfer_file(codes)
    cases = {
        "expected the definition": b"no such thing" * 50,
        "truncated: expected the definition 0x1e of 24,000 bytes": good[:-20],
        "its sizes contradict each other": mfer_file(codes, head=b"").replace(
            tlv(6, b"\1\0\0\0"), tlv(6, b"\2\0\0\0")
        ),
        "found data type 9": mfer_file(codes, t10=b"\x09"),
        "without offset and skew": mfer_file(codes, t13=b"\x05\x00"),
        "found compressed or thinned ones": mfer_file(codes, head=tlv(14, b"\1\0\0\0\0\0")),
        "found kind 40": mfer_file(codes, head=tlv(8, b"\x28\0")),
        "expected a resolution in V: found 1e0 of unit 1": mfer_file(codes, resolution=(1, 0, 1)),
        "expected a rate in Hz or an interval in s": mfer_file(codes, interval=(2, 0, 1)),
        "1 to 64 channels: found 0": mfer_file(codes, head=tlv(5, b"\0")),
        "expected 12 channels: found attributes of more": mfer_file(codes).replace(b"\x3f\x0b", b"\x3f\x0c", 1),
        "frames of the same channels": mfer_file(codes)[:-2] + mfer_file(codes, interval=(1, -3, 4)),
        "at most 4 levels": tlv(0x67, tlv(0x67, tlv(0x67, tlv(0x67, tlv(0x67, b""))))),
        "at most 20,000 definitions": b"\0" * 30_000,
    }
    for reason, data in cases.items():
        with pytest.raises(ValueError, match="refused.mwf") as caught:
            read(tmp_path, data, "refused.mwf")
        assert reason in str(caught.value), (reason, str(caught.value))
    with pytest.raises(FileNotFoundError, match="absent"):
        read_mfer(tmp_path / "absent.mwf")
    assert is_mfer(good[:8]) and not is_mfer(b"@PNG") and not is_mfer(b"")
