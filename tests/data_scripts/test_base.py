"""What every converter shares: from a recording to whole microvolts, and shards that depend on the source alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_scripts.base import (
    ROWS_PER_SHARD,
    ExamPlan,
    Rejection,
    _plan_table,
    _shard_ranges,
    file_version,
    standard_recording,
)
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, LEAD_NAMES
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.reading_ecgclip import EcgRecord


def record_of(signal, rate=400, leads=LEAD_NAMES, unit="mV"):
    return EcgRecord(signal, rate, leads, unit, "record 7")


def make_signal(n_samples=4000, n_leads=12):
    return np.random.default_rng(0).integers(-2000, 2000, (n_leads, n_samples)) / 1000


def test_whole_microvolts_in_the_middle():
    recording = standard_recording("7", record_of(make_signal(1001)), EcgFeatureExtractor())
    assert recording["n_samples"] == 1001 and recording["quality"] == []
    assert recording["ecg"].dtype == np.int16 and recording["ecg"].shape == (12, 4096)
    left = (4096 - 1001) // 2
    np.testing.assert_array_equal(recording["ecg"][:, left : left + 1001], np.rint(make_signal(1001) * 1000))
    assert not recording["ecg"][:, :left].any() and not recording["ecg"][:, left + 1001 :].any()


def test_leads_by_name_other_unit_and_too_long():
    order = np.random.default_rng(1).permutation(12)
    signal = make_signal(5000)
    shuffled = record_of(signal[order] * 1000, leads=[LEAD_NAMES[i] for i in order], unit="uV")
    recording = standard_recording("7", shuffled, EcgFeatureExtractor())
    np.testing.assert_array_equal(recording["ecg"], np.rint(signal[:, 452:4548] * 1000))
    assert recording["n_samples"] == 4096 and recording["quality"] == ["cropped"]


def test_derived_leads_are_flagged_and_missing_ones_rejected():
    keep = [i for i, lead in enumerate(LEAD_NAMES) if lead not in ("III", "aVR")]
    signal, leads = make_signal()[keep], [LEAD_NAMES[i] for i in keep]
    assert standard_recording("7", record_of(signal, leads=leads), EcgFeatureExtractor())["quality"] == [
        "derived:III",
        "derived:aVR",
    ]
    rejected = standard_recording("7", record_of(signal[:-1], leads=leads[:-1]), EcgFeatureExtractor())
    assert rejected.reason == "not a 12-lead ECG" and "record 7" in rejected.detail and "V6" in rejected.detail


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "NaN or infinite values"), (np.inf, "NaN or infinite values")])
def test_nan_is_rejected_or_repaired(value, reason):
    signal = make_signal()
    signal[3, 100:120] = value
    assert standard_recording("7", record_of(signal), EcgFeatureExtractor()) == Rejection(
        "7", reason, "20 of 48000 values"
    )
    repaired = standard_recording("7", record_of(signal), EcgFeatureExtractor(repair_nan=True))
    assert repaired["quality"] == ["nan_repaired"]
    nothing = np.full((12, 4000), value)
    assert standard_recording("7", record_of(nothing), EcgFeatureExtractor(repair_nan=True)).reason == reason


def test_zeros_are_rejected_and_rejections_passed_on():
    zeros = standard_recording("7", record_of(np.zeros((12, 4000))), EcgFeatureExtractor())
    assert zeros == Rejection("7", "all-zero tracing")
    assert standard_recording("7", zeros, EcgFeatureExtractor()) is zeros


def make_plan(n, part="a"):
    columns = {
        "exam_id": [str(i) for i in range(n)],
        "patient_id": [str(i) for i in range(n)],
        "split": ["train" if i % 10 else "test" for i in range(n)],
        "age": 50.0,
        "sex": None,
        "report": [["x", None, "y"][i % 3] for i in range(n)],
        "part": part,
        "location": [str(i) for i in range(n)],
    }
    return ExamPlan(pd.DataFrame(columns | dict.fromkeys(LABEL_NAMES, 0)), "test", n)


def test_shards_cover_each_row_once_and_never_two_parts():
    plan = make_plan(2000)
    plan.exams.loc[1200:, "part"] = "b"
    table = _plan_table(plan)
    covered = []
    for split in ("train", "validation", "test"):
        for start, stop in _shard_ranges(table, split):
            rows = table.slice(start, stop - start)
            assert 0 < stop - start <= ROWS_PER_SHARD
            assert len(set(rows["part"].to_pylist())) == 1 and set(rows["split"].to_pylist()) == {split}
            covered += range(start, stop)
    assert covered == list(range(2000))
    assert _shard_ranges(table, "validation") == []


def test_report_ids_are_equal_for_equal_texts():
    table = _plan_table(make_plan(60))
    pairs = set(zip(table["report"].to_pylist(), table["report_id"].to_pylist(), strict=True))
    assert pairs == {("x", 0), ("y", 1), (None, -1)}
    assert table["report_id"].type == pa.int32()


def test_unknown_split_is_refused():
    plan = make_plan(10)
    plan.exams.loc[3, "split"] = "holdout"
    with pytest.raises(ValueError, match="splits must be train, validation, test: found holdout"):
        _plan_table(plan)


def test_file_version_is_the_sha256(tmp_path):
    (tmp_path / "exams.csv").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_version(tmp_path / "exams.csv") == f"exams.csv sha256:{expected}"
