import copy

import pytest
import torch

from training.averaging import WeightAverage


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    model[2].requires_grad_(False)
    return model


def change(model):
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.add_(torch.randn(tensor.shape))


def test_average_is_the_recursion_written_out(model):
    average = WeightAverage(model, decay=0.25)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    for n in range(1, 5):
        change(model)
        average.advance()
        average.update()
        decay = min(0.25, (1 + n) / (10 + n))
        for name, tensor in model.state_dict().items():
            if name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * tensor
    with average.applied():
        for name in ("0.weight", "0.bias", "1.weight", "1.running_mean"):
            torch.testing.assert_close(model.state_dict()[name], expected[name])


def test_frozen_weights_are_left_alone_and_own_weights_return_bit_for_bit(model):
    average = WeightAverage(model, decay=0.9)
    change(model)
    average.advance()
    average.update()
    own = copy.deepcopy(model.state_dict())
    with average.applied():
        assert torch.equal(model[2].weight, own["2.weight"])
        assert not torch.equal(model[0].weight, own["0.weight"])
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_own_weights_return_after_an_error_too(model):
    average = WeightAverage(model, decay=0.9)
    change(model)
    own = model[0].weight.detach().clone()
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError
    assert torch.equal(model[0].weight, own)


def test_a_saved_average_goes_on_as_if_never_interrupted(model):
    first = WeightAverage(model, decay=0.5)
    change(model)
    first.advance()
    first.update()
    second = WeightAverage(model, decay=0.5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    change(model)
    first.advance()
    first.update()
    second.advance()
    second.update()
    a, b = first.state_dict(), second.state_dict()
    assert a["n_updates"] == b["n_updates"] == 2
    assert all(torch.equal(a["average"][name], b["average"][name]) for name in a["average"])


def test_another_models_average_is_refused(model):
    with pytest.raises(ValueError, match="do not fit the model"):
        WeightAverage(torch.nn.Linear(3, 4), 0.5).load_state_dict(WeightAverage(model, 0.5).state_dict())
