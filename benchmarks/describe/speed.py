"""
How many exams does one core describe in a second? Processor time of one process, measuring and wording apart.

    python benchmarks/describe/speed.py --dataset_name_or_path exams --num_exams 256
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path


os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data_scripts.conversion.describing import ROWS_AT_A_TIME, Wording, measured_rows
from data_scripts.tables.schema import load_exam_table, schema_of
from data_scripts.text.description import write_by
from data_scripts.text.reading_of import reading_of


def main(argv: Sequence[str] | None = None) -> None:
    """Prints exams per second of processor time."""
    parser = argparse.ArgumentParser(prog="python benchmarks/describe/speed.py", description=__doc__.splitlines()[1])
    parser.add_argument("--dataset_name_or_path", required=True)
    parser.add_argument("--num_exams", type=int, default=256, help="of the training split (default 256)")
    arguments = parser.parse_args(argv)
    table = load_exam_table(arguments.dataset_name_or_path)
    rows, schema, wording = table["train"].with_format("arrow"), schema_of(table), Wording()
    n_exams = min(arguments.num_exams, len(rows))
    measuring = saying = 0.0
    for start in range(-ROWS_AT_A_TIME, n_exams, ROWS_AT_A_TIME):  # the first ones warm up
        some = rows[max(start, 0) : min(max(start, 0) + ROWS_AT_A_TIME, n_exams)]
        begun = time.process_time()
        measured = measured_rows(some, schema)
        between = time.process_time()
        for exam_id, one in zip(some["exam_id"].to_pylist(), measured, strict=True):
            write_by(wording.hand(exam_id), reading_of(one))
        if start >= 0:
            measuring, saying = measuring + between - begun, saying + time.process_time() - between
    total = measuring + saying
    print(f"{n_exams / total:.0f} exams/s per core ({n_exams} exams; {100 * saying / total:.0f} % of it the words)")


if __name__ == "__main__":
    main()
