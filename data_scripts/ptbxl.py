"""PTB-XL as published on PhysioNet to an exam table.

python -m data_scripts.ptbxl --source_dir D --output_dir O [--sampling_rate 500|100] [--min_likelihood 0..100]
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, SourceSettings
from data_scripts.conversion.index import file_version, numbers, read_index, refuse_duplicates
from data_scripts.conversion.run import convert
from data_scripts.conversion.wfdb import read_wfdb_records
from data_scripts.text.reports import id_strings
from modeling_ecgclip.losses_ecgclip import UNKNOWN_LABEL
from modeling_ecgclip.reading_ecgclip import EcgRecord


# SCP-ECG statement of each label. A likelihood of 0 means that none was given, as with all statements on rhythm.
SCP_CODES = {"1dAVb": "1AVB", "RBBB": "CRBBB", "LBBB": "CLBBB", "SB": "SBRAD", "AF": "AFIB", "ST": "STACH"}
SEXES = {0: "male", 1: "female"}
SPLIT_OF_FOLD = {fold: "train" for fold in range(1, 9)} | {9: "validation", 10: "test"}
RECORD_COLUMNS = {500: "filename_hr", 100: "filename_lr"}
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

    sampling_rate: Literal[500, 100] = field(default=500, metadata={"help": "which published version to read, in Hz"})
    min_likelihood: int = field(
        default=0,
        metadata={"help": "a statement given with a lower likelihood (1 to 100) leaves its label unknown"},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.min_likelihood <= 100:
            raise ValueError(f"--min_likelihood must lie between 0 and 100: found {self.min_likelihood}")


class PtbXl(EcgBuilder):
    """
    Reads PTB-XL.

    Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", PhysioNet; split by its
    own folds (1-8, 9, 10), labels by its SCP statements.
    """

    config: PtbXlSettings

    def plan(self) -> ExamPlan:
        """Returns the exams of `ptbxl_database.csv` whose record is there."""
        folder = Path(self.config.source_dir)
        exams, rejected = read_database(
            folder / "ptbxl_database.csv", self.config.sampling_rate, self.config.min_likelihood
        )
        is_there = [(folder / f"{record}.hea").is_file() for record in exams["location"]]
        absent = exams[~np.array(is_there, dtype=bool)]
        pairs = zip(absent["exam_id"], absent["location"], strict=True)
        rejected += [Rejection(exam_id, "record not found", f"{record}.hea") for exam_id, record in pairs]
        found = len(exams) + len(rejected) - len(absent)
        exams = exams[is_there].reset_index(drop=True)
        facts = {
            "source": "ptbxl",
            "source_version": file_version(folder / "ptbxl_database.csv"),
            "split_rule": "the source's strat_fold: 1-8 train, 9 validation, 10 test",
            "ages_above_89": f"given as {ANONYMISED_AGE} by the source, as {OLDEST_AGE:g} here",
            "reports": {
                "sections": False,
                "free_of_conclusions": False,
                "languages": dict(Counter(map(language_of, exams["report"].dropna())).most_common()),
                "languages_by": "words; the source does not state the language",
                "note": "The reports have no sections: the whole report is the text, and it states the diagnoses.",
            },
        }
        return ExamPlan(exams, "ptbxl", found, rejected, facts)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the WFDB records."""
        yield from read_wfdb_records(Path(self.config.source_dir), exams)


def language_of(report: str) -> str:
    """Returns `"de"`, `"en"` or `"sv"`, whichever has most of its words in a report, or `"unclear"` in a tie."""
    text = report.lower()
    counts = Counter({language: len(words.findall(text)) for language, words in LANGUAGE_WORDS.items()})
    (first, most), (_, next_most) = counts.most_common(2)
    return first if most > next_most else "unclear"


def read_database(path: Path, sampling_rate: int, min_likelihood: int = 0) -> tuple[pd.DataFrame, list[Rejection]]:
    """
    Returns the exams of `ptbxl_database.csv` with the columns of an [`ExamPlan`], and those without a patient.

    Args:
        path (`Path`): The file.
        sampling_rate (`int`): 500 or 100; decides which record `location` names.
        min_likelihood (`int`, defaults to 0): See [`PtbXlSettings`].

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    index = read_index(path, (*INDEX_COLUMNS, RECORD_COLUMNS[sampling_rate]))
    exam_ids = id_strings(index["ecg_id"])
    refuse_duplicates(exam_ids, path)
    folds, sexes = numbers(index["strat_fold"], path, exam_ids), numbers(index["sex"], path, exam_ids)
    for values, known in ((folds, SPLIT_OF_FOLD), (sexes, SEXES)):
        wrong = ~values.isin(known) & ~(values.isna() if known is SEXES else False)
        if wrong.any():
            i = wrong.idxmax()
            raise ValueError(
                f"{path}, exam {exam_ids[i]}, column {values.name}: expected one of {', '.join(map(str, known))}, "
                f"found {index[values.name][i]!r}"
            )
    ages = numbers(index["age"], path, exam_ids)
    reports = index["report"].str.strip()
    locations = index[RECORD_COLUMNS[sampling_rate]].str.strip()
    columns = {
        "exam_id": exam_ids,
        "patient_id": id_strings(index["patient_id"]),
        "split": folds.map(SPLIT_OF_FOLD),
        "age": ages.where(ages < ANONYMISED_AGE, OLDEST_AGE).where(ages.notna()),
        "sex": sexes.map(SEXES).astype(object).where(sexes.notna(), None),
        "report": reports.astype(object).where(reports != "", None),
        "part": [str(PurePosixPath(location).parent) for location in locations],
        "location": locations,
    }
    codes = [_scp_codes(cell, exam_id, path) for cell, exam_id in zip(index["scp_codes"], exam_ids, strict=True)]
    columns |= {
        label: np.array([_label(one.get(code), min_likelihood) for one in codes], np.int8)
        for label, code in SCP_CODES.items()
    }
    exams = pd.DataFrame(columns)
    no_patient = exams["patient_id"] == ""
    rejected = [Rejection(exam_id, "no patient_id") for exam_id in exams["exam_id"][no_patient]]
    return exams[~no_patient].reset_index(drop=True), rejected


def _label(likelihood: float | None, min_likelihood: int) -> int:
    """1, 0 or unknown, of a statement's likelihood, which is None where the statement is absent."""
    if likelihood is None:
        return 0
    return 1 if likelihood == 0 or likelihood >= min_likelihood else UNKNOWN_LABEL


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
    main()
