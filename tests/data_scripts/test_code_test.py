"""The test set of CODE to an exam table."""

import h5py
import numpy as np
import pandas as pd
import pytest

from data_scripts.code_test import main
from data_scripts.tables.schema import load_exam_table
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from tests.data_scripts.code15_layout import make_tracing


def make_folder(folder, n=20, dtype=np.float32):
    """The published folder, with `n` exams in place of 827."""
    (folder / "annotations").mkdir(parents=True)
    tracings = np.stack([make_tracing(i, 2800 if i % 3 == 0 else 4096) for i in range(n)]).astype(dtype)
    tracings = tracings[:, :, [0, 1, 2, 4, 5, 3, *range(6, 12)]]  # aVL, aVF, aVR, as published
    with h5py.File(folder / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = tracings
    ages, sexes = [17 + i for i in range(n)], ["M" if i % 2 else "F" for i in range(n)]
    pd.DataFrame({"age": ages, "sex": sexes}).to_csv(folder / "attributes.csv", index=False)
    labels = {label: [int(i % 7 == k) for i in range(n)] for k, label in enumerate(LABEL_NAMES)}
    pd.DataFrame(labels).to_csv(folder / "annotations" / "gold_standard.csv", index=False)
    pd.DataFrame(labels).assign(AF=1).to_csv(folder / "annotations" / "cardiologist1.csv", index=False)
    return tracings


def convert(folder, output, *arguments):
    record = main(["--source_dir", str(folder), "--output_dir", str(output), *arguments])
    return record, load_exam_table(output)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_exams_are_test(tmp_path, dtype):
    tracings = make_folder(tmp_path / "data", dtype=dtype)
    record, table = convert(tmp_path / "data", tmp_path / "table")
    assert (record["found"], record["kept"], record["source"]) == (20, 20, "code_test")
    assert len(table["train"]) == len(table["validation"]) == 0 and len(table["test"]) == 20
    for i, row in enumerate(table["test"]):
        assert row["exam_id"] == row["patient_id"] == str(i)
        assert list(row["labels"].values()) == [int(i % 7 == k) for k in range(6)]
        assert (row["age"], row["sex"]) == (17 + i, "male" if i % 2 else "female")
        assert row["n_samples"] == (2800 if i % 3 == 0 else 4096) and row["report"] is None
        # The stored value is twice the millivolts, as in CODE-15%.
        # The file has aVL, aVF, aVR where a table has aVR, aVL, aVF.
        in_order = tracings[i][:, [0, 1, 2, 5, 3, 4, *range(6, 12)]]
        np.testing.assert_allclose(np.reshape(row["ecg"], (12, 4096)).T, in_order * 500, atol=0.501)
    assert "own patient" in record["patients"] and record["annotator"] == "gold_standard"


def test_another_annotator(tmp_path):
    make_folder(tmp_path / "data", n=4)
    record, table = convert(tmp_path / "data", tmp_path / "table", "--annotator", "cardiologist1")
    assert [row["labels"]["AF"] for row in table["test"]] == [1] * 4 and record["annotator"] == "cardiologist1"
    with pytest.raises(ValueError, match="no annotator 'me': found cardiologist1, gold_standard"):
        convert(tmp_path / "data", tmp_path / "x", "--annotator", "me")


def test_an_empty_tracing_is_listed(tmp_path):
    make_folder(tmp_path / "data")
    with h5py.File(tmp_path / "data" / "ecg_tracings.hdf5", "a") as file:
        file["tracings"][3] = 0
    record, table = convert(tmp_path / "data", tmp_path / "table")
    assert record["rejected_by_reason"] == {"all-zero tracing": 1} and "3" not in table["test"]["exam_id"]


def test_files_that_do_not_belong_together(tmp_path):
    folder = tmp_path / "data"
    make_folder(folder, n=3)
    arguments = ["--source_dir", str(folder), "--output_dir", str(tmp_path / "out")]

    def refused(error, message):
        with pytest.raises(error, match=message):
            main(arguments)
        assert not (tmp_path / "out").exists()

    attributes = folder / "attributes.csv"
    attributes.write_text("age,sex\n40,M\n50,F\n")
    refused(ValueError, r"attributes\.csv: expected 3 lines, one for each tracing: found 2")
    attributes.write_text("age,sex\n40,M\n50,F\n60,?\n")
    refused(ValueError, r"attributes\.csv, exam 2: expected the sex M or F, found '\?'")
    attributes.write_text("age,sex\n40,M\n50,F\n60,M\n")
    gold = folder / "annotations" / "gold_standard.csv"
    gold.write_text(gold.read_text().replace("0,1,0,0,0,0", "0,2,0,0,0,0"))
    refused(ValueError, r"gold_standard\.csv, exam 1, column RBBB: expected 0 or 1, found '2'")
    with h5py.File(folder / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = np.zeros((3, 12, 4096), np.float32)
    refused(ValueError, r"expected tracings of shape \(exams, 4096, 12\) in floating point, found \(3, 12, 4096\)")
    with h5py.File(folder / "ecg_tracings.hdf5", "w") as file:
        file["signal"] = np.zeros(3)
    refused(ValueError, "expected the dataset tracings, found signal")
    (folder / "ecg_tracings.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    refused(ValueError, "not a readable HDF5 file, or truncated")
    (folder / "ecg_tracings.hdf5").unlink()
    refused(FileNotFoundError, r"ecg_tracings\.hdf5: no such file")
