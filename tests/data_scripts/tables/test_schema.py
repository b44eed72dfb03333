"""The exam table: split rule, zero-copy view, and what opening it refuses."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, List, Value, concatenate_datasets

from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import (
    EXAM_FEATURES,
    SPLITS,
    ExamSchema,
    ecg_array,
    labels_array,
    load_exam_table,
    schema_of,
    split_of,
    targets_array,
    text_features,
)
from modeling_ecgclip import LABEL_NAMES, LEAD_NAMES, Label, SignalSpec


ECG_SHAPE = (12, 4096)


def make_rows(patient_ids):
    """Rows whose ecg holds the row's number."""
    n = len(patient_ids)
    return {
        "exam_id": [f"e-{patient}-{i}" for i, patient in enumerate(patient_ids)],
        "patient_id": list(patient_ids),
        "source": ["test"] * n,
        "ecg": [np.full(12 * 4096, i, dtype=np.int16) for i in range(n)],
        "n_samples": [4096] * n,
        "sampling_rate": [400] * n,
        "lead_names": [list(LEAD_NAMES)] * n,
        "age": [50.0] * n,
        "sex": ["female"] * n,
        "labels": [dict(zip(LABEL_NAMES, (0, 1, -1, 0, 0, 0), strict=True))] * n,
        "report": ["texto"] * n,
        "report_id": [0] * n,
        "quality": [[]] * n,
    }


def make_table(train=("a", "b"), validation=("c",), test=("d",)):
    patients = dict(zip(SPLITS, (train, validation, test), strict=True))
    return DatasetDict({s: Dataset.from_dict(make_rows(ids), features=EXAM_FEATURES) for s, ids in patients.items()})


def test_split_of_has_the_stated_shares_and_never_changes():
    counts = Counter(split_of(str(patient)) for patient in range(20_000))
    shares = [counts[split] / 20_000 for split in SPLITS]
    np.testing.assert_allclose(shares, (0.85, 0.10, 0.05), atol=0.01)
    # Stored tables rely on these: another rule would move patients between splits.
    assert [split_of(patient) for patient in ("185323", "1", "30")] == ["train", "validation", "test"]
    assert any(split_of(str(p), seed=0) != split_of(str(p), seed=1) for p in range(50))


def test_ecg_array_is_a_view_of_one_piece_and_joins_several():
    rows = Dataset.from_dict(make_rows("abcdef"), features=EXAM_FEATURES)
    column = rows.with_format("arrow")[:].column("ecg")
    view = ecg_array(column)
    assert view.shape == (6, *ECG_SHAPE) and view.dtype == np.int16
    assert not view.flags.owndata and not view.flags.writeable
    values = np.frombuffer(column.chunk(0).flatten().buffers()[1], dtype=np.int16)
    assert np.shares_memory(view, values)

    part = ecg_array(rows.with_format("arrow")[2:5])  # a slice has an offset
    assert part[:, 0, 0].tolist() == [2, 3, 4]
    assert ecg_array(rows.with_format("arrow")[[5, 1, 1]])[:, 11, 4095].tolist() == [5, 1, 1]
    assert ecg_array(rows)[:, 3, 7].tolist() == [0, 1, 2, 3, 4, 5]
    assert ecg_array(column.slice(0, 0)).shape == (0, *ECG_SHAPE)
    with pytest.raises(TypeError, match="int16.*found double"):
        ecg_array(pa.chunked_array([[1.0]]))


def test_load_exam_table_opens_a_folder_and_streams_it(tmp_path):
    make_table().save_to_disk(tmp_path / "table")
    table = load_exam_table(tmp_path / "table")
    assert table["train"]["patient_id"][:] == ["a", "b"]
    streamed = load_exam_table(tmp_path / "table", streaming=True)
    assert [row["exam_id"] for row in streamed["validation"]] == ["e-c-0"]


def test_load_exam_table_refuses_what_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_exam_table(tmp_path / "absent")

    make_table(test=("d", "a")).save_to_disk(tmp_path / "shared")
    with pytest.raises(ValueError, match="shared: patient a is in train and in test"):
        load_exam_table(tmp_path / "shared")

    table = make_table()
    DatasetDict({"train": table["train"]}).save_to_disk(tmp_path / "one")
    with pytest.raises(ValueError, match="expected the splits train, validation, test, found train"):
        load_exam_table(tmp_path / "one")

    table.remove_columns(["report_id", "age"]).save_to_disk(tmp_path / "narrow")
    for streaming in (False, True):
        with pytest.raises(ValueError, match="missing columns age, report_id"):
            load_exam_table(tmp_path / "narrow", streaming=streaming)

    table.cast_column("age", Value("float64")).save_to_disk(tmp_path / "typed")
    with pytest.raises(ValueError, match="column age: expected .*float32.*found .*float64"):
        load_exam_table(tmp_path / "typed")


OTHER = ExamSchema(
    SignalSpec(("II", "V1"), 250, 100), (Label("NORM", "normal ECG"), Label("MI", "myocardial infarction")), ("lvef",)
)


def other_table(**changes):
    """Two leads, two labels, one further number."""
    splits = {}
    for split, patient in zip(SPLITS, "abc", strict=True):
        rows = make_rows([patient]) | {
            "ecg": [np.arange(200, dtype=np.int16)],
            "n_samples": [90],
            "sampling_rate": [250],
            "lead_names": [["II", "V1"]],
            "labels": [{"NORM": 1, "MI": -1}],
            "targets": [{"lvef": None if split == "test" else 60.0}],
        }
        splits[split] = Dataset.from_dict(rows | changes, features=OTHER.features)
    return DatasetDict(splits)


def test_a_table_states_its_signal_labels_and_targets(tmp_path):
    other_table().save_to_disk(tmp_path / "other")
    record = OTHER.to_dict()
    for streaming in (False, True):
        assert schema_of(load_exam_table(tmp_path / "other", streaming=streaming), record) == OTHER
    table = load_exam_table(tmp_path / "other")
    assert schema_of(table).labels[0] == Label("NORM")  # titles come from the record alone
    assert ecg_array(table["train"]).shape == (1, 2, 100)
    assert labels_array(table["train"]).tolist() == [[1, -1]]
    assert targets_array(table["train"], ["lvef", "age"]).tolist() == [[60.0, 50.0]]
    assert np.isnan(targets_array(table["test"], ["lvef"])).all()
    with pytest.raises(ValueError, match="expected target columns of age, lvef: found height"):
        targets_array(table["train"], ["height"])


def test_parquet_streams_state_it_too(tmp_path):
    for split, rows in other_table().items():
        rows.to_parquet(str(tmp_path / f"{split}-0.parquet"))
    streamed = load_exam_table(tmp_path, streaming=True)
    assert schema_of(streamed, OTHER.to_dict()) == OTHER


def test_rows_of_another_signal_are_refused(tmp_path):
    table = other_table()
    two = {**table["train"][0], "exam_id": "x", "sampling_rate": 500}
    table["train"] = concatenate_datasets([table["train"], Dataset.from_list([two], features=OTHER.features)])
    table.save_to_disk(tmp_path / "mixed")
    with pytest.raises(ValueError, match=r"column sampling_rate: expected 250 in every row, found \[250, 500\]"):
        load_exam_table(tmp_path / "mixed")


def test_a_table_without_the_newer_columns_is_what_it_was(tmp_path):
    features = EXAM_FEATURES.copy()
    features["labels"] = List(Value("int8"), length=6)
    table = make_table()
    old = {}
    for split, rows in table.items():
        columns = rows.to_dict()
        columns["labels"] = [list(labels.values()) for labels in columns["labels"]]
        old[split] = Dataset.from_dict(columns, features=features).remove_columns(["sampling_rate", "lead_names"])
    DatasetDict(old).save_to_disk(tmp_path / "old")
    loaded = load_exam_table(tmp_path / "old")
    assert schema_of(loaded) == ExamSchema()
    assert labels_array(loaded["train"]).tolist() == labels_array(table["train"]).tolist()
    assert table_digest(loaded) == table_digest(table)


def test_text_features_have_a_fixed_width():
    assert text_features(8).arrow_schema.field("text_embeds").type == pa.list_(pa.float32(), 8)
