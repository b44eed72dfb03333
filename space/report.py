"""The result as files: all numbers as JSON, and a printable PDF at true size."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR, plot_saliency
from modeling_ecgclip.visualization_ecgclip import (
    BAR_COLOUR,
    MM_PER_MV,
    MM_PER_S,
    POSITIVE_COLOUR,
    SPEED_AND_GAIN,
    TEXT_COLOUR,
    plot_ecg,
)
from space.analysis import SALIENCY_METHOD, Analysis, Saliency
from space.findings import MANY, UNDECIDED, Finding, Findings
from space.measures import in_a_line, reasons_of
from space.sheets import (
    BOTTOM_MM,
    COLUMN_MM,
    GAP_MM,
    HEAD_MM,
    MARGIN_MM,
    PAGE_HEIGHT_MM,
    PAGE_WIDTH_MM,
    TEXT_SIZE,
    Line,
    Sheets,
    fitting,
    is_narrow,
    paper_mm_of,
    placed,
    plain_text,
    tops_below,
    wrapped,
    write,
)


FACT_LINES = 5  # that have room below the findings however tall the complexes are
FACT_MM = 4.6  # from one to the next
ROW_MM = 6.5  # of a finding with a bar
ACROSS_MM = PAGE_WIDTH_MM - 2 * MARGIN_MM
NAME_MM, BAR_MM = 58.0, 26.0  # of a finding
NUMBER_MM = 13.0  # before a text, of letters of the usual size
FINDINGS_MM = 137.0  # of the two columns that they have
# Of the second page: how large the tracing is beside its true size, and the size of the letters in points. The first
# in which all finds room is taken; at half its size the tracing stands in one of the columns.
ARRANGEMENTS = (*((scale, TEXT_SIZE) for scale in (1.0, 0.8, 0.6, 0.5)), (0.5, 7.0), (0.5, 6.0), (0.5, 5.0))
SMALLEST_NAMES = 0.75  # of the size that letters on the paper have
SALIENCY_LIMITS = (
    "It shows which samples moved this model's output away from that for a flat ECG. It does not show what is wrong "
    "with a heart: related leads share the credit, and a rhythm between the beats leaves little to mark."
)


def build_json(analysis: Analysis) -> bytes:
    """Returns the analysis as UTF-8 JSON."""
    return json.dumps(analysis.to_dict(), indent=2, ensure_ascii=False, allow_nan=False).encode()


def build_pdf(analysis: Analysis) -> bytes:
    """
    Returns a PDF of two A4 pages on their side: the ECG with measurements and findings; and what explains them, if
    anything does: what drove one, the notes that found no room, many findings in full, the user's own words and the
    nearest reports. On the second page a tracing gets half its size, and letters get smaller, where text needs room;
    what then finds none, goes on to further pages.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    sheets = Sheets(analysis)
    notes = _first_page(sheets, analysis)
    _second_page(sheets, analysis, notes)
    buffer = io.BytesIO()
    with PdfPages(buffer, metadata={"Title": f"ecgclip: {analysis.name}", "Creator": "ecgclip"}) as pages:
        for figure in sheets.figures:
            pages.savefig(figure)
    return buffer.getvalue()


def file_name(analysis: Analysis, suffix: str) -> str:
    """Returns a name for a download: the ECG's, as far as it is letters, figures, hyphens and underscores."""
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(analysis.name).stem)
    return f"{stem[:60].strip('_') or 'ecg'}_ecgclip{suffix}"


def _paper(analysis: Analysis, max_height_mm: float, **style: Any) -> Any:
    """The figure of the print-out, marked where a saliency is given."""
    style |= {"lead_names": analysis.lead_names, "max_height_mm": max_height_mm}
    saliency: Saliency | None = style.pop("saliency", None)
    if saliency is None:
        return plot_ecg(analysis.signal, analysis.sampling_rate, **style)
    return plot_saliency(analysis.signal, analysis.sampling_rate, saliency.strength, **style)


def _first_page(sheets: Sheets, analysis: Analysis) -> list[str]:
    """The ECG, its findings, of many the first, and its measurements; returns what found no room."""
    found = analysis.findings
    shown = found.first[:MANY]
    rows = -(-len(shown) // 2)
    below = GAP_MM + rows * ROW_MM + FACT_LINES * FACT_MM
    title = plain_text(fitting(analysis.name, 250, 11, "bold"))
    room = PAGE_HEIGHT_MM - HEAD_MM - BOTTOM_MM - below
    sheets.begin(_paper(analysis, room, title=title, measurements=analysis.marked_measurements))
    y = sheets.tops[0]
    for i, finding in enumerate(shown):
        column, row = divmod(i, rows)
        _draw_finding(sheets.page, MARGIN_MM + column * FINDINGS_MM, y - row * ROW_MM, found, finding)
    y -= (rows - 1) * ROW_MM + 2
    notes = _facts(analysis)
    while notes:
        lines = wrapped(notes[0], ACROSS_MM, TEXT_SIZE)
        if y - len(lines) * FACT_MM < BOTTOM_MM:
            break
        for line in lines:
            y -= FACT_MM
            write(sheets.page, MARGIN_MM, y, line, TEXT_SIZE)
        notes.pop(0)
    return notes


def _second_page(sheets: Sheets, analysis: Analysis, notes: Sequence[str]) -> None:
    """What explains the first one, arranged so that all of it finds room."""
    if analysis.saliency is None and not (notes or analysis.findings.others or analysis.words or analysis.nearest):
        return
    saliency = analysis.saliency
    figure = None if saliency is None else _marked(analysis, saliency)
    true_mm = paper_mm_of(figure)
    for scale, size in ARRANGEMENTS:
        paper_mm = None if true_mm is None else (scale * true_mm[0], scale * true_mm[1])
        key = list(_explained(analysis, size, COLUMN_MM if is_narrow(paper_mm) else ACROSS_MM))
        lines = [*_plain(notes, size), *_all_findings(analysis, size)]
        lines += [*_own_words(analysis, size), *_reports(analysis, size)]
        across, lines = ([], [*key, *lines]) if is_narrow(paper_mm) else (key, lines)
        if not placed(lines, tops_below(paper_mm, across)).others:
            break
    sheets.begin(figure if saliency is None or scale == 1 else _marked(analysis, saliency, scale), across)
    sheets.flow(lines)


def _marked(analysis: Analysis, saliency: Saliency, scale: float = 1.0) -> Any:
    """The ECG, marked where it drove a label; smaller ones without the marks of waves, which the first page has."""
    room = PAGE_HEIGHT_MM - HEAD_MM - BOTTOM_MM - GAP_MM - FACT_LINES * FACT_MM
    names = max(scale, SMALLEST_NAMES)
    title = fitting(f"Marked: what drove {saliency.label}    {analysis.name}", 250 * scale / names, 11, "bold")
    figure = _paper(
        analysis,
        room,
        title=plain_text(title),
        saliency=saliency,
        measurements=analysis.marked_measurements if scale == 1 else None,
    )
    if scale == 1:
        return figure
    figure.set_size_inches(scale * figure.get_size_inches())
    (axes,) = figure.axes
    smaller = f"{100 * scale:.0f} % of true size: {scale * MM_PER_S:g} mm/s    {scale * MM_PER_MV:g} mm/mV"
    for text in axes.texts:
        text.set_fontsize(names * text.get_fontsize())
        text.set_text(text.get_text().replace(SPEED_AND_GAIN, smaller))
    for line in (*axes.lines, *axes.collections):
        line.set_linewidth(scale * np.asarray(line.get_linewidth()))
    return figure


def _plain(texts: Iterable[str], size: float, room_mm: float = COLUMN_MM) -> Iterator[Line]:
    """Lines of one text after the other."""
    for text in texts:
        for line in wrapped(text, room_mm, size):
            yield Line(((0.0, line, {}),), size)


def _entry(number: str, text: str, size: float, weight: str = "normal") -> Iterator[Line]:
    """A number, and a text beside it."""
    x = NUMBER_MM * size / TEXT_SIZE
    style = {"weight": weight}
    for i, line in enumerate(wrapped(text, COLUMN_MM - x, size, weight) or [""]):
        cells = ((0.0, number, style), (x, line, style)) if i == 0 else ((x, line, style),)
        yield Line(cells, size, 0.8 if i == 0 else 0.0)


def _heading(text: str, size: float) -> Iterator[Line]:
    """What stands above a part of the page."""
    lines = wrapped(text, COLUMN_MM, size + 1, "bold")
    for i, line in enumerate(lines):
        yield Line(((0.0, line, {"weight": "bold"}),), size + 1, 0.0 if i else 3.0, is_heading=True)


def _explained(analysis: Analysis, size: float, room_mm: float) -> Iterator[Line]:
    """The key to the marks, the method and its limits."""
    if analysis.saliency is None:
        return
    towards, away = analysis.findings.sides
    half, cells = COLUMN_MM / 2, []
    for x, said, colour in ((0.0, f"red: {towards}", FOR_COLOUR), (half, f"blue: {away}", AGAINST_COLOUR)):
        text = fitting(f"{said} {analysis.saliency.label}", half - 3, size, "bold")
        cells.append((x, text, {"color": colour, "weight": "bold"}))
    yield Line(tuple(cells), size)
    yield from _plain([analysis.saliency.strongest, f"Method: {SALIENCY_METHOD}. {SALIENCY_LIMITS}"], size, room_mm)


def _all_findings(analysis: Analysis, size: float) -> Iterator[Line]:
    """Many findings, all of them, two beside each other, without bars."""
    found = analysis.findings
    if not found.others:
        return
    yield from _heading(f"All {len(found.entries)} findings", size)
    half, name_x = COLUMN_MM / 2, 1.25 * NUMBER_MM * size / TEXT_SIZE
    for first in range(0, len(found.entries), 2):
        cells = []
        for column, finding in enumerate(found.entries[first : first + 2]):
            style = {"weight": "bold" if finding.is_called else "normal"}
            name = finding.title if finding.title == finding.name else f"{finding.name}  {finding.title}"
            name = f"{UNDECIDED}: {name}" if finding.verdict == UNDECIDED else name
            name = fitting(name, half - name_x - 3, size, style["weight"])
            cells += [(column * half, found.shown(finding), style), (column * half + name_x, name, style)]
        yield Line(tuple(cells), size)


def _own_words(analysis: Analysis, size: float) -> Iterator[Line]:
    """The user's own words."""
    if analysis.words:
        yield from _heading(
            "Your own words: shares of 100 %; similarity, and of how many unrelated words it is ahead", size
        )
    for one in analysis.words or []:
        remark = one["remark"] or f"ahead of {100 * one['ahead_of']:.0f} %"
        yield from _entry(f"{100 * one['score']:.1f} %", f"{one['label']}: {one['similarity']:.2f}, {remark}", size)


def _reports(analysis: Analysis, size: float) -> Iterator[Line]:
    """The nearest reports."""
    if analysis.nearest:
        title = f"Nearest of a small set of reports ({analysis.reports_source}), by cosine similarity"
        yield from _heading(fitting(title, 2 * COLUMN_MM, size + 1, "bold"), size)
    for one in analysis.nearest or []:
        yield from _entry(f"{one['similarity']:.2f}", one["report"], size)


def _facts(analysis: Analysis) -> list[str]:
    """The recording in a sentence, its measurements, and the notes."""
    recording, measures = analysis.recording, analysis.measures
    facts = f"Recorded: {recording['duration_s']:.1f} s at {recording['sampling_rate']:g} Hz."
    facts += " Printed at 100 %, one small square is 1 mm: 40 ms and 0.1 mV."
    measured = [line for line in (in_a_line(measures), *reasons_of(measures)) if line]
    return [facts, *measured, *analysis.notes]


def _draw_finding(page: Any, x: float, y: float, found: Findings, finding: Finding) -> None:
    """One finding's name and number, and of a probability bar, threshold and decision; `x` and `y` in mm."""
    bold = finding.is_called or finding is found.chosen
    weight = "bold" if bold else "normal"
    write(page, x, y, fitting(finding.title, NAME_MM - 4, 8, weight), 8, weight=weight)
    bar_x = x + NAME_MM
    text = found.shown(finding, digits=0)
    if found.are_values:
        write(page, bar_x, y, text, 9, weight="bold")
        return
    page.barh(y + 1, BAR_MM, left=bar_x, height=3, color="#eef1f4")
    colour = POSITIVE_COLOUR if finding.is_called else BAR_COLOUR
    page.barh(y + 1, BAR_MM * finding.score, left=bar_x, height=3, color=colour)
    if finding.threshold is not None:
        at = bar_x + BAR_MM * finding.threshold
        page.plot([at, at], [y - 1.4, y + 3.4], color=TEXT_COLOUR, linewidth=1.1)
        said = "undecided: " if finding.verdict == UNDECIDED else ""
        text += f"   {said}{finding.limit(digits=0)}"
    room = FINDINGS_MM - NAME_MM - BAR_MM - 6
    write(page, bar_x + BAR_MM + 3, y, fitting(text, room, 8, weight), 8, weight=weight)


__all__ = ["SALIENCY_LIMITS", "build_json", "build_pdf", "file_name"]
