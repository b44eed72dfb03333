"""What leaves this machine says nothing of it: no folder, name or token in any byte of what is published."""

import getpass
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from data_scripts.tables.digest import table_digest
from data_scripts.tables.schema import load_exam_table
from data_scripts.text.reports import ReportCutter
from publishing.dataset_card import table_facts
from tests.loopback_hub import LoopbackHub
from tests.small_tables import write_small_table


for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "gradio"):
    pytest.importorskip(package, reason=f"{package} is not installed")

PROJECT = Path(__file__).resolve().parent.parent
USER = "somebody-of-the-clinic"
TOKENS = (LoopbackHub.write_token, LoopbackHub.read_token)
UMASK, MODE = 0o027, 0o640

# All commands in one process, since imports are slow. Folders are named in full, as schedulers do.
PUBLISH = """
import json, os, sys
from pathlib import Path
from modeling_ecgclip.labels_ecgclip import CODE_LABELS
from publishing import dataset, export
from publishing.model import main as publish
from data_scripts import embed_reports, make_text_model
from tests.publishing.conftest import KINDS
from tests.publishing.runs import write_run
import train_clip, train_cls

place = Path(sys.argv[1])
exams, text_model = str(place / "exams"), str(place / "text model")
make_text_model.make_text_model(["Ritmo sinusal.", "Onda Q em V2.", "QRS alargado."], text_model, hidden_size=32)
embed_reports.main(["--dataset_name_or_path", exams, "--text_model_name_or_path", text_model])
common = ["--dataset_name_or_path", exams, "--encoder_preset", "tiny", "--per_device_train_batch_size", "16"]
common += ["--eval_steps", "2", "--checkpointing_steps", "2"]
clip, cls = str(place / "clip"), str(place / "cls")
of_clip = ["--output_dir", clip, "--text_model_name_or_path", text_model, "--max_train_steps", "2"]
assert train_clip.main([*common, *of_clip]) is not None
of_cls = ["--output_dir", cls, "--model_name_or_path", clip]
assert train_cls.main([*common, *of_cls, "--max_train_steps", "2"]) is not None
(Path(cls) / "metrics.json").unlink()
resumed = ["--resume_from_checkpoint", cls + "/checkpoints/step-00000002", "--checkpoints_total_limit", "1"]
assert train_cls.main([*common, *of_cls, "--max_train_steps", "4", *resumed]) is not None
assert publish(["--folder", clip, "--repo_id", "clinic/clip"]) == 0
assert publish(["--folder", cls, "--repo_id", "clinic/cls", "--base_model", "clinic/clip", "--space"]) == 0
for kind, settings in KINDS.items():
    folder = write_run(place / kind, **settings)
    assert publish(["--folder", str(folder), "--repo_id", f"clinic/{kind}"]) == 0
dataset.main(["--dataset_name_or_path", exams, "--repo_id", "clinic/exams", "--include_text_table"])
for format in ("onnx", "openvino"):
    arguments = ["--model_name_or_path", cls, "--output_dir", str(place / format), "--format", format]
    assert export.main(arguments) == 0
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """All files that were published, or are there to be, by name; and the folder they were made in."""
    place = tmp_path_factory.mktemp("somewhere on this machine")
    exams = load_exam_table(write_small_table(place / "exams"))
    record = json.loads((place / "exams" / "conversion.json").read_text())
    record |= {"source": "simulated", "rejected_by_reason": {"unreadable record": 1}, "split_rule": "by hand"}
    record |= {
        "splits": table_facts(exams)["splits"],
        "reports": ReportCutter().facts(),
        "digest": table_digest(exams),
    }
    record |= {"found": record["kept"] + 1, "rejected": 1}
    (place / "exams" / "conversion.json").write_text(json.dumps(record))
    (place / "exams" / "rejected.csv").write_text(
        f"record,reason,detail\n1,unreadable record,{place}/raw/b.dat: cut\n"
    )
    with LoopbackHub() as hub:
        environment = hub.environment(place / "home") | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
        environment |= {"HOME": str(place / "home"), "USER": USER, "LOGNAME": USER, "EMAIL": f"{USER}@example.org"}
        done = subprocess.run(
            [sys.executable, "-c", PUBLISH, str(place)],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.umask(UMASK),  # noqa: PLW1509
        )
        assert done.returncode == 0, done.stderr[-4000:]
        files = {f"{name}/{path}": content for name in hub.repositories for path, content in hub.files(name).items()}
    for kind in ("onnx", "openvino"):
        files |= {f"{kind}/{path.name}": path.read_bytes() for path in (place / kind).iterdir()}
    return files, place


def test_every_kind_is_there(published):
    files, _ = published
    folders = {name.rpartition("/")[0] for name in files}
    models = ("clip", "cls", "superclasses", "many", "multi_class", "age", "one_lead")
    assert {f"models/clinic/{name}" for name in models} | {"spaces/clinic/cls-space", "onnx", "openvino"} <= folders
    assert {"datasets/clinic/exams", "datasets/clinic/exams/data"} <= folders
    ends = {Path(name).suffix for name in files}
    assert {".safetensors", ".json", ".md", ".py", ".txt", ".png", ".parquet", ".csv", ".onnx", ".xml", ".bin"} <= ends


def words_of_this_machine(place):
    named = [str(place), place.name, str(PROJECT), str(Path.home()), sys.prefix, sys.base_prefix, USER, *TOKENS]
    named += ["site-packages", "dist-packages", f"{getpass.getuser()}@"]
    # A short name of a host, such as "c1", is part of other words.
    named += [socket.gethostname()] if len(socket.gethostname()) > 5 else []
    return sorted({word.encode() for word in named if len(word) > 2})


# A folder of any machine's; addresses on the Web have them too, behind a host.
FOLDERS = re.compile(rb"(?<![\w./:>~-])/(?:home|root|tmp|work|Users|opt|mnt|scratch|private|usr/lib)/[\w.-]+")


def test_no_byte_names_this_machine(published):
    files, place = published
    words = words_of_this_machine(place)
    found = []
    for name, content in files.items():
        said = [word for word in words if word in content or word.decode().encode("utf-16-le") in content]
        found += [(name, one) for one in [*said, *FOLDERS.findall(content)]]
    assert found == []


def test_the_search_finds_what_it_looks_for(published):
    _, place = published
    for text in (b"x\x00/opt/somewhere/train.py", b'"/home/somebody/run"', b"at /tmp/a.txt"):
        assert FOLDERS.search(text), text
    for text in (b"https://example.org/home/page", b"a/tmp/b", b"</root/>"):
        assert not FOLDERS.search(text), text
    assert str(place).encode() in words_of_this_machine(place)


def test_files_have_the_mode_that_the_umask_gives(published):
    _, place = published
    wrong = {}
    for folder in ("clip", "cls", "superclasses", "exams/parquet", "exams/text_table", "onnx", "openvino"):
        for path in (place / folder).rglob("*"):
            if path.is_file() and "checkpoints" not in path.parts and stat.S_IMODE(path.stat().st_mode) != MODE:
                wrong[str(path.relative_to(place))] = oct(path.stat().st_mode)
    assert wrong == {}


def test_a_resumed_run_states_where_nothing_lies(published):
    files, _ = published
    arguments = json.loads(files["models/clinic/cls/run.json"])["arguments"]
    assert arguments["resume_from_checkpoint"] == "step-00000002"
    assert not [value for value in arguments.values() if isinstance(value, str) and "/" in value]


def test_nothing_is_unpickled_in_the_tree():
    """Weights are safetensors, states are JSON: whoever writes a pickle decides what its reader runs."""
    calls = re.compile(r"^\s*import (?:pickle|dill|joblib|shelve)\b|\bpickle\.loads?\(|\ballow_pickle=True")
    unsafe = re.compile(r"\btorch\.load\((?!.*weights_only=True)")
    found = []
    for top in sorted(PROJECT.iterdir()):
        paths = [top] if top.suffix == ".py" else top.rglob("*.py") if top.is_dir() and top.name[0] != "." else ()
        for path in paths:
            relative = path.relative_to(PROJECT)
            if relative.parts[0] in ("tests", "build", "runs", "dist"):
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if calls.search(line) or unsafe.search(line):
                    found.append(f"{relative}:{number}: {line.strip()}")
    assert found == []
