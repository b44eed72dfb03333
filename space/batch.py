"""Many ECGs at once: which files belong together, one line of numbers for each, and their table as HTML and CSV."""

import base64
import csv
import io
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from modeling_ecgclip.formats_ecgclip import format_named
from modeling_ecgclip.limits_ecgclip import shorten
from modeling_ecgclip.wfdb_header_ecgclip import NOTHING as NO_FILE
from modeling_ecgclip.wfdb_header_ecgclip import read_header
from space.analysis import Analyser, Analysis
from space.archive import ZIP, Part, parts_of_archive
from space.failures import sentence_of
from space.findings import MANY, UNDECIDED
from space.markup import NOTHING, html, name_in_parts
from space.measures import TITLES
from space.sketch import strip
from space.storage import Storage
from space.turns import Turns
from space.uploads import Form, read_with_one_form


MAX_ECGS = 100
WITHIN_S = 900.0  # for all ECGs of a batch
HIDDEN = (
    "__MACOSX",
    "DS_Store",
    "Thumbs.db",
    "desktop.ini",
)  # beside what begins with a dot: files that systems put there
MAX_REASON = 200  # characters of it in the table; the CSV has all
SHOWN = ("heart_rate_bpm", "pr_ms", "qrs_ms", "qtc_fridericia_ms", "qrs_axis_deg")  # of the measures, in the table
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a cell begins that a spreadsheet would run
HEADER = format_named("wfdb").suffixes[0]

CSS = """
.ec-many { overflow-x: auto; max-width: 100%; border: 1px solid var(--border-color-primary); border-radius: 4px; }
.ec-many table { width: 100%; border-collapse: separate; border-spacing: 0; margin: 0 !important;
  font-variant-numeric: tabular-nums; font-size: .9rem; border: 0 !important; }
.ec-many th, .ec-many td { padding: .35rem .5rem; text-align: right; font-weight: 400; white-space: nowrap;
  border: 0 !important; border-top: 1px solid var(--border-color-primary) !important; vertical-align: middle; }
.ec-many thead th { border-top: 0 !important; vertical-align: bottom; white-space: normal; }
.ec-many .ec-drawing { text-align: left; font-size: .85rem; }
.ec-many tr { border: 0 !important; }
.ec-many .ec-first { text-align: left; position: sticky; left: 0; background: var(--body-background-fill); z-index: 1;
  max-width: 16rem; min-width: 14rem; white-space: normal; overflow-wrap: anywhere; }
.ec-many .ec-remarks { text-align: left; white-space: normal; min-width: 13rem; font-size: .85rem; }
.ec-many button { all: unset; cursor: pointer; font-size: .85rem; font-weight: 600; }
.ec-many button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.ec-many [aria-sort=ascending] button::after { content: " \\25B2"; }
.ec-many [aria-sort=descending] button::after { content: " \\25BC"; }
.ec-many .ec-called { font-weight: 700; color: #b3261e; }
.dark .ec-many .ec-called { color: #ff8a80; }
.ec-many .ec-unsure { opacity: .6; }
.ec-strip { width: 200px; display: block; background: #fffaf7; border-radius: 2px; }
.ec-strip path { fill: none; stroke: #101418; stroke-width: 1; vector-effect: non-scaling-stroke; }
.ec-refused div { max-width: min(60vw, 50rem); }
@media (max-width: 1280px) {
  .ec-many .ec-first { min-width: 9.5rem; }
  .ec-many td.ec-remarks { min-width: 22rem; }
}
@media (max-width: 700px) {
  .ec-many .ec-first { max-width: 7rem; min-width: 7rem; font-size: .8rem; }
  .ec-strip { width: 130px; }
}
"""
# A click on the head of a column puts the rows in its order, the other way round at the next click; rows without a
# number stay last. Numbers compare as numbers, text as people sort it. A table is scrolled to where it begins out of
# sight.
LIVE = """
let began = false;
watch("value", () => {
  const had = began;
  began = Boolean(element.querySelector("table"));
  const progress = document.querySelector("#many-progress");
  if (began && !had && progress.getBoundingClientRect().top > innerHeight / 2) progress.scrollIntoView();
});
element.addEventListener("click", event => {
  const head = event.target.closest("thead th"), table = head && head.closest("table");
  if (!table || !event.target.closest("button")) return;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const one of head.parentNode.children) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const column = head.cellIndex, body = table.tBodies[0], key = row => row.cells[column]?.dataset.key ?? "";
  const compare = (a, b) => head.dataset.numbers ? a - b : a.localeCompare(b, undefined, {numeric: true});
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return down ? compare(y, x) : compare(x, y);
  });
  body.append(...rows);
});
"""


@dataclass(frozen=True)
class Group:
    """
    The files of one ECG.

    Args:
        parts (`tuple[Part]`): Its files, the one that names it first.
        exam_id (`str`, *optional*): Which exam of an HDF5 file.
    """

    parts: tuple[Part, ...]
    exam_id: str | None = None

    @property
    def name(self) -> str:
        """Its file's, with the folders of an archive, and the exam's."""
        name = self.parts[0].name
        return name if self.exam_id is None else f"{name}, exam {self.exam_id}"


@dataclass(frozen=True)
class Row:
    """
    One ECG of the table: what its own analysis gives, or why it was refused.

    Args:
        name (`str`): Of its file.
        refused (`str`, *optional*): The reason.
        measures (`dict`): Number and whether it is uncertain of each measure, as the page shows it.
        exact (`dict[str, float]`): All measures as the JSON of a single ECG has them.
        findings (`list[dict]`): As the JSON of a single ECG has them.
        verdicts (`dict[str, str | None]`): What is said of each label.
        numbers (`dict[str, str]`): The findings as the page shows them.
        remarks (`tuple[str]`): What was assumed, is doubtful or was done.
        drawing (`Markup`): A thumbnail.
    """

    name: str
    refused: str | None = None
    measures: Mapping[str, tuple[int | None, bool]] = field(default_factory=dict)
    exact: Mapping[str, float | None] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    verdicts: Mapping[str, str | None] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    drawing: Markup = NOTHING

    @classmethod
    def of(cls, name: str, analysis: Analysis) -> "Row":
        """Returns the line of an analysis, which is then no longer needed."""
        found, exact = analysis.findings, analysis.measurements.to_dict()
        chosen = found.chosen
        return cls(
            name,
            measures={one.name: (one.number, one.uncertain) for one in analysis.measures},
            exact={name: exact[name] for name in TITLES},
            findings=found.to_list(),
            verdicts={one.name: "named" if one is chosen else one.verdict for one in found.entries},
            numbers={one.name: found.shown(one) for one in found.entries},
            remarks=tuple(analysis.notes),
            drawing=strip(analysis),
        )

    @property
    def scores(self) -> dict[str, float]:
        """Probability or value by label."""
        return {one["label"]: one.get("score", one.get("value")) for one in self.findings}


@dataclass(frozen=True)
class Found:
    """
    What an upload holds.

    Args:
        groups (`list[Group]`): The ECGs.
        n_files (`int`): Their files.
        n_hidden (`int`): Files that are passed over, since a system and not a person put them there.
    """

    groups: list[Group]
    n_files: int
    n_hidden: int


def find_groups(paths: Sequence[str | Path], exam_ids: Sequence[str] = ()) -> Found:
    """
    Returns the ECGs of an upload: each file is one, but the files of a WFDB record are one together.

    Args:
        paths (`list` of paths): Files, and zip archives of files.
        exam_ids (`list[str]`): Exams of each HDF5 file; each is an ECG.

    Raises:
        `ValueError`: for an archive that is not opened, or for none or too many ECGs.
    """
    parts = []
    for path in map(Path, paths):
        inside = parts_of_archive(path) if path.suffix.lower() == ZIP else [Part(path.name, path)]
        several = len(paths) > 1 and path.suffix.lower() == ZIP
        parts += [replace(one, name=f"{path.name}/{one.name}") if several else one for one in inside]
    kept = [one for one in parts if not _is_hidden(one)]
    folders: dict[tuple[Path, str], dict[str, Part]] = {}
    for one in kept:
        folders.setdefault(one.folder, {})[one.file_name] = one
    groups = [group for files in folders.values() for group in _groups_of_folder(files)]
    groups = [one for group in groups for one in _exams(group, exam_ids)]
    groups.sort(key=lambda group: group.name)
    if not 1 <= len(groups) <= MAX_ECGS:
        raise ValueError(f"expected 1 to {MAX_ECGS} ECGs at once: found {len(groups)}")
    return Found(groups, len(kept), len(parts) - len(kept))


def _is_hidden(part: Part) -> bool:
    """Whether a system put the file there."""
    return any(name.startswith(".") or name in HIDDEN for name in Path(part.member or part.file_name).parts)


def _groups_of_folder(files: Mapping[str, Part]) -> list[Group]:
    """The ECGs of files that lie in one folder."""
    named = {name: _named_by(part) for name, part in files.items() if Path(name).suffix.lower() == HEADER}
    segments = {name for names in named.values() for name in names}
    groups, used = [], set()
    for name, beside in named.items():
        if name in segments:
            continue  # it belongs to the header that names it
        names = [name, *beside, *(one for segment in beside for one in named.get(segment, ()))]
        names = [one for one in dict.fromkeys(names) if one in files]
        used.update(names)
        groups.append(Group(tuple(files[one] for one in names)))
    return groups + [Group((part,)) for name, part in files.items() if name not in used]


def _named_by(header: Part) -> list[str]:
    """Files that a WFDB header names: signals, or the headers of its segments; of a damaged one the signals beside."""
    with tempfile.TemporaryDirectory(prefix="ecgclip-") as folder:
        try:
            stated = read_header(header.put_into(Path(folder)))
        except (ValueError, FileNotFoundError):  # reading the ECG says what is wrong
            return [str(Path(header.file_name).with_suffix(format_named("wfdb").suffixes[1]))]
    return [*stated.file_names, *(f"{name}{HEADER}" for name, _ in stated.segments if name != NO_FILE)]


def _exams(group: Group, exam_ids: Sequence[str]) -> Iterable[Group]:
    """The group, or each exam of a file that holds many, where somebody states which."""
    kinds = format_named("hdf5").suffixes
    if Path(group.parts[0].file_name).suffix.lower() not in kinds or not exam_ids:
        return [group]
    return [replace(group, exam_id=one) for one in exam_ids]


class Batch:
    """
    What happens where many ECGs are read.

    Args:
        analyser ([`Analyser`]): The models.
        storage ([`Storage`]), turns ([`Turns`]): Where uploads lie, and who waits for whom.
    """

    def __init__(self, analyser: Analyser, storage: Storage, turns: Turns) -> None:
        # The same numbers; places in the joint space are not shown.
        self.analyser, self.storage, self.turns = replace(analyser, zero_shot=None, reports=None), storage, turns

    async def show(
        self, address: str, session: str, paths: Sequence[str | Path], exam_ids: str | None, *fields: Any
    ) -> AsyncGenerator[tuple[Markup, Markup | None]]:
        """
        Reads an upload, an ECG a turn, and deletes it; yields a line on how far it is, and now and then the table.

        Args:
            address (`str`), session (`str`): Who asks.
            paths (`list` of paths): The upload.
            exam_ids (`str`, *optional*): Exams of HDF5 files, parted by commas or spaces.
            fields: The other fields of [`Form`], in its order; a file's own statements come first.

        Raises:
            `ValueError`: for an upload that is not read at all; see [`find_groups`].
        """
        rate, unit, leads, repair_nan, allow_missing_leads = fields
        form = Form(rate, unit, leads, None, repair_nan, allow_missing_leads)
        exams = (exam_ids or "").replace(",", " ").split()
        labels = [label.name for label in self.analyser.labels]
        self.storage.check_kept(paths)
        found = await self.turns.take(address, session, find_groups, paths, exams)
        rows: list[Row] = []
        try:
            yield progress(found, rows), NOTHING
            async for one in self.turns.take_each(address, session, self._reader(form), found.groups, WITHIN_S):
                self.storage.renew(paths)
                group = found.groups[len(rows)]
                rows.append(one if isinstance(one, Row) else refused(group, one))
                # At 1, 2, 4, 8 ... ECGs: all tables together are at most twice the last one.
                is_time = len(rows) & (len(rows) - 1) == 0 or len(rows) == len(found.groups)
                yield progress(found, rows), table(rows, labels) if is_time else None
        finally:
            self.storage.remove(*paths)

    def _reader(self, form: Form) -> Callable[[Group], Row]:
        def read(group: Group) -> Row:
            self.storage.check_kept(part.path for part in group.parts)
            with tempfile.TemporaryDirectory(prefix="ecgclip-") as folder:
                paths = [part.put_into(Path(folder)) for part in group.parts]
                record, notes = read_with_one_form(paths, replace(form, exam_id=group.exam_id))
            analysis = self.analyser.analyse(record, notes, form.repair_nan, form.allow_missing_leads)
            return Row.of(group.name, analysis)

        return read


def refused(group: Group, error: BaseException) -> Row:
    """Returns the line of an ECG that was not read."""
    reason = sentence_of(error).removeprefix(f"{group.parts[0].file_name}: ")
    return Row(group.name, refused=reason)


def progress(found: Found, rows: Sequence[Row]) -> Markup:
    """Returns how far it is: what was found is what was read and what was refused."""
    n, n_refused = len(found.groups), sum(row.refused is not None for row in rows)
    hidden = f"; passed over, as a system's own: {_counted(found.n_hidden, 'file')}" if found.n_hidden else ""
    going = f", {n - len(rows)} to go" if len(rows) < n else ""
    return html(
        '<p id="progress" role="status"><b>{ecgs}</b> in {files}: {read} read, {refused} refused{going}{hidden}</p>',
        ecgs=_counted(n, "ECG"),
        files=_counted(found.n_files, "file"),
        read=len(rows) - n_refused,
        refused=n_refused,
        going=going,
        hidden=hidden,
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def table(rows: Sequence[Row], labels: Sequence[str]) -> Markup:
    """
    Returns the table of what was read and what was not, with a link to the same as CSV.

    Of more than twelve labels those that were found stand in one column; the CSV has all.

    Args:
        rows (`list[Row]`): In order.
        labels (`list[str]`): The model's, in its order.
    """
    many = len(labels) > MANY
    columns: list[tuple[str, str | None]] = [("ECG", ""), ("lead II", None)]
    columns += [(TITLES[name], "1") for name in SHOWN]
    columns += [("findings", "")] if many else [(label, "1") for label in labels]
    return html(
        '<div class="ec-many" tabindex="0" role="region" aria-label="Table of the ECGs"><table id="many"><thead><tr>'
        '{head}</tr></thead><tbody>{body}</tbody></table></div><p class="ec-downloads">'
        '<a id="csv" download="ecgclip.csv" href="data:text/csv;charset=utf-8;base64,{data}">Download CSV</a></p>'
        '<p class="ec-foot ec-muted">Probabilities in %; bold red: positive at the model\'s threshold; a question '
        "mark: uncertain or undecided. The head of a column sorts. The numbers are those that each ECG has under "
        "&quot;One ECG&quot;.</p>",
        head=NOTHING.join(_head(title, numbers) for title, numbers in [*columns, ("remarks", "")]),
        body=NOTHING.join(_row(row, labels, many) for row in rows),
        data=base64.b64encode(build_csv(rows, labels)).decode(),
    )


def _head(title: str, numbers: str | None) -> Markup:
    if numbers is None:  # a drawing, by which nobody sorts
        return html('<th class="ec-drawing">{title}</th>', title=title)
    return html(
        '<th class="{kind}" data-numbers="{numbers}"><button type="button">{title}</button></th>',
        kind={"ECG": "ec-first", "remarks": "ec-remarks", "findings": "ec-remarks"}.get(title, ""),
        numbers=numbers,
        title=title,
    )


def _row(row: Row, labels: Sequence[str], many: bool) -> Markup:
    """One ECG; of a refused one the reason in the place of all else."""
    if row.refused is not None:
        return html(
            '<tr class="ec-refused"><th scope="row" class="ec-first" data-key="{name}">{shown}</th>'
            '<td class="ec-remarks" data-key="" colspan="{columns}"><div>refused: {reason}</div></td></tr>',
            name=row.name,
            shown=name_in_parts(row.name),
            columns=2 + len(SHOWN) + (1 if many else len(labels)),
            reason=shorten(row.refused, MAX_REASON),
        )
    cells = [html('<td data-key="">{svg}</td>', svg=row.drawing)]
    for name in SHOWN:
        number, uncertain = row.measures.get(name, (None, False))
        cells.append(_cell(number, "" if number is None else f"{number}{'?' * uncertain}", "ec-unsure" * uncertain))
    verdicts = row.verdicts
    if many:
        called = [f"{one} {row.numbers[one]}" for one in row.scores if verdicts[one] not in (None, "negative")]
        cells.append(_cell("; ".join(called), "; ".join(called) or "none", "ec-remarks"))
    else:
        for label in labels:
            undecided = verdicts.get(label) == UNDECIDED
            kind = "ec-called" if verdicts.get(label) in ("positive", "named") else "ec-unsure" * undecided
            shown = row.numbers.get(label, "").removesuffix(" %")
            cells.append(_cell(row.scores.get(label), f"{shown}{'?' * undecided}", kind))
    cells.append(_cell(" ".join(row.remarks), " ".join(row.remarks), "ec-remarks"))
    return html(
        '<tr class="ec-read"><th scope="row" class="ec-first" data-key="{name}">{shown}</th>{cells}</tr>',
        name=row.name,
        shown=name_in_parts(row.name),
        cells=NOTHING.join(cells),
    )


def _cell(key: Any, shown: str, kind: str = "") -> Markup:
    key = "" if key is None else key
    return html('<td class="{kind}" data-key="{key}">{shown}</td>', kind=kind, key=key, shown=shown)


def build_csv(rows: Sequence[Row], labels: Sequence[str]) -> bytes:
    """
    Returns the table as UTF-8 CSV with all digits: file, whether it was read and why not, every measure and which of
    them are uncertain, every label's probability or value and decision, and the remarks.

    A text that a spreadsheet would take for a formula begins with an apostrophe.

    Args: as [`table`].
    """
    decided = any(verdict is not None for row in rows for verdict in row.verdicts.values())
    names = ["file", "status", "reason", *TITLES, "uncertain"]
    for label in labels:
        names += [label, f"{label}_decision"] if decided else [label]
    lines: list[list[Any]] = [[*names, "remarks"]]
    for row in rows:
        uncertain = [name for name, (_, unsure) in row.measures.items() if unsure]
        line: list[Any] = [row.name, "read" if row.refused is None else "refused", row.refused]
        line += [*(row.exact.get(name) for name in TITLES), " ".join(uncertain)]
        for label in labels:
            line += [row.scores.get(label), row.verdicts.get(label)] if decided else [row.scores.get(label)]
        lines.append([*line, " ".join(row.remarks)])
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_plain(value) for value in line] for line in lines)
    return text.getvalue().encode("utf-8", errors="replace")


def _plain(value: Any) -> Any:
    """A value as a cell; text that begins as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


__all__ = ["CSS", "LIVE", "Batch", "Found", "Group", "Row", "build_csv", "find_groups", "progress", "refused", "table"]
