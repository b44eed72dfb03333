import torch

from reproduction import sharing
from reproduction.jobs import Job
from reproduction.running import run_jobs
from reproduction.sharing import hold_table
from tests.reproduction.reading import count_up
from training.data import ExamTable


CPU = torch.device("cpu")


def test_all_processes_read_the_memory_of_one_table(exam_table, tmp_path):
    held, line = hold_table("on", ExamTable.load(str(exam_table)), CPU)
    assert line.startswith("held on cpu: 0.0 GiB of recordings")
    assert {name: len(recordings) for name, recordings in held.items()} == {"train": 90, "validation": 30, "test": 30}
    before = int(held["train"][0, 0, 0])
    flags = {"dataset_name_or_path": str(exam_table)}
    jobs = [Job(f"cells/{i}", "classify", flags, {}, None, 1.0) for i in range(4)]
    assert run_jobs(jobs, tmp_path, {"classify": count_up}, num_proc=2, held=held) == {}
    assert int(held["train"][0, 0, 0]) > before  # a copy would not have changed
    assert sharing._of_this_process == {}


def test_nothing_is_held_where_it_would_be_a_copy_or_is_not_wanted(exam_table):
    table = ExamTable.load(str(exam_table))
    for choice, why in (("auto", "on a CPU"), ("off", "as asked for")):
        held, line = hold_table(choice, table, CPU)
        assert held == {} and why in line
