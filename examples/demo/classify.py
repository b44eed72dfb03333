"""
Classifies one ECG by a saved folder alone, and draws it: what anyone does who downloads the model.

The project's own packages are made impossible to import first, so that everything comes from the folder: weights, code
and preprocessing.

Example:
    python examples/demo/classify.py --model_dir build/demo/hub/cls-from-clip --example build/demo/example.json \
        --figure ecg.png
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


PROJECT = {
    "modeling_ecgclip",
    "common",
    "data_scripts",
    "metrics",
    "training",
    "publishing",
    "train_clip",
    "train_cls",
}


class Absent:
    """Import hook that lets this interpreter be one where the project was never installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuses the project's packages and leaves all others to Python."""
        if name.partition(".")[0] in PROJECT:
            raise ModuleNotFoundError(f"{name} is not to be used here", name=name)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_dir", required=True, help="folder or Hub id of a classifier")
    parser.add_argument(
        "--example", type=Path, required=True, help="JSON with path and exam_id of an exam of CODE-15%%"
    )
    parser.add_argument("--figure", type=Path, required=True, help="PNG to draw")
    args = parser.parse_args()
    sys.meta_path.insert(0, Absent())

    from transformers import pipeline

    task: Any = "ecg-classification"
    classify = pipeline(task, model=args.model_dir, trust_remote_code=True)
    example = json.loads(args.example.read_text())
    ecg = {"path": example["path"], "exam_id": example["exam_id"]}
    kind = "/".join(example["sources"])
    print(f"{kind} exam {example['exam_id']}, labelled {', '.join(example['labels']) or 'normal'}")
    for result in classify(ecg):
        print(f"  {result['label']:<6} {result['score']:.3f}  {'positive' if result['positive'] else ''}")
    title = f"{kind} exam {example['exam_id']} (labelled {', '.join(example['labels']) or 'normal'})"
    classify.plot(ecg, title=title).savefig(args.figure)
    print(f"drawn in {args.figure}")


if __name__ == "__main__":
    main()
