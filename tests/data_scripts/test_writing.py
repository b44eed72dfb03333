"""Nothing half-written carries a final name."""

import pytest

from data_scripts.writing import written_aside


def write_folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)


def test_a_file_and_a_folder_appear_whole_and_replace_the_old(tmp_path):
    for text in ("one", "two"):
        with written_aside(tmp_path / "new" / "file.csv") as aside:
            aside.write_text(text)
        with written_aside(tmp_path / "folder") as aside:
            write_folder(aside, text)
        assert (tmp_path / "new" / "file.csv").read_text() == text
        assert (tmp_path / "folder" / "file").read_text() == text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "file.csv", "folder", "new"]


def test_an_error_leaves_the_old_and_no_litter(tmp_path):
    write_folder(tmp_path / "folder", "old")
    with pytest.raises(ValueError, match="broken"), written_aside(tmp_path / "folder") as aside:
        write_folder(aside, "half")
        raise ValueError("broken")
    assert (tmp_path / "folder" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    write_folder(tmp_path / "folder.incomplete", "half")
    with written_aside(tmp_path / "folder") as aside:
        assert not aside.exists()
        write_folder(aside, "whole")
    assert (tmp_path / "folder" / "file").read_text() == "whole"
