"""One writer for each folder: a lock file beside it says who writes, and is gone when the writer is done."""

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path
from threading import Event, Thread

import psutil


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


ORPHANS_WAIT_S = 20.0  # the processes that a killed writer leaves end well within it
RETRY_S = 0.1
CLOCK_MOVES = timedelta(seconds=5)
BEAT_S = 30.0  # how often a writer shows that it lives, by the time of its lock file
SILENCE_S = 300.0  # after so long without a beat, seen from here, a writer of another machine is taken for dead
LOOK_S = 2.0  # how often it is looked at
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux: containers of one machine have one, and several host names
NO_LOCKS = (ENOLCK, ENOSYS, EOPNOTSUPP)  # of file systems that cannot lock a file


@dataclass(frozen=True)
class Writer:
    """
    Who holds a lock.

    Args:
        pid (`int`): Process.
        host (`str`): Name of its machine.
        boot (`str`): Names the machine's start, where the system does; else empty.
        started (`str`): When the process was started, ISO 8601 in UTC.
        command (`str`): Its command line.
    """

    pid: int
    host: str
    boot: str
    started: str
    command: str

    @classmethod
    def this(cls) -> "Writer":
        """Returns this process."""
        pid = os.getpid()
        started = datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC).isoformat(timespec="seconds")
        return cls(pid, socket.gethostname(), _boot_id(), started, shlex.join(sys.argv))

    @classmethod
    def read(cls, path: Path) -> "Writer | None":
        """Returns who wrote a lock file; None where it is empty, half written or gone."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @property
    def is_here(self) -> bool:
        """Whether its machine is this one."""
        return self.host == socket.gethostname() or (self.boot != "" and self.boot == _boot_id())

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, for one of this machine; another process may have its number by now."""
        now = _started(self.pid)
        # The system counts from its own start, which moves a little when the clock is set.
        return now is not None and abs(now - datetime.fromisoformat(self.started)) < CLOCK_MOVES

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.started}: {self.command}"


def lock_path(folder: str | os.PathLike[str]) -> Path:
    """Returns where a folder's lock lies: beside it, as folders are replaced by renaming; of a mounted one inside."""
    real = Path(os.path.realpath(folder))
    return real / ".lock" if os.path.ismount(real) else real.with_name(f"{real.name}.lock")


@contextmanager
def only_writer(folder: str | os.PathLike[str]) -> Iterator[None]:
    """
    Holds a folder, there or not, for this process alone while it is written.

    What must hold of the folder, such as that it does not exist yet, is to be checked within: another writer may have
    finished since an earlier check.

    The lock is the system's own (`flock`): it ends with the process, by kill -9 too, and with the children that it has
    forked, which may still write. A lock file that a dead process of this machine left is taken over. One of another
    machine is watched: a writer that lives touches it every `BEAT_S`, and this one is then refused; after `SILENCE_S`
    of this process' own clock without a touch it is taken over, with a line that says so. A writer that only stood
    still for so long (a suspended job) ends itself when it goes on and finds another one's name. Over NFS `flock`
    reaches other machines only where all mounts allow for it. Where there is no `flock` (Windows, some cluster file
    systems) the file's word alone counts, and two that start in the same moment may both pass.

    Args:
        folder (`str` or `os.PathLike`): Where to the caller writes. A process does not hold one folder twice.

    Raises:
        `BlockingIOError`: where another process holds the folder; naming it.
    """
    path = lock_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    file, me = _taken(path, folder)
    try:
        with _beating(path, me, folder):
            yield
    finally:
        os.ftruncate(file, 0)  # nobody's any more, also where a file that is open cannot be removed
        with suppress(OSError):
            path.unlink()
        os.close(file)


@contextmanager
def _beating(path: Path, me: Writer, folder: str | os.PathLike[str]) -> Iterator[None]:
    """Touches the lock file that this process signed as long as the block runs, in a thread."""
    done = Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            with suppress(OSError):  # a disk that is away for a while
                writer = Writer.read(path)
                if writer == me:
                    os.utime(path)
                elif writer is not None:
                    print(f"error: {folder} was taken over by {writer}", file=sys.stderr, flush=True)
                    os._exit(1)  # before it writes another byte there

    thread = Thread(target=beat, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class _Watch:
    """Tells of a lock file that another machine's writer left whether that one still touches it."""

    def __init__(self) -> None:
        self.seen: tuple[Writer, int] | None = None
        self.since = 0.0

    def is_over(self, writer: Writer, file: int, folder: str | os.PathLike[str]) -> bool:
        """
        Returns whether it was silent for long enough; the time is this process' own, since clocks differ.

        Raises:
            `BlockingIOError`: where it lives, or another one took its place.
        """
        seen = writer, os.fstat(file).st_mtime_ns
        if self.seen is None:
            self.seen, self.since = seen, time.monotonic()
            print(
                f"{folder} was being written by {writer}: taken over if there is no sign of it for {SILENCE_S:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if seen != self.seen:
            raise BlockingIOError(f"{folder} is being written by {writer}")
        if time.monotonic() - self.since < SILENCE_S:
            return False
        print(f"{folder} is taken over from {writer}", file=sys.stderr, flush=True)
        return True


def _taken(path: Path, folder: str | os.PathLike[str]) -> tuple[int, Writer]:
    """The descriptor of the lock file, held and signed, and what it says now."""
    deadline, watch = time.monotonic() + ORPHANS_WAIT_S, _Watch()
    while True:
        pause = RETRY_S
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _lock(file)
            writer = Writer.read(path)
            if locked is None:
                # Unsigned while it is taken or given back; signed by a dead one while its children end.
                lives = writer is not None and (not writer.is_here or writer.is_alive)
                if lives or time.monotonic() > deadline:
                    raise BlockingIOError(f"{folder} is being written by {writer or 'another process'}")
            elif _is(file, path):
                if writer is None or _is_dead(writer, locked, folder) or watch.is_over(writer, file, folder):
                    return file, _signed(file)
                pause = LOOK_S
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        time.sleep(pause)


def _lock(file: int) -> bool | None:
    """True: held. None: another process holds it. False: nobody can, here."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def _is_dead(writer: Writer, locked: bool, folder: str | os.PathLike[str]) -> bool:
    """Whether a writer that signed is known to be dead; False for one of whom nobody here can tell."""
    if locked and writer.is_here:
        return True
    if writer.host != socket.gethostname():
        return False
    if writer.is_alive:
        raise BlockingIOError(f"{folder} is being written by {writer}")
    return True


def _is(file: int, path: Path) -> bool:
    """Whether an open file still has its name: its last holder may have removed it between opening and locking."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _signed(file: int) -> Writer:
    """Writes who holds the lock, and returns it."""
    me = Writer.this()
    os.ftruncate(file, 0)
    os.pwrite(file, (json.dumps(asdict(me)) + "\n").encode(), 0)
    return me


def _started(pid: int) -> datetime | None:
    """When a process was started; None where there is none."""
    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC)
    except psutil.NoSuchProcess:
        return None


def _boot_id() -> str:
    return BOOT_ID.read_text(encoding="utf-8").strip() if BOOT_ID.is_file() else ""
