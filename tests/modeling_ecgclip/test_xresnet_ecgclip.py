import copy
import math

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForAudioClassification

from data_scripts.simulate.exam import simulate_exam
from modeling_ecgclip import LEAD_NAMES, EcgFeatureExtractor, encoder_config
from modeling_ecgclip.xresnet_ecgclip import EcgXResNetConfig, EcgXResNetForSignalClassification, EcgXResNetModel


def small(**kwargs):
    return encoder_config("xresnet1d_tiny", **kwargs)


def random_norms_(model):
    """A new model's normalisations do nothing, and its blocks neither: give them something to be wrong about."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, -1.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return model


def slow_encoder(weights, depths, ecg, training):
    """(batch, leads, samples) -> each stage's (batch, channels, samples): the published layers, one call each."""

    def layer(name, x, stride=1, activation=True):
        kernel = weights[f"{name}.conv.weight"]
        x = F.conv1d(x, kernel, None, stride, padding=(kernel.shape[-1] - 1) // 2)
        norm = [weights[f"{name}.norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm, training, momentum=0.1, eps=1e-5)
        return F.relu(x) if activation else x

    x = ecg
    for i in range(3):
        x = layer(f"stem.{i}", x, stride=1 if i else 2)
    x = F.max_pool1d(x, 3, stride=2, padding=1)
    firsts, ends = [sum(depths[:stage]) for stage in range(1, len(depths))], []
    for i in range(sum(depths)):
        stride = 2 if i in firsts else 1
        skip = F.avg_pool1d(x, 2, ceil_mode=True) if stride == 2 else x
        for place in (0, 1):
            if f"blocks.{i}.skip.{place}.conv.weight" in weights:
                skip = layer(f"blocks.{i}.skip.{place}", skip, activation=False)
        x = layer(f"blocks.{i}.middle", layer(f"blocks.{i}.reduce", x), stride)
        x = F.relu(layer(f"blocks.{i}.expand", x, activation=False) + skip)
        ends += [x] * (i + 1 in [*firsts, sum(depths)])
    return ends


def close(found, expected, tolerance=1e-5):
    error = (found - expected).abs().max() / expected.abs().max()
    assert error < tolerance, float(error)


@pytest.mark.parametrize(("preset", "expected"), [("xresnet1d50", 962_503), ("xresnet1d101", 1_880_775)])
def test_parameter_count_is_the_published_one(preset, expected):
    """That of the class at https://github.com/helme/ecg_ptbxl_benchmarking, with its head for all 71 statements."""
    with torch.device("meta"):
        model = EcgXResNetModel(encoder_config(preset))
    width, hidden, outputs = model.config.hidden_size, 128, 71
    head = 2 * width + (width + 1) * hidden + 2 * hidden + (hidden + 1) * outputs
    assert sum(parameter.numel() for parameter in model.parameters()) + head == expected
    assert {name for name, _ in model.named_parameters() if name.endswith("bias")} == {
        f"{name}.bias" for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm1d)
    }


@pytest.mark.parametrize(
    ("n_samples", "streams"),
    [
        (4096, [(64, 1024), (256, 1024), (256, 512), (256, 256), (256, 128)]),
        (250, [(64, 63), (256, 63), (256, 32), (256, 16), (256, 8)]),
    ],
)
def test_sizes_are_the_published_ones_at_any_length(n_samples, streams):
    config = encoder_config("xresnet1d50", n_samples=n_samples)
    model = EcgXResNetModel(config).eval()
    assert config.input_samples == n_samples
    with torch.inference_mode():
        output = model(torch.randn(1, 12, n_samples), output_hidden_states=True)
    shapes = [tuple(state.shape[1:]) for state in output.hidden_states]
    ends = [0, *(sum(config.depths[: stage + 1]) for stage in range(4))]
    assert [shapes[i] for i in ends] == streams and len(shapes) == 17
    assert output.last_hidden_state.shape[1:] == streams[-1]
    assert output.pooler_output.shape == (1, config.hidden_size) == (1, 512)


def slow_embedding(weights, ends, training, pooled_stages, normalize_pooled):
    """[(batch, channels, samples), ...] of each stage -> (batch, hidden_size)."""
    maps = ends[-pooled_stages:]
    pooled = torch.cat(
        [pool(one, 1)[:, :, 0] for one in maps for pool in (F.adaptive_max_pool1d, F.adaptive_avg_pool1d)], 1
    )
    if not normalize_pooled:
        return pooled
    norm = [weights[f"pooler.norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    standardised = F.batch_norm(pooled, *norm, training, momentum=0.1, eps=1e-5)
    return standardised / standardised.square().mean(1, keepdim=True).sqrt()


@pytest.mark.parametrize("embedding", [(1, False), (2, True), (3, False)], ids=str)
@pytest.mark.parametrize("n_samples", [512, 499])
@pytest.mark.parametrize("training", [False, True])
def test_values_and_gradients_are_those_of_the_published_layers(n_samples, training, embedding):
    torch.manual_seed(0)
    asked = dict(zip(("pooled_stages", "normalize_pooled"), embedding, strict=True))
    config = small(depths=(1, 2, 1), dropout=0.0, n_samples=n_samples, **asked)
    model = random_norms_(EcgXResNetModel(config)).double().train(training)
    ecg = torch.randn(3, 12, n_samples, dtype=torch.float64)
    weights = copy.deepcopy(dict(model.state_dict(keep_vars=True)))
    slow = slow_encoder(weights, config.depths, ecg, training)
    pooled = slow_embedding(weights, slow, training, *embedding)
    output = model(ecg)
    assert output.pooler_output.shape == (3, config.hidden_size)
    close(output.last_hidden_state, slow[-1], 1e-9)
    close(output.pooler_output, pooled, 1e-9)
    direction = torch.randn_like(pooled)
    (pooled * direction).sum().backward()
    (output.pooler_output * direction).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    scale = max(gradient.abs().max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (gradient - weights[name].grad).abs().max() < 1e-9 * scale, name
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            close(buffer, weights[name], 1e-9)


def test_weights_start_as_published():
    torch.manual_seed(0)
    model = EcgXResNetModel(encoder_config("xresnet1d50"))
    hidden = torch.rand(2, 256, 1, 32)
    for i, block in enumerate(model.blocks):
        assert block.expand.norm.weight.eq(0).all() and block.expand.norm.bias.eq(0).all()
        assert block.middle.norm.weight.eq(1).all()
        if i not in (0, 3, 7, 13):  # the others change the shape
            assert torch.equal(block.eval()(hidden), hidden)
    kernel = model.blocks[5].middle.conv.weight
    assert kernel.std().item() == pytest.approx(math.sqrt(2 / (64 * 5)), rel=0.05)


def test_all_normalisations_are_folded_for_inference():
    torch.manual_seed(0)
    model = random_norms_(EcgXResNetForSignalClassification(small(n_samples=499))).eval()
    ecg = torch.randn(3, 12, 499)
    with torch.no_grad():
        expected = model.ecg_model(ecg, output_hidden_states=True)
        fast = model.for_inference()
        found = fast.ecg_model(ecg, output_hidden_states=True)
        close(fast(ecg).logits, model(ecg).logits)
        close(model.for_inference(torch.bfloat16)(ecg).logits.float(), model(ecg).logits, 0.1)
    close(found.pooler_output, expected.pooler_output)
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        close(one, other)
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in fast.modules())
    assert any(isinstance(module, torch.nn.BatchNorm1d) for module in model.modules())


def test_dropout_is_that_of_the_embedding():
    torch.manual_seed(0)
    model = EcgXResNetModel(small(dropout=0.5, n_samples=256))
    ecg = torch.randn(8, 12, 256)
    output = model.train()(ecg)
    dropped = (output.pooler_output == 0).float().mean()
    assert 0.4 < dropped < 0.6
    mean = output.last_hidden_state.mean(-1)
    kept = output.pooler_output[:, mean.shape[1] :]
    torch.testing.assert_close(kept[kept != 0], 2 * mean[kept != 0])
    rested = model.eval()(ecg)
    assert torch.equal(rested.pooler_output[:, mean.shape[1] :], rested.last_hidden_state.mean(-1))


def test_a_normalised_embedding_is_as_long_as_any_other_and_is_alike_for_inference():
    torch.manual_seed(0)
    model = random_norms_(EcgXResNetModel(small(n_samples=256, pooled_stages=2, normalize_pooled=True))).eval()
    assert model.config.hidden_size == 2 * 4 * (8 + 12)
    ecg = torch.randn(4, 12, 256) * torch.tensor([0.01, 0.1, 1, 30])[:, None, None]
    with torch.inference_mode():
        found = model(ecg).pooler_output
        torch.testing.assert_close(found.square().mean(1), torch.ones(4))
        close(model.for_inference()(ecg).pooler_output, found)
        alone = torch.cat([model(one[None]).pooler_output for one in ecg])
    close(alone, found)


def test_mask_zeroes_what_was_not_recorded():
    model = EcgXResNetModel(small(n_samples=256)).eval()
    ecg = torch.randn(2, 12, 256)
    mask = torch.ones_like(ecg, dtype=torch.long)
    mask[:, 3] = 0
    zeroed = ecg.clone()
    zeroed[:, 3] = 0
    assert torch.equal(model(ecg, mask).pooler_output, model(zeroed).pooler_output)
    with pytest.raises(ValueError, match=r"\(batch, 12, 256\).*found \(2, 12, 255\)"):
        model(ecg[:, :, 1:])


def test_saved_equals_loaded(tmp_path):
    torch.manual_seed(0)
    model = random_norms_(EcgXResNetForSignalClassification(small(n_samples=256, thresholds=(0.4,) * 6))).eval()
    model.save_pretrained(tmp_path)
    ecg = torch.randn(2, 12, 256)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is EcgXResNetForSignalClassification and tuple(loaded.config.thresholds) == (0.4,) * 6
    assert torch.equal(loaded(ecg).logits, model(ecg).logits)
    tower = AutoModel.from_pretrained(tmp_path).eval()
    assert type(tower) is EcgXResNetModel
    assert torch.equal(tower(ecg).pooler_output, model.ecg_model(ecg).pooler_output)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd.*found 4"),
        ({"stem_kernel_size": 0}, "stem_kernel_size must be odd.*found 0"),
        ({"depths": (1, 1)}, "found 2 depths and 4 widths"),
        ({"depths": (), "widths": ()}, r"depths needs at least one entry.*found \[\]"),
        ({"stem_channels": ()}, "stem_channels needs at least one entry"),
        ({"widths": (64, 0, 64, 64)}, r"each at least 1: found \[64, 0, 64, 64\]"),
        ({"expansion": 0}, "expansion must be at least 1"),
        ({"pooled_stages": 0}, "pooled_stages must lie between 1 and the number of stages, 4: found 0"),
        ({"pooled_stages": 5}, "pooled_stages must lie between 1 and the number of stages, 4: found 5"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"input_samples": 4095}, "at least n_samples"),
    ],
)
def test_impossible_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        EcgXResNetConfig(**fields)


def test_learns_simulated_exams():
    """In 40 steps 64 exams are known twice as well as by how frequent each label is."""
    exams = [simulate_exam(0, i, prevalence_scale=3.0) for i in range(64)]
    extractor = EcgFeatureExtractor(sampling_rate=100, n_samples=1000)
    ecg = extractor([exam.signal for exam in exams], 400, LEAD_NAMES, "mV", return_tensors="pt")["input_values"]
    labels = torch.tensor([list(exam.labels.values()) for exam in exams], dtype=torch.int8)
    frequencies = labels.float().mean(0).expand(labels.shape)
    frequent = F.binary_cross_entropy(frequencies, labels.float()).item()
    torch.manual_seed(0)
    model = EcgXResNetForSignalClassification(small(sampling_rate=100, n_samples=1000, dropout=0.0)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = model(ecg, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < frequent / 2, (loss.item(), frequent)
