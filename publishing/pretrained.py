"""
Publishes the default models on the Hub, under your own name: classifier, dual encoder, and the encoder for few labels
of one's own; weights, code and cards.

Example:
    python -m publishing.pretrained --space

They are private unless --public is given. The models were trained on simulated ECGs, which their cards say.
"""

from common.help import show_help


if __name__ == "__main__":  # before what takes seconds to import
    show_help()

import json
import logging
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor

import modeling_ecgclip
from common.arguments import parse
from common.checksums import verify_data
from common.commands import exit_status
from common.files import write_json, write_text
from common.hub_access import check_repo_id
from common.locks import only_writer
from common.writing import written_aside
from modeling_ecgclip import EcgClipConfig, save_for_hub
from modeling_ecgclip.hub_ecgclip import state_offers, state_saved_model, state_saved_settings
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder
from publishing.card import CARD, model_card, sealed
from publishing.model import publish_completed, repository_of
from publishing.real_ecgs import RECORD
from publishing.requirements import write_requirements
from publishing.run_folder import read_run
from publishing.space import SpaceModels, publish_space
from training.arguments import HubArguments
from training.plots import plot_loss, save_figure
from training.run import state_records
from training.terminal import HTTP_CLIENTS


# Of the repositories.
NAMES = {"clip": "ecgclip-simulated-clip", "cls": "ecgclip-simulated", "encoder": "ecgclip-simulated-encoder"}
BASES = {"cls": "clip"}  # which of them a model was fine-tuned from
WEIGHTS = "model.safetensors"
RECORDS = ("run.json", "metrics.json", "history.json")
# Made of the packed weights: what is there is published.
OF_WEIGHTS = (RECORD, "report_index.npz")
SETTINGS = ("preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
CODE = "installed_ecgclip"
# In place of a copy of the package's files in each folder; publishing writes the copy.
CODE_TEXT = '''"""The code of this folder is the package ecgclip, with which its weights travel."""

try:
    from modeling_ecgclip import *  # noqa: F403
except ImportError as error:
    raise ImportError("this folder needs the package ecgclip: `pip install .` in its checkout") from error
'''
HANDLER_TEXT = '''"""What `serve.py` imports from a model's folder: here the package's own handler."""

from modeling_ecgclip.handler_ecgclip import EndpointHandler


__all__ = ["EndpointHandler"]
'''


@dataclass
class PretrainedArguments:
    """Where the default models go."""

    namespace: str | None = field(
        default=None, metadata={"help": "User or organisation on the Hub; default: the user whose token it is."}
    )
    public: bool = field(default=False, metadata={"help": "Show them to everybody. Default: private."})
    space: bool = field(default=False, metadata={"help": "Publish a Space as well that runs them in a browser."})


def pack(folder: Path, output_dir: Path) -> None:
    """
    Writes what of a finished run goes into the checkout: float16 weights, settings and records, without figures.

    Args:
        folder (`Path`): Of the run.
        output_dir (`Path`): Such as `pretrained/cls`. It loads in float32 where the package is installed.

    Raises:
        `FileNotFoundError`: where the folder has no weights or no records.
        `ValueError`: for a weight that float16 cannot hold, naming it.
        `BlockingIOError`: where another process writes there.
    """
    missing = [name for name in (WEIGHTS, "config.json", *RECORDS) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder}: expected the folder of a finished run, missing {', '.join(missing)}")
    verify_data(folder, present=True)
    with only_writer(output_dir):
        _pack(folder, output_dir)


def _pack(folder: Path, output_dir: Path) -> None:
    """[`pack`] into a folder that nobody else writes."""
    weights = {name: _halved(name, value) for name, value in load_file(folder / WEIGHTS).items()}
    output_dir.mkdir(parents=True, exist_ok=True)
    with written_aside(output_dir / WEIGHTS) as aside:
        save_file(weights, aside, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    offers = SimpleNamespace()
    state_offers(getattr(modeling_ecgclip, config["architectures"][0]), offers)
    write_json(output_dir / "config.json", _installed({**config, **vars(offers), "dtype": "float32"}))
    for name in SETTINGS:
        if (folder / name).is_file():
            write_json(output_dir / name, _installed(json.loads((folder / name).read_text(encoding="utf-8"))))
    for name in RECORDS:
        shutil.copyfile(folder / name, output_dir / name)
    write_text(output_dir / f"{CODE}.py", CODE_TEXT)
    write_text(output_dir / "handler.py", HANDLER_TEXT)
    state_saved_model(output_dir)
    state_records(output_dir)


def unpack(folder: Path, output_dir: Path) -> None:
    """
    Writes a default model as training leaves one: with its code, the same weights, its records and the loss figure.

    Args:
        folder (`Path`): From [`pack`].
        output_dir (`Path`): An empty folder.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with_text = config["model_type"] == EcgClipConfig.model_type
    model_class: Any = AutoModel if with_text else AutoModelForAudioClassification
    processor_class: Any = AutoProcessor if with_text else AutoFeatureExtractor
    save_for_hub(model_class.from_pretrained(folder), output_dir, processor_class.from_pretrained(folder))
    for name in (WEIGHTS, *RECORDS, *OF_WEIGHTS):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output_dir / name)
    state_saved_model(output_dir)
    state_saved_settings(output_dir, *RECORDS, *OF_WEIGHTS)
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    save_figure(plot_loss(history, "Contrastive loss" if with_text else "Loss"), output_dir / "loss.png")


def publish_pretrained(args: PretrainedArguments) -> list[str]:
    """
    Publishes the models, and the Space where it was asked for.

    Returns:
        `list[str]`: Their addresses.

    Raises:
        [`HubAccessError`]: where the Hub refuses, or nobody is logged in.
    """
    ids = {kind: _repository(args.namespace, name) for kind, name in NAMES.items()}
    addresses = []
    for kind in NAMES:
        with tempfile.TemporaryDirectory(prefix="ecgclip-pretrained-") as aside:
            folder = Path(aside)
            unpack(pretrained_folder(kind), folder)
            run = read_run(folder, drawn=False)
            base = ids[BASES[kind]] if kind in BASES else None
            write_text(folder / CARD, sealed(str(model_card(run, ids[kind], base_model=base))))
            write_requirements(folder)
            addresses.append(publish_completed(folder, ids[kind], args.public))
    if args.space:
        addresses.append(publish_space(SpaceModels(ids["cls"], ids["clip"]), f"{ids['cls']}-space", args.public))
    return addresses


def main(argv: list[str] | None = None) -> int:
    """Publishes; returns the exit code."""
    (args,) = parse(argv, __doc__, PretrainedArguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for quiet in HTTP_CLIENTS:
        logging.getLogger(quiet).setLevel(logging.WARNING)
    return exit_status(lambda: print(*(f"published: {url}" for url in publish_pretrained(args)), sep="\n"))


def _repository(namespace: str | None, name: str) -> str:
    """`user/name`; the user is asked of the Hub where not given."""
    if namespace is None:
        return repository_of(HubArguments(hub_model_id=name), Path())
    check_repo_id(f"{namespace}/{name}")
    return f"{namespace}/{name}"


def _halved(name: str, value: torch.Tensor) -> torch.Tensor:
    """Float16 of a weight; counters stay as they are."""
    if not value.is_floating_point():
        return value
    halved = value.half()
    if not bool(halved.isfinite().all()):
        raise ValueError(f"{name}: expected values that float16 holds, found up to {value.abs().max():g}")
    return halved


def _installed(settings: Any) -> Any:
    """Settings whose references to code name the package's classes."""
    if not isinstance(settings, dict):
        return settings
    found = {name: _installed(value) for name, value in settings.items()}
    if "auto_map" in found:
        found["auto_map"] = {name: _reference(value) for name, value in found["auto_map"].items()}
    for offer in found.get("custom_pipelines", {}).values():
        offer["impl"] = _reference(offer["impl"])
    return found


def _reference(name: str) -> str:
    return f"{CODE}.{name.rpartition('.')[2]}"


if __name__ == "__main__":
    sys.exit(main())
