"""
Does a classifier that saw simulated exams alone read real ones? AUROC for each label on an exam table of real ECGs.

Make the model with train_cls.py on a simulated table, and the table with `python -m data_scripts.ptbxl`; then

    python benchmarks/simulate/transfer.py --model_name_or_path runs/cls --dataset_name_or_path ptbxl

All splits are measured together, since none was trained on. Ends in one line of JSON.
"""

import argparse
import json

import numpy as np
import torch
from tqdm.auto import tqdm

from common.markdown import markdown_table
from metrics.ecg_multilabel.ecg_multilabel import rank_metrics
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification
from training.augmentation import SignalInput
from training.data import ExamSplit, ExamTable, ordered_batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", required=True, help="a classifier")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table of real ECGs")
    args = parser.parse_args()
    model = EcgResNetForSignalClassification.from_pretrained(args.model_name_or_path).eval()
    table = ExamTable.load(args.dataset_name_or_path)
    input_values = SignalInput(EcgFeatureExtractor.from_pretrained(args.model_name_or_path), table.schema.signal)
    labels, logits = [], []
    for name, rows in table.splits.items():
        split = ExamSplit(rows)
        labels.append(split.labels)
        with torch.inference_mode():
            for batch in tqdm(ordered_batches(split, 64, 0, 1, 0, torch.device("cpu")), desc=name):
                logits.append(model(input_values(batch)).logits.numpy())
    label_names = list(model.config.id2label.values())
    result = rank_metrics(np.concatenate(logits), np.concatenate(labels), label_names)
    shown = [f"{value['auroc']:.3f} ({value['n_positive']})" for value in result["per_class"].values()]
    print(markdown_table([[*label_names, "mean"], [*shown, f"{result['mean']['auroc']:.3f}"]]))
    print(json.dumps({"benchmark": "simulate/transfer", **result}))


if __name__ == "__main__":
    main()
