"""The CSV that lists a source's exams."""

import pytest

from data_scripts.conversion.index import file_version, read_index


def test_file_version_is_the_sha256(tmp_path):
    (tmp_path / "exams.csv").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_version(tmp_path / "exams.csv") == f"exams.csv sha256:{expected}"


def test_an_index_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "exams.csv"
    path.write_bytes("exam_id,report\n1,normal\n2,padrão\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"exams.csv, line 3: expected text in UTF-8, found the byte 0xe3"):
        read_index(path, ("exam_id",))
    path.write_text("exam_id,report\n1,normal\n2,padrão\n", encoding="utf-8")
    assert list(read_index(path, ("exam_id",))["report"]) == ["normal", "padrão"]
