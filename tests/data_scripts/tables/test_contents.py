"""Tables that nothing true can be learned from are refused by name; unknown values and old tables pass."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, List, Value

import train_cls
from data_scripts.tables import contents
from data_scripts.tables.contents import check_contents
from data_scripts.tables.schema import EXAM_FEATURES, SPLITS, ExamSchema, schema_of
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from tests.small_tables import SCHEMA, small_split, write_small_table


def small_table():
    sizes = {"train": 60, "validation": 9, "test": 10}
    return DatasetDict({name: small_split(name, n, seed=n) for name, n in sizes.items()})


def with_values(rows, column, values):
    """A split with other values in some rows of a column; `labels.MI` is one of a struct."""
    made = {name: rows.data.column(name).to_pylist() for name in rows.column_names}
    name, _, part = column.partition(".")
    for row, value in values.items():
        if part:
            made[name][row] = {**made[name][row], part: value}
        else:
            made[name][row] = value
    return Dataset(pa.table(made, schema=rows.features.arrow_schema), info=rows.info.copy())


ZEROS = [0] * SCHEMA.ecg_length
INFINITY = float("inf")


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("labels.MI", {3: 2}, "column labels, MI: expected 0, 1 or -1 (unknown), found 2 in exam train-3"),
        ("labels.MI", {3: None}, "column labels, MI: expected 0, 1 or -1 (unknown), found None in exam train-3"),
        (
            "labels.CD",
            dict.fromkeys(range(10, 20), -7),
            "column labels, CD: expected 0, 1 or -1 (unknown), found -7 in 10 exams: train-10, train-11, train-12, "
            "train-13, train-14 and 5 more",
        ),
        ("n_samples", {0: 0}, "column n_samples: expected 1 to 500, the table's window, found 0 in exam train-0"),
        ("n_samples", {1: 30_000, 2: -1}, "the table's window, found 30000 in 2 exams: train-1, train-2"),
        ("n_samples", {1: None}, "column n_samples: expected a value, found null in exam train-1"),
        ("exam_id", {1: None}, "column exam_id: expected a value, found null in exam None"),
        ("patient_id", {1: None}, "column patient_id: expected a value, found null in exam train-1"),
        ("source", {1: None}, "column source: expected a value, found null in exam train-1"),
        ("report_id", {1: None}, "column report_id: expected a value, found null in exam train-1"),
        ("report", {1: None}, "column report: expected the text of a report_id, found none in exam train-1"),
        ("report", {1: " \n"}, "column report: expected the text of a report_id, found none in exam train-1"),
        ("ecg", {1: None}, "column ecg: expected a value, found null in exam train-1"),
        ("ecg", {4: [1, None] + ZEROS[2:]}, "column ecg: expected a value of each sample, found null in exam train-4"),
        (
            "ecg",
            {4: ZEROS, 7: ZEROS},
            "column ecg: expected a recording, found nothing but zeros in 2 exams: train-4, ",
        ),
        (
            "age",
            {4: INFINITY},
            "column age: expected finite numbers, or null where unknown, found infinity in exam train-4",
        ),
        ("targets.potassium", {4: -INFINITY}, "column targets, potassium: expected finite numbers, or null where "),
    ],
)
def test_what_cannot_be_learned_from_is_refused_by_name(column, values, said):
    table = small_table()
    table["train"] = with_values(table["train"], column, values)
    with pytest.raises(ValueError) as refused:
        check_contents(table, SCHEMA, "clinic")
    assert str(refused.value).startswith("exam table clinic, split train, column ")
    assert said in str(refused.value)


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_looked_at(split):
    table = small_table()
    table[split] = with_values(table[split], "labels.NORM", {8: 5})
    with pytest.raises(ValueError, match=f"split {split}, column labels, NORM: .* in exam {split}-8"):
        check_contents(table, SCHEMA, "clinic")


def test_an_exam_comes_once_in_all_splits_together():
    table = small_table()
    table["test"] = with_values(table["test"], "exam_id", {2: "train-5", 3: "test-4"})
    with pytest.raises(ValueError, match="expected each exam once, found 2 exams: train-5, test-4 more than once"):
        check_contents(table, SCHEMA, "clinic")


def test_what_is_unknown_and_what_is_quiet_passes():
    table, quiet = small_table(), list(ZEROS)
    quiet[-1] = 1  # the look at the middle of the first lead does not see it
    changes = {"labels.MI": {1: -1}, "age": {1: None, 2: float("nan")}, "sex": {1: None}, "ecg": {3: quiet}}
    changes |= {"targets.potassium": {1: None, 2: float("nan")}, "n_samples": {1: 1}, "report_id": {1: -1}}
    for column, values in changes.items():
        table["train"] = with_values(table["train"], column, values)
    table["train"] = with_values(table["train"], "report", {1: None})
    check_contents(table, SCHEMA, "clinic")


def test_splits_in_pieces_and_without_rows():
    table = small_table()
    rows = table["train"].data.table
    pieces = pa.concat_tables([rows.slice(i, 7) for i in range(0, 60, 7)])
    table["train"] = Dataset(pieces, info=table["train"].info.copy())
    table["test"] = Dataset(table["test"].data.table.slice(0, 0), info=table["test"].info.copy())
    check_contents(table, SCHEMA, "clinic")
    table["train"] = with_values(table["train"], "ecg", {33: ZEROS})
    with pytest.raises(ValueError, match="nothing but zeros in exam train-33"):
        check_contents(table, SCHEMA, "clinic")


def test_labels_of_older_tables_are_a_list():
    rows = {"exam_id": ["a"], "patient_id": ["a"], "source": ["s"], "ecg": [np.ones(12 * 4096, np.int16)]}
    rows |= {"n_samples": [4096], "age": [1.0], "sex": [None], "report": [None], "report_id": [-1], "quality": [[]]}
    columns = {name: EXAM_FEATURES[name] for name in rows} | {"labels": List(Value("int8"), length=6)}

    def table(*labels):
        return DatasetDict({"train": Dataset.from_dict(rows | {"labels": [labels]}, features=Features(columns))})

    schema = schema_of(table(0, 1, -1, 0, 0, 0))
    check_contents(table(0, 1, -1, 0, 0, 0), schema, "old")
    with pytest.raises(ValueError, match=f"column labels, {LABEL_NAMES[5]}: expected 0, 1 or -1 .* found 3 in exam a"):
        check_contents(table(0, 1, -1, 0, 0, 3), schema, "old")


def test_the_glance_is_no_longer_than_short_windows():
    assert contents.GLANCE > 10
    schema = ExamSchema(type(SCHEMA.signal)(("II", "V2"), 100, 10), SCHEMA.labels, SCHEMA.target_names)
    found = []
    for ecg in ([0] * 20, [0] * 19 + [1], [1] * 20):
        rows = Dataset(pa.table({"ecg": pa.array([ecg], pa.list_(pa.int16(), 20))}))
        found += contents._silent(rows, schema).tolist()
    assert found == [True, False, False]


def test_training_stops_before_its_first_step(tmp_path):
    folder = write_small_table(tmp_path / "exams")
    table = DatasetDict.load_from_disk(str(folder))
    table["validation"] = with_values(table["validation"], "labels.MI", {0: 2})
    table.save_to_disk(str(tmp_path / "labels of two"))
    argv = ["--dataset_name_or_path", str(tmp_path / "labels of two"), "--output_dir", str(tmp_path / "run")]
    with pytest.raises(ValueError, match="split validation, column labels, MI: .* found 2 in exam validation-0"):
        train_cls.main([*argv, "--encoder_preset", "tiny"])
    assert list((tmp_path / "run").iterdir()) == []
