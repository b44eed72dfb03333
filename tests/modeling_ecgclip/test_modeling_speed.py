"""Fast paths of the encoder against slow ones that are written out here."""

import copy

import pytest
import torch
import torch.nn.functional as F

from modeling_ecgclip import (
    EcgClipModel,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    EcgResNetModel,
    modeling_ecgclip,
)
from modeling_ecgclip.block_convolution_ecgclip import convolves_in_blocks
from modeling_ecgclip.layers_ecgclip import EcgConv1d, EcgDropout


def slow_encoder(config, weights, ecg, training):
    """(batch, 12, samples) -> (batch, channels, samples): (batch, channels, samples) throughout, one call a layer."""

    def conv(name, x, stride=1):
        kernel = weights[f"{name}.weight"]
        excess = kernel.shape[-1] - stride
        left = excess // 2 if config.padding == "same" else (excess + 1) // 2
        right = excess - left if config.padding == "same" else left
        return F.conv1d(F.pad(x, (left, right)), kernel, weights.get(f"{name}.bias"), stride)

    def norm(name, x):
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.batch_norm(
            x, mean, var, gain, bias, training, momentum=config.batch_norm_momentum, eps=config.batch_norm_eps
        )

    place = 0
    for i in range(config.stem_convs):
        ecg = norm(f"stem.layers.{place + 1}", conv(f"stem.layers.{place}", ecg, 1 if i else config.stem_stride))
        place += 2
        if config.stem_activation and (i == 0 or i < config.stem_convs - 1):
            ecg, place = F.relu(ecg), place + 1
        place += i > 0  # dropout
    lower = skip = ecg
    for i, stride in enumerate(config.block_strides):
        lower = F.relu(norm(f"blocks.{i}.norm1", conv(f"blocks.{i}.conv1", lower)))
        lower = conv(f"blocks.{i}.conv2", lower, stride)
        if stride > 1:
            skip = F.max_pool1d(skip, stride)
        names = [name for name in weights if name.startswith(f"blocks.{i}.skip.") and name.endswith(".weight")]
        if names:
            skip = conv(names[0].removesuffix(".weight"), skip)
        skip = skip + lower
        lower = F.relu(norm(f"blocks.{i}.norm2", skip))
    return lower


def random_norms_(model):
    """A new model's normalisations do nothing: give them statistics and weights to be wrong about."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, -1.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return model


@pytest.fixture(params=list(EcgResNetConfig.presets))
def tower(request):
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset(request.param, dropout=0.0, n_samples=1024, name_or_path=request.param)
    return random_norms_(EcgResNetModel(config))


@pytest.fixture
def short_ecg():
    return torch.randn(3, 12, 1024, generator=torch.Generator().manual_seed(1))


def close(found, expected, tolerance=1e-5):
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < tolerance, float(error)


@pytest.mark.parametrize("training", [False, True])
def test_layout_changes_neither_values_nor_gradients_nor_statistics(tower, short_ecg, training):
    tower.double().train(training)
    weights = copy.deepcopy(dict(tower.state_dict(keep_vars=True)))
    slow = slow_encoder(tower.config, weights, short_ecg.double(), training)
    fast = tower(short_ecg.double()).last_hidden_state
    close(fast, slow, 1e-9)
    direction = torch.randn_like(slow)
    (slow * direction).sum().backward()
    (fast * direction).sum().backward()
    gradients = {name: parameter.grad for name, parameter in tower.named_parameters()}
    scale = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        # Batch normalisation makes some gradients 0 up to rounding: their error counts against the largest one's.
        assert (gradient - weights[name].grad).abs().max() < 1e-9 * scale, name
    for name, buffer in tower.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            close(buffer, weights[name], 1e-9)


def gradients(tower, ecg, **kwargs):
    """The embedding, and every gradient of a loss that rests on it and on the hidden states that are asked for."""
    tower.zero_grad()
    output = tower(ecg, **kwargs)
    generator = torch.Generator().manual_seed(2)
    loss = 0
    for state in (output.pooler_output, *(output.hidden_states or ())):
        loss = loss + (state * torch.randn(state.shape, generator=generator, dtype=state.dtype)).sum()
    loss.backward()
    return output.pooler_output.detach(), {name: weight.grad.clone() for name, weight in tower.named_parameters()}


def full_gradients(tower, ecg, **kwargs):
    """The same with the gradients of all biases computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_ecgclip, "removes_constants", lambda norm: False)
        return gradients(tower, ecg, **kwargs)


def biases_of_convolutions(tower):
    return [f"{name}.bias" for name, m in tower.named_modules() if isinstance(m, EcgConv1d) and m.bias is not None]


def test_gradients_of_biases_that_a_normalisation_removes_are_zero_and_the_others_are_what_they_were(tower, short_ecg):
    tower.double().train()
    expected, full = full_gradients(tower, short_ecg.double())
    found, given = gradients(tower, short_ecg.double())
    assert torch.equal(found, expected)
    scale = max(gradient.abs().max() for gradient in full.values())
    dead = biases_of_convolutions(tower)
    # Two of the stem and three of each block, or of the blocks alone; the other networks have none.
    assert len(dead) == {"fernandes2024": 14, "tiny": 9}.get(tower.config.name_or_path, 0)
    for name, gradient in given.items():
        assert (gradient - full[name]).abs().max() < 1e-13 * scale, name
        assert bool(gradient.any()) == (name not in dead), name


@pytest.mark.parametrize(
    ("frozen", "n_alive"),
    [
        (["blocks.0.norm1"], 1),
        (["blocks.0.norm2"], 2),
        (["blocks.1.norm2"], 4),  # those of the first block reach it too, by the skip stream
        (["stem.layers.1", "blocks.2.norm1", "blocks.2.norm2"], 7),  # the stem's convolution has no bias
    ],
)
def test_biases_before_a_frozen_normalisation_learn(frozen, n_alive, short_ecg):
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", dropout=0.0, n_samples=1024)
    tower = random_norms_(EcgResNetModel(config)).double().train()
    for name in frozen:
        tower.get_submodule(name).eval()
    _, full = full_gradients(tower, short_ecg.double())
    _, given = gradients(tower, short_ecg.double())
    scale = max(gradient.abs().max() for gradient in full.values())
    assert all((given[name] - full[name]).abs().max() < 1e-13 * scale for name in given)
    assert sum(bool(given[name].any()) for name in biases_of_convolutions(tower)) == n_alive


def test_biases_learn_where_a_loss_rests_on_the_skip_streams(short_ecg):
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", dropout=0.0, n_samples=1024)
    tower = random_norms_(EcgResNetModel(config)).double().train()
    _, full = full_gradients(tower, short_ecg.double(), output_hidden_states=True)
    _, given = gradients(tower, short_ecg.double(), output_hidden_states=True)
    scale = max(gradient.abs().max() for gradient in full.values())
    assert all((given[name] - full[name]).abs().max() < 1e-13 * scale for name in given)
    alive = [name for name in biases_of_convolutions(tower) if given[name].any()]
    assert len(alive) == 6 and not any("conv1" in name for name in alive)


def test_an_optimizer_keeps_biases_that_cancel_and_a_state_of_each(short_ecg):
    torch.manual_seed(0)
    tower = EcgResNetModel(EcgResNetConfig.from_preset("tiny", n_samples=1024)).train()
    dead = biases_of_convolutions(tower)
    for name in dead:
        torch.nn.init.normal_(tower.get_parameter(name))
    before = {name: weight.detach().clone() for name, weight in tower.named_parameters()}
    optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    for _ in range(2):
        gradients(tower, short_ecg)
        optimizer.step()
    assert [name for name, weight in tower.named_parameters() if torch.equal(weight, before[name])] == dead
    assert len(optimizer.state) == len(before)  # what checkpoints held when all were computed


def test_inference_copy_computes_the_same(tower, short_ecg):
    tower.eval()
    names, before = list(tower.state_dict()), copy.deepcopy(tower.state_dict())
    with torch.no_grad():
        expected = tower(short_ecg, output_hidden_states=True)
        model = tower.for_inference()
        found = model(short_ecg, output_hidden_states=True)
    close(found.pooler_output, expected.pooler_output)
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        close(one, other)
    # The original is what it was.
    assert list(tower.state_dict()) == names
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())
    n_norms = sum(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())
    assert n_norms == len(tower.blocks)


def test_laid_out_weights_compute_the_same_for_any_batch_and_are_left_out_of_copies(tower, short_ecg):
    model = tower.eval().for_inference()
    convolutions = [module for module in model.modules() if isinstance(module, EcgConv1d)]
    samples = {}
    for convolution in convolutions:
        convolution.register_forward_hook(lambda one, inputs, _: samples.update({one: inputs[0].shape[-1]}))
    with torch.no_grad():
        expected = tower(short_ecg).pooler_output
        close(model(short_ecg).pooler_output, expected)
        for one in convolutions:  # each in one way
            shape = (one.in_channels, one.kernel_size[0], one.stride[0], samples[one])
            assert (one._blocks is not None) == convolves_in_blocks(*shape)
            assert (one._packed is not None) == (one._blocks is None and torch.backends.mkldnn.is_available())
        close(model(short_ecg[:1]).pooler_output, expected[:1])
        other = copy.deepcopy(model)
        assert all(m._packed is None and m._blocks is None for m in other.modules() if isinstance(m, EcgConv1d))
        close(other(short_ecg).pooler_output, expected)
    signal = short_ecg.clone().requires_grad_()  # of what a kernel has no gradient for
    model(signal).pooler_output.sum().backward()
    assert signal.grad.abs().sum() > 0


def test_inference_copy_in_bfloat16(short_ecg):
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", n_samples=1024)
    classifier = random_norms_(EcgResNetForSignalClassification(config)).eval()
    model = classifier.for_inference(torch.bfloat16)
    with torch.no_grad():
        logits = model(short_ecg).logits
        close(logits.float(), classifier(short_ecg).logits, 0.05)
    assert logits.dtype == torch.bfloat16
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    # Statistics in bfloat16 would be off by up to 0.4 %.
    assert all(m.running_var.dtype == torch.float32 for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d))


def test_inference_copy_is_not_saved_nor_copied_again(tmp_path):
    model = EcgResNetModel(EcgResNetConfig.from_preset("tiny")).for_inference()
    with pytest.raises(ValueError, match="save the model that it was made from"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="from the original model"):
        model.for_inference()


def test_inference_copy_of_a_dual_encoder(clip_config):
    model = random_norms_(EcgClipModel(clip_config)).eval()
    ecg = torch.randn(2, 12, model.config.ecg_config.n_samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        close(model.for_inference().get_ecg_features(ecg), model.get_ecg_features(ecg))


def test_inference_copy_of_a_bfloat16_model_stays_bfloat16(short_ecg):
    model = EcgResNetModel(EcgResNetConfig.from_preset("tiny", n_samples=1024)).to(torch.bfloat16)
    assert model.for_inference()(short_ecg).pooler_output.dtype == torch.bfloat16


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout = EcgDropout(0.2)
    values = torch.ones(16, 32, 1, 1001).to(memory_format=torch.channels_last)  # not a multiple of a word's four
    dropped = dropout(values)
    assert dropped.unique().tolist() == [0.0, pytest.approx(1.25, rel=1e-4)]
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / values.numel()) ** 0.5)
    assert dropped.mean() == pytest.approx(1, abs=4 * (0.25 / values.numel()) ** 0.5)
    # Neighbours in memory come from one random word: they are independent all the same.
    flat = (dropped == 0).float().permute(0, 2, 3, 1).flatten()
    for distance in (1, 2, 3, 4):
        both = (flat[:-distance] * flat[distance:]).mean()
        assert both == pytest.approx(0.04, abs=5 * (0.04 * 0.96 / len(flat)) ** 0.5)


def test_dropout_is_seeded_drops_the_same_in_backward_and_rests_in_eval():
    dropout = EcgDropout(0.5)
    values = torch.ones(4, 8, 1, 64, requires_grad=True)
    torch.manual_seed(3)
    once = dropout(values)
    torch.manual_seed(3)
    assert torch.equal(once, dropout(values))
    assert not torch.equal(once, dropout(values))
    once.sum().backward()
    assert torch.equal(values.grad, once.detach())
    assert dropout.eval()(values) is values
