"""MATLAB files: numbers as scipy writes and reads them, and nothing else."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

from modeling_ecgclip.matlab_ecgclip import is_matlab, read_matlab
from tests.modeling_ecgclip.recorder_files import LEADS, known_codes, matlab4, metadata_of


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def read(folder, data, name="a.mat"):
    path = folder / name
    path.write_bytes(data)
    return read_matlab(path)


def save(folder, values, **options):
    path = folder / "a.mat"
    scipy.io.savemat(path, values, **options)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "dtype"), [(0, "f8"), (10, "f4"), (20, "i4"), (30, "i2")])
def test_version_4(codes, tmp_path, order, kind, dtype):
    record = read(tmp_path, matlab4({"other": codes[:1, :5], "val": codes}, kind, order))
    assert np.array_equal(record.signal, codes) and record.signal.dtype == np.dtype(dtype)
    assert (record.sampling_rate, record.lead_names, record.unit) == (None, None, None)
    scipy.io.savemat(tmp_path / "b.mat", {"val": codes.astype("f8")}, format="4")
    assert np.array_equal(read_matlab(tmp_path / "b.mat").signal, codes)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u2", "u1", "i1"])
def test_version_5(codes, tmp_path, dtype, compressed):
    values = (codes // 30 if dtype[1] == "1" else codes).astype(dtype)
    record = read_matlab(save(tmp_path, {"other": 5, "val": values}, do_compression=compressed))
    assert np.array_equal(record.signal, values) and record.signal.dtype == np.dtype(dtype)
    assert (record.sampling_rate, record.lead_names, record.unit) == (None, None, None)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_structure_with_data(codes, tmp_path, compressed):
    fields = {"sex": "Female", "age": 49, "data": codes / 1000}
    record = read_matlab(save(tmp_path, {"ECG": fields}, do_compression=compressed))
    assert np.array_equal(record.signal, codes / 1000)
    assert record.metadata == metadata_of("MATLAB", age_years=49, sex="female")


def test_what_other_variables_state(codes, tmp_path):
    values = {"ecg": codes, "fs": 400, "units": "uV", "leads": np.array(LEADS, dtype=object)}
    record = read_matlab(save(tmp_path, values))
    assert (record.sampling_rate, record.lead_names, record.unit) == (400.0, LEADS, "uV")
    record = read_matlab(save(tmp_path, values | {"leads": list(LEADS)}))  # a matrix of characters
    assert record.lead_names == LEADS
    text = {"units": np.array([[117, 86]])}
    v4 = matlab4({"val": codes}) + matlab4({"fs": np.array([[400]])}, 0) + matlab4(text, 51)
    record = read(tmp_path, v4)
    assert (record.sampling_rate, record.unit) == (400.0, "uV")


def test_refusals_name_file_and_reason(codes, tmp_path):
    good = save(tmp_path, {"val": codes}).read_bytes()
    packed = save(tmp_path, {"val": codes}, do_compression=True).read_bytes()
    claim = struct.pack("<5i", 30, 1_000_000, 1_000_000, 0, 4) + b"val\0"
    cases = {
        "not a MATLAB file": b"no such thing" * 50,
        "expected one matrix named val, ecg, ECG, signal: found x, y": save(tmp_path, {"x": 5, "y": 1}).read_bytes(),
        "signal: found val, ecg": save(tmp_path, {"val": codes, "ecg": codes}).read_bytes(),
        "matrix of numbers with two axes": save(tmp_path, {"val": "text"}).read_bytes(),
        "expected one matrix": save(tmp_path, {"val": np.zeros((2, 3, 4))}).read_bytes(),
        "truncated: expected an element": good[:-10],
        "truncated: expected an element of": packed[:-10],
        "truncated: expected the matrix val of 2,000,000,000,000 bytes": claim,
        "expected a real matrix val: found -1": struct.pack("<5i", 30, 12, 9, 0, 4) + b"val\0" + bytes(216)
        + struct.pack("<5i", 30, -1, 9, 0, 4) + b"val\0",
        "save it with -v7": good[:124] + b"\0\2IM" + good[128:],
        "expected one number in fs": save(tmp_path, {"val": codes, "fs": [1, 2]}).read_bytes(),
        "expected one unit": save(tmp_path, {"val": codes, "unit": ["mV", "uV"]}).read_bytes(),
        "expected one list of names": save(tmp_path, {"val": codes, "leads": 12}).read_bytes(),
        "a compressed variable is damaged": packed[:200] + bytes(40) + packed[240:],
    }  # fmt: skip
    for reason, data in cases.items():
        with pytest.raises(ValueError, match="refused.mat") as caught:
            read(tmp_path, data, "refused.mat")
        assert reason in str(caught.value), (reason, str(caught.value))
    with pytest.raises(FileNotFoundError, match="absent"):
        read_matlab(tmp_path / "absent.mat")
    assert is_matlab(good[:128]) and is_matlab(matlab4({"val": codes})[:21])
    assert not is_matlab(good[:100]) and not is_matlab(bytes(128)) and not is_matlab(b"\x89HDF\r\n\x1a\n" + bytes(120))


def matrix(name, kind, payload, shape=(1, 1)):
    """An element of version 5; what is no array of numbers is a payload that nobody reads."""
    flags = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<IIii", 5, 8, *shape)
    label = struct.pack("<II", 1, len(name)) + name.ljust(8, b"\0")
    body = flags + label + payload
    return struct.pack("<II", 14, len(body)) + body


def test_bombs_objects_and_functions_are_never_unfolded(codes, tmp_path):
    head = save(tmp_path, {"val": codes}).read_bytes()[:128]
    val = matrix(b"val", 10, struct.pack("<II", 3, 24) + np.arange(12, dtype="<i2").tobytes(), (12, 1))
    for kind in (3, 17, 16, 1, 2, 5):  # object, opaque, function, cell, structure, sparse
        record = read(tmp_path, head + matrix(b"evil", kind, b"\xff" * 64) + val)
        assert record.signal[:, 0].tolist() == list(range(12))
        with pytest.raises(ValueError, match=r"a\.mat: "):
            read(tmp_path, head + matrix(b"val", kind, b"\xff" * 64))
    for name, reason in ((b"val", "found one that unpacks to more"), (b"other", "expected one matrix")):
        bomb = zlib.compress(matrix(name, 6, struct.pack("<II", 9, 56_000_000), (7000, 1000)) + bytes(56_000_000), 9)
        with pytest.raises(ValueError, match="a.mat") as caught:
            read(tmp_path, head + struct.pack("<II", 15, len(bomb)) + bomb)
        assert reason in str(caught.value)


def test_real_files(sample_data):
    """The matrices of the CinC challenges as scipy reads them: raw numbers, whose header lies beside them."""
    paths = sorted((sample_data / "cinc2021").rglob("*.mat"))[::10]
    if not paths:
        pytest.skip(f"no .mat in {sample_data / 'cinc2021'}")
    for path in paths:
        record = read_matlab(path)
        assert np.array_equal(record.signal, scipy.io.loadmat(path)["val"])
        assert (record.sampling_rate, record.lead_names, record.unit) == (None, None, None)


def test_a_signal_is_ones_own(codes, tmp_path):
    for order in "<>":
        signal = read(tmp_path, matlab4({"val": codes}, order=order)).signal
        assert signal.flags.writeable and signal.dtype.isnative
