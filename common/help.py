"""What `--help` says, at once: importing what the commands work with takes seconds, so their help is written down."""

import re
import sys
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "commands.md"  # `make commands` writes it; a test compares it with the parsers


def command_name() -> str:
    """Returns how the program that runs is called: `train_clip.py`, `python -m data_scripts.code15`."""
    path = Path(getattr(sys.modules["__main__"], "__file__", None) or sys.argv[0]).resolve()
    if not path.is_relative_to(PROJECT) or path.parent == PROJECT:
        return path.name
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return "python -m " + ".".join(parts[:-1] if parts[-1] == "__main__" else parts)


def written_help(command: str) -> str | None:
    """Returns the help of a command as the page has it, or None where it has none."""
    if not PAGE.is_file():
        return None
    found = re.search(rf"^## {re.escape(command)}\n\n```text\n(.*?)```$", PAGE.read_text("utf-8"), re.M | re.S)
    return found[1] if found else None


def show_help() -> None:
    """
    Answers `--help` and ends the program; where the page has nothing, the command's own parser will answer.

    Raises:
        `SystemExit`: with status 0, where help was asked for and given.
    """
    text = written_help(command_name()) if {"-h", "--help"} & set(sys.argv[1:]) else None
    if text is not None:
        sys.stdout.write(text)
        raise SystemExit(0)
