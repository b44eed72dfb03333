"""Splits an ECG report into description, conclusion and labels, and says where these contradict each other.

The description alone goes to the text tower: conclusion and labels would give the answer away. Headings are looked for
in four languages; what a conclusion states is read in Portuguese alone.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from common.checksums import unchanged
from data_scripts.text.cells import blanked
from data_scripts.text.folding import fold
from data_scripts.text.headings import check_headings, find_headings, opening_heading
from data_scripts.text.languages import PORTUGUESE
from data_scripts.text.words_left import WordsLeft, mask_diagnoses, names_diagnosis
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES, UNKNOWN_LABEL


# The paper's text spells one label in two ways.
LABEL_ALIASES = {"1aavb": "1dAVb", "1davb": "1dAVb", "iavb": "1dAVb"}
LABEL_ALIASES |= {label.lower(): label for label in LABEL_NAMES}

# All patterns meet text without accents and in lower case.
LABEL_HEADING = re.compile(
    r"\b(?:labels?|rotulos?)\s*[:=]?\s*(?=\{)|\b(?:labels?|rotulos?)\s*[:=]|(?=\{[^{}]*(?:1[ad]avb|[rl]bbb)[^{}]*\})"
)
LABEL_ENTRY = re.compile(r"[\"']?(\w+)[\"']?\s*[:=]\s*[\"']?(-?\d+(?:\.0+)?|true|false|sim|nao)\b")
LABEL_VALUES = {"0": 0, "1": 1, "-1": UNKNOWN_LABEL, "true": 1, "false": 0, "sim": 1, "nao": 0}

# What a conclusion says when it states a label. "Bloqueio da divisao anterossuperior do ramo esquerdo" is a fascicular
# block and "bloqueio incompleto" is not the label either: neither matches.
NOT_INCOMPLETE = r"(?!\s+(?:incompleto|de\s+(?:1|primeiro)))"
STATEMENTS = {
    "1dAVb": re.compile(
        r"bloqueio\s+(?:atrio\s*-?\s*ventricular|a\.?\s*-?v\.?)\s+(?:d[eo]\s+)?(?:1|primeiro)\s*[oa\u00b0]?\.?\s*grau"
        r"|\bbav\s+(?:d[eo]\s+)?(?:1|i\b|primeiro)(?:\s*[oa\u00b0]?\.?\s*grau)?"
    ),
    "RBBB": re.compile(rf"(?:bloqueio\s+(?:completo\s+)?(?:de|do|no)\s+ramo\s+direito|\bbc?rd\b){NOT_INCOMPLETE}"),
    "LBBB": re.compile(rf"(?:bloqueio\s+(?:completo\s+)?(?:de|do|no)\s+ramo\s+esquerdo|\bbc?re\b){NOT_INCOMPLETE}"),
    "SB": re.compile(r"bradicardia\s+(?:de\s+origem\s+)?sinusal|ritmo\s+sinusal\s+bradicardico"),
    "AF": re.compile(r"fibrilacao(?:\s*(?:/|ou)\s*flutter)?\s+atrial|\bfa\b"),
    "ST": re.compile(r"taquicardia\s+(?:de\s+origem\s+)?sinusal|ritmo\s+sinusal\s+taquicardico"),
}
NEGATION = re.compile(
    r"\b(?:sem|nao|ausencia|ausente|ausentes|nega|exclui\w*|descart\w*|afast\w*|reversao|revertid\w*)\b"
)
DOUBT = re.compile(r"\b(?:possivel|possiveis|provavel|provaveis|suspeita|sugestiv[oa]s?|sugere|talvez|ou)\b|\?")
CLAUSE_END = re.compile(r"[.;,:\n]|\b\d+\s*[-.)]\s+|\be\b|\bcom\b")

CHUNK_ROWS = 20_000  # rows of a report table in memory at a time


@dataclass(frozen=True)
class ParsedReport:
    """
    The parts of one report.

    Args:
        description (`str`): What the tracing looks like; `""` where the report has none.
        conclusion (`str`): What follows its heading; `""` where there is none.
        labels (`dict[str, int]`): Label line by canonical name: 0, 1, or -1 for unknown; empty where there is none.
        stated (`dict[str, int]`):
            What the conclusion says of each label: 1 stated, 0 not stated or denied, -1 stated with doubt; empty
            without a conclusion under a Portuguese heading.
        conflicts (`tuple[str, ...]`):
            Labels whose value in the label line contradicts the conclusion.
        has_heading (`bool`):
            Whether the report is marked off at all. Without any heading the description is the whole text, and whoever
            uses it should know.
    """

    description: str
    conclusion: str
    labels: dict[str, int]
    stated: dict[str, int]
    conflicts: tuple[str, ...]
    has_heading: bool


def parse_report(report: str, conclusion_headings: Sequence[str] = ()) -> ParsedReport:
    """
    Returns the parts of a report; text without accents, in any case and with any spacing and line breaks will do.

    Sections may come in any order; text before the first heading is description.

    Args:
        report (`str`): The report as written.
        conclusion_headings (`Sequence[str]`): Words that head a conclusion, beside those of `languages.py`.

    Raises:
        `TypeError`: for anything but text.
        `ValueError`: for a heading without a letter.

    Source: the example in the appendix of Fernandes et al., whose label line contradicts its own conclusion.
    """
    return _parse(report, check_headings(conclusion_headings))


class ReportCutter:
    """
    Cuts the reports of a table, one after the other, and keeps what is to be known of all of them.

    Args:
        conclusion_headings (`Sequence[str]`, *optional*): See [`parse_report`].
        masked (`bool`, defaults to `False`): Whether words that name a diagnosis are masked in descriptions.
    """

    def __init__(self, conclusion_headings: Sequence[str] | None = None, masked: bool = False) -> None:
        self.own_headings = check_headings(conclusion_headings)
        self.masked = masked
        self.counts: Counter[str] = Counter()
        self.words_left = WordsLeft()

    def cut(self, report: str) -> ParsedReport:
        """Returns the parts of a report, and counts them."""
        parts = _parse(report, self.own_headings)
        named = names_diagnosis(parts.description)
        if named and self.masked:
            description = mask_diagnoses(parts.description)
            # A mask alone describes nothing.
            parts = replace(parts, description=description if any(map(str.isalpha, description)) else "")
        self.words_left.look(parts.description)
        self.counts.update(
            _report_counts(report, parts)
            | {
                "had_diagnosis_words": int(named),
                "masked": int(named and self.masked),
                "without_heading_with_diagnosis_words": int(
                    not parts.has_heading and names_diagnosis(parts.description)
                ),
            }
        )
        return parts

    def facts(self) -> dict[str, Any]:
        """
        Returns the counts, the diagnosis words that descriptions still hold, and what follows from both.

        Returns:
            `dict` with, among others, `had_diagnosis_words` (descriptions that named a diagnosis), `masked`
            (descriptions in which it was masked), what [`WordsLeft.record`] says of the descriptions as they are then,
            `sections` (whether any report had a heading) and `free_of_conclusions`. That is true where no description
            names a diagnosis, and no more than half of the reports lack a heading: of an archive that has headings one
            report without, whose text names nothing, states no conclusion; but where headings are not known, the
            language may not be known either, and then no word is found.
        """
        with_text, headless = self.counts["reports"] - self.counts["empty"], self.counts["without_heading"]
        words = self.words_left.record()
        return (
            dict(self.counts)
            | words
            | {
                "sections": headless < with_text,
                "free_of_conclusions": words["with_diagnosis_words"] == 0 and 2 * headless <= with_text,
            }
        )


def free_of_conclusions(reports: Mapping[str, Any]) -> bool | None:
    """
    Returns whether texts are known to state no diagnosis, None where nobody read them for it.

    Args:
        reports (`Mapping`): What a `conversion.json` of any version says of the reports. Earlier ones call texts free
            that were cut at headings alone, whatever stands above these.
    """
    stated, named = reports.get("free_of_conclusions"), reports.get("with_diagnosis_words")
    if named is None:
        return None if stated else stated
    return bool(stated) and named == 0


def _parse(report: str, own_headings: tuple[str, ...]) -> ParsedReport:
    if not isinstance(report, str):
        raise TypeError(f"a report must be text: found {type(report).__name__} {report!r}")
    text = unicodedata.normalize("NFC", report)
    plain = fold(text)
    headings = find_headings(plain, own_headings)
    marks: list[tuple[int, int, str]] = [(heading.start, heading.end, heading.section) for heading in headings]
    marks += [(match.start(), match.end(), "labels") for match in LABEL_HEADING.finditer(plain)]
    marks.sort()
    sections: dict[str, list[str]] = {"description": [], "conclusion": [], "labels": []}
    ends = [start for start, _, _ in marks] + [len(text)]
    for (_, begin, name), end in zip([(0, 0, "description"), *marks], ends, strict=True):
        section = text[begin:end]
        if name == "labels":
            section, rest = _cut_label_line(section)
            sections["description"].append(rest)
        sections[name].append(section)
    description = _tidy(" ".join(sections["description"]))
    concluded = [heading.language for heading in headings if heading.section == "conclusion"]
    description = description[opening_heading(fold(description), bool(concluded)) :]
    conclusion = _tidy(" ".join(sections["conclusion"])).lstrip(".: ")
    labels = _read_labels(" ".join(sections["labels"]))
    # What other languages call a diagnosis is not known here: nothing is stated, rather than denied.
    known = conclusion and PORTUGUESE.name in concluded
    stated = {label: _stated(conclusion, label) for label in LABEL_NAMES} if known else {}
    conflicts = tuple(
        label for label in LABEL_NAMES if labels and stated and {labels.get(label, -1), stated[label]} == {0, 1}
    )
    has_heading = any(section != "description" for _, _, section in marks)
    return ParsedReport(description, conclusion, labels, stated, conflicts, has_heading)


def read_report_table(path: str | Path) -> Iterator[pd.DataFrame]:
    """
    Yields a report table in pieces, with the columns `exam_id` and `report`, both text.

    A blank report is `""`, and so is one that says NA, nan, NULL, - or the like and nothing else.

    Args:
        path (`str` or `Path`): `.csv` (UTF-8, comma) or `.parquet`, with the columns `exam_id` and `report`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for another kind of file, missing columns, text that is not UTF-8, an exam with two reports, or a
            file that changes meanwhile.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"report table {path}: no such file")
    readers = {".csv": _read_csv_pieces, ".parquet": _read_parquet_pieces}
    if path.suffix.lower() not in readers:
        raise ValueError(f"report table {path}: expected {' or '.join(readers)}, found {path.suffix or 'no suffix'}")
    seen: set[str] = set()
    try:
        with unchanged(path):
            for piece in readers[path.suffix.lower()](path):
                ids = id_strings(piece["exam_id"])
                twice = ids[ids.duplicated() | ids.isin(seen)]
                if len(twice):
                    raise ValueError(f"report table {path}: exam {twice.iloc[0]} has more than one report")
                seen.update(ids)
                reports = blanked(piece["report"].fillna("").astype(str).astype(object))
                yield pd.DataFrame({"exam_id": ids, "report": reports})
    except UnicodeDecodeError as error:
        raise ValueError(f"report table {path}: expected UTF-8 text, found {error.object[error.start]:#x}") from error
    except (pd.errors.ParserError, pa.ArrowInvalid) as error:
        raise ValueError(f"report table {path}: cannot be read: {error}") from error


def id_strings(ids: pd.Series) -> pd.Series:
    """Returns identifiers as text: 5, "5 " and, as pandas and PTB-XL write it, 5.0 all give "5"; blank gives ""."""
    return ids.astype("string").fillna("").str.strip().str.replace(r"^(\d+)\.0$", r"\1", regex=True).astype(object)


def _report_counts(report: str, parts: ParsedReport) -> dict[str, int]:
    """What one report adds to the counts of a table."""
    counts = {
        "reports": 1,
        "empty": int(not report.strip()),
        "without_heading": int(bool(report.strip()) and not parts.has_heading),
        "without_description": int(bool(report.strip()) and not parts.description),
        "with_labels": int(bool(parts.labels)),
        "conflicts": int(bool(parts.conflicts)),
    }
    return counts | {f"conflicts_{label}": int(label in parts.conflicts) for label in LABEL_NAMES}


def _read_csv_pieces(path: Path) -> Iterator[pd.DataFrame]:
    columns = list(pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns) if path.stat().st_size else []
    _check_columns(path, columns)
    yield from pd.read_csv(
        path,
        usecols=["exam_id", "report"],
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
        chunksize=CHUNK_ROWS,
    )


def _read_parquet_pieces(path: Path) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names)
        for batch in file.iter_batches(CHUNK_ROWS, columns=["exam_id", "report"]):
            yield batch.to_pandas()


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [column for column in ("exam_id", "report") if column not in columns]
    if missing:
        raise ValueError(
            f"report table {path}: missing columns {', '.join(missing)}; found {', '.join(columns) or 'none'}"
        )


def _cut_label_line(section: str) -> tuple[str, str]:
    """What belongs to a label line, up to its closing brace or the end of its line, and what follows it."""
    body = section.lstrip()
    end = body.find("}" if body.startswith("{") else "\n")
    if end < 0:
        return body, ""
    return body[: end + 1], body[end + 1 :].lstrip(" .;\r\n")


def _tidy(text: str) -> str:
    """One space between words; equal descriptions with other line breaks shall be one text."""
    return re.sub(r"\s+", " ", text).strip()


def _read_labels(section: str) -> dict[str, int]:
    """Label line to values by canonical name; names that are no label of ours are left out."""
    labels = {}
    for name, value in LABEL_ENTRY.findall(fold(section)):
        if name in LABEL_ALIASES and value.removesuffix(".0") in LABEL_VALUES:
            labels[LABEL_ALIASES[name]] = LABEL_VALUES[value.removesuffix(".0")]
    return labels


def _stated(conclusion: str, label: str) -> int:
    """1 where the conclusion states the label, 0 where it does not or denies it, -1 where it doubts."""
    plain = fold(conclusion)
    answers = set()
    for match in STATEMENTS[label].finditer(plain):
        # What denies or doubts it stands in the same clause, before it.
        before = CLAUSE_END.split(plain[: match.start()])[-1]
        after = plain[match.end() : match.end() + 3]
        answers.add(0 if NEGATION.search(before) else -1 if DOUBT.search(before) or "?" in after else 1)
    return 1 if 1 in answers else -1 if -1 in answers else 0
