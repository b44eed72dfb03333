"""Saved folders in a fresh interpreter that cannot import the project."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    AutoProcessor,
    AutoTokenizer,
)

from modeling_ecgclip import (
    EcgClipModel,
    EcgClipProcessor,
    EcgFeatureExtractor,
    build_tower,
    encoder_config,
    measure_ecg,
    save_for_hub,
)
from modeling_ecgclip.towers_ecgclip import TOWERS, classifier_class
from tests.simulated import simulated


CODE = ["arrays", "configuration", "feature_extraction", "formats", "handler", "hub", "layers", "limits", "losses"]
CODE += ["pipeline", "processing", "reading", "requests", "visualization"]
CODE_FILES = {"handler.py", *(f"{name}_ecgclip.py" for name in CODE)}
LABELS = ["ritmo regular", "RSR em V1", "onda P ausente"]

# Blocks the project also where it is installed, loads all there is, saves all again, and prints what came out.
FRESH_INTERPRETER = """
import importlib.abc, json, os, sys
folder, = sys.argv[1:]

class NoProject(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_ecgclip", "common", "data_scripts", "metrics", "training", "publishing"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoProject())
import numpy as np, torch
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline
)
classifier, clip = f"{folder}/classifier", f"{folder}/clip"
remote = {"trust_remote_code": True}
ecg = np.load(f"{folder}/ecg.npy")
torch.set_num_threads(1)
out = {"sys.path": sys.path}
with torch.no_grad():
    model = AutoModelForAudioClassification.from_pretrained(classifier, **remote)
    extractor = AutoFeatureExtractor.from_pretrained(classifier, **remote)
    inputs = extractor(ecg, sampling_rate=400, unit="mV", return_tensors="pt")
    out["logits"] = model(**inputs).logits.tolist()
    out["tower"] = AutoModel.from_pretrained(classifier, **remote)(**inputs).pooler_output.tolist()
    of_clip = AutoModelForAudioClassification.from_pretrained(clip, num_labels=2, **remote)
    out["tower of clip"] = of_clip.ecg_model(**inputs).pooler_output.tolist()
    dual = AutoModel.from_pretrained(clip, **remote)
    processor = AutoProcessor.from_pretrained(clip, **remote)
    both = processor(ecg=ecg, text=["QRS estreito.", "RSR em V1."], sampling_rate=400, unit="mV", return_tensors="pt")
    out["logits_per_ecg"] = dual(**both).logits_per_ecg.tolist()
out["classes"] = {
    "classifier": type(model).__name__,
    "classifier of clip": type(of_clip).__name__,
    "classifier AutoConfig": type(AutoConfig.from_pretrained(classifier, **remote)).__name__,
    "classifier AutoProcessor": type(AutoProcessor.from_pretrained(classifier, **remote)).__name__,
    "clip AutoConfig": type(AutoConfig.from_pretrained(clip, **remote)).__name__,
    "clip AutoProcessor": type(processor).__name__,
    "clip AutoFeatureExtractor": type(AutoFeatureExtractor.from_pretrained(clip, **remote)).__name__,
}
classify = pipeline("ecg-classification", model=classifier, **remote)
out["ecg-classification"] = classify(f"{folder}/ecg.npy", sampling_rate=400, unit="mV")
figure = classify.plot(f"{folder}/ecg.npy", sampling_rate=400, unit="mV")
figure.savefig(f"{folder}/ecg.png")
zero_shot = pipeline("zero-shot-ecg-classification", model=clip, **remote)
labels = json.load(open(f"{folder}/labels.json"))
out["zero-shot-ecg-classification"] = zero_shot(f"{folder}/ecg.npy", labels, sampling_rate=400, unit="mV")
for name, path in (("classifier", classifier), ("clip", clip)):
    extract = pipeline("ecg-feature-extraction", model=path, **remote)
    out[f"{name} ecg-feature-extraction"] = extract(f"{folder}/ecg.npy", sampling_rate=400, unit="mV")
    measure = pipeline("ecg-measurement", model=path, **remote)
    out[f"{name} ecg-measurement"] = measure(f"{folder}/ecg.npy", sampling_rate=400, unit="mV")

model.save_pretrained(f"{folder}/resaved-classifier")
extractor.save_pretrained(f"{folder}/resaved-classifier")
dual.save_pretrained(f"{folder}/resaved-clip")
processor.save_pretrained(f"{folder}/resaved-clip")
zero_shot.save_pretrained(f"{folder}/resaved-by-pipeline")
again = pipeline("ecg-classification", model=f"{folder}/resaved-classifier", **remote)
out["resaved ecg-classification"] = again(f"{folder}/ecg.npy", sampling_rate=400, unit="mV")
for name in ("resaved-clip", "resaved-by-pipeline"):
    again = pipeline("zero-shot-ecg-classification", model=f"{folder}/{name}", **remote)
    out[name] = again(f"{folder}/ecg.npy", candidate_labels=labels, sampling_rate=400, unit="mV")
json.dump(out, open(f"{folder}/out.json", "w"))
"""


@pytest.fixture(scope="module", params=["tiny", "xresnet1d_tiny"])
def preset(request):
    """One of each kind of tower."""
    return request.param


@pytest.fixture(scope="module")
def models(text_model, preset):
    torch.manual_seed(0)
    config = encoder_config(preset, thresholds=(0.3, 0.4, 0.5, 0.5, 0.6, 0.7))
    clip = EcgClipModel.from_ecg_text_pretrained(encoder_config(preset), str(text_model))
    return classifier_class(config)(config).eval(), clip.eval()


@pytest.fixture(scope="module")
def processor(text_model):
    return EcgClipProcessor(EcgFeatureExtractor(), AutoTokenizer.from_pretrained(text_model))


@pytest.fixture(scope="module")
def fresh(models, processor, tmp_path_factory):
    """The folder of all models, and what a fresh interpreter made of them."""
    folder = tmp_path_factory.mktemp("hub")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    classifier, clip = models
    save_for_hub(classifier, folder / "classifier", processor)
    save_for_hub(clip, folder / "clip", processor)
    np.save(folder / "ecg.npy", simulated(0, 4000).astype(np.float32))
    (folder / "labels.json").write_text(json.dumps(LABELS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHON"))}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(elsewhere / "hf")}
    script = elsewhere / "fresh.py"
    script.write_text(FRESH_INTERPRETER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(folder)],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, json.loads((folder / "out.json").read_text())


@pytest.fixture(scope="module")
def expected(models, processor, fresh):
    """The same numbers from the objects that were saved."""
    classifier, clip = models
    ecg = np.load(fresh[0] / "ecg.npy")
    inputs = processor(
        ecg=ecg, text=["QRS estreito.", "RSR em V1."], sampling_rate=400, unit="mV", return_tensors="pt"
    )
    texts = processor(text=[f"Eletrocardiograma com {label}." for label in LABELS], return_tensors="pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        result = {
            "logits": classifier(inputs["input_values"]).logits,
            "tower": classifier.ecg_model(inputs["input_values"]).pooler_output,
            "tower of clip": clip.ecg_model(inputs["input_values"]).pooler_output,
            "logits_per_ecg": clip(**inputs).logits_per_ecg,
            "ecg_embeds": clip.get_ecg_features(inputs["input_values"]),
            "zero-shot": clip(input_values=inputs["input_values"], **texts).logits_per_ecg.softmax(-1),
        }
    torch.set_num_threads(threads)
    return result


class TestFreshInterpreter:
    @pytest.mark.parametrize("name", ["logits", "tower", "tower of clip", "logits_per_ecg"])
    def test_auto_classes_give_the_same_numbers(self, fresh, expected, name):
        np.testing.assert_allclose(np.array(fresh[1][name]), expected[name].numpy(), atol=1e-6)

    def test_classes(self, fresh, models):
        classifier = type(models[0])
        assert fresh[1]["classes"] == {
            "classifier": classifier.__name__,
            "classifier of clip": classifier.__name__,
            "classifier AutoConfig": classifier.config_class.__name__,
            "classifier AutoProcessor": "EcgFeatureExtractor",
            "clip AutoConfig": "EcgClipConfig",
            "clip AutoProcessor": "EcgClipProcessor",
            "clip AutoFeatureExtractor": "EcgFeatureExtractor",
        }

    def test_classification_pipeline(self, fresh, expected, models):
        found = {result["label"]: result for result in fresh[1]["ecg-classification"]}
        config = models[0].config
        for i, probability in enumerate(expected["logits"][0].sigmoid().tolist()):
            result = found[config.id2label[i]]
            assert result["score"] == pytest.approx(probability, abs=1e-6)
            assert result["positive"] == (probability >= config.thresholds[i])
        assert fresh[1]["resaved ecg-classification"] == fresh[1]["ecg-classification"]
        assert (fresh[0] / "ecg.png").stat().st_size > 20_000

    def test_zero_shot_pipeline(self, fresh, expected):
        found = {result["label"]: result["score"] for result in fresh[1]["zero-shot-ecg-classification"]}
        np.testing.assert_allclose([found[label] for label in LABELS], expected["zero-shot"][0].numpy(), atol=1e-6)
        for resaved in ("resaved-clip", "resaved-by-pipeline"):
            assert fresh[1][resaved] == fresh[1]["zero-shot-ecg-classification"]

    def test_feature_extraction_pipeline(self, fresh, expected):
        for folder, name in (("classifier", "tower"), ("clip", "ecg_embeds")):
            found = np.array(fresh[1][f"{folder} ecg-feature-extraction"])
            np.testing.assert_allclose(found, expected[name][0].numpy(), atol=1e-6)

    def test_measurement_pipeline(self, fresh):
        expected = measure_ecg(np.load(fresh[0] / "ecg.npy"), 400).to_dict()
        assert expected["heart_rate_bpm"] is not None
        for folder in ("classifier", "clip"):
            assert fresh[1][f"{folder} ecg-measurement"] == {"measurements": expected, "quality": []}

    @pytest.mark.parametrize(
        ("saved", "resaved"),
        [("classifier", "resaved-classifier"), ("clip", "resaved-clip"), ("clip", "resaved-by-pipeline")],
    )
    def test_saving_again_keeps_every_file(self, fresh, models, saved, resaved):
        before, after = ({path.name for path in (fresh[0] / name).iterdir()} for name in (saved, resaved))
        of_tower = {f"{path.split('.')[0]}.py" for path in models[0].auto_classes.values()}
        assert CODE_FILES | of_tower < before
        assert after - {"__pycache__"} == before - {"__pycache__"}
        configs = [json.loads((fresh[0] / name / "config.json").read_text()) for name in (saved, resaved)]
        assert configs[0]["custom_pipelines"] == configs[1]["custom_pipelines"]
        assert configs[0]["auto_map"] == configs[1]["auto_map"]


class TestFolder:
    def test_no_path_of_this_machine(self, fresh, text_model):
        for name in ("classifier", "clip"):
            for path in (fresh[0] / name).glob("*.json"):
                assert str(text_model) not in path.read_text(), path
                assert str(fresh[0]) not in path.read_text(), path

    def test_tower(self, tmp_path, preset):
        save_for_hub(build_tower(encoder_config(preset)), tmp_path / "tower", EcgFeatureExtractor())
        config = json.loads((tmp_path / "tower" / "config.json").read_text())
        assert list(config["custom_pipelines"]) == ["ecg-feature-extraction", "ecg-measurement"]

    def test_other_files_stay_and_stale_ones_go(self, models, processor, tmp_path):
        classifier, clip = models
        save_for_hub(clip, tmp_path, processor)
        (tmp_path / "README.md").write_text("a card")
        save_for_hub(classifier, tmp_path, EcgFeatureExtractor(do_scale=True, scale=2.0))
        assert (tmp_path / "README.md").read_text() == "a card"
        # It would win over the new preprocessor_config.json.
        assert not (tmp_path / "processor_config.json").exists()
        assert EcgFeatureExtractor.from_pretrained(tmp_path).scale == 2.0
        assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []

    def test_saving_leaves_the_processor_alone(self, models, processor, tmp_path):
        save_for_hub(models[1], tmp_path, processor)
        assert not hasattr(processor.feature_extractor, "auto_map")

    def test_model_loaded_from_another_kind_of_folder_states_its_own(self, models, processor, tmp_path):
        save_for_hub(models[1], tmp_path / "clip", processor)
        classifier = type(models[0]).from_pretrained(tmp_path / "clip")
        save_for_hub(classifier, tmp_path / "classifier", processor)
        config = json.loads((tmp_path / "classifier" / "config.json").read_text())
        assert set(config["custom_pipelines"]) == {
            "ecg-classification",
            "ecg-feature-extraction",
            "ecg-measurement",
        }
        assert config["auto_map"] == type(models[0]).auto_classes

    def test_installed_classes_need_no_trust(self, fresh, models):
        folder, tower = fresh[0], TOWERS[models[0].config.model_type]
        assert type(AutoModel.from_pretrained(folder / "clip")) is EcgClipModel
        assert type(AutoModel.from_pretrained(folder / "classifier")) is tower.model_class
        loaded = AutoModelForAudioClassification.from_pretrained(folder / "classifier")
        assert type(loaded) is tower.classifier_class
        assert type(AutoConfig.from_pretrained(folder / "classifier")) is tower.config_class
        assert type(AutoProcessor.from_pretrained(folder / "clip")) is EcgClipProcessor
        assert type(AutoFeatureExtractor.from_pretrained(folder / "classifier")) is EcgFeatureExtractor

    def test_refused(self, models, processor, tmp_path):
        classifier, clip = models
        with pytest.raises(TypeError, match="with an EcgClipProcessor.*found EcgFeatureExtractor"):
            save_for_hub(clip, tmp_path, processor.feature_extractor)
        with pytest.raises(TypeError, match="expected an EcgFeatureExtractor or an EcgClipProcessor: found"):
            save_for_hub(classifier, tmp_path, processor.tokenizer)
        with pytest.raises(TypeError, match="expected a model that states auto_classes and tasks.*found Linear"):
            save_for_hub(torch.nn.Linear(2, 2), tmp_path, processor)
        assert list(tmp_path.iterdir()) == []
