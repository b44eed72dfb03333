"""Shards depend on the plan alone, and a finished one is told from a torn one."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_scripts.conversion import shards
from data_scripts.conversion.builder import ExamPlan
from data_scripts.conversion.shards import plan_shards, plan_table
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


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


def test_shards_cover_each_row_once_and_cut_only_large_parts(monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 100)
    plan = make_plan(1000)
    # Parts of 250, 30, 40, 50, 330 rows and then thirty of 10.
    sizes = [250, 30, 40, 50, 330, *[10] * 30]
    plan.exams["part"] = np.repeat([f"part {i}" for i in range(len(sizes))], sizes)
    found = plan_shards(plan_table(plan))
    assert [row for shard in found for row in range(shard.start, shard.stop)] == list(range(1000))
    assert [shard.stop for shard in found] == [100, 200, 250, 320, 370, 470, 570, 670, 700, 800, 900, 1000]
    assert [shard.number for shard in found] == list(range(12))
    assert found[3].files == {"train": "train/data-00003-of-00012.arrow", "test": "test/data-00003-of-00012.arrow"}


def test_a_split_has_a_file_only_where_it_has_rows(monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 3)
    plan = make_plan(10)
    plan.exams["split"] = ["train"] * 5 + ["test"] * 5
    assert [list(shard.files.values()) for shard in plan_shards(plan_table(plan))] == [
        ["train/data-00000-of-00002.arrow"],
        ["train/data-00001-of-00002.arrow", "test/data-00000-of-00003.arrow"],
        ["test/data-00001-of-00003.arrow"],
        ["test/data-00002-of-00003.arrow"],
    ]
    assert plan_shards(plan_table(make_plan(0))) == []


def test_report_ids_are_equal_for_equal_texts():
    table = plan_table(make_plan(60))
    pairs = set(zip(table["report"].to_pylist(), table["report_id"].to_pylist(), strict=True))
    assert pairs == {("x", 0), ("y", 1), (None, -1)}
    assert table["report_id"].type == pa.int32()


def test_unknown_split_is_refused():
    plan = make_plan(10)
    plan.exams.loc[3, "split"] = "holdout"
    with pytest.raises(ValueError, match="splits must be train, validation, test: found holdout"):
        plan_table(plan)
