"""The run of a converter: from a source folder to an exam table that is whole and checked, or to an error.

All is written in a folder beside the final one, `<output_dir>.incomplete`, which gets the final name when it is whole.
A run that was killed is continued there by the same command.
"""

import csv
import errno
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import DatasetDict, DatasetInfo, Features, load_from_disk

from common.arguments import Parser
from common.checksums import SUMS_FILE, FileState, file_digest, file_state, verify_data, write_checksums
from common.locks import only_writer
from common.markdown import markdown_table
from common.project import project_modules
from common.writing import put_in_place, remove, written_aside
from data_scripts.conversion import shards
from data_scripts.conversion.builder import EcgBuilder, SourceSettings, kind_of_flag
from data_scripts.tables.digest import combined_digest
from data_scripts.tables.schema import (
    SPLITS,
    ExamSchema,
    check_exam_table,
    check_patients,
    label_counts,
    refuse_chained_name,
)
from data_scripts.text.words_left import lines_of
from modeling_ecgclip.losses_ecgclip import NO_REPORT


WORK = "work"  # below the incomplete folder: what only the conversion needs
MOST_NAMED = 12  # labels in a line of the summary
PACKAGES = ("datasets", "numpy", "pyarrow", "scipy")
# Settings that say where things lie, which is nobody else's business.
PATH_SETTINGS = ("source_dir", "table", "reports")


@dataclass
class ConversionArguments:
    """How the rows are made, and where they go."""

    output_dir: str = field(metadata={"help": "where the exam table goes"})
    num_proc: int = field(default=1, metadata={"help": "processes that read and write; the rows are the same"})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "replace the exam table in output_dir"})
    max_rejected_fraction: float = field(
        default=0.1,
        metadata={"help": "fail above this share of rejected exams among those whose recording is present"},
    )

    verify: bool = field(
        default=True, metadata={"help": "compare the source with its SHA256SUMS, where it has one, before it is read"}
    )

    def __post_init__(self) -> None:
        if self.num_proc < 1:
            raise ValueError(f"--num_proc must be at least 1: found {self.num_proc}")
        if not 0 <= self.max_rejected_fraction <= 1:
            raise ValueError(f"--max_rejected_fraction must lie in [0, 1]: found {self.max_rejected_fraction}")


def convert(
    builder_class: type[EcgBuilder],
    settings_class: type[SourceSettings],
    description: str,
    argv: Sequence[str] | None = None,
) -> dict[str, Any]:
    """
    Runs a converter's command line and returns what `conversion.json` says.

    Args:
        builder_class (`type[EcgBuilder]`): The converter.
        settings_class (`type[SourceSettings]`): Of its settings, each a flag.
        description (`str`): The docstring of the converter's file, for `--help`.
        argv (`Sequence[str]`, *optional*): The command line; left out, the program's.
    """
    parser = Parser(description, settings_class, ConversionArguments)
    settings, arguments = parser.parse_args_into_dataclasses(args=argv)
    return run_conversion(builder_class, settings, arguments)


def run_conversion(
    builder_class: type[EcgBuilder], settings: SourceSettings, arguments: ConversionArguments
) -> dict[str, Any]:
    """
    Converts a source into the exam table `arguments.output_dir` and returns what `conversion.json` says.

    The folder appears when it is whole: the Arrow files and `dataset_dict.json` (`load_from_disk`), `README.md`
    (`load_dataset`), `rejected.csv`, `conversion.json` and `SHA256SUMS`. After a kill, a full disk, Ctrl-C or a part
    that cannot be read the same call goes on with the shards that are not finished, or whose part of the source was
    changed, provided that settings, code and the source's list of exams are the same; else it starts over.

    Args:
        builder_class (`type[EcgBuilder]`): The converter.
        settings (`SourceSettings`): What decides the rows.
        arguments (`ConversionArguments`): How they are made and where they go.

    Raises:
        `FileNotFoundError`: where there is no source folder.
        `FileExistsError`: where the output folder exists, and is not an exam table that may be overwritten.
        `BlockingIOError`: where another run writes the same table.
        `OSError`: for a full disk; what is finished stays for the next run.
        `ValueError`: for a source that cannot be read, changes meanwhile or differs from its `SHA256SUMS`, or more
            rejected exams than allowed.
    """
    source_dir, output_dir = Path(settings.source_dir), Path(arguments.output_dir)
    if not source_dir.is_dir():
        raise FileNotFoundError(f"--source_dir {source_dir}: no such folder")
    check_output_dir(output_dir, arguments.overwrite_output_dir)
    with incomplete_table(output_dir, arguments.overwrite_output_dir) as folder:
        builder = builder_class(settings, folder / WORK, arguments.num_proc)
        record = _convert(builder, folder, arguments)
    print_summary(record, output_dir)
    return record


@contextmanager
def incomplete_table(output_dir: Path, overwrite: bool) -> Iterator[Path]:
    """
    Yields the folder in which a table is made, and gives it its name when the block ends.

    Where an error or Ctrl-C ends the block, the folder stays for the next run if `work/shards` holds a finished shard;
    else it is removed.

    Args:
        output_dir (`Path`): Of the table.
        overwrite (`bool`): Replace an exam table that is there.

    Raises:
        `BlockingIOError`: where another run writes the same table.
        `FileExistsError`: as [`check_output_dir`].
    """
    folder = output_dir.with_name(f"{output_dir.name}.incomplete")
    keep = False
    with only_writer(output_dir):
        check_output_dir(output_dir, overwrite)  # another run may have finished meanwhile
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        try:
            yield folder
            shutil.rmtree(folder / WORK)
            put_in_place(folder, output_dir)
        except BaseException:
            n_finished = len(list((folder / WORK / "shards").glob("*.json")))
            keep = n_finished > 0
            if keep:
                print(f"{folder} keeps {n_finished} finished shards: the same command goes on there", file=sys.stderr)
            raise
        finally:
            if not keep:
                remove(folder)


def _convert(builder: EcgBuilder, folder: Path, arguments: ConversionArguments) -> dict[str, Any]:
    """Fills the incomplete folder, checks it, and returns what `conversion.json` says."""
    if arguments.verify:
        verify_data(builder.config.source_dir, present=True)
    plan = builder.plan()
    table = shards.plan_table(plan)
    schema = ExamSchema(builder.config.signal(), plan.labels, plan.target_names)
    n_found, facts, rejected = plan.found, plan.facts, [asdict(record) for record in plan.rejected]
    n_planned = len(rejected)
    parts = sorted(set(table["part"].to_pylist()))
    builder.states = {path: file_state(path) for path in map(builder.part_path, parts) if not path.is_dir()}
    plan_path, planned = folder / WORK / "plan.arrow", shards.plan_shards(table)
    del plan  # hundreds of megabytes of Python text, of which each process would get a copy
    with written_aside(plan_path) as aside, pa.OSFile(str(aside), "wb") as sink:
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)
    del table
    continue_or_start(folder, _identity(builder, schema, plan_path))
    _tell_changes(folder / WORK / "states.json", builder.states)
    _check_space(builder, schema, folder, planned, parts)
    records = shards.run_shards(builder, folder, plan_path, schema, planned, arguments.num_proc)
    digests: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    of_files: dict[str, str] = {}
    for record in records:
        rejected += record["rejected"]
        of_files |= record["files"]
        for split, of_shard in record["digests"].items():
            digests[split].append(bytes.fromhex(of_shard))
    digest = combined_digest(digests)
    made = _describe(folder, schema, planned, digest)
    kept = sum(len(rows) for rows in made.values())
    try:
        if n_found != kept + len(rejected):
            raise RuntimeError(
                f"{builder.config.source_dir}: {n_found} records found, but {kept} kept and {len(rejected)} rejected"
            )
        _check_rejections(Path(builder.config.source_dir), kept, n_planned, rejected, arguments.max_rejected_fraction)
        check_exam_table(made, arguments.output_dir)
    except (RuntimeError, ValueError):
        remove(folder / WORK / "shards")  # the next run would find the same
        raise
    record = _conversion_record(builder, schema, made, n_found, rejected, facts | {"digest": digest})
    _write_rejected(folder, rejected)
    write_record(folder, record, of_files)
    return record


def _identity(builder: EcgBuilder, schema: ExamSchema, plan_path: Path) -> dict[str, Any]:
    """What must be the same for finished shards to be those that this run would write; each states its own source."""
    settings = {name: value for name, value in asdict(builder.config).items() if name != "source_dir"}
    return {
        "converter": type(builder).__name__,
        "settings": settings,
        "schema": schema.to_dict(),
        "plan": file_digest(plan_path),
        "code": code_digest(sys.modules[type(builder).__module__]),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _tell_changes(path: Path, states: Mapping[Path, FileState | None]) -> None:
    """Says which parts are not those of which an interrupted run left shards, and remembers these."""
    now = {part.name: list(state) if state else None for part, state in states.items()}
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for part in states:
        if before.get(part.name, now[part.name]) != now[part.name]:
            print(f"{part} was changed since the interrupted run: its exams are read again", file=sys.stderr)
    with written_aside(path) as aside:
        aside.write_text(json.dumps(now), encoding="utf-8")


def code_digest(module: ModuleType) -> str:
    """Returns a sha256 of a module and of all the project's own modules that it imports, in their order of names."""
    path = Path(str(module.__file__)).resolve()
    files = [path, *sorted(project_modules(path, with_packages=False))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def continue_or_start(folder: Path, identity: dict[str, Any]) -> None:
    """Removes what another source, other settings or other code left in the incomplete folder."""
    path = folder / WORK / "identity.json"
    text = json.dumps(identity, sort_keys=True, default=str)
    if (folder / WORK / "shards").is_dir():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            print(f"going on in {folder}, which an interrupted run left", file=sys.stderr)
        else:
            print(f"starting over: {folder} is of another source, other settings or another version", file=sys.stderr)
            remove(folder / WORK / "shards")
            for split in SPLITS:
                remove(folder / split)
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _check_space(
    builder: EcgBuilder, schema: ExamSchema, folder: Path, planned: Sequence[shards.Shard], parts: Sequence[str]
) -> None:
    """Refuses to start what the disk cannot hold."""
    of_table = (planned[-1].stop if planned else 0) * schema.ecg_length * 2
    unpacked = sorted((builder.unpacked_bytes(part) for part in parts), reverse=True)[: builder.num_proc]
    written = sum(path.stat().st_size for split in SPLITS for path in (folder / split).glob("*.arrow"))
    needed, free = of_table + sum(unpacked) - written, shutil.disk_usage(folder).free
    if needed > free:
        note = f", {sum(unpacked) >> 20} of them for unpacked parts" if sum(unpacked) else ""
        raise OSError(
            errno.ENOSPC,
            f"{planned[-1].stop} exams need {needed >> 20} MiB{note}: found {free >> 20} MiB free",
            str(folder),
        )


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Refuses a folder that exists and is not an exam table which may be overwritten."""
    refuse_chained_name(output_dir)
    if not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir())):
        return
    if not (output_dir / "conversion.json").is_file():
        raise FileExistsError(f"--output_dir {output_dir} exists and is not an exam table: choose another folder")
    if not overwrite:
        raise FileExistsError(
            f"--output_dir {output_dir} holds an exam table: choose another folder, or replace it with "
            "--overwrite_output_dir"
        )


def print_summary(record: dict[str, Any], output_dir: Path) -> None:
    """Prints what a conversion did, in a few lines."""
    print(f"{record['source']}: {record['found']} found = {record['kept']} kept + {record['rejected']} rejected")
    for reason, count in record["rejected_by_reason"].items():
        print(f"  rejected: {count} x {reason}")
    for split, counts in record["splits"].items():
        positives = [f"{label} {count['positive']}" for label, count in counts["labels"].items()]
        more = [f"and {len(positives) - MOST_NAMED} more labels"] if len(positives) > MOST_NAMED else []
        positive = ", ".join(positives[:MOST_NAMED] + more)
        note = "" if counts["exams"] else "; training needs exams in every split"
        patients = ", patients unknown" if "patients" in record else f" of {counts['patients']} patients"
        print(f"  {split}: {counts['exams']} exams{patients} ({positive}){note}")
    reports = dict(record["reports"])
    left = reports.pop("diagnosis_words_left", None)
    print(f"  reports: {in_words(reports)}")
    for line in [] if left is None else lines_of(left):
        print(f"  {line}")
    flags = [f"{flag} {count}" for flag, count in record["quality"].items()]
    print(f"  quality: {', '.join(flags) or 'no flags'}")
    print(f"  written to {output_dir}")


def in_words(facts: Mapping[str, Any], between: str = "; ") -> str:
    """Returns facts of a record as a terminal shows them: of `{"a_b": 3, "c": {"d": True}}`, `a b 3; c (d yes)`."""
    return between.join(f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in facts.items())


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({in_words(value, ', ')})"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _describe(folder: Path, schema: ExamSchema, planned: Sequence[shards.Shard], digest: str) -> DatasetDict:
    """Adds what a table needs beside its Arrow files, one of them for splits without rows, and opens it."""
    names = {split: [Path(shard.files[split]).name for shard in planned if split in shard.files] for split in SPLITS}
    return open_written(folder, schema.features, names, digest)


def open_written(folder: Path, features: Features, names: Mapping[str, list[str]], digest: str) -> DatasetDict:
    """
    Adds to the Arrow files the small files that `load_from_disk` looks for, and opens the table.

    Args:
        folder (`Path`): Of the table.
        features (`datasets.Features`): Its columns.
        names (`dict[str, list[str]]`): The files of each split in their order; a split without any gets an empty one.
        digest (`str`): Of its rows.
    """
    for split in SPLITS:
        of_split = names[split] or ["data-00000-of-00001.arrow"]
        if not names[split]:
            with pa.OSFile(str(folder / split / of_split[0]), "wb") as sink:
                pa.ipc.new_stream(sink, features.arrow_schema).close()
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in of_split],
            "_fingerprint": hashlib.sha256(f"{digest}:{split}".encode()).hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        (folder / split / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
        DatasetInfo(features=features).write_to_directory(str(folder / split), pretty_print=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}), encoding="utf-8")
    return load_from_disk(str(folder))


def _check_rejections(
    source_dir: Path, kept: int, n_planned: int, rejected: list[dict[str, str]], allowed: float
) -> None:
    """Refuses a table without exams, or one that lost more of the recordings that were present than allowed."""
    read = kept + len(rejected) - n_planned
    lost = rejected[n_planned:] if kept else rejected
    if kept and len(lost) <= allowed * read:
        return
    examples = {record["reason"]: record for record in reversed(lost)}.values()
    listed = "; ".join(f"exam {one['record']}: {one['reason']} {one['detail']}".rstrip() for one in examples)
    if not kept:
        raise ValueError(f"{source_dir}: no exam could be kept of {len(rejected)} found. {listed}")
    raise ValueError(
        f"{source_dir}: {len(lost)} of {read} recordings were rejected, more than --max_rejected_fraction {allowed} "
        f"allows. {listed}"
    )


def _conversion_record(
    builder: EcgBuilder,
    schema: ExamSchema,
    table: DatasetDict,
    n_found: int,
    rejected: list[dict[str, str]],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What `conversion.json` says; paths are left out, since the table travels."""
    patients = check_patients(table, "the conversion")
    quality: Counter[str] = Counter()
    splits, n_reports, report_ids = {}, 0, set()
    for split, rows in table.items():
        counts = label_counts(rows, schema.label_names)
        splits[split] = {"exams": len(rows), "patients": patients[split], "labels": counts}
        quality.update(map(kind_of_flag, pc.list_flatten(rows.data.column("quality")).to_pylist()))
        ids = rows.data.column("report_id").to_numpy()
        n_reports += int((ids != NO_REPORT).sum())
        report_ids.update(ids[ids != NO_REPORT].tolist())
    facts = dict(facts)
    reports = {"exams_with_report": n_reports, "distinct_reports": len(report_ids)} | facts.pop("reports", {})
    return {
        "converter": type(builder).__name__,
        "source": facts.pop("source"),
        "found": n_found,
        "kept": sum(len(rows) for rows in table.values()),
        "rejected": len(rejected),
        "rejected_by_reason": dict(Counter(record["reason"] for record in rejected).most_common()),
        "splits": splits,
        "reports": reports,
        "quality": dict(quality.most_common()),
        **schema.to_dict(),
        "settings": {name: value for name, value in asdict(builder.config).items() if name not in PATH_SETTINGS},
        "versions": {name: version(name) for name in PACKAGES},
        **facts,
    }


def _write_rejected(folder: Path, rejected: list[dict[str, str]]) -> None:
    with open(folder / "rejected.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["record", "reason", "detail"])
        writer.writeheader()
        writer.writerows(rejected)


def write_record(folder: Path, record: dict[str, Any], known: dict[str, str] | None = None) -> None:
    """
    Writes `conversion.json`, for `load_dataset` and readers `README.md`, and last the digests of the table's files.

    Args:
        folder (`Path`): Of the table, which has all its other files.
        record (`dict`): What `conversion.json` says.
        known (`dict[str, str]`, *optional*): Digests of files, by path, that need not be computed again.
    """
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / "conversion.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(record), encoding="utf-8")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    remove(folder / SUMS_FILE)  # of a run that was killed at the end
    write_checksums(folder, [path.as_posix() for path in files if path.parts[0] not in (WORK, SUMS_FILE)], known)


def _readme(record: dict[str, Any]) -> str:
    """The header by which `load_dataset` finds the splits, and what a reader should know."""
    # `load_dataset` stops at a split without rows; `load_from_disk` opens it.
    filled = [split for split, one in record["splits"].items() if one["exams"]]
    files = "\n".join(f"  - split: {split}\n    path: {split}/data-*.arrow" for split in filled)
    rows = [("split", "exams", "patients")]
    patients = record.get("patients")
    rows += [
        (split, one["exams"], "unknown" if patients else one["patients"]) for split, one in record["splits"].items()
    ]
    split_note = f"Split by exam; patients unknown ({patients})." if patients else "No patient is in two splits."
    signal, labels = record["signal"], ", ".join(label["name"] for label in record["labels"])
    n_leads, n_samples = len(signal["lead_names"]), signal["n_samples"]
    origin = f" Reports: {record['reports']['note']}" if "note" in record["reports"] else ""
    return f"""---
configs:
- config_name: default
  data_files:
{files}
---

# Exam table: {record["source"]}

ECGs of {n_leads} leads at {signal["sampling_rate"]} Hz in the schema of ecgclip: `ecg` holds {n_leads} x {n_samples}
whole microvolts, one lead after the other ({", ".join(signal["lead_names"])}), zero-padded on both sides to
{n_samples} samples; `labels` are {labels} (0, 1, -1 unknown). `conversion.json` states the source, the counts and the
settings, `rejected.csv` the records that were left out and why.

{markdown_table(rows, right=())}

{record["kept"]} of {record["found"]} records were kept. {split_note}{origin}
"""
