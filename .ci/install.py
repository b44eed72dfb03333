"""
Installs the project into the virtual environment of the Python that runs it, with the versions of requirements.lock.

    python .ci/install.py [--extra train]

Every file is compared with its hashes. Of torch pip chooses the build by itself, as it chooses no other file while
hashes are required; what a build for a GPU needs besides is not in the lock. It needs nothing but Python and pip.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lock import EVERYTHING, LOCK, PROJECT, locked_versions, own_requirements, part_of_lock


STAGES = 3
LINES_WITHOUT_TERMINAL = 4  # of a stage that takes minutes, where lines cannot be written over


def check(path: Path) -> None:
    """Refuses a file of which the lock file has no hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if f"--hash=sha256:{digest}" not in LOCK.read_text(encoding="utf-8").split():
        raise SystemExit(f"{path.name}: its sha256 {digest} is not in {LOCK.name}: another file than was tested")


def pip(*arguments: str) -> Iterator[str]:
    """
    Runs pip and yields its lines.

    Raises:
        `SystemExit`: where it fails, with what it said of that.
    """
    command = [sys.executable, "-m", "pip", *arguments, "--progress-bar", "off", "--disable-pip-version-check"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = []
        for line in process.stdout or ():
            said.append(line.rstrip())
            yield said[-1]
    if process.returncode:
        raise SystemExit("\n".join(["pip failed:", *said[-20:]]))


def megabytes(line: str) -> float:
    """Returns the size that a line of pip states: "Downloading torch-2.13.0.whl (190.2 MB)"."""
    size = re.search(r"\(([\d.]+) ([kMG]?)B\)$", line)
    return float(size[1]) * {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3}[size[2]] if size else 0.0


def follow(lines: Iterator[str], total: int) -> str:
    """Shows how many of `total` packages pip has got, and returns how many megabytes they were."""
    got, fetched, every = 0, 0.0, -(-total // LINES_WITHOUT_TERMINAL)
    for line in lines:
        fetched += megabytes(line) if re.match(r"\s+(Downloading|Using cached)", line) else 0
        collecting = re.match(r"(?:Collecting|Processing) (\S+)", line)
        if collecting:
            got += 1
            said = f"      {got} of {total} packages, {fetched:.0f} MB"
            if sys.stdout.isatty():
                print(f"\r{said}: {collecting[1].rpartition('/')[2]:.50}\033[K", end="", flush=True)
            elif got % every == 0:
                print(said, flush=True)
        if line.startswith("Installing collected"):
            print("\r\033[K" if sys.stdout.isatty() else "", end="")
            print(f"      unpacking {got} packages", flush=True)
    return f"{fetched:.0f} MB"


def stage(number: int, text: str) -> None:
    """Says what comes now."""
    print(f"[{number}/{STAGES}] {text}", flush=True)


def install(extra: str) -> None:
    """Installs what an extra needs, and the checkout itself."""
    locked = part_of_lock(LOCK.read_text(encoding="utf-8"), extra)
    versions = locked_versions(locked)
    with tempfile.TemporaryDirectory() as folder:
        wheels, part = Path(folder, "torch"), Path(folder, "part.lock")
        part.write_text(locked, encoding="utf-8")
        stage(1, f"torch {versions['torch']}, the build that pip chooses")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(wheels)]
        if subprocess.run([*command, f"torch=={versions['torch']}"], check=False).returncode:  # with pip's own bar
            raise SystemExit("pip could not fetch torch")
        (wheel,) = wheels.glob("*.whl")
        check(wheel)
        for _ in pip("install", "--no-deps", str(wheel)):
            pass
        stage(2, f"the other {len(versions) - 1} packages, each file compared with its hash")
        lines = pip("install", "--require-hashes", "--no-deps", "--requirement", str(part))
        print(f"      {follow(lines, len(versions) - 1)}")
    stage(3, f"ecgclip itself, from this folder, with [{extra}]")
    for _ in pip("install", "--no-build-isolation", "--editable", f"{PROJECT}[{extra}]"):
        pass


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", choices=list(own_requirements()), default=EVERYTHING, help="what to install for")
    install(parser.parse_args().extra)


if __name__ == "__main__":
    main()
