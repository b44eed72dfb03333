"""The endpoint's answers: as the pipeline's, from the folder alone, and by name where there is none."""

import base64
import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import zipfile

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, pipeline

from modeling_ecgclip import (
    LEAD_NAMES,
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    save_for_hub,
)
from modeling_ecgclip.handler_ecgclip import EndpointHandler
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.limits_ecgclip import MAX_REQUEST_ECGS, MAX_VALUES
from modeling_ecgclip.requests_ecgclip import ERROR_TYPES, FORMATS
from tests.modeling_ecgclip.request_forms import base64_of, request_forms, write_files
from tests.simulated import simulated


THRESHOLDS = (0.3, 0.4, 0.5, 0.5, 0.6, 0.7)
STATED = {"sampling_rate": 500, "unit": "mV"}
TEXTS = ["ritmo regular", "RSR em V1"]
# Blocks the project, also where it is installed, and imports handler.py as Inference Endpoints does.
FRESH_INTERPRETER = """
import importlib.abc, importlib.util, json, sys
folder, request, answer = sys.argv[1:]

class NoProject(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_ecgclip", "common", "data_scripts", "metrics", "training", "publishing"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoProject())
import torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", f"{folder}/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
answers = []
for path in (folder, ""):
    handler = module.EndpointHandler(path)
    answers.append([handler(data) for data in json.load(open(request))])
json.dump({"answers": answers, "info": handler.handler.model_info}, open(answer, "w"))
"""


@pytest.fixture(scope="module")
def folders(text_model, tmp_path_factory):
    """A classifier and a dual encoder, as training leaves them."""
    folder = tmp_path_factory.mktemp("endpoint")
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny")
    processor = EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))
    classifier = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny", thresholds=THRESHOLDS))
    save_for_hub(classifier, folder / "classifier", processor)
    save_for_hub(EcgClipModel.from_ecg_text_pretrained(config, str(text_model)), folder / "clip", processor)
    return folder


@pytest.fixture(scope="module")
def ecg():
    """(12, 2500) whole microvolts."""
    return np.rint(simulated(0, 2500) * 1000).astype(np.int16)


@pytest.fixture(scope="module")
def forms(ecg, tmp_path_factory):
    return request_forms(tmp_path_factory.mktemp("forms"), ecg)


@pytest.fixture(scope="module")
def handler(folders):
    return EndpointHandler(str(folders / "classifier"))


@pytest.fixture(scope="module")
def classifier(folders):
    return pipeline("ecg-classification", model=str(folders / "classifier"), trust_remote_code=True)


def assert_same(found, expected):
    """Equal labels, decisions and, to 1e-6, scores."""
    assert [label["label"] for label in found] == [label["label"] for label in expected]
    assert [label["positive"] for label in found] == [label["positive"] for label in expected]
    np.testing.assert_allclose([label["score"] for label in found], [label["score"] for label in expected], atol=1e-6)


def error_of(answer):
    """Type and message of an answer that must be an error."""
    assert set(answer) == {"error"}, answer
    assert set(answer["error"]) == {"type", "message"}
    assert answer["error"]["type"] in ERROR_TYPES
    assert "Traceback" not in answer["error"]["message"] and tempfile.gettempdir() not in answer["error"]["message"]
    return answer["error"]["type"], answer["error"]["message"]


class TestAnswers:
    @pytest.mark.parametrize("problem", ["regression", "single_label_classification"])
    def test_outputs_that_are_not_decided_on(self, problem, forms, tmp_path):
        torch.manual_seed(0)
        config = EcgResNetConfig.from_preset("tiny", id2label={0: "k", 1: "age"}, problem_type=problem)
        save_for_hub(EcgResNetForSignalClassification(config), tmp_path / "model", EcgFeatureExtractor())
        handler = EndpointHandler(str(tmp_path / "model"))
        inputs, rate = forms["npy"][:2]
        answer = handler({"inputs": inputs, "parameters": rate})
        assert {tuple(one) for one in answer} == {("label", "score")}
        assert {one["label"] for one in answer} == {"k", "age"}
        kind, message = error_of(handler({"inputs": inputs, "parameters": {**rate, "thresholds": {"age": 0.5}}}))
        assert kind == "InvalidParameter" and message.endswith(f"this one's problem_type is {problem}")

    def test_every_form_as_the_pipeline(self, handler, classifier, forms):
        assert len(forms) > 20
        for name, (inputs, parameters, source, arguments) in forms.items():
            found = handler({"inputs": inputs, "parameters": parameters})
            assert isinstance(found, list), (name, found)
            assert_same(found, classifier(source, **arguments))

    def test_batches(self, handler, classifier, forms):
        names = ["CSV text", "npz", "WFDB pair", "dictionary with its own settings", "npy"]
        found = handler({"inputs": [forms[name][0] for name in names], "parameters": STATED})
        assert len(found) == len(names)
        for name, answer in zip(names, found, strict=True):
            assert_same(answer, classifier(forms[name][2], **forms[name][3]))
        several = np.stack([forms["array"][0]] * 3)
        for inputs in (several.tolist(), several):
            answers = handler({"inputs": inputs, "parameters": STATED})
            assert len(answers) == 3
            assert_same(answers[2], classifier(several[2], **STATED))

    def test_answer_is_json(self, handler, forms):
        answer = handler({"inputs": forms["npy"][0], "parameters": forms["npy"][1]})
        assert json.loads(json.dumps(answer)) == answer

    def test_parameters_of_classification(self, handler, forms):
        inputs, rate = forms["npy"][:2]
        everything = handler({"inputs": inputs, "parameters": rate})
        assert handler({"inputs": inputs, "parameters": {**rate, "top_k": 2}}) == everything[:2]
        first, second = everything[0]["label"], everything[1]["label"]
        for threshold in (0.0, 1.0):
            changed = handler({"inputs": inputs, "parameters": {**rate, "thresholds": {first: threshold}}})
            assert changed[0]["positive"] == (threshold == 0)
            assert changed[1] == everything[1] and second == changed[1]["label"]
        named = handler({"inputs": inputs, "parameters": {**rate, "with_model": True}})
        assert named["results"] == everything
        assert named["model"]["architecture"] == "EcgResNetForSignalClassification"

    def test_measurements(self, handler, folders, forms):
        inputs, rate, source, arguments = forms["npy"]
        measure = pipeline("ecg-measurement", model=str(folders / "classifier"), trust_remote_code=True)
        expected = measure(source, **arguments)
        assert expected["measurements"]["heart_rate_bpm"] is not None
        for folder in (handler, EndpointHandler(str(folders / "clip"))):
            assert folder({"inputs": inputs, "parameters": {**rate, "task": "ecg-measurement"}}) == expected
        plain = handler({"inputs": inputs, "parameters": rate})
        parameters = {**rate, "return_measurements": "true", "thresholds": {plain[0]["label"]: 1.0}}
        several = handler({"inputs": [inputs, inputs], "parameters": parameters})
        assert several[0] == several[1] == json.loads(json.dumps(several[0], allow_nan=False))
        assert several[0]["measurements"] == expected["measurements"]
        assert_same(several[0]["labels"], [{**plain[0], "positive": False}, *plain[1:]])

    def test_version_tells_weights_apart(self, handler, folders, tmp_path):
        model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny"))
        save_for_hub(model, tmp_path / "other", EcgFeatureExtractor())
        assert len(handler.model_info["version"]) == 16
        again = EndpointHandler(str(folders / "classifier")).model_info
        assert again == handler.model_info
        assert EndpointHandler(str(tmp_path / "other")).model_info["version"] != again["version"]

    def test_null_is_a_missing_sample(self, handler, classifier, forms):
        mv = np.array(forms["leads x samples"][0])
        mv[3, 100:110] = np.nan
        leads = [[None if np.isnan(value) else value for value in lead] for lead in mv.tolist()]
        refused = handler({"inputs": leads, "parameters": STATED})
        assert error_of(refused)[0] == "InvalidEcg" and "aVR: 10 of 2500" in error_of(refused)[1]
        found = handler({"inputs": leads, "parameters": {**STATED, "repair_nan": "true"}})
        assert_same(found, classifier(mv, **STATED, repair_nan=True))

    def test_missing_leads(self, handler, classifier, forms):
        whole = np.array(forms["leads x samples"][0])
        mv = whole[[0, 1, 6, 7, 8, 9, 10, 11]]
        arguments = {**STATED, "lead_names": ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]}
        found = handler({"inputs": mv.tolist(), "parameters": arguments})
        assert_same(found, classifier(mv, **arguments))
        mv = whole[[0, 1, 6, 7, 8, 9, 10, 3]]
        few = {**STATED, "lead_names": "I,II,V1,V2,V3,V4,V5,aVR"}
        assert "missing V6" in error_of(handler({"inputs": mv.tolist(), "parameters": few}))[1]
        allowed = handler({"inputs": mv.tolist(), "parameters": {**few, "allow_missing_leads": True}})
        few = {**few, "lead_names": few["lead_names"].split(",")}
        assert_same(allowed, classifier(mv, **few, allow_missing_leads=True))

    def test_feature_extraction(self, handler, folders, forms):
        extract = pipeline("ecg-feature-extraction", model=str(folders / "classifier"), trust_remote_code=True)
        parameters = {**forms["npy"][1], "task": "ecg-feature-extraction"}
        found = handler({"inputs": forms["npy"][0], "parameters": parameters})
        expected = np.asarray(extract(forms["npy"][2], **forms["npy"][3]))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())

    def test_zero_shot(self, folders, forms):
        handler = EndpointHandler(str(folders / "clip"))
        classifier = pipeline("zero-shot-ecg-classification", model=str(folders / "clip"), trust_remote_code=True)
        arguments = {**STATED, "candidate_labels": TEXTS, "hypothesis_template": "ECG: {}"}
        found = handler({"inputs": [forms["npy"][0]] * 2, "parameters": arguments})
        expected = classifier(forms["npy"][2], **arguments)
        for answer in found:
            assert [label["label"] for label in answer] == [label["label"] for label in expected]
            np.testing.assert_allclose([x["score"] for x in answer], [x["score"] for x in expected], atol=1e-6)
        for parameters in (
            {},
            {"candidate_labels": []},
            {"candidate_labels": ["a", "a"]},
            {"candidate_labels": "a" * 600},
        ):
            answer = handler({"inputs": forms["npy"][0], "parameters": {**STATED, **parameters}})
            assert error_of(answer)[0] == "InvalidParameter"
        for template in ("no place", "{} {}", 3):
            parameters = {**STATED, "candidate_labels": TEXTS, "hypothesis_template": template}
            answer = handler({"inputs": forms["npy"][0], "parameters": parameters})
            assert error_of(answer) == (
                "InvalidParameter",
                "expected hypothesis_template as a text that holds {} once",
            )

    def test_what_is_doubtful_is_said(self, handler, classifier, forms):
        noise = np.random.default_rng(0).normal(0, 0.3, (12, 2500))
        named = {**STATED, "lead_names": list(LEAD_NAMES)}
        inputs = [{"ecg": noise.tolist(), **named}, forms["npy"][0]]
        doubtful, clean = handler({"inputs": inputs, "parameters": {**STATED, "top_k": 2}})
        assert doubtful == json.loads(json.dumps(handler.pipelines["ecg-classification"](noise, **named, top_k=2)))
        for found, wanted in zip(doubtful, classifier(noise, **named, top_k=2), strict=True):
            assert found == {**wanted, "score": pytest.approx(wanted["score"], abs=1e-6)}
        codes = [one["code"] for one in doubtful[1]["quality"]]
        assert codes == ["limb_leads_disagree", "not_an_ecg"]
        assert all("quality" not in one for one in clean)
        parameters = {**STATED, "task": "ecg-feature-extraction", "with_model": True}
        embedded = handler({"inputs": inputs, "parameters": parameters})
        assert [[one["code"] for one in quality] for quality in embedded["quality"]] == [codes, []]
        assert np.shape(embedded["results"]) == (2, len(embedded["results"][0]))

    def test_abstaining(self, handler, forms, tmp_path):
        inputs, stated = forms["npy"][:2]
        refused = handler({"inputs": inputs, "parameters": {**stated, "abstain": True}})
        assert error_of(refused) == ("InvalidParameter", "this model has no bounds to abstain by: leave abstain out")
        model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset("tiny", thresholds=THRESHOLDS))
        save_for_hub(model, tmp_path / "decides", EcgFeatureExtractor())
        decided = EndpointHandler(str(tmp_path / "decides"))({"inputs": inputs, "parameters": stated})
        scores = {one["label"]: one["score"] for one in decided}
        found = [scores[name] for name in LABEL_NAMES]
        low = [found[0] + 0.01, found[1] - 0.01, found[2] - 0.02, None, 0.0, 0.0]
        high = [found[0] + 0.02, found[1] + 0.01, found[2] - 0.01, None, 1.0, found[5]]
        model.config.abstention = {"error": 0.1, "low": low, "high": high}
        save_for_hub(model, tmp_path / "model", EcgFeatureExtractor())
        abstains = EndpointHandler(str(tmp_path / "model"))
        for given in ({}, {"abstain": True}):
            answer = abstains({"inputs": inputs, "parameters": {**stated, **given}})
            said = {one["label"]: one["decision"] for one in answer}
            assert [said[name] for name in LABEL_NAMES] == [
                "negative",
                "uncertain",
                "positive",
                None,
                "uncertain",
                "positive",
            ]
        answer = abstains({"inputs": inputs, "parameters": {**stated, "abstain": False}})
        assert not any("decision" in one for one in answer)
        wrong = abstains({"inputs": inputs, "parameters": {**stated, "abstain": 1}})
        assert error_of(wrong) == ("InvalidParameter", "expected abstain as true or false")

    def test_several_threads(self, handler, forms):
        inputs, rate = forms["npy"][:2]
        expected = handler({"inputs": inputs, "parameters": rate})
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(handler({"inputs": inputs, "parameters": rate})))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == [expected] * 8


class TestErrors:
    @pytest.mark.parametrize(
        ("data", "error_type", "message"),
        [
            (None, "InvalidRequest", "expected a dictionary with inputs"),
            ([], "InvalidRequest", "expected a dictionary with inputs and optionally parameters: found list"),
            ({}, "InvalidRequest", "expected a dictionary with inputs"),
            ({"inputs": [[1]], "parameter": {}}, "InvalidRequest", "found inputs, parameter"),
            ({"inputs": [[1]], "parameters": []}, "InvalidRequest", "expected parameters as a dictionary: found list"),
            ({"inputs": None}, "InvalidRequest", "inputs: expected one ECG or a list of ECGs: found None"),
            ({"inputs": 3}, "InvalidRequest", "found 3"),
            ({"inputs": []}, "InvalidRequest", "found list of length 0"),
            ({"inputs": [1, 2]}, "InvalidRequest", r"inputs\[0\]: expected numbers, text or a dictionary: found 1"),
            ({"inputs": {}}, "InvalidRequest", "expected a dictionary with ecg, with data, or with hea and dat"),
            ({"inputs": {"path": "/etc/passwd"}}, "InvalidRequest", "expected a dictionary with ecg.*found path"),
            ({"inputs": {"ecg": [[1]], "data": "YQ=="}}, "InvalidRequest", "found ecg, data"),
            ({"inputs": {"hea": "YQ=="}}, "InvalidRequest", "hea and dat"),
            ({"inputs": {"data": [[1]]}}, "InvalidRequest", "expected data as text"),
            ({"inputs": "/etc/passwd"}, "InvalidRequest", "inputs: expected base64"),
            ({"inputs": "/etc/passwd1"}, "UnsupportedFormat", "pickles are never loaded"),
            ({"inputs": "../../etc/passwd"}, "InvalidRequest", "inputs: expected base64"),
            ({"inputs": "http://127.0.0.1/ecg.npy"}, "InvalidRequest", "inputs: expected base64"),
            ({"inputs": ""}, "InvalidEcg", "inputs: expected an ECG: found nothing"),
            ({"inputs": [[1.0] * 9] * 12}, "InvalidParameter", "inputs: expected sampling_rate in Hz"),
            ({"inputs": [[1.0] * 9] * 12, "parameters": {"sampling_rate": 500}}, "InvalidParameter", "expected unit"),
            ({"inputs": [[1.0] * 9] * 8, "parameters": STATED}, "InvalidParameter", "inputs: expected lead_names"),
            ({"inputs": [[1.0, "a"]] * 12}, "InvalidEcg", "inputs: expected numbers: found str"),
            ({"inputs": [[1.0, True]] * 12}, "InvalidEcg", "inputs: expected numbers: found bool"),
            ({"inputs": [[1.0, 2.0], [1.0]]}, "InvalidEcg", r"expected lists of one length: found \[1, 2\]"),
            ({"inputs": [[[[1.0]]]]}, "InvalidEcg", r"inputs\[0\]: expected numbers: found list"),
        ],
    )
    def test_malformed(self, handler, data, error_type, message):
        found_type, found = error_of(handler(data))
        assert found_type == error_type, found
        assert re.search(message, found), found

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"fs": 500}, "takes the parameters .*found fs"),
            ({"candidate_labels": ["a"]}, "ecg-classification takes.*found candidate_labels"),
            ({"task": "zero-shot-ecg-classification"}, "expected task as one of ecg-classification, ecg-feature"),
            ({"task": ["ecg-classification"]}, "expected task as one of"),
            ({"sampling_rate": "fast"}, "parameters: expected sampling_rate as a number of Hz: found 'fast'"),
            ({"sampling_rate": True}, "sampling_rate as a number"),
            ({"sampling_rate": float("inf")}, "sampling_rate as a number"),
            ({"sampling_rate": 10**400}, "sampling_rate as a number"),
            ({"lead_names": []}, "lead_names as a list"),
            ({"lead_names": [1] * 12}, "lead_names as a list"),
            ({"lead_names": ["I"] * 100}, "lead_names as a list"),
            ({"unit": 3}, "unit as mV, uV or V"),
            ({"exam_id": [1]}, "exam_id as a whole number or text"),
            ({"format": "pickle"}, f"format as one of {', '.join(FORMATS)}: found 'pickle'"),
            ({"shape": [12]}, "shape as two whole numbers"),
            ({"shape": [12, -1]}, "shape as two whole numbers"),
            ({"shape": "12x5000"}, "shape as two whole numbers"),
            ({"top_k": 0}, "top_k as a whole number of at least 1"),
            ({"top_k": 1.5}, "top_k as a whole number of at least 1"),
            ({"thresholds": {"flu": 0.5}}, "thresholds as a dictionary"),
            ({"thresholds": {"AF": 2}}, "thresholds as a dictionary"),
            ({"thresholds": {"AF": "a"}}, "thresholds as a dictionary"),
            ({"thresholds": [0.5] * 6}, "thresholds as a dictionary"),
            ({"with_model": "yes"}, "with_model as true or false"),
            ({"return_measurements": 1}, "return_measurements as true or false"),
            ({"task": "ecg-measurement", "top_k": 1}, "ecg-measurement takes the parameters .*found top_k"),
            ({"repair_nan": 1}, "repair_nan as true or false"),
            ({"format": "float32"}, "format float32 needs the parameter shape"),
        ],
    )
    def test_parameters(self, handler, parameters, message):
        inputs = base64_of(bytes(4 * 12 * 100))
        found_type, found = error_of(handler({"inputs": inputs, "parameters": {**STATED, **parameters}}))
        assert found_type == "InvalidParameter", found
        assert re.search(message, found), found

    def test_the_ecg_at_fault_is_named(self, handler, forms):
        good = forms["leads x samples"][0]
        flat = [[0.0] * 1000] * 12
        answer = handler({"inputs": [good, good, flat], "parameters": STATED})
        assert error_of(answer)[0] == "InvalidEcg"
        assert error_of(answer)[1].startswith("inputs[2] (unit mV): every lead is constant")
        answer = handler({"inputs": {"ecg": flat, "name": "bed 4"}, "parameters": STATED})
        assert error_of(answer)[1].startswith("inputs (bed 4) (unit mV): every lead is constant")

    def test_contradictions(self, handler, forms):
        answer = handler({"inputs": forms["WFDB pair"][0], "parameters": {"sampling_rate": 250}})
        assert error_of(answer)[1].startswith("inputs: the source states 500.0 Hz; sampling_rate=250")
        parameters = {**forms["float32"][1], "shape": [12, 77]}
        answer = handler({"inputs": forms["float32"][0], "parameters": parameters})
        assert "expected 3,696 bytes of float32 for shape [12, 77]: found 120,000" in error_of(answer)[1]
        row = forms["exam-table row"][0]
        assert isinstance(handler({"inputs": row, "parameters": {"sampling_rate": 400, "unit": "uV"}}), list)
        for wrong in ({"sampling_rate": 500}, {"unit": "mV"}, {"lead_names": [*LEAD_NAMES[::-1]]}):
            for data in ({"inputs": row, "parameters": wrong}, {"inputs": {**row, **wrong}}):
                assert "contradicts it" in error_of(handler(data))[1]

    def test_too_large(self, handler, forms):
        rate = STATED
        many = handler({"inputs": ["YQ=="] * (MAX_REQUEST_ECGS + 1), "parameters": rate})
        assert error_of(many)[0] == "TooLarge"
        long = handler({"inputs": [[0] * (MAX_VALUES // 12 + 1)] * 12, "parameters": rate})
        assert error_of(long)[0] == "TooLarge"
        array = np.zeros((12, MAX_VALUES // 12), np.int16)
        together = handler({"inputs": [array] * 2, "parameters": rate})
        assert error_of(together)[0] == "TooLarge"
        assert error_of(handler({"inputs": "A" * (2**25 + 1)}))[0] == "TooLarge"
        assert error_of(handler({"inputs": bytes(2**25 + 1)}))[0] == "TooLarge"

    def test_pickles_are_never_loaded(self, handler, tmp_path):
        witness = tmp_path / "opened"

        class Opens:
            def __reduce__(self):
                return open, (str(witness), "w")

        payload = pickle.dumps(Opens())
        for form in (None, *FORMATS):
            parameters = {**STATED, "shape": [12, 100], "exam_id": 7, "format": form}
            for inputs in (payload, base64_of(payload), {"data": base64_of(payload)}):
                error_of(handler({"inputs": inputs, "parameters": parameters}))
        assert not witness.exists()

    def test_wfdb_names_no_other_file(self, handler, ecg, tmp_path):
        files = write_files(tmp_path / "files", ecg)
        header = files["hea"].decode()
        dat = base64_of(files["dat"])
        for name in ("../ecg.dat", "/etc/passwd", "ecg.hea", "a/b.dat", "http://127.0.0.1/ecg.dat"):
            answer = handler({"inputs": {"hea": header.replace("ecg.dat", name), "dat": dat}})
            assert error_of(answer)[0] == "InvalidEcg", name
        renamed = handler({"inputs": {"hea": header.replace("ecg.dat", "other.dat"), "dat": dat}})
        assert renamed == handler({"inputs": {"hea": header, "dat": dat}})

    def test_wfdb_record_of_segments(self, handler, ecg, segmented_record, wfdb_record):
        whole = handler(
            {"inputs": {one: base64_of(wfdb_record.with_suffix(f".{one}").read_bytes()) for one in ("hea", "dat")}}
        )
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in segmented_record.iterdir():
                archive.write(path, path.name)
        assert_same(handler({"inputs": base64_of(buffer.getvalue())}), whole)
        without = io.BytesIO()
        with zipfile.ZipFile(without, "w") as archive:
            for path in segmented_record.glob("rec_*"):
                archive.write(path, path.name)
        kind, message = error_of(handler({"inputs": base64_of(without.getvalue())}))
        assert (kind, message) == ("InvalidEcg", "inputs: expected one WFDB header: found 2")

    def test_defects_are_answered_and_logged_without_the_recording(self, handler, forms, monkeypatch, caplog):
        def fails(*args, **kwargs):
            raise RuntimeError("patient 4711 had [0.5, 0.7]")

        monkeypatch.setattr(handler.pipelines["ecg-classification"], "postprocess", fails)
        monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
        library = logging.getLogger(EndpointHandler.__module__)
        library.addHandler(caplog.handler)
        try:
            answer = handler({"inputs": forms["npy"][0], "parameters": forms["npy"][1]})
        finally:
            library.removeHandler(caplog.handler)
        assert error_of(answer)[0] == "InternalError"
        assert "4711" not in json.dumps(answer) and "4711" not in caplog.text
        assert "RuntimeError in fails, line" in caplog.text


def test_folder_alone_answers(folders, handler, forms, tmp_path):
    names = ["leads x samples", "CSV text", "WFDB pair", "npy", "hdf5"]
    requests = [{"inputs": forms[name][0], "parameters": forms[name][1]} for name in names]
    requests += [{"inputs": [forms["CSV text"][0]] * 2, "parameters": STATED}, {"inputs": 3}]
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    script = tmp_path / "fresh.py"
    script.write_text(FRESH_INTERPRETER, encoding="utf-8")
    arguments = [str(folders / "classifier"), str(tmp_path / "requests.json"), str(tmp_path / "answers.json")]
    done = subprocess.run(
        [sys.executable, "-I", str(script), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "answers.json").read_text())
    assert found["info"] == handler.model_info
    for answers in found["answers"]:
        for request, answer in zip(requests[:-2], answers[:-2], strict=True):
            assert_same(answer, handler(request))
        assert_same(answers[-2][1], handler(requests[-2])[1])
        assert answers[-1] == handler(requests[-1])
    assert error_of(found["answers"][0][-1])[0] == "InvalidRequest"


def test_exported_model_answers_alike(folders, handler, forms, tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    from publishing.export import main

    folder = tmp_path / "exported"
    main(["--model_name_or_path", str(folders / "classifier"), "--output_dir", str(folder), "--format", "onnx"])
    exported = EndpointHandler(str(folder))
    assert (folder / "handler.py").is_file()
    assert exported.model_info["architecture"] == "ExportedEcgClassifier"
    assert exported.model_info["version"] != handler.model_info["version"]
    for name in ("leads x samples", "WFDB pair", "hdf5"):
        data = {"inputs": [forms[name][0]] * 2, "parameters": forms[name][1]}
        for found, expected in zip(exported(data), handler(data), strict=True):
            scores = {label["label"]: label["score"] for label in expected}
            assert {label["label"]: label["score"] for label in found} == pytest.approx(scores, abs=1e-4)


def test_folder_of_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="expected a model that offers one of ecg-classification"):
        EndpointHandler(str(tmp_path))


def test_base64_may_be_wrapped(handler, forms):
    inputs, rate = forms["npy"][:2]
    wrapped = base64.encodebytes(base64.b64decode(inputs)).decode()
    assert "\n" in wrapped
    answer = handler({"inputs": wrapped, "parameters": rate})
    assert_same(answer, handler({"inputs": inputs, "parameters": rate}))
