"""The loopback Hub answers the unmodified client as the public one does."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.loopback_hub import LoopbackHub


BEGINNING = """
import json, sys
from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download, HfFileSystem
from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete

api = HfApi()
"""


def run_client(hub: LoopbackHub, folder: Path, code: str, token: str | None = LoopbackHub.write_token):
    """Runs code in a fresh process that knows this Hub alone; returns what it prints as JSON."""
    done = hub.run(["-c", BEGINNING + dedent(code)], folder, token)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_push_and_load(loopback_hub, tmp_path):
    seen = run_client(
        loopback_hub,
        tmp_path,
        """
        weights = bytes(range(256)) * 40
        for kind in ("model", "dataset", "space"):
            api.create_repo("clinic/x", repo_type=kind, private=True, space_sdk="gradio" if kind == "space" else None)
            api.create_repo("clinic/x", repo_type=kind, exist_ok=True, space_sdk="gradio" if kind == "space" else None)
            card = b"---\\ntags: [ecg]\\n---\\n"
            files = [Add("w.safetensors", weights), Add("a/b.txt", b"text"), Add("README.md", card)]
            api.create_commit("clinic/x", files, commit_message="all", repo_type=kind)
            folder = snapshot_download("clinic/x", repo_type=kind)
            assert open(folder + "/w.safetensors", "rb").read() == weights
            assert open(folder + "/a/b.txt").read() == "text"
        info = api.model_info("clinic/x", files_metadata=True)
        assert info.private and info.tags == ["ecg"] and info.siblings[-1].lfs.size == len(weights)
        tree = list(api.list_repo_tree("clinic/x", recursive=True, expand=True))
        api.create_commit("clinic/x", [Add("a/b.txt", b"text")], commit_message="nothing new")
        api.create_branch("clinic/x", branch="b/1")
        api.create_commit("clinic/x", [Delete("a/", is_folder=True)], commit_message="less", revision="b/1")
        api.create_tag("clinic/x", tag="v1")
        file_system = HfFileSystem()
        with file_system.open("datasets/clinic/x/w.safetensors", block_size=1000) as file:
            file.seek(5000)
            part = file.read(10)
        print(json.dumps({
            "who": api.whoami()["name"],
            "files": api.list_repo_files("clinic/x"),
            "on_branch": api.list_repo_files("clinic/x", revision="b/1"),
            "tree": [entry.path for entry in tree],
            "titles": [commit.title for commit in api.list_repo_commits("clinic/x")],
            "refs": [ref.name for ref in api.list_repo_refs("clinic/x").branches],
            "tagged": open(hf_hub_download("clinic/x", "a/b.txt", revision="v1")).read(),
            "part": list(part), "glob": file_system.glob("datasets/clinic/x/**/*.txt"),
        }))
        """,
    )
    assert seen == {
        "who": "clinic",
        "files": [".gitattributes", "README.md", "a/b.txt", "w.safetensors"],
        "on_branch": [".gitattributes", "README.md", "w.safetensors"],
        "tree": [".gitattributes", "README.md", "a", "a/b.txt", "w.safetensors"],
        "titles": ["all", "initial commit"],
        "refs": ["main", "b/1"],
        "tagged": "text",
        "part": [(5000 + i) % 256 for i in range(10)],
        "glob": ["datasets/clinic/x/a/b.txt"],
    }
    assert [commit.title for commit in loopback_hub.commits("models/clinic/x")] == ["all"]
    assert loopback_hub.files("spaces/clinic/x")["a/b.txt"] == b"text"
    assert len(loopback_hub.objects) == 1  # the same content is stored once
    ranges = [path for method, path in loopback_hub.requests if method == "GET" and path.startswith("/objects/")]
    assert len(ranges) >= 4


ERROR_OF = """
def error_of(call):
    try:
        call()
    except errors.HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]
"""


@pytest.mark.parametrize(
    ("token", "read", "create", "commit"),
    [
        (None, ["RepositoryNotFoundError", 401], ["HfHubHTTPError", 401], ["RepositoryNotFoundError", 401]),
        ("hf_testinvalid", ["HfHubHTTPError", 401], ["HfHubHTTPError", 401], ["HfHubHTTPError", 401]),
        ("hf_testread", None, ["HfHubHTTPError", 403], ["HfHubHTTPError", 403]),
        (
            "hf_teststranger",
            ["RepositoryNotFoundError", 404],
            ["HfHubHTTPError", 403],
            ["RepositoryNotFoundError", 404],
        ),
    ],
)
def test_rights(loopback_hub, tmp_path, token, read, create, commit):
    loopback_hub.create("models/clinic/secret", private=True)
    seen = run_client(
        loopback_hub,
        tmp_path,
        ERROR_OF
        + dedent(
            """
            print(json.dumps([
                error_of(lambda: api.model_info("clinic/secret")),
                error_of(lambda: api.create_repo("clinic/new")),
                error_of(lambda: api.create_commit("clinic/secret", [Add("a", b"a")], commit_message="a")),
            ]))
            """
        ),
        token=token,
    )
    assert seen == [read, create, commit]
    assert loopback_hub.commits("models/clinic/secret") == []


def test_missing_things_have_their_error_classes(loopback_hub, tmp_path):
    loopback_hub.create("models/clinic/public", private=False)
    seen = run_client(
        loopback_hub,
        tmp_path,
        ERROR_OF
        + dedent(
            """
            print(json.dumps([
                error_of(lambda: hf_hub_download("clinic/public", "none.txt")),
                error_of(lambda: api.model_info("clinic/public", revision="none")),
                error_of(lambda: api.model_info("clinic/none")),
            ]))
            """
        ),
        token=None,
    )
    assert seen == [
        ["RemoteEntryNotFoundError", 404],
        ["RevisionNotFoundError", 404],
        ["RepositoryNotFoundError", 401],
    ]


def test_interrupted_push_can_be_repeated(loopback_hub, tmp_path):
    loopback_hub.create("models/clinic/x")
    push = """
    files = [Add(f"{i}.safetensors", bytes([i]) * 1000) for i in range(4)]
    try:
        api.create_commit("clinic/x", files, commit_message="weights", num_threads=1)
    except RuntimeError as error:
        print(json.dumps(error.__cause__.response.status_code))
    else:
        print(json.dumps("done"))
    """
    loopback_hub.actions_left = 2
    assert run_client(loopback_hub, tmp_path, push) == 501
    assert len(loopback_hub.objects) == 2
    assert loopback_hub.commits("models/clinic/x") == []
    loopback_hub.actions_left = None
    loopback_hub.requests.clear()
    assert run_client(loopback_hub, tmp_path, push) == "done"
    assert [method for method, path in loopback_hub.requests if path.startswith("/objects/")] == ["PUT", "PUT"]
    assert len(loopback_hub.commits("models/clinic/x")) == 1
    assert sorted(loopback_hub.files("models/clinic/x")) == [f"{i}.safetensors" for i in range(4)]
