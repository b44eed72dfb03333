"""docs/own_data.md: its commands run as they stand there, on fewer exams and for fewer steps."""

import csv
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import wfdb

from data_scripts.tables.schema import load_exam_table


PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "own_data.md"
# What the page's numbers become here; each must occur in it.
SMALLER = {
    "--num_exams 1200": "--num_exams 80",
    "--per_device_train_batch_size 128": "--per_device_train_batch_size 16",
    "--max_train_steps 150": "--max_train_steps 2",
    "--max_train_steps 600": "--max_train_steps 2",
    "--eval_steps 100": "--eval_steps 2",
    "--eval_steps 50": "--eval_steps 2",
    "--warmup_steps 20": "--warmup_steps 1",
}


REAL_ECGS = "## 6 "  # from here on the page's archive is a part of PTB-XL
EVERY = 6  # so few of its records are enough here


def commands(text):
    """The commands of a part of the page, each on one line."""
    return [re.sub(r"\\\n\s+", "", match) for match in re.findall(r"^    \$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)]


def run(command, monkeypatch):
    """Runs a command of this project in this process."""
    words = shlex.split(command)
    if words[:2] == ["python", "-m"]:
        module, arguments = words[2], words[3:]
    else:
        assert words[:4] == ["accelerate", "launch", "--num_processes", "1"], command
        module, arguments = words[4].removesuffix(".py"), words[5:]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    importlib.import_module(module).main()


def test_commands_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    text = PAGE.read_text(encoding="utf-8").partition(REAL_ECGS)[0]
    for number, smaller in SMALLER.items():
        assert number in text, f"{PAGE.name} has no {number} any more"
        text = text.replace(number, smaller)
    *own, last = commands(text)
    assert len(own) == 6
    for command in own:
        run(command, monkeypatch)
    assert "80 found = 80 kept + 0 rejected" in capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, *shlex.split(last)[1:]],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": ""},
    )
    assert re.match(r"\[\{'label': '\w+', 'score': 0\.\d+, 'positive': (True|False)\}, \{", done.stdout)


def test_other_labels_numbers_and_windows(tmp_path, monkeypatch, capsys, sample_data):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PROJECT))
    (tmp_path / "pretrained").symlink_to(PROJECT / "pretrained")
    records = part_of_ptbxl(sample_data / "ptbxl100", tmp_path / "ptbxl")
    text = PAGE.read_text(encoding="utf-8").partition(REAL_ECGS)[2]
    for option in ("max_train_steps", "eval_steps"):
        text = re.sub(rf"--{option} \d+", f"--{option} 2", text)
    first, *others = commands(text.replace("--warmup_steps 20", "--warmup_steps 1"))
    run(first, monkeypatch)
    assert f"{len(records)} found = {len(records)} kept + 0 rejected" in capsys.readouterr().out
    write_exams(records, load_exam_table("runs/ptbxl/superclass"))
    for command in others:
        run(command, monkeypatch)
    outputs = {word for command in others for word in re.findall(r"--output_dir (\S+)", command)}
    exported = {output for output in outputs if output.endswith("_onnx")}
    assert len(exported) == 5 and all((Path(output) / "model.onnx").is_file() for output in exported)
    assert [
        len(json.loads((Path(folder) / "config.json").read_text())["id2label"]) for folder in sorted(exported)
    ] == [
        5,
        1,
        5,
        5,
        71,
    ]


def part_of_ptbxl(source, folder):
    """Makes an archive of few records of a copy of PTB-XL; returns their files by exam id."""
    folder.mkdir()
    shutil.copy(source / "scp_statements.csv", folder)
    with (source / "ptbxl_database.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)[::EVERY]
    with (folder / "ptbxl_database.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        for ending in (".hea", ".dat"):
            copy = folder / (row["filename_lr"] + ending)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / (row["filename_lr"] + ending), copy)
    return {str(int(float(row["ecg_id"]))): row["filename_lr"] for row in rows}


def write_exams(records, tables):
    """Writes the exams.csv of which the page speaks."""
    with Path("exams.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["record", "patient", "split", "NORM", "MI", "STTC", "CD", "HYP", "age"])
        for split, exams in tables.items():
            for exam in exams.remove_columns("ecg"):
                labels = [exam["labels"][name] for name in ("NORM", "MI", "STTC", "CD", "HYP")]
                record = records[exam["exam_id"]].removeprefix("records100/")
                writer.writerow([record, exam["patient_id"], split, *labels, exam["age"]])


def test_array_to_record(tmp_path, monkeypatch):
    """The page's few lines of Python."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    microvolts = np.random.default_rng(0).integers(-2000, 2000, (1000, 12))
    names = ",".join(["I", "II", "III", "aVR", "aVL", "aVF", *(f"V{i}" for i in range(1, 7))])
    np.savetxt("export/4711.csv", microvolts, fmt="%d", delimiter=",", header=names, comments="")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, PAGE.name, "exec"), {})
    record = wfdb.rdrecord("records/4711")
    assert record.fs == 500 and record.sig_name[11] == "V6" and set(record.units) == {"uV"}
    # wfdb chooses the steps so that a lead's range fills 16 bits.
    np.testing.assert_allclose(record.p_signal, microvolts, atol=0.1)
