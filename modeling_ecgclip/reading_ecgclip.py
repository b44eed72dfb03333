"""Reads one ECG from whatever holds it: arrays, files (see `formats_ecgclip`), exam-table rows.

Nothing is unpickled, and nothing is changed but the unit: resampling and ordering belong to the feature extractor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays_ecgclip import is_rows_of_numbers, real_numbers
from .csv_ecgclip import read_csv
from .formats_ecgclip import FORMATS, Format, format_named, format_of, formats_by_ending
from .hdf5_ecgclip import HDF5_SUFFIXES, code15_tracing_to_mv, read_code15
from .leads_ecgclip import UNITS_PER_MV, canonical_unit, only_leads, parse_lead_name
from .limits_ecgclip import BEYOND_MEASURE, check_samples, check_sampling_rate, check_values, shorten
from .numpy_ecgclip import read_npy, read_npz
from .record_ecgclip import EcgRecord
from .signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE
from .wfdb_ecgclip import read_wfdb


def read_ecg(
    source: Any,
    exam_id: int | str | None = None,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
) -> EcgRecord:
    """
    Returns the ECG that `source` holds.

    Args:
        source:
            - `np.ndarray` or `torch.Tensor` of shape `(leads, samples)` or `(samples, leads)`; masked samples of a
              `np.ma.MaskedArray` are NaN; or lists of numbers, of that shape;
            - path of a WFDB record, with or without `.hea` or `.dat`;
            - path of a file of one of the kinds in `formats_ecgclip.FORMATS` (see [`read_npy`], [`read_npz`],
              [`read_csv`]);
            - path of an `.hdf5` file in the layout of CODE-15%, with `exam_id` (see [`read_code15`]);
            - row of an exam table: a dictionary with `ecg` (int16 microvolts, flat) and `n_samples`;
            - dictionary with `ecg` (an array) or `path`, and optionally `sampling_rate`, `lead_names`, `unit`,
              `exam_id`, `name`;
            - [`EcgRecord`].
        exam_id (`int` or `str`, *optional*): Which exam of an HDF5 file.
        sampling_rate (`float`, *optional*), unit (`str`, *optional*):
            For sources that do not state them. Where one does, a different value is refused.
        lead_names (`list[str]`, *optional*):
            For sources that do not state them, or in place of names that no table knows. Names that contradict the
            source's, another order among them, are refused.

    Returns:
        [`EcgRecord`] of standard leads, where any is named (see [`only_leads`]), with what nobody stated as `None`.

    Raises:
        `FileNotFoundError`: where no such file exists.
        `ValueError`, `TypeError`: naming the file, what was expected and what was found; also where an ECG is larger
            than `limits_ecgclip` allows.
    """
    if isinstance(source, Mapping):
        record = _read_mapping(source, exam_id)
        exam_id = None if "path" in source else exam_id
    elif isinstance(source, EcgRecord):
        record = source
    elif isinstance(source, str | Path):
        record, exam_id = _read_path(Path(source), exam_id), None
    elif isinstance(source, np.ndarray) or hasattr(source, "detach") or is_rows_of_numbers(source):
        record = EcgRecord(source, None, None, None, "ECG")
    else:
        raise TypeError(
            "an ECG may be an array, a path, an exam-table row or a dictionary with 'ecg' or 'path': "
            f"found {type(source).__name__}"
        )
    if exam_id is not None:
        raise ValueError(f"{record.name}: exam_id selects an exam of an HDF5 file; this source holds one ECG only")
    if type(record.signal) is not np.ndarray or record.signal.dtype.kind not in "fiu":
        record = replace(record, signal=real_numbers(record.signal, record.name))
    if record.signal.ndim != 2:
        raise ValueError(
            f"{record.name}: expected an ECG of two axes, leads and samples: found shape {record.signal.shape}"
        )
    check_values(record.signal.shape, record.name)
    record = only_leads(_complete(record, sampling_rate, lead_names, unit))
    shape = record.signal.shape
    check_sampling_rate(record.sampling_rate, shape, record.name)
    if record.unit is not None:  # else nothing can be said of a sample, and no feature extractor takes it
        check_samples(record.signal, UNITS_PER_MV[canonical_unit(record.unit, record.name)], record.name)
    return record


def read_exam_row(row: Mapping[str, Any]) -> EcgRecord:
    """
    Returns the ECG of an exam-table row, without its zero padding.

    Args:
        row (`dict`): `ecg` int16, whole microvolts of each lead after the other, flat or not, the recording centred
            between zeros; `n_samples`, how many of each lead were recorded; `lead_names`, `sampling_rate` (12 leads at
            400 Hz where left out, as in tables that are older than these columns); `exam_id`.

    Returns:
        [`EcgRecord`] with `signal` int16 `(leads, n_samples)` in `"uV"`.

    Raises:
        `ValueError`: for a row that does not hold what it states.
    """
    name = f"exam {shorten(row['exam_id'])}" if "exam_id" in row else "exam-table row"
    ecg = real_numbers(row["ecg"], name)
    stated = [row.get(key) is not None for key in ("lead_names", "sampling_rate")]
    if any(stated) != all(stated):
        raise ValueError(f"{name}: expected lead_names and sampling_rate together, or neither of them")
    lead_names = tuple(row["lead_names"]) if all(stated) else LEAD_NAMES
    length = ecg.size // max(len(lead_names), 1) if all(stated) else N_SAMPLES
    if ecg.dtype.kind not in "iu" or not length or ecg.size != len(lead_names) * length:
        raise ValueError(
            f"{name}: expected ecg as {len(lead_names)} x {length or 'samples'} whole microvolts (other signals state "
            f"lead_names and sampling_rate): found {ecg.size} values of dtype {ecg.dtype}"
        )
    n_samples = row["n_samples"]
    if not isinstance(n_samples, int | np.integer) or not 1 <= n_samples <= length:
        raise ValueError(f"{name}: n_samples must lie between 1 and {length}: found {shorten(n_samples)}")
    left = (length - n_samples) // 2
    signal = ecg.reshape(len(lead_names), length)[:, left : left + n_samples]
    return EcgRecord(signal, row["sampling_rate"] if all(stated) else SAMPLING_RATE, lead_names, "uV", name)


def _read_path(path: Path, exam_id: int | str | None) -> EcgRecord:
    """Reads a file of any kind; one without an ending is a WFDB record where its header lies there."""
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise FileNotFoundError(f"{shorten(path.name)}: expected the path of an ECG: {error.strerror}") from error
    if is_folder:
        raise ValueError(f"{path}: expected one ECG: found a folder")
    header = path.with_suffix(".hea")
    if path.suffix.lower() == ".mat" and header.is_file():
        path = header  # a record as the CinC Challenges publish them
    try:
        kind = _kind_of(path)
        if kind.many_exams:
            return kind.read(path, exam_id)
        if exam_id is not None:
            raise ValueError(f"{path}: exam_id selects an exam of an HDF5 file ({', '.join(HDF5_SUFFIXES)})")
        return kind.read(path)
    except PermissionError as error:
        raise ValueError(f"{path}: expected a file that may be read: {error.strerror}") from error
    except BEYOND_MEASURE as error:  # what a reader overlooked; its own errors say more
        raise ValueError(f"{path}: not readable: found numbers or sizes beyond measure: {shorten(error)}") from error


def _kind_of(path: Path) -> Format:
    """The kind of file that lies at a path, or would lie there by its ending."""
    wfdb = format_named("wfdb")
    by_ending = formats_by_ending(path)
    if len(by_ending) == 1:
        return by_ending[0]
    if path.with_name(path.name + wfdb.suffixes[0]).is_file():
        return wfdb
    kinds = ", ".join(suffix for one in FORMATS if one is not wfdb for suffix in one.suffixes)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: found neither such a file ({kinds}) nor a WFDB record {path.name}.hea")
    kind = format_of(path)
    if kind is None:
        found = f"{path.suffix!r}" if not by_ending else f"none of {', '.join(one.title for one in by_ending)}"
        raise ValueError(f"{path}: unknown kind of file: expected a WFDB record or one of {kinds}: found {found}")
    return kind


def _read_mapping(source: Mapping[str, Any], exam_id: int | str | None) -> EcgRecord:
    """Reads an exam-table row, or a dictionary that states array or path and what belongs to it."""
    if "ecg" in source and "n_samples" in source:
        return read_exam_row(source)
    stated = ("sampling_rate", "lead_names", "unit")
    unknown = set(source) - {"ecg", "path", "exam_id", "name", *stated}
    if unknown or ("ecg" in source) == ("path" in source):
        raise ValueError(
            "a dictionary must hold 'ecg' (with 'n_samples' for an exam-table row) or 'path', and may hold "
            f"{', '.join(stated)}, exam_id, name: found {shorten(', '.join(map(str, source))) or 'nothing'}"
        )
    name = None if source.get("name") is None else str(source["name"])
    if "path" in source:
        if not isinstance(source["path"], str | Path):
            raise TypeError(f"{name or 'ECG'}: path must be text: found {type(source['path']).__name__}")
        record = _read_path(Path(source["path"]), source.get("exam_id", exam_id))
        record = record if name is None else replace(record, name=name)
    else:
        ecg = source["ecg"]
        record = EcgRecord(real_numbers(ecg, name or "ECG"), None, None, None, name or "ECG")
    return _complete(record, *(source.get(key) for key in stated))


def _complete(
    record: EcgRecord, sampling_rate: float | None, lead_names: Sequence[str] | None, unit: str | None
) -> EcgRecord:
    """Adds what the caller states, and refuses what contradicts the source."""
    if sampling_rate is not None:
        if record.sampling_rate is not None and sampling_rate != record.sampling_rate:
            raise ValueError(
                f"{record.name}: the source states {record.sampling_rate} Hz; "
                f"sampling_rate={sampling_rate} contradicts it"
            )
        record = replace(record, sampling_rate=sampling_rate)
    if unit is not None:
        unit = canonical_unit(unit, record.name)
        if record.unit is not None and unit != canonical_unit(record.unit, record.name):
            raise ValueError(f"{record.name}: the source is in {record.unit}; unit={unit!r} contradicts it")
        record = replace(record, unit=unit)
    if lead_names is not None:
        if isinstance(lead_names, str) or not isinstance(lead_names, Sequence | np.ndarray):
            raise TypeError(f"{record.name}: lead_names must be a list of names: found {shorten(repr(lead_names))}")
        record = _name_leads(record, tuple(lead_names))
    return record


def _name_leads(record: EcgRecord, given: tuple[str, ...]) -> EcgRecord:
    """Gives the leads the caller's names, where the source states none or such as no table knows."""
    stated = record.lead_names
    if stated is None:
        return replace(record, lead_names=given)
    known = [parse_lead_name(name) for name in stated]
    if len(given) == len(stated):
        agree = all(lead in (None, _parsed(name)) for lead, name in zip(known, given, strict=True))
        named = given
    else:  # the caller may leave out what `only_leads` does
        agree = [lead for lead in known if lead is not None] == [_parsed(name) for name in given]
        named = stated
    if not agree:
        raise ValueError(
            f"{record.name}: the source names its leads {shorten(', '.join(stated), 200)}; "
            f"lead_names={shorten(list(given), 200)} contradicts it"
        )
    return replace(record, lead_names=named)


def _parsed(name: Any) -> tuple[str, int] | None:
    return parse_lead_name(name) if isinstance(name, str) else None


__all__ = [
    "EcgRecord",
    "code15_tracing_to_mv",
    "read_code15",
    "read_csv",
    "read_ecg",
    "read_exam_row",
    "read_npy",
    "read_npz",
    "read_wfdb",
]
