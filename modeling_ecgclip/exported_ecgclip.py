"""A classifier that was exported to ONNX or OpenVINO, used as its PyTorch original is: Auto classes and pipeline.

Its folder has a model type of its own, so that `AutoModelForAudioClassification` and `pipeline` choose the class of
this file by themselves. The runtimes are imported when a model is loaded, and only the one that it needs.
"""

import functools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import cached_file

from .configuration_ecgclip import EcgEncoderConfig
from .encoder_ecgclip import recorded_values
from .hub_ecgclip import HUB_ARGUMENTS, saved_folder, state_offers, state_saved_model, verify_saved_files


# The names that other exporters of transformers models use; the first of each is what the runtime opens.
MODEL_FILES = {"onnx": ("model.onnx",), "openvino": ("openvino_model.xml", "openvino_model.bin")}
EXPORT_RECORD = "export.json"
INPUT_NAME, OUTPUT_NAME = "input_values", "logits"


@strict
class ExportedEcgConfig(EcgEncoderConfig):
    r"""
    Configuration of an [`ExportedEcgClassifier`]: that of the classifier which was exported, and how it was exported.

    Args:
        export_format (`str`, defaults to `"onnx"`):
            `"onnx"` or `"openvino"`: the runtime.
        export_precision (`str`, defaults to `"float32"`):
            `"float32"`, `"int8"` (weights and activations of the convolutions and of the head), or `"bfloat16"`
            (OpenVINO: float32 weights in the file, computed in bfloat16 where the processor can).

    Raises:
        `ValueError`: for bfloat16 in ONNX, whose runtime has no such convolutions for processors.
    """

    model_type = "ecg_resnet_exported"
    _auto_class = "AutoConfig"

    export_format: Literal["onnx", "openvino"] = "onnx"
    export_precision: Literal["float32", "bfloat16", "int8"] = "float32"

    @property
    def pad_to_multiple_of(self) -> int:
        """The length of the exported graph's input, which is fixed."""
        return self.input_samples or 1

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.export_format == "onnx" and self.export_precision == "bfloat16":
            raise ValueError("ONNX Runtime computes no convolution in bfloat16 on a processor: expected openvino")


class ExportedEcgClassifier(PreTrainedModel):
    """
    An exported classifier on the CPU. Made by `python -m training.export`; it cannot be trained.

    Pipelines take it as they take its PyTorch original. It may be called from several threads.

    Args:
        config (`ExportedEcgConfig`): Format, precision, labels and thresholds.
        folder (`Path`): Where the model's files lie.
        num_threads (`int`, *optional*): Of the runtime; left out, as many as torch has.

    Raises:
        `ImportError`: where the runtime is not installed; the message says what to install.
    """

    config_class = ExportedEcgConfig
    base_model_prefix = ""
    main_input_name = INPUT_NAME
    _supports_sdpa = True
    _auto_class = "AutoModelForAudioClassification"
    auto_classes = {
        "AutoConfig": "exported_ecgclip.ExportedEcgConfig",
        "AutoModelForAudioClassification": "exported_ecgclip.ExportedEcgClassifier",
    }
    tasks = ("ecg-classification",)

    config: ExportedEcgConfig

    def __init__(self, config: ExportedEcgConfig, folder: str | Path, num_threads: int | None = None):
        super().__init__(config)
        self.folder = Path(folder)
        num_threads = torch.get_num_threads() if num_threads is None else num_threads
        if num_threads < 1:
            raise ValueError(f"num_threads must be at least 1: found {num_threads}")
        path = self.folder / MODEL_FILES[config.export_format][0]
        open_model = _open_onnx if config.export_format == "onnx" else _open_openvino
        self._run = open_model(path, num_threads, config.export_precision)
        self.post_init()

    @classmethod
    def from_pretrained(  # type: ignore[override]  # most of a PyTorch model's arguments have no meaning here
        cls,
        pretrained_model_name_or_path: str | Path,
        *model_args: Any,
        config: ExportedEcgConfig | None = None,
        num_threads: int | None = None,
        dtype: str | torch.dtype | None = None,
        **kwargs: Any,
    ) -> "ExportedEcgClassifier":
        """
        Returns the model of a local folder or a Hub repository.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): Folder or repository id.
            config (`ExportedEcgConfig`, *optional*): Read from the folder where left out.
            num_threads (`int`, *optional*): See the class.
            dtype (`str` or `torch.dtype`, *optional*): `"auto"` or float32; an export's precision is fixed.
            kwargs: `cache_dir`, `force_download`, `local_files_only`, `proxies`, `revision`, `subfolder`, `token`.

        Raises:
            `OSError`: for a folder or repository without the model's files.
            `ValueError`: for another `dtype`, or the folder of a model that was not exported.
            [`DamagedFileError`]: for a graph or settings that are not those which were saved, naming the file and both
                digests.
            `ImportError`: where the runtime is not installed.
        """
        if dtype not in (None, "auto", "float32", torch.float32):
            raise ValueError(
                f"dtype {dtype}: the precision of an exported model was chosen when it was exported; export it again "
                "with another --precision"
            )
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if kwargs.get(name) is not None}
        if config is None:
            config = cls.config_class.from_pretrained(pretrained_model_name_or_path, **hub)
        if config.model_type != cls.config_class.model_type:
            raise ValueError(
                f"{pretrained_model_name_or_path} holds a model of type {config.model_type}: expected one written by "
                f"training.export ({cls.config_class.model_type})"
            )
        paths = [cached_file(pretrained_model_name_or_path, name, **hub) for name in MODEL_FILES[config.export_format]]
        folder = saved_folder(pretrained_model_name_or_path, **hub)
        if folder is not None:
            verify_saved_files(folder)
        # `cached_file` raises for what is not there.
        return cls(config, Path(cast(str, paths[0])).parent, num_threads)

    @property
    def device(self) -> torch.device:
        """Where logits are computed and lie: the CPU. Inputs may lie elsewhere."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs and logits, whatever is computed in between."""
        return torch.float32

    def forward(
        self, input_values: torch.Tensor, ecg_attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """
        Returns logits; a label's probability is the sigmoid of its logit.

        Args:
            input_values (`torch.Tensor` of shape `(batch, leads, samples)`): Millivolts, from [`EcgFeatureExtractor`].
            ecg_attention_mask (`torch.Tensor` of shape `(batch, leads, samples)`, *optional*):
                1 where a sample was recorded; what is 0 is set to 0 mV.

        Returns:
            `SequenceClassifierOutput` with `logits` float32 `(batch, num_labels)`.

        Raises:
            `ValueError`: where leads or samples differ from the configuration, or labels are given.
        """
        input_values = recorded_values(input_values, ecg_attention_mask, self.config)
        if kwargs.get("labels") is not None:
            raise ValueError("an exported model has no loss: leave labels out")
        array = input_values.detach().to("cpu", torch.float32).contiguous().numpy()
        # The runtimes refuse a batch of none or crash on it.
        logits = self._run(array) if len(array) else np.empty((0, self.config.num_labels or 0), np.float32)
        return SequenceClassifierOutput(logits=torch.from_numpy(logits))

    def save_pretrained(  # type: ignore[override]  # the files are copied: nothing to shard or to choose
        self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Writes configuration, code and the model's files, with which it can be loaded without this package."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*MODEL_FILES[self.config.export_format], EXPORT_RECORD):
            if (self.folder / name).is_file() and self.folder.resolve() != folder.resolve():
                shutil.copyfile(self.folder / name, folder / name)
        write_configuration(self.config, folder)
        state_saved_model(folder)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)


def write_configuration(config: ExportedEcgConfig, folder: Path) -> None:
    """
    Writes `config.json` and the code that a folder of an exported model needs to be loaded without this package.

    Args:
        config (`ExportedEcgConfig`): Gets the classes and the pipeline that the folder offers.
        folder (`Path`): Exists.
    """
    config.architectures = [ExportedEcgClassifier.__name__]
    state_offers(ExportedEcgClassifier, config)
    config.save_pretrained(folder)


def _open_onnx(path: Path, num_threads: int, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what computes logits (batch, labels) of ECGs (batch, leads, samples), both float32."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(_install("onnxruntime", path)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda ecg: session.run([OUTPUT_NAME], {INPUT_NAME: ecg})[0]


def _open_openvino(path: Path, num_threads: int, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """As `_open_onnx`."""
    try:
        import openvino
    except ImportError as error:
        raise ImportError(_install("openvino", path)) from error
    # LATENCY: all threads work on one request; slower alternatives are in benchmarks/inference. The precision is
    # always stated, since OpenVINO takes bfloat16 by itself where the processor has it.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }
    request = _core_of(openvino).compile_model(path, "CPU", settings).create_infer_request()
    one_at_a_time = threading.Lock()  # a request is of one thread; several would share the same cores anyway

    def run(ecg: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return request.infer({INPUT_NAME: ecg}, share_inputs=True)[OUTPUT_NAME].copy()

    return run


@functools.cache
def _core_of(openvino: Any) -> Any:
    """
    The entry to OpenVINO, one for the whole life of the process.

    OpenVINO gives the thread that first compiles a model a stack for its signal handlers, and frees it with the last
    model: if another thread does that, the next signal that the first one handles ends the process.
    """
    return openvino.Core()


def _install(runtime: str, path: Path) -> str:
    return (
        f'{path.name} needs {runtime}, which is not installed: pip install {runtime}, or pip install "ecgclip[export]"'
    )


__all__ = ["EXPORT_RECORD", "MODEL_FILES", "ExportedEcgClassifier", "ExportedEcgConfig", "write_configuration"]
