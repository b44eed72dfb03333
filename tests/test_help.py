"""Every command explains itself: at once, from a page that holds what its parser says."""

import importlib.util
import resource
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from common.help import written_help


PROJECT = Path(__file__).resolve().parent.parent


def page_module():
    spec = importlib.util.spec_from_file_location("commands_page", PROJECT / ".ci" / "commands_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = page_module()
FILES = PAGE.command_files()
# Python imports the package of the first before it, which loads torch; the others stand alone.
NOT_AT_ONCE = {
    "modeling_ecgclip/convert_published.py",
    "examples/demo/classify.py",
    "examples/own_data/make_archive.py",
}
NO_COMMANDS = {".ci", ".venv", "benchmarks", "build", "dist", "runs", "tests"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_page_says_what_the_parser_says(path):
    name, text = PAGE.help_of_parser(path)
    assert text.startswith("usage:") and "%(" not in text and "%%" not in text and "(default: None)" not in text
    assert text == written_help(name), "renew the page: make commands"


def test_every_command_is_on_the_page():
    found = {
        str(path.relative_to(PROJECT))
        for path in PROJECT.rglob("*.py")
        if path.relative_to(PROJECT).parts[0] not in NO_COMMANDS
        and '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    assert found - NOT_AT_ONCE == {str(path.relative_to(PROJECT)) for path in FILES}


@pytest.mark.parametrize("path", sorted(NOT_AT_ONCE))
def test_the_others_explain_themselves_too(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROJECT / path), run_name="__main__")
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage:")


def test_help_takes_no_time(capfd):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in (["train_cls.py"], ["-m", "data_scripts.simulate"]):
        subprocess.run([sys.executable, *command, "--help"], check=True, cwd=PROJECT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    said = capfd.readouterr().out
    assert said == written_help("train_cls.py") + written_help("python -m data_scripts.simulate")


def test_what_is_not_on_the_page_is_left_to_the_parser():
    assert written_help("python -m nothing") is None
