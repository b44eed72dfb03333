"""Configurations of the ECG encoder and of the dual encoder, and the facts that everything else agrees on.

`LEAD_NAMES`, `LABEL_NAMES`, `SAMPLING_RATE` and `N_SAMPLES` are decided here and nowhere else.
"""

import math
from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


if TYPE_CHECKING:
    # Named here so that `save_pretrained` of any class copies these files too, also when a loaded model is re-saved.
    from .feature_extraction_ecgclip import EcgFeatureExtractor  # noqa: F401
    from .pipeline_ecgclip import EcgClassificationPipeline  # noqa: F401
    from .processing_ecgclip import EcgClipProcessor  # noqa: F401


LEAD_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LABEL_NAMES = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
SAMPLING_RATE = 400  # Hz, as CODE-15% is published
N_SAMPLES = 4096  # 10.24 s at 400 Hz

# The published encoders, each stated exactly. `fernandes2024` is the default of every field.
PRESETS: dict[str, dict[str, Any]] = {
    # Fernandes et al., "Enhancing automated ECG diagnosis through multimodal pre-training with text reports"
    "fernandes2024": {},
    # Ribeiro et al., Nature Communications 11:1760 (2020), https://github.com/antonior92/automatic-ecg-diagnosis
    "ribeiro2020": {
        "kernel_size": 16,
        "padding": "same",
        "stem_convs": 1,
        "stem_stride": 1,
        "block_channels": (128, 196, 256, 320),
        "conv_bias": False,
        "batch_norm_eps": 1e-3,
        "batch_norm_momentum": 0.01,  # Keras' 0.99 keeps the old value, torch's states the new one's share
        "flatten": "samples_first",
    },
    # Lima et al., Nature Communications 12:5117 (2021), https://github.com/antonior92/ecg-age-prediction
    "lima2021": {
        "kernel_size": 17,
        "stem_convs": 1,
        "stem_stride": 1,
        "stem_activation": False,
        "block_channels": (64, 128, 196, 256, 320),
        "block_strides": (1, 4, 4, 4, 4),
        "conv_bias": False,
    },
    # For tests and the demo: the paper's shape, small enough for a laptop's processor.
    "tiny": {
        "kernel_size": 9,
        "stem_channels": 16,
        "stem_convs": 1,
        "stem_stride": 8,
        "block_channels": (24, 32, 48),
        "block_strides": (4, 4, 4),
        "dropout": 0.1,
    },
}


@strict
class EcgResNetConfig(PreTrainedConfig):
    r"""
    Configuration of the residual 1D encoder ([`EcgResNetModel`]) and of its classifier.

    The defaults are the encoder of Fernandes et al.; `EcgResNetConfig.from_preset(name)` states the other
    published ones.

    Args:
        lead_names (`tuple[str]`):
            Leads in the order of the input's second axis.
        n_samples (`int`, defaults to 4096):
            Samples of each lead. Must be divisible by the product of all strides.
        sampling_rate (`int`, defaults to 400):
            Hz.
        kernel_size (`int`, defaults to 17):
            Of every convolution but the 1x1 ones of the skip stream.
        padding (`str`, defaults to `"symmetric"`):
            `"symmetric"`: floor((kernel_size - stride + 1) / 2) zeros on both sides. `"same"`: TensorFlow's rule:
            an odd total puts the extra zero on the right.
        stem_channels, stem_stride, stem_convs, stem_activation:
            Channels of the stem, stride of its first convolution (which has no bias), number of convolutions (the
            further ones have stride 1 and a bias), and whether a ReLU follows its normalisations. With several
            convolutions the last one's ReLU is left out, and dropout follows each but the first.
        block_channels, block_strides (`tuple[int]`):
            Output channels and stride of each residual block.
        conv_bias (`bool`, defaults to `True`):
            Bias in the convolutions of the blocks and of the skip stream.
        batch_norm_eps, batch_norm_momentum (`float`):
            As in `torch.nn.BatchNorm1d`.
        dropout (`float`, defaults to 0.2):
            Probability of dropping, in the stem and the blocks.
        flatten (`str`, defaults to `"channels_first"`):
            Order in which the last feature map (channels, samples) becomes the embedding: `"channels_first"` runs
            through the samples of one channel before the next channel, `"samples_first"` through the channels of one
            sample first.
        thresholds (`tuple[float]`, *optional*):
            Decision threshold of each label, in the order of `id2label`, chosen on validation data.

    Raises:
        `ValueError`: for a shape that no convolution stack can have; the message gives the numbers.

    Source: the papers named beside `PRESETS`; the sizes are tabulated in `docs/architecture.md`.
    """

    model_type = "ecg_resnet"
    base_config_key = "ecg_config"

    lead_names: tuple[str, ...] | list[str] = LEAD_NAMES
    n_samples: int = N_SAMPLES
    sampling_rate: int = SAMPLING_RATE
    kernel_size: int = 17
    padding: Literal["symmetric", "same"] = "symmetric"
    stem_channels: int = 64
    stem_stride: int = 4
    stem_convs: int = 3
    stem_activation: bool = True
    block_channels: tuple[int, ...] | list[int] = (128, 192, 256, 320)
    block_strides: tuple[int, ...] | list[int] = (4, 4, 4, 4)
    conv_bias: bool = True
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float = 0.1
    dropout: float | int = 0.2
    flatten: Literal["channels_first", "samples_first"] = "channels_first"
    thresholds: tuple[float, ...] | list[float] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = dict(enumerate(LABEL_NAMES))
        if self.id2label is not None:
            # Given alone, id2label would be saved beside an empty label2id.
            self.label2id = {label: int(i) for i, label in self.id2label.items()}
        super().__post_init__(**kwargs)
        if self.problem_type is None:
            self.problem_type = "multi_label_classification"
        self._check_shapes()

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> "EcgResNetConfig":
        """Returns the configuration of a published encoder: one of `PRESETS`, changed by `kwargs`."""
        if name not in PRESETS:
            raise ValueError(f"unknown encoder preset {name!r}: expected one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **kwargs})

    @property
    def n_leads(self) -> int:
        """Size of the input's second axis."""
        return len(self.lead_names)

    @property
    def final_samples(self) -> int:
        """Samples of the last feature map."""
        return self.n_samples // (self.stem_stride * math.prod(self.block_strides))

    @property
    def hidden_size(self) -> int:
        """Width of the flattened embedding (`pooler_output`)."""
        return self.block_channels[-1] * self.final_samples

    def _check_shapes(self) -> None:
        """Refuses shapes whose convolutions would not divide the samples as the strides say."""
        if not self.block_channels or len(self.block_channels) != len(self.block_strides):
            raise ValueError(
                "block_channels and block_strides need one entry for each block, at least one: "
                f"found {len(self.block_channels)} channels and {len(self.block_strides)} strides"
            )
        if len(set(self.lead_names)) != len(self.lead_names):
            raise ValueError(f"lead_names must be distinct: found {list(self.lead_names)}")
        sizes = {"n_samples": self.n_samples, "sampling_rate": self.sampling_rate, "kernel_size": self.kernel_size}
        sizes |= {"stem_channels": self.stem_channels, "stem_stride": self.stem_stride, "stem_convs": self.stem_convs}
        sizes |= {"number of leads": self.n_leads, "smallest of block_channels": min(self.block_channels)}
        sizes |= {"smallest of block_strides": min(self.block_strides)}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1: found {value}")
        for stride in (1, self.stem_stride, *self.block_strides):
            if stride > self.kernel_size:
                raise ValueError(f"a stride of {stride} skips samples with kernel_size {self.kernel_size}")
            if self.padding == "symmetric" and stride == 1 and self.kernel_size % 2 == 0:
                raise ValueError(
                    f"an even kernel_size ({self.kernel_size}) at stride 1 needs padding='same': symmetric padding "
                    "would change the number of samples"
                )
        total_stride = self.stem_stride * math.prod(self.block_strides)
        if self.n_samples % total_stride != 0:
            raise ValueError(
                f"n_samples ({self.n_samples}) must be divisible by the product of all strides ({total_stride}), "
                "or the two streams of a block would differ in length"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1): found {self.dropout}")
        if self.thresholds is not None and len(self.thresholds) != self.num_labels:
            raise ValueError(
                f"thresholds needs one value for each of {self.num_labels} labels: found {len(self.thresholds)}"
            )


@strict
class EcgClipConfig(PreTrainedConfig):
    r"""
    Configuration of the dual encoder ([`EcgClipModel`]): an ECG tower, a text tower and what joins them.

    Args:
        ecg_config (`EcgResNetConfig` or `dict`, *optional*):
            The ECG tower.
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Any text encoder of transformers that `AutoModel` builds; `model_type` decides (default `"bert"`).
        projection_dim (`int`, *optional*):
            Width of the joint space. Left out: the width of the text tower, as in the paper. With
            `text_projection="identity"` it can be nothing else.
        text_projection (`str`, defaults to `"identity"`):
            `"identity"` (the paper) or `"linear"`.
        text_pooling (`str`, defaults to `"mean"`):
            How token states become one vector: `"mean"` over the attention mask or `"cls"`, the first token.
        center_text (`bool`, defaults to `False`):
            Subtract the buffer `text_center` (mean text embedding of the training set) before projecting. For text
            encoders whose embeddings all point one way.
        logit_scale_init_value (`float`, defaults to log(1 / 0.07)):
            Natural logarithm of the initial inverse temperature, as in CLIP.
        max_logit_scale (`float`, defaults to log(100)):
            Upper bound of the learned logarithm; CLIP, section 2.5 (https://arxiv.org/abs/2103.00020).
        logit_bias_init_value (`float`, *optional*):
            Given, the logits have a learned bias that starts here, and the loss is the sigmoid one (SigLIP).
    """

    model_type = "ecgclip"
    sub_configs_defaults = {
        "ecg_config": EcgResNetConfig,
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
    }

    ecg_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int | None = None
    text_projection: Literal["identity", "linear"] = "identity"
    text_pooling: Literal["mean", "cls"] = "mean"
    center_text: bool = False
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    max_logit_scale: float | int = math.log(100)
    logit_bias_init_value: float | int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        text_width = self.text_config.hidden_size
        if self.projection_dim is None:
            self.projection_dim = text_width
        if self.text_projection == "identity" and self.projection_dim != text_width:
            raise ValueError(
                f"text_projection='identity' needs projection_dim {text_width}, the width of the text tower: "
                f"found {self.projection_dim}"
            )
        for sub_config in (self.ecg_config, self.text_config):
            # A tower's own dtype would build that tower alone in it; its path is a place on somebody's machine.
            sub_config.dtype = self.dtype
            sub_config._name_or_path = ""
