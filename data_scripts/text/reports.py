"""Splits a Portuguese ECG report into description, conclusion and labels, and says where these contradict each other.

The description alone goes to the text tower: conclusion and labels would give the answer away.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES
from modeling_ecgclip.labels_ecgclip import UNKNOWN_LABEL


# The paper's text spells one label in two ways.
LABEL_ALIASES = {"1aavb": "1dAVb", "1davb": "1dAVb", "iavb": "1dAVb"}
LABEL_ALIASES |= {label.lower(): label for label in LABEL_NAMES}

# All patterns meet text without accents and in lower case.
CONCLUSION_WORDS = re.compile(
    r"\b(?:conclus(?:ao|oes)(?:\s+diagnostica)?|impressao(?:\s+diagnostica)?|(?:hipoteses?\s+)?diagnostic[ao]s?)\b"
)
# Within a sentence the words are a heading only before a colon, a dash or a list: "sem conclusao definida" is none.
HEADING_MARK = re.compile(r"\s*[:\u2013\u2014-]|\s+(?=\d\s*[-.)\u2013])")
LABEL_HEADING = re.compile(
    r"\b(?:labels?|rotulos?)\s*[:=]?\s*(?=\{)|\b(?:labels?|rotulos?)\s*[:=]|(?=\{[^{}]*(?:1[ad]avb|[rl]bbb)[^{}]*\})"
)
DESCRIPTION_HEADING = re.compile(
    r"^\s*(?:descricao|laudo|analise)(?:\s+(?:do\s+)?(?:ecg|eletrocardiograma))?\s*[:\-]\s*"
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
            without a conclusion.
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


def parse_report(report: str) -> ParsedReport:
    """
    Returns the parts of a report; text without accents, in any case and with any spacing and line breaks will do.

    Sections may come in any order; text before the first heading is description.

    Args:
        report (`str`): The report as written.

    Raises:
        `TypeError`: for anything but text.

    Source: the example in the appendix of Fernandes et al., whose label line contradicts its own conclusion.
    """
    if not isinstance(report, str):
        raise TypeError(f"a report must be text: found {type(report).__name__} {report!r}")
    text = unicodedata.normalize("NFC", report)
    plain = fold(text)
    headings = _headings(plain)
    sections: dict[str, list[str]] = {"description": [], "conclusion": [], "labels": []}
    ends = [start for start, _, _ in headings] + [len(text)]
    for (_, begin, name), end in zip([(0, 0, "description"), *headings], ends, strict=True):
        section = text[begin:end]
        if name == "labels":
            section, rest = _cut_label_line(section)
            sections["description"].append(rest)
        sections[name].append(section)
    description = _tidy(" ".join(sections["description"]))
    opening = DESCRIPTION_HEADING.match(fold(description))
    if opening:
        description = description[opening.end() :]
    conclusion = _tidy(" ".join(sections["conclusion"])).lstrip(".: ")
    labels = _read_labels(" ".join(sections["labels"]))
    stated = {label: _stated(conclusion, label) for label in LABEL_NAMES} if conclusion else {}
    conflicts = tuple(
        label for label in LABEL_NAMES if labels and stated and {labels.get(label, -1), stated[label]} == {0, 1}
    )
    return ParsedReport(description, conclusion, labels, stated, conflicts, bool(headings))


def fold(text: str) -> str:
    """Returns `text` in lower case without accents, of the same length, so that places found in it hold in `text`."""
    return text.translate(_FOLDED)


class _Folded(dict):
    """Table for `str.translate` that works characters out when they are first met."""

    def __missing__(self, code: int) -> str:
        base = unicodedata.normalize("NFKD", chr(code))[0].lower()
        self[code] = base if len(base) == 1 else chr(code)
        return self[code]


_FOLDED = _Folded()


def read_report_table(path: str | Path) -> Iterator[pd.DataFrame]:
    """
    Yields a report table in pieces, with the columns `exam_id` and `report`, both text; a blank report is `""`.

    Args:
        path (`str` or `Path`): `.csv` (UTF-8, comma) or `.parquet`, with the columns `exam_id` and `report`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for another kind of file, missing columns, text that is not UTF-8, or an exam with two reports.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"report table {path}: no such file")
    readers = {".csv": _read_csv_pieces, ".parquet": _read_parquet_pieces}
    if path.suffix.lower() not in readers:
        raise ValueError(f"report table {path}: expected {' or '.join(readers)}, found {path.suffix or 'no suffix'}")
    seen: set[str] = set()
    try:
        for piece in readers[path.suffix.lower()](path):
            ids = id_strings(piece["exam_id"])
            twice = ids[ids.duplicated() | ids.isin(seen)]
            if len(twice):
                raise ValueError(f"report table {path}: exam {twice.iloc[0]} has more than one report")
            seen.update(ids)
            yield pd.DataFrame({"exam_id": ids, "report": piece["report"].fillna("").astype(str)})
    except UnicodeDecodeError as error:
        raise ValueError(f"report table {path}: expected UTF-8 text, found {error.object[error.start]:#x}") from error
    except (pd.errors.ParserError, pa.ArrowInvalid) as error:
        raise ValueError(f"report table {path}: cannot be read: {error}") from error


def id_strings(ids: pd.Series) -> pd.Series:
    """Returns identifiers as text: 5, "5 " and, as pandas and PTB-XL write it, 5.0 all give "5"; blank gives ""."""
    return ids.astype("string").fillna("").str.strip().str.replace(r"^(\d+)\.0$", r"\1", regex=True).astype(object)


def report_counts(report: str, parts: ParsedReport) -> dict[str, int]:
    """Returns what one report adds to the counts of a table."""
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


def _headings(plain: str) -> list[tuple[int, int, str]]:
    """Where headings start and end in folded text, and what they head, in order."""
    headings = []
    for match in CONCLUSION_WORDS.finditer(plain):
        mark = HEADING_MARK.match(plain, match.end())
        before = plain[: match.start()].rstrip(" \t\r")
        if mark or not before or before[-1] in ".;!}\n":
            headings.append((match.start(), mark.end() if mark else match.end(), "conclusion"))
    headings += [(match.start(), match.end(), "labels") for match in LABEL_HEADING.finditer(plain)]
    return sorted(headings)


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
