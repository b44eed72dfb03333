"""Damaged files of every kind in `FORMATS`, by the path with its ending: named errors, soon and in little memory."""

import contextlib
import mmap
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from modeling_ecgclip.formats_ecgclip import FORMATS, format_of
from modeling_ecgclip.limits_ecgclip import MAX_VALUES
from modeling_ecgclip.reading_ecgclip import read_ecg
from tests.modeling_ecgclip.fuzzing import CASE_LIMIT_S, damage, mutate, time_limit
from tests.modeling_ecgclip.recorder_files import reseal_ishne, reseal_scp
from tests.modeling_ecgclip.test_any_writing import is_whole, outcome_of, write


SEED = 20261127
CASES = 150  # of the files written here, and of real ones as many; once by hand, 2,000
WRITINGS = 300  # so many hold files of every kind
MAX_CASE_BYTES = 500_000_000
# What puts right checksums into damaged bytes, so that the damage is read.
RESEALS = {".scp": reseal_scp, ".ecg": reseal_ishne}


@dataclass
class Costs:
    """What became of the cases, and the dearest of them."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    n_bytes: int = 0


@contextlib.contextmanager
def measured(costs: Costs) -> Iterator[None]:
    """Seconds of the processor, and memory beyond what the process had before."""
    with contextlib.suppress(OSError):  # where it can be, the peak starts anew
        Path("/proc/self/clear_refs").write_text("5")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    costs.seconds = max(costs.seconds, time.process_time() - started)
    costs.n_bytes = max(costs.n_bytes, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def files_of_every_kind(folder: Path) -> dict[str, tuple[Path, dict[str, int]]]:
    """Valid files: one of each way of writing, with what `read_ecg` has to be told."""
    found: dict[str, tuple[Path, dict[str, int]]] = {}
    for number in range(WRITINGS):
        writing = write(number, folder / str(number), seed=SEED)
        source = writing.source["path"] if isinstance(writing.source, dict) and "path" in writing.source else None
        path = source or writing.source
        if isinstance(path, Path) and is_whole(writing):
            path = path.with_suffix(".hea") if not path.suffix else path
            kind = f"{format_of(path).name} {writing.dialect.get('recorder', '')}{path.suffix}"
            if kind not in found and outcome_of(writing) == "read":
                found[kind] = (path, {"exam_id": 7} if source else {})
    return found


def damaged(path: Path, folder: Path, generator: np.random.Generator) -> Path:
    """The path of a damaged copy; of a WFDB record header or signals, in a folder of its own."""
    names = [path.name]
    if path.suffix == ".hea":
        names = sorted(one.name for one in path.parent.iterdir())
    hit = names[int(generator.integers(len(names)))]
    for name in names:
        content = (path.parent / name).read_bytes()
        if name == hit:
            content = damage(content, generator)
            content = mutate(content, generator) if content and generator.random() < 0.2 else content
            reseal = RESEALS.get(path.suffix)
            content = reseal(content) if reseal and generator.random() < 0.7 else content
        (folder / name).write_bytes(content)
    return folder / path.name


def try_damaged(files: dict[str, tuple[Path, dict[str, int]]], n_cases: int, folder: Path, seed: int = SEED) -> Costs:
    """Reads so many damaged copies of files, each in its turn; fails where one is not refused by name, or read."""
    generator = np.random.default_rng(seed)
    costs = Costs()
    kinds = list(files)
    for case in range(n_cases):
        kind = kinds[case % len(kinds)]
        path = damaged(files[kind][0], folder, generator)
        with time_limit(f"{kind} {case}"), measured(costs), np.errstate(all="ignore"):
            try:
                record = read_ecg(path, **files[kind][1])
            except (ValueError, TypeError, FileNotFoundError) as error:
                assert path.stem in str(error) and len(str(error)) < 1000, (kind, case, error)
                costs.outcomes[kind, "refused"] += 1
                continue
        assert record.signal.ndim == 2 and 0 < record.signal.size <= MAX_VALUES, (kind, case)
        assert len(repr(record.metadata)) < 10_000, (kind, case)
        costs.outcomes[kind, "read"] += 1
    assert costs.seconds < CASE_LIMIT_S and costs.n_bytes < MAX_CASE_BYTES, costs
    return costs


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return files_of_every_kind(tmp_path_factory.mktemp("valid"))


def test_whole_files_of_every_kind_are_read(files):
    assert {kind.split()[0] for kind in files} == {one.name for one in FORMATS}
    for kind, (path, arguments) in files.items():
        assert read_ecg(path, **arguments).signal.size, kind


def test_what_a_case_costs_is_seen():
    costs = Costs()
    for _ in range(2):
        with measured(costs):
            # Fresh from the system: a block of `malloc` may be one that the process had kept.
            kept = np.frombuffer(mmap.mmap(-1, 80_000_000), np.uint8)
            kept[:] = 1
        del kept
    if Path("/proc/self/clear_refs").exists():
        assert 60_000_000 < costs.n_bytes < 200_000_000
    assert 0 < costs.seconds < CASE_LIMIT_S


def test_damaged_files_of_every_kind(files, tmp_path):
    costs = try_damaged(files, CASES, tmp_path)
    refused = sum(count for (_, outcome), count in costs.outcomes.items() if outcome == "refused")
    assert CASES / 4 < refused < CASES


def test_damaged_real_files(sample_data, tmp_path):
    paths = sorted(path for path in (sample_data / "vendor").glob("*.*") if path.suffix in (".xml", ".dcm", ".scp"))
    if not paths:
        pytest.skip("no real files of recorders found")
    files = {f"{format_of(path).name} {path.name}": (path, {}) for path in paths}
    assert try_damaged(files, CASES, tmp_path).outcomes.total() == CASES
