import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from modeling_ecgclip.clip_ecgclip import EcgClipConfig, EcgClipModel, pool_tokens
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.modeling_ecgclip import EcgResNetForSignalClassification, EcgResNetModel, strided_conv


def n_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture
def ecg():
    return torch.randn(3, 12, 4096, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("preset", "labels", "expected"),
    [("fernandes2024", 6, 6_876_038), ("ribeiro2020", 6, 6_421_910), ("lima2021", 1, 6_924_705)],
)
def test_parameter_counts_are_the_published_ones(preset, labels, expected):
    config = EcgResNetConfig.from_preset(preset, id2label={i: str(i) for i in range(labels)})
    with torch.device("meta"):
        assert n_parameters(EcgResNetForSignalClassification(config)) == expected


@pytest.mark.parametrize(
    ("preset", "streams", "width"),
    [
        ("fernandes2024", [(64, 1024), (128, 256), (192, 64), (256, 16), (320, 4)], 1280),
        ("ribeiro2020", [(64, 4096), (128, 1024), (196, 256), (256, 64), (320, 16)], 5120),
        ("lima2021", [(64, 4096), (64, 4096), (128, 1024), (196, 256), (256, 64), (320, 16)], 5120),
    ],
)
def test_sizes_are_the_published_ones(preset, streams, width, ecg):
    model = EcgResNetModel(EcgResNetConfig.from_preset(preset)).eval()
    with torch.inference_mode():
        output = model(ecg[:1], output_hidden_states=True)
    assert [tuple(state.shape[1:]) for state in output.hidden_states] == streams
    assert output.pooler_output.shape == (1, width)
    assert output.last_hidden_state.shape[1:] == streams[-1]


def test_same_padding_is_tensorflows():
    config = EcgResNetConfig.from_preset("ribeiro2020")
    samples = np.random.default_rng(0).normal(size=64)
    for stride, left in [(1, 7), (4, 6)]:
        conv = strided_conv(config, 1, 1, stride)
        kernel = conv.weight.detach().numpy()[0, 0]
        padded = np.pad(samples, (left, 16))
        expected = [padded[i : i + 16] @ kernel for i in range(0, 64, stride)]
        found = conv(torch.tensor(samples, dtype=torch.float32)[None, None])[0, 0].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_flatten_order(ecg):
    first = EcgResNetModel(EcgResNetConfig.from_preset("tiny")).eval()
    second = EcgResNetModel(EcgResNetConfig.from_preset("tiny", flatten="samples_first")).eval()
    second.load_state_dict(first.state_dict())
    a, b = first(ecg), second(ecg)
    assert torch.equal(a.pooler_output.reshape(3, 48, 8), b.pooler_output.reshape(3, 8, 48).transpose(1, 2))


def test_saved_equals_loaded(ecg, tmp_path):
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    model = EcgResNetForSignalClassification(config).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = EcgResNetForSignalClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(ecg).logits, model(ecg).logits)
    assert tuple(loaded.config.thresholds) == config.thresholds


def test_bfloat16_loads_and_runs(ecg, clip_config, tmp_path):
    EcgClipModel(clip_config).save_pretrained(tmp_path)
    model = EcgClipModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.isfinite(model(ecg, input_ids=torch.tensor([[1, 2]] * 3), return_loss=True).loss)


def test_wrong_shape_is_refused():
    model = EcgResNetModel(EcgResNetConfig.from_preset("tiny"))
    with pytest.raises(ValueError, match=r"\(batch, 12, 4096\).*found \(2, 4096, 12\)"):
        model(torch.zeros(2, 4096, 12))


def test_mask_zeroes_what_was_not_recorded(ecg):
    model = EcgResNetModel(EcgResNetConfig.from_preset("tiny")).eval()
    mask = torch.ones_like(ecg, dtype=torch.long)
    mask[:, 3] = 0
    zeroed = ecg.clone()
    zeroed[:, 3] = 0
    assert torch.equal(model(ecg, mask).pooler_output, model(zeroed).pooler_output)


def test_classifier_takes_the_tower_of_a_dual_encoder_and_says_what_is_new(clip_config, tmp_path):
    clip = EcgClipModel(clip_config)
    clip.save_pretrained(tmp_path)
    model, info = EcgResNetForSignalClassification.from_pretrained(tmp_path, output_loading_info=True)
    for name, tensor in clip.ecg_model.state_dict().items():
        assert torch.equal(model.ecg_model.state_dict()[name], tensor), name
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert {name.split(".")[0] for name in info["unexpected_keys"]} == {
        "text_model",
        "text_center",
        "ecg_projection",
        "logit_scale",
    }


def test_unknown_labels_do_not_count(ecg):
    model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny")).eval()
    labels = torch.tensor([[1, 0, -1, 0, 0, 1]] * 3, dtype=torch.int8)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        model(ecg).logits[:, [0, 1, 3, 4, 5]], labels[:, [0, 1, 3, 4, 5]].float()
    )
    torch.testing.assert_close(model(ecg, labels=labels).loss, losses)
    assert model(ecg, labels=torch.full((3, 6), -1)).loss == 0


def test_regression_head(ecg):
    model = EcgResNetForSignalClassification(
        EcgResNetConfig.from_preset("tiny", id2label={0: "age"}, problem_type="regression")
    ).eval()
    output = model(ecg, labels=torch.tensor([[50.0], [60.0], [70.0]]))
    torch.testing.assert_close(output.loss, ((output.logits[:, 0] - torch.tensor([50.0, 60.0, 70.0])) ** 2).mean())


def test_pooling():
    states = torch.arange(12.0).reshape(1, 3, 4)
    mask = torch.tensor([[1, 1, 0]])
    assert pool_tokens(states, mask, "mean").tolist() == [[2.0, 3.0, 4.0, 5.0]]
    assert pool_tokens(states, mask, "cls").tolist() == [[0.0, 1.0, 2.0, 3.0]]
    with pytest.raises(ValueError, match="'mean' or 'cls'"):
        pool_tokens(states, mask, "max")


def test_padding_of_texts_changes_nothing(clip_config):
    model = EcgClipModel(clip_config).eval()
    plain = model.get_text_features(torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long))
    padded = model.get_text_features(torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]]))
    torch.testing.assert_close(plain, padded)


@pytest.mark.parametrize("fields", [{}, {"text_projection": "linear", "projection_dim": 8}, {"center_text": True}])
def test_precomputed_text_embeddings_equal_the_text_tower(clip_config, fields, ecg):
    config = EcgClipConfig(
        **{**fields, "ecg_config": clip_config.ecg_config.to_dict(), "text_config": clip_config.text_config.to_dict()}
    )
    model = EcgClipModel(config).eval()
    model.text_center.normal_()
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0], [1, 2, 3]]), torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    pooled = pool_tokens(model.text_model(ids, mask).last_hidden_state, mask, "mean")
    a = model(ecg, input_ids=ids, attention_mask=mask, return_loss=True)
    b = model(ecg, text_embeds=pooled, return_loss=True)
    torch.testing.assert_close(a.loss, b.loss)
    assert a.ecg_embeds.shape == a.text_embeds.shape == (3, config.projection_dim)
    torch.testing.assert_close(a.ecg_embeds.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(a.logits_per_ecg, a.logits_per_text.T)


def test_from_ecg_text_pretrained(tmp_path, ecg):
    text = BertModel(
        BertConfig(**{"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 50})
    )
    text.save_pretrained(tmp_path / "text")
    tower = EcgResNetModel(EcgResNetConfig.from_preset("tiny"))
    tower.save_pretrained(tmp_path / "ecg")
    model = EcgClipModel.from_ecg_text_pretrained(
        str(tmp_path / "ecg"), str(tmp_path / "text"), center_text=True
    ).eval()
    assert torch.equal(model.ecg_model.stem.layers[0].weight, tower.stem.layers[0].weight)
    word = "embeddings.word_embeddings.weight"
    assert torch.equal(model.text_model.state_dict()[word], text.state_dict()[word])
    assert model.config.center_text and model.config.text_config._name_or_path == ""
    model.save_pretrained(tmp_path / "clip")
    assert str(tmp_path) not in (tmp_path / "clip" / "config.json").read_text()
    loaded = EcgClipModel.from_pretrained(tmp_path / "clip").eval()
    assert torch.equal(loaded.get_ecg_features(ecg), model.get_ecg_features(ecg))


def test_logit_scale_is_clamped(clip_config):
    model = EcgClipModel(clip_config)
    with torch.no_grad():
        model.logit_scale.fill_(7.0)
    model.clamp_logit_scale_()
    assert model.logit_scale.exp().item() == pytest.approx(100, rel=1e-5)


def test_precomputed_ecg_embeddings_equal_the_ecg_tower(clip_config, ecg):
    model = EcgClipModel(clip_config).eval()
    with torch.no_grad():
        embeds = model.ecg_model(ecg).pooler_output
        assert torch.equal(model.get_ecg_features(ecg_embeds=embeds), model.get_ecg_features(ecg))
    with pytest.raises(ValueError, match="needs input_values or ecg_embeds: found neither"):
        model.get_ecg_features()
