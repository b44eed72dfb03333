"""
Draws what each augmentation does to one exam: thin and grey before, blue after.

python -m examples.augmentation.draw --dataset_name_or_path exams --output_file augmentation.png
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import numpy as np
import torch
from matplotlib.figure import Figure

from common.arguments import plain_parser
from modeling_ecgclip.signal_ecgclip import SignalSpec
from training.augmentation import Augmentation
from training.data import ExamSplit, ExamTable
from training.plots import BLUE, INK, save_figure


SHOWN = {"amplitude": 0.5, "noise_mv": 0.05, "wander_mv": 0.3, "shift_s": 1.0, "lead_masking": 0.3}
LEADS = ("II", "aVL", "V5", "V1")
ROW_MV = 2.2  # distance of two leads


def draw(ecg: torch.Tensor, n_samples: torch.Tensor, signal: SignalSpec, seed: int) -> Figure:
    """
    Returns one panel for each augmentation and one for all together.

    Args:
        ecg (`torch.Tensor` of shape `(1, leads, samples)`): Millivolts.
        n_samples (`torch.Tensor` of shape `(1,)`): Samples before padding.
        signal (`SignalSpec`): Of the recording, which must have `LEADS`.
        seed (`int`): Of the draws.
    """
    settings = [{name: strength} for name, strength in SHOWN.items()] + [SHOWN]
    figure = Figure(figsize=(12, 9), layout="constrained")
    seconds = np.arange(ecg.shape[-1]) / signal.sampling_rate
    for axes, setting in zip(figure.subplots(3, 2, sharex=True, sharey=True).flat, settings, strict=True):
        torch.manual_seed(seed)
        changed = Augmentation(**setting)(ecg, n_samples, signal)
        for row, name in enumerate(LEADS):
            lead, zero = signal.lead_names.index(name), -ROW_MV * row
            axes.plot(seconds, changed[0, lead] + zero, color=BLUE, linewidth=1.1)
            axes.plot(seconds, ecg[0, lead] + zero, color="#a0a0a0", linewidth=0.6)
            axes.text(-0.1, zero, name, ha="right", va="center", color=INK)
        title = (
            "all of them" if setting is SHOWN else ", ".join(f"{n}={strength:g}" for n, strength in setting.items())
        )
        axes.set_title(title, fontsize=10)
        axes.set(yticks=[], xlim=(0, seconds[-1]))
        axes.spines[["left", "right", "top"]].set_visible(False)
    figure.supxlabel("seconds")
    return figure


def main(argv: list[str] | None = None) -> None:
    """Writes the picture."""
    parser = plain_parser(__doc__)
    parser.add_argument("--dataset_name_or_path", required=True, help="Exam table.")
    parser.add_argument("--exam", type=int, default=0, help="Row of its training split.")
    parser.add_argument("--seed", type=int, default=0, help="Of the draws.")
    parser.add_argument("--output_file", required=True, help="PNG, SVG or PDF.")
    args = parser.parse_args(argv)
    table = ExamTable.load(args.dataset_name_or_path)
    batch = ExamSplit(table.splits["train"], np.array([args.exam])).__getitems__([0])
    save_figure(draw(batch["ecg"] / 1000, batch["n_samples"], table.schema.signal, args.seed), args.output_file)


if __name__ == "__main__":
    main()
