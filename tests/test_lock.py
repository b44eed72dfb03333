"""requirements.lock holds all that pyproject.toml asks for, each in one version and with hashes, and nothing else."""

import hashlib
import importlib.util
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


PROJECT = Path(__file__).resolve().parent.parent
EVERYTHING = "dev"  # the extra that names all others


def ci_lock():
    spec = importlib.util.spec_from_file_location("ci_lock", PROJECT / ".ci" / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = ci_lock()


@pytest.fixture(scope="module")
def locked():
    return LOCK.locked_versions(LOCK.LOCK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def asked_for():
    """What pyproject.toml asks for, outside and inside of its extras, but for the project itself."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for of in project["optional-dependencies"].values() for line in of)]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


def test_every_package_has_one_version_and_every_line_belongs_to_one():
    lines = LOCK.LOCK.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    package = r"[a-z0-9-]+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"(?:{package})+", text + "\n")
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert names == sorted(set(names)) and len(names) > 100


def test_the_lock_holds_what_pyproject_asks_for(locked, asked_for):
    unlike = [
        str(one) for one in asked_for if not one.specifier.contains(locked.get(canonicalize_name(one.name), "0"))
    ]
    assert unlike == [], "renew the lock: make lock"


def test_every_extra_is_part_of_the_one_that_is_locked():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    named, waiting = {EVERYTHING}, [EVERYTHING]
    while waiting:
        new = {
            extra
            for line in extras[waiting.pop()]
            if line.startswith("ecgclip[")
            for extra in Requirement(line).extras
        }
        waiting += new - named
        named |= new
    assert named == set(extras)


def test_the_lock_holds_what_its_packages_need_and_nothing_else(locked, asked_for):
    """As those say of themselves that are installed here."""
    needed, waiting = set(), list(asked_for)
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if LOCK.OF_TORCH.match(name):
            continue
        assert name in locked, f"{one} is missing: make lock"
        for extra in ("", *one.extras):
            if (name, extra) in needed:
                continue
            needed.add((name, extra))
            for line in metadata.requires(name) or ():
                of_it = Requirement(line)
                if of_it.marker is None or of_it.marker.evaluate({"extra": extra}):
                    waiting.append(of_it)
    assert {name for name, _ in needed} == set(locked)


def test_a_file_that_is_not_in_the_lock_is_refused(tmp_path, monkeypatch):
    (tmp_path / "package.whl").write_bytes(b"tested")
    digest = hashlib.sha256(b"tested").hexdigest()
    (tmp_path / "lock").write_text(f"package==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\n")
    monkeypatch.setattr(LOCK, "LOCK", tmp_path / "lock")
    LOCK.check(tmp_path / "package.whl")
    (tmp_path / "package.whl").write_bytes(b"another")
    with pytest.raises(SystemExit, match="package.whl: its sha256 .* is not in lock"):
        LOCK.check(tmp_path / "package.whl")


def test_versions_are_read_from_what_is_written():
    text = "# a line\nnumpy==2.4.6 \\\n    --hash=sha256:00\ntorch==2.13.0 \\\n    --hash=sha256:01\n"
    assert LOCK.locked_versions(text) == {"numpy": "2.4.6", "torch": "2.13.0"}
