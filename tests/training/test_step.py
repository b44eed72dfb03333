import copy

import pytest
import torch
from accelerate import Accelerator

from training.averaging import WeightAverage
from training.step import OptimizerStep


class Regressing:
    """The least a task can be."""

    def __init__(self):
        torch.manual_seed(0)
        self.module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        self.module[2].weight.requires_grad_(False)
        self.bounded = 0

    def backward(self, batches, rows):
        loss = sum(self.module(batch["x"]).square().mean() for batch in batches)
        loss.backward()
        return loss.detach()

    def after_step(self):
        self.bounded += 1


@pytest.fixture
def batches():
    return [{"x": torch.randn(5, 3, generator=torch.Generator().manual_seed(1))}]


def make_step(rates_on_device):
    task = Regressing()
    trained = [parameter for parameter in task.module.parameters() if parameter.requires_grad]
    groups = [{"params": trained[:2], "lr": 0.1}, {"params": trained[2:], "lr": 0.003}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    average = WeightAverage(task.module, 0.9)
    return OptimizerStep(Accelerator(cpu=True), task, optimizer, average, 1.0, rates_on_device)


def state_of(step):
    state = {"weights": step.task.module.state_dict(), "average": step.average.state_dict()}
    return copy.deepcopy(state | {"optimizer": step.optimizer.state_dict()})


def assert_equal(first, second):
    assert first.keys() == second.keys() if isinstance(first, dict) else type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        for name in first:
            assert_equal(first[name], second[name])
    else:
        assert first == second


def test_rates_in_tensors_give_the_bits_of_plain_ones_and_stay_out_of_the_state(batches):
    plain, in_tensors = make_step(False), make_step(True)
    for rate in (0.1, 0.03, 0.001):
        for step in (plain, in_tensors):
            step.optimizer.param_groups[0]["lr"] = rate
            loss, grad_norm = step(batches, [5], lambda: None)
            assert loss > 0 and grad_norm > 0 and step.task.bounded > 0
    assert_equal(state_of(plain), state_of(in_tensors))
    assert [type(group["lr"]) for group in in_tensors.optimizer.param_groups] == [float, float]


def test_what_is_undone_leaves_no_trace_in_the_next_step(batches):
    undone, untouched = make_step(True), make_step(True)
    addresses = [tensor.data_ptr() for tensor in undone.task.module.state_dict().values()]
    for _ in range(2):  # without moments of the optimizer, and with some
        undone.prepare()
        with pytest.raises(KeyError), undone.undone():
            undone.on_device(batches, [5])
            undone.on_device(batches, [5])
            raise KeyError
        undone.on_device(batches, [5])
        untouched(batches, [5], lambda: None)
        assert_equal(state_of(undone), state_of(untouched))
    assert addresses == [tensor.data_ptr() for tensor in undone.task.module.state_dict().values()]


def test_the_seed_is_set_before_anything_is_drawn(batches):
    step, order = make_step(False), []
    step.task.backward = lambda batches, rows: order.append("drawn") or Regressing.backward(step.task, batches, rows)
    step(batches, [5], lambda: order.append("seeded"))
    assert order == ["seeded", "drawn"]
