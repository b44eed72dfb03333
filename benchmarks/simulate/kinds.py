"""
Does each kind of finding that the simulator draws measure as textbooks say, and look like a real one?

    python benchmarks/simulate/kinds.py [--sample_data D] [--num_exams 40] [--figures docs/figures/simulator]

Simulates exams of one kind at a time, measures them with `measure_ecg`, and counts those within the textbook's range;
the same on the real exams of PTB-XL that carry the statement. `--figures` draws each kind beside a real one. Prints a
table in Markdown and ends in one line of JSON.
"""

import argparse
import ast
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd


matplotlib.use("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from common.markdown import markdown_table
from data_scripts.simulate.exam import draft_exam, simulate_exam
from data_scripts.simulate.findings import FindingShares, names_of
from modeling_ecgclip import EcgMeasurements, measure_ecg, read_ecg
from modeling_ecgclip.morphology_ecgclip import SOKOLOW_LYON_MV
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


SEED = 4242
TEN_SECONDS = 4096
UDMI = "Thygesen et al. 2018"
CONDUCTION = "Surawicz et al. 2009"
CHAMBERS = "Hancock et al. 2009"
CHOU = "Surawicz and Knilans 2008"
ROW = {name: at for at, name in enumerate(LEAD_NAMES)}


@dataclass(frozen=True)
class Check:
    """
    What a textbook says of a kind.

    Args:
        says (`str`), source (`str`): In words, and who.
        holds (`Callable`): Whether an ECG's measurements agree.
        statements (`tuple[str]`): Of PTB-XL, that a real ECG of this kind carries.
    """

    says: str
    source: str
    holds: Callable[[EcgMeasurements], bool]
    statements: tuple[str, ...] = ()


def _of(measured: EcgMeasurements, name: str, lead: str) -> float:
    return float(measured.amplitudes[name][ROW[lead]]) if measured.amplitudes else float("nan")


def _count(measured: EcgMeasurements, name: str, leads: Sequence[str], least: float, sign: int = 1) -> int:
    return sum(sign * _of(measured, name, lead) >= least for lead in leads)


def _q(*leads: str) -> Callable[[EcgMeasurements], bool]:
    return lambda m: len(set(m.morphology.get("pathological_q_leads") or ()) & set(leads)) > 1


def _st_up(*leads: str) -> Callable[[EcgMeasurements], bool]:
    return lambda m: sum(_of(m, "st_j60_mv", lead) >= (0.2 if lead in ("V2", "V3") else 0.1) for lead in leads) > 1


def _t_down(*leads: str) -> Callable[[EcgMeasurements], bool]:
    return lambda m: _count(m, "t_mv", leads, 0.1, -1) > 1


def _st_down(m: EcgMeasurements) -> bool:
    return _count(m, "st_j_mv", [lead for lead in LEAD_NAMES if lead != "aVR"], 0.05, -1) > 1


def _st_sags(m: EcgMeasurements) -> bool:
    """Down in two leads, and further down 60 ms behind J than at it."""
    deeper = (_of(m, "st_j60_mv", lead) <= min(-0.05, _of(m, "st_j_mv", lead) - 0.01) for lead in LEAD_NAMES)
    return sum(deeper) > 1


def _r_larger(m: EcgMeasurements) -> bool:
    return any(
        max(_of(m, "r_mv", v), _of(m, "r2_mv", v)) > -min(_of(m, "s_mv", v), _of(m, "q_mv", v)) for v in ("V1", "V2")
    )


def _axis(low: float, high: float) -> Callable[[EcgMeasurements], bool]:
    return lambda m: m.qrs_axis_deg is not None and (low <= m.qrs_axis_deg <= high or m.qrs_axis_deg < -150)


def _wide(m: EcgMeasurements) -> bool:
    return (m.qrs_ms or 0) >= 120


def _no_p(m: EcgMeasurements) -> bool:
    return m.pr_ms is None


def _rate(low: float, high: float) -> Callable[[EcgMeasurements], bool]:
    return lambda m: low <= (m.heart_rate_bpm or 0) <= high


DELTA = Check(
    "PR below 120 ms, QRS above 110 ms",
    CONDUCTION,
    lambda m: (m.pr_ms or 999) < 120 and (m.qrs_ms or 0) > 110,
    ("WPW",),
)
THICK_WALL = "left_ventricle"  # not a finding of its own: the six labels' cohorts have always had it
CHECKS = {
    THICK_WALL: Check(
        "S in V1 and R in V5 or V6 of 3.5 mV or more",
        CHAMBERS,
        lambda m: (m.morphology.get("sokolow_lyon_mv") or 0) >= SOKOLOW_LYON_MV,
        ("LVH",),
    ),
    "inferior_scar": Check("Q of 30 ms and 0.1 mV in two of II, III, aVF", UDMI, _q("II", "III", "aVF"), ("IMI",)),
    "anteroseptal_scar": Check(
        "Q of 20 ms, or QS, in V2 or V3 and a neighbour", UDMI, _q("V1", "V2", "V3"), ("ASMI",)
    ),
    "anterior_scar": Check("Q or QS in two of V1 to V5", UDMI, _q("V1", "V2", "V3", "V4", "V5"), ("AMI", "ALMI")),
    "lateral_scar": Check(
        "Q of 30 ms and 0.1 mV in two of I, aVL, V5, V6", UDMI, _q("I", "aVL", "V5", "V6"), ("LMI",)
    ),
    "posterior_scar": Check("R larger than S in V1 or V2", UDMI, _r_larger, ("PMI", "IPMI", "IPLMI")),
    "right_ventricle": Check(
        "R larger than S in V1 or V2, axis from 90 degrees",
        CHAMBERS,
        lambda m: _r_larger(m) and _axis(90, 180)(m),
        ("RVH",),
    ),
    "left_atrium": Check("P of 120 ms or more", CHAMBERS, lambda m: (m.p_ms or 0) >= 120, ("LAO/LAE",)),
    "right_atrium": Check(
        "P of 0.25 mV or more in II", CHAMBERS, lambda m: _of(m, "p_mv", "II") >= 0.25, ("RAO/RAE",)
    ),
    "left_posterior_fascicle": Check(
        "axis of 90 to 180 degrees, QRS below 120 ms",
        CONDUCTION,
        lambda m: _axis(90, 180)(m) and not _wide(m),
        ("LPFB",),
    ),
    "delta_wave_left": DELTA,
    "delta_wave_right": DELTA,
    "inferior_injury": Check("ST 0.1 mV up in two of II, III, aVF", UDMI, _st_up("II", "III", "aVF")),
    "anterior_injury": Check("ST 0.2 mV up in V2, V3, or 0.1 in V1, V4: two", UDMI, _st_up("V1", "V2", "V3", "V4")),
    "lateral_injury": Check("ST 0.1 mV up in two of I, aVL, V5, V6", UDMI, _st_up("I", "aVL", "V5", "V6")),
    "ischaemia": Check("ST 0.05 mV down in two leads", UDMI, _st_down, ("ISC_", "ISCAL", "INJAS", "INJAL", "INJLA")),
    "anterior_t": Check("T of -0.1 mV in two of V2 to V4", UDMI, _t_down("V2", "V3", "V4"), ("ISCAN", "ISCAS")),
    "inferior_t": Check("T of -0.1 mV in two of II, III, aVF", UDMI, _t_down("II", "III", "aVF"), ("ISCIN",)),
    "digitalis": Check(
        "ST 0.05 mV down 60 ms behind J in two leads, less at J, QTc below 440 ms",
        CHOU,
        lambda m: _st_sags(m) and (m.qtc_bazett_ms or 999) < 440,
        ("DIG",),
    ),
    "low_potassium": Check(
        "T below 0.1 mV in two of II, V5, V6",
        CHOU,
        lambda m: 3 - _count(m, "t_mv", ("II", "V5", "V6"), 0.1) > 1,
        ("EL",),
    ),
    "high_potassium": Check(
        "T of 1 mV or more in a chest lead", CHOU, lambda m: _count(m, "t_mv", LEAD_NAMES[6:], 1.0) > 0
    ),
    "pericarditis": Check(
        "ST 0.05 mV up in I, II and V4 to V6, down in aVR",
        CHOU,
        lambda m: _count(m, "st_j60_mv", ("I", "II", "V4", "V5", "V6"), 0.05) > 3 and _of(m, "st_j60_mv", "aVR") < 0,
    ),
    "long_qt": Check("QTc of 460 ms or more", CHOU, lambda m: (m.qtc_bazett_ms or 0) >= 460, ("LNGQT",)),
    "ventricular_pacing": Check(
        "QRS of 120 ms or more, spikes", CONDUCTION, lambda m: _wide(m) and m.rhythm.paced_beats > 0, ("PACE",)
    ),
    "atrial_focus": Check(
        "P negative in II, PR of 110 ms or more", CHOU, lambda m: _of(m, "p_mv", "II") < 0 and (m.pr_ms or 0) >= 105
    ),
    "junctional": Check(
        "no P before the QRS or PR below 120 ms, QRS below 120 ms",
        CHOU,
        lambda m: (m.pr_ms or 0) < 120 and not _wide(m),
    ),
    "ventricular": Check("QRS of 120 ms or more, 20 to 110 bpm", CHOU, lambda m: _wide(m) and _rate(20, 110)(m)),
    "svt": Check(
        "140 to 220 bpm, QRS below 120 ms", CHOU, lambda m: _rate(140, 220)(m) and not _wide(m), ("SVTAC", "PSVT")
    ),
    "wenckebach": Check(
        "RR changes by 10 % or more",
        CHOU,
        lambda m: float(np.std(np.diff(m.beats_s)) / np.mean(np.diff(m.beats_s))) >= 0.1,
        ("2AVB",),
    ),
    "two_to_one": Check("25 to 60 bpm", CHOU, _rate(25, 60), ("2AVB",)),
    "complete_block": Check("25 to 60 bpm, no constant PR", CHOU, lambda m: _rate(25, 60)(m) and _no_p(m), ("3AVB",)),
    "bigeminy": Check(
        "a third of the beats or more are ectopic",
        CHOU,
        lambda m: m.rhythm.ectopic_beats >= len(m.beats_s) / 3,
        ("BIGU",),
    ),
    "trigeminy": Check(
        "a fifth of the beats or more are ectopic",
        CHOU,
        lambda m: m.rhythm.ectopic_beats >= len(m.beats_s) / 5,
        ("TRIGU",),
    ),
}


def exams_of(kind: str, num_exams: int) -> list[np.ndarray]:
    """The first clean exams of ten seconds with this kind and no other, twelve leads in mV."""
    shares, index = FindingShares(0.0, () if kind == THICK_WALL else ((kind, 1.0),)), 0
    found: list[np.ndarray] = []
    while len(found) < num_exams:
        draft = draft_exam(SEED, index, clean=True, shares=shares)
        condition = draft.condition
        has = names_of(condition.findings) == (kind,) or (kind == THICK_WALL and draft.patient.left_wall > 0)
        plain = condition.block == "none" and condition.rhythm not in ("af", "flutter")
        if has and plain and draft.recording.n_samples == TEN_SECONDS:
            found.append(simulate_exam(SEED, index, clean=True, shares=shares).signal)
        index += 1
    return found


def real_exams(sample_data: Path) -> pd.DataFrame:
    """PTB-XL's exams at hand, with their statements."""
    table = pd.read_csv(sample_data / "ptbxl100" / "ptbxl_database.csv")
    table["codes"] = table.scp_codes.map(lambda cell: set(ast.literal_eval(cell)))
    table["path"] = [sample_data / "ptbxl100" / name for name in table.filename_lr]
    return table


def agreeing(measured: Sequence[EcgMeasurements], check: Check) -> int:
    """How many ECGs are as the textbook says."""
    return sum(bool(check.holds(one)) for one in measured)


def draw_twelve(axis: Axes, signal: np.ndarray, rate: float, title: str) -> None:
    """Twelve leads of 2.5 s in four columns, and lead II of ten seconds below."""
    length = int(2.5 * rate)
    for at, lead in enumerate(LEAD_NAMES):
        column, row = divmod(at, 3)
        part = signal[at, column * length : (column + 1) * length]
        axis.plot(column * 2.5 + np.arange(len(part)) / rate, part - np.median(part) - 2.2 * row, "k", lw=0.5)
        axis.text(column * 2.5 + 0.03, -2.2 * row + 0.75, lead, fontsize=5)
    strip = signal[1, : 4 * length]
    axis.plot(np.arange(len(strip)) / rate, strip - np.median(strip) - 6.6, "k", lw=0.5)
    axis.set(xlim=(0, 10), ylim=(-8.2, 1.6))
    axis.set_xticks(np.arange(0, 10.1, 0.2), minor=True)
    axis.set_yticks(np.arange(-8, 1.6, 0.5), minor=True)
    axis.grid(which="minor", color="#f3c9c9", lw=0.3)
    axis.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axis.set_title(title, fontsize=7, loc="left")


def draw_sheets(folder: Path, pictures: list[tuple[str, np.ndarray, tuple[str, np.ndarray, float] | None]]) -> None:
    """Sheets of eight kinds, simulated on the left, real on the right."""
    for number, start in enumerate(range(0, len(pictures), 8), start=1):
        part = pictures[start : start + 8]
        figure, axes = plt.subplots(len(part), 2, figsize=(11, 2.5 * len(part)), layout="constrained", squeeze=False)
        for (kind, signal, real), (left, right) in zip(part, axes, strict=True):
            draw_twelve(left, signal, SAMPLING_RATE, f"Simulated: {kind}")
            if real is None:
                right.axis("off")
                right.text(0, 0.5, "no real one with this statement at hand", fontsize=7)
            else:
                draw_twelve(right, real[1], real[2], f"Real: {real[0]}")
        figure.savefig(folder / f"kinds_{number}.png", dpi=95)
        plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table; draws the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--sample_data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--num_exams", type=int, default=40, help="simulated, of each kind (default %(default)s)")
    parser.add_argument("--figures", type=Path, help="folder of the sheets")
    arguments = parser.parse_args(argv)
    real = real_exams(arguments.sample_data)
    rows, pictures, shares = [], [], {}
    for kind, check in CHECKS.items():
        signals = exams_of(kind, arguments.num_exams)
        measured = [measure_ecg(signal, SAMPLING_RATE, LEAD_NAMES) for signal in signals]
        within = [bool(check.holds(one)) for one in measured]
        shares[kind] = sum(within) / len(within)
        cases = real[[bool(codes & set(check.statements)) for codes in real.codes]]
        records = [(r.signal, float(r.sampling_rate or 0), r.lead_names) for r in map(read_ecg, cases.path)]
        of_real = [bool(check.holds(measure_ecg(*record))) for record in records]
        rows.append(
            {
                "kind": kind,
                "textbook": f"{check.says} ({check.source})",
                "simulated within": f"{sum(within)} of {len(within)}",
                "PTB-XL": ", ".join(check.statements) or "none",
                "real within": f"{sum(of_real)} of {len(of_real)}",
            }
        )
        shown = max(of_real, default=False)
        picture = None
        if len(cases):
            at = of_real.index(shown)
            title = f"PTB-XL {cases.ecg_id.iloc[at]}, {', '.join(sorted(cases.codes.iloc[at]))}"
            picture = title, *records[at][:2]
        pictures.append((kind, signals[within.index(max(within))], picture))
    print(markdown_table([list(rows[0]), *(list(row.values()) for row in rows)], right=()))
    if arguments.figures:
        draw_sheets(arguments.figures, pictures)
    print(json.dumps({"share_within": shares}))


if __name__ == "__main__":
    main()
