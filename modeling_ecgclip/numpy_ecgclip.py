"""Arrays in `.npy` files, and archives of named arrays, `.npz`."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .arrays_ecgclip import check_zip_directory, read_array, read_member, read_texts
from .keys_ecgclip import fact_of
from .leads_ecgclip import canonical_unit
from .limits_ecgclip import MAX_CHANNELS, READ_ERRORS, check_file, shorten
from .record_ecgclip import EcgRecord


# Names of the signal inside an .npz file, in the order in which they are looked for.
SIGNAL_KEYS = ("ecg", "signal", "signals", "p_signal", "data", "x", "waveform", "waveforms")


def is_npy(head: bytes) -> bool:
    """Returns whether a file begins as one array does."""
    return head.startswith(np.lib.format.MAGIC_PREFIX)


def is_npz(head: bytes) -> bool:
    """Returns whether a file begins as an archive does; what lies in it, its directory at the end says."""
    return head.startswith(b"PK")


def read_npy(path: str | Path) -> EcgRecord:
    """
    Returns the array of an `.npy` file; sampling rate, leads and unit are not stated there.

    Raises:
        `ValueError`: for pickled objects, which are never loaded, or anything else that is no numeric array.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError(f"{path}: expected one array: found an archive of arrays; name it .npz")
        file.seek(0)
        return EcgRecord(read_array(file, str(path)), None, None, None, str(path))


def read_npz(path: str | Path) -> EcgRecord:
    """
    Returns the array `ecg` (or `signal`, ... , or the only array) of an `.npz` file.

    `sampling_rate`, `unit` and `lead_names` are read where it has them, under any of their usual names: `fs`,
    `units`, `leads`, ... (see `keys_ecgclip`). What else lies beside the signal is refused by name, since it may say
    how the signal is to be read.

    Raises:
        `ValueError`: for pickled objects, members that are not understood or contradict each other, or where the
            signal's name cannot be told; the message lists what was found.
    """
    path = Path(path)
    check_file(path)
    with path.open("rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"{path}: expected an archive of named arrays: found one array; name it .npy")
        check_zip_directory(file, str(path))
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, str(path))
        except READ_ERRORS as error:
            if str(error).startswith(str(path)):  # said above
                raise
            raise ValueError(f"{path}: not a readable archive of arrays: {shorten(error)}") from error


def _read_archive(archive: zipfile.ZipFile, name: str) -> EcgRecord:
    """The ECG of an open `.npz` file."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(members) < len(archive.infolist()):
        raise ValueError(f"{name}: expected each array once: found two of one name among {shorten(list(members))}")
    facts = {key: fact for key in members if (fact := fact_of(key)) is not None}
    key = _signal_key([key for key in members if key not in facts], list(members), name)
    signal = read_member(archive, members[key], name)
    stated: dict[str, Any] = {}
    for member, fact in facts.items():
        value = _READ_FACT[fact](archive, members[member], signal.shape, name)
        if stated.setdefault(fact, value) != value:
            raise ValueError(f"{name}: {member} {shorten(value)} contradicts another {fact}, {shorten(stated[fact])}")
    return EcgRecord(signal, stated.get("sampling_rate"), stated.get("lead_names"), stated.get("unit"), name)


def _signal_key(others: list[str], members: list[str], name: str) -> str:
    """The name of the signal among the members that state no known fact."""
    by_case = {other.lower(): other for other in others}
    known = next((by_case[key] for key in SIGNAL_KEYS if key in by_case), None)
    if known is None and len(others) != 1:
        found = shorten(", ".join(members), 300) or "nothing"
        raise ValueError(f"{name}: expected an array named {' or '.join(SIGNAL_KEYS[:2])}: found {found}")
    if len(others) > 1:
        unknown = ", ".join(other for other in others if other != known)
        raise ValueError(
            f"{name}: expected beside {known} only sampling_rate, unit and lead_names: found {shorten(unknown, 300)}, "
            "which may say how it is to be read"
        )
    return others[0]


def _read_rate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, ...], name: str) -> float:
    value = read_member(archive, info, name, "fiu", MAX_CHANNELS)
    if value.size != 1:
        raise ValueError(f"{name}: expected {info.filename} as one number of Hz: found shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"{name}: expected {info.filename} as one number of Hz: found {value.item()}")
    return value.item()


def _read_unit(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, ...], name: str) -> str:
    """The unit of all leads, stated once or for each of them."""
    units = _read_texts(archive, info, name)
    if len(units) != 1 and len(units) not in shape:
        raise ValueError(f"{name}: expected {info.filename} as one unit, or one for each lead: found {len(units)}")
    if len({canonical_unit(unit, name) for unit in units}) > 1:
        raise ValueError(f"{name}: expected one unit for all leads: found {shorten(', '.join(units))}")
    return units[0]


def _read_names(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, ...], name: str) -> tuple[str, ...]:
    names = _read_texts(archive, info, name)
    if len(names) not in shape:
        raise ValueError(
            f"{name}: expected {info.filename} as a list of one name for each lead: "
            f"found {shorten(names)} for shape {shape}"
        )
    return tuple(names)


def _read_texts(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> list[str]:
    texts = read_texts(read_member(archive, info, name, "US", MAX_CHANNELS), f"{name}: {info.filename}")
    if not texts:
        raise ValueError(f"{name}: expected text in {info.filename}: found none")
    return texts


_READ_FACT = {"sampling_rate": _read_rate, "unit": _read_unit, "lead_names": _read_names}

__all__ = ["is_npy", "is_npz", "read_npy", "read_npz"]
