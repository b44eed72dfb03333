"""The same bits alone, among others, and by the handler itself; and that others share a batch at all."""

import threading

import numpy as np
import pytest
import torch

from serving.batching import Batches
from serving.reading import handler_class
from serving.server import EndpointServer
from serving.settings import Settings
from tests.simulated import simulated
from tests.small_models import write_small_classifier


STATED = {"sampling_rate": 400, "unit": "mV"}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_classifier(tmp_path_factory.mktemp("batched") / "model")


def test_same_bits_alone_among_others_and_by_the_handler(folder, ask, one_thread):
    handler = handler_class(folder)(str(folder))
    server = EndpointServer("127.0.0.1", 0, Settings(readers=2, workers=1, batch_wait_s=0.2))
    server.load(handler, str(folder))
    ecgs = [np.round(simulated(number), 4).tolist() for number in range(6)]
    with server.running() as port:
        alone = [ask(port, ecg, **STATED)[2] for ecg in ecgs]
        together = [None] * len(ecgs)

        def one(number):
            together[number] = ask(port, ecgs[number], **STATED)[2]

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(ecgs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        in_one_request = ask(port, ecgs, **STATED)[2]
        metrics = ask(port, path="/metrics")[2]
    assert together == alone and in_one_request == alone
    assert [handler({"inputs": ecg, "parameters": STATED}) for ecg in ecgs] == alone
    assert handler({"inputs": ecgs, "parameters": STATED}) == alone
    batches, n_ecgs = (
        float(metrics.partition(f"ecgclip_batch_ecgs_{name} ")[2].split()[0]) for name in ("count", "sum")
    )
    assert n_ecgs == 18 and batches < 15, "several were computed at once"
    assert len({answer[0]["score"] for answer in alone}) == 6


class Handler:
    """Adds up; refuses what holds a NaN."""

    def __init__(self):
        self.sizes = []

    def network(self, output, values):
        self.sizes.append((output, len(values)))
        if np.isnan(values).any():
            raise RuntimeError("odd")
        return torch.from_numpy(values).sum((1, 2))


def test_only_what_wants_the_same_shares_a_batch_and_errors_stay_with_it():
    handler = Handler()
    batches = Batches(handler, Settings(workers=1, batch_wait_s=0.2), lambda n_ecgs: None, coming=lambda: 1)
    wanted = [("logits", 1.0), ("embeds", 2.0), ("logits", 3.0), ("embeds", np.nan)]
    futures = [
        batches.submit(str(number), output, np.full((1, 2, 3), value, np.float32))
        for number, (output, value) in enumerate(wanted)
    ]
    assert [float(futures[number].result(10)) for number in (0, 2)] == [6.0, 18.0]
    assert isinstance(futures[3].exception(10), RuntimeError)
    batches.stop()
    assert ("logits", 2) in handler.sizes and all(size <= 2 for _, size in handler.sizes)
