"""Publishing a folder on the Hub in one commit, with errors that a user can act on, each in one line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import DEFAULT_IGNORE_PATTERNS, validate_repo_id


UNAUTHORIZED, FORBIDDEN = 401, 403
# Left by writers that were interrupted; see common/writing.py.
UNFINISHED = ("*.incomplete*", "*.replaced*")


class HubAccessError(RuntimeError):
    """The Hub refused, or was not reached. Its message is one line, and never holds a token."""


def publish_folder(
    folder: str | Path,
    repo_id: str,
    repo_type: str = "model",
    public: bool = False,
    ignore_patterns: Sequence[str] = (),
    delete_patterns: Sequence[str] = (),
    commit_message: str = "Publish with ecgclip",
    space_sdk: str | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> str:
    """
    Puts a folder into a repository on the Hub, in one commit, and returns the repository's address.

    An interrupted call is repeated as it was: files that arrived are not sent again, and where nothing has changed
    there is no commit.

    Args:
        folder (`str` or `Path`): What to publish, subfolders included.
        repo_id (`str`): `"user/name"`. Made where it does not exist.
        repo_type (`str`, defaults to `"model"`): `"model"`, `"dataset"` or `"space"`.
        public (`bool`, defaults to `False`): Show it to everybody, once it is there.
        ignore_patterns (`Sequence[str]`): Paths to leave out, with `*` for any text.
        delete_patterns (`Sequence[str]`): Files to remove from the repository where the folder does not have them.
        commit_message (`str`): Title of the commit.
        space_sdk (`str`, *optional*): For a Space: `"gradio"`.
        contents (`dict[str, bytes]`, *optional*): What files of the folder hold when published, where it is not the
            same.

    Raises:
        `FileNotFoundError`: for a folder that does not exist or has no files.
        `ValueError`: for an id that cannot be one, or a card with wrong metadata.
        [`HubAccessError`]: for no token or a wrong one, missing rights, a Hub that is not reached, or a repository
            that is public already while `public` is not set.
    """
    folder = Path(folder)
    paths = folder_files(folder, ignore_patterns)
    if not paths:
        raise FileNotFoundError(f"{folder}: expected a folder with files to publish, found none")
    url = open_repository(repo_id, repo_type, public, space_sdk)
    api = HfApi()
    with one_line_errors(f"publishing {folder} as {repo_id}"):
        stale = [
            path
            for path in api.list_repo_files(repo_id, repo_type=repo_type)
            if path not in paths and any(fnmatch(path, pattern) for pattern in delete_patterns)
        ]
        # Not upload_folder: with hf_xet it makes several commits, and a reader could meet half of the new files.
        api.create_commit(
            repo_id,
            [CommitOperationAdd(path, (contents or {}).get(path, folder / path)) for path in paths]
            + [CommitOperationDelete(path, is_folder=False) for path in stale],
            commit_message=commit_message,
            repo_type=repo_type,
        )
        if public and api.repo_info(repo_id, repo_type=repo_type).private:
            api.update_repo_settings(repo_id, private=False, repo_type=repo_type)
    return url


def open_repository(repo_id: str, repo_type: str = "model", public: bool = False, space_sdk: str | None = None) -> str:
    """
    Makes a repository where there is none, and returns its address. Called before long work, it fails early.

    A new repository is private; [`publish_folder`] shows it when it has content.

    Args:
        repo_id (`str`): `"user/name"`.
        repo_type (`str`, defaults to `"model"`): `"model"`, `"dataset"` or `"space"`.
        public (`bool`, defaults to `False`): Whether it may be public already.
        space_sdk (`str`, *optional*): For a Space: `"gradio"`.

    Raises:
        `ValueError`, [`HubAccessError`]: as [`publish_folder`].
    """
    check_repo_id(repo_id)
    doing = f"opening {repo_id} on the Hub"
    if get_token() is None:
        raise HubAccessError(f"{doing}: found no token; run `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with one_line_errors(doing):
        url = api.create_repo(repo_id, repo_type=repo_type, private=True, exist_ok=True, space_sdk=space_sdk)
        is_private = api.repo_info(repo_id, repo_type=repo_type).private
    if not is_private and not public:
        raise HubAccessError(f"{doing}: it is public already; choose another name, or allow it with --public")
    return str(url)


def check_repo_id(repo_id: str) -> None:
    """Raises `ValueError` for what cannot be `user/name` on the Hub."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"repository id {repo_id!r}: {' '.join(str(error).split())}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"repository id {repo_id!r}: expected user/name")


def check_model(name_or_path: str, flag: str) -> None:
    """
    Refuses what is neither a model's folder nor can be a repository on the Hub, before anything is loaded.

    Args:
        name_or_path (`str`): Folder or Hub id.
        flag (`str`): Of the command line, which named it.

    Raises:
        `FileNotFoundError`: saying which.
    """
    folder = Path(name_or_path)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{flag} {name_or_path}: expected a model's folder, found no config.json in it")
    if folder.is_dir():
        return
    try:
        validate_repo_id(name_or_path)
    except HFValidationError as error:
        raise FileNotFoundError(f"{flag} {name_or_path}: no such folder, and no id on the Hub (user/name)") from error


def folder_files(folder: Path, ignore_patterns: Sequence[str] = ()) -> list[str]:
    """Returns the files of a folder as they will be called in the repository, sorted, without unfinished ones."""
    ignored = (*DEFAULT_IGNORE_PATTERNS, *UNFINISHED, *ignore_patterns)
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not any(fnmatch(path, pattern) for pattern in ignored)]


@contextmanager
def one_line_errors(doing: str) -> Iterator[None]:
    """
    Turns the Hub's refusals within the block into a [`HubAccessError`] of one line.

    Args:
        doing (`str`): What was tried, the beginning of the line.
    """
    try:
        yield
    except (
        HTTPError,
        ConnectionError,
    ) as error:  # the latter from hf_xet, from datasets, and where HF_HUB_OFFLINE is set
        raise HubAccessError(_line(doing, error)) from error
    except RuntimeError as error:
        # An upload's failure comes wrapped.
        if not isinstance(error.__cause__, HTTPError):
            raise
        again = "; repeat the command: what has arrived is not sent again"
        raise HubAccessError(_line(doing, error.__cause__) + again) from error


def _line(doing: str, error: Exception) -> str:
    """What happened and what to do, without a token."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    said = getattr(error, "server_message", None) or ""
    if isinstance(error, OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set, so the Hub is not asked"
    elif isinstance(error, RepositoryNotFoundError):
        reason = "no such repository on the Hub, or it is private and the token may not see it"
    elif isinstance(error, RevisionNotFoundError):
        reason = "the repository has no such revision"
    elif status == UNAUTHORIZED:
        reason = "the Hub does not accept the token; run `hf auth login` again, or set HF_TOKEN"
    elif status == FORBIDDEN:
        reason = f"the token may not do this; it needs the right to write there ({said or 'forbidden'})"
    elif status is not None:
        reason = f"the Hub answered {status} {said}"
    else:
        reason = f"{constants.ENDPOINT} cannot be reached, or broke off ({type(error).__name__}: {error})"
    line = " ".join(f"{doing}: {reason}".split())
    token = get_token()
    return line.replace(token, "[token]") if token else line
