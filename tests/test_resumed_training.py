"""A command that is started again, at whatever moment it died, and with whatever it is given then."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import DatasetDict, load_from_disk

import publishing.model
import train_clip
import train_cls
from data_scripts import embed_reports
from tests.same_end import assert_same_end
from tests.two_processes import run_two
from training.checkpoints import BestWeights
from training.loop import TrainingLoop


PROJECT = Path(__file__).resolve().parent.parent
COMMON = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--warmup_steps", "2", "--seed", "3"]
COMMON += ["--max_train_steps", "6", "--eval_steps", "2", "--logging_steps", "2", "--checkpointing_steps", "3"]
AGAIN = ["--resume_from_checkpoint", "latest"]


class Killed(BaseException):
    """Stands for the end of a process: nothing catches it."""


def arguments(table, folder, *more):
    return ["--dataset_name_or_path", str(table), "--output_dir", str(folder), *COMMON, *AGAIN, *more]


@pytest.fixture(scope="module")
def whole(exam_table, tmp_path_factory):
    """Folder of a run that nobody touched."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train_cls.main(arguments(exam_table, folder))
    return folder


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of it, to change."""
    return shutil.copytree(whole, tmp_path / "run")


def dies(monkeypatch, owner, name, after=0):
    """Ends the process where a function is called for the last of so many times."""
    calls, call = [], getattr(owner, name)

    def dying(*args, **kwargs):
        if len(calls) == after:
            raise Killed
        calls.append(None)
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, dying)


MOMENTS = {
    "between evaluation and the first checkpoint": (TrainingLoop, "_save", 2),
    "while a checkpoint is written": (BestWeights, "copy_to", 1),
    "after the last checkpoint": (BestWeights, "load", 0),
    "before the model is saved": (train_cls, "save_classifier", 0),
    "after the model was saved": (train_cls, "write_results", 0),
    "before the record is written": (train_cls, "write_run_record", 0),
    "before the results are written": (train_cls, "finish_run", 0),
    "after the results were written": (publishing.model, "finish_folder", 0),
    "before the card is written": (publishing.model, "write_card", 0),
    "before the requirements are written": (publishing.model, "write_requirements", 0),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_whenever_a_command_died_it_ends_well_when_it_is_started_again(moment, whole, exam_table, tmp_path):
    owner, name, after = MOMENTS[moment]
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        dies(monkeypatch, owner, name, after)
        train_cls.main(arguments(exam_table, folder))
    assert train_cls.main(arguments(exam_table, folder)) == json.loads((whole / "metrics.json").read_text())
    assert_same_end(whole, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def test_weights_of_a_step_that_was_lost_are_not_taken_for_the_best(whole, exam_table, tmp_path):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        dies(monkeypatch, BestWeights, "load")
        train_cls.main(arguments(exam_table, folder))
    shutil.rmtree(folder / "checkpoints" / "step-00000006")
    (folder / "best.safetensors").write_bytes(b"of a step that nobody knows of")
    train_cls.main(arguments(exam_table, folder))
    assert_same_end(whole, folder)


def test_a_finished_command_says_so_and_changes_nothing(finished, exam_table, caplog, monkeypatch):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    monkeypatch.setattr(TrainingLoop, "run", None)  # it must not be asked
    caplog.set_level("INFO")
    results = train_cls.main(arguments(exam_table, finished))
    assert results == json.loads((finished / "metrics.json").read_text())
    said = "\n".join(one.getMessage() for one in caplog.records)
    assert f"this run is finished and its results lie in {finished}" in said
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_finished_command_ends_with_0_in_a_terminal(finished, exam_table):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROJECT / "train_cls.py"), *arguments(exam_table, finished)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "this run is finished" in result.stderr
    refused = subprocess.run(
        [*command, "--learning_rate", "0.1"], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "learning_rate: was 0.001, is 0.1" in refused.stderr.splitlines()[-1]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_outputs_of_a_finished_run_that_are_not_whole_are_made_again(damage, whole, finished, exam_table, caplog):
    if damage == "missing":
        (finished / "predictions.parquet").unlink()
    else:
        flip(finished / "model.safetensors", -9)
    train_cls.main(arguments(exam_table, finished))
    assert "its outputs are not whole and are made again" in "\n".join(one.getMessage() for one in caplog.records)
    assert_same_end(whole, finished)
    assert (finished / "predictions.parquet").is_file()


def test_what_changes_the_result_is_refused_and_nothing_is_touched(finished, exam_table, tmp_path):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    changed = ["--learning_rate", "0.1", "--seed", "4", "--per_device_train_batch_size", "8"]
    changed += ["--train_fraction", "0.5"]
    listed = r"learning_rate: was 0\.001, is 0\.1"
    with pytest.raises(ValueError, match=listed) as error:
        train_cls.main(arguments(exam_table, finished, *changed))
    for difference in ("seed: was 3, is 4", "per_device_train_batch_size: was 16, is 8", "train_fraction: was 1.0"):
        assert difference in str(error.value)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    checkpoint = finished / "checkpoints" / "step-00000003"
    with pytest.raises(ValueError, match=listed):
        train_cls.main(
            [*arguments(exam_table, tmp_path / "new", *changed), "--resume_from_checkpoint", str(checkpoint)]
        )


def test_another_table_is_refused_and_one_that_moved_is_not(finished, exam_table, tmp_path):
    moved = shutil.copytree(exam_table, tmp_path / "moved")
    train_cls.main(arguments(moved, finished))
    table = load_from_disk(str(exam_table))
    DatasetDict({**table, "train": table["train"].select(range(84))}).save_to_disk(str(tmp_path / "fewer"))
    with pytest.raises(ValueError, match="exam_table: was .*exams: was "):
        train_cls.main(arguments(tmp_path / "fewer", finished))


def test_a_finished_run_may_go_on_and_its_record_tells_both_parts(finished, exam_table, tmp_path):
    constant = ["--lr_scheduler_type", "constant_with_warmup", "--keep", "last"]
    short, long = tmp_path / "short", tmp_path / "long"
    train_cls.main(arguments(exam_table, short, *constant))
    more = [*constant, "--max_train_steps", "9"]
    train_cls.main(arguments(exam_table, short, *more, "--logging_steps", "3"))
    record = json.loads((short / "run.json").read_text())
    assert [part["steps"] for part in record["parts"]] == [[0, 6], [6, 9]]
    assert record["parts"][1]["arguments"]["max_train_steps"] == {"was": 6, "is": 9}
    assert record["parts"][1]["arguments"]["logging_steps"] == {"was": 2, "is": 3}
    assert record["best_step"] == 9 and "interrupted and resumed" in (short / "README.md").read_text()
    # At a constant rate it is the very run that had 9 steps from the beginning.
    train_cls.main(arguments(exam_table, long, *more))
    weights = [(folder / "model.safetensors").read_bytes() for folder in (short, long)]
    assert weights[0] == weights[1]
    with pytest.raises(ValueError, match="steps: was 9, is 6"):
        train_cls.main(arguments(exam_table, short, *constant))


def test_stage_1_ends_well_too(exam_table, text_model, tmp_path):
    table = ["--text_model_name_or_path", str(text_model), "--text_table_dir", str(tmp_path / "text")]
    embed_reports.main(["--dataset_name_or_path", str(exam_table), *table[:2], "--output_dir", str(tmp_path / "text")])
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        dies(monkeypatch, train_clip, "finish_run")
        train_clip.main(arguments(exam_table, folder, *table))
    expected = train_clip.main(arguments(exam_table, folder, *table))
    assert train_clip.main(arguments(exam_table, folder, *table)) == expected
    with pytest.raises(FileNotFoundError, match="no text table"):  # of the other pooling
        train_clip.main(arguments(exam_table, folder, *table, "--text_pooling", "cls"))
    with pytest.raises(ValueError, match="center_text: was False, is True"):
        train_clip.main(arguments(exam_table, folder, *table, "--center_text"))


def _train(rank, port, folder, name):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    train_cls.main(arguments(Path(folder, "table.txt").read_text(), Path(folder, name), "--ema_decay", "0.9"))


def _train_whole(rank, port, folder):
    _train(rank, port, folder, "whole")


def _train_and_die(rank, port, folder):
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        dies(monkeypatch, BestWeights, "copy_to", after=1)  # beside the last checkpoint
        _train(rank, port, folder, "killed")


def _train_on(rank, port, folder):
    _train(rank, port, folder, "killed")


def test_two_processes_resume_to_the_same_end(exam_table, tmp_path):
    (tmp_path / "table.txt").write_text(str(exam_table))
    for run in (_train_whole, _train_and_die, _train_on):
        run_two(run, tmp_path)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    record = json.loads((tmp_path / "killed" / "run.json").read_text())
    assert [part["steps"] for part in record["parts"]] == [[0, 3], [3, 6]] and record["num_processes"] == 2
    last = tmp_path / "killed" / "checkpoints" / "step-00000006"
    assert {path.name for path in last.glob("random_*")} == {"random_0.safetensors", "random_1.safetensors"}
    with pytest.raises(ValueError, match="num_processes: was 2, is 1"):
        train_cls.main(arguments(exam_table, tmp_path / "killed", "--ema_decay", "0.9"))


def test_a_planted_pickle_is_not_opened(finished, exam_table, tmp_path):
    witness = tmp_path / "witness"

    class Opens:
        def __reduce__(self):
            return (Path.touch, (witness,))

    checkpoint = finished / "checkpoints" / "step-00000003"
    for name in ("custom_checkpoint_0.pkl", "optimizer.bin", "random_states_0.pkl", "scheduler.bin", "scaler.pt"):
        (checkpoint / name).write_bytes(pickle.dumps(Opens()))
    new = tmp_path / "new"
    train_cls.main([*arguments(exam_table, new), "--resume_from_checkpoint", str(checkpoint)])
    assert not witness.exists()
    assert_same_end(finished, new)
