"""Cohorts on disk: CODE-15%'s layout, the same data from any number of processes, whole or absent."""

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from common.checksums import SUMS_FILE, verify_checksums
from data_scripts import code15
from data_scripts.simulate import cohort as cohort_module
from data_scripts.simulate.cohort import (
    EXAM_COLUMNS,
    MEASUREMENT_COLUMNS,
    REPORT_READING_COLUMNS,
    CohortSettings,
    write_cohort,
)
from data_scripts.simulate.exam import simulate_exam
from data_scripts.tables.schema import ecg_array, load_exam_table
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, N_SAMPLES
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


SETTINGS = CohortSettings(num_exams=110, seed=6, prevalence_scale=3.0, exams_per_part=40)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "cohort"
    write_cohort(folder, SETTINGS, progress=False)
    return folder


def tracings(folder):
    """Exam ids and tracings of all parts, decoded."""
    found = {}
    for path in sorted(folder.glob("*.hdf5")):
        with h5py.File(path) as file:
            found[path.name] = (file["exam_id"][:], file["tracings"][:])
    return found


def test_any_number_of_processes_gives_the_same_data(cohort, tmp_path):
    write_cohort(tmp_path / "several", SETTINGS, num_proc=3, progress=False)
    one, several = tracings(cohort), tracings(tmp_path / "several")
    assert list(one) == list(several) == ["exams_part0.hdf5", "exams_part1.hdf5", "exams_part2.hdf5"]
    for name, (ids, signal) in one.items():
        assert ids.tobytes() == several[name][0].tobytes()
        assert signal.tobytes() == several[name][1].tobytes()
    for name in ("exams.csv", "reports.csv", "measurements.csv", "simulation.json"):
        assert (cohort / name).read_bytes() == (tmp_path / "several" / name).read_bytes()


def test_another_seed_gives_another_cohort(cohort, tmp_path):
    write_cohort(tmp_path / "other", CohortSettings(num_exams=3, seed=7), progress=False)
    ids, signal = tracings(tmp_path / "other")["exams_part0.hdf5"]
    mine = tracings(cohort)["exams_part0.hdf5"]
    assert not set(ids[:-1]) & set(mine[0]) and not np.array_equal(signal[:3], mine[1][:3])


def test_columns_are_those_of_the_real_table(cohort, sample_data):
    real = pd.read_csv(sample_data / "code15_sample" / "exams.csv")
    ours = pd.read_csv(cohort / "exams.csv")
    assert list(ours.columns) == list(real.columns) == EXAM_COLUMNS
    for name in ("is_male", *LABEL_NAMES, "normal_ecg"):
        assert ours[name].dtype == real[name].dtype == bool


def test_hdf5_is_laid_out_like_the_real_files(cohort, sample_data):
    with h5py.File(sample_data / "code15_sample" / "exams_part0.hdf5") as real:
        with h5py.File(cohort / "exams_part0.hdf5") as ours:
            assert set(ours) == set(real)
            for name in real:
                assert ours[name].dtype == real[name].dtype and ours[name].shape[1:] == real[name].shape[1:]


def test_tracings_are_twice_millivolts_centred_and_end_in_a_zero_row(cohort):
    for name, (ids, signal) in tracings(cohort).items():
        assert ids[-1] == 0 and not signal[-1].any() and len(ids) == len(signal)
        assert (ids[:-1] > 0).all()
        part = int(name.removeprefix("exams_part").removesuffix(".hdf5"))
        exam = simulate_exam(SETTINGS.seed, part * SETTINGS.exams_per_part + 5, SETTINGS.prevalence_scale)
        assert ids[5] == exam.exam_id
        left = (N_SAMPLES - exam.signal.shape[1]) // 2
        np.testing.assert_array_equal(signal[5, left : left + exam.signal.shape[1]].T, 2 * exam.signal)
        assert not signal[5, :left].any() and not signal[5, left + exam.signal.shape[1] :].any()


def test_tables_agree_and_rows_are_joined_by_id_only(cohort):
    exams, truth = pd.read_csv(cohort / "exams.csv"), pd.read_csv(cohort / "measurements.csv")
    reports = pd.read_csv(cohort / "reports.csv")
    assert exams.exam_id.is_unique and set(exams.exam_id) == set(truth.exam_id) == set(reports.exam_id)
    stored = tracings(cohort)
    for name, rows in exams.groupby("trace_file"):
        assert set(rows.exam_id) == set(stored[name][0][:-1])
        assert list(rows.exam_id) != list(stored[name][0][:-1])  # in another order, as published
    summary = json.loads((cohort / "simulation.json").read_text())
    assert summary["simulated"] is True and summary["seed"] == 6 and summary["num_exams"] == len(exams) == 110
    assert summary["positives"] == {name: int(exams[name].sum()) for name in LABEL_NAMES}
    without_pr = ~truth.rhythm.isin(["sinus", "atrial", "wenckebach", "two_to_one", "paced"])
    assert truth.pr_ms.isna()[without_pr].all() and truth.pr_ms.notna()[truth.rhythm == "sinus"].all()
    # Follow-up belongs to a patient's first exam.
    followed = exams[exams.death.notna()]
    assert followed.patient_id.is_unique and 0 < len(followed) < len(exams)


def test_our_own_reader_takes_it_whole_and_calls_it_simulated(cohort, tmp_path):
    code15.main(
        [
            "--source_dir",
            str(cohort),
            "--reports",
            str(cohort / "reports.csv"),
            "--output_dir",
            str(tmp_path / "table"),
        ]
    )
    table = load_exam_table(tmp_path / "table")
    assert sum(split.num_rows for split in table.values()) == 110
    split = table["train"]
    assert set(split["source"]) == {"simulated"}
    ecg = ecg_array(split.with_format("arrow")[:3])
    for row, exam_id in enumerate(split[:3]["exam_id"]):
        exam = simulate_exam(6, int(exam_id) % 10_000_000 - 1, 3.0)
        left = (N_SAMPLES - exam.signal.shape[1]) // 2
        stored = ecg[row, :, left : left + exam.signal.shape[1]]
        assert np.abs(stored - np.clip(1000 * exam.signal, -32767, 32767)).max() <= 0.51


def test_an_independent_reader_is_recorded_and_changes_no_column_of_the_default(cohort, tmp_path):
    folder = tmp_path / "apart"
    write_cohort(folder, replace(SETTINGS, report_reader="independent"), progress=False)
    for name in ("exams.csv", "exams_part0.hdf5"):
        assert (folder / name).read_bytes() == (cohort / name).read_bytes()
    ours, theirs = pd.read_csv(cohort / "measurements.csv"), pd.read_csv(folder / "measurements.csv")
    assert list(theirs.columns) == [*MEASUREMENT_COLUMNS, *REPORT_READING_COLUMNS]
    pd.testing.assert_frame_equal(ours, theirs[list(ours.columns)])
    assert (theirs.read_qrs_ms != theirs.report_read_qrs_ms).any()
    assert (folder / "reports.csv").read_bytes() != (cohort / "reports.csv").read_bytes()
    command = ["--source_dir", f"{folder}", "--reports", f"{folder}/reports.csv", "--output_dir", f"{tmp_path}/table"]
    code15.main(command)
    record = json.loads((tmp_path / "table" / "conversion.json").read_text())
    assert record["simulation"]["report_reader"] == "independent"


def test_marks_are_of_the_stored_tracings_and_change_no_other_file(tmp_path):
    settings = CohortSettings(num_exams=70, seed=6, clean=True, exams_per_part=66)
    write_cohort(tmp_path / "plain", settings, progress=False)
    for name, num_proc in (("one", 1), ("two", 2)):
        write_cohort(tmp_path / name, replace(settings, marks=True), num_proc=num_proc, progress=False)
        for path in (tmp_path / "plain").iterdir():
            if path.name not in ("simulation.json", SUMS_FILE):
                assert path.read_bytes() == (tmp_path / name / path.name).read_bytes()
    for part in (0, 1):
        file = f"marks_part{part}.parquet"
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        marks = pd.read_parquet(tmp_path / "one" / file, filters=[("lead", "==", "V5")]).dropna()
        ids, signal = tracings(tmp_path / "one")[f"exams_part{part}.hdf5"]
        assert set(marks.exam_id) <= set(ids[:-1]) and len(set(marks.exam_id)) > 0.5 * len(ids)
        for row in marks.itertuples():
            lead = signal[np.flatnonzero(ids == row.exam_id)[0], :, LEAD_NAMES.index("V5")] / 2
            qrs = lead[int(row.qrs_onset_sample) : int(row.qrs_offset_sample) + 1]
            # Where T and the P before are flat, the QRS stands out at the marked sample.
            assert abs(lead[int(row.qrs_peak_sample)]) > 0.85 * np.abs(qrs).max()


@pytest.mark.parametrize("compression", ["lzf", "gzip"])
def test_compression_changes_no_value(cohort, tmp_path, compression):
    settings = CohortSettings(num_exams=4, seed=6, prevalence_scale=3.0, compression=compression)
    write_cohort(tmp_path / "c", settings, progress=False)
    ids, signal = tracings(tmp_path / "c")["exams_part0.hdf5"]
    mine = tracings(cohort)["exams_part0.hdf5"]
    np.testing.assert_array_equal(ids[:4], mine[0][:4])
    np.testing.assert_array_equal(signal[:4], mine[1][:4])


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) > 5:
            raise RuntimeError("power cut")
        return simulate_exam(*arguments)

    monkeypatch.setattr(cohort_module, "simulate_exam", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        write_cohort(tmp_path / "broken", CohortSettings(num_exams=20, seed=1), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no simulation.json"):
        write_cohort(tmp_path, CohortSettings(num_exams=2, seed=1), progress=False)
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_a_flipped_bit_of_each_file_is_refused_by_whoever_converts_it(tmp_path):
    settings = CohortSettings(num_exams=12, seed=6, exams_per_part=6)
    write_cohort(tmp_path / "raw", settings, progress=False)
    names = verify_checksums(tmp_path / "raw")
    assert sorted(names) == sorted({path.name for path in (tmp_path / "raw").iterdir()} - {SUMS_FILE})
    for name in names:
        content = (tmp_path / "raw" / name).read_bytes()
        flip_bit(tmp_path / "raw" / name, len(content) // 2)
        with pytest.raises(ValueError, match=f"{name}: expected SHA-256"):
            code15.main(["--source_dir", str(tmp_path / "raw"), "--output_dir", str(tmp_path / "exams")])
        (tmp_path / "raw" / name).write_bytes(content)


def test_an_earlier_simulation_is_replaced(tmp_path):
    for n in (3, 2):
        write_cohort(tmp_path / "again", CohortSettings(num_exams=n, seed=1), progress=False)
    with open(tmp_path / "again" / "exams.csv", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1 + 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_exams": 0}, "num_exams must lie in"),
        ({"seed": -1}, "seed must lie in"),
        ({"exams_per_part": 0}, "exams_per_part must be 1 or more"),
        ({"compression": "zip"}, "compression must be one of none, lzf, gzip"),
        ({"report_reader": "both"}, "report_reader must be one of shared, independent"),
        ({"prevalence_scale": 20.0}, "prevalence_scale must lie in"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CohortSettings(**({"num_exams": 5, "seed": 1} | changes))


def test_num_proc_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="num_proc must be 1 or more, found 0"):
        write_cohort(tmp_path / "x", CohortSettings(num_exams=2, seed=1), num_proc=0)
