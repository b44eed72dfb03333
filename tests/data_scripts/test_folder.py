"""Any folder of ECG files to an exam table."""

import shutil

import numpy as np
import pandas as pd
import pytest

from data_scripts.folder import main
from data_scripts.tables.schema import SPLITS, load_exam_table
from data_scripts.wfdb_folder import main as wfdb_main
from tests.data_scripts.wfdb_layout import LEADS, make_signal, write_challenge_record, write_record


def convert(folder, output, *arguments, command=main):
    record = command(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
    table = load_exam_table(output)
    return record, {row["exam_id"]: row for split in SPLITS for row in table[split]}


def test_files_of_any_kind_and_their_table(tmp_path):
    folder = tmp_path / "files"
    signals = {name: make_signal(i, 4000) for i, name in enumerate(("a", "b", "c", "d"))}
    write_record(folder / "one", "a", signals["a"], fs=400)
    write_challenge_record(folder / "two", "b", signals["b"], ["#Age: 50", "#Dx: 164889003"], fs=400)
    np.savez(folder / "c.npz", ecg=signals["c"], sampling_rate=400, unit="uV", lead_names=list(LEADS))
    pd.DataFrame(signals["d"].T, columns=LEADS).to_csv(folder / "d.csv", index=False)
    (folder / "notes.txt").write_text("no ECG")
    rows = {"record": ["one/a", "b", "c.npz", "d.csv", "absent"], "exam_id": list("ABCDE"), "AF": [0, 1, 1, 0, 1]}
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    record, exams = convert(
        folder, tmp_path / "out", "--table", folder / "table.csv", "--unit", "uV", "--recorded_rate", 400
    )
    assert (record["kept"], sorted(exams)) == (4, list("ABCD"))
    assert record["found"] == record["kept"] + record["rejected"]
    assert record["rejected_by_reason"] == {"not in the table": 1, "record not found": 1}
    for exam, name in zip("ABCD", "abcd", strict=True):
        np.testing.assert_array_equal(np.reshape(exams[exam]["ecg"], (12, 4096))[:, 48:-48], signals[name])
    assert [exams[exam]["labels"]["AF"] for exam in "ABCD"] == [0, 1, 1, 0] and exams["B"]["age"] == 50


def test_what_no_file_and_no_flag_states_is_not_guessed(tmp_path):
    pd.DataFrame(make_signal(0, 4000).T, columns=LEADS).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(ValueError, match="no exam could be kept"):
        convert(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="expected ECG files"):
        (tmp_path / "empty").mkdir()
        convert(tmp_path / "empty", tmp_path / "out")


def test_segments_are_parts_of_their_patients_recording(tmp_path):
    folder = tmp_path / "records"
    for patient in ("p1", "p2"):
        for segment in range(3):
            write_record(folder, f"{patient}_{segment}", make_signal(segment, 1600), fs=400)
        lines = [f"{patient}/3 12 400 4800", *(f"{patient}_{segment} 1600" for segment in range(3))]
        (folder / f"{patient}.hea").write_text("\n".join(lines) + "\n")
    for number, command in enumerate((main, wfdb_main)):
        record, exams = convert(folder, tmp_path / f"out{number}", command=command)
        assert sorted(exams) == ["p1", "p2"] and record["found"] == 2 and record["files_that_are_parts"] == 6
        assert all(exam["n_samples"] == 4096 and "cropped" in exam["quality"] for exam in exams.values())


def test_recorders_files(sample_data, tmp_path):
    folder = tmp_path / "vendor"
    shutil.copytree(sample_data / "vendor", folder)
    record, exams = convert(folder, tmp_path / "out")
    files = [path for path in folder.iterdir() if path.suffix in (".xml", ".dcm", ".scp")]
    assert record["kept"] == len(files) == 8
    same = [np.array(exam["ecg"]) for name, exam in exams.items() if name.startswith("ecgtoolkit_Example")]
    assert len(same) == 3 and all(np.abs(other - same[0]).max() <= 1 for other in same)
