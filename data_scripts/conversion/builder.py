"""What every converter shares: what a source is, and the way of one recording into a row of the exam table.

A converter lists its exams once, in the parent process, and says how to read them. The rest is in shards.py, which
writes them in any number of processes, and run.py, which makes a whole table of them.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from common.checksums import FileState
from data_scripts.tables.schema import MICROVOLTS_PER_MILLIVOLT
from data_scripts.text.headings import check_headings
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor, canonical_lead_name
from modeling_ecgclip.labels_ecgclip import CODE_LABELS, Label
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.signal_ecgclip import INDEPENDENT_LEADS, LEAD_NAMES, N_SAMPLES, SAMPLING_RATE, SignalSpec
from modeling_ecgclip.stated_ecgclip import ImplausibleEcgError, UnstatedError


INDEPENDENT = "independent"  # of --leads
RECORD_SUFFIXES = ("", ".hea", ".dat", ".mat")  # of the files of one recording, behind its location
# A mean this far from zero is an electrode's offset: the waves of a heart beat average to tenths of a millivolt.
OFFSET_MV = 1.0

# Flags of the column `quality`; beside these, those of `EcgFeatureExtractor.standardize`.
CLIPPED = "clipped"  # a value beyond +-32.767 mV was limited to it
CROPPED = "cropped"  # longer than the table's window: both ends were cut off
FLAT_LEAD = "flat_lead"  # a lead that does not move by one microvolt
OFFSET = "offset"  # a lead whose mean is more than OFFSET_MV from zero

# Reasons of rejections, by the code of what the extractor refuses; what follows a colon in a code names leads.
REASONS = {
    "amplitude_high": "amplitude of another unit",
    "amplitude_low": "amplitude of another unit",
    "inverted": "leads in another order or inverted",
    "lead_order": "leads in another order or inverted",
    "lead_order_unverified": "leads not named",
    "limb_leads_disagree": "leads not named, and limb leads that disagree",
    "no_signal": "no signal",
    "not_recorded": "NaN or infinite values",
    "too_short": "too short",
    "whole_numbers": "amplitude of another unit",
}


@dataclass(frozen=True)
class Rejection:
    """Why a record that was found is not in the table: `reason` from a short list, `detail` for this record."""

    record: str
    reason: str
    detail: str = ""


@dataclass
class ExamPlan:
    """
    All that a source holds, apart from the recordings.

    Args:
        exams (`pandas.DataFrame`):
            The exams to read, in the order in which they follow each other in each split, exams of one `part`
            together. Columns: `exam_id`, `patient_id`, `split`, `age` (float, NaN unknown), `sex` (None unknown), the
            labels by name (int8), the targets by name (float, NaN unknown), `report` (None where there is none),
            `part` and `location` (text, for `read_recordings`).
        source (`str`): For the column of that name.
        found (`int`): Records in the source; must be the kept and the rejected together.
        rejected (`list[Rejection]`): Those that are known not to be readable.
        facts (`dict`): For `conversion.json`.
        labels (`tuple[Label]`): Those of `exams`, in the order of the table; CODE's where left out.
        target_names (`tuple[str]`): Columns of `exams` that hold numbers to predict.
    """

    exams: pd.DataFrame
    source: str
    found: int
    rejected: list[Rejection] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    labels: tuple[Label, ...] = CODE_LABELS
    target_names: tuple[str, ...] = ()


@dataclass
class SourceSettings:
    """
    What decides which rows a source gives; a converter's own settings inherit it.

    Each field is a flag of the command line, and its help says what it is: nothing states it again.
    """

    _argument_group_name: ClassVar[str] = "What is read"

    source_dir: str = field(metadata={"help": "folder of the source as it was published"})
    repair_nan: bool = field(
        default=False, metadata={"help": "fill gaps of NaN of up to 0.3 s instead of rejecting the exam"}
    )
    sampling_rate: int | None = field(
        default=None, metadata={"help": f"Hz of the exam table; default {SAMPLING_RATE}"}
    )
    n_samples: int | None = field(
        default=None,
        metadata={"help": f"samples of each lead in the exam table; default {N_SAMPLES / SAMPLING_RATE} s"},
    )
    leads: list[str] | None = field(
        default=None,
        metadata={
            "help": f"leads of the exam table, in their order; default all twelve; {INDEPENDENT}: the eight that the "
            "others follow from"
        },
    )

    def __post_init__(self) -> None:
        for name in ("sampling_rate", "n_samples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1: found {getattr(self, name)}")
        self.signal()  # refuses by itself

    def table_rate(self) -> int:
        """Returns the Hz of the exam table."""
        return self.sampling_rate or SAMPLING_RATE

    def signal(self) -> SignalSpec:
        """Returns the signal of the exam table."""
        leads: Sequence[str] = self.leads or LEAD_NAMES
        if list(leads) == [INDEPENDENT]:
            leads = INDEPENDENT_LEADS
        leads = tuple(canonical_lead_name(name, "--leads") for name in leads)
        n_samples = self.n_samples or round(self.table_rate() * N_SAMPLES / SAMPLING_RATE)
        return SignalSpec(leads, self.table_rate(), n_samples)


@dataclass
class ReportSettings(SourceSettings):
    """Of sources whose reports are written by hand, and cut."""

    conclusion_headings: list[str] | None = field(
        default=None,
        metadata={
            "help": "words that head a conclusion in your reports, beside those in four languages (docs/data.md)"
        },
    )
    mask_diagnoses: bool = field(
        default=False,
        metadata={"help": "replace words that name a diagnosis in descriptions by ___ (docs/data.md, Reports)"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_headings(self.conclusion_headings)


class EcgBuilder(abc.ABC):
    """
    Base of all converters: a subclass lists its exams ([`plan`]) and reads them ([`read_recordings`]).

    Everything else is done for it: report ids, shards, the way through the feature extractor, whole microvolts,
    quality flags, restarts, and the record of what was rejected.

    Args:
        config (`SourceSettings`): Of the class that the converter annotates.
        work_dir (`Path`): Folder for what is needed during the conversion only; it outlives a killed run.
        num_proc (`int`, defaults to 1): How much may be done at the same time.
    """

    config: SourceSettings

    def __init__(self, config: SourceSettings, work_dir: Path, num_proc: int = 1) -> None:
        self.config = config
        self.work_dir = Path(work_dir)
        self.num_proc = num_proc
        # Of parts that are files, as they were when the exams were listed.
        self.states: dict[Path, FileState | None] = {}

    @abc.abstractmethod
    def plan(self) -> ExamPlan:
        """Returns what the source holds. Called once, in the parent process."""

    @abc.abstractmethod
    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """
        Yields the recording of each exam, or why there is none, in the order given.

        Args:
            exams (`list[dict]`): At most `ROWS_PER_SHARD` rows of the plan, all of one `part`.
        """

    def part_path(self, part: str) -> Path:
        """Returns the file or folder that holds a part."""
        return Path(self.config.source_dir, part)

    def source_files(self, exams: Sequence[Mapping[str, Any]]) -> list[Path]:
        """
        Returns the files that hold the recordings of exams; what was made of others is no longer theirs.

        Args:
            exams (`list[dict]`): Rows of the plan, with `part` and `location`.
        """
        parts = {part: self.part_path(part) for part in {exam["part"] for exam in exams}}
        files = {path for path in parts.values() if not path.is_dir()}
        for exam in exams:
            if parts[exam["part"]].is_dir():
                record = f"{self.config.source_dir}/{exam['location']}".removesuffix(".hea")
                files |= {Path(f"{record}{suffix}") for suffix in RECORD_SUFFIXES}
        return sorted(files)

    def unpacked_bytes(self, part: str) -> int:
        """Returns what a part takes on disk while it is read: above 0, one process reads the whole of it."""
        return 0

    def close_part(self) -> None:  # noqa: B027 (most sources have nothing to close)
        """Called where a process has read all that it was to read of a part."""


def standard_recording(
    exam_id: str, record: EcgRecord | Rejection, extractor: EcgFeatureExtractor
) -> dict[str, Any] | Rejection:
    """
    Returns the columns `ecg`, `n_samples` and `quality` of a recording, or why it is rejected.

    Args:
        exam_id (`str`): For the rejection.
        record (`EcgRecord` or `Rejection`): As a source's reader gave it; a rejection is passed on.
        extractor (`EcgFeatureExtractor`): The one place where leads are ordered, resampled and padded.

    Returns:
        `dict` with `ecg` int16 (leads, samples) in microvolts, `n_samples` before padding and `quality`; or
        [`Rejection`].
    """
    if isinstance(record, Rejection):
        return record
    try:
        standard = extractor.standardize(
            record.signal, record.sampling_rate, record.lead_names, record.unit, record.name
        )
    except ValueError as error:
        return refusal(exam_id, record, len(extractor.lead_names), error)
    signal = standard.signal  # (leads, samples), mV
    flags = [flag for flag in standard.flags if flag != "resampled"]  # true of a whole source: no flaw of this exam
    # In float64: a product in float32 would send values near half a microvolt the wrong way.
    microvolts = np.multiply(signal, MICROVOLTS_PER_MILLIVOLT, dtype=np.float64)
    np.rint(microvolts, out=microvolts)
    lowest, highest = (np.rint(of(axis=1) * np.float64(MICROVOLTS_PER_MILLIVOLT)) for of in (signal.min, signal.max))
    peak = max(-lowest.min(), highest.max())
    # A mean cannot lie further out than the peak; half a microvolt for its rounding.
    if peak > OFFSET_MV * MICROVOLTS_PER_MILLIVOLT - 0.5 and np.abs(signal.mean(axis=1)).max() > OFFSET_MV:
        flags.append(OFFSET)
    if signal.shape[1] > extractor.n_samples:
        flags.append(CROPPED)
    limit = np.iinfo(np.int16).max
    if peak > limit:
        flags.append(CLIPPED)
        for values in (microvolts, lowest, highest):
            np.clip(values, -limit, limit, out=values)
    if np.any(lowest == highest) and FLAT_LEAD not in flags:
        flags.append(FLAT_LEAD)
    n_samples = min(signal.shape[1], extractor.n_samples)
    return {"ecg": extractor.center(microvolts.astype(np.int16)), "n_samples": n_samples, "quality": flags}


def kind_of_flag(flag: str) -> str:
    """Returns a flag without what differs from exam to exam: `"nan_repaired:V3"` of `"nan_repaired:V3:2.5%"`."""
    return ":".join(flag.split(":")[:2])


def refusal(exam_id: str, record: EcgRecord, n_leads: int, error: ValueError) -> Rejection:
    """
    Returns why the feature extractor refused a recording, in the short list's words.

    Args:
        exam_id (`str`): For the rejection.
        record (`EcgRecord`): What was refused.
        n_leads (`int`): How many leads were expected.
        error (`ValueError`): The extractor's.
    """
    if isinstance(error, UnstatedError):
        return Rejection(exam_id, f"{error.setting} not stated", str(error))
    if not isinstance(error, ImplausibleEcgError):
        return Rejection(exam_id, f"not a {n_leads}-lead ECG", str(error))
    finite = np.isfinite(record.signal)
    if not np.any(record.signal, where=finite) and finite.any():
        return Rejection(exam_id, "all-zero tracing", str(error))
    if error.code == "not_recorded" and not finite.all():
        detail = f"{record.name}: {finite.size - int(finite.sum())} of {finite.size} values"
        return Rejection(exam_id, REASONS[error.code], detail)
    return Rejection(exam_id, REASONS[error.code.split(":")[0]], str(error))
