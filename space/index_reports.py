"""
Embeds a small set of an exam table's reports in a dual encoder's joint space, for the page to search.

    python -m space.index_reports --clip_model_name_or_path R --dataset_name_or_path O [--num_reports 300]

runs where the exam table is and writes `report_index.npz` into the dual encoder's folder; the page needs nothing else.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.arguments import plain_parser
from data_scripts.tables.schema import load_exam_table
from modeling_ecgclip import EcgClipModel, EcgClipProcessor
from modeling_ecgclip.checksums_ecgclip import DamagedFileError
from modeling_ecgclip.losses_ecgclip import NO_REPORT
from space.nearest import INDEX_FILE, ReportIndex, embed_reports, fingerprint


DEFAULT_REPORTS = 300
SIMULATED = "simulated"  # the source that the simulator states


def build_index(
    clip_model: str, dataset: str, num_reports: int = DEFAULT_REPORTS, seed: int = 0, allow_real_reports: bool = False
) -> ReportIndex:
    """
    Returns an index of distinct reports of an exam table's training split.

    Args:
        clip_model (`str`): Folder or Hub id of an `EcgClipModel` with its processor.
        dataset (`str`): Folder or Hub id of an exam table with reports.
        num_reports (`int`, defaults to 300): Drawn at random; all, where the table has fewer.
        seed (`int`, defaults to 0): Of the draw.
        allow_real_reports (`bool`, defaults to `False`): The reports may be published although they are not simulated.

    Raises:
        `ValueError`: for a table without reports, or reports of patients without `allow_real_reports`.
    """
    if num_reports < 1:
        raise ValueError(f"--num_reports must be at least 1: found {num_reports}")
    train = load_exam_table(dataset)["train"].select_columns(["source", "report", "report_id"])
    sources = sorted(set(train["source"]))
    if sources != [SIMULATED] and not allow_real_reports:
        raise ValueError(
            f"{dataset}: the reports come from {', '.join(sources)} and may speak of patients, and everyone who opens "
            "the Space can read them: --allow_real_reports says that you may publish them"
        )
    distinct = dict.fromkeys(
        report for report, report_id in zip(train["report"], train["report_id"], strict=True) if report_id != NO_REPORT
    )
    if not distinct:
        raise ValueError(f"{dataset}: the training split has no reports")
    reports = list(distinct)
    chosen = np.random.default_rng(seed).permutation(len(reports))[:num_reports]
    reports = [reports[i] for i in sorted(chosen)]
    model = EcgClipModel.from_pretrained(clip_model).eval()
    tokenizer = EcgClipProcessor.from_pretrained(clip_model).tokenizer
    return ReportIndex(reports, embed_reports(model, tokenizer, reports), fingerprint(model), ", ".join(sources))


def main(argv: Sequence[str] | None = None) -> int:
    """Builds and writes an index; returns 0, or 2 for arguments that cannot be honoured."""
    parser = plain_parser(__doc__)
    parser.add_argument("--clip_model_name_or_path", required=True, help="dual encoder: a folder or a model id")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table with reports: a folder or an id")
    parser.add_argument(
        "--output_file",
        type=Path,
        help=f"default: {INDEX_FILE} in the dual encoder's folder, where app.py looks for it",
    )
    parser.add_argument(
        "--num_reports",
        type=int,
        default=DEFAULT_REPORTS,
        help=f"how many, drawn at random (default {DEFAULT_REPORTS})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument(
        "--allow_real_reports",
        action="store_true",
        help="the reports may be published although they are not simulated",
    )
    args = parser.parse_args(argv)
    output_file = args.output_file or Path(args.clip_model_name_or_path, INDEX_FILE)
    if args.output_file is None and not output_file.parent.is_dir():
        print(
            f"error: {output_file.parent} is no folder: for a model on the Hub name an --output_file", file=sys.stderr
        )
        return 2
    try:
        index = build_index(
            args.clip_model_name_or_path,
            args.dataset_name_or_path,
            args.num_reports,
            args.seed,
            args.allow_real_reports,
        )
    except (ValueError, OSError, DamagedFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    index.save(output_file)
    print(f"{len(index.reports)} {index.source} reports in {output_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
