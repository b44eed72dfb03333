"""
Every command in README and docs/, taken apart by a shell, and read by the command's own parser. None is run.

A flag, a choice, a type or a value that the command would refuse fails here, and so does a required argument that is
missing: but where the document says `...`, and in the middle of a sentence.
"""

import argparse
import ast
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from unittest.mock import patch

import pytest
from accelerate.commands.launch import launch_command_parser
from transformers import HfArgumentParser

from common.markdown import without_fences
from common.project import PROJECT


DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
# What a line of a command begins with, after variables that are set for it.
OURS = ("accelerate", "bash", "make", "pip", "python")
OTHERS = ("curl", "hf", "ls", "sha256sum", "source")
SHELL = ("cd", "for", "source")
BEGINS = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join([*OURS, *OTHERS, *SHELL])})(?=[ =]|$)")
REST = ("...", "…")  # in place of further arguments
# The shell finds no program: each that it looks for is written down, with NUL behind each word and behind the last.
PREAMBLE = """\
command_not_found_handle() {
    printf '%s\\0' "$@" "" >> words
    [ "$2" != - ] || printf 'python\\0-c\\0%s\\0\\0' "$(</dev/stdin)" >> words
}
PATH=/nothing
"""


class ParsedError(BaseException):
    """The command line was understood: nothing more is to be done."""


def chunks(text):
    """Pieces of code that hold commands: all of bash, lines behind `$ `, and what begins as commands do."""
    found = re.findall(r"```(?:bash)\n(.*?)```", text, re.DOTALL)
    plain = [*re.findall(r"```\n(.*?)```", text, re.DOTALL)]
    plain += [piece.replace("\n    ", "\n")[4:] for piece in re.findall(r"(?:^    .*\n)+", without_fences(text), re.M)]
    for code in plain:
        marked = re.findall(r"^\$ ((?:.*\\\n)*.*)$", code, re.MULTILINE)
        found += marked or [code] * bool(BEGINS.match(code))
    return [re.sub(r"\[(--[^\]|]+)(?:\|[^\]]*)?\]", r"\1", code) for code in found]  # what may be left out is given


def inline(text):
    """Commands within sentences and tables, which may leave out the rest of their arguments."""
    pattern = r"(?<!`)`((?:make|pip|python) [^`]+)`(?!`)"
    return [code.replace("\\|", "|") for code in re.findall(pattern, without_fences(text))]


def commands(code, folder):
    """The words of each command that a shell would run."""
    shell = shutil.which("bash")
    done = subprocess.run([shell, "-c", PREAMBLE + code], cwd=folder, capture_output=True, text=True, check=False)
    assert "syntax error" not in done.stderr, done.stderr
    words = folder / "words"
    text = words.read_text(encoding="utf-8") if words.is_file() else ""
    words.unlink(missing_ok=True)
    return [command.split("\0") for command in text.split("\0\0")[:-1]]


def refusal(words, partial=False):
    """Why a command cannot be run as it stands, or None."""
    partial = partial or any(rest in words for rest in REST)
    words = ["1" if word == "N" else word for word in words if word not in REST]
    program, *arguments = words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        unknown = [word for word in arguments if "=" not in word and word not in targets]
        return f"make has no {' '.join(unknown)}" if unknown else None
    if program == "pip":
        extras = re.findall(r"\.\[([\w,]+)\]", " ".join(arguments))
        known = re.findall(r"^(\w+) = \[", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        unknown = {name for extra in extras for name in extra.split(",")} - set(known)
        return f"no extra named {', '.join(sorted(unknown))}" if unknown else None
    if program == "accelerate":
        return launched(arguments, partial)
    if program == "python":
        return python(arguments, partial)
    if program == "bash":
        return None if (PROJECT / arguments[0]).is_file() else f"no script {arguments[0]}"
    return None if program in OTHERS else f"no program named {program}"


def launched(arguments, partial):
    """As [`refusal`], of what stands behind `accelerate`."""
    assert arguments[0] == "launch"
    try:
        launch = launch_command_parser().parse_args(arguments[1:])
    except SystemExit:
        return f"accelerate refuses {' '.join(arguments)}"
    if launch.config_file and not (PROJECT / launch.config_file).is_file():
        return f"no file {launch.config_file}"
    return python([launch.training_script, *launch.training_script_args], partial)


def python(arguments, partial):
    """As [`refusal`], of what stands behind `python`."""
    if not arguments:
        return None
    if arguments[0] == "-c":
        ast.parse(arguments[1])
        return None
    is_module = arguments[0] == "-m"
    name, rest = arguments[is_module], arguments[1 + is_module :]
    if name in ("pip", "venv", "-"):
        return None
    if name == "pytest":
        missing = [word for word in rest if "/" in word and not (PROJECT / word.partition("::")[0]).exists()]
        return f"no {' '.join(missing)}" if missing else None
    path = PROJECT / (name.replace(".", "/") if is_module else name)
    if is_module:
        path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return parsed(path, rest, partial) if path.is_file() else f"no command {name}"


def parsed(path, arguments, partial):
    """Why the parser of a command refuses arguments, or None. Nothing behind the parser is run."""
    refused = []
    with stopped_behind_the_parser(partial, refused), patch.object(sys, "argv", [path.name, *arguments]):
        with patch.object(sys, "path", [str(path.parent), *sys.path]):
            try:
                runpy.run_path(str(path), run_name="__main__")
            except ParsedError:
                return None
            except SystemExit as ended:
                return refused[-1] if refused else ended.code and f"ended with {ended.code}"  # 0 of --help
    return "it reads no arguments" if arguments else None


@contextmanager
def stopped_behind_the_parser(partial, refused):
    """Makes every parser raise [`ParsedError`] once it has understood its arguments, some of which may be missing."""
    known, dataclasses = argparse.ArgumentParser.parse_known_args, HfArgumentParser.parse_args_into_dataclasses

    def parse_known_args(self, *args, **kwargs):
        if partial:
            for action in self._actions:
                action.required = False
        found, rest = known(self, *args, **kwargs)
        if partial or not isinstance(self, HfArgumentParser):
            if rest:
                self.error(f"unrecognized arguments: {' '.join(rest)}")
            raise ParsedError
        return found, rest

    def parse_args_into_dataclasses(self, *args, **kwargs):
        with suppress(OSError):  # what is wrong with the disk is right with the command
            dataclasses(self, *args, **kwargs)
        raise ParsedError

    def error(self, message):
        refused.append(message)
        raise SystemExit(2)

    with (
        patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        patch.object(HfArgumentParser, "parse_args_into_dataclasses", parse_args_into_dataclasses),
        patch.object(argparse.ArgumentParser, "error", error),
    ):
        yield


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_understood(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exams").mkdir()
    text = path.read_text(encoding="utf-8")
    found = [(words, False) for code in chunks(text) for words in commands(code, tmp_path)]
    found += [(words, True) for code in inline(text) for words in commands(code, tmp_path)]
    refused = [f"{' '.join(words)}: {why}" for words, partial in found if (why := refusal(words, partial))]
    assert not refused, "\n".join(refused)


def test_commands_are_found(tmp_path):
    found = {
        path.name: [one for code in chunks(path.read_text()) for one in commands(code, tmp_path)] for path in DOCUMENTS
    }
    assert len(found["own_data.md"]) > 20 and len(found["README.md"]) > 10
    loop = [words for words in found["training.md"] if "runs/graph-2048" in words]
    assert loop and loop[0][loop[0].index("--max_train_steps") + 1] == "2442"  # the shell does the loop and the sum


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("python train_cls.py --dataset_name_or_path exams --output_dir cls --learning_rte 1", "--learning_rte"),
        ("python train_cls.py --output_dir cls", "--dataset_name_or_path"),
        ("python train_cls.py --task nothing ...", "invalid choice"),
        ("python -m data_scripts.simulate --output_dir x --num_exams many", "--num_exams"),
        ("python -m data_scripts.nothing", "no command"),
        ("python nothing.py", "no command"),
        ("accelerate launch --nothing 1 train_cls.py ...", "accelerate refuses"),
        ("accelerate launch --config_file configs/none.yaml train_cls.py ...", "no file configs/none.yaml"),
        ("make nothing", "make has no nothing"),
        ('pip install -e ".[nothing]"', "no extra named nothing"),
        ("pyton app.py", "no program named pyton"),
    ],
)
def test_what_cannot_be_run_is_noticed(command, why, tmp_path):
    (words,) = commands(command, tmp_path)
    assert why in refusal(words)


def test_words_are_the_shells(tmp_path):
    code = "\n".join(["A=1 python x.py \\", "  --a 'b c'  # said", "python - <<'END' | curl x", "print(1)", "END"])
    expected = [["curl", "x"], ["python", "-"], ["python", "-c", "print(1)"], ["python", "x.py", "--a", "b c"]]
    assert sorted(commands(code, tmp_path)) == expected
