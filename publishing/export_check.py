"""
How an exported classifier is compared with the PyTorch model that it was made from: on what, and how near is enough.

Probabilities are compared as they are, with the decisions that follow from them. A regression has neither: its values
are compared in parts of their spread over the ECGs compared.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from data_scripts.simulate.exam import simulate_exam
from data_scripts.tables.schema import ecg_array, load_exam_table, schema_of
from modeling_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.labels_ecgclip import is_positive
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE, check_same_signal


MAX_DIFFERENCE = 1e-4  # of a probability, or of a value's spread, for float32
MIN_EQUAL_DECISIONS = 0.99  # share of an exam table's decisions, for the other precisions
MAX_MEAN_DIFFERENCE = 0.02  # of a value's spread, on the mean, for the other precisions
LEAST_SPREAD = 0.01  # of a value's size: values that are all alike have none, and float32 has its limits
WARN_ABOVE = 0.1  # single recordings, of an amplitude that calibration did not see, can go wrong
N_RANDOM = 16
RANDOM_MV = 0.5  # standard deviation
CHECK_BATCH = 32
PREVALENCE_SCALE = 3.0


class ExamEcgs:
    """
    The first ECGs of one split of an exam table, as the model reads them, batch after batch.

    Args:
        name_or_path (`str`): The exam table.
        split (`str`): One of its splits.
        n_ecgs (`int`): At most so many.
        extractor (`EcgFeatureExtractor`): The model's.

    Raises:
        `ValueError`: for a table of another signal than the model's, or a split without exams.
    """

    def __init__(self, name_or_path: str, split: str, n_ecgs: int, extractor: EcgFeatureExtractor):
        table = load_exam_table(name_or_path)
        self.signal = schema_of(table).signal
        stated = (("the model", extractor.signal), ("the exam table", self.signal))
        check_same_signal(stated, f"--dataset_name_or_path {name_or_path}")
        self.n_ecgs = min(n_ecgs, len(table[split]))
        if not self.n_ecgs:
            raise ValueError(f"--dataset_name_or_path {name_or_path}, split {split}: expected exams, found none")
        self.exams = table[split].with_format("arrow")
        self.sources = dict(Counter(table[split].select_columns("source")[: self.n_ecgs]["source"]))
        self.extractor = extractor

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.n_ecgs, CHECK_BATCH):
            microvolts = ecg_array(self.exams[start : min(start + CHECK_BATCH, self.n_ecgs)])
            features = self.extractor(microvolts, self.signal.sampling_rate, self.signal.lead_names, "uV")
            yield features["input_values"]


def simulated_ecgs(n_ecgs: int, extractor: EcgFeatureExtractor) -> Iterator[np.ndarray]:
    """Yields simulated ECGs as the model reads them, batch after batch."""
    signals = [simulate_exam(0, i, PREVALENCE_SCALE).signal for i in range(n_ecgs)]
    for start in range(0, n_ecgs, CHECK_BATCH):
        yield extractor(signals[start : start + CHECK_BATCH], SAMPLING_RATE, LEAD_NAMES, "mV")["input_values"]


def random_ecgs(config: Any) -> Iterator[np.ndarray]:
    """Yields noise and an empty recording, in batches of different sizes."""
    shape = (config.n_leads, config.input_samples)
    generator = np.random.default_rng(0)
    yield np.zeros((1, *shape), np.float32)
    yield generator.normal(scale=RANDOM_MV, size=(N_RANDOM, *shape)).astype(np.float32)


@torch.inference_mode()
def scores(model: Any, ecgs: np.ndarray) -> np.ndarray:
    """Returns what the pipeline calls scores, float64 (batch, outputs): probabilities, or of a regression values."""
    logits = model(torch.from_numpy(ecgs)).logits.double()
    if model.config.problem_type == "regression":
        return logits.numpy()
    one_label = model.config.problem_type == "single_label_classification"
    return (logits.softmax(-1) if one_label else logits.sigmoid()).numpy()


def decisions(found: np.ndarray, config: Any) -> np.ndarray | None:
    """
    Returns what follows from scores (ecgs, outputs), or None where nothing does.

    Labels side by side are decided on each, at 0.5 where the configuration has no thresholds; of several labels that
    exclude each other the most probable one is taken.
    """
    if config.problem_type == "regression":
        return None
    if config.problem_type == "single_label_classification":
        return found.argmax(axis=1)
    return is_positive(found, 0.5 if config.thresholds is None else np.array(config.thresholds))


def compare(original: Any, exported: Any, batches: Iterable[np.ndarray]) -> dict[str, Any]:
    """
    Returns how an export differs from what it was made from.

    Args:
        original, exported: Models that return `logits`.
        batches (`Iterable[np.ndarray]`): ECGs as the model reads them.

    Returns:
        `dict` with `ecgs`, `largest_difference` and `mean_difference`: of a probability, with `decisions` and how many
        of them are equal; or of a value, in parts of the `spread` (one for each output).
    """
    pairs = [(scores(original, ecgs), scores(exported, ecgs)) for ecgs in batches]
    expected, found = (np.concatenate(side) for side in zip(*pairs, strict=True))  # (ecgs, outputs)
    apart, check = np.abs(found - expected), {"ecgs": len(expected)}
    decided, expected_decided = (decisions(side, original.config) for side in (found, expected))
    if decided is None:
        spread = np.maximum(np.ptp(expected, axis=0), LEAST_SPREAD * np.abs(expected).max(axis=0))
        apart = apart / np.maximum(spread, np.finfo(np.float32).tiny)
        check["spread"] = spread.tolist()
    else:
        check |= {"decisions": decided.size, "equal_decisions": int((decided == expected_decided).sum())}
    return check | {"largest_difference": float(apart.max()), "mean_difference": float(apart.mean())}


def difference_of(check: dict[str, Any]) -> str:
    """Returns what the differences of a comparison are parts of, in words."""
    return "of the spread of a value" if "spread" in check else "in the probability of a label"


def refuse_if_different(
    checks: dict[str, dict[str, Any]],
    precision: str,
    min_equal_decisions: float = MIN_EQUAL_DECISIONS,
    max_mean_difference: float = MAX_MEAN_DIFFERENCE,
) -> None:
    """
    Raises where an export differs from PyTorch by more than its precision may.

    Args:
        checks (`dict[str, dict]`): Of [`compare`], by the name of what was compared on.
        precision (`str`): Of the export.
        min_equal_decisions (`float`), max_mean_difference (`float`): Bounds for other precisions than float32.

    Raises:
        `ValueError`: saying by how much.
    """
    for name, check in checks.items():
        if precision == "float32":
            if check["largest_difference"] >= MAX_DIFFERENCE:
                raise ValueError(
                    f"the export differs from PyTorch by {check['largest_difference']:.2g} {difference_of(check)}, "
                    f"on {name} ECGs: expected less than {MAX_DIFFERENCE:g}. Nothing was written"
                )
        # Noise lies anywhere, also on a threshold: only an exam table's outputs count.
        elif name != "random":
            _refuse_other_precision(check, name, min_equal_decisions, max_mean_difference)


def _refuse_other_precision(
    check: dict[str, Any], name: str, min_equal_decisions: float, max_mean_difference: float
) -> None:
    what_helps = (
        "More --calibration_exams of the kind that the model will see may help, or another --precision. Nothing was "
        "written"
    )
    if "spread" in check:
        if check["mean_difference"] > max_mean_difference:
            raise ValueError(
                f"values on {name} ECGs differ from PyTorch's by {check['mean_difference']:.2%} of their spread, as a "
                f"mean: expected at most {max_mean_difference:.2%} (--max_mean_difference). {what_helps}"
            )
        return
    share = check["equal_decisions"] / check["decisions"]
    if share < min_equal_decisions:
        raise ValueError(
            f"of the decisions on {name} ECGs {share:.2%} are PyTorch's: expected at least {min_equal_decisions:.2%} "
            f"(--min_equal_decisions). {what_helps}"
        )
