"""Real training processes are killed and resumed; the end must be that of a run nobody touched."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from data_scripts import embed_reports
from tests.same_end import assert_same_end


PROJECT = Path(__file__).resolve().parent.parent
STEPS, TIMEOUT_S = 30, 120
# All that has a state of its own: dropout, augmentation, averaged weights, losses between two log entries.
COMMON = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "8", "--eval_steps", "8"]
COMMON += ["--logging_steps", "7", "--warmup_steps", "4", "--ema_decay", "0.9", "--resume_from_checkpoint", "latest"]
COMMON += ["--augment", "noise_mv=0.02", "shift_s=0.3", "--max_train_steps", str(STEPS)]


def arguments(table, folder, *more):
    return ["--dataset_name_or_path", str(table), "--output_dir", str(folder), *COMMON, *more]


def steps_saved(folder):
    return sorted(int(path.name.split("-")[1]) for path in (folder / "checkpoints").glob("step-*"))


def wait_for_step(folder, step, is_alive):
    deadline = time.monotonic() + TIMEOUT_S
    while not (steps_saved(folder) and steps_saved(folder)[-1] >= step):
        assert is_alive(), f"the run ended before step {step}"
        assert time.monotonic() < deadline, f"no checkpoint of step {step} within {TIMEOUT_S} s"
        time.sleep(0.002)


def train_in_a_process(module, argv):
    torch.set_num_threads(1)
    importlib.import_module(module).main(argv)


def first_saved_at(folder):
    """When the earliest checkpoint was written: a run that started again would write it again."""
    return (folder / "checkpoints" / f"step-{steps_saved(folder)[0]:08d}").stat().st_mtime_ns


@pytest.fixture(scope="module")
def start():
    """Starts a training process from a server that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train_clip", "train_cls"])

    def start(module, argv):
        process = context.Process(target=train_in_a_process, args=(module, argv))
        process.start()
        return process

    return start


def finish(process):
    process.join(TIMEOUT_S)
    assert process.exitcode == 0


def test_a_run_killed_at_three_steps_ends_like_one_that_was_not(start, exam_table, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    saving = ["--checkpointing_steps", "1", "--checkpoints_total_limit", "100"]
    finish(start("train_cls", arguments(exam_table, whole, *saving)))
    firsts = set()
    for step in (3, 10, 19):
        process = start("train_cls", arguments(exam_table, killed, *saving))
        wait_for_step(killed, step, process.is_alive)
        os.kill(process.pid, signal.SIGKILL)
        process.join(TIMEOUT_S)
        assert process.exitcode == -signal.SIGKILL
        assert not (killed / "metrics.json").exists()
        assert step <= steps_saved(killed)[-1] < STEPS
        firsts.add(first_saved_at(killed))
    # The last kill also tore what a power cut tears: the one before is used.
    newest = killed / "checkpoints" / f"step-{steps_saved(killed)[-1]:08d}"
    with (newest / "optimizer.safetensors").open("r+b") as file:
        file.truncate(100)
    finish(start("train_cls", arguments(exam_table, killed, *saving)))
    assert firsts == {first_saved_at(killed)}
    assert_same_end(whole, killed)


def test_sigterm_saves_exits_143_and_resumes_to_the_same_end(start, exam_table, text_model, tmp_path):
    embed_reports.main(["--dataset_name_or_path", str(exam_table), "--text_model_name_or_path", str(text_model)])
    more = ["--text_model_name_or_path", str(text_model), "--gradient_accumulation_steps", "2"]
    more += ["--checkpointing_steps", "5", "--checkpoints_total_limit", "100"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    uninterrupted = start("train_clip", arguments(exam_table, whole, *more))

    command = [sys.executable, str(PROJECT / "train_clip.py"), *arguments(exam_table, stopped, *more)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for_step(stopped, 5, lambda: process.poll() is None)
    process.terminate()
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143, errors[-2000:]
    assert "Traceback" not in errors
    assert not (stopped / "metrics.json").exists()
    assert 5 <= steps_saved(stopped)[-1] < STEPS
    first = first_saved_at(stopped)

    finish(start("train_clip", arguments(exam_table, stopped, *more)))
    finish(uninterrupted)
    assert first_saved_at(stopped) == first
    assert_same_end(whole, stopped)
