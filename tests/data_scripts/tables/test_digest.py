"""The digest of a table follows its rows and their order, and nothing else."""

import pytest
from datasets import DatasetDict, concatenate_datasets, load_dataset, load_from_disk

from data_scripts.tables.digest import table_digest, verify_rows
from data_scripts.tables.schema import EXAM_FEATURES, SPLITS


@pytest.fixture(scope="module")
def table(exam_table):
    return load_from_disk(str(exam_table))


def changed(table, column, change):
    """The table with one value of the first row of `test` changed."""
    rows = table["test"].to_list()
    rows[0][column] = change(rows[0][column])
    columns = {name: [row[name] for row in rows] for name in EXAM_FEATURES}
    return DatasetDict(table | {"test": table["test"].from_dict(columns, features=EXAM_FEATURES)})


def test_files_batches_and_formats_do_not_matter(table, tmp_path):
    digest = table_digest(table)
    pieces = {
        split: concatenate_datasets([rows.select(range(0, 7)), rows.select(range(7, len(rows)))])
        for split, rows in table.items()
    }
    assert table_digest(DatasetDict(pieces)) == digest
    DatasetDict(table).save_to_disk(str(tmp_path / "many"), num_shards=dict.fromkeys(SPLITS, 4))
    assert table_digest(load_from_disk(str(tmp_path / "many"))) == digest
    for split, rows in table.items():
        rows.to_parquet(str(tmp_path / "parquet" / f"{split}.parquet"), batch_size=11)
    files = {split: str(tmp_path / "parquet" / f"{split}.parquet") for split in SPLITS}
    assert table_digest(load_dataset("parquet", data_files=files, streaming=True, cache_dir=str(tmp_path))) == digest
    columns = list(reversed(EXAM_FEATURES))
    assert table_digest(DatasetDict({split: rows.select_columns(columns) for split, rows in table.items()})) == digest


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("exam_id", lambda value: value + "0"),
        ("ecg", lambda value: [*value[:-1], value[-1] + 1]),
        ("n_samples", lambda value: value - 1),
        ("age", lambda value: None),
        ("sex", lambda value: "male"),
        ("labels", lambda value: value | {"AF": 1 - value["AF"]}),
        ("report", lambda value: value + " "),
        ("report_id", lambda value: -1),
        ("quality", lambda value: ["offset"]),
    ],
)
def test_every_column_matters(table, column, change):
    assert table_digest(changed(table, column, lambda value: value)) == table_digest(table)
    assert table_digest(changed(table, column, change)) != table_digest(table)


def test_rows_that_are_not_those_of_the_record_are_refused(table):
    stated = {"digest": table_digest(table)}
    verify_rows(table, stated, "user/exams")
    verify_rows(table, None, "user/exams")  # a table of somebody else's
    other = changed(table, "ecg", lambda ecg: [ecg[0] ^ 1, *ecg[1:]])
    with pytest.raises(
        ValueError, match=f"expected rows with the digest {stated['digest']}, .* {table_digest(other)}"
    ):
        verify_rows(other, stated, "user/exams")


def test_order_split_and_number_of_rows_matter(table):
    rows = table["test"]
    others = [
        {"test": rows.select([1, 0, *range(2, len(rows))])},
        {"test": rows.select(range(len(rows) - 1))},
        {"test": table["validation"], "validation": rows},
        {"test": rows.select([]), "validation": concatenate_datasets([table["validation"], rows])},
    ]
    digests = {table_digest(table), *(table_digest(DatasetDict(table | other)) for other in others)}
    assert len(digests) == 1 + len(others)


def test_another_schema_is_refused(table):
    with pytest.raises(KeyError, match="age"):
        table_digest(DatasetDict({split: rows.remove_columns("age") for split, rows in table.items()}))
