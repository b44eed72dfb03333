"""Any folder of ECG files of any kind, with or without a table of reports and labels, to an exam table.

python -m data_scripts.folder --source_dir D [--table FILE] --output_dir O [--unit mV] [--recorded_rate 500]

WFDB records, DICOM, SCP-ECG, HL7 aECG, GE MUSE, Philips Sierra, CardioSoft, EDF, ISHNE, MFER, MATLAB, .csv, .tsv,
.txt, .npy, .npz. What a file does not state (unit, rate, leads) is refused, unless the command line states it for all
such files.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from common.commands import exit_status
from data_scripts.conversion.builder import Rejection
from data_scripts.conversion.run import convert
from data_scripts.wfdb_folder import WfdbFolder, WfdbFolderSettings, named_records
from modeling_ecgclip.formats_ecgclip import FORMATS, format_named
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.record_ecgclip import EcgRecord


WFDB = format_named("wfdb")
# Files that hold one ECG each; archives of many exams have converters of their own.
SUFFIXES = {suffix for one in FORMATS if one is not WFDB and not one.many_exams for suffix in one.suffixes}


@dataclass(kw_only=True)
class StatedOfFiles:
    """What the command line states of all files that do not state it themselves."""

    unit: str | None = field(default=None, metadata={"help": "mV, uV or V: of the files that do not state their unit"})
    recorded_rate: float | None = field(
        default=None, metadata={"help": "Hz of the files that do not state their sampling rate"}
    )
    recorded_leads: list[str] | None = field(
        default=None, metadata={"help": "leads of the files that do not name theirs, in their order"}
    )


@dataclass
class FolderSettings(StatedOfFiles, WfdbFolderSettings):
    """Settings of [`Folder`]."""

    source_name: str = field(default="folder", metadata={"help": "what the table's column source says"})


class Folder(WfdbFolder):
    """Reads every ECG file below a folder; with a table, those that it names."""

    config: FolderSettings

    def find_records(self, folder: Path) -> tuple[pd.DataFrame, set[Path]]:
        """
        Returns all files that may hold an ECG, WFDB records by their header, and the files that are a part of one.

        Raises:
            `ValueError`: where there is none.
        """
        paths: list[str] = []
        parts: set[Path] = set()
        headers = list(folder.rglob(f"*{WFDB.suffixes[0]}"))
        if headers:
            records, parts = super().find_records(folder)
            paths = records["record"].tolist()
        stems = {path.with_suffix("") for path in headers}
        table = None if self.config.table is None else Path(self.config.table).resolve()
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES or path.name[0] == "." or not path.is_file():
                continue
            if path.with_suffix("") in stems and path.suffix.lower() == ".mat":
                parts.add(path)  # the signals of a WFDB record
            elif path.resolve() != table:
                paths.append(path.relative_to(folder).as_posix())
        if not paths:
            kinds = ", ".join(sorted({*WFDB.suffixes, *SUFFIXES}))
            raise ValueError(f"{folder}: expected ECG files ({kinds}), found none in it or below it")
        return named_records(sorted(paths)), parts

    def read_recordings(self, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
        """Yields the ECG of each file, or why there is none."""
        folder = Path(self.config.source_dir)
        for exam in exams:
            try:
                yield self._read(folder / exam["location"])
            except FileNotFoundError as error:
                yield Rejection(exam["exam_id"], "record not found", str(error))
            except ImportError as error:
                yield Rejection(exam["exam_id"], "unreadable without a package", str(error))
            except (ValueError, TypeError, OSError) as error:
                yield Rejection(exam["exam_id"], "unreadable record", str(error))

    def _read(self, path: Path) -> EcgRecord:
        """An ECG, with what the command line states where the file does not."""
        record = read_ecg(path)
        stated: dict[str, Any] = {
            "sampling_rate": self.config.recorded_rate,
            "unit": self.config.unit,
            "lead_names": self.config.recorded_leads,
        }
        return read_ecg(record, **{name: value for name, value in stated.items() if getattr(record, name) is None})


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Converts; returns what `conversion.json` says."""
    return convert(Folder, FolderSettings, __doc__, argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
