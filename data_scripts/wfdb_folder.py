"""Any folder of WFDB records, with or without a table of reports and labels, to an exam table.

python -m data_scripts.wfdb_folder --source_dir D [--table FILE] --output_dir O [--num_proc N]

Headers of the PhysioNet/CinC Challenges 2020 and 2021 state age, sex and diagnoses (SNOMED CT codes); what the table
does not say is taken from there.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import HfArgumentParser

from data_scripts.base import (
    EcgBuilder,
    EcgBuilderConfig,
    ExamPlan,
    Rejection,
    file_version,
    numbers,
    read_index,
    refuse_duplicates,
)
from data_scripts.conversion import ConversionArguments, run_conversion
from data_scripts.reports import id_strings, parse_report, report_counts
from data_scripts.schema import SPLITS, UNKNOWN_LABEL, split_of
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES
from modeling_ecgclip.reading_ecgclip import EcgRecord, read_ecg


# Codes of each label; those of one label are scored as one diagnosis by the Challenge 2021
# (https://github.com/physionetchallenges/evaluation-2021, dx_mapping_scored.csv).
SNOMED_CODES = {
    "270492004": "1dAVb",  # 1st degree av block
    "59118001": "RBBB",  # right bundle branch block
    "713427006": "RBBB",  # complete right bundle branch block
    "164909002": "LBBB",  # left bundle branch block
    "733534002": "LBBB",  # complete left bundle branch block
    "426177001": "SB",  # sinus bradycardia
    "164889003": "AF",  # atrial fibrillation
    "427084000": "ST",  # sinus tachycardia
}
# Codes that may mean a label without naming it: the label is then unknown, not absent.
AMBIGUOUS_CODES = {
    "233917008": ("1dAVb",),  # av block, of any degree
    "6374002": ("RBBB", "LBBB"),  # bundle branch block, of either side
    "426627000": ("SB",),  # bradycardia, of any origin
    "195080001": ("AF",),  # atrial fibrillation and flutter
    "426749004": ("AF",),  # chronic atrial fibrillation, which the tracing need not show
    "282825002": ("AF",),  # paroxysmal atrial fibrillation, likewise
    "314208002": ("AF",),  # rapid atrial fibrillation
}
SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}
LABEL_CELLS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
LABEL_CELLS |= {"": UNKNOWN_LABEL, "-1": UNKNOWN_LABEL, "-1.0": UNKNOWN_LABEL}
COMMENT = re.compile(r"^#\s*(\w+)\s*:\s*(.*?)\s*$")  # "#Dx: 426783006" and "# Dx: 426783006"
RECORD_SUFFIXES = (".hea", ".dat", ".mat")


@dataclass
class WfdbFolderConfig(EcgBuilderConfig):
    """
    Settings of [`WfdbFolder`].

    Args:
        table (`str`, *optional*): CSV with a row for each exam.
        record_column, exam_id_column, patient_id_column, report_column, age_column, sex_column, split_column
            (`str`, *optional*):
            Columns of the table. Left out: `record`, `exam_id`, `patient_id`, `report`, `age`, `sex`, `split`, where
            the table has them.
        label_columns (`list[str]`, *optional*):
            `LABEL=column` for labels whose column is not named like the label.
        source_name (`str`, defaults to `"wfdb_folder"`): For the exam table's column `source`.
        seed (`int`, defaults to 0): Of the split by patient.
    """

    table: str | None = None
    record_column: str | None = None
    exam_id_column: str | None = None
    patient_id_column: str | None = None
    report_column: str | None = None
    age_column: str | None = None
    sex_column: str | None = None
    split_column: str | None = None
    label_columns: list[str] | None = None
    source_name: str = "wfdb_folder"
    seed: int = 0


class WfdbFolder(EcgBuilder):
    """Reads every WFDB record below a folder; with a table, those that it names."""

    BUILDER_CONFIG_CLASS = WfdbFolderConfig

    def plan(self) -> ExamPlan:
        """Returns the records that are there, joined with the table and with what their headers say."""
        folder, config = Path(self.config.source_dir), self.config
        records = find_records(folder)
        headers = [read_header(folder / f"{record}.hea") for record in records["record"]]
        records = pd.concat([records, pd.DataFrame(headers)], axis=1)
        rejected: list[Rejection] = []
        facts: dict[str, Any] = {"source": config.source_name}
        if config.table is None:
            exams = records.assign(exam_id=records["name"], report=None, given_split=None)
            exams["patient_id"] = exams["exam_id"]
            found, named = len(records), set()
        else:
            table, named = read_table(Path(config.table), config)
            exams, rejected = join_table(records, table)
            found = len(exams) + len(rejected)
            facts["source_version"] = file_version(Path(config.table))
            if "report" in named:
                exams["report"], facts["reports"] = describe_reports(exams["report"])
        if "patient_id" in named:
            no_patient = exams["patient_id"] == ""
            rejected += [Rejection(exam_id, "no patient_id") for exam_id in exams["exam_id"][no_patient]]
            exams = exams[~no_patient].reset_index(drop=True)
        else:
            facts["patients"] = "not stated by the source: each exam counts as its own patient"
        by_hash = [split_of(patient, config.seed) for patient in exams["patient_id"]]
        exams["split"] = exams["given_split"].where(exams["given_split"].notna(), pd.Series(by_hash, dtype=object))
        facts["split_rule"] = (
            "the table's column of splits"
            if "split" in named
            else "sha256 of the patient id: 85 % train, 10 % validation, 5 % test"
        )
        facts["headers"] = {
            "with_codes": int(records["annotated"].sum()),
            "with_other_diagnoses": int(records["other_codes"].sum()),
            "note": "an annotated record has 0 for each label whose code is absent, -1 where a vague code may mean it",
        }
        exams["location"] = exams["record"]
        # The top folders are the parts: deeper ones may hold a single record each.
        exams["part"] = exams["record"].str.partition("/")[0].where(exams["record"].str.contains("/"), ".")
        exams = exams.sort_values("part", kind="stable", ignore_index=True)
        return ExamPlan(exams, config.source_name, found, rejected, facts)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the WFDB records."""
        yield from read_wfdb_records(Path(self.config.source_dir), exams)


def read_wfdb_records(folder: Path, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
    """
    Yields the WFDB record that each exam's `location` names, or why there is none.

    Channels beside the twelve leads, such as Frank's `vx` or respiration, are left out.

    Args:
        folder (`Path`): The source.
        exams (`list[dict]`): With `exam_id`, and `location` relative to the folder, without suffix.
    """
    for exam in exams:
        try:
            # The header's name in full, so that a record whose own name ends in ".dat" keeps it.
            record = read_ecg(folder / f"{exam['location']}.hea")
            if record.sampling_rate is None or record.unit is None:
                raise ValueError(f"{record.name}: expected a header that states sampling rate and gains: found none")
            yield record
        except FileNotFoundError as error:
            yield Rejection(exam["exam_id"], "record not found", str(error))
        except (ValueError, OSError) as error:
            yield Rejection(exam["exam_id"], "unreadable record", str(error))


def find_records(folder: Path) -> pd.DataFrame:
    """
    Returns all records below a folder, sorted: `record`, the path without suffix, and `name`, by which exams go.

    The name is the last part of the path where no two records share it, or else the path.

    Raises:
        `ValueError`: where there is none.
    """
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.hea") if path.name[0] != ".")
    if not paths:
        raise ValueError(f"{folder}: expected WFDB records, found no header (*.hea) in it or below it")
    records = pd.Series([path.removesuffix(".hea") for path in paths], dtype=object)
    names = records.str.rpartition("/")[2]
    return pd.DataFrame({"record": records, "name": names if names.is_unique else records})


def read_header(path: Path) -> dict[str, Any]:
    """
    Returns what the comments of a header say: `age` (NaN unknown), `sex` (None unknown), the labels, and two flags.

    Args:
        path (`Path`): The header. One that cannot be read says nothing; the reader of the recording rejects it.

    Returns:
        `dict`: beside age, sex and labels (int8): `annotated`, whether there are SNOMED codes, and `other_codes`,
        whether the diagnoses are no such codes, so that nothing follows from them.
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
    codes = [code for code in re.split(r"[,;\s]+", comments.get("dx", "")) if code and code.lower() != "unknown"]
    annotated = bool(codes) and all(code.isdigit() for code in codes)
    labels = dict.fromkeys(LABEL_NAMES, 0 if annotated else UNKNOWN_LABEL)
    if annotated:
        labels |= {label: UNKNOWN_LABEL for code in codes for label in AMBIGUOUS_CODES.get(code, ())}
        labels |= {SNOMED_CODES[code]: 1 for code in codes if code in SNOMED_CODES}
    return {
        "age": float(age) if age >= 0 else np.nan,
        "sex": SEXES.get(comments.get("sex", "").lower()),
        **{label: np.int8(value) for label, value in labels.items()},
        "annotated": annotated,
        "other_codes": bool(codes) and not annotated,
    }


def read_table(path: Path, config: WfdbFolderConfig) -> tuple[pd.DataFrame, set[str]]:
    """
    Returns the table with columns of known names, and which of them it has.

    Args:
        path (`Path`): The CSV.
        config (`WfdbFolderConfig`): Its columns' names.

    Returns:
        `tuple`: `record`, `exam_id`, and of `patient_id`, `report`, `age`, `sex`, `given_split` and the labels those
        that the table has; and the names of those, by the default name of their column.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--table {path}: no such file")
    index = read_index(path, ())
    columns = table_columns(path, list(index.columns), config)
    if "record" not in columns and "exam_id" not in columns:
        raise ValueError(
            f"{path}: expected a column record or exam_id that names the records: found {', '.join(index.columns)}. "
            "--record_column says which one it is"
        )
    records = index[columns.get("record", columns.get("exam_id"))].str.strip()
    pattern = "|".join(re.escape(suffix) for suffix in RECORD_SUFFIXES)
    records = records.str.replace("\\", "/").str.removeprefix("./").str.replace(f"({pattern})$", "", regex=True)
    exam_ids = id_strings(index[columns["exam_id"]]) if "exam_id" in columns else records.str.rpartition("/")[2]
    for name, cells in (("record", records), ("exam_id", exam_ids)):
        if (cells == "").any():
            raise ValueError(f"{path}, row {int((cells == '').idxmax()) + 2}: expected a {name}, found a blank cell")
    refuse_duplicates(exam_ids, path)
    table = pd.DataFrame({"record": records, "exam_id": exam_ids})
    if "patient_id" in columns:
        table["patient_id"] = id_strings(index[columns["patient_id"]])
    if "report" in columns:
        table["report"] = index[columns["report"]]
    if "age" in columns:
        table["age"] = numbers(index[columns["age"]], path, exam_ids)
    known_cells = {"sex": SEXES | {"": None}, "split": {split: split for split in SPLITS}}
    known_cells |= dict.fromkeys(LABEL_NAMES, LABEL_CELLS)
    for name, known in known_cells.items():
        if name in columns:
            cells = index[columns[name]].str.strip().str.lower()
            if not cells.isin(known).all():
                i = (~cells.isin(known)).idxmax()
                raise ValueError(
                    f"{path}, exam {exam_ids[i]}, column {columns[name]}: "
                    f"expected one of {', '.join(filter(None, known))}, found {index[columns[name]][i]!r}"
                )
            values = [known[cell] for cell in cells]
            table["given_split" if name == "split" else name] = pd.Series(
                values, dtype=np.int8 if name in LABEL_NAMES else object
            )
    return table, set(columns)


def table_columns(path: Path, found: list[str], config: WfdbFolderConfig) -> dict[str, str]:
    """Which column of the table holds what; a column that was named must be there, others are taken if they are."""
    named = {
        name: getattr(config, f"{name}_column")
        for name in ("record", "exam_id", "patient_id", "report", "age", "sex", "split")
    } | dict.fromkeys(LABEL_NAMES)
    for entry in config.label_columns or []:
        label, equals, column = entry.partition("=")
        if label not in LABEL_NAMES or not equals:
            raise ValueError(f"--label_columns {entry}: expected LABEL=column, LABEL one of {', '.join(LABEL_NAMES)}")
        named[label] = column
    missing = [column for column in named.values() if column is not None and column not in found]
    if missing:
        raise ValueError(f"{path}: missing columns {', '.join(missing)}; found {', '.join(found)}")
    return {name: column or name for name, column in named.items() if column is not None or name in found}


def join_table(records: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """
    Returns the exams that have a record and a row, in the order of the records, and the others.

    A row names its record by path, or by name where no other record has it. Age, sex and labels are those of the
    table where it has such a column, or else those of the header.

    Raises:
        `ValueError`: where two rows name one record.
    """
    last = records["record"].str.rpartition("/")[2]
    by_name = records["record"][~last.duplicated(keep=False)]
    paths = dict(zip(last[by_name.index], by_name, strict=True)) | {path: path for path in records["record"]}
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
    exams[list(LABEL_NAMES)] = exams[list(LABEL_NAMES)].astype(np.int8)
    return exams, rejected


def describe_reports(reports: pd.Series) -> tuple[pd.Series, dict[str, Any]]:
    """Returns the description of each report (None where there is none) and what is to be known of the reports."""
    counts: Counter[str] = Counter()
    descriptions = []
    for report in reports:
        parts = parse_report(report)
        counts.update(report_counts(report, parts))
        descriptions.append(parts.description or None)
    facts = dict(counts) | {
        "sections": counts["without_heading"] < counts["reports"] - counts["empty"],
        "free_of_conclusions": counts["without_heading"] == 0,
    }
    return pd.Series(descriptions, dtype=object), facts


@dataclass
class WfdbFolderArguments(ConversionArguments):
    """Command line of this converter."""

    table: str | None = field(default=None, metadata={"help": "CSV with reports, labels, patients: a row per exam"})
    record_column: str | None = field(default=None, metadata={"help": "path or name of the record; default record"})
    exam_id_column: str | None = field(default=None, metadata={"help": "default exam_id, or the record's name"})
    patient_id_column: str | None = field(default=None, metadata={"help": "default patient_id"})
    report_column: str | None = field(default=None, metadata={"help": "default report"})
    age_column: str | None = field(default=None, metadata={"help": "default age"})
    sex_column: str | None = field(default=None, metadata={"help": "default sex"})
    split_column: str | None = field(default=None, metadata={"help": "default split; by patient where there is none"})
    label_columns: list[str] | None = field(
        default=None, metadata={"help": "LABEL=column ..., for labels whose column has another name"}
    )
    source_name: str = field(default="wfdb_folder", metadata={"help": "what the table's column source says"})
    seed: int = field(default=0, metadata={"help": "of the split by patient"})


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    parser = HfArgumentParser(
        WfdbFolderArguments, prog="python -m data_scripts.wfdb_folder", description=__doc__.splitlines()[0]
    )
    (arguments,) = parser.parse_args_into_dataclasses(args=argv)
    common = {field.name for field in ConversionArguments.__dataclass_fields__.values()}
    own = {name: value for name, value in vars(arguments).items() if name not in common}
    return run_conversion(WfdbFolder, arguments, **own)


if __name__ == "__main__":
    main()
