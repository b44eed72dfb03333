"""
Do the words fit what others concluded? By label of CODE, how many exams with and without it get the words for it, and
what the words are worth as a rule for the label: precision, recall and F1.

    python benchmarks/describe/words.py --dataset_name_or_path ptbxl

The table needs labels, and no reports. Which words are those for a label stands in `WORDS`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from datasets import DatasetDict


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.simulate.transfer import with_interval
from common.markdown import markdown_table
from data_scripts.conversion.describing import ROWS_AT_A_TIME, measured_rows
from data_scripts.tables.schema import labels_array, load_exam_table, schema_of
from data_scripts.text.description import Reading
from data_scripts.text.reading_of import reading_of
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, multilabel_metrics


def _details(reading: Reading) -> set[str]:
    return {detail.word for detail in reading.qrs_details}


RATES = ("precision", "recall", "f1")
RIGHT, LEFT = {"rsr", "large_r"}, {"notched_r", "no_q"}
WORDS: dict[str, tuple[str, Callable[[Reading], bool]]] = {
    "1dAVb": ("PR above 200 ms", lambda one: one.pr == "above"),
    "RBBB": ("QRS wide; rSR' or R larger than S in V1", lambda one: one.qrs == "wide" and bool(RIGHT & _details(one))),
    "LBBB": ("QRS wide; R notched or no q on the left", lambda one: one.qrs == "wide" and bool(LEFT & _details(one))),
    "SB": ("rate below the usual range", lambda one: one.rate == "slow"),
    "AF": ("RR irregular, P absent", lambda one: one.cycles == "irregular" and one.p in ("none", "absent")),
    "ST": ("rate above the usual range", lambda one: one.rate == "fast"),
}


def said_of(table: DatasetDict) -> np.ndarray:
    """Which exams get the words of which label: 0 or 1, (exams, labels of `WORDS`), split after split."""
    schema, said = schema_of(table), []
    for rows in table.values():
        columns = rows.with_format("arrow")
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            some = columns[start : start + ROWS_AT_A_TIME]
            facts = zip(measured_rows(some, schema), some["age"].to_pylist(), some["sex"].to_pylist(), strict=True)
            readings = [reading_of(*of_exam) for of_exam in facts]
            said += [[float(rule(reading)) for _, rule in WORDS.values()] for reading in readings]
    return np.array(said)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python benchmarks/describe/words.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--dataset_name_or_path", required=True)
    table = load_exam_table(parser.parse_args(argv).dataset_name_or_path)
    names, thresholds = list(WORDS), [0.5] * len(WORDS)
    columns = [schema_of(table).label_names.index(name) for name in names]
    labels = np.concatenate([labels_array(rows)[:, columns] for rows in table.values()])
    patients = np.concatenate([np.array(rows["patient_id"]) for rows in table.values()])
    said = said_of(table)
    result = multilabel_metrics(said, labels, thresholds, names)
    intervals = bootstrap_intervals(said, labels, thresholds, names, patients)
    lines = [["label", "words", "with the label", "without it", *RATES]]
    for of_label, known, (name, (words, _)) in zip(said.T, labels.T, WORDS.items(), strict=True):
        parts = [of_label[known == value] for value in (1, 0)]
        counts = [f"{part.sum():,.0f} of {len(part):,}" for part in parts]
        value, interval = result["per_class"][name], intervals["per_class"][name]
        lines.append([name, words, *counts, *(with_interval(value, interval, rate) for rate in RATES)])
    means = [with_interval(result["mean"], intervals["mean"], rate) for rate in RATES]
    lines.append(["mean", "", "", "", *means])
    print(markdown_table(lines, right=range(2, len(lines[0]))))


if __name__ == "__main__":
    main()
