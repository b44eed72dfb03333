"""
Do the words fit what others concluded? By label of CODE, how many exams with and without it get the words for it.

    python benchmarks/describe/words.py --dataset_name_or_path ptbxl

The table needs labels, and no reports. Which words are those for a label stands in `WORDS`.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.markdown import markdown_table
from data_scripts.conversion.describing import ROWS_AT_A_TIME, measured_rows
from data_scripts.tables.schema import labels_array, load_exam_table, schema_of
from data_scripts.text.description import Reading
from data_scripts.text.reading_of import reading_of


def _details(reading: Reading) -> set[str]:
    return {detail.word for detail in reading.qrs_details}


RIGHT, LEFT = {"rsr", "large_r"}, {"notched_r", "no_q"}
WORDS: dict[str, tuple[str, Callable[[Reading], bool]]] = {
    "1dAVb": ("PR above 200 ms", lambda one: one.pr == "above"),
    "RBBB": ("QRS wide; rSR' or R larger than S in V1", lambda one: one.qrs == "wide" and bool(RIGHT & _details(one))),
    "LBBB": ("QRS wide; R notched or no q on the left", lambda one: one.qrs == "wide" and bool(LEFT & _details(one))),
    "SB": ("rate below the usual range", lambda one: one.rate == "slow"),
    "AF": ("RR irregular, P absent", lambda one: one.cycles == "irregular" and one.p in ("none", "absent")),
    "ST": ("rate above the usual range", lambda one: one.rate == "fast"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python benchmarks/describe/words.py", description=__doc__.splitlines()[1])
    parser.add_argument("--dataset_name_or_path", required=True)
    table = load_exam_table(parser.parse_args(argv).dataset_name_or_path)
    schema = schema_of(table)
    said: Counter[tuple[str, int]] = Counter()
    known: Counter[tuple[str, int]] = Counter()
    for rows in table.values():
        labels, columns = labels_array(rows), rows.with_format("arrow")
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            some = columns[start : start + ROWS_AT_A_TIME]
            facts = zip(some["age"].to_pylist(), some["sex"].to_pylist(), measured_rows(some, schema), strict=True)
            for of_exam, (age, sex, measured) in zip(labels[start:], facts, strict=False):
                reading = reading_of(measured, age, sex)
                for name, value in zip(schema.label_names, of_exam.tolist(), strict=True):
                    known[name, value] += 1
                    said[name, value] += name in WORDS and WORDS[name][1](reading)
    lines = [["label", "words", "with the label", "without it"]]
    for name, (words, _) in WORDS.items():
        counts = [f"{said[name, value]:,} of {known[name, value]:,}" for value in (1, 0)]
        lines.append([name, words, *counts])
    print(markdown_table(lines, right=(2, 3)))


if __name__ == "__main__":
    main()
