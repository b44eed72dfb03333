"""Tables 2 to 6 of the paper, and what an honest reader wants beside them, as Markdown and CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.files import write_text
from reproduction.comparing import INTERVAL_NOTE, difference_rows, primary_rows, shown_differences, shown_primary
from reproduction.converging import convergence_rows, shown_convergence, shown_pretraining
from reproduction.formatting import (
    CALIBRATION_METRICS,
    PAPER_METRICS,
    RANK_METRICS,
    Row,
    markdown,
    number,
    shown,
    span,
    write_csv,
)
from reproduction.paper import PAPER_ARMS, paper_number
from reproduction.results import MEAN, RULE, Results
from reproduction.settings import ARMS, SETTINGS


# Of a simulated cohort, by `report_reader` of its record.
READERS = {
    "shared": ["Report and label of an exam come from one reading: words and labels err alike."],
    "independent": ["Reports come from a reading of their own: words and labels err apart."],
}


def write_tables(
    results: Results,
    output_dir: Path,
    recipe_lines: Sequence[str],
    n_resamples: int,
    failed: Mapping[str, str] | None = None,
) -> Path:
    """
    Writes `tables.md` and the CSV files; returns the former.

    Args:
        results (`Results`): Of all cells that are finished.
        output_dir (`Path`): CSV files go to `csv/` in it.
        recipe_lines (`list[str]`): How it was trained, for the head of the Markdown.
        n_resamples (`int`): Of the bootstrap.
        failed (`dict[str, str]`, *optional*): By run that failed, why.
    """
    mark = " (simulated)" if results.simulated else ""
    primary = primary_rows(results, n_resamples)
    interval_note = INTERVAL_NOTE.format(n_resamples=n_resamples)
    parts = [f"# Reproduction of the paper's tables{mark}", *_head(results, recipe_lines)]
    if results.missing:
        parts += [f"## Runs that are missing{mark}", _missing(results, failed or {})]
    if primary:
        parts += [
            f"## Primary comparisons{mark}",
            markdown(shown_primary(results, primary)),
            f"Mean F1 over the {len(results.label_names)} classes, mean over seeds. {interval_note} Holm's correction "
            f"is over these {len(primary)} comparisons.",
        ]
    parts += [f"## Mean F1 of every arm{mark}", markdown(overview_rows(results)), _overview_note(results)]
    for name in results.settings:
        setting = SETTINGS[name]
        parts += [f"## Table {setting.table}: {setting.title}{mark}", *_setting_tables(results, name)]
    comparisons = shown_differences(results, n_resamples)
    if comparisons:
        parts += [
            f"## Differences between arms{mark}",
            markdown(comparisons),
            f"{interval_note} Only the primary comparisons are corrected for their number; these intervals are not. "
            "`csv/differences.csv` has every class and metric.",
        ]
    parts += [
        f"## Positives of each class{mark}",
        markdown(positive_rows(results)),
        "Over seeds, lowest–highest where they differ: a seed decides which patients keep their labels.",
        f"## AUROC and average precision{mark}",
        markdown(class_rows(results, RANK_METRICS)),
        "Mean ± standard deviation over seeds, on the test split.",
        f"## Calibration{mark}",
        markdown(class_rows(results, CALIBRATION_METRICS)),
        "Mean ± standard deviation over seeds, on the test split; lower is better. ECE: expected calibration error "
        "over 10 equally wide bins of the probability.",
        *_convergence(results, mark),
        f"## Undefined values{mark}",
        _undefined(results),
    ]
    write_text(output_dir / "tables.md", "\n\n".join(parts))
    for name, rows in {
        "cells": results.long_rows(),
        "tables_2_to_6": summary_rows(results),
        "primary": primary,
        "overview": overview_rows(results),
        "positives": positive_rows(results),
        "differences": difference_rows(results, n_resamples),
        "convergence": convergence_rows(results),
        "undefined": results.undefined(),
    }.items():
        write_csv(output_dir / "csv" / f"{name}.csv", rows)
    return output_dir / "tables.md"


def _head(results: Results, recipe_lines: Sequence[str]) -> list[str]:
    data = results.data
    sizes = ", ".join(
        f"{name} {data['exams'][name]:,} exams of {data['patients'][name]:,} patients" for name in data["exams"]
    )
    reader = data.get("conversion", {}).get("simulation", {}).get("report_reader")
    lines = [f"Source of the exams: {', '.join(data['sources'])}. {sizes}.", *READERS.get(reader, ()), *recipe_lines]
    parts = ["\n".join(f"- {line}" for line in lines)]
    if results.simulated:
        of_paper = " The paper's numbers beside them come from real exams and another cohort."
        parts.append(
            "**The exams are simulated: these numbers say how the methods compare on a simulation, and nothing about "
            f"patients.{of_paper if results.labels_of_paper else ''}**"
        )
    parts += [
        markdown([{"arm": ARMS[arm].title, "what it is": ARMS[arm].description} for arm in results.arms]),
        f"Convergence, stated before the runs: {RULE}",
    ]
    return parts


def _missing(results: Results, failed: Mapping[str, str]) -> str:
    lines = [f"- {name}: {why}" for name, why in failed.items()]
    others = len([name for name in results.missing if name not in failed])
    if others:
        lines.append(f"- {others} more were not run.")
    return "\n".join(["A mean without one says over how many seeds it is.", "", *lines])


def overview_rows(results: Results) -> list[Row]:
    """Mean F1 of every arm in every setting; a cell says where a run had not converged."""
    rows = []
    for arm in results.arms:
        row: Row = {"arm": ARMS[arm].title}
        for name in results.settings:
            bad = results.not_converged(name, arm)
            note = f", not converged ({bad} of {len(results.of(name, arm))})" if bad else ""
            row[SETTINGS[name].title] = shown(results.summary(name, arm, MEAN, "f1")) + note
        rows.append(row)
    if results.labels_of_paper:
        for arm in PAPER_ARMS:
            of_setting = {SETTINGS[n].title: number(paper_number(n, arm, MEAN, "f1")) for n in results.settings}
            rows.append({"arm": f"paper, {ARMS[arm].title} (real exams, one run)", **of_setting})
    return rows


def _overview_note(results: Results) -> str:
    said = (
        f"Mean over the {len(results.label_names)} classes, mean ± standard deviation over {len(results.seeds)} seeds."
    )
    if not results.labels_of_paper:
        return f"{said} The paper's numbers are of other labels, and do not stand beside these."
    return said


def _setting_tables(results: Results, setting: str) -> list[str]:
    """The paper's table beside the same of this run, and the means of every arm."""
    beside = [arm for arm in PAPER_ARMS if arm in results.arms]
    parts = []
    if results.labels_of_paper or beside:
        parts.append(markdown(_beside_the_paper(results, setting, beside)))
        parts.append(
            "Mean ± standard deviation over seeds. The precision of a class that is never predicted is undefined, "
            'and the mean with it; the paper counts it as 0, and "undefined as 0" does so too, in means as well.'
        )
    means = []
    for arm in results.arms:
        row: Row = {"arm": ARMS[arm].title}
        for metric, title in {**PAPER_METRICS, **RANK_METRICS}.items():
            row[title] = shown(results.summary(setting, arm, MEAN, metric, as_paper=True))
        means.append(row)
    return [*parts, markdown(means), "Means over classes, an undefined precision counted as 0."]


def _beside_the_paper(results: Results, setting: str, arms: Sequence[str]) -> list[Row]:
    rows = []
    for label in [*results.label_names, MEAN]:
        for metric, title in PAPER_METRICS.items():
            row: Row = {"class": label, "metric": title}
            for arm in PAPER_ARMS:
                name = ARMS[arm].title
                if results.labels_of_paper:
                    row[f"paper, {name}"] = number(paper_number(setting, arm, label, metric))
                if arm in arms:
                    row[name] = shown(results.summary(setting, arm, label, metric))
                    row[f"{name}, undefined as 0"] = shown(results.summary(setting, arm, label, metric, as_paper=True))
            rows.append(row)
    return rows


def summary_rows(results: Results) -> list[Row]:
    """Every metric of every class, setting and arm over seeds, with the paper's number where it has one."""
    rows = []
    for setting in results.settings:
        for arm in results.arms:
            for label in [*results.label_names, MEAN]:
                for metric in (*PAPER_METRICS, *RANK_METRICS, *CALIBRATION_METRICS):
                    value = results.summary(setting, arm, label, metric)
                    rows.append(
                        {"table": SETTINGS[setting].table, "setting": setting, "arm": arm, "class": label}
                        | {"metric": metric, "mean": value.mean, "spread": value.spread}
                        | {"mean_undefined_as_0": results.summary(setting, arm, label, metric, as_paper=True).mean}
                        | {"n_defined": value.n_defined, "n_seeds": value.n_seeds}
                        | {"paper": paper_number(setting, arm, label, metric) if results.labels_of_paper else None}
                        | {"simulated": results.simulated}
                    )
    return rows


def positive_rows(results: Results) -> list[Row]:
    """Exams and positives of each class in each split, lowest to highest over seeds."""
    rows = []
    for setting in results.settings:
        used = [cell.run["used"] for cell in next(filter(None, (results.of(setting, arm) for arm in results.arms)))]
        for split in used[0]:
            of_seed = [entry[split] for entry in used]
            row = {"setting": SETTINGS[setting].title, "split": split}
            row["exams"] = span([entry["exams"] for entry in of_seed])
            row |= {name: span([entry["positives"][name] for entry in of_seed]) for name in results.label_names}
            rows.append(row)
    return rows


def class_rows(results: Results, metrics: Mapping[str, str]) -> list[Row]:
    """Metrics of each class, by their titles, as shown."""
    return [
        {"setting": SETTINGS[setting].title, "arm": ARMS[arm].title, "metric": title}
        | {label: shown(results.summary(setting, arm, label, metric)) for label in [*results.label_names, MEAN]}
        for setting in results.settings
        for arm in results.arms
        if results.of(setting, arm)
        for metric, title in metrics.items()
    ]


def _convergence(results: Results, mark: str) -> list[str]:
    parts = [
        f"## Convergence{mark}",
        RULE,
        markdown(shown_convergence(results)),
        "Lowest–highest over seeds. The weights of the best step, that of the lowest validation loss, are those that "
        "were tested. Training loss: mean of the last third of the steps. Late gain: by how much that third lowered "
        "the lowest validation loss, mean over seeds.",
    ]
    if results.pretrainings:
        parts += [
            markdown(shown_pretraining(results)),
            "Stage 1 has a fixed number of steps, alike for all, and a rate that falls to zero, so that its loss is "
            "flat at the end by construction too; the last step's weights are used. A control's validation loss "
            "cannot fall for long: its texts say nothing of exams that were not trained on.",
        ]
    return parts


def _undefined(results: Results) -> str:
    entries = results.undefined()
    if not entries:
        return "None."
    counts: dict[tuple[str, str, str], set[tuple[str, int]]] = {}
    for entry in entries:
        key = SETTINGS[entry["setting"]].title, entry["label"], f"{entry['metric']}: {entry['reason']}"
        counts.setdefault(key, set()).add((entry["arm"], entry["seed"]))
    lines = [
        f"- {setting}, {label}, {reason} ({len(cells)} of {len(results.arms) * len(results.seeds)} runs)"
        for (setting, label, reason), cells in counts.items()
    ]
    note = (
        "An undefined value is left out of means over seeds, and a mean over fewer seeds says so in brackets. Where a "
        "label has no positive to choose a threshold by, 0.5 is used."
    )
    return "\n".join([note, "", *lines])
