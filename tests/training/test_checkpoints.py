import json
import pickle
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from training.checkpoints import MANIFEST, BestWeights, checkpoint_path, find_checkpoint, save_checkpoint


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def write(folder):
    """Stands for the state of a run."""
    save_file({"weight": torch.arange(100.0)}, folder / "model.safetensors")
    save_file({"0.exp_avg": torch.arange(50.0)}, folder / "optimizer.safetensors")
    save_file({"torch": torch.arange(20)}, folder / "random_0.safetensors")
    (folder / "state.json").write_text('{"loop": {"step": 1}}')


def flip(path, place):
    """Changes one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << 3
    path.write_bytes(content)


def test_newest_are_kept_and_found(accelerator, tmp_path):
    for step in (5, 10, 120):
        save_checkpoint(accelerator, tmp_path, step, 2, write)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000120"]
    assert find_checkpoint("latest", tmp_path) == checkpoint_path(tmp_path, 120)
    files = json.loads((checkpoint_path(tmp_path, 10) / MANIFEST).read_text())["files"]
    assert files.keys() == {"model.safetensors", "optimizer.safetensors", "random_0.safetensors", "state.json"}


def test_torn_checkpoints_are_passed_over(accelerator, tmp_path):
    older, newer = (save_checkpoint(accelerator, tmp_path, step, 3, write) for step in (1, 2))
    weights = newer / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert find_checkpoint("latest", tmp_path) == older
    with pytest.raises(ValueError, match=r"model.safetensors has \d+ bytes, expected \d+"):
        find_checkpoint(str(newer), tmp_path)
    (older / MANIFEST).unlink()
    assert find_checkpoint("latest", tmp_path) is None


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "random_0.safetensors", "state.json", MANIFEST]
)
@pytest.mark.parametrize("share", [0.02, 0.4, 0.99])
def test_one_flipped_bit_is_noticed_in_every_file(accelerator, tmp_path, caplog, name, share):
    older, newer = (save_checkpoint(accelerator, tmp_path, step, 3, write) for step in (1, 2))
    file = newer / name
    flip(file, int(share * file.stat().st_size))
    caplog.set_level("WARNING")
    assert find_checkpoint("latest", tmp_path) == older
    said = [record.getMessage() for record in caplog.records if "passing over the checkpoint" in record.getMessage()]
    assert len(said) == 1 and str(newer) in said[0]
    assert name == MANIFEST or f"{name} has digest" in said[0]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 3}', '{"files": {"a": 3}}', '{"files": {"a": {}}}'])
def test_a_list_of_files_that_is_none_is_no_whole_checkpoint(accelerator, tmp_path, content):
    path = save_checkpoint(accelerator, tmp_path, 1, 1, write)
    (path / MANIFEST).write_text(content)
    assert find_checkpoint("latest", tmp_path) is None
    with pytest.raises(ValueError, match=f"{MANIFEST} cannot be read"):
        find_checkpoint(str(path), tmp_path)


def test_unfinished_save_is_not_a_checkpoint(accelerator, tmp_path):
    (tmp_path / ".step-00000009.incomplete").mkdir()
    assert find_checkpoint("latest", tmp_path) is None
    save_checkpoint(accelerator, tmp_path, 9, 1, write)
    assert not (tmp_path / ".step-00000009.incomplete").exists()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_checkpoint(str(tmp_path / "nowhere"), tmp_path)


class Opens:
    """What a pickle of it does is seen by the file that it makes."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (Path.touch, (self.witness,))


@pytest.mark.parametrize("request_", ["latest", "named"])
def test_a_checkpoint_of_an_earlier_release_is_refused_and_not_opened(tmp_path, request_):
    folder, witness = tmp_path / "step-00000003", tmp_path / "witness"
    folder.mkdir()
    for name in ("optimizer.bin", "custom_checkpoint_0.pkl"):
        (folder / name).write_bytes(pickle.dumps(Opens(witness)))
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    (folder / MANIFEST).write_text(json.dumps({"step": 3, "num_processes": 1, "files": sizes}))
    with pytest.raises(
        ValueError, match=r"an earlier release.* pickled.* start anew \(--overwrite_output_dir"
    ) as error:
        find_checkpoint("latest" if request_ == "latest" else str(folder), tmp_path)
    assert "\n" not in str(error.value) and not witness.exists()
    pickle.loads((folder / "optimizer.bin").read_bytes())
    assert witness.exists()  # it would have been seen


@pytest.fixture
def model():
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def test_best_weights_return(accelerator, model, tmp_path):
    best = BestWeights(accelerator, model, tmp_path, frozen_prefix="0.")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    best.save()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    best.load()
    assert torch.equal(model[1].weight, before["1.weight"])
    assert torch.equal(model[0].weight, before["0.weight"] + 1)  # said to be frozen: not saved
    assert not model.training


def test_a_checkpoint_has_the_best_weights_of_its_own_step(accelerator, model, tmp_path):
    best = BestWeights(accelerator, model, tmp_path)
    of_none = save_checkpoint(accelerator, tmp_path, 1, 9, lambda folder: (write(folder), best.copy_to(folder)))
    before = model[0].weight.detach().clone()
    best.save()
    of_two = save_checkpoint(accelerator, tmp_path, 2, 9, lambda folder: (write(folder), best.copy_to(folder)))
    with torch.no_grad():
        model[0].weight.add_(1)
    best.save()  # of a step that the checkpoint knows nothing of
    resumed = BestWeights(accelerator, model, tmp_path)
    resumed.take_from(of_two)
    resumed.load()
    assert torch.equal(model[0].weight, before)
    assert not (of_none / best.path.name).exists()


def test_damaged_best_weights_are_neither_loaded_nor_copied(accelerator, model, tmp_path):
    best = BestWeights(accelerator, model, tmp_path)
    best.save()
    flip(best.path, -5)
    with pytest.raises(ValueError, match="best.safetensors is damaged: expected digest"):
        best.load()
    with pytest.raises(ValueError, match="best.safetensors is damaged: expected digest"):
        save_checkpoint(accelerator, tmp_path, 1, 1, best.copy_to)
    assert find_checkpoint("latest", tmp_path) is None
