"""MIMIC-IV-ECG to an exam table."""

import json

import numpy as np
import pandas as pd
import pytest

from data_scripts.mimic_iv_ecg import main
from data_scripts.tables.schema import SPLITS, load_exam_table
from tests.data_scripts.wfdb_layout import LEADS, make_signal, write_record


# As the source has them: aVF before aVL.
MIMIC_LEADS = [0, 1, 2, 3, 5, 4, *range(6, 12)]
STATEMENTS = {
    0: ["Sinus rhythm", "Left axis deviation", "Normal ECG except for rate"],
    1: ["Atrial fibrillation with rapid ventricular response", "Lateral ST-T changes may be due to ischemia"],
    2: ["Sinus rhythm", "Normal ECG"],
    3: ["Sinus bradycardia", "Left  axis deviation"],
}


def make_tree(folder, n=12):
    """Records in the published tree: two groups of patients, two studies for each patient."""
    rows, machine = [], []
    for i in range(n):
        subject, study = 10000032 + 1000000 * (i % 2) + i // 4, 40000000 + 7 * i
        path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
        write_record(
            folder / path.rpartition("/")[0],
            str(study),
            make_signal(i)[MIMIC_LEADS],
            [LEADS[lead] for lead in MIMIC_LEADS],
        )
        time = f"2180-07-23 08:{i:02d}:00"
        rows.append({"subject_id": subject, "study_id": study, "file_name": study, "ecg_time": time, "path": path})
        line = {"subject_id": subject, "study_id": study, "cart_id": 6848296, "ecg_time": time}
        statements = STATEMENTS[i % 4]
        line |= {f"report_{k}": statements[k] if k < len(statements) else "" for k in range(18)}
        machine.append(line | {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch", "rr_interval": 659})
    pd.DataFrame(rows).to_csv(folder / "record_list.csv", index=False)
    # In another order than the records, and with a study that has none.
    machine.append(machine[0] | {"study_id": 49999999})
    pd.DataFrame(machine).sample(frac=1, random_state=0).to_csv(folder / "machine_measurements.csv", index=False)
    return pd.DataFrame(rows)


def convert(folder, output, *arguments):
    record = main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
    table = load_exam_table(output)
    return record, {row["exam_id"]: row for split in SPLITS for row in table[split]}


def test_rows(tmp_path):
    rows = make_tree(tmp_path / "mimic")
    record, exams = convert(tmp_path / "mimic", tmp_path / "table")
    assert (record["found"], record["kept"], record["source"]) == (12, 12, "mimic_iv_ecg")
    texts = {0: "Left axis deviation.", 1: "Lateral ST-T changes.", 2: None, 3: "Left axis deviation."}
    for i, line in rows.iterrows():
        exam = exams[str(line["study_id"])]
        assert exam["patient_id"] == str(line["subject_id"])
        assert list(exam["labels"].values()) == [-1] * 6 and exam["age"] is None and exam["sex"] is None
        assert exam["report"] == texts[i % 4] and (exam["report_id"] == -1) == (i % 4 == 2)
        ecg = np.reshape(exam["ecg"], (12, 4096))[:, 48:-48]
        for lead, signal in zip(ecg, make_signal(i), strict=True):  # right lead: at every fourth of five samples
            assert np.corrcoef(lead, np.interp(np.arange(4000) / 400, np.arange(5000) / 500, signal))[0, 1] > 0.7
    reports = record["reports"]
    assert (reports["exams_with_report"], reports["distinct_reports"], reports["statements"]) == (9, 2, 27)
    assert reports["exams_without_findings"] == 3 and reports["free_of_conclusions"] is True
    assert reports["with_diagnosis_words"] == 0
    assert "nobody checked" in record["labels_note"]
    _, same = convert(tmp_path / "mimic", tmp_path / "two", "--num_proc", 2)
    assert exams == same


def test_all_statements_on_request(tmp_path):
    make_tree(tmp_path / "mimic", n=4)
    record, exams = convert(tmp_path / "mimic", tmp_path / "table", "--statements", "all")
    assert exams["40000000"]["report"] == "Sinus rhythm. Left axis deviation. Normal ECG except for rate."
    assert exams["40000021"]["report"] == "Sinus bradycardia. Left axis deviation."
    assert record["reports"]["free_of_conclusions"] is False
    assert record["reports"]["labels_named"]["SB"] == record["reports"]["labels_named"]["AF"] == 1


def test_nan_is_repaired_lead_by_lead(tmp_path):
    rows = make_tree(tmp_path / "mimic", n=4)
    names = [LEADS[lead] for lead in MIMIC_LEADS]
    nan = np.zeros((12, 5000), dtype=bool)
    nan[8, 1000:1100] = True  # V3, for 0.2 s
    folders = [tmp_path / "mimic" / path.rpartition("/")[0] for path in rows["path"]]
    write_record(folders[0], str(rows["study_id"][0]), make_signal(0)[MIMIC_LEADS], names, nan=nan)
    whole = np.zeros((12, 5000), dtype=bool)
    whole[5] = True  # all of aVL: I and II determine it
    write_record(folders[1], str(rows["study_id"][1]), make_signal(3)[MIMIC_LEADS], names, nan=whole)
    whole[6] = True  # and V1, which nothing determines
    write_record(folders[2], str(rows["study_id"][2]), make_signal(2)[MIMIC_LEADS], names, nan=whole)
    record, exams = convert(tmp_path / "mimic", tmp_path / "table", "--max_rejected_fraction", 0.5)
    ids = rows["study_id"].astype(str)
    assert exams[ids[0]]["quality"] == ["nan_repaired:V3:2.0%"]
    repaired = np.reshape(exams[ids[0]]["ecg"], (12, 4096))[8, 48 + 810 : 48 + 870]
    assert np.abs(np.diff(repaired, n=2)).max() <= 20  # a straight line, but for what the filter brings in
    assert sorted(exams[ids[1]]["quality"]) == ["derived:aVL", "nan_lead:aVL:100.0%"]
    assert record["rejected_by_reason"] == {"not a 12-lead ECG": 1} and ids[2] not in exams
    record, exams = convert(tmp_path / "mimic", tmp_path / "strict", "--no_repair_nan", "--max_rejected_fraction", 0.8)
    assert record["rejected_by_reason"] == {"NaN or infinite values": 3} and list(exams) == [ids[3]]


def test_a_part_of_the_tree_and_no_measurements(tmp_path):
    rows = make_tree(tmp_path / "mimic")
    (tmp_path / "mimic" / "machine_measurements.csv").unlink()
    for path in rows["path"][:8]:
        (tmp_path / "mimic" / f"{path}.hea").unlink()
    record, exams = convert(tmp_path / "mimic", tmp_path / "table")
    assert (record["found"], record["kept"], record["rejected"]) == (12, 4, 8)
    assert record["rejected_by_reason"] == {"record not found": 8}
    assert "machine_measurements.csv is not there" in record["reports"]["note"]
    assert all(exam["report"] is None for exam in exams.values())


def test_splits_keep_patients_together(tmp_path):
    make_tree(tmp_path / "mimic")
    convert(tmp_path / "mimic", tmp_path / "table")
    table = load_exam_table(tmp_path / "table")
    assert sum(len(set(table[split]["patient_id"])) for split in SPLITS) == 6
    assert json.loads((tmp_path / "table" / "conversion.json").read_text())["split_rule"].startswith("sha256")


def test_bad_tables_are_named(tmp_path):
    rows = make_tree(tmp_path / "mimic", n=2)
    arguments = ["--source_dir", str(tmp_path / "mimic"), "--output_dir", str(tmp_path / "out")]
    path = tmp_path / "mimic" / "record_list.csv"
    rows.assign(study_id=1).to_csv(path, index=False)
    with pytest.raises(ValueError, match="expected each exam_id once; found 1 more than once: 1"):
        main(arguments)
    rows.assign(path=["", "x"]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"record_list\.csv, row 2: expected a path, found a blank cell"):
        main(arguments)
    rows.drop(columns="path").to_csv(path, index=False)
    with pytest.raises(ValueError, match="missing columns path; found subject_id, study_id, file_name, ecg_time"):
        main(arguments)
    rows.to_csv(path, index=False)
    (tmp_path / "mimic" / "machine_measurements.csv").write_text("study,report_0\n1,x\n")
    with pytest.raises(ValueError, match="missing columns study_id; found study, report_0"):
        main(arguments)
    assert not (tmp_path / "out").exists()
