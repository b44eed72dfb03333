"""A folder whose handler does what a request asks of it: burn time, fill memory, die, or answer."""

import http.client
import json
import socket

import pytest

from serving.reading import handler_class
from serving.server import EndpointServer
from serving.settings import Settings


HANDLER = """
import os
import time

import numpy as np
import torch

from modeling_ecgclip.prepared_request_ecgclip import PreparedRequest


class Preparer:
    def __call__(self, data):
        held = []
        while data["inputs"] == "burn":
            pass
        while data["inputs"] == "fill":
            held.append(np.ones(2**20))
            time.sleep(0.02)
        if data["inputs"] == "die":
            os._exit(3)
        values = np.full((1, 2, 4), data["inputs"], np.float32)
        options = data.get("parameters") or {}
        ecg = {"quality": [], "input_values": values}
        return PreparedRequest("ecg-classification", options, {}, False, False, [ecg])


class EndpointHandler:
    error_types = {"InvalidRequest": 400, "TooLarge": 413, "InternalError": 500}
    model_info = {"architecture": "Obedient"}
    outputs = ("logits",)
    input_shape = (2, 4)
    max_request_bytes = 2**25

    def __init__(self, path):
        self.delay = float(os.environ.get("OBEDIENT_DELAY_S", 0))

    @staticmethod
    def preparer_class(path):
        return Preparer()

    def network(self, output, values):
        time.sleep(self.delay)
        return torch.from_numpy(values).sum((1, 2))[:, None]

    def answer(self, prepared, outputs):
        return {"sum": float(outputs[0]), "filler": "x" * prepared.options.get("filler", 0)}
"""


@pytest.fixture(scope="session")
def obedient_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("obedient")
    (folder / "handler.py").write_text(HANDLER, encoding="utf-8")
    return folder


@pytest.fixture
def serve_obedient(obedient_folder):
    """A function from settings to a running server: `with serve_obedient(readers=1) as (server, port)`."""

    class Running:
        def __init__(self, delay=0.0, **settings):
            settings = {"readers": 2, "workers": 1, "grace_s": 5, **settings}
            self.server = EndpointServer("127.0.0.1", 0, Settings(**settings))
            handler = handler_class(obedient_folder)(str(obedient_folder))
            handler.delay = delay
            self.server.load(handler, str(obedient_folder))
            self.running = self.server.running()

        def __enter__(self):
            return self.server, self.running.__enter__()

        def __exit__(self, *raised):
            return self.running.__exit__(*raised)

    return Running


@pytest.fixture(scope="session")
def ask():
    """A function that asks a port: status, headers and JSON (or text) of the answer."""

    def ask(port, inputs=None, path="/", headers=None, source="127.0.0.1", **parameters):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
        try:
            if inputs is None:
                connection.request("GET", path, headers=headers or {})
            else:
                body = json.dumps({"inputs": inputs, "parameters": parameters})
                connection.request("POST", path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            is_json = found["content-type"] == "application/json"
            return response.status, found, json.loads(content) if is_json else content.decode()
        finally:
            connection.close()

    return ask


@pytest.fixture(scope="session")
def say():
    """A function that sends plain bytes and returns all that comes back until the end."""

    def say(port, text):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(text)
            answer = b""
            while block := connection.recv(65_536):
                answer += block
        return answer

    return say
