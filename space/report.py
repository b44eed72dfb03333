"""The result as files: all numbers as JSON, and a printable PDF at true size."""

import io
import json
import textwrap
from pathlib import Path
from typing import Any

from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR, plot_saliency
from modeling_ecgclip.visualization_ecgclip import BAR_COLOUR, MM_PER_INCH, POSITIVE_COLOUR, TEXT_COLOUR, plot_ecg
from space.analysis import DISCLAIMER, SALIENCY_METHOD, Analysis, Saliency
from space.findings import MANY, UNDECIDED, Finding, Findings
from space.measures import in_a_line, reasons_of


# A4 on its side. Paper of 270 mm fits at true size, so that 25 mm/s hold for a page printed at 100 %.
PAGE_WIDTH_MM, PAGE_HEIGHT_MM = 297.0, 210.0
MARGIN_MM, BOTTOM_MM = 13.5, 7.0
HEAD_MM = 17.0
GAP_MM = 7.0  # below the paper
LINE_MM = 4.6
FACT_LINES = 5  # that have room below the findings however tall the complexes are
ROW_MM = 6.5
WRAP = 175  # characters of the page's width
COLUMN_MM = 137.0  # of the two that findings have
NAME_MM, BAR_MM = 58.0, 26.0  # of a finding
COLUMNS, LISTED_MM = 3, 5.5  # of the list of many findings, and its rows
MM_PER_POINT = MM_PER_INCH / 72
SALIENCY_LIMITS = (
    "It shows which samples moved this model's output away from that for a flat ECG. It does not show what is wrong "
    "with a heart: related leads share the credit, and a rhythm between the beats leaves little to mark."
)


def build_json(analysis: Analysis) -> bytes:
    """Returns the analysis as UTF-8 JSON."""
    return json.dumps(analysis.to_dict(), indent=2, ensure_ascii=False, allow_nan=False).encode()


def build_pdf(analysis: Analysis) -> bytes:
    """
    Returns a PDF of A4 pages on their side: the ECG with measurements and findings; then what explains them: what
    drove one, the notes that found no room, many findings in full, the user's own words and the nearest reports.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    sheets = _Sheets(analysis)
    notes = _first_page(sheets, analysis)
    if analysis.saliency is not None:
        _explain(sheets, analysis, analysis.saliency)
    elif notes or analysis.findings.others or analysis.words or analysis.nearest:
        sheets.begin()
    for line in notes:
        sheets.line(line)
    _list_all(sheets, analysis)
    _compare(sheets, analysis)
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": f"ecgclip: {analysis.name}", "Creator": "ecgclip"}) as pages:
        for figure in sheets.figures:
            pages.savefig(figure)
    return buffer.getvalue()


def file_name(analysis: Analysis, suffix: str) -> str:
    """Returns a name for a download: the ECG's, as far as it is letters, figures, hyphens and underscores."""
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(analysis.name).stem)
    return f"{stem[:60].strip('_') or 'ecg'}_ecgclip{suffix}"


def plain_text(text: str) -> str:
    """Returns text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _paper(analysis: Analysis, saliency: Saliency | None, title: str, max_height_mm: float) -> Any:
    """The figure of the print-out, marked where a saliency is given."""
    style: dict[str, Any] = {"title": plain_text(title), "lead_names": analysis.lead_names}
    style["measurements"] = analysis.marked_measurements
    style["max_height_mm"] = max_height_mm
    if saliency is None:
        return plot_ecg(analysis.signal, analysis.sampling_rate, **style)
    return plot_saliency(analysis.signal, analysis.sampling_rate, saliency.strength, **style)


class _Sheets:
    """Pages of A4, each with its head; what is written goes on to the next one where there is no room."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.figures: list[Any] = []
        self.page: Any = None  # axes that span the page, in mm from its lower left corner
        self.y = 0.0

    def begin(self, figure: Any = None) -> None:
        """Begins a page with a print-out, or an empty one."""
        from matplotlib.figure import Figure

        figure = Figure() if figure is None else figure
        paper_mm = figure.get_size_inches() * MM_PER_INCH if figure.axes else None
        figure.set_size_inches(PAGE_WIDTH_MM / MM_PER_INCH, PAGE_HEIGHT_MM / MM_PER_INCH)
        self.y = PAGE_HEIGHT_MM - HEAD_MM
        if paper_mm is not None:
            width, height = paper_mm
            self.y -= height
            place = (MARGIN_MM / PAGE_WIDTH_MM, self.y / PAGE_HEIGHT_MM)
            figure.axes[0].set_position((*place, width / PAGE_WIDTH_MM, height / PAGE_HEIGHT_MM))
        self.y -= GAP_MM
        self.figures.append(figure)
        self.page = figure.add_axes((0, 0, 1, 1), facecolor="none")
        self.page.set_xlim(0, PAGE_WIDTH_MM)
        self.page.set_ylim(0, PAGE_HEIGHT_MM)
        self.page.set_axis_off()
        self._head()

    def _head(self) -> None:
        analysis, top = self.analysis, PAGE_HEIGHT_MM - 9
        _write(self.page, MARGIN_MM, top, "ecgclip", 12, weight="bold")
        model = f"model {analysis.model}" + (f", {analysis.clip_model}" if analysis.clip_model else "")
        made = _fitting(f"{analysis.created[:16].replace('T', ' ')} UTC    {model}", 220, 8)
        _write(self.page, PAGE_WIDTH_MM - MARGIN_MM, top, made, 8, ha="right")
        _write(self.page, MARGIN_MM, top - 5, DISCLAIMER, 8.5, color=POSITIVE_COLOUR)

    @property
    def room_mm(self) -> float:
        """What is left of the page."""
        return self.y - BOTTOM_MM

    def line(self, text: str, size: float = 8, before_mm: float = 0.0, **style: Any) -> None:
        """Writes a line and goes down."""
        self.go_down(before_mm, LINE_MM)
        _write(self.page, MARGIN_MM, self.y, text, size, **style)

    def go_down(self, before_mm: float, needed_mm: float) -> None:
        """Goes down past what is needed; to a new page where there is no room."""
        if self.room_mm < before_mm + needed_mm:
            self.begin()
            before_mm = 0.0
        self.y -= before_mm + needed_mm


def _first_page(sheets: _Sheets, analysis: Analysis) -> list[str]:
    """The ECG, its findings, of many the first, and its measurements; returns the lines that found no room."""
    found = analysis.findings
    shown = found.first[:MANY]
    rows = -(-len(shown) // 2)
    below = GAP_MM + rows * ROW_MM + FACT_LINES * LINE_MM
    title = _fitting(analysis.name, 250, 11, "bold")
    sheets.begin(_paper(analysis, None, title, PAGE_HEIGHT_MM - HEAD_MM - BOTTOM_MM - below))
    for i, finding in enumerate(shown):
        column, row = divmod(i, rows)
        _draw_finding(sheets.page, MARGIN_MM + column * COLUMN_MM, sheets.y - row * ROW_MM, found, finding)
    sheets.y -= (rows - 1) * ROW_MM + 2
    lines = [line for note in _facts(analysis) for line in textwrap.wrap(note, WRAP)]
    fitting = int(sheets.room_mm / LINE_MM)
    for line in lines[:fitting]:
        sheets.line(line)
    return lines[fitting:]


def _explain(sheets: _Sheets, analysis: Analysis, saliency: Saliency) -> None:
    """The ECG, marked."""
    towards, away = analysis.findings.sides
    title = _fitting(f"Marked: what drove {saliency.label}    {analysis.name}", 250, 11, "bold")
    below = GAP_MM + (1 + FACT_LINES) * LINE_MM
    sheets.begin(_paper(analysis, saliency, title, PAGE_HEIGHT_MM - HEAD_MM - BOTTOM_MM - below))
    x = MARGIN_MM
    for text, colour in (
        (f"red: {towards} {saliency.label}", FOR_COLOUR),
        (f"blue: {away} {saliency.label}", AGAINST_COLOUR),
        (saliency.strongest, TEXT_COLOUR),
    ):
        short = _fitting(text, 85, 9, "bold")
        _write(sheets.page, x, sheets.y, short, 9, color=colour, weight="bold")
        x += _width_mm(short, 9, "bold") + 6
    for line in textwrap.wrap(f"Method: {SALIENCY_METHOD}. {SALIENCY_LIMITS}", WRAP):
        sheets.line(line)
    sheets.go_down(0, 3)


def _list_all(sheets: _Sheets, analysis: Analysis) -> None:
    """Many findings, all of them, without bars."""
    found = analysis.findings
    if not found.others:
        return
    sheets.line(f"All {len(found.entries)} findings", 10, 6, weight="bold")
    width = (PAGE_WIDTH_MM - 2 * MARGIN_MM) / COLUMNS
    for first in range(0, len(found.entries), COLUMNS):
        sheets.go_down(0, LISTED_MM)
        for column, finding in enumerate(found.entries[first : first + COLUMNS]):
            x, weight = MARGIN_MM + column * width, "bold" if finding.is_called else "normal"
            number = f"{f'{UNDECIDED}  ' if finding.verdict == UNDECIDED else ''}{found.shown(finding)}"
            name = finding.title if finding.title == finding.name else f"{finding.name}  {finding.title}"
            room = width - 12 - _width_mm(number, 7.5, weight)
            _write(sheets.page, x, sheets.y, _fitting(name, room, 7.5, weight), 7.5, weight=weight)
            _write(sheets.page, x + width - 8, sheets.y, number, 7.5, ha="right", weight=weight)


def _compare(sheets: _Sheets, analysis: Analysis) -> None:
    """The user's own words and the nearest reports."""
    if analysis.words:
        title = "Your own words, compared with each other (they add up to 100 %); similarity, and what it means"
        sheets.line(title, 10, 6, weight="bold")
    for one in analysis.words or []:
        remark = one["remark"] or f"ahead of {100 * one['ahead_of']:.0f} % of unrelated words"
        number = f"{100 * one['score']:.1f} %    {one['similarity']:.2f}    {remark}    "
        sheets.line(_fitting(number + one["label"], 265, 9), 9, 1)
    if analysis.nearest:
        title = f"Nearest of a small set of reports ({analysis.reports_source}), by cosine similarity"
        sheets.line(_fitting(title, 265, 10, "bold"), 10, 6, weight="bold")
    for one in analysis.nearest or []:
        lines = textwrap.wrap(one["report"], WRAP - 20) or [""]
        sheets.line(f"{one['similarity']:.2f}    {lines[0]}", 9, 2)
        for line in lines[1:]:
            sheets.line(line, 9)


def _facts(analysis: Analysis) -> list[str]:
    """The recording in a sentence, its measurements, and the notes."""
    recording, measures = analysis.recording, analysis.measures
    facts = f"Recorded: {recording['duration_s']:.1f} s at {recording['sampling_rate']:g} Hz."
    measured = [line for line in (in_a_line(measures), *reasons_of(measures)) if line]
    return [facts, *measured, *analysis.notes, "Printed at 100 %, one small square is 1 mm: 40 ms and 0.1 mV."]


def _draw_finding(page: Any, x: float, y: float, found: Findings, finding: Finding) -> None:
    """One finding's name and number, and of a probability bar, threshold and decision; `x` and `y` in mm."""
    bold = finding.is_called or finding is found.chosen
    weight = "bold" if bold else "normal"
    _write(page, x, y, _fitting(finding.title, NAME_MM - 4, 8, weight), 8, weight=weight)
    bar_x = x + NAME_MM
    text = found.shown(finding, digits=0)
    if found.are_values:
        _write(page, bar_x, y, text, 9, weight="bold")
        return
    page.barh(y + 1, BAR_MM, left=bar_x, height=3, color="#eef1f4")
    colour = POSITIVE_COLOUR if finding.is_called else BAR_COLOUR
    page.barh(y + 1, BAR_MM * finding.score, left=bar_x, height=3, color=colour)
    if finding.threshold is not None:
        at = bar_x + BAR_MM * finding.threshold
        page.plot([at, at], [y - 1.4, y + 3.4], color=TEXT_COLOUR, linewidth=1.1)
        said = "undecided: " if finding.verdict == UNDECIDED else ""
        text += f"   {said}{finding.limit(digits=0)}"
    room = COLUMN_MM - NAME_MM - BAR_MM - 6
    _write(page, bar_x + BAR_MM + 3, y, _fitting(text, room, 8, weight), 8, weight=weight)


def _width_mm(text: str, size: float, weight: str = "normal") -> float:
    """How wide a line is that is drawn with `size` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    path = TextPath((0, 0), plain_text(text), prop=FontProperties(size=size, weight=weight))
    return float(path.get_extents().x1) * MM_PER_POINT


def _fitting(text: str, width_mm: float, size: float, weight: str = "normal") -> str:
    """A text as far as it is no wider than that."""
    text = text[:400]
    length = len(text)
    shown = text
    while length > 1 and _width_mm(shown, size, weight) > width_mm:
        length -= max(1, length // 20)
        shown = text[:length].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return shown


def _write(page: Any, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Text whose baseline lies at `y` mm."""
    page.text(x, y, plain_text(text), fontsize=size, va="baseline", **{"color": TEXT_COLOUR, **style})


__all__ = ["SALIENCY_LIMITS", "build_json", "build_pdf", "file_name", "plain_text"]
