"""Publishes an exam table as Parquet, with a card: in a folder, and on the Hub.

    python -m data_scripts.publish --dataset_name_or_path O --repo_id USER/NAME [--public] [--include_text_table]

The folder holds `data/{split}-{i}-of-{n}.parquet`, `README.md`, and the conversion's own records. It is private on the
Hub unless `--public` says otherwise.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict
from datasets.utils import tqdm
from datasets.utils.py_utils import convert_file_size_to_int

from common.arguments import Parser
from common.checksums import SUMS_FILE, file_digest, read_checksums, verify_data, write_checksums
from common.commands import exit_status
from common.hub_access import check_repo_id, open_repository, publish_folder
from common.locks import only_writer
from common.writing import put_in_place, remove, written_aside
from data_scripts.embed_reports import RECORD_FILE, TEXT_TABLE_FOLDER
from data_scripts.tables.digest import combined_digest, row_digests
from data_scripts.tables.schema import (
    SPLITS,
    conversion_record,
    exam_columns,
    load_exam_table,
    refuse_chained_name,
    schema_of,
)
from publishing.dataset_card import check_record, dataset_card, table_facts


# 25 MB as the file stores it before compression: the Hub's viewer reads a row group at a time, and so does a stream.
ROWS_PER_GROUP = 128
# Neighbouring samples differ little: with zstd this takes 0.38 of the int16 values' size, plain values take 0.57.
ENCODING = {"ecg.list.element": "DELTA_BINARY_PACKED"}
REPEATING_COLUMNS = ["source", "sex"]
DIGEST_KEY = "ecgclip.rows_sha256"
OWN_FILES = ("README.md", "conversion.json", "rejected.csv", SUMS_FILE)
BUILD_SUFFIX = ".incomplete"


@dataclass
class PublishArguments:
    """What to publish, and where."""

    dataset_name_or_path: str = field(metadata={"help": "exam table: a folder or a data set id on the Hub"})
    repo_id: str | None = field(
        default=None, metadata={"help": "USER/NAME on the Hub; left out, only a folder is made"}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "folder for the Parquet files; left out, `parquet` in the exam table's folder"}
    )
    public: bool = field(default=False, metadata={"help": "show the data set to everybody"})
    max_shard_size: str = field(default="500MB", metadata={"help": "size of a file, before compression"})
    include_text_table: bool = field(default=False, metadata={"help": "publish the embeddings of the reports too"})
    verify: bool = field(default=True, metadata={"help": "compare the exam table's files with its SHA256SUMS first"})
    license: str | None = field(
        default=None, metadata={"help": "the Hub's id of the licence, for sources whose licence is not known"}
    )

    def __post_init__(self) -> None:
        is_folder = Path(self.dataset_name_or_path).is_dir()
        if self.repo_id is not None:
            check_repo_id(self.repo_id)
        elif self.output_dir is None:
            raise ValueError("expected --repo_id, --output_dir, or both: found neither")
        if self.output_dir is None and not is_folder:
            raise ValueError(
                f"--dataset_name_or_path {self.dataset_name_or_path} is no folder here: name an --output_dir for "
                "the files"
            )
        if self.include_text_table and not is_folder:
            raise ValueError("--include_text_table needs the exam table's folder, where the embeddings lie")
        if self.max_shard_bytes < 1:
            raise ValueError(f"--max_shard_size must be at least a byte: found {self.max_shard_size}")

    @property
    def max_shard_bytes(self) -> int:
        """`--max_shard_size` as a number."""
        try:
            return convert_file_size_to_int(self.max_shard_size)
        except ValueError as error:
            raise ValueError(
                f"--max_shard_size: expected a number with a unit, such as 500MB: found {self.max_shard_size!r}"
            ) from error

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return Path(self.output_dir) if self.output_dir else Path(self.dataset_name_or_path, "parquet")


def main(argv: Sequence[str] | None = None) -> Path:
    """Writes the folder, publishes it where a repository is named, and returns the folder."""
    (arguments,) = Parser(__doc__, PublishArguments).parse_args_into_dataclasses(args=argv)
    if arguments.repo_id:
        open_repository(arguments.repo_id, "dataset", arguments.public)  # fails before an hour of writing
    with only_writer(arguments.folder):  # of what it holds, until it is published
        _write_and_publish(arguments)
    return arguments.folder


def _write_and_publish(arguments: PublishArguments) -> None:
    name = arguments.dataset_name_or_path
    table = load_exam_table(name, verify=arguments.verify)
    write_publication(
        table,
        arguments.folder,
        name=name,
        record=conversion_record(name),
        source_folder=Path(name) if Path(name).is_dir() else None,
        repo_id=arguments.repo_id,
        max_shard_bytes=arguments.max_shard_bytes,
        include_text_table=arguments.include_text_table,
        licence=arguments.license,
    )
    n_exams = sum(len(rows) for rows in table.values())
    print(f"{n_exams} exams written to {arguments.folder}")
    if arguments.repo_id:
        url = publish_folder(
            arguments.folder,
            arguments.repo_id,
            "dataset",
            arguments.public,
            delete_patterns=["data/*.parquet", f"{TEXT_TABLE_FOLDER}/*"],
            commit_message=f"{n_exams} exams",
        )
        print(f"published {'for everybody' if arguments.public else 'privately'}: {url}")
        print(f'load_dataset("{arguments.repo_id}"), or --dataset_name_or_path {arguments.repo_id}')


def write_publication(
    table: DatasetDict,
    folder: str | Path,
    name: str,
    record: dict[str, Any] | None = None,
    source_folder: Path | None = None,
    repo_id: str | None = None,
    max_shard_bytes: int = 500_000_000,
    include_text_table: bool = False,
    licence: str | None = None,
) -> None:
    """
    Writes an exam table as Parquet files with a card and the digests of all files (`SHA256SUMS`).

    The folder appears when it is whole. What an interrupted call, or an earlier publication in the same place, wrote
    is used again where it holds the same rows and is what was written.

    Args:
        table (`DatasetDict`): From [`load_exam_table`].
        folder (`str` or `Path`): Where to; replaced where it holds an earlier publication.
        name (`str`): Of the table, for messages.
        record (`dict`, *optional*): What its `conversion.json` says.
        source_folder (`Path`, *optional*): Where `rejected.csv` and the text tables lie.
        repo_id (`str`, *optional*): Where it will be published, for the card.
        max_shard_bytes (`int`, defaults to 500 MB): Of one file, before compression.
        include_text_table (`bool`, defaults to `False`): Copy the text tables too.
        licence (`str`, *optional*): The Hub's id, for sources whose licence is not known.

    Raises:
        `FileExistsError`: where the folder holds something else.
        `FileNotFoundError`: where text tables are wanted and there is none.
        `ValueError`: for a table without exams, or one that its record does not describe.
    """
    folder = Path(folder)
    check_publication_folder(folder)
    facts = table_facts(table, record)
    if not any(split["exams"] for split in facts["splits"].values()):
        raise ValueError(f"exam table {name}: expected exams to publish, found none")
    if record:
        check_record(record, facts, name)
    build = folder.with_name(folder.name + BUILD_SUFFIX)
    (build / "data").mkdir(parents=True, exist_ok=True)
    files, digest = write_shards(table, build, folder, max_shard_bytes)
    if record and record.get("digest", digest) != digest:
        raise ValueError(
            f"exam table {name}: conversion.json states the digest {record['digest']}, but the rows have {digest}: "
            "the table was damaged or changed; convert the source again"
        )
    remove(build / TEXT_TABLE_FOLDER)
    text_tables = copy_text_tables(source_folder, build) if include_text_table else []
    if record:
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (build / "conversion.json").write_text(text + "\n", encoding="utf-8")
    if source_folder and (source_folder / "rejected.csv").is_file():
        text = (source_folder / "rejected.csv").read_text(encoding="utf-8")
        (build / "rejected.csv").write_text(without_folders(text), encoding="utf-8")
    sizes = {split: table[split].data.nbytes for split in SPLITS}
    sizes["download"] = sum((build / path).stat().st_size for of_split in files.values() for path in of_split)
    dataset = repo_id or f"./{folder.name}"
    card = dataset_card(facts, record, files, sizes, repo_id, dataset, licence, text_tables, digest)
    (build / "README.md").write_text(str(card).rstrip() + "\n", encoding="utf-8")
    written = {path for of_split in files.values() for path in of_split}
    write_checksums(build, known={path: digest for path, digest in read_checksums(build).items() if path in written})
    put_in_place(build, folder)


def check_publication_folder(folder: Path) -> None:
    """Raises `FileExistsError` where a folder holds anything that no publication writes; of a name, `ValueError`."""
    refuse_chained_name(folder)
    if not folder.exists():
        return
    paths = (
        [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()] if folder.is_dir() else [folder]
    )
    for path in paths:
        is_shard = path.parts[0] == "data" and path.suffix == ".parquet"
        if not (is_shard or path.parts[0] == TEXT_TABLE_FOLDER or str(path) in OWN_FILES):
            raise FileExistsError(f"{folder} holds {path}, which no publication wrote: choose another --output_dir")


def write_shards(
    table: DatasetDict, build: Path, earlier: Path, max_shard_bytes: int
) -> tuple[dict[str, list[str]], str]:
    """
    Writes the Parquet files that are not there yet, and removes those that do not belong to the table.

    Args:
        table (`DatasetDict`): The rows.
        build (`Path`): Folder to write into, perhaps with what an interrupted call left.
        earlier (`Path`): Folder with files that may be used again; it need not exist.
        max_shard_bytes (`int`): Of one file, before compression.

    Returns:
        `tuple`: the files of each split as paths in the repository, and the digest of all rows.
    """
    shards = []  # split, path in the repository, first row, row after the last
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        rows = table[split]
        n_shards = -(-rows.data.nbytes // max_shard_bytes) if len(rows) else 0
        n_shards = min(n_shards, len(rows))
        for i in range(n_shards):
            path = f"data/{split}-{i:05d}-of-{n_shards:05d}.parquet"
            files[split].append(path)
            shards.append((split, path, i * len(rows) // n_shards, (i + 1) * len(rows) // n_shards))
    wanted = {path for of_split in files.values() for path in of_split}
    for stale in (build / "data").iterdir():
        if f"data/{stale.name}" not in wanted:
            remove(stale)
    digests: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    for split, path, start, stop in tqdm(shards, desc="Writing Parquet", unit=" files"):
        digests[split].append(write_shard(table[split], start, stop, build / path, earlier / path))
        write_checksums(build, [path])
    return files, combined_digest(digests)


def write_shard(rows: Dataset, start: int, stop: int, path: Path, earlier: Path) -> bytes:
    """
    Makes sure that a Parquet file holds some rows of a split, and returns their digests (16 bytes for each row).

    Args:
        rows (`datasets.Dataset`): A split of an exam table.
        start (`int`): First row.
        stop (`int`): Row after the last.
        path (`Path`): Where the file belongs.
        earlier (`Path`): A file that may hold the same rows.
    """
    schema = schema_of(rows)
    candidates = [file for file in (path, earlier) if stated_digest(file) is not None and is_whole(file)]
    if candidates:
        digests = b"".join(row_digests(group, schema) for group in _row_groups(rows, start, stop))
        for file in candidates:
            if stated_digest(file) != hashlib.sha256(digests).hexdigest():
                continue
            if file != path:
                with written_aside(path) as aside:
                    _link_or_copy(file, aside)
            return digests
    pieces = []
    with (
        written_aside(path) as aside,
        pq.ParquetWriter(
            aside,
            exam_columns(rows).arrow_schema,
            compression="zstd",
            use_dictionary=REPEATING_COLUMNS,
            column_encoding=ENCODING,
            write_page_index=True,
        ) as writer,
    ):
        for group in _row_groups(rows, start, stop):
            writer.write_table(group, row_group_size=ROWS_PER_GROUP)
            pieces.append(row_digests(group, schema))
        digests = b"".join(pieces)
        writer.add_key_value_metadata({DIGEST_KEY: hashlib.sha256(digests).hexdigest()})
    return digests


def is_whole(path: Path) -> bool:
    """
    Tells whether a Parquet file of a publication is what was written there; says so where it is not.

    Of files that earlier releases wrote, nothing is known.
    """
    folder = path.parents[1]
    stated = read_checksums(folder).get(path.relative_to(folder).as_posix())
    if stated is None or file_digest(path) == stated:
        return stated is not None
    print(f"{path} is not what was written there (expected SHA-256 {stated}): written anew", file=sys.stderr)
    return False


def stated_digest(path: Path) -> str | None:
    """Returns what a Parquet file of a publication says of its rows; None for no file, a broken or another one."""
    try:
        stated = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return stated.get(DIGEST_KEY.encode(), b"").decode() or None


def copy_text_tables(source_folder: Path | None, build: Path) -> list[dict[str, Any]]:
    """
    Copies the embeddings of the reports, and returns what their records say, with their `name`.

    Raises:
        `FileNotFoundError`: where there are none; the message has the command that makes them.
        `ValueError`: for a file that differs from its digest.
    """
    records = sorted((source_folder / TEXT_TABLE_FOLDER).glob(f"*/{RECORD_FILE}")) if source_folder else []
    if not records:
        raise FileNotFoundError(
            f"--include_text_table: found no {TEXT_TABLE_FOLDER}/*/{RECORD_FILE} in {source_folder}; make one with "
            f"python -m data_scripts.embed_reports --dataset_name_or_path {source_folder} "
            "--text_model_name_or_path MODEL"
        )
    tables = []
    for path in records:
        verify_data(path.parent)
        shutil.copytree(path.parent, build / TEXT_TABLE_FOLDER / path.parent.name)
        tables.append({"name": path.parent.name} | json.loads(path.read_text(encoding="utf-8")))
    return tables


def without_folders(text: str) -> str:
    """
    Returns a text with each absolute path cut to its last part: where files lay is nobody's business.

    Names of folders may hold spaces, but not begin or end with one, as what stands between two paths does.
    """
    part = r"[^/\s,;:'\"](?:[^/\n,;:'\"]*[^/\s,;:'\"])?"
    return re.sub(rf"(?<![\w./:])/(?:{part}/)+", "", text)


def _row_groups(rows: Dataset, start: int, stop: int) -> Iterator[pa.Table]:
    """The rows from `start` to before `stop`, a row group at a time, with the exam table's columns alone."""
    schema, table = exam_columns(rows).arrow_schema, rows.with_format("arrow")
    for first in range(start, stop, ROWS_PER_GROUP):
        yield table[first : min(first + ROWS_PER_GROUP, stop)].select(schema.names).cast(schema)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs [`main`] for a terminal; returns the exit status."""
    return exit_status(lambda: main(argv))
