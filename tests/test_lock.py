"""requirements.lock holds all that pyproject.toml asks for, each in one version and with hashes, and nothing else."""

import hashlib
import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


PROJECT = Path(__file__).resolve().parent.parent


def of_ci(name):
    """A module of .ci, which is no package; they import each other as scripts do."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / ".ci" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = of_ci("lock")
INSTALL = of_ci("install")


@pytest.fixture(scope="module")
def locked():
    return LOCK.locked_versions(LOCK.LOCK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def asked_for():
    """What pyproject.toml asks for, outside and inside of its extras, but for the project itself."""
    lines = [line for of_purpose in LOCK.own_requirements().values() for line in of_purpose]
    return [one for one in map(Requirement, lines) if one.name != LOCK.NAME]


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
    assert LOCK.included(LOCK.EVERYTHING) | {LOCK.EVERYTHING, LOCK.MODELS} == set(LOCK.own_requirements())


def test_what_a_package_is_for_is_what_pyproject_and_the_packages_say(locked):
    """As those say of themselves that are installed here."""
    text = LOCK.LOCK.read_text(encoding="utf-8")
    stated = {name: of for of, name in re.findall(r"^# for: (.+)\n([a-z0-9-]+)==", text, re.MULTILINE)}
    found = LOCK.purposes({name: metadata.requires(name) or [] for name in locked})
    assert stated == {name: ", ".join(purposes) for name, purposes in found.items()}, "renew the lock: make lock"


def test_a_part_of_the_lock_has_what_its_extra_needs_with_all_hashes(locked):
    text = LOCK.LOCK.read_text(encoding="utf-8")
    assert LOCK.locked_versions(LOCK.part_of_lock(text, "dev")) == locked
    part = LOCK.part_of_lock(text, "train")
    training = LOCK.locked_versions(part)
    assert {"torch", "transformers", "datasets", "setuptools"} <= set(training)
    assert not {"gradio", "playwright", "onnxruntime", "uvicorn", "pytest"} & set(training)
    assert (len(training), len(locked)) == (87, 139), "README and CHANGELOG say how many"
    assert set(training) < set(LOCK.locked_versions(LOCK.part_of_lock(text, "export")))
    (block,) = re.findall(r"^torch==(?:.*\\\n)+.*\n", text, re.MULTILINE)
    assert block in part and "#" not in part


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
    monkeypatch.setattr(INSTALL, "LOCK", tmp_path / "lock")
    INSTALL.check(tmp_path / "package.whl")
    (tmp_path / "package.whl").write_bytes(b"another")
    with pytest.raises(SystemExit, match="package.whl: its sha256 .* is not in lock"):
        INSTALL.check(tmp_path / "package.whl")


def test_versions_are_read_from_what_is_written():
    text = "# a line\nnumpy==2.4.6 \\\n    --hash=sha256:00\ntorch==2.13.0 \\\n    --hash=sha256:01\n"
    assert LOCK.locked_versions(text) == {"numpy": "2.4.6", "torch": "2.13.0"}


def test_an_installation_says_how_much_it_has_got(capsys):
    lines = [
        "Collecting numpy==2.4.6",
        "  Downloading numpy.whl (16.6 MB)",
        "Collecting pip==1",
        "  Using cached p.whl (1.5 kB)",
    ]
    assert INSTALL.follow(iter([*lines, "Installing collected packages: numpy, pip"]), 2) == "17 MB"
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "      1 of 2 packages, 0 MB",
        "      2 of 2 packages, 17 MB",
        "      unpacking 2 packages",
    ]
