"""How near are the measurements to cardiologists' marks, and how fast do they come?

    python benchmarks/measure/run.py [--sample_data D] [--picture F] [--odd 1000] [--no_neurokit]

Prints tables in Markdown and ends in one line of JSON. `--picture` draws the ten worst ECGs of LUDB.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measure import ptbxl  # noqa: E402 (the path comes first)
from benchmarks.measure.ludb import (  # noqa: E402
    INTERVALS,
    WAVES,
    Ludb,
    Marked,
    Scores,
    global_errors,
    rate_errors,
    read_ludb,
    score,
)
from benchmarks.measure.odd import odd_ecgs  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from modeling_ecgclip.measure_ecgclip import measure_ecg, measure_ecgs  # noqa: E402
from modeling_ecgclip.measurements_ecgclip import MEASURES, EcgMeasurements  # noqa: E402
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES  # noqa: E402


AIMS_MS = {"pr_ms": 10.0, "qrs_ms": 8.0, "qt_ms": 15.0}
TUNED = "even numbers (constants chosen on them)"
HELD_OUT = "odd numbers"


def measured_in_time(records: list[Ludb], rounds: int) -> tuple[dict[int, EcgMeasurements], float, float]:
    """By record its measurements; ECGs per second of processor time in one batch, and one by one: the best rounds."""
    signals = np.stack([record.signal for record in records])
    best = [np.inf, np.inf]
    results: list[EcgMeasurements] = []
    for _ in range(rounds):
        began = time.process_time()
        results = measure_ecgs(signals, records[0].rate)
        best[0] = min(best[0], time.process_time() - began)
        began = time.process_time()
        for signal in signals:
            measure_ecg(signal, records[0].rate)
        best[1] = min(best[1], time.process_time() - began)
    of_records = dict(zip((record.number for record in records), results, strict=True))
    return of_records, len(records) / best[0], len(records) / best[1]


def memory_grows_mb(records: list[Ludb]) -> float:
    """What the peak of memory grows by from 120 ECGs to 1,200, their own samples and results not counted, in MB."""
    signals = np.stack([record.signal for record in records]).astype(np.float32)
    measure_ecgs(signals, records[0].rate)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        measure_ecgs(signals, records[0].rate)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def halves(records: list[Ludb]) -> dict[str, list[Ludb]]:
    return {
        HELD_OUT: [record for record in records if record.number % 2],
        TUNED: [record for record in records if record.number % 2 == 0],
        "all": records,
    }


def not_paced(parts: dict[str, list[Ludb]]) -> dict[str, list[Ludb]]:
    """The records in which no pacemaker drives the heart."""
    return {
        f"{name}, not paced": [record for record in parts[name] if "pacing" not in record.diagnoses]
        for name in (HELD_OUT, "all")
    }


def spread(errors: Any) -> str:
    values = np.asarray(list(errors), dtype=float)
    return f"{values.mean():.1f} ± {values.std():.1f}" if values.size else "none"


def wave_table(scores: dict[str, Scores]) -> str:
    rows: list[list[object]] = [
        ["records", "wave", "found", "too much", "missed", "Se", "PPV", "F1", "onset", "offset"]
    ]
    for name, one in scores.items():
        for wave in WAVES.values():
            found, much, missed = np.sum([one.counts[wave, lead] for lead in range(12)], axis=0)
            rates = [f"{value:.4f}" for value in one.rates(wave)]
            ends = [spread(one.errors[wave, point]) for point in ("onset", "offset")]
            rows.append([name, wave, found, much, missed, *rates, *ends])
    return markdown_table(rows)


def lead_table(scores: Scores) -> str:
    rows: list[list[object]] = [["lead", *(f"F1 of {wave}" for wave in WAVES.values())]]
    for lead, name in enumerate(LEAD_NAMES):
        rows.append([name, *(f"{scores.rates(wave, [lead])[2]:.4f}" for wave in WAVES.values())])
    return markdown_table(rows)


def interval_table(
    of_records: Mapping[str, Sequence[Marked]], of_methods: dict[str, dict[int, dict[str, float | None]]]
) -> str:
    rows: list[list[object]] = [["records", "by", *(name.split("_")[0].upper() for name in INTERVALS)]]
    for which, records in of_records.items():
        for method, values in of_methods.items():
            errors = global_errors(records, values)
            rows.append(
                [which, method, *(f"{spread(errors[name].values())} ({len(errors[name])})" for name in INTERVALS)]
            )
    return markdown_table(rows)


def worst(records: list[Ludb], measured: dict[int, EcgMeasurements], n: int) -> list[tuple[Ludb, str]]:
    """
    The records whose intervals are furthest off, in units of what is aimed at; a PR that is not marked comes first.
    """
    errors = global_errors(records, {number: vars(one) for number, one in measured.items()})
    ranked = []
    for record in records:
        off = {name: errors[name][record.number] for name in INTERVALS if record.number in errors[name]}
        far = max((abs(value) / AIMS_MS[name] for name, value in off.items()), default=0.0)
        text = ", ".join(f"{name.split('_')[0].upper()} {value:+.0f} ms" for name, value in off.items())
        if (measured[record.number].pr_ms is None) == ("pr_ms" in record.intervals):
            far, text = np.inf, f"{text}, PR {'missed' if 'pr_ms' in record.intervals else 'that is not marked'}"
        ranked.append((far, record, f"{record.number}: {text} ({record.diagnoses.split('|')[0].strip()})"))
    ranked.sort(key=lambda entry: -entry[0])
    return [(record, text) for _, record, text in ranked[:n]]


def quality_table(records: list[Ludb], measured: dict[int, EcgMeasurements]) -> str:
    """Errors of the better and of the worse half by quality."""
    errors = global_errors(records, {number: vars(one) for number, one in measured.items()})
    rows: list[list[object]] = [["interval", "half of better quality", "half of worse quality"]]
    for name in INTERVALS:
        ranked = sorted(errors[name], key=lambda number: -measured[number].quality[name])
        half = len(ranked) // 2
        rows.append(
            [name, *(spread(errors[name][number] for number in part) for part in (ranked[:half], ranked[half:]))]
        )
    return markdown_table(rows)


def odd_table(n: int, seed: int) -> tuple[str, int]:
    """What odd ECGs get: how many have a rate, PR and QT, and the commonest reason where there is none."""
    counts: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    for kind, signal, rate in odd_ecgs(n, seed):
        found = measure_ecg(signal, rate, None if len(signal) == 12 else LEAD_NAMES[: len(signal)])
        json.dumps(found.to_dict(), allow_nan=False)
        for name in MEASURES:
            if (getattr(found, name) is None) != bool(found.reasons.get(name)):
                raise AssertionError(f"{kind}: {name} is {getattr(found, name)} with {found.reasons.get(name)!r}")
        count = counts.setdefault(kind, Counter())
        count["ECGs"] += 1
        for name in ("heart_rate_bpm", "pr_ms", "qt_ms"):
            count[name] += getattr(found, name) is not None
        reasons.setdefault(kind, Counter()).update(found.reasons.get(name, "") for name in ("heart_rate_bpm", "pr_ms"))
    rows: list[list[object]] = [["what was done", "ECGs", "rate", "PR", "QT", "commonest reason"]]
    for kind, count in counts.items():
        told = [reason for reason, _ in reasons[kind].most_common() if reason]
        numbers = [count[name] for name in ("ECGs", "heart_rate_bpm", "pr_ms", "qt_ms")]
        rows.append([kind, *numbers, told[0] if told else ""])
    return markdown_table(rows), sum(count["ECGs"] for count in counts.values())


def by_another(
    records: list[Ludb], delineated: Callable[[Ludb], tuple[np.ndarray, dict[str, float | None]]]
) -> tuple[dict[int, np.ndarray], dict[int, dict[str, float | None]], float]:
    """Another program's marks and intervals by record, and ECGs per second of processor time."""
    began = time.process_time()
    found = {record.number: delineated(record) for record in records}
    speed = len(records) / (time.process_time() - began)
    marks = {number: one[0] for number, one in found.items()}
    return marks, {number: one[1] for number, one in found.items()}, speed


def best_neurokit(records: list[Ludb]) -> str:
    """The best of neurokit2's methods by F1 on ten records."""
    from benchmarks.measure.neurokit import METHODS, delineated

    few = records[1:20:2]
    f1 = {}
    for method in METHODS:
        scores = score(few, {record.number: delineated(record, method)[0] for record in few})
        f1[method] = sum(scores.rates(wave)[2] for wave in WAVES.values())
    return max(METHODS, key=lambda method: f1[method])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data")
    parser.add_argument("--sample_data", type=Path, default=Path(default))
    parser.add_argument("--picture", type=Path, help="PNG of the ten worst records")
    parser.add_argument("--odd", type=int, default=1000, help="damaged and odd ECGs")
    parser.add_argument("--seed", type=int, default=20260, help="of the odd ECGs")
    parser.add_argument("--rounds", type=int, default=5, help="for the speed")
    parser.add_argument("--no_neurokit", action="store_true")
    parser.add_argument("--openecg", action="store_true", help="compare with openecg too, which must be there")
    arguments = parser.parse_args(argv)

    records = read_ludb(arguments.sample_data / "ludb")
    measured, per_second, one_by_one = measured_in_time(records, arguments.rounds)
    marks = {number: one.marks_s for number, one in measured.items()}
    methods = {"ecgclip": {number: vars(one) for number, one in measured.items()}}
    of_halves = halves(records)
    scores = {name: score(part, marks) for name, part in of_halves.items()}
    summary: dict[str, Any] = {"ecgs_per_s": round(per_second), "one_by_one_per_s": round(one_by_one)}
    others: dict[str, Callable[[Ludb], tuple[np.ndarray, dict[str, float | None]]]] = {}
    if not arguments.no_neurokit:
        from benchmarks.measure import neurokit

        method = best_neurokit(records)
        others[f"neurokit2 ({method})"] = partial(neurokit.delineated, method=method)
    if arguments.openecg:
        from benchmarks.measure import openecg_codec

        others["openecg"] = openecg_codec.delineated
    for name, delineated in others.items():
        its_marks, methods[name], its_speed = by_another(records, delineated)
        scores[f"all, {name}"] = score(records, its_marks)
        summary[name] = {"per_s": round(its_speed, 3), "ratio": round(per_second / its_speed)}
    print("## Waves, per lead\n", wave_table(scores), "", sep="\n")
    print("## F1 by lead, all records\n", lead_table(scores["all"]), "", sep="\n")
    print(
        "## Intervals against the marks' median over leads, ms (records)\n",
        interval_table(of_halves | not_paced(of_halves), methods),
        "",
        sep="\n",
    )
    rates = np.abs(rate_errors(records, measured))
    print(f"Heart rate within 1 bpm: {np.mean(rates <= 1):.1%} of {len(rates)}; furthest off: {rates.max():.1f} bpm\n")
    print("## Errors by quality, ms\n", quality_table(records, measured), "", sep="\n")
    ten = worst(records, measured, 10)
    print("## The ten worst\n", *(f"- {text}" for _, text in ten), "", sep="\n")
    if arguments.picture:
        from benchmarks.measure.pictures import draw

        draw(arguments.picture, ten, measured)
    print("## PTB-XL, 300 records\n", ptbxl.tables(arguments.sample_data / "ptbxl_sample"), "", sep="\n")
    table, n_odd = odd_table(arguments.odd, arguments.seed)
    print("## Damaged and odd ECGs (simulated)\n", table, "", sep="\n")
    summary |= {"odd_without_a_crash": n_odd, "memory_grows_mb": round(memory_grows_mb(records), 1)}
    summary |= {f"f1_{wave.lower()}": round(scores["all"].rates(wave)[2], 4) for wave in WAVES.values()}
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
