"""Published weights to folders that this package loads: the networks of Ribeiro et al. 2020 and Lima et al. 2021.

    python -m modeling_ecgclip.convert_published --source model.hdf5 --architecture ribeiro2020 --output_dir O

No model needs this module, so it does not travel with saved ones.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCardData

from common.arguments import plain_parser
from common.files import write_text
from common.locks import only_writer
from common.markdown import markdown_table
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.feature_extraction_ecgclip import EcgFeatureExtractor
from modeling_ecgclip.hdf5_ecgclip import CODE15_UNITS_PER_MV
from modeling_ecgclip.hub_ecgclip import save_for_hub
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.modeling_ecgclip import EcgResNetForSignalClassification
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE


# What `torch.load` raises for files that are not its own, by how far it gets.
NOT_A_CHECKPOINT = (UnpicklingError, struct.error, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError)
MAX_LISTED = 12  # tensors of each kind that an error names

# Last part of a tensor's name in a Keras file, and of ours. Dense layers and convolutions share `kernel`.
KERAS_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class Published:
    """
    What is known of published weights beside the tensors.

    Args:
        title (`str`), kind (`str`): For the card: what the network is, and what kind of file holds it.
        weights_url (`str`), code_url (`str`): Where weights and code were published.
        citation (`str`): Of the paper.
        labels (`tuple[str]`): Outputs in order.
        thresholds (`tuple[float]`, *optional*):
            Of `labels`; `generate_figures_and_tables.py` of the published code, chosen there for the best F1.
        problem_type (`str`): As in transformers.
        checkable (`str`): How someone who has the files can check the converted folder against published numbers.
    """

    title: str
    kind: str
    weights_url: str
    code_url: str
    citation: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    problem_type: str
    checkable: str


PUBLISHED = {
    "ribeiro2020": Published(
        title="Six diagnoses from the 12-lead ECG (Ribeiro et al. 2020)",
        kind="Keras HDF5 file",
        weights_url="https://doi.org/10.5281/zenodo.3625017",
        code_url="https://github.com/antonior92/automatic-ecg-diagnosis",
        citation=(
            "Ribeiro, A.H., Ribeiro, M.H., Paixão, G.M.M. et al. Automatic diagnosis of the 12-lead ECG using a deep "
            "neural network. Nature Communications 11, 1760 (2020). https://doi.org/10.1038/s41467-020-15432-4"
        ),
        labels=LABEL_NAMES,
        thresholds=(0.124, 0.07, 0.05, 0.278, 0.390, 0.174),
        problem_type="multi_label_classification",
        checkable=(
            "The published code holds this network's probabilities for the 827 exams of the CODE test set "
            "(`dnn_predicts/`) and its decisions (`data/annotations/dnn.csv`). `python -m data_scripts.code_test` of "
            "ecgclip reads that test set. Lead order: the authors' description of the network has aVR, aVL, aVF (an "
            "earlier version of it: aVL, aVF, aVR), the test set's file has aVL, aVF, aVR, and the published code "
            "passed the file on as it is. This folder follows the present description; whoever has both files can "
            "settle it by comparing both orders with the published probabilities."
        ),
    ),
    "lima2021": Published(
        title="Age from the 12-lead ECG (Lima et al. 2021)",
        kind="PyTorch checkpoint",
        weights_url="https://doi.org/10.5281/zenodo.4892365",
        code_url="https://github.com/antonior92/ecg-age-prediction",
        citation=(
            "Lima, E.M., Ribeiro, A.H., Paixão, G.M.M. et al. Deep neural network-estimated electrocardiographic age "
            "as a mortality predictor. Nature Communications 12, 5117 (2021). https://doi.org/10.1038/s41467-021-25351-7"
        ),
        labels=("age",),
        thresholds=None,
        problem_type="regression",
        checkable=(
            "CODE-15% is published with this network's answers: the column `nn_predicted_age` of its `exams.csv`."
        ),
    ),
}


def convert_published(source: str | Path, architecture: str, output_dir: str | Path) -> Path:
    """
    Writes published weights as a classifier's folder: weights, code, preprocessing and a card.

    Args:
        source (`str` or `Path`):
            `model.hdf5` of Zenodo record 3625017 (Keras; whole model or weights only) for `"ribeiro2020"`,
            `model.pth` of record 4892365 (PyTorch) for `"lima2021"`. Neither Keras nor pickled code is run.
        architecture (`str`): `"ribeiro2020"` or `"lima2021"`.
        output_dir (`str` or `Path`): A new or empty folder.

    Returns:
        `Path`: The folder, for [`EcgResNetForSignalClassification`] and the pipeline `ecg-classification`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `FileExistsError`: where the folder holds something.
        `BlockingIOError`: where another process writes there.
        `ValueError`: for another file or network; the message lists the tensors that are missing, unexpected or of
            another shape.
    """
    if architecture not in PUBLISHED:
        raise ValueError(f"unknown architecture {architecture!r}: expected one of {', '.join(PUBLISHED)}")
    source, output_dir = Path(source), Path(output_dir)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    with only_writer(output_dir):
        if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
            raise FileExistsError(f"{output_dir} exists and is not an empty folder: choose another one")
        return _convert(source, architecture, output_dir)


def _convert(source: Path, architecture: str, output_dir: Path) -> Path:
    """The work of [`convert_published`], into a folder that nobody else writes."""
    published = PUBLISHED[architecture]
    config = EcgResNetConfig.from_preset(
        architecture,
        id2label=dict(enumerate(published.labels)),
        problem_type=published.problem_type,
        thresholds=published.thresholds,
    )
    model = EcgResNetForSignalClassification(config).eval()
    read = read_keras if architecture == "ribeiro2020" else read_pytorch
    tensors, facts = read(source, model)
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{source}: expected finite weights: found NaN or infinity in what becomes {name}")
    model.load_state_dict(tensors)
    # The unit in which the published preprocessing left its recordings; see the card.
    extractor = EcgFeatureExtractor(do_scale=True, scale=CODE15_UNITS_PER_MV)
    folder = save_for_hub(model, output_dir, extractor)
    write_text(folder / "README.md", _card(architecture, source, facts, model))
    return folder


def read_keras(path: Path, model: EcgResNetForSignalClassification) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """
    Returns the tensors of a Keras file by the names of `model`, and facts for the card.

    Convolutions are told apart by their shapes, of which no two are the same; normalisations of one width by the order
    of the attribute `layer_names`, which is the order of computation. So Keras' numbering of layers, which differs
    from session to session, does not matter.

    Args:
        path (`Path`): HDF5 file as Keras 2 writes it: attribute `layer_names`, for each layer a group with the
            attribute `weight_names`; in the file itself or in its group `model_weights`.
        model (`EcgResNetForSignalClassification`): Says which tensors are expected.

    Raises:
        `ValueError`: for another file, or tensors that do not fit; the message lists them.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("reading Keras files needs the package h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            group = file["model_weights"] if "model_weights" in file else file
            if "layer_names" not in group.attrs:
                raise ValueError(
                    f"{path}: expected a Keras file, with the attribute layer_names: found {', '.join(file) or 'none'}"
                )
            found = _keras_tensors(group)
            facts = {"keras_version": _text(group.attrs.get("keras_version", "not stated"))}
            settings = file.attrs.get("model_config")
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: not a readable Keras HDF5 file, or truncated: {error}") from error
    state = model.state_dict()
    # By kind and shape, since several normalisations have the same width: in the order of computation on both sides.
    waiting: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for ours, kind, shape in _expected_keras(state):
        waiting.setdefault((kind, shape), []).append(ours)
    unexpected = []
    for name, array in found:
        names = waiting.get((_keras_kind(name), array.shape), [])
        if names:
            # Kernels turn from (width, in, out) and (in, out) to (out, in, width) and (out, in); vectors stay.
            state[names.pop(0)] = torch.from_numpy(np.ascontiguousarray(array.T, dtype=np.float32))
        else:
            unexpected.append(f"{name} {array.shape}")
    missing = [f"{kind} {shape} of {ours}" for (kind, shape), names in waiting.items() for ours in names]
    _refuse(path, model.config, missing, unexpected)
    if settings is not None:
        _check_keras_settings(json.loads(_text(settings)), model.config, path)
    return state, facts | {"tensors": len(found)}


def read_pytorch(
    path: Path, model: EcgResNetForSignalClassification
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """
    Returns the tensors of a PyTorch checkpoint by the names of `model`, and facts for the card.

    Args:
        path (`Path`): As the published `train.py` saves it: a dictionary whose `model` is the state of `ResNet1d`; or
            that state alone.
        model (`EcgResNetForSignalClassification`): Says which tensors are expected.

    Raises:
        `ValueError`: for another file, one that holds more than numbers, or tensors that do not fit; the message
            lists them.
    """
    # The published checkpoints state their validation loss as a numpy number: harmless, but not allowed by itself.
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")]
    allowed += [np.dtype, type(np.dtype("float32")), type(np.dtype("float64"))]
    try:
        with torch.serialization.safe_globals(allowed):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_A_CHECKPOINT as error:
        raise ValueError(f"{path}: not a readable PyTorch checkpoint of plain weights: {error}") from error
    found = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError(
            f"{path}: expected a dictionary of tensors under 'model': "
            f"found {', '.join(map(str, loaded)) if isinstance(loaded, dict) else type(loaded).__name__}"
        )
    stated = ((name, loaded.get(name)) for name in ("epoch", "valid_loss"))
    facts = {name: f"{value:g}" for name, value in stated if isinstance(value, int | float | np.number)}
    state = model.state_dict()
    expected = {_pytorch_name(name): name for name in state}
    missing = [f"{name} {tuple(state[ours].shape)}" for name, ours in expected.items() if name not in found]
    unexpected = []
    for name, tensor in found.items():
        if name not in expected:
            unexpected.append(f"{name} {tuple(tensor.shape)}")
        elif tensor.shape != state[expected[name]].shape:
            unexpected.append(f"{name} {tuple(tensor.shape)} instead of {tuple(state[expected[name]].shape)}")
        else:
            state[expected[name]] = tensor.to(state[expected[name]].dtype)
    _refuse(path, model.config, missing, unexpected)
    return state, facts | {"tensors": len(found)}


def _refuse(path: Path, config: Any, missing: list[str], unexpected: list[str]) -> None:
    """Raises where tensors do not fit, with the names of those that do not."""
    if not missing and not unexpected:
        return
    parts = []
    for title, names in (("missing", missing), ("unexpected", unexpected)):
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        parts.append(f"{len(names)} {title}" + (f": {', '.join(names[:MAX_LISTED])}{more}" if names else ""))
    blocks = ", ".join(map(str, config.block_channels))
    raise ValueError(
        f"{path}: these are not the weights of the network with kernels of {config.kernel_size}, blocks of {blocks} "
        f"channels and {config.num_labels} outputs. {'. '.join(parts)}"
    )


def _keras_tensors(group: Any) -> list[tuple[str, np.ndarray]]:
    """All tensors of a Keras file in the order of its layers, by name."""
    tensors = []
    for layer in group.attrs["layer_names"]:
        layer_group = group[_text(layer)]
        for name in layer_group.attrs["weight_names"]:
            array = layer_group[_text(name)][()]
            tensors.append((f"{_text(layer)}/{_keras_kind(_text(name))}", array))
    return tensors


def _keras_kind(name: str) -> str:
    """`"kernel"` of `"conv1d_1/kernel:0"`."""
    return name.rpartition("/")[2].partition(":")[0]


def _text(value: Any) -> str:
    """Attributes of HDF5 files are bytes or text, by the version that wrote them."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _expected_keras(state: dict[str, torch.Tensor]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name of each of our tensors with its kind and shape in a Keras file, in the order of computation."""
    expected = []
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        ours = name.rsplit(".", 1)[-1]
        # Normalisations alone have running statistics; convolutions and the dense layer have kernels.
        is_norm = name.removesuffix(ours) + "running_mean" in state
        kinds = {KERAS_NAMES[kind]: kind for kind in KERAS_NAMES if (kind not in ("kernel", "bias")) == is_norm}
        expected.append((name, kinds[ours], tuple(reversed(tensor.shape))))
    return expected


def _check_keras_settings(settings: dict[str, Any], config: Any, path: Path) -> None:
    """What the shapes of tensors do not show, where the file states it: epsilon, padding and strides."""
    expected: dict[str, dict[str, set[Any]]] = {
        "BatchNormalization": {"epsilon": {config.batch_norm_eps}},
        "Conv1D": {"padding": {"same"}, "strides": {(stride,) for stride in (1, *config.block_strides)}},
        "MaxPooling1D": {"padding": {"same"}, "strides": {(stride,) for stride in config.block_strides}},
    }
    for layer in settings.get("config", {}).get("layers", []):
        stated = layer.get("config", {})
        for key, values in expected.get(layer.get("class_name", ""), {}).items():
            value = tuple(stated[key]) if isinstance(stated.get(key), list) else stated.get(key)
            if key in stated and value not in values:
                raise ValueError(
                    f"{path}, layer {stated.get('name')}: expected {key} {' or '.join(map(str, sorted(values)))}: "
                    f"found {value}"
                )


def _pytorch_name(name: str) -> str:
    """Name of one of our tensors in the published `ResNet1d`."""
    replacements = {
        "ecg_model.stem.layers.0.": "conv1.",
        "ecg_model.stem.layers.1.": "bn1.",
        "ecg_model.blocks.": "resblock1d_",
        ".norm1.": ".bn1.",
        ".norm2.": ".bn2.",
        ".skip.": ".skip_connection.",
        "classifier.": "lin.",
    }
    for ours, theirs in replacements.items():
        name = name.replace(ours, theirs)
    return name


def _card(architecture: str, source: Path, facts: dict[str, Any], model: EcgResNetForSignalClassification) -> str:
    """The README of the folder."""
    published, config = PUBLISHED[architecture], model.config
    header = ModelCardData(
        license="other",
        license_name="as-published",
        license_link=published.weights_url,
        library_name="transformers",
        tags=["ecg", "electrocardiogram", "ecg-classification", architecture],
    ).to_yaml()
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stated = "".join(f", {name.replace('_', ' ')} {value}" for name, value in facts.items() if name != "tensors")
    if published.thresholds is None:
        rows: list[tuple[str, ...]] = [("output",), ("age in years",)]
    else:
        pairs = zip(published.labels, published.thresholds, strict=True)
        rows = [("label", "positive from"), *((label, f"{threshold:g}") for label, threshold in pairs)]
    return f"""---
{header}
---

# {published.title}

The network of the paper below, with the weights that its authors published, as a folder of ecgclip. Research software,
not a medical device.

{markdown_table(rows, right=())}

Input: {len(config.lead_names)} leads in the order {", ".join(LEAD_NAMES)}; {N_SAMPLES} samples at {SAMPLING_RATE} Hz,
zero-padded on both sides. The feature extractor brings any ECG there and multiplies millivolts by
{CODE15_UNITS_PER_MV:g}.

## Source

- Paper: {published.citation}
- Weights: {published.weights_url}; code: {published.code_url}
- Licence: the one stated at the weights' address. It was not changed here.
- File: `{source.name}`, sha256 `{digest}`{stated}

## What was converted, and how it was checked

- All {facts["tensors"]} tensors of the {published.kind}: none was missing, none left over, every shape as expected.
- Left to right padding, max-pooling, epsilon of the normalisations and the order of the flattened samples are those of
  the published code (preset `{architecture}`). Tests of ecgclip compare this conversion with an independent forward
  pass in numpy, on files of random weights in the published layout: logits agree to 1e-4. These very weights were not
  run in the authors' software.
- {published.checkable}

## The unit of the input

The published notes give the unit as 1e-4 V and, in the same sentence, as volts times 1000; these differ tenfold. The
authors' preprocessing (https://github.com/antonior92/ecg-preprocessing), which they name as that of both networks'
data, multiplies millivolts by 2, and the amplitudes of CODE-15% agree with that. It does not remove baseline wander.
Published HDF5 files are read as stored value / 2 = millivolts, so that the network sees the stored values again.
"""


def main(argv: Sequence[str] | None = None) -> Path:
    """Converts; returns and prints the folder."""
    parser = plain_parser(__doc__)
    parser.add_argument("--source", required=True, help="model.hdf5 or model.pth, as published")
    parser.add_argument("--architecture", required=True, choices=list(PUBLISHED))
    parser.add_argument("--output_dir", required=True, help="a new or empty folder")
    arguments = parser.parse_args(argv)
    folder = convert_published(arguments.source, arguments.architecture, arguments.output_dir)
    print(f"written to {folder}")
    return folder


__all__ = ["PUBLISHED", "Published", "convert_published", "read_keras", "read_pytorch"]
