"""
How long do smaller pieces take, which no other benchmark measures?

    python benchmarks/pieces/run.py [layouts] [augmentation] [bootstrap] [publication] [checksums] [blocks]

Measures all six, or those that are named, and ends in one line of JSON.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import xxhash
from datasets import Array2D, Dataset, DatasetDict, Features, List, Value, load_from_disk
from transformers import AutoModelForAudioClassification


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from common.checksums import file_digest, verify_checksums  # noqa: E402 (the path comes first)
from data_scripts.tables.digest import table_digest  # noqa: E402
from data_scripts.tables.schema import EXAM_FEATURES, SPLITS, ecg_array  # noqa: E402
from metrics.ecg_multilabel.ecg_multilabel import bootstrap_intervals  # noqa: E402
from modeling_ecgclip.hub_ecgclip import verify_saved_files  # noqa: E402
from modeling_ecgclip.layers_ecgclip import EcgConv1d, as_image  # noqa: E402
from modeling_ecgclip.pretrained_ecgclip import pretrained_folder  # noqa: E402
from modeling_ecgclip.signal_ecgclip import SignalSpec  # noqa: E402
from training.augmentation import Augmentation  # noqa: E402
from training.run import RECORDS  # noqa: E402


N_LEADS, N_SAMPLES = 12, 4096
# Channels, channels of the output and samples: two narrow ones, and those of the paper's network and of stride 1.
CONVOLUTIONS = (
    (12, 64, 4096),
    (32, 32, 1024),
    (64, 64, 1024),
    (64, 128, 1024),
    (128, 192, 256),
    (192, 256, 64),
    (256, 320, 16),
)
EXAM_BYTES = 2 * N_LEADS * N_SAMPLES  # of its recording
STRENGTHS = {"amplitude": 0.2, "noise_mv": 0.02, "wander_mv": 0.1, "shift_s": 0.5, "lead_masking": 0.1}


def median_seconds(call: Callable[[], Any], turns: int) -> float:
    """
    Seconds of processor time of one call, the median of so many; one before them does not count.

    Other programs on the machine lengthen the time by the clock, and this one little.
    """
    times = []
    for _ in range(turns + 1):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def layouts(folder: Path, n_exams: int = 1000, batch_size: int = 32) -> dict[str, float]:
    """Milliseconds to read a random batch as one array: the exam table's column, and two as `datasets` reads them."""
    generator = np.random.default_rng(0)
    exams = generator.integers(-1000, 1000, (n_exams, N_LEADS, N_SAMPLES), dtype=np.int16)
    batches = iter([generator.choice(n_exams, batch_size, replace=False) for _ in range(100)])
    columns: dict[str, tuple[Any, np.ndarray, str]] = {
        "List(int16)": (List(Value("int16"), N_LEADS * N_SAMPLES), exams.reshape(n_exams, -1), "arrow"),
        "Array2D(int16)": (Array2D((N_LEADS, N_SAMPLES), "int16"), exams, "numpy"),
        "List(List(float32))": (List(List(Value("float32"))), exams.astype(np.float32), "numpy"),
    }
    result = {}
    for name, (feature, values, form) in columns.items():
        Dataset.from_dict({"ecg": list(values)}, features=Features({"ecg": feature})).save_to_disk(folder / name)
        rows = load_from_disk(str(folder / name)).with_format(form)

        def read(rows: Dataset = rows, form: str = form) -> np.ndarray:
            batch = rows[next(batches)]
            return ecg_array(batch, N_LEADS) if form == "arrow" else np.asarray(batch["ecg"])

        assert read().shape == (batch_size, N_LEADS, N_SAMPLES)
        result[name] = round(1000 * median_seconds(read, turns=20), 2)
    return result


def augmentation(n_exams: int = 128) -> dict[str, float]:
    """Milliseconds of each augmentation for a batch."""
    generator = torch.Generator().manual_seed(0)
    ecg = torch.randn(n_exams, N_LEADS, N_SAMPLES, generator=generator)
    n_samples = torch.full((n_exams,), N_SAMPLES)
    result = {}
    for name, strength in STRENGTHS.items():
        change = partial(Augmentation(**{name: strength}), ecg, n_samples, SignalSpec())
        result[name] = round(1000 * median_seconds(change, turns=5), 1)
    return result


def bootstrap(n_exams: int = 40_000, n_labels: int = 6) -> dict[str, float]:
    """Seconds of 1,000 resamples, with 2 and with 50 % of the labels positive."""
    generator = np.random.default_rng(0)
    names, result = [f"label_{i}" for i in range(n_labels)], {}
    for share in (0.02, 0.5):
        labels = (generator.random((n_exams, n_labels)) < share).astype(int)
        scores = 1 / (1 + np.exp(-generator.normal(size=labels.shape) - labels))
        start = time.process_time()
        bootstrap_intervals(scores, labels, [0.5] * n_labels, names)
        result[f"{share:.0%} positive"] = round(time.process_time() - start, 2)
    return result


def exam_rows(n_exams: int) -> Dataset:
    """Rows of an exam table, with random recordings."""
    generator = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {name: [None] * n_exams for name in EXAM_FEATURES}
    columns["ecg"] = list(generator.integers(-1000, 1000, (n_exams, N_LEADS * N_SAMPLES), dtype=np.int16))
    columns["report"] = ["Ritmo sinusal. Bloqueio de ramo direito."] * n_exams
    return Dataset.from_dict(columns, features=EXAM_FEATURES)


def checksums(folder: Path, n_bytes: int = 1 << 27) -> dict[str, float]:
    """
    MB of a file and exams of a table digested in a second of processor time; what loading and comparing the default
    classifier takes.
    """
    path = folder / "bytes"
    path.write_bytes(np.random.default_rng(0).bytes(n_bytes))

    def xxh3() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()

    digest = median_seconds(partial(file_digest, path), turns=3)
    rows = exam_rows(256)
    of_rows = median_seconds(partial(table_digest, DatasetDict(dict.fromkeys(SPLITS, rows))), turns=3)
    model = pretrained_folder("cls")
    load = median_seconds(partial(AutoModelForAudioClassification.from_pretrained, model), turns=3)
    verify = median_seconds(partial(verify_saved_files, model), turns=3)
    records = median_seconds(partial(verify_checksums, model, RECORDS), turns=3)
    return {
        "sha256_mb_per_cpu_s": round(n_bytes / 1e6 / digest),
        "xxh3_128_mb_per_cpu_s": round(n_bytes / 1e6 / median_seconds(xxh3, turns=3)),
        "exams_per_cpu_s": round(len(SPLITS) * len(rows) / of_rows),
        "load_model_ms": round(1000 * load, 1),
        "of_it_verify_ms": round(1000 * verify, 1),
        "verify_records_ms": round(1000 * records, 1),
    }


def own_mebibytes(process: subprocess.Popen[str]) -> float:
    """Largest memory of a process that is no file's (`RssAnon` of Linux), until it ends."""
    peak = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
        time.sleep(0.05)
    return peak / 1024


def publish(table: Path, output: Path, n_exams: int) -> dict[str, float]:
    """Own memory, seconds of processor time and size of what `data_scripts.publish` writes of one exam table."""
    command = [sys.executable, "-m", "data_scripts.publish", "--dataset_name_or_path", table, "--output_dir", output]
    before = sum(os.times()[2:4])  # of processes that have ended
    with subprocess.Popen(list(map(str, command)), cwd=PROJECT, text=True, stdout=subprocess.DEVNULL) as process:
        peak = own_mebibytes(process)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}: {' '.join(map(str, command))}")
    written = sum(path.stat().st_size for path in output.rglob("*.parquet"))
    return {
        "own_mib": round(peak),
        "cpu_s": round(sum(os.times()[2:4]) - before, 2),
        "of_recordings": round(written / (n_exams * EXAM_BYTES), 3),
    }


def publication(folder: Path, sizes: tuple[int, int] = (500, 4000)) -> dict[str, Any]:
    """What `publish` measures of simulated exam tables of two sizes, and the rate in MB of recordings per second."""
    measured = []
    for size in sizes:
        cohort, table = folder / f"cohort-{size}", folder / f"exams-{size}"
        make = ["data_scripts.simulate", "--output_dir", cohort, "--num_exams", size]
        convert = ["data_scripts.code15", "--source_dir", cohort, "--output_dir", table]
        for command in (make, convert):
            subprocess.run([sys.executable, "-m", *map(str, command)], cwd=PROJECT, check=True, capture_output=True)
        measured.append(publish(table, folder / f"parquet-{size}", size))
    # The difference of two sizes is free of what starting takes.
    seconds = measured[1]["cpu_s"] - measured[0]["cpu_s"]
    rate = (sizes[1] - sizes[0]) * EXAM_BYTES / 1e6 / seconds
    return {f"{size} exams": one for size, one in zip(sizes, measured, strict=True)} | {"mb_per_cpu_s": round(rate)}


def blocks(taps: tuple[int, ...] = (5, 9, 17), turns: int = 15) -> dict[str, dict[str, list[float]]]:
    """How many times as long as in blocks a direct convolution takes: of each of `CONVOLUTIONS`, one ECG and eight."""
    result: dict[str, dict[str, list[float]]] = {f"{n_taps} taps": {} for n_taps in taps}
    for n_taps, (channels, out_channels, samples), n_ecgs in product(taps, CONVOLUTIONS, (1, 8)):
        layer = EcgConv1d(channels, out_channels, n_taps, padding=n_taps // 2).requires_grad_(False)
        layer.lay_out_()
        signal = as_image(torch.randn(n_ecgs, channels, samples, generator=torch.Generator().manual_seed(0)))
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(turns):  # by turns, so that both have the machine alike
            for in_blocks, found in times.items():
                with patch("modeling_ecgclip.layers_ecgclip.convolves_in_blocks", return_value=in_blocks):
                    found.append(median_seconds(partial(layer, signal), turns=1))
        ratio = round(statistics.median(times[False]) / statistics.median(times[True]), 2)
        result[f"{n_taps} taps"].setdefault(f"{channels} to {out_channels}, {samples}", []).append(ratio)
    return result


def main() -> None:
    pieces: dict[str, Callable[[Path], dict[str, Any]]] = {
        "layouts": layouts,
        "augmentation": lambda _: augmentation(),
        "bootstrap": lambda _: bootstrap(),
        "publication": publication,
        "checksums": checksums,
        "blocks": lambda _: blocks(),
    }
    parser = argparse.ArgumentParser(description=str(__doc__).strip().splitlines()[0])
    parser.add_argument("pieces", nargs="*", help=f"of {', '.join(pieces)}; all where none is named")
    chosen = parser.parse_args().pieces or list(pieces)
    if unknown := sorted(set(chosen) - set(pieces)):
        parser.error(f"expected pieces among {', '.join(pieces)}: found {', '.join(unknown)}")
    torch.set_num_threads(1)
    result: dict[str, Any] = {"benchmark": "pieces"}
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            result[name] = pieces[name](Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
