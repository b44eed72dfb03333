"""Examples that take a moment are run as they stand, and print what the document shows below them."""

import importlib
import re
import shlex
import sys

import pytest

from common.project import PROJECT


# Python, or a command behind `$ `, and the output below it, if the document shows one.
EXAMPLE = re.compile(
    r"```python\n(?P<code>(?:.*\n)*?)```\n"
    r"|^    \$ python -m (?P<module>[\w.]+) (?P<arguments>.*)\n"
    r"|^(?P<output>(?:    (?!\$).*\n)+)",
    re.MULTILINE,
)
SECTIONS = [("start.md", "Files from a clinic"), ("reading.md", "Several at once")]


def examples(document, title):
    """Pairs of code, or of a command's words, and the output that is shown of it."""
    text = (PROJECT / "docs" / document).read_text(encoding="utf-8")
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = []
    for example in EXAMPLE.finditer(section):
        if example["output"] and found:
            shown = re.sub("^    ", "", example["output"], flags=re.MULTILINE)
            found[-1] = (found[-1][0], shown if found[-1][1] is None else found[-1][1])
        elif not example["output"]:
            found.append((example["code"] or [example["module"], *shlex.split(example["arguments"])], None))
    return [(what, shown) for what, shown in found if shown is not None]


@pytest.mark.parametrize(("document", "title"), SECTIONS)
def test_output_is_what_the_document_shows(document, title, tmp_path, monkeypatch, capsys):
    for name in ("pretrained", "space"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.chdir(tmp_path)
    found, names = examples(document, title), {}
    assert found
    for what, shown in found:
        capsys.readouterr()
        if isinstance(what, str):
            exec(compile(what, document, "exec"), names)
        else:
            monkeypatch.setattr(sys, "argv", what)
            importlib.import_module(what[0]).main()
        printed = capsys.readouterr().out
        assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in shown.splitlines()]
