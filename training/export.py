"""
Exports a classifier to ONNX or OpenVINO; see publishing/export.py.

Example:
    python -m training.export --model_name_or_path runs/cls --output_dir runs/onnx --format onnx
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import sys

from publishing.export import main


__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
