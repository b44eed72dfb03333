"""HDF5 files in the layout of CODE-15%."""

import h5py
import numpy as np
import pytest

from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


@pytest.fixture
def code15_file(tmp_path):
    """Three exams in the layout of CODE-15%, the last row zero; exam 7 is shorter than the row."""
    tracings = np.random.default_rng(1).normal(0, 1, (4, 4096, 12)).astype(np.float32)
    tracings[1, :581] = tracings[1, -581:] = 0
    tracings[2:] = 0
    path = tmp_path / "exams_part0.hdf5"
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array([12, 7, 30, 0])
        file["tracings"] = tracings
    return path


def values(record, extractor=None):
    extractor = extractor or EcgFeatureExtractor()
    return extractor(record.signal, record.sampling_rate, record.lead_names, record.unit)["input_values"][0]


def test_exam_by_id(code15_file):
    record = read_ecg(code15_file, exam_id=7)
    with h5py.File(code15_file) as file:
        stored = file["tracings"][1]
    assert record.signal.shape == (12, 4096 - 2 * 581)
    assert record.sampling_rate == 400
    assert record.lead_names == LEAD_NAMES
    np.testing.assert_array_equal(values(record), stored.T / 2)
    np.testing.assert_array_equal(values(read_ecg({"path": str(code15_file), "exam_id": "7"})), stored.T / 2)


@pytest.mark.parametrize(
    ("exam_id", "message"),
    [
        (None, "exam_id must say which"),
        (99, r"exam 99 not found; the file holds 4 exams: 12, 7, 30, 0"),
        (30, "exam 30: the tracing is all zeros"),
        (0, "exam 0: the tracing is all zeros"),
    ],
)
def test_refused(code15_file, exam_id, message):
    with pytest.raises(ValueError, match=message):
        read_ecg(code15_file, exam_id=exam_id)


def test_exam_twice(code15_file):
    with h5py.File(code15_file, "r+") as file:
        file["exam_id"][2] = 7
    with pytest.raises(ValueError, match=r"exam 7 occurs 2 times, in rows \[1, 2\]"):
        read_ecg(code15_file, exam_id=7)


def test_truncated(code15_file):
    code15_file.write_bytes(code15_file.read_bytes()[:5000])
    with pytest.raises(ValueError, match="exams_part0.hdf5: not a readable HDF5 file, or truncated"):
        read_ecg(code15_file, exam_id=7)


def test_other_layout(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["signals"] = np.ones(3)
    with pytest.raises(ValueError, match="expected the datasets exam_id and tracings: found signals"):
        read_ecg(tmp_path / "other.h5", exam_id=1)


def test_eleven_leads(tmp_path):
    with h5py.File(tmp_path / "part.hdf5", "w") as file:
        file["exam_id"] = np.array([1])
        file["tracings"] = np.ones((1, 4096, 11), np.float32)
    with pytest.raises(ValueError, match=r"\(exams, samples, 12\): found \(1, 4096, 11\)"):
        read_ecg(tmp_path / "part.hdf5", exam_id=1)


def test_sample(sample_data):
    folder = sample_data / "code15_sample"
    record = read_ecg(folder / "exams_part11.hdf5", exam_id=438277)
    with h5py.File(folder / "exams_part11.hdf5") as file:
        np.testing.assert_array_equal(values(record), file["tracings"][0].T / 2)
    assert record.signal.shape == (12, 2934)


@pytest.mark.parametrize(
    ("ids", "wanted", "row"),
    [
        (np.arange(250_000), 249_999, 249_999),
        (np.arange(250_000), "7", 7),
        (np.arange(250_000), "07", None),
        (np.arange(250_000), "-0", None),
        (np.arange(250_000), 10**30, None),
        (np.arange(9, dtype=np.uint8), -1, None),
        (np.array([b"007", b"7", b"x"]), "007", 0),
        (np.array([b"007", b"7", b"x"]), 7, 1),
        (np.array(["\u00e9".encode(), b"7"]), "\u00e9", 0),
        (np.array([b"7", b"8"]), "\ud800", None),
    ],
)
@pytest.mark.parametrize("chunks", [None, True])
def test_ids_are_found_as_they_are_spelled(tmp_path, ids, wanted, row, chunks):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("exam_id", data=ids, chunks=chunks)
        tracings = file.create_dataset("tracings", (len(ids), 4096, 12), "f4", chunks=(1, 4096, 12))
        if row is not None:
            tracings[row] = 2 * (row + 1)
    if row is None:
        with pytest.raises(ValueError, match=rf"a.hdf5: exam .* not found; the file holds {len(ids)} exams: "):
            read_ecg(tmp_path / "a.hdf5", exam_id=wanted)
    else:
        assert (read_ecg(tmp_path / "a.hdf5", exam_id=wanted).signal == row + 1).all()


def test_an_exam_in_every_row_is_told_in_short(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["exam_id"] = np.full(200_000, 7)
        file.create_dataset("tracings", (200_000, 4096, 12), "f4", chunks=(1, 4096, 12))
    with pytest.raises(ValueError, match="exam 7 occurs 200000 times, in rows") as caught:
        read_ecg(tmp_path / "a.hdf5", exam_id=7)
    assert len(str(caught.value)) < 400
