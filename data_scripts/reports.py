"""Splits a table of ECG reports into descriptions, conclusions and labels, and counts contradictions.

python -m data_scripts.reports --reports reports.csv --output parts.csv [--conclusion_headings ...] [--mask_diagnoses]
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from common.arguments import plain_parser
from common.commands import exit_status
from common.writing import written_aside
from data_scripts.text.reports import ParsedReport, ReportCutter, read_report_table
from data_scripts.text.words_left import lines_of
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES, UNKNOWN_LABEL


PARTS_SCHEMA = pa.schema(
    [("exam_id", pa.string()), ("description", pa.string()), ("conclusion", pa.string())]
    + [(label, pa.int8()) for label in LABEL_NAMES]
    + [("conflicts", pa.string())]
)


def split_report_table(
    path: str | Path,
    output: str | Path,
    conclusion_headings: Sequence[str] | None = None,
    mask_diagnoses: bool = False,
) -> dict[str, Any]:
    """
    Writes the parts of every report of a table and returns counts.

    Args:
        path (`str` or `Path`): See [`read_report_table`].
        output (`str` or `Path`):
            `.csv` or `.parquet` with the columns `exam_id`, `description`, `conclusion`, one for each label (0, 1, -1
            unknown) and `conflicts` (labels, separated by spaces).
        conclusion_headings (`Sequence[str]`, *optional*): Words that head a conclusion, beside the known ones.
        mask_diagnoses (`bool`, defaults to `False`): Whether words that name a diagnosis are masked in descriptions.

    Returns:
        `dict`: `reports`, `empty`, `without_heading`, `with_labels`, `conflicts` (reports), one `conflicts_<label>`
        for each label, ...: see [`ReportCutter`].
    """
    output = Path(output)
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(f"--output {output}: expected .csv or .parquet, found {output.suffix or 'no suffix'}")
    open_writer = pa_csv.CSVWriter if output.suffix.lower() == ".csv" else pq.ParquetWriter
    cutter = ReportCutter(conclusion_headings, mask_diagnoses)
    with written_aside(output) as aside, open_writer(str(aside), PARTS_SCHEMA) as writer:
        for piece in read_report_table(path):
            parsed = [cutter.cut(report) for report in piece["report"]]
            writer.write_table(_parts_table(list(piece["exam_id"]), parsed))
    return cutter.facts()


def _parts_table(exam_ids: Sequence[str], parsed: Sequence[ParsedReport]) -> pa.Table:
    columns: dict[str, Any] = {
        "exam_id": exam_ids,
        "description": [parts.description for parts in parsed],
        "conclusion": [parts.conclusion for parts in parsed],
        "conflicts": [" ".join(parts.conflicts) for parts in parsed],
    }
    columns |= {label: [parts.labels.get(label, UNKNOWN_LABEL) for parts in parsed] for label in LABEL_NAMES}
    return pa.table(columns, schema=PARTS_SCHEMA)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Splits a report table; returns and prints what is to be known of the reports."""
    parser = plain_parser(__doc__)
    parser.add_argument("--reports", required=True, help="table with exam_id and report: .csv or .parquet")
    parser.add_argument("--output", required=True, help="where the parts go: .csv or .parquet")
    parser.add_argument("--conclusion_headings", nargs="+", help="words that head a conclusion in your reports")
    parser.add_argument(
        "--mask_diagnoses", action="store_true", help="replace words that name a diagnosis in descriptions by ___"
    )
    arguments = parser.parse_args(argv)
    facts = split_report_table(
        arguments.reports, arguments.output, arguments.conclusion_headings, arguments.mask_diagnoses
    )
    for name, fact in facts.items():
        if name != "diagnosis_words_left":
            print(f"{name}: {fact}")
    print("\n".join(lines_of(facts["diagnosis_words_left"])))
    return facts


if __name__ == "__main__":
    sys.exit(exit_status(main))
