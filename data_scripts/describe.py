"""Measures the ECGs of an exam table and describes them in words: reports for a table that has none.

    python -m data_scripts.describe --dataset_name_or_path exams --output_dir exams_described [--language pt|en]

The texts say what is seen and measured, never a diagnosis; no physician wrote or read them. The new table is the old
one but for the columns `report` and `report_id`. A run that was ended goes on with the same command.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datasets import Dataset, DatasetDict, Features

from common.arguments import Parser
from common.commands import exit_status
from data_scripts.conversion import describing
from data_scripts.conversion.describing import Piece, Wording
from data_scripts.conversion.run import (
    PACKAGES,
    WORK,
    check_output_dir,
    code_digest,
    continue_or_start,
    incomplete_table,
    open_written,
    write_record,
)
from data_scripts.conversion.shards import ROWS_PER_BLOCK, ROWS_PER_SHARD
from data_scripts.tables.digest import combined_digest, row_digests
from data_scripts.tables.schema import (
    SPLITS,
    ExamSchema,
    check_patients,
    conversion_record,
    exam_columns,
    label_counts,
    load_exam_table,
    schema_of,
)
from data_scripts.text.words_left import WordsLeft, lines_of
from modeling_ecgclip import __version__
from modeling_ecgclip.losses_ecgclip import NO_REPORT


EXPLANATIONS = "explained.jsonl"
NAMES = {"pt": "Portuguese", "en": "English"}


@dataclass
class DescribeArguments:
    """What to describe, and how."""

    dataset_name_or_path: str = field(metadata={"help": "exam table: a folder or a data set id on the Hub"})
    output_dir: str = field(metadata={"help": "where the exam table with descriptions goes"})
    dataset_revision: str | None = field(default=None, metadata={"help": "of an exam table on the Hub"})
    language: Literal["pt", "en"] = field(default="pt", metadata={"help": "Portuguese or English"})
    wording: Literal["varied", "plain"] = field(
        default="varied",
        metadata={
            "help": "varied: by many hands with habits, as reports of a clinic are; plain: all that was measured, "
            "with numbers, always in the same words"
        },
    )
    seed: int = field(default=0, metadata={"help": "of the varied wording"})
    explain: bool = field(
        default=False,
        metadata={"help": f"also write {EXPLANATIONS}: the leads, values and samples that each sentence rests on"},
    )
    num_proc: int = field(default=1, metadata={"help": "processes that measure; the rows are the same"})
    overwrite_reports: bool = field(
        default=False, metadata={"help": "describe also where the table has reports, and drop those"}
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "replace the exam table in output_dir"})

    def __post_init__(self) -> None:
        if self.num_proc < 1:
            raise ValueError(f"--num_proc must be at least 1: found {self.num_proc}")
        if Path(self.output_dir).resolve() == Path(self.dataset_name_or_path).resolve():
            raise ValueError(f"--output_dir {self.output_dir} is the table that is read: name another folder")

    def table_wording(self) -> Wording:
        """Returns how the exams are told of."""
        return Wording(self.language, self.wording == "plain", self.seed, self.explain)


@dataclass
class Descriptions:
    """
    What was written.

    Args:
        ids (`dict[str, int]`): `report_id` of each distinct text, in the order of first use.
        exams (`int`): That have a text.
        reasons (`Counter[str]`): Why others have none.
        words (`WordsLeft`): What was looked for in the texts.
    """

    ids: dict[str, int] = field(default_factory=dict)
    exams: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    words: WordsLeft = field(default_factory=WordsLeft)

    def count(self, found: dict[str, Any]) -> None:
        """Counts the texts of a piece."""
        self.reasons.update(found["reasons"])
        for text in found["texts"]:
            if text is not None:
                self.exams += 1
                self.words.look(text)
                self.ids.setdefault(text, len(self.ids))

    def facts(self, arguments: DescribeArguments) -> dict[str, Any]:
        """Returns what `conversion.json` says of the reports."""
        words = self.words.record()
        return {
            "exams_with_report": self.exams,
            "distinct_reports": len(self.ids),
            "reports": self.exams,
            "described_by": f"ecgclip {__version__}",
            "language": arguments.language,
            "languages": {arguments.language: self.exams},
            "wording": arguments.wording,
            "seed": arguments.seed,
            "exams_without_description": dict(self.reasons.most_common()),
            "sections": False,
            **words,
            "free_of_conclusions": words["with_diagnosis_words"] == 0,
            "note": f"Described in {NAMES[arguments.language]} by ecgclip {__version__} from measurements of the ECG, "
            "not by a physician.",
        }


def described_rows(
    rows: Dataset, features: Features, pieces: Sequence[Piece], folder: Path, ids: dict[str, int]
) -> Iterator[pa.Table]:
    """
    Yields a split with its new reports, a block of rows at a time.

    Args:
        rows (`datasets.Dataset`): The split as it was.
        features (`datasets.Features`): Its columns.
        pieces (`list[Piece]`): Of this split, in order.
        folder (`Path`): Where their texts lie.
        ids (`dict[str, int]`): Of the texts.
    """
    columns = rows.select_columns(list(features)).with_format("arrow")
    schema = features.arrow_schema
    for piece in pieces:
        texts = _texts(folder, piece)["texts"]
        for start in range(piece.start, piece.stop, ROWS_PER_BLOCK):
            block = columns[start : min(start + ROWS_PER_BLOCK, piece.stop)]
            of_block = texts[start - piece.start :][: block.num_rows]
            report_ids = [NO_REPORT if text is None else ids[text] for text in of_block]
            for name, values in (("report", of_block), ("report_id", report_ids)):
                place = block.schema.get_field_index(name)
                block = block.set_column(place, schema.field(name), pa.array(values, schema.field(name).type))
            yield block.cast(schema)


def _texts(folder: Path, piece: Piece) -> dict[str, Any]:
    found = describing.finished_piece(folder, piece)
    if found is None:
        raise OSError(f"{folder / piece.file}: expected the texts of {piece}, which were written, found none")
    return found


def write_split(folder: Path, split: str, blocks: Iterator[pa.Table], n_rows: int, schema: ExamSchema) -> list[bytes]:
    """
    Writes a split's Arrow files, `ROWS_PER_SHARD` rows in each, and returns the digests of its rows, in pieces.

    Args:
        folder (`Path`): Of the table.
        split (`str`): Its name.
        blocks (`Iterator[pyarrow.Table]`): Its rows, at most `ROWS_PER_BLOCK` at a time.
        n_rows (`int`): How many there are.
        schema (`ExamSchema`): Of the table.
    """
    (folder / split).mkdir(exist_ok=True)
    digests: list[bytes] = []
    block = next(blocks, None)
    for name in _file_names(n_rows):
        written = 0
        with pa.OSFile(str(folder / split / name), "wb") as sink:
            writer = None
            while block is not None and written < ROWS_PER_SHARD:
                writer = writer or pa.ipc.new_stream(sink, block.schema)
                writer.write_table(block)
                digests.append(row_digests(block, schema))
                written += block.num_rows
                block = next(blocks, None)
            if writer is not None:
                writer.close()
    return digests


def _file_names(n_rows: int) -> list[str]:
    n_files = -(-n_rows // ROWS_PER_SHARD)
    return [f"data-{number:05d}-of-{n_files:05d}.arrow" for number in range(n_files)]


def _describe(table: DatasetDict, folder: Path, arguments: DescribeArguments) -> dict[str, Any]:
    """Fills the incomplete folder and returns what `conversion.json` says."""
    schema, wording, pieces = schema_of(table), arguments.table_wording(), describing.plan_pieces(table)
    identity = {
        "table": {split: rows._fingerprint for split, rows in table.items()},
        "wording": asdict(wording),
        "rows_per_piece": describing.ROWS_PER_PIECE,
        "code": code_digest(describing),
        "versions": {name: version(name) for name in PACKAGES},
    }
    continue_or_start(folder, identity)
    texts = folder / WORK / "shards"
    describing.describe_pieces(table, texts, wording, pieces, arguments.num_proc)
    told = Descriptions()
    for piece in pieces:
        told.count(_texts(texts, piece))
    features, digests = {}, {}
    for split, rows in table.items():
        features[split] = exam_columns(rows)
        of_split = [piece for piece in pieces if piece.split == split]
        blocks = described_rows(rows, features[split], of_split, texts, told.ids)
        digests[split] = write_split(folder, split, blocks, len(rows), schema)
    digest = combined_digest(digests)
    names = {split: _file_names(len(rows)) for split, rows in table.items()}
    made = open_written(folder, features[SPLITS[0]], names, digest)
    if wording.explain:
        _write_explanations(folder / EXPLANATIONS, texts, pieces)
    rejected = Path(arguments.dataset_name_or_path, "rejected.csv")
    if rejected.is_file():
        shutil.copyfile(rejected, folder / rejected.name)
    known = conversion_record(arguments.dataset_name_or_path, arguments.dataset_revision)
    record = _record(known or {}, made, schema, told.facts(arguments)) | {"digest": digest}
    write_record(folder, record)
    return record


def _write_explanations(path: Path, texts: Path, pieces: Sequence[Piece]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for piece in pieces:
            for line in _texts(texts, piece)["explained"]:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _record(known: dict[str, Any], table: DatasetDict, schema: ExamSchema, reports: dict[str, Any]) -> dict[str, Any]:
    """The record of the conversion, true but for the reports; where there is none, what the table tells."""
    patients = check_patients(table, "the described table")
    exams = sum(len(rows) for rows in table.values())
    sources = sorted({source for rows in table.values() for source in rows.unique("source")})
    told = {"source": ", ".join(sources), "found": exams, "kept": exams, "rejected": 0, "rejected_by_reason": {}}
    splits = {
        split: {"exams": len(rows), "patients": patients[split], "labels": label_counts(rows, schema.label_names)}
        for split, rows in table.items()
    }
    return told | {"quality": {}} | schema.to_dict() | known | {"splits": splits, "reports": reports}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """
    Describes; returns what `conversion.json` says.

    Raises:
        `ValueError`: where the table has reports already, and they are not to be dropped.
    """
    (arguments,) = Parser(__doc__, DescribeArguments).parse_args_into_dataclasses(args=argv)
    output_dir = Path(arguments.output_dir)
    check_output_dir(output_dir, arguments.overwrite_output_dir)
    table = load_exam_table(arguments.dataset_name_or_path, arguments.dataset_revision)
    n_reports = sum(int((rows.data.column("report_id").to_numpy() != NO_REPORT).sum()) for rows in table.values())
    if n_reports and not arguments.overwrite_reports:
        raise ValueError(
            f"exam table {arguments.dataset_name_or_path}: {n_reports} exams have a report: describe them anew with "
            "--overwrite_reports, in a table of their own"
        )
    with incomplete_table(output_dir, arguments.overwrite_output_dir) as folder:
        record = _describe(table, folder, arguments)
    reports = record["reports"]
    print(f"{reports['exams_with_report']} of {record['kept']} exams described: {reports['note']}")
    for reason, count in reports["exams_without_description"].items():
        print(f"  without: {count} x {reason}")
    print(f"  {reports['distinct_reports']} distinct texts; written to {output_dir}")
    for line in lines_of(reports["diagnosis_words_left"]):
        print(f"  {line}")
    return record


if __name__ == "__main__":
    sys.exit(exit_status(main))
