"""
How often cases and other exams of the simulator end with each label: the numbers of `physiology.LABEL_RATES`.

    python benchmarks/simulate/label_rates.py [--num_exams 300000] [--prevalence_scale 1.0]

Decides exams without computing their signals. Also prints the F1 that someone who knows the true heart could reach
against the labels: the ceiling that reading errors leave to any classifier.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data_scripts.simulate.exam import Draft, draft_exam
from data_scripts.simulate.physiology import TARGET_PREVALENCE
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


SEED = 987_654


def drawn_as_case(draft: Draft) -> list[bool]:
    """Whether each label was meant, in the order of `LABEL_NAMES`."""
    condition, group = draft.condition, draft.condition.rate_group
    sinus = condition.rhythm == "sinus"
    return [
        draft.patient.cases["1dAVb"],
        condition.block == "rbbb",
        condition.block == "lbbb",
        sinus and group == "slow",
        condition.rhythm == "af",
        sinus and group == "fast",
    ]


def scores(draft: Draft) -> list[float]:
    """What an observer of the true heart would rank exams by, for each label."""
    condition = draft.condition
    rate = draft.beats.heart_rate(draft.recording.n_samples / SAMPLING_RATE)
    sinus = condition.rhythm == "sinus"
    right = condition.block in ("rbbb", "incomplete_rbbb") and condition.block_severity >= 0.45
    left = condition.block in ("lbbb", "incomplete_lbbb") and condition.block_severity >= 0.45
    return [
        condition.pr_ms or 0.0,
        condition.qrs_ms if right else 0.0,
        condition.qrs_ms if left else 0.0,
        -rate if sinus else -1000.0,
        {"af": 3.0 if condition.rr_variation > 0.11 else 2.0, "flutter": 1.0}.get(condition.rhythm, 0.0),
        rate if sinus else 0.0,
    ]


def best_f1(score: np.ndarray, label: np.ndarray) -> float:
    """Largest F1 over all thresholds on the score."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.diff(score[order]) != 0, True)  # ties cannot be cut
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + label.sum())
    return float(f1[last].max())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_exams", type=int, default=300_000)
    parser.add_argument("--prevalence_scale", type=float, default=1.0)
    arguments = parser.parse_args()
    n = arguments.num_exams
    cases, labels, score = np.zeros((n, 6), bool), np.zeros((n, 6), bool), np.zeros((n, 6))
    for index in range(n):
        draft = draft_exam(SEED, index, arguments.prevalence_scale)
        cases[index], labels[index], score[index] = drawn_as_case(draft), draft.reading.labels, scores(draft)
    result: dict[str, Any] = {}
    for k, name in enumerate(LABEL_NAMES):
        case, label = cases[:, k], labels[:, k]
        result[name] = {
            "found": round(float(label[case].mean()), 4),
            "false": round(float(label[~case].mean()), 5),
            "prevalence": round(float(label.mean()), 5),
            "target": TARGET_PREVALENCE[name] * arguments.prevalence_scale,
            "ceiling_f1": round(best_f1(score[:, k], label), 3),
        }
    result["mean_ceiling_f1"] = round(float(np.mean([result[name]["ceiling_f1"] for name in LABEL_NAMES])), 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
