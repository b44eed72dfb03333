"""docs/numbers.md: every number that README, docs and benchmarks claim has a row that says what gives it."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from common.markdown import anchor_of, without_fences
from common.project import PROJECT


PAGE = PROJECT / "docs" / "numbers.md"
DOCUMENTS = ("README.md", "model_card.md", "docs/*.md", "benchmarks/**/*.md", "examples/**/*.md", "metrics/**/*.md")

_COUNT = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|half|\d[\d.,]*)"
_UNIT = r"(?:%|[mnuµ]?s|seconds?|min|minutes?|hours?|times|percent|per cent|[uµ]V|[kMGT]?[A-Za-z]+/s|[kMGT]i?B)"
NUMBER = re.compile(
    rf"±"
    rf"|(?<![\w.])(?<![A-Za-z]-)\d*\.\d+(?![.\w]|-\w)"  # .965, 0.578
    rf"|(?<![\w.,])\d{{1,3}}(?:,\d{{3}})+(?!\w)"  # 12,000
    rf"|\b\d[\d.]*e-?\d+\b"  # 6.1e-05
    rf"|\b{_COUNT}(?: and a half)?[ -]{_UNIT}(?!\w)"  # 4 ms, four minutes, five times
    rf"|\b\d[\d,]* of (?:the )?\d"  # 681 of the 719
    rf"|\b(?:a|two|three|nine) (?:thirds?|quarters?|tenths?) of\b"
)


@dataclass(frozen=True)
class Row:
    """One row: a section of a document, words in it (none: all of it), and what gives their numbers."""

    path: Path
    anchor: str
    words: tuple[str, ...]
    given_by: str

    def covers(self, path: Path, line: int, text: str) -> bool:
        if path != self.path or line not in sections(path)[self.anchor]:
            return False
        return not self.words or any(words in text for words in self.words)


def plain(text: str) -> str:
    return " ".join(text.split())


def documents() -> list[Path]:
    return sorted({path for pattern in DOCUMENTS for path in PROJECT.glob(pattern)} - {PAGE})


@cache
def sections(path: Path) -> dict[str, range]:
    """By anchor, the numbers of a section's lines, to the next heading of its level; the whole document by ''."""
    lines = without_fences(path.read_text(encoding="utf-8")).split("\n")
    headings = [(n, *one.groups()) for n, line in enumerate(lines) if (one := re.match(r"(#+) (.*)", line))]
    found = {"": range(len(lines))}
    for n, level, title in headings:
        ends = (m for m, other, _ in headings if m > n and len(other) <= len(level))
        found[anchor_of(title)] = range(n, next(ends, len(lines)))
    return found


def blocks(text: str) -> list[tuple[int, str]]:
    """Paragraphs, entries of lists and tables with their first line's number; code is left out."""
    found: list[tuple[int, str]] = []
    ended = True
    for n, line in enumerate(without_fences(text).split("\n")):
        if not line.strip() or line.startswith("    "):
            ended = True
            continue
        if ended or re.match(r"\s*(- |\d+\. |#)", line):
            found.append((n, line))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line}")
        ended = line.startswith("#")
    return [(n, plain(block)) for n, block in found]


def numbers_in(block: str) -> list[str]:
    """What looks measured in a block; addresses and code within the line claim nothing."""
    return [one[0] for one in NUMBER.finditer(re.sub(r"`[^`]*`|\]\([^)]*\)|https?:\S+", " ", block))]


def read_rows() -> list[Row]:
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        link = re.fullmatch(r"\[[^]]*\]\(([^)#]*)#?([^)]*)\)", cells[0])
        if line.startswith("| [") and link and len(cells) == 3:
            path = (PAGE.parent / link[1]).resolve()
            rows.append(Row(path, link[2], tuple(re.findall(r"`([^`]+)`", cells[1])), cells[2]))
    return rows


ROWS = read_rows()


@cache
def identifiers() -> set[str]:
    """Every word of the project's code: a flag that is none of them does not exist."""
    files = [path for path in PROJECT.rglob("*.py") if not {".venv", "build", "tests"} & set(path.parts)]
    return {word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


def exists(command: str) -> bool:
    """Whether the project has what a command names: a target, a module, a file, or in it what stands behind `::`."""
    words = command.split()
    if not set(re.findall(r"--(\w+)", command)) <= identifiers():
        return False
    if words[0] == "make":
        return f"\n{words[1]}:" in (PROJECT / "Makefile").read_text(encoding="utf-8")
    if "-m" in words:
        module = PROJECT / words[words.index("-m") + 1].replace(".", "/")
        return module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    path, _, name = words[words[0] == "python"].partition("::")
    if not (PROJECT / path).is_file():
        return False
    return not name or re.search(rf"\b{name}\b", (PROJECT / path).read_text(encoding="utf-8")) is not None


def test_every_line_of_the_tables_is_a_row():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    heads = [line for line in lines if line in ("| where | words | given by |", "|---|---|---|")]
    assert len(lines) == len(heads) + len(ROWS) and len(ROWS) > 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path.name}#{row.anchor} {' '.join(row.words)}"[:80])
def test_words_stand_where_the_row_says_and_its_command_exists(row):
    lines = row.path.read_text(encoding="utf-8").split("\n")
    assert row.anchor in sections(row.path), f"no such heading: found {sorted(sections(row.path))}"
    section = plain("\n".join(lines[n] for n in sections(row.path)[row.anchor]))
    assert [words for words in row.words if words not in section] == []
    commands = re.findall(r"`([^`]+)`", row.given_by)
    assert commands or "https://" in row.given_by, "neither command nor source"
    assert [command for command in commands if not exists(command)] == []


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_number_is_without_a_row(path):
    uncovered = [
        f"line {line + 1}: {', '.join(numbers)}"
        for line, block in blocks(path.read_text(encoding="utf-8"))
        if (numbers := numbers_in(block)) and not any(row.covers(path, line, block) for row in ROWS)
    ]
    assert not uncovered, f"docs/numbers.md has no row for these of {path.name}:\n" + "\n".join(uncovered)


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "python -m data_scripts.nothing",
        "python nothing.py",
        "train_cls.py::nothing",
        "python reproduce.py --no_such_flag 1",
    ],
)
def test_what_is_not_there_is_noticed(command):
    assert not exists(command)


@pytest.mark.parametrize(
    ("block", "found"),
    [
        ("mean F1 from 0.518 to .696 with 4.98 % of the labels", ["0.518", ".696", "4.98"]),
        ("it takes 4 ms, four minutes or 2 s", ["4 ms", "four minutes", "2 s"]),
        ("five to eight times faster, at 130 MB/s and 53 exams/s", ["eight times", "130 MB/s", "53 exams/s"]),
        ("1,200 exams, of 681 of the 719 orders; a quarter of the size", ["1,200", "681 of the 7", "a quarter of"]),
        ("77 ± 10, at most 3 µV, by 6.1e-05", ["±", "3 µV", "6.1e-05"]),
        ("`--ema_decay 0.999` of 12 leads at 400 Hz, [read](x.md#1.5) release 0.1.0 in 2021", []),
    ],
)
def test_what_counts_as_a_number(block, found):
    assert numbers_in(block) == found


def test_blocks_are_paragraphs_entries_and_tables():
    text = "# A\nOne 0.5\nline.\n\n    code 0.5\n\n- entry\n  goes on\n- other\n\n| a |\n|---|\n\n```\n0.5\n```\nend"
    assert [block for _, block in blocks(text)] == [
        "# A",
        "One 0.5 line.",
        "- entry goes on",
        "- other",
        "| a | |---|",
        "end",
    ]
