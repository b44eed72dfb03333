"""
Does a classifier that saw simulated exams alone read real ones? AUROC and F1 for each label on an exam table of real
ECGs, with 95 % intervals from a bootstrap over patients, and networks with random weights as control.

Make the model with train_cls.py on a simulated table, and the table with `python -m data_scripts.ptbxl`; then

    python benchmarks/simulate/transfer.py --model_name_or_path runs/cls --dataset_name_or_path ptbxl

All splits are measured together, since none was trained on. F1 is that at the model's own thresholds, which were
chosen on simulated exams. The controls have the model's architecture, the weights that a training starts from, and one
seed each: their mean and standard deviation. Ends in one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.markdown import markdown_table
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, multilabel_metrics, rank_metrics
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification
from training.augmentation import SignalInput
from training.data import ExamSplit, ExamTable, ordered_batches


SHOWN = ("auroc", "f1")


def probabilities_of(
    model: EcgResNetForSignalClassification, input_values: SignalInput, splits: list[ExamSplit], name: str
) -> np.ndarray:
    """Probabilities of all exams, (exams, labels), split after split."""
    found = []
    for split in splits:
        with torch.inference_mode():
            for batch in tqdm(ordered_batches(split, 64, 0, 1, 0, torch.device("cpu")), desc=name):
                found.append(model(input_values(batch)).logits.sigmoid().numpy())
    return np.concatenate(found).astype(float)


def with_interval(value: dict[str, Any], interval: dict[str, dict[str, Any]], metric: str) -> str:
    """A cell: the value and its interval."""
    if value[metric] is None:
        return "undefined"
    low, high = interval[metric]["low"], interval[metric]["high"]
    return f"{value[metric]:.3f}" if low is None else f"{value[metric]:.3f} [{low:.3f}, {high:.3f}]"


def controls(
    model: EcgResNetForSignalClassification,
    input_values: SignalInput,
    splits: list[ExamSplit],
    names: list[str],
    n_seeds: int,
) -> list[dict[str, Any]]:
    """Rank metrics of networks with random weights."""
    labels = np.concatenate([split.labels for split in splits])
    results = []
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        untrained = type(model)(model.config).eval()
        results.append(
            rank_metrics(probabilities_of(untrained, input_values, splits, f"random {seed}"), labels, names)
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", required=True, help="a classifier")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table of real ECGs")
    parser.add_argument("--n_random", type=int, default=5, help="networks with random weights (default 5)")
    args = parser.parse_args()
    model = EcgResNetForSignalClassification.from_pretrained(args.model_name_or_path).eval()
    table = ExamTable.load(args.dataset_name_or_path)
    input_values = SignalInput(EcgFeatureExtractor.from_pretrained(args.model_name_or_path), table.schema.signal)
    splits = [ExamSplit(rows) for rows in table.splits.values()]
    labels = np.concatenate([split.labels for split in splits])
    patients = np.concatenate([split.patient_ids for split in splits])
    names = list(model.config.id2label.values())
    chances = probabilities_of(model, input_values, splits, "model")
    thresholds = model.config.thresholds or [0.5] * len(names)
    result = multilabel_metrics(chances, labels, thresholds, names)
    intervals = bootstrap_intervals(chances, labels, thresholds, names, patients)
    random = controls(model, input_values, splits, names, args.n_random)
    positives = [result["per_class"][name]["n_positive"] for name in names]
    rows = [["", *(f"{name} ({n})" for name, n in zip(names, positives, strict=True)), "mean"]]
    for metric in SHOWN:
        cells = [with_interval(result["per_class"][n], intervals["per_class"][n], metric) for n in names]
        rows.append([metric, *cells, with_interval(result["mean"], intervals["mean"], metric)])
    if random:
        found = np.array([[*(r["per_class"][n]["auroc"] for n in names), r["mean"]["auroc"]] for r in random], float)
        spread = found.std(axis=0, ddof=int(len(found) > 1))
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(found.mean(axis=0), spread, strict=True)]
        rows.append([f"auroc, random weights, {len(random)} seeds", *cells])
    print(f"{len(labels)} exams of {len(np.unique(patients))} patients\n")
    print(markdown_table(rows))
    record = {"exams": len(labels), "result": result, "intervals": intervals, "random": random}
    print(json.dumps({"benchmark": "simulate/transfer", **record}))


if __name__ == "__main__":
    main()
