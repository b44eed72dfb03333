"""
What is an ECG's description by ecgclip worth for pre-training, beside the report that came with it?

    python benchmarks/describe/run.py --output_dir build/describe --preset control --num_proc 12

Simulates a cohort, describes its ECGs anew (`data_scripts.describe`, which reads signals, age and sex alone), and runs
`reproduce.py` on both tables: random weights, stage 1 on the original reports, stage 1 on the descriptions; the same
exams, labels, steps and seeds. All further flags go to `reproduce.py`, such as `--seeds 0 1 2`. The same command
continues an interrupted run. Writes `describe.md` and `describe.json`. Everything in it is simulated.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import reproduce
from common.files import write_json
from data_scripts import describe
from data_scripts.tables.schema import conversion_record
from reproduction.formatting import DASH, markdown, shown, with_interval
from reproduction.preparation import simulated_table
from reproduction.results import MEAN, Results, read_results
from reproduction.settings import PRIMARY, SETTINGS
from reproduction.statistics import Difference


ARM = "described"
TITLES = {"random": "random weights", "pretrained": "original reports", ARM: "descriptions"}
METRICS = {"f1": "F1", "auroc": "AUROC"}


def parse_arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags of this script, and those of `reproduce.py`."""
    parser = argparse.ArgumentParser(prog="python benchmarks/describe/run.py", description=__doc__.splitlines()[1])
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--preset", choices=("demo", "control"), default="demo", help="of reproduce.py (default demo)")
    parser.add_argument("--num_exams", type=int, help="of the simulated cohort; default: the preset's")
    parser.add_argument("--cohort_seed", type=int, help="of the simulated cohort; default: the preset's")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=["exp-3", "exp-5"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--language", choices=("pt", "en"), default="pt")
    parser.add_argument("--wording", choices=("varied", "plain"), default="varied")
    parser.add_argument("--num_proc", type=int, default=1)
    parser.add_argument("--n_resamples", type=int, default=2000)
    return parser.parse_known_args(argv)


def make_tables(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Returns the cohort with its own reports and the one with descriptions, made unless they are there."""
    cohort = dict(reproduce.RECIPES[arguments.preset].cohort or {})
    changes = {"num_exams": arguments.num_exams, "seed": arguments.cohort_seed}
    cohort |= {name: value for name, value in changes.items() if value is not None}
    original = simulated_table(arguments.output_dir / "cohort", cohort, arguments.num_proc)
    described = arguments.output_dir / f"described-{arguments.language}-{arguments.wording}"
    if not described.is_dir():
        flags = {
            "dataset_name_or_path": original,
            "output_dir": described,
            "language": arguments.language,
            "wording": arguments.wording,
            "num_proc": arguments.num_proc,
        }
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        describe.main([*words, "--overwrite_reports"])
    return original, described


def run(arguments: argparse.Namespace, table: Path, arms: Sequence[str], further: Sequence[str]) -> Results:
    """Returns the cells of `reproduce.py` on one table."""
    folder = arguments.output_dir / "runs" / table.name
    words = ["--output_dir", str(folder), "--preset", arguments.preset, "--dataset_name_or_path", str(table)]
    words += ["--settings", *arguments.settings, "--arms", *arms, "--seeds", *map(str, arguments.seeds)]
    words += ["--num_proc", str(arguments.num_proc), "--n_resamples", str(arguments.n_resamples), *further]
    reproduce.main(words)
    return read_results(folder, arguments.settings, arms, arguments.seeds)


def together(original: Results, described: Results) -> Results:
    """Returns the cells of both; those of the descriptions as an arm of their own."""
    renamed = [replace(cell, arm=ARM) for cell in described.cells.values()]
    return Results([*original.cells.values(), *renamed])


def share_of_gain(of_reports: Difference, of_ours: Difference) -> str:
    """Returns which share of the original reports' mean gain the descriptions keep; a dash where there is no gain."""
    if of_reports.difference is None or of_ours.difference is None or of_reports.difference <= 0:
        return DASH
    return f"{100 * of_ours.difference / of_reports.difference:.0f} %"


def tabulate(results: Results, n_resamples: int) -> list[dict[str, Any]]:
    """Returns one row for each setting and metric: means over labels, mean ± spread over seeds."""
    rows = []
    for setting in results.settings:
        of_reports = results.difference(setting, *PRIMARY, n_resamples)
        of_ours = results.difference(setting, PRIMARY[0], ARM, n_resamples)
        for metric, title in METRICS.items():
            row: dict[str, Any] = {"setting": SETTINGS[setting].title, "metric": f"mean {title}"}
            row |= {TITLES[arm]: shown(results.summary(setting, arm, MEAN, metric)) for arm in TITLES}
            if of_reports and of_ours:
                gains = of_reports[MEAN][metric], of_ours[MEAN][metric]
                row["gain, reports"], row["gain, descriptions"] = map(with_interval, gains)
                row["share of the gain"] = share_of_gain(*gains)
            rows.append(row)
    return rows


def main(argv: Sequence[str] | None = None) -> Path:
    """Runs what is missing; returns the path of `describe.md`."""
    arguments, further = parse_arguments(argv)
    original, described = make_tables(arguments)
    results = together(run(arguments, original, PRIMARY, further), run(arguments, described, [PRIMARY[1]], further))
    rows = tabulate(results, arguments.n_resamples)
    reports = (conversion_record(described) or {})["reports"]
    exams = results.data["exams"]
    head = (
        f"Simulated cohort, {sum(exams.values()):,} exams (training {exams['train']:,}), preset {arguments.preset}, "
        f"seeds {', '.join(map(str, results.seeds))}. {reports['note']} Mean ± standard deviation over "
        f"seeds; intervals as in docs/reproduce.md, {arguments.n_resamples} resamples."
    )
    path = arguments.output_dir / "describe.md"
    path.write_text(f"{head}\n\n{markdown(rows)}\n", encoding="utf-8")
    record = {"rows": rows, "reports": reports, "exams": exams, "flags": list(further), "cells": results.long_rows()}
    write_json(arguments.output_dir / "describe.json", record)
    print(path.read_text(encoding="utf-8"))
    return path


if __name__ == "__main__":
    main()
