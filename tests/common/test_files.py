"""Text ends in one newline, and JSON is strict."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.files import public_name, write_json, write_text


def test_write_text_ends_in_one_newline_and_keeps_accents(tmp_path):
    write_text(tmp_path / "a.md", "duração\n\n")
    assert (tmp_path / "a.md").read_bytes() == "duração\n".encode()


def test_write_json_takes_numpy_values_and_paths(tmp_path):
    content = {
        "f1": np.float32(0.5),
        "counts": np.arange(3, dtype=np.int8),
        "flags": (np.bool_(True), None),
        "folder": Path("runs"),
        "label": "1dAVb",
    }
    write_json(tmp_path / "metrics.json", content)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "f1": 0.5,
        "counts": [0, 1, 2],
        "flags": [True, None],
        "folder": "runs",
        "label": "1dAVb",
    }


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), np.float32("nan"), np.array([0.0, np.inf])])
def test_write_json_names_where_a_number_is_not_finite(tmp_path, value):
    with pytest.raises(ValueError, match=r"test\.per_class\[0\]\.auroc"):
        write_json(tmp_path / "metrics.json", {"test": {"per_class": [{"auroc": value}]}})
    assert list(tmp_path.iterdir()) == []


def test_write_json_names_where_a_value_or_key_has_no_place(tmp_path):
    with pytest.raises(TypeError, match="set at labels"):
        write_json(tmp_path / "a.json", {"labels": {1}})
    with pytest.raises(TypeError, match="key at labels, found 1"):
        write_json(tmp_path / "a.json", {"labels": {1: 2}})


def test_a_folder_is_called_by_its_name_and_a_repository_by_its_id(tmp_path, monkeypatch):
    (tmp_path / "runs" / "cls").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "cls")
    assert public_name(tmp_path / "runs" / "cls") == public_name(".") == "cls"
    assert public_name("clinic/cls") == "clinic/cls"
