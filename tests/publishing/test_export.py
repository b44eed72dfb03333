"""Exported classifiers against the PyTorch models that they were made from."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification, pipeline

from tests.simulated import simulated


for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f'{package} is not installed: pip install "ecgclip[export]"')

from common.checksums import SUMS_FILE, verify_checksums  # noqa: E402
from modeling_ecgclip import (  # noqa: E402
    EcgClassificationPipeline,
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    EcgResNetModel,
    save_for_hub,
)
from modeling_ecgclip.checksums_ecgclip import DamagedFileError  # noqa: E402
from modeling_ecgclip.exported_ecgclip import MODEL_FILES, ExportedEcgClassifier, ExportedEcgConfig  # noqa: E402
from publishing import export as exporting  # noqa: E402
from publishing.export import ExportArguments, export, main, write_onnx  # noqa: E402
from tests.modeling_ecgclip.test_checksums_ecgclip import flip_bit  # noqa: E402


PROJECT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
FLOAT32 = [("onnx", "float32"), ("openvino", "float32")]
ALL = [*FLOAT32, ("openvino", "bfloat16"), ("onnx", "int8"), ("openvino", "int8")]


def random_classifier(**kwargs):
    """Normalisations with statistics, and a head whose probabilities differ: new ones would hide mistakes."""
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset("tiny", thresholds=THRESHOLDS, **kwargs)
    model = EcgResNetForSignalClassification(config).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    torch.nn.init.normal_(model.classifier.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "cls"
    model = random_classifier()
    save_for_hub(model, folder, EcgFeatureExtractor())
    return folder, model


@pytest.fixture(scope="module")
def graph_written_once(original, tmp_path_factory):
    """torch's exporter takes seconds, and what it writes of one model is the same each time."""
    path = tmp_path_factory.mktemp("graph") / "float32.onnx"
    write_onnx(original[1], path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "write_onnx", lambda model, target: shutil.copy(path, target))
        yield


@pytest.fixture(scope="module")
def exports(original, exam_table, graph_written_once, tmp_path_factory):
    """Folders of all formats and precisions; each is made once."""
    made = {}

    def folder_of(form, precision):
        if (form, precision) not in made:
            made[form, precision] = tmp_path_factory.mktemp("exports") / f"{form}-{precision}"
            command = ["--model_name_or_path", str(original[0]), "--output_dir", str(made[form, precision])]
            command += ["--format", form, "--precision", precision]
            if precision != "float32":
                # Noise has probabilities anywhere: too few decisions are far from a threshold for the usual bound.
                command += ["--dataset_name_or_path", str(exam_table), "--min_equal_decisions", "0.5"]
            assert main(command) == 0
        return made[form, precision]

    return folder_of


def some_ecgs(n_ecgs=5, seed=3):
    return torch.randn(n_ecgs, 12, 4096, generator=torch.Generator().manual_seed(seed)) * 0.4


@torch.inference_mode()
def probabilities(model, ecgs):
    return model(ecgs).logits.sigmoid()


@pytest.mark.parametrize(("form", "precision"), FLOAT32)
def test_float32_gives_the_probabilities_of_pytorch_at_any_batch_size(exports, original, form, precision):
    model = ExportedEcgClassifier.from_pretrained(exports(form, precision))
    ecgs = some_ecgs()
    expected = probabilities(original[1], ecgs)
    assert (expected.max(0).values - expected.min(0).values).max() > 0.01  # the ECGs can be told apart
    for batch in (ecgs, ecgs[:1], ecgs[1:3]):
        found = probabilities(model, batch)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, probabilities(original[1], batch), atol=TOLERANCE, rtol=0)
    assert model(ecgs[:0]).logits.shape == (0, 6)


def computes_in_bfloat16():
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(("form", "precision"), ALL[2:])
def test_other_precisions_are_near_and_not_the_same(exports, original, form, precision):
    model = ExportedEcgClassifier.from_pretrained(exports(form, precision))
    difference = (probabilities(model, some_ecgs()) - probabilities(original[1], some_ecgs())).abs().max()
    assert difference < 0.1
    if precision == "bfloat16" and not computes_in_bfloat16():  # a processor that cannot takes float32
        assert difference < 1e-5
    else:
        assert difference > 1e-6
    assert model.config.export_precision == precision


@pytest.mark.parametrize(("form", "precision"), ALL)
def test_folder_is_whole(exports, form, precision):
    folder = exports(form, precision)
    record = json.loads((folder / "export.json").read_text())
    assert (record["format"], record["precision"]) == (form, precision)
    assert (record["model"], record["problem_type"]) == ("cls", "multi_label_classification")  # no folder's place
    exams = record["checks"]["simulated" if precision == "float32" else "exam table"]
    assert exams["decisions"] == 6 * exams["ecgs"] and exams["ecgs"] >= 30
    assert 0 < exams["mean_difference"] < exams["largest_difference"] < (1e-4 if precision == "float32" else 0.2)
    assert record["versions"]["torch"] == torch.__version__
    config = json.loads((folder / "config.json").read_text())
    assert config["thresholds"] == list(THRESHOLDS)
    assert list(config["id2label"].values()) == ["1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"]
    expected = {*MODEL_FILES[form], "export.json", "preprocessor_config.json", "exported_ecgclip.py"}
    assert expected <= {path.name for path in folder.iterdir()}
    assert not [path for path in folder.iterdir() if path.is_dir()]
    if precision == "int8":
        assert record["calibration"] == {"ecgs": 90, "sources": {"simulated": 90}}


def test_int8_is_a_fraction_of_the_size(exports):
    def size(precision):
        return (exports("openvino", precision) / "openvino_model.bin").stat().st_size

    assert size("int8") < 0.45 * size("float32")


def test_pipeline_gives_the_same_answers(exports, original):
    ecg = simulated(0, 5000)
    answers = []
    for folder in (original[0], exports("onnx", "float32"), exports("openvino", "float32")):
        classify = pipeline("ecg-classification", model=str(folder), trust_remote_code=True)
        answers.append(classify([ecg, ecg / 2, ecg[:, :3000]], sampling_rate=500, unit="mV", batch_size=2))
    for answer in answers[1:]:
        for expected, found in zip(answers[0], answer, strict=True):
            assert [one["label"] for one in found] == [one["label"] for one in expected]
            assert [one["positive"] for one in found] == [one["positive"] for one in expected]
            assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=TOLERANCE)


def test_folder_works_where_this_project_is_not_installed(exports, original, tmp_path):
    np.save(tmp_path / "ecg.npy", simulated())
    script = (
        "import json, sys\nfrom transformers import pipeline\n"
        "classify = pipeline('ecg-classification', model=sys.argv[1], trust_remote_code=True)\n"
        "assert 'modeling_ecgclip' not in sys.modules\n"
        "print(json.dumps(classify('ecg.npy', sampling_rate=400, unit='mV')))"
    )
    command = [sys.executable, "-c", script, str(exports("onnx", "float32"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {one["label"]: one["score"] for one in json.loads(done.stdout.splitlines()[-1])}
    here = EcgClassificationPipeline(model=original[1], feature_extractor=EcgFeatureExtractor())
    expected = {one["label"]: one["score"] for one in here(str(tmp_path / "ecg.npy"), sampling_rate=400, unit="mV")}
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_saved_again_it_is_the_same(exports, tmp_path):
    model = ExportedEcgClassifier.from_pretrained(exports("openvino", "float32"))
    model.save_pretrained(tmp_path / "copy")
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "copy", trust_remote_code=True)
    assert torch.equal(again(some_ecgs()).logits, model(some_ecgs()).logits)
    assert (tmp_path / "copy" / "export.json").is_file()


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_flipped_bit_of_each_file_is_noticed(exports, form, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exports(form, "float32"), folder)
    names = verify_checksums(folder)
    assert sorted(names) == sorted({path.name for path in folder.iterdir()} - {SUMS_FILE})
    for name in MODEL_FILES[form]:
        content = (folder / name).read_bytes()
        flip_bit(folder / name, len(content) // 2)
        with pytest.raises(DamagedFileError, match=f"{name}: expected SHA-256"):
            AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=True)
        (folder / name).write_bytes(content)
    model = ExportedEcgClassifier.from_pretrained(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(DamagedFileError, match="config.json: expected SHA-256"):
        ExportedEcgClassifier.from_pretrained(folder)
    model.save_pretrained(folder)
    assert ExportedEcgClassifier.from_pretrained(folder)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_several_threads_may_call_it(exports, form):
    model = ExportedEcgClassifier.from_pretrained(exports(form, "float32"), num_threads=1)
    batches = [some_ecgs(seed=seed) for seed in range(8)]
    expected = [model(batch).logits for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: model(batch).logits, batches))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_signals_reach_whoever_loaded_a_model_that_another_thread_let_go(exports):
    script = (
        "import os, signal, sys, threading\n"
        "from modeling_ecgclip.exported_ecgclip import ExportedEcgClassifier\n"
        "held, got = [ExportedEcgClassifier.from_pretrained(sys.argv[1])], []\n"
        "thread = threading.Thread(target=held.clear)\n"
        "thread.start(), thread.join()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: got.append(1))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "assert got == [1]"
    )
    command = [sys.executable, "-c", script, str(exports("openvino", "float32"))]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)


def test_what_an_exported_model_refuses(exports, original):
    folder = exports("onnx", "float32")
    model = ExportedEcgClassifier.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"shape \(batch, 12, 4096\).*found \(1, 12, 100\)"):
        model(torch.zeros(1, 12, 100))
    with pytest.raises(ValueError, match="has no loss"):
        model(some_ecgs(1), labels=torch.zeros(1, 6))
    with pytest.raises(ValueError, match="precision of an exported model"):
        ExportedEcgClassifier.from_pretrained(folder, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="type ecg_resnet: expected one written by training.export"):
        ExportedEcgClassifier.from_pretrained(original[0], config=original[1].config)
    with pytest.raises(ValueError, match="num_threads must be at least 1"):
        ExportedEcgClassifier.from_pretrained(folder, num_threads=0)
    with pytest.raises(ValueError, match="bfloat16"):
        ExportedEcgConfig(export_format="onnx", export_precision="bfloat16")


def test_mask_counts(exports, original):
    model = ExportedEcgClassifier.from_pretrained(exports("onnx", "float32"))
    ecgs, mask = some_ecgs(2), torch.ones(2, 12, 4096, dtype=torch.int64)
    mask[:, 6:] = 0
    expected = original[1](ecgs, ecg_attention_mask=mask).logits
    torch.testing.assert_close(model(ecgs, ecg_attention_mask=mask).logits, expected.detach(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_missing_runtime_says_what_to_install(exports, form, monkeypatch):
    folder = exports(form, "float32")
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[form]
    monkeypatch.setitem(sys.modules, runtime, None)
    with pytest.raises(ImportError, match=rf'needs {runtime}, which is not installed: .*"ecgclip\[export\]"'):
        ExportedEcgClassifier.from_pretrained(folder)


def test_missing_exporter_says_what_to_install(original, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr(exporting, "write_onnx", write_onnx)
    with pytest.raises(ImportError, match=r'exporting needs onnxscript.*pip install "ecgclip\[export\]"'):
        export(ExportArguments(str(original[0]), str(tmp_path / "out"), "onnx"))
    assert not list(tmp_path.iterdir())


def test_arguments_that_do_not_fit(original, tmp_path):
    with pytest.raises(ValueError, match="ONNX Runtime computes no convolution in bfloat16"):
        ExportArguments(str(original[0]), str(tmp_path / "out"), "onnx", "bfloat16")
    with pytest.raises(ValueError, match="int8 is calibrated with ECGs: expected --dataset_name_or_path"):
        ExportArguments(str(original[0]), str(tmp_path / "out"), "onnx", "int8")
    with pytest.raises(FileExistsError, match="--overwrite_output_dir"):
        ExportArguments(str(original[0]), str(tmp_path), "onnx")


def test_errors_on_the_command_line_are_one_line(original, tmp_path, capsys):
    command = ["--model_name_or_path", str(original[0]), "--output_dir", str(tmp_path), "--format", "onnx"]
    assert main(command) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path} exists: name another --output_dir or add --overwrite_output_dir"
    ]


def test_only_trained_classifiers_are_exported(tmp_path):
    save_for_hub(EcgResNetModel(EcgResNetConfig.from_preset("tiny")), tmp_path / "tower", EcgFeatureExtractor())
    with pytest.raises(ValueError, match="lacks classifier.bias, classifier.weight: expected a fine-tuned classifier"):
        export(ExportArguments(str(tmp_path / "tower"), str(tmp_path / "out"), "onnx"))
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_the_model_is_refused_before_anything_is_written(original, exam_table, tmp_path):
    folder = shutil.copytree(original[0], tmp_path / "mixed")
    EcgFeatureExtractor(sampling_rate=250).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"mixed: expected one signal: the model has .*400 Hz; found .*250 Hz"):
        export(ExportArguments(str(folder), str(tmp_path / "out"), "onnx"))
    config = EcgResNetConfig.from_preset("tiny", lead_names=("II",), sampling_rate=500, n_samples=5000)
    one_lead = EcgResNetForSignalClassification(config)
    save_for_hub(one_lead, tmp_path / "one_lead", EcgFeatureExtractor.for_model(config))
    command = ["--model_name_or_path", str(tmp_path / "one_lead"), "--output_dir", str(tmp_path / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "write_onnx", None)  # not reached
        assert main([*command, "--format", "onnx", "--dataset_name_or_path", str(exam_table)]) == 1
    assert not (tmp_path / "out").exists()


def test_values_of_another_window_are_exported(tmp_path, capsys, monkeypatch):
    """One lead of 5,000 samples, which the network reads as 5,120; the values are far from probabilities."""
    monkeypatch.setattr(exporting, "write_onnx", write_onnx)
    torch.manual_seed(0)
    config = EcgResNetConfig.from_preset(
        "tiny", lead_names=("II",), sampling_rate=500, n_samples=5000, id2label={0: "age"}, problem_type="regression"
    )
    model = EcgResNetForSignalClassification(config).eval()
    model.classifier.bias.data[:] = 57
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    save_for_hub(model, tmp_path / "age", EcgFeatureExtractor.for_model(config))
    command = ["--model_name_or_path", str(tmp_path / "age"), "--output_dir", str(tmp_path / "out")]
    assert main([*command, "--format", "onnx"]) == 0
    assert "of the spread of a value" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["problem_type"] == "regression" and "decisions" not in record["checks"]["simulated"]
    ecg = simulated(0, 5000)[1:2]
    answers = [
        pipeline("ecg-classification", model=str(tmp_path / name), trust_remote_code=True)(
            ecg, sampling_rate=500, lead_names=["II"], unit="mV"
        )
        for name in ("age", "out")
    ]
    assert answers[1] == [{"label": "age", "score": pytest.approx(answers[0][0]["score"], abs=1e-3)}]


def test_an_export_that_differs_is_refused(original, exam_table, graph_written_once, tmp_path):
    """Int8 cannot keep every decision on noise; what was written aside is gone again."""
    arguments = ExportArguments(
        str(original[0]), str(tmp_path / "out"), "onnx", "int8", str(exam_table), min_equal_decisions=1.0
    )
    with pytest.raises(ValueError, match=r"of the decisions on exam table ECGs .* expected at least 100.00%"):
        export(arguments)
    assert not list(tmp_path.iterdir())
