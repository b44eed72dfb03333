"""Two ECGs side by side: what is measured of both, what the model finds in both, and their averaged beats."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from space import page
from space.analysis import Analyser, Analysis
from space.example_list import Example
from space.findings import UNDECIDED, Finding
from space.markup import NOTHING, each, html
from space.measures import Measure, with_unit
from space.shelf import Shelf
from space.sketch import EARLIER_COLOUR, NEW_COLOUR, AveragedBeat, averaged_beat, beats_on_paper
from space.storage import Storage
from space.tracing import tracing
from space.uploads import Form, read_with_one_form


EARLIER, NEW = "earlier", "new"
QRS = "qrs_ms"
# Standard deviation of a measure against cardiologists' marks on 120 real records (docs/measurements.md, "all"), ms.
ERROR_SD_MS = {"pr_ms": 10.3, "qrs_ms": 10.5, "qt_ms": 14.1}
QTC = ("qtc_bazett_ms", "qtc_fridericia_ms")  # the error of QT, corrected as QT is
WITHIN_95 = 1.96  # standard deviations
DEGREES = 360

CSS = """
.ec-pair { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; }
.ec-pair section { min-width: 0; }
.ec-pair h3, .ec-changes h3 { font-size: 1rem; margin: .8rem 0 .2rem; }
.ec-changes .ec-number { width: auto; padding-left: 1rem; }
.ec-changes .ec-remark { padding-left: 1.2rem; width: 38%; }
.ec-changes .ec-unsure td, .ec-changes .ec-unsure th { opacity: .7; }
.ec-changes .ec-turned th, .ec-changes .ec-turned td { font-weight: 700; }
.ec-changes .ec-section { font-weight: 600; padding-top: .8rem; }
.ec-beats { display: grid; grid-template-columns: repeat(6, 1fr); gap: .5rem; margin: .4rem 0; }
.ec-beat { margin: 0; min-width: 0; }
.ec-beat figcaption { font-size: .85rem; }
.ec-beat svg { width: 100%; display: block; border-radius: 3px; }
.ec-beat path { fill: none; stroke-width: .35; stroke-linejoin: round; }
.ec-beat .ec-lines { stroke-width: .08; }
.ec-beat .ec-onset { stroke: #5f6b76; stroke-width: .15; stroke-dasharray: .8 .6; }
.ec-inks span { display: inline-block; padding: 0 .5rem; border-radius: 3px; color: white; font-weight: 600; }
@media (max-width: 1280px) {
  .ec-pair { grid-template-columns: 1fr; }
  .ec-beats { grid-template-columns: repeat(3, 1fr); }
}
@media (max-width: 700px) {
  .ec-beats { grid-template-columns: repeat(2, 1fr); }
  .ec-changes thead th:last-child { display: none; }
  .ec-changes tr { display: grid; grid-template-columns: 1fr 4rem 4rem 5rem; align-items: baseline;
    border-top: 1px solid var(--border-color-primary) !important; padding: .2rem 0; }
  .ec-changes th, .ec-changes td { border: 0 !important; padding: .1rem 0 !important; width: auto !important; }
  .ec-changes .ec-remark, .ec-changes .ec-section { grid-column: 1 / -1; }
  .ec-changes .ec-remark { font-size: .85rem; }
  .ec-changes .ec-remark:empty { display: none; }
}
"""


@dataclass(frozen=True)
class Change:
    """
    One line of the comparison.

    Args:
        name (`str`): Of the measure or the label.
        title (`str`), title_too (`str`): What people call it, and its name where that is another.
        earlier, new (`str`): As each ECG's own result shows it, or "none".
        difference (`str`): New minus earlier of what is shown; empty where there is none.
        remarks (`tuple[str]`): What is uncertain about it, and what turned.
        unsure (`bool`): Whether the difference says little.
        turned (`bool`): Whether the model decides otherwise.
    """

    name: str
    title: str
    earlier: str
    new: str
    difference: str
    remarks: tuple[str, ...] = ()
    unsure: bool = False
    turned: bool = False
    title_too: str = ""


def measured_changes(earlier: Analysis, new: Analysis) -> list[Change]:
    """Returns rate, intervals and axes of both, in the order of showing, with how far they may be trusted."""
    return [_measured(*pair, earlier, new) for pair in zip(earlier.measures, new.measures, strict=True)]


def _measured(first: Measure, second: Measure, earlier: Analysis, new: Analysis) -> Change:
    remarks, unsure, difference = [], False, ""
    sides = ((EARLIER, first), (NEW, second))
    doubted = [side for side, measure in sides if measure.uncertain]
    if doubted:
        remarks.append(f"uncertain in the {' and the '.join(doubted)} one")
        unsure = True
    remarks += [f"{side}: {measure.reason or 'not measured'}" for side, measure in sides if measure.number is None]
    if first.number is not None and second.number is not None:
        change = second.number - first.number
        if first.unit == "\N{DEGREE SIGN}":
            change = (change + DEGREES // 2) % DEGREES - DEGREES // 2
        difference = f"{'+' if change > 0 else ''}{with_unit(change, first.unit)}"
        errors = [_error_sd(first.name, analysis) for analysis in (earlier, new)]
        limit = WITHIN_95 * math.hypot(*errors)
        if 0 < abs(change) <= limit:
            remarks.append(f"within measuring error (\N{PLUS-MINUS SIGN}{limit:.0f} {first.unit})")
            unsure = True
    before, after = (measure.value or "none" for _, measure in sides)
    return Change(first.name, first.title, before, after, difference, tuple(remarks), unsure)


def _error_sd(name: str, analysis: Analysis) -> float:
    """Standard deviation of a measure's error; 0 where nobody measured it."""
    measured = analysis.measurements
    if name in QTC and measured.qt_ms:
        return ERROR_SD_MS["qt_ms"] * getattr(measured, name) / measured.qt_ms
    return ERROR_SD_MS.get(name, 0.0)


def found_changes(earlier: Analysis, new: Analysis) -> tuple[list[Change], list[Change]]:
    """
    Returns what the model says of both: those to be shown at first, and the others of many.

    Args:
        earlier, new ([`Analysis`]): By one model.
    """
    before = {one.name: one for one in earlier.findings.entries}
    first = {one.name for one in (*earlier.findings.first, *new.findings.first)}
    changes = [(one.name in first, _found(before[one.name], one, earlier, new)) for one in new.findings.entries]
    return [one for shown, one in changes if shown], [one for shown, one in changes if not shown]


def _found(before: Finding, after: Finding, earlier: Analysis, new: Analysis) -> Change:
    values = new.findings.are_values
    if values:
        change = after.score - before.score
        difference = f"{change:+.4g}" if change else "0"
    else:
        points = round(round(100 * after.score, 1) - round(100 * before.score, 1), 1)
        difference = f"{points:+.1f}" if points else "0.0"
    verdicts = [_verdict(before, earlier), _verdict(after, new)]
    turned = verdicts[0] != verdicts[1]
    remarks = [f"{verdicts[0]} \N{RIGHTWARDS ARROW} {verdicts[1]}" if turned else verdicts[1] or ""]
    return Change(
        after.name,
        after.title,
        earlier.findings.shown(before),
        new.findings.shown(after),
        difference,
        tuple(filter(None, remarks)),
        UNDECIDED in verdicts,
        turned,
        "" if after.title == after.name else after.name,
    )


def _verdict(finding: Finding, analysis: Analysis) -> str | None:
    """What is decided of a label; of a model that names one, whether it names this one."""
    if analysis.findings.chosen is not None:
        return "named" if finding is analysis.findings.chosen else "not named"
    return finding.verdict


def comparison(earlier: Analysis, new: Analysis) -> Markup:
    """
    Returns both ECGs on paper, one table of what differs, and their averaged beats lead by lead.

    Args:
        earlier, new ([`Analysis`]): By one model.
    """
    # What drove a label is marked in the other part of the page, of one ECG.
    sides = [(title, replace(one, saliency=None)) for title, one in (("Earlier", earlier), ("New", new))]
    drawn = each(
        "<section><h3>{title}</h3>{facts}{paper}</section>",
        ({"title": title, "facts": page.facts(one), "paper": tracing(one)} for title, one in sides),
    )
    return html(
        '<div class="ec-pair">{drawn}</div>{changes}{beats}',
        drawn=drawn,
        changes=_table(earlier, new),
        beats=_beats(earlier, new),
    )


def _table(earlier: Analysis, new: Analysis) -> Markup:
    """One table of measures and findings; of many findings those that are nowhere high are folded."""
    first, others = found_changes(earlier, new)
    values = new.findings.are_values
    title = "Values of the model" if values else "Probabilities of the model, %; differences in points"
    head = html(
        '<thead><tr><th></th><th class="ec-number">earlier</th><th class="ec-number">new</th>'
        '<th class="ec-number">difference</th><th class="ec-remark">remarks</th></tr></thead>'
    )
    more = html(
        '<details class="ec-all"><summary>Show all {count}</summary><table class="ec-table ec-changes"><tbody>{rows}'
        "</tbody></table></details>",
        count=len(first) + len(others),
        rows=_rows(others),
    )
    return html(
        '<div class="ec-changes"><h3>What differs</h3><table class="ec-table ec-changes" id="changes">{head}'
        '<tbody>{measured}</tbody><tbody><tr><th colspan="5" class="ec-section">{title}</th></tr>{found}</tbody>'
        '</table>{more}<p class="ec-foot ec-muted">New minus earlier. Grey: what is uncertain or lies within '
        "measuring error, as it came out against cardiologists' marks; of rate, P and axes it was not measured. The "
        "page does not know whether both are of one person, nor which came first.</p></div>",
        head=head,
        measured=_rows(measured_changes(earlier, new)),
        title=title,
        found=_rows(first),
        more=more if others else NOTHING,
    )


def _rows(changes: Iterable[Change]) -> Markup:
    return each(
        '<tr class="{kind}" data-change="{name}"><th scope="row">{title}{too}</th><td class="ec-number">{earlier}</td>'
        '<td class="ec-number">{new}</td><td class="ec-number">{difference}</td>'
        '<td class="ec-remark">{remarks}</td></tr>',
        (
            {
                "kind": " ".join(["ec-unsure"] * one.unsure + ["ec-turned"] * one.turned),
                "name": one.name,
                "title": one.title,
                "too": html(' <span class="ec-muted">{name}</span>', name=one.title_too) if one.title_too else "",
                "earlier": one.earlier,
                "new": one.new,
                "difference": one.difference,
                "remarks": "; ".join(one.remarks),
            }
            for one in changes
        ),
    )


def _beats(earlier: Analysis, new: Analysis) -> Markup:
    """The averaged beats, with the key to their colours."""
    doubted = any(one.uncertain or one.number is None for one in (*earlier.measures, *new.measures) if one.name == QRS)
    first, second = (averaged_beat(one, at_onset=not doubted) for one in (earlier, new))
    return html(
        '<div class="ec-changes"><h3>Averaged beats</h3><p class="ec-inks"><span style="background:{early_ink}">'
        'earlier, {early}</span> <span style="background:{new_ink}">new, {late}</span></p>'
        '<div class="ec-beats" id="beats">{cells}</div><p class="ec-foot ec-muted">The median of the usual beats, as '
        "the model sees them, laid over each other at the level before the QRS and {where}; 25 mm/s and 10 mm/mV.</p>"
        "</div>",
        early_ink=EARLIER_COLOUR,
        new_ink=NEW_COLOUR,
        early=_counted(first),
        late=_counted(second),
        cells=beats_on_paper(first, second, new.lead_names),
        where=f"at its {'middle' if doubted else 'onset'} (dashed)" + ", as the onset is uncertain" * doubted,
    )


def _counted(beat: AveragedBeat | None) -> str:
    return "none" if beat is None else f"{beat.n_beats} beats"


class Comparer:
    """
    What happens where two ECGs are compared.

    Args:
        analyser ([`Analyser`]): The models.
        storage ([`Storage`]), shelf ([`Shelf`]): Where uploads lie, and the result of the page's other part.
    """

    def __init__(self, analyser: Analyser, storage: Storage, shelf: Shelf) -> None:
        # The same numbers; places in the joint space are not compared.
        self.analyser, self.storage, self.shelf = replace(analyser, zero_shot=None, reports=None), storage, shelf

    def show_uploads(
        self,
        earlier: Sequence[str],
        new: Sequence[str],
        key: str | None,
        exam: str | None,
        new_exam: str | None,
        *fields: Any,
    ) -> list[Any]:
        """
        Compares two uploads and deletes them; they stay for another try where one was not understood.

        Args:
            earlier, new (`list[str]`): Files of each; the new one may be left out for the result under `key`.
            key (`str`, *optional*): Of the visitor's last result.
            exam, new_exam (`str`, *optional*): Which exam of an HDF5 file, each.
            fields: The other fields of [`Form`], in its order; a file's own statements come first.

        Raises:
            `ValueError`, `TypeError`, `FileNotFoundError`: naming the file, what was expected and what was found.
        """
        self.storage.check_kept([*earlier, *new])
        if not earlier:
            raise ValueError("expected two ECGs: found no earlier one; choose its file")
        if not new and key is None:
            raise ValueError('expected two ECGs: found no new one; choose its file, or read one under "One ECG" first')
        rate, unit, leads, repair_nan, allow_missing_leads = fields
        form = Form(rate, unit, leads, exam, repair_nan, allow_missing_leads)
        first = self._analysed(earlier, form)
        second = self._analysed(new, replace(form, exam_id=new_exam)) if new else self.shelf.get(key)
        shown = comparison(first, second)
        self.storage.remove(*earlier, *new)
        return [None, None, shown]

    def show_examples(self, earlier: Example, new: Example) -> list[Any]:
        """Compares two of the page's examples."""
        pair = [
            replace(self._analysed(one.paths, Form()), name=f"Simulated example: {one.title.lower()}")
            for one in (earlier, new)
        ]
        return [None, None, comparison(*pair)]

    def _analysed(self, paths: Sequence[Any], form: Form) -> Analysis:
        record, notes = read_with_one_form(paths, form)
        return self.analyser.analyse(record, notes, form.repair_nan, form.allow_missing_leads)


__all__ = ["CSS", "Change", "Comparer", "comparison", "found_changes", "measured_changes"]
