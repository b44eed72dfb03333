"""Words, numbers and tables that the parts of a card share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.markdown import markdown_table
from modeling_ecgclip.labels_ecgclip import Label
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.result_tables import NO_INTERVAL, ZERO_DIVISION_MEAN, without_interval


if TYPE_CHECKING:
    from publishing.run_folder import RunFolder


MANY_LABELS = 12  # more of them are sorted by their positives, and tables fold those that come behind
ALL_NAMED, SOME_NAMED = 8, 6  # a sentence names all of so few; of more only the first
FEW_TO_MEASURE = 30  # positives; below, the interval of a recall of 0.5 is wider than a third of the scale
FEW_TO_CHOOSE = 10  # positives; below, one exam more or less moves a threshold far


def counted(number: int, one: str, several: str) -> str:
    """Returns `1 process` or `2 processes`."""
    return f"{number:,} {one if number == 1 else several}"


def listed(items: Sequence[str]) -> str:
    """Returns `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def some_of(items: Sequence[str]) -> str:
    """Returns all of a few, as [`listed`] does, or `a, b, c, d, e, f and 65 more`."""
    if len(items) <= ALL_NAMED:
        return listed(items)
    return f"{', '.join(items[:SOME_NAMED])} and {len(items) - SOME_NAMED:,} more"


def in_paragraphs(*parts: str) -> str:
    """Returns the parts that say something, with a blank line between them."""
    return "\n\n".join(part for part in parts if part)


def titled(label: Label) -> str:
    """Returns a label as a sentence names it: `atrial fibrillation (AF)`, or its name alone."""
    return label.name if label.title == label.name else f"{label.title} ({label.name})"


def exams_of(run: "RunFolder", measured: Mapping[str, Any]) -> str:
    """Returns `200 exams of 80 patients`, by `n_exams` and `n_patients`, or `200 exams, patients unknown`."""
    exams = f"{measured['n_exams']:,} exams"
    return f"{exams} of {measured['n_patients']:,} patients" if run.patients_known else f"{exams}, patients unknown"


def ecg_kind(signal: SignalSpec) -> str:
    """Returns `12-lead ECG` or `single-lead ECG`."""
    n_leads = len(signal.lead_names)
    return "single-lead ECG" if n_leads == 1 else f"{n_leads}-lead ECG"


def in_order(run: "RunFolder", split: str = "test") -> list[Label]:
    """Returns a run's labels in the model's order; of many, those with most positives in a split first."""
    labels, positives = list(run.labels), run.positives(split) or run.positives("train")
    if len(labels) > MANY_LABELS:
        labels.sort(key=lambda label: -positives.get(label.name, 0))
    return labels


def few_of(counts: Mapping[str, int], bound: int) -> str | None:
    """Returns which labels have fewer positives than a bound, or None: `AF 3 and ST 9`, of many how many there are."""
    few = [f"{name} {count:,}" for name, count in counts.items() if count < bound]
    if len(few) > ALL_NAMED:
        return f"{len(few)} of {len(counts)} labels"
    return listed(few) if few else None


def few_to_measure(run: "RunFolder") -> list[str]:
    """Returns the limit that a test split with few positives has; none where it has enough of each label."""
    few = few_of(run.positives("test"), FEW_TO_MEASURE)
    if few is None:
        return []
    return [f"The test split has fewer than {FEW_TO_MEASURE} positives of {few}: mind the intervals."]


def with_interval(value: float | None, interval: Mapping[str, Any] | None, counts: Mapping[str, Any]) -> str:
    """
    Returns one cell: the value with its interval, or why it is not defined.

    Args:
        value (`float`, *optional*): None where the data do not define it.
        interval (`Mapping`, *optional*): `low` and `high`, None where there are none: [`missing_note`] says why.
        counts (`Mapping`):
            `n_known` of the output, and `n_positive` where it is a label; without them the mean over outputs is meant.
    """
    if value is None:
        return _not_defined(counts)
    shown = f"{value:.3f}"
    if not interval:
        return shown
    return f"{shown} {NO_INTERVAL if interval['low'] is None else '[{low:.3f}, {high:.3f}]'.format(**interval)}"


def missing_note(measured: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """
    Returns a list of why a table of some metrics lacks intervals and means; nothing where it lacks none.

    Args:
        measured (`Mapping`): `mean`, `undefined` and `intervals` of a split.
        columns (`Mapping[str, str]`): The metrics, and their titles.
    """
    said = [
        f"{NO_INTERVAL}, no interval of {listed([columns[metric] for metric in metrics])}: {some_of(names)}, {reason}."
        for (reason, metrics), names in without_interval(measured["intervals"], columns).items()
    ]
    for entry in measured["undefined"]:
        if entry["label"] == "mean" and entry["metric"] in columns and measured["mean"][entry["metric"]] is None:
            said.append(f"No mean of {columns[entry['metric']]}: {entry['reason']}.")
    return "\n".join(f"- {line}" for line in said)


def _not_defined(counts: Mapping[str, Any]) -> str:
    if "n_known" not in counts:
        return "not defined"
    if "n_positive" not in counts:
        return "not defined" if counts["n_known"] else "not defined (no known values)"
    if not counts["n_known"]:
        return "not defined (no known labels)"
    if not counts["n_positive"]:
        return "not defined (no positives)"
    missing = "negatives" if counts["n_positive"] == counts["n_known"] else "exams called positive"
    return f"not defined (no {missing})"


def metric_table(
    run: "RunFolder",
    measured: Mapping[str, Any],
    columns: Mapping[str, str],
    begin: Mapping[str, Callable[[Label, Mapping[str, Any]], str]],
    right: Iterable[int] | None = None,
) -> str:
    """
    Returns the table of some metrics: a row for each output, and their mean; of precision and the like another mean,
    which counts what is undefined as 0.

    Args:
        run (`RunFolder`): Whose outputs they are.
        measured (`Mapping`): `per_class` or `per_target`, `mean` and `intervals` of a split.
        columns (`Mapping[str, str]`): Metrics, and what their columns are called.
        begin (`Mapping[str, Callable]`):
            Columns before those of the metrics: title, and what makes the cell of a label and its values.
        right (`Iterable[int]`, *optional*): As in [`markdown_table`].
    """
    per = "per_class" if "per_class" in measured else "per_target"
    intervals = measured["intervals"]

    def cells(values: Mapping[str, Any], of_row: Mapping[str, Any]) -> list[str]:
        return [with_interval(values[metric], of_row.get(metric), values) for metric in columns]

    rows = []
    for label in in_order(run):
        values = measured[per][label.name]
        first = [cell(label, values) for cell in begin.values()]
        rows.append([label.name, *first, *cells(values, intervals[per][label.name])])
    mean = ["mean", *("" for _ in begin), *cells(measured["mean"], intervals["mean"])]
    what = "label" if per == "per_class" else "value"
    counted = measured.get("mean_zero_division", {})
    last = [mean]
    if columns.keys() & counted.keys():
        zeros = [with_interval(counted[metric], None, {}) if metric in counted else "" for metric in columns]
        last.append([ZERO_DIVISION_MEAN, *("" for _ in begin), *zeros])
    last = last if len(rows) > 1 else []
    return folded_table([what, *begin, *columns.values()], rows, last=last, right=right)


def folded_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    first: Sequence[Sequence[str]] = (),
    last: Sequence[Sequence[str]] = (),
    right: Iterable[int] | None = None,
) -> str:
    """
    Returns a table with a row for each label; of many, those behind the first are folded away.

    Args:
        head (`Sequence[str]`): Titles of the columns.
        rows (`Sequence[Sequence[str]]`): One for each label.
        first, last (`Sequence[Sequence[str]]`): Rows around those shown, such as a mean.
        right (`Iterable[int]`, *optional*): As in [`markdown_table`].
    """
    right = None if right is None else tuple(right)
    shown, others = (rows, []) if len(rows) <= MANY_LABELS else (rows[:MANY_LABELS], rows[MANY_LABELS:])
    table = markdown_table([head, *first, *shown, *last], right)
    if not others:
        return table
    return (
        f"{table}\n\n<details>\n<summary>The other {len(others)}</summary>\n\n"
        f"{markdown_table([head, *others], right)}\n\n</details>"
    )
