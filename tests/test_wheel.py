"""The wheel: what it holds, and every documented use of a model where it alone is installed."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    EcgResNetForSignalClassification,
    __version__,
    encoder_config,
    save_for_hub,
)
from publishing.export import ExportArguments, export


PROJECT = Path(__file__).resolve().parent.parent
# Folders of the checkout whose files the wheel has, and where.
BUNDLED = {
    "pretrained/cls": "modeling_ecgclip/pretrained/cls",
    "pretrained/clip": "modeling_ecgclip/pretrained/clip",
    "space/examples": "modeling_ecgclip/examples",
}
# As the README and the model cards have them, on folders in place of repositories.
USES = """
import importlib.util, json, sys
import numpy as np
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

folder, = sys.argv[1:]
for name in ("training", "data_scripts", "common", "publishing", "reproduction", "metrics", "space", "train_cls"):
    assert importlib.util.find_spec(name) is None, f"the wheel brought {name}"
import modeling_ecgclip
from modeling_ecgclip import EcgFeatureExtractor, SignalSpec, encoder_config, plot_ecg, read_ecg, save_for_hub

ecg = np.load(f"{folder}/ecg.npy")
leads = list(modeling_ecgclip.LEAD_NAMES)
stated = {"sampling_rate": 400, "unit": "mV", "lead_names": leads}
out = {"version": modeling_ecgclip.__version__, "file": modeling_ecgclip.__file__}
classify = pipeline("ecg-classification", model=f"{folder}/classifier", trust_remote_code=True)
out["array"] = classify(ecg, **stated)
out["file_csv"] = classify(f"{folder}/ecg.csv", sampling_rate=400, unit="mV")
classify.plot(ecg, **stated).savefig(f"{folder}/ecg.png")
zero_shot = pipeline("zero-shot-ecg-classification", model=f"{folder}/clip", trust_remote_code=True)
out["zero_shot"] = zero_shot(ecg, candidate_labels=["ritmo regular", "onda P ausente"], **stated)
extract = pipeline("ecg-feature-extraction", model=f"{folder}/clip", trust_remote_code=True)
out["embedding"] = len(extract(ecg, **stated))
model = AutoModelForAudioClassification.from_pretrained(f"{folder}/classifier")
extractor = AutoFeatureExtractor.from_pretrained(f"{folder}/classifier")
inputs = extractor(ecg, return_tensors="pt", **stated)
out["logits"] = model(**inputs).logits.tolist()
out["fast"] = model.for_inference()(**inputs).logits.tolist()
assert type(model).__module__.startswith("modeling_ecgclip.")
processor = AutoProcessor.from_pretrained(f"{folder}/clip")
both = processor(ecg=ecg, text=["QRS estreito."], return_tensors="pt", **stated)
out["similarity"] = AutoModel.from_pretrained(f"{folder}/clip")(**both).logits_per_ecg.tolist()
exported = pipeline("ecg-classification", model=f"{folder}/exported", trust_remote_code=True)
out["exported"] = exported(ecg, **stated)
record = read_ecg(f"{folder}/ecg.csv", sampling_rate=400, unit="mV")
plot_ecg(record.signal, 400)
save_for_hub(model, f"{folder}/again", extractor)
from modeling_ecgclip import classify, example_ecg
assert example_ecg().is_relative_to(modeling_ecgclip.__path__[0])
out["default"] = classify(example_ecg())
from modeling_ecgclip.handler import EndpointHandler
out["endpoint"] = EndpointHandler(f"{folder}/classifier")({"inputs": ecg.tolist(), "parameters": stated})
json.dump(out, open(f"{folder}/out.json", "w"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves folders beside the sources
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((PROJECT / name).read_bytes())
    for name in ("modeling_ecgclip", *BUNDLED):
        (source / name).mkdir(parents=True)
        for path in (PROJECT / name).iterdir():
            if path.is_file():
                (source / name / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory, text_model) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    classifier = EcgResNetForSignalClassification(encoder_config("tiny", thresholds=(0.5,) * 6)).eval()
    save_for_hub(classifier, folder / "classifier", EcgFeatureExtractor())
    clip = EcgClipModel.from_ecg_text_pretrained(encoder_config("tiny"), str(text_model))
    save_for_hub(
        clip, folder / "clip", EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))
    )
    export(ExportArguments(str(folder / "classifier"), str(folder / "exported"), "onnx"))
    ecg = np.random.default_rng(0).normal(0, 0.5, (12, 4000)).astype(np.float32)
    np.save(folder / "ecg.npy", ecg)
    header = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    np.savetxt(folder / "ecg.csv", ecg.T, delimiter=",", header=header, comments="", fmt="%.9g")
    return folder


def test_the_wheel_holds_the_models_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"modeling_ecgclip", f"ecgclip-{__version__}.dist-info"}
    packed = {name for name in names if name.startswith("modeling_ecgclip/")}
    own = {f"modeling_ecgclip/{path.name}" for path in (PROJECT / "modeling_ecgclip").iterdir() if path.is_file()}
    for here, there in BUNDLED.items():
        own |= {f"{there}/{path.name}" for path in (PROJECT / here).iterdir() if path.is_file()}
    assert packed == own and "modeling_ecgclip/py.typed" in packed


def test_documented_uses_where_the_wheel_alone_is_installed(wheel, models, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # The dependencies, without the editable installation that lies beside them: its own .pth files are not read.
    bases = dict.fromkeys([sysconfig.get_path("purelib"), str(Path(np.__file__).parent.parent)])
    (site / "dependencies.pth").write_text("\n".join(bases))
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    assert subprocess.run(install, capture_output=True, check=False).returncode == 0
    script = tmp_path / "uses.py"
    script.write_text(USES, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [python, "-I", script, models], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    out = json.loads((models / "out.json").read_text())
    assert out["version"] == __version__ and out["file"].startswith(str(site))
    by_label = {name: {one["label"]: one["score"] for one in out[name]} for name in ("array", "file_csv", "exported")}
    assert by_label["array"] == pytest.approx(by_label["file_csv"], abs=1e-5)
    assert by_label["array"] == pytest.approx(by_label["exported"], abs=1e-4)
    assert {one["label"]: one["score"] for one in out["endpoint"]} == pytest.approx(by_label["array"], abs=1e-5)
    assert {one["label"] for one in out["default"] if one["positive"]} == {"RBBB", "AF"}
    assert out["embedding"] == 32 and len(out["zero_shot"]) == 2 and len(out["similarity"][0]) == 1
    np.testing.assert_allclose(out["fast"], out["logits"], atol=1e-4)
