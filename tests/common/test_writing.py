"""Nothing half-written carries a final name."""

import os
import stat

import pytest

from common.writing import written_aside


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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_may_be_read_by_whom_the_umask_allows(tmp_path, request, umask, mode):
    before = os.umask(umask)
    request.addfinalizer(lambda: os.umask(before))
    with written_aside(tmp_path / "folder") as aside:
        write_folder(aside, "text")
        (aside / "file").chmod(0o600)
    with written_aside(tmp_path / "file") as aside:
        aside.touch(0o600)
    for path in (tmp_path / "folder" / "file", tmp_path / "file"):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.umask(umask) == umask


def test_what_a_killed_run_left_is_removed(tmp_path):
    write_folder(tmp_path / "folder.incomplete", "half")
    with written_aside(tmp_path / "folder") as aside:
        assert not aside.exists()
        write_folder(aside, "whole")
    assert (tmp_path / "folder" / "file").read_text() == "whole"


def test_the_suffix_is_kept_since_writers_choose_a_format_by_it(tmp_path):
    with written_aside(tmp_path / "plot.png") as aside:
        assert aside.suffix == ".png" and aside.parent == tmp_path
        aside.write_text("pixels")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(RuntimeError, match="disk"), written_aside(tmp_path / "table.csv") as aside:
        aside.write_text("half")
        raise RuntimeError("disk")
    assert (tmp_path / "table.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_nothing_written_is_an_error(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"nothing was written for .*table\.csv"),
        written_aside(tmp_path / "table.csv"),
    ):
        pass


def test_a_file_does_not_replace_a_folder(tmp_path):
    write_folder(tmp_path / "run", "precious")
    with pytest.raises(IsADirectoryError, match="run is a folder"), written_aside(tmp_path / "run") as aside:
        aside.write_text("text")
    assert (tmp_path / "run" / "file").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}"))))
    with written_aside(tmp_path / "file.csv") as aside:
        aside.write_text("text")
    with written_aside(tmp_path / "folder") as aside:
        write_folder(aside, "text")
        write_folder(aside / "below", "text")
    assert synced == ["file.incomplete.csv", "file", "file"]
