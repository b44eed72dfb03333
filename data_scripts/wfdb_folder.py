"""Any folder of WFDB records, with or without a table of reports and labels, to an exam table.

    python -m data_scripts.wfdb_folder --source_dir D [--table FILE] --output_dir O [--num_proc N]

Headers of the PhysioNet/CinC Challenges 2020 and 2021 state age, sex and diagnoses (SNOMED CT codes); what the table
does not say is taken from there.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.commands import exit_status
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection
from data_scripts.conversion.exam_csv import OLDEST_AGE, SEXES, ExamCsv, ExamCsvSettings, read_exam_csv
from data_scripts.conversion.index import file_version
from data_scripts.conversion.run import convert
from data_scripts.conversion.wfdb import read_wfdb_records, segments_of
from data_scripts.tables.schema import SPLIT_RULE, split_of
from data_scripts.text.reports import ReportCutter
from data_scripts.text.snomed import label_set, label_values, split_codes
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL, Label
from modeling_ecgclip.reading_ecgclip import EcgRecord


COMMENT = re.compile(r"^#\s*(\w+)\s*:\s*(.*?)\s*$")  # "#Dx: 426783006" and "# Dx: 426783006"
RECORD_SUFFIXES = (".hea", ".dat", ".mat")


@dataclass
class WfdbFolderSettings(ExamCsvSettings):
    """Settings of [`WfdbFolder`]; of a column that is not named, the default holds where the table has it."""

    labels: Literal["code6", "all"] = field(
        default="code6",
        metadata={"help": "of headers with SNOMED CT codes: CODE's six, or all that occur, by their code"},
    )
    source_name: str = field(default="wfdb_folder", metadata={"help": "what the table's column source says"})
    seed: int = field(default=0, metadata={"help": "of the split by patient"})


class WfdbFolder(EcgBuilder):
    """Reads every WFDB record below a folder; with a table, those that it names."""

    config: WfdbFolderSettings

    def plan(self) -> ExamPlan:
        """Returns the records that are there, joined with the table and with what their headers say."""
        folder, config = Path(self.config.source_dir), self.config
        records, parts = self.find_records(folder)
        headers = [read_header(folder / f"{record}.hea") for record in records["record"]]
        records = pd.concat([records, pd.DataFrame(headers)], axis=1)
        rejected: list[Rejection] = []
        facts: dict[str, Any] = {"source": config.source_name, "files_that_are_parts": len(parts)}
        table = None
        if config.table is not None:
            table = read_exam_csv(Path(config.table), config, RECORD_SUFFIXES)
            facts |= table_facts(table) | {"source_version": file_version(Path(config.table))}
        labels = label_set(config.labels, records["codes"])
        if table is not None and table.labels is not None:
            labels = table.labels
        records = with_labels(records, labels)
        if table is None:
            exams = records.assign(exam_id=records["name"], report=None, given_split=None)
            exams["patient_id"] = exams["exam_id"]
            found, named = len(records), set()
        else:
            named = table.named
            exams, rejected = join_table(records, table.rows)
            found = len(exams) + len(rejected)
            names = [label.name for label in labels]
            exams[names] = exams[names].astype(np.int8)
            if "report" in named:
                exams["report"], facts["reports"] = describe_reports(
                    exams["report"], ReportCutter(config.conclusion_headings, config.mask_diagnoses)
                )
        if "patient_id" in named:
            no_patient = exams["patient_id"] == ""
            rejected += [Rejection(exam_id, "no patient_id") for exam_id in exams["exam_id"][no_patient]]
            exams = exams[~no_patient].reset_index(drop=True)
        else:
            facts["patients"] = "not stated by the source: each exam counts as its own patient"
        by_hash = [split_of(patient, config.seed) for patient in exams["patient_id"]]
        exams["split"] = exams["given_split"].where(exams["given_split"].notna(), pd.Series(by_hash, dtype=object))
        blank = "" if exams["given_split"].notna().all() else f"; where it is blank, {SPLIT_RULE}"
        facts["split_rule"] = f"the table's column of splits{blank}" if "split" in named else SPLIT_RULE
        facts["headers"] = {
            "with_codes": int(records["annotated"].sum()),
            "with_other_diagnoses": int(records["other_codes"].sum()),
            "note": "an annotated record has 0 for each label whose code is absent, -1 where a vague code may mean it",
        }
        exams["location"] = exams["record"]
        # The top folders are the parts: deeper ones may hold a single record each.
        exams["part"] = exams["record"].str.partition("/")[0].where(exams["record"].str.contains("/"), ".")
        exams = exams.sort_values("part", kind="stable", ignore_index=True)
        target_names = () if table is None else table.target_names
        return ExamPlan(exams, config.source_name, found, rejected, facts, labels, target_names)

    def find_records(self, folder: Path) -> tuple[pd.DataFrame, set[Path]]:
        """
        Returns all records below a folder, and the files that are a part of one and no record of their own.

        Raises:
            `ValueError`: where there is none.
        """
        headers = sorted(path for path in folder.rglob("*.hea") if path.name[0] != ".")
        if not headers:
            raise ValueError(f"{folder}: expected WFDB records, found no header (*.hea) in it or below it")
        segments = {path.parent / f"{name}.hea" for path in headers for name in segments_of(path)}
        paths = [path.relative_to(folder).as_posix() for path in headers if path not in segments]
        return named_records([path.removesuffix(".hea") for path in paths]), segments & set(headers)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the WFDB records."""
        yield from read_wfdb_records(Path(self.config.source_dir), exams)


def named_records(paths: Sequence[str]) -> pd.DataFrame:
    """
    Returns records by path: `record`, the path, and `name`, by which exams go.

    The name is the last part of the path where no two records share it, or else the path.
    """
    records = pd.Series(paths, dtype=object)
    names = records.str.rpartition("/")[2]
    return pd.DataFrame({"record": records, "name": names if names.is_unique else records})


def read_header(path: Path) -> dict[str, Any]:
    """
    Returns what the comments of a header say.

    Args:
        path (`Path`): The header. One that cannot be read says nothing; the reader of the recording rejects it.

    Returns:
        `dict`: `age` (NaN unknown), `sex` (None unknown), `codes` (`list[str]`, SNOMED CT, empty where there are
        none), `annotated`, whether there are such codes, and `other_codes`, whether the diagnoses are no such codes,
        so that nothing follows from them.
    """
    comments: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        match = COMMENT.match(line)
        if match:
            comments.setdefault(match[1].lower(), match[2])
    age = pd.to_numeric(comments.get("age", ""), errors="coerce")
    codes, annotated = split_codes(comments.get("dx", ""))
    return {
        "age": float(age) if 0 <= age <= OLDEST_AGE else np.nan,
        "sex": SEXES.get(comments.get("sex", "").lower()),
        "codes": codes if annotated else [],
        "annotated": annotated,
        "other_codes": bool(codes) and not annotated,
    }


def with_labels(records: pd.DataFrame, labels: Sequence[Label]) -> pd.DataFrame:
    """Returns the records with a column for each label, as their headers state it: 1, 0, or -1 where unknown."""
    unknown = {label.name: UNKNOWN_LABEL for label in labels}
    names = records["record"].str.rpartition("/")[2]
    values = [
        label_values(name, codes, labels) if codes else unknown
        for name, codes in zip(names, records["codes"], strict=True)
    ]
    return records.join(pd.DataFrame(values, index=records.index).astype(np.int8))


def table_facts(table: ExamCsv) -> dict[str, Any]:
    """Returns what `conversion.json` says of a user's table, and prints which of its columns nothing uses."""
    facts: dict[str, Any] = {"unused_columns": table.unused}
    if table.unused:
        print(f"columns of the table that nothing uses: {', '.join(table.unused)}", file=sys.stderr)
    if table.ages_left_out:
        facts["ages_left_out"] = f"{table.ages_left_out} below 0 or above {OLDEST_AGE:g}: taken for unknown"
    return facts


def join_table(records: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """
    Returns the exams that have a record and a row, in the order of the records, and the others.

    A row names its record by path, or by name where no other record has it. Age, sex and labels are those of the
    table where it has such a column, or else those of the header.

    Raises:
        `ValueError`: where two rows name one record.
    """
    paths: dict[str, str] = {}
    last = records["record"].str.rpartition("/")[2]
    # The rarer the name, the better it tells: a file's own path before its name, and that before its stem.
    for names in (last.str.partition(".")[0], last, records["record"]):
        alone = names[~names.duplicated(keep=False)]
        paths |= dict(zip(alone, records["record"][alone.index], strict=True))
    table = table.assign(record=table["record"].map(paths), stated=table["record"])
    lost = table[table["record"].isna()]
    table = table.drop(index=lost.index)
    twice = table[table["record"].duplicated(keep=False)]
    if len(twice):
        raise ValueError(
            f"record {twice['record'].iloc[0]} belongs to {len(twice[twice['record'] == twice['record'].iloc[0]])} "
            f"rows of the table, exams {', '.join(twice['exam_id'].iloc[:2])}: expected one"
        )
    exams = records.merge(table, on="record", how="left", suffixes=("_in_header", ""))
    unlisted = exams["exam_id"].isna()
    rejected = [Rejection(name, "not in the table") for name in exams["record"][unlisted]]
    pairs = zip(lost["exam_id"], lost["stated"], strict=True)
    rejected += [Rejection(exam_id, "record not found", stated) for exam_id, stated in pairs]
    exams = exams[~unlisted].reset_index(drop=True)
    for column, value in (("patient_id", exams["exam_id"]), ("report", None), ("given_split", None)):
        if column not in exams:
            exams[column] = value
    return exams, rejected


def describe_reports(reports: pd.Series, cutter: ReportCutter) -> tuple[pd.Series, dict[str, Any]]:
    """Returns the description of each report (None where there is none) and what is to be known of the reports."""
    descriptions = [cutter.cut(report).description or None for report in reports]
    return pd.Series(descriptions, dtype=object), cutter.facts()


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(WfdbFolder, WfdbFolderSettings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
