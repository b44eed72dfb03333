import json
import os
import shlex

import pytest

from reproduction.jobs import Job
from reproduction.running import clean, command_line, run_jobs


def test_command_line_has_switches_and_lists_and_leaves_none_out():
    assert command_line({"augment": ["a=1", "b=2"]}) == ["--augment", "a=1", "b=2"]
    flags = {"seed": 3, "freeze_encoder": True, "model_revision": None, "keep": False, "output_dir": "a b"}
    assert command_line(flags) == ["--seed", "3", "--freeze_encoder", "--output_dir", "a b"]


def test_cleaning_keeps_the_numbers(tmp_path):
    for name in ("metrics.json", "run.json", "model.safetensors", "log.txt"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    clean(tmp_path, everything_else=False)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "run.json", "model.safetensors"}
    clean(tmp_path, everything_else=True)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "run.json"}


def test_a_failed_job_names_its_log_and_leaves_no_finished_folder(tmp_path):
    threads = os.environ.get("OMP_NUM_THREADS")
    job = Job("cells/x", "classify", {}, {"stage": "classify"}, None, 1.0)
    # Any function that a process can import by name: json.loads refuses a list, shlex.join needs none of it.
    with pytest.raises(RuntimeError, match=r"cells/x failed: TypeError.*its log is .*\.x\.incomplete.*log\.txt"):
        run_jobs([job], tmp_path, {"classify": json.loads}, num_proc=1)
    assert not (tmp_path / "cells" / "x").exists()
    run_jobs([job], tmp_path, {"classify": shlex.join}, num_proc=1)
    assert json.loads((tmp_path / "cells" / "x" / "job.json").read_text()) == job.identity
    assert os.environ.get("OMP_NUM_THREADS") == threads
