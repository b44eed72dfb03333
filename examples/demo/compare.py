"""
Prints what pre-training did, and the test results of two finished runs side by side; picks one test exam to look at.

Example:
    python -m examples.demo.compare --clip clip --runs random pretrained --source_dir raw --output_file example.json
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.arguments import plain_parser
from common.checksums import read_record
from common.files import write_json
from common.markdown import markdown_table
from training.evaluation import SplitPredictions, read_predictions


METRIC = "f1"
OF_PRETRAINING = {  # of history.json, with their titles
    "eval_loss": "loss",
    "eval_ecg_to_text_recall_at_10": "report among the 10 nearest",
    "eval_ecg_to_text_median_rank": "median rank",
    "eval_zero_shot_auroc_mean": "zero-shot AUROC",
}


def pretraining_table(history: Sequence[Mapping[str, float]], kept_step: int) -> str:
    """
    Returns a Markdown table of the validation before pre-training and of the weights that were kept.

    Args:
        history (`Sequence[Mapping]`): Of `history.json`.
        kept_step (`int`): After which these were.
    """
    validated = {entry["step"]: entry for entry in history if "eval_loss" in entry}
    rows: list[list[str]] = [["stage 1, validation", *OF_PRETRAINING.values()]]
    for title, step in (("before", 0), (f"after step {kept_step}", kept_step)):
        rows.append([title, *(f"{validated[step][name]:.3f}" for name in OF_PRETRAINING)])
    return markdown_table(rows)


def side_by_side(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a Markdown table: a row for each run, F1 per class and mean, and the mean AUROC."""
    names = list(next(iter(runs.values()))["test"]["per_class"])
    rows = [["stage 2, F1 on the test split", *names, "mean F1", "mean AUROC"]]
    for run, metrics in runs.items():
        test = metrics["test"]
        values = [test["per_class"][name][METRIC] for name in names]
        values += [test["mean"][METRIC], test["mean"]["auroc"]]
        rows.append([run, *("-" if value is None else f"{value:.3f}" for value in values)])
    return markdown_table(rows)


def where_it_helped(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """
    Returns one sentence: for which labels F1 rose, and for which it did not.

    Args:
        before, after (`Mapping`): Results on the test split, from random and from pre-trained weights.
    """
    change = {
        name: (of_class[METRIC] or 0.0) - (before["per_class"][name][METRIC] or 0.0)
        for name, of_class in after["per_class"].items()
    }
    rose = [name for name, one in change.items() if one > 0]
    others = [f"{name} ({change[name]:+.3f})" for name in change if name not in rose]
    if not others:
        return "F1 is higher from pre-trained weights for every label."
    return f"F1 is higher from pre-trained weights for {', '.join(rose) or 'no label'}; not for {', '.join(others)}."


def pick_exam(test: SplitPredictions) -> int:
    """Returns the row of the test exam with the most labels, of those the most probable one."""
    labels = (test.labels == 1).sum(axis=1)
    told = (test.probabilities * (test.labels == 1)).sum(axis=1)
    return max(range(len(labels)), key=lambda row: (labels[row], told[row]))


def main() -> None:
    """Runs the command line."""
    parser = plain_parser(__doc__)
    parser.add_argument("--clip", type=Path, required=True, help="output folder of train_clip.py")
    parser.add_argument("--runs", nargs=2, type=Path, required=True, help="of train_cls.py: the baseline first")
    parser.add_argument("--source_dir", type=Path, required=True, help="folder with exams.csv and the HDF5 files")
    parser.add_argument("--output_file", type=Path, required=True, help="JSON that says which exam was picked")
    args = parser.parse_args()
    print(pretraining_table(read_record(args.clip / "history.json"), read_record(args.clip / "run.json")["best_step"]))
    runs = {folder.name: read_record(folder / "metrics.json") for folder in args.runs}
    sources = read_record(args.runs[0] / "run.json")["data"]["sources"]
    before, after = (metrics["test"] for metrics in runs.values())
    print(f"\n{side_by_side(runs)}\n\n{where_it_helped(before, after)}")
    print(
        f"{', '.join(sources).capitalize()} data, {after['n_exams']} test exams, one seed: this shows the way and "
        "decides nothing."
    )

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
