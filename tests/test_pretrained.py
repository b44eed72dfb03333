"""The default models: README's two lines, the folders, the server, and what is published of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import serve
from common.project import PROJECT
from modeling_ecgclip import LABEL_NAMES, example_ecg, pretrained_folder, read_ecg
from modeling_ecgclip.hub_ecgclip import state_saved_settings
from publishing.card import model_card
from publishing.pretrained import NAMES, unpack
from publishing.real_ecgs import RECORD, weights_digest
from publishing.run_folder import read_run


FOLDERS = """
import sys
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

cls, clip, encoder, ecg = sys.argv[1:]
remote = {"trust_remote_code": True}
model = AutoModelForAudioClassification.from_pretrained(cls, **remote)
assert str(model.dtype) == "torch.float32", model.dtype
AutoFeatureExtractor.from_pretrained(cls, **remote)
AutoProcessor.from_pretrained(clip, **remote)
assert AutoModel.from_pretrained(clip, **remote).dtype == model.dtype
assert len(pipeline("ecg-classification", model=cls, **remote)(ecg)) == 6
tower = AutoModel.from_pretrained(encoder, **remote)
assert (tower.config.ecg_config.model_type, tower.config.ecg_config.sampling_rate) == ("ecg_xresnet", 100)
assert len(pipeline("ecg-feature-extraction", model=encoder, **remote)(ecg)) > 0
words = ["ritmo regular", "ausência de ondas P"]
assert len(pipeline("zero-shot-ecg-classification", model=clip, **remote)(ecg, candidate_labels=words)) == 2
assert pipeline("ecg-measurement", model=cls, **remote)(ecg)["measurements"]["heart_rate_bpm"] > 30
"""


def run_python(code: str, *arguments: str, cwd: Path, cache: Path) -> str:
    """What a new interpreter prints, offline and with a cache of its own."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_two_lines_of_the_readme(sample_data, tmp_path):
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    assert len(code.split()) > 3 and sum(bool(line) for line in code.splitlines()) == 2
    before = readme[: readme.index(code)]
    assert "simulated" in before and "not a medical device" in " ".join(before.replace("*", "").split())
    printed = run_python(code, cwd=sample_data / "ptbxl_sample", cache=tmp_path)
    assert all(f"'{name}'" in printed for name in LABEL_NAMES)
    assert "'positive': True" not in printed  # PTB-XL calls that record a normal ECG


def test_folders_load_by_auto_classes_and_pipelines(tmp_path):
    folders = [str(pretrained_folder(name)) for name in ("cls", "clip", "encoder")]
    run_python(FOLDERS, *folders, str(example_ecg()), cwd=tmp_path, cache=tmp_path)


def test_the_example_is_read_as_what_it_is():
    from modeling_ecgclip import classify

    found = {one["label"] for one in classify(example_ecg()) if one["positive"]}
    assert found == {"RBBB", "AF"}
    assert read_ecg(example_ecg()).unit == "mV"


def test_the_server_answers_with_the_default():
    handler = serve.load_handler(serve.default_model())
    record = read_ecg(example_ecg())
    stated = {"sampling_rate": record.sampling_rate, "unit": "mV", "lead_names": list(record.lead_names)}
    answer = handler({"inputs": record.signal.tolist(), "parameters": stated})
    assert {one["label"] for one in answer} == set(LABEL_NAMES)


def test_records_name_no_place_and_belong_to_the_weights():
    for name in NAMES:
        folder = pretrained_folder(name)
        texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.json")]
        assert len(texts) > 4 and not [text for text in texts if re.search(r'"(?:/|[A-Z]:\\)[\w.]+/', text)]
    record = json.loads((pretrained_folder() / RECORD).read_text(encoding="utf-8"))
    assert record["weights"] == weights_digest(pretrained_folder()), "run benchmarks/real/run.py again"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_published_has_its_code_and_a_card_of_its_records(name, tmp_path):
    folder = tmp_path / name
    unpack(pretrained_folder(name), folder)
    assert weights_digest(folder) == weights_digest(pretrained_folder(name))
    assert (folder / "configuration_ecgclip.py").is_file() and not (folder / "installed_ecgclip.py").exists()
    card = str(model_card(read_run(folder, drawn=False), f"someone/{name}"))
    assert "simulated ECGs" in card and "simulated-data" in card and "medical device" in card
    if name == "cls":
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        auroc = record["sets"]["all"]["per_class"]["AF"]["auroc"]
        assert "On real ECGs: AUROC" in card and f"{auroc:.3f}" in card
        (folder / RECORD).write_text(json.dumps({**record, "weights": "0"}), encoding="utf-8")
        with pytest.raises(ValueError, match=f"{RECORD}: expected SHA-256"):
            model_card(read_run(folder, drawn=False))
        state_saved_settings(folder, RECORD)
        with pytest.raises(ValueError, match="found those of others"):
            model_card(read_run(folder, drawn=False))
    else:
        assert "On real ECGs" not in card
    with pytest.raises(FileNotFoundError, match=r"loss\.png|precision_recall|retrieval"):
        (folder / "loss.png").unlink()
        read_run(folder)
