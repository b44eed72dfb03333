"""PTB-XL to an exam table."""

import ast
import json

import numpy as np
import pandas as pd
import pytest
import wfdb

from data_scripts.ptbxl import language_of, main, read_statements
from data_scripts.tables.schema import SPLITS, ecg_array, load_exam_table
from tests.data_scripts.wfdb_layout import make_signal


LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def make_folder(folder, n=20):
    """Records of simulated ECGs in whole microvolts at 500 Hz, and the columns that are read."""
    rows = []
    (folder / "records500" / "00000").mkdir(parents=True)
    for i in range(1, n + 1):
        name = f"{i:05d}_hr"
        wfdb.wrsamp(
            name,
            fs=500,
            units=["mV"] * 12,
            sig_name=LEADS,
            p_signal=make_signal(i).T / 1000,
            fmt=["16"] * 12,
            adc_gain=[1000.0] * 12,
            baseline=[0] * 12,
            write_dir=str(folder / "records500" / "00000"),
        )
        row = {"ecg_id": i, "patient_id": float(100 + i), "age": 30.0 + i, "sex": i % 2}
        row |= {"report": f"sinusrhythmus {i % 3}", "scp_codes": "{'NORM': 100.0, 'SR': 0.0}"}
        row |= {"strat_fold": (i - 1) % 10 + 1, "filename_hr": f"records500/00000/{name}"}
        rows.append(row | {"filename_lr": f"records100/00000/{i:05d}_lr"})
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "ptbxl_database.csv", index=False)
    return frame


def run(folder, output, *arguments):
    """Runs the command line; returns its record, the opened table and the rows by exam id."""
    record = main(["--source_dir", str(folder), "--output_dir", str(output), *map(str, arguments)])
    table = load_exam_table(output)
    return record, table, {row["exam_id"]: row for split in SPLITS for row in table[split]}


@pytest.fixture
def convert(tmp_path):
    return lambda folder, *arguments, output="table": run(folder, tmp_path / output, *arguments)


@pytest.fixture(scope="module")
def real_table(sample_data, tmp_path_factory):
    return run(sample_data / "ptbxl_sample", tmp_path_factory.mktemp("real") / "table")


def test_real_records_are_all_kept(sample_data, real_table):
    record, table, rows = real_table
    assert (record["found"], record["kept"], record["rejected"]) == (300, 300, 0)
    index = pd.read_csv(sample_data / "ptbxl_sample" / "ptbxl_database.csv").set_index("ecg_id")
    folds = {"train": range(1, 9), "validation": [9], "test": [10]}
    for split in SPLITS:
        of_split = index[index["strat_fold"].isin(folds[split])]
        assert table[split]["exam_id"][:] == of_split.index.astype(str).tolist()
        assert table[split]["report"][:] == of_split["report"].str.strip().tolist()
    for ecg_id, line in index.iterrows():
        row = rows[str(ecg_id)]
        assert row["patient_id"] == str(int(line["patient_id"]))
        assert row["sex"] == ("female" if line["sex"] else "male")
        assert row["n_samples"] == 4000 and row["source"] == "ptbxl"
        codes = [f"'{code}':" in line["scp_codes"] for code in ("1AVB", "CRBBB", "CLBBB", "SBRAD", "AFIB", "STACH")]
        assert list(row["labels"].values()) == [int(code) for code in codes]
        ecg = np.reshape(row["ecg"], (12, 4096))
        assert not ecg[:, :48].any() and not ecg[:, -48:].any()
        if ecg_id <= 20:  # right lead, right unit, right place: interpolated by other means
            raw = wfdb.rdrecord(str(sample_data / "ptbxl_sample" / line["filename_hr"])).p_signal.T * 1000
            for lead, signal in zip(ecg[:, 48:-48], raw, strict=True):
                interpolated = np.interp(np.arange(4000) / 400, np.arange(5000) / 500, signal)
                assert np.abs(lead - interpolated).mean() < 0.1 * np.std(signal) + 2
    ids = {}
    for row in rows.values():
        assert ids.setdefault(row["report"], row["report_id"]) == row["report_id"]
    assert len(set(ids.values())) == len(ids) == record["reports"]["distinct_reports"]
    assert record["reports"]["free_of_conclusions"] is False
    named = record["reports"]["labels_named"]
    assert 0 < named["AF"] < record["reports"]["with_diagnosis_words"] <= len(rows)
    assert record["reports"]["languages"] == {"de": 204, "en": 48, "sv": 45, "unclear": 3}


def test_both_published_rates_are_the_same_ecg(sample_data, real_table, convert):
    high = real_table[1]
    _, low, _ = convert(sample_data / "ptbxl_sample", "--sampling_rate", 100, output="low")
    assert high["train"]["exam_id"][:] == low["train"]["exam_id"][:]
    pairs = zip(ecg_array(high["train"])[:50], ecg_array(low["train"])[:50], strict=True)
    correlation = np.array([[np.corrcoef(a, b)[0, 1] for a, b in zip(one, two, strict=True)] for one, two in pairs])
    assert correlation[0].min() > 0.95  # record 1
    # Some published pairs differ: decimating record 104 at 500 Hz gives 0.71 against its own 100 Hz version.
    assert np.median(correlation) > 0.98


def test_any_number_of_processes_gives_the_same_rows(tmp_path, convert, monkeypatch):
    make_folder(tmp_path / "ptbxl")
    monkeypatch.setattr("data_scripts.conversion.shards.ROWS_PER_SHARD", 10)
    # Shards of this size end where folders do: two folders give two processes something to do.
    index = pd.read_csv(tmp_path / "ptbxl" / "ptbxl_database.csv")
    (tmp_path / "ptbxl" / "records500" / "00000").rename(tmp_path / "ptbxl" / "records500" / "01000")
    (tmp_path / "ptbxl" / "records500" / "00000").mkdir()
    for i in range(1, 11):
        for suffix in ("hea", "dat"):
            source = tmp_path / "ptbxl" / "records500" / "01000" / f"{i:05d}_hr.{suffix}"
            source.rename(tmp_path / "ptbxl" / "records500" / "00000" / source.name)
    index.loc[10:, "filename_hr"] = index.loc[10:, "filename_hr"].str.replace("/00000/", "/01000/")
    index.to_csv(tmp_path / "ptbxl" / "ptbxl_database.csv", index=False)
    first, one, _ = convert(tmp_path / "ptbxl", output="one")
    second, two, _ = convert(tmp_path / "ptbxl", "--num_proc", 2, output="two")
    assert first == second and first["kept"] == 20
    for split in SPLITS:
        assert one[split].to_dict() == two[split].to_dict()
        assert len(two[split].cache_files) == 2


def test_unusual_cells_and_bad_records(tmp_path, convert):
    folder = tmp_path / "ptbxl"
    frame = make_folder(folder).astype(object)
    frame.loc[0, ["age", "report"]] = [300.0, "  "]
    frame.loc[1, ["age", "sex"]] = [np.nan, np.nan]
    frame.loc[2, "scp_codes"] = "{'AFIB': 0.0, 'CRBBB': 100.0, '3AVB': 50.0}"
    frame.loc[3, "patient_id"] = np.nan
    frame.to_csv(folder / "ptbxl_database.csv", index=False)
    records = folder / "records500" / "00000"
    (records / "00005_hr.hea").unlink()
    (records / "00006_hr.dat").unlink()
    (records / "00007_hr.hea").write_text("no header")
    header = (records / "00008_hr.hea").read_text()
    (records / "00008_hr.hea").write_text(header.replace("AVF", "AVL"))
    record, _, rows = convert(folder, "--max_rejected_fraction", 0.5)
    assert (record["found"], record["kept"], record["rejected"]) == (20, 15, 5)
    assert (rows["1"]["age"], rows["1"]["report"], rows["1"]["report_id"]) == (90.0, None, -1)
    assert (rows["2"]["age"], rows["2"]["sex"]) == (None, None)
    assert list(rows["3"]["labels"].values()) == [0, 1, 0, 0, 1, 0]
    listed = pd.read_csv(tmp_path / "table" / "rejected.csv", dtype=str)
    assert sorted(zip(listed["record"], listed["reason"], strict=True)) == [
        ("4", "no patient_id"),
        ("5", "record not found"),
        ("6", "record not found"),
        ("7", "unreadable record"),
        ("8", "not a 12-lead ECG"),
    ]
    assert json.loads((tmp_path / "table" / "conversion.json").read_text()) == record


def test_statements_of_low_likelihood_leave_a_label_unknown(tmp_path, convert):
    folder = tmp_path / "ptbxl"
    frame = make_folder(folder, n=10).astype(object)
    frame.loc[0, "scp_codes"] = "{'1AVB': 50.0, 'CRBBB': 80.0, 'AFIB': 0.0}"
    frame.loc[1, "scp_codes"] = "{'CLBBB': 79.0, 'NORM': 15.0}"
    frame.to_csv(folder / "ptbxl_database.csv", index=False)
    record, _, rows = convert(folder, "--min_likelihood", 80)
    assert list(rows["1"]["labels"].values()) == [-1, 1, 0, 0, 1, 0] and list(rows["2"]["labels"].values()) == [
        0,
        0,
        -1,
        0,
        0,
        0,
    ]
    assert record["settings"]["min_likelihood"] == 80
    _, _, rows = convert(folder, output="all")
    assert list(rows["1"]["labels"].values()) == [1, 1, 0, 0, 1, 0] and list(rows["2"]["labels"].values()) == [
        0,
        0,
        1,
        0,
        0,
        0,
    ]
    with pytest.raises(ValueError, match="--min_likelihood must lie between 0 and 100: found 101"):
        convert(folder, "--min_likelihood", 101, output="none")


@pytest.mark.parametrize(
    ("report", "language"),
    [
        ("sinusrhythmus periphere niederspannung", "de"),
        ("sinusrhythmus lagetyp normal normal", "de"),
        ("premature ventricular contraction(s). sinus rhythm. left bundle branch block", "en"),
        ("trace only requested.", "en"),
        ("sinusrytm vÄnster el-axel st-t sÄnkning, sÅsom vid    anterolateral ischemi", "sv"),
        ("sinusbradykardi lÅga qrs amplituder i extremitetsavledningarna", "sv"),
        ("pacemaker ekg", "unclear"),
    ],
)
def test_language_of_a_report(report, language):
    assert language_of(report) == language


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("strat_fold", "11", r"ptbxl_database.csv, exam 1, column strat_fold: expected one of 1, 2, .*, found '11'"),
        ("strat_fold", "", "column strat_fold: expected one of 1, 2"),
        ("sex", "2", "exam 1, column sex: expected one of 0, 1, found '2'"),
        ("scp_codes", "NORM", "exam 1, column scp_codes: expected .*, found 'NORM'"),
        ("scp_codes", "{'NORM': 'sure'}", "exam 1, column scp_codes: expected {'CODE': likelihood}, found"),
        ("ecg_id", "2", "expected each exam_id once; found 1 more than once: 2"),
    ],
)
def test_bad_cells_are_named(tmp_path, column, cell, message):
    frame = make_folder(tmp_path / "ptbxl", n=2).astype(object)
    frame.loc[0, column] = cell
    frame.to_csv(tmp_path / "ptbxl" / "ptbxl_database.csv", index=False)
    with pytest.raises(ValueError, match=message):
        main(["--source_dir", str(tmp_path / "ptbxl"), "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_missing_column(tmp_path):
    frame = make_folder(tmp_path / "ptbxl", n=2)
    frame.drop(columns=["filename_lr", "scp_codes"]).to_csv(tmp_path / "ptbxl" / "ptbxl_database.csv", index=False)
    with pytest.raises(ValueError, match="missing columns scp_codes, filename_lr; found ecg_id"):
        main(
            ["--source_dir", str(tmp_path / "ptbxl"), "--output_dir", str(tmp_path / "out"), "--sampling_rate", "100"]
        )


@pytest.mark.parametrize(
    ("labels", "n_labels"), [("superclass", 5), ("subclass", 23), ("form", 19), ("rhythm", 12), ("all", 71)]
)
def test_sets_of_statements_have_their_published_sizes(sample_data, labels, n_labels):
    statements = read_statements(sample_data / "ptbxl_sample" / "scp_statements.csv", labels)
    assert len(statements.labels) == len(statements.codes) == n_labels
    assert all(label.title for label in statements.labels)


def test_superclasses_of_real_exams_in_splits_of_ones_own(sample_data, convert):
    folder = sample_data / "ptbxl100"
    arguments = ("--sampling_rate", 100, "--labels", "superclass", "--validation_folds", 6, "--test_folds", 7)
    record, table, rows = convert(folder, *arguments)
    assert (record["found"], record["kept"]) == (1181, 1181)
    assert [label["name"] for label in record["labels"]] == ["NORM", "MI", "STTC", "CD", "HYP"]
    assert record["labels"][1]["title"] == "myocardial infarction"
    splits = pd.read_csv(folder / "splits.csv", dtype=str)
    stated = dict(zip(splits.iloc[:, 0], splits["split"], strict=True))
    assert {exam: split for split in SPLITS for exam in table[split]["exam_id"]} == stated
    index = pd.read_csv(folder / "ptbxl_database.csv", dtype=str).set_index("ecg_id")
    classes = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    classes = classes[classes["diagnostic"] == 1]["diagnostic_class"]
    for exam_id in list(rows)[::50]:
        codes = ast.literal_eval(index.loc[exam_id, "scp_codes"])
        expected = {classes[code] for code in codes if code in classes}
        assert {name for name, value in rows[exam_id]["labels"].items() if value == 1} == expected


def test_the_other_published_rate_is_named(sample_data, tmp_path):
    with pytest.raises(ValueError, match="found those at 100 Hz alone; --sampling_rate 100 reads them"):
        main(["--source_dir", str(sample_data / "ptbxl100"), "--output_dir", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("arguments", "signal"),
    [
        (["--n_samples", 5000], (500, 5000)),
        (["--sampling_rate", 500], (400, 4096)),
        (["--table_sampling_rate", 250], (250, 2560)),
    ],
)
def test_windows(tmp_path, convert, arguments, signal):
    make_folder(tmp_path / "ptbxl")
    record, _, rows = convert(tmp_path / "ptbxl", *arguments)
    assert (record["signal"]["sampling_rate"], record["signal"]["n_samples"]) == signal
    assert len(rows["1"]["ecg"]) == 12 * signal[1]


@pytest.mark.parametrize("folds", [["--validation_folds", 9, 10], ["--test_folds", 11], ["--validation_folds", 3, 3]])
def test_folds_that_overlap_or_do_not_exist_are_refused(tmp_path, convert, folds):
    make_folder(tmp_path / "ptbxl")
    with pytest.raises(ValueError, match="must be different numbers from 1 to 10"):
        convert(tmp_path / "ptbxl", *folds)
