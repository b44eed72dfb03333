"""Tables in Markdown, for cards, records and terminals alike."""

from collections.abc import Collection, Sequence


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
