"""How near are the measurements to the exact marks of simulated exams?

    python -m data_scripts.simulate --output_dir cohort --num_exams 5000 --seed 90210 --marks
    python -m data_scripts.code15 --source_dir cohort --output_dir exams
    python benchmarks/measure/simulated.py --cohort cohort --dataset_name_or_path exams

Prints the tables of `run.py` for them, and ends in one line of JSON. Marks and rate come from the cohort, signals from
the exam table, so that they pass through the converter as real ones do.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import DatasetDict
from tqdm.auto import tqdm


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measure.ludb import INTERVALS, WAVES, Mark, Marked, score  # noqa: E402 (the path comes first)
from benchmarks.measure.run import interval_table, lead_table, spread, wave_table  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from data_scripts.conversion.describing import ROWS_AT_A_TIME, measured_rows  # noqa: E402
from data_scripts.simulate.marks import ALL_LEADS, MARKED_LEADS  # noqa: E402
from data_scripts.simulate.marks_table import MARK_NAMES  # noqa: E402
from data_scripts.tables.schema import load_exam_table, schema_of  # noqa: E402
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements  # noqa: E402
from modeling_ecgclip.signal_ecgclip import N_SAMPLES, SAMPLING_RATE  # noqa: E402


INNER = "but the first and last"
ENDS = {"pr_ms": ("p_onset_ms", "qrs_onset_ms"), "qrs_ms": ("qrs_onset_ms", "qrs_offset_ms")}
ENDS["qt_ms"] = ("qrs_onset_ms", "t_offset_ms")


def read_marked(folder: Path, n_samples: dict[int, int]) -> Iterator[tuple[Marked, Marked, Marked]]:
    """
    Yields exams of a cohort three times: with their marks, in seconds from the first sample of the stored tracing;
    without the first and the last beat, which LUDB does not mark either; with the intervals of the marks over all
    leads. Intervals are those of conducted beats; a wave whose peak was not recorded is left out.

    Args:
        folder (`Path`): What `python -m data_scripts.simulate --marks` wrote.
        n_samples (`dict[int, int]`): By exam the recorded samples; zeros stand on both sides.
    """
    for path in sorted(folder.glob("marks_part*.parquet")):
        table = pd.read_parquet(path)
        lengths = {name: table[end] - table[begin] for name, (begin, end) in ENDS.items()}
        normal = table[["exam_id", "lead"]].assign(**lengths)[table["kind"] == "normal"]
        of_leads = normal.groupby(["exam_id", "lead"], observed=True)[list(INTERVALS)].median()
        over_all = of_leads.xs(ALL_LEADS, level="lead").to_dict("index")
        middle = of_leads.drop(ALL_LEADS, level="lead").groupby(level="exam_id").median().to_dict("index")
        times = table[[f"{name}_ms" for name in MARK_NAMES]].to_numpy(float) / 1000
        for exam, rows in table.groupby("exam_id").indices.items():
            start = (N_SAMPLES - n_samples[exam]) // 2 / SAMPLING_RATE
            waves = times[rows].reshape(len(MARKED_LEADS), -1, len(WAVES), 3) + start
            leads = waves[MARKED_LEADS.index(ALL_LEADS) + 1 :]
            marks = [_marks(lead) for lead in leads]
            record = Marked(number=exam, marks=marks, intervals=_known(middle.get(exam)))
            inner = replace(record, marks=[_marks(lead[1:-1]) for lead in leads])
            yield record, inner, replace(record, intervals=_known(over_all.get(exam)))


def _marks(waves: np.ndarray) -> list[Mark]:
    """Of one lead, (beats, waves, places)."""
    return [
        (symbol, *beat[wave].tolist())
        for beat in waves
        for wave, symbol in enumerate(WAVES)
        if np.isfinite(beat[wave, 1])
    ]


def _known(intervals: dict[str, float] | None) -> dict[str, float]:
    return {name: value for name, value in (intervals or {}).items() if np.isfinite(value)}


def measured_exams(table: DatasetDict) -> dict[int, EcgMeasurements]:
    """By exam its measurements."""
    schema = schema_of(table)
    found: dict[int, EcgMeasurements] = {}
    with tqdm(total=sum(table.num_rows.values()), desc="Measuring", unit=" exams") as bar:
        for rows in table.values():
            columns = rows.with_format("arrow")
            for start in range(0, len(rows), ROWS_AT_A_TIME):
                some = columns[start : start + ROWS_AT_A_TIME]
                exams = map(int, some["exam_id"].to_pylist())
                found.update(zip(exams, measured_rows(some, schema), strict=True))
                bar.update(len(some))
    return found


def refusals_table(records: Iterable[Marked], measured: dict[int, EcgMeasurements]) -> str:
    """How many of the exams with and without an interval got one."""
    rows: list[list[object]] = [["measured", "of exams that have it", "of exams that have none"]]
    for name in INTERVALS:
        got = {
            known: [
                getattr(measured[record.number], name) is not None
                for record in records
                if (name in record.intervals) == known
            ]
            for known in (True, False)
        }
        rows.append([name, *(f"{sum(of_these):,} of {len(of_these):,}" for of_these in got.values())])
    return markdown_table(rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True, help="what the simulator wrote, with --marks")
    parser.add_argument("--dataset_name_or_path", required=True, help="the exam table made of it")
    arguments = parser.parse_args(argv)

    truth = pd.read_csv(arguments.cohort / "measurements.csv", index_col="exam_id")
    measured = measured_exams(load_exam_table(arguments.dataset_name_or_path))
    known = read_marked(arguments.cohort, truth["n_samples"].to_dict())
    records, inner, over_all = zip(*(of_exam for of_exam in known if of_exam[0].number in measured), strict=True)
    sinus = [record for record in inner if truth.loc[record.number, "rhythm"] == "sinus"]
    none = np.zeros((0, 12, 3, 3))  # where nothing could be measured there are no leads either
    marks = {exam: one.marks_s if one.marks_s.size else none for exam, one in measured.items()}
    parts = {"all beats": records, INNER: inner, "these, sinus rhythm": sinus}
    scores = {name: score(part, marks) for name, part in parts.items()}
    print("## Waves, per lead (simulated)\n", wave_table(scores), "", sep="\n")
    print("## F1 by lead (simulated)\n", lead_table(scores[INNER]), "", sep="\n")
    truths = {"leads' marks, median": records, "marks over all leads": over_all}
    methods = {"ecgclip": {exam: vars(one) for exam, one in measured.items()}}
    print("## Intervals, ms (simulated)\n", interval_table(truths, methods), "", sep="\n")
    longest = [
        one.qrs_all_leads_ms - record.intervals["qrs_ms"]
        for record in over_all
        if (one := measured[record.number]).qrs_all_leads_ms is not None and "qrs_ms" in record.intervals
    ]
    print(f"`qrs_all_leads_ms` against the marks over all leads: {spread(longest)} ({len(longest)})\n")
    print(refusals_table(records, measured), "\n")
    rates = np.array([measured[record.number].heart_rate_bpm for record in records], float)
    errors = np.abs(rates - truth["heart_rate"][[record.number for record in records]].to_numpy())
    print(f"Heart rate within 1 bpm: {np.mean(errors <= 1):.1%} of {len(errors):,}; none: {np.isnan(rates).sum()}")
    print(f"Leads without a mark: {sum(not lead for record in records for lead in record.marks)}\n")
    summary = {f"f1_{wave.lower()}": round(scores[INNER].rates(wave)[2], 4) for wave in WAVES.values()}
    print(json.dumps({"benchmark": "measure/simulated", "exams": len(records)} | summary))


if __name__ == "__main__":
    main()
