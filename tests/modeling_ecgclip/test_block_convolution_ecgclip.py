"""A convolution by blocks is the convolution that torch computes in double precision."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from modeling_ecgclip.block_convolution_ecgclip import (
    MIN_CHANNELS,
    MIN_SAMPLES,
    MIN_TAPS,
    NEW_SAMPLES,
    ROWS,
    BlockConvolution,
    convolve_in_blocks,
    convolves_in_blocks,
)
from modeling_ecgclip.layers_ecgclip import EcgConv1d, as_image


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def direct(signal, weight, bias, padding):
    """(batch, channels, samples), float64."""
    bias = None if bias is None else bias.double()
    return F.conv1d(F.pad(signal.double(), padding), weight.double(), bias)


@pytest.mark.parametrize("taps", [1, 2, 9, 16, 17, 33])
@pytest.mark.parametrize("samples", [40, 64, NEW_SAMPLES * 7 + 1, 1024])
@pytest.mark.parametrize("batch", [1, 5])
def test_as_the_direct_one(taps, samples, batch):
    signal, weight, bias = random(batch, 6, samples), random(10, 6, taps, seed=1) / taps, random(10, seed=2)
    padding = (taps // 2, taps - 1 - taps // 2)
    found = BlockConvolution(weight, bias, padding)(as_image(signal))
    expected = direct(signal, weight, bias, padding)
    assert found.shape == (batch, 10, 1, samples)
    assert (found[:, :, 0] - expected).abs().max() < 2e-6 * expected.abs().max()


@pytest.mark.parametrize("padding", [(0, 0), (8, 8), (0, 16), (16, 0), (3, 1)])
def test_any_padding(padding):
    signal, weight = random(3, 4, 200), random(5, 4, 17, seed=1)
    found = BlockConvolution(weight, None, padding)(as_image(signal))
    expected = direct(signal, weight, None, padding)
    assert found.shape[-1] == 200 + sum(padding) - 16
    torch.testing.assert_close(found[:, :, 0].double(), expected, atol=1e-5, rtol=1e-5)


def test_errors_are_of_the_size_of_a_direct_convolution():
    signal, weight, bias = random(2, 64, 1024), random(64, 64, 17, seed=1) / 33, random(64, seed=2)
    expected = direct(signal, weight, bias, (8, 8))
    in_blocks = BlockConvolution(weight, bias, (8, 8))(as_image(signal))[:, :, 0]
    at_once = F.conv1d(signal, weight, bias, padding=8)
    assert (in_blocks - expected).abs().max() < 4 * (at_once - expected).abs().max()


def test_the_layout_of_the_input_does_not_matter():
    signal, convolution = random(3, 8, 128), BlockConvolution(random(8, 8, 9, seed=1), None, (4, 4))
    image = as_image(signal)
    for other in (signal[:, :, None], image.contiguous(), random(3, 8, 200)[:, :, None, :128].copy_(image)):
        assert torch.equal(convolution(other), convolution(image))
    assert convolution(image).stride()[1] == 1, "channels are innermost"


def test_more_ecgs_than_are_multiplied_at_once():
    signal, convolution = random(ROWS + 3, 4, 2 * NEW_SAMPLES), BlockConvolution(random(4, 4, 9, seed=1), None, (4, 4))
    together = convolution(as_image(signal))
    for i in (0, 1, ROWS - 1, ROWS + 2):
        torch.testing.assert_close(together[i : i + 1], convolution(as_image(signal[i : i + 1])))


def test_a_mode_sees_one_function():
    class Seen(TorchFunctionMode):
        calls = ()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.calls += (func,)
            return func(*args, **(kwargs or {}))

    convolution, image = BlockConvolution(random(4, 4, 9), None, (4, 4)), as_image(random(2, 4, 64))
    with Seen() as seen:
        found = convolve_in_blocks(image, convolution)
    assert seen.calls == (convolve_in_blocks,)
    assert torch.equal(found, convolution(image))


def test_only_long_kernels_over_many_channels_of_long_signals():
    assert convolves_in_blocks(MIN_CHANNELS, MIN_TAPS, 1, MIN_SAMPLES)
    assert not convolves_in_blocks(MIN_CHANNELS - 1, MIN_TAPS, 1, MIN_SAMPLES)
    assert not convolves_in_blocks(MIN_CHANNELS, MIN_TAPS - 1, 1, MIN_SAMPLES)
    assert not convolves_in_blocks(MIN_CHANNELS, MIN_TAPS, 1, MIN_SAMPLES - 1)
    assert not convolves_in_blocks(MIN_CHANNELS, MIN_TAPS, 4, MIN_SAMPLES)


@pytest.mark.parametrize("padding", [8, (7, 9)])
def test_a_layer_uses_it_once_its_weights_are_laid_out(padding):
    layer = EcgConv1d(MIN_CHANNELS, 10, 17, padding=padding).requires_grad_(False)
    image = as_image(random(2, MIN_CHANNELS, 256))
    expected = layer(image)
    assert layer._blocks is None, "weights that may change are convolved with as they are"
    layer.lay_out_()
    torch.testing.assert_close(layer(image), expected, atol=1e-5, rtol=1e-5)
    assert layer._blocks is not None
    assert copy.deepcopy(layer)._blocks is None
