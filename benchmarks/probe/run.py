"""
What is an encoder's embedding worth? Linear probes: logistic regressions on frozen embeddings of real ECGs, with all,
a quarter and a twentieth of the training labels. Mean AUROC over labels, for several encoders and label sets, in one
table of Markdown and one of JSON.

    python benchmarks/probe/run.py --encoders dual=runs/clip classifier=runs/cls random=random:fernandes2024 \\
        xresnet=random:xresnet1d50 --label_sets code6 superclass subclass rhythm --output_dir build/probe

reads the part of PTB-XL that lies among the samples of real ECGs, converts it once for each label set, and takes its
strat_fold 6 for validation and 7 for test. The whole of PTB-XL: --ptbxl_dir FOLDER --validation_folds 9 --test_folds
10. Exam tables of any other source that a converter wrote: --dataset_name_or_path own other.

Every encoder is a folder or a Hub id (dual encoder, classifier or encoder alike), or has random weights
(random:PRESET[:SEED], or random:FOLDER[:SEED] of that one's shape). PTB-XL is converted once for each signal that one
of them reads (leads, rate, length). Embeddings are computed once and kept in the output folder: another label set,
share or number of draws needs none. Two protocols stand beside each other:

- split: heads train on the train split, validation chooses how strongly they are penalised, test is measured;
- folds: five folds by patient over all exams. Each fold is measured once by heads from the other four, one of which
  has chosen the penalty; so rare labels have more positives, and numbers have narrower intervals.

A smaller share is some of the training patients, drawn anew in each draw and alike for all encoders. It never reaches
validation, which chooses the penalty once for all draws. A label that no drawn exam has is scored alike for all exams:
AUROC 0.5, which counts in the mean. Intervals: 95 %, bootstrap over patients.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.probe.encoders import Encoder, embeddings
from benchmarks.probe.measure import N_FOLDS, Exams, fold_parts, measured, probe, split_part
from benchmarks.probe.tables import report
from common.commands import exit_status
from common.files import write_json, write_text
from common.project import PROJECT
from data_scripts import ptbxl
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.data import ExamSplit, ExamTable


FRACTIONS = (1.0, 0.25, 0.05)
N_DRAWS = 5
SIGNAL = SignalSpec()  # where nothing else is read


def add_ptbxl_arguments(parser: argparse.ArgumentParser, source: Any, label_sets: Sequence[str]) -> None:
    """Adds what says which exams of PTB-XL; `source` is the parser, or its group of exclusive sources."""
    samples = Path(os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data"))
    source.add_argument(
        "--ptbxl_dir", default=str(samples / "ptbxl100"), help="PTB-XL as published (default: the part in the samples)"
    )
    parser.add_argument(
        "--label_sets",
        nargs="+",
        default=label_sets,
        help=f"sets of --labels of data_scripts.ptbxl (default: {' '.join(label_sets)})",
    )
    parser.add_argument("--sampling_rate", choices=("500", "100"), default="100", help="which records of PTB-XL")
    parser.add_argument("--validation_folds", nargs="+", default=["6"], help="strat_fold of validation (default 6)")
    parser.add_argument("--test_folds", nargs="+", default=["7"], help="strat_fold of test (default 7)")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset_name_or_path", nargs="+", help="exam tables, each with its own label set")
    add_ptbxl_arguments(parser, source, ["code6", "superclass", "subclass", "rhythm"])
    parser.add_argument(
        "--encoders",
        nargs="+",
        default=["random=random:fernandes2024", "xresnet=random:xresnet1d50"],
        metavar="NAME=SOURCE",
        help="FOLDER, HUB/ID, random:PRESET[:SEED] or random:FOLDER[:SEED] (default: random weights of two presets)",
    )
    parser.add_argument(
        "--fractions", nargs="+", type=float, default=list(FRACTIONS), help="shares of the training exams, in (0, 1]"
    )
    parser.add_argument("--draws", type=int, default=N_DRAWS, help=f"draws of a share below 1 (default {N_DRAWS})")
    parser.add_argument("--n_resamples", type=int, default=1000, help="of the bootstrap (default 1000)")
    parser.add_argument("--output_dir", default="build/probe", help="probe.md, probe.json, tables and embeddings")
    args = parser.parse_args(argv)
    if not all(0 < fraction <= 1 for fraction in args.fractions):
        parser.error(f"--fractions: expected shares in (0, 1], found {args.fractions}")
    if args.draws < 1 or args.n_resamples < 1:
        parser.error(f"--draws and --n_resamples must be at least 1: found {args.draws} and {args.n_resamples}")
    return args


def ptbxl_table(args: argparse.Namespace, labels: str, signal: SignalSpec = SIGNAL) -> Path:
    """Returns the exam table of a label set and a signal, converted where it is not there yet."""
    settings = [labels, args.sampling_rate, "v", *args.validation_folds, "t", *args.test_folds]
    if signal != SIGNAL:
        settings += ["as", *map(str, (signal.sampling_rate, signal.n_samples)), *signal.lead_names]
    folder = Path(args.output_dir) / "tables" / "-".join(settings)
    if not (folder / "conversion.json").is_file():
        ptbxl.main(
            [
                *("--source_dir", args.ptbxl_dir, "--output_dir", str(folder), "--labels", labels),
                *("--sampling_rate", args.sampling_rate, "--table_sampling_rate", str(signal.sampling_rate)),
                *("--n_samples", str(signal.n_samples), "--leads", *signal.lead_names),
                *("--validation_folds", *args.validation_folds, "--test_folds", *args.test_folds),
            ]
        )
    return folder


def exam_tables(args: argparse.Namespace) -> dict[str, Callable[[SignalSpec], Path | str]]:
    """Returns by the name of each label set which exam table a signal is read from."""
    if args.dataset_name_or_path is None:
        return {labels: partial(ptbxl_table, args, labels) for labels in args.label_sets}
    named = {Path(table).name: table for table in args.dataset_name_or_path}
    if len(named) < len(args.dataset_name_or_path):
        raise ValueError(f"--dataset_name_or_path: expected folders of different names, found {sorted(named)}")
    return {name: partial(_whatever_the_signal, table) for name, table in named.items()}


def _whatever_the_signal(table: str, _: SignalSpec) -> str:
    """An exam table has one signal; an encoder that reads another is refused when it is loaded."""
    return table


def loaded(name_or_path: str) -> tuple[ExamTable, dict[str, ExamSplit]]:
    """Returns an exam table and its splits, none of which is empty."""
    table = ExamTable.load(name_or_path)
    splits = {split: ExamSplit(rows) for split, rows in table.splits.items()}
    for split in ("train", "validation", "test"):
        if not len(splits[split]):
            raise ValueError(f"{name_or_path}, split {split}: expected exams, found none (see --validation_folds)")
    return table, splits


def probe_table(
    name: str, table_of: Callable[[SignalSpec], Path | str], encoders: Sequence[Encoder], args: argparse.Namespace
) -> dict[str, Any]:
    """Returns all probes of one label set: `exams`, `patients`, `splits`, `results` [{protocol, encoder, ...}]."""
    signals = [encoder.signal() or SIGNAL for encoder in encoders]
    by_signal = {signal: loaded(str(table_of(signal))) for signal in dict.fromkeys(signals)}
    table, splits = next(iter(by_signal.values()))
    exams = Exams.of(splits, table.schema.label_names)
    protocols = {"split": [split_part(exams)], "folds": fold_parts(exams.patients)}
    results = []
    with tqdm(total=len(encoders) * len(protocols) * len(args.fractions), desc=f"probes of {name}") as bar:
        for encoder, signal in zip(encoders, signals, strict=True):
            of_encoder, its_splits = by_signal[signal]
            if not exams.same_as(Exams.of(its_splits, of_encoder.schema.label_names)):
                raise ValueError(f"{name}: expected the same exams for each signal; {encoder.name} has others")
            embeds = embeddings(encoder, of_encoder, list(its_splits.values()), Path(args.output_dir) / "embeddings")
            for protocol, parts in protocols.items():
                for fraction in args.fractions:
                    found = probe(embeds, exams, parts, fraction, args.draws)
                    scored = measured(exams, found.scores, found.heads, args.n_resamples)
                    results.append({"protocol": protocol, "encoder": encoder.name, **found.facts, **scored})
                    bar.update()
    counts = {split: {"exams": len(one), "patients": len(set(one.patient_ids))} for split, one in splits.items()}
    return {"splits": counts, "n_folds": N_FOLDS, "results": results}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Probes; returns what `probe.json` holds."""
    args = parse(argv)
    encoders = [Encoder.parse(words) for words in args.encoders]
    if len({encoder.name for encoder in encoders}) < len(encoders):
        raise ValueError(f"--encoders: expected different names, found {', '.join(args.encoders)}")
    started = time.perf_counter()
    found = {name: probe_table(name, table_of, encoders, args) for name, table_of in exam_tables(args).items()}
    record = {
        "benchmark": "probe",
        "draws": args.draws,
        "n_resamples": args.n_resamples,
        "encoders": {encoder.name: Path(encoder.source).name for encoder in encoders},
        "label_sets": found,
        "seconds": round(time.perf_counter() - started),
    }
    folder = Path(args.output_dir)
    text = report(record)
    write_text(folder / "probe.md", text)
    write_json(folder / "probe.json", record)
    print(text)
    print(json.dumps(record))
    return record


if __name__ == "__main__":
    sys.exit(exit_status(main))
