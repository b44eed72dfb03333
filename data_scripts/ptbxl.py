"""PTB-XL as published on PhysioNet to an exam table.

python -m data_scripts.ptbxl --source_dir D --output_dir O [--sampling_rate 500|100] [--labels superclass|...|all]
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.commands import exit_status
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, SourceSettings
from data_scripts.conversion.index import file_version, numbers, read_index, refuse_duplicates
from data_scripts.conversion.run import convert
from data_scripts.conversion.wfdb import read_wfdb_records
from data_scripts.text.cells import blanked
from data_scripts.text.reports import id_strings
from data_scripts.text.words_left import WordsLeft
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, UNKNOWN_LABEL, Label
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


# SCP-ECG statement of each label. A likelihood of 0 means that none was given, as with all statements on rhythm.
SCP_CODES = {"1dAVb": "1AVB", "RBBB": "CRBBB", "LBBB": "CLBBB", "SB": "SBRAD", "AF": "AFIB", "ST": "STACH"}
SEXES = {0: "male", 1: "female"}
FOLDS = range(1, 11)
RECORD_COLUMNS = {500: "filename_hr", 100: "filename_lr"}
STATEMENT_COLUMNS = ("description", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")
SUPERCLASSES = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST/T change",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
INDEX_COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold")
ANONYMISED_AGE = 300  # stands for every age above 89
OLDEST_AGE = 90.0
# Words by which a report's language shows; the database does not state it. Some reports have lost their umlauts.
LANGUAGE_WORDS = {
    "de": re.compile(
        r"rhythmus|rhythmie|kardie\b|\w+typ\b|\w*schenkel\w*|vorhof|niederspannung|störung|veränderung|ventrikuläre|"
        r"\b(?:normales|sonst|abnormales|unspezifisches|nicht|und|oder|verdacht|infarkt|nach|bei|mit|alter)\b"
    ),
    "en": re.compile(
        r"\b(?:rhythm|arrhythmia|bradycardia|tachycardia|contraction|waves?|bundle|axis|left|right|the|this|with|of|is|"
        r"are|no|trace|only|otherwise|ecg|infarction)\b"
    ),
    "sv": re.compile(
        r"rytm\w*|arytmi\w*|kardi\b|el-axel|vänster\w*|höger\w*|skänkel\w*|förmak\w*|förändring\w*|kammar\w*|"
        r"\b(?:normalt|eljest|såsom|vid|förlopp|avvikande|möjligen|låga?|inget|och)\b"
    ),
}


@dataclass
class PtbXlSettings(SourceSettings):
    """Settings of [`PtbXl`]."""

    sampling_rate: Literal[500, 100] = field(
        default=500,
        metadata={"help": "which published version to read, in Hz; with --n_samples the exam table's rate too"},
    )
    table_sampling_rate: int | None = field(
        default=None,
        metadata={"help": f"Hz of the exam table; default {SAMPLING_RATE}, with --n_samples that of --sampling_rate"},
    )
    labels: Literal["code6", "superclass", "subclass", "form", "rhythm", "all"] = field(
        default="code6",
        metadata={
            "help": "CODE's six, or the statements of scp_statements.csv: 5 superclasses, 23 subclasses, ... all"
        },
    )
    min_likelihood: int = field(
        default=0,
        metadata={"help": "a statement given with a lower likelihood (1 to 100) leaves its label unknown"},
    )
    validation_folds: list[int] = field(default_factory=lambda: [9], metadata={"help": "strat_fold of validation"})
    test_folds: list[int] = field(default_factory=lambda: [10], metadata={"help": "strat_fold of test; others train"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_likelihood <= 100:
            raise ValueError(f"--min_likelihood must lie between 0 and 100: found {self.min_likelihood}")
        chosen = [*self.validation_folds, *self.test_folds]
        if len(set(chosen)) != len(chosen) or not set(chosen) <= set(FOLDS):
            raise ValueError(
                f"--validation_folds and --test_folds must be different numbers from 1 to 10: found {chosen}"
            )

    def table_rate(self) -> int:
        """Returns the Hz of the exam table."""
        return self.table_sampling_rate or (SAMPLING_RATE if self.n_samples is None else self.sampling_rate)

    def split_of_fold(self) -> dict[int, str]:
        """Returns the split of each fold."""
        split = dict.fromkeys(FOLDS, "train") | dict.fromkeys(self.validation_folds, "validation")
        return split | dict.fromkeys(self.test_folds, "test")


@dataclass(frozen=True)
class Statements:
    """
    Labels by the SCP-ECG statements that make them.

    Args:
        labels (`tuple[Label]`): In the order of the table.
        codes (`dict[str, frozenset[str]]`): Statements of each label; one of them is enough.
    """

    labels: tuple[Label, ...]
    codes: dict[str, frozenset[str]]


class PtbXl(EcgBuilder):
    """
    Reads PTB-XL.

    Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", PhysioNet; split by its
    own folds (1-8, 9, 10), labels by its SCP statements.
    """

    config: PtbXlSettings

    def plan(self) -> ExamPlan:
        """Returns the exams of `ptbxl_database.csv` whose record is there."""
        folder, config = Path(self.config.source_dir), self.config
        statements = read_statements(folder / "scp_statements.csv", config.labels)
        exams, rejected = read_database(folder / "ptbxl_database.csv", config, statements)
        is_there = [(folder / f"{record}.hea").is_file() for record in exams["location"]]
        if len(exams) and not any(is_there):
            refuse_other_rate(folder, config.sampling_rate)
        absent = exams[~np.array(is_there, dtype=bool)]
        pairs = zip(absent["exam_id"], absent["location"], strict=True)
        rejected += [Rejection(exam_id, "record not found", f"{record}.hea") for exam_id, record in pairs]
        found = len(exams) + len(rejected) - len(absent)
        exams = exams[is_there].reset_index(drop=True)
        validation, test = (
            ", ".join(map(str, sorted(folds))) for folds in (config.validation_folds, config.test_folds)
        )
        reports, words_left = exams["report"].dropna(), WordsLeft()
        for report in reports:
            words_left.look(report)
        facts = {
            "source": "ptbxl",
            "source_version": file_version(folder / "ptbxl_database.csv"),
            "split_rule": f"the source's strat_fold: {validation} validation, {test} test, the others train",
            "ages_above_89": f"given as {ANONYMISED_AGE} by the source, as {OLDEST_AGE:g} here",
            "reports": {
                "sections": False,
                **words_left.record(),
                "free_of_conclusions": False,
                "languages": dict(Counter(map(language_of, reports)).most_common()),
                "languages_by": "words; the source does not state the language",
                "note": "The reports have no sections: the whole report is the text, and it states the diagnoses.",
            },
        }
        return ExamPlan(exams, "ptbxl", found, rejected, facts, statements.labels)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the WFDB records."""
        yield from read_wfdb_records(Path(self.config.source_dir), exams)


def language_of(report: str) -> str:
    """Returns `"de"`, `"en"` or `"sv"`, whichever has most of its words in a report, or `"unclear"` in a tie."""
    text = report.lower()
    counts = Counter({language: len(words.findall(text)) for language, words in LANGUAGE_WORDS.items()})
    (first, most), (_, next_most) = counts.most_common(2)
    return first if most > next_most else "unclear"


def refuse_other_rate(folder: Path, sampling_rate: int) -> None:
    """Raises `ValueError` where a folder holds the other published version alone."""
    for other in RECORD_COLUMNS:
        if other != sampling_rate and any((folder / f"records{other}").rglob("*.hea")):
            raise ValueError(
                f"{folder}: expected the records at {sampling_rate} Hz in records{sampling_rate}/: found those at "
                f"{other} Hz alone; --sampling_rate {other} reads them"
            )


def read_statements(path: Path, labels: str) -> Statements:
    """
    Returns the labels of a set, and the statements of each.

    Args:
        path (`Path`): `scp_statements.csv`, which `"code6"` does not need.
        labels (`str`): See [`PtbXlSettings`].

    Raises:
        `FileNotFoundError`, `ValueError`: for a file that is missing, or another one.
    """
    if labels == "code6":
        return Statements(CODE_LABELS, {label: frozenset((code,)) for label, code in SCP_CODES.items()})
    index = read_index(path, STATEMENT_COLUMNS)
    rows = index.assign(code=index.iloc[:, 0])
    kinds = {"superclass": "diagnostic", "subclass": "diagnostic"}
    if labels != "all":
        rows = rows[pd.to_numeric(rows[kinds.get(labels, labels)], errors="coerce") == 1]
    of_label: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    column = {"superclass": "diagnostic_class", "subclass": "diagnostic_subclass"}.get(labels, "code")
    for row in rows.to_dict("records"):
        of_label.setdefault(row[column], []).append(row["code"])
        titles[row[column]] = row["description"] if len(of_label[row[column]]) == 1 else row[column]
    if labels == "superclass":
        of_label = {name: of_label[name] for name in SUPERCLASSES if name in of_label}
        titles = SUPERCLASSES
    if not of_label:
        raise ValueError(f"{path}: expected statements of the set {labels}, found none")
    codes = {name: frozenset(statements) for name, statements in of_label.items()}
    return Statements(tuple(Label(name, titles[name]) for name in of_label), codes)


def read_database(path: Path, settings: PtbXlSettings, statements: Statements) -> tuple[pd.DataFrame, list[Rejection]]:
    """
    Returns the exams of `ptbxl_database.csv` with the columns of an [`ExamPlan`], and those without a patient.

    Args:
        path (`Path`): The file.
        settings (`PtbXlSettings`): Its `sampling_rate` decides which record `location` names.
        statements (`Statements`): From [`read_statements`].

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    index = read_index(path, (*INDEX_COLUMNS, RECORD_COLUMNS[settings.sampling_rate]))
    exam_ids = id_strings(index["ecg_id"])
    refuse_duplicates(exam_ids, path)
    split_of_fold = settings.split_of_fold()
    folds, sexes = numbers(index["strat_fold"], path, exam_ids), numbers(index["sex"], path, exam_ids)
    for values, known in ((folds, split_of_fold), (sexes.dropna(), SEXES)):
        wrong = ~values.isin(known)
        if wrong.any():
            i = wrong.idxmax()
            raise ValueError(
                f"{path}, exam {exam_ids[i]}, column {values.name}: expected one of {', '.join(map(str, known))}, "
                f"found {index[values.name][i]!r}"
            )
    ages = numbers(index["age"], path, exam_ids)
    reports = index["report"].str.strip()
    locations = index[RECORD_COLUMNS[settings.sampling_rate]].str.strip()
    columns = {
        "exam_id": exam_ids,
        "patient_id": id_strings(blanked(index["patient_id"])),
        "split": folds.map(split_of_fold),
        "age": ages.where(ages < ANONYMISED_AGE, OLDEST_AGE).where(ages.notna()),
        "sex": sexes.map(SEXES).astype(object).where(sexes.notna(), None),
        "report": reports.astype(object).where(reports != "", None),
        "part": [str(PurePosixPath(location).parent) for location in locations],
        "location": locations,
    }
    codes = [_scp_codes(cell, exam_id, path) for cell, exam_id in zip(index["scp_codes"], exam_ids, strict=True)]
    columns |= {
        name: np.array([_label(one, of_label, settings.min_likelihood) for one in codes], np.int8)
        for name, of_label in statements.codes.items()
    }
    exams = pd.DataFrame(columns)
    no_patient = exams["patient_id"] == ""
    rejected = [Rejection(exam_id, "no patient_id") for exam_id in exams["exam_id"][no_patient]]
    return exams[~no_patient].reset_index(drop=True), rejected


def _label(stated: dict[str, float], codes: frozenset[str], min_likelihood: int) -> int:
    """1, 0 or unknown, of an exam's statements with their likelihood; one of `codes` is enough."""
    likelihoods = [likelihood for code, likelihood in stated.items() if code in codes]
    if not likelihoods:
        return 0
    return 1 if any(one == 0 or one >= min_likelihood for one in likelihoods) else UNKNOWN_LABEL


def _scp_codes(cell: str, exam_id: str, path: Path) -> dict[str, float]:
    """The statements of one exam with their likelihood."""
    try:
        codes = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        codes = None
    if not isinstance(codes, dict) or not all(isinstance(value, int | float) for value in codes.values()):
        raise ValueError(f"{path}, exam {exam_id}, column scp_codes: expected {{'CODE': likelihood}}, found {cell!r}")
    return codes


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(PtbXl, PtbXlSettings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
