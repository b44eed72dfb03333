"""
Prints the test results of finished runs side by side, and picks one test exam to look at.

Example:
    python -m examples.demo.compare --runs A B --source_dir raw --output_file example.json
"""

import argparse
import csv
from pathlib import Path

from common.checksums import read_record
from common.files import write_json
from common.markdown import markdown_table
from training.evaluation import SplitPredictions, read_predictions


METRIC = "f1"


def side_by_side(runs: dict[str, dict], source: str) -> str:
    """Returns a Markdown table: a row for each run, F1 per class and mean, and the mean AUROC."""
    names = list(next(iter(runs.values()))["test"]["per_class"])
    rows = [["F1 on the test split", *names, "mean F1", "mean AUROC"]]
    for run, metrics in runs.items():
        test = metrics["test"]
        values = [test["per_class"][name][METRIC] for name in names]
        values += [test["mean"][METRIC], test["mean"]["auroc"]]
        rows.append([run, *("-" if value is None else f"{value:.3f}" for value in values)])
    exams = next(iter(runs.values()))["test"]["n_exams"]
    note = (
        f"{source} data, {exams} test exams, one seed: this shows the way and decides nothing. Which start is better, "
        "with controls, converged runs and intervals over seeds and patients, is what reproduce.py's table says "
        "(docs/reproduce.md)."
    )
    return f"{markdown_table(rows)}\n\n{note}"


def pick_exam(test: SplitPredictions) -> int:
    """Returns the row of the test exam with the most labels, of those the most probable one."""
    labels = (test.labels == 1).sum(axis=1)
    told = (test.probabilities * (test.labels == 1)).sum(axis=1)
    return max(range(len(labels)), key=lambda row: (labels[row], told[row]))


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="output folders of train_cls.py")
    parser.add_argument("--source_dir", type=Path, required=True, help="folder with exams.csv and the HDF5 files")
    parser.add_argument("--output_file", type=Path, required=True, help="JSON that says which exam was picked")
    args = parser.parse_args()
    runs = {folder.name: read_record(folder / "metrics.json") for folder in args.runs}
    sources = read_record(args.runs[0] / "run.json")["data"]["sources"]
    print(side_by_side(runs, ", ".join(sources).capitalize()))

    splits, label_names = read_predictions(args.runs[-1] / "predictions.parquet")
    row = pick_exam(splits["test"])
    exam_id = str(splits["test"].exam_ids[row])
    with (args.source_dir / "exams.csv").open(newline="") as file:
        part = next(exam["trace_file"] for exam in csv.DictReader(file) if exam["exam_id"] == exam_id)
    labels = [name for name, label in zip(label_names, splits["test"].labels[row], strict=True) if label == 1]
    example = {"path": str(args.source_dir / part), "exam_id": exam_id, "labels": labels, "sources": sources}
    write_json(args.output_file, example)


if __name__ == "__main__":
    main()
