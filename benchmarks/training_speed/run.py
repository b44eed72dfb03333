"""
Training and inference speed of the project against a plain float32 loop over HDF5, in one run on one machine.

    python benchmarks/training_speed/run.py [--preset fernandes2024] [--threads 2] [--turns 12] [--loss_steps 200]
    python benchmarks/training_speed/run.py --batch_sizes 32 128 512 2048 --loss_steps 0     # on a GPU: its default

Every arm is a process of its own with the same start weights, exams and order. For speed they take turns, a few steps
each, so that other programs on the machine slow all of them alike; numbers are medians over the turns. For the loss
they run untimed, side by side. Ends in one line of JSON.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any


PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.arms import start_arm  # noqa: E402
from benchmarks.training_speed import plain  # noqa: E402
from common.markdown import markdown_table  # noqa: E402
from data_scripts.tables.schema import load_exam_table  # noqa: E402
from modeling_ecgclip import (  # noqa: E402
    EcgFeatureExtractor,
    EcgResNetConfig,
    EcgResNetForSignalClassification,
    modeling_ecgclip,
)
from modeling_ecgclip.exported_ecgclip import ExportedEcgClassifier  # noqa: E402
from modeling_ecgclip.hub_ecgclip import save_for_hub  # noqa: E402
from modeling_ecgclip.labels_ecgclip import CODE_LABELS  # noqa: E402
from publishing.export import ExportArguments, export  # noqa: E402
from training.arguments import TrainingArguments  # noqa: E402
from training.augmentation import SignalInput  # noqa: E402
from training.checkpoints import BestWeights  # noqa: E402
from training.classification import ClassificationTask  # noqa: E402
from training.data import ExamSplit, StepPlan, ordered_batches, training_batches  # noqa: E402
from training.feed import ExamFeed  # noqa: E402
from training.loop import TrainingLoop, make_optimizer  # noqa: E402
from training.parts import RunParts  # noqa: E402
from training.targets import MultiLabel  # noqa: E402


MICROVOLTS = 1000.0
OUT_OF_MEMORY = "out of memory"
LONG_RUN, SHORT_RUN = 1_000_000, 100  # steps of a run in which the encoder is compiled, and in which it is not
LOSS_OVER = 50  # the loss after N steps is the mean over the last so many: one step's batch of 32 says little


def write_data(folder: Path, num_exams: int) -> None:
    """A simulated exam table, and its training split as float32 tracings in an uncompressed HDF5 file."""
    for module, arguments in {
        "data_scripts.simulate": ["--output_dir", "raw", "--num_exams", str(num_exams), "--compression", "none"],
        "data_scripts.code15": ["--source_dir", "raw", "--output_dir", "exams"],
    }.items():
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    exams = ExamSplit(load_exam_table(str(folder / "exams"))["train"])
    leads, samples = exams.shape
    with h5py.File(folder / "plain.hdf5", "w") as file:
        tracings = file.create_dataset("tracings", (len(exams), samples, leads), "float32")
        for i in range(len(exams)):
            tracings[i] = exams.ecg(np.array([i]))[0].numpy().T / MICROVOLTS
        file["labels"] = exams.labels.astype(np.float32)


class Setting:
    """What every arm starts from: device, exams, their order, start weights."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder = options, folder
        torch.set_num_threads(options.threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.exams = ExamSplit(load_exam_table(str(folder / "exams"))["train"])
        self.plan = StepPlan(len(self.exams), options.batch_size, seed=options.seed)
        torch.manual_seed(options.seed)
        self.model = EcgResNetForSignalClassification(EcgResNetConfig.from_preset(options.preset))

    def plain_model(self) -> plain.PlainResNet:
        return plain.make_model(self.model.config.to_dict(), list(self.model.state_dict().values()), self.device)

    def batches(self) -> Iterator[dict[str, torch.Tensor]]:
        workers = self.options.dataloader_num_workers
        return training_batches(self.exams, self.plan, 0, 0, 1_000_000, workers, self.device)


def plain_training(setting: Setting, bf16: bool = False) -> Iterator[tuple[float, float]]:
    with h5py.File(setting.folder / "plain.hdf5") as file:
        steps = setting.plan.batches(0, 0, 1_000_000)
        for loss in plain.training(setting.plain_model(), file, steps, setting.device, bf16):
            yield loss, 0.0


def our_training(
    setting: Setting, precision: str, resident: bool = False, steps: int = LONG_RUN, **flags: Any
) -> Iterator[tuple[torch.Tensor, float]]:
    """
    Yields loss and seconds waited for data, of the project's own steps.

    Args:
        setting (`Setting`): What every arm starts from.
        precision (`str`): `--mixed_precision`.
        resident (`bool`, defaults to `False`): One batch for ever.
        steps (`int`): Of the whole run, as the step is told: in a short one nothing is compiled.
        flags: Of the training scripts, such as `graph="off"`.
    """
    options = setting.options
    args = TrainingArguments(
        output_dir="unused",
        per_device_train_batch_size=options.batch_size,
        lr_scheduler_type="constant_with_warmup",
        max_grad_norm=0,
        max_train_steps=steps,
        checkpointing_steps="no",
        seed=options.seed,
        **flags,
    )
    accelerator = Accelerator(cpu=setting.device.type == "cpu", mixed_precision=precision)
    optimizer, schedule = make_optimizer(setting.model, args, steps)
    module, optimizer = accelerator.prepare(setting.model, optimizer)
    signal_input = SignalInput(EcgFeatureExtractor.for_model(setting.model.config), setting.model.config.signal)
    feed = ExamFeed(accelerator, signal_input, options.batch_size)
    task = ClassificationTask(feed, module, setting.exams, None, MultiLabel(CODE_LABELS))
    best, parts = BestWeights(accelerator, module, Path("unused")), RunParts.begin(accelerator, {}, steps, {})
    loop = TrainingLoop(feed, task, optimizer, schedule, setting.plan, args, best, parts)
    batches = setting.batches()
    if resident:
        batches = itertools.repeat(next(batches))
    while True:
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        yield loop._step([batch]), waited  # the very step that training runs
        loop.state.step += 1


def training_with_every_bias(setting: Setting) -> Iterator[tuple[torch.Tensor, float]]:
    """Our steps with the gradients of the biases that batch normalisations remove, which are rounding noise."""
    modeling_ecgclip.removes_constants = lambda norm: False  # in this arm's process alone
    return our_training(setting, "bf16", graph="off")


def plain_inference(setting: Setting) -> Iterator[tuple[float, float]]:
    with h5py.File(setting.folder / "plain.hdf5") as file:
        for probabilities in plain.inference(setting.plain_model(), file, setting.options.batch_size, setting.device):
            yield float(probabilities[0, 0]), 0.0


def our_inference(setting: Setting, dtype: torch.dtype) -> Iterator[tuple[float, float]]:
    return infer(setting.model.to(setting.device).for_inference(dtype), setting)


def exported_inference(setting: Setting, precision: str) -> Iterator[tuple[float, float]]:
    """As someone runs it who exported the model for this processor, by OpenVINO."""
    with tempfile.TemporaryDirectory() as scratch:
        trained, exported = f"{scratch}/trained", f"{scratch}/exported"
        save_for_hub(setting.model, trained, EcgFeatureExtractor())
        # The weights are random, and so are the decisions: nothing to be compared here.
        options: dict[str, Any] = {"dataset_name_or_path": str(setting.folder / "exams"), "min_equal_decisions": 0}
        export(ExportArguments(trained, exported, "openvino", precision, **options))
        yield from infer(ExportedEcgClassifier.from_pretrained(exported, num_threads=setting.options.threads), setting)


def infer(model: torch.nn.Module, setting: Setting) -> Iterator[tuple[float, float]]:
    workers = setting.options.dataloader_num_workers
    while True:
        for batch in ordered_batches(setting.exams, setting.options.batch_size, 0, 1, workers, setting.device):
            if len(batch["ecg"]) == setting.options.batch_size:
                with torch.inference_mode():
                    logits = model(batch["ecg"] / MICROVOLTS).logits
                    yield float(logits.sigmoid().float().cpu()[0, 0]), 0.0


ARMS: dict[str, Callable[[Setting], Iterator[tuple[Any, float]]]] = {
    "train plain": plain_training,
    "train plain bf16": lambda setting: plain_training(setting, bf16=True),
    "train ours float32": lambda setting: our_training(setting, "no", graph="off"),
    "train ours": lambda setting: our_training(setting, "bf16", graph="off"),
    "train ours, every bias": training_with_every_bias,
    "train ours, data on device": lambda setting: our_training(setting, "bf16", resident=True, graph="off"),
    "infer plain": plain_inference,
    "infer ours float32": lambda setting: our_inference(setting, torch.float32),
    "infer ours": lambda setting: our_inference(setting, torch.bfloat16),
}
if torch.cuda.is_available():  # the step says in its log where it could not be captured or compiled
    ARMS["train ours, graph"] = lambda setting: our_training(setting, "bf16", resident=True, steps=SHORT_RUN)
    ARMS["train ours, graph compiled"] = lambda setting: our_training(setting, "bf16", resident=True)
elif find_spec("openvino"):
    ARMS["infer ours, exported"] = lambda setting: exported_inference(setting, "bfloat16")
    ARMS["infer ours, exported int8"] = lambda setting: exported_inference(setting, "int8")


def serve(name: str, options: argparse.Namespace, folder: Path, pipe: Any) -> None:
    """One arm: takes a number of steps, answers with seconds, processor seconds, seconds waited and losses."""
    setting = Setting(options, folder)
    steps = ARMS[name](setting)

    def wait_for_device() -> None:
        if setting.device.type == "cuda":
            torch.cuda.synchronize()

    while (n_steps := pipe.recv()) is not None:
        wait_for_device()
        start, cpu_start = time.perf_counter(), time.process_time()
        try:
            done = list(itertools.islice(steps, n_steps))
            wait_for_device()
        except torch.OutOfMemoryError:
            pipe.send(OUT_OF_MEMORY)
            return
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        pipe.send((seconds, cpu, sum(waited for _, waited in done), [float(loss) for loss, _ in done]))


class Arm:
    """The other end of `serve`, and what it has measured."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path):
        self.pipe, self.process = start_arm(serve, name, options, folder)
        self.batch_size = options.batch_size
        self.turns: list[tuple[float, float, float]] = []  # of one step: seconds, processor seconds, seconds waited
        self.losses: list[float] = []
        self.failed: str | None = None

    def begin(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.pipe.send(n_steps)

    def finish(self, counts: bool) -> None:
        answer = self.pipe.recv()
        if answer == OUT_OF_MEMORY:
            self.failed, self.turns = answer, []
            return
        *times, losses = answer
        self.losses += losses
        if counts:
            self.turns.append(tuple(seconds / self.n_steps for seconds in times))

    def ecg_per_s(self, column: int = 0) -> float:
        return self.batch_size / median(turn[column] for turn in self.turns)

    def stop(self) -> None:
        if self.failed is None:
            self.pipe.send(None)
        self.process.join()


def take_turns(stage: str, steps: int, options: argparse.Namespace, folder: Path) -> dict[str, Arm]:
    """Runs the arms of a stage one after the other, `steps` each, again and again; the first turn only warms up."""
    arms = {name: Arm(name, options, folder) for name in options.arms if name.startswith(stage)}
    for turn in range(options.turns + 1):
        for arm in arms.values():
            if arm.failed is None:
                arm.begin(steps)
                arm.finish(counts=turn > 0)
        rates = ", ".join(f"{name} {arm.ecg_per_s():.1f}" for name, arm in arms.items() if arm.turns)
        print(f"turn {turn} of {options.turns}, ECG/s: {rates}", file=sys.stderr, flush=True)
    for arm in arms.values():
        arm.stop()
    return arms


def final_losses(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Mean training loss of the last steps; the arms share the processor, since no time is taken."""
    names = ["train plain", "train ours float32", "train ours"]
    share = {"seed": seed, "threads": max(1, options.threads // len(names))}
    arms = {name: Arm(name, argparse.Namespace(**{**vars(options), **share}), folder) for name in names}
    for arm in arms.values():
        arm.begin(options.loss_steps)
    for arm in arms.values():
        arm.finish(counts=False)
        arm.stop()
    return {name: round(float(np.mean(arm.losses[-LOSS_OVER:])), 5) for name, arm in arms.items()}


def compare_losses(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Final losses of every seed, and how far bfloat16 is from the same steps in float32."""
    losses, apart = {}, []
    for seed in range(options.seed, options.seed + options.loss_seeds):
        losses[seed] = final_losses(options, folder, seed)
        apart.append(round(losses[seed]["train ours"] / losses[seed]["train ours float32"] - 1, 4))
        print(f"seed {seed}: {losses[seed]}, {apart[-1]:+.2%}", file=sys.stderr, flush=True)
    return {"loss_steps": options.loss_steps, "loss": losses, "loss_against_float32": apart}


def loading_speed(setting: Setting, seconds: float = 3.0) -> float:
    """ECG/s from the memory map to millivolts on the device, in shuffled batches."""
    batches, n_exams = setting.batches(), 0
    next(batches)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        n_exams += len(next(batches)["ecg"] / MICROVOLTS)
    return n_exams / (time.perf_counter() - start)


def check_plain_model(setting: Setting) -> None:
    """Two implementations written apart must agree, or the comparison means nothing."""
    ecg = next(setting.batches())["ecg"] / MICROVOLTS
    with torch.no_grad():
        difference = (setting.plain_model()(ecg) - setting.model.to(setting.device).eval()(ecg).logits).abs().max()
    if difference > 1e-3:
        raise RuntimeError(f"the plain model's logits differ from the project's by {difference}")


def matrix_peak(device: torch.device, largest: int) -> float:
    """
    Floating-point operations per second of a bfloat16 matrix product: of so many rows, or of as many as half a
    second is enough for, on processors that do not compute in it.
    """
    size = 256
    while True:
        left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            product = left @ right
            float(product[0, 0])  # waits for the device
            seconds.append(time.perf_counter() - start)
        if size >= largest or 8 * min(seconds) > 0.5:
            return 2 * size**3 / min(seconds)
        size *= 2


def operations_per_ecg(setting: Setting) -> int:
    """Of a training step."""
    batch = next(setting.batches())
    model = setting.model.to(setting.device).train()
    with FlopCounterMode(display=False) as counter:
        model(batch["ecg"] / MICROVOLTS, labels=batch["labels"]).loss.backward()
    return counter.get_total_flops() // len(batch["ecg"])


def paired_ratios(base: str, arms: dict[str, Arm], column: int = 0) -> dict[str, float]:
    """How many times faster the arms of a stage are than its plain one."""
    stage = base.split(maxsplit=1)[0]
    others = [name for name, arm in arms.items() if name != base and name.startswith(stage) and arm.turns]
    if base not in arms or not arms[base].turns:
        return {}
    return {name: paired_ratio(arms[base], arms[name], column) for name in others}


def paired_ratio(slow: Arm, fast: Arm, column: int = 0) -> float:
    """Of neighbouring turns: what else the machine did was alike for both."""
    return round(median(a[column] / b[column] for a, b in zip(slow.turns, fast.turns, strict=True)), 2)


def compare_speed(options: argparse.Namespace, folder: Path, setting: Setting) -> dict[str, Any]:
    """Rates of all arms at one batch size and their ratios, what a step waits, and the share of the matrix peak."""
    loading = loading_speed(setting)
    arms = take_turns("train", options.steps, options, folder) | take_turns(
        "infer", 2 * options.steps, options, folder
    )
    timed = {name: arm for name, arm in arms.items() if arm.turns}
    training = {name: arm for name, arm in timed.items() if name.startswith("train")}
    operations = operations_per_ecg(setting)
    peak = matrix_peak(setting.device, 8192 if setting.device.type == "cuda" else 2048)
    return {
        "ecg_per_s": {name: round(arm.ecg_per_s(), 1) for name, arm in timed.items()},
        "ecg_per_processor_s": {name: round(arm.ecg_per_s(1), 1) for name, arm in timed.items()},
        "failed": {name: arm.failed for name, arm in arms.items() if arm.failed is not None},
        "train_ratio": paired_ratios("train plain", arms),
        "infer_ratio": paired_ratios("infer plain", arms),
        "train_processor_ratio": paired_ratios("train plain", arms, 1),
        "infer_processor_ratio": paired_ratios("infer plain", arms, 1),
        "every_bias_ratio": paired_ratios("train ours, every bias", arms),
        "every_bias_processor_ratio": paired_ratios("train ours, every bias", arms, 1),
        "data_wait_share": {
            name: round(median(waited / seconds for seconds, _, waited in arm.turns), 4)
            for name, arm in training.items()
        },
        "loading_ecg_per_s": round(loading),
        "loading_against": {name: round(loading / arm.ecg_per_s(), 1) for name, arm in timed.items()},
        "matrix_peak_tflops": round(peak / 1e12, 3),
        "matrix_peak_share": {name: round(operations * arm.ecg_per_s() / peak, 3) for name, arm in training.items()},
    }


def print_table(speeds: dict[int, dict[str, Any]], names: list[str]) -> None:
    """ECG/s of the arms by batch size; in brackets the share of the matrix peak that was measured beside it."""
    rows = [["ECG/s at batch", *map(str, speeds)]]
    for name in names:
        cells = []
        for speed in speeds.values():
            share = speed["matrix_peak_share"].get(name)
            rate = speed["ecg_per_s"].get(name)
            cell = speed["failed"].get(name, "") if rate is None else f"{rate:,.1f}"
            cells.append(cell if share is None else f"{cell} ({share:.0%})")
        rows.append([name, *cells])
    print(markdown_table(rows))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    write_data(folder, options.num_exams)
    cuda = torch.cuda.is_available()
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else f"{options.threads} CPU threads",
        "preset": options.preset,
    }
    by_size = [argparse.Namespace(**{**vars(options), "batch_size": size}) for size in options.batch_sizes]
    check_plain_model(Setting(by_size[0], folder))
    if options.turns:
        speeds = {one.batch_size: compare_speed(one, folder, Setting(one, folder)) for one in by_size}
        print_table(speeds, options.arms)
        result["speed"] = speeds
    if options.loss_steps:
        result |= compare_losses(by_size[0], folder)
    return result


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="fernandes2024", choices=["fernandes2024", "tiny"])
    cuda = torch.cuda.is_available()
    parser.add_argument(
        "--batch_sizes", type=int, nargs="+", default=[32, 128, 512, 2048] if cuda else [32], help="losses: the first"
    )
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="that are timed")
    parser.add_argument("--num_exams", type=int, default=8000)
    parser.add_argument("--turns", type=int, default=12, help="how often every arm is timed; 0: losses only")
    parser.add_argument(
        "--steps", type=int, default=50 if cuda else 2, help="training steps of a turn; inference does twice as many"
    )
    parser.add_argument(
        "--loss_steps", type=int, default=200, help="training steps before losses are compared; 0: none"
    )
    parser.add_argument("--loss_seeds", type=int, default=3, help="seeds (weights, order, dropout) of that comparison")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dataloader_num_workers", type=int, default=4 if cuda else 0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
