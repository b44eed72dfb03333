"""
Renews requirements.lock: all that `.[dev]` needs, each package in one version, with the hashes of its files on PyPI.

    python .ci/lock.py [--upgrade NAME ...]

Versions stay as they are but for those to upgrade and what is new. pip chooses them, as on this machine; uv lists the
files of each, for every system and Python. A file that pip would take here and that PyPI does not have, such as a CPU
build of torch, is allowed beside them. Above each package stands what it is for, so that
`.ci/install.py` may install a part.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
NAME = "ecgclip"
EVERYTHING = "dev"  # the extra that names all others
MODELS = "models"  # in the lock's comments: what the package needs without any extra
UV = "uv==0.13.9"
# What torch's builds for a GPU bring: each build states its own, so `make install` lets pip add them.
OF_TORCH = re.compile(r"nvidia-|cuda-|triton")
HEADER = """\
# The versions that the tests are run with, and the sha256 of every file that may be installed of them.
# `make lock` renews it; `make install` installs it. A user with a GPU installs the torch that fits it afterwards.
# Above each package: what it is for, models without any extra, or extras of pyproject.toml.
"""


def locked_versions(text: str) -> dict[str, str]:
    """Returns the version of each package of a lock file."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def part_of_lock(text: str, extra: str) -> str:
    """
    Returns the packages of a lock file that an extra needs, in the same format.

    Args:
        text (`str`): Of the whole lock file.
        extra (`str`): Such as `"train"`; `"dev"` needs everything.
    """
    wanted = {MODELS, extra, *included(extra)}
    blocks = re.findall(r"^# for: (.+)\n((?:[^#\n].*\n)+)", text, re.MULTILINE)
    return "".join(block for purposes, block in blocks if extra == EVERYTHING or wanted & set(purposes.split(", ")))


def own_requirements() -> dict[str, list[str]]:
    """Returns what pyproject.toml asks for: by extra, and under `MODELS` what is needed without any."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {MODELS: project["dependencies"], **project["optional-dependencies"]}


def included(extra: str) -> set[str]:
    """Returns the extras that an extra names."""
    named = [re.fullmatch(rf"{NAME}\[(.+)\]", line) for line in own_requirements()[extra]]
    return {one for match in named if match for one in match[1].split(",")}


def purposes(requires: dict[str, list[str]]) -> dict[str, list[str]]:
    """
    Returns what each package is for: `MODELS`, or the extras that need it without naming another that does.

    Args:
        requires (`dict[str, list[str]]`): By package, what it says of itself that it needs.
    """
    from packaging.requirements import Requirement  # where a part is installed there is but Python's own library

    reached: dict[str, set[str]] = {}
    for purpose, lines in own_requirements().items():
        waiting = [one for one in map(Requirement, lines) if one.name != NAME]
        seen: set[tuple[str, str]] = set()
        while waiting:
            one = waiting.pop()
            name = re.sub(r"[-_.]+", "-", one.name).lower()
            for extra in {"", *one.extras} if name in requires else ():
                if (name, extra) not in seen:
                    seen.add((name, extra))
                    needed = map(Requirement, requires[name])
                    waiting += [it for it in needed if it.marker is None or it.marker.evaluate({"extra": extra})]
        for name, _ in seen:
            reached.setdefault(name, set()).add(purpose)
    return {
        name: [MODELS] if MODELS in found else sorted(one for one in found if not found & included(one))
        for name, found in reached.items()
    }


def chosen(kept: dict[str, str], folder: Path) -> tuple[dict[str, tuple[str, str]], dict[str, list[str]]]:
    """Returns version and sha256 of the files that pip would install, and what they need, both by package."""
    constraints, report = folder / "constraints.txt", folder / "report.json"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--report", str(report), "--constraint", str(constraints), f"{PROJECT}[{EVERYTHING}]"]
    subprocess.run(command, check=True)
    found, requires = {}, {}
    for item in json.loads(report.read_text(encoding="utf-8"))["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if item["is_direct"] or OF_TORCH.match(name):  # the former is this project
            continue
        version = item["metadata"]["version"].partition("+")[0]
        found[name] = (version, item["download_info"]["archive_info"]["hashes"]["sha256"])
        requires[name] = item["metadata"].get("requires_dist", [])
    return found, requires


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


def written(files: dict[str, tuple[str, list[str]]], needed_for: dict[str, list[str]]) -> str:
    """Returns the text of a lock file, of version and hashes of each package, and of what it is for."""
    lines = []
    for name, (version, hashes) in sorted(files.items()):
        pin = " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{one}" for one in sorted(hashes))])
        lines.append(f"# for: {', '.join(needed_for[name])}\n{pin}\n")
    return HEADER + "".join(lines)


def main() -> None:
    """Writes the lock file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", nargs="+", default=[], metavar="NAME", help="packages that may get a new version")
    args = parser.parse_args()
    kept = locked_versions(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        found, requires = chosen({name: one for name, one in kept.items() if name not in args.upgrade}, Path(folder))
        listed = listed_hashes({name: version for name, (version, _) in found.items()}, Path(folder))
    files = {name: (version, list({*listed[name], taken})) for name, (version, taken) in found.items()}
    LOCK.write_text(written(files, purposes(requires)), encoding="utf-8")
    print(f"{len(files)} packages in {LOCK.name}")


if __name__ == "__main__":
    main()
