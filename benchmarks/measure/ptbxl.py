"""PTB-XL's statements and axes beside what is measured, and the same ECGs at 500 and at 100 Hz."""

import ast
import csv
from pathlib import Path

import numpy as np
import wfdb

from common.markdown import markdown_table
from modeling_ecgclip.measure_ecgclip import measure_ecgs
from modeling_ecgclip.measurements_ecgclip import EcgMeasurements


STATEMENTS = ("NORM", "IRBBB", "CRBBB", "CLBBB", "LVH", "IMI", "ASMI", "1AVB", "AFIB", "AFLT", "PACE")
AXES = {"MID": "normal", "LAD": "left", "ALAD": "far left", "RAD": "right"}
COMPARED = ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qrs_axis_deg")


def tables(folder: Path) -> str:
    """Three tables in Markdown about the 300 records of `ptbxl_sample`."""
    with (folder / "ptbxl_database.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fine, coarse = (
        measure_ecgs(np.stack([wfdb.rdrecord(str(folder / row[column])).p_signal.T for row in rows]), rate)
        for column, rate in (("filename_hr", 500.0), ("filename_lr", 100.0))
    )
    parts = [_statements(rows, fine), _axes(rows, fine), _rates(fine, coarse)]
    return "\n\n".join(parts)


def _statements(rows: list[dict[str, str]], found: list[EcgMeasurements]) -> str:
    columns = {
        "no P": lambda one: one.pr_ms is None,
        "PR > 200": lambda one: (one.pr_ms or 0) > 200,
        "QRS ≥ 120": lambda one: (one.qrs_ms or 0) >= 120,
        "rSR'": lambda one: bool(one.morphology.get("rsr_v1_v2")),
        "notched R": lambda one: bool(one.morphology.get("notched_r_lateral")),
        "wide S": lambda one: bool(one.morphology.get("wide_s_i_v6")),
        "Q waves": lambda one: bool(one.morphology.get("pathological_q_leads")),
        "Sokolow > 3.5": lambda one: (one.morphology.get("sokolow_lyon_mv") or 0) > 3.5,
        "poor R": lambda one: bool(one.morphology.get("poor_r_progression")),
        "paced": lambda one: one.rhythm.paced_beats > len(one.beats_s) / 2,
    }
    table: list[list[object]] = [["statement", "ECGs", *columns]]
    for statement in STATEMENTS:
        some = [one for row, one in zip(rows, found, strict=True) if statement in ast.literal_eval(row["scp_codes"])]
        table.append([statement, len(some), *(sum(test(one) for one in some) for test in columns.values())])
    return markdown_table(table)


def _axes(rows: list[dict[str, str]], found: list[EcgMeasurements]) -> str:
    table: list[list[object]] = [["axis as stated", "ECGs", "5 %", "median", "95 %"]]
    for code, name in AXES.items():
        pairs = zip(rows, found, strict=True)
        some = [one.qrs_axis_deg for row, one in pairs if row["heart_axis"] == code and one.qrs_axis_deg is not None]
        table.append([f"{code} ({name})", len(some), *(f"{np.percentile(some, at) + 0.0:.0f}°" for at in (5, 50, 95))])
    return markdown_table(table)


def _rates(fine: list[EcgMeasurements], coarse: list[EcgMeasurements]) -> str:
    table: list[list[object]] = [["100 Hz minus 500 Hz", "ECGs", "mean ± SD", "95 % of differences below"]]
    for name in COMPARED:
        pairs = [(getattr(one, name), getattr(other, name)) for one, other in zip(fine, coarse, strict=True)]
        away = np.array([b - a for a, b in pairs if a is not None and b is not None])
        spread = f"{away.mean():.1f} ± {away.std():.1f}"
        table.append([name, len(away), spread, f"{np.percentile(np.abs(away), 95):.1f}"])
    return markdown_table(table)
