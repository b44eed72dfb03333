"""The result as files: all numbers as JSON, and a printable PDF at true size."""

import io
import json
import textwrap
from pathlib import Path
from typing import Any

from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR, plot_saliency
from modeling_ecgclip.visualization_ecgclip import BAR_COLOUR, MM_PER_INCH, POSITIVE_COLOUR, TEXT_COLOUR, plot_ecg
from space.analysis import DISCLAIMER, SALIENCY_METHOD, Analysis, Saliency
from space.findings import UNDECIDED, Finding, Findings
from space.measures import in_a_line, reasons_of


# A4 on its side. Paper of 270 mm fits at true size, so that 25 mm/s hold for a page printed at 100 %.
PAGE_WIDTH_MM, PAGE_HEIGHT_MM = 297.0, 210.0
MARGIN_MM = 13.5
HEAD_MM = 17.0
LINE_MM = 4.6
ROW_MM = 8.0
MAX_TITLE = 80
WRAP = 150  # characters of the page's width
COLUMN_MM = 137.0  # of the two that findings have
NAME_MM, BAR_MM, MAX_NAME = 61.0, 28.0, 34  # of a finding, and characters of its name
COLUMNS, LISTED_MM, MAX_LISTED = 3, 5.5, 42  # of the list of many findings, its rows, and their characters
SALIENCY_LIMITS = (
    "It shows which samples moved this model's output away from that for a flat ECG. It does not show what is wrong "
    "with a heart: related leads share the credit, and a rhythm between the beats leaves little to mark."
)


def build_json(analysis: Analysis) -> bytes:
    """Returns the analysis as UTF-8 JSON."""
    return json.dumps(analysis.to_dict(), indent=2, ensure_ascii=False, allow_nan=False).encode()


def build_pdf(analysis: Analysis) -> bytes:
    """
    Returns a PDF: the ECG with the findings, what drove one, many findings in full, the user's own words and the
    nearest reports.

    A page is A4 on its side, and higher where tall complexes need it.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": f"ecgclip: {analysis.name}", "Creator": "ecgclip"}) as pages:
        pages.savefig(_first_page(analysis))
        if analysis.saliency is not None:
            pages.savefig(_saliency_page(analysis, analysis.saliency))
        if analysis.findings.others:
            pages.savefig(_list_page(analysis))
        if analysis.words or analysis.nearest:
            pages.savefig(_text_page(analysis))
    return buffer.getvalue()


def file_name(analysis: Analysis, suffix: str) -> str:
    """Returns a name for a download: the ECG's, as far as it is letters, figures, hyphens and underscores."""
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(analysis.name).stem)
    return f"{stem[:60].strip('_') or 'ecg'}_ecgclip{suffix}"


def plain_text(text: str) -> str:
    """Returns text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def _paper(analysis: Analysis, saliency: Saliency | None, title: str | None) -> Any:
    """The figure of the print-out, marked where a saliency is given."""
    style: dict[str, Any] = {"title": title and plain_text(title), "lead_names": analysis.lead_names}
    style["measurements"] = analysis.marked_measurements
    if saliency is None:
        return plot_ecg(analysis.signal, analysis.sampling_rate, **style)
    return plot_saliency(analysis.signal, analysis.sampling_rate, saliency.strength, **style)


def _title(analysis: Analysis) -> str:
    """The ECG's name, not too long."""
    return textwrap.shorten(analysis.name, MAX_TITLE, placeholder=" ...")


def _page(figure: Any, analysis: Analysis, below_mm: float) -> tuple[Any, float]:
    """
    Puts a print-out, or nothing, on a page of A4, with the page's head and foot.

    Returns:
        `tuple` of the axes that span the page, in mm from its lower left corner, and the height at which to go on.
    """
    has_paper = bool(figure.axes)
    paper_mm = figure.get_size_inches() * MM_PER_INCH if has_paper else (0.0, 0.0)
    height = max(PAGE_HEIGHT_MM, HEAD_MM + paper_mm[1] + below_mm)
    figure.set_size_inches(PAGE_WIDTH_MM / MM_PER_INCH, height / MM_PER_INCH)
    top = height - HEAD_MM
    if has_paper:
        bottom = top - paper_mm[1]
        figure.axes[0].set_position(
            (MARGIN_MM / PAGE_WIDTH_MM, bottom / height, paper_mm[0] / PAGE_WIDTH_MM, paper_mm[1] / height)
        )
        top = bottom
    page = figure.add_axes((0, 0, 1, 1), facecolor="none")
    page.set_xlim(0, PAGE_WIDTH_MM)
    page.set_ylim(0, height)
    page.set_axis_off()
    _write(page, MARGIN_MM, height - 9, "ecgclip", 12, weight="bold")
    model = f"model {analysis.model}" + (f", {analysis.clip_model}" if analysis.clip_model else "")
    _write(
        page,
        PAGE_WIDTH_MM - MARGIN_MM,
        height - 9,
        f"{analysis.created[:16].replace('T', ' ')} UTC    {model}",
        8,
        ha="right",
    )
    _write(page, MARGIN_MM, height - 14, DISCLAIMER, 8.5, color=POSITIVE_COLOUR)
    return page, top - 7


def _first_page(analysis: Analysis) -> Any:
    """The ECG and its findings; of many the first."""
    found = analysis.findings
    rows = -(-len(found.first) // 2)
    notes = [line for note in _facts(analysis) for line in textwrap.wrap(note, WRAP)]
    figure = _paper(analysis, None, _title(analysis))
    page, y = _page(figure, analysis, 14 + rows * ROW_MM + len(notes) * LINE_MM + 8)
    for i, finding in enumerate(found.first):
        column, row = divmod(i, rows)
        _draw_finding(page, MARGIN_MM + column * COLUMN_MM, y - row * ROW_MM, found, finding)
    y -= rows * ROW_MM + 2
    for line in notes:
        _write(page, MARGIN_MM, y, line, 8)
        y -= LINE_MM
    return figure


def _list_page(analysis: Analysis) -> Any:
    """Many findings, all of them, without bars."""
    from matplotlib.figure import Figure

    found = analysis.findings
    rows = -(-len(found.entries) // COLUMNS)
    figure = Figure()
    page, top = _page(figure, analysis, 12 + rows * LISTED_MM)
    _write(page, MARGIN_MM, top, f"All {len(found.entries)} findings", 10, weight="bold")
    width = (PAGE_WIDTH_MM - 2 * MARGIN_MM) / COLUMNS
    for i, finding in enumerate(found.entries):
        column, row = divmod(i, rows)
        x, y = MARGIN_MM + column * width, top - 8 - row * LISTED_MM
        bold = {"weight": "bold" if finding.is_called else "normal"}
        name = finding.title if finding.title == finding.name else f"{finding.name}  {finding.title}"
        _write(page, x, y, _cut(name, MAX_LISTED), 7.5, **bold)
        number = f"{f'{UNDECIDED}  ' if finding.verdict == UNDECIDED else ''}{found.shown(finding)}"
        _write(page, x + width - 8, y, number, 7.5, ha="right", **bold)
    return figure


def _saliency_page(analysis: Analysis, saliency: Saliency) -> Any:
    """The ECG, marked."""
    towards, away = analysis.findings.sides
    figure = _paper(analysis, saliency, f"{_title(analysis)}    marked: what drove {saliency.label}")
    page, y = _page(figure, analysis, 35)
    _write(page, MARGIN_MM, y, f"red: {towards} {saliency.label}", 9, color=FOR_COLOUR, weight="bold")
    _write(page, MARGIN_MM + 40, y, f"blue: {away} {saliency.label}", 9, color=AGAINST_COLOUR, weight="bold")
    _write(page, MARGIN_MM + 90, y, saliency.strongest, 9)
    for line in textwrap.wrap(f"Method: {SALIENCY_METHOD}. {SALIENCY_LIMITS}", WRAP):
        y -= LINE_MM
        _write(page, MARGIN_MM, y, line, 8)
    return figure


def _text_page(analysis: Analysis) -> Any:
    """The user's own words and the nearest reports."""
    from matplotlib.figure import Figure

    nearest = [(one["similarity"], textwrap.wrap(one["report"], WRAP - 20) or [""]) for one in analysis.nearest or []]
    lines = len(analysis.words or []) + sum(len(wrapped) for _, wrapped in nearest)
    figure = Figure()
    page, y = _page(figure, analysis, 40 + lines * (LINE_MM + 1) + len(nearest) * 2)
    if analysis.words:
        _write(
            page, MARGIN_MM, y, "Your own words, compared with each other (they add up to 100 %)", 10, weight="bold"
        )
        for one in analysis.words:
            y -= LINE_MM + 1
            _write(page, MARGIN_MM, y, f"{100 * one['score']:.1f} %", 9)
            _write(page, MARGIN_MM + 18, y, textwrap.shorten(one["label"], WRAP, placeholder=" ..."), 9)
        y -= 10
    if nearest:
        title = f"Nearest of a small set of reports ({analysis.reports_source}), by cosine similarity"
        _write(page, MARGIN_MM, y, title, 10, weight="bold")
        for similarity, wrapped in nearest:
            y -= 2
            _write(page, MARGIN_MM, y - LINE_MM - 1, f"{similarity:.2f}", 9)
            for line in wrapped:
                y -= LINE_MM + 1
                _write(page, MARGIN_MM + 18, y, line, 9)
    return figure


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
    _write(page, x, y, _cut(finding.title, MAX_NAME), 8, weight=weight)
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
    _write(page, bar_x + BAR_MM + 3, y, text, 8.5, weight=weight)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _write(page: Any, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Text whose baseline lies at `y` mm."""
    page.text(x, y, plain_text(text), fontsize=size, va="baseline", **{"color": TEXT_COLOUR, **style})


__all__ = ["SALIENCY_LIMITS", "build_json", "build_pdf", "file_name", "plain_text"]
