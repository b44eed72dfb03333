"""
Can a simulated recording be told from a real one, and by what? For each source of real ECGs, a logistic regression on
measurable properties of the recording (five-fold, no patient in two folds): its AUROC (.5: no difference is seen, 1:
each exam is told apart) and, for each group of properties, the AUROC of a regression on this group alone.

    python benchmarks/simulate/realism.py [--data_dir ../shared/data] [--num_exams 600] [--seed 31]

No label, and no rate or interval of the heart, is looked at: only spectra, amplitudes, baselines, noise between beats,
mains, steps. Both sides pass through the same code: 7 s from the middle of what was recorded, at 400 Hz; beside a
source of 100 Hz the simulated exams go through 100 Hz too. Ends in one line of JSON.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.signal import welch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.markdown import markdown_table
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor, resample
from modeling_ecgclip.leads_ecgclip import LEAD_NAMES
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


WINDOW = 7 * SAMPLING_RATE  # the shortest simulated recording has 7.3 s
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
BANDS_HZ = ((0.0, 0.45), (0.45, 1.0), (1, 3), (3, 8), (8, 15), (15, 22), (22, 30), (30, 38), (38, 46))
HIGH_BANDS_HZ = ((52, 58), (62, 75), (75, 95), (105, 145), (155, 195))  # of sources of 500 Hz
QUIET_S, QUIET_SHARE = 0.08, 15  # noise is that of the quietest 15 % of stretches of 80 ms: between T and P
FLAT_MV = 5e-4
MAINS_HZ, BESIDE_HZ = (50, 60), (2.0, 5.0)


def properties(signal: np.ndarray, high: bool) -> dict[str, np.ndarray]:
    """
    What is measured of one recording.

    Args:
        signal (`np.ndarray` of shape `(8, WINDOW)`): mV, leads as `LEADS`.
        high (`bool`): also what lies above 50 Hz.

    Returns:
        `dict[str, np.ndarray]`: values of each group, on a logarithmic scale where they are sizes.
    """
    frequency, power = welch(signal, SAMPLING_RATE, nperseg=1024, detrend="constant")
    bands = BANDS_HZ + (HIGH_BANDS_HZ if high else ())
    inside = [(frequency >= low) & (frequency < top) for low, top in bands]
    spectrum = np.stack([np.log10(power[:, chosen].mean(axis=1) + 1e-12) for chosen in inside], axis=1)
    spread = np.percentile(signal, 99.5, axis=1) - np.percentile(signal, 0.5, axis=1)
    width = int(QUIET_S * SAMPLING_RATE)
    pieces = signal[:, : WINDOW // width * width].reshape(len(LEADS), -1, width)
    second = np.diff(pieces, n=2, axis=2).std(axis=2)
    slope = np.abs(np.diff(pieces, axis=2)).mean(axis=2)
    quiet = np.percentile(second, QUIET_SHARE, axis=1), np.percentile(slope, QUIET_SHARE, axis=1)
    medians = np.median(signal.reshape(len(LEADS), -1, SAMPLING_RATE), axis=2)
    found = {
        "baseline, below 1 Hz": np.concatenate(
            [
                spectrum[:, :2].ravel(),
                np.log10(medians.std(axis=1) + 1e-4),
                np.log10(np.abs(signal.mean(axis=1)) + 1e-3),
            ]
        ),
        "spectrum, 1 to 15 Hz": spectrum[:, 2:5].ravel(),
        "spectrum, 15 to 46 Hz": spectrum[:, 5 : len(BANDS_HZ)].ravel(),
        "amplitude": np.log10(spread + 1e-3),
        "noise between beats": np.log10(np.concatenate(quiet) + 1e-6),
        "steps and flat stretches": np.concatenate(
            [
                (np.abs(np.diff(signal, axis=1)) < FLAT_MV).mean(axis=1),
                np.log10(np.abs(np.diff(signal)).max(axis=1) + 1e-3),
            ]
        ),
    }
    if high:
        found["spectrum, above 52 Hz"] = spectrum[:, len(BANDS_HZ) :].ravel()
        found["mains, 50 and 60 Hz"] = np.concatenate([_mains(frequency, power, hz) for hz in MAINS_HZ])
    return found


def _mains(frequency: np.ndarray, power: np.ndarray, hz: float) -> np.ndarray:
    """Power at the mains over that beside it, decades, of each lead."""
    away = np.abs(frequency - hz)
    at, beside = power[:, away < BESIDE_HZ[0] / 2], power[:, (away >= BESIDE_HZ[0]) & (away < BESIDE_HZ[1])]
    return np.log10((at.mean(axis=1) + 1e-12) / (beside.mean(axis=1) + 1e-12))


def window_of(signal: np.ndarray) -> np.ndarray:
    """7 s from the middle, (8, WINDOW), of twelve leads at 400 Hz."""
    start = (signal.shape[1] - WINDOW) // 2
    rows = [LEAD_NAMES.index(name) for name in LEADS]
    return signal[rows, start : start + WINDOW].astype(np.float64)


def read_records(paths: list[Path]) -> tuple[list[np.ndarray], int]:
    """Windows of WFDB records, and how many were shorter than one."""
    extractor, windows, short = EcgFeatureExtractor(repair_nan=True), [], 0
    for path in paths:
        record = read_ecg(str(path))
        signal = extractor.standardize(record.signal, record.sampling_rate, record.lead_names, record.unit).signal
        if signal.shape[1] < WINDOW:
            short += 1
        else:
            windows.append(window_of(signal))
    return windows, short


def ptbxl_records(folder: Path, column: str) -> tuple[list[Path], list[str]]:
    """Records of a PTB-XL folder and their patients."""
    with (folder / "ptbxl_database.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [folder / row[column] for row in rows], [row["patient_id"] for row in rows]


def plain_records(folder: Path) -> tuple[list[Path], list[str]]:
    """Records of a folder of WFDB files, each of a patient of its own."""
    paths = [path.with_suffix("") for path in sorted(folder.rglob("*.hea"))]
    return paths, [path.name for path in paths]


SOURCES: dict[str, tuple[int, Callable[[Path], tuple[list[Path], list[str]]]]] = {
    "ptbxl100": (100, lambda folder: ptbxl_records(folder, "filename_lr")),
    "ptbxl_sample": (500, lambda folder: ptbxl_records(folder, "filename_hr")),
    "ludb": (500, plain_records),
    "cinc2021": (500, plain_records),
}


def told_apart(real: np.ndarray, simulated: np.ndarray, groups: list[str]) -> float:
    """AUROC of a logistic regression that tells real (1) from simulated (0), each exam judged by folds without it."""
    values = np.concatenate([real, simulated])
    truth = np.repeat([1, 0], [len(real), len(simulated)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))
    scores = cross_val_predict(model, values, truth, groups=groups, cv=GroupKFold(5), method="decision_function")
    return float(roc_auc_score(truth, scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--num_exams", type=int, default=600, help="simulated exams")
    parser.add_argument("--seed", type=int, default=31, help="of the simulated cohort")
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    arguments = parser.parse_args()
    exams = [simulate_exam(arguments.seed, k) for k in range(arguments.num_exams)]
    result: dict[str, dict[str, float]] = {}
    medians: dict[str, dict[str, list[float]]] = {}
    for name in arguments.sources:
        rate, records_of = SOURCES[name]
        paths, patients = records_of(arguments.data_dir / name)
        windows, short = read_records(paths)
        if short:
            raise ValueError(f"{name}: {short} of {len(paths)} records are shorter than {WINDOW / SAMPLING_RATE:g} s")
        signals = [exam.signal for exam in exams]
        if rate < SAMPLING_RATE:
            signals = [resample(resample(s, SAMPLING_RATE, rate), rate, SAMPLING_RATE) for s in signals]
        sides = [[properties(s, rate > SAMPLING_RATE) for s in side] for side in (windows, map(window_of, signals))]
        groups = patients + [f"simulated {exam.patient_id}" for exam in exams]
        tables = {key: [np.stack([one[key] for one in side]) for side in sides] for key in sides[0][0]}
        tables["all"] = [np.concatenate([table[k] for table in tables.values()], axis=1) for k in range(2)]
        result[name] = {"exams": len(windows)}
        result[name] |= {key: told_apart(table[0], table[1], groups) for key, table in tables.items()}
        medians[name] = {
            key: (np.median(t[0], axis=0) - np.median(t[1], axis=0)).round(2).tolist()
            for key, t in tables.items()
            if key != "all"
        }
    rows: list[list[object]] = [["AUROC, real from simulated", *(f"{n} ({r['exams']})" for n, r in result.items())]]
    for key in max(result.values(), key=len):
        if key != "exams":
            rows.append([key, *(f"{r[key]:.3f}" if key in r else "-" for r in result.values())])
    print(markdown_table(rows))
    print(json.dumps({"benchmark": "simulate/realism", "auroc": result, "median_difference": medians}))


if __name__ == "__main__":
    main()
