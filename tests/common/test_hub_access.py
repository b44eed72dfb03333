"""A folder goes to the Hub in one commit; what goes wrong is one line."""

import json
import os
from textwrap import dedent

import pytest

from common.hub_access import check_model, folder_files
from tests.conftest import PROJECT


BEGINNING = """
import json, sys
from common.hub_access import HubAccessError, open_repository, publish_folder

def tried(*arguments, **keywords):
    try:
        return publish_folder(*arguments, **keywords)
    except (HubAccessError, ValueError, FileNotFoundError) as error:
        return f"{type(error).__name__}: {error}"
"""


def run(hub, home, code, token=None):
    done = hub.run(["-c", BEGINNING + dedent(code)], home, hub.write_token if token is None else token, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "made"
    (folder / "data").mkdir(parents=True)
    for i in range(3):
        (folder / "data" / f"{i}.parquet").write_bytes(bytes([i]) * 1000)
    (folder / "README.md").write_text("---\ntags:\n- ecg\n---\n# Card\n")
    (folder / "data" / "3.parquet.incomplete").write_bytes(b"half")
    (folder / "notes.log").write_text("log")
    return folder


def test_files_of_a_folder(folder):
    assert folder_files(folder, ["*.log"]) == ["README.md", *(f"data/{i}.parquet" for i in range(3))]


def test_one_commit_that_can_be_repeated(loopback_hub, folder, tmp_path):
    name = "datasets/clinic/made"
    publish = f"""
    arguments = dict(repo_type="dataset", ignore_patterns=["*.log"], delete_patterns=["data/*.parquet"])
    print(json.dumps(tried({str(folder)!r}, "clinic/made", **arguments)))
    """
    loopback_hub.actions_left = 2
    told, _ = run(loopback_hub, tmp_path, publish)
    assert told.startswith(f"HubAccessError: publishing {folder} as clinic/made: the Hub answered 501")
    assert told.endswith("repeat the command: what has arrived is not sent again")
    assert loopback_hub.commits(name) == []

    loopback_hub.actions_left = 2  # one upload, one commit: the two objects that arrived are not sent again
    url, _ = run(loopback_hub, tmp_path, publish)
    assert url == f"{loopback_hub.endpoint}/datasets/clinic/made"
    (commit,) = loopback_hub.commits(name)
    assert commit.title == "Publish with ecgclip"
    assert loopback_hub.repository(name).private
    published = loopback_hub.files(name)
    assert published == {path: (folder / path).read_bytes() for path in folder_files(folder, ["*.log"])}

    run(loopback_hub, tmp_path, publish)
    assert len(loopback_hub.commits(name)) == 1

    loopback_hub.actions_left = None
    (folder / "data" / "2.parquet").unlink()
    run(loopback_hub, tmp_path, publish)
    assert sorted(loopback_hub.files(name)) == ["README.md", "data/0.parquet", "data/1.parquet"]
    assert len(loopback_hub.commits(name)) == 2


def test_public_only_when_asked(loopback_hub, folder, tmp_path):
    (private, refused, public), _ = run(
        loopback_hub,
        tmp_path,
        f"""
        folder = {str(folder)!r}
        first = tried(folder, "clinic/shown", public=True)
        print(json.dumps([first, tried(folder, "clinic/shown"), tried(folder, "clinic/shown", public=True)]))
        """,
    )
    assert private == public == f"{loopback_hub.endpoint}/clinic/shown"
    assert refused.startswith("HubAccessError: opening clinic/shown on the Hub: it is public already")
    assert not loopback_hub.repository("models/clinic/shown").private


@pytest.mark.parametrize(
    ("token", "repo_id", "expected"),
    [
        ("", "clinic/new", "found no token"),
        ("hf_testinvalid", "clinic/new", "the Hub does not accept the token"),
        ("hf_testread", "clinic/new", "needs the right to write there (You don't have the rights to create"),
        ("hf_testread", "clinic/there", "needs the right to write there (You don't have the required permissions"),
        ("hf_teststranger", "clinic/there", "needs the right to write there (You don't have the rights to create"),
        ("hf_testwrite", "there", "ValueError: repository id 'there': expected user/name"),
        ("hf_testwrite", "a/b/c", "ValueError: repository id 'a/b/c': "),
        ("hf_testwrite", "clinic/no--such", "ValueError: repository id 'clinic/no--such': "),
    ],
)
def test_refusals_are_one_line(loopback_hub, folder, tmp_path, token, repo_id, expected):
    loopback_hub.create("models/clinic/there")
    told, output = run(loopback_hub, tmp_path, f"print(json.dumps(tried({str(folder)!r}, {repo_id!r})))", token)
    assert expected in told
    assert "\n" not in told
    assert not token or token not in output
    assert loopback_hub.commits("models/clinic/there") == []


def test_unreachable_and_offline(loopback_hub, folder, tmp_path, monkeypatch):
    code = f"print(json.dumps(tried({str(folder)!r}, 'clinic/new')))"
    monkeypatch.setattr(loopback_hub, "endpoint", "http://127.0.0.1:9")  # where nothing listens
    told, _ = run(loopback_hub, tmp_path, code)
    assert told.startswith(
        "HubAccessError: opening clinic/new on the Hub: http://127.0.0.1:9 cannot be reached, or broke off"
    )
    offline = "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n"  # before the client is imported
    done = loopback_hub.run(["-c", offline + BEGINNING + code], tmp_path, cwd=PROJECT)
    assert json.loads(done.stdout).endswith("HF_HUB_OFFLINE is set, so the Hub is not asked")


def test_a_folder_without_files(loopback_hub, tmp_path):
    told, _ = run(loopback_hub, tmp_path, f"print(json.dumps(tried({os.fspath(tmp_path / 'no')!r}, 'clinic/new')))")
    assert told == f"FileNotFoundError: {tmp_path / 'no'}: expected a folder with files to publish, found none"
    assert loopback_hub.requests == []


def test_a_model_that_cannot_be_one_is_refused_by_its_flag(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    for name in (str(tmp_path / "model"), "user/name", "gpt2"):
        check_model(name, "--model")
    with pytest.raises(FileNotFoundError, match="--model .*empty: .* no config.json"):
        check_model(str(tmp_path / "empty"), "--model")
    for name in (str(tmp_path / "none"), "runs/of/mine", "./clip"):
        with pytest.raises(FileNotFoundError, match="no such folder, and no id on the Hub"):
            check_model(name, "--model")
