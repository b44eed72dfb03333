import json
import pickle

import h5py
import numpy as np
import pytest
import torch
import wfdb

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import EcgRecord, read_ecg


@pytest.fixture
def ecg():
    """(12, 1000) whole microvolts."""
    return np.random.default_rng(0).integers(-2000, 2000, (12, 1000)).astype(np.int16)


@pytest.fixture
def wfdb_record(tmp_path, ecg):
    units = ["mV"] * 11 + ["uV"]
    values = ecg.T / np.array([1000.0] * 11 + [1.0])
    names = ["DI", *LEAD_NAMES[1:]]
    gains = [1000.0] * 11 + [1.0]
    wfdb.wrsamp(
        "rec1", 500, units, names, values, fmt=["16"] * 12, adc_gain=gains, baseline=[0] * 12, write_dir=str(tmp_path)
    )
    return tmp_path / "rec1"


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


class TestWfdb:
    @pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
    def test_path_with_and_without_ending(self, wfdb_record, ecg, ending):
        record = read_ecg(str(wfdb_record) + ending)
        np.testing.assert_allclose(record.signal, ecg / 1000, atol=1e-9)  # the last channel was in microvolts
        assert (record.sampling_rate, record.unit) == (500, "mV")
        assert record.lead_names == ("DI", *LEAD_NAMES[1:])
        assert record.name.endswith("rec1")

    def test_missing_signal_file(self, wfdb_record):
        wfdb_record.with_name("rec1.dat").unlink()
        with pytest.raises(FileNotFoundError, match=r"rec1: the header names a signal file that is missing"):
            read_ecg(wfdb_record)

    def test_truncated_signal_file(self, wfdb_record):
        data = wfdb_record.with_name("rec1.dat")
        data.write_bytes(data.read_bytes()[:1000])
        with pytest.raises(ValueError, match=r"rec1: not a readable WFDB record"):
            read_ecg(wfdb_record)

    def test_channel_that_is_no_voltage(self, tmp_path):
        wfdb.wrsamp(
            "resp", 500, ["pm"], ["RESP"], np.ones((100, 1)) * 0.5, fmt=["16"], adc_gain=[1.0], baseline=[0],
            write_dir=str(tmp_path),
        )  # fmt: skip
        with pytest.raises(ValueError, match="resp, channel 0: unknown unit 'pm'"):
            read_ecg(tmp_path / "resp")

    def test_ptbxl(self, sample_data):
        record = read_ecg(sample_data / "ptbxl_sample/records500/00000/00001_hr")
        assert record.signal.shape == (12, 5000)
        assert record.signal[0, 0] == pytest.approx(-0.115)  # first value of the header


class TestCode15:
    def test_exam_by_id(self, code15_file):
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
    def test_refused(self, code15_file, exam_id, message):
        with pytest.raises(ValueError, match=message):
            read_ecg(code15_file, exam_id=exam_id)

    def test_exam_twice(self, code15_file):
        with h5py.File(code15_file, "r+") as file:
            file["exam_id"][2] = 7
        with pytest.raises(ValueError, match=r"exam 7 occurs 2 times, in rows \[1, 2\]"):
            read_ecg(code15_file, exam_id=7)

    def test_truncated(self, code15_file):
        code15_file.write_bytes(code15_file.read_bytes()[:5000])
        with pytest.raises(ValueError, match="exams_part0.hdf5: not a readable HDF5 file, or truncated"):
            read_ecg(code15_file, exam_id=7)

    def test_other_layout(self, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["signals"] = np.ones(3)
        with pytest.raises(ValueError, match="expected the datasets exam_id and tracings: found signals"):
            read_ecg(tmp_path / "other.h5", exam_id=1)

    def test_eleven_leads(self, tmp_path):
        with h5py.File(tmp_path / "part.hdf5", "w") as file:
            file["exam_id"] = np.array([1])
            file["tracings"] = np.ones((1, 4096, 11), np.float32)
        with pytest.raises(ValueError, match=r"\(exams, samples, 12\): found \(1, 4096, 11\)"):
            read_ecg(tmp_path / "part.hdf5", exam_id=1)

    def test_sample(self, sample_data):
        folder = sample_data / "code15_sample"
        record = read_ecg(folder / "exams_part11.hdf5", exam_id=438277)
        with h5py.File(folder / "exams_part11.hdf5") as file:
            np.testing.assert_array_equal(values(record), file["tracings"][0].T / 2)
        assert record.signal.shape == (12, 2934)


class TestExamRow:
    @pytest.mark.parametrize("n_samples", [4096, 2934, 3001])
    def test_same_tensor_as_the_table(self, n_samples):
        left = (4096 - n_samples) // 2
        table = np.zeros((12, 4096), np.int16)
        table[:, left : left + n_samples] = np.random.default_rng(2).integers(-3000, 3000, (12, n_samples))
        row = {
            "exam_id": "5",
            "ecg": table.reshape(-1).tolist(),
            "n_samples": n_samples,
            "patient_id": "1",
            "age": None,
        }
        record = read_ecg(row)
        assert record.name == "exam 5"
        out = EcgFeatureExtractor(return_attention_mask=True)(record.signal, 400, record.lead_names, record.unit)
        np.testing.assert_array_equal(out["input_values"][0], table.astype(np.float32) / 1000)
        assert out["ecg_attention_mask"].sum() == 12 * n_samples

    def test_bad_rows(self):
        with pytest.raises(ValueError, match="exam 5: expected ecg as 12 x 4096.*found 3 values"):
            read_ecg({"exam_id": "5", "ecg": [1, 2, 3], "n_samples": 3})
        with pytest.raises(ValueError, match="exam 5: n_samples must lie between 1 and 4096: found 5000"):
            read_ecg({"exam_id": "5", "ecg": np.ones(49152, np.int16), "n_samples": 5000})


class TestNumpyFiles:
    def test_npy(self, tmp_path, ecg):
        np.save(tmp_path / "a.npy", ecg)
        record = read_ecg(tmp_path / "a.npy", sampling_rate=500, unit="uV", lead_names=LEAD_NAMES)
        np.testing.assert_array_equal(record.signal, ecg)
        assert (record.sampling_rate, record.unit, record.lead_names) == (500, "uV", LEAD_NAMES)

    def test_npz_states_everything(self, tmp_path, ecg):
        np.savez(tmp_path / "a.npz", ecg=ecg, sampling_rate=500, unit="uV", lead_names=list(LEAD_NAMES))
        record = read_ecg(tmp_path / "a.npz")
        assert (record.sampling_rate, record.unit, record.lead_names) == (500, "uV", LEAD_NAMES)
        np.testing.assert_array_equal(record.signal, ecg)

    def test_npz_with_one_array_of_any_name(self, tmp_path, ecg):
        np.savez(tmp_path / "a.npz", anything=ecg)
        np.testing.assert_array_equal(read_ecg(tmp_path / "a.npz").signal, ecg)
        np.savez(tmp_path / "b.npz", left=ecg, right=ecg)
        with pytest.raises(ValueError, match="expected an array named ecg or signal: found left, right"):
            read_ecg(tmp_path / "b.npz")

    @pytest.mark.parametrize("ending", [".npy", ".npz"])
    def test_pickles_are_never_loaded(self, tmp_path, ending):
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

    def test_empty_and_mistaken_files(self, tmp_path, ecg):
        (tmp_path / "empty.npy").touch()
        with pytest.raises(ValueError, match="empty.npy: not a numeric numpy file"):
            read_ecg(tmp_path / "empty.npy")
        np.savez(tmp_path / "a.npz", ecg=ecg)
        (tmp_path / "a.npz").rename(tmp_path / "a.npy")
        with pytest.raises(ValueError, match="archive of arrays; name it .npz"):
            read_ecg(tmp_path / "a.npy")


class TestCsv:
    def write(self, path, header, rows, delimiter=",", decimal="."):
        lines = [delimiter.join(header)] if header else []
        lines += [delimiter.join(str(cell).replace(".", decimal) for cell in row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def test_header_and_time(self, tmp_path, ecg):
        rows = [[i / 500, *row] for i, row in enumerate((ecg.T / 1000).tolist())]
        record = read_ecg(self.write(tmp_path / "a.csv", ["time_s", *LEAD_NAMES], rows))
        np.testing.assert_array_equal(record.signal, ecg / 1000)
        assert record.sampling_rate == 500
        assert record.lead_names == LEAD_NAMES

    def test_semicolons_and_decimal_commas(self, tmp_path, ecg):
        path = self.write(tmp_path / "a.csv", LEAD_NAMES, (ecg.T / 1000).tolist(), ";", ",")
        np.testing.assert_array_equal(read_ecg(path).signal, ecg / 1000)

    def test_without_header(self, tmp_path, ecg):
        record = read_ecg(self.write(tmp_path / "a.csv", None, ecg.T.tolist()), unit="uV", sampling_rate=500)
        assert record.lead_names is None
        np.testing.assert_array_equal(record.signal, ecg)

    def test_empty_cell_is_nan(self, tmp_path):
        record = read_ecg(self.write(tmp_path / "a.csv", ["I", "II"], [[1, 2], ["", 3]]))
        assert np.isnan(record.signal[0, 1])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "the file is empty"),
            ("I,II\n", "column names but no samples"),
            ("I,II\n1,2\n3\n", "row 3: expected 2 columns: found 1"),
            ("I,II\n1,x\n", "not a number: .*'x'"),
            ("I,II,III\n1,2\n", "3 column names for 2 columns"),
            ("time_s,I\n1,2\n1,2\n", "time column must rise"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, message):
        (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=f"bad.csv.*{message}"):
            read_ecg(tmp_path / "bad.csv")


class TestSources:
    def test_array_tensor_dictionary_and_record(self, ecg):
        assert read_ecg(ecg).signal is ecg
        assert read_ecg(torch.from_numpy(ecg)).signal.shape == (12, 1000)
        source = {
            "ecg": json.loads(json.dumps(ecg.tolist())),
            "sampling_rate": 500,
            "unit": "\u03bcV",
            "name": "bed 4",
        }
        record = read_ecg(source)
        assert (record.sampling_rate, record.unit, record.name) == (500, "uV", "bed 4")
        np.testing.assert_array_equal(record.signal, ecg)
        assert read_ecg(record) == EcgRecord(record.signal, 500, None, "uV", "bed 4")

    @pytest.mark.parametrize(
        ("source", "kwargs", "error", "message"),
        [
            ("absent.npy", {}, FileNotFoundError, "absent.npy: no such file"),
            ("absent.hdf5", {"exam_id": 1}, FileNotFoundError, "absent.hdf5: no such file"),
            ("absent", {}, FileNotFoundError, "absent: found neither"),
            ("absent.hea", {}, FileNotFoundError, "no WFDB header found"),
            (".", {}, ValueError, "found a folder"),
            (3, {}, TypeError, "found int"),
            ({"ecg": [[1]], "fs": 500}, {}, ValueError, "found ecg, fs"),
            ({}, {}, ValueError, "found nothing"),
            ({"ecg": np.ones((12, 9))}, {"exam_id": 3}, ValueError, "exam_id selects an exam of an HDF5 file"),
            ("a.csv", {"exam_id": 3}, ValueError, "exam_id selects an exam of an HDF5 file"),
        ],
    )
    def test_refused(self, source, kwargs, error, message):
        with pytest.raises(error, match=message):
            read_ecg(source, **kwargs)

    def test_unknown_kind_of_file(self, tmp_path):
        (tmp_path / "ecg.pdf").write_text("no")
        with pytest.raises(ValueError, match="ecg.pdf: unknown kind of file.*found '.pdf'"):
            read_ecg(tmp_path / "ecg.pdf")

    def test_contradictions(self, wfdb_record):
        with pytest.raises(ValueError, match="the source states 500.0 Hz; sampling_rate=400 contradicts it"):
            read_ecg(wfdb_record, sampling_rate=400)
        with pytest.raises(ValueError, match="the source is in mV; unit='uV' contradicts it"):
            read_ecg(wfdb_record, unit="uV")
        assert read_ecg(wfdb_record, sampling_rate=500, unit="mV", lead_names=LEAD_NAMES).lead_names == LEAD_NAMES
