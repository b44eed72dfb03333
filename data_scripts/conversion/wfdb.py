"""Reading WFDB records for an exam table: what every source of them does alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_scripts.conversion.builder import Rejection
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.record_ecgclip import EcgRecord


def read_wfdb_records(folder: Path, exams: list[dict[str, Any]]) -> Iterator[EcgRecord | Rejection]:
    """
    Yields the WFDB record that each exam's `location` names, or why there is none.

    Channels beside the twelve leads, such as Frank's `vx` or respiration, are left out.

    Args:
        folder (`Path`): The source.
        exams (`list[dict]`): With `exam_id`, and `location` relative to the folder, without suffix.
    """
    for exam in exams:
        try:
            # The header's name in full, so that a record whose own name ends in ".dat" keeps it.
            record = read_ecg(folder / f"{exam['location']}.hea")
            if record.sampling_rate is None or record.unit is None:
                raise ValueError(f"{record.name}: expected a header that states sampling rate and gains: found none")
            yield record
        except FileNotFoundError as error:
            yield Rejection(exam["exam_id"], "record not found", str(error))
        except (ValueError, OSError) as error:
            yield Rejection(exam["exam_id"], "unreadable record", str(error))


def segments_of(header: Path) -> list[str]:
    """
    Returns the names of the records that a multi-segment WFDB header joins; none for a header of one segment.

    They are parts of one recording of one patient: no exams of their own.
    Source: https://wfdb.io/spec/header-files.html.
    """
    try:
        lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    stated = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not stated or "/" not in stated[0][0]:
        return []
    return [words[0] for words in stated[1:] if words[0] != "~"]
