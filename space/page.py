"""The parts of the page that are HTML: the drawn ECG, the probabilities, the nearest reports; and the style of all."""

import base64
import html
from collections.abc import Iterable

from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR
from modeling_ecgclip.visualization_ecgclip import COLUMN_S, LEFT_MM, MM_PER_S, RIGHT_MM, STRIP_S
from space.analysis import DISCLAIMER, SALIENCY_METHOD, Analysis
from space.findings import Finding, Findings
from space.measures import Measure, reasons_of
from space.report import SALIENCY_LIMITS
from space.uploads import KINDS


# Millimetres of the print-out: left of the first column, the columns, right of the last one.
_PAPER_MM = LEFT_MM + STRIP_S * MM_PER_S + RIGHT_MM
# A narrow screen shows the print-out folded in the middle: both halves at one scale. The right one begins a little
# earlier, with the tick that parts the columns.
_FOLD_MM = LEFT_MM + 2 * COLUMN_S * MM_PER_S
_LEFT_HALF_MM, _RIGHT_HALF_MM = _FOLD_MM, _PAPER_MM - _FOLD_MM + 1.0

CSS = f"""
.fillable {{ max-width: 1400px !important; margin: 0 auto !important;
  padding: 1rem clamp(.6rem, 2.5vw, 2rem) !important; }}
.html-container {{ padding: 0 !important; }}
.ec-head h1 {{ font-size: 1.5rem; margin: 0; }}
.ec-head p {{ margin: .2rem 0 0; }}
.ec-warning {{ border-left: 4px solid #b3261e; padding: .45rem .8rem; margin-top: .6rem;
  background: var(--block-background-fill); font-weight: 600; }}
.ec-facts {{ margin: 0 0 .5rem; overflow-wrap: anywhere; }}
.ec-facts h2 {{ font-size: 1.15rem; margin: 0 0 .2rem; }}
.ec-facts ul {{ margin: .3rem 0 0; padding-left: 1.2rem; }}
.ec-muted {{ opacity: .72; font-weight: 400; }}
.ec-measures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: .5rem .8rem;
  margin: .4rem 0 .2rem; }}
.ec-measures dt {{ font-size: .85rem; opacity: .72; }}
.ec-measures dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
.ec-measures .ec-value {{ font-size: 1.1rem; font-weight: 600; }}
.ec-measures .ec-none {{ font-weight: 400; opacity: .72; }}
.ec-measures small {{ font-weight: 400; }}
.ec-paper {{ background-repeat: no-repeat; background-image: var(--ecg); border-radius: 4px; }}
.ec-whole {{ aspect-ratio: 1 / var(--ratio); background-size: 100% 100%; }}
.ec-half {{ display: none; background-size: auto 100%; margin-bottom: 6px;
  width: calc(100% * var(--mm) / {_LEFT_HALF_MM}); aspect-ratio: calc(var(--mm) / {_PAPER_MM}) / var(--ratio); }}
.ec-left {{ --mm: {_LEFT_HALF_MM}; background-position: left; }}
.ec-right {{ --mm: {_RIGHT_HALF_MM}; background-position: right; }}
.ec-table tr {{ border: 0 !important; }}
.ec-table {{ width: 100%; border-collapse: collapse; border: 0 !important; margin: 0 !important; }}
.ec-table caption {{ text-align: left; font-weight: 600; padding-bottom: .3rem; }}
.ec-table th, .ec-table td {{ text-align: left; font-weight: 400; padding: .35rem .5rem .35rem 0; border: 0;
  border-top: 1px solid var(--border-color-primary) !important; vertical-align: middle; }}
.ec-table thead th {{ border: 0 !important; opacity: .72; font-size: .85rem; padding-bottom: .1rem; }}
.ec-table .ec-number {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; width: 4rem; }}
.ec-table .ec-decision {{ white-space: nowrap; }}
.ec-positive th, .ec-positive td, .ec-chosen th, .ec-chosen td {{ font-weight: 700; }}
.ec-findings {{ table-layout: fixed; }}
.ec-findings .ec-name {{ width: 36%; overflow-wrap: anywhere; }}
.ec-findings .ec-number {{ width: 5.5rem; }}
.ec-findings .ec-decision {{ width: 11rem; padding-left: 1rem; }}
.ec-values {{ max-width: 28rem; }}
.ec-all summary {{ cursor: pointer; padding: .45rem 0; border-top: 1px solid var(--border-color-primary); }}
.ec-all thead, .ec-values thead {{ display: none; }}
.ec-bar {{ position: relative; height: .8rem; min-width: 5rem; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); border-radius: 3px; }}
.ec-bar i {{ position: absolute; inset: 0 auto 0 0; background: #8fa3b3; border-radius: 2px; }}
.ec-positive .ec-bar i {{ background: #b3261e; }}
.ec-bar b {{ position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--body-text-color); }}
.ec-key span {{ display: inline-block; padding: 0 .5rem; border-radius: 3px; color: white; font-weight: 600; }}
.ec-report {{ overflow-wrap: anywhere; }}
.ec-foot {{ font-size: .85rem; }}
.ec-hint {{ border: 1px dashed var(--border-color-primary); border-radius: 4px; padding: 6rem 1rem;
  text-align: center; }}
@media (max-width: 700px) {{
  .ec-hint {{ display: none; }}
  .ec-whole {{ display: none; }}
  .ec-half {{ display: block; }}
  .ec-findings thead, .ec-findings .ec-threshold {{ display: none; }}
  .ec-findings tr {{ display: grid; grid-template-columns: 1fr 4rem 9.5rem; align-items: center;
    border-top: 1px solid var(--border-color-primary) !important; padding: .25rem 0; }}
  .ec-findings th, .ec-findings td {{ border: 0 !important; padding: .15rem .5rem .15rem 0; width: auto !important; }}
  .ec-findings th {{ grid-column: 1 / -1; }}
  .ec-findings .ec-decision {{ padding-left: 0; }}
  .ec-values tr {{ grid-template-columns: 1fr 6rem; }}
  .ec-values th {{ grid-column: 1; }}
  .ec-bar {{ min-width: 3.5rem; }}
}}
"""


def head(origin: str = "") -> str:
    """
    Returns the page's title and what must be read before anything else.

    Args:
        origin (`str`, *optional*): What the model was trained on, where that has to be read as well.
    """
    return (
        '<div class="ec-head"><h1>ecgclip: an ECG, read by a model</h1>'
        "<p>Upload a recording or take a simulated example: the tracing on ECG paper, what the model finds in it, "
        "what drove that, and reports that lie near.</p>"
        f'<div class="ec-warning" role="note">{DISCLAIMER} {html.escape(origin)}</div></div>'
    )


def hint() -> str:
    """Returns what stands in the result's place before there is one."""
    return '<div class="ec-hint ec-muted">The ECG is drawn here, 25 mm/s and 10 mm/mV, with the result below.</div>'


def facts(analysis: Analysis) -> str:
    """Returns the ECG's name, what its file holds, and what was assumed."""
    recording = analysis.recording
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in analysis.notes)
    return (
        f'<div class="ec-facts"><h2>{html.escape(analysis.name)}</h2>'
        f"{recording['duration_s']:.1f} s at {recording['sampling_rate']:g} Hz"
        f'<span class="ec-muted"> &middot; model {html.escape(analysis.model)}</span>'
        f"{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def measurements(analysis: Analysis) -> str:
    """Returns rate, intervals and axes, with what the recorder measured, and why there is none of some."""
    measures = analysis.measures
    tiles = "".join(map(_measure, measures))
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons_of(measures))
    by_whom = "Measured in the recording by rules, not by the model"
    if any(measure.stated for measure in measures):
        by_whom += "; below, what the recorder measured, as the file states it"
    return (
        f'<dl class="ec-measures">{tiles}</dl>'
        f'<div class="ec-facts ec-foot ec-muted">{by_whom}.{f"<ul>{reasons}</ul>" if reasons else ""}</div>'
    )


def _measure(measure: Measure) -> str:
    """One measurement: title, value, and the recorder's."""
    if measure.value is None:
        value = '<dd class="ec-value ec-none">none</dd>'
    else:
        uncertain = " <small>uncertain</small>" if measure.uncertain else ""
        value = f'<dd class="ec-value">{html.escape(measure.value)}{uncertain}</dd>'
    stated = f'<dd class="ec-muted">recorder: {html.escape(measure.stated)}</dd>' if measure.stated else ""
    return f'<div data-measure="{measure.name}"><dt>{html.escape(measure.title)}</dt>{value}{stated}</div>'


def paper(analysis: Analysis, png: bytes, ratio: float) -> str:
    """
    Returns the drawn ECG: whole on a wide screen, folded in the middle on a narrow one.

    Args:
        analysis ([`Analysis`]): Of the ECG.
        png (`bytes`): The print-out.
        ratio (`float`): Its height over its width.
    """
    marked = f", marked where it drove {analysis.saliency.label}" if analysis.saliency else ""
    label = html.escape(
        f"{len(analysis.lead_names)}-lead ECG {analysis.name} on paper, 25 mm/s, 10 mm/mV{marked}", quote=True
    )
    data = base64.b64encode(png).decode()
    return (
        f'<div class="ec-ecg" role="img" aria-label="{label}" '
        f"style=\"--ratio:{ratio:.6f};--ecg:url('data:image/png;base64,{data}')\">"
        '<div class="ec-paper ec-whole"></div><div class="ec-paper ec-half ec-left"></div>'
        '<div class="ec-paper ec-half ec-right"></div></div>'
    )


def findings(analysis: Analysis) -> str:
    """Returns the table of findings: bar with threshold, probability, threshold, decision; or of values alone."""
    found = analysis.findings
    shown = _findings_table(found, found.first, f"<caption>{html.escape(found.caption)}</caption>")
    if not found.others:
        return shown
    return (
        f'{shown}<details class="ec-all"><summary>Show all {len(found.entries)}</summary>'
        f"{_findings_table(found, found.others)}</details>"
    )


def _findings_table(found: Findings, entries: Iterable[Finding], caption: str = "") -> str:
    """A table of some findings, with the columns that their kind has."""
    if found.are_values:
        columns, kind = '<th class="ec-name">output</th><th class="ec-number">value</th>', "ec-values"
    else:
        columns, kind = '<th class="ec-name">finding</th><th></th><th class="ec-number">probability</th>', ""
    if found.decided:
        columns += '<th class="ec-number ec-threshold">threshold</th><th class="ec-decision">decision</th>'
    rows = "".join(_finding_row(found, finding) for finding in entries)
    return (
        f'<table class="ec-table ec-findings {kind}">{caption}<thead><tr>{columns}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def saliency(analysis: Analysis) -> str:
    """Returns the key to the marks, the method and its limits; what to do where nothing is marked."""
    if analysis.saliency is None:
        return ""
    label = html.escape(analysis.saliency.label)
    towards, away = analysis.findings.sides
    strongest = html.escape(analysis.saliency.strongest)
    return (
        f'<p class="ec-key"><span style="background:{FOR_COLOUR}">{towards} {label}</span> '
        f'<span style="background:{AGAINST_COLOUR}">{away} {label}</span> &nbsp;{strongest}</p>'
        f'<p class="ec-muted">Method: {SALIENCY_METHOD}. {SALIENCY_LIMITS}</p>'
    )


def words(analysis: Analysis) -> str:
    """Returns the table of the user's own phrases."""
    rows = "".join(
        f'<tr><th scope="row" class="ec-report">{html.escape(one["label"])}</th><td>{_bar(one["score"])}</td>'
        f'<td class="ec-number">{100 * one["score"]:.1f} %</td></tr>'
        for one in analysis.words or []
    )
    return (
        f'<table class="ec-table"><tbody>{rows}</tbody></table>'
        '<p class="ec-muted">How well each phrase fits the ECG compared with the others: together they make 100 %, '
        "even where none fits. The model understands the language and the words of the reports that it was "
        "pre-trained on.</p>"
    )


def nearest(analysis: Analysis) -> str:
    """Returns the list of the nearest reports."""
    rows = "".join(
        f'<tr><td class="ec-number">{one["similarity"]:.2f}</td>'
        f'<td class="ec-report">{html.escape(one["report"])}</td></tr>'
        for one in analysis.nearest or []
    )
    return (
        '<table class="ec-table"><thead><tr><th class="ec-number">similarity</th><th>report</th></tr></thead>'
        f'<tbody>{rows}</tbody></table><p class="ec-muted">Reports of other exams (source: '
        f"{html.escape(analysis.reports_source or '')}), out of a small set, by cosine similarity in the space that "
        "ECGs and reports share. None of them was written about this ECG.</p>"
    )


def limits(max_file_mb: int, keep_minutes: int) -> str:
    """Returns which files are taken, and what becomes of them."""
    return (
        f'<p class="ec-foot ec-muted">{KINDS}; at most {max_file_mb} MB a file. Uploads and results are deleted '
        f"after at most {keep_minutes} minutes and used for nothing else. Remove names before you upload.</p>"
    )


def _finding_row(found: Findings, finding: Finding) -> str:
    """One finding."""
    name, title = html.escape(finding.name), html.escape(finding.title)
    shown = title if title == name else f'{title} <span class="ec-muted">{name}</span>'
    cells = "" if found.are_values else f"<td>{_bar(finding.score, finding.threshold)}</td>"
    cells += f'<td class="ec-number">{found.shown(finding)}</td>'
    if finding.threshold is not None:
        sign = "\N{GREATER-THAN OR EQUAL TO}" if finding.positive else "<"
        limit = f"{100 * finding.threshold:.1f} %"
        cells += (
            f'<td class="ec-number ec-threshold">{limit}</td>'
            f'<td class="ec-decision">{"positive" if finding.positive else "negative"} '
            f'<span class="ec-muted">({sign} {limit})</span></td>'
        )
    kind = "ec-positive" if finding.positive else "ec-chosen" if finding is found.chosen else ""
    return (
        f'<tr class="{kind}" data-label="{html.escape(finding.name, quote=True)}" data-score="{finding.score:.9f}">'
        f'<th scope="row" class="ec-name">{shown}</th>{cells}</tr>'
    )


def _bar(score: float, threshold: float | None = None) -> str:
    """A probability as a bar, with a tick at its threshold."""
    tick = "" if threshold is None else f'<b style="left:{100 * threshold:.2f}%"></b>'
    return f'<div class="ec-bar"><i style="width:{100 * score:.2f}%"></i>{tick}</div>'


__all__ = [
    "CSS",
    "facts",
    "findings",
    "head",
    "hint",
    "limits",
    "measurements",
    "nearest",
    "paper",
    "saliency",
    "words",
]
