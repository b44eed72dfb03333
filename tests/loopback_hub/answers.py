"""What the loopback Hub answers to each request, and the table of requests."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import yaml

from tests.loopback_hub.repositories import Blob, HubError, card_data


KINDS = ("models", "datasets", "spaces")
LFS_SUFFIXES = (
    ".arrow .bin .gz .h5 .hdf5 .joblib .npy .npz .onnx .parquet .pdf .png .pt .pth .safetensors .tar .xz .zip"
).split()
LARGEST_REGULAR_FILE = 10 << 20


def whoami(request: Any) -> None:
    """Who the token belongs to."""
    user, role = request.who()
    if user is None:
        raise HubError(401, "Invalid username or password.")
    access = {"accessToken": {"displayName": "test", "role": role}}
    person = {"type": "user", "name": user, "fullname": user, "email": f"{user}@example.org"}
    request.send(200, person | {"orgs": [], "auth": access})


def create_repository(request: Any) -> None:
    """Makes a repository in a namespace that the token may write to."""
    asked = request.json_body()
    user, role = request.who()
    namespace = asked.get("organization") or user
    if user is None:
        raise HubError(401, "Invalid username or password.")
    if namespace != user or role != "write":
        raise HubError(403, f"You don't have the rights to create a repository under the namespace {namespace!r}")
    kind = f"{asked.get('type') or 'model'}s"
    prefix = "" if kind == "models" else f"{kind}/"
    url = f"{request.hub.endpoint}/{prefix}{namespace}/{asked['name']}"
    name = f"{kind}/{namespace}/{asked['name']}"
    with request.hub.lock:
        if name in request.hub.repositories:
            return request.send(409, {"error": "You already created this repo", "url": url})
        request.hub.create(name, asked.get("visibility") == "private")
    return request.send(200, {"url": url})


def delete_repository(request: Any) -> None:
    """Removes a repository."""
    asked = request.json_body()
    kind = f"{asked.get('type') or 'model'}s"
    repository = request.repository(kind, f"{asked.get('organization') or request.who()[0]}/{asked['name']}", True)
    del request.hub.repositories[f"{kind}/{repository.id}"]
    request.send(200, {})


def repository_info(request: Any, kind: str, id: str, revision: str = "main") -> None:
    """Facts and files of a revision."""
    repository = request.repository(kind, id)
    request.send(200, repository.info(repository.at(revision or "main")))


def tree(request: Any, kind: str, id: str, revision: str, path: str) -> None:
    """Files and folders."""
    commit = request.repository(kind, id).at(revision)
    wanted = {name: request.query.get(name, "").lower() in ("true", "1") for name in ("recursive", "expand")}
    entries = commit.tree(path, **wanted)
    if path and not entries:
        raise HubError(404, f"{path} does not exist", "EntryNotFound", **{"X-Repo-Commit": commit.oid})
    request.send(200, entries)


def paths_info(request: Any, kind: str, id: str, revision: str) -> None:
    """The entries of some paths; those that do not exist are left out."""
    commit = request.repository(kind, id).at(revision)
    if request.headers.get("Content-Type", "").startswith("application/json"):
        form = request.json_body()
    else:
        form = parse_qs(request.body.decode())
    expand = str(form.get("expand", "")).lower().find("true") >= 0
    known = {entry["path"]: entry for entry in commit.tree("", recursive=True, expand=expand)}
    paths = [path.strip("/") for path in form.get("paths", [])]
    request.send(200, [known[path] for path in paths if path in known])


def refs(request: Any, kind: str, id: str) -> None:
    """Branches and tags."""
    repository = request.repository(kind, id)
    named = {
        place: [{"name": name, "ref": f"refs/{git}/{name}", "targetCommit": oid} for name, oid in names.items()]
        for place, git, names in (("branches", "heads", repository.branches), ("tags", "tags", repository.tags))
    }
    request.send(200, named | {"converts": [], "pullRequests": []})


def commit_list(request: Any, kind: str, id: str, revision: str) -> None:
    """The history."""
    commits = request.repository(kind, id).history(revision)
    listed = [
        {"id": one.oid, "title": one.title, "message": "", "authors": [{"user": one.author}], "date": one.date}
        for one in commits
    ]
    request.send(200, listed)


def create_branch(request: Any, kind: str, id: str, name: str) -> None:
    """A branch from a starting point."""
    repository = request.repository(kind, id, write=True)
    if name in repository.branches:
        raise HubError(409, "Reference already exists")
    repository.branches[name] = repository.at(request.json_body().get("startingPoint") or "main").oid
    request.send(200, {})


def create_tag(request: Any, kind: str, id: str, revision: str) -> None:
    """A tag at a revision."""
    repository, name = request.repository(kind, id, write=True), request.json_body()["tag"]
    if name in repository.tags:
        raise HubError(409, "Tag reference exists already")
    repository.tags[name] = repository.at(revision).oid
    request.send(200, {})


def settings(request: Any, kind: str, id: str) -> None:
    """Who may see it."""
    repository, asked = request.repository(kind, id, write=True), request.json_body()
    if "visibility" in asked or "private" in asked:
        repository.private = asked.get("visibility", "private" if asked.get("private") else "public") == "private"
    request.send(200, {"private": repository.private})


def validate_yaml(request: Any) -> None:
    """What is wrong with the metadata of a card."""
    errors = []
    try:
        if not isinstance(card_data(Blob(request.json_body()["content"].encode(), lfs=False)), dict):
            errors = [{"message": "The metadata is no mapping"}]
    except yaml.YAMLError as error:
        errors = [{"message": str(error)}]
    request.send(200 if not errors else 400, {"errors": errors, "warnings": []})


def preupload(request: Any, kind: str, id: str, revision: str) -> None:
    """Which files go to the storage, and what is there already under their names."""
    commit = request.repository(kind, id, write=True).at(revision)
    answers = []
    for asked in request.json_body()["files"]:
        is_binary = b"\0" in base64.b64decode(asked.get("sample", ""))
        as_lfs = is_binary or asked["path"].endswith(tuple(LFS_SUFFIXES)) or asked["size"] > LARGEST_REGULAR_FILE
        answer = {"path": asked["path"], "uploadMode": "lfs" if as_lfs else "regular", "shouldIgnore": False}
        there = commit.files.get(asked["path"])
        answers.append(answer | ({"oid": there.etag} if there else {}))
    request.send(200, {"files": answers, "commitOid": commit.oid})


def lfs_batch(request: Any, kind: str, id: str) -> None:
    """Where to send the objects that are not there yet."""
    request.repository(kind or "models", id, write=True)
    objects = []
    for asked in request.json_body()["objects"]:
        answer = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in request.hub.objects:
            answer["actions"] = {"upload": {"href": f"{request.hub.storage}/objects/{asked['oid']}"}}
        objects.append(answer)
    request.send(200, {"transfer": "basic", "objects": objects})


def put_object(request: Any, oid: str) -> None:
    """Stores an LFS object."""
    request.hub.use_action()
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, "The content does not have the sha256 that was announced")
    request.hub.objects[oid] = request.body
    request.send(200)


def fix(request: Any) -> None:
    """Ends a failure that a test has arranged."""
    request.hub.actions_left = None
    request.send(200, {})


def get_object(request: Any, oid: str) -> None:
    """Sends an LFS object, or a part of it."""
    if oid not in request.hub.objects:
        raise HubError(404, "No such object")
    request.send_bytes(request.hub.objects[oid], {"ETag": f'"{oid}"'})


def commit(request: Any, kind: str, id: str, revision: str) -> None:
    """Adds one commit: all of its changes, or none."""
    repository = request.repository(kind, id, write=True)
    title = ""
    request.hub.use_action()
    with request.hub.lock:
        parent = repository.at(revision)
        files = dict(parent.files)
        for line in request.body.splitlines():
            operation = json.loads(line)
            value, path = operation["value"], operation["value"].get("path", "")
            match operation["key"]:
                case "header":
                    title = value["summary"]
                    if value.get("parentCommit", parent.oid) != parent.oid:
                        raise HubError(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[path] = Blob(base64.b64decode(value["content"]), lfs=False)
                case "lfsFile":
                    if value["oid"] not in request.hub.objects:
                        raise HubError(400, f"The LFS object of {path} was not uploaded")
                    files[path] = Blob(request.hub.objects[value["oid"]], lfs=True)
                case "deletedFile":
                    if files.pop(path, None) is None:
                        raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                case "deletedFolder":
                    files = {name: blob for name, blob in files.items() if not name.startswith(path.rstrip("/") + "/")}
                case key:
                    raise HubError(400, f"Unknown operation {key}")
        added = repository.add_commit(revision, title, request.who()[0] or "", files)
    prefix = "" if kind == "models" else f"{kind}/"
    url = f"{request.hub.endpoint}/{prefix}{id}/commit/{added.oid}"
    request.send(200, {"success": True, "commitOid": added.oid, "commitUrl": url})


def resolve(request: Any, kind: str, id: str, revision: str, path: str) -> None:
    """Sends a small file; sends on to the storage for a large one."""
    found = request.repository(kind or "models", id).at(revision)
    headers = {"X-Repo-Commit": found.oid}
    blob = found.files.get(path)
    if blob is None:
        raise HubError(404, "Entry not found", "EntryNotFound", **headers)
    headers["ETag"] = f'"{blob.etag}"'
    if not blob.lfs:
        return request.send_bytes(blob.content, headers)
    headers["X-Linked-ETag"], headers["X-Linked-Size"] = f'"{blob.sha256}"', str(len(blob.content))
    return request.send(302, None, headers | {"Location": f"{request.hub.storage}/objects/{blob.sha256}"})


_API = rf"/api/(?P<kind>{'|'.join(KINDS)})/(?P<id>[^/]+/[^/]+)"
_PAGE = r"/((?P<kind>datasets|spaces)/)?(?P<id>[^/]+/[^/]+?)"

ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create_repository),
    ("DELETE", "/api/repos/delete", delete_repository),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("GET", _API, repository_info),
    ("GET", _API + "/revision/(?P<revision>[^/]+)", repository_info),
    ("GET", _API + "/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", tree),
    ("POST", _API + "/paths-info/(?P<revision>[^/]+)", paths_info),
    ("GET", _API + "/refs", refs),
    ("GET", _API + "/commits/(?P<revision>[^/]+)", commit_list),
    ("POST", _API + "/branch/(?P<name>[^/]+)", create_branch),
    ("POST", _API + "/tag/(?P<revision>[^/]+)", create_tag),
    ("PUT", _API + "/settings", settings),
    ("POST", _API + "/preupload/(?P<revision>[^/]+)", preupload),
    ("POST", _API + "/commit/(?P<revision>[^/]+)", commit),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", lfs_batch),
    ("HEAD GET", _PAGE + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
    ("POST", "/fix", fix),
    ("PUT", "/objects/(?P<oid>[0-9a-f]{64})", put_object),
    ("HEAD GET", "/objects/(?P<oid>[0-9a-f]{64})", get_object),
]
