"""
Fits a classifier's probabilities and thresholds to a few labelled exams; see publishing/recalibrate.py.

Example:
    python -m training.recalibrate --model_name_or_path runs/cls --dataset_name_or_path own --output_dir runs/own
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys

from publishing.recalibrate import main


__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
