"""The benchmark of faults runs, in its shortest form; its whole form is what docs/reliability.md reports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults import commands, resumes, run
from benchmarks.faults.cases import Case, Outcome, table_rows
from benchmarks.faults.commands import Command, Ended, Starter
from benchmarks.faults.disks import can_mount
from benchmarks.faults.flips import flip_bit
from benchmarks.faults.jobs import FINETUNING, PRETRAINING, content, torn_files


@pytest.fixture
def environment():
    """What the benchmark sets for its commands does not stay."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
def test_the_short_form_ends_as_promised(tmp_path):
    arms = [arm for arm in run.ARMS if arm != "disks" or can_mount(tmp_path / "disk")]
    words = ["--quick", "--output_dir", str(tmp_path / "out"), "--arms", *arms]
    script = Path(run.__file__)
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "faults.json").read_text())
    assert len({case["arm"] for case in record["cases"]}) == len(arms)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["cases"] == summary["as_promised"] == len(record["cases"]) >= 2 * len(arms)


def test_commands_that_start_together_end_apart(tmp_path, environment, monkeypatch):
    monkeypatch.setattr(commands, "PRELOADED", "json")  # these need nothing of the project's
    starter = Starter(tmp_path)
    (tmp_path / "good.json").write_text("[1, 2]")
    running = starter.start_together(Command("json.tool", ("good.json",)), Command("json.tool", ("--bad",)))
    good, bad = [one.end() for one in running]
    assert (good.status, "".join(good.lines)) == (0, "[1,2]")
    assert bad.status == 2 and "--bad" in bad.refusal


def test_every_argument_gets_another_value():
    for job in (FINETUNING, PRETRAINING):
        resumes.check_groups(job.module)
        changed = dict(resumes.changes(job))
        assert {"learning_rate": "0.0005", "seed": "4", "keep": "zero_shot"}.items() <= changed.items()
        assert "push_to_hub" not in changed and len(changed) > 45


def test_what_is_torn_is_found_and_what_is_aside_is_not(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "c.incomplete.json").write_text("{")
    (tmp_path / "d.safetensors").write_bytes(b"\x08")
    (tmp_path / "e.arrow").write_bytes(b"ARROW")
    assert [line.partition(":")[0] for line in torn_files(tmp_path)] == ["a.json", "d.safetensors", "e.arrow"]


def test_results_are_compared_without_clock_and_parts(tmp_path):
    files = {"history.json": [{"step": 1, "ecg_per_s": 3.0}], "run.json": {"parts": [1], "seed": 0}, "other.json": 1}
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    before = content(tmp_path)
    (tmp_path / "history.json").write_text(json.dumps([{"step": 1, "ecg_per_s": 4.0}]))
    (tmp_path / "run.json").write_text(json.dumps({"parts": [1, 2], "seed": 0}))
    assert content(tmp_path) == before
    (tmp_path / "run.json").write_text(json.dumps({"parts": [1, 2], "seed": 1}))
    assert {name for name, digest in content(tmp_path).items() if digest != before[name]} == {"run.json"}


def test_a_flip_changes_one_bit_and_no_time(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    before = path.stat()
    flip_bit(path, np.random.default_rng(0))
    after = path.stat()
    assert sum(byte.bit_count() for byte in path.read_bytes()) == 1
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("status", "lines", "refusal"),
    [
        (1, ["plan", "error: full"], "error: full"),
        (2, ["usage: x", "python -m x: error: bad value"], "python -m x: error: bad value"),
        (1, ["Traceback (most recent call last):", "error: full"], None),
        (0, ["error: of something else"], None),
        (-9, ["error: full"], None),
    ],
)
def test_a_refusal_is_one_line_without_a_traceback(status, lines, refusal):
    assert Ended(status, 1.0, lines).refusal == refusal


def test_faults_are_counted_by_row():
    case = Case("kill", "export", "at 0.5", lambda: Outcome([]))
    rows = table_rows([(case, Outcome([])), (case, Outcome(["torn: a"]))])
    assert rows[1:] == [("kill", "export", "1 of 2", "torn: a")]
