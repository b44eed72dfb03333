"""Our models under the tests that transformers runs on its own: `ModelTesterMixin`, with tiny configurations."""

import unittest
from unittest.mock import patch

import pytest
import torch

from modeling_ecgclip.clip_ecgclip import EcgClipConfig, EcgClipModel
from modeling_ecgclip.configuration_ecgclip import EcgResNetConfig
from modeling_ecgclip.encoder_ecgclip import EcgForSignalClassification
from modeling_ecgclip.modeling_ecgclip import EcgResNetForSignalClassification, EcgResNetModel
from modeling_ecgclip.xresnet_ecgclip import EcgXResNetConfig, EcgXResNetForSignalClassification, EcgXResNetModel
from tests.transformers_common import upstream


upstream.load()

from transformers_tests.test_configuration_common import ConfigTester  # noqa: E402
from transformers_tests.test_modeling_common import ModelTesterMixin  # noqa: E402


pytestmark = pytest.mark.slow

BATCH, LEADS, SAMPLES, WORDS, VOCABULARY = 3, 12, 64, 7, 40
RESNET = {"n_samples": SAMPLES, "stem_channels": 4, "stem_stride": 2, "stem_convs": 1, "kernel_size": 5}
RESNET |= {"block_channels": [6, 8], "block_strides": [2, 4], "dropout": 0.0}
XRESNET = {
    "n_samples": SAMPLES,
    "stem_channels": [4, 4, 4],
    "widths": [4, 4],
    "depths": [1, 1],
    "expansion": 2,
    "dropout": 0.0,
}
TEXT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": VOCABULARY,
}
TEXT |= {"intermediate_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class TinyModels:
    """What `ModelTesterMixin` asks of a tester: configuration and inputs."""

    is_training = True
    batch_size = BATCH
    num_hidden_layers = 2

    def __init__(self, config_class, values, words=False):
        self.config_class, self.values, self.words = config_class, values, words

    def get_config(self):
        """A tiny configuration."""
        return self.config_class(**self.values)

    def prepare_config_and_inputs_for_common(self):
        """It, and a batch of noise."""
        torch.manual_seed(0)
        inputs = {"input_values": torch.randn(BATCH, LEADS, SAMPLES)}
        if self.words:
            inputs |= {
                "input_ids": torch.randint(3, VOCABULARY, (BATCH, WORDS)),
                "attention_mask": torch.ones(BATCH, WORDS),
            }
        return self.get_config(), inputs


class Encoders(ModelTesterMixin):
    """The tests that every model of this package is under."""

    has_attentions = False
    test_resize_embeddings = False
    common_properties = ("hidden_size",)
    words = False

    @property
    def config_values(self):
        return self.values

    def setUp(self):
        self.model_tester = TinyModels(self.config_class, self.values, self.words)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if return_labels and issubclass(model_class, EcgForSignalClassification):
            inputs["labels"] = torch.zeros(BATCH, 6)
        elif return_labels and model_class is EcgClipModel:
            inputs["return_loss"] = True
        return inputs

    def test_config(self):
        ConfigTester(
            self,
            self.config_class,
            has_text_modality=False,
            common_properties=list(self.common_properties),
            **self.config_values,
        ).run_common_tests()


class Towers(Encoders):
    """An ECG tower, and its classifier."""

    hidden_channels = ()

    def test_hidden_states_output(self):
        """As upstream, with feature maps in place of tokens: the call asks, or the configuration."""
        for model_class in self.all_model_classes:
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            asked = model_class(config).eval()(**inputs, output_hidden_states=True).hidden_states
            self.assertEqual([state.shape[1] for state in asked], list(self.hidden_channels))
            self.assertIsNone(model_class(config).eval()(**inputs).hidden_states)
            config.output_hidden_states = True
            self.assertEqual(len(model_class(config).eval()(**inputs).hidden_states), len(asked))

    def test_model_get_set_embeddings(self):
        self.skipTest("ECGs are no tokens: an encoder has no token embeddings")

    def test_training(self):
        with patch.object(type(self), "all_model_classes", self.all_model_classes[1:]):  # an encoder has no loss
            super().test_training()


class ResNetTest(Towers, unittest.TestCase):
    """The residual encoder."""

    all_model_classes = (EcgResNetModel, EcgResNetForSignalClassification)
    config_class, values, hidden_channels = EcgResNetConfig, RESNET, (4, 6, 8)


class XResNetTest(Towers, unittest.TestCase):
    """The XResNet."""

    all_model_classes = (EcgXResNetModel, EcgXResNetForSignalClassification)
    config_class, values, hidden_channels = EcgXResNetConfig, XRESNET, (4, 8, 8)


class DualEncoderTest(Encoders, unittest.TestCase):
    """The dual encoder with a BERT as its text tower."""

    all_model_classes = (EcgClipModel,)
    config_class = EcgClipConfig
    values = {"ecg_config": {"model_type": "ecg_resnet", **RESNET}, "text_config": TEXT}
    config_values = {"projection_dim": 768}  # towers are compared key by key, which upstream does itself
    common_properties = ("projection_dim",)
    words = True
    _is_composite = True

    # Pipelines that were published with release 0.1.0 call get_text_features of the installed class, and multiply.
    test_get_text_features_output_0 = test_get_text_features_output_1 = test_get_text_features_output_2 = None
    test_get_text_features_hidden_states = test_get_text_features_attentions = None

    def test_hidden_states_output(self):
        self.skipTest("two towers: each gives its own hidden states, model.ecg_model and model.text_model")

    def test_retain_grad_hidden_states_attentions(self):
        self.skipTest("two towers: ResNetTest and transformers' own tests of BERT see to each")
