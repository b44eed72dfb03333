"""
Figures of docs/simulator.md: one exam per diagnosis on ECG paper, marks of the waves, and simulated beside real exams.

    python benchmarks/simulate/figures.py --ptbxl_dir ../shared/data/ptbxl_sample [--output_dir docs/figures/simulator]

Without `--ptbxl_dir` only the exams and the marks are drawn.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import neurokit2 as nk
import numpy as np
from scipy.signal import welch


matplotlib.use("Agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib.pyplot as plt

from benchmarks.simulate.check_instruments import DELINEATION_ERRORS, MIN_BEATS, MS, delineate
from data_scripts.simulate.exam import Draft, SimulatedExam, draft_exam, simulate_exam
from data_scripts.simulate.marks import ALL_LEADS, MARKED_LEADS
from data_scripts.simulate.rhythm import VENTRICULAR
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE
from modeling_ecgclip.visualization_ecgclip import plot_ecg


SEED, PREVALENCE_SCALE = 31, 3.0
PAPER_DPI = 85  # legible, and well below 200 KB
REAL_COLOUR, SIMULATED_COLOUR = "0.35", "#c0504d"
QRS_LEADS = ("I", "II", "V1", "V2", "V4", "V5", "V6")
SPECTRUM_LEADS = ("II", "V1", "V5")
MARKS_LEADS, MARKS_S = ("I", "II", "aVL", "V1", "V3", "V6"), 5.0
WAVE_COLOURS = ("#1f5f99", "#c0504d", "#3a7d34")  # P, QRS, T

# What the figure of each diagnosis should show: typical, alone, and recorded for ten seconds without flaw.
WANTED: dict[str, Callable[[Draft], bool]] = {
    "normal": lambda d: not d.reading.findings and d.condition.rhythm == "sinus" and 60 < d.condition.heart_rate < 75,
    "1dAVb": lambda d: (d.condition.pr_ms or 0) > 230,
    "RBBB": lambda d: d.condition.block == "rbbb" and d.condition.block_severity > 0.9,
    "LBBB": lambda d: d.condition.block == "lbbb" and d.condition.block_severity > 0.9,
    "SB": lambda d: d.condition.rhythm == "sinus" and d.condition.heart_rate < 46,
    "AF": lambda d: d.condition.rhythm == "af" and d.condition.rr_variation > 0.15 and d.condition.heart_rate < 95,
    "ST": lambda d: d.condition.rhythm == "sinus" and d.condition.heart_rate > 112,
}


def typical(name: str) -> SimulatedExam:
    """First exam of the cohort that shows the diagnosis and nothing else."""
    index = 0
    while True:
        draft = draft_exam(SEED, index, PREVALENCE_SCALE)
        alone = [label for label, value in zip(LABEL_NAMES, draft.reading.labels, strict=True) if value]
        wanted = [] if name == "normal" else [name]
        plain = not draft.recording.flaws and draft.recording.n_samples == 4096 and draft.condition.ectopics == "none"
        if plain and alone == wanted and WANTED[name](draft):
            return simulate_exam(SEED, index, PREVALENCE_SCALE)
        index += 1


def draw_exams(folder: Path) -> None:
    """One figure per diagnosis on ECG paper."""
    for name in WANTED:
        exam = typical(name)
        truth = exam.measurements
        pr = "no P wave" if truth.pr_ms is None else f"PR {truth.pr_ms:.0f} ms"
        title = f"Simulated, {name}: {truth.heart_rate:.0f} bpm, {pr}, QRS {truth.qrs_ms:.0f} ms"
        figure = plot_ecg(exam.signal, SAMPLING_RATE, title=title, dpi=PAPER_DPI)
        figure.savefig(folder / f"{name}.png", dpi=PAPER_DPI)
        plt.close(figure)


def draw_marks(path: Path) -> None:
    """Marks in six leads of an exam with a ventricular beat: signal as recorded, edges and peaks of P, QRS and T."""
    index = 0
    while True:
        draft = draft_exam(SEED, index, PREVALENCE_SCALE)
        early = (draft.beats.kinds == VENTRICULAR) & draft.beats.inside(MARKS_S)
        if draft.condition.rhythm == "sinus" and not draft.recording.flaws and early[2:-2].any():
            break
        index += 1
    exam = simulate_exam(SEED, index, PREVALENCE_SCALE, with_marks=True)
    assert exam.marks is not None
    clock = np.arange(exam.signal.shape[1]) / SAMPLING_RATE
    shown = clock < MARKS_S
    figure, axes = plt.subplots(len(MARKS_LEADS), 1, figsize=(13, 9), sharex=True, layout="constrained")
    for axis, lead in zip(axes, MARKS_LEADS, strict=True):
        signal = exam.signal[LEAD_NAMES.index(lead)]
        signal = signal - np.median(signal)
        axis.plot(clock[shown], signal[shown], color="0.2", lw=0.8)
        for name, colour in ((lead, None), (ALL_LEADS, "0.75")):
            for wave, own in enumerate(WAVE_COLOURS):
                times = exam.marks.times_ms[:, MARKED_LEADS.index(name), wave] / 1000
                times = times[np.isfinite(times).all(axis=1) & (times[:, 2] < MARKS_S)]
                if colour is not None:
                    for edge in times[:, [0, 2]].ravel():
                        axis.axvline(edge, color=own, lw=0.5, ls=":")
                    continue
                for onset, peak, offset in times:
                    inside = (clock >= onset) & (clock <= offset)
                    axis.plot(clock[inside], signal[inside], color=own, lw=1.6)
                    axis.plot(peak, np.interp(peak, clock, signal), "o", color=own, ms=3.5)
        axis.set(ylabel=f"{lead} (mV)", xlim=(0, MARKS_S))
    axes[0].set_title("Simulated: P, QRS and T in each lead (thick, peak as a dot), edges over all leads (dotted)")
    axes[-1].set_xlabel("s")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def describe(signals: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What both sources are compared in: amplitudes by lead (mV), RR (s), QRS (ms), power spectra (mV^2/Hz)."""
    amplitude, rr, qrs, spectra, failed = [], [], [], [], 0
    for signal in signals:
        leads = dict(zip(LEAD_NAMES, signal.astype(float), strict=True))
        amplitude.append(np.percentile(signal, 99.5, axis=1) - np.percentile(signal, 0.5, axis=1))
        frequency, power = welch(np.stack([leads[name] for name in SPECTRUM_LEADS]), SAMPLING_RATE, nperseg=1024)
        spectra.append(power)
        try:
            beats = nk.ecg_peaks(nk.ecg_clean(leads["II"], SAMPLING_RATE), SAMPLING_RATE)[1]["ECG_R_Peaks"]
            waves = [delineate(leads[name], beats) for name in QRS_LEADS] if len(beats) >= MIN_BEATS else []
        except DELINEATION_ERRORS:
            waves = []
        if not waves:
            failed += 1
            continue
        rr.append(float(np.median(np.diff(beats))) / SAMPLING_RATE)
        begin, end = (np.nanpercentile([wave[key] for wave in waves], q) for key, q in (("begin", 15), ("end", 85)))
        qrs.append((end - begin) * MS)
    return {
        "amplitude": np.array(amplitude),
        "rr": np.array(rr),
        "qrs": np.array(qrs),
        "frequency": frequency,
        "spectra": np.median(spectra, axis=0),
        "failed": np.array(failed),
    }


def compare(real: dict[str, np.ndarray], simulated: dict[str, np.ndarray], path: Path) -> None:
    """Distributions of both sources in one figure."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.6), layout="constrained")
    both = ((real, REAL_COLOUR, "PTB-XL, real", -0.2), (simulated, SIMULATED_COLOUR, "simulated", 0.2))
    wide = figure.add_subplot(axes[0, 0].get_gridspec()[0, :])
    for axis in axes[0]:
        axis.remove()
    for source, colour, label, shift in both:
        boxes = wide.boxplot(
            source["amplitude"],
            positions=np.arange(12) + shift,
            widths=0.32,
            showfliers=False,
            whis=(5, 95),
            patch_artist=True,
            medianprops={"color": "white"},
            boxprops={"facecolor": colour, "edgecolor": colour},
            whiskerprops={"color": colour},
            capprops={"color": colour},
        )
        boxes["boxes"][0].set_label(f"{label} ({len(source['amplitude'])} exams)")
    wide.set(title="amplitude by lead: 0.5th to 99.5th percentile (whiskers 5 to 95 %)", ylabel="mV", ylim=(0, None))
    wide.set_xticks(range(12), LEAD_NAMES)
    wide.legend(frameon=False)
    for axis, key, title, bins in (
        (axes[1, 0], "rr", "median RR interval (s)", np.linspace(0.3, 1.6, 40)),
        (axes[1, 1], "qrs", "QRS duration by neurokit2 (ms)", np.linspace(50, 200, 40)),
    ):
        for source, colour, label, _ in both:
            axis.hist(source[key], bins, density=True, histtype="step", color=colour, lw=1.4, label=label)
        axis.set(title=title, yticks=[])
    for k, (name, style) in enumerate(zip(SPECTRUM_LEADS, ("-", "--", ":"), strict=True)):
        for source, colour, _, _ in both:
            axes[1, 2].loglog(source["frequency"][1:], source["spectra"][k][1:], style, color=colour, lw=1, label=name)
    axes[1, 2].set(title="median spectrum: II, V1 (dashed), V5 (dotted)", xlabel="Hz", ylabel="mV²/Hz")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def read_ptbxl(folder: Path) -> list[np.ndarray]:
    """All 500 Hz records, (12, n) in mV at 400 Hz."""
    extractor = EcgFeatureExtractor()
    signals = []
    for header in sorted((folder / "records500").rglob("*.hea")):
        record = read_ecg(str(header.with_suffix("")))
        standard = extractor.standardize(
            record.signal, record.sampling_rate, lead_names=record.lead_names, unit=record.unit
        )
        signals.append(standard.signal)
    return signals


def main() -> None:
    warnings.filterwarnings("ignore", module="neurokit2")
    parser = argparse.ArgumentParser()
    parser.add_argument("--ptbxl_dir", type=Path)
    parser.add_argument("--output_dir", type=Path, default=Path("docs/figures/simulator"))
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    draw_exams(arguments.output_dir)
    draw_marks(arguments.output_dir / "marks.png")
    if arguments.ptbxl_dir is not None:
        real = describe(read_ptbxl(arguments.ptbxl_dir))
        simulated = describe([simulate_exam(SEED, k).signal for k in range(len(real["amplitude"]))])
        compare(real, simulated, arguments.output_dir / "beside_ptbxl.png")
        medians = {
            label: {
                "amplitude_mv": [round(float(v), 2) for v in np.median(source["amplitude"], axis=0)],
                "rr_s": round(float(np.median(source["rr"])), 3),
                "qrs_ms": round(float(np.nanmedian(source["qrs"])), 1),
                "failed": int(source["failed"]),
            }
            for label, source in (("real", real), ("simulated", simulated))
        }
        print(json.dumps(medians))


if __name__ == "__main__":
    main()
