"""Documents: every link leads somewhere, and code in Python compiles and takes from modules what is there."""

import ast
import importlib
import inspect
import re
import textwrap

import pytest

from common.markdown import anchors_of, links_of
from common.project import PROJECT


FILLED_IN = {"model_card.md", "publishing/dataset_card.md"}  # templates
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*/*.md", "metrics/*/*.md", "publishing/*.md")
    for path in PROJECT.glob(pattern)
    if path.relative_to(PROJECT).as_posix() not in FILLED_IN
)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
PROMPT = re.compile(r"^(?:>>> ?|\.\.\. ?)(.*)$|^.*$", re.MULTILINE)
SNIPPETS = [(path, code) for path in DOCUMENTS for code in PYTHON.findall(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(path):
    assert dead_links(path, path.read_text(encoding="utf-8")) == []


def dead_links(path, text):
    """Links of a document to a file, or to a heading in one, that is not there."""
    dead = []
    for file, anchor in links_of(text):
        target = path.parent / file
        if file and not target.exists():
            dead.append(file)
        elif anchor and anchor not in anchors_of(target.read_text(encoding="utf-8") if file else text):
            dead.append(f"{file}#{anchor}")
    return dead


def test_dead_links_are_noticed():
    text = "# A\n[a](#a) [b](#b) [c](data.md) [d](data.md#nothing) [e](none.md)\n```\n# B\n[f](none.md)\n```\n"
    assert dead_links(PROJECT / "docs" / "x.md", text) == ["#b", "data.md#nothing", "none.md"]


def test_every_document_is_on_the_site():
    config = (PROJECT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +- (?:.*: )?(\S+\.md)$", config, re.MULTILINE))
    assert listed == {path.relative_to(PROJECT).as_posix() for path in DOCUMENTS}


@pytest.mark.parametrize(("path", "code"), SNIPPETS, ids=lambda one: one.name if hasattr(one, "name") else "")
def test_snippets_take_what_is_there(path, code):
    assert misused(code) == []


def misused(code):
    """What a snippet imports that is not there, and arguments that its functions do not take."""
    code = textwrap.dedent(code)
    if code.startswith(">>> "):  # as the interpreter shows it, with its answers
        code = PROMPT.sub(lambda line: line[1] or "", code)
    tree = ast.parse(code)
    names, wrong = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({one.asname or one.name: importlib.import_module(one.name) for one in node.names})
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            wrong += [f"{node.module}.{one.name}" for one in node.names if not hasattr(module, one.name)]
            names.update({one.asname or one.name: getattr(module, one.name, None) for one in node.names})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and callable(names.get(node.func.id)):
            parameters = inspect.signature(names[node.func.id]).parameters.values()
            if all(one.kind is not one.VAR_KEYWORD for one in parameters):
                given = {one.arg for one in node.keywords if one.arg}
                wrong += [f"{node.func.id}({name}=)" for name in sorted(given - {one.name for one in parameters})]
    return wrong


def test_misuse_is_noticed():
    code = "from modeling_ecgclip import classify, nothing\nfrom modeling_ecgclip import read_ecg\n"
    assert misused(f"{code}read_ecg('x.csv', unit='mV', units='mV')") == [
        "modeling_ecgclip.nothing",
        "read_ecg(units=)",
    ]
