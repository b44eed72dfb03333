"""The list of kinds of files: what tells them apart, and that every way in follows it."""

from pathlib import Path

import numpy as np
import pytest
from transformers.dynamic_module_utils import get_relative_import_files

from modeling_ecgclip import formats_ecgclip, reading_ecgclip
from modeling_ecgclip.formats_ecgclip import FORMATS, Format, format_named, format_of, kinds_of_files
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.requests_ecgclip import FORMATS as REQUEST_FORMATS
from tests.conftest import PROJECT
from tests.modeling_ecgclip.request_forms import write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with one file of each kind, and their contents by ending."""
    folder = tmp_path_factory.mktemp("kinds")
    ecg = np.random.default_rng(0).integers(-2000, 2000, (12, 500)).astype(np.int16)
    return folder, write_files(folder, ecg)


KINDS = {"hea": "wfdb", "npy": "npy", "npz": "npz", "csv": "csv", "hdf5": "hdf5", "zip": "npz"}


def test_names_and_endings():
    names = [one.name for one in FORMATS]
    assert len(set(names)) == len(names)
    assert set(names) < set(REQUEST_FORMATS)
    for one in FORMATS:
        assert one.suffixes and all(suffix[0] == "." and suffix == suffix.lower() for suffix in one.suffixes)
        assert format_named(one.name) is one
    with pytest.raises(ValueError, match="expected a format of wfdb, .*: found 'pickle'"):
        format_named("pickle")


@pytest.mark.parametrize(("ending", "name"), KINDS.items())
def test_bytes_tell_their_kind(files, ending, name):
    assert format_of(files[1][ending]).name == name
    assert format_of(files[1][ending][: formats_ecgclip.HEAD_BYTES]).name == name


@pytest.mark.parametrize(
    "head", [b"", b"\x80\x04.", b"words", b"%PDF-1.7\n", b"two words\nand two", bytes(99), b"0.1,0.2\0", b"12\n13\n"]
)
def test_bytes_of_no_kind(head):
    assert format_of(head) is None


@pytest.mark.parametrize("head", [b"12 5 500 1000\n7 8 9 10", b"a|b", b"I II\n0.1 -2e-3\n", "I,II".encode("utf-16")])
def test_tables_of_every_separator(head):
    assert format_of(head).name == "csv"


def test_endings_come_first_and_bytes_decide_without_one(files, tmp_path):
    folder, contents = files
    assert format_of(folder / "ecg.NPY").name == "npy"  # by the ending: no such file is opened
    for ending in ("npy", "npz", "csv"):
        path = tmp_path / f"export_of_{ending}.bin"
        path.write_bytes(contents[ending])
        np.testing.assert_allclose(
            read_ecg(path, sampling_rate=500).signal, read_ecg(folder / f"ecg.{ending}", sampling_rate=500).signal
        )


def test_one_entry_adds_a_kind(tmp_path, monkeypatch):
    """Two kinds with one ending: how a file begins decides, and the reader's word is all there is to it."""

    def entry(name, sign):
        record = EcgRecord(np.full((2, 9), sign[0]), 500, ("I", "II"), "mV", name)
        return Format(name, name.title(), (".xml",), lambda head: head.startswith(sign), lambda path: record)

    kinds = (entry("first", b"<a"), entry("second", b"<b"), *FORMATS)
    monkeypatch.setattr(formats_ecgclip, "FORMATS", kinds)
    monkeypatch.setattr(reading_ecgclip, "FORMATS", kinds)
    for content, name in ((b"<a>", "first"), (b"<b>", "second")):
        (tmp_path / "ecg.xml").write_bytes(content)
        assert read_ecg(tmp_path / "ecg.xml").name == name
    (tmp_path / "ecg.xml").write_bytes(b"<c>")
    with pytest.raises(ValueError, match="ecg.xml: unknown kind of file: .*: found none of First, Second"):
        read_ecg(tmp_path / "ecg.xml")


def test_kinds_in_words(monkeypatch):
    assert "WFDB (.hea with .dat)" in kinds_of_files() and "(.hdf5 or .h5)" in kinds_of_files()
    monkeypatch.setattr(formats_ecgclip, "find_spec", lambda package: None)
    assert "HDF5" not in kinds_of_files() and ".npy" in kinds_of_files()


def test_readers_travel_with_the_code_that_uses_them():
    source = Path(reading_ecgclip.__file__)
    travelling = {Path(path).name for path in get_relative_import_files(source)}
    assert {Path(one.read.__code__.co_filename).name for one in FORMATS} <= travelling


def test_documentation_names_every_kind():
    text = (PROJECT / "docs" / "reading.md").read_text(encoding="utf-8")
    for one in FORMATS:
        assert all(f"`{suffix}`" in text for suffix in one.suffixes) and f"`{one.name}`" in text, one.name
