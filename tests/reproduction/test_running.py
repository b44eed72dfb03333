import json
import os
import shlex

from common.checksums import SUMS_FILE, verify_checksums, write_checksums
from reproduction.jobs import Job
from reproduction.running import clean, command_line, run_jobs
from tests.reproduction.dying import die, die_once


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
    write_checksums(tmp_path)
    clean(tmp_path, everything_else=True)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "run.json", SUMS_FILE}
    assert verify_checksums(tmp_path) == ["metrics.json", "run.json"]


def job(name, stage="classify", needs=None):
    return Job(name, stage, {}, {"stage": stage, "name": name}, needs, 1.0)


def test_a_failed_job_names_its_log_and_the_others_go_on(tmp_path):
    threads = os.environ.get("OMP_NUM_THREADS")
    jobs = [job("pretrained/x", "pretrain"), job("cells/a"), job("cells/b", needs="pretrained/x"), job("cells/c")]
    # Any function that a process can import by name: json.loads refuses a list, shlex.join needs none of it.
    scripts = {"pretrain": json.loads, "classify": shlex.join}
    failed = run_jobs(jobs, tmp_path, scripts, num_proc=2)
    assert failed.keys() == {"pretrained/x", "cells/b"}
    assert "TypeError" in failed["pretrained/x"] and ".x.incomplete/log.txt" in failed["pretrained/x"]
    assert failed["cells/b"] == "it needs pretrained/x, which failed"
    assert (tmp_path / "cells" / "a").is_dir() and (tmp_path / "cells" / "c").is_dir()
    assert not (tmp_path / "pretrained" / "x").exists() and not (tmp_path / "cells" / "b").exists()

    written = (tmp_path / "cells" / "a" / "job.json").stat().st_mtime_ns
    for name in ("a", "c"):
        (tmp_path / "cells" / name / "metrics.json").touch()
    assert run_jobs(jobs, tmp_path, dict.fromkeys(scripts, shlex.join), num_proc=1) == {}
    assert json.loads((tmp_path / "cells" / "b" / "job.json").read_text()) == jobs[2].identity
    assert (tmp_path / "cells" / "a" / "job.json").stat().st_mtime_ns == written  # it was finished
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_a_process_that_dies_takes_nobody_with_it(tmp_path):
    jobs = [job("once", "pretrain"), job("always", "classify"), job("never", "other")]
    failed = run_jobs(jobs, tmp_path, {"pretrain": die_once, "classify": die, "other": shlex.join}, num_proc=2)
    assert failed.keys() == {"always"} and "BrokenProcessPool" in failed["always"]
    assert (tmp_path / "once").is_dir() and (tmp_path / "never").is_dir()


def test_when_the_time_is_over_no_further_job_begins(tmp_path):
    jobs = [job("a"), job("b")]
    assert run_jobs(jobs, tmp_path, {"classify": shlex.join}, num_proc=1, seconds=0) == {}
    assert not (tmp_path / "a").exists()
    assert run_jobs(jobs, tmp_path, {"classify": shlex.join}, num_proc=1, seconds=600) == {}
    assert (tmp_path / "b").is_dir()
