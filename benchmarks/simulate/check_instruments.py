"""
Measure clean simulated exams with instruments that are not ours, and compare with what was simulated.

    python benchmarks/simulate/check_instruments.py [--num_exams 200] [--output_dir build/simulator_check]

Heart rate by wfdb's `xqrs` and by neurokit2 on lead II; PR and QRS by neurokit2's `prominence` delineation of eleven
leads; fibrillation from neurokit2's RR intervals. Failures are counted, never left out silently. Writes
`measured.csv`, `agreement.md` and `agreement.png`; ends in one line of JSON.
"""

import argparse
import csv
import json
import sys
import warnings
from pathlib import Path

import neurokit2 as nk
import numpy as np
from wfdb.processing import xqrs_detect


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.markdown import markdown_table
from data_scripts.simulate.exam import SimulatedExam, simulate_exam
from data_scripts.simulate.findings import FindingShares
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


PLAIN = FindingShares(0.0)  # hearts with the six labels and nothing beside them, which is what the instruments are for
SEED = 2024
PREVALENCE_SCALE = 3.0  # so that 200 exams hold several of each diagnosis
MIN_BEATS = 4  # fewer found beats count as a failure
SEARCH_S = 0.1  # around the beats of lead II, for the peak in another lead
PLAUSIBLE_PR_MS = (60.0, 400.0)  # outside, the delineation took another wave for P: a failure
MS = 1000 / SAMPLING_RATE
# First begin and last end over leads, sparing the most extreme leads, whose delineation may have failed.
BEGIN_PERCENTILE, END_PERCENTILE = 15, 85
AF_VARIATION = 0.12  # root mean square of successive RR differences over the mean RR
DELINEATION_ERRORS = (ValueError, IndexError, KeyError, ZeroDivisionError, TypeError)  # raised inside neurokit2
COLUMNS = (
    "exam_id rhythm block narrow rate_true rate_xqrs rate_neurokit pr_true pr_neurokit "
    "qrs_true qrs_neurokit variation_true variation_neurokit"
).split()


def rate_of(peaks: np.ndarray) -> float:
    """Beats per minute, NaN for fewer than `MIN_BEATS` beats."""
    return 60 * SAMPLING_RATE / float(np.mean(np.diff(peaks))) if len(peaks) >= MIN_BEATS else np.nan


def variation_of(peaks: np.ndarray) -> float:
    """Root mean square of successive RR differences over the mean RR."""
    if len(peaks) < MIN_BEATS:
        return np.nan
    rr = np.diff(peaks)
    return float(np.sqrt(np.mean(np.diff(rr) ** 2)) / np.mean(rr))


def delineate(signal: np.ndarray, peaks: np.ndarray) -> dict[str, float]:
    """Samples of P onset, QRS begin and end from the peaks given, in one lead, as medians over beats."""
    signal = signal - np.median(signal)
    upright = signal if signal.max() > -signal.min() else -signal
    reach = int(SEARCH_S * SAMPLING_RATE)
    own = np.array([max(0, p - reach) + int(np.argmax(upright[max(0, p - reach) : p + reach])) for p in peaks])
    _, waves = nk.ecg_delineate(upright, own, sampling_rate=SAMPLING_RATE, method="prominence")
    # P is looked for in the lead as recorded: it may be upright where the QRS is not.
    names = {"p": "ECG_P_Onsets", "begin": "ECG_R_Onsets", "end": "ECG_R_Offsets"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of nothing but NaN
        return {key: float(np.nanmedian(np.array(waves[name], float) - peaks)) for key, name in names.items()}


def measure(exam: SimulatedExam) -> dict[str, object]:
    """One row of the table: truth and what the instruments say; NaN where they fail."""
    truth, leads = exam.measurements, dict(zip(LEAD_NAMES, exam.signal.astype(float), strict=True))
    beats_xqrs = xqrs_detect(leads["II"], SAMPLING_RATE, verbose=False)
    try:
        beats = nk.ecg_peaks(leads["II"], sampling_rate=SAMPLING_RATE)[1]["ECG_R_Peaks"]
    except DELINEATION_ERRORS:
        beats = np.array([], dtype=int)
    found = {}
    if len(beats) >= MIN_BEATS:
        for name, signal in leads.items():
            if name == "aVR":
                continue
            try:
                found[name] = delineate(signal, beats)
            except DELINEATION_ERRORS:
                continue
    begins = [wave["begin"] for wave in found.values() if np.isfinite(wave["begin"])]
    ends = [wave["end"] for wave in found.values() if np.isfinite(wave["end"])]
    begin = np.percentile(begins, BEGIN_PERCENTILE) if begins else np.nan
    end = np.percentile(ends, END_PERCENTILE) if ends else np.nan
    pr_ms = (begin - found.get("II", {}).get("p", np.nan)) * MS
    return {
        "exam_id": exam.exam_id,
        "rhythm": truth.rhythm,
        "block": truth.block,
        "narrow": truth.block == "none",
        "rate_true": truth.heart_rate,
        "rate_xqrs": rate_of(beats_xqrs),
        "rate_neurokit": rate_of(beats),
        "pr_true": truth.pr_ms if truth.pr_ms is not None else np.nan,
        "pr_neurokit": pr_ms if PLAUSIBLE_PR_MS[0] <= pr_ms <= PLAUSIBLE_PR_MS[1] else np.nan,
        "qrs_true": truth.qrs_ms,
        "qrs_neurokit": (end - begin) * MS,
        "variation_true": truth.rr_variation,
        "variation_neurokit": variation_of(beats),
    }


def agreement(true: np.ndarray, found: np.ndarray, limit: float) -> dict[str, float]:
    """Number, failures, bias, median absolute error, and share within `limit`, of which failures are not."""
    error = found - true
    known = np.isfinite(error)
    return {
        "n": len(true),
        "failed": int((~known).sum()),
        "bias": round(float(np.median(error[known])), 2),
        "median_absolute_error": round(float(np.median(np.abs(error[known]))), 2),
        "within": round(float((np.abs(error[known]) <= limit).sum() / len(true)), 3),
        "limit": limit,
    }


def summarise(table: dict[str, np.ndarray]) -> dict[str, dict]:
    """All rows of the agreement table by name."""
    sinus, narrow = table["rhythm"] == "sinus", table["narrow"].astype(bool)
    af = table["rhythm"] == "af"

    def row(mask: np.ndarray, what: str, instrument: str, limit: float) -> dict[str, float]:
        return agreement(table[f"{what}_true"][mask], table[f"{what}_{instrument}"][mask], limit)

    seen = table["variation_neurokit"] > AF_VARIATION
    return {
        "heart rate, sinus, wfdb xqrs (bpm)": row(sinus, "rate", "xqrs", 2.0),
        "heart rate, sinus, neurokit2 (bpm)": row(sinus, "rate", "neurokit", 2.0),
        "heart rate, fibrillation and flutter, neurokit2 (bpm)": row(~sinus, "rate", "neurokit", 2.0),
        "PR, sinus, neurokit2 (ms)": row(sinus, "pr", "neurokit", 20.0),
        "QRS, no block, neurokit2 (ms)": row(narrow, "qrs", "neurokit", 15.0),
        "QRS, all blocks and delays, neurokit2 (ms)": row(~narrow, "qrs", "neurokit", 15.0),
        "fibrillation by RR variation": {
            "n_af": int(af.sum()),
            "n_other": int((~af).sum()),
            "sensitivity": round(float(seen[af].mean()), 3),
            "specificity": round(float(1 - seen[~af].mean()), 3),
            "auroc": round(area(table["variation_neurokit"], af), 3),
        },
    }


def area(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, over exams whose score is known."""
    known = np.isfinite(score)
    yes, no = score[known & positive], score[known & ~positive]
    return float(np.mean((yes[:, None] > no) + 0.5 * (yes[:, None] == no)))


def write_table(summary: dict[str, dict], path: Path) -> None:
    """Markdown of the agreement table."""
    rows = [("measured", "exams", "failed", "median error", "median absolute error", "within")]
    for name, row in summary.items():
        if "bias" in row:
            cells = (name, row["n"], row["failed"], f"{row['bias']:+}", row["median_absolute_error"])
            rows.append((*cells, f"{100 * row['within']:.1f} % within {row['limit']:g}"))
    path.write_text(markdown_table(rows) + "\n", encoding="utf-8")


def draw(table: dict[str, np.ndarray], path: Path) -> None:
    """Measured against true: rate, PR, QRS, and RR variation by rhythm."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    panels = (
        ("rate", "neurokit", "heart rate (bpm)", table["rhythm"] == "sinus"),
        ("pr", "neurokit", "PR (ms)", table["rhythm"] == "sinus"),
        ("qrs", "neurokit", "QRS (ms)", np.ones(len(table["rhythm"]), bool)),
    )
    for axis, (what, instrument, title, mask) in zip(axes, panels, strict=False):
        true, found = table[f"{what}_true"][mask], table[f"{what}_{instrument}"][mask]
        groups = [(table["narrow"][mask].astype(bool), "#1f5f99", "no block"), (None, "#c0504d", "block or delay")]
        groups[1] = (~groups[0][0], *groups[1][1:])
        for chosen, colour, label in groups:
            axis.scatter(true[chosen], found[chosen], s=9, color=colour, alpha=0.7, label=label)
        ends = [np.nanmin(true), np.nanmax(true)]
        axis.plot(ends, ends, color="0.4", lw=0.8)
        failed = int((~np.isfinite(found)).sum())
        axis.set(title=f"{title}; failed {failed} of {len(found)}", xlabel="simulated", ylabel="measured by neurokit2")
    axes[2].legend(frameon=False, fontsize=8)
    for k, rhythm in enumerate(("sinus", "af", "flutter")):
        values = table["variation_neurokit"][table["rhythm"] == rhythm]
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
        axes[3].scatter(k + jitter, values, s=9, color="#1f5f99", alpha=0.7)
    axes[3].axhline(AF_VARIATION, color="#c0504d", lw=0.8)
    axes[3].set(title="RMSSD / mean RR", xticks=range(3), xticklabels=("sinus", "fibrillation", "flutter"))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_exams", type=int, default=200)
    parser.add_argument("--output_dir", type=Path, default=Path("build/simulator_check"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="neurokit2")
    rows = [
        measure(simulate_exam(SEED, k, PREVALENCE_SCALE, clean=True, shares=PLAIN)) for k in range(arguments.num_exams)
    ]
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    with open(arguments.output_dir / "measured.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    table = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    summary = summarise(table)
    write_table(summary, arguments.output_dir / "agreement.md")
    draw(table, arguments.output_dir / "agreement.png")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
