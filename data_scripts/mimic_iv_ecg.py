"""MIMIC-IV-ECG as published on PhysioNet to an exam table.

    python -m data_scripts.mimic_iv_ecg --source_dir D --output_dir O [--statements findings|all] [--num_proc N]

`record_list.csv` names the WFDB records (`files/p1000/p10000032/s40689238/40689238`: 500 Hz, 10 s, millivolts),
`machine_measurements.csv` holds up to 18 statements of the electrocardiograph for each. There are no checked labels.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.commands import exit_status
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, SourceSettings
from data_scripts.conversion.index import file_version, read_index, refuse_duplicates
from data_scripts.conversion.run import convert
from data_scripts.conversion.wfdb import read_wfdb_records
from data_scripts.tables.schema import SPLIT_RULE, split_of
from data_scripts.text.cells import blanked
from data_scripts.text.machine_statements import describe
from data_scripts.text.reports import id_strings
from data_scripts.text.words_left import WordsLeft
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES, UNKNOWN_LABEL
from modeling_ecgclip.reading_ecgclip import EcgRecord


INDEX_COLUMNS = ("subject_id", "study_id", "path")
STATEMENT_COLUMNS = [f"report_{i}" for i in range(18)]
ROWS_AT_A_TIME = 50_000  # of machine_measurements.csv in memory


@dataclass
class MimicIvEcgSettings(SourceSettings):
    """Settings of [`MimicIvEcg`]."""

    repair_nan: bool = field(
        default=True,
        metadata={
            "help": "fill gaps of NaN of up to 0.3 s in leads of which 80 %% was recorded; --no_repair_nan rejects "
            "the exam"
        },
    )
    # See text/machine_statements.py for what is a finding.
    statements: Literal["findings", "all"] = field(
        default="findings", metadata={"help": "findings alone become the report, or all that the machine printed"}
    )
    seed: int = field(default=0, metadata={"help": "of the split by patient"})


class MimicIvEcg(EcgBuilder):
    """
    Reads MIMIC-IV-ECG.

    Source: Gow et al., "MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset", PhysioNet,
    https://doi.org/10.13026/4nqg-sb35.
    """

    config: MimicIvEcgSettings

    def plan(self) -> ExamPlan:
        """Returns the exams of `record_list.csv` whose record is there."""
        folder = Path(self.config.source_dir)
        exams = read_record_list(folder / "record_list.csv", self.config.seed)
        found = len(exams)
        is_there = np.array([(folder / f"{record}.hea").is_file() for record in exams["location"]], dtype=bool)
        pairs = zip(exams["exam_id"][~is_there], exams["location"][~is_there], strict=True)
        rejected = [Rejection(exam_id, "record not found", f"{record}.hea") for exam_id, record in pairs]
        exams = exams[is_there].reset_index(drop=True)
        exams["report"], reports = read_statements(
            folder / "machine_measurements.csv", exams["exam_id"], self.config.statements
        )
        facts = {
            "source": "mimic_iv_ecg",
            "source_version": file_version(folder / "record_list.csv"),
            "split_rule": SPLIT_RULE,
            "labels_note": "unknown: the source has statements of a machine, which nobody checked",
            "reports": reports,
        }
        return ExamPlan(exams, "mimic_iv_ecg", found, rejected, facts)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the WFDB records."""
        yield from read_wfdb_records(Path(self.config.source_dir), exams)


def read_record_list(path: Path, seed: int) -> pd.DataFrame:
    """
    Returns the exams of `record_list.csv` with the columns of an [`ExamPlan`], `report` excepted.

    Args:
        path (`Path`): The file.
        seed (`int`): Of the split by patient.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    index = read_index(path, INDEX_COLUMNS)
    exam_ids = id_strings(blanked(index["study_id"]))
    patient_ids = id_strings(blanked(index["subject_id"]))
    refuse_duplicates(exam_ids, path)
    locations = index["path"].str.strip()
    for name, cells in (("study_id", exam_ids), ("subject_id", patient_ids), ("path", locations)):
        if (cells == "").any():
            raise ValueError(f"{path}, row {int((cells == '').idxmax()) + 2}: expected a {name}, found a blank cell")
    splits = {patient: split_of(patient, seed) for patient in patient_ids.unique()}
    exams = pd.DataFrame(
        {
            "exam_id": exam_ids,
            "patient_id": patient_ids,
            "split": patient_ids.map(splits),
            "age": np.nan,  # neither age nor sex is published with the recordings
            "sex": None,
            # Patients are gathered by the first digits of their id: files/p1000, about 800 records each.
            "part": locations.str.split("/", n=2).str[:2].str.join("/"),
            "location": locations,
        }
    )
    exams[list(LABEL_NAMES)] = np.int8(UNKNOWN_LABEL)
    return exams.sort_values("part", kind="stable", ignore_index=True)


def read_statements(path: Path, exam_ids: pd.Series, statements: str) -> tuple[pd.Series, dict[str, Any]]:
    """
    Returns the report of each exam (None where there is none) and what is to be known of the reports.

    Args:
        path (`Path`): `machine_measurements.csv`; where there is none, no exam has a report.
        exam_ids (`pandas.Series`): The exams.
        statements (`str`): `"findings"` or `"all"`.

    Raises:
        `ValueError`: for missing columns or a file that is no CSV.
    """
    if not path.is_file():
        note = f"{path.name} is not there: no exam has a report"
        return pd.Series([None] * len(exam_ids), dtype=object), {"note": note}
    wanted = set(exam_ids)
    reports: dict[str, str] = {}
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    words_left = WordsLeft()
    try:
        columns = list(pd.read_csv(path, nrows=0).columns)
        missing = [column for column in ("study_id", STATEMENT_COLUMNS[0]) if column not in columns]
        if missing:
            raise ValueError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(columns)}")
        used = [column for column in STATEMENT_COLUMNS if column in columns]
        pieces = pd.read_csv(
            path, usecols=["study_id", *used], dtype=str, keep_default_na=False, chunksize=ROWS_AT_A_TIME
        )
        for piece in pieces:
            rows = piece[used].to_numpy()
            for exam_id, row in zip(id_strings(piece["study_id"]), rows, strict=True):
                if exam_id not in wanted:
                    continue
                lines = [line for line in (" ".join(cell.split()) for cell in row) if line]
                everything = " ".join(f"{line.strip(' .')}." for line in lines)
                text = describe(lines) if statements == "findings" else everything
                counts.update(with_statements=int(bool(lines)), statements=len(lines), with_text=int(bool(text)))
                if text:
                    words_left.look(text)
                    # One object for all equal texts: few statements make most reports.
                    reports[exam_id] = texts.setdefault(text, text)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from error
    facts = {
        "table": file_version(path),
        "statements_used": statements,
        "exams_with_statements": counts["with_statements"],
        "statements": counts["statements"],
        "exams_without_findings": counts["with_statements"] - counts["with_text"],
        "sections": False,
        **words_left.record(),
        "free_of_conclusions": statements == "findings" and words_left.with_words == 0,
        "note": "Statements of the electrocardiograph, in English; not written by a physician.",
    }
    return exam_ids.map(reports.get).astype(object), facts


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(MimicIvEcg, MimicIvEcgSettings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
