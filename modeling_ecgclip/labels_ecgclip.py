"""What a label is, the six of CODE, which are the default wherever nothing else is stated, and what decides on one."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


# Fields of a configuration that hold a value for each label: they mean nothing for other labels.
OF_EACH_LABEL = ("thresholds", "threshold_prevalence", "calibration", "abstention")
UNKNOWN_LABEL = -1  # in label columns: neither present nor absent, left out of loss and metrics


@dataclass(frozen=True)
class Label:
    """
    Something that an ECG can have or not.

    Args:
        name (`str`): Short and stable: a column of the exam table, an entry of `id2label`.
        title (`str`): What people read; the name where left out.
        phrase (`str`):
            What a report's description says where it is present, for zero-shot classification; the title where left
            out. Findings rather than a diagnosis' name: that stands in the conclusion, which pre-training never sees.
    """

    name: str
    title: str = ""
    phrase: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or self.name != self.name.strip():
            raise ValueError(f"a label needs a name, without blanks around it: found {self.name!r}")
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "phrase", self.phrase or self.title)

    def to_dict(self) -> dict[str, str]:
        """Returns the three as JSON has them."""
        return asdict(self)


# Of the CODE study (Ribeiro et al. 2020) and of CODE-15%, in the order of their files.
CODE_LABELS = (
    Label("1dAVb", "first-degree AV block", "intervalo PR aumentado"),
    Label("RBBB", "right bundle branch block", "QRS alargado, rSR' em V1 e S alargada em V6"),
    Label("LBBB", "left bundle branch block", "QRS alargado, R alargada e entalhada em V5 e V6"),
    Label("SB", "sinus bradycardia", "frequência cardíaca reduzida e ondas P normais"),
    Label("AF", "atrial fibrillation", "intervalos RR irregulares e ausência de ondas P"),
    Label("ST", "sinus tachycardia", "frequência cardíaca elevada e ondas P normais"),
)
LABEL_NAMES = tuple(label.name for label in CODE_LABELS)
_BY_NAME = {label.name: label for label in CODE_LABELS}


def labels_named(names: Iterable[str], details: Iterable[Mapping[str, Any]] | None = None) -> tuple[Label, ...]:
    """
    Returns labels of some names, with their titles and phrases where they are known.

    Args:
        names (`Iterable[str]`): In the order wanted.
        details (`Iterable[Mapping]`, *optional*):
            Dictionaries of [`Label.to_dict`], as records and configurations hold them; for what they lack, CODE's own
            labels of that name.

    Raises:
        `ValueError`: for a name that comes twice.
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each label once: found {', '.join(twice)} more than once")
    known = dict(_BY_NAME)
    for one in details or ():
        known[one["name"]] = Label(one["name"], one.get("title") or "", one.get("phrase") or "")
    return tuple(known.get(name) or Label(name) for name in names)


def labels_of(config: Any) -> tuple[Label, ...]:
    """
    Returns the labels of a model.

    Args:
        config (`PreTrainedConfig`): With `id2label`, and `label_details` where its training stated them.
    """
    names = [config.id2label[i] for i in sorted(config.id2label)]
    return labels_named(names, getattr(config, "label_details", None))


def is_positive(score: Any, threshold: Any) -> Any:
    """Returns whether a probability makes a diagnosis: it reaches its threshold. Numbers, or arrays that fit."""
    return score >= threshold


def decision(score: float, low: float | None, high: float | None) -> str | None:
    """
    Returns `"negative"` below `low`, `"positive"` from `high` on and `"uncertain"` between them; None where a label
    has no such bounds, since too few exams were there to promise anything by.
    """
    if low is None or high is None:
        return None
    return "negative" if score < low else "positive" if score >= high else "uncertain"


def calibrated(logits: Any, config: Any) -> Any:
    """
    Returns a classifier's logits as its configuration calibrates them: `scale * logit + shift` for each label.

    Args:
        logits (`torch.Tensor` of shape `(batch, labels)`): Of the head.
        config (`PreTrainedConfig`): With `calibration`, a dictionary of the lists `scale` and `shift`; without one the
            logits stay as they are.
    """
    calibration = getattr(config, "calibration", None)
    if calibration is None:
        return logits
    return logits * logits.new_tensor(calibration["scale"]) + logits.new_tensor(calibration["shift"])


__all__ = [
    "CODE_LABELS",
    "LABEL_NAMES",
    "OF_EACH_LABEL",
    "UNKNOWN_LABEL",
    "Label",
    "calibrated",
    "decision",
    "is_positive",
    "labels_named",
    "labels_of",
]
