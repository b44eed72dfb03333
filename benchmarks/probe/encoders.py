"""Frozen encoders, and what they make of an exam table's ECGs: computed once, then read from a cache."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

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
        source (`str`): Folder or Hub id of a dual encoder, a classifier or an encoder; or `random:PRESET` or
            `random:PRESET:SEED` for random weights.
    """

    name: str
    source: str

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
        if source.startswith(RANDOM):
            preset, _, seed = source.removeprefix(RANDOM).partition(":")
            if preset not in PRESETS or not (seed or "0").isdigit():
                raise ValueError(f"--encoders {words}: expected random:PRESET[:SEED] of {', '.join(PRESETS)}")
        return cls(name, source)

    def load(self, signal: SignalSpec) -> tuple[PreTrainedModel, SignalInput]:
        """
        Returns the encoder, and what turns an exam table's batches into its input.

        Raises:
            `ValueError`: where it reads another signal than the table holds.
        """
        if not self.source.startswith(RANDOM):
            model = load_tower(self.source)
            extractor = EcgFeatureExtractor.from_pretrained(self.source)
        else:
            preset, _, seed = self.source.removeprefix(RANDOM).partition(":")
            torch.manual_seed(int(seed or 0))
            model = build_tower(encoder_config(preset, **vars(signal)))
            extractor = EcgFeatureExtractor.for_model(model.config)
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
