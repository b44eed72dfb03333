"""
Writes docs/commands.md: the help of each command, as its parser has it.

    python .ci/commands_page.py

A command is a file that asks `common/help.py` before it imports what takes seconds; the page answers `--help`.
"""

import contextlib
import io
import runpy
import sys
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent
NO_COMMANDS = ("build", "dist", "runs", "tests")
HEAD = """\
# Commands

What `--help` says of each command. `make commands` writes this page.
"""


def command_files() -> list[Path]:
    """Returns the files of all commands, those of the root first."""
    tops = [path for path in PROJECT.iterdir() if path.name[0] != "." and path.name not in NO_COMMANDS]
    found = [top for top in tops if top.suffix == ".py"]
    found += [path for top in tops if top.is_dir() for path in top.rglob("*.py")]
    commands = [path for path in found if "\n    show_help()\n" in path.read_text(encoding="utf-8")]
    return sorted(commands, key=lambda path: (path.parent != PROJECT, path))


def help_of_parser(path: Path) -> tuple[str, str]:
    """
    Returns the name of a command, and the help that its parser makes.

    Args:
        path (`Path`): Of its file, which is run as `--help` would run it without a page.
    """
    from common import help as written

    told: list[str] = []
    page, arguments = written.PAGE, sys.argv
    said, name = io.StringIO(), written.command_name
    written.PAGE = PROJECT / "no page"
    sys.argv = [str(path), "--help"]
    written.command_name = lambda: told.append(name()) or told[-1]
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        written.PAGE, sys.argv, written.command_name = page, arguments, name
    return told[0], said.getvalue()


def page() -> str:
    """Returns the text of the page."""
    sections = [help_of_parser(path) for path in command_files()]
    return "\n".join([HEAD, *(f"## {name}\n\n```text\n{text}```\n" for name, text in sections)])


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    (PROJECT / "docs" / "commands.md").write_text(page(), encoding="utf-8")
