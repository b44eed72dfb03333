"""What published code imports, with the versions that it was run with."""

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from common.files import write_text
from common.project import imported_names, project_file


REQUIREMENTS = "requirements.txt"
LOCK = "requirements.lock"
# Of use only beside the files that they run.
RUNTIMES = {"onnxruntime": "model.onnx", "openvino": "openvino_model.xml"}


def imported_modules(paths: Iterable[Path]) -> set[str]:
    """Returns the first parts of the names of all absolute imports in some Python files, within functions too."""
    names = (name for path in paths for name in imported_names(path))
    return {name.partition(".")[0] for name in names if not name.startswith(".")}


def requirements_of(modules: Iterable[str]) -> list[str]:
    """
    Returns lines for `requirements.txt`: the packages that hold some modules, in the versions installed here.

    Modules of Python itself and those that are not installed (all of them optional) are left out, and of a version
    what names a build (`+cpu`).

    Args:
        modules (`Iterable[str]`): First parts of module names.
    """
    owners = metadata.packages_distributions()
    packages = {name for module in modules if module not in sys.stdlib_module_names for name in owners.get(module, ())}
    return sorted(f"{name}=={metadata.version(name).split('+')[0]}" for name in packages)


def known_version(package: str) -> str:
    """
    Returns the version of a package that is installed, or else the one that the project was tested with.

    Raises:
        `FileNotFoundError`: where neither is known.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        pins = project_file(LOCK).read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}==(\S+)", pins, re.MULTILINE)
    if found is None:
        raise FileNotFoundError(f"{package} is not installed, and {LOCK} states no version of it: install it")
    return found[1]


def requirements_of_folder(folder: Path) -> list[str]:
    """Returns what the code in the folder of a run needs, as [`requirements_of`] does."""
    code = sorted(folder.glob("*.py"))
    without = {module for module, kept in RUNTIMES.items() if not (folder / kept).is_file()}
    modules = imported_modules(code) - {path.stem for path in code} - without
    return requirements_of(modules | {"safetensors"})  # which holds the weights, though no code here names it


def write_requirements(folder: Path) -> Path:
    """Writes `requirements.txt` for the code in the folder of a run, and returns its path."""
    path = folder / REQUIREMENTS
    write_text(path, "\n".join(requirements_of_folder(folder)))
    return path
