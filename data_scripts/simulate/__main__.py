"""Simulates 12-lead ECGs with reports, in the layout of CODE-15%. Nothing in it is real.

python -m data_scripts.simulate --output_dir D --num_exams N [--seed S] [--num_proc N]
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import argparse
import sys
from collections.abc import Sequence

from common.arguments import plain_parser
from data_scripts.simulate.cohort import COMPRESSIONS, DEFAULT_EXAMS_PER_PART, CohortSettings, write_cohort
from data_scripts.simulate.exam import REPORT_LANGUAGES, REPORT_READERS
from data_scripts.simulate.findings import KINDS


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of the command line."""
    parser = plain_parser(__doc__)
    parser.add_argument("--output_dir", required=True, help="folder to write; one that holds a simulation is replaced")
    parser.add_argument("--num_exams", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="same seed, same cohort, whatever num_proc (default 0)")
    parser.add_argument("--num_proc", type=int, default=1, help="processes (default 1)")
    parser.add_argument(
        "--prevalence_scale", type=float, default=1.0, help="multiplies CODE-15%%'s prevalences (default 1)"
    )
    parser.add_argument(
        "--exams_per_part",
        type=int,
        default=DEFAULT_EXAMS_PER_PART,
        help=f"exams in one HDF5 file, each made by one process (default {DEFAULT_EXAMS_PER_PART})",
    )
    parser.add_argument("--compression", choices=COMPRESSIONS, default="none", help="of the tracings (default none)")
    parser.add_argument("--clean", action="store_true", help="no noise, offset or exchanged electrode")
    parser.add_argument(
        "--report_reader",
        choices=REPORT_READERS,
        default="shared",
        help="who reads the exam for the report: the reading that the labels are made from (default), or one of its "
        "own, so that words and labels err apart",
    )
    parser.add_argument(
        "--report_language",
        choices=REPORT_LANGUAGES,
        default="pt",
        help="of the reports: Portuguese (default), English, or both, every other exam's in English; signals and "
        "labels are the same",
    )
    parser.add_argument(
        "--marks",
        action="store_true",
        help="also write marks_part{N}.parquet: onset, peak and offset of P, QRS and T in each beat and lead",
    )
    parser.add_argument(
        "--finding_scale",
        type=float,
        default=1.0,
        help="multiplies how often hearts have findings beside the six labels: infarctions, hypertrophy, other "
        "rhythms, ...; 0 draws none (default 1)",
    )
    parser.add_argument(
        "--finding_shares",
        nargs="+",
        type=_share,
        default=[],
        metavar="KIND=SHARE",
        help=f"of single kinds, such as svt=0.05, in place of the scaled share; kinds: {', '.join(KINDS)}",
    )
    return parser.parse_args(argv)


def _share(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected KIND=SHARE, such as svt=0.05: found {word!r}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """
    Simulate a cohort as the command line says.

    Args:
        argv (`Sequence[str]`, *optional*): arguments; those of the process by default.

    Returns:
        `int`: 0; 2 for arguments that cannot be honoured.
    """
    arguments = parse_arguments(argv)
    try:
        settings = CohortSettings(
            num_exams=arguments.num_exams,
            seed=arguments.seed,
            prevalence_scale=arguments.prevalence_scale,
            clean=arguments.clean,
            exams_per_part=arguments.exams_per_part,
            compression=arguments.compression,
            report_reader=arguments.report_reader,
            marks=arguments.marks,
            report_language=arguments.report_language,
            finding_scale=arguments.finding_scale,
            finding_shares=dict(arguments.finding_shares),
        )
        summary = write_cohort(arguments.output_dir, settings, num_proc=arguments.num_proc)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    positives = ", ".join(f"{name} {count}" for name, count in summary["positives"].items())
    print(f"{summary['num_exams']} simulated exams in {arguments.output_dir}; positives: {positives}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
