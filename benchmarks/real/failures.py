"""
Where a classifier of CODE's six labels is wrong on real ECGs, and of what kind each false call is.

    python benchmarks/real/failures.py [--model_name_or_path D] [--sample_data D] [--figures_dir D] [--list]

Each exam once, as in `run.py`; false at the model's own thresholds. Kinds come from what the source says (report,
statements, remarks on noise) and from `measure_ecg`, never from the model; the first that fits, in the order of
`KINDS`. Then AUROC with labels by what was measured (a rate below 50, PR above 200 ms), and without the labels that
are disputed whatever the model says. `--figures_dir` draws `SHOWN`; `--list` names every false call. Ends in one line
of JSON.
"""

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.real.exams import CINC, PTBXL, RealExam, once, real_exams  # noqa: E402 (the path comes first)
from benchmarks.real.run import probabilities_of  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals, rank_metrics  # noqa: E402
from modeling_ecgclip import LABEL_NAMES, EcgFeatureExtractor, pretrained_folder, read_ecg  # noqa: E402
from modeling_ecgclip.measure_record_ecgclip import measure_record  # noqa: E402
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements  # noqa: E402
from modeling_ecgclip.visualization_ecgclip import plot_ecg  # noqa: E402


# In words, and in the order in which they are tried.
KINDS = {
    "report": "the source's own report contradicts its label",
    "definition": "another definition, or the label's own limit met and not labelled",
    "paced": "paced beats",
    "rhythm": "ectopic beats or a rhythm that no label names",
    "noise": "noise, drift or bad electrodes by the source's remark",
    "qrs": "an abnormal QRS of another cause beside it (infarction, fascicle, hypertrophy, other block)",
    "fast": "P and T fall together: a rate of 85 or more",
    "other": "none of these: a form or a size that the simulator lacks",
}
# What a report that names the diagnosis says; German, Swedish, English, small letters.
SAYS = {
    "1dAVb": r"a-v block i\b|av-block (?:i\b|1)|first degree a",
    "RBBB": r"(?<!incomplete )right bundle branch block|(?<!unvollstÄndiger )rechtsschenkelblock|"
    r"hÖgersidigt skÄnkelblock",
    "LBBB": r"(?<!incomplete )left bundle branch block|(?<!unvollstÄndiger )links ?schenkelblock|linksschenkelblock|"
    r"vÄnstersidigt skÄnkelblock",
    "SB": r"sinusbradykardi|sinus bradycardia",
    "AF": r"atrial fibrillation|vorhofflimmern|fÖrmaksflimmer",
    "ST": r"sinustachykardi|sinus tachycardia",
}
INCOMPLETE = r"incomplete|unvollstÄndiger|inkomplett"
OTHER_RHYTHMS = {"PVC", "PAC", "BIGU", "TRIGU", "SVARR", "SVTAC", "PSVT", "AFLT", "PRC(S)"}
# SNOMED CT: supraventricular and ventricular ectopics and tachycardias, flutter, as CinC's headers code them.
OTHER_RHYTHMS |= {
    "PAC",
    "PVC",
    "284470004",
    "63593006",
    "427172004",
    "17338001",
    "164890007",
    "425856008",
    "426761007",
}
OTHER_RHYTHMS |= {"233917008", "233897008", "164896001", "713422000", "67198005", "164884008"}
ABNORMAL_QRS = ("IVCD", "LAFB", "LPFB", "CLBBB", "CRBBB", "IRBBB", "ILBBB", "WPW", "LVH", "RVH", "MI")
BLOCK_CODES = {"RBBB": "CRBBB", "LBBB": "CLBBB"}
SLOW_BPM, FAST_BPM, LONG_PR_MS, BROAD_QRS_MS, P_ON_T_BPM = 50.0, 100.0, 200.0, 120.0, 85.0
SHOWN = ("ptbxl/1452", "ptbxl/1508", "ptbxl/141", "ptbxl/1641", "ptbxl/1694")


@dataclass(frozen=True)
class Evidence:
    """
    What is known of an exam beside its labels.

    Args:
        report (`str`): Of PTB-XL, as published; empty elsewhere.
        codes (`frozenset[str]`): Statements (SCP-ECG or SNOMED CT).
        noisy (`bool`): Whether the source remarks on drift, noise or electrodes.
        paced (`bool`): By the source, or by half of the beats measured.
        rate_bpm, pr_ms, qrs_ms (`float`, *optional*): By `measure_ecg`.
    """

    report: str
    codes: frozenset[str]
    noisy: bool
    paced: bool
    rate_bpm: float | None
    pr_ms: float | None
    qrs_ms: float | None

    def says(self, label: str) -> bool:
        """Whether the report names the diagnosis."""
        return re.search(SAYS[label], self.report) is not None


def contradicted(label: str, truth: int, evidence: Evidence) -> bool:
    """Whether the source's report names the diagnosis where its label is 0, or denies it where that is 1."""
    if truth == 0:
        return evidence.says(label)
    if label in ("RBBB", "LBBB"):
        other = "LBBB" if label == "RBBB" else "RBBB"
        return not evidence.says(label) and (evidence.says(other) or bool(re.search(INCOMPLETE, evidence.report)))
    return False


def defined_otherwise(label: str, truth: int, evidence: Evidence) -> bool:
    """Whether what is measured lies on the other side of CODE's limit than the label does."""
    limits = {
        "SB": evidence.rate_bpm is not None and evidence.rate_bpm < SLOW_BPM + 0.5,  # what a reader rounds to 50
        "ST": evidence.rate_bpm is not None and evidence.rate_bpm >= FAST_BPM,
        "1dAVb": evidence.pr_ms is not None and evidence.pr_ms > LONG_PR_MS,
    }
    if label in ("RBBB", "LBBB"):
        if truth == 1:
            return evidence.qrs_ms is not None and evidence.qrs_ms < BROAD_QRS_MS
        return ("IRBBB" if label == "RBBB" else "ILBBB") in evidence.codes and (evidence.qrs_ms or 0) >= BROAD_QRS_MS
    if label == "AF" or (label == "1dAVb" and evidence.pr_ms is None):
        return False
    return limits[label] != bool(truth)


def kind_of(label: str, truth: int, evidence: Evidence) -> str:
    """The kind of a false call: a key of `KINDS`."""
    others = evidence.codes - {BLOCK_CODES.get(label, "")}
    broad = label not in BLOCK_CODES and (evidence.qrs_ms or 0) >= BROAD_QRS_MS
    abnormal = broad or any(code.endswith(ABNORMAL_QRS) for code in others)
    fits = {
        "report": contradicted(label, truth, evidence),
        "definition": defined_otherwise(label, truth, evidence),
        "paced": evidence.paced,
        "rhythm": bool(evidence.codes & OTHER_RHYTHMS),
        "noise": evidence.noisy,
        "qrs": abnormal,
        "fast": label in ("1dAVb", "AF", "ST") and (evidence.rate_bpm or 0) >= P_ON_T_BPM,
    }
    return next((kind for kind, fit in fits.items() if fit), "other")


def sources_of(folder: Path) -> dict[str, tuple[str, frozenset[str], bool, bool]]:
    """Report, codes, whether noisy, whether paced, of each exam by its id."""
    found: dict[str, tuple[str, frozenset[str], bool, bool]] = {}
    for name in PTBXL:
        with (folder / name / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                codes = frozenset(re.findall(r"'([^']+)'", row["scp_codes"]))
                noise = ("baseline_drift", "static_noise", "burst_noise", "electrodes_problems")
                noisy = any(row[column].strip() for column in noise)
                found[f"ptbxl/{row['ecg_id']}"] = (
                    row["report"],
                    codes,
                    noisy,
                    "PACE" in codes or bool(row["pacemaker"]),
                )
    with (folder / CINC / "records.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            codes = frozenset(re.split(r"[;,| ]", row["dx"]))
            found[f"cinc/{row['record']}"] = "", codes, False, "10370003" in codes
    return found


def evidence_of(exams: Sequence[RealExam], folder: Path) -> list[Evidence]:
    """What is known of each exam, by its source and by measurement."""
    sources = sources_of(folder)
    found = []
    for exam in exams:
        report, codes, noisy, paced = sources[exam.exam_id]
        measured: EcgMeasurements = measure_record(read_ecg(str(exam.path)))[0]
        paced = paced or measured.rhythm.paced_beats > len(measured.beats_s) / 2 > 0
        rate, pr, qrs = measured.heart_rate_bpm, measured.pr_ms, measured.qrs_ms
        found.append(Evidence(report.lower().replace("ä", "Ä").replace("ö", "Ö"), codes, noisy, paced, rate, pr, qrs))
    return found


def by_measurement(label: str, truth: int, evidence: Evidence) -> int:
    """The label by CODE's limit on what is measured: SB and ST keep to what the source does not call fibrillation."""
    irregular = bool(evidence.codes & {"AFIB", "AFLT", "AF", "164889003", "164890007"}) or evidence.paced
    value, positive = {
        "SB": (evidence.rate_bpm, (evidence.rate_bpm or 99) < SLOW_BPM),
        "ST": (evidence.rate_bpm, (evidence.rate_bpm or 0) > FAST_BPM),
        "1dAVb": (evidence.pr_ms, (evidence.pr_ms or 0) > LONG_PR_MS),
    }.get(label, (None, False))
    if label not in ("SB", "ST", "1dAVb"):
        return truth
    return -1 if value is None else int(positive and not irregular)


def auroc_rows(
    name: str, chances: np.ndarray, labels: np.ndarray, patients: np.ndarray
) -> tuple[list[object], dict[str, float | None]]:
    """One row of the table: AUROC (positives) [95 % interval over patients] of each label, and the values."""
    names = list(LABEL_NAMES)
    values = rank_metrics(chances, labels, names)
    limits = bootstrap_intervals(chances, labels, [0.5] * len(names), names, patients)
    cells: list[object] = [name]
    for label in [*names, None]:
        one = values["mean"] if label is None else values["per_class"][label]
        interval = (limits["mean"] if label is None else limits["per_class"][label])["auroc"]
        positives = "" if label is None else f" ({int((labels[:, names.index(label)] == 1).sum())})"
        between = "" if interval["low"] is None else f" [{interval['low']:.3f}, {interval['high']:.3f}]"
        cells.append(f"{one['auroc']:.3f}{positives}{between}")
    return cells, {n: values["per_class"][n]["auroc"] for n in names} | {"mean": values["mean"]["auroc"]}


def draw(exams: Sequence[RealExam], chances: np.ndarray, thresholds: Sequence[float], folder: Path) -> None:
    """A picture of each exam of `SHOWN`."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {exam.exam_id: place for place, exam in enumerate(exams)}
    for exam_id in SHOWN:
        exam = exams[places[exam_id]]
        record = read_ecg(str(exam.path))
        ecg = EcgFeatureExtractor().standardize(
            record.signal, record.sampling_rate, record.lead_names, record.unit, record.name
        )
        stated = ", ".join(name for name, value in zip(LABEL_NAMES, exam.labels, strict=True) if value == 1) or "none"
        figure = plot_ecg(
            ecg.signal,
            ecg.sampling_rate,
            title=f"PTB-XL {exam_id.split('/')[1]}, labelled: {stated}",
            probabilities=dict(zip(LABEL_NAMES, chances[places[exam_id]].tolist(), strict=True)),
            thresholds=list(thresholds),
            dpi=70,
        )
        figure.savefig(folder / f"{exam_id.replace('/', '_')}.png", dpi=70)


def judged(
    exams: Sequence[RealExam],
    known: Sequence[Evidence],
    chances: np.ndarray,
    thresholds: Sequence[float],
    listed: bool,
) -> tuple[dict[str, dict[str, list[int]]], dict[str, np.ndarray]]:
    """
    Counts of false calls, and labels three ways.

    Returns:
        `tuple`: of each label and kind, how many were missed and how many called falsely; labels (exams, labels), -1
        where unknown, by the source, by measurement, and by the source but for those that are disputed.
    """
    truth = np.array([exam.labels for exam in exams])
    measured, undisputed = truth.copy(), truth.copy()
    counts = {label: {kind: [0, 0] for kind in KINDS} for label in LABEL_NAMES}
    for i, j in zip(*np.nonzero(truth >= 0), strict=True):
        label, stated, evidence = LABEL_NAMES[j], int(truth[i, j]), known[i]
        measured[i, j] = by_measurement(label, stated, evidence)
        if contradicted(label, stated, evidence) or defined_otherwise(label, stated, evidence):
            undisputed[i, j] = -1
        called = bool(chances[i, j] >= thresholds[j])
        if called == bool(stated):
            continue
        kind = kind_of(label, stated, evidence)
        counts[label][kind][int(called)] += 1
        if listed:
            how = "called" if called else "missed"
            print(f"{label} {how} {exams[i].exam_id}: {kind}, probability {chances[i, j]:.3f}, {evidence}")
    return counts, {"the source's labels": truth, "labels by measurement": measured, "undisputed labels": undisputed}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data")
    parser.add_argument("--model_name_or_path", help="folder of a classifier (the default's, where left out)")
    parser.add_argument("--sample_data", type=Path, default=Path(default), help="folder of the sets of real ECGs")
    parser.add_argument("--figures_dir", type=Path, help="where pictures of five exams are drawn")
    parser.add_argument("--list", action="store_true", help="name every false call with its kind")
    arguments = parser.parse_args(argv)
    exams = real_exams(arguments.sample_data)
    exams = [exam for exam, chosen in zip(exams, once(exams), strict=True) if chosen]
    chances, refused, thresholds = probabilities_of(arguments.model_name_or_path or pretrained_folder(), exams)
    if refused:
        raise ValueError(f"{refused[0]['exam_id']}: {refused[0]['reason']}")
    if arguments.figures_dir is not None:
        draw(exams, chances, thresholds, arguments.figures_dir)
    known = evidence_of(exams, arguments.sample_data)
    counts, labellings = judged(exams, known, chances, thresholds, arguments.list)
    rows: list[list[object]] = [["missed + called falsely", *LABEL_NAMES]]
    for kind, words in KINDS.items():
        rows.append([words, *("{} + {}".format(*counts[label][kind]) for label in LABEL_NAMES)])
    totals = [np.sum(list(counts[label].values()), axis=0) for label in LABEL_NAMES]
    rows.append(["all", *(f"{missed} + {called}" for missed, called in totals)])
    print(markdown_table(rows), end="\n\n")
    patients = np.array([exam.patient_id for exam in exams])
    table: list[list[object]] = [["AUROC", *LABEL_NAMES, "mean"]]
    found = {}
    for name, labels in labellings.items():
        row, found[name] = auroc_rows(name, chances, labels, patients)
        table.append(row)
    print(markdown_table(table))
    print(json.dumps({"benchmark": "real/failures", "exams": len(exams), "false": counts, "auroc": found}))


if __name__ == "__main__":
    main()
