"""
Writes what a clinic might have, with simulated ECGs: a folder of WFDB records and a CSV of reports and labels.

Example:
    python -m examples.own_data.make_archive --output_dir runs/archive --num_exams 1200
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import wfdb

from common.arguments import plain_parser
from data_scripts.simulate.cohort import CohortSettings, write_cohort
from modeling_ecgclip import LABEL_NAMES, LEAD_NAMES, SAMPLING_RATE
from modeling_ecgclip.reading_ecgclip import code15_tracing_to_mv


STEPS_PER_MV = 1000  # one step of the stored integers is one microvolt
EXAMS_PER_FOLDER = 500


def write_archive(output_dir: Path, num_exams: int, seed: int) -> pd.DataFrame:
    """
    Writes `records/<folder>/<exam>.hea` and `.dat`, and `exams.csv`; returns the table.

    Args:
        output_dir (`Path`): Folder to write; replaced where it exists.
        num_exams (`int`), seed (`int`): Of the simulation.
    """
    shutil.rmtree(output_dir, ignore_errors=True)
    cohort = output_dir / "simulation"
    write_cohort(str(cohort), CohortSettings(num_exams=num_exams, seed=seed, prevalence_scale=3.0))
    exams = pd.read_csv(cohort / "exams.csv").merge(pd.read_csv(cohort / "reports.csv"), on="exam_id")
    files: dict[int, str] = {}
    for part in sorted(cohort.glob("exams_part*.hdf5")):
        with h5py.File(part) as file:
            for row, exam_id in enumerate(file["exam_id"][:].tolist()):
                if exam_id:
                    files[exam_id] = f"{len(files) // EXAMS_PER_FOLDER:03d}/{exam_id}"
                    signal = code15_tracing_to_mv(file["tracings"][row], part.name)  # (12, samples), mV
                    write_record(output_dir / "records" / files[exam_id], signal)
    table = pd.DataFrame(
        {
            "file": exams["exam_id"].map(files) + ".dat",
            "exam": exams["exam_id"],
            "patient": exams["patient_id"],
            "age": exams["age"],
            "sex": np.where(exams["is_male"], "M", "F"),
            "report": exams["report"],
            "AVB1": exams["1dAVb"].astype(int),  # the other labels go by their names
        }
        | {label: exams[label].astype(int) for label in LABEL_NAMES[1:]}
    )
    table.to_csv(output_dir / "exams.csv", index=False)
    shutil.rmtree(cohort)
    return table


def write_record(path: Path, signal: np.ndarray) -> None:
    """
    Writes one ECG as a WFDB record.

    Args:
        path (`Path`): Without suffix.
        signal (`np.ndarray` of shape `(12, samples)`): Millivolts at 400 Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        path.name,
        fs=SAMPLING_RATE,
        units=["mV"] * len(LEAD_NAMES),
        sig_name=list(LEAD_NAMES),
        p_signal=signal.T.astype(np.float64),
        fmt=["16"] * len(LEAD_NAMES),
        adc_gain=[STEPS_PER_MV] * len(LEAD_NAMES),
        baseline=[0] * len(LEAD_NAMES),
        write_dir=str(path.parent),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = plain_parser(__doc__)
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write; replaced where it exists")
    parser.add_argument("--num_exams", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    table = write_archive(args.output_dir, args.num_exams, args.seed)
    print(f"{len(table)} simulated exams of {table['patient'].nunique()} patients in {args.output_dir}")


if __name__ == "__main__":
    main()
