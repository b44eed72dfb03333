"""What a server has behind its addresses: the model, the processes that read, the threads that compute."""

import asyncio
import contextlib
import functools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any

import numpy as np
import torch

from modeling_ecgclip.prepared_request_ecgclip import error_answer
from serving.batching import Batches
from serving.metrics import Metrics
from serving.readers import Readers, ToRead
from serving.reading import with_request
from serving.settings import Settings
from serving.shares import FairThreads, Shares


logger = logging.getLogger("serve")


class Taken:
    """What one request holds of something that is shared."""

    def __init__(self, shares: Shares, address: str):
        self.shares, self.address, self.amount = shares, address, 0

    def take(self, amount: int) -> None:
        """Takes more; [`Full`] where that is too much."""
        self.shares.take(self.address, amount)
        self.amount += amount


class Engine:
    """
    Computes answers; everything about HTTP is left to others.

    Args:
        settings ([`Settings`]): Its limits.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.metrics = Metrics()
        self.model_info: dict[str, Any] = {}
        self.max_request_bytes = 2**25
        self.statuses: dict[str, int] = {}
        self.in_flight = 0
        self.reading = 0  # requests that are read, or wait for it
        self.draining = False
        self.requests = Shares(settings.max_requests, settings.max_requests // 2)
        self.body_bytes = Shares(settings.max_body_bytes, settings.max_body_bytes // 2)
        self.answers = Shares(settings.max_answer_bytes, settings.max_answer_bytes // 2)
        self.handler: Any = None
        self.readers: Readers | None = None
        self.batches: Batches | None = None
        self._whole: FairThreads | None = None
        # Text that is made of results holds the interpreter: two at a time, and one of an address.
        self._texts = FairThreads(2, at_once=1)
        self._loaded = threading.Event()
        self.metrics.watch("requests_waiting", "Requests accepted and not computed yet", lambda: self.requests.taken)
        self.metrics.watch("request_bytes", "Bytes of requests in memory", lambda: self.body_bytes.taken)
        self.metrics.watch("answer_bytes", "Bytes of answers that were not taken yet", lambda: self.answers.taken)
        self.metrics.watch("ready", "Whether requests are accepted", lambda: self.not_ready() is None)

    def load(self, handler: Callable[[dict[str, Any]], Any], folder: str) -> None:
        """
        Begins to answer with a handler.

        Args:
            handler: Of the folder's `handler.py`. One that does not know the three steps of `EndpointHandler` is
                called as a whole, in this process: nothing then limits what reading a request takes.
            folder (`str`): Of the model.
        """
        torch.set_num_threads(1)
        inner: Any = getattr(handler, "handler", handler)
        self.handler = inner
        self.model_info = getattr(inner, "model_info", {})
        self.statuses = getattr(inner, "error_types", {})
        self.max_request_bytes = getattr(inner, "max_request_bytes", self.max_request_bytes)
        if hasattr(handler, "preparer_class") and hasattr(inner, "network"):
            self.readers = Readers(folder, self.settings, lambda reason: self.metrics.replaced.labels(reason).inc())
            self.batches = Batches(inner, self.settings, self.metrics.batch, lambda: self.reading)
            for output in inner.outputs:  # finds out now how bits stay the same, and not in somebody's request
                inner.network(output, np.zeros((2, *inner.input_shape), np.float32))
        else:
            self._whole = FairThreads(self.settings.workers)
        self._loaded.set()

    def not_ready(self, queue: bool = True) -> str | None:
        """Returns why no request is accepted, None where one is; with `queue` also where as many wait as may."""
        if self.draining:
            return "the server is stopping"
        if not self._loaded.is_set():
            return "the model is being loaded"
        return "as many requests are waiting as may" if queue and self.requests.taken >= self.requests.total else None

    @contextlib.contextmanager
    def bodies(self, address: str) -> Iterator[Taken]:
        """Gives back what a request takes of the memory for bodies."""
        taken = Taken(self.body_bytes, address)
        try:
            yield taken
        finally:
            taken.shares.give(address, taken.amount)

    async def answer(self, address: str, head: dict[str, str], body: bytes, request_id: str) -> tuple[int, bytes]:
        """
        Returns the status and the JSON of the answer to a request.

        Args:
            address (`str`): Whose it is.
            head (`dict`): `content_type` and `query`.
            body (`bytes`): As it was sent.
            request_id (`str`): Which errors name.

        Raises:
            [`Full`]: where as many requests wait as may.
        """
        self.requests.take(address)
        try:
            prepared, outputs = await self._computed(address, head, body)
            text = functools.partial(self._text, prepared, outputs, request_id)
            return await asyncio.wrap_future(self._texts.submit(address, text))
        finally:
            self.requests.give(address)

    async def _computed(self, address: str, head: dict[str, str], body: bytes) -> tuple[Any, list[torch.Tensor]]:
        """A prepared request and the network's outputs for its ECGs; or an answer, and no outputs."""
        if self._whole is not None:
            whole = functools.partial(with_request, self.handler, **head, body=body)
            return await asyncio.wrap_future(self._whole.submit(address, whole)), []
        assert self.readers is not None and self.batches is not None
        self.reading += 1
        try:
            prepared = await asyncio.wrap_future(self.readers.submit(address, ToRead(head, body)))
            output = getattr(prepared, "output", None)
            if output is None:
                return prepared, []
            futures: list[Future] = [
                self.batches.submit(address, output, ecg.pop("input_values")) for ecg in prepared.ecgs
            ]
        finally:
            self.reading -= 1
        outputs = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        failed = next((one for one in outputs if isinstance(one, BaseException)), None)
        if failed is not None:  # a defect of ours; its message may quote a recording
            logger.error("computing failed: %s", type(failed).__name__)
            return error_answer("InternalError", "the request could not be answered; the server's log says why"), []
        return prepared, [one for one in outputs if isinstance(one, torch.Tensor)]

    def _text(self, prepared: Any, outputs: list[torch.Tensor], request_id: str) -> tuple[int, bytes]:
        """The status and the JSON of an answer, or of a prepared request's."""
        answer = self.handler.answer(prepared, outputs) if hasattr(prepared, "ecgs") else prepared
        failed = answer.get("error") if isinstance(answer, dict) else None
        if failed:
            self.metrics.errors.labels(failed["type"]).inc()
            status = self.statuses.get(failed["type"], HTTPStatus.BAD_REQUEST)
            return status, json.dumps({"error": {**failed, "request_id": request_id}}).encode()
        if isinstance(answer, list):  # one result after the other, so that others get their turn meanwhile
            return HTTPStatus.OK, b"[" + b", ".join(json.dumps(one).encode() for one in answer) + b"]"
        return HTTPStatus.OK, json.dumps(answer).encode()

    def stop(self) -> None:
        """Ends processes and threads."""
        for part in (self.readers, self.batches, self._whole, self._texts):
            if part is not None:
                part.stop()


__all__ = ["Engine"]
