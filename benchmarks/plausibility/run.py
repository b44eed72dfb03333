"""What does the detective say about real recordings, and does it find the faults that are put into them?

    python benchmarks/plausibility/run.py [--sample_data D] [--orders 20] [--simulated 400]

Prints tables in Markdown and ends in one line of JSON.
"""

import argparse
import csv
import itertools
import json
import os
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.plausibility.faults import (  # noqa: E402 (the path comes first)
    CODES,
    DIALECTS,
    LEADS,
    UNITS,
    exchanged_arms,
    in_order,
    no_ecgs,
)
from data_scripts.simulate.exam import simulate_exam  # noqa: E402
from modeling_ecgclip.feature_extraction_ecgclip import canonical_lead_name  # noqa: E402
from modeling_ecgclip.lead_algebra_ecgclip import LIMB_LEADS, agreement, own_gains  # noqa: E402
from modeling_ecgclip.missing_samples_ecgclip import missing_samples  # noqa: E402
from modeling_ecgclip.plausibility_ecgclip import examine  # noqa: E402
from modeling_ecgclip.reading_ecgclip import read_ecg  # noqa: E402


Entry = tuple[str, str, Path, int | None]  # source, record, file, and which exam of it
Recording = tuple[str, str, np.ndarray, float]  # source, record, signal (12, samples) in millivolts, Hz


def catalogue(folder: Path) -> list[Entry]:
    """The real recordings: source, record, path and, for files of several exams, which one."""
    entries: list[Entry] = []
    for source, below in (
        ("PTB-XL 500 Hz", "ptbxl_sample/records500"),
        ("PTB-XL 100 Hz", "ptbxl_sample/records100"),
        ("PTB-XL 100 Hz, more", "ptbxl100/records100"),
        ("LUDB", "ludb/data"),
    ):
        headers = sorted((folder / below).rglob("*.hea"))
        entries += [(source, header.stem, header.with_suffix(""), None) for header in headers]
    with (folder / "cinc2021" / "records.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            entries.append((row["source"], row["record"], folder / "cinc2021" / "records" / row["record"], None))
    for part in sorted((folder / "code15_sample").glob("*.hdf5")):
        with h5py.File(part) as file:
            entries += [("CODE-15%", str(exam), part, int(exam)) for exam in file["exam_id"][:] if exam]
    return entries


def load(entry: Entry) -> Recording:
    """Source, record, signal (12, samples) in millivolts and Hz, by the project's readers."""
    source, name, path, exam_id = entry
    record = read_ecg(path, exam_id=exam_id)
    leads = tuple(canonical_lead_name(lead) for lead in record.lead_names or ())
    if leads != LEADS:
        raise ValueError(f"{path}: expected the standard order: found {leads}")
    return source, name, np.asarray(record.signal, dtype=np.float64), float(record.sampling_rate or 0)


def kinds(signal: np.ndarray, rate: float, **stated: Any) -> set[str]:
    """Codes without the leads they name, but for notes and flat leads, which no fault here is."""
    found = examine(signal, LEADS, rate, **stated)
    return {entry.code.split(":")[0] for entry in found if entry.severity != "note" and entry.code != "flat_lead"}


def survey(
    recordings: list[Recording],
) -> tuple[dict[str, Counter[str]], list[str], dict[str, float], int]:
    """Findings on the recordings as they are, by source and half, and the milliseconds of each."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    times: dict[str, list[float]] = defaultdict(list)
    flagged, masked = [], 0
    for place, (source, record, signal, rate) in enumerate(recordings):
        began = time.process_time()
        found = examine(signal, LEADS, rate)
        times[f"{signal.shape[1]} at {rate:g} Hz"].append(1000 * (time.process_time() - began))
        table[source]["recordings"] += 1
        for entry in found:
            table[source][f"{entry.code} ({entry.severity})"] += 1
            if entry.severity != "note":
                flagged.append(f"{source} {record}: {entry.code}")
        table[source][f"{'even' if place % 2 == 0 else 'odd'} half, errors and warnings"] += any(
            entry.severity != "note" for entry in found
        )
        masked += int(missing_samples(signal).sum())
    return table, flagged, {key: float(np.median(value)) for key, value in times.items() if len(value) > 5}, masked


def extremes(recordings: list[Recording]) -> dict[str, list[float]]:
    """
    Smallest and largest of what the limits were set by.

    Amplitude is the 99th percentile of |sample - median of its lead| in mV. What the limb leads leave of the laws is a
    root of a share of their energy: as they are (apart: LUDB, of which each lead was scaled), and in other orders.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    others = [order for order in itertools.permutations(range(6)) if order != tuple(range(6))]
    for source, _, signal, _ in recordings:
        moving = signal[np.ptp(signal, axis=1) > 0]
        away = np.abs(moving - np.median(moving, axis=1, keepdims=True))
        seen["amplitude, mV"].append(float(np.percentile(away, 99)))
        limb, names = signal[:6], list(LIMB_LEADS)
        if source == "LUDB":
            seen["laws, LUDB"].append(agreement(limb, names).residual)
            gains = own_gains(limb, names)
            assert gains is not None
            seen["laws, LUDB with gains of its own"].append(agreement(limb * gains[:, None], names).residual)
        else:
            stated = agreement(limb, names)
            seen["laws" if stated.tolerable else "laws, where they do not hold"].append(stated.residual)
        if source == "PTB-XL 500 Hz":  # every 25th sample is enough, and as quick as it has to be
            seen["laws, any other order"] += [agreement(limb[list(order), ::25], names).residual for order in others]
    return {key: [float(f"{extreme(value):.2g}") for extreme in (min, max)] for key, value in seen.items()}


def parts(recordings: list[Recording], rng: np.random.Generator) -> dict[str, list[int]]:
    """How many single leads, and stretches of 2 to 5 s, are taken for no ECG, and of how many."""
    counts = {"single leads": [0, 0], "stretches": [0, 0]}
    for _, _, signal, rate in recordings:
        for lead in rng.choice(12, 5, replace=False):
            if np.ptp(signal[lead]) > 0:
                found = examine(signal[[lead]], [LEADS[lead]], rate)
                counts["single leads"][0] += any(entry.code == "not_an_ecg" for entry in found)
                counts["single leads"][1] += 1
        for seconds in rng.uniform(2, 5, 4):
            n = int(seconds * rate)
            start = int(rng.integers(0, max(1, signal.shape[1] - n)))
            counts["stretches"][0] += "not_an_ecg" in kinds(signal[:, start : start + n], rate)
            counts["stretches"][1] += 1
    return counts


def orders(ptbxl: list[Recording], n_orders: int, rng: np.random.Generator) -> dict[str, tuple[float, int]]:
    """Shares of limb orders, exchanges of a limb with a chest lead, dialects and inverted leads that are found."""
    caught: dict[str, list[Any]] = defaultdict(list)
    everything = [order for order in itertools.permutations(range(6)) if order != tuple(range(6))]
    for _, _, signal, rate in ptbxl:
        for at in rng.choice(len(everything), n_orders, replace=False):
            changed = signal[[*everything[at], *range(6, 12)]]
            caught["orders of the limb leads"].append(bool(kinds(changed, rate)))
        for limb, chest in itertools.product(range(6), range(6, 12)):
            rows = list(range(12))
            rows[limb], rows[chest] = chest, limb
            caught["a limb lead exchanged with a chest lead"].append(bool(kinds(signal[rows], rate)))
        for name, order in DIALECTS.items():
            codes = {entry.code for entry in examine(in_order(signal, order), LEADS, rate)}
            told = order.replace("-", "").replace("V1 V2 V3 V4 V5 V6", "V1-V6")
            caught[f"{name}, told by name"].append(f"lead_order:{told}" in codes)
        for row, name in enumerate(LIMB_LEADS):
            changed = signal.copy()
            changed[row] *= -1
            codes = {entry.code for entry in examine(changed, LEADS, rate)}
            caught["a limb lead inverted, told by name"].append(f"inverted:{name}" in codes)
    return {key: (float(np.mean(value)), len(value)) for key, value in caught.items()}


def units(recordings: list[Recording]) -> dict[str, list[float]]:
    """Shares of every fourth recording, in another unit, that are found: by an error, and by anything."""
    caught: dict[str, list[Any]] = defaultdict(list)
    for _, _, signal, rate in recordings[::4]:
        for name, (factor, rounded) in UNITS.items():
            changed = np.rint(signal * factor) if rounded else signal * factor
            found = examine(changed, LEADS, rate, unit_stated=False)
            wanted = [entry for entry in found if entry.code in ("amplitude_low", "amplitude_high", "whole_numbers")]
            caught[name].append((any(entry.severity == "error" for entry in wanted), bool(wanted)))
    return {name: np.mean(value, axis=0).tolist() for name, value in caught.items()}


def shapes(recordings: list[Recording]) -> dict[str, float]:
    """Shares of exchanged arms and of inverted recordings that are found."""
    caught: dict[str, list[Any]] = defaultdict(list)
    for _, _, signal, rate in recordings:
        caught["electrodes of the arms exchanged"].append("arm_reversal" in kinds(exchanged_arms(signal), rate))
        caught["all leads inverted"].append("all_leads_inverted" in kinds(-signal, rate))
    return {key: float(np.mean(value)) for key, value in caught.items()}


def nothing(rng: np.random.Generator) -> dict[str, float]:
    """Shares of what is no ECG that are found."""
    caught: dict[str, list[Any]] = defaultdict(list)
    for rate, n in ((500, 5000), (100, 1000), (400, 2934), (400, 4096), (250, 2500), (1000, 10_000)):
        for _ in range(10):
            for name, signal in no_ecgs(rate, n, rng).items():
                caught[name].append(bool(kinds(signal, rate)))
    return {key: float(np.mean(value)) for key, value in caught.items()}


def lost(ptbxl: list[Recording], rng: np.random.Generator) -> dict[str, int]:
    """Samples of codes put in, found, and masked though they were none."""
    counts: Counter[str] = Counter()
    for _, _, signal, _ in ptbxl:
        for code in CODES:
            changed = signal.copy()
            put = np.zeros(signal.shape, dtype=bool)
            for lead in rng.choice(12, 3, replace=False):
                put[lead, rng.choice(signal.shape[1], int(rng.integers(1, 20)))] = True
            changed[put] = code
            mask = missing_samples(changed)
            counts["put in"] += int(put.sum())
            counts["found"] += int((mask & put).sum())
            counts["wrongly masked"] += int((mask & ~put).sum())
    return dict(counts)


def simulated(n: int) -> dict[str, int]:
    """Findings on simulated exams, with and without the arms exchanged."""
    counts: Counter[str] = Counter()
    for index in range(n):
        exam = simulate_exam(1, index)
        found = kinds(exam.signal.astype(np.float64), 400.0)
        reversed_arms = "reversal" in exam.flaws
        counts["exams"] += 1
        counts["arms exchanged"] += reversed_arms
        counts["of these found"] += reversed_arms and "arm_reversal" in found
        counts["other findings"] += bool(found - ({"arm_reversal"} if reversed_arms else set()))
    return dict(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    default = os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data")
    parser.add_argument("--sample_data", type=Path, default=Path(default))
    parser.add_argument("--orders", type=int, default=20, help="orders of the limb leads tried on each recording")
    parser.add_argument("--simulated", type=int, default=400)
    arguments = parser.parse_args()
    recordings = [load(entry) for entry in catalogue(arguments.sample_data)]
    ptbxl = [entry for entry in recordings if entry[0] == "PTB-XL 500 Hz"]
    rng = np.random.default_rng(0)
    table, flagged, times, masked = survey(recordings)
    columns = sorted({column for row in table.values() for column in row} - {"recordings"})
    print("| source | recordings | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 2))
    for source, row in table.items():
        print(f"| {source} | {row['recordings']} | " + " | ".join(str(row[column]) for column in columns) + " |")
    print("\nflagged:", *flagged, sep="\n  ")
    result = {
        "benchmark": "plausibility",
        "recordings": len(recordings),
        "flagged": len({entry.split(":")[0] for entry in flagged}),
        "samples_masked": masked,
        "extremes": extremes(recordings),
        "parts": parts(recordings, np.random.default_rng(0)),
        "ms": {key: round(value, 2) for key, value in times.items()},
        "caught": {key: [round(share, 4), n] for key, (share, n) in orders(ptbxl, arguments.orders, rng).items()},
        "units": {key: [round(share, 4) for share in value] for key, value in units(recordings).items()},
        "shape": {key: round(value, 3) for key, value in shapes(recordings).items()},
        "no_ecg": {key: round(value, 3) for key, value in nothing(rng).items()},
        "lost_samples": lost(ptbxl, rng),
        "simulated": simulated(arguments.simulated),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
