"""What two runs must share to the bit: log, saved model, and all that a checkpoint holds but the clock."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


TIMES = ("ecg_per_s", "data_wait_ms")  # of the history: no two runs share them
OF_THE_COMMAND = ("run",)  # of a checkpoint: how many parts a run came in is no part of its end


def without_clock(state: Any) -> Any:
    """Nested values but those that tell the time."""
    if isinstance(state, dict):
        return {name: without_clock(value) for name, value in state.items() if name not in TIMES}
    return [without_clock(value) for value in state] if isinstance(state, list) else state


def numbers_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds beside tensors."""
    numbers = without_clock(json.loads((checkpoint / "state.json").read_text()))
    return {name: value for name, value in numbers.items() if name not in OF_THE_COMMAND}


def assert_same_tensors(first: Path, second: Path) -> None:
    """Two safetensors files hold the same bits."""
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys() and len(a) > 0
    assert all(torch.equal(a[name], b[name]) for name in a), first.name


def assert_same_end(first: Path, second: Path) -> None:
    """Two folders of runs are those of the same run: history, model, and the last checkpoint with all its states."""
    histories = [without_clock(json.loads((folder / "history.json").read_text())) for folder in (first, second)]
    assert histories[0] == histories[1] and any("loss" in entry for entry in histories[0])
    assert_same_tensors(first / "model.safetensors", second / "model.safetensors")
    last = max((first / "checkpoints").glob("step-*")).name
    a, b = (folder / "checkpoints" / last for folder in (first, second))
    assert numbers_of(a) == numbers_of(b) and numbers_of(a).keys() >= {"loop", "schedule", "optimizer"}
    names = {path.name for path in a.glob("*.safetensors")}
    assert names == {path.name for path in b.glob("*.safetensors")}
    assert names >= {"model.safetensors", "optimizer.safetensors", "best.safetensors"}
    for name in names:
        if not name.startswith("random_"):  # nothing of a step depends on it: each sets its own seed
            assert_same_tensors(a / name, b / name)
