"""What may import what: the order of the project's rooms, stated here and nowhere else."""

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from common.project import PROJECT, imported_names, project_imports


# From the foundation up. A module may import what its own room holds and the rows below its own; rooms in one row do
# not know each other. The longest name that fits counts: `data_scripts` alone is its commands.
ROOMS = (
    ("modeling_ecgclip",),
    ("common", "metrics"),
    ("data_scripts.tables",),
    ("data_scripts.text",),
    ("data_scripts.conversion", "data_scripts.simulate"),
    ("data_scripts",),
    ("training",),
    ("publishing", "reproduction", "serving", "space"),
    ("train_clip", "train_cls"),
    ("app", "reproduce", "serve"),
    ("pretrained",),  # the default's folders, whose code is the installed package
    # Commands that keep the name by which they are documented, beside what they speak of.
    (
        "modeling_ecgclip.convert_published",
        "data_scripts.publish",
        "training.publish",
        "training.export",
        "training.recalibrate",
    ),
    ("benchmarks", "examples"),
)
ROW = {room: row for row, rooms in enumerate(ROOMS) for room in rooms}
NO_ROOMS = ("build", "dist", "runs", "tests")  # what is made, and what tests all


def project_files() -> list[Path]:
    tops = [path for path in PROJECT.iterdir() if path.name[0] != "." and path.name not in NO_ROOMS]
    files = [top for top in tops if top.suffix == ".py"]
    files += [path for top in tops if top.is_dir() for path in top.rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(files)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    fitting = [room for room in ROW if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len, default="")


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """By module, the project's modules that it imports, within functions too."""
    return {module_of(path): {module_of(one) for one in project_imports(path)} for path in project_files()}


def test_every_module_has_a_room(imports):
    assert [module for module in imports if not room_of(module)] == []
    assert sorted(set(ROW) - {room_of(module) for module in imports}) == []


def test_imports_run_downwards(imports):
    upwards = []
    for module, named in imports.items():
        for other in named:
            here, there = room_of(module), room_of(other)
            if here != there and ROW[there] >= ROW[here]:
                upwards.append(f"{module} imports {other}")
    assert upwards == []


def test_there_is_no_circle(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_names_of_modules_are_written_in_full_except_where_they_travel():
    # The Hub gets the former with the weights; `evaluate.load` copies the latter with its siblings.
    travelling = {"modeling_ecgclip": r"\.\w+_ecgclip\.\w+", "ecg_multilabel": r"\.\w+\.\w+"}
    relative = {}
    for path in project_files():
        names = [name for name in imported_names(path) if name.startswith(".")]
        if path.parent.name in travelling:
            names = [name for name in names if not re.fullmatch(travelling[path.parent.name], name)]
        if names:
            relative[module_of(path)] = names
    assert relative == {}
