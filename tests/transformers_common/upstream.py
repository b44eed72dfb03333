"""
transformers' own common tests, from its source archive, under a name of their own: `tests` is ours.

    python -m tests.transformers_common.upstream

fetches the archive, as `make test-slow` does. It holds the shared testers but not every module that they name: the
testers of exporters and of `generate`, which no encoder needs, the values that configurations are tried with, and what
finds a copy of the pictures, films and sounds on the Hub that processors are tried with, none of which is for ECGs.
"""

import importlib
import os
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from unittest.mock import patch

import pytest
import transformers
from transformers import __version__


PACKAGE = "transformers_tests"
ARCHIVES = Path(__file__).resolve().parents[2] / "build" / "upstream"

COMMON_VALUES = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["Model"],
    "id2label": {0: "label"},
    "label2id": {"label": 0},
    "problem_type": "regression",
}


def _module(name: str, **content: object) -> None:
    module = types.ModuleType(f"{PACKAGE}.{name}")
    module.__dict__.update(content)
    sys.modules[module.__name__] = module


def fetch() -> None:
    """Downloads the source archive of the installed version and unpacks its tests, unless they are there."""
    if (ARCHIVES / f"transformers-{__version__}" / "tests").is_dir():
        return
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(ARCHIVES)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, f"transformers=={__version__}"], check=True)
    with tarfile.open(ARCHIVES / f"transformers-{__version__}.tar.gz") as archive:
        tests = [member for member in archive.getmembers() if member.name.split("/")[1:2] == ["tests"]]
        archive.extractall(ARCHIVES, members=tests, filter="data")


def load() -> None:
    """Makes `transformers_tests.test_modeling_common` and the like importable; skips where they are absent."""
    folder = Path(os.environ.get("TRANSFORMERS_SOURCE", ARCHIVES / f"transformers-{__version__}"))
    if not (folder / "tests" / "test_modeling_common.py").is_file():
        pytest.skip(
            f"transformers' own tests are not in {folder}: `make test-slow` fetches them", allow_module_level=True
        )
    if PACKAGE in sys.modules:
        return
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(folder / "tests")]
    sys.modules[PACKAGE] = package
    _module("exporters")
    _module("exporters.test_export", ExportTesterMixin=object)
    _module("generation")
    _module("generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
    _module("utils")
    _module("utils.test_configuration_utils", config_common_kwargs=COMMON_VALUES)
    sys.modules["fetch_hub_objects_for_ci"] = hub_objects = types.ModuleType("fetch_hub_objects_for_ci")
    hub_objects.__dict__["url_to_local_path"] = lambda url: url
    # It looks for the library beside the tests, where the archive has none.
    with patch("transformers.utils.direct_transformers_import", lambda _: transformers):
        importlib.import_module(f"{PACKAGE}.test_configuration_common")


if __name__ == "__main__":
    fetch()
