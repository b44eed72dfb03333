"""Tables 2 to 6 of the paper, and what an honest reader wants beside them, as Markdown and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.files import write_text
from common.markdown import markdown_table
from reproduction.results import MEAN, Results, Summary, summarize
from reproduction.settings import ARMS, PAPER, SETTINGS


PAPER_METRICS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
RANK_METRICS = {"auroc": "AUROC", "average_precision": "average precision"}
BOTH_ARMS = ("random", "pretrained")
DASH = "–"

Row = dict[str, Any]


def write_tables(results: Results, output_dir: Path, recipe_lines: Sequence[str], n_resamples: int) -> Path:
    """
    Writes `tables.md` and the CSV files; returns the former.

    Args:
        results (`Results`): Of all cells.
        output_dir (`Path`): CSV files go to `csv/` in it.
        recipe_lines (`list[str]`): How it was trained, for the head of the Markdown.
        n_resamples (`int`): Of the bootstrap.
    """
    mark = " (simulated)" if results.simulated else ""
    differences = difference_rows(results, n_resamples)
    convergence = convergence_rows(results)
    parts = [
        f"# Reproduction of the paper's tables{mark}",
        *_head(results, recipe_lines),
        f"## Mean F1 at a glance{mark}",
        markdown(overview_rows(results)),
        _overview_note(results),
    ]
    for name in results.settings:
        setting = SETTINGS[name]
        parts += [f"## Table {setting.table}: {setting.title}{mark}", *_setting_tables(results, name)]
    parts += [
        f"## Positives of each class{mark}",
        markdown(positive_rows(results)),
        "Over seeds, lowest–highest where they differ: a seed decides which patients keep their labels.",
        f"## AUROC and average precision{mark}",
        markdown(rank_rows(results)),
        "Mean ± standard deviation over seeds, on the test split.",
        f"## Differences between arms{mark}",
        markdown([row for row in _shown_differences(differences)]),
        f"Paired bootstrap over test patients, {n_resamples} resamples; each arm's metric is its mean over seeds. "
        "In brackets the 95 % interval. It speaks of the choice of test patients, not of the choice of seeds. "
        "`csv/differences.csv` has every class and metric.",
        f"## Convergence{mark}",
        markdown(_shown_convergence(convergence)),
        "Best step: of the lowest validation loss, for each seed; its weights are those that were tested. Training "
        "loss: mean of the last fifth of the steps. Late gain: by how much the last fifth lowered the lowest "
        "validation loss, mean over seeds; near 0 %, the run had come to rest. The "
        "learning rate falls to zero by then, so a longer schedule may still help where the training loss has not "
        "fallen below the validation loss.",
        f"## Undefined values{mark}",
        _undefined(results),
    ]
    write_text(output_dir / "tables.md", "\n\n".join(parts))
    for name, rows in {
        "cells": results.long_rows(),
        "tables_2_to_6": summary_rows(results),
        "overview": overview_rows(results),
        "positives": positive_rows(results),
        "differences": differences,
        "convergence": convergence,
        "undefined": results.undefined(),
    }.items():
        write_csv(output_dir / "csv" / f"{name}.csv", rows)
    return output_dir / "tables.md"


def _head(results: Results, recipe_lines: Sequence[str]) -> list[str]:
    data = results.data
    sizes = ", ".join(
        f"{name} {data['exams'][name]:,} exams of {data['patients'][name]:,} patients" for name in data["exams"]
    )
    lines = [f"- Source of the exams: {', '.join(data['sources'])}. {sizes}.", *(f"- {line}" for line in recipe_lines)]
    parts = ["\n".join(lines)]
    if results.simulated:
        of_paper = " The paper's numbers beside them come from real exams and another cohort."
        parts.append(
            "**The exams are simulated: these numbers say how the methods compare on a simulation, and nothing about "
            f"patients.{of_paper if results.labels_of_paper else ''}**"
        )
    return parts


def overview_rows(results: Results) -> list[Row]:
    """Mean F1 of every arm and setting, and whether the difference of the paper's two arms exceeds the spread."""
    rows = []
    for name in results.settings:
        row: Row = {"setting": SETTINGS[name].title}
        of_arm = {arm: results.summary(name, arm, MEAN, "f1") for arm in results.arms}
        row |= {ARMS[arm].title: shown(value) for arm, value in of_arm.items()}
        if all(arm in of_arm for arm in BOTH_ARMS):
            random, pretrained = (of_arm[arm] for arm in BOTH_ARMS)
            gain = None if random.mean is None or pretrained.mean is None else pretrained.mean - random.mean
            row["gain"] = signed(gain)
            spreads = [value.spread for value in (random, pretrained) if value.spread is not None]
            row["above both spreads"] = DASH if gain is None or not spreads else _yes(gain > max(spreads))
        if results.labels_of_paper:
            row["paper"] = "{:.3f} → {:.3f}".format(*PAPER[name])
        rows.append(row)
    return rows


def _overview_note(results: Results) -> str:
    said = (
        f"Mean over the {len(results.label_names)} classes, mean ± standard deviation over {len(results.seeds)} "
        "seeds. Gain: pre-trained over random initialisation."
    )
    if not results.labels_of_paper:
        return f"{said} The paper's numbers are of other labels, and do not stand beside these."
    linear = " The paper has no linear heads." if any(ARMS[arm].frozen for arm in results.arms) else ""
    return (
        f"{said} Of the paper's tables only the mean F1 of both arms (random initialisation → pre-trained) is known "
        f"here.{linear}"
    )


def _setting_tables(results: Results, setting: str) -> list[str]:
    """One table for each pair of arms: fine-tuned, and linear heads."""
    parts = []
    for frozen in (False, True):
        arms = [arm for arm in results.arms if ARMS[arm].frozen == frozen]
        if not arms:
            continue
        rows = []
        for label in [*results.label_names, MEAN]:
            row = {"class": label}
            for arm in arms:
                for metric, title in PAPER_METRICS.items():
                    row[f"{title}, {ARMS[arm].title}"] = shown(results.summary(setting, arm, label, metric))
            rows.append(row)
        if not frozen and results.labels_of_paper:
            of_arm = dict(zip(BOTH_ARMS, PAPER[setting], strict=True))
            rows.append(
                {"class": "paper, mean"}
                | {
                    f"{t}, {ARMS[arm].title}": f"{of_arm[arm]:.3f}" if t == "F1" else DASH
                    for arm in arms
                    for t in PAPER_METRICS.values()
                }
            )
        parts.append(markdown(rows))
    paper = " The paper's row: only its mean F1 is known here." if results.labels_of_paper else ""
    return [*parts, f"Mean ± standard deviation over seeds.{paper}"]


def summary_rows(results: Results) -> list[Row]:
    """Every metric of every class, setting and arm over seeds, with the paper's number where it is known."""
    rows = []
    for setting in results.settings:
        for arm in results.arms:
            for label in [*results.label_names, MEAN]:
                for metric in (*PAPER_METRICS, *RANK_METRICS):
                    value = results.summary(setting, arm, label, metric)
                    known = results.labels_of_paper and label == MEAN and metric == "f1" and arm in BOTH_ARMS
                    rows.append(
                        {"table": SETTINGS[setting].table, "setting": setting, "arm": arm, "class": label}
                        | {"metric": metric, "mean": value.mean, "spread": value.spread}
                        | {"n_defined": value.n_defined, "n_seeds": value.n_seeds}
                        | {"paper": PAPER[setting][BOTH_ARMS.index(arm)] if known else None}
                        | {"simulated": results.simulated}
                    )
    return rows


def positive_rows(results: Results) -> list[Row]:
    """Exams and positives of each class in each split, lowest to highest over seeds."""
    rows = []
    for setting in results.settings:
        used = [cell.run["used"] for cell in results.of(setting, results.arms[0])]
        for split in used[0]:
            of_seed = [entry[split] for entry in used]
            row = {"setting": SETTINGS[setting].title, "split": split}
            row["exams"] = _range([entry["exams"] for entry in of_seed])
            row |= {name: _range([entry["positives"][name] for entry in of_seed]) for name in results.label_names}
            rows.append(row)
    return rows


def rank_rows(results: Results) -> list[Row]:
    """AUROC and average precision of each class, as shown."""
    return [
        {"setting": SETTINGS[setting].title, "class": label}
        | {
            f"{title}, {ARMS[arm].title}": shown(results.summary(setting, arm, label, metric))
            for metric, title in RANK_METRICS.items()
            for arm in results.arms
        }
        for setting in results.settings
        for label in [*results.label_names, MEAN]
    ]


def difference_rows(results: Results, n_resamples: int) -> list[Row]:
    """Every difference of `Results.comparisons`, of every class and metric."""
    rows = []
    for setting in results.settings:
        for a, b in results.comparisons():
            found = results.difference(setting, a, b, n_resamples)
            for label, of_label in [*found["per_class"].items(), (MEAN, found["mean"])]:
                for metric in (*PAPER_METRICS, *RANK_METRICS):
                    which = {"setting": setting, "arm_a": a, "arm_b": b, "class": label, "metric": metric}
                    rows.append({**which, **of_label[metric]})
    return rows


def _shown_differences(rows: Sequence[Row]) -> list[Row]:
    shown_rows: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        if row["class"] != MEAN or row["metric"] not in ("f1", *RANK_METRICS):
            continue
        key = row["setting"], row["arm_a"], row["arm_b"]
        entry = shown_rows.setdefault(
            key,
            {"setting": SETTINGS[row["setting"]].title}
            | {"difference": f"{ARMS[row['arm_b']].title} − {ARMS[row['arm_a']].title}"},
        )
        title = {**PAPER_METRICS, **RANK_METRICS}[row["metric"]]
        interval = "" if row["low"] is None else f" [{signed(row['low'])}, {signed(row['high'])}]"
        entry[f"mean {title}"] = signed(row["difference"]) + interval
        if row["metric"] == "f1":
            entry["p (F1)"] = DASH if row["p_value"] is None else f"{row['p_value']:.3f}"
    return list(shown_rows.values())


def convergence_rows(results: Results) -> list[Row]:
    """How each cell's training went."""
    return [
        {"setting": cell.setting, "arm": cell.arm, "seed": cell.seed, **cell.convergence}
        for cell in results.cells.values()
    ]


def _shown_convergence(rows: Sequence[Row]) -> list[Row]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["setting"], row["arm"]), []).append(row)
    return [
        {
            "setting": SETTINGS[setting].title,
            "arm": ARMS[arm].title,
            "steps": f"{cells[0]['steps']:,}",
            "best step": ", ".join(f"{cell['best_step']:,}" for cell in cells),
            "training loss at the end": shown(summarize([cell["train_loss"] for cell in cells]), 4),
            "lowest validation loss": shown(summarize([cell["best_eval_loss"] for cell in cells]), 4),
            "last validation loss": shown(summarize([cell["last_eval_loss"] for cell in cells]), 4),
            "late gain": f"{100 * summarize([cell['late_gain'] for cell in cells]).mean:.1f} %",
        }
        for (setting, arm), cells in grouped.items()
    ]


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
        "An undefined value is left out of means, and a mean over fewer seeds says so in brackets. Where a label has "
        "no positive to choose a threshold by, 0.5 is used."
    )
    return "\n".join([note, "", *lines])


def shown(value: Summary, digits: int = 3) -> str:
    """Returns mean ± spread as tables show it, with the number of seeds that define it where some do not."""
    if value.mean is None:
        return DASH
    spread = "" if value.spread is None else f" ± {value.spread:.{digits}f}"
    part = "" if value.n_defined == value.n_seeds else f" ({value.n_defined} of {value.n_seeds})"
    return f"{value.mean:.{digits}f}{spread}{part}"


def signed(value: float | None) -> str:
    """Returns a difference with its sign."""
    return DASH if value is None else f"{value:+.3f}".replace("-", "−")


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def markdown(rows: Sequence[Row]) -> str:
    """Returns rows with the same keys as a Markdown table: columns with a digit to the right, except the first."""
    columns = {name: [str(row[name]) for row in rows] for name in rows[0]}
    right = [i for i, cells in enumerate(columns.values()) if i and re.search(r"\d", "".join(cells))]
    return markdown_table([list(columns), *zip(*columns.values(), strict=True)], right)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows with the same keys, aside and then renamed; None is an empty field."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, buffer.getvalue())
