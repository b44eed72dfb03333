"""Published weights to folders that this package loads: the networks of Ribeiro et al. 2020 and Lima et al. 2021.

    python -m modeling_ecgclip.convert_published --source model.hdf5 --architecture ribeiro2020 --output_dir O

`publishing/published_weights.py` of a checkout does the work: no model needs it, so it is not installed with them.
"""

from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> Path:
    """Converts; returns and prints the folder."""
    try:
        from publishing.published_weights import main as convert
    except ModuleNotFoundError as error:
        if error.name not in ("publishing", "publishing.published_weights"):
            raise
        raise SystemExit("converting published weights needs a checkout of ecgclip: run this in its folder") from None
    return convert(argv)


if __name__ == "__main__":
    main()
