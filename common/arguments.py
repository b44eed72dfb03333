"""Command lines of dataclasses: each field a flag, each class a group of `--help`."""

import argparse
import inspect
from typing import Any

from transformers import HfArgumentParser

from common.help import command_name


WIDTH = 110
VALUE_NAMES = {int: "N", float: "X"}
SAYS_NOTHING = (None, True, False, "", argparse.SUPPRESS)  # of defaults


class Help(argparse.RawDescriptionHelpFormatter):
    """Help with examples as they are written, and with those defaults that say something."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30, width=WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        is_switch = bool(action.option_strings) and action.const is True
        return ", ".join(action.option_strings) if is_switch else super()._format_action_invocation(action)

    def _get_help_string(self, action: argparse.Action) -> str:
        text, value = action.help or "", action.default
        silent = value == [] or any(value is one for one in SAYS_NOTHING)
        if action.required or "default" in text.lower() or silent:
            return text
        shown = " ".join(map(str, value)) if isinstance(value, list) else value
        return f"{text.removesuffix('.')} (default: {shown}){'.' if text.endswith('.') else ''}"


class Parser(HfArgumentParser):
    """
    Parser of dataclasses, each of which is a group that its docstring's first line names.

    A flag is shown in one spelling, with underscores; with hyphens it is understood too.

    Args:
        description (`str`): Docstring of the command's file, examples included.
        groups (`type`): Dataclasses.
    """

    def __init__(self, description: str, *groups: type):
        dataclasses: Any = groups  # whose type transformers states too narrowly
        about = inspect.cleandoc(description)
        super().__init__(dataclasses, prog=command_name(), description=about, formatter_class=Help)
        required = []
        for action in self._actions:
            action.option_strings = [one for one in action.option_strings if "-" not in one.lstrip("-")]
            if action.nargs != 0 and action.choices is None:
                action.metavar = VALUE_NAMES.get(action.type, action.dest.rpartition("_")[2].upper())  # type: ignore
            if action.required:
                required.append(f"{action.option_strings[0]} {action.metavar or action.dest.upper()}")
        self._join_switches()
        self.usage = " ".join(["%(prog)s", *required, "[options]"])

    def _add_dataclass_arguments(self, dtype: Any) -> None:
        # The name under which its parent looks for a group's title.
        if not hasattr(dtype, "_argument_group_name"):
            dtype._argument_group_name = inspect.cleandoc(dtype.__doc__).splitlines()[0].removesuffix(".")
        super()._add_dataclass_arguments(dtype)

    def _join_switches(self) -> None:
        """Shows `--x` and `--no_x` in one line."""
        shown = {action.dest: action for action in self._actions if action.const is True}
        for action in self._actions:
            if isinstance(action, argparse._StoreFalseAction) and action.dest in shown:
                shown[action.dest].option_strings = [*shown[action.dest].option_strings, *action.option_strings]
                action.help = argparse.SUPPRESS


def plain_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser without arguments yet, for commands that have a few; its help looks like that of [`Parser`]."""
    return argparse.ArgumentParser(
        prog=command_name(), description=inspect.cleandoc(description), formatter_class=Help
    )


def parse(argv: list[str] | None, description: str, *groups: type) -> tuple[Any, ...]:
    """
    Returns one filled dataclass for each of `groups`.

    Args:
        argv (`list[str]`, *optional*): Arguments without the program's name; left out, the command line's.
        description (`str`): Docstring of the command's file.
        groups: Dataclasses.

    Raises:
        `SystemExit`: for unknown flags, wrong types and impossible values, with a usage line.
    """
    parser = Parser(description, *groups)
    try:
        return parser.parse_args_into_dataclasses(argv)
    except ValueError as error:
        parser.error(str(error))
