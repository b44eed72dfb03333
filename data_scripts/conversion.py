"""The run of a converter: from a source folder to an exam table that is whole and checked, or to an error.

The builder's Arrow files are moved into place, so there is never a second copy of the data.
"""

import csv
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import DatasetDict, DatasetInfo, load_from_disk
from datasets.exceptions import DatasetGenerationError
from datasets.fingerprint import generate_random_fingerprint

from data_scripts.base import FACTS_FILE, EcgBuilder
from data_scripts.schema import EXAM_FEATURES, NO_REPORT, SPLITS, UNKNOWN_LABEL, check_exam_table, check_patients
from data_scripts.writing import written_aside
from modeling_ecgclip.configuration_ecgclip import LABEL_NAMES, N_SAMPLES, SAMPLING_RATE


BYTES_PER_FILE = 1_000_000_000


@dataclass
class ConversionArguments:
    """Command line that every converter has."""

    source_dir: str = field(metadata={"help": "folder of the source as it was published"})
    output_dir: str = field(metadata={"help": "where the exam table goes"})
    num_proc: int = field(default=1, metadata={"help": "processes that read and write; the rows are the same"})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "replace the exam table in output_dir"})
    repair_nan: bool = field(default=False, metadata={"help": "interpolate NaN instead of rejecting the exam"})
    max_rejected_fraction: float = field(
        default=0.1,
        metadata={"help": "fail above this share of rejected exams among those whose recording is present"},
    )

    def __post_init__(self) -> None:
        if self.num_proc < 1:
            raise ValueError(f"--num_proc must be at least 1: found {self.num_proc}")
        if not 0 <= self.max_rejected_fraction <= 1:
            raise ValueError(f"--max_rejected_fraction must lie in [0, 1]: found {self.max_rejected_fraction}")


def run_conversion(builder_class: type[EcgBuilder], arguments: ConversionArguments, **settings: Any) -> dict[str, Any]:
    """
    Converts a source into the exam table `arguments.output_dir` and returns what `conversion.json` says.

    The folder appears when it is whole: the Arrow files and `dataset_dict.json` (`load_from_disk`), `README.md`
    (`load_dataset`), `rejected.csv` and `conversion.json`.

    Args:
        builder_class (`type[EcgBuilder]`): The converter.
        arguments (`ConversionArguments`): Its command line.
        settings: Further fields of the builder's config.

    Raises:
        `FileNotFoundError`: where there is no source folder.
        `FileExistsError`: where the output folder exists, and is not an exam table that may be overwritten.
        `ValueError`: for a source that cannot be read, or more rejected exams than allowed.
    """
    source_dir, output_dir = Path(arguments.source_dir), Path(arguments.output_dir)
    if not source_dir.is_dir():
        raise FileNotFoundError(f"--source_dir {source_dir}: no such folder")
    check_output_dir(output_dir, arguments.overwrite_output_dir)
    with written_aside(output_dir) as aside:
        work = aside / "work"
        builder = builder_class(
            cache_dir=str(work / "cache"),
            dataset_name="exams",
            source_dir=str(source_dir),
            repair_nan=arguments.repair_nan,
            **settings,
        )
        try:
            builder.download_and_prepare(
                output_dir=str(work / "tables"), num_proc=arguments.num_proc, max_shard_size=BYTES_PER_FILE
            )
        except DatasetGenerationError as error:
            if isinstance(error.__cause__, OSError | ValueError):
                raise error.__cause__ from error
            raise
        table = _move_into_place(work / "tables", aside)
        plan, rejected = _collect_rejections(work / "tables")
        kept = sum(len(rows) for rows in table.values())
        if plan["found"] != kept + len(rejected):
            raise RuntimeError(
                f"{source_dir}: {plan['found']} records found, but {kept} kept and {len(rejected)} rejected"
            )
        _check_rejections(source_dir, kept, len(plan["rejected"]), rejected, arguments.max_rejected_fraction)
        check_exam_table(table, str(output_dir))
        record = _conversion_record(builder, table, plan, rejected, settings | {"repair_nan": arguments.repair_nan})
        _write_records(aside, record, rejected)
        del table  # its memory maps, before the folder gets another name
        shutil.rmtree(work)
    print_summary(record, output_dir)
    return record


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Refuses a folder that exists and is not an exam table which may be overwritten."""
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
        positive = ", ".join(f"{label} {count['positive']}" for label, count in counts["labels"].items())
        note = "" if counts["exams"] else "; training needs exams in every split"
        print(f"  {split}: {counts['exams']} exams of {counts['patients']} patients ({positive}){note}")
    print(f"  reports: {json.dumps(record['reports'], ensure_ascii=False)}")
    print(f"  quality: {record['quality'] or 'no flags'}")
    print(f"  written to {output_dir}")


def _move_into_place(tables: Path, folder: Path) -> DatasetDict:
    """Gives the builder's Arrow files the names and the two small files that `load_from_disk` looks for."""
    for split in SPLITS:
        files = sorted(tables.glob(f"exams-{split}*.arrow"))
        (folder / split).mkdir()
        names = [f"data-{i:05d}-of-{len(files):05d}.arrow" for i in range(len(files))]
        for file, new_name in zip(files, names, strict=True):
            os.rename(file, folder / split / new_name)
        state = {
            "_data_files": [{"filename": new_name} for new_name in names],
            "_fingerprint": generate_random_fingerprint(),
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        (folder / split / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
        DatasetInfo(features=EXAM_FEATURES).write_to_directory(str(folder / split), pretty_print=True)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(SPLITS)}), encoding="utf-8")
    return load_from_disk(str(folder))


def _collect_rejections(tables: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The plan's facts, and all rejections: the plan's, then those of each shard in order."""
    plan = json.loads((tables / FACTS_FILE).read_text(encoding="utf-8"))
    rejected = list(plan["rejected"])
    for path in sorted(tables.glob("rejected-*.json")):
        rejected += json.loads(path.read_text(encoding="utf-8"))
    return plan, rejected


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
    table: DatasetDict,
    plan: dict[str, Any],
    rejected: list[dict[str, str]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What `conversion.json` says; paths, the only settings in text, are left out, since the table travels."""
    patients = check_patients(table, "the conversion")
    splits, quality, n_reports, report_ids = {}, Counter(), 0, set()
    for split, rows in table.items():
        labels = rows.data.column("labels").combine_chunks().flatten().to_numpy().reshape(-1, len(LABEL_NAMES))
        counts = {
            label: {
                "positive": int((values == 1).sum()),
                "negative": int((values == 0).sum()),
                "unknown": int((values == UNKNOWN_LABEL).sum()),
            }
            for label, values in zip(LABEL_NAMES, labels.T, strict=True)
        }
        splits[split] = {"exams": len(rows), "patients": patients[split], "labels": counts}
        quality.update(pc.list_flatten(rows.data.column("quality")).to_pylist())
        ids = rows.data.column("report_id").to_numpy()
        n_reports += int((ids != NO_REPORT).sum())
        report_ids.update(ids[ids != NO_REPORT].tolist())
    facts = dict(plan["facts"])
    reports = {"exams_with_report": n_reports, "distinct_reports": len(report_ids)} | facts.pop("reports", {})
    return {
        "converter": type(builder).__name__,
        "source": facts.pop("source"),
        "found": plan["found"],
        "kept": sum(len(rows) for rows in table.values()),
        "rejected": len(rejected),
        "rejected_by_reason": dict(Counter(record["reason"] for record in rejected).most_common()),
        "splits": splits,
        "reports": reports,
        "quality": dict(quality.most_common()),
        "sampling_rate_hz": SAMPLING_RATE,
        "settings": {name: value for name, value in settings.items() if not isinstance(value, str)},
        "versions": {name: version(name) for name in ("datasets", "numpy", "pyarrow", "scipy")},
        **facts,
    }


def _write_records(folder: Path, record: dict[str, Any], rejected: list[dict[str, str]]) -> None:
    with open(folder / "rejected.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["record", "reason", "detail"])
        writer.writeheader()
        writer.writerows(rejected)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (folder / "conversion.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(record), encoding="utf-8")


def _readme(record: dict[str, Any]) -> str:
    """The header by which `load_dataset` finds the splits, and what a reader should know."""
    # `load_dataset` stops at a split without rows; `load_from_disk` opens it.
    filled = [split for split, one in record["splits"].items() if one["exams"]]
    files = "\n".join(f"  - split: {split}\n    path: {split}/data-*.arrow" for split in filled)
    rows = "\n".join(f"| {split} | {one['exams']} | {one['patients']} |" for split, one in record["splits"].items())
    return f"""---
configs:
- config_name: default
  data_files:
{files}
---

# Exam table: {record["source"]}

12-lead ECGs at {SAMPLING_RATE} Hz in the schema of ecgclip: `ecg` holds 12 x {N_SAMPLES} whole microvolts, one lead
after the other, zero-padded on both sides to {N_SAMPLES} samples; `labels` are {", ".join(LABEL_NAMES)} (0, 1, -1
unknown). `conversion.json` states the source, the counts and the settings, `rejected.csv` the records that were left
out and why.

| split | exams | patients |
|---|---|---|
{rows}

{record["kept"]} of {record["found"]} records were kept. No patient is in two splits.
"""
