"""A finished run's folder, as its card and its publication read it."""

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import AutoConfig

from common.checksums import read_record
from common.files import read_json
from modeling_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.hub_ecgclip import check_preprocessing, verify_settings
from modeling_ecgclip.labels_ecgclip import Label, labels_named
from modeling_ecgclip.signal_ecgclip import SignalSpec, check_same_signal
from publishing.source_facts import source_facts
from publishing.stages import Stage, stage_of
from training.run import METRICS


# What every finished run has; its stage names what it has besides.
NEEDED = ("run.json", METRICS, "history.json", "config.json", "loss.png", "handler.py")
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
    def stage(self) -> Stage:
        """What kind of run it is, with all that depends on it."""
        return stage_of(self.record)

    @property
    def arguments(self) -> dict[str, Any]:
        """The command line's."""
        return self.record["arguments"]

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """
        The model's outputs in their order, of a regression the values; of a dual encoder the labels that it was
        measured with. Records that state none are older than labels other than those counted in them.
        """
        details = self.record.get("labels")
        names = self.record["used"]["train"]["positives"] if details is None else [one["name"] for one in details]
        return labels_named(names, details)

    @property
    def label_names(self) -> list[str]:
        """Names of the labels."""
        return [label.name for label in self.labels]

    @property
    def is_measured(self) -> bool:
        """Whether it had a test split."""
        return "test" in self.metrics

    def positives(self, split: str) -> dict[str, int]:
        """Returns how many positives of each label a split has, as it was used; none of values."""
        return self.record["used"].get(split, {}).get("positives", {})

    @property
    def encoder(self) -> str:
        """The beginning of a sentence that names the encoder."""
        kind = self.config.get("ecg_config", self.config)["model_type"]
        named = "" if self.origins else f"`{self.arguments['encoder_preset']}`, "
        return f"An encoder ({named}model type `{kind}`)"

    @property
    def sources(self) -> list[str]:
        """Values of the exam table's column `source`."""
        return self.record["data"]["sources"]

    @property
    def simulated(self) -> bool:
        """Whether every exam of this run was made by a program."""
        return all(source_facts(source).simulated for source in self.sources)

    @property
    def patients_known(self) -> bool:
        """Whether the exam table's patients are those of its source; records made earlier say so of the conversion."""
        data = self.record["data"]
        return data.get("patients_known", "patients" not in data.get("conversion", {}))

    @property
    def reports(self) -> dict[str, Any]:
        """What the conversion counted in the reports of the exam table; empty where that is not recorded."""
        return self.record["data"].get("conversion", {}).get("reports", {})

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

    @property
    def signal(self) -> SignalSpec:
        """What it reads."""
        return self.feature_extractor.signal

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


def read_run(folder: str | os.PathLike, drawn: bool = True) -> RunFolder:
    """
    Returns a finished run.

    Args:
        folder (`str` or `os.PathLike`): Of the run.
        drawn (`bool`, defaults to `True`): Its pictures must be there; without, the card shows those that are.

    Raises:
        `FileNotFoundError`: where the folder is not that of a finished run, naming what is missing.
        `ValueError`: for records that cannot be read or differ from their digests, naming the file, and for weights,
            preprocessing and records that state different signals.
        [`DamagedFileError`]: for settings or code that differ.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: expected the folder of a finished run, found none")
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if not any((path / name).is_file() for name in WEIGHTS):
        missing.append(WEIGHTS[0])
    if "run.json" not in missing:
        record = _read_record(path / "run.json")
        missing += [name for name in stage_of(record).files(record["used"]) if not (path / name).is_file()]
    missing = [name for name in missing if drawn or not name.endswith(".png")]
    if missing:
        raise FileNotFoundError(f"{path}: not the folder of a finished run, missing {', '.join(missing)}")
    verify_settings(path)
    config = read_json(path / "config.json")
    run = RunFolder(path, record, read_record(path / METRICS), config, read_record(path / "history.json"))
    code = {f"{reference.split('.')[0]}.py" for reference in run.config.get("auto_map", {}).values()}
    if missing := sorted(name for name in code if not (path / name).is_file()):
        raise FileNotFoundError(f"{path}: config.json names code that is missing: {', '.join(missing)}")
    _check_signal(run)
    return run


def _read_record(path: Path) -> dict[str, Any]:
    """`run.json`, of a kind of run that is known."""
    record = read_record(path)
    try:
        stage_of(record)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if "used" not in record:
        raise ValueError(f"{path}: expected the exams that the run used (used), found {', '.join(sorted(record))}")
    return record


def _check_signal(run: RunFolder) -> None:
    """Refuses a folder whose parts state different signals: what loads it would read every ECG wrongly."""
    check_preprocessing(
        AutoConfig.from_pretrained(run.path, local_files_only=True), run.feature_extractor, str(run.path)
    )
    if "signal" in run.record:
        stated = ("run.json", SignalSpec(**run.record["signal"]))
        check_same_signal((("the feature extractor", run.signal), stated), str(run.path))
