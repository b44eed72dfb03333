"""The kinds of runs, each described by one object; `stage_of` finds that of a record."""

from collections.abc import Mapping
from typing import Any

from publishing.stages.base import Stage
from publishing.stages.classification import MultiClass, MultiLabel
from publishing.stages.contrastive import Contrastive
from publishing.stages.regression import Regression


CONTRASTIVE = Contrastive()
# By transformers' name of what the outputs are.
CLASSIFIERS: dict[str, Stage] = {
    "multi_label_classification": MultiLabel(),
    "single_label_classification": MultiClass(),
    "regression": Regression(),
}


def stage_of(record: Mapping[str, Any]) -> Stage:
    """
    Returns what describes a run.

    Args:
        record (`Mapping`): `run.json`; one without `problem_type` is older than the other kinds of outputs.

    Raises:
        `ValueError`: for a record of something else.
    """
    stage, problem = record.get("stage"), record.get("problem_type") or "multi_label_classification"
    if stage == CONTRASTIVE.name:
        return CONTRASTIVE
    if stage == "classification" and problem in CLASSIFIERS:
        return CLASSIFIERS[problem]
    raise ValueError(
        f"expected the record of a run of train_clip.py or train_cls.py: found stage {stage!r} and problem_type "
        f"{problem!r}"
    )


__all__ = ["CLASSIFIERS", "CONTRASTIVE", "Stage", "stage_of"]
