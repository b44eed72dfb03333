"""`SHA256SUMS`: what it states, what it finds, and that `sha256sum` reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from common.checksums import SUMS_FILE, file_digest, read_checksums, verify_checksums, write_checksums


def flip_bit(path: Path, place: int = 0, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "data.arrow").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "state é.json").write_text("{}")
    (tmp_path / "empty").touch()
    write_checksums(tmp_path)
    return tmp_path


def test_states_every_file_once(folder):
    write_checksums(folder)  # does not state itself
    stated = read_checksums(folder)
    assert sorted(stated) == ["empty", "state é.json", "train/data.arrow"]
    assert stated["empty"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert stated["train/data.arrow"] == file_digest(folder / "train" / "data.arrow")
    assert verify_checksums(folder) == sorted(stated)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="this system has no sha256sum")
def test_the_common_tool_reads_it(folder):
    command = ["sha256sum", "--check", "--strict", SUMS_FILE]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
    flip_bit(folder / "train" / "data.arrow")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["train/data.arrow", "state é.json"])
@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_noticed(folder, name, bit):
    expected = read_checksums(folder)[name]
    flip_bit(folder / name, -1, bit)
    with pytest.raises(ValueError) as caught:
        verify_checksums(folder)
    for part in (str(folder / name), expected, file_digest(folder / name)):
        assert part in str(caught.value)
    assert verify_checksums(folder, ["empty"]) == ["empty"]  # of the others nothing is said


def test_a_missing_file_is_noticed(folder):
    (folder / "empty").unlink()
    with pytest.raises(ValueError, match="empty: expected SHA-256 e3b0.*, found no such file"):
        verify_checksums(folder)


def test_flipped_bits_of_the_sums_are_noticed(folder):
    sums = (folder / SUMS_FILE).read_bytes()
    for place in range(len(sums)):
        flip_bit(folder / SUMS_FILE, place, place % 7 if place % 5 else 0)
        with pytest.raises(ValueError):
            verify_checksums(folder)
        (folder / SUMS_FILE).write_bytes(sums)


def test_earlier_folders_and_unstated_files_pass(folder):
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt" not in verify_checksums(folder)
    assert verify_checksums(folder, ["notes.txt"]) == []
    (folder / SUMS_FILE).unlink()
    assert verify_checksums(folder) == []


def test_lines_of_some_files_are_written_anew(folder):
    (folder / "empty").write_text("changed")
    write_checksums(folder, ["empty"])
    assert len(verify_checksums(folder)) == 3


def test_known_digests_are_not_computed_again(folder):
    write_checksums(folder, known={"empty": "0" * 64})
    assert read_checksums(folder)["empty"] == "0" * 64


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_paths_out_of_the_folder_are_refused(folder, name):
    (folder / SUMS_FILE).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ValueError, match="line 1: expected 64 hexadecimal digits"):
        verify_checksums(folder)


def test_names_that_the_format_escapes_are_refused(folder):
    (folder / "two\nlines").touch()
    with pytest.raises(ValueError, match="without line breaks"):
        write_checksums(folder)
