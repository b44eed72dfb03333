import numpy as np
import pytest

from publishing import requirements
from publishing.requirements import imported_modules, known_version, requirements_of, write_requirements


def test_imports_are_found_wherever_they_stand(tmp_path):
    (tmp_path / "a.py").write_text("import os.path\nfrom .b import x\ndef f():\n    from numpy.linalg import norm\n")
    (tmp_path / "b.py").write_text("try:\n    import wfdb as w, h5py\nexcept ImportError:\n    w = None\n")
    assert imported_modules(sorted(tmp_path.glob("*.py"))) == {"os", "numpy", "wfdb", "h5py"}


def test_versions_are_those_installed_without_the_build():
    assert requirements_of(["json", "numpy", "no_such_module"]) == [f"numpy=={np.__version__}"]
    (torch,) = requirements_of(["torch"])
    assert torch.startswith("torch==") and "+" not in torch


@pytest.mark.parametrize(("exported", "expected"), [(False, False), (True, True)])
def test_a_runtime_is_required_where_there_is_something_to_run(tmp_path, monkeypatch, exported, expected):
    (tmp_path / "exported_ecgclip.py").write_text("import onnxruntime\nimport numpy\n")
    if exported:
        (tmp_path / "model.onnx").touch()
    owners = {"onnxruntime": ["onnxruntime"], "numpy": ["numpy"], "safetensors": ["safetensors"]}
    monkeypatch.setattr(requirements.metadata, "packages_distributions", lambda: owners)
    monkeypatch.setattr(requirements.metadata, "version", lambda name: "1.0+cpu")
    lines = write_requirements(tmp_path).read_text().split()
    assert lines == ["numpy==1.0", *["onnxruntime==1.0"][: int(expected)], "safetensors==1.0"]


def test_what_is_not_installed_has_the_version_that_the_project_was_tested_with(tmp_path, monkeypatch):
    (tmp_path / "requirements.lock").write_text("gradio-tools==1.0 \\\n    --hash=sha256:0\nno-such-package==6.1 \\\n")
    monkeypatch.setattr(requirements, "project_file", lambda name: tmp_path / name)
    assert known_version("no-such-package") == "6.1"
    assert known_version("numpy") == np.__version__
    with pytest.raises(FileNotFoundError, match="no-such is not installed, and requirements.lock states no version"):
        known_version("no-such")
