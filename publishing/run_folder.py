"""A finished run's folder, as its card and its publication read it."""

import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import safe_open

from modeling_ecgclip import EcgFeatureExtractor
from publishing.source_facts import source_facts


# What every finished run has, and what each stage has besides.
NEEDED = (
    "run.json",
    "metrics.json",
    "history.json",
    "config.json",
    "loss.png",
    "configuration_ecgclip.py",
    "handler.py",
)
NEEDED_BY_STAGE = {
    "classification": ("preprocessor_config.json", "precision_recall.png", "calibration.png"),
    "contrastive": ("processor_config.json", "tokenizer_config.json", "retrieval.png", "retrieval_test.png"),
}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # one of them
NO_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked", "text_center")


@dataclass(frozen=True)
class RunFolder:
    """
    A finished run.

    Args:
        path (`Path`): Where it lies.
        record, metrics, config (`dict`): `run.json`, `metrics.json`, `config.json`.
        history (`list[dict]`): `history.json`.
    """

    path: Path
    record: dict[str, Any]
    metrics: dict[str, Any]
    config: dict[str, Any]
    history: list[dict[str, float]]

    @property
    def stage(self) -> str:
        """`"classification"` or `"contrastive"`."""
        return self.record["stage"]

    @property
    def arguments(self) -> dict[str, Any]:
        """The command line's."""
        return self.record["arguments"]

    @property
    def labels(self) -> list[str]:
        """Names of the labels, in the order of the counts in the record."""
        return list(self.record["used"]["test"]["positives"])

    @property
    def sources(self) -> list[str]:
        """Values of the exam table's column `source`."""
        return self.record["data"]["sources"]

    @property
    def simulated(self) -> bool:
        """Whether every exam of this run was made by a program."""
        return all(source_facts(source).simulated for source in self.sources)

    @cached_property
    def origins(self) -> list[dict[str, Any]]:
        """The models that this one comes from, the nearest first."""
        found, origin = [], self.record.get("starts_from")
        while origin:
            found.append(origin)
            origin = origin.get("starts_from")
        return found

    @cached_property
    def feature_extractor(self) -> EcgFeatureExtractor:
        """The preprocessing that travels with the weights."""
        return EcgFeatureExtractor.from_pretrained(self.path, local_files_only=True)

    @cached_property
    def parameters(self) -> tuple[int, int]:
        """Numbers of weights outside and inside the text tower; BatchNorm's statistics are none."""
        ecg, text = 0, 0
        for path in sorted(self.path.glob("*.safetensors")):
            with safe_open(path, "pt") as weights:
                for name in weights.keys():
                    if name.endswith(NO_PARAMETERS):
                        continue
                    size = math.prod(weights.get_slice(name).get_shape())
                    if name.startswith("text_model."):
                        text += size
                    else:
                        ecg += size
        return ecg, text


def read_run(folder: str | os.PathLike) -> RunFolder:
    """
    Returns a finished run.

    Raises:
        `FileNotFoundError`: where the folder is not that of a finished run, naming what is missing.
        `ValueError`: for records that cannot be read, naming the file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder of a finished run, found none")
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if not any((path / name).is_file() for name in WEIGHTS):
        missing.append(WEIGHTS[0])
    if "run.json" not in missing:
        record = _read_json(path / "run.json")
        stage = record.get("stage")
        if stage not in NEEDED_BY_STAGE or "used" not in record:
            raise ValueError(
                f"{path / 'run.json'}: expected the record of a run of train_clip.py or train_cls.py with stage and "
                f"used, found stage {stage!r} and {', '.join(sorted(record)) or 'nothing'}"
            )
        missing += [name for name in NEEDED_BY_STAGE[stage] if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: not the folder of a finished run, missing {', '.join(missing)}")
    others = (_read_json(path / name) for name in ("metrics.json", "config.json", "history.json"))
    return RunFolder(path, record, *others)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON: {error}") from error
