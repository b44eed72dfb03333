"""Our processor under the tests that transformers runs on its own: `ProcessorTesterMixin`, with a tiny tokenizer."""

import unittest
from unittest.mock import patch

import pytest

from data_scripts.make_text_model import train_tokenizer
from modeling_ecgclip import EcgClipProcessor, EcgFeatureExtractor
from tests.transformers_common import upstream


upstream.load()

from transformers_tests.test_processing_common import ProcessorTesterMixin  # noqa: E402


pytestmark = pytest.mark.slow


# tests/modeling_ecgclip/test_processing_ecgclip.py calls it as it is called.
NO_AUDIO = "upstream gives signals as audio=, without a rate or a unit; ours are ecg=, with both"


class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    """The dual encoder's processor."""

    processor_class = EcgClipProcessor

    @classmethod
    def setUpClass(cls):
        # A class that travels with its code says so in what it saves, which upstream compares with what it saved.
        cls.enterClassContext(patch.object(EcgClipProcessor, "_auto_class", None))
        super().setUpClass()

    @classmethod
    def _setup_feature_extractor(cls):
        return EcgFeatureExtractor()

    @classmethod
    def _setup_tokenizer(cls):
        return train_tokenizer(["lower newer upper older longer string"] * 20)

    def maybe_skip_typed_test_for_modality(self, modality, attributes):
        self.skipTest(NO_AUDIO)

    def test_model_input_names(self):
        self.skipTest(NO_AUDIO)

    def test_processor_with_multiple_inputs(self):
        self.skipTest(NO_AUDIO)

    def test_subprocessor_defaults_3_audio(self):
        self.skipTest(NO_AUDIO)
