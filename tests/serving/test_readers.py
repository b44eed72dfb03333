"""What reading takes is limited, and whoever takes too much harms nobody else."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from modeling_ecgclip.prepared_request_ecgclip import PreparedRequest
from serving.readers import Reader, ReaderFailed, ToRead, unpacked
from serving.reading import packed
from serving.settings import Settings


@pytest.mark.parametrize(
    ("what", "limits", "status", "kind", "reason"),
    [
        ("burn", {"reader_cpu_s": 0.4}, 413, "TooLarge", "time"),
        ("fill", {"reader_memory_mb": 64}, 413, "TooLarge", "memory"),
        ("die", {}, 500, "InternalError", "ended"),
    ],
)
def test_what_takes_too_much_is_ended_and_others_go_on(serve_obedient, ask, what, limits, status, kind, reason):
    with serve_obedient(readers=2, **limits) as (server, port):
        found = []
        bad = threading.Thread(target=lambda: found.append(ask(port, what)))
        bad.start()
        while bad.is_alive():
            assert ask(port, 2.0)[2]["sum"] == 16.0
        bad.join()
        assert (found[0][0], found[0][2]["error"]["type"]) == (status, kind)
        metrics = ask(port, path="/metrics")[2]
        assert f'ecgclip_readers_replaced_total{{reason="{reason}"}} 1.0' in metrics
        # The process that took its place reads as well: both are asked.
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(port, 3.0)[2]["sum"])) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [24.0] * 6


@pytest.mark.parametrize("n_bytes", [10, 2_000_000], ids=["little", "more than the socket holds"])
def test_a_process_that_hangs_holds_nobody(obedient_folder, tmp_path, n_bytes):
    reader = Reader(str(obedient_folder), Settings(reader_cpu_s=0.1), tmp_path / "reader")
    try:
        os.kill(reader.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(ReaderFailed) as failed:
            reader.read(ToRead({"content_type": "", "query": ""}, b" " * n_bytes))
        assert failed.value.reason == "time" and time.monotonic() - began < 10
    finally:
        reader.stop()


def test_one_address_never_has_all_readers(serve_obedient, ask):
    with serve_obedient(readers=2, reader_cpu_s=3) as (server, port):
        attack = [threading.Thread(target=ask, args=(port, "burn")) for _ in range(4)]
        for thread in attack:
            thread.start()
        time.sleep(0.3)
        assert ask(port, 2.0, source="127.0.0.2")[0] == 200
        assert any(thread.is_alive() for thread in attack)
        server.readers_stopped = server.engine.readers.stop()
        for thread in attack:
            thread.join()


def test_what_was_prepared_travels_whole():
    values = np.random.default_rng(0).normal(size=(2, 1, 3, 5)).astype(np.float32)
    ecgs = [
        {"input_values": values[0], "quality": [{"code": "short"}], "name": "inputs[0]"},
        {"input_values": values[1], "quality": [], "measurements": {"qt_ms": 0.1 + 0.2}},
        {"quality": [], "measurements": {}},
    ]
    sent = PreparedRequest("ecg-classification", {"top_k": 2}, {"AF": 0.3}, True, False, ecgs)
    parts = iter(packed(sent))
    found = unpacked(lambda: next(parts))
    assert [np.array_equal(one.pop("input_values"), two.pop("input_values")) for one, two in
            zip(found.ecgs[:2], sent.ecgs[:2], strict=True)] == [True, True]  # fmt: skip
    assert found == sent
    parts = iter(packed({"error": {"type": "InvalidEcg"}}))
    assert unpacked(lambda: next(parts)) == {"error": {"type": "InvalidEcg"}}
