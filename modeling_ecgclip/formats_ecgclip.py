"""Which kinds of files hold an ECG, how each is told apart, and what reads it: one list for every way in.

A new kind is one entry of `FORMATS` and a module with `read_x(path) -> EcgRecord` and `is_x(head: bytes) -> bool`.
Files are taken for hostile: nothing is unpickled, no file is opened that another one names outside its folder, and
what a file claims about its size is checked against `limits_ecgclip` before anything of that size is read or unpacked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .aecg_ecgclip import is_aecg, read_aecg
from .cardiosoft_ecgclip import is_cardiosoft, read_cardiosoft
from .csv_ecgclip import is_csv, read_csv
from .dicom_ecgclip import is_dicom, read_dicom
from .edf_ecgclip import is_edf, read_edf
from .hdf5_ecgclip import HDF5_SUFFIXES, is_hdf5, read_code15
from .ishne_ecgclip import is_ishne, read_ishne
from .matlab_ecgclip import is_matlab, read_matlab
from .mfer_ecgclip import is_mfer, read_mfer
from .muse_ecgclip import is_muse, read_muse
from .numpy_ecgclip import is_npy, is_npz, read_npy, read_npz
from .record_ecgclip import EcgRecord
from .scp_ecgclip import is_scp, read_scp
from .sierra_ecgclip import is_sierra, read_sierra
from .wfdb_ecgclip import WFDB_SUFFIXES, is_wfdb_header, read_wfdb
from .xml_ecgclip import SNIFFED_BYTES


# So much of a file is looked at to tell its kind.
HEAD_BYTES = SNIFFED_BYTES  # no other kind needs more


@dataclass(frozen=True)
class Format:
    """
    One kind of file that holds an ECG.

    Args:
        name (`str`): What requests call it.
        title (`str`): What people call it.
        suffixes (`tuple[str, ...]`): Endings of its files, in lower case, the usual one first. Kinds may share one.
        sniff (`Callable`): Whether the first `HEAD_BYTES` bytes of a file are of this kind.
        read (`Callable`): From the path of a file, and with `many_exams` the exam's id, to an [`EcgRecord`].
        needs (`str`, *optional*): Package without which it is not read.
        many_exams (`bool`, defaults to `False`): A file holds several, of which `exam_id` selects one.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    read: Callable[..., EcgRecord]
    needs: str | None = None
    many_exams: bool = False

    def is_readable(self) -> bool:
        """Returns whether the package that it needs is installed."""
        return self.needs is None or find_spec(self.needs) is not None


# A kind that begins in a way of its own comes before one that any text may be.
FORMATS: tuple[Format, ...] = (
    Format("wfdb", "WFDB", WFDB_SUFFIXES, is_wfdb_header, read_wfdb),
    Format("npy", "numpy array", (".npy",), is_npy, read_npy),
    Format("npz", "numpy archive", (".npz",), is_npz, read_npz),
    Format("hdf5", "HDF5 of CODE-15%", HDF5_SUFFIXES, is_hdf5, read_code15, needs="h5py", many_exams=True),
    Format("dicom", "DICOM", (".dcm", ".dicom"), is_dicom, read_dicom),
    Format("scp", "SCP-ECG", (".scp",), is_scp, read_scp),
    Format("aecg", "HL7 aECG", (".xml", ".aecg"), is_aecg, read_aecg),
    Format("muse", "GE MUSE", (".xml",), is_muse, read_muse),
    Format("sierra", "Philips Sierra", (".xml",), is_sierra, read_sierra),
    Format("cardiosoft", "CardioSoft", (".xml",), is_cardiosoft, read_cardiosoft),
    Format("edf", "EDF", (".edf",), is_edf, read_edf),
    Format("ishne", "ISHNE Holter", (".ecg",), is_ishne, read_ishne),
    Format("mfer", "MFER", (".mwf", ".mfer"), is_mfer, read_mfer),
    # Without its WFDB header; version 4 has no signature, so that it comes after those that have one.
    Format("matlab", "MATLAB", (".mat",), is_matlab, read_matlab),
    Format("csv", "table of one column per lead", (".csv", ".tsv", ".txt"), is_csv, read_csv),
)


def formats_by_ending(path: Path) -> tuple[Format, ...]:
    """Returns the kinds whose files end as this one does: none, one, or several that share the ending."""
    return tuple(one for one in FORMATS if path.suffix.lower() in one.suffixes)


def format_of(source: Path | bytes) -> Format | None:
    """
    Returns the kind of a file, by its ending where only one kind has it, or else by how it begins.

    Args:
        source (`Path` or `bytes`): A file that exists, or its content or the first `HEAD_BYTES` of it.

    Returns:
        [`Format`], or `None` for what is of no known kind.
    """
    candidates = FORMATS
    if isinstance(source, Path):
        by_ending = formats_by_ending(source)
        if len(by_ending) == 1:
            return by_ending[0]
        candidates = by_ending or FORMATS
        with source.open("rb") as file:
            source = file.read(HEAD_BYTES)
    head = source[:HEAD_BYTES]
    return next((one for one in candidates if one.sniff(head)), None)


def format_named(name: str) -> Format:
    """
    Returns the kind of this name.

    Raises:
        `ValueError`: where there is none; the message lists those that there are.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    raise ValueError(f"expected a format of {', '.join(one.name for one in FORMATS)}: found {name!r}")


def kinds_of_files() -> str:
    """Returns what can be read with the packages that are installed, as a list for people."""
    endings = {
        one.title: " with ".join(one.suffixes) if one.name == "wfdb" else " or ".join(one.suffixes)
        for one in FORMATS
        if one.is_readable()
    }
    return ", ".join(f"{title} ({ending})" for title, ending in endings.items())


__all__ = ["FORMATS", "HEAD_BYTES", "Format", "format_named", "format_of", "formats_by_ending", "kinds_of_files"]
