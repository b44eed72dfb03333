"""Runs mypy over the project, and fails where a package has more errors than types_budget.json allows, or fewer.

    python .ci/check_types.py            # check
    python .ci/check_types.py --settle   # write the numbers as they are now; refused where their sum has risen

A package is a folder or a script of the project's root. One that the budget does not name may have no error. Fewer
errors than allowed fail too, so that what was gained is not lost again. What is CLEAN may never have an error again.
"""

import json
import re
import subprocess
import sys
from pathlib import Path


PROJECT = Path(__file__).resolve().parent.parent
BUDGET = Path(__file__).with_name("types_budget.json")
CLEAN = ("modeling_ecgclip",)  # what users install, and what travels with each model
ERROR = re.compile(r"^(?P<file>[^:\s][^:]*):\d+(:\d+)?: error: ")
COMMAND = [sys.executable, "-m", "mypy", "--no-pretty", "--hide-error-context", "--no-color-output"]
FOUND_ERRORS = (0, 1)  # mypy's exit codes where it came to an end; 2 is a crash, or a file that it cannot parse


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    if arguments not in ([], ["--settle"]):
        print(__doc__, file=sys.stderr)
        return 2
    done = subprocess.run(COMMAND, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode not in FOUND_ERRORS:
        print(done.stdout + done.stderr, file=sys.stderr)
        return done.returncode
    errors = errors_by_package(done.stdout)
    found = {package: len(lines) for package, lines in errors.items()}
    allowed = json.loads(BUDGET.read_text(encoding="utf-8"))
    if arguments:
        return settle(found, allowed)
    complaints = complain(found, allowed)
    for package in sorted(found):
        if found[package] > allowed.get(package, 0):
            print("\n".join(errors[package]))
    print("\n".join(complaints) or f"types: {sum(found.values())} errors, as many as {BUDGET.name} allows")
    return 1 if complaints else 0


def errors_by_package(output: str) -> dict[str, list[str]]:
    """Returns the lines of mypy's output that are errors, by the first part of the file's path."""
    errors: dict[str, list[str]] = {}
    for line in output.splitlines():
        match = ERROR.match(line)
        if match:
            errors.setdefault(Path(match["file"]).parts[0], []).append(line)
    return errors


def complain(found: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """Returns one line for each package whose errors are not as many as it may have."""
    complaints = []
    for package in sorted(allowed.keys() & set(CLEAN)):
        complaints.append(f"{package}: expected no entry in {BUDGET.name}, since it is clean: found one")
    for package in sorted(found.keys() | allowed.keys()):
        n_found, n_allowed = found.get(package, 0), allowed.get(package, 0)
        if n_found > n_allowed:
            complaints.append(f"{package}: expected at most {n_allowed} type errors: found {n_found}, listed above")
        elif n_found < n_allowed:
            complaints.append(
                f"{package}: {n_allowed} type errors are allowed and {n_found} are left: lower the budget with "
                "python .ci/check_types.py --settle"
            )
    return complaints


def settle(found: dict[str, int], allowed: dict[str, int]) -> int:
    """Writes the budget anew, where there are no more errors in all and none in CLEAN; returns the exit status."""
    for package in sorted(found.keys() & set(CLEAN)):
        print(f"{package}: expected no type error, since it is clean: found {found[package]}", file=sys.stderr)
        return 1
    n_found, n_allowed = sum(found.values()), sum(allowed.values())
    if n_found > n_allowed:
        print(f"expected at most {n_allowed} type errors in all: found {n_found}", file=sys.stderr)
        return 1
    BUDGET.write_text(json.dumps(dict(sorted(found.items())), indent=2) + "\n", encoding="utf-8")
    print(f"{BUDGET.name}: {n_found} errors, {n_allowed - n_found} fewer than before")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
