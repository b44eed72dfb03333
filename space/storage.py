"""Uploaded files: who may store how much, and that none of them stays."""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


MAX_STEM, MAX_SUFFIX = 200, 20  # bytes of a file's name


class QuotaError(ValueError):
    """Somebody wants to store more than there is room for, with the sentence that says so."""


@dataclass
class Upload:
    """
    The files of one upload.

    Args:
        folder (`Path`): Its own, which nobody can guess.
        address (`str`): Whose.
        n_bytes (`int`): Room that it takes.
        until (`float`): When it is deleted, at the latest.
    """

    folder: Path
    address: str
    n_bytes: int
    until: float

    def path_of(self, name: str) -> Path:
        """Where a file of this name goes: the name as it is, but for folders and signs that cannot be seen."""
        kept = "".join(sign for sign in name.replace("\\", "/").rsplit("/", 1)[-1] if sign.isprintable()).strip(". ")
        stem, dot, suffix = kept.rpartition(".")
        stem = _cut(stem or suffix, MAX_STEM)
        return self.folder / (f"{stem}{dot}{_cut(suffix, MAX_SUFFIX)}" if dot else stem or "ecg")


def _cut(text: str, n_bytes: int) -> str:
    return text.encode(errors="replace")[:n_bytes].decode(errors="ignore")


class Storage:
    """
    A folder of uploads, each deleted when it has been used, or after a while.

    Args:
        folder (`Path`): Where they lie; made with the first one.
        max_bytes (`int`), max_bytes_of_one (`int`): Of all visitors together, and of one address.
        max_uploads (`int`), max_uploads_of_one (`int`): The same in uploads, each of at most `max_files` files.
        max_files (`int`): Of one upload.
        keep_s (`float`): How long an upload waits to be used.
        clock (`Callable`): For tests.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_bytes_of_one: int,
        max_uploads: int,
        max_uploads_of_one: int,
        max_files: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.keep_s, self.max_files = folder, keep_s, max_files
        self.max_bytes, self.max_bytes_of_one = max_bytes, max_bytes_of_one
        self.max_uploads, self.max_uploads_of_one = max_uploads, max_uploads_of_one
        self._clock = clock
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def reserve(self, address: str, n_bytes: int) -> Upload:
        """
        Returns the place of an upload that is about to arrive.

        Args:
            address (`str`): Whose.
            n_bytes (`int`): The most that it may take.

        Raises:
            [`QuotaError`]: where there is no room for it.
        """
        self.tidy()
        with self._lock:
            of_one = [upload for upload in self._uploads.values() if upload.address == address]
            for uploads, max_bytes, max_uploads, whose in (
                (of_one, self.max_bytes_of_one, self.max_uploads_of_one, "your"),
                (self._uploads.values(), self.max_bytes, self.max_uploads, "all"),
            ):
                stored = sum(upload.n_bytes for upload in uploads)
                if stored + n_bytes > max_bytes or len(uploads) >= max_uploads:
                    raise QuotaError(
                        f"no room for this upload: {whose} files may take {max_bytes // 2**20} MB and {max_uploads} "
                        f"uploads at a time, and {stored / 2**20:.0f} MB in {len(uploads)} wait to be analysed; "
                        f"try again in {self.keep_s / 60:g} minutes"
                    )
            key = secrets.token_urlsafe(16)
            upload = Upload(self.folder / key, address, n_bytes, self._clock() + self.keep_s)
            self._uploads[key] = upload
        upload.folder.mkdir(parents=True)
        return upload

    def holds(self, path: str | Path) -> bool:
        """Whether a path is that of a file that was uploaded here; it may be deleted by now."""
        path = Path(path)
        return path.parent.parent == self.folder and path.name not in ("", "..")

    def check_kept(self, paths: Iterable[str | Path]) -> None:
        """
        Refuses files of which some were deleted meanwhile.

        Raises:
            `ValueError`: saying for how long they are kept.
        """
        if not all(Path(path).is_file() for path in paths):
            raise ValueError(
                f"these files are no longer kept, {self.keep_s / 60:g} minutes at most: upload them again"
            )

    def renew(self, paths: Iterable[str | Path]) -> None:
        """Keeps the uploads that these files belong to for `keep_s` from now on, while they are being used."""
        until = self._clock() + self.keep_s
        with self._lock:
            for name in {Path(path).parent.name for path in paths} & set(self._uploads):
                self._uploads[name].until = until

    def remove(self, *paths: str | Path) -> None:
        """Deletes the uploads that these files belong to."""
        for folder in {Path(path).parent for path in paths}:
            if folder.parent == self.folder:
                with self._lock:
                    self._uploads.pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)

    def tidy(self) -> None:
        """Deletes what has waited too long."""
        now = self._clock()
        with self._lock:
            old = [upload.folder for upload in self._uploads.values() if upload.until <= now]
        for folder in old:
            self.remove(folder / "any")

    @property
    def n_bytes(self) -> int:
        """Room that is taken or promised."""
        with self._lock:
            return sum(upload.n_bytes for upload in self._uploads.values())


__all__ = ["QuotaError", "Storage", "Upload"]
