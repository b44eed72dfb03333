"""Publishes an exam table as Parquet, with a card: in a folder, and on the Hub; see publishing/dataset.py.

python -m data_scripts.publish --dataset_name_or_path O --repo_id USER/NAME [--public] [--include_text_table]
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys

from publishing.dataset import main, run


__all__ = ["main", "run"]

if __name__ == "__main__":
    sys.exit(run())
