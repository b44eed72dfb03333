"""Both scripts push to a Hub on this machine; somebody else loads what is there by its name."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoTokenizer

from common.checksums import checksum_lines, read_checksums
from common.project import project_modules
from data_scripts import embed_reports
from modeling_ecgclip import EcgClipModel, EcgFeatureExtractor, EcgResNetForSignalClassification
from publishing.model import is_published
from publishing.requirements import requirements_of
from tests.loopback_hub import LoopbackHub
from tests.simulated import simulated


PROJECT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["--encoder_preset", "tiny", "--per_device_train_batch_size", "16", "--max_train_steps", "2"]
ARGUMENTS += ["--eval_steps", "2", "--logging_steps", "1", "--checkpointing_steps", "no", "--push_to_hub"]
TEXTS = ["QRS estreito.", "QRS alargado, RSR em V1."]
TOKENS = (LoopbackHub.write_token, LoopbackHub.read_token, LoopbackHub.stranger_token, LoopbackHub.invalid_token)

# Cannot import the project, also where it is installed; loads by name what was pushed.
FRESH_INTERPRETER = """
import importlib.abc, importlib.util, json, re, sys
ecg_file, texts, out_file = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]

class NoProject(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_ecgclip", "common", "data_scripts", "metrics", "training", "publishing"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoProject())
import numpy as np, torch
from huggingface_hub import ModelCard, snapshot_download
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

remote = {"trust_remote_code": True}
torch.set_num_threads(1)
ecg, out = np.load(ecg_file), {}
with torch.no_grad():
    extractor = AutoFeatureExtractor.from_pretrained("clinic/cls", **remote)
    inputs = extractor(ecg, sampling_rate=400, unit="mV", return_tensors="pt")
    out["logits"] = AutoModelForAudioClassification.from_pretrained("clinic/cls", **remote)(**inputs).logits.tolist()
    processor = AutoProcessor.from_pretrained("clinic/clip", **remote)
    both = processor(ecg=ecg, text=texts, sampling_rate=400, unit="mV", return_tensors="pt")
    out["logits_per_ecg"] = AutoModel.from_pretrained("clinic/clip", **remote)(**both).logits_per_ecg.tolist()
out["classification"] = pipeline("ecg-classification", model="clinic/cls", **remote)(ecg, sampling_rate=400, unit="mV")
zero_shot = pipeline("zero-shot-ecg-classification", model="clinic/clip", **remote)
out["zero_shot"] = zero_shot(ecg, candidate_labels=texts, hypothesis_template="{}", sampling_rate=400, unit="mV")
for name in ("clinic/clip", "clinic/cls"):
    card = ModelCard.load(name)
    card.validate()
    (code,) = re.findall(r"```python\\n(.*?)```", card.content, re.DOTALL)
    exec(code, {})
# As Inference Endpoints do: the file by itself, with the folder of the repository.
folder = snapshot_download("clinic/cls")
spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
handler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(handler)
request = {"inputs": ecg.tolist(), "parameters": {"sampling_rate": 400, "unit": "mV"}}
out["handler"] = handler.EndpointHandler(folder)(request)
json.dump(out, open(out_file, "w"))
"""

# One process for all commands, since imports are slow; its log goes to a file.
COMMANDS = """
import contextlib, io, json, logging, os, sys
logging.basicConfig(level=logging.INFO)
from huggingface_hub import constants
import train_clip, train_cls
from publishing import model as publishing_model

scripts = {"train_clip": train_clip.main, "train_cls": train_cls.main}
endpoint = constants.ENDPOINT
for line in sys.stdin:
    command, token, elsewhere, arguments = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    os.environ.update({"HF_TOKEN": token} if token else {})
    constants.ENDPOINT = elsewhere or endpoint
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if command == "publish":
                code = publishing_model.main(arguments)
            else:
                code = publishing_model.exit_code(lambda: scripts[command](arguments))
        except SystemExit as exit:
            code = exit.code
    print("RESULT" + json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
NOBODY = "http://127.0.0.1:9"  # the port of the discard service, which nobody runs


class Commands:
    """Runs `training.publish` and the training scripts in a process whose clients know one Hub."""

    def __init__(self, hub: LoopbackHub, home: Path):
        environment = hub.environment(home, None) | {"OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(state_gradio(home / "packages")), str(PROJECT)])
        self.log = home / "log.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMANDS],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __call__(self, command, *arguments, token=LoopbackHub.write_token, elsewhere=None):
        """Exit code, output and errors, which never hold a token."""
        self.process.stdin.write(json.dumps([command, token, elsewhere, list(map(str, arguments))]) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("RESULT"):
                code, out, error = json.loads(line.removeprefix("RESULT"))
                assert not any(known in out + error + self.log.read_text() for known in TOKENS)
                return code, out, error
        raise AssertionError(self.log.read_text()[-4000:])


def state_gradio(folder: Path) -> Path:
    """A folder to import from in which gradio has a version: all that publishing a Space needs of it."""
    stated = folder / "gradio-6.0.0.dist-info"
    stated.mkdir(parents=True)
    (stated / "METADATA").write_text("Metadata-Version: 2.1\nName: gradio\nVersion: 6.0.0\n")
    return folder


def is_one_line(error: str, message: str) -> bool:
    return error.startswith("error: ") and error.count("\n") == 1 and message in error


@pytest.fixture(scope="module")
def hub():
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def command(hub, tmp_path_factory):
    commands = Commands(hub, tmp_path_factory.mktemp("home"))
    yield commands
    commands.process.stdin.close()
    commands.process.wait(30)


@pytest.fixture(scope="module")
def pushed(command, exam_table, text_model, tmp_path_factory):
    """The folder of both runs, which pushed themselves; the second started from the first, by its name on the Hub."""
    folder = tmp_path_factory.mktemp("pushed")
    table, text = ["--dataset_name_or_path", exam_table], ["--text_model_name_or_path", text_model]
    embed_reports.main(list(map(str, [*table, *text, "--output_dir", folder / "text"])))
    # Named like the folder, in the user's own namespace; and by a name that is given.
    first = [*text, "--text_table_dir", folder / "text", "--output_dir", folder / "clip"]
    second = ["--model_name_or_path", "clinic/clip", "--output_dir", folder / "second", "--hub_model_id", "clinic/cls"]
    for script, arguments in (("train_clip", first), ("train_cls", second)):
        code, _, error = command(script, *table, *arguments, *ARGUMENTS)
        assert code == 0, error
    return folder


@pytest.fixture(scope="module")
def fresh(hub, pushed, tmp_path_factory):
    """What an interpreter without the project got from the Hub for one ECG."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    np.save(elsewhere / "ecg.npy", simulated(0, 4000).astype(np.float32))
    (elsewhere / "fresh.py").write_text(FRESH_INTERPRETER, encoding="utf-8")
    arguments = [str(elsewhere / "ecg.npy"), json.dumps(TEXTS), str(elsewhere / "out.json")]
    done = subprocess.run(
        [sys.executable, "-I", str(elsewhere / "fresh.py"), *arguments],
        cwd=elsewhere,
        env=hub.environment(elsewhere) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return np.load(elsewhere / "ecg.npy"), json.loads((elsewhere / "out.json").read_text())


def test_one_private_commit_with_everything(hub, pushed):
    for name, folder in (("models/clinic/clip", "clip"), ("models/clinic/cls", "second")):
        assert hub.repository(name).private
        assert len(hub.commits(name)) == 1
        files = hub.files(name)
        local = {path.relative_to(pushed / folder).as_posix() for path in (pushed / folder).rglob("*")}
        assert set(files) == {path for path in local if is_published(path)}
        assert {"README.md", "config.json", "model.safetensors", "run.json", "metrics.json", "handler.py"} <= set(
            files
        )
        assert {"requirements.txt", "modeling_ecgclip.py", "handler_ecgclip.py", "loss.png"} <= set(files)
        assert not any(token.encode() in content for token in TOKENS for content in files.values())
        assert str(pushed).encode() not in files["README.md"] + files["run.json"] + files["config.json"]
    assert {"tokenizer.json", "processor_config.json", "retrieval_test.png"} <= set(hub.files("models/clinic/clip"))
    cls = hub.files("models/clinic/cls")
    assert {"preprocessor_config.json", "calibration.png", "precision_recall.png"} <= set(cls)
    # They name exams and patients.
    assert (pushed / "second" / "predictions.parquet").is_file() and "predictions.parquet" not in cls
    here, there = read_checksums(pushed / "second"), cls["SHA256SUMS"].decode()
    assert {"predictions.parquet", "run.json", "metrics.json", "history.json"} <= set(here)
    assert there == checksum_lines({name: digest for name, digest in here.items() if name in cls})
    assert json.loads(cls["config.json"])["thresholds"] == list(json.loads(cls["metrics.json"])["thresholds"].values())


def test_requirements_are_the_versions_that_it_ran_with(hub, pushed):
    lines = hub.files("models/clinic/cls")["requirements.txt"].decode().split()
    assert requirements_of(["torch", "h5py", "json", "no_such_module"])[0] in lines
    assert f"torch=={torch.__version__.split('+')[0]}" in lines
    assert {line.split("==")[0] for line in lines} >= {"transformers", "numpy", "scipy", "safetensors"}
    assert not any("ecgclip" in line for line in lines)


def test_card_on_the_hub_names_its_repository_and_its_base(hub, pushed):
    card = ModelCard(hub.files("models/clinic/cls")["README.md"].decode())
    assert 'model="clinic/cls"' in card.content and 'model="clinic/clip"' not in card.content
    assert card.data.base_model == ["clinic/clip"]
    assert "It starts from `clinic/clip`, which was trained on simulated ECGs." in card.content
    assert (pushed / "second" / "README.md").read_text() == hub.files("models/clinic/cls")["README.md"].decode()


def test_loaded_by_name_it_gives_the_numbers_of_the_run(fresh, pushed):
    ecg, found = fresh
    extractor = EcgFeatureExtractor.from_pretrained(pushed / "second")
    inputs = extractor(ecg, sampling_rate=400, unit="mV", return_tensors="pt")
    classifier = EcgResNetForSignalClassification.from_pretrained(pushed / "second").eval()
    clip = EcgClipModel.from_pretrained(pushed / "clip").eval()
    tokens = AutoTokenizer.from_pretrained(pushed / "clip")(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = classifier(inputs["input_values"]).logits
        logits_per_ecg = clip(input_values=inputs["input_values"], **tokens).logits_per_ecg
    np.testing.assert_allclose(found["logits"], logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(found["logits_per_ecg"], logits_per_ecg.numpy(), atol=1e-5, rtol=1e-6)
    probabilities = dict(zip(classifier.config.id2label.values(), logits[0].sigmoid().tolist(), strict=True))
    for answer in (found["classification"], found["handler"]):
        assert {result["label"]: result["score"] for result in answer} == pytest.approx(probabilities, abs=1e-6)
    by_text = {result["label"]: result["score"] for result in found["zero_shot"]}
    assert [by_text[text] for text in TEXTS] == pytest.approx(logits_per_ecg[0].softmax(-1).tolist(), abs=1e-6)


def test_interrupted_push_is_repeated_and_ends_in_one_commit(hub, command, pushed, tmp_path):
    folder = shutil.copytree(pushed / "second", tmp_path / "again")
    for name in ("loss.png", "calibration.png"):  # else the Hub has all large files already
        with (folder / name).open("ab") as figure:
            figure.write(b"again")
    arguments = ["--folder", folder, "--repo_id", "clinic/again"]
    hub.actions_left = 1  # one file arrives, then the connection breaks
    code, _, error = command("publish", *arguments)
    hub.actions_left = None
    last = error.split("\r")[-1].lstrip()  # what follows the progress bars
    assert code == 1 and is_one_line(last[last.index("error: ") :], "repeat the command") and "Traceback" not in error
    assert hub.commits("models/clinic/again") == [] and hub.repository("models/clinic/again").private
    assert [command("publish", *arguments)[0] for _ in range(2)] == [0, 0]
    assert len(hub.commits("models/clinic/again")) == 1  # the second time nothing had changed
    assert hub.files("models/clinic/again").keys() == hub.files("models/clinic/cls").keys()


def test_public_only_where_it_is_asked_for_and_stale_files_go(hub, command, pushed):
    to = ["--repo_id", "clinic/shown", "--public"]
    code, out, _ = command("publish", "--folder", pushed / "clip", *to, "--dataset_id", "clinic/exams")
    assert code == 0 and "clinic/shown" in out
    assert not hub.repository("models/clinic/shown").private
    files = hub.files("models/clinic/shown")
    assert ModelCard(files["README.md"].decode()).data.datasets == ["clinic/exams"]
    assert b"clinic/exams" in files[".eval_results/ecgclip.yaml"]
    # Another kind of model under the same name: the old preprocessing would win over the new one.
    assert command("publish", "--folder", pushed / "second", *to)[0] == 0
    files = hub.files("models/clinic/shown")
    assert "preprocessor_config.json" in files
    assert not {"processor_config.json", "tokenizer.json", ".eval_results/ecgclip.yaml"} & set(files)


@pytest.mark.parametrize(
    ("settings", "repo_id", "message"),
    [
        ({"token": LoopbackHub.invalid_token}, "clinic/a", "does not accept the token"),
        ({"token": None}, "clinic/a", "found no token"),
        ({"token": LoopbackHub.read_token}, "clinic/a", "the right to write"),
        ({}, "someone/a", "rights to create a repository under"),
        ({"elsewhere": NOBODY}, "clinic/a", "cannot be reached"),
    ],
)
def test_refusals_of_the_hub_are_one_line(hub, command, pushed, settings, repo_id, message):
    code, out, error = command("publish", "--folder", pushed / "second", "--repo_id", repo_id, **settings)
    assert code == 1 and out == "" and is_one_line(error, message)
    assert not hub.repositories.keys() & {"models/clinic/a", "models/someone/a"}


def test_folders_that_are_no_finished_runs_are_refused_before_the_hub_is_asked(hub, command, pushed, tmp_path):
    unfinished = shutil.copytree(pushed / "second", tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    hub.requests.clear()
    for arguments, message in (
        (["--folder", unfinished], "not the folder of a finished run, missing metrics.json"),
        (["--folder", tmp_path / "nowhere"], "expected the folder of a finished run"),
        (["--folder", pushed / "clip", "--space"], "--space needs a classifier"),
    ):
        code, _, error = command("publish", *arguments, "--repo_id", "clinic/a")
        assert code == 1 and is_one_line(error, message)
    code, _, error = command("publish", "--folder", unfinished, "--repo_id", "no-namespace")
    assert code == 2 and "expected user/name" in error
    assert hub.requests == []


def test_what_would_be_refused_is_known_before_training(hub, command, exam_table, tmp_path):
    arguments = ["--dataset_name_or_path", exam_table, "--output_dir", tmp_path / "cls", *ARGUMENTS]
    code, _, error = command("train_cls", *arguments, token=hub.invalid_token)
    assert code == 1 and is_one_line(error, "does not accept the token")
    hub.create("models/clinic/seen", private=False)
    code, _, error = command("train_cls", *arguments, "--hub_model_id", "clinic/seen")
    assert code == 1 and is_one_line(
        error, "public already; choose another name, or allow it with --no_hub_private_repo"
    )
    assert not (tmp_path / "cls").exists()


def test_run_that_cannot_be_pushed_is_complete_and_says_how_to_publish_it(hub, command, exam_table, tmp_path):
    arguments = ["--dataset_name_or_path", exam_table, "--output_dir", tmp_path / "cls", *ARGUMENTS]
    hub.actions_left = 0
    code, _, error = command("train_cls", *arguments, "--hub_model_id", "clinic/later")
    hub.actions_left = None
    said = error.splitlines()[-1]
    assert code == 1 and said.startswith("error: ") and "Traceback" not in error
    assert f"`python -m training.publish --folder {tmp_path / 'cls'} --repo_id clinic/later` publishes it" in said
    assert command("publish", "--folder", tmp_path / "cls", "--repo_id", "clinic/later")[0] == 0
    assert len(hub.commits("models/clinic/later")) == 1


def test_space_carries_the_app_and_names_its_models(hub, command, pushed):
    code, out, error = command("publish", "--folder", pushed / "second", "--repo_id", "clinic/cls", "--space")
    assert code == 0, error
    assert out.count("published: ") == 2
    name = "spaces/clinic/cls-space"
    files = hub.files(name)
    assert hub.repository(name).private and len(hub.commits(name)) == 1
    assert len(hub.commits("models/clinic/cls")) == 1  # the model was there already
    facts = ModelCard(files["README.md"].decode()).data
    assert (facts.sdk, facts.sdk_version, facts.app_file) == ("gradio", "6.0.0", "start.py")
    assert facts.models == ["clinic/cls", "clinic/clip"]  # the dual encoder that training started from
    assert files["app.py"] == (PROJECT / "app.py").read_bytes()
    modules = {path.relative_to(PROJECT).as_posix() for path in project_modules(PROJECT / "app.py")}
    assert {path for path in files if path.endswith(".py")} == modules | {"app.py", "start.py"}
    assert "modeling_ecgclip/pipeline_ecgclip.py" in modules
    assert any(path.startswith("space/examples/") for path in files)
    assert files["space/tracing.js"] == (PROJECT / "space/tracing.js").read_bytes()
    assert "'ECGCLIP_MODEL': 'clinic/cls', 'ECGCLIP_CLIP_MODEL': 'clinic/clip'" in files["start.py"].decode()
    required = re.findall(r"^([\w-]+)==", files["requirements.txt"].decode(), re.MULTILINE)
    assert {"torch", "transformers", "numpy", "safetensors"} <= set(required) and "gradio" not in required
