"""Every command that writes a folder is refused while another process writes there, and leaves it as it was."""

import json
import os

import pytest

import reproduce
import train_cls
from common.locks import lock_path, only_writer
from data_scripts import describe, embed_reports, make_text_model, measure
from data_scripts.simulate.cohort import CohortSettings, write_cohort
from publishing import dataset, pretrained
from publishing import model as publishing_model
from publishing.export import ExportArguments, export
from publishing.published_weights import convert_published
from publishing.recalibrate import RecalibrateArguments, run_recalibration
from tests.publishing.runs import write_run
from tests.two_processes import run_two


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def of(exam_table, text_model, run, tmp_path):
    """What each command is given; its folder is `out`."""
    out = str(tmp_path / "out")
    table = ["--dataset_name_or_path", str(exam_table)]
    (tmp_path / "weights").touch()
    embed = [*table, "--text_model_name_or_path", str(text_model), "--output_dir", out]
    return {
        "describe": lambda: describe.main([*table, "--output_dir", out, "--overwrite_reports"]),
        "embed_reports": lambda: embed_reports.main(embed),
        "measure": lambda: measure.main([*table, "--output_file", f"{out}.csv"]),
        "simulate": lambda: write_cohort(out, CohortSettings(1, 0), progress=False),
        "train": lambda: train_cls.main([*table, "--output_dir", out, "--encoder_preset", "tiny"]),
        "reproduce": lambda: reproduce.main(["--output_dir", out, "--num_exams", "50"]),
        "data set": lambda: dataset.main([*table, "--output_dir", out]),
        "export": lambda: export(ExportArguments(str(run), out, "onnx")),
        "recalibrate": lambda: run_recalibration(RecalibrateArguments(str(run), str(exam_table), out)),
        "pack": lambda: pretrained.pack(run, tmp_path / "out"),
        "convert": lambda: convert_published(tmp_path / "weights", "lima2021", out),
    }


COMMANDS = ["describe", "embed_reports", "measure", "simulate", "train", "reproduce", "data set", "export"]
COMMANDS += ["recalibrate", "pack", "convert"]


def place_of(command, tmp_path, text_model):
    if command == "embed_reports":
        return embed_reports.text_table_folder(tmp_path / "out", text_model, "mean")
    return tmp_path / ("out.csv" if command == "measure" else "out")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_somebody_writes_is_left_alone(of, command, tmp_path, text_model):
    assert set(of) == set(COMMANDS)
    place = place_of(command, tmp_path, text_model)
    with only_writer(place):
        held = lock_path(place).read_text()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(BlockingIOError, match=f"is being written by process {os.getpid()} on "):
            of[command]()
        assert sorted(tmp_path.rglob("*")) == before and lock_path(place).read_text() == held


def test_a_run_is_not_published_while_it_is_trained(run, capsys, monkeypatch):
    monkeypatch.setattr(publishing_model, "publish_model", lambda *_: pytest.fail("it was published"))
    with only_writer(run):
        assert publishing_model.main(["--folder", str(run), "--repo_id", "clinic/cls"]) == 1
    assert "is being written by process" in capsys.readouterr().err


def test_a_text_model_is_not_written_twice_at_once(exam_table, tmp_path, monkeypatch):
    arguments = ["--dataset_name_or_path", str(exam_table), "--output_dir", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["make_text_model", *arguments])
    with only_writer(tmp_path / "out"), pytest.raises(BlockingIOError):
        make_text_model.main()
    assert not (tmp_path / "out").exists()


def test_the_lock_of_a_run_is_gone_when_it_ends(exam_table, tmp_path):
    train = [
        "--dataset_name_or_path",
        str(exam_table),
        "--output_dir",
        str(tmp_path / "run"),
        "--encoder_preset",
        "no",
    ]
    with pytest.raises(SystemExit):
        train_cls.main(train)
    train[-1:] = ["tiny", "--labels", "none"]
    for _ in range(2):
        with pytest.raises(ValueError, match="--labels none"):
            train_cls.main(train)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def refused(rank, port, folder):
    """One of two processes of a training run into `folder/run`; writes how it ended."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    try:
        train_cls.main(["--dataset_name_or_path", f"{folder}/none", "--output_dir", f"{folder}/run"])
    except BlockingIOError as error:
        with open(f"{folder}/rank-{rank}.json", "w") as file:
            json.dump(str(error), file)


def test_all_processes_of_a_training_end_where_one_is_refused(tmp_path):
    with only_writer(tmp_path / "run"):
        run_two(refused, tmp_path)  # returns once both have ended
    said = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert said[0] == said[1] and f"is being written by process {os.getpid()}" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0.json", "rank-1.json"]
