"""What the loopback Hub keeps: files, commits and repositories, and how its listings show them."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import yaml


class HubError(Exception):
    """An answer that is no success; `code` decides the client's error class."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message} | headers
        if code:
            self.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class Blob:
    """Content of one file, with the names by which clients know it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """Name of an LFS object."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds in place of an LFS object."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @cached_property
    def git_oid(self) -> str:
        """Name of the git blob."""
        stored = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        """What the client's cache calls it, and compares with before an upload."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    oid: str
    title: str
    author: str
    date: str
    files: dict[str, Blob]

    def entry(self, path: str, blob: Blob, expand: bool = False) -> dict[str, Any]:
        """A file as tree listings show it."""
        entry = {"type": "file", "path": path, "size": len(blob.content), "oid": blob.git_oid}
        if blob.lfs:
            entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
        return entry | (self.last_commit() if expand else {})

    def tree(self, folder: str, recursive: bool, expand: bool) -> list[dict[str, Any]]:
        """Files and folders under `folder`, which is "" for all."""
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in sorted(self.files.items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                parent = prefix + "/".join(parts[:depth])
                oid = hashlib.sha1(parent.encode()).hexdigest()
                entries[parent] = {"type": "directory", "path": parent, "size": 0, "oid": oid}
                entries[parent] |= self.last_commit() if expand else {}
            if recursive or len(parts) == 1:
                entries[path] = self.entry(path, blob, expand)
        return list(entries.values())

    def last_commit(self) -> dict[str, Any]:
        """What an expanded listing adds."""
        return {"lastCommit": {"id": self.oid, "title": self.title, "date": self.date}}


@dataclass
class Repository:
    """A repository, its commits in order and the names of some of them."""

    kind: str
    id: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Who owns it."""
        return self.id.split("/")[0]

    def add_commit(self, branch: str, title: str, author: str, files: dict[str, Blob]) -> Commit:
        """Puts a new state at the tip of a branch."""
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        listed = [f"{path} {blob.etag}" for path, blob in sorted(files.items())]
        state = json.dumps([self.kind, self.id, len(self.commits), branch, title, listed])
        commit = Commit(hashlib.sha1(state.encode()).hexdigest(), title, author, date, files)
        self.commits.append(commit)
        self.branches[branch] = commit.oid
        return commit

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag, or a (shortened) commit id names."""
        revision = revision.removeprefix("refs/heads/")
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        for commit in self.commits:
            if commit.oid == oid or (len(oid) >= 7 and commit.oid.startswith(oid)):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str) -> list[Commit]:
        """The commits up to a revision, newest first."""
        return self.commits[: self.commits.index(self.at(revision)) + 1][::-1]

    def info(self, commit: Commit) -> dict[str, Any]:
        """What the API tells about the repository."""
        card = card_data(commit.files.get("README.md"))
        siblings = []
        for path, blob in sorted(commit.files.items()):
            sibling: dict[str, Any] = {"rfilename": path, "size": len(blob.content), "blobId": blob.git_oid}
            if blob.lfs:
                # This listing alone calls the key sha256.
                sizes = {"size": len(blob.content), "pointerSize": len(blob.pointer)}
                sibling["lfs"] = {"sha256": blob.sha256} | sizes
            siblings.append(sibling)
        return {
            "_id": hashlib.sha1(f"{self.kind}/{self.id}".encode()).hexdigest()[:24],
            "id": self.id,
            "author": self.namespace,
            "sha": commit.oid,
            "private": self.private,
            "gated": False,
            "disabled": False,
            "createdAt": self.commits[0].date,
            "lastModified": commit.date,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "cardData": card,
            "siblings": siblings,
        } | {name: card[name] for name in ("pipeline_tag", "library_name", "sdk") if name in card}


def card_data(readme: Blob | None) -> dict[str, Any]:
    """The metadata at the top of a card."""
    found = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", readme.content.decode(), re.DOTALL) if readme else None
    return (yaml.safe_load(found[1]) or {}) if found else {}
