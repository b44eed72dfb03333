"""
How does a classifier of CODE's six labels read real ECGs, as it stands?

    python benchmarks/real/run.py [--model_name_or_path D] [--sample_data D] [--output_file F] [--predictions_file F]

For each set of real ECGs and for all of them together, an exam that is in two sets counted once: AUROC and F1 of each
label at the model's own thresholds, with 95 % intervals from a bootstrap over patients. A label that a source does not
state is unknown, not absent. Nothing is fitted to these ECGs. Prints tables in Markdown and ends in one line of JSON.
`--output_file` keeps the whole result: as real_ecgs.json in the folder of a run, its card shows it.
`--predictions_file` keeps the probability of each exam and label (Parquet).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.real.exams import SETS, RealExam, once, real_exams  # noqa: E402 (the path comes first)
from common.files import write_json  # noqa: E402
from modeling_ecgclip import LABEL_NAMES, pretrained_folder, read_ecg  # noqa: E402
from modeling_ecgclip.hub_ecgclip import state_saved_settings  # noqa: E402
from publishing.real_ecgs import SHOWN, real_table, weights_digest  # noqa: E402
from training.evaluation import SplitPredictions, evaluate_predictions, write_predictions  # noqa: E402


BATCH = 32
ALL = "all"


def probabilities_of(
    folder: str | Path, exams: Sequence[RealExam]
) -> tuple[np.ndarray, list[dict[str, str]], tuple[float, ...]]:
    """
    Returns what a classifier makes of exams.

    Args:
        folder (`str` or `Path`): Of a classifier of CODE's six labels, in any order.
        exams (`Sequence[RealExam]`): From [`real_exams`].

    Returns:
        `tuple`: probabilities (exams, labels), float64, labels in the order of `LABEL_NAMES`, NaN for an exam that the
        preprocessing refuses; those exams, with the reason; the model's thresholds in that order.

    Raises:
        `ValueError`: for a classifier of other labels, or without thresholds.
    """
    model = AutoModelForAudioClassification.from_pretrained(folder)
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if sorted(names) != sorted(LABEL_NAMES) or model.config.thresholds is None:
        raise ValueError(
            f"{folder}: expected a classifier of {', '.join(LABEL_NAMES)} with thresholds: found {', '.join(names)}"
            f"{' without thresholds' if model.config.thresholds is None else ''}"
        )
    order = [names.index(name) for name in LABEL_NAMES]
    extractor, fast = AutoFeatureExtractor.from_pretrained(folder), model.for_inference()
    chances, refused = np.full((len(exams), len(LABEL_NAMES)), np.nan), []
    for start in tqdm(range(0, len(exams), BATCH), desc="exams"):
        read, places = [], []
        for place, exam in enumerate(exams[start : start + BATCH], start):
            record = read_ecg(exam.path)
            try:
                read.append(
                    extractor.standardize(
                        record.signal, record.sampling_rate, record.lead_names, record.unit, record.name
                    )
                )
            except ValueError as error:
                refused.append({"set": exam.set, "exam_id": exam.exam_id, "reason": str(error)})
            else:
                places.append(place)
        if read:
            inputs = extractor.features(read, return_tensors="pt")
            with torch.inference_mode():
                chances[places] = fast(inputs["input_values"]).logits.sigmoid().double().numpy()[:, order]
    return chances, refused, tuple(model.config.thresholds[i] for i in order)


def predictions_of(name: str, exams: Sequence[RealExam], chances: np.ndarray, rows: np.ndarray) -> SplitPredictions:
    """Returns labels and probabilities of some of the exams, by a mask; what was refused is left out."""
    places = np.flatnonzero(rows & ~np.isnan(chances).any(axis=1)).tolist()
    chosen = [exams[place] for place in places]
    return SplitPredictions(
        name,
        np.array([exam.exam_id for exam in chosen]),
        np.array([exam.patient_id for exam in chosen]),
        np.array([exam.labels for exam in chosen]),
        chances[places],
        ages=np.array([exam.age for exam in chosen]),
        sexes=np.array([exam.sex for exam in chosen], object),
    )


def measure(
    folder: str | Path, exams: Sequence[RealExam], n_resamples: int = 1000
) -> tuple[dict[str, Any], list[SplitPredictions]]:
    """Returns the record of `--output_file`, and the predictions that it rests on: of each set, and of all."""
    chances, refused, thresholds = probabilities_of(folder, exams)
    of_set = np.array([exam.set for exam in exams])
    masks = {name: of_set == name for name in SETS} | {ALL: once(list(exams))}
    parts = [predictions_of(name, exams, chances, rows) for name, rows in masks.items()]
    measured = {}
    for part in parts:
        bare = replace(part, ages=None, sexes=None)
        measured[part.split] = evaluate_predictions(None, bare, LABEL_NAMES, thresholds, n_resamples)["test"]
    record = {
        "weights": weights_digest(Path(folder)),
        "label_names": list(LABEL_NAMES),
        "thresholds": dict(zip(LABEL_NAMES, thresholds, strict=True)),
        "sets": measured,
        "refused": refused,
    }
    return record, parts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data")
    parser.add_argument(
        "--model_name_or_path", help="folder of a classifier (default: the one that comes with ecgclip)"
    )
    parser.add_argument("--sample_data", type=Path, default=Path(default), help="folder of the sets of real ECGs")
    parser.add_argument("--output_file", type=Path, help="where the whole result is written, as JSON")
    parser.add_argument("--predictions_file", type=Path, help="where the probabilities are written, as Parquet")
    arguments = parser.parse_args(argv)
    folder = arguments.model_name_or_path or pretrained_folder()
    record, parts = measure(folder, real_exams(arguments.sample_data))
    if arguments.output_file is not None:
        write_json(arguments.output_file, record)
        state_saved_settings(arguments.output_file.parent, arguments.output_file.name)
    if arguments.predictions_file is not None:
        write_predictions(arguments.predictions_file, parts, LABEL_NAMES)
    for metric, title in SHOWN.items():
        print(f"\n{title} (positives) [95 % interval]\n\n{real_table(record, metric)}")
    for one in record["refused"]:
        print(f"\nrefused: {one['set']} {one['exam_id']}: {one['reason']}")
    means = {name: found["mean"] for name, found in record["sets"].items()}
    exams = {name: found["n_exams"] for name, found in record["sets"].items()}
    print(json.dumps({"benchmark": "real", "exams": exams, "refused": len(record["refused"]), "mean": means}))


if __name__ == "__main__":
    main()
