"""CODE-15% as published, with or without a table of reports, to an exam table.

    python -m data_scripts.code15 --source_dir D [--reports FILE] --output_dir O [--num_proc N]

`exams.csv` names the exams; `exams_part{i}.hdf5` hold `exam_id` (n,) and `tracings` (n, 4096, 12) at 400 Hz, whose
value is twice the millivolts. Rows are joined by `exam_id`; each part ends in a row of zeros with `exam_id` 0. A part
may stay in its `exams_part{i}.zip`.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from datasets.utils import tqdm

from common.checksums import unchanged
from common.commands import exit_status
from common.writing import remove, written_aside
from data_scripts.conversion.builder import EcgBuilder, ExamPlan, Rejection, ReportSettings
from data_scripts.conversion.index import file_version, numbers, read_index, refuse_duplicates
from data_scripts.conversion.run import convert
from data_scripts.conversion.zipped import member_of, unpack
from data_scripts.tables.schema import SPLIT_RULE, split_of
from data_scripts.text.cells import blanked
from data_scripts.text.reports import ReportCutter, id_strings, read_report_table
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES, UNKNOWN_LABEL
from modeling_ecgclip.reading_ecgclip import HDF5_SUFFIXES, EcgRecord, code15_tracing_to_mv
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE


INDEX_COLUMNS = ("exam_id", "age", "is_male", *LABEL_NAMES, "patient_id", "trace_file")
BOOLEANS = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0, "": UNKNOWN_LABEL}
ROWS_PER_READ = 32  # 6 MB: few enough calls, and still in the processor's cache when they are converted
ROWS_AHEAD = 64  # 13 MB that the disk fetches while the rows before them are converted
MAX_READ_BYTES = 128 << 20  # whole chunks of a compressed dataset are read at once up to this size
CHUNK_CACHE_BYTES = 64 << 20  # for chunks beyond it


@dataclass
class Code15Settings(ReportSettings):
    """Settings of [`Code15`]."""

    reports: str | None = field(default=None, metadata={"help": "table with exam_id and report: .csv or .parquet"})
    seed: int = field(default=0, metadata={"help": "of the split by patient"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("conclusion_headings", "mask_diagnoses"):
            if getattr(self, name) and self.reports is None:
                raise ValueError(f"--{name} is about reports: give --reports")


class Code15(EcgBuilder):
    """
    Reads CODE-15%, and whatever is laid out like it.

    Source: Ribeiro et al., "CODE-15%: a large scale annotated dataset of 12-lead ECGs", Zenodo record 4916206.
    """

    config: Code15Settings

    def __init__(self, config: Code15Settings, work_dir: Path, num_proc: int = 1) -> None:
        super().__init__(config, work_dir, num_proc)
        self._unpacked: tuple[Path, Path] | None = None  # a zip file, and where its content lies

    def plan(self) -> ExamPlan:
        """Returns the exams of `exams.csv` joined with the rows of the parts that are there."""
        folder = Path(self.config.source_dir)
        index = read_exams_csv(folder / "exams.csv")
        remove(self.work_dir / "unpacked")  # of a killed run
        rows, n_zero_rows, rejected = read_part_rows(folder, index, self.work_dir, self.num_proc)
        exams, unusable = join_rows(index, rows)
        rejected += unusable
        exams["split"] = [split_of(patient, self.config.seed) for patient in exams["patient_id"]]
        facts: dict[str, Any] = {
            "source": "simulated" if (folder / "simulation.json").is_file() else "code15",
            "source_version": file_version(folder / "exams.csv"),
            "split_rule": SPLIT_RULE,
            "zero_rows_skipped": n_zero_rows,
        }
        exams["report"] = None
        if self.config.reports is not None:
            exams["report"], facts["reports"] = read_descriptions(
                Path(self.config.reports),
                exams["exam_id"],
                ReportCutter(self.config.conclusion_headings, self.config.mask_diagnoses),
            )
        if (folder / "simulation.json").is_file():
            facts["simulation"] = json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
        return ExamPlan(exams, facts["source"], len(exams) + len(rejected), rejected, facts)

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the tracings of one part in millivolts, without their zero padding."""
        part = exams[0]["part"]
        path = self._part_file(part)
        try:
            with h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES) as file:
                dataset = file["tracings"]
                step = _rows_per_read(dataset)
                for _, group in groupby(exams, key=lambda exam: int(exam["location"]) // step):
                    block = list(group)
                    _fetch_ahead(file, dataset, int(block[-1]["location"]) + 1)
                    tracings = read_tracings(dataset, [int(exam["location"]) for exam in block])
                    for exam, tracing in zip(block, tracings, strict=True):
                        yield _recording(exam, tracing)
        except OSError as error:
            raise ValueError(f"{self.part_path(part)}: not a readable HDF5 file, or truncated: {error}") from error

    def part_path(self, part: str) -> Path:
        """Returns the HDF5 file, or the zip file that holds it."""
        return part_path(Path(self.config.source_dir), part)

    def unpacked_bytes(self, part: str) -> int:
        """Returns the size of the HDF5 file in a zip file."""
        path = self.part_path(part)
        return member_of(path, HDF5_SUFFIXES).file_size if path.suffix == ".zip" else 0

    def close_part(self) -> None:
        """Removes what was unpacked."""
        if self._unpacked is not None:
            remove(self._unpacked[1])
            self._unpacked = None

    def _part_file(self, part: str) -> Path:
        """The HDF5 file of a part; a zipped one is unpacked, and the one before it removed."""
        path = self.part_path(part)
        if path.suffix != ".zip":
            return path
        if self._unpacked is None or self._unpacked[0] != path:
            self.close_part()
            self._unpacked = (path, unpack(path, HDF5_SUFFIXES, self.work_dir / "unpacked"))
        return self._unpacked[1]


def read_exams_csv(path: Path) -> pd.DataFrame:
    """
    Returns `exams.csv` with typed columns: `exam_id`, `patient_id`, `age`, `sex`, the labels (int8) and `trace_file`.

    Raises:
        `FileNotFoundError`, `ValueError`: naming the column and the exam, what was expected and what was found.
    """
    index = read_index(path, INDEX_COLUMNS)
    exam_ids = id_strings(index["exam_id"])
    if (exam_ids == "").any():
        raise ValueError(f"{path}: row {int((exam_ids == '').idxmax()) + 2} has no exam_id")
    refuse_duplicates(exam_ids, path)
    is_male = _booleans(index["is_male"], path, exam_ids)
    columns = {
        "exam_id": exam_ids,
        "patient_id": id_strings(blanked(index["patient_id"])),
        "age": numbers(index["age"], path, exam_ids),
        "sex": is_male.map({1: "male", 0: "female", UNKNOWN_LABEL: None}).astype(object),
        "trace_file": index["trace_file"].str.strip(),
    }
    return pd.DataFrame(columns | {label: _booleans(index[label], path, exam_ids) for label in LABEL_NAMES})


def part_path(folder: Path, part: str) -> Path:
    """Returns the file of a part: HDF5, or the zip file of the same name where there is no such HDF5 file."""
    path = folder / part
    zipped = path.with_suffix(".zip")
    return zipped if zipped.is_file() and not path.is_file() else path


@dataclass
class PartRows:
    """
    Which exams a part holds.

    Args:
        ids (`list[int]`): `exam_id` of each row, 0 where there is none.
        tracings_without_id (`list[int]`): Rows with `exam_id` 0 that are not the published rows of zeros.
    """

    ids: list[int]
    tracings_without_id: list[int]


def read_part_rows(
    folder: Path, index: pd.DataFrame, work_dir: Path, num_proc: int = 1
) -> tuple[pd.DataFrame, int, list[Rejection]]:
    """
    Returns which row of which part holds which exam, from all parts that are there.

    Args:
        folder (`Path`): Of the source.
        index (`pandas.DataFrame`): From [`read_exams_csv`].
        work_dir (`Path`): Where zipped parts are unpacked, and remembered, since unpacking takes long.
        num_proc (`int`, defaults to 1): Zipped parts that are unpacked at the same time.

    Returns:
        `tuple`: the rows (`exam_id`, `part`, `row`, in the order of parts and rows), the number of zero rows with
        `exam_id` 0, which are no exams, and rejections of rows with `exam_id` 0 that hold a tracing.

    Raises:
        `ValueError`: for a part that is no HDF5 file, is truncated, has other contents or changes; naming it.
    """
    named = set(index["trace_file"]) - {""}
    zipped = {f"{path.stem}.hdf5" for path in folder.glob("exams_part*.zip")}
    parts = sorted(named | zipped | {path.name for path in folder.glob("exams_part*.hdf5")}, key=_natural_order)
    parts = [part for part in parts if part_path(folder, part).is_file()]
    pieces, rejected, n_zero_rows = [], [], 0
    with unchanged(*(part_path(folder, part) for part in parts)), ThreadPoolExecutor(num_proc) as executor:
        found = executor.map(lambda part: _rows_of_part(part_path(folder, part), work_dir), parts)
        for part, rows in zip(
            parts, tqdm(found, desc="Reading exam ids", unit=" parts", total=len(parts)), strict=True
        ):
            ids = np.array(rows.ids, dtype=np.int64)
            for row in rows.tracings_without_id:
                rejected.append(Rejection("0", "no exam_id", f"{part}, row {row} holds a tracing"))
            n_zero_rows += int((ids == 0).sum()) - len(rows.tracings_without_id)
            exams = np.flatnonzero(ids)
            exam_ids = ids[exams].astype(str).astype(object)
            pieces.append(pd.DataFrame({"exam_id": exam_ids, "part": part, "row": exams}))
    if not pieces:
        raise ValueError(f"{folder}: none of the parts that exams.csv names is there: {', '.join(sorted(named)[:5])}")
    return pd.concat(pieces, ignore_index=True), n_zero_rows, rejected


def _rows_of_part(path: Path, work_dir: Path) -> PartRows:
    """What a part holds; of a zipped one as an earlier, killed run found it, if the file is still the same."""
    if path.suffix != ".zip":
        return _read_rows(path, path)
    stat = path.stat()
    known = work_dir / "ids" / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}.json"
    if known.is_file():
        return PartRows(**json.loads(known.read_text(encoding="utf-8")))
    unpacked = unpack(path, HDF5_SUFFIXES, work_dir / "unpacked")
    try:
        rows = _read_rows(unpacked, path)
    finally:
        remove(unpacked)
    with written_aside(known) as aside:
        aside.write_text(json.dumps(asdict(rows)), encoding="utf-8")
    return rows


def _read_rows(path: Path, name: Path) -> PartRows:
    """What an HDF5 file holds; errors call it `name`."""
    try:
        with h5py.File(path, "r") as file:
            ids = _checked_ids(file, name)
            without_id = np.flatnonzero(ids == 0).tolist()
            return PartRows(ids.tolist(), [row for row in without_id if file["tracings"][row].any()])
    except OSError as error:
        raise ValueError(f"{name}: not a readable HDF5 file, or truncated: {error}") from error


def join_rows(index: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """
    Returns the exams that have a line in `exams.csv` and a row in a part, in the order of the rows, and the others.

    An exam that several rows claim is taken from the part that `exams.csv` names, first row first.
    """
    joined = rows.merge(index, on="exam_id", how="left", indicator=True)
    joined["elsewhere"] = joined["part"] != joined["trace_file"]
    chosen = joined.sort_values("elsewhere", kind="stable").drop_duplicates("exam_id").index
    unlisted = joined["_merge"] == "left_only"
    repeated = ~joined.index.isin(chosen)
    no_patient = joined["patient_id"] == ""
    at = joined["part"] + ", row " + joined["row"].astype(str)
    reasons = [
        (repeated, "duplicate exam_id"),
        (unlisted & ~repeated, "not in exams.csv"),
        (no_patient & ~repeated, "no patient_id"),
    ]
    rejected = [
        Rejection(exam_id, reason, where)
        for mask, reason in reasons
        for exam_id, where in zip(joined["exam_id"][mask], at[mask], strict=True)
    ]
    absent = index[~index["exam_id"].isin(rows["exam_id"])]
    present = absent["trace_file"].isin(rows["part"])
    for missing, reason in ((absent[~present], "part not found"), (absent[present], "not in its part")):
        pairs = zip(missing["exam_id"], missing["trace_file"], strict=True)
        rejected += [Rejection(exam_id, reason, part) for exam_id, part in pairs]
    exams = joined[~(repeated | unlisted | no_patient)].copy()
    exams["location"] = exams["row"].astype(str)
    return exams.reset_index(drop=True), rejected


def read_descriptions(path: Path, exam_ids: pd.Series, cutter: ReportCutter) -> tuple[pd.Series, dict[str, Any]]:
    """
    Returns the description of each exam's report (None where there is none) and what is to be known of the reports.

    Args:
        path (`Path`): See [`read_report_table`].
        exam_ids (`pandas.Series`): The exams.
        cutter (`ReportCutter`): A new one.

    Raises:
        `ValueError`: where no report belongs to any exam: then the two tables are of different archives.
    """
    wanted = set(exam_ids)
    descriptions: dict[str, str] = {}
    texts: dict[str, str] = {}
    n_rows, example = 0, ""
    for piece in read_report_table(path):
        n_rows += len(piece)
        example = example or piece["exam_id"].iloc[0]
        for exam_id, report in zip(piece["exam_id"], piece["report"], strict=True):
            if exam_id in wanted:
                description = cutter.cut(report).description
                if description:
                    # One object for all equal texts: a normal ECG's description comes thousands of times.
                    descriptions[exam_id] = texts.setdefault(description, description)
    if not cutter.counts["reports"]:
        raise ValueError(
            f"report table {path}: none of its {n_rows} exam_ids is an exam of the source: expected such as "
            f"{exam_ids.iloc[0] if len(exam_ids) else 'none'}, found such as {example or 'none'}"
        )
    facts = {"table": file_version(path)} | cutter.facts() | {"not_an_exam": n_rows - cutter.counts["reports"]}
    return exam_ids.map(descriptions.get).astype(object), facts


def read_tracings(tracings: h5py.Dataset, rows: Sequence[int]) -> list[np.ndarray | OSError]:
    """
    Returns rows of an HDF5 dataset, rising; a row that cannot be read is its error.

    Rows that lie close together are read in one go, distant ones singly, so that no split reads the others' rows.
    """
    first, last = rows[0], rows[-1]
    if last - first < 2 * len(rows):
        try:
            block = tracings[first : last + 1]
            return [block[row - first] for row in rows]
        except OSError:
            pass  # one of them is damaged: which one shows below
    read: list[np.ndarray | OSError] = []
    for row in rows:
        try:
            read.append(tracings[row])
        except OSError as error:
            read.append(error)
    return read


def _rows_per_read(tracings: h5py.Dataset) -> int:
    """How many rows to read at once: `ROWS_PER_READ`, and whole chunks, so that each is unpacked once."""
    in_chunk = tracings.chunks[0] if tracings.chunks else 1
    step = -(-ROWS_PER_READ // in_chunk) * in_chunk
    most = MAX_READ_BYTES // (N_SAMPLES * len(LEAD_NAMES) * tracings.dtype.itemsize)
    return min(step, most)


def _fetch_ahead(file: h5py.File, tracings: h5py.Dataset, row: int) -> None:
    """Asks the system for the rows after a block, so that the disk works while the block is converted."""
    begin = tracings.id.get_offset()
    if begin is None or not hasattr(os, "posix_fadvise"):
        return
    size = N_SAMPLES * len(LEAD_NAMES) * tracings.dtype.itemsize
    for one in range(row, min(row + ROWS_AHEAD, len(tracings))):
        os.posix_fadvise(file.id.get_vfd_handle(), begin + one * size, size, os.POSIX_FADV_WILLNEED)


def _recording(exam: dict[str, Any], tracing: np.ndarray | OSError) -> EcgRecord | Rejection:
    """A tracing in millivolts without its zero padding, or why there is none."""
    name = f"{exam['part']}, row {exam['location']}, exam {exam['exam_id']}"
    if isinstance(tracing, OSError):
        return Rejection(exam["exam_id"], "unreadable tracing", f"{name}: {tracing}")
    try:
        return EcgRecord(code15_tracing_to_mv(tracing, name), SAMPLING_RATE, LEAD_NAMES, "mV", name)
    except ValueError as error:  # raised for nothing else
        return Rejection(exam["exam_id"], "all-zero tracing", str(error))


def _checked_ids(file: h5py.File, path: Path) -> np.ndarray:
    """Exam ids of a part, after its datasets were found to be what they should."""
    missing = [name for name in ("exam_id", "tracings") if name not in file]
    if missing:
        raise ValueError(f"{path}: expected the datasets exam_id and tracings, found {', '.join(file) or 'none'}")
    ids, shape = file["exam_id"], file["tracings"].shape
    if shape[1:] != (N_SAMPLES, len(LEAD_NAMES)) or file["tracings"].dtype.kind != "f":
        raise ValueError(
            f"{path}: expected tracings of shape (exams, {N_SAMPLES}, {len(LEAD_NAMES)}) in floating point, "
            f"found {shape} in {file['tracings'].dtype}"
        )
    if ids.shape != shape[:1] or ids.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected {shape[0]} whole numbers exam_id, found {ids.shape} of {ids.dtype}")
    return ids[:]


def _booleans(cells: pd.Series, path: Path, exam_ids: pd.Series) -> pd.Series:
    """1, 0, or -1 for blank cells."""
    values = blanked(cells).str.lower().map(BOOLEANS)
    if values.isna().any():
        i = values.isna().idxmax()
        raise ValueError(
            f"{path}, exam {exam_ids[i]}, column {cells.name}: expected True or False, found {cells[i]!r}"
        )
    return values.astype(np.int8)


def _natural_order(name: str) -> list[Any]:
    """So that part 10 comes after part 9."""
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(Code15, Code15Settings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
