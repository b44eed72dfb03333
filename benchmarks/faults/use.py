"""Loads a saved classifier as its users do, and lets it answer once: `python -m benchmarks.faults.use FOLDER`."""

import sys
from typing import Any

from transformers import pipeline

from common.commands import exit_status
from modeling_ecgclip.pretrained_ecgclip import example_ecg


def main() -> None:
    """Answers about the example."""
    task: Any = "ecg-classification"
    classify = pipeline(task, model=sys.argv[1], trust_remote_code=True)
    print(classify(example_ecg()))


if __name__ == "__main__":
    sys.exit(exit_status(main, ImportError))
