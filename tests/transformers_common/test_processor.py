"""Our processor under the tests that transformers runs on its own: `ProcessorTesterMixin`, with a tiny tokenizer."""

import unittest

import pytest

from data_scripts.make_text_model import train_tokenizer
from modeling_ecgclip import EcgClipProcessor, EcgFeatureExtractor
from tests.transformers_common import upstream


upstream.load()

from transformers_tests.test_processing_common import ProcessorTesterMixin  # noqa: E402


pytestmark = pytest.mark.slow


class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    """The dual encoder's processor. Upstream gives signals as `audio=`; ours are `ecg=`, with rate and unit."""

    processor_class = EcgClipProcessor

    @classmethod
    def _setup_feature_extractor(cls):
        return EcgFeatureExtractor()

    @classmethod
    def _setup_tokenizer(cls):
        return train_tokenizer(["lower newer upper older longer string"] * 20)

    def maybe_skip_typed_test_for_modality(self, modality, attributes):
        self.skipTest("the argument is ecg=, not audio=: tests/modeling_ecgclip/test_processing_ecgclip.py calls it")
