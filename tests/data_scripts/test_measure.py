"""Tables of measurements: as the pipeline measures, whole, and the same for any number of processes."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_scripts import measure
from data_scripts.folder import main as convert
from data_scripts.measure import EXAM_TABLE_KEY, SCHEMA, WAVES, WAVES_SCHEMA, main
from data_scripts.tables.schema import SPLITS, load_exam_table
from modeling_ecgclip import LEAD_NAMES, measure_record, read_ecg
from tests.simulated import simulated
from tests.small_tables import write_small_table


@pytest.fixture(scope="module")
def exams(tmp_path_factory):
    """An exam table of 15 simulated exams."""
    folder = tmp_path_factory.mktemp("exams")
    for i in range(15):
        stated = {"sampling_rate": 400.0, "unit": "mV", "lead_names": LEAD_NAMES}
        np.savez(folder / f"exam{i:02}.npz", ecg=simulated(i, 4096 - 400 * (i % 3)), **stated)
    convert(["--source_dir", str(folder), "--output_dir", str(folder / "table")])
    return folder / "table"


def rejected_of(output):
    with (output.parent / f"{output.stem}.rejected.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    """Files of several kinds: three that can be measured, a flat lead among them, and three that cannot be read."""
    folder = tmp_path / "files"
    (folder / "below").mkdir(parents=True)
    stated = {"sampling_rate": 500.0, "unit": "mV", "lead_names": LEAD_NAMES}
    np.savez(folder / "a.npz", ecg=simulated(0), **stated)
    np.savez(folder / "below" / "b.npz", ecg=simulated(1)[:6, :3000], **{**stated, "lead_names": LEAD_NAMES[:6]})
    np.save(folder / "c.npy", simulated(2))
    (folder / "d.npy").write_bytes(b"no array")
    gap = simulated(3).copy()
    gap[0, :40] = np.nan
    np.savez(folder / "e.npz", ecg=gap, **stated)
    np.savez(folder / "f.npz", ecg=simulated(4) * 1000, **stated)
    return folder


def test_every_value_has_a_column():
    """A measure that is added shall not be left out in silence."""
    measured = measure_record(read_ecg({"ecg": simulated(0), "sampling_rate": 400, "unit": "mV"}))[0].to_dict()
    groups = ("rhythm", "morphology", "quality")
    scalars = {name for name, value in measured.items() if not isinstance(value, dict | list)}
    scalars |= {*measured["rhythm"], *measured["morphology"]}
    scalars |= {f"quality_{name}" for name in {**measured["quality"], **measured["reasons"]}}
    others = {"exam_id", "split", "beats", "leads_read", "flags", "reasons"}
    assert scalars | others == set(SCHEMA.names)
    assert set(measured) - scalars - {*groups} <= {*others, "leads", "spikes_s"}


def test_exam_table(exams, tmp_path):
    output = tmp_path / "measurements.parquet"
    record = main(["--dataset_name_or_path", str(exams), "--output_file", str(output)])
    table = load_exam_table(exams)
    rows = pq.read_table(output).to_pylist()
    n_exams = sum(map(len, table.values()))
    assert record == {"found": n_exams, "kept": n_exams, "rejected": 0, "rejected_by_reason": {}}
    assert [(row["split"], row["exam_id"]) for row in rows] == [
        (split, exam_id) for split in SPLITS for exam_id in table[split]["exam_id"]
    ]
    assert pq.read_schema(output).equals(SCHEMA) and rejected_of(output) == []
    exam, row = table["train"][3], rows[3]
    measured, standard = measure_record(read_ecg(exam))
    expected = measured.to_dict()
    for name in ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qrs_axis_deg", "qtc_fridericia_ms"):
        assert row[name] == expected[name] and row[f"quality_{name}"] == expected["quality"].get(name)
    assert row["irregularity"] == expected["rhythm"]["irregularity"]
    assert row["cornell_mv"] == expected["morphology"]["cornell_mv"]
    assert row["beats"] == len(expected["beats"]) > 3 and row["leads_read"].split() == list(LEAD_NAMES)
    assert json.loads(row["reasons"]) == expected["reasons"]
    assert row["flags"].split() == list(dict.fromkeys([*exam["quality"], *standard.flags]))


def test_same_rows_for_any_number_of_processes(exams, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "EXAMS_PER_BLOCK", 4)
    monkeypatch.setattr(measure, "ROWS_PER_WRITE", 6)
    outputs = [tmp_path / f"by{n}.parquet" for n in (1, 2)]
    for n, output in enumerate(outputs, start=1):
        main(["--dataset_name_or_path", str(exams), "--output_file", str(output), "--num_proc", str(n)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert pq.ParquetFile(outputs[0]).metadata.num_row_groups > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "by1.parquet",
        "by1.rejected.csv",
        "by2.parquet",
        "by2.rejected.csv",
    ]


def test_table_of_other_leads_and_noise(tmp_path):
    """What cannot be measured has a row that says why."""
    sizes = {"train": 3, "validation": 0, "test": 2}
    write_small_table(tmp_path / "table", sizes)
    output = tmp_path / "measurements.parquet"
    record = main(["--dataset_name_or_path", str(tmp_path / "table"), "--output_file", str(output)])
    assert record["found"] == record["kept"] == 5
    rows = pq.read_table(output).to_pylist()
    assert {row["heart_rate_bpm"] for row in rows} == {None} and {row["beats"] for row in rows} == {0}
    assert all("noise" in json.loads(row["reasons"])["heart_rate_bpm"] for row in rows)
    assert {row["leads_read"] for row in rows} == {"II V2"}


def test_folder_of_files(folder, tmp_path):
    output = tmp_path / "measurements.csv"
    stated = ["--unit", "mV", "--recorded_rate", "400"]
    record = main(["--source_dir", str(folder), "--output_file", str(output), *stated])
    rows = pd.read_csv(output, index_col="exam_id")
    assert list(rows.index) == ["a.npz", "b.npz", "c.npy"]
    assert (record["found"], record["kept"], record["rejected"]) == (6, 3, 3)
    assert [(one["record"], one["reason"]) for one in rejected_of(output)] == [
        ("d.npy", "unreadable record"),
        ("e.npz", "NaN or infinite values"),
        ("f.npz", "amplitude of another unit"),
    ]
    assert record["rejected_by_reason"] == {one["reason"]: 1 for one in rejected_of(output)}
    expected = measure_record(read_ecg(folder / "a.npz"))[0]
    assert rows["heart_rate_bpm"]["a.npz"] == round(expected.heart_rate_bpm, 1)
    assert rows["leads_read"]["b.npz"].split() == list(LEAD_NAMES[:6])
    assert "missing:V1" in rows["flags"]["b.npz"] and rows["split"].isna().all()
    again = main(["--source_dir", str(folder), "--output_file", str(output), *stated, "--repair_nan"])
    assert again["kept"] == 4 and "nan_repaired:I:1.0%" in pd.read_csv(output, index_col="exam_id")["flags"]["e.npz"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], ValueError, "either --dataset_name_or_path or --source_dir"),
        (["--source_dir", "x", "--dataset_name_or_path", "y"], ValueError, "either --dataset_name_or_path"),
        (["--source_dir", "absent"], FileNotFoundError, "--source_dir absent: no such folder"),
        (["--dataset_name_or_path", "y", "--unit", "mV"], ValueError, "--unit is for the files of --source_dir"),
        (["--dataset_name_or_path", "y", "--num_proc", "0"], ValueError, "--num_proc must be at least 1: found 0"),
        (["--dataset_name_or_path", "/absent"], FileNotFoundError, "exam table /absent: no such folder"),
    ],
)
def test_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        main(["--output_file", str(tmp_path / "m.csv"), *arguments])
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused(exams, tmp_path):
    with pytest.raises(ValueError, match=r"m\.xlsx: expected a name that ends in \.parquet or \.csv"):
        main(["--output_file", str(tmp_path / "m.xlsx"), "--dataset_name_or_path", str(exams)])


def test_what_fails_leaves_nothing_half_written(folder, tmp_path, monkeypatch):
    output = tmp_path / "measurements.csv"
    output.write_text("before")

    def fails(*_):
        raise OSError("disk")

    monkeypatch.setattr(measure, "measure_ordered", fails)
    with pytest.raises(OSError, match="disk"):
        main(["--source_dir", str(folder), "--output_file", str(output)])
    assert output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "measurements.csv"]


def test_waves_of_each_lead(exams, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "EXAMS_PER_BLOCK", 4)
    plain, output, by_two = (tmp_path / f"{name}.parquet" for name in ("plain", "waves", "two"))
    main(["--dataset_name_or_path", str(exams), "--output_file", str(plain)])
    for file, n in ((output, 1), (by_two, 2)):
        main(["--dataset_name_or_path", str(exams), "--output_file", str(file), "--waves", "--num_proc", str(n)])
    assert output.read_bytes() == by_two.read_bytes()
    found = pq.read_table(output)
    assert found.schema.equals(WAVES_SCHEMA) and found.select(SCHEMA.names).equals(pq.read_table(plain))
    exam, row = load_exam_table(exams)["train"][3], found.to_pylist()[3]
    amplitudes = measure_record(read_ecg(exam))[0].amplitudes
    assert set(amplitudes) == set(WAVES)
    for wave, of_leads in amplitudes.items():
        in_row = [row[f"{wave}_{lead}"] for lead in LEAD_NAMES]
        assert np.array(in_row, float) == pytest.approx(of_leads, rel=1e-6, nan_ok=True)
    assert row["r_mv_V5"] > 0.1 and row["s_mv_V1"] < 0
    stated = json.loads((exams / "conversion.json").read_text())["digest"]
    assert found.schema.metadata[EXAM_TABLE_KEY].decode() == stated


def test_waves_of_leads_that_were_not_read_are_null(tmp_path):
    write_small_table(tmp_path / "table", {"train": 2, "validation": 0, "test": 0})
    output = tmp_path / "measurements.parquet"
    main(["--dataset_name_or_path", str(tmp_path / "table"), "--output_file", str(output), "--waves"])
    rows = pq.read_table(output)
    assert rows.num_rows == 2 and rows.column("r_mv_V5").null_count == 2
