"""Faults on purpose: kills, flipped bits, full disks, two writers, changed resumes; what came of each, in one table.

    python benchmarks/faults/run.py [--arms kills flips] [--quick] [--output_dir build/faults]

All that is at random follows from one seed, which stands in the record. Writes faults.md and faults.json, and ends in
one line of JSON; exits with 1 where something did not go as the documents promise.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm.auto import tqdm


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.faults import disks, flips, kills, resumes, writers  # noqa: E402 (the path comes first)
from benchmarks.faults.cases import Case, Outcome, table_rows  # noqa: E402
from benchmarks.faults.jobs import SEED, Workshop, open_workshop  # noqa: E402
from common.files import write_json, write_text  # noqa: E402
from common.markdown import markdown_table  # noqa: E402


ARMS: dict[str, Callable[[Workshop, bool], list[Case]]] = {
    "kills": kills.plan,
    "flips": flips.plan,
    "disks": disks.plan,
    "writers": writers.plan,
    "resumes": resumes.plan,
}


def run_case(case: Case) -> Outcome:
    """Returns what came of a case; a benchmark that stumbles over it says so instead of ending all others."""
    try:
        return case.run()
    except (OSError, RuntimeError, ValueError) as error:
        return Outcome([f"the benchmark could not tell: {error!r}"])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the arms; returns 0 where all went as promised, else 1."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--quick", action="store_true", help="a few cases of each arm")
    parser.add_argument("--output_dir", type=Path, default=PROJECT / "build" / "faults")
    arguments = parser.parse_args(argv)
    began, done = time.monotonic(), []
    with TemporaryDirectory(prefix="faults-") as folder:
        workshop = open_workshop(Path(folder).resolve())
        cases = [case for arm in arguments.arms for case in ARMS[arm](workshop, arguments.quick)]
        with tqdm(cases, unit="case") as bar:
            for case in bar:
                bar.set_description(f"{case.arm}, {case.what}")
                done.append((case, run_case(case)))
                if not done[-1][1].is_good:
                    bar.write(f"{case.arm}, {case.what}, {case.how}: {'; '.join(done[-1][1].faults)}")
    table = markdown_table(table_rows(done), right=())
    write_text(arguments.output_dir / "faults.md", table)
    entries = [
        {"arm": case.arm, "what": case.what, "how": case.how, "faults": outcome.faults, "said": outcome.said}
        for case, outcome in done
    ]
    write_json(arguments.output_dir / "faults.json", {"seed": SEED, "quick": arguments.quick, "cases": entries})
    good = sum(outcome.is_good for _, outcome in done)
    print(table)
    summary = {"benchmark": "faults", "cases": len(done), "as_promised": good}
    print(json.dumps({**summary, "minutes": round((time.monotonic() - began) / 60, 1)}))
    return 0 if good == len(done) else 1


if __name__ == "__main__":
    sys.exit(main())
