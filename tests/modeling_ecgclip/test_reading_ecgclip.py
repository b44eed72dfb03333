import json

import numpy as np
import pytest
import torch

from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import EcgRecord, read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", ["mV", "uV"])
def test_half_precision_does_not_hold_the_limit_of_samples(unit):
    ecg = np.linspace(-2, 2, 240, dtype=np.float16).reshape(12, 20)
    assert read_ecg(ecg, unit=unit).signal is ecg


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("too large"), RecursionError(), SystemError("invalid")]
)
def test_what_a_reader_overlooks_has_a_name(tmp_path, monkeypatch, error):
    path = tmp_path / "ecg.npy"
    np.save(path, np.ones((12, 9)))

    def fail(*_):
        raise error

    monkeypatch.setattr("modeling_ecgclip.arrays_ecgclip._read_bytes", fail)
    with pytest.raises(ValueError, match=r"ecg\.npy: not readable: found numbers or sizes beyond measure"):
        read_ecg(path)
