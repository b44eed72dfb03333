"""
The example ECGs of the page, drawn by the project's simulator: nothing in them stems from a patient.

    python -m space.make_examples [--output_dir space/examples]

writes them again, with the same values.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.arguments import plain_parser
from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE
from space.example_list import EXAMPLES, FOLDER, Example


# Not the demo's seed, so that no demo model was trained on them.
SEED = 7
PREVALENCE_SCALE = 8.0
UNITS_PER_MV = 1024  # the simulated recorder steps by 1/512 mV, and the augmented leads halve that


def write_example(example: Example, folder: Path) -> None:
    """
    Writes one example.

    Args:
        example ([`Example`]): Its first file's suffix says the format.
        folder (`Path`): Made where it does not exist.
    """
    signal = simulate_exam(SEED, example.index, PREVALENCE_SCALE).signal  # (12, samples), mV
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / example.files[0]
    if path.suffix == ".npz":
        np.savez_compressed(
            path, ecg=signal, sampling_rate=np.float64(SAMPLING_RATE), unit=np.array("mV"), lead_names=LEAD_NAMES
        )
        return
    import wfdb

    n_leads = len(LEAD_NAMES)
    wfdb.wrsamp(
        path.stem,
        fs=SAMPLING_RATE,
        units=["mV"] * n_leads,
        sig_name=list(LEAD_NAMES),
        d_signal=np.rint(signal.T * UNITS_PER_MV).astype(np.int64),
        fmt=["16"] * n_leads,
        adc_gain=[UNITS_PER_MV] * n_leads,
        baseline=[0] * n_leads,
        comments=["simulated, no patient"],
        write_dir=str(folder),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = plain_parser(__doc__)
    parser.add_argument("--output_dir", type=Path, default=FOLDER, help="folder to write (default space/examples)")
    args = parser.parse_args(argv)
    for example in EXAMPLES:
        write_example(example, args.output_dir)
    print(f"{len(EXAMPLES)} simulated ECGs in {args.output_dir}")


if __name__ == "__main__":
    main()
