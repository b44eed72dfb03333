"""Files that stay zipped, as they were downloaded: one is unpacked aside while it is read."""

import errno
import os
import secrets
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from common.writing import remove


BYTES_AT_A_TIME = 4 << 20


def member_of(path: Path, suffixes: tuple[str, ...]) -> zipfile.ZipInfo:
    """
    Returns the only file in a zip file whose name ends in one of `suffixes`.

    Raises:
        `ValueError`: for a file that is no zip file or is truncated, or that holds none or several such files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a readable zip file, or truncated: {error}") from error
    # macOS adds a folder of hidden files that carry the true ones' names.
    names = {one: PurePosixPath(one.filename).name for one in held}
    wanted = [one for one, name in names.items() if name.lower().endswith(suffixes) and not name.startswith("._")]
    if len(wanted) != 1:
        found = ", ".join(one.filename for one in held) or "none"
        raise ValueError(f"{path}: expected one file named {' or '.join(suffixes)} in it, found {found}")
    return wanted[0]


def unpack(path: Path, suffixes: tuple[str, ...], folder: Path) -> Path:
    """
    Returns a new file in `folder` with the content of [`member_of`]; the caller removes it.

    HDF5 cannot be read from within a deflated file, since it is read at places, not from its beginning to its end.

    Raises:
        `ValueError`: for a zip file that is damaged (its checksum is compared) or encrypted.
        `OSError`: for a full disk, naming the file.
    """
    member = member_of(path, suffixes)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}.{secrets.token_hex(4)}{PurePosixPath(member.filename).suffix}"
    done = False
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, BYTES_AT_A_TIME)
        done = True
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path}: {member.filename} in it cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise
    finally:
        if not done:
            remove(target)
    return target
