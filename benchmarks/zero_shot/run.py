"""
Zero-shot classification of a dual encoder on all ECGs of an exam table, by prompts in Portuguese and in English.

    python benchmarks/zero_shot/run.py --model_name_or_path M --dataset_name_or_path exams

Prints a table in Markdown with positives and 95 % intervals by a bootstrap over patients, then one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.commands import exit_status
from common.markdown import markdown_table
from modeling_ecgclip import EcgClipModel, EcgFeatureExtractor
from training.data import ExamSplit, ExamTable, microvolts_per_unit
from training.prompts import embed_prompts
from training.retrieval import zero_shot_metrics


LANGUAGES = {"pt": "Portuguese", "en": "English"}


@torch.inference_mode()
def embed(model: EcgClipModel, extractor: EcgFeatureExtractor, table: ExamTable, batch_size: int) -> np.ndarray:
    """Returns the places of all ECGs in the joint space, float32 (exams, projection_dim), split by split."""
    unit = microvolts_per_unit(extractor, table.schema.signal)
    parts = [
        model.get_ecg_features(split.ecg(np.arange(start, min(start + batch_size, len(split)))) / unit).numpy()
        for split in map(ExamSplit, table.splits.values())
        for start in range(0, len(split), batch_size)
    ]
    return np.concatenate(parts)


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", required=True, help="dual encoder")
    parser.add_argument(
        "--dataset_name_or_path", required=True, help="exam table with labels; all its splits are used"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="ECGs of one forward pass")
    arguments = parser.parse_args()
    name = arguments.model_name_or_path
    model = EcgClipModel.from_pretrained(name).eval()
    tokenizer, extractor = AutoTokenizer.from_pretrained(name), EcgFeatureExtractor.from_pretrained(name)
    table = ExamTable.load(arguments.dataset_name_or_path)
    embeds = embed(model, extractor, table, arguments.batch_size)
    splits = [ExamSplit(rows) for rows in table.splits.values()]
    labels, patients = (np.concatenate([getattr(s, key) for s in splits]) for key in ("labels", "patient_ids"))
    names = [label.name for label in table.schema.labels]
    rows = [["prompts", *names, "mean"]]
    found = {}
    for language, title in LANGUAGES.items():
        prompts = model.get_text_features(text_embeds=embed_prompts(model, tokenizer, torch.device("cpu"), language))
        of = found[language] = zero_shot_metrics(embeds, prompts, labels, names, patients.astype(str).tolist())
        spans = [of["intervals"]["per_class"][label]["auroc"] for label in names] + [of["intervals"]["mean"]["auroc"]]
        values = [of["per_class"][label]["auroc"] for label in names] + [of["mean"]["auroc"]]
        counts = [f" ({of['per_class'][label]['n_positive']})" for label in names] + [""]
        cells = [
            f"{value:.3f}{count}"
            + (f" [{span['low']:.3f}, {span['high']:.3f}]" if span.get("low") is not None else " [none]")
            for value, count, span in zip(values, counts, spans, strict=True)
        ]
        rows.append([title, *cells])
    print(markdown_table(rows))
    print(json.dumps({"exams": len(embeds), "patients": len(np.unique(patients.astype(str))), "results": found}))


if __name__ == "__main__":
    sys.exit(exit_status(main))
