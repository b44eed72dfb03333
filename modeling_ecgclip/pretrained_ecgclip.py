"""The models and the example that come with the package: where they lie, and the shortest way to use them."""

from functools import cache
from pathlib import Path
from typing import Any

from transformers import pipeline
from transformers.utils import logging

from .pipeline_ecgclip import EcgClassificationPipeline


logger = logging.get_logger(__name__)

# Beside this file where the package was installed as a wheel; else where the checkout has them.
_IN_CHECKOUT = {"pretrained": "pretrained", "examples": "space/examples"}
NOTICE = (
    "The default model was trained on simulated ECGs alone; docs/real_ecgs.md says how it reads real ones. Research "
    "software, not a medical device."
)


def _bundled(kind: str, name: str) -> Path:
    here = Path(__file__).resolve().parent
    places = (here / kind / name, here.parent / _IN_CHECKOUT[kind] / name)
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(f"{name}: expected it with the package ecgclip: found neither {places[0]} nor {places[1]}")


def pretrained_folder(name: str = "cls") -> Path:
    """
    Returns the folder of a default model, which the Auto classes and pipelines load with `trust_remote_code=True`.

    Args:
        name (`str`, defaults to `"cls"`): `"cls"`, the classifier; `"clip"`, the dual encoder that it starts from; or
            `"encoder"`, the one to train heads for labels of one's own on, at 100 Hz.

    Raises:
        `FileNotFoundError`: where the package came without it, as on a Space.
    """
    return _bundled("pretrained", name)


def example_ecg() -> Path:
    """Returns an ECG to try with, 10 s of 12 leads: simulated, of no patient, with RBBB and AF."""
    return _bundled("examples", "simulated_rbbb_af.npz")


@cache
def _classifier() -> EcgClassificationPipeline:
    logger.warning(NOTICE)
    folder = str(pretrained_folder())
    # The registered classes rather than the folder's reference to them, so that no code is copied to a cache.
    make: Any = pipeline  # its annotations know transformers' own tasks alone
    found: EcgClassificationPipeline = make(
        "ecg-classification", model=folder, pipeline_class=EcgClassificationPipeline
    )
    return found


def classify(ecg: Any, **stated: Any) -> Any:
    """
    Returns what the default model finds in an ECG. It was trained on simulated ECGs alone; not a medical device.

    ```python
    from modeling_ecgclip import classify
    print(classify("records500/00000/00001_hr"))
    ```

    One ECG is too little work for several threads: on a busy machine `torch.set_num_threads(1)` makes this several
    times faster. It holds for the whole process, so it is left to you.

    Args:
        ecg: One ECG or several, see [`EcgClassificationPipeline`]: a path, an array, a dictionary, or a list of them.
        stated: What the file does not state (`sampling_rate`, `unit`, `lead_names`, `exam_id`) and the further
            arguments of that pipeline's call.

    Returns:
        `list[dict]`: `label`, `score`, `positive` and `quality` of each label, the most probable first; a list of that
        for several ECGs.

    Raises:
        `ValueError`: for an ECG that does not state what it is, or cannot be one, naming the record.
        `FileNotFoundError`: for a path where nothing lies.
    """
    return _classifier()(ecg, **stated)


__all__ = ["classify", "example_ecg", "pretrained_folder"]
