"""What is compared: settings (how many labels), starts (what stage 1 was matched with), and arms (which encoder)."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """
    Which labels are used; the test split is the same in all settings.

    Args:
        name (`str`): In folders and CSV files.
        title (`str`): In tables.
        table (`int`): Number of the paper's table.
        share (`float`, *optional*): Of the training split's labels; validation is cut alike. None: half of the
            validation patients train, the other half choose thresholds and the best step.
    """

    name: str
    title: str
    table: int
    share: float | None

    @property
    def flags(self) -> dict[str, Any]:
        """Of train_cls.py."""
        return {"labels_from": "validation"} if self.share is None else {"train_fraction": self.share}

    def n_training_exams(self, exams: dict[str, int]) -> float:
        """Returns about how many exams train, from the sizes of the splits."""
        return exams["validation"] / 2 if self.share is None else exams["train"] * self.share


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("full", "all labels", 2, 1.0),
        Setting("exp-1", "36.8 % of the labels", 3, math.exp(-1)),
        Setting("exp-3", "4.98 % of the labels", 4, math.exp(-3)),
        Setting("exp-5", "0.67 % of the labels", 5, math.exp(-5)),
        Setting("unseen", "data unseen in pre-training", 6, None),
    )
}

GIVEN_TEXT, TRAINED_TEXT = "given", "trained"


@dataclass(frozen=True)
class Start:
    """
    A way of stage 1. All share encoder, exams, order, steps, rate and augmentation.

    Args:
        name (`str`): In folders and CSV files.
        flags (`dict`): Of train_clip.py, beyond the recipe's.
        text (`str`): `"given"`: the text model that was named, or a random one. `"trained"`: a small one that learned
            to guess masked words of the training split's reports.
    """

    name: str
    flags: dict[str, Any] = field(default_factory=dict)
    text: str = GIVEN_TEXT


REPORTS = "reports"
STARTS = {
    start.name: start
    for start in (
        Start(REPORTS),
        Start("shuffled", {"pair_with": "other_report"}),
        Start("random_vectors", {"pair_with": "random_vector"}),
        Start("signals", {"pair_with": "second_view"}),
        Start("centred", {"center_text": True}),
        Start("uncentred", {"center_text": False}),
        Start("trained_text_centred", {"center_text": True}, TRAINED_TEXT),
        Start("trained_text_uncentred", {"center_text": False}, TRAINED_TEXT),
    )
}


@dataclass(frozen=True)
class Arm:
    """
    Where the encoder comes from, and how it is fine-tuned.

    Args:
        name (`str`), title (`str`): In folders and CSV files, and in tables.
        description (`str`): For the list of arms in the tables.
        start (`str`, *optional*): One of `STARTS`; None: random weights.
        frozen (`bool`, defaults to `False`): A linear head alone is trained.
        augmented (`bool`, defaults to `False`): Fine-tuning has stage 1's augmentation.
    """

    name: str
    title: str
    description: str
    start: str | None = None
    frozen: bool = False
    augmented: bool = False


ARMS = {
    arm.name: arm
    for arm in (
        Arm("random", "random initialisation", "random weights, everything trained: the paper's baseline"),
        Arm("pretrained", "pre-trained", "stage 1 on the reports, then all trained: the paper's method", REPORTS),
        Arm("random_linear", "linear head on random", "random weights, frozen; a linear head", frozen=True),
        Arm("pretrained_linear", "linear head on pre-trained", "stage 1, frozen; a linear head", REPORTS, frozen=True),
        Arm(
            "random_augmented",
            "random initialisation, augmented",
            "as random initialisation, with stage 1's augmentation in fine-tuning",
            augmented=True,
        ),
        Arm(
            "pretrained_augmented",
            "pre-trained, augmented",
            "as pre-trained, with stage 1's augmentation in fine-tuning too",
            REPORTS,
            augmented=True,
        ),
        Arm(
            "shuffled",
            "pre-trained on shuffled reports",
            "control: stage 1 on another patient's report for each exam",
            "shuffled",
        ),
        Arm(
            "random_vectors",
            "pre-trained on random vectors",
            "control: stage 1 on a random vector for each distinct report",
            "random_vectors",
        ),
        Arm(
            "signals",
            "pre-trained on signals alone",
            "stage 1 on two augmented views of each ECG (SimCLR, no report)",
            "signals",
        ),
        Arm("centred", "pre-trained, text centred", "stage 1 on the reports, text centred", "centred"),
        Arm("uncentred", "pre-trained, text not centred", "stage 1 on the reports, text not centred", "uncentred"),
        Arm(
            "trained_text_centred",
            "pre-trained, trained text model, centred",
            "text model that learned masked words of the reports, text centred",
            "trained_text_centred",
        ),
        Arm(
            "trained_text_uncentred",
            "pre-trained, trained text model, not centred",
            "text model that learned masked words of the reports, text not centred",
            "trained_text_uncentred",
        ),
    )
}

PRIMARY = ("random", "pretrained")  # compared in each setting; Holm's correction is over these

# (a, b): the table of differences holds b - a.
COMPARISONS = (
    PRIMARY,
    ("random_augmented", "pretrained"),
    ("random_augmented", "pretrained_augmented"),
    ("random", "random_augmented"),
    ("shuffled", "pretrained"),
    ("random_vectors", "pretrained"),
    ("signals", "pretrained"),
    ("random", "shuffled"),
    ("random", "random_vectors"),
    ("random", "signals"),
    ("random_linear", "pretrained_linear"),
    ("random", "pretrained_linear"),
    ("pretrained", "pretrained_linear"),
    ("pretrained", "centred"),
    ("pretrained", "uncentred"),
    ("pretrained", "trained_text_centred"),
    ("trained_text_uncentred", "trained_text_centred"),
)
