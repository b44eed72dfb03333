"""A thousand malformed requests to the endpoint: each gets a named error, in time, and never an exception."""

import base64
import copy
import io
import json
import pickle
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch

from modeling_ecgclip import EcgFeatureExtractor, EcgResNetConfig, EcgResNetForSignalClassification, save_for_hub
from modeling_ecgclip.handler_ecgclip import EndpointHandler
from modeling_ecgclip.requests_ecgclip import ERROR_TYPES
from tests.modeling_ecgclip.fuzzing import is_classification, mutate, time_limit
from tests.modeling_ecgclip.request_forms import base64_of, request_forms
from tests.simulated import simulated


SEED = 20260502
MALFORMED = 1000
# Of mutated requests many stay valid: a sample of another value is still an ECG.
MOST_REQUESTS = 4000
NASTY_VALUES = (
    None, True, -1, 0, 1.5, float("nan"), float("inf"), -float("inf"), 2**31, 2**63, 2**64, -(2**200), 10**5000, 1e308,
    "", " ", "a", "\x00", "\ud800", "mV", "12", "NaN", "1e999", "A" * 100_000, "=" * 99, "/etc/passwd", "../x", "%s%n",
    "http://127.0.0.1/", "file:///etc/passwd", "; rm -rf /", "{}", "{0.__class__}", "<script>", "'; DROP TABLE ecg;--",
    [], [[]], [[], []], [[[]]], [[1, 2], [3]], [None] * 12, [[None] * 9] * 12, [["1"] * 9] * 12, [[{}] * 9] * 12,
    [1] * 12, {}, {"ecg": None}, {"path": "/etc/passwd"}, {"inputs": {"inputs": {}}}, {1: 2}, {"": ""}, {"$ref": "#"},
    b"", b"\xff" * 50, b"\x80\x04.", bytearray(b"a,b\n"), (), ((1, 2), (3, 4)), {1, 2}, object, range(10), 1j,
    np.float32("nan"), np.array("x"), np.array([[object()]]), np.zeros((0, 0)), np.zeros((2, 2, 2, 2)),
    np.ones((12, 30)), np.array([["a"] * 3] * 12),
)  # fmt: skip
PARAMETER_NAMES = (
    "sampling_rate", "lead_names", "unit", "exam_id", "format", "shape", "top_k", "thresholds", "task", "with_model",
    "allow_missing_leads", "repair_nan", "candidate_labels", "return_tensors", "batch_size", "num_workers",
    "__class__",
)  # fmt: skip


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("fuzz") / "classifier"
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.5,) * 6)
    save_for_hub(EcgResNetForSignalClassification(config), folder, EcgFeatureExtractor())
    return EndpointHandler(str(folder))


@pytest.fixture(scope="module")
def valid_requests(tmp_path_factory):
    ecg = np.rint(1000 * simulated(0, 1000)).astype(np.int16)
    forms = request_forms(tmp_path_factory.mktemp("forms"), ecg)
    return [{"inputs": inputs, "parameters": parameters} for inputs, parameters, _, _ in forms.values()]


def check(handler, data, name):
    """`"refused"` or `"answered"`; anything else than a named error or an answer fails."""
    with time_limit(name):
        answer = handler(data)
    if isinstance(answer, dict) and set(answer) == {"error"}:
        error = answer["error"]
        assert set(error) == {"type", "message"}, (name, answer)
        assert error["type"] in ERROR_TYPES and error["type"] != "InternalError", (name, answer)
        assert 10 < len(error["message"]) <= 500, (name, answer)
        assert "Traceback" not in error["message"] and 'File "' not in error["message"], (name, answer)
        json.dumps(answer)
        return "refused"
    results = answer["results"] if isinstance(answer, dict) else answer
    results = results if results and isinstance(results[0], list) else [results]
    for result in results:
        embedding = isinstance(result[0], float)
        assert embedding or len(result) < 6 or is_classification(result, 6), (name, answer)
    json.dumps(answer, allow_nan=False)
    return "answered"


def places(data, at=()):
    """Where something can be replaced: keys and, of long lists, the ends."""
    yield at
    if isinstance(data, dict):
        for key in data:
            yield from places(data[key], (*at, key))
    elif isinstance(data, list):
        for i in sorted({0, len(data) - 1} - {-1}):
            yield from places(data[i], (*at, i))


def replaced(data, at, value):
    """A copy with another value in one place."""
    if not at:
        return value
    data = dict(data) if isinstance(data, dict) else list(data)
    data[at[0]] = replaced(data[at[0]], at[1:], value)
    return data


def damaged_content(content, generator):
    """Another content of a file that came as base64, text or bytes."""
    if isinstance(content, bytes):
        return mutate(content, generator)
    kind = generator.integers(3)
    if kind == 0:
        return mutate(content.encode(), generator).decode("latin-1")
    if kind == 1:
        return content[: generator.integers(len(content))]
    try:
        return base64_of(mutate(base64.b64decode(content, validate=True), generator))
    except ValueError:
        return mutate(content.encode(), generator).decode("utf-8", "replace")


def mutated_request(valid, generator):
    """A request with something wrong somewhere, or, now and then, nothing."""
    data = valid[generator.integers(len(valid))]
    kind = generator.integers(5)
    if kind == 0:
        at = list(places(data))
        nasty = NASTY_VALUES[generator.integers(len(NASTY_VALUES))]
        return replaced(data, at[generator.integers(len(at))], nasty)
    if kind == 1:
        name = PARAMETER_NAMES[generator.integers(len(PARAMETER_NAMES))]
        nasty = NASTY_VALUES[generator.integers(len(NASTY_VALUES))]
        return {**data, "parameters": {**data["parameters"], name: nasty}}
    if kind == 2:
        parameters = dict(data["parameters"])
        parameters.pop(next(iter(parameters)), None) if parameters else None
        return {"inputs": data["inputs"], "parameters": parameters}
    inputs = copy.copy(data["inputs"])
    if isinstance(inputs, dict):
        names = [name for name in ("hea", "dat", "data") if name in inputs]
        for name in names[generator.integers(len(names)) :][:1] if names else ():
            inputs[name] = damaged_content(inputs[name], generator)
    elif isinstance(inputs, str | bytes):
        inputs = damaged_content(inputs, generator)
    elif isinstance(inputs, list):
        row = int(generator.integers(len(inputs)))
        inputs[row] = inputs[row][: generator.integers(len(inputs[row]))]
    return {
        "inputs": [inputs] * int(generator.integers(1, 4)) if kind == 4 else inputs,
        "parameters": data["parameters"],
    }


def deep(levels):
    value = 1.0
    for _ in range(levels):
        value = [value]
    return value


def handmade_requests(witness):
    """Requests that somebody might think of."""

    class Opens:
        def __reduce__(self):
            return open, (str(witness), "w")

    pickled = pickle.dumps(Opens())
    stated = {"sampling_rate": 500, "unit": "mV"}
    yield from NASTY_VALUES
    for value in NASTY_VALUES:
        yield {"inputs": value}
        yield {"inputs": "YSxiCjEsMg==", "parameters": value}
        yield {"inputs": {"ecg": value}, "parameters": stated}
        yield {"inputs": {"data": value, "format": "npy"}, "parameters": stated}
        yield {"inputs": {"hea": value, "dat": value}}
        yield {"inputs": 0, "parameters": {"task": value}}
        yield {"inputs": {"ecg": [1, 2], "n_samples": value}}
        yield {"inputs": [[1.0, 2.0]] * 12, "parameters": stated, "extra": value}
    objects = io.BytesIO()
    np.save(objects, np.array([Opens()] * 12, dtype=object), allow_pickle=True)
    for content in (pickled, objects.getvalue(), pickle.dumps(np.ones((12, 9))), b"PK\x03\x04" + bytes(90)):
        for form in (None, "npy", "npz", "csv", "hdf5", "wfdb", "float32"):
            yield {"inputs": base64_of(content), "parameters": {**stated, "format": form, "exam_id": 7}}
            yield {"inputs": content, "parameters": {**stated, "format": form, "exam_id": 7}}
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.hea", "x 1 500 1000\nx.dat 16 1000/mV 16 0 0 0 0 I\n")
        archive.writestr("x.dat", bytes(200_000_000))
    escape = io.BytesIO()
    with zipfile.ZipFile(escape, "w") as archive:
        archive.writestr("x.hea", "x 1 500 1000\n../escaped.dat 16 1000/mV 16 0 0 0 0 I\n")
        archive.writestr("../escaped.dat", bytes(2000))
    yield from ({"inputs": base64_of(buffer.getvalue())} for buffer in (bomb, escape))
    yield from ({"inputs": deep(levels), "parameters": stated} for levels in (1, 3, 4, 10, 60, 500, 20_000))
    yield {"inputs": [[0.0] * 1_000_000] * 12, "parameters": stated}
    yield {"inputs": [[10**400, 0, 1]] * 12, "parameters": stated}
    yield {"inputs": [[0.0] * 12] * 500, "parameters": stated}
    yield {"inputs": ["a,b\n1,2"] * 500, "parameters": stated}
    yield {"inputs": base64_of(bytes(4800)), "parameters": {**stated, "format": "float32", "shape": [12, 10**9]}}
    yield {"inputs": "1," * 2_000_000, "parameters": stated}
    for value in (1e-9, 1e-300, 9.99, 10_001, 9999.999, 123.4567, 1e300):
        yield {
            "inputs": np.random.default_rng(0).normal(size=(12, 500)),
            "parameters": {**stated, "sampling_rate": value},
        }


def test_a_thousand_malformed_requests(handler, valid_requests, tmp_path):
    witness = tmp_path / "opened"
    generator = np.random.default_rng(SEED)
    outcomes = Counter()
    for i, data in enumerate(valid_requests):
        assert check(handler, data, f"valid request {i}") == "answered"
    for i, data in enumerate(handmade_requests(witness)):
        outcomes[check(handler, data, f"handmade request {i}")] += 1
    assert outcomes["refused"] >= 500
    # A few of these are no mistakes: null where a parameter may be left out.
    assert outcomes["answered"] <= 0.05 * outcomes["refused"]
    mutated = 0
    while outcomes["refused"] < MALFORMED or mutated < 500:
        outcomes[check(handler, mutated_request(valid_requests, generator), f"mutated request {mutated}")] += 1
        mutated += 1
        assert mutated < MOST_REQUESTS, outcomes
    assert outcomes["refused"] >= MALFORMED
    assert not witness.exists(), "a pickle was opened"
    # The handler is as good as before.
    assert check(handler, valid_requests[0], "valid request") == "answered"
