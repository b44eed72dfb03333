"""
How far marks of single leads lie from those over all leads, and how often a lead shows no wave.

    python benchmarks/simulate/marks.py [--num_exams 2000] [--seed 5]

The earliest onset and the latest offset of any lead, less the mark over all leads: negative onsets and positive
offsets lie outside it. Ends in one line of JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.markdown import markdown_table
from data_scripts.simulate.exam import simulate_exam
from data_scripts.simulate.marks import ALL_LEADS, MARKED_LEADS, MARKED_WAVES, PLACES


PERCENTILES = (5, 50, 95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_exams", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    found = []
    for index in range(arguments.num_exams):
        marks = simulate_exam(arguments.seed, index, with_marks=True).marks
        assert marks is not None
        found.append(marks.times_ms)
    times = np.concatenate(found)  # (beats, leads and all, waves, places)
    over_all, leads = times[:, MARKED_LEADS.index(ALL_LEADS)], times[:, 1:]
    rows = [["", "outermost lead (ms)", "any lead (ms)", "absent, % of leads"]]
    result = {}
    for wave, name in enumerate(MARKED_WAVES):
        for place, extreme in ((0, np.fmin), (2, np.fmax)):
            known = np.isfinite(over_all[:, wave, place])
            distance = leads[known, :, wave, place] - over_all[known, None, wave, place]
            outermost = extreme.reduce(distance, axis=1)
            cells = [np.nanpercentile(values, PERCENTILES).round(1) for values in (outermost, distance)]
            result[f"{name}_{PLACES[place]}"] = {
                "outermost_ms": cells[0].tolist(),
                "any_ms": cells[1].tolist(),
                "absent": round(float(np.isnan(distance).mean()), 4),
            }
            texts = [f"{middle:+g} ({low:+g} to {high:+g})" for low, middle, high in (c.tolist() for c in cells)]
            absent = f"{100 * result[f'{name}_{PLACES[place]}']['absent']:.1f}"
            rows.append([f"{name} {PLACES[place]}", *texts, absent])
    print(markdown_table(rows))
    print(json.dumps({"benchmark": "simulate/marks", **vars(arguments), "beats": len(times), "marks": result}))


if __name__ == "__main__":
    main()
