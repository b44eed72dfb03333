"""
Inference: PyTorch eager float32, the project's own copies, and on a processor ONNX Runtime and OpenVINO, in one run.

    python benchmarks/inference/run.py [--preset fernandes2024] [--threads 2] [--turns 20]
    python benchmarks/inference/run.py --model_name_or_path runs/cls --dataset_name_or_path exams

Without a model one is trained for some steps on a simulated exam table, so that there are decisions to compare. Every
arm is a process of its own. They take turns, a few calls each, so that other programs slow all of them alike; times
are medians over the turns, ratios medians of the ratios within a turn. Ends in one line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.arms import start_arm  # noqa: E402
from benchmarks.training_speed import plain  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from data_scripts.tables.schema import load_exam_table  # noqa: E402
from modeling_ecgclip import EcgFeatureExtractor, EcgResNetForSignalClassification, read_ecg  # noqa: E402
from modeling_ecgclip.exported_ecgclip import MODEL_FILES, ExportedEcgClassifier  # noqa: E402
from modeling_ecgclip.labels_ecgclip import is_positive  # noqa: E402
from publishing.export import ExportArguments, export  # noqa: E402
from training.data import ExamSplit  # noqa: E402


Run = Callable[[np.ndarray], np.ndarray]  # ECGs (batch, leads, samples) to logits (batch, labels), both float32
BASELINE = "PyTorch eager float32"
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
BATCH_SIZES = [1, 32, 128, 512, 2048] if CUDA else [1, 32]
EXPORTS = {
    "onnx-float32": ("onnx", "float32"),
    "onnx-int8": ("onnx", "int8"),
    "openvino-float32": ("openvino", "float32"),
    "openvino-bfloat16": ("openvino", "bfloat16"),
    "openvino-int8": ("openvino", "int8"),
}
STREAM_ECGS = 16  # of one request where two streams share a batch


def run_module(folder: Path, *command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")


def prepare(options: argparse.Namespace, folder: Path) -> str:
    """An exam table, a trained classifier and its exports; returns the classifier's folder."""
    table = options.dataset_name_or_path
    if table is None:
        exams = ["--num_exams", str(options.num_exams), "--prevalence_scale", "3"]
        run_module(folder, "-m", "data_scripts.simulate", "--output_dir", "raw", *exams)
        run_module(folder, "-m", "data_scripts.code15", "--source_dir", "raw", "--output_dir", "exams")
        table = str(folder / "exams")
    model = options.model_name_or_path
    if model is None:
        print(f"training {options.train_steps} steps", file=sys.stderr, flush=True)
        steps = ["--max_train_steps", str(options.train_steps), "--eval_steps", str(options.train_steps)]
        steps += ["--warmup_steps", "20", "--learning_rate", "5e-4", "--checkpointing_steps", "no"]
        steps += ["--encoder_preset", options.preset, "--mixed_precision", "bf16", "--report_to", "none"]
        run_module(
            folder, str(PROJECT / "train_cls.py"), "--dataset_name_or_path", table, "--output_dir", "cls", *steps
        )
        model = str(folder / "cls")
    for name, (form, precision) in EXPORTS.items():
        # The bound is off: what the benchmark is for is to show how many decisions differ.
        export(ExportArguments(model, str(folder / name), form, precision, table, min_equal_decisions=0.0))
    np.save(folder / "ecgs.npy", real_ecgs(options.sample_data, EcgFeatureExtractor.from_pretrained(model), table))
    return model


def real_ecgs(sample_data: Path, extractor: EcgFeatureExtractor, table: str) -> np.ndarray:
    """The real samples as the model reads them, float32 (ECGs, leads, samples)."""
    ecgs = []
    for header in sorted((sample_data / "ptbxl_sample" / "records500").rglob("*.hea")):
        record = read_ecg(header.with_suffix(""))
        ecgs.append(extractor(record.signal, record.sampling_rate, record.lead_names, record.unit)["input_values"][0])
    for part in sorted((sample_data / "code15_sample").glob("*.hdf5")):
        with h5py.File(part) as file:
            tracings = file["tracings"][:][file["exam_id"][:] != 0] / 2  # CODE-15% stores twice the millivolts
        ecgs += list(extractor(tracings.transpose(0, 2, 1), 400, extractor.lead_names, "mV")["input_values"])
    if not ecgs:
        print(f"no real samples in {sample_data}: decisions are compared on the exam table", file=sys.stderr)
        exams = ExamSplit(load_exam_table(table)["validation"])
        microvolts = exams.ecg(np.arange(min(300, len(exams)))).numpy()
        ecgs = list(extractor(microvolts, 400, extractor.lead_names, "uV")["input_values"])
    return np.stack(ecgs)


def calls_of_a_turn(batch_size: int) -> int:
    """Many where each is short."""
    return 20 if CUDA or batch_size == 1 else 1


def of_torch(model: Callable[[torch.Tensor], torch.Tensor]) -> Run:
    """From and to the processor's memory, as a service needs it: on a GPU with both copies."""

    def run(ecgs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ecgs).to(DEVICE)).float().cpu().numpy()

    return run


def of_class(model: Any) -> Run:
    return of_torch(lambda ecgs: model(ecgs).logits)


def plain_model(model: EcgResNetForSignalClassification) -> torch.nn.Module:
    weights = list(model.state_dict().values())
    return plain.make_model(model.config.to_dict(), weights, DEVICE).eval()


def two_streams(folder: Path) -> Run:
    """OpenVINO with the throughput hint: each of two streams takes a part of the batch, one core each."""
    import openvino

    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 2}
    settings["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    compiled = openvino.Core().compile_model(folder / MODEL_FILES["openvino"][0], "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, 2)
    logits: dict[int, np.ndarray] = {}
    queue.set_callback(lambda request, start: logits.update({start: request.get_output_tensor(0).data.copy()}))

    def run(ecgs: np.ndarray) -> np.ndarray:
        logits.clear()
        for start in range(0, len(ecgs), STREAM_ECGS):
            queue.start_async({0: ecgs[start : start + STREAM_ECGS]}, start, share_inputs=True)
        queue.wait_all()
        return np.concatenate([logits[start] for start in sorted(logits)])

    return run


def make_arms(model: EcgResNetForSignalClassification, folder: Path) -> dict[str, Callable[[], Run]]:
    def exported(name: str) -> Run:
        return of_class(ExportedEcgClassifier.from_pretrained(folder / name))

    of_pytorch: dict[str, Callable[[], Run]] = {
        BASELINE: lambda: of_class(model),
        "PyTorch eager float32, plain Conv1d": lambda: of_torch(plain_model(model)),
        "ours float32": lambda: of_class(model.for_inference(torch.float32)),
        "ours bfloat16": lambda: of_class(model.for_inference(torch.bfloat16)),
    }
    if CUDA:  # torch's own graphs: what is exported is for processors
        compiled = partial(torch.compile, mode="reduce-overhead")
        return of_pytorch | {
            "ours bfloat16, compiled": lambda: of_class(compiled(model.for_inference(torch.bfloat16)))
        }
    return of_pytorch | {
        "ONNX Runtime float32": lambda: exported("onnx-float32"),
        "ONNX Runtime int8": lambda: exported("onnx-int8"),
        "OpenVINO float32": lambda: exported("openvino-float32"),
        "OpenVINO bfloat16": lambda: exported("openvino-bfloat16"),
        "OpenVINO bfloat16, two streams": lambda: two_streams(folder / "openvino-bfloat16"),
        "OpenVINO int8": lambda: exported("openvino-int8"),
    }


def serve(name: str, options: argparse.Namespace, folder: Path, pipe: Any) -> None:
    """One arm: sends its probabilities of all ECGs, then seconds per call for each batch size asked for."""
    torch.set_num_threads(options.threads)
    model = EcgResNetForSignalClassification.from_pretrained(options.model_name_or_path).eval().to(DEVICE)
    run = make_arms(model, folder)[name]()
    ecgs = np.load(folder / "ecgs.npy")
    pipe.send(np.concatenate([1 / (1 + np.exp(-run(ecgs[i : i + 32]))) for i in range(0, len(ecgs), 32)]))
    while (batch_size := pipe.recv()) is not None:
        batch = np.ascontiguousarray(ecgs[np.arange(batch_size) % len(ecgs)])
        calls = calls_of_a_turn(batch_size)
        run(batch)  # caches and threads are warm again after the other arms' turns
        start = time.perf_counter()
        for _ in range(calls):
            run(batch)
        pipe.send((time.perf_counter() - start) / calls)


class Arm:
    """The other end of `serve`, and what it has measured."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path):
        self.pipe, self.process = start_arm(serve, name, options, folder)
        self.probabilities = self.pipe.recv()
        self.seconds: dict[int, list[float]] = {size: [] for size in options.batch_sizes}

    def take_turn(self, batch_size: int, counts: bool) -> None:
        self.pipe.send(batch_size)
        seconds = self.pipe.recv()
        if counts:
            self.seconds[batch_size].append(seconds)

    def stop(self) -> None:
        self.pipe.send(None)
        self.process.join()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Arm]:
    names = make_arms(EcgResNetForSignalClassification.from_pretrained(options.model_name_or_path), folder)
    chosen = names if options.arms is None else [BASELINE, *options.arms]
    unknown = set(chosen) - set(names)
    if unknown:
        raise ValueError(f"--arms: expected some of {', '.join(names)}; found {', '.join(sorted(unknown))}")
    arms = {}
    for name in dict.fromkeys(chosen):
        arms[name] = Arm(name, options, folder)
    for turn in range(options.turns + 1):
        for batch_size in options.batch_sizes:
            for arm in arms.values():
                arm.take_turn(batch_size, counts=turn > 0)
        print(f"turn {turn} of {options.turns}", file=sys.stderr, flush=True)
    for arm in arms.values():
        arm.stop()
    return arms


def summarise(arms: dict[str, Arm], thresholds: np.ndarray) -> dict[str, dict[str, Any]]:
    """For each arm: medians, ratios to the baseline (seconds of it / seconds of the baseline), decisions."""
    baseline = arms[BASELINE]
    decided = is_positive(baseline.probabilities, thresholds)
    results = {}
    for name, arm in arms.items():
        result: dict[str, Any] = {}
        for size, seconds in arm.seconds.items():
            ratios = [mine / theirs for mine, theirs in zip(seconds, baseline.seconds[size], strict=True)]
            result[f"batch {size}"] = {
                "ms": round(1000 * median(seconds), 2),
                "ecg_per_s": round(size / median(seconds), 1),
                "time_ratio": round(median(ratios), 3),
            }
        result["largest_difference"] = float(f"{np.abs(arm.probabilities - baseline.probabilities).max():.2g}")
        result["decisions"] = decided.size
        result["unequal_decisions"] = int((is_positive(arm.probabilities, thresholds) != decided).sum())
        results[name] = result
    return results


def fastest(results: dict[str, dict[str, Any]], size: int) -> dict[str, Any]:
    """The fastest arm with the baseline's decisions."""
    equal = {name: result for name, result in results.items() if result["unequal_decisions"] == 0}
    name = min(equal, key=lambda name: equal[name][f"batch {size}"]["time_ratio"])
    ratio = equal[name][f"batch {size}"]["time_ratio"]
    return {"path": name, "time_ratio": ratio, "ecg_per_s_ratio": round(1 / ratio, 2)}


def print_table(results: dict[str, dict[str, Any]], sizes: list[int]) -> None:
    head = [""]
    for size in sizes:
        head += ["batch 1, ms", "of eager's time"] if size == 1 else [f"batch {size}, ECG/s", "of eager's"]
    rows = [[*head, "largest difference", "decisions changed"]]
    for name, result in results.items():
        cells = []
        for size in sizes:
            timed = result[f"batch {size}"]
            ratio = timed["time_ratio"]
            cells += (
                [f"{timed['ms']:.2f}", f"{ratio:.2f}"]
                if size == 1
                else [f"{timed['ecg_per_s']:.0f}", f"{1 / ratio:.2f}"]
            )
        cells.append(f"{result['largest_difference']:.1g}")
        rows.append([name, *cells, f"{result['unequal_decisions']} of {result['decisions']}"])
    print(markdown_table(rows))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", help="trained classifier; left out: one is trained here")
    parser.add_argument("--dataset_name_or_path", help="exam table; left out: one is simulated")
    parser.add_argument("--preset", default="fernandes2024", help="encoder of the model that is trained here")
    parser.add_argument("--num_exams", type=int, default=2000, help="simulated exams")
    parser.add_argument("--train_steps", type=int, default=200, help="of 32 exams")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    default = os.environ.get("ECGCLIP_SAMPLE_DATA", PROJECT.parent / "shared" / "data")
    parser.add_argument("--sample_data", type=Path, default=Path(default), help="real ECGs, for the decisions")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--arms", nargs="+", help="that are timed beside the baseline; left out: all")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        options.model_name_or_path = prepare(options, Path(folder))
        config = EcgResNetForSignalClassification.config_class.from_pretrained(options.model_name_or_path)
        results = summarise(measure(options, Path(folder)), np.array(config.thresholds))
    print_table(results, options.batch_sizes)
    line: dict[str, Any] = {f"batch {size}": fastest(results, size) for size in options.batch_sizes}
    line |= {"device": torch.cuda.get_device_name() if CUDA else "CPU"}
    line |= {"threads": options.threads, "turns": options.turns, "torch": torch.__version__, "arms": results}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
