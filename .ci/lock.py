"""
Renews requirements.lock: all that `.[dev]` needs, each package in one version, with the hashes of its files on PyPI.

    python .ci/lock.py [--upgrade NAME ...]
    python .ci/lock.py --check FILE  # refuse a file whose hash is not in the lock

Versions stay as they are but for those to upgrade and what is new. pip chooses them, as on this machine; uv lists the
files of each, for every system and Python. A file that pip would take here and that PyPI does not have, such as a CPU
build of torch, is allowed beside them.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
UV = "uv==0.13.9"
# What torch's builds for a GPU bring: each build states its own, so `make install` lets pip add them.
OF_TORCH = re.compile(r"nvidia-|cuda-|triton")
HEADER = """\
# The versions that the tests are run with, and the sha256 of every file that may be installed of them.
# `make lock` renews it; `make install` installs it. A user with a GPU installs the torch that fits it afterwards.
"""


def locked_versions(text: str) -> dict[str, str]:
    """Returns the version of each package of a lock file."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def chosen(kept: dict[str, str], folder: Path) -> dict[str, tuple[str, str]]:
    """Returns version and sha256 of the files that pip would install, by package."""
    constraints, report = folder / "constraints.txt", folder / "report.json"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--report", str(report), "--constraint", str(constraints), f"{PROJECT}[dev]"]
    subprocess.run(command, check=True)
    found = {}
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if item["is_direct"] or OF_TORCH.match(name):  # the former is this project
            continue
        version = item["metadata"]["version"].partition("+")[0]
        found[name] = (version, item["download_info"]["archive_info"]["hashes"]["sha256"])
    return found


def listed_hashes(versions: dict[str, str], folder: Path) -> dict[str, list[str]]:
    """Returns the sha256 of all files that PyPI has of some versions, by package."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), UV], check=True)
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
    command = [
        str(folder / "bin" / "uv"),
        "pip",
        "compile",
        "--quiet",
        "--no-deps",
        "--generate-hashes",
        "--universal",
    ]
    command += ["--no-header", "--no-annotate", "--no-config", str(pins)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    hashes: dict[str, list[str]] = {}
    for line in text.splitlines():
        if pin := re.match(r"([\w.-]+)==", line):
            hashes[pin[1]] = []
        elif digest := re.search(r"--hash=sha256:(\w+)", line):
            hashes[list(hashes)[-1]].append(digest[1])
    return hashes


def check(path: Path) -> None:
    """Refuses a file of which the lock file has no hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if f"--hash=sha256:{digest}" not in LOCK.read_text(encoding="utf-8").split():
        raise SystemExit(f"{path.name}: its sha256 {digest} is not in {LOCK.name}: another file than was tested")


def main() -> None:
    """Writes the lock file, or compares a file with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", nargs="+", default=[], metavar="NAME", help="packages that may get a new version")
    parser.add_argument("--check", type=Path, metavar="FILE", help="only compare this file with the lock's hashes")
    args = parser.parse_args()
    if args.check is not None:
        check(args.check)
        return
    kept = locked_versions(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = chosen({name: one for name, one in kept.items() if name not in args.upgrade}, Path(folder))
        listed = listed_hashes({name: version for name, (version, _) in found.items()}, Path(folder))
    lines = []
    for name, (version, taken) in sorted(found.items()):
        hashes = sorted({*listed[name], taken})
        lines.append(" \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in hashes)]))
    LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} packages in {LOCK.name}")


if __name__ == "__main__":
    main()
