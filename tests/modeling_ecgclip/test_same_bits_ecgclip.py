"""An ECG has the same bits alone and among others, in every tower."""

import pytest
import torch

from modeling_ecgclip import encoder_config, same_bits_ecgclip
from modeling_ecgclip.same_bits_ecgclip import SIZES, SameBits
from modeling_ecgclip.towers_ecgclip import TOWERS


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alone_and_together(network, ecgs):
    same = SameBits(network)
    with torch.inference_mode():
        alone = torch.cat([network(one) for one in ecgs.split(1)])
        return same, alone, same(ecgs)


@pytest.mark.parametrize("for_inference", [False, True])
@pytest.mark.parametrize("preset", ["tiny", "fernandes2024", "xresnet1d50", "xresnet1d50_ecgclip"])
def test_towers(preset, for_inference):
    torch.manual_seed(0)
    config = encoder_config(preset)
    tower = next(tower for tower in TOWERS.values() if tower.config_class is type(config))
    model = tower.classifier_class(config).eval()
    model = model.for_inference() if for_inference else model
    ecgs = torch.randn(15, config.n_leads, config.input_samples) * 0.5
    same, alone, together = alone_and_together(lambda values: model(input_values=values).logits, ecgs)
    assert torch.equal(together, alone)
    assert set(same.settle(ecgs[:1])) == set(SIZES), "several ECGs are computed at once"
    assert torch.equal(same.network(ecgs[:1]), alone[:1])


def test_only_sums_whose_bits_depend_on_the_batch_are_computed_by_rows(monkeypatch):
    sizes = {"steady": [], "fickle": []}

    def steady(values):
        sizes["steady"].append(len(values))
        return values.sum(-1, keepdim=True)

    def fickle(values):
        """What a kernel that is chosen by the number of rows does: other last bits where there are several."""
        sizes["fickle"].append(len(values))
        return values.sum(-1, keepdim=True) * (1 if len(values) == 1 else 1 + 2**-20)

    def seen(function):
        """As torch's own functions, which a mode of torch sees."""

        def call(values):
            modes = torch.overrides._get_current_function_mode()
            return function(values) if modes is None else modes.__torch_function__(function, (), (values,))

        return call

    monkeypatch.setattr(same_bits_ecgclip, "_SUMS", {steady, fickle})
    same, alone, together = alone_and_together(
        lambda values: seen(fickle)(values.flatten(1)) + seen(steady)(values.flatten(1)), torch.randn(11, 3, 50)
    )
    assert torch.equal(together, alone)
    assert same.settle(torch.zeros(1, 3, 50)) == {size: {1} for size in SIZES}
    sizes["steady"].clear(), sizes["fickle"].clear()
    same(torch.randn(8, 3, 50))
    assert sizes == {"steady": [8], "fickle": [1] * 8}


def test_a_network_that_cannot_is_given_one_at_a_time():
    same, alone, together = alone_and_together(
        lambda values: values.mean((1, 2))[:, None] * (1 + len(values) * 1e-3) / (1 + 1e-3), torch.randn(5, 2, 7)
    )
    assert same.settle(torch.zeros(1, 2, 7)) == {}
    assert torch.equal(together, alone)
