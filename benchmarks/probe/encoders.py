"""Frozen encoders, and what they make of an exam table's ECGs: computed once, then read from a cache."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from common.writing import written_aside
from modeling_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.signal_ecgclip import SignalSpec
from modeling_ecgclip.towers_ecgclip import PRESETS, build_tower, encoder_config, load_tower
from training.augmentation import SignalInput
from training.data import ExamSplit, ExamTable, ordered_batches


RANDOM = "random:"
BATCH = 64  # ECGs of one forward pass
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Encoder:
    """
    An encoder to probe.

    Args:
        name (`str`): In the tables.
        source (`str`): Folder or Hub id of a dual encoder, a classifier or an encoder.
        seed (`int`, *optional*): Of random weights instead. `source` may then be a preset too, which reads the signal
            of any table.
    """

    name: str
    source: str
    seed: int | None = None

    @classmethod
    def parse(cls, words: str) -> "Encoder":
        """
        Returns the encoder that `NAME=SOURCE` asks for.

        Raises:
            `ValueError`: for other words, or random weights of a preset or seed that is none.
        """
        name, equals, source = words.partition("=")
        if not (name and equals and source):
            raise ValueError(f"--encoders {words}: expected NAME=FOLDER or NAME=random:PRESET[:SEED]")
        if not source.startswith(RANDOM):
            return cls(name, source)
        source, _, seed = source.removeprefix(RANDOM).partition(":")
        if not (source in PRESETS or Path(source).is_dir()) or not (seed or "0").isdigit():
            expected = f"random:PRESET[:SEED] of {', '.join(PRESETS)}, or random:FOLDER[:SEED]"
            raise ValueError(f"--encoders {words}: expected {expected}")
        return cls(name, source, int(seed or 0))

    @property
    def is_preset(self) -> bool:
        """Whether it has random weights and the shape of a preset, not of a folder."""
        return self.seed is not None and self.source in PRESETS

    def signal(self) -> SignalSpec | None:
        """Returns the signal that it reads, or None: any."""
        return None if self.is_preset else SignalSpec.of(EcgFeatureExtractor.from_pretrained(self.source))

    def load(self, signal: SignalSpec) -> tuple[PreTrainedModel, SignalInput]:
        """
        Returns the encoder, and what turns an exam table's batches into its input.

        Raises:
            `ValueError`: where it reads another signal than the table holds.
        """
        config: PreTrainedConfig
        if self.is_preset:
            config = encoder_config(self.source, **vars(signal))
            extractor = EcgFeatureExtractor.for_model(config)
        else:
            model = load_tower(self.source)
            config, extractor = model.config, EcgFeatureExtractor.from_pretrained(self.source)
        if self.seed is not None:
            torch.manual_seed(self.seed)
            model = build_tower(config)
        return model.float().eval(), SignalInput(extractor, signal)


def recordings_digest(splits: list[ExamSplit]) -> str:
    """Returns a digest of the recordings in their order, whatever their labels are: label sets share embeddings."""
    digest = hashlib.sha256()
    for split in splits:
        for batch in ordered_batches(split, BATCH, 0, 1, 0, CPU):
            digest.update(batch["ecg"].numpy().tobytes())
    return digest.hexdigest()


def weights_digest(model: PreTrainedModel) -> str:
    """Returns a digest of a model's architecture and weights."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def embeddings(encoder: Encoder, table: ExamTable, splits: list[ExamSplit], cache_dir: Path) -> np.ndarray:
    """
    Returns an encoder's embeddings of all exams, split after split: float32 `(exams, hidden_size)`.

    Args:
        encoder (`Encoder`): Which.
        table (`ExamTable`): Where the exams come from.
        splits (`list[ExamSplit]`): Its exams.
        cache_dir (`Path`): Holds a file for each pair of weights and recordings; changed ones get another file.
    """
    model, input_values = encoder.load(table.schema.signal)
    preprocessing = f"{input_values.microvolts_per_unit} {input_values.padding}"
    key = f"{weights_digest(model)} {recordings_digest(splits)} {preprocessing}"
    path = cache_dir / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.npy"
    if path.is_file():
        return np.load(path)
    found = []
    with torch.inference_mode(), tqdm(total=sum(map(len, splits)), desc=f"embedding with {encoder.name}") as bar:
        for split in splits:
            for batch in ordered_batches(split, BATCH, 0, 1, 0, CPU):
                found.append(model(input_values(batch)).pooler_output.numpy())
                bar.update(len(batch["ecg"]))
    embeds = np.concatenate(found)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        np.save(aside, embeds)
    return embeds
