"""One ECG, one model: pipeline, endpoint, Space and exported model give the same probabilities."""

import base64
import json

import numpy as np
import pytest
import torch
from transformers import pipeline


for package in ("onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "ecgclip[export]"')

from data_scripts.simulate.exam import simulate_exam  # noqa: E402
from modeling_ecgclip import (  # noqa: E402
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    save_for_hub,
)
from modeling_ecgclip.handler_ecgclip import EndpointHandler  # noqa: E402
from publishing.export import main as export_main  # noqa: E402
from space.analysis import Analyser  # noqa: E402
from space.uploads import Form, read_upload  # noqa: E402


TOLERANCE = 1e-4
RATE = 500  # not the model's, so that every way has to resample


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A classifier's folder and that of its ONNX export."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.5,) * 6)
    model = EcgResNetForSignalClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.1)
    save_for_hub(model.eval(), folder / "cls", EcgFeatureExtractor())
    command = ["--model_name_or_path", f"{folder}/cls", "--output_dir", f"{folder}/onnx", "--format", "onnx"]
    assert export_main(command) == 0
    return folder / "cls", folder / "onnx"


def ways(folders):
    """Functions from the path of a .npy file, millivolts at `RATE`, to what each way answers."""
    torch_folder, onnx_folder = (str(folder) for folder in folders)

    def by_pipeline(folder):
        classify = pipeline("ecg-classification", model=folder, trust_remote_code=True)
        return lambda path: classify(str(path), sampling_rate=RATE)

    def by_endpoint(folder):
        handler = EndpointHandler(folder)

        def answer(path):
            request = {
                "inputs": base64.b64encode(path.read_bytes()).decode(),
                "parameters": {"sampling_rate": RATE, "format": "npy"},
            }
            return json.loads(json.dumps(handler(json.loads(json.dumps(request)))))

        return answer

    def by_space(folder):
        analyser = Analyser.load(folder)
        form = Form(sampling_rate=RATE)
        return lambda path: analyser.analyse(*read_upload([path], form, analyser.lead_names)).findings.to_list()

    return {
        "pipeline": by_pipeline(torch_folder),
        "endpoint": by_endpoint(torch_folder),
        "space": by_space(torch_folder),
        "onnx, pipeline": by_pipeline(onnx_folder),
        "onnx, endpoint": by_endpoint(onnx_folder),
    }


def test_same_probabilities_everywhere(folders, tmp_path):
    answers, asks = {}, ways(folders)
    for index in range(3):
        path = tmp_path / f"ecg_{index}.npy"
        np.save(path, simulate_exam(1, index).signal)
        for name, ask in asks.items():
            answers.setdefault(name, []).append({one["label"]: one for one in ask(path)})
    reference = answers.pop("pipeline")
    assert len({round(one["AF"]["score"], 4) for one in reference}) == 3  # the ECGs can be told apart
    assert len(answers) == 4
    for name, found in answers.items():
        for one, expected in zip(found, reference, strict=True):
            assert set(one) == set(expected), name
            for label in expected:
                assert one[label]["score"] == pytest.approx(expected[label]["score"], abs=TOLERANCE), (name, label)
                assert one[label]["positive"] == expected[label]["positive"], (name, label)
