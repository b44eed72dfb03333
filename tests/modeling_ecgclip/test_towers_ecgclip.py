"""The contract of a tower: every one of this package keeps it, and one from elsewhere may."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from modeling_ecgclip import (
    LEAD_NAMES,
    TOWERS,
    EcgClipConfig,
    EcgClipModel,
    EcgFeatureExtractor,
    EcgForSignalClassification,
    SignalSpec,
    build_tower,
    encoder_config,
    save_for_hub,
)
from modeling_ecgclip.towers_ecgclip import PRESETS, classifier_class, load_tower


SMALL = ["tiny", "xresnet1d_tiny"]  # one of each kind


class ForeignConfig(PreTrainedConfig):
    model_type = "ecg_tower_from_elsewhere"

    lead_names: tuple[str, ...] | list[str] = LEAD_NAMES
    sampling_rate: int = 400
    n_samples: int = 512
    hidden_size: int = 10


class ForeignModel(PreTrainedModel):
    """Knows nothing of this package: one input, and no field of its output but the embedding."""

    config_class = ForeignConfig
    main_input_name = "input_values"

    def __init__(self, config):
        super().__init__(config)
        self.project = nn.Linear(len(config.lead_names), config.hidden_size)
        self.post_init()

    def forward(self, input_values):
        return BaseModelOutputWithPooling(pooler_output=self.project(input_values.std(-1)))


@pytest.fixture
def foreign():
    """Its configuration, known to the Auto classes as a library of its own would make it."""
    AutoConfig.register(ForeignConfig.model_type, ForeignConfig, exist_ok=True)
    AutoModel.register(ForeignConfig, ForeignModel, exist_ok=True)
    return ForeignConfig()


@pytest.fixture
def ecg():
    return torch.randn(2, 12, 512, generator=torch.Generator().manual_seed(0))


def text_config():
    return {"model_type": "bert", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9}


def dual_encoder(ecg_config):
    torch.manual_seed(0)
    return EcgClipModel(EcgClipConfig(ecg_config=ecg_config.to_dict(), text_config=text_config())).eval()


def test_each_kind_has_a_small_preset_here():
    assert [PRESETS[name].model_type for name in SMALL] == list(TOWERS)


@pytest.mark.parametrize("preset", SMALL)
class TestOwnTower:
    def test_dual_encoder_comes_back_with_its_tower(self, preset, ecg, tmp_path):
        model = dual_encoder(encoder_config(preset, n_samples=512))
        model.save_pretrained(tmp_path)
        loaded = AutoModel.from_pretrained(tmp_path).eval()
        assert type(loaded.ecg_model) is TOWERS[model.config.ecg_config.model_type].model_class
        assert torch.equal(loaded.get_ecg_features(ecg), model.get_ecg_features(ecg))

    def test_classifier_of_a_dual_encoder(self, preset, ecg, tmp_path):
        model = dual_encoder(encoder_config(preset, n_samples=512))
        model.save_pretrained(tmp_path)
        loaded = AutoModelForAudioClassification.from_pretrained(tmp_path, num_labels=3).eval()
        assert type(loaded) is TOWERS[loaded.config.model_type].classifier_class
        assert loaded(ecg).logits.shape == (2, 3)
        assert torch.equal(loaded.ecg_model(ecg).pooler_output, model.ecg_model(ecg).pooler_output)
        loaded.save_pretrained(tmp_path / "classifier")
        again = AutoModelForAudioClassification.from_pretrained(tmp_path / "classifier").eval()
        assert torch.equal(again(ecg).logits, loaded(ecg).logits)

    @pytest.mark.parametrize("kind", ["tower", "classifier", "dual encoder"])
    def test_tower_of_any_folder(self, preset, kind, ecg, tmp_path):
        config = encoder_config(preset, n_samples=512)
        if kind == "tower":
            model = tower = build_tower(config)
        else:
            model = dual_encoder(config) if kind == "dual encoder" else classifier_class(config)(config)
            tower = model.ecg_model
        model.save_pretrained(tmp_path)
        loaded = load_tower(str(tmp_path)).eval()
        assert type(loaded) is type(tower)
        assert torch.equal(loaded(ecg).pooler_output, tower.eval()(ecg).pooler_output)

    def test_every_parameter_has_a_gradient(self, preset, ecg):
        """DistributedDataParallel waits for one that has none."""
        config = encoder_config(preset, n_samples=512)
        model = classifier_class(config)(config)
        model(ecg, labels=torch.ones(2, 6, dtype=torch.int8)).loss.backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_folder_without_the_weights_of_its_tower_is_refused(tmp_path):
    build_tower(encoder_config("tiny", n_samples=512)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \d+ weights of its ECG encoder \(ecg_xresnet\), such as "):
        load_tower(str(tmp_path), encoder_config("xresnet1d_tiny", n_samples=512))


class TestForeignTower:
    def test_in_a_dual_encoder(self, foreign, ecg, tmp_path):
        model = dual_encoder(foreign)
        assert type(model.ecg_model) is ForeignModel
        ids = torch.tensor([[1, 2], [3, 4]])
        loss = model(ecg, input_ids=ids, return_loss=True).loss
        loss.backward()
        assert model.ecg_model.project.weight.grad.abs().sum() > 0
        model.save_pretrained(tmp_path)
        loaded = EcgClipModel.from_pretrained(tmp_path).eval()
        assert SignalSpec.of(loaded.config) == SignalSpec(n_samples=512)
        assert torch.equal(loaded.get_ecg_features(ecg), model.get_ecg_features(ecg))
        tower = load_tower(str(tmp_path))
        assert type(tower) is ForeignModel and torch.equal(tower.project.weight, model.ecg_model.project.weight)

    def test_from_its_own_folder(self, foreign, text_model, tmp_path):
        tower = ForeignModel(foreign)
        tower.save_pretrained(tmp_path)
        model = EcgClipModel.from_ecg_text_pretrained(str(tmp_path), str(text_model))
        assert torch.equal(model.ecg_model.project.weight, tower.project.weight)

    def test_under_a_classifier(self, foreign, ecg, tmp_path):
        foreign.id2label = {0: "MI", 1: "LVH", 2: "WPW"}
        torch.manual_seed(0)
        model = classifier_class(foreign)(foreign).eval()
        assert type(model) is EcgForSignalClassification and type(model.ecg_model) is ForeignModel
        output = model(ecg, labels=torch.tensor([[1, 0, -1], [0, 0, 1]]))
        assert output.logits.shape == (2, 3) and output.loss.isfinite()
        model.save_pretrained(tmp_path)
        loaded = EcgForSignalClassification.from_pretrained(tmp_path).eval()
        assert type(loaded.config) is ForeignConfig and loaded.config.id2label == foreign.id2label
        assert torch.equal(loaded(ecg).logits, model(ecg).logits)
        assert torch.equal(load_tower(str(tmp_path)).project.weight, model.ecg_model.project.weight)

    def test_classifier_of_its_dual_encoder(self, foreign, ecg, tmp_path):
        model = dual_encoder(foreign)
        model.save_pretrained(tmp_path)
        loaded = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
        assert type(loaded) is EcgForSignalClassification and loaded.config.num_labels == 6
        assert torch.equal(loaded.ecg_model(ecg).pooler_output, model.ecg_model(ecg).pooler_output)

    def test_its_code_does_not_travel_and_that_is_said(self, foreign, tmp_path):
        with pytest.raises(TypeError, match="expected a model that states auto_classes and tasks"):
            save_for_hub(EcgForSignalClassification(foreign), tmp_path, EcgFeatureExtractor(n_samples=512))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "expected"), [("tiny", 66_814), ("xresnet1d50", 889_478), ("xresnet1d50_ecgclip", 894_598)]
)
def test_parameters_with_six_labels(preset, expected):
    """As docs/architecture.md says; those of the published networks stand beside their sizes."""
    config = encoder_config(preset)
    with torch.device("meta"):
        model = classifier_class(config)(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
