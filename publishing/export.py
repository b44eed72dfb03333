"""
Exports a classifier to ONNX or OpenVINO, checks the export against PyTorch, and writes a folder that works alone.

It stands beside what publishes a run: both take a finished run's folder to where it is used. What loads the result,
`modeling_ecgclip/exported_ecgclip.py`, travels with it; this file does not.

Example:
    python -m training.export --model_name_or_path runs/cls --output_dir runs/onnx --format onnx
    python -m training.export --model_name_or_path runs/cls --output_dir runs/fast --format openvino \
        --precision int8 --dataset_name_or_path exams
"""

import importlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoFeatureExtractor

from common.arguments import Parser
from common.checksums import write_checksums
from common.commands import exit_status
from common.files import public_name, write_json
from common.locks import only_writer
from common.writing import check_new, written_aside
from modeling_ecgclip import EcgFeatureExtractor, EcgForSignalClassification
from modeling_ecgclip.exported_ecgclip import (
    EXPORT_RECORD,
    INPUT_NAME,
    MODEL_FILES,
    OUTPUT_NAME,
    ExportedEcgClassifier,
    ExportedEcgConfig,
    write_configuration,
)
from modeling_ecgclip.hub_ecgclip import check_preprocessing, verify_settings
from modeling_ecgclip.towers_ecgclip import classifier_class
from publishing.export_check import (
    MAX_MEAN_DIFFERENCE,
    MIN_EQUAL_DECISIONS,
    WARN_ABOVE,
    ExamEcgs,
    compare,
    difference_of,
    random_ecgs,
    refuse_if_different,
    simulated_ecgs,
)


logger = logging.getLogger(__name__)

OPSET = 18  # the version of ONNX operators that torch's exporter writes without converting
N_SIMULATED = 32  # ECGs of the check where no exam table is given
# Of a saved configuration, what belongs to the class that saved it.
_NOT_TAKEN_OVER = ("model_type", "architectures", "auto_map", "custom_pipelines", "transformers_version", "dtype")
_PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino")


@dataclass
class ExportArguments:
    """What to export, and how."""

    model_name_or_path: str = field(metadata={"help": "Folder or Hub id of a classifier."})
    output_dir: str = field(metadata={"help": "Folder to write."})
    format: Literal["onnx", "openvino"] = field(metadata={"help": "What shall run it: ONNX Runtime or OpenVINO."})
    precision: Literal["float32", "bfloat16", "int8"] = field(
        default="float32", metadata={"help": "bfloat16: openvino only. int8: needs --dataset_name_or_path."}
    )
    dataset_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Exam table: its training split calibrates int8, its validation split is checked."},
    )
    calibration_exams: int = field(default=512, metadata={"help": "Exams that int8 is calibrated with."})
    check_exams: int = field(default=512, metadata={"help": "Exams of the validation split that are checked."})
    min_equal_decisions: float = field(
        default=MIN_EQUAL_DECISIONS,
        metadata={"help": "Share of decisions that bfloat16 and int8 must have in common with PyTorch."},
    )
    max_mean_difference: float = field(
        default=MAX_MEAN_DIFFERENCE,
        metadata={"help": "Of a regression: mean difference that bfloat16 and int8 may have, in parts of the spread."},
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace the folder if it exists."})

    def __post_init__(self) -> None:
        if self.precision == "bfloat16" and self.format == "onnx":
            raise ValueError(
                "--precision bfloat16: ONNX Runtime computes no convolution in bfloat16 on a processor: expected "
                "--format openvino, or --precision float32 or int8"
            )
        if self.precision == "int8" and self.dataset_name_or_path is None:
            raise ValueError(
                "--precision int8 is calibrated with ECGs: expected --dataset_name_or_path, an exam table of the kind "
                "that the model will see"
            )
        for name in ("calibration_exams", "check_exams"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1: found {getattr(self, name)}")
        for name in ("min_equal_decisions", "max_mean_difference"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name} must lie in [0, 1]: found {getattr(self, name)}")
        check_new(self.output_dir, self.overwrite_output_dir)


class _Logits(nn.Module):
    """A classifier as a function from one tensor to one tensor."""

    def __init__(self, model: EcgForSignalClassification):
        super().__init__()
        self.model = model

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        return self.model(input_values).logits


def load_source(name_or_path: str) -> tuple[EcgForSignalClassification, EcgFeatureExtractor]:
    """
    Returns a trained classifier in float32 and eval mode, and its feature extractor.

    Raises:
        `ValueError`: for a folder without a trained head, or one whose parts state different signals.
    """
    verify_settings(name_or_path)
    config = AutoConfig.from_pretrained(name_or_path)
    config = getattr(config, "ecg_config", config)
    loaded: Any = classifier_class(config).from_pretrained(
        name_or_path, config=config, dtype=torch.float32, output_loading_info=True
    )
    model, report = loaded
    if report["missing_keys"]:
        raise ValueError(
            f"{name_or_path} lacks {', '.join(sorted(report['missing_keys']))}: expected a fine-tuned classifier, as "
            "train_cls.py writes it"
        )
    extractor = AutoFeatureExtractor.from_pretrained(name_or_path)
    check_preprocessing(model.config, extractor, name_or_path)
    return model.eval(), extractor


def write_onnx(model: EcgForSignalClassification, path: Path) -> None:
    """
    Writes a classifier as ONNX: `input_values` float32 `(batch, leads, input_samples)` to `logits` `(batch, outputs)`.

    Batch normalisations stay in the file; both runtimes fold them when they load it.

    Args:
        model (`EcgForSignalClassification`): In eval mode, float32, on the CPU.
        path (`Path`): The file.
    """
    import_or_say("onnxscript")
    example = torch.zeros(2, model.config.n_leads, model.config.input_samples)
    with _quiet_logger("torch.onnx"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        torch.onnx.export(
            _Logits(model).eval(),
            (example,),
            path,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _without_traces(path)


def _without_traces(path: Path) -> None:
    """Removes what torch notes of each part of a graph: the lines of code that made it, with their folders here."""
    onnx = import_or_say("onnx")
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


@contextmanager
def _quiet_logger(name: str) -> Iterator[None]:
    """Keeps back warnings about packages that are not needed and nodes that are left as they are."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def quantize_onnx(source: Path, target: Path, ecgs: Iterator[np.ndarray]) -> None:
    """
    Writes an int8 copy of an ONNX file: weights for each channel, activations by the range that `ecgs` cause.

    The first convolution and the head stay in float32. They take hardly any time; and the first one reads recordings
    whose offset can be far outside the calibrated range, where int8 would cut them off.

    Args:
        source (`Path`): A float32 file, as [`write_onnx`] writes it.
        target (`Path`): The file to write.
        ecgs (`Iterator[np.ndarray]`): Batches `(batch, leads, samples)` in the model's unit.
    """
    quantization = import_or_say("onnxruntime.quantization")
    preparation = import_or_say("onnxruntime.quantization.shape_inference")

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(ecgs, None)
            return None if batch is None else {INPUT_NAME: batch}

    with tempfile.TemporaryDirectory(dir=target.parent) as folder, _quiet_logger(""):
        folded = Path(folder) / "folded.onnx"
        # Folds the batch normalisations that follow a convolution: quantised apart they would cost accuracy.
        preparation.quant_pre_process(source, folded, skip_symbolic_shape=True)
        nodes = import_or_say("onnx").load(folded).graph.node
        kept = next(node.name for node in nodes if node.op_type == "Conv")
        head = max(at for at, node in enumerate(nodes) if node.op_type == "Gemm")
        behind = [node.name for node in nodes[head + 1 :]]  # a calibration of the logits
        quantization.quantize_static(
            folded,
            target,
            Reader(),
            nodes_to_exclude=[kept, *(node.name for node in nodes if node.op_type == "Gemm"), *behind],
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # with int8 weights: what AVX-512 VNNI multiplies
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )


def write_openvino(source: Path, target: Path) -> None:
    """Writes an ONNX file as OpenVINO's `.xml` with its `.bin` beside it, weights as they are."""
    openvino = import_or_say("openvino")
    openvino.save_model(openvino.Core().read_model(source), target, compress_to_fp16=False)


def import_or_say(name: str) -> Any:
    """
    Returns a module that only exporting needs.

    Raises:
        `ImportError`: where it is not installed, saying what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f'exporting needs {package}, which is not installed: pip install "ecgclip[export]"'
        ) from error


def export(args: ExportArguments) -> dict[str, Any]:
    """
    Writes the folder; returns its record (`export.json`).

    Raises:
        `ValueError`: for a model that cannot be exported, or an export that differs too much; nothing is written then.
        `ImportError`: where a package is missing.
        `BlockingIOError`: where another process writes there.
    """
    with only_writer(args.output_dir):
        check_new(args.output_dir, args.overwrite_output_dir)
        return _export(args)


def _export(args: ExportArguments) -> dict[str, Any]:
    """[`export`] into a folder that nobody else writes."""
    model, extractor = load_source(args.model_name_or_path)
    settings = {name: value for name, value in model.config.to_dict().items() if name not in _NOT_TAKEN_OVER}
    config = ExportedEcgConfig(**settings, export_format=args.format, export_precision=args.precision)
    calibration = compared = None
    if args.dataset_name_or_path is not None:  # one that does not fit is refused before anything is written
        compared = ExamEcgs(args.dataset_name_or_path, "validation", args.check_exams, extractor)
        if args.precision == "int8":
            calibration = ExamEcgs(args.dataset_name_or_path, "train", args.calibration_exams, extractor)
    with written_aside(args.output_dir) as folder:
        folder.mkdir()
        record: dict[str, Any] = {"model": public_name(args.model_name_or_path), "problem_type": config.problem_type}
        record |= {"format": args.format, "precision": args.precision}
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            graph = Path(scratch) / "float32.onnx"
            write_onnx(model, graph)
            if calibration is not None:
                graph, float_graph = Path(scratch) / "int8.onnx", graph
                quantize_onnx(float_graph, graph, iter(calibration))
                record["calibration"] = {"ecgs": calibration.n_ecgs, "sources": calibration.sources}
            target = folder / MODEL_FILES[args.format][0]
            if args.format == "onnx":
                graph.replace(target)
            else:
                write_openvino(graph, target)
        write_configuration(config, folder)
        extractor.save_pretrained(folder)
        exported = ExportedEcgClassifier.from_pretrained(folder)  # what a user will load
        checks = {"random": compare(model, exported, random_ecgs(config))}
        if compared is None:
            checks["simulated"] = compare(model, exported, simulated_ecgs(N_SIMULATED, extractor))
        else:
            checks["exam table"] = compare(model, exported, compared) | {"sources": compared.sources}
        refuse_if_different(checks, args.precision, args.min_equal_decisions, args.max_mean_difference)
        record |= {"checks": checks, "bytes": sum((folder / name).stat().st_size for name in MODEL_FILES[args.format])}
        record["versions"] = {name: metadata.version(name) for name in _PACKAGES if _installed(name)}
        write_json(folder / EXPORT_RECORD, record)
        write_checksums(folder)
    return record


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return exit_status(lambda: _run(argv), ImportError)


def _run(argv: Sequence[str] | None) -> None:
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    (args,) = Parser(__doc__, ExportArguments).parse_args_into_dataclasses(argv)
    record = export(args)
    for name, check in record["checks"].items():
        said = f"{check['ecgs']} {name} ECGs: largest difference from PyTorch {check['largest_difference']:.2g}"
        if "decisions" in check:
            equal = f"{check['equal_decisions']} of {check['decisions']} decisions equal"
        else:
            equal = f"{check['mean_difference']:.2g} on the mean"
        print(f"{said} {difference_of(check)}, {equal}")
        if name != "random" and check["largest_difference"] > WARN_ABOVE:
            print(
                f"warning: at least one of the {name} ECGs is more than {WARN_ABOVE} away from PyTorch. int8 cuts off "
                "what is larger than all that it was calibrated with: use more --calibration_exams or bfloat16"
            )
    print(f"{args.format}, {args.precision}, {record['bytes'] / 1e6:.1f} MB: written to {args.output_dir}")
