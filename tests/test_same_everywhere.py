"""One ECG, one model: pipeline, endpoint, server, page, converter, export: the same answer, or the same refusal.

So do the ways to its measurements: pipelines, endpoint, server, page and command.
"""

import base64
import io
import json
import re
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import wfdb
from transformers import pipeline


for package in ("onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "ecgclip[export]"')

import serve  # noqa: E402
from data_scripts.conversion.builder import REASONS, Rejection, standard_recording  # noqa: E402
from data_scripts.measure import main as measure_main  # noqa: E402
from modeling_ecgclip import (  # noqa: E402
    LEAD_NAMES,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    read_ecg,
    save_for_hub,
)
from modeling_ecgclip.handler_ecgclip import EndpointHandler  # noqa: E402
from publishing.export import main as export_main  # noqa: E402
from serving.server import EndpointServer  # noqa: E402
from serving.settings import Settings  # noqa: E402
from space.analysis import Analyser  # noqa: E402
from space.uploads import Form, read_upload  # noqa: E402
from tests.simulated import simulated  # noqa: E402


TOLERANCE = 1e-4
RATE = 500  # not the model's, so that every way has to resample
STATED = {"sampling_rate": RATE, "unit": "mV"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A classifier's folder and that of its ONNX export."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    calibration = {"scale": [0.5, 1.0, 2.0, 1.5, 1.0, 1.0], "shift": [-1.0, 0.5, 0.0, 0.3, 0.0, 2.0]}
    config = EcgResNetConfig.from_preset("tiny", thresholds=(0.5,) * 6, calibration=calibration)
    model = EcgResNetForSignalClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.1)
    save_for_hub(model.eval(), folder / "cls", EcgFeatureExtractor())
    command = ["--model_name_or_path", f"{folder}/cls", "--output_dir", f"{folder}/onnx", "--format", "onnx"]
    assert export_main(command) == 0
    return folder / "cls", folder / "onnx"


class Refused(Exception):
    """What each way's own refusal becomes here."""


def by_pipeline(folder):
    classify = pipeline("ecg-classification", model=str(folder), trust_remote_code=True)

    def ask(path, **stated):
        try:
            return classify(str(path), **stated)
        except ValueError as error:
            raise Refused(str(error)) from error

    return ask


def by_endpoint(folder):
    return by_requests(EndpointHandler(str(folder)))


def over_http(port):
    """A function from a request to the answer of `serve.py`."""

    def post(request):
        headers = {"Content-Type": "application/json"}
        sent = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps(request).encode(), headers)
        try:
            with urllib.request.urlopen(sent, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)

    return post


def by_requests(answer_of):
    """Of a function from a request's JSON to the answer's."""

    def ask(path, **stated):
        content = path.read_bytes() if path.is_file() else zipped(path)
        request = {"inputs": base64.b64encode(content).decode(), "parameters": stated}
        answer = json.loads(json.dumps(answer_of(json.loads(json.dumps(request)))))
        if isinstance(answer, dict):
            assert answer["error"]["type"] in ("InvalidEcg", "InvalidParameter")
            assert ("neither the source" in answer["error"]["message"]) == (
                answer["error"]["type"] == "InvalidParameter"
            )
            raise Refused(answer["error"]["message"])
        return answer

    return ask


def by_page(folder):
    analyser = Analyser.load(str(folder))

    def ask(path, **stated):
        paths = [path] if path.is_file() else [path.with_name(f"{path.name}.{ending}") for ending in ("hea", "dat")]
        try:
            analysis = analyser.analyse(*read_upload(paths, Form(**stated)))
        except ValueError as error:
            raise Refused(str(error)) from error
        beside = {"quality": analysis.quality} if analysis.quality else {}
        return [
            {"label": one.name, "score": one.score, "positive": one.positive, **beside}
            for one in analysis.findings.entries
        ]

    return ask


def by_table(folder):
    """Converted, and read as a row of the exam table."""
    classify = pipeline("ecg-classification", model=str(folder), trust_remote_code=True)

    def ask(path, **stated):
        try:
            row = standard_recording("7", read_ecg(path, **stated), classify.feature_extractor)
        except ValueError as error:
            raise Refused(str(error)) from error
        if isinstance(row, Rejection):
            reason = row.reason.removesuffix(" not stated")
            assert reason in (*REASONS.values(), "sampling_rate", "unit", "lead_names"), row
            raise Refused(row.detail)
        results = classify({"ecg": row["ecg"], "n_samples": row["n_samples"]})
        codes = [one["code"] for one in results[0].get("quality", [])]
        assert set(codes) == {flag for flag in row["quality"] if flag != "cropped"}
        return results

    return ask


def zipped(path):
    """A WFDB record as requests hold it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for ending in ("hea", "dat"):
            archive.write(path.with_name(f"{path.name}.{ending}"), f"{path.name}.{ending}")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(folders):
    """A function from a request to the answer of `serve.py`."""
    server = EndpointServer("127.0.0.1", 0, Settings(timeout_s=60, readers=1, workers=1))
    server.load(serve.load_handler(str(folders[0])), str(folders[0]))
    with server.running() as port:
        yield over_http(port)


@pytest.fixture(scope="module")
def ways(folders, server):
    """Functions from a path and what is stated beside it to what each way answers; they raise `Refused`."""
    saved, exported = folders
    return {
        "pipeline": by_pipeline(saved),
        "endpoint": by_endpoint(saved),
        "server": by_requests(server),
        "page": by_page(saved),
        "table": by_table(saved),
        "onnx, pipeline": by_pipeline(exported),
        "onnx, endpoint": by_endpoint(exported),
    }


def noise(_):
    return np.random.default_rng(0).normal(0, 0.3, (12, 4000))


def write(folder, kind, signal, **members):
    """A file of one kind that holds millivolts (12, samples); returns its path."""
    path = folder / f"ecg.{kind}"
    if kind == "npy":
        np.save(path, signal)
    elif kind == "npz":
        np.savez(path, ecg=signal, **members)
    elif kind == "csv":
        rows = [
            ",".join(f"{name} (mV)" for name in LEAD_NAMES),
            *(",".join(map(repr, row)) for row in signal.T.tolist()),
        ]
        path.write_text("\n".join(rows))
    else:
        settings = {"fmt": ["16"] * 12, "adc_gain": [1000.0] * 12, "baseline": [0] * 12, "write_dir": str(folder)}
        wfdb.wrsamp("ecg", RATE, ["mV"] * 12, list(LEAD_NAMES), signal.T, **settings)
        path = folder / "ecg"
    return path


NAMED = {"leads": LEAD_NAMES, "fs": RATE, "units": "mV"}
# The kind of file, what is done to millivolts before they are written, what the file and the caller state.
ANSWERED = {
    "npy": ("npy", None, {}, STATED),
    "npy in volts": ("npy", lambda mv: mv / 1000, {}, {**STATED, "unit": "V"}),
    "npz under other names": ("npz", None, NAMED, {}),
    "npz in another order": ("npz", lambda mv: mv[::-1], {**NAMED, "leads": LEAD_NAMES[::-1]}, {}),
    "csv": ("csv", None, {}, {"sampling_rate": RATE}),
    "wfdb": ("wfdb", None, {}, {}),
    "longer than the window": ("npy", lambda mv: np.concatenate([mv, mv], axis=1), {}, STATED),
    "doubtful: noise": ("npz", noise, NAMED, {}),
    "doubtful: short": ("npz", lambda mv: mv[:, :1800], NAMED, {}),
    "doubtful: a flat lead": ("npz", lambda mv: np.where(np.arange(12)[:, None] == 8, 0.0, mv), NAMED, {}),
}
REFUSED = {
    "no rate": ("npy", None, {}, {"unit": "mV"}, "sampling.rate"),
    "no unit": ("npy", None, {}, {"sampling_rate": RATE}, "unit"),
    "no unit, archive": ("npz", None, {"fs": RATE}, {}, "unit"),
    "eight leads without names": ("npy", lambda mv: mv[:8], {}, STATED, "lead"),
    "another rate": ("wfdb", None, {}, {"sampling_rate": 250}, "source states 500"),
    "another unit": ("npz", None, NAMED, {"unit": "V"}, "contradicts"),
    "volts as millivolts": ("npy", lambda mv: mv / 1000, {}, STATED, "Is the unit another one"),
    "counts as millivolts": ("npy", lambda mv: np.rint(mv * 100), {}, STATED, "Is the unit another one"),
    "microvolts as millivolts": ("npz", lambda mv: mv * 1000, NAMED, {}, "Is the unit another one"),
    "another order": (
        "npy",
        lambda mv: mv[[0, 1, *range(6, 12), 2, 3, 4, 5]],
        {},
        STATED,
        "I II V1-V6 III aVR aVL aVF",
    ),
    "an inverted lead": (
        "wfdb",
        lambda mv: mv * np.where(np.arange(12) == 3, -1, 1)[:, None],
        {},
        {},
        "aVR is upside",
    ),
    "noise without names": ("npy", noise, {}, STATED, "limb leads disagree"),
    "a gap": ("npz", lambda mv: np.where(np.arange(mv.shape[1]) // 20 == 9, np.nan, mv), NAMED, {}, "."),
    "too short": ("npz", lambda mv: mv[:, :900], NAMED, {}, "at least 2 s"),
    "no signal": ("npz", lambda mv: mv * 0 + 1, NAMED, {}, "every lead is constant"),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_same_answer_everywhere(ways, tmp_path, case):
    kind, change, members, stated = ANSWERED[case]
    signal = simulated(1, 5000) if change is None else change(simulated(1, 5000))
    path = write(tmp_path, kind, signal, **members)
    answers = {name: {one["label"]: one for one in ask(path, **stated)} for name, ask in ways.items()}
    expected = answers.pop("pipeline")
    assert ("quality" in expected["AF"]) == case.startswith("doubtful")
    for name, found in answers.items():
        # Tables hold whole microvolts, and what was resampled twice over is longer by up to a sample.
        tolerance = 0.01 if name == "table" else TOLERANCE
        assert set(found) == set(expected), name
        for label, one in expected.items():
            assert found[label]["score"] == pytest.approx(one["score"], abs=tolerance), (name, label)
            assert found[label]["positive"] == one["positive"], (name, label)
            codes = [entry["code"] for entry in one.get("quality", [])]
            assert [entry["code"] for entry in found[label].get("quality", [])] == codes, (name, label)


def measured_everywhere(folders, server, path, stated):
    """The measurements of one ECG by each way, as JSON has them."""
    saved, exported = folders
    content = path.read_bytes() if path.is_file() else zipped(path)
    found = {}
    asked = {"server": server}
    for name, folder in (("saved", saved), ("exported", exported)):
        measure = pipeline("ecg-measurement", model=str(folder), trust_remote_code=True)
        classify = pipeline("ecg-classification", model=str(folder), trust_remote_code=True)
        found[f"{name}, pipeline"] = measure(str(path), **stated)["measurements"]
        found[f"{name}, beside labels"] = classify(str(path), return_measurements=True, **stated)["measurements"]
        asked[f"{name}, endpoint"] = EndpointHandler(str(folder))
    for name, ask in asked.items():
        for parameter in ({"task": "ecg-measurement"}, {"return_measurements": True}):
            request = {"inputs": base64.b64encode(content).decode(), "parameters": {**stated, **parameter}}
            found[f"{name}, {parameter}"] = json.loads(json.dumps(ask(request)))["measurements"]
    paths = [path] if path.is_file() else [path.with_name(f"{path.name}.{ending}") for ending in ("hea", "dat")]
    found["page"] = Analyser.load(str(saved)).analyse(*read_upload(paths, Form(**stated))).to_dict()["measurements"]
    return found


@pytest.mark.parametrize("case", [case for case in ANSWERED if ANSWERED[case][0] != "csv"])
def test_same_measurements_everywhere(folders, server, tmp_path, case):
    kind, change, members, stated = ANSWERED[case]
    (tmp_path / "files").mkdir()
    signal = simulated(0, 5000) if change is None else change(simulated(0, 5000))
    path = write(tmp_path / "files", kind, signal, **members)
    found = measured_everywhere(folders, server, path, stated)
    expected = found.pop("saved, pipeline")
    assert (expected["heart_rate_bpm"] is None) == (case == "doubtful: noise")
    assert found == dict.fromkeys(found, expected)
    flags = {"sampling_rate": "--recorded_rate", "unit": "--unit"}
    command = [part for name, value in stated.items() for part in (flags[name], str(value))]
    output = tmp_path / "measurements.parquet"
    measure_main(["--source_dir", str(tmp_path / "files"), "--output_file", str(output), *command])
    (row,) = pq.read_table(output).to_pylist()
    assert {name: row[name] for name in expected if name.endswith(("_ms", "_bpm", "_deg"))} == {
        name: value for name, value in expected.items() if name.endswith(("_ms", "_bpm", "_deg"))
    }
    assert json.loads(row["reasons"]) == expected["reasons"]


def test_ecgs_are_told_apart(ways, tmp_path):
    scores = set()
    for number in range(3):
        path = write(tmp_path, "npy", simulated(number))
        scores.add(round(ways["pipeline"](path, **STATED)[0]["score"], 4))
    assert len(scores) == 3


@pytest.mark.parametrize("case", REFUSED)
def test_same_refusal_everywhere(ways, tmp_path, case):
    kind, change, members, stated, message = REFUSED[case]
    path = write(tmp_path, kind, simulated(1, 5000) if change is None else change(simulated(1, 5000)), **members)
    for name, ask in ways.items():
        with pytest.raises(Refused) as refused:
            ask(path, **stated)
        assert re.search(message, str(refused.value)), (name, str(refused.value))
