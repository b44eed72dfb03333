"""Parts stay in the zip files in which they were downloaded."""

import errno
import zipfile

import pytest

from data_scripts import code15
from data_scripts.conversion import run as conversion
from data_scripts.conversion import zipped
from data_scripts.conversion.zipped import member_of, unpack


@pytest.fixture
def zipped_folder(code15_folder):
    """The same exams with both parts zipped, one with the litter that macOS adds."""
    for path in sorted(code15_folder.glob("*.hdf5")):
        with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, f"folder/{path.name}")
            if path.stem == "exams_part0":
                archive.writestr(f"__MACOSX/folder/._{path.name}", b"litter")
        path.rename(code15_folder.parent / path.name)
    return code15_folder


@pytest.mark.parametrize("num_proc", [1, 2])
def test_zipped_parts_give_the_same_table(zipped_folder, convert, tmp_path, num_proc, monkeypatch):
    monkeypatch.setattr("data_scripts.conversion.shards.ROWS_PER_SHARD", 8)
    record, _ = convert(zipped_folder, "--num_proc", num_proc)
    for path in list(zipped_folder.glob("*.zip")):
        (tmp_path / f"{path.stem}.hdf5").rename(zipped_folder / f"{path.stem}.hdf5")
        path.unlink()
    assert convert(zipped_folder, output="plain")[0] == record and record["kept"] == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code15", "plain", "table"]


def test_a_part_is_unpacked_twice_whatever_the_shards_and_one_lies_there_at_a_time(
    zipped_folder, convert, monkeypatch
):
    monkeypatch.setattr("data_scripts.conversion.shards.ROWS_PER_SHARD", 8)
    unpacked = []

    def count(path, suffixes, folder):
        assert not folder.exists() or not list(folder.iterdir())
        unpacked.append(path.name)
        return unpack(path, suffixes, folder)

    monkeypatch.setattr(code15, "unpack", count)
    convert(zipped_folder)
    assert unpacked == ["exams_part0.zip", "exams_part10.zip"] * 2  # for its ids, then for its tracings


def test_an_unpacked_part_is_preferred(zipped_folder, convert, tmp_path):
    (tmp_path / "exams_part0.hdf5").rename(zipped_folder / "exams_part0.hdf5")
    (zipped_folder / "exams_part0.zip").write_bytes(b"not looked at")
    assert convert(zipped_folder)[0]["kept"] == 50


def test_the_disk_must_hold_the_unpacked_part_too(zipped_folder, refused, monkeypatch):
    sizes = [member_of(path, (".hdf5",)).file_size for path in zipped_folder.glob("*.zip")]
    table = 50 * 12 * 4096 * 2
    usage = conversion.shutil.disk_usage(zipped_folder)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda path: usage._replace(free=table + max(sizes) - 1))
    refused(zipped_folder, OSError, f"50 exams need .* MiB, {max(sizes) >> 20} of them for unpacked parts")
    refused(zipped_folder, OSError, f"{sum(sizes) >> 20} of them for unpacked parts", "--num_proc", 2)


def test_a_full_disk_leaves_no_half_of_a_part(zipped_folder, tmp_path, monkeypatch):
    def full(source, target, length):
        target.write(source.read(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipped.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"No space left on device: .*exams_part0\..*\.hdf5"):
        unpack(zipped_folder / "exams_part0.zip", (".hdf5",), tmp_path / "aside")
    assert not list((tmp_path / "aside").iterdir())


def test_an_encrypted_or_empty_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "no part")
    with pytest.raises(ValueError, match="a.zip: expected one file named .hdf5 in it, found readme.txt"):
        member_of(tmp_path / "a.zip", (".hdf5",))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.hdf5", "secret")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1  # the flag that says: encrypted
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="a.zip: a.hdf5 in it cannot be unpacked: .*encrypted"):
        unpack(tmp_path / "a.zip", (".hdf5",), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
