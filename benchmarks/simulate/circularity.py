"""
How much of the labels the words of the reports already hold: F1 against the labels, for both readers of the reports.

    python benchmarks/simulate/circularity.py [--num_exams 20000] [--seeds 1 2 3] [--prevalence_scale 1.0]

- true heart: whoever knows it and nothing of the reading, with the best threshold on these labels (`label_rates.py`)
- description's reading: what the description says outright, as the values that it was written from; no threshold
- n-grams: logistic regression on words and pairs of words of the description as `parse_report` cuts it, trained on
  all labels of the training patients, thresholds from the validation patients, F1 on the test patients

Decides exams without computing their signals. Mean over the six labels, then mean and standard deviation over seeds,
each a cohort of its own. Ends in one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.simulate.label_rates import best_f1, scores
from common.markdown import markdown_table
from data_scripts.simulate.exam import REPORT_READERS, Draft, draft_exam
from data_scripts.simulate.report import seen, write_report
from data_scripts.simulate.streams import Purpose, stream
from data_scripts.tables.schema import split_of
from data_scripts.text.reports import parse_report
from metrics.ecg_multilabel.ecg_multilabel import choose_thresholds, multilabel_metrics
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


SPLIT_SEED = 0


def said(draft: Draft) -> list[bool]:
    """What the description says of each label, in the order of `LABEL_NAMES`."""
    reading = seen(draft.report_reading, draft.condition)
    sinus = reading.p == "usual"
    return [
        reading.pr == "long",
        reading.qrs == "rbbb",
        reading.qrs == "lbbb",
        sinus and reading.rate == "slow",
        reading.p == "none",
        sinus and reading.rate == "fast",
    ]


def f1_of(predicted: np.ndarray, labels: np.ndarray) -> float:
    """F1 of yes and no, mean over the labels."""
    hits = (predicted & labels).sum(axis=0)
    return float(np.mean(2 * hits / (predicted.sum(axis=0) + labels.sum(axis=0))))


def f1_of_words(texts: np.ndarray, labels: np.ndarray, splits: np.ndarray) -> float:
    """Test F1 of logistic regression on n-grams, mean over the labels."""
    train, validation, test = (splits == name for name in ("train", "validation", "test"))
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    seen = vectors.fit_transform(texts[train])
    chance = np.zeros((len(texts), labels.shape[1]))
    for k in range(labels.shape[1]):
        model = LogisticRegression(C=10.0, max_iter=1000).fit(seen, labels[train, k])
        for part in (validation, test):
            chance[part, k] = model.predict_proba(vectors.transform(texts[part]))[:, 1]
    thresholds = choose_thresholds(chance[validation], labels[validation])
    result = multilabel_metrics(chance[test], labels[test], thresholds, LABEL_NAMES)
    return float(result["mean"]["f1"])


def measure(seed: int, num_exams: int, prevalence_scale: float, report_reader: str) -> dict[str, float]:
    """One cohort with one kind of reader of its reports."""
    labels, spoken = np.zeros((num_exams, 6), np.int8), np.zeros((num_exams, 6), bool)
    score, texts, splits = np.zeros((num_exams, 6)), [], []
    for index in tqdm(range(num_exams), desc=f"seed {seed}, {report_reader}"):
        draft = draft_exam(seed, index, prevalence_scale, report_reader=report_reader)
        labels[index], spoken[index], score[index] = draft.reading.labels, said(draft), scores(draft)
        report = write_report(stream(seed, Purpose.TEXT, index), draft.report_reading, draft.condition)
        texts.append(parse_report(report).description)
        splits.append(split_of(str(draft.patient.index), SPLIT_SEED))
    return {
        "F1, true heart": float(np.mean([best_f1(score[:, k], labels[:, k]) for k in range(6)])),
        "F1, description's reading": f1_of(spoken, labels.astype(bool)),
        "F1, n-grams of the description": f1_of_words(np.array(texts, object), labels, np.array(splits)),
        "share of distinct descriptions": len(set(texts)) / num_exams,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_exams", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--prevalence_scale", type=float, default=1.0)
    arguments = parser.parse_args()
    found = {}
    for report_reader in REPORT_READERS:
        runs = [measure(s, arguments.num_exams, arguments.prevalence_scale, report_reader) for s in arguments.seeds]
        found[report_reader] = {name: [run[name] for run in runs] for name in runs[0]}
    rows = [["against the labels, mean of six", *(f"report reader {name}" for name in REPORT_READERS)]]
    for name in found[REPORT_READERS[0]]:
        values = [found[reader][name] for reader in REPORT_READERS]
        rows.append([name, *(f"{np.mean(v):.3f} ± {np.std(v, ddof=len(v) > 1):.3f}" for v in values)])
    print(markdown_table(rows))
    print(json.dumps({"benchmark": "simulate/circularity", **vars(arguments), "found": found}))


if __name__ == "__main__":
    main()
