"""
What do 100 labelled real exams do for a classifier that was trained elsewhere, and does abstention keep its promise?

    python benchmarks/real/recalibrate.py --model_name_or_path pretrained/cls --dataset_name_or_path exams \
        [--like_training T] [--num_exams 100] [--draws 20] [--output_file F]

`exams` is an exam table of real ECGs, all of whose splits are used: `python -m data_scripts.ptbxl --sampling_rate 100
--source_dir ../shared/data/ptbxl100 --output_dir exams`. Each draw takes exams of whole patients at random until there
are so many, fits the calibration to them, and measures on the patients that are left. In brackets: 95 % intervals of
the mean over draws, from resamples of patients. Abstention: in each draw half of the patients give the bounds, and the
other half is measured. `--like_training` is an exam table of exams like those of the training, none of which its
statistics come from: how often each table is said to be unlike the training. Prints Markdown tables and ends in one
line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from common.files import write_json  # noqa: E402 (the path comes first)
from common.markdown import markdown_table  # noqa: E402
from data_scripts.tables.schema import SPLITS  # noqa: E402
from metrics.calibration import expected_calibration_error  # noqa: E402
from metrics.conformal import abstention_bounds, abstention_metrics, needed_of_each  # noqa: E402
from metrics.ecg_multilabel.ecg_multilabel import choose_thresholds  # noqa: E402
from metrics.recalibration import Recalibrated, expected_f1_threshold, recalibrate  # noqa: E402
from modeling_ecgclip.labels_ecgclip import labels_of  # noqa: E402
from modeling_ecgclip.training_statistics_ecgclip import unlike_training  # noqa: E402
from publishing.export import load_source  # noqa: E402
from publishing.recalibrate import LabelledLogits, before_of, labelled_logits  # noqa: E402
from training.data import ExamSplit, ExamTable  # noqa: E402
from training.input_statistics import properties_of  # noqa: E402


ERRORS = (0.05, 0.1)
RESAMPLES = 1000
SEED = 0
Fit = Callable[[np.ndarray, np.ndarray, Recalibrated], Recalibrated]


def thresholds_alone(logits: np.ndarray, labels: np.ndarray, before: Recalibrated) -> Recalibrated:
    """Thresholds from the model's own probabilities of these exams, without their labels."""
    told = before.probabilities(logits)
    thresholds = np.array([expected_f1_threshold(of) for of in told.T])
    return Recalibrated(before.scales, before.shifts, thresholds, before.fitted)


def best_on_the_few(logits: np.ndarray, labels: np.ndarray, before: Recalibrated) -> Recalibrated:
    """Thresholds that give the highest F1 on these very exams, where there are positives."""
    chosen = choose_thresholds(before.probabilities(logits), labels)
    seen = (labels == 1).any(axis=0) & (labels == 0).any(axis=0)
    return Recalibrated(before.scales, before.shifts, np.where(seen, chosen, before.thresholds), seen)


METHODS: dict[str, Fit] = {
    "as it is": lambda logits, labels, before: before,
    "best F1 on the few exams": best_on_the_few,
    "threshold alone, no labels": thresholds_alone,
    "recalibrated": recalibrate,
}


def drawn(exams: LabelledLogits, num_exams: int, draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields masks of the exams to fit and of those to measure; no patient is in both."""
    patients, index = np.unique(exams.patient_ids, return_inverse=True)
    for draw in range(draws):
        order = np.random.default_rng((SEED, draw)).permutation(len(patients))
        sizes = np.bincount(index)[order]
        taken = np.isin(index, order[: int(np.searchsorted(np.cumsum(sizes), num_exams)) + 1])
        yield taken, ~taken


def measured(probabilities: np.ndarray, thresholds: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1, and Brier score, of each label, (2, labels): exams count `weights` times."""
    known, positive, called = labels >= 0, labels == 1, probabilities >= thresholds
    found = weights @ (called & positive)
    f1 = 2 * found / np.maximum(weights @ (called & known) + weights @ positive, 1)
    return np.stack([f1, weights @ np.where(known, (probabilities - labels) ** 2, 0) / (weights @ known)])


def compare(exams: LabelledLogits, before: Recalibrated, names: Sequence[str], num_exams: int, draws: int) -> Any:
    """Returns F1, Brier and ECE by method: mean over draws, its interval, and the range of the draws."""
    patients, index = np.unique(exams.patient_ids, return_inverse=True)
    generator = np.random.default_rng(SEED)
    n = len(patients)
    resampled = [np.bincount(generator.integers(0, n, n), minlength=n)[index] for _ in range(RESAMPLES)]
    weights = [np.ones(len(index)), *resampled]
    values: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    eces: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    positives = []
    for few, rest in drawn(exams, num_exams, draws):
        positives.append((exams.labels[few] == 1).sum(axis=0))
        for name, method in METHODS.items():
            fit = method(exams.logits[few], exams.labels[few], before)
            told, truth = fit.probabilities(exams.logits[rest]), exams.labels[rest]
            values[name].append(np.stack([measured(told, fit.thresholds, truth, of[rest]) for of in weights]))
            pairs = zip(told.T, truth.T, strict=True)
            eces[name].append(
                np.array([expected_calibration_error(of[known >= 0], known[known >= 0] == 1) for of, known in pairs])
            )
    found: dict[str, Any] = {"positives drawn": dict(zip(names, np.mean(positives, axis=0).tolist(), strict=True))}
    base = np.array(values["as it is"])  # (draws, 1 + resamples, 2, labels)
    for name in METHODS:
        of = np.array(values[name])
        gain = (of - base)[:, :, 0].mean(axis=-1)  # of mean F1, (draws, 1 + resamples)
        found[name] = {
            "f1": dict(zip(names, of[:, 0, 0].mean(axis=0).tolist(), strict=True)),
            "mean f1": _with_interval(of[:, :, 0].mean(axis=-1)),
            "gain of mean f1": _with_interval(gain) | {"draws that gain": int((gain[:, 0] > 0).sum())},
            "mean brier": _with_interval(of[:, :, 1].mean(axis=-1)),
            "mean ece": float(np.mean(eces[name])),
        }
    return found


def _with_interval(values: np.ndarray) -> dict[str, float]:
    """Of (draws, 1 + resamples): mean over draws, its interval over resamples, and the lowest and highest draw."""
    low, high = np.percentile(values[:, 1:].mean(axis=0), [2.5, 97.5])
    ends = {"low": float(low), "high": float(high)}
    return {"value": float(values[:, 0].mean()), **ends, "least": values[:, 0].min(), "most": values[:, 0].max()}


def abstain(exams: LabelledLogits, before: Recalibrated, names: Sequence[str], error: float, draws: int) -> Any:
    """Returns by label what abstaining does on half of the patients, bounds from the other half: mean over draws."""
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for given, rest in drawn(exams, len(exams.labels) // 2, draws):
        fit = recalibrate(exams.logits[given], exams.labels[given], before)
        told = fit.probabilities(exams.logits)
        for at, name in enumerate(names):
            bounds = abstention_bounds(told[given, at], exams.labels[given, at], error, fit.thresholds[at])
            if bounds is not None:
                parts[name].append(abstention_metrics(told[rest, at], exams.labels[rest, at], *bounds))
    shown = ("missed", "false_alarms", "certain", "certain_of_positives")
    return {
        name: {"draws": len(found), **{key: float(np.mean([one[key] for one in found])) for key in shown if found}}
        for name, found in parts.items()
    }


def alarms(statistics: dict[str, Any], table: ExamTable) -> dict[str, float]:
    """Returns the share of a table's exams that are said to be unlike the training, and by what."""
    leads, found = table.schema.signal.lead_names, []
    for rows in table.splits.values():
        split = ExamSplit(rows)
        for one in properties_of(split, table.schema.signal, range(len(split))):
            found.append([finding.code for finding in unlike_training(one, leads, statistics)])
    codes = sorted({code for of_exam in found for code in of_exam})
    shares = {code: float(np.mean([code in of_exam for of_exam in found])) for code in codes}
    return {"exams": len(found), "any": float(np.mean([bool(of_exam) for of_exam in found])), **shares}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures, prints, and returns what the last line holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", required=True, help="folder of a classifier")
    parser.add_argument("--dataset_name_or_path", required=True, help="exam table of real ECGs")
    parser.add_argument("--like_training", help="exam table of exams like those of the training")
    parser.add_argument("--num_exams", type=int, default=100, help="labelled exams of a draw")
    parser.add_argument("--draws", type=int, default=20, help="how often they are drawn")
    parser.add_argument("--output_file", help="keeps the result as JSON")
    args = parser.parse_args(argv)
    model, extractor = load_source(args.model_name_or_path)
    config: Any = model.config
    table = ExamTable.load(args.dataset_name_or_path)
    exams, before = labelled_logits(model, extractor, table, SPLITS), before_of(config)
    names = [label.name for label in labels_of(config)]
    result: dict[str, Any] = {"exams": len(exams.labels), "num_exams": args.num_exams, "draws": args.draws}
    result["recalibration"] = compare(exams, before, names, args.num_exams, args.draws)
    result["abstention"] = {str(error): abstain(exams, before, names, error, args.draws) for error in ERRORS}
    if config.training_statistics is not None:
        tables = {"real": table} | (
            {"like the training": ExamTable.load(args.like_training)} if args.like_training else {}
        )
        result["unlike_training"] = {name: alarms(config.training_statistics, one) for name, one in tables.items()}
    show(result, names)
    if args.output_file:
        write_json(args.output_file, result)
    print(json.dumps({"exams": result["exams"], "gain": result["recalibration"]["recalibrated"]["gain of mean f1"]}))
    return result


def show(result: dict[str, Any], names: Sequence[str]) -> None:
    """Prints the tables."""
    rows = [["", *names, "mean F1", "gain", "draws", "ECE", "Brier"]]
    for method in METHODS:
        of = result["recalibration"][method]
        f1, gain, brier = of["mean f1"], of["gain of mean f1"], of["mean brier"]
        rows.append([method, *(f"{of['f1'][name]:.2f}" for name in names), _interval(f1), _interval(gain)])
        rows[-1] += [
            f"{gain['draws that gain']} of {result['draws']}",
            f"{of['mean ece']:.4f}",
            f"{brier['value']:.4f}",
        ]
    drawn_positives = result["recalibration"]["positives drawn"]
    rows.append(["positives drawn", *(f"{drawn_positives[name]:.1f}" for name in names), "", "", "", "", ""])
    print(markdown_table(rows), "\n")
    rows = [["promise", "label", "draws", "missed", "false alarms", "decided", "decided of positives"]]
    for error, by_label in result["abstention"].items():
        for name, of in by_label.items():
            keys = ("missed", "false_alarms", "certain", "certain_of_positives")
            cells = [f"{of[key]:.3f}" for key in keys] if of["draws"] else [f"refused: {needed_of_each(float(error))}"]
            rows.append([error, name, f"{of['draws']}", *cells, *[""] * (len(keys) - len(cells))])
    print(markdown_table(rows), "\n")
    for name, of in result.get("unlike_training", {}).items():
        print(f"{name}: {', '.join(f'{key} {value:.4g}' for key, value in of.items())}")


def _interval(of: dict[str, float]) -> str:
    return f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]"


if __name__ == "__main__":
    main()
