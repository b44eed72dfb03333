"""CODE-15% to an exam table: real exams, made-up ones, any number of processes, and everything that can be wrong."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from datasets import concatenate_datasets, load_dataset, load_from_disk

from data_scripts import shards
from data_scripts.code15 import main
from data_scripts.schema import EXAM_FEATURES, SPLITS, ecg_array, load_exam_table, split_of
from tests.data_scripts.code15_layout import exams_frame, make_tracing, write_part


@pytest.fixture
def convert(tmp_path):
    """Runs the command line; returns its record and the opened table."""

    def run(folder, *arguments, output="table"):
        output = tmp_path / output
        record = main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
        return record, load_exam_table(output)

    return run


@pytest.fixture
def refused(tmp_path):
    """Runs the command line, which must fail with `error`, a message that matches, and no output."""

    def run(folder, error, match, *arguments):
        output = tmp_path / "refused"
        with pytest.raises(error, match=match):
            main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
        assert not list(tmp_path.glob("refused*"))

    return run


def rows_of(table):
    """All rows by exam id."""
    return {row["exam_id"]: row for row in concatenate_datasets(list(table.values()))}


def microvolts(tracing):
    """Published values (4096, 12) are twice the millivolts."""
    return np.rint(tracing.T.astype(np.float64) / 2 * 1000)


def rejections(tmp_path, output="table"):
    frame = pd.read_csv(tmp_path / output / "rejected.csv", dtype=str, keep_default_na=False)
    return dict(zip(frame["record"], frame["reason"], strict=True))


def test_real_exams_are_all_kept_to_the_microvolt(sample_data, convert):
    source = sample_data / "code15_sample"
    record, table = convert(source)
    assert (record["found"], record["kept"], record["rejected"], record["zero_rows_skipped"]) == (10, 10, 0, 8)
    rows = rows_of(table)
    index = pd.read_csv(source / "exams.csv").set_index("exam_id")
    assert set(rows) == set(index.index.astype(str))
    for exam_id, line in index.iterrows():
        row = rows[str(exam_id)]
        with h5py.File(source / line["trace_file"]) as file:
            tracing = file["tracings"][list(file["exam_id"][:]).index(exam_id)]
        np.testing.assert_array_equal(np.reshape(row["ecg"], (12, 4096)), microvolts(tracing))
        assert row["n_samples"] == (2934 if tracing[0].any() == 0 else 4096)
        assert row["labels"] == [int(line[label]) for label in ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")]
        assert row["sex"] == ("male" if line["is_male"] else "female") and row["age"] == line["age"]
        assert row["patient_id"] == str(line["patient_id"]) and row["source"] == "code15"
        assert (row["report"], row["report_id"]) == (None, -1)
    assert "offset" in rows["1594286"]["quality"]  # its V2 lies 4.5 mV below zero


def test_rows_join_by_exam_id_and_padding_comes_back(code15_folder, convert):
    record, table = convert(code15_folder)
    assert record["found"] == record["kept"] == 50 and record["zero_rows_skipped"] == 2
    rows = rows_of(table)
    for exam_id in range(61, 111):
        row = rows[str(exam_id)]
        n_samples = 2934 if exam_id % 3 == 0 else 4096
        tracing = make_tracing(exam_id, n_samples)
        np.testing.assert_array_equal(np.reshape(row["ecg"], (12, 4096)), microvolts(tracing))
        assert row["n_samples"] == n_samples and row["quality"] == []
        assert row["labels"] == [int(exam_id % 7 == i) for i in range(6)]
    for split in SPLITS:
        assert all(split_of(patient) == split for patient in table[split]["patient_id"])
        assert record["splits"][split]["exams"] == len(table[split])


def test_the_folder_opens_both_ways_and_without_copying(code15_folder, convert, tmp_path):
    convert(code15_folder)
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [
        *("README.md", "conversion.json", "dataset_dict.json", "rejected.csv", "test", "train", "validation"),
    ]
    on_disk = load_from_disk(str(tmp_path / "table"))
    loaded = load_dataset(str(tmp_path / "table"), cache_dir=str(tmp_path / "cache"))
    streamed = load_dataset(str(tmp_path / "table"), streaming=True)
    for split in SPLITS:
        assert on_disk[split].features == loaded[split].features == EXAM_FEATURES
        assert on_disk[split]["exam_id"][:] == loaded[split]["exam_id"][:]
        assert [row["exam_id"] for row in streamed[split]] == on_disk[split]["exam_id"][:]
    column = on_disk["train"].data.column("ecg").chunk(0)
    view = ecg_array(column)
    assert not view.flags.owndata
    assert np.shares_memory(view, np.frombuffer(column.buffers()[-1], dtype=np.int16))


def test_any_number_of_processes_gives_the_same_rows(code15_folder, convert, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)
    texts = [f"Onda P normal {i % 4}. Conclusão: ECG normal" for i in range(50)]
    pd.DataFrame({"exam_id": range(61, 111), "report": texts}).to_csv(tmp_path / "reports.csv", index=False)
    first, one = convert(code15_folder, "--reports", tmp_path / "reports.csv", output="one")
    second, two = convert(code15_folder, "--reports", tmp_path / "reports.csv", "--num_proc", 2, output="two")
    assert first == second
    for split in SPLITS:
        assert one[split].to_dict() == two[split].to_dict()
    assert len(two["train"].cache_files) == 7  # 30 + 20 exams, so each process had several


def test_bad_exams_are_listed_and_the_others_kept(tmp_path, convert):
    folder = tmp_path / "code15"
    folder.mkdir()
    parts = {"exams_part0.hdf5": [1, 2, 3, 4, 5, 6, 7], "exams_part1.hdf5": [8, 9], "exams_part2.hdf5": [10, 11]}
    tracings = {i: make_tracing(i) for i in range(1, 13)}
    tracings[2][1000, 3] = np.nan
    tracings[3][:] = 0
    tracings[4][:, :] = 1.0
    tracings[5] *= 1000  # a unit mistaken: 500 mV
    write_part(folder / "exams_part0.hdf5", [7, 6, 5, 4, 3, 2, 1], [tracings[i] for i in [7, 6, 5, 4, 3, 2, 1]])
    # Exam 9 is not in its part; 12 is in no line of the CSV; 1 comes a second time.
    write_part(folder / "exams_part1.hdf5", [8, 12, 1], [tracings[8], tracings[12], tracings[8]])
    frame = exams_frame(parts)
    frame["patient_id"] = frame["patient_id"].astype(object)
    frame.loc[frame["exam_id"] == 6, "patient_id"] = ""
    frame.to_csv(folder / "exams.csv", index=False)

    record, table = convert(folder, "--max_rejected_fraction", 1)
    assert set(rows_of(table)) == {"1", "7", "8"}
    np.testing.assert_array_equal(np.reshape(rows_of(table)["1"]["ecg"], (12, 4096)), microvolts(tracings[1]))
    assert (record["found"], record["kept"], record["rejected"]) == (13, 3, 10)
    listed = pd.read_csv(tmp_path / "table" / "rejected.csv", dtype=str)
    assert sorted(zip(listed["record"], listed["reason"], strict=True)) == [
        ("1", "duplicate exam_id"),
        ("10", "part not found"),
        ("11", "part not found"),
        ("12", "not in exams.csv"),
        ("2", "NaN or infinite values"),
        ("3", "all-zero tracing"),
        ("4", "not a 12-lead ECG"),
        ("5", "not a 12-lead ECG"),
        ("6", "no patient_id"),
        ("9", "not in its part"),
    ]
    assert listed.set_index("record").loc["12", "detail"] == "exams_part1.hdf5, row 1"

    repaired, _ = convert(folder, "--max_rejected_fraction", 1, "--repair_nan", output="repaired")
    assert repaired["quality"] == {"nan_repaired": 1} and "2" not in rejections(tmp_path, "repaired")


def test_too_many_bad_exams_are_an_error(code15_folder, tmp_path, refused):
    with h5py.File(code15_folder / "exams_part0.hdf5", "r+") as file:
        file["tracings"][0:6] = 0
    refused(code15_folder, ValueError, "6 of 50 recordings were rejected.*exam 61: all-zero tracing")


def test_quality_flags(tmp_path, convert):
    folder = tmp_path / "code15"
    folder.mkdir()
    tracings = [make_tracing(i) for i in range(4)]
    tracings[1][:, 7] = 0
    tracings[2][:, 8] -= 9
    tracings[3][2000, 4] = -80  # -40 mV
    write_part(folder / "exams_part0.hdf5", [1, 2, 3, 4], tracings)
    exams_frame({"exams_part0.hdf5": [1, 2, 3, 4]}).to_csv(folder / "exams.csv", index=False)
    rows = rows_of(convert(folder)[1])
    assert [rows[str(i)]["quality"] for i in range(1, 5)] == [[], ["flat_lead"], ["offset"], ["clipped"]]
    assert np.reshape(rows["4"]["ecg"], (12, 4096))[4, 2000] == -32767


def test_damaged_chunk_costs_one_exam(code15_folder, convert, tmp_path):
    path = code15_folder / "exams_part0.hdf5"
    with h5py.File(path) as file:
        chunk = file["tracings"].id.get_chunk_info(4)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 10 : chunk.byte_offset + 2000] = bytes(1990)
    path.write_bytes(data)
    record, table = convert(code15_folder)
    assert record["rejected_by_reason"] == {"unreadable tracing": 1} and record["kept"] == 49
    assert rejections(tmp_path) == {"65": "unreadable tracing"}
    assert "65" not in rows_of(table)


def test_a_row_without_id_that_holds_a_tracing_is_listed(code15_folder, convert, tmp_path):
    write_part(code15_folder / "exams_part11.hdf5", [0], [make_tracing(0)])
    record, _ = convert(code15_folder)
    assert record["zero_rows_skipped"] == 3 and rejections(tmp_path) == {"0": "no exam_id"}


def edit_csv(folder, **changes):
    frame = pd.read_csv(folder / "exams.csv", dtype=str, keep_default_na=False)
    for column, value in changes.items():
        frame.loc[0, column] = value
    frame.to_csv(folder / "exams.csv", index=False)
    return frame["exam_id"][0]


def test_bad_exams_csv(code15_folder, refused):
    index = code15_folder / "exams.csv"
    good = index.read_text()
    edit_csv(code15_folder, is_male="maybe")
    refused(code15_folder, ValueError, r"exams.csv, exam \d+, column is_male: expected True or False, found 'maybe'")
    index.write_text(good)
    edit_csv(code15_folder, age="old")
    refused(code15_folder, ValueError, "column age: expected a number, found 'old'")
    index.write_text(good)
    edit_csv(code15_folder, exam_id="")
    refused(code15_folder, ValueError, "exams.csv: row 2 has no exam_id")
    frame = pd.read_csv(index, dtype=str)
    frame.drop(columns=["AF", "trace_file"]).to_csv(index, index=False)
    refused(code15_folder, ValueError, "exams.csv: missing columns AF, trace_file; found exam_id")
    lines = good.splitlines()
    index.write_text("\n".join([*lines, lines[3]]))
    duplicate = lines[3].split(",")[0]
    refused(code15_folder, ValueError, f"exams.csv: expected each exam_id once; found 1 more than once: {duplicate}")
    index.write_text(lines[0])
    refused(code15_folder, ValueError, "expected one row for each exam, found none")
    index.unlink()
    refused(code15_folder, FileNotFoundError, "exams.csv: no such file")
    refused(code15_folder / "absent", FileNotFoundError, "absent: no such folder")


def test_unknown_age_sex_and_label_stay_unknown(code15_folder, convert):
    exam_id = edit_csv(code15_folder, age="", is_male="", AF="")
    row = rows_of(convert(code15_folder)[1])[exam_id]
    assert row["age"] is None and row["sex"] is None and row["labels"][4] == -1


def test_bad_parts(code15_folder, refused):
    path = code15_folder / "exams_part10.hdf5"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    refused(code15_folder, ValueError, "exams_part10.hdf5: not a readable HDF5 file, or truncated")
    path.write_bytes(b"")
    refused(code15_folder, ValueError, "exams_part10.hdf5: not a readable HDF5 file, or truncated")
    write_part(path, [91], [make_tracing(0)[:, :11]])
    refused(code15_folder, ValueError, r"expected tracings of shape \(exams, 4096, 12\).*found \(2, 4096, 11\)")
    write_part(path, [91], [make_tracing(0)])
    with h5py.File(path, "r+") as file:
        del file["exam_id"]
        file["exam_id"] = np.array([91])
    refused(code15_folder, ValueError, r"expected 2 whole numbers exam_id, found \(1,\)")
    with h5py.File(path, "r+") as file:
        del file["exam_id"]
    refused(code15_folder, ValueError, "expected the datasets exam_id and tracings, found tracings")
    path.unlink()
    (code15_folder / "exams_part0.hdf5").unlink()
    refused(code15_folder, ValueError, "none of the parts that exams.csv names is there: exams_part0.hdf5")


def test_no_exam_left_is_an_error(tmp_path, refused):
    folder = tmp_path / "code15"
    folder.mkdir()
    write_part(folder / "exams_part0.hdf5", [1], [make_tracing(1)])
    exams_frame({"exams_part0.hdf5": [2]}).to_csv(folder / "exams.csv", index=False)
    refused(folder, ValueError, "no exam could be kept of 2 found.*exam 1: not in exams.csv")


def test_reports_are_cut_and_counted(code15_folder, convert, tmp_path):
    reports = {
        61: "Onda P: normal.\nConclusão: Taquicardia sinusal. label: {RBBB: 0, ST: 1}",
        62: "Onda P: normal. Conclusão: ECG normal. label: {AF: 1}",
        63: "  ",
        64: "Conclusão: ECG normal",
        65: "QRS: alargado, sem outras partes",
        9999: "Onda P: normal. Conclusão: de outro arquivo",
    }
    pd.DataFrame({"exam_id": reports.keys(), "report": reports.values()}).to_csv(tmp_path / "r.csv", index=False)
    record, table = convert(code15_folder, "--reports", tmp_path / "r.csv")
    rows = rows_of(table)
    assert rows["61"]["report"] == rows["62"]["report"] == "Onda P: normal."
    assert rows["61"]["report_id"] == rows["62"]["report_id"] == 0
    assert rows["65"]["report"] == "QRS: alargado, sem outras partes" and rows["65"]["report_id"] == 1
    assert [rows[i]["report_id"] for i in ("63", "64", "66")] == [-1] * 3
    assert [rows[i]["report"] for i in ("63", "64", "66")] == [None] * 3
    facts = record["reports"]
    assert (facts["exams_with_report"], facts["distinct_reports"], facts["not_an_exam"]) == (3, 2, 1)
    assert (facts["empty"], facts["without_description"], facts["without_heading"]) == (1, 1, 1)
    assert (facts["conflicts"], facts["conflicts_AF"], facts["free_of_conclusions"]) == (1, 1, False)
    assert not any("Conclus" in (row["report"] or "") for row in rows.values())
    assert str(tmp_path) not in (tmp_path / "table" / "conversion.json").read_text()


def test_reports_of_another_archive_are_refused(code15_folder, tmp_path, refused):
    pd.DataFrame({"exam_id": [7, 8], "report": ["a", "b"]}).to_csv(tmp_path / "r.csv", index=False)
    refused(
        code15_folder,
        ValueError,
        "r.csv: none of its 2 exam_ids is an exam of the source: expected such as 61, found such as 7",
        *("--reports", tmp_path / "r.csv"),
    )


def test_a_simulated_archive_says_so(code15_folder, convert):
    (code15_folder / "simulation.json").write_text(json.dumps({"seed": 5}))
    record, table = convert(code15_folder)
    assert record["source"] == "simulated" and record["simulation"] == {"seed": 5}
    assert set(table["train"]["source"]) == {"simulated"}


def test_output_folder_is_not_overwritten_by_accident(code15_folder, tmp_path, convert):
    arguments = ["--source_dir", str(code15_folder), "--output_dir"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="exists and is not an exam table"):
        main([*arguments, str(tmp_path / "other"), "--overwrite_output_dir"])
    assert (tmp_path / "other" / "thesis.txt").read_text() == "precious"

    convert(code15_folder)
    with pytest.raises(FileExistsError, match="or replace it with --overwrite_output_dir"):
        main([*arguments, str(tmp_path / "table")])
    record, table = convert(code15_folder, "--overwrite_output_dir", "--seed", 3)
    assert record["settings"]["seed"] == 3
    assert all(split_of(patient, 3) == "train" for patient in table["train"]["patient_id"])


def test_bad_settings(code15_folder, refused):
    refused(code15_folder, ValueError, "--num_proc must be at least 1: found 0", "--num_proc", 0)
    refused(code15_folder, ValueError, "must lie in .0, 1.: found 2.0", "--max_rejected_fraction", 2)
