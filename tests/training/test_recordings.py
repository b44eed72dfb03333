import threading
import time

import numpy as np
import pytest
import torch

from data_scripts.tables.schema import load_exam_table
from training import recordings
from training.recordings import Recordings, choose_cache, read_ahead, reading_threads


CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_change_neither_order_nor_results(threads):
    def slow_first(item):
        time.sleep(0.02 if item % 5 == 0 else 0)
        return item * item

    assert list(read_ahead(slow_first, iter(range(40)), threads)) == [item * item for item in range(40)]


def test_items_are_read_before_they_are_asked_for_and_not_all_at_once():
    read, enough = [], threading.Event()

    def note(item):
        read.append(item)
        if len(read) == 8:
            enough.set()
        return item

    reading = read_ahead(note, iter(range(1000)), 2)
    assert next(reading) == 0
    assert enough.wait(10), read  # nobody asked for them
    time.sleep(0.05)
    assert len(read) == 8 == recordings.AHEAD * 2
    reading.close()
    assert len(read) < 20


def test_an_error_comes_where_its_item_would_have_come():
    def fail_at_three(item):
        return 1 / (item - 3)

    for threads in (0, 2):
        reading = read_ahead(fail_at_three, range(9), threads)
        assert [next(reading) for _ in range(3)] == [-1 / 3, -1 / 2, -1]
        with pytest.raises(ZeroDivisionError):
            next(reading)


def test_blocks_on_the_device_are_the_rows_asked_for(exam_table, monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK", 7)  # the last one is not full
    of_split = Recordings(load_exam_table(exam_table)["train"])
    rows = np.random.default_rng(0).permutation(90)[:40]
    assert torch.equal(of_split.on_device(CPU, rows), of_split.read(rows))
    assert torch.equal(of_split.on_device(CPU), of_split.read(np.arange(90)))
    assert len(of_split) == 90 and of_split.bytes_per_exam == 2 * 12 * 4096


@pytest.mark.parametrize(
    ("choice", "needed", "device", "held", "words"),
    [
        ("auto", 34, GPU, True, "held on cuda:0: 34.0 GiB of recordings, 60.0 GiB free"),
        ("auto", 37, GPU, False, "37.0 GiB of recordings, 60.0 GiB free on cuda:0, of which a cache may take 60%"),
        ("on", 50, GPU, True, "held on cuda:0"),
        ("auto", 1, CPU, False, "on a CPU a cache would be a copy"),
        ("on", 1, CPU, True, "held on cpu"),
        ("off", 1, GPU, False, "as asked for"),
    ],
)
def test_the_choice_and_its_reason(choice, needed, device, held, words, monkeypatch):
    monkeypatch.setattr(recordings, "free_memory", lambda device: 60 * GIB)
    chosen, line = choose_cache(choice, needed * GIB, device)
    assert chosen is held and words in line and "\n" not in line


def test_a_cache_that_was_asked_for_and_does_not_fit_is_an_error(monkeypatch):
    monkeypatch.setattr(recordings, "free_memory", lambda device: 60 * GIB)
    with pytest.raises(
        MemoryError, match=r"55.0 GiB of recordings, 60.0 GiB free on cuda:0, .* 90%: leave the flag out"
    ):
        choose_cache("on", 55 * GIB, GPU)


def test_threads_are_for_devices_that_leave_the_processor_free():
    assert [reading_threads(asked, device) for asked, device in ((None, CPU), (None, GPU), (2, CPU), (0, GPU))] == [
        0,
        recordings.READ_THREADS,
        2,
        0,
    ]
