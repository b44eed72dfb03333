"""Markdown: tables for cards, records and terminals alike, and the anchors and links of documents."""

import re
from collections.abc import Collection, Sequence


_FENCED = re.compile(r"^[ ]*```.*?^[ ]*```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def markdown_table(rows: Sequence[Sequence[object]], right: Collection[int] | None = None) -> str:
    """
    Returns a table whose first row is its head.

    Args:
        rows (`Sequence[Sequence[object]]`):
            Cells, shown as `str` does; a bar or a line break in one is written so that it stays in its cell.
        right (`Collection[int]`, *optional*):
            Columns of numbers, which go to the right; left out, all but the first. Cells are padded to their column's
            width, except in a table without such columns: a cell of text can be a paragraph.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    right = range(1, len(cells[0])) if right is None else right
    widths = [max(map(len, column)) if right else 0 for column in zip(*cells, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    rule = "|".join(
        "-" * (width + 1) + ":" if i in right else "-" * (width + 2 if right else 3) for i, width in enumerate(widths)
    )
    head, *others = (f"| {line} |" for line in lines)
    return "\n".join([head, f"|{rule}|", *others])


def _cell(value: object) -> str:
    return " ".join(str(value).splitlines()).replace("|", "\\|")


def without_fences(text: str) -> str:
    """Returns a document whose fenced code is blank, line for line."""
    return _FENCED.sub(lambda code: "\n" * code[0].count("\n"), text)


def anchor_of(title: str) -> str:
    """Returns the anchor that GitHub gives a heading: `## 7 Own files, read` has `7-own-files-read`."""
    return re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")


def anchors_of(text: str) -> set[str]:
    """Returns the anchors of a document's headings."""
    return {anchor_of(title) for title in re.findall(r"^#+ (.*)", without_fences(text), re.MULTILINE)}


def links_of(text: str) -> list[tuple[str, str]]:
    """Returns file and anchor of a document's links to files beside it; of one within it the file is empty."""
    links = (link for link in _LINK.findall(without_fences(text)) if not re.match(r"\w+:", link))
    return [(file, anchor) for file, _, anchor in (link.partition("#") for link in links)]
