"""The requests of the benchmark: a polite one, and those that are meant to harm."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np

from modeling_ecgclip import example_ecg, read_ecg


RATE = 500
QUERY = f"?format=int16&shape=12,5000&unit=uV&sampling_rate={RATE}&lead_names=I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
MAX_BODY = 2**25


@dataclass(frozen=True)
class Ask:
    """A request: path with query, content type, body."""

    path: str
    content_type: str
    body: bytes

    def text(self, *headers: str) -> bytes:
        """All of it, as it is sent."""
        head = [
            f"POST {self.path} HTTP/1.1",
            "Host: x",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *headers,
        ]
        return "\r\n".join([*head, "", ""]).encode() + self.body


def signal() -> np.ndarray:
    """The simulated example, float64 (12, 5000) millivolts at 500 Hz."""
    record = read_ecg(example_ecg())
    values = np.tile(np.asarray(record.signal, np.float64), 2)[:, :5000]
    return values if values.shape == (12, 5000) else np.resize(values, (12, 5000))


def polite() -> Ask:
    """One ECG of ten seconds as int16."""
    microvolts = np.rint(1000 * signal()).astype("<i2")
    return Ask(f"/{QUERY}", "application/octet-stream", microvolts.tobytes())


def of_json(inputs: list[object], **parameters: object) -> Ask:
    return Ask("/", "application/json", json.dumps({"inputs": inputs, "parameters": parameters}).encode())


def several(n_ecgs: int) -> Ask:
    """So many ECGs in one request."""
    coded = base64.b64encode(polite().body).decode()
    leads = QUERY.partition("lead_names=")[2]
    stated = {"format": "int16", "shape": [12, 5000], "unit": "uV", "sampling_rate": RATE, "lead_names": leads}
    return of_json([coded] * n_ecgs, **stated)


def odd_rate() -> Ask:
    """128 ECGs at a rate that has no small ratio to that of a model."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ecg=np.rint(1000 * signal()[:, :1000]).astype(np.int16).repeat(4, axis=1))
    return of_json([base64.b64encode(buffer.getvalue()).decode()] * 128, sampling_rate=997.001, unit="uV")


def many_lists() -> Ask:
    """As many lists of one number as a body can hold."""
    head, foot = b'{"inputs": [', b'[0]], "parameters": {"sampling_rate": 500, "unit": "mV"}}'
    return Ask("/", "application/json", head + b"[0]," * ((MAX_BODY - len(head) - len(foot)) // 4) + foot)


def many_ids() -> Ask:
    """Sixteen small HDF5 files of two million ids each."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        ids = np.arange(2_000_000, dtype=np.int64)
        file.create_dataset("exam_id", data=ids, chunks=(100_000,), compression="gzip", shuffle=True)
        file.create_dataset("tracings", shape=(2_000_000, 4096, 12), dtype="f4", chunks=(1, 4096, 12))
    return of_json([base64.b64encode(buffer.getvalue()).decode()] * 16, exam_id=1_999_999)


def bombs() -> Ask:
    """Sixteen small archives of a large array of zeros each."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ecg=np.zeros((12, 490_000)), fs=500, units="mV", other=np.zeros(6_000_000))
    return of_json([base64.b64encode(buffer.getvalue()).decode()] * 16)


def long_answer() -> Ask:
    """128 ECGs with measurements: the longest answer that is easily had."""
    coded = base64.b64encode(polite().body).decode()
    leads = QUERY.partition("lead_names=")[2]
    stated = {"format": "int16", "shape": [12, 5000], "unit": "uV", "sampling_rate": RATE, "lead_names": leads}
    return of_json([coded] * 128, **stated, task="ecg-feature-extraction")


HEAVY: dict[str, Callable[[], Ask]] = {
    "128 ECGs at 997.001 Hz": odd_rate,
    "32 MiB of `[0],`": many_lists,
    "16 HDF5 files of 2 million ids": many_ids,
    "16 npz bombs": bombs,
}
