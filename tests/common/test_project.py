"""Which of the project's modules a Python file imports."""

import pytest

from common import project
from common.project import imported_names, project_file, project_imports, project_modules


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A project of two packages: `house.rooms.kitchen` imports by every way there is."""
    files = {
        "house/__init__.py": "from house.roof import tiles",
        "house/roof.py": "tiles = 1",
        "house/rooms/__init__.py": "",
        "house/rooms/bath.py": "import numpy",
        "house/rooms/kitchen.py": (
            "import os.path\nfrom typing import TYPE_CHECKING\nimport garden.shed\nfrom . import bath\n"
            "from ..roof import tiles\nif TYPE_CHECKING:\n    from house import attic\n"
            "def cook():\n    from house.cellar import wine\n"
        ),
        "house/attic.py": "",
        "house/cellar.py": "from house.rooms import kitchen",
        "garden/shed.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(project, "PROJECT", tmp_path)
    return tmp_path


def names(checkout, files):
    return {file.relative_to(checkout).as_posix() for file in files}


def test_names_are_those_of_the_file_without_what_only_a_type_checker_reads(checkout):
    found = list(imported_names(checkout / "house/rooms/kitchen.py"))
    assert sorted(found) == [
        *("..roof.tiles", ".bath", "garden.shed", "house.cellar.wine", "os.path", "typing.TYPE_CHECKING")
    ]


def test_own_files_are_found_by_full_and_relative_names(checkout):
    found = names(checkout, project_imports(checkout / "house/rooms/kitchen.py"))
    assert found == {"garden/shed.py", "house/rooms/bath.py", "house/roof.py", "house/cellar.py"}


def test_modules_come_with_the_packages_that_run_on_the_way(checkout):
    named = {"garden/shed.py", "house/rooms/bath.py", "house/roof.py", "house/cellar.py"}
    kitchen = checkout / "house/rooms/kitchen.py"
    assert names(checkout, project_modules(kitchen, with_packages=False)) == named
    assert names(checkout, project_modules(kitchen)) == named | {"house/__init__.py", "house/rooms/__init__.py"}


def test_a_file_outside_of_the_project_names_its_modules_in_full(checkout, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "own.py"
    path.write_text("from house.rooms.bath import numpy")
    assert names(checkout, project_modules(path, with_packages=False)) == {"house/rooms/bath.py"}


def test_a_missing_file_of_the_project_is_named(checkout):
    (checkout / "model_card.md").touch()
    assert project_file("model_card.md") == checkout / "model_card.md"
    with pytest.raises(FileNotFoundError, match="requirements.lock: expected it in the checkout"):
        project_file("requirements.lock")
