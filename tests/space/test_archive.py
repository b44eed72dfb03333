import io
import stat
import struct
import zipfile

import pytest

from space import archive
from space.archive import MAX_MEMBERS, Part, parts_of_archive


def zipped(path, members, compression=zipfile.ZIP_DEFLATED):
    """A zip archive of contents by name, or by `ZipInfo`."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def link():
    info = zipfile.ZipInfo("ecg.npz")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def patched(path, begin, at, content):
    """The archive with a field of the first record of a kind (by how it begins) overwritten, as no writer would."""
    data = bytearray(path.read_bytes())
    place = data.index(begin) + at
    data[place : place + len(content)] = content
    path.write_bytes(data)
    return path


HOSTILE = {
    "paths that lead out": ([("../../etc/cron.d/ecg.npz", b"x")], "whose paths stay in it"),
    "an absolute path": ([("/tmp/ecg.npz", b"x")], "whose paths stay in it"),
    "a path of another system": ([("C:ecg.npz", b"x")], "whose paths stay in it"),
    "a link": ([(link(), b"/etc/passwd")], "a link or a device"),
    "a nested archive": ([("ecg.npz", b"x"), ("more/inner.ZIP", b"PK")], "another archive in it"),
    "many members": ([(f"{i}", b"") for i in range(MAX_MEMBERS + 1)], "1 to 400 files: found 401"),
    "no members": ([], "1 to 400 files: found 0"),
    "a name of signs that nobody sees": ([("ecg\u202egpj.npz", b"x")], "that can be printed"),
    "a name without end": ([("e" * 241, b"x")], "names of at most 240 bytes"),
    "a bomb": ([("bomb.npy", bytes(21_000_000))], "at most 20,971,520 bytes: found 21,000,000"),
    "many bombs": (
        [(f"{i}.npy", bytes(20_000_000)) for i in range(7)],
        "134,217,728 bytes unpacked: found 140",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_in_a_sentence(tmp_path, kind):
    members, message = HOSTILE[kind]
    path = zipped(tmp_path / "hostile.zip", members)
    with pytest.raises(ValueError, match="^hostile.zip: expected [^\n]*$") as refused:
        parts_of_archive(path)
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == [path]


def test_archives_that_no_writer_makes(tmp_path):
    entry = b"PK\x01\x02"
    several = zipped(tmp_path / "twice.zip", [("a.npz", b"x"), ("b.npz", b"y")])
    patched(several, entry, 46, b"b.npz")
    encrypted = patched(zipped(tmp_path / "locked.zip", [("a.npz", b"x")]), entry, 8, struct.pack("<H", 1))
    lzma = zipped(tmp_path / "lzma.zip", [("a.npz", b"x")], zipfile.ZIP_LZMA)
    # Thousands of members, of which `zipfile` would make as many objects.
    many = zipped(tmp_path / "many.zip", [(f"{i:05}", b"") for i in range(5_000)])
    (tmp_path / "no.zip").write_bytes(b"no archive")
    damaged = tmp_path / "cut.zip"
    damaged.write_bytes(several.read_bytes()[:-30])
    for path, message in (
        (several, "different names: found one twice"),
        (encrypted, "without a password"),
        (lzma, "found compression 14"),
        (many, "at most 400 files: found none or more"),
        (tmp_path / "no.zip", "at most 400 files: found none or more"),
        (damaged, "at most 400 files: found none or more"),
    ):
        with pytest.raises(ValueError, match=f"^{path.name}: expected .*{message}"):
            parts_of_archive(path)


def test_a_file_is_unpacked_alone_and_whole(tmp_path):
    path = zipped(tmp_path / "ecgs.zip", [("ward/a.dat", b"abc" * 999), ("ward/b.dat", b"y")])
    part = parts_of_archive(path)[0]
    assert (part.name, part.file_name, part.folder) == ("ward/a.dat", "a.dat", (path, "ward"))
    aside = tmp_path / "aside"
    aside.mkdir()
    assert part.put_into(aside).read_bytes() == b"abc" * 999
    assert [one.name for one in aside.iterdir()] == ["a.dat"]
    lone = Part("b.npz", tmp_path / "b.npz")
    assert lone.put_into(aside) == tmp_path / "b.npz"


def test_what_is_larger_than_it_says_is_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "liar.zip", [("a.npy", bytes(100_000))])
    part = parts_of_archive(path)[0]
    patched(path, b"PK\x01\x02", 24, struct.pack("<I", 50))  # the size that the directory states
    with pytest.raises(ValueError, match=r"^a.npy: not readable in its archive"):
        part.put_into(tmp_path)
    assert (tmp_path / "a.npy").stat().st_size <= 50
    monkeypatch.setattr(archive.zipfile.ZipFile, "open", lambda *_: io.BytesIO(bytes(100)))
    with pytest.raises(ValueError, match="expected 50 bytes: found more"):
        part.put_into(tmp_path)
