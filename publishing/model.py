"""
Publishes the folder of a finished run on the Hub in one commit: weights, code, preprocessing, card, figures, records.

Example:
    python -m training.publish --folder runs/cls --repo_id user/ecgclip-code15 --space

The repository is private unless --public is given. A push that was interrupted is repeated by the same command.
"""

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from huggingface_hub import HfApi, get_token

from common.arguments import parse
from common.checksums import SUMS_FILE, checksum_lines, read_checksums, verify_checksums, verify_data
from common.commands import exit_status
from common.files import write_json
from common.hub_access import (
    HubAccessError,
    check_repo_id,
    folder_files,
    one_line_errors,
    open_repository,
    publish_folder,
)
from common.locks import only_writer
from modeling_ecgclip.checksums_ecgclip import DamagedFileError
from publishing.card import EVAL_RESULTS, write_card
from publishing.real_ecgs import RECORD as REAL_ECGS
from publishing.requirements import write_requirements
from publishing.run_folder import RunFolder, read_run
from publishing.space import SpaceModels, publish_space
from publishing.stages import CONTRASTIVE
from training.arguments import HubArguments, TrainingArguments
from training.checkpoints import BEST
from training.parts import RunParts
from training.run import METRICS, STOPPED_BY_SIGNAL, state_records
from training.terminal import HTTP_CLIENTS


logger = logging.getLogger(__name__)

# What of a run's folder is published, and nothing else: predictions name patients, checkpoints are of use to nobody.
PUBLISHED = (
    "README.md",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*_ecgclip.py",
    "handler.py",
    "requirements.txt",
    "run.json",
    "metrics.json",
    "history.json",
    REAL_ECGS,
    "*.png",
    "report_index.npz",  # of space/index_reports.py
    EVAL_RESULTS,
    SUMS_FILE,
)
# A file of an earlier push that this one does not have would be read beside the new ones.
STALE = (
    "*.safetensors",
    "*.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "*_ecgclip.py",
    "report_index.npz",
    EVAL_RESULTS,
    SUMS_FILE,
)


@dataclass
class PublishArguments:
    """What to publish, and where."""

    folder: str = field(metadata={"help": "Folder of a finished run of train_clip.py or train_cls.py."})
    repo_id: str = field(metadata={"help": "Repository of the model on the Hub, user/name; made where it is missing."})
    public: bool = field(default=False, metadata={"help": "Show it to everybody. Default: private."})
    space: bool = field(default=False, metadata={"help": "Publish a Space as well that runs the model in a browser."})
    space_id: str | None = field(
        default=None, metadata={"help": "Repository of the Space; default: that of the model with -space."}
    )
    dataset_id: str | None = field(
        default=None, metadata={"help": "Where the exam table is published, for the card, if it was a folder."}
    )
    base_model: str | None = field(
        default=None, metadata={"help": "Where the model that training started from is published, likewise."}
    )

    clip_model: str | None = field(
        default=None,
        metadata={
            "help": "Dual encoder on the Hub, for the Space's own words and nearest reports; default: the one that "
            "training started from, if it is there."
        },
    )

    def __post_init__(self) -> None:
        for name in ("repo_id", "space_id", "dataset_id", "base_model", "clip_model"):
            if getattr(self, name) is not None:
                check_repo_id(getattr(self, name))
        for name in ("space_id", "clip_model"):
            if getattr(self, name) is not None and not self.space:
                raise ValueError(f"--{name} is for the Space that --space publishes: give both")


def is_published(path: str) -> bool:
    """Tells of a file, by its path in the run's folder, whether it goes to the Hub."""
    return any(fnmatchcase(path, pattern) for pattern in PUBLISHED if path.count("/") == pattern.count("/"))


def publish_model(
    folder: str | os.PathLike,
    repo_id: str,
    public: bool = False,
    dataset_id: str | None = None,
    base_model: str | None = None,
) -> str:
    """
    Publishes a finished run in one commit, and returns its address.

    Args:
        folder (`str` or `os.PathLike`): Of the run. Its card and `requirements.txt` are written anew; a card that was
            changed by hand is published as it is.
        repo_id (`str`): `"user/name"`.
        public (`bool`, defaults to `False`): Show it to everybody.
        dataset_id, base_model (`str`, *optional*): As for [`model_card`].

    Raises:
        `FileNotFoundError`, `ValueError`: where the folder is not that of a finished run, naming what is missing.
        [`HubAccessError`]: as [`publish_folder`].
    """
    folder = Path(folder)
    complete_folder(folder, repo_id, dataset_id, base_model)
    return publish_completed(folder, repo_id, public)


def publish_completed(folder: Path, repo_id: str, public: bool = False) -> str:
    """Publishes a folder that has its card, in one commit, and returns its address; as [`publish_model`]."""
    verify_data(folder, present=True)
    left_out = [path for path in folder_files(folder) if not is_published(path)]
    stated = {path: digest for path, digest in read_checksums(folder).items() if is_published(path)}
    return publish_folder(
        folder,
        repo_id,
        public=public,
        contents={SUMS_FILE: checksum_lines(stated).encode()},
        ignore_patterns=left_out,
        delete_patterns=STALE,
        commit_message="Weights, code, preprocessing, card and records of a run of ecgclip",
    )


def complete_folder(
    folder: Path, repo_id: str | None = None, dataset_id: str | None = None, base_model: str | None = None
) -> None:
    """Writes the card, and what the code needs, into the folder of a finished run."""
    write_card(folder, repo_id, dataset_id, base_model)
    write_requirements(folder)


def finish_folder(folder: Path, hub: HubArguments) -> None:
    """
    Writes what the folder of a finished run still lacks, and publishes it where the command line asked for that.

    Args:
        folder (`Path`): Of the run, with its records, weights and figures.
        hub (`HubArguments`): The command line's.

    Raises:
        [`HubAccessError`]: as [`publish_folder`]; the folder is complete all the same.
    """
    if not hub.push_to_hub:
        complete_folder(folder)
        return
    repo_id = repository_of(hub, folder)
    try:
        logger.info(f"published: {publish_model(folder, repo_id, public=not hub.hub_private_repo)}")
    except HubAccessError as error:
        again = f"python -m training.publish --folder {folder} --repo_id {repo_id}"
        again += "" if hub.hub_private_repo else " --public"
        raise HubAccessError(f"{error}. The run is complete; `{again}` publishes it") from error


def finish_run(folder: Path, metrics: dict[str, Any], hub: HubArguments) -> None:
    """
    Makes the folder of a run that of a finished one, by its results, and ends as [`finish_folder`].

    Args:
        folder (`Path`): Of the run, with its records, weights and figures.
        metrics (`dict`): What `metrics.json` shall hold.
        hub (`HubArguments`): The command line's.
    """
    write_json(folder / METRICS, metrics)
    state_records(folder)
    (folder / BEST).unlink(missing_ok=True)
    finish_folder(folder, hub)


def finished_before(
    accelerator: Accelerator,
    args: TrainingArguments,
    run: RunParts,
    hub: HubArguments,
    outputs: Collection[str] = (),
) -> dict[str, Any] | None:
    """
    Returns the results of a run that its command finished before, or None where there is something left to do.

    A job that is queued again must end well. What may have been cut off after the results were written, the card and
    the push, is done again. Outputs that are not whole are made again, and a run that may now end later goes on.

    Args:
        accelerator (`Accelerator`): Of the processes, each of which calls this.
        args (`TrainingArguments`), hub (`HubArguments`): The command line's.
        run (`RunParts`): What the run is given now.
        outputs (`Collection[str]`): Files that it leaves, beside those that its card and its publication need.

    Raises:
        `ValueError`: where it was given something else that changes its result.
        [`HubAccessError`]: as [`finish_folder`].
    """
    folder = Path(args.output_dir)
    if args.resume_from_checkpoint is None or not (folder / METRICS).is_file():
        return None
    left = _left_to_do(folder, run, outputs)
    if left is not None:
        logger.warning(f"{folder} holds a finished run, but {left}")
        return None
    metrics = read_run(folder).metrics
    if accelerator.is_main_process:
        logger.info(f"this run is finished and its results lie in {folder}: nothing is left to train")
        (folder / BEST).unlink(missing_ok=True)
        state_records(folder)  # compared a moment ago; its end may have come before they were stated
        finish_folder(folder, hub)
    accelerator.end_training()
    return metrics


def _left_to_do(folder: Path, run: RunParts, outputs: Collection[str]) -> str | None:
    """Why a run that has results is not taken for finished."""
    try:
        finished = read_run(folder)
        if missing := [name for name in outputs if not (folder / name).is_file()]:
            raise FileNotFoundError(f"missing {', '.join(missing)}")
        verify_checksums(folder, [path.name for path in folder.glob("*.safetensors")])
    except (OSError, ValueError, DamagedFileError) as error:
        return f"its outputs are not whole and are made again: {error}"
    run.compare(finished.record, folder)
    return "it is now to end later: training goes on" if run.goes_beyond(finished.record) else None


def open_for_run(folder: str | os.PathLike, hub: HubArguments) -> None:
    """
    Makes the repository that a run will be pushed to, so that a bad token is known before training and not after it.

    Args:
        folder (`str` or `os.PathLike`): The run's; it names the repository where nothing else does.
        hub (`HubArguments`): The command line's; without `--push_to_hub` nothing is done.

    Raises:
        [`HubAccessError`]: as [`open_repository`].
    """
    if not hub.push_to_hub or os.environ.get("RANK", "0") != "0":
        return
    try:
        open_repository(repository_of(hub, Path(folder)), public=not hub.hub_private_repo)
    except HubAccessError as error:
        # The scripts' name of that flag.
        raise HubAccessError(str(error).replace("--public", "--no_hub_private_repo")) from error


def repository_of(hub: HubArguments, folder: Path) -> str:
    """Returns `user/name` of the repository that a run is pushed to; the user is asked of the Hub where not given."""
    name = hub.hub_model_id or folder.resolve().name
    if "/" in name:
        return name
    if get_token() is None:
        raise HubAccessError("pushing to the Hub: found no token; run `hf auth login`, or set HF_TOKEN")
    with one_line_errors("asking the Hub for your name"):
        return f"{HfApi().whoami()['name']}/{name}"


def clip_model_of(run: RunFolder, base_model: str | None) -> str | None:
    """Returns where on the Hub the dual encoder is that training started from, or None."""
    origin = run.origins[0] if run.origins else {}
    if origin.get("stage") != CONTRASTIVE.name:
        return None
    return base_model or (origin["name"] if origin["on_hub"] else None)


def exit_code(main: Callable[[], Any]) -> int:
    """Runs a training script and returns what the shell shall see; what the user can fix becomes one line."""
    returned: list[Any] = []
    status = exit_status(lambda: returned.append(main()), FloatingPointError)  # a loss that is not a number
    return STOPPED_BY_SIGNAL if returned == [None] else status


def main(argv: list[str] | None = None) -> int:
    """Publishes what the command line names; returns the exit code."""
    (args,) = parse(argv, __doc__, PublishArguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for quiet in HTTP_CLIENTS:
        logging.getLogger(quiet).setLevel(logging.WARNING)
    return exit_status(lambda: _publish(args))


def _publish(args: PublishArguments) -> None:
    run = read_run(args.folder)
    if args.space and not run.stage.serves_page:
        raise ValueError(f"{args.folder}: --space needs a classifier, found a run of stage {run.stage.name}")
    with only_writer(args.folder):  # a training may be at work there
        url = publish_model(args.folder, args.repo_id, args.public, args.dataset_id, args.base_model)
    print(f"published: {url}")
    if args.space:
        models = SpaceModels(args.repo_id, args.clip_model or clip_model_of(run, args.base_model))
        print(f"published: {publish_space(models, args.space_id or f'{args.repo_id}-space', args.public)}")
