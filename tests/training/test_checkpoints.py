import json

import pytest
import torch
from accelerate import Accelerator

from training.checkpoints import (
    MANIFEST,
    BestWeights,
    check_num_processes,
    checkpoint_path,
    find_checkpoint,
    save_checkpoint,
)


@pytest.fixture
def accelerator():
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(3, 2)
    accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    return accelerator


def test_newest_are_kept_and_found(accelerator, tmp_path):
    for step in (5, 10, 120):
        save_checkpoint(accelerator, tmp_path, step, limit=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000120"]
    assert find_checkpoint("latest", tmp_path) == checkpoint_path(tmp_path, 120)
    assert json.loads((checkpoint_path(tmp_path, 10) / MANIFEST).read_text())["step"] == 10


def test_torn_checkpoints_are_passed_over(accelerator, tmp_path):
    older, newer = (save_checkpoint(accelerator, tmp_path, step, limit=3) for step in (1, 2))
    weights = newer / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert find_checkpoint("latest", tmp_path) == older
    with pytest.raises(ValueError, match=r"model.safetensors has \d+ bytes, expected \d+"):
        find_checkpoint(str(newer), tmp_path)
    (older / MANIFEST).unlink()
    assert find_checkpoint("latest", tmp_path) is None


def test_unfinished_save_is_not_a_checkpoint(accelerator, tmp_path):
    (tmp_path / ".step-00000009.incomplete").mkdir()
    assert find_checkpoint("latest", tmp_path) is None
    save_checkpoint(accelerator, tmp_path, 9, limit=1)
    assert not (tmp_path / ".step-00000009.incomplete").exists()


def test_missing_folder_and_other_number_of_processes_are_named(accelerator, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_checkpoint(str(tmp_path / "nowhere"), tmp_path)
    path = save_checkpoint(accelerator, tmp_path, 1, limit=1)
    with pytest.raises(ValueError, match="saved by 1 processes.*found 2"):
        check_num_processes(path, 2)


def test_best_weights_return(accelerator, tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    best = BestWeights(accelerator, model, tmp_path / "best.safetensors", frozen_prefix="0.")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    best.save()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    best.load()
    assert torch.equal(model[1].weight, before["1.weight"])
    assert torch.equal(model[0].weight, before["0.weight"] + 1)  # said to be frozen: not saved
