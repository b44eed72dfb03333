"""Reading WFDB records for an exam table: what every source of them does alike."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_scripts.conversion.builder import Rejection
from modeling_ecgclip.feature_extraction_ecgclip import canonical_lead_name
from modeling_ecgclip.reading_ecgclip import EcgRecord, read_wfdb


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
            yield only_leads(read_wfdb(folder / f"{exam['location']}.hea"))
        except FileNotFoundError as error:
            yield Rejection(exam["exam_id"], "record not found", str(error))
        except (ValueError, OSError) as error:
            yield Rejection(exam["exam_id"], "unreadable record", str(error))


def only_leads(record: EcgRecord) -> EcgRecord:
    """Returns a record without the channels whose name is no lead's; as it is where no name is."""
    known = []
    for channel, name in enumerate(record.lead_names or ()):
        try:
            canonical_lead_name(name)
        except ValueError:
            continue
        known.append(channel)
    if not known or len(known) == len(record.lead_names):
        return record
    return replace(record, signal=record.signal[known], lead_names=tuple(record.lead_names[i] for i in known))
