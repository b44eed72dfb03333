"""Arrays in files, and archives of named arrays."""

import pickle
import zipfile

import numpy as np
import pytest

from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


def test_npy(tmp_path, ecg):
    np.save(tmp_path / "a.npy", ecg)
    record = read_ecg(tmp_path / "a.npy", sampling_rate=500, unit="uV", lead_names=LEAD_NAMES)
    np.testing.assert_array_equal(record.signal, ecg)
    assert (record.sampling_rate, record.unit, record.lead_names) == (500, "uV", LEAD_NAMES)


def test_npz_states_everything(tmp_path, ecg):
    np.savez(tmp_path / "a.npz", ecg=ecg, sampling_rate=500, unit="uV", lead_names=list(LEAD_NAMES))
    record = read_ecg(tmp_path / "a.npz")
    assert (record.sampling_rate, record.unit, record.lead_names) == (500, "uV", LEAD_NAMES)
    np.testing.assert_array_equal(record.signal, ecg)


def test_npz_with_one_array_of_any_name(tmp_path, ecg):
    np.savez(tmp_path / "a.npz", anything=ecg)
    np.testing.assert_array_equal(read_ecg(tmp_path / "a.npz").signal, ecg)
    np.savez(tmp_path / "b.npz", left=ecg, right=ecg)
    with pytest.raises(ValueError, match="expected an array named ecg or signal: found left, right"):
        read_ecg(tmp_path / "b.npz")


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_pickles_are_never_loaded(tmp_path, ending):
    witness = tmp_path / "opened"

    class Opens:
        def __reduce__(self):
            return open, (str(witness), "w")

    plain = tmp_path / f"plain{ending}"
    plain.write_bytes(pickle.dumps(Opens()))
    wrapped = tmp_path / f"wrapped{ending}"
    (np.save if ending == ".npy" else np.savez)(wrapped, np.array([Opens()], dtype=object), allow_pickle=True)
    for path in (plain, wrapped):
        with pytest.raises(ValueError, match=f"{path.name}: .*never loaded"):
            read_ecg(path)
    assert not witness.exists()


def test_empty_and_mistaken_files(tmp_path, ecg):
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="empty.npy: not a numeric numpy file"):
        read_ecg(tmp_path / "empty.npy")
    np.savez(tmp_path / "a.npz", ecg=ecg)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="archive of arrays; name it .npz"):
        read_ecg(tmp_path / "a.npy")


RATE_KEYS = ("fs", "FS", "sfreq", "sample_rate", "sampling_frequency", "rate", "Hz", "fs_hz", "sampling rate (Hz)")
UNIT_KEYS = ("units", "Unit", "ecg_unit", "amplitude_units")
LEAD_KEYS = ("leads", "Lead Names", "channels", "channel_names", "ch_names", "sig_name", "lead_order")


@pytest.mark.parametrize("key", RATE_KEYS)
@pytest.mark.parametrize("value", [500, 500.0, np.array([500]), np.float32(500)])
def test_rate_under_any_usual_name(tmp_path, ecg, key, value):
    np.savez(tmp_path / "a.npz", **{"ecg": ecg, key: value})
    assert read_ecg(tmp_path / "a.npz").sampling_rate == 500


@pytest.mark.parametrize("key", UNIT_KEYS)
@pytest.mark.parametrize("value", ["uV", ["uV"], ["uV"] * 12, [["\u00b5V"]], np.array(["uV"] * 12, dtype="S4")])
def test_unit_under_any_usual_name(tmp_path, ecg, key, value):
    np.savez(tmp_path / "a.npz", **{"ecg": ecg, key: value})
    assert read_ecg(tmp_path / "a.npz", unit="uV").unit == "uV"
    with pytest.raises(ValueError, match="the source is in .*; unit='mV' contradicts it"):
        read_ecg(tmp_path / "a.npz", unit="mV")


@pytest.mark.parametrize("key", LEAD_KEYS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_leads_under_any_usual_name(tmp_path, ecg, key, as_bytes):
    names = [*LEAD_NAMES[:2], *LEAD_NAMES[6:], *LEAD_NAMES[2:6]]
    np.savez(tmp_path / "a.npz", **{"ecg": ecg, key: np.array(names, dtype="S3" if as_bytes else "U3")})
    assert read_ecg(tmp_path / "a.npz").lead_names == tuple(names)
    with pytest.raises(ValueError, match="the source names its leads I, II, V1, .* contradicts it"):
        read_ecg(tmp_path / "a.npz", lead_names=LEAD_NAMES)


@pytest.mark.parametrize("key", ["ECG", "signal", "signals", "p_signal", "data", "x", "arr_0"])
def test_signal_beside_facts(tmp_path, ecg, key):
    np.savez(tmp_path / "a.npz", **{key: ecg, "fs": 500, "sampling_rate": 500.0})
    record = read_ecg(tmp_path / "a.npz")
    np.testing.assert_array_equal(record.signal, ecg)
    assert (record.sampling_rate, record.unit, record.lead_names) == (500, None, None)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"gain": 200}, "expected beside ecg only .*: found gain, which may say how it is to be read"),
        ({"sampling_interval": 0.002}, "found sampling_interval"),
        ({"signal": np.ones((12, 9))}, "found signal"),
        ({"fs": 500, "sampling_rate": 400}, "400 contradicts another sampling_rate, 500"),
        ({"unit": "mV", "units": "uV"}, "contradicts another unit"),
        ({"fs": [500, 400]}, r"fs.npy as one number of Hz: found shape \(2,\)"),
        ({"fs": np.nan}, "fs.npy as one number of Hz: found nan"),
        ({"fs": "500"}, "fs.npy: expected an array of numbers: found dtype <U3"),
        ({"fs": True}, "fs.npy: expected an array of numbers: found dtype bool"),
        ({"units": ["mV"] * 11 + ["uV"]}, "expected one unit for all leads: found mV, mV"),
        ({"units": ["mV", "mV"]}, "as one unit, or one for each lead: found 2"),
        ({"units": "pm"}, "unknown unit 'pm'"),
        ({"unit": 3}, "unit.npy: expected an array of text: found dtype int64"),
        ({"units": np.array([], dtype="U2")}, "expected text in units.npy: found none"),
        ({"channels": 12}, "channels.npy: expected an array of text: found dtype int64"),
        ({"leads": ["I", "II"]}, "leads.npy as a list of one name for each lead: found"),
        ({"lead_names": "I,II,III"}, "a list of one name for each lead"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, ecg, members, message):
    np.savez(tmp_path / "a.npz", ecg=ecg, **members)
    with pytest.raises(ValueError, match=f"a.npz.*{message}"):
        read_ecg(tmp_path / "a.npz")


def npy_of(shape, descr="<f8", data=bytes(96_000)):
    """A file whose header claims a shape, as text."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "shape",
    [
        "(True, 1000)", "(12, True)", "(False, 3)", f"(0, {10**30})", f"({2**62}, 0)", f"(0, {2**63})", "(-1, 5)",
        "(0, 6000000, 6000000, 6000000)", f"({10**3000}, {10**3000})", "(" + "1, " * 70 + ")", "(12, 1e3)", "12",
        "(12, 10**9)", "((1, 2), 3)", "(None, 12)", "(12, 7000000)", "(12, 2000)",
    ],
)  # fmt: skip
def test_shapes_that_no_array_has_are_refused_by_name(tmp_path, shape):
    path = tmp_path / "ecg.npy"
    path.write_bytes(npy_of(shape))
    with pytest.raises(ValueError, match=r"ecg\.npy: ") as caught:
        read_ecg(path)
    assert len(str(caught.value)) < 600


def test_a_shape_of_whole_numbers_is_read(tmp_path):
    path = tmp_path / "ecg.npy"
    path.write_bytes(npy_of("(12, 1000)"))
    assert read_ecg(path).signal.shape == (12, 1000)


def codes(*numbers, order="<"):
    """Texts of one character each, which need be none of Unicode."""
    return np.array(numbers, f"{order}u4").view(f"{order}U1")


@pytest.mark.parametrize("key", ["lead_names", "unit"])
@pytest.mark.parametrize(
    "texts",
    [
        codes(0x110000),
        codes(0xFFFFFFFF),
        codes(0xD800),
        codes(0xDFFF),
        codes(0x110000, order=">"),
        np.array([b"\xff"]),
    ],
    ids=["beyond", "far beyond", "surrogate", "last surrogate", "big-endian", "bytes"],
)
def test_what_is_no_text_is_refused_by_name(tmp_path, ecg, key, texts):
    # Twelve of it, made as bytes: numpy itself fails on such a text.
    whole = np.frombuffer(texts.tobytes() * 12, texts.dtype)
    with zipfile.ZipFile(tmp_path / "ecg.npz", "w") as archive:
        for name, array in (("ecg", ecg), (key, whole)):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)
    with pytest.raises(ValueError, match=rf"ecg\.npz: {key}\.npy: expected text"):
        read_ecg(tmp_path / "ecg.npz")


@pytest.mark.parametrize("dtype", ["<U3", ">U3", "S3"])
def test_names_in_any_order_of_bytes(tmp_path, ecg, dtype):
    np.savez(tmp_path / "ecg.npz", ecg=ecg, lead_names=np.array(LEAD_NAMES).astype(dtype))
    assert read_ecg(tmp_path / "ecg.npz").lead_names == LEAD_NAMES
