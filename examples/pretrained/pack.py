"""
Packs a finished run as it lies in pretrained/: float16 weights, settings and records, the package's code by name.

    python -m examples.pretrained.pack --folder runs/cls --output_dir pretrained/cls
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys
from pathlib import Path

from common.arguments import plain_parser
from common.commands import exit_status
from publishing.pretrained import pack


def main(argv: list[str] | None = None) -> int:
    """Packs what the command line names; returns the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of a run of train_clip.py or train_cls.py")
    parser.add_argument("--output_dir", type=Path, required=True, help="such as pretrained/cls")
    args = parser.parse_args(argv)
    return exit_status(lambda: pack(args.folder, args.output_dir))


if __name__ == "__main__":
    sys.exit(main())
