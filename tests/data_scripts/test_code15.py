"""CODE-15% to an exam table: real exams, made-up ones, any number of processes, and everything that can be wrong."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset, load_from_disk

from data_scripts.code15 import main, read_exams_csv
from data_scripts.conversion import shards
from data_scripts.tables.schema import EXAM_FEATURES, SPLITS, ecg_array, split_of
from tests.data_scripts.code15_layout import edit_csv, make_tracing, microvolts, rows_of


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
        assert list(row["labels"].values()) == [
            int(line[label]) for label in ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
        ]
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
        assert list(row["labels"].values()) == [int(exam_id % 7 == i) for i in range(6)]
    for split in SPLITS:
        assert all(split_of(patient) == split for patient in table[split]["patient_id"])
        assert record["splits"][split]["exams"] == len(table[split])


def test_the_folder_opens_both_ways_and_without_copying(code15_folder, convert, tmp_path):
    convert(code15_folder)
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [
        *("README.md", "SHA256SUMS", "conversion.json", "dataset_dict.json", "rejected.csv"),
        *("test", "train", "validation"),
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


@pytest.mark.parametrize(
    "layout",
    [{}, {"chunks": (7, 4096, 12)}, {"chunks": (7, 512, 3), "compression": "gzip"}, {"chunks": (30, 4096, 12)}],
    ids=["one piece", "chunks of rows", "chunks of leads", "one chunk"],
)
def test_the_layout_of_the_file_does_not_matter(code15_folder, convert, tmp_path, layout, monkeypatch):
    expected, _ = convert(code15_folder)
    with h5py.File(code15_folder / "exams_part0.hdf5", "r+") as file:
        tracings = file["tracings"][:]
        del file["tracings"]
        file.create_dataset("tracings", data=tracings, **layout)
    monkeypatch.setattr("data_scripts.code15.ROWS_PER_READ", 4)
    monkeypatch.setattr("data_scripts.code15.MAX_READ_BYTES", 10 * 4096 * 12 * 4)
    assert convert(code15_folder, output="other")[0] == expected


def test_unknown_age_sex_and_label_stay_unknown(code15_folder, convert):
    exam_id = edit_csv(code15_folder, age="", is_male="", AF="")
    row = rows_of(convert(code15_folder)[1])[exam_id]
    assert row["age"] is None and row["sex"] is None and row["labels"]["AF"] == -1


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
    assert (facts["conflicts"], facts["conflicts_AF"], facts["free_of_conclusions"]) == (1, 1, True)
    # The report without a heading names no diagnosis: it states no conclusion.
    assert (facts["without_heading_with_diagnosis_words"], facts["with_diagnosis_words"]) == (0, 0)
    assert not any("Conclus" in (row["report"] or "") for row in rows.values())
    assert str(tmp_path) not in (tmp_path / "table" / "conversion.json").read_text()


def test_headings_of_ones_own_and_diagnoses_that_are_left(code15_folder, convert, tmp_path, capsys):
    reports = ["P absent. BEDÖMNING: AF", "Secondary to RBBB. Impression: RBBB", "nan", "NULL", "P absent."]
    pd.DataFrame({"exam_id": range(61, 66), "report": reports}).to_csv(tmp_path / "r.csv", index=False)
    record, table = convert(
        code15_folder, "--reports", tmp_path / "r.csv", "--conclusion_headings", "Bedömning", "Slutsats"
    )
    rows, facts = rows_of(table), record["reports"]
    expected = ["P absent.", "Secondary to RBBB.", None, None, "P absent."]
    assert [rows[str(exam_id)]["report"] for exam_id in range(61, 66)] == expected
    assert (facts["empty"], facts["without_heading"], facts["with_diagnosis_words"]) == (2, 1, 1)
    left = {"right bundle branch block": {"reports": 1, "examples": ["Secondary to RBBB."]}}
    assert facts["diagnosis_words_left"] == left and facts["free_of_conclusions"] is False
    assert record["settings"]["conclusion_headings"] == ["Bedömning", "Slutsats"]
    assert '    right bundle branch block: 1, such as "Secondary to RBBB."\n' in capsys.readouterr().out
    assert json.loads((tmp_path / "table" / "conversion.json").read_text())["reports"] == facts


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--conclusion_headings", "Bedömning"], "--conclusion_headings is about reports: give --reports"),
        (["--mask_diagnoses"], "--mask_diagnoses is about reports: give --reports"),
        (["--conclusion_headings", ":"], "--conclusion_headings: expected the words of a heading, found :"),
    ],
)
def test_headings_that_cannot_be_used(code15_folder, refused, arguments, match):
    refused(code15_folder, ValueError, match, *arguments)


def test_cells_that_stand_for_nothing_are_unknown(code15_folder, convert):
    exam_id = edit_csv(code15_folder, is_male="None", AF="NA", age="-", patient_id="nan")
    row = read_exams_csv(code15_folder / "exams.csv").iloc[0]
    assert np.isnan(row["age"]) and row["sex"] is None and row["AF"] == -1 and row["patient_id"] == ""
    record, table = convert(code15_folder)
    assert record["rejected_by_reason"] == {"no patient_id": 1} and exam_id not in rows_of(table)


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
