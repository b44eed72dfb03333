"""Every command explains itself: argparse formats its help, which a stray per cent sign breaks."""

import runpy
import sys
from pathlib import Path

import pytest


PROJECT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "app",
    "reproduce",
    "serve",
    "train_clip",
    "train_cls",
    "data_scripts.code15",
    "data_scripts.code_test",
    "data_scripts.describe",
    "data_scripts.embed_reports",
    "data_scripts.folder",
    "data_scripts.make_text_model",
    "data_scripts.measure",
    "data_scripts.mimic_iv_ecg",
    "data_scripts.ptbxl",
    "data_scripts.publish",
    "data_scripts.reports",
    "data_scripts.simulate",
    "data_scripts.wfdb_folder",
    "examples.page.draw",
    "examples.pretrained.pack",
    "modeling_ecgclip.convert_published",
    "publishing.pretrained",
    "space.index_reports",
    "space.make_examples",
    "training.export",
    "training.input_statistics",
    "training.publish",
    "training.recalibrate",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    path = PROJECT / command.replace(".", "/")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path / "__main__.py" if path.is_dir() else path.with_suffix(".py")), run_name="__main__")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage:") and "%(" not in text and "%%" not in text
