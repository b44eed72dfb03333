"""One ECG in every form that a request may have, beside what the pipeline is given for the same answer."""

import base64
import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import wfdb

from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


RATE = 500


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write_files(folder: Path, ecg: np.ndarray) -> dict[str, bytes]:
    """
    Writes one file of each kind.

    Args:
        folder (`Path`): Made where it does not exist.
        ecg (`np.ndarray` of shape `(12, samples)`): Whole microvolts, at 500 Hz.

    Returns:
        `dict[str, bytes]`: What lies in each file, by its ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mv = ecg / 1000.0
    np.save(folder / "ecg.npy", mv.astype(np.float32))
    np.savez(folder / "ecg.npz", ecg=mv, sampling_rate=RATE, unit="mV", lead_names=list(LEAD_NAMES))
    rows = [",".join(LEAD_NAMES), *(",".join(f"{value:.3f}" for value in row) for row in mv.T)]
    (folder / "ecg.csv").write_text("\n".join(rows))
    wfdb.wrsamp(
        "ecg", RATE, ["mV"] * 12, list(LEAD_NAMES), mv.T, fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12,
        write_dir=str(folder),
    )  # fmt: skip
    tracings = np.zeros((2, 4096, 12), np.float32)
    tracings[1, 1000 : 1000 + ecg.shape[1]] = 2 * mv.T
    with h5py.File(folder / "ecg.hdf5", "w") as file:
        file["exam_id"] = np.array([12, 7])
        file.create_dataset("tracings", data=tracings, compression="gzip")
    with zipfile.ZipFile(folder / "ecg.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for ending in ("hea", "dat"):
            archive.write(folder / f"ecg.{ending}", f"ecg.{ending}")
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}


def request_forms(folder: Path, ecg: np.ndarray) -> dict[str, tuple[Any, dict[str, Any], Any, dict[str, Any]]]:
    """
    Returns by name: `inputs`, `parameters`, and the source and the arguments that the pipeline takes instead.

    Args: as in [`write_files`].
    """
    files = write_files(folder, ecg)
    mv = ecg / 1000.0
    stated = {"sampling_rate": RATE, "unit": "mV"}
    shape = list(ecg.shape)
    row = np.zeros((12, 4096), np.int16)
    left = (4096 - ecg.shape[1]) // 2
    row[:, left : left + ecg.shape[1]] = ecg
    row = {"ecg": row.reshape(-1).tolist(), "n_samples": ecg.shape[1]}
    buffer = io.BytesIO()
    np.save(buffer, ecg.T)
    own = {"ecg": mv.tolist(), **stated, "lead_names": list(LEAD_NAMES), "name": "bed 4"}
    pair = {"hea": base64_of(files["hea"]), "dat": base64_of(files["dat"])}
    microvolts = {**stated, "unit": "uV"}
    array, record = (mv, stated), (folder / "ecg", {})
    raw = {**stated, "format": "float32"}
    file = {ending: (folder / f"ecg.{ending}", stated) for ending in ("npy", "csv")}
    return {
        "leads x samples": (mv.tolist(), stated, *array),
        "samples x leads": (mv.T.tolist(), stated, *array),
        "array": (mv, stated, *array),
        "float32": (base64_of(mv.astype("<f4").tobytes()), {**raw, "shape": shape}, *file["npy"]),
        "float32, samples first": (
            base64_of(mv.T.astype("<f4").tobytes()), {**raw, "shape": shape[::-1]}, *file["npy"],
        ),
        "int16": (
            base64_of(ecg.astype("<i2").tobytes()), {**microvolts, "format": "int16", "shape": shape}, ecg, microvolts,
        ),
        "npy": (base64_of(files["npy"]), stated, *file["npy"]),
        "npy as bytes": (files["npy"], {**stated, "format": "npy"}, *file["npy"]),
        "npy of int16": (base64_of(buffer.getvalue()), microvolts, ecg, microvolts),
        "npz": (base64_of(files["npz"]), {}, folder / "ecg.npz", {}),
        "CSV text": (files["csv"].decode(), stated, *file["csv"]),
        "CSV as base64": (base64_of(files["csv"]), stated, *file["csv"]),
        "CSV as bytes, settings as text": (
            files["csv"], {**stated, "sampling_rate": "500", "format": "csv"}, *file["csv"],
        ),
        "hdf5": (base64_of(files["hdf5"]), {"exam_id": 7}, folder / "ecg.hdf5", {"exam_id": 7}),
        "WFDB pair": (pair, {}, *record),
        "WFDB pair, header as text": ({**pair, "hea": files["hea"].decode()}, {}, *record),
        "WFDB zip": (base64_of(files["zip"]), {}, *record),
        "WFDB zip as bytes": (files["zip"], {"format": "wfdb"}, *record),
        "dictionary with its own settings": (own, {"sampling_rate": 100, "unit": "uV"}, *array),
        "dictionary with data": ({"data": base64_of(files["npy"]), "format": "npy", **stated}, {}, *file["npy"]),
        "exam-table row": (row, {}, row, {}),
    }  # fmt: skip
