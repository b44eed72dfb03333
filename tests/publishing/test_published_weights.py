"""Published weights: files in the published layouts, against forward passes in numpy."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from modeling_ecgclip import LABEL_NAMES, EcgFeatureExtractor, EcgResNetForSignalClassification, read_ecg
from modeling_ecgclip.labels_ecgclip import CODE_LABELS
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SignalSpec
from publishing.published_weights import convert_published, main
from tests.publishing.published_layout import (
    lima_forward,
    lima_state,
    ribeiro_forward,
    ribeiro_layers,
    ribeiro_weights,
    write_keras,
    write_pytorch,
)
from training.arguments import EncoderArguments
from training.encoder import encoder_config, load_classifier
from training.targets import MultiLabel


PROJECT = Path(__file__).resolve().parent.parent.parent


STATED = {"sampling_rate": 400, "unit": "mV", "lead_names": LEAD_NAMES}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """For each architecture: the folder, and the network in numpy as a function of a published tracing (4096, 12)."""
    folder = tmp_path_factory.mktemp("published")
    weights, state = ribeiro_weights(seed=1), lima_state(seed=2)
    write_keras(folder / "model.hdf5", ribeiro_layers(weights, first_number=1))
    write_pytorch(folder / "model.pth", state)
    return {
        "ribeiro2020": (
            convert_published(folder / "model.hdf5", "ribeiro2020", folder / "ribeiro"),
            lambda tracing: ribeiro_forward(weights, tracing),
        ),
        "lima2021": (
            convert_published(folder / "model.pth", "lima2021", folder / "lima"),
            lambda tracing: lima_forward(state, tracing),
        ),
    }


def logits_of(folder, records):
    """What the folder says of ECGs in millivolts, preprocessing included."""
    extractor = EcgFeatureExtractor.from_pretrained(folder)
    model = EcgResNetForSignalClassification.from_pretrained(folder).eval()
    inputs = [
        extractor([one.signal], one.sampling_rate, one.lead_names, one.unit, return_tensors="pt")["input_values"]
        for one in records
    ]
    with torch.no_grad():
        return model(torch.cat(inputs)).logits.numpy(), torch.cat(inputs).numpy()


@pytest.mark.parametrize("architecture", ["ribeiro2020", "lima2021"])
def test_logits_of_real_exams(architecture, converted, sample_data):
    folder, network = converted[architecture]
    part = sample_data / "code15_sample" / "exams_part0.hdf5"
    with h5py.File(part) as file:
        exam_ids = [exam_id for exam_id in file["exam_id"][:].tolist() if exam_id][:2]
        tracings = [file["tracings"][file["exam_id"][:].tolist().index(exam_id)] for exam_id in exam_ids]
    ptbxl = sample_data / "ptbxl_sample" / "records500" / "00000" / "00001_hr"
    logits, inputs = logits_of(folder, [*(read_ecg(part, exam_id) for exam_id in exam_ids), read_ecg(ptbxl)])
    # The networks were trained on the stored values: those go into numpy as they are.
    for one, tracing in zip(inputs, tracings, strict=False):
        np.testing.assert_allclose(one.T, tracing, atol=1e-6)
    expected = [network(tracing) for tracing in [*tracings, inputs[-1].T]]
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", ["ribeiro2020", "lima2021"])
def test_logits_of_noise(architecture, converted):
    """Noise has no symmetry that could hide a padding on the wrong side; 7 s are zero-padded."""
    folder, network = converted[architecture]
    signal = np.random.default_rng(3).normal(size=(12, 2800)).astype(np.float32)
    record = read_ecg({"ecg": signal, **STATED})
    logits, _ = logits_of(folder, [record])
    tracing = np.zeros((4096, 12))
    tracing[648 : 648 + 2800] = 2 * signal.T
    np.testing.assert_allclose(logits[0], network(tracing), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("whole_model", "first_number"), [(False, 1), (True, 0), (False, 40)])
def test_keras_numbering_and_weights_alone_do_not_matter(tmp_path, converted, whole_model, first_number):
    layers = ribeiro_layers(ribeiro_weights(seed=1), first_number)
    write_keras(tmp_path / "model.h5", layers, whole_model)
    convert_published(tmp_path / "model.h5", "ribeiro2020", tmp_path / "out")
    one = EcgResNetForSignalClassification.from_pretrained(tmp_path / "out").state_dict()
    other = EcgResNetForSignalClassification.from_pretrained(converted["ribeiro2020"][0]).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_what_the_folders_state(converted):
    folder, _ = converted["ribeiro2020"]
    model = EcgResNetForSignalClassification.from_pretrained(folder)
    assert tuple(model.config.thresholds) == (0.124, 0.07, 0.05, 0.278, 0.390, 0.174)
    assert tuple(model.config.id2label.values()) == LABEL_NAMES
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.batch_norm_eps == 1e-3
    card = (folder / "README.md").read_text()
    assert "10.5281/zenodo.3625017" in card and "s41467-020-15432-4" in card and "keras version 2.2.4" in card
    assert "| SB | 0.278 |" in card and "All 51 tensors" in card

    folder, _ = converted["lima2021"]
    model = EcgResNetForSignalClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "age"} and model.config.problem_type == "regression"
    assert model.config.thresholds is None
    card = (folder / "README.md").read_text()
    assert "10.5281/zenodo.4892365" in card and "epoch 17, valid loss 79.5" in card and "All 72 tensors" in card
    for folder, _ in converted.values():
        extractor = EcgFeatureExtractor.from_pretrained(folder)
        assert (extractor.do_scale, extractor.scale) == (True, 2.0)
        assert (extractor.sampling_rate, extractor.n_samples) == (400, 4096)
        assert extractor.lead_names[:6] == ["I", "II", "III", "aVR", "aVL", "aVF"]
        assert not list(folder.glob("convert_published*")) and (folder / "modeling_ecgclip.py").is_file()


def test_age_is_said_in_years(converted):
    folder, network = converted["lima2021"]
    signal = np.random.default_rng(4).normal(size=(12, 4096)).astype(np.float32)
    classify = pipeline("ecg-classification", model=str(folder), trust_remote_code=True)
    (result,) = classify({"ecg": signal, **STATED})
    assert result["label"] == "age" and result["score"] == pytest.approx(network(2 * signal.T)[0], abs=1e-3)


def test_age_network_is_a_start_for_labels(converted):
    folder, _ = converted["lima2021"]
    args = EncoderArguments(model_name_or_path=str(folder))
    model = load_classifier(args, encoder_config(args, SignalSpec()), MultiLabel(CODE_LABELS))
    assert tuple(model.config.id2label.values()) == LABEL_NAMES and model.classifier.out_features == 6
    assert model.config.problem_type == "multi_label_classification"
    published = EcgResNetForSignalClassification.from_pretrained(folder)
    assert torch.equal(model.ecg_model.stem.layers[0].weight, published.ecg_model.stem.layers[0].weight)


def test_folder_loads_as_remote_code(converted):
    """In a fresh interpreter that cannot see this package."""
    folder, network = converted["ribeiro2020"]
    code = (
        "import sys, torch; from transformers import AutoModelForAudioClassification, AutoFeatureExtractor\n"
        "model = AutoModelForAudioClassification.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
        "assert 'modeling_ecgclip' not in sys.modules\n"
        "wave = torch.sin(torch.arange(4096) / 9).repeat(12, 1)\n"
        "leads = extractor.lead_names\n"
        "values = extractor(wave, 400, leads, 'mV', return_tensors='pt')['input_values']\n"
        "print(model(values).logits[0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf"), "PYTHONPATH": ""},
    )
    logits = [float(value) for value in done.stdout.strip().strip("[]").split(",")]
    wave = np.sin(np.arange(4096, dtype=np.float32) / np.float32(9))
    np.testing.assert_allclose(logits, network(2 * np.repeat(wave[:, None], 12, axis=1)), atol=1e-4, rtol=0)


def test_command_line(tmp_path, capsys):
    write_pytorch(tmp_path / "model.pth", lima_state(seed=5))
    arguments = ["--source", str(tmp_path / "model.pth"), "--architecture", "lima2021"]
    assert main([*arguments, "--output_dir", str(tmp_path / "age")]) == tmp_path / "age"
    assert str(tmp_path / "age") in capsys.readouterr().out
    assert type(AutoModelForAudioClassification.from_pretrained(tmp_path / "age")) is EcgResNetForSignalClassification
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "age").scale == 2.0
    with pytest.raises(FileExistsError, match="not an empty folder"):
        main([*arguments, "--output_dir", str(tmp_path / "age")])
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        convert_published(tmp_path / "none.pth", "lima2021", tmp_path / "none")
    with pytest.raises(SystemExit):
        main([*arguments[:3], "resnet50", "--output_dir", str(tmp_path / "x")])
    with pytest.raises(ValueError, match="unknown architecture 'resnet50': expected one of ribeiro2020, lima2021"):
        convert_published(tmp_path / "model.pth", "resnet50", tmp_path / "x")


def test_keras_tensors_that_do_not_fit_are_listed(tmp_path):
    path, layers = tmp_path / "model.hdf5", ribeiro_layers(ribeiro_weights(seed=1), first_number=1)

    def refused(changed, message, **kwargs):
        write_keras(path, changed, **kwargs)
        with pytest.raises(ValueError, match=message):
            convert_published(path, "ribeiro2020", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused(layers[:-1], r"2 missing: kernel \(5120, 6\) of classifier.weight, bias \(6,\) of .*\. 0 unexpected")
    extra = ("age_dense", {"age_dense/kernel:0": np.zeros((7, 64), np.float32)})
    refused([*layers, extra], r"0 missing\. 1 unexpected: age_dense/kernel \(7, 64\)")
    wide = [(name, {key: np.zeros((17, *v.shape[1:]), np.float32) for key, v in t.items()}) for name, t in layers[1:2]]
    refused(
        [layers[0], *wide, *layers[2:]],
        r"1 missing: kernel \(16, 12, 64\) of .*\. 1 unexpected: conv1d_1/kernel \(17, 12, 64\)",
    )
    other = [("dense_1", {"dense_1/kernel:0": np.zeros((8, 2)), "dense_1/bias:0": np.zeros(2)})]
    refused(other, r"51 missing: .* and 39 more\. 2 unexpected: dense_1/kernel \(8, 2\), dense_1/bias \(2,\)")
    refused(layers, r"layer batch_normalization_1: expected epsilon 0\.001: found 1e-05", epsilon=1e-5)
    layers[-1][1]["dense_1/bias:0"][2] = np.nan
    refused(layers, "found NaN or infinity in what becomes classifier.bias")


def test_files_that_are_no_keras_models(tmp_path):
    path = tmp_path / "model.hdf5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=r"model\.hdf5: not a readable Keras HDF5 file, or truncated"):
        convert_published(path, "ribeiro2020", tmp_path / "out")
    with h5py.File(path, "w") as file:
        file["tracings"] = np.zeros(3)
    with pytest.raises(ValueError, match="expected a Keras file, with the attribute layer_names: found tracings"):
        convert_published(path, "ribeiro2020", tmp_path / "out")
    write_keras(path, ribeiro_layers(ribeiro_weights(seed=1), first_number=1))
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(ValueError, match="not a readable Keras HDF5 file, or truncated"):
        convert_published(path, "ribeiro2020", tmp_path / "out")


def test_pytorch_tensors_that_do_not_fit_are_listed(tmp_path):
    path, state = tmp_path / "model.pth", lima_state(seed=2)

    def refused(changed, message):
        write_pytorch(path, changed)
        with pytest.raises(ValueError, match=message):
            convert_published(path, "lima2021", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    without = {name: value for name, value in state.items() if name != "resblock1d_2.bn2.running_var"}
    refused(without, r"1 missing: resblock1d_2\.bn2\.running_var \(196,\)\. 0 unexpected")
    refused(state | {"lin2.bias": np.zeros(4)}, r"0 missing\. 1 unexpected: lin2\.bias \(4,\)")
    six = {"lin.weight": np.zeros((6, 5120), np.float32), "lin.bias": np.zeros(6, np.float32)}
    refused(state | six, r"2 unexpected: lin\.weight \(6, 5120\) instead of \(1, 5120\), lin\.bias \(6,\) instead of")


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "model.pth"
    for content in (b"", b"junk", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(60)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pth: not a readable PyTorch checkpoint of plain weights"):
            convert_published(path, "lima2021", tmp_path / "out")
    torch.save({"epoch": 1, "weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="expected a dictionary of tensors under 'model': found epoch, weights"):
        convert_published(path, "lima2021", tmp_path / "out")
    # Code in a checkpoint is not run: a pickled function call is refused.
    torch.save({"model": {}, "valid_loss": Call(os.mkdir, str(tmp_path / "made"))}, path)
    with pytest.raises(ValueError, match="not a readable PyTorch checkpoint of plain weights"):
        convert_published(path, "lima2021", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "made").exists()


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call
