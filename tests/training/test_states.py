import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from training.averaging import WeightAverage
from training.loop import LoopState
from training.states import RunState, random_state, read_numbers, set_random_state


def parts_of_a_run(seed):
    """A model in training with all that has a state, after two steps."""
    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=True)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    groups = [{"params": [p], "weight_decay": 0.1 * p.ndim} for p in model.parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    module, optimizer = accelerator.prepare(model, optimizer)
    average, loop = WeightAverage(model, 0.9), LoopState()
    state = RunState(accelerator, module, optimizer, average, {"loop": loop, "schedule": schedule})

    def step():
        model(torch.randn(8, 4)).square().sum().backward()
        average.advance()
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        schedule.step()
        loop.step += 1
        loop.losses.append(random.random() + float(np.random.rand()))

    step()
    step()
    return state, step, model, average, loop


def test_a_state_that_was_read_goes_on_like_the_one_that_was_written(tmp_path):
    state, step, model, average, loop = parts_of_a_run(0)
    random.gauss(0, 1), np.random.standard_normal()  # both draw two, and keep one
    state.write(tmp_path, {"run": {"seed": 0}})
    assert read_numbers(tmp_path)["run"] == {"seed": 0} and loop.best_loss is None
    other, other_step, other_model, other_average, other_loop = parts_of_a_run(1)

    ends = []
    for of_one, go, of_model, of_average, of_loop in (
        (state, step, model, average, loop),
        (other, other_step, other_model, other_average, other_loop),
    ):
        of_one.read(tmp_path)
        drawn = [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item()]
        go()
        tensors = [*of_model.state_dict().values(), *of_average.tensors()]
        tensors += [value for one in of_one.optimizer.state.values() for value in one.values()]
        ends.append((drawn, [tensor.tolist() for tensor in tensors], of_loop.state_dict()))
    assert ends[0] == ends[1]
    assert other.optimizer.param_groups[0]["betas"] == (0.8, 0.95)


def test_nothing_that_is_written_is_pickled(tmp_path):
    state = parts_of_a_run(0)[0]
    state.write(tmp_path, {})
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files.keys() == {
        *("average.safetensors", "model.safetensors", "optimizer.safetensors", "random_0.safetensors", "state.json")
    }
    for name, content in files.items():
        # A pickle begins with its protocol, and torch's archives with that of zip.
        assert content[:1] == b"{" if name.endswith(".json") else content[8:9] == b"{", name


def test_another_model_is_refused(tmp_path):
    parts_of_a_run(0)[0].write(tmp_path, {})
    accelerator = Accelerator(cpu=True)
    model = nn.Linear(4, 3)
    module, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    with pytest.raises(RuntimeError, match="Missing key"):
        RunState(accelerator, module, optimizer, None, {}).read(tmp_path)


def test_a_scaler_is_part_of_the_state(tmp_path):
    scales = []
    for growth in (7, 3):
        state = parts_of_a_run(0)[0]
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**growth)
        state.plain["scaler"] = scaler
        if growth == 7:
            state.write(tmp_path, {})
        state.read(tmp_path)
        scales.append(scaler.get_scale())
    assert scales == [128.0, 128.0]


def draw():
    return [random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.rand(), torch.rand(1).item()]


def test_random_numbers_go_on_where_they_were():
    device = torch.device("cpu")
    for draws in (0, 1):  # with and without a number that is kept
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        for _ in range(draws):
            random.gauss(0, 1), np.random.standard_normal()
        state = random_state(device)
        first = draw()
        set_random_state(state, device)
        assert draw() == first
