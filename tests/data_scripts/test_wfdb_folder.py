"""Any folder of WFDB records to an exam table; headers of the CinC Challenges; PTB-XL's records."""

import re

import numpy as np
import pandas as pd
import pytest

from data_scripts import ptbxl
from data_scripts.tables.schema import SPLITS, ecg_array, load_exam_table
from data_scripts.text.snomed import CPSC_NAMES
from data_scripts.wfdb_folder import main, read_header
from modeling_ecgclip import EcgFeatureExtractor, read_ecg
from tests.data_scripts.wfdb_layout import LEADS, make_signal, write_challenge_record, write_record


LABELS = ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"]


def convert(folder, output, *arguments, command=main):
    """Runs the command line; returns its record and the rows by exam id."""
    record = command(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
    table = load_exam_table(output)
    return record, {row["exam_id"]: row for split in SPLITS for row in table[split]}


def test_records_of_ptbxl_are_read_to_the_same_integers(sample_data, tmp_path):
    folder = sample_data / "ptbxl_sample"
    _, expected = convert(folder, tmp_path / "ptbxl", command=ptbxl.main)
    record, rows = convert(folder / "records500", tmp_path / "folder", "--num_proc", 2)
    assert record["kept"] == len(rows) == len(expected) == 300
    for exam_id, row in expected.items():
        other = rows[f"{int(exam_id):05d}_hr"]
        assert other["ecg"] == row["ecg"] and other["n_samples"] == row["n_samples"]
        assert other["quality"] == row["quality"]
        assert (list(other["labels"].values()), other["age"], other["report"]) == ([-1] * 6, None, None)


def test_challenge_records(tmp_path):
    """As published: MATLAB files with an offset of 24 bytes, diagnoses in the header."""
    folder = tmp_path / "training"
    comments = {
        "A0001": ["#Age: 74", "#Sex: Male", "#Dx: 59118001", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"],
        "A0002": ["# Age: 49", "# Sex: Female", "# Dx: 426177001,713427006,270492004", "# Rx: Unknown"],
        "A0003": ["#Age: NaN", "#Sex: Unknown", "#Dx: 426783006"],
        "A0004": ["#Age: 60", "#Sex: F", "#Dx: Unknown"],
        "A0005": ["#Age: 60", "#Sex: F", "#Dx: RBBB"],
        "A0006": ["#Age: 60", "#Sex: F", "#Dx: I45.1"],
        "JS0001": ["#Age: 85", "#Sex: Male", "#Dx: 164889003,733534002, 427084000"],
        "JS0002": ["#Age: 85", "#Sex: Male", "#Dx: 6374002,195080001,164909002"],
    }
    signals = {}
    for i, (name, lines) in enumerate(comments.items()):
        group = folder / ("cpsc_2018/g1" if name[0] == "A" else "chapman_shaoxing/g1")
        signals[name] = make_signal(i, 4000)
        gain = "1000.0(0)/mV" if name == "JS0001" else "1000/mV"
        write_challenge_record(group, name, signals[name], lines, fs=400, gain=gain)
    record, rows = convert(folder, tmp_path / "table", "--source_name", "cinc2021")
    # CPSC2018, whose records have such names, annotates neither sinus bradycardia nor tachycardia.
    expected = {
        "A0001": (74, "male", [0, 1, 0, -1, 0, -1]),
        "A0002": (49, "female", [1, 1, 0, 1, 0, -1]),
        "A0003": (None, None, [0, 0, 0, -1, 0, -1]),
        "A0004": (60, "female", [-1] * 6),
        "A0005": (60, "female", [0, 1, 0, -1, 0, -1]),  # CPSC2018's own name of it
        "A0006": (60, "female", [-1] * 6),
        "JS0001": (85, "male", [0, 0, 1, 0, 1, 1]),
        # Of one side it is said which, of the other it stays open; fibrillation and flutter may be either.
        "JS0002": (85, "male", [0, -1, 1, 0, -1, 0]),
    }
    for name, (age, sex, labels) in expected.items():
        row = rows[name]
        assert (row["age"], row["sex"], list(row["labels"].values())) == (age, sex, labels), name
        assert row["source"] == "cinc2021" and row["patient_id"] == name and row["report"] is None
        np.testing.assert_array_equal(np.reshape(row["ecg"], (12, 4096))[:, 48:-48], signals[name])
    assert record["headers"]["with_codes"] == 6 and record["headers"]["with_other_diagnoses"] == 1
    assert "each exam counts as its own patient" in record["patients"]


def test_headers_of_any_kind(tmp_path):
    path = tmp_path / "a.hea"
    path.write_bytes(b"a 0 500\n#Age : 50\n#Age: 51\n#Sex:male\n# a free remark\n#Dx:  \n# \xff\xfe\n")
    header = read_header(path)
    assert (header["age"], header["sex"], header["annotated"]) == (50, "male", False)
    assert header["codes"] == []
    path.write_text("a 0 500\n#Age: -1\n#Dx: 164951009\n")
    header = read_header(path)
    assert np.isnan(header["age"]) and header["codes"] == ["164951009"] and header["annotated"]
    assert read_header(tmp_path / "absent.hea")["annotated"] is False


@pytest.fixture
def archive(tmp_path):
    """A clinic's folder: twelve records in folders of years, and a table of its own column names."""
    folder = tmp_path / "archive"
    rows = []
    for i in range(12):
        write_record(folder / f"20{i % 3:02d}", f"exam{i}", make_signal(i, 1000), fs=100)
        rows.append(
            {
                "file": f"20{i % 3:02d}/exam{i}.dat",
                "number": f"E{i}",
                "person": f"P{i // 2}",
                "laudo": f"Onda P normal. QRS {i % 4}. Conclusão: bloqueio de ramo direito.",
                "rbbb": ["yes", "no", "", "1"][i % 4],
                "AF": i % 2,
                "age": 40 + i,
                "sex": "M" if i % 2 else "female",
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "archive.csv", index=False)
    columns = ["--record_column", "file", "--exam_id_column", "number", "--patient_id_column", "person"]
    columns += ["--report_column", "laudo", "--label_columns", "RBBB=rbbb"]
    return folder, ["--table", tmp_path / "archive.csv", *columns]


def test_table_with_columns_of_other_names(archive, tmp_path):
    folder, arguments = archive
    record, rows = convert(folder, tmp_path / "table", *arguments)
    assert (record["found"], record["kept"], record["rejected"]) == (12, 12, 0)
    for i in range(12):
        row = rows[f"E{i}"]
        assert row["patient_id"] == f"P{i // 2}" and row["age"] == 40 + i
        assert row["sex"] == ("male" if i % 2 else "female") and row["source"] == "wfdb_folder"
        assert row["report"] == f"Onda P normal. QRS {i % 4}."
        assert list(row["labels"].values()) == [-1, [1, 0, -1, 1][i % 4], -1, -1, i % 2, -1]
        assert row["n_samples"] == 4000
    assert rows["E1"]["report_id"] == rows["E5"]["report_id"] != rows["E2"]["report_id"]
    assert record["reports"]["free_of_conclusions"] is True and record["reports"]["distinct_reports"] == 4
    assert str(tmp_path) not in (tmp_path / "table" / "conversion.json").read_text()
    again, same = convert(folder, tmp_path / "two", *arguments, "--num_proc", 2)
    assert {**record, "settings": None} == {**again, "settings": None} and rows == same


def test_headings_of_ones_own(archive, tmp_path):
    folder, arguments = archive
    text = (tmp_path / "archive.csv").read_text().replace("Conclusão:", "Bedömning:").replace("QRS 3", "BRD")
    (tmp_path / "archive.csv").write_text(text)
    record, rows = convert(folder, tmp_path / "whole", *arguments)
    assert record["reports"]["without_heading"] == 12 and "Bedömning" in rows["E0"]["report"]
    record, rows = convert(folder, tmp_path / "cut", *arguments, "--conclusion_headings", "bedomning")
    assert rows["E0"]["report"] == "Onda P normal. QRS 0." and record["reports"]["without_heading"] == 0
    left = record["reports"]["diagnosis_words_left"]
    assert left == {"right bundle branch block": {"reports": 3, "examples": ["Onda P normal. BRD."]}}
    with pytest.raises(ValueError, match="--conclusion_headings is about what a table holds: give --table"):
        convert(folder, tmp_path / "none", "--conclusion_headings", "Bedömning")


def test_a_diagnosis_above_the_heading_is_seen_and_masked_on_request(archive, tmp_path):
    folder, arguments = archive
    text = (tmp_path / "archive.csv").read_text().replace("QRS 3.", "Fibrilação atrial com BRE e RR irregular.")
    (tmp_path / "archive.csv").write_text(text)
    record, rows = convert(folder, tmp_path / "as_written", *arguments)
    facts = record["reports"]
    assert rows["E3"]["report"] == "Onda P normal. Fibrilação atrial com BRE e RR irregular."
    assert (facts["without_heading"], facts["with_diagnosis_words"], facts["masked"]) == (0, 3, 0)
    assert facts["labels_named"] == {"1dAVb": 0, "RBBB": 0, "LBBB": 3, "SB": 0, "AF": 3, "ST": 0}
    assert facts["free_of_conclusions"] is False and record["settings"]["mask_diagnoses"] is False
    record, rows = convert(folder, tmp_path / "masked", *arguments, "--mask_diagnoses")
    facts = record["reports"]
    assert rows["E3"]["report"] == "Onda P normal. ___ com ___ e RR irregular."
    assert (facts["had_diagnosis_words"], facts["masked"], facts["with_diagnosis_words"]) == (3, 3, 0)
    assert facts["free_of_conclusions"] is True and record["settings"]["mask_diagnoses"] is True
    with pytest.raises(ValueError, match="--mask_diagnoses is about what a table holds: give --table"):
        convert(folder, tmp_path / "none", "--mask_diagnoses")


def test_what_has_no_counterpart_is_listed(archive, tmp_path):
    folder, arguments = archive
    table = pd.read_csv(tmp_path / "archive.csv", dtype=str)
    table.loc[0, "file"] = "2000/elsewhere"
    table.loc[1, "person"] = ""
    table.drop(index=2).to_csv(tmp_path / "archive.csv", index=False)
    (folder / "2000" / "exam3.hea").write_text("no header")
    (folder / "2001" / "exam4.dat").unlink()
    write_record(folder / "2001", "exam7", make_signal(7, 1000)[:3], LEADS[6:9], fs=100)
    (folder / "2002" / ".exam.hea").write_text("left behind by a file manager")
    record, rows = convert(folder, tmp_path / "table", *arguments, "--max_rejected_fraction", 0.5)
    assert (record["found"], record["kept"], record["rejected"]) == (13, 6, 7)
    listed = pd.read_csv(tmp_path / "table" / "rejected.csv", dtype=str)
    assert sorted(zip(listed["record"], listed["reason"], strict=True)) == [
        ("2000/exam0", "not in the table"),
        ("2002/exam2", "not in the table"),
        ("E0", "record not found"),
        ("E1", "no patient_id"),
        ("E3", "unreadable record"),
        ("E4", "record not found"),
        ("E7", "not a 12-lead ECG"),
    ]
    assert sorted(rows) == ["E10", "E11", "E5", "E6", "E8", "E9"]


def test_names_that_are_not_unique_are_paths(tmp_path):
    for group in ("a", "b"):
        write_record(tmp_path / "folder" / group, "1", make_signal(ord(group), 4000), fs=400)
    _, rows = convert(tmp_path / "folder", tmp_path / "table")
    assert sorted(rows) == ["a/1", "b/1"]
    frame = pd.DataFrame({"record": ["b/1", "a/1"], "split": ["test", "train"], "patient_id": ["p", "q"]})
    frame["exam_id"] = ["B", "A"]
    frame.to_csv(tmp_path / "table.csv", index=False)
    record, rows = convert(tmp_path / "folder", tmp_path / "named", "--table", tmp_path / "table.csv")
    np.testing.assert_array_equal(np.reshape(rows["B"]["ecg"], (12, 4096))[:, 48:-48], make_signal(ord("b"), 4000))
    assert record["split_rule"] == "the table's column of splits"
    assert [record["splits"][split]["exams"] for split in SPLITS] == [1, 0, 1]
    # A name that two records share names neither.
    frame.assign(record=["1", "a/1"]).to_csv(tmp_path / "table.csv", index=False)
    record, rows = convert(
        tmp_path / "folder", tmp_path / "by_name", "--table", tmp_path / "table.csv", "--max_rejected_fraction", 1
    )
    assert sorted(rows) == ["A"] and record["rejected_by_reason"] == {"not in the table": 1, "record not found": 1}


def test_units_and_lead_names_of_the_header_hold(tmp_path):
    """Microvolts, leads in another order and under other names, aVR to aVF left out."""
    signal = make_signal(1, 4000)
    kept = [*range(6, 12), 1, 0]
    write_record(tmp_path / "folder", "r", signal[kept], [f"lead {LEADS[i]}".upper() for i in kept], fs=400)
    header = tmp_path / "folder" / "r.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "1.0(0)/uV"))
    record, rows = convert(tmp_path / "folder", tmp_path / "table")
    ecg = np.reshape(rows["r"]["ecg"], (12, 4096))[:, 48:-48]
    np.testing.assert_array_equal(ecg, signal)
    assert set(record["quality"]) == {"derived:III", "derived:aVR", "derived:aVL", "derived:aVF"}


def test_channels_that_are_no_leads_are_left_out(tmp_path):
    signal = make_signal(2, 4000)
    more = np.concatenate([signal[:6], 5 * signal[:2], signal[6:]])
    write_record(tmp_path / "folder", "r", more, [*LEADS[:6], "vx", "RESP", *LEADS[6:]], fs=400)
    write_record(tmp_path / "folder", "s", signal[:3], ["MLII", "vx", "vy"], fs=400)
    record, rows = convert(tmp_path / "folder", tmp_path / "table", "--max_rejected_fraction", 0.5)
    np.testing.assert_array_equal(np.reshape(rows["r"]["ecg"], (12, 4096))[:, 48:-48], signal)
    assert list(rows) == ["r"] and record["rejected_by_reason"] == {"not a 12-lead ECG": 1}


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("number", "E1", r"expected each exam_id once; found 1 more than once: E1"),
        ("number", "", "row 2: expected a exam_id, found a blank cell"),
        ("file", "2001/exam1", r"record 2001/exam1 belongs to 2 rows of the table, exams E0, E1: expected one"),
        ("rbbb", "maybe", r"exam E0, column rbbb: expected one of 1, .*, found 'maybe'"),
        ("sex", "?", r"exam E0, column sex: expected one of m, male, f, female, found '\?'"),
        ("age", "old", "exam E0, column age: expected a number, found 'old'"),
    ],
)
def test_bad_cells_are_named(archive, tmp_path, column, cell, message):
    folder, arguments = archive
    table = pd.read_csv(tmp_path / "archive.csv", dtype=str, keep_default_na=False)
    table.loc[0, column] = cell
    table.to_csv(tmp_path / "archive.csv", index=False)
    with pytest.raises(ValueError, match=message):
        convert(folder, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_columns_that_are_not_there(archive, tmp_path):
    folder, _ = archive
    table = ["--table", tmp_path / "archive.csv"]
    with pytest.raises(ValueError, match="expected a column record or exam_id that names the records: found file, "):
        convert(folder, tmp_path / "out", *table)
    with pytest.raises(ValueError, match="missing columns nome, bre; found file, number"):
        convert(folder, tmp_path / "out", *table, "--record_column", "nome", "--label_columns", "LBBB=bre")
    with pytest.raises(ValueError, match="missing columns x; found"):
        convert(folder, tmp_path / "out", *table, "--record_column", "file", "--label_columns", "WPW=x")
    with pytest.raises(FileNotFoundError, match=r"--table .*none\.csv: no such file"):
        convert(folder, tmp_path / "out", "--table", tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected WFDB records, found no header"):
        convert(tmp_path / "empty", tmp_path / "out")


def test_splits_are_by_patient(tmp_path):
    for i in range(40):
        write_record(tmp_path / "folder", f"{i}", make_signal(i, 1000), fs=400)
    pd.DataFrame({"exam_id": range(40), "patient_id": [i // 4 for i in range(40)]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    convert(tmp_path / "folder", tmp_path / "table", "--table", tmp_path / "t.csv")
    table = load_exam_table(tmp_path / "table")
    patients = [set(table[split]["patient_id"]) for split in SPLITS]
    assert sum(map(len, patients)) == 10 and sum(len(ecg_array(table[split])) for split in SPLITS) == 40


def own_table(folder, rows):
    """Four records and a table of them; `rows` are further columns."""
    for i in range(4):
        write_record(folder / "records", f"e{i}", make_signal(i, 1000), fs=100)
    frame = pd.DataFrame({"exam_id": [f"e{i}" for i in range(4)]} | rows)
    frame.to_csv(folder / "table.csv", index=False)
    return folder / "records", ["--table", folder / "table.csv"]


def test_labels_of_any_name_and_numbers_to_predict(tmp_path, capsys):
    rows = {
        "NORM": [1, 0, "", "NA"],
        "MI": ["no", "yes", "-1", "-"],
        "lvef": [60, "", "nan", 35.5],
        "note": list("abcd"),
    }
    source, table = own_table(tmp_path, rows)
    arguments = [*table, "--label_columns", "NORM", "infarct=MI", "--target_columns", "lvef", "age"]
    record, rows = convert(source, tmp_path / "out", *arguments)
    assert [rows[f"e{i}"]["labels"] for i in range(4)] == [
        {"NORM": 1, "infarct": 0},
        {"NORM": 0, "infarct": 1},
        {"NORM": -1, "infarct": -1},
        {"NORM": -1, "infarct": -1},
    ]
    assert [rows[f"e{i}"]["targets"]["lvef"] for i in range(4)] == [60, None, None, 35.5]
    assert [label["name"] for label in record["labels"]] == ["NORM", "infarct"] and record["targets"] == ["lvef"]
    assert record["unused_columns"] == ["note"] and "nothing uses: note" in capsys.readouterr().err
    assert record["splits"]["train"]["labels"]["NORM"] is not None


def test_one_column_that_names_the_diagnosis(tmp_path):
    source, table = own_table(tmp_path, {"rhythm": ["SR", "AF", "None", "SR"]})
    record, rows = convert(source, tmp_path / "out", *table, "--class_column", "rhythm")
    assert [rows[f"e{i}"]["labels"] for i in range(4)] == [
        {"AF": 0, "SR": 1},
        {"AF": 1, "SR": 0},
        {"AF": -1, "SR": -1},
        {"AF": 0, "SR": 1},
    ]
    with pytest.raises(ValueError, match="--label_columns and --class_column both say what the labels are"):
        convert(source, tmp_path / "out", *table, "--class_column", "rhythm", "--label_columns", "AF")


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ({"NORM": [1, 0, 2, 0]}, ["--label_columns", "NORM"], "exam e2, column NORM: expected one of 1, .*found '2'"),
        ({"patient id": list("aabb")}, [], "'patient id' resembles patient_id"),
        ({"Patient-ID": list("aabb"), "af ": [0, 1, 0, 1]}, [], "'Patient-ID' resembles patient_id"),
        ({"A-F": [0, 1, 0, 1]}, [], "'A-F' resembles AF"),
        ({"age ": [1] * 4, "age": [2] * 4}, [], "expected each column once: found 'age' more than once"),
        ({"lvef": [1, "x", 2, 3]}, ["--target_columns", "lvef"], "exam e1, column lvef: expected a number, found 'x'"),
        ({}, ["--target_columns", "lvef"], "--target_columns lvef: missing columns lvef"),
        ({"NORM": [0, 1, 0, 1]}, ["--label_columns", "NORM", "NORM"], "expected each label once"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path, rows, arguments, message):
    source, table = own_table(tmp_path, rows)
    with pytest.raises(ValueError, match=message):
        convert(source, tmp_path / "out", *table, *arguments)


def test_columns_match_in_any_case_and_blanks_are_blank_in_any_spelling(tmp_path):
    columns = {
        " Patient_ID ": ["p0", "p0", "p1", "NULL"],
        "AF ": [1, 0, "nan", "NA"],
        "Report": ["Onda P normal.", "None", "n/a", "-"],
        "AGE": [40, 130, -1, ""],
        "Sex": ["M", "F", "None", "NA"],
    }
    source, table = own_table(tmp_path, columns)
    record, rows = convert(source, tmp_path / "out", *table)
    assert record["rejected_by_reason"] == {"no patient_id": 1}
    assert [rows[f"e{i}"]["labels"]["AF"] for i in range(3)] == [1, 0, -1]
    assert [rows[f"e{i}"]["report"] for i in range(3)] == ["Onda P normal.", None, None]
    assert [rows[f"e{i}"]["age"] for i in range(3)] == [40, None, None] and "2 below 0" in record["ages_left_out"]
    assert rows["e0"]["patient_id"] == rows["e1"]["patient_id"] == "p0" and rows["e2"]["sex"] is None
    text = (tmp_path / "table.csv").read_text().replace(",", ";")
    (tmp_path / "table.csv").write_text(text)
    again, _ = convert(source, tmp_path / "semicolons", *table)
    assert again["digest"] == record["digest"]


def test_every_snomed_code_as_a_label(sample_data, tmp_path):
    source = sample_data / "cinc2021" / "records"
    record, rows = convert(source, tmp_path / "all", "--labels", "all", "--max_rejected_fraction", "0.2")
    stated = pd.read_csv(source.parent / "records.csv", dtype=str).set_index("record")
    names = [label["name"] for label in record["labels"]]
    assert len(names) > 30 and next(one for one in record["labels"] if one["name"] == "164889003")["title"]
    for name, row in rows.items():
        codes = {CPSC_NAMES.get(code, code) for code in re.split(r"[,;\s]+", stated.loc[name, "dx"])}
        assert {label for label, value in row["labels"].items() if value == 1} == codes
        if stated.loc[name, "source"] == "CPSC2018":
            assert row["labels"]["426177001"] == -1 and row["labels"]["164889003"] in (0, 1)


def test_codes_six_labels_of_the_challenge_sample(sample_data, tmp_path):
    source = sample_data / "cinc2021" / "records"
    _, rows = convert(source, tmp_path / "six", "--max_rejected_fraction", "0.2")
    stated = pd.read_csv(source.parent / "records.csv", dtype=str, keep_default_na=False).set_index("record")
    for name, row in rows.items():
        positive = {label for label, value in row["labels"].items() if value == 1}
        assert positive == set(filter(None, stated.loc[name, "code6"].split(";"))), name
        if stated.loc[name, "source"] == "CPSC2018":
            assert row["labels"]["SB"] == row["labels"]["ST"] == -1


@pytest.mark.parametrize(
    ("arguments", "leads", "rate", "n_samples"),
    [
        (["--sampling_rate", 500], 12, 500, 5120),
        (["--sampling_rate", 200], 12, 200, 2048),
        (["--sampling_rate", 500, "--n_samples", 5000], 12, 500, 5000),
        (["--leads", "ii"], 1, 400, 4096),
        (["--leads", "independent", "--n_samples", 4000], 8, 400, 4000),
    ],
)
def test_other_windows(tmp_path, arguments, leads, rate, n_samples):
    source, table = own_table(tmp_path, {})
    record, rows = convert(source, tmp_path / "out", *table, *arguments)
    assert record["signal"]["sampling_rate"] == rate and len(record["signal"]["lead_names"]) == leads
    row = rows["e1"]
    assert len(row["ecg"]) == leads * n_samples and row["n_samples"] == min(n_samples, 10 * rate)
    ecg = read_ecg(row)
    assert (ecg.sampling_rate, ecg.signal.shape) == (rate, (leads, row["n_samples"]))
    extractor = EcgFeatureExtractor(ecg.lead_names, rate, n_samples)
    expected = extractor.standardize(make_signal(1, 1000), 100, LEADS, "uV").signal
    np.testing.assert_allclose(ecg.signal / 1000, expected[:, : row["n_samples"]], atol=6e-4)
