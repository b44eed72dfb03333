"""The steps of an answer, done apart: reading needs no weights, and what comes out is what the handler says."""

import shutil

import numpy as np
import pytest

from modeling_ecgclip.handler_ecgclip import EndpointHandler
from modeling_ecgclip.prepared_request_ecgclip import PreparedRequest, RequestPreparer
from serving.reading import handler_class
from tests.simulated import simulated
from tests.small_models import write_small_classifier


STATED = {"sampling_rate": 400, "unit": "mV"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_classifier(tmp_path_factory.mktemp("apart") / "model")


@pytest.fixture(scope="module")
def handler(folder):
    return EndpointHandler(str(folder))


@pytest.fixture(scope="module", params=["package", "folder"])
def preparer(request, folder, tmp_path_factory):
    """Of a copy without weights: by this package, and by the copy's own code."""
    bare = tmp_path_factory.mktemp("bare") / "model"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    make = RequestPreparer if request.param == "package" else handler_class(bare).preparer_class
    return make(str(bare))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"top_k": 2, "with_model": True},
        {"thresholds": {"AF": 0.1}, "return_thresholds": True},
        {"return_measurements": True},
        {"task": "ecg-measurement"},
        {"task": "ecg-feature-extraction", "with_model": True},
    ],
)
def test_steps_give_what_the_handler_says(handler, preparer, parameters):
    ecgs = [simulated(number).tolist() for number in range(3)]
    for inputs in (ecgs[0], ecgs):
        data = {"inputs": inputs, "parameters": {**STATED, **parameters}}
        prepared = preparer(data)
        outputs = []
        if prepared.output is not None:
            values = np.concatenate([ecg["input_values"] for ecg in prepared.ecgs])
            assert values.dtype == np.float32 and values.shape[1:] == handler.input_shape
            outputs = list(handler.network(prepared.output, values))
        assert handler.answer(prepared, outputs) == handler(data)


def test_what_cannot_be_prepared_is_answered(handler, preparer):
    for data in (3, {"inputs": []}, {"inputs": [[0.0] * 9] * 12, "parameters": STATED}, {"inputs": "AAAA"}):
        answer = preparer(data)
        assert not isinstance(answer, PreparedRequest) and answer == handler(data)
