"""The command line: every option reaches the cohort, faults end with a message and another exit code."""

import json

import pytest

from data_scripts.simulate.__main__ import main


def test_options_reach_the_cohort(tmp_path, capsys):
    arguments = "--num_exams 5 --seed 3 --num_proc 2 --prevalence_scale 2 --exams_per_part 2 --compression lzf --clean"
    arguments += " --report_reader independent --marks"
    assert main(["--output_dir", str(tmp_path / "c"), *arguments.split()]) == 0
    record = json.loads((tmp_path / "c" / "simulation.json").read_text())
    expected = {"num_exams": 5, "seed": 3, "prevalence_scale": 2.0, "exams_per_part": 2, "compression": "lzf"}
    assert expected.items() <= record.items() and record["clean"] is True and record["n_parts"] == 3
    assert record["report_reader"] == "independent" and record["marks"] is True
    assert len(list((tmp_path / "c").glob("marks_part*.parquet"))) == 3
    assert "5 simulated exams" in capsys.readouterr().out


def test_what_cannot_be_honoured_is_said_and_ends_in_2(tmp_path, capsys):
    assert main(["--output_dir", str(tmp_path / "c"), "--num_exams", "0"]) == 2
    assert "num_exams must lie in" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_required_arguments():
    with pytest.raises(SystemExit):
        main(["--num_exams", "3"])
