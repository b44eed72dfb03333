"""Pages of A4 on their side for the PDF: a head, a print-out, and lines of text in two columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from modeling_ecgclip.visualization_ecgclip import MM_PER_INCH, POSITIVE_COLOUR, TEXT_COLOUR
from space.analysis import DISCLAIMER, Analysis


# Paper of 270 mm fits at true size, so that 25 mm/s hold for a page printed at 100 %.
PAGE_WIDTH_MM, PAGE_HEIGHT_MM = 297.0, 210.0
MARGIN_MM, BOTTOM_MM = 13.5, 7.0
HEAD_MM = 17.0
GAP_MM = 7.0  # below the paper
ACROSS_GAP_MM = 3.0  # below lines that stand across the columns
COLUMNS, BETWEEN_MM = 2, 8.0
COLUMN_MM = (PAGE_WIDTH_MM - 2 * MARGIN_MM - (COLUMNS - 1) * BETWEEN_MM) / COLUMNS
TEXT_SIZE, LINE_MM = 8.0, 3.9  # points; from line to line, of letters of that size
MM_PER_POINT = MM_PER_INCH / 72
TOP_MM = PAGE_HEIGHT_MM - HEAD_MM - GAP_MM
MAX_SIGNS = 400  # of a text that is cut
NARROWEST = 0.25  # letter, as a share of its size


@dataclass(frozen=True)
class Line:
    """
    A line of a column.

    Args:
        cells (`tuple[tuple[float, str, dict], ...]`): Each one's place in mm from the column's left edge, its text,
            and what matplotlib takes of it: `weight`, `color`, `ha`.
        size (`float`): Points.
        before_mm (`float`): Left free above it, but at the top of a column.
        is_heading (`bool`): Never the last of its column.
    """

    cells: tuple[tuple[float, str, dict[str, Any]], ...]
    size: float = TEXT_SIZE
    before_mm: float = 0.0
    is_heading: bool = False
    height_mm: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "height_mm", LINE_MM * self.size / TEXT_SIZE)


@dataclass(frozen=True)
class Placed:
    """
    Lines on a page.

    Args:
        lines (`list[tuple[float, float, Line]]`): Each one's left edge and baseline, in mm.
        others (`list[Line]`): Those that found no room.
    """

    lines: list[tuple[float, float, Line]]
    others: list[Line]


def placed(lines: Sequence[Line], tops: Sequence[float], bottom: float = BOTTOM_MM) -> Placed:
    """
    Returns where lines stand, one column after the other.

    Args:
        lines (`list[Line]`): From above.
        tops (`list[float]`), bottom (`float`): Where each column begins, and where all end, in mm from the lower edge.
    """
    found: list[tuple[float, float, Line]] = []
    column, y = 0, tops[0]
    for i, line in enumerate(lines):
        with_next = lines[i + 1].before_mm + lines[i + 1].height_mm if line.is_heading and i + 1 < len(lines) else 0.0
        before = 0.0 if y == tops[column] else line.before_mm
        while y - before - line.height_mm - with_next < bottom:
            column += 1
            if column == len(tops):
                return Placed(found, list(lines[i:]))
            y, before = tops[column], 0.0
        y -= before + line.height_mm
        found.append((MARGIN_MM + column * (COLUMN_MM + BETWEEN_MM), y, line))
    return Placed(found, [])


def balanced(lines: Sequence[Line], tops: Sequence[float]) -> Placed:
    """Returns [`placed`] with columns that end at about one place, where all lines find room."""
    best = placed(lines, tops)
    bottom = BOTTOM_MM
    while lines and not best.others:
        bottom += 1
        higher = placed(lines, tops, bottom)
        if higher.others:
            break
        best = higher
    return best


def is_narrow(paper_mm: tuple[float, float] | None) -> bool:
    """Returns whether a print-out of that width and height leaves room for a column beside it."""
    return paper_mm is not None and paper_mm[0] < COLUMN_MM + BETWEEN_MM


def tops_below(paper_mm: tuple[float, float] | None, across: Sequence[Line] = ()) -> tuple[float, ...]:
    """
    Returns where columns begin, in mm from the lower edge of the page.

    Args:
        paper_mm (`tuple[float, float]`, *optional*): Width and height of a print-out at the top left.
        across (`list[Line]`): Lines below it, across both columns.
    """
    used = sum(line.before_mm + line.height_mm for line in across) + (ACROSS_GAP_MM if across else 0.0)
    if paper_mm is None:
        return (TOP_MM - used,) * COLUMNS
    below = TOP_MM - paper_mm[1] - used
    return (below, TOP_MM + GAP_MM) if is_narrow(paper_mm) else (below,) * COLUMNS


def paper_mm_of(figure: Any) -> tuple[float, float] | None:
    """Returns width and height of a print-out, where there is one."""
    if figure is None:
        return None
    width, height = figure.get_size_inches() * MM_PER_INCH
    return float(width), float(height)


class Sheets:
    """
    Pages of A4, each with its head.

    Args:
        analysis ([`Analysis`]): Of the ECG.

    Attributes:
        figures (`list[matplotlib.figure.Figure]`): The pages.
        page (`matplotlib.axes.Axes`): Of the last one: it spans the page, in mm from its lower left corner.
        tops (`tuple[float]`): Where its columns begin.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.figures: list[Any] = []
        self.page: Any = None
        self.tops: tuple[float, ...] = ()

    def begin(self, figure: Any = None, across: Sequence[Line] = ()) -> None:
        """Begins a page with a print-out, as large as the figure is, and lines below it, or an empty one."""
        from matplotlib.figure import Figure

        paper_mm = paper_mm_of(figure)
        self.tops, y = tops_below(paper_mm, across), tops_below(paper_mm)[0]
        figure = Figure() if figure is None else figure
        figure.set_size_inches(PAGE_WIDTH_MM / MM_PER_INCH, PAGE_HEIGHT_MM / MM_PER_INCH)
        if paper_mm is not None:
            width, height = paper_mm
            place = (MARGIN_MM / PAGE_WIDTH_MM, (PAGE_HEIGHT_MM - HEAD_MM - height) / PAGE_HEIGHT_MM)
            figure.axes[0].set_position((*place, width / PAGE_WIDTH_MM, height / PAGE_HEIGHT_MM))
        self.figures.append(figure)
        self.page = figure.add_axes((0, 0, 1, 1), facecolor="none")
        self.page.set_xlim(0, PAGE_WIDTH_MM)
        self.page.set_ylim(0, PAGE_HEIGHT_MM)
        self.page.set_axis_off()
        self._head()
        for line in across:
            y -= line.before_mm + line.height_mm
            self._write(line, MARGIN_MM, y)

    def _head(self) -> None:
        analysis, top = self.analysis, PAGE_HEIGHT_MM - 9
        write(self.page, MARGIN_MM, top, "ecgclip", 12, weight="bold")
        model = f"model {analysis.model}" + (f", {analysis.clip_model}" if analysis.clip_model else "")
        made = fitting(f"{analysis.created[:16].replace('T', ' ')} UTC    {model}", 220, 8)
        write(self.page, PAGE_WIDTH_MM - MARGIN_MM, top, made, 8, ha="right")
        write(self.page, MARGIN_MM, top - 5, DISCLAIMER, 8.5, color=POSITIVE_COLOUR)

    def flow(self, lines: Sequence[Line]) -> None:
        """Writes lines into the columns of the page, and of new ones where there is no room left."""
        while True:
            there = balanced(lines, self.tops)
            for x, y, line in there.lines:
                self._write(line, x, y)
            lines = there.others
            if not lines:
                return
            self.begin()

    def _write(self, line: Line, x: float, y: float) -> None:
        for at, text, style in line.cells:
            write(self.page, x + at, y, text, line.size, **style)


def plain_text(text: str) -> str:
    """Returns text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


@lru_cache(4096)
def width_mm(text: str, size: float, weight: str = "normal") -> float:
    """Returns how wide a line is that is drawn with `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    path = TextPath((0, 0), plain_text(text), prop=FontProperties(size=size, weight=weight))
    return float(path.get_extents().x1) * MM_PER_POINT


def fitting(text: str, room_mm: float, size: float, weight: str = "normal") -> str:
    """Returns a text as far as it is no wider than that."""
    text = text[:MAX_SIGNS]
    length = len(text)
    shown = text
    while length > 1 and width_mm(shown, size, weight) > room_mm:
        length -= max(1, length // 20)
        shown = text[:length].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return shown


def wrapped(text: str, room_mm: float, size: float, weight: str = "normal") -> list[str]:
    """Returns the lines of a text that are no wider than that; a word that is goes on in the next one."""
    space = width_mm("n n", size, weight) - 2 * width_mm("n", size, weight)
    lines: list[str] = []
    used = room_mm
    for word in text.split():
        rest = word
        while width_mm(rest, size, weight) > room_mm:
            most = min(len(rest), 1 + int(room_mm / (NARROWEST * size * MM_PER_POINT)))
            length = next(n for n in range(most, 0, -1) if n == 1 or width_mm(rest[:n], size, weight) <= room_mm)
            lines.append(rest[:length])
            rest, used = rest[length:], room_mm
        width = width_mm(rest, size, weight)
        if lines and used + space + width <= room_mm:
            lines[-1] += f" {rest}"
            used += space + width
        else:
            lines.append(rest)
            used = width
    return lines


def write(page: Any, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Writes text whose baseline lies at `y` mm."""
    page.text(x, y, plain_text(text), fontsize=size, va="baseline", **{"color": TEXT_COLOUR, **style})


__all__ = [
    "Line",
    "Placed",
    "Sheets",
    "balanced",
    "fitting",
    "is_narrow",
    "paper_mm_of",
    "placed",
    "plain_text",
    "tops_below",
    "width_mm",
    "wrapped",
    "write",
]
