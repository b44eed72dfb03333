"""The checkout: where its files lie, and which of its modules a Python file imports."""

import ast
from collections.abc import Iterator
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent


def project_file(name: str) -> Path:
    """
    Returns where a file of the project's root lies.

    Raises:
        `FileNotFoundError`: where it is missing.
    """
    path = PROJECT / name
    if not path.is_file():
        raise FileNotFoundError(f"{name}: expected it in the checkout of ecgclip, at {path}")
    return path


def imported_names(path: Path) -> Iterator[str]:
    """
    Yields what a Python file imports when it runs, within functions too: `a.b` for `import a.b` and `from a import b`.

    Relative names begin with as many dots as in the file. What is imported for type checkers alone is left out.

    Args:
        path (`Path`): The file.
    """
    for node in _running(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (module + alias.name for alias in node.names)


def project_imports(path: Path) -> set[Path]:
    """
    Returns the project's own files that a Python file names in its imports.

    Args:
        path (`Path`): The file; one that lies outside of the project can name them in full only.
    """
    package = path.parent.relative_to(PROJECT).parts if path.is_relative_to(PROJECT) else ()
    found = set()
    for name in imported_names(path):
        level = len(name) - len(name.lstrip("."))
        parts = [*package[: len(package) - level + 1], *name[level:].split(".")] if level else name.split(".")
        # The last part may be a module, or a name in one.
        found |= {file for file in (_file_of(parts) or _file_of(parts[:-1]),) if file}
    return found


def project_modules(path: Path, with_packages: bool = True) -> set[Path]:
    """
    Returns the project's own files that a Python file imports, directly or through others.

    Args:
        path (`Path`): The file; it is not among them.
        with_packages (`bool`, defaults to `True`): With the `__init__.py` that Python runs on the way to a module, and
            what it imports.
    """
    found: set[Path] = set()
    waiting = {path}
    while waiting:
        named = project_imports(waiting.pop())
        if with_packages:
            named |= {init for file in named for init in _packages_of(file)}
        waiting |= named - found
        found |= named
    return found - {path}


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes of a file, without what stands under `if TYPE_CHECKING:`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.expr):  # in which no import can stand
            waiting += ast.iter_child_nodes(node)


def _file_of(parts: list[str]) -> Path | None:
    """Where a module or a package of the project lies."""
    place = PROJECT.joinpath(*parts)
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if parts and file.is_file():
            return file
    return None


def _packages_of(file: Path) -> Iterator[Path]:
    """The `__init__.py` of the packages that a module lies in."""
    folder = file.parent
    while folder != PROJECT and (folder / "__init__.py").is_file():
        yield folder / "__init__.py"
        folder = folder.parent
