"""The parts of the page that are HTML, but for the tracing: measures, probabilities, nearest reports; their style."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from modeling_ecgclip.saliency_ecgclip import AGAINST_COLOUR, FOR_COLOUR
from modeling_ecgclip.visualization_ecgclip import BAR_COLOUR, POSITIVE_COLOUR
from space.analysis import DISCLAIMER, SALIENCY_METHOD, Analysis
from space.findings import Finding, Findings
from space.markup import NOTHING, each, html
from space.measures import Measure, reasons_of
from space.report import SALIENCY_LIMITS
from space.uploads import KINDS
from space.words import EXPLAINED


CSS = f"""
.fillable {{ max-width: 1400px !important; margin: 0 auto !important;
  padding: 1rem clamp(.6rem, 2.5vw, 2rem) !important; }}
.html-container {{ padding: 0 !important; }}
.ec-head h1 {{ font-size: 1.5rem; margin: 0; }}
.ec-head p {{ margin: .2rem 0 0; }}
.ec-warning {{ border-left: 4px solid {POSITIVE_COLOUR}; padding: .45rem .8rem; margin-top: .6rem;
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
.ec-bar i {{ position: absolute; inset: 0 auto 0 0; background: {BAR_COLOUR}; border-radius: 2px; }}
.ec-positive .ec-bar i {{ background: {POSITIVE_COLOUR}; }}
.ec-bar b {{ position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--body-text-color); }}
.ec-key span {{ display: inline-block; padding: 0 .5rem; border-radius: 3px; color: white; font-weight: 600; }}
.ec-report {{ overflow-wrap: anywhere; }}
.ec-words th small {{ display: block; font-weight: 600; }}
.ec-words .ec-similarity {{ width: 5.5rem; font-variant-numeric: tabular-nums; }}
.ec-similarity small {{ display: block; white-space: nowrap; opacity: .72; }}
.ec-unrelated th, .ec-unrelated td {{ opacity: .72; }}
.ec-words .ec-bar {{ min-width: 3rem; }}
.ec-trouble {{ border-left: 4px solid #b3261e; padding: .45rem .8rem; margin: 0;
  background: var(--block-background-fill); overflow-wrap: anywhere; }}
/* What Gradio itself says of an upload, such as its size, stands over the upload. */
.toast-wrap {{ left: max(.6rem, calc((100vw - 1400px) / 2)) !important; right: auto !important;
  top: 8rem !important; width: min(20rem, 95vw) !important; }}
.ec-asked {{ font-weight: 600; margin: 0; }}
.ec-downloads {{ display: flex; gap: .8rem; flex-wrap: wrap; margin: .6rem 0 0; }}
.ec-downloads a {{ flex: 1 1 120px; text-align: center; padding: .55rem 1rem; border-radius: 6px; font-weight: 600;
  text-decoration: none; color: var(--button-secondary-text-color);
  background: var(--button-secondary-background-fill);
  border: 1px solid var(--border-color-primary); }}
.ec-downloads a:hover {{ background: var(--button-secondary-background-fill-hover); }}
.ec-foot {{ font-size: .85rem; }}
@media (max-width: 1280px) {{
  .ec-words tr {{ display: grid; grid-template-columns: minmax(3rem, 1fr) 4rem 9rem; align-items: center; }}
  .ec-words tbody tr {{ border-top: 1px solid var(--border-color-primary) !important; }}
  .ec-words th, .ec-words td {{ border: 0 !important; padding: .15rem .5rem .15rem 0; width: auto !important; }}
  .ec-words thead th:nth-child(2) {{ display: none; }}
  .ec-words tbody th {{ grid-column: 1 / -1; padding-top: .35rem; }}
}}
.ec-hint {{ border: 1px dashed var(--border-color-primary); border-radius: 4px; padding: 6rem 1rem;
  text-align: center; }}
@media (max-width: 700px) {{
  .ec-hint {{ display: none; }}
  .ec-measures {{ grid-template-columns: repeat(auto-fill, minmax(6.4rem, 1fr)); }}
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
# Goes to what own words gave, which on a phone lies below them.
TO_WORDS = """() => requestAnimationFrame(
  () => document.querySelector("#comparison").scrollIntoView({block: "nearest"})
)"""


def head(origin: str = "") -> Markup:
    """
    Returns the page's title and what must be read before anything else.

    Args:
        origin (`str`, *optional*): What the model was trained on, where that has to be read as well.
    """
    return html(
        '<div class="ec-head"><h1>ecgclip: an ECG, read by a model</h1>'
        "<p>Upload a recording or take a simulated example: the tracing on ECG paper, what the model finds in it, "
        "what drove that, and reports that lie near.</p>"
        '<div class="ec-warning" role="note">{disclaimer} {origin}</div></div>',
        disclaimer=DISCLAIMER,
        origin=origin,
    )


def hint() -> Markup:
    """Returns what stands in the result's place before there is one."""
    return html(
        '<div class="ec-hint ec-muted">The ECG is drawn here, 25 mm/s and 10 mm/mV, with the result below.</div>'
    )


def facts(analysis: Analysis) -> Markup:
    """Returns the ECG's name, what its file holds, and what was assumed."""
    return html(
        '<div class="ec-facts"><h2>{name}</h2>{seconds:.1f} s at {rate:g} Hz'
        '<span class="ec-muted"> &middot; model {model}</span>{notes}</div>',
        name=analysis.name,
        seconds=analysis.recording["duration_s"],
        rate=analysis.recording["sampling_rate"],
        model=analysis.model,
        notes=_bullets(analysis.notes),
    )


def _bullets(lines: Sequence[str]) -> Markup:
    """A list; nothing where there are no lines."""
    return (
        html("<ul>{lines}</ul>", lines=each("<li>{line}</li>", ({"line": line} for line in lines)))
        if lines
        else NOTHING
    )


def measurements(analysis: Analysis) -> Markup:
    """Returns rate, intervals and axes, with what the recorder measured, and why there is none of some."""
    measures = analysis.measures
    by_whom = "Measured in the recording by rules, not by the model"
    if any(measure.stated for measure in measures):
        by_whom += "; below, what the recorder measured, as the file states it"
    return html(
        '<dl class="ec-measures">{tiles}</dl><div class="ec-facts ec-foot ec-muted">{by_whom}.{reasons}</div>',
        tiles=NOTHING.join(map(_measure, measures)),
        by_whom=by_whom,
        reasons=_bullets(reasons_of(measures)),
    )


def _measure(measure: Measure) -> Markup:
    """One measurement: title, value, and the recorder's."""
    if measure.value is None:
        value = html('<dd class="ec-value ec-none">none</dd>')
    else:
        value = html(
            '<dd class="ec-value">{value}{uncertain}</dd>',
            value=measure.value,
            uncertain=html(" <small>uncertain</small>") if measure.uncertain else "",
        )
    return html(
        '<div data-measure="{name}"><dt>{title}</dt>{value}{stated}</div>',
        name=measure.name,
        title=measure.title,
        value=value,
        stated=html('<dd class="ec-muted">recorder: {by}</dd>', by=measure.stated) if measure.stated else "",
    )


def findings(analysis: Analysis) -> Markup:
    """Returns the table of findings: bar with threshold, probability, threshold, decision; or of values alone."""
    found = analysis.findings
    shown = _findings_table(found, found.first, html("<caption>{caption}</caption>", caption=found.caption))
    if not found.others:
        return shown
    return html(
        '{shown}<details class="ec-all"><summary>Show all {count}</summary>{others}</details>',
        shown=shown,
        count=len(found.entries),
        others=_findings_table(found, found.others),
    )


def _findings_table(found: Findings, entries: Iterable[Finding], caption: Markup = NOTHING) -> Markup:
    """A table of some findings, with the columns that their kind has."""
    if found.are_values:
        columns, kind = html('<th class="ec-name">output</th><th class="ec-number">value</th>'), "ec-values"
    else:
        columns = html('<th class="ec-name">finding</th><th></th><th class="ec-number">probability</th>')
        kind = ""
    if found.decided:
        columns += html('<th class="ec-number ec-threshold">threshold</th><th class="ec-decision">decision</th>')
    return html(
        '<table class="ec-table ec-findings {kind}">{caption}<thead><tr>{columns}</tr></thead>'
        "<tbody>{rows}</tbody></table>",
        kind=kind,
        caption=caption,
        columns=columns,
        rows=NOTHING.join(_finding_row(found, finding) for finding in entries),
    )


def saliency(analysis: Analysis) -> Markup:
    """Returns the key to the marks, the method and its limits; what to do where nothing is marked."""
    if analysis.saliency is None:
        return NOTHING
    towards, away = analysis.findings.sides
    return html(
        '<p class="ec-key"><span style="background:{for_colour}">{towards} {label}</span> '
        '<span style="background:{against_colour}">{away} {label}</span> &nbsp;{strongest}</p>'
        '<p class="ec-muted">Method: {method}. {limits}</p>',
        for_colour=FOR_COLOUR,
        against_colour=AGAINST_COLOUR,
        towards=towards,
        away=away,
        label=analysis.saliency.label,
        strongest=analysis.saliency.strongest,
        method=SALIENCY_METHOD,
        limits=SALIENCY_LIMITS,
    )


def words(analysis: Analysis) -> Markup:
    """Returns the table of the user's own phrases."""
    return html(
        '<table class="ec-table ec-words"><thead><tr><th>phrase</th><th></th><th class="ec-number">of all</th>'
        '<th class="ec-similarity">similarity</th></tr></thead><tbody>{rows}</tbody></table>'
        '<p class="ec-muted ec-foot">How well each phrase fits the ECG compared with the others: together they make '
        "100 %, even where none fits. The model understands the language and the words of the reports that it was "
        'pre-trained on.</p><details class="ec-muted ec-foot"><summary>What the numbers mean</summary>{explained}'
        "</details>",
        rows=NOTHING.join(map(_phrase_row, analysis.words or [])),
        explained=EXPLAINED,
    )


def _phrase_row(one: Mapping[str, Any]) -> Markup:
    """One phrase: its share, its similarity, and what that says beside unrelated words."""
    return html(
        '<tr class="{kind}"><th scope="row" class="ec-report">{label}{remark}</th><td>{bar}</td>'
        '<td class="ec-number">{percent:.1f} %</td><td class="ec-similarity">{similarity:.2f} '
        "<small>({lead:+.2f}, ahead of {ahead:.0f} %)</small></td></tr>",
        kind="ec-unrelated" if one["remark"] else "",
        label=one["label"],
        remark=html("<small>{remark}</small>", remark=one["remark"]) if one["remark"] else "",
        bar=_bar(one["score"]),
        percent=100 * one["score"],
        similarity=one["similarity"],
        lead=one["lead"],
        ahead=100 * one["ahead_of"],
    )


def nearest(analysis: Analysis) -> Markup:
    """Returns the list of the nearest reports."""
    rows = each(
        '<tr><td class="ec-number">{similarity:.2f}</td><td class="ec-report">{report}</td></tr>',
        analysis.nearest or [],
    )
    return html(
        '<table class="ec-table"><thead><tr><th class="ec-number">similarity</th><th>report</th></tr></thead>'
        '<tbody>{rows}</tbody></table><p class="ec-muted">Reports of other exams (source: '
        "{source}), out of a small set, by cosine similarity in the space that "
        "ECGs and reports share. None of them was written about this ECG.</p>",
        rows=rows,
        source=analysis.reports_source or "",
    )


def trouble(sentence: str) -> Markup:
    """Returns what went wrong, where it went wrong."""
    return html('<p class="ec-trouble" role="alert">{sentence}</p>', sentence=sentence)


def limits(max_file_mb: int, keep_minutes: int) -> Markup:
    """Returns which files are taken, and what becomes of them."""
    return html(
        '<p class="ec-foot ec-muted">{kinds}; at most {mb} MB a file. An upload is deleted as soon as it has been '
        "read, what it gave after {minutes} minutes; nothing is used for anything else. Remove names before you "
        "upload.</p>",
        kinds=KINDS,
        mb=max_file_mb,
        minutes=keep_minutes,
    )


def downloads(key: str) -> Markup:
    """Returns the links to a result's files; `key` is what the server keeps it under."""
    return html(
        '<p class="ec-downloads"><a id="json" href="result/{key}/json">Download JSON</a>'
        '<a id="pdf" href="result/{key}/pdf">Download PDF</a></p>',
        key=key,
    )


def _finding_row(found: Findings, finding: Finding) -> Markup:
    """One finding."""
    title = finding.title
    cells = NOTHING if found.are_values else html("<td>{bar}</td>", bar=_bar(finding.score, finding.threshold))
    cells += html('<td class="ec-number">{number}</td>', number=found.shown(finding))
    if finding.threshold is not None:
        cells += html(
            '<td class="ec-number ec-threshold">{threshold:.1f} %</td>'
            '<td class="ec-decision">{verdict} <span class="ec-muted">({limit})</span></td>',
            threshold=100 * finding.threshold,
            verdict=finding.verdict,
            limit=finding.limit(digits=1),
        )
    return html(
        '<tr class="{kind}" data-label="{name}" data-score="{score:.9f}">'
        '<th scope="row" class="ec-name">{title}{name_too}</th>{cells}</tr>',
        kind="ec-chosen" if finding is found.chosen else f"ec-{finding.verdict}",
        name=finding.name,
        score=finding.score,
        title=title,
        name_too="" if title == finding.name else html(' <span class="ec-muted">{name}</span>', name=finding.name),
        cells=cells,
    )


def _bar(score: float, threshold: float | None = None) -> Markup:
    """A probability as a bar, with a tick at its threshold."""
    return html(
        '<div class="ec-bar"><i style="width:{percent:.2f}%"></i>{tick}</div>',
        percent=100 * score,
        tick="" if threshold is None else html('<b style="left:{at:.2f}%"></b>', at=100 * threshold),
    )


__all__ = [
    "CSS",
    "TO_WORDS",
    "downloads",
    "facts",
    "findings",
    "head",
    "hint",
    "limits",
    "measurements",
    "nearest",
    "saliency",
    "trouble",
    "words",
]
