"""Nothing of this project writes or reads a pickle: loading one runs what it says."""

import ast

import pytest

from common.project import PROJECT


# What unpickles, or may: by the name that is called, the argument that keeps it from doing so, its value, and whether
# it has this value where it is not given.
CALLS = {
    "torch.load": ("weights_only", True, False),  # since torch 2.6 it has; said outright, nobody needs to know
    "np.load": ("allow_pickle", False, True),
    "numpy.load": ("allow_pickle", False, True),
    "torch.save": None,
    "load_state": None,  # of accelerate's Accelerator
    "save_state": None,
    "register_for_checkpointing": None,
    "read_pickle": None,
    "to_pickle": None,
}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
HARMLESS = {"UnpicklingError"}  # what `torch.load(weights_only=True)` raises
NO_ROOMS = ("build", "dist", "runs", "tests")


def project_files():
    tops = [path for path in PROJECT.iterdir() if path.name[0] != "." and path.name not in NO_ROOMS]
    files = [top for top in tops if top.suffix == ".py"]
    files += [path for top in tops if top.is_dir() for path in top.rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(files)


def pickling(source):
    """Yields the line and the text of what may write or read a pickle."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            named = {alias.name for alias in node.names}
            found = {node.module} & MODULES if named - HARMLESS else set()
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found = {name for call in CALLS if (name == call or name.endswith(f".{call}")) and not _kept(node, call)}
        else:
            continue
        for one in found:
            yield node.lineno, one


def _kept(call, name):
    """Whether a call has the argument that keeps it from unpickling."""
    if CALLS[name] is None:
        return False
    argument, safe, by_default = CALLS[name]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if argument not in given:
        return by_default
    return isinstance(given[argument], ast.Constant) and given[argument].value is safe


def test_no_file_of_the_project_pickles():
    files = project_files()
    assert len(files) > 100 and PROJECT / "training" / "checkpoints.py" in files
    found = [
        f"{path.relative_to(PROJECT)}:{line}: {what}"
        for path in files
        for line, what in pickling(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import UnpicklingError, loads",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch\ntorch.save(1, 'x')",
        "accelerator.load_state('x')",
        "self.accelerator.save_state('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_what_pickles_is_found(source):
    assert len(list(pickling(source))) == 1


@pytest.mark.parametrize(
    "source",
    ["from pickle import UnpicklingError", "torch.load('x', weights_only=True)", "np.load('x')"],
)
def test_what_does_not_is_let_be(source):
    assert list(pickling(source)) == []
