"""Folders that carry weights, code and preprocessing together, so that they load without this package."""

import copy
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from .checksums_ecgclip import SUMS_FILE, DamagedFileError, read_checksums, verify_checksums, write_checksums
from .signal_ecgclip import SignalSpec, check_same_signal


MEASUREMENT_TASK = "ecg-measurement"  # of every folder: it is the same whatever the model
# A pipeline's "pt" names the Auto classes that load its model, each where those before it cannot; it may not be empty.
_PIPELINES = {
    "ecg-classification": ("pipeline_ecgclip.EcgClassificationPipeline", ["AutoModelForAudioClassification"]),
    "zero-shot-ecg-classification": ("pipeline_ecgclip.ZeroShotEcgClassificationPipeline", ["AutoModel"]),
    "ecg-feature-extraction": ("pipeline_ecgclip.EcgFeatureExtractionPipeline", ["AutoModel"]),
    MEASUREMENT_TASK: (
        "pipeline_ecgclip.EcgMeasurementPipeline",
        ["AutoModel", "AutoModelForAudioClassification"],  # an export has no tower
    ),
}
# A stale one of these would win over the one just written.
_PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
# What a model's `SHA256SUMS` states, and loading compares.
_WEIGHTS = ("model*.safetensors", "model.onnx", "openvino_model.bin", "openvino_model.xml")
_CODE = ("*_ecgclip.py", "handler.py")
_TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab.*")
_SAVED_BY_PREPROCESSOR = (*_PREPROCESSOR_FILES, *_TOKENIZER_FILES, *_CODE)
_SETTINGS = ("model*.safetensors.index.json", "config.json", *_SAVED_BY_PREPROCESSOR)
_SAVED = (*_WEIGHTS, *_SETTINGS)


def save_for_hub(model: Any, save_directory: str | Path, processor: Any, **kwargs: Any) -> Path:
    """
    Writes a folder that the Auto classes and the pipelines load with `trust_remote_code=True`, without this package.

    A classifier's folder serves `AutoModelForAudioClassification`, `AutoModel` (its tower), and the pipelines
    `ecg-classification` and `ecg-feature-extraction`; that of an [`EcgClipModel`] serves `AutoModel` and the pipelines
    `zero-shot-ecg-classification` and `ecg-feature-extraction`; every folder serves `ecg-measurement`. Files are
    written aside and then renamed; other files of the folder (a card, metrics) stay. `SHA256SUMS` states the digests
    of weights, settings and code, which loading compares.

    Args:
        model (`EcgPreTrainedModel`):
            A tower of this package, its classifier, or an [`EcgClipModel`]: the bare model, not wrapped for
            distributed training. Call this on one process only.
        save_directory (`str` or `Path`): The folder; made where it does not exist.
        processor (`EcgClipProcessor` or `EcgFeatureExtractor`):
            An [`EcgClipModel`] needs a processor with a tokenizer; of the others only the feature extractor is saved.
        kwargs: For `model.save_pretrained` (`max_shard_size`, `state_dict`, ...).

    Returns:
        `Path`: The folder.

    Raises:
        `TypeError`: for another model, or a processor without what the model needs.
        `ValueError`: for a feature extractor that gives another signal than the model reads.
    """
    state_offers(model)
    preprocessor = _own_preprocessor(processor, with_text=hasattr(model, "text_model"))
    folder = Path(save_directory)
    check_preprocessing(model.config, getattr(preprocessor, "feature_extractor", preprocessor), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.resolve().parent) as aside:
        model.save_pretrained(aside, **kwargs)
        preprocessor.save_pretrained(aside)
        written = sorted(os.listdir(aside))
        # As the umask has it; safetensors leaves its files to their owner alone.
        mode = os.stat(os.path.join(aside, "config.json")).st_mode
        for name in written:
            os.chmod(os.path.join(aside, name), mode)
            os.replace(os.path.join(aside, name), folder / name)
    for name in set(_PREPROCESSOR_FILES) - set(written):
        (folder / name).unlink(missing_ok=True)
    return folder


def state_saved_model(folder: str | os.PathLike[str]) -> None:
    """Writes a model's `SHA256SUMS`: the digests of its weights, settings and code, and of nothing else."""
    Path(folder, SUMS_FILE).unlink(missing_ok=True)
    write_checksums(folder, [name for name in os.listdir(folder) if _is_one_of(name, _SAVED)])


def state_saved_settings(folder: str | os.PathLike[str], *names: str) -> None:
    """
    Corrects the `SHA256SUMS` of a model's folder after settings were saved there; without the file there is nothing.

    Args:
        folder (`str` or `os.PathLike`): Of a model, or of a preprocessor alone.
        names (`str`): The files that were written; left out, those that a preprocessor writes.
    """
    if os.path.isfile(os.path.join(folder, SUMS_FILE)):
        names_or_patterns = names or _SAVED_BY_PREPROCESSOR
        write_checksums(folder, [name for name in os.listdir(folder) if _is_one_of(name, names_or_patterns)])


def verify_saved_files(folder: str | os.PathLike[str], but: Iterable[str] = (), weights: bool = True) -> list[str]:
    """
    Compares the files of a saved model that are here with its `SHA256SUMS`, and returns which ones were compared.

    Settings and code as well as weights: a digit of a threshold or of a rate that flips gives other diagnoses, and
    nobody can tell it from an edit. Who edits them removes their lines from `SHA256SUMS`. Line ends of text may be
    those of another system. A folder without `SHA256SUMS`, as earlier releases wrote it, passes.

    Args:
        folder (`str` or `os.PathLike`): Of the model, or its snapshot of the Hub.
        but (`Iterable[str]`): Files not to compare.
        weights (`bool`, defaults to `True`): Compare weights too, which takes the longest.

    Raises:
        [`DamagedFileError`]: naming the file, what was expected and what was found.
    """
    stated, patterns = read_checksums(folder), _SAVED if weights else _SETTINGS
    here = [name for name in stated if _is_one_of(name, patterns) and os.path.isfile(os.path.join(folder, name))]
    here = sorted(set(here) - set(but))
    of_another_system = [
        name for name in here if _is_one_of(name, _SETTINGS) and _with_own_line_ends(folder, name) == stated[name]
    ]
    try:
        verify_checksums(folder, set(here) - set(of_another_system))
    except ValueError as error:
        raise DamagedFileError(str(error)) from None
    return here


def _with_own_line_ends(folder: str | os.PathLike[str], name: str) -> str:
    """The digest of a text as it was saved, which git may check out with the line ends of Windows."""
    return hashlib.sha256(Path(folder, name).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def verify_settings(name_or_path: str | os.PathLike[str], **kwargs: Any) -> None:
    """
    Compares settings and code of a saved model before they are read, without its weights; see [`verify_saved_files`].

    Args:
        name_or_path (`str` or `os.PathLike`), kwargs: Where they are, as for [`saved_folder`].

    Raises:
        [`DamagedFileError`]: naming the file, what was expected and what was found.
    """
    folder = saved_folder(name_or_path, **kwargs)
    if folder is not None:
        verify_saved_files(folder, weights=False)


def saved_folder(name_or_path: str | os.PathLike[str], **kwargs: Any) -> Path | None:
    """
    Returns the folder in which a model's `SHA256SUMS` lies, a local one or a snapshot of the Hub; None without one.

    Args:
        name_or_path (`str` or `os.PathLike`): Folder or repository id.
        kwargs: Of `from_pretrained`: those that say which files of the Hub are meant are used (`revision`, ...).
    """
    if os.path.isdir(name_or_path):
        folder = Path(name_or_path, kwargs.get("subfolder") or "")
        return folder if (folder / SUMS_FILE).is_file() else None
    hub = {name: kwargs[name] for name in HUB_ARGUMENTS if kwargs.get(name) is not None}
    try:
        found = cached_file(str(name_or_path), SUMS_FILE, **hub)
    except OSError:  # no such file, or no such repository, of which the model's own file tells more
        return None
    return None if found is None else Path(found).parent


def load_verified(load: Callable[[], Any], name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
    """
    Returns what `load` returns, if the files that it reads are those which were saved; see [`verify_saved_files`].

    Args:
        load (`Callable`): Loads a model, from the Hub if need be.
        name_or_path (`str` or `os.PathLike`), kwargs: Where from, as for [`saved_folder`].

    Raises:
        [`DamagedFileError`]: naming the file, the digest that the folder's `SHA256SUMS` states, and the one found.
    """
    folder = saved_folder(name_or_path, **kwargs)
    if folder is None:
        return load()
    seen = verify_saved_files(folder)
    loaded = load()
    verify_saved_files(folder, but=seen)  # what came from the Hub meanwhile
    return loaded


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_preprocessing(config: Any, extractor: Any, what: str) -> None:
    """
    Refuses a feature extractor that gives another signal than a model reads.

    Args:
        config (`PreTrainedConfig`): The model's; of a tower that states no signal, nothing can be compared.
        extractor (`EcgFeatureExtractor`): What is to feed it.
        what (`str`): What both belong to, for the error.

    Raises:
        `ValueError`: naming both signals, in one line.
    """
    config = getattr(config, "ecg_config", config)
    read, given = SignalSpec.of(config), SignalSpec.of(extractor)
    check_same_signal((("the model", read), ("the feature extractor", given)), what)
    length = getattr(config, "input_samples", None)
    if length is not None and extractor.input_samples != length:
        raise ValueError(
            f"{what}: expected {length} samples for the model's input: found a feature extractor that pads to "
            f"{extractor.input_samples} (pad_to_multiple_of={extractor.pad_to_multiple_of})"
        )


def state_offers(model: Any, config: Any = None) -> None:
    """
    Writes into a configuration which Auto classes and pipelines a model's folder serves.

    Args:
        model: About to be saved, or its class: `auto_classes` and `tasks` say what its folder offers.
        config (`PreTrainedConfig`, *optional*): The model's own where left out.

    Raises:
        `TypeError`: for a model that does not say what its folder offers.
    """
    tasks = getattr(model, "tasks", ())
    if not tasks or not model.auto_classes:
        name = model.__name__ if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"expected a model that states auto_classes and tasks, as those of this package do: found {name}"
        )
    config = model.config if config is None else config
    config.auto_map = dict(model.auto_classes)
    config.custom_pipelines = {
        task: {"impl": _PIPELINES[task][0], "pt": list(_PIPELINES[task][1])}
        for task in sorted({*tasks, MEASUREMENT_TASK})
    }


def _own_preprocessor(processor: Any, with_text: bool) -> Any:
    """A copy to save: saving a processor marks its feature extractor in a way that misleads elsewhere."""
    extractor = getattr(processor, "feature_extractor", processor)
    if not hasattr(extractor, "standardize"):
        raise TypeError(f"expected an EcgFeatureExtractor or an EcgClipProcessor: found {type(processor).__name__}")
    extractor = copy.deepcopy(extractor)
    vars(extractor).pop("auto_map", None)
    if not with_text:
        return extractor
    if getattr(processor, "tokenizer", None) is None:
        raise TypeError(
            "an EcgClipModel is saved with an EcgClipProcessor, which has a tokenizer: "
            f"found {type(processor).__name__}"
        )
    return type(processor)(extractor, processor.tokenizer)


__all__ = [
    "HUB_ARGUMENTS",
    "MEASUREMENT_TASK",
    "check_preprocessing",
    "load_verified",
    "save_for_hub",
    "saved_folder",
    "state_offers",
    "state_saved_model",
    "state_saved_settings",
    "verify_saved_files",
    "verify_settings",
]
