"""Arrays in `.npy` files, and archives of named arrays, `.npz`."""

import zipfile
from pathlib import Path

import numpy as np

from .arrays_ecgclip import check_zip_directory, read_array, read_member
from .limits_ecgclip import MAX_CHANNELS, READ_ERRORS, check_file, shorten
from .record_ecgclip import EcgRecord


# Names of the signal inside an .npz file, in the order in which they are looked for.
SIGNAL_KEYS = ("ecg", "signal")


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
    Returns the array `ecg` (or `signal`, or the only array) of an `.npz` file.

    The scalars `sampling_rate` and `unit` and the array of text `lead_names` are read where it has them.

    Raises:
        `ValueError`: for pickled objects, or where the signal's name cannot be told; the message lists what was found.
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
    key = next((key for key in SIGNAL_KEYS if key in members), None)
    others = [member for member in members if member not in ("sampling_rate", "lead_names", "unit")]
    if key is None and len(others) != 1:
        found = shorten(", ".join(members), 300) or "nothing"
        raise ValueError(f"{name}: expected an array named {' or '.join(SIGNAL_KEYS)}: found {found}")
    signal = read_member(archive, members[key or others[0]], name)
    values = {
        stated: read_member(archive, members[stated], name, kinds, MAX_CHANNELS).tolist()
        for stated, kinds in (("sampling_rate", "fiu"), ("lead_names", "US"), ("unit", "US"))
        if stated in members
    }
    names = values.get("lead_names")
    if names is not None and not isinstance(names, list):
        raise ValueError(f"{name}: expected lead_names as a list of names: found {shorten(repr(names))}")
    return EcgRecord(signal, values.get("sampling_rate"), tuple(names) if names else None, values.get("unit"), name)


__all__ = ["is_npy", "is_npz", "read_npy", "read_npz"]
