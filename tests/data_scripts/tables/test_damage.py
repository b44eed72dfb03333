"""A table whose files are not those that were written is refused where it is opened."""

import shutil

import pytest

from common.checksums import SUMS_FILE, read_checksums
from data_scripts import code15
from data_scripts.tables.schema import load_exam_table
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit


@pytest.fixture
def table(code15_folder, convert, tmp_path):
    convert(code15_folder)
    return tmp_path / "table"


def test_every_file_is_stated(table):
    here = {path.relative_to(table).as_posix() for path in table.rglob("*") if path.is_file()}
    assert set(read_checksums(table)) == here - {SUMS_FILE}


def test_a_flipped_bit_of_each_file_is_refused_by_name(table):
    names = set(read_checksums(table)) - {"README.md"}
    assert {"train/data-00000-of-00001.arrow", "test/state.json", "conversion.json", "rejected.csv"} <= names
    for name in names:
        content = (table / name).read_bytes()
        flip_bit(table / name, len(content) // 2, 3)
        with pytest.raises(ValueError, match=f"{table / name}: expected SHA-256 [0-9a-f]+, found [0-9a-f]+"):
            load_exam_table(table)
        (table / name).write_bytes(content)
    assert load_exam_table(table)


def test_it_is_opened_without_a_look_where_that_is_asked_for(table):
    flip_bit(table / "train" / "data-00000-of-00001.arrow", -100_000)
    assert load_exam_table(table, verify=False)
    assert load_exam_table(table, streaming=True)  # reads no more than is asked for


def test_a_card_may_be_rewritten_and_an_earlier_table_states_nothing(table):
    (table / "README.md").write_text((table / "README.md").read_text() + "\nMore about it.\n")
    assert load_exam_table(table)
    (table / SUMS_FILE).unlink()
    (table / "rejected.csv").write_text("")
    assert load_exam_table(table)


def test_a_source_with_digests_is_compared_before_it_is_converted(code15_folder, refused, convert):
    from common.checksums import write_checksums

    write_checksums(code15_folder)
    part = code15_folder / "exams_part10.hdf5"
    flip_bit(part, part.stat().st_size // 2, 5)
    refused(code15_folder, ValueError, f"{part}: expected SHA-256")
    convert(code15_folder, "--no_verify", output="unverified")
    part.unlink()  # of a source, some parts are enough
    convert(code15_folder, "--max_rejected_fraction", 0.9, output="one_part")


def test_a_path_that_would_be_taken_for_a_chain_is_refused_at_once(code15_folder, table, tmp_path):
    chained = tmp_path / "a::b"
    with pytest.raises(ValueError, match="a::b/table: expected the path of a table without '::'"):
        code15.main(["--source_dir", str(code15_folder), "--output_dir", str(chained / "table")])
    assert not chained.exists()
    shutil.copytree(table, chained / "table")
    with pytest.raises(ValueError, match="a::b/table: expected the path of a table without '::'"):
        load_exam_table(chained / "table")


def test_a_source_may_lie_in_such_a_folder(code15_folder, convert, tmp_path):
    shutil.copytree(code15_folder, tmp_path / "x::y")
    record, _ = convert(tmp_path / "x::y")
    assert record["kept"] == 50
