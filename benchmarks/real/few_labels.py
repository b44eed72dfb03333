"""
Few real labels: where does it pay to have been pre-trained on simulated ECGs? A classifier of real ones is fine-tuned
from random weights and from each of the models given, with all, a quarter and a twentieth of the training labels, and
a linear head is trained on each of these encoders while it is frozen. AUROC of each label on the test split.

    python benchmarks/real/few_labels.py --starts dual=runs/clip classifier=runs/cls --output_dir build/few_labels

reads the part of PTB-XL that lies among the samples of real ECGs and tests on its strat_fold 7 (--ptbxl_dir: another).
Fine-tuning is train_cls.py with the settings of `RECIPE` in benchmarks/real/finetune.py, alike for every start; a run
that has ended is not trained again, so the same command goes on after an interruption. Linear heads are those of
benchmarks/probe/run.py, on the same exams. A share below 1 is drawn several times (--draws), alike for all; each draw
is also the seed of a fine-tuning. All labels are one draw and one seed. train_cls.py cuts validation, which chooses
its step, to the same share; the heads' penalty is chosen on the whole of it.

On two cores the paper's encoder takes hours with thousands of exams: this is for a small part of PTB-XL, or for a GPU.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.probe.encoders import Encoder, embeddings
from benchmarks.probe.measure import Exams, measured, probe, split_part
from benchmarks.probe.run import add_ptbxl_arguments, ptbxl_table
from benchmarks.probe.tables import cell
from benchmarks.real.finetune import STEPS, Run, finetune, predicted
from common.commands import exit_status
from common.files import write_json, write_text
from common.markdown import markdown_table
from modeling_ecgclip.towers_ecgclip import PRESETS
from training.data import ExamSplit, ExamTable


FROM_RANDOM = "random"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_ptbxl_arguments(parser, parser, ["code6", "superclass"])
    parser.add_argument(
        "--starts", nargs="+", default=[], metavar="NAME=SOURCE", help="models to start from, folders or Hub ids"
    )
    parser.add_argument(
        "--encoder_preset", choices=list(PRESETS), default="fernandes2024", help="of random weights (fernandes2024)"
    )
    parser.add_argument(
        "--fractions", nargs="+", type=float, choices=list(STEPS), default=list(STEPS), help="shares of the labels"
    )
    parser.add_argument("--draws", type=int, default=3, help="draws of a share below 1 (default 3)")
    parser.add_argument("--n_resamples", type=int, default=1000, help="of the bootstrap (default 1000)")
    parser.add_argument("--output_dir", default="build/few_labels", help="few_labels.md, few_labels.json and the runs")
    args = parser.parse_args(argv)
    if args.draws < 1 or args.n_resamples < 1:
        parser.error(f"--draws and --n_resamples must be at least 1: found {args.draws} and {args.n_resamples}")
    return args


def planned(args: argparse.Namespace, starts: Sequence[str]) -> list[Run]:
    """Returns the fine-tunings, label set after label set."""
    return [
        Run(labels, start, fraction, draw)
        for labels in args.label_sets
        for fraction in args.fractions
        for draw in range(1 if fraction == 1 else args.draws)
        for start in starts
    ]


def finetuned_scores(folder: Path, runs: Sequence[Run], exams: Exams, exam_ids: np.ndarray) -> np.ndarray:
    """Returns what the runs of one start and share say of the test exams, (draws, exams, labels); 0.5 elsewhere."""
    scores = np.full((len(runs), *exams.labels.shape), 0.5)
    for of_run, run in zip(scores, runs, strict=True):
        found = predicted(folder, run, exams.names)
        rows = np.flatnonzero(exams.splits == "test")
        of_run[rows] = [found[exam_id] for exam_id in exam_ids[rows]]
    return scores


def compare(labels: str, encoders: Sequence[Encoder], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns all arms of one label set: `{start, method, fraction, n_trained, per_class, mean, mean_10}`."""
    table = ExamTable.load(str(ptbxl_table(args, labels)))
    splits = {split: ExamSplit(rows) for split, rows in table.splits.items()}
    exams = Exams.of(splits, table.schema.label_names)
    exam_ids = np.concatenate([split.exam_ids for split in splits.values()])
    part, arms = split_part(exams), []
    for encoder in encoders:
        embeds = embeddings(encoder, table, list(splits.values()), Path(args.output_dir) / "embeddings")
        for fraction in args.fractions:
            head = probe(embeds, exams, [part], fraction, args.draws)
            runs = [one for one in planned(args, [encoder.name]) if (one.labels, one.fraction) == (labels, fraction)]
            finetuned = finetuned_scores(Path(args.output_dir) / "runs", runs, exams, exam_ids)
            for method, scores in (("fine-tuned", finetuned), ("linear head", head.scores)):
                facts = {"start": encoder.name, "method": method, **head.facts}
                arms.append(facts | measured(exams, scores, head.heads, args.n_resamples))
    return arms


def report(record: dict[str, Any]) -> str:
    """Returns a table for each label set and share: arms by label."""
    sections = []
    for labels, arms in record["label_sets"].items():
        for fraction in dict.fromkeys(arm["fraction"] for arm in arms):
            shown = [arm for arm in arms if arm["fraction"] == fraction]
            names = shown[0]["per_class"]
            head = [f"{name} ({entry['n_positive']})" for name, entry in names.items()]
            rows = [["", "mean", *head]]
            for method in dict.fromkeys(arm["method"] for arm in shown):
                for arm in (one for one in shown if one["method"] == method):
                    values = [arm["mean"], *arm["per_class"].values()]
                    rows.append([f"{method}, {arm['start']}", *map(cell, values)])
            title = f"## {labels}: {100 * fraction:g} % of the labels ({shown[0]['n_trained']:.0f} exams)"
            sections.append(f"{title}\n\n{markdown_table(rows)}")
    return "\n\n".join(sections)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains what is missing; returns what `few_labels.json` holds."""
    args = parse(argv)
    encoders = [Encoder(FROM_RANDOM, args.encoder_preset, 0), *map(Encoder.parse, args.starts)]
    if len({encoder.name for encoder in encoders}) < len(encoders):
        raise ValueError(f"--starts: expected different names, none of them {FROM_RANDOM!r}, found {args.starts}")
    starts = {encoder.name: encoder.source for encoder in encoders[1:]}
    folder = Path(args.output_dir)
    tables = {labels: ptbxl_table(args, labels) for labels in args.label_sets}
    finetune(
        planned(args, [FROM_RANDOM, *starts]),
        tables,
        {FROM_RANDOM: None, **starts},
        args.encoder_preset,
        folder / "runs",
    )
    record = {
        "benchmark": "real/few_labels",
        "draws": args.draws,
        "steps": {f"{fraction:g}": STEPS[fraction] for fraction in args.fractions},
        "label_sets": {labels: compare(labels, encoders, args) for labels in args.label_sets},
    }
    text = report(record)
    write_text(folder / "few_labels.md", text)
    write_json(folder / "few_labels.json", record)
    print(text)
    print(json.dumps(record))
    return record


if __name__ == "__main__":
    sys.exit(exit_status(main))
