"""Zip archives of strangers: looked through before anything is unpacked, and unpacked a file at a time."""

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from modeling_ecgclip.arrays_ecgclip import check_zip_directory
from modeling_ecgclip.limits_ecgclip import MAX_REQUEST_UNPACKED_BYTES, READ_ERRORS, shorten
from space.uploads import MAX_FILE_MB


ZIP = ".zip"
MAX_MEMBERS = 400
MAX_UNPACKED_BYTES = MAX_REQUEST_UNPACKED_BYTES  # of all members together
MAX_MEMBER_BYTES = MAX_FILE_MB * 2**20
MAX_NAME = 240  # bytes of a member's path
ENCRYPTED = 0x1  # bit of a member's flags
_BLOCK_BYTES = 1_000_000


@dataclass(frozen=True)
class Part:
    """
    A file of an upload, as it lies there or in a zip archive.

    Args:
        name (`str`): As it is shown, with its folders.
        path (`Path`): Where it lies, or the archive does.
        member (`str`, *optional*): Its name in the archive.
    """

    name: str
    path: Path
    member: str | None = None

    @property
    def folder(self) -> tuple[Path, str]:
        """What other files lie beside it: the upload, or a folder of its archive."""
        place = PurePosixPath(self.member or "").parent
        return (self.path, str(place)) if self.member is not None else (self.path.parent, "")

    @property
    def file_name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member or self.path.name).name

    def put_into(self, folder: Path) -> Path:
        """
        Returns the path of the file; one of an archive is unpacked into `folder` first.

        Raises:
            `ValueError`: for a member that cannot be unpacked, or is larger than the archive's directory said.
        """
        if self.member is None:
            return self.path
        target = folder / self.file_name
        try:
            with zipfile.ZipFile(self.path) as archive:
                info = archive.getinfo(self.member)
                left = info.file_size
                with archive.open(info) as source, target.open("wb") as file:
                    while block := source.read(_BLOCK_BYTES):
                        left -= len(block)
                        if left < 0:
                            raise ValueError(f"expected {info.file_size:,} bytes: found more")
                        file.write(block)
        except (*READ_ERRORS, NotImplementedError) as error:
            raise ValueError(f"{self.file_name}: not readable in its archive: {shorten(error)}") from error
        return target


def parts_of_archive(path: Path) -> list[Part]:
    """
    Returns the files that a zip archive holds, without looking into them.

    Args:
        path (`Path`): Of the archive.

    Raises:
        `ValueError`: in one sentence, for what is no zip archive, or one that is encrypted, damaged, too large when
            unpacked, of too many members, or that holds links, other archives, or paths that lead out of it.
    """
    try:
        with path.open("rb") as file:
            check_zip_directory(file, path.name)
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except READ_ERRORS as error:
        raise ValueError(
            f"{path.name}: expected a zip archive of at most {MAX_MEMBERS} files: found none or more"
        ) from error
    wrong = _what_is_wrong(members)
    if wrong is not None:
        raise ValueError(f"{path.name}: {wrong}")
    return [Part(info.filename, path, info.filename) for info in members]


def _what_is_wrong(members: list[zipfile.ZipInfo]) -> str | None:
    """Why an archive of these members is not opened; None where it is."""
    if not 1 <= len(members) <= MAX_MEMBERS:
        return f"expected a zip archive of 1 to {MAX_MEMBERS} files: found {len(members):,}"
    if len({info.filename for info in members}) < len(members):
        return "expected a zip archive of files of different names: found one twice"
    for info in members:
        found = _what_is_wrong_with(info)
        if found is not None:
            return f"{found}: {shorten(info.filename, 80)}"
    unpacked = sum(info.file_size for info in members)
    if unpacked > MAX_UNPACKED_BYTES:
        return f"expected a zip archive of at most {MAX_UNPACKED_BYTES:,} bytes unpacked: found {unpacked:,}"
    return None


def _what_is_wrong_with(info: zipfile.ZipInfo) -> str | None:
    name, path, kind = info.filename, PurePosixPath(info.filename), stat.S_IFMT(info.external_attr >> 16)
    outside = path.is_absolute() or PureWindowsPath(name).drive or "\\" in name or ".." in path.parts
    # `zipfile` cuts names at a zero byte, and keeps the original.
    odd = len(name.encode(errors="replace")) > MAX_NAME or not info.orig_filename.isprintable()
    packed = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    faults = (
        (info.flag_bits & ENCRYPTED, "without a password: found an encrypted file"),
        (outside or not path.name, "whose paths stay in it: found another one"),
        (odd, f"of names of at most {MAX_NAME} bytes that can be printed: found another one"),
        (kind not in (0, stat.S_IFREG), "of plain files: found a link or a device"),
        (path.suffix.lower() == ZIP, "of ECG files: found another archive in it"),
        (packed, f"of deflated files: found compression {info.compress_type}"),
        (
            info.file_size > MAX_MEMBER_BYTES,
            f"of files of at most {MAX_MEMBER_BYTES:,} bytes: found {info.file_size:,}",
        ),
    )
    return next((f"expected a zip archive {fault}" for is_wrong, fault in faults if is_wrong), None)


__all__ = ["MAX_MEMBERS", "MAX_UNPACKED_BYTES", "ZIP", "Part", "parts_of_archive"]
