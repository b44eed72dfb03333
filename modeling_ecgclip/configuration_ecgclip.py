"""Configuration that all ECG encoders share, and that of the residual network."""

import math
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.utils import logging

from .labels_ecgclip import LABEL_NAMES, OF_EACH_LABEL
from .signal_ecgclip import LEAD_NAMES, N_SAMPLES, SAMPLING_RATE, SignalSpec


logger = logging.get_logger(__name__)

# The published networks of this kind, each stated exactly. `fernandes2024` is the default of every field.
RESNET_PRESETS: dict[str, dict[str, Any]] = {
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
class EcgEncoderConfig(PreTrainedConfig):
    r"""
    What every ECG encoder's configuration states: the signal that it reads, and the labels of its classifier.

    Args:
        lead_names (`tuple[str]`):
            Leads in the order of the input's second axis.
        sampling_rate (`int`, defaults to 400):
            Hz.
        n_samples (`int`, defaults to 4096):
            Samples of each lead: the window that an exam table holds and that a feature extractor cuts.
        input_samples (`int`, *optional*):
            Samples of the network's input: `n_samples`, and zeros up to the next length that the network's strides
            divide ([`EcgFeatureExtractor`] puts them on both sides). Computed where left out.
        thresholds (`tuple[float]`, *optional*):
            Decision threshold of each label, in the order of `id2label`, chosen on validation data. They belong to
            these labels: other labels in their place drop them, with a warning.
        threshold_prevalence (`tuple[float]`, *optional*):
            Share of positives among the exams that each threshold was chosen on, None where nobody knows: where the
            label is much rarer or more frequent, another threshold is better.
        calibration (`dict[str, list[float]]`, *optional*):
            `scale` and `shift` of each label's logit, fitted after training; the classifier applies them.
        abstention (`dict`, *optional*):
            `error`, a promised share, and for each label `low` and `high`: probabilities between them are
            `"uncertain"`. None for labels of which too few exams were there to promise anything.
        training_statistics (`dict`, *optional*):
            What the inputs of the training were like; see `training_statistics_ecgclip.py`.
        label_details (`list[dict]`, *optional*):
            `name`, `title` and `phrase` of labels; see [`Label`]. Left out, CODE's own are known.

    Raises:
        `ValueError`: for what no signal and no classifier can have; the message gives the numbers.
    """

    base_config_key = "ecg_config"
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    lead_names: tuple[str, ...] | list[str] = LEAD_NAMES
    n_samples: int = N_SAMPLES
    sampling_rate: int = SAMPLING_RATE
    input_samples: int | None = None
    thresholds: tuple[float, ...] | list[float] | None = None
    threshold_prevalence: tuple[float | None, ...] | list[float | None] | None = None
    calibration: dict[str, Any] | None = None
    abstention: dict[str, Any] | None = None
    training_statistics: dict[str, Any] | None = None
    label_details: tuple[dict[str, str], ...] | list[dict[str, str]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = dict(enumerate(LABEL_NAMES))
        super().__post_init__(**kwargs)
        if self.problem_type is None:
            self.problem_type = "multi_label_classification"
        self._check_signal()
        self._check_of_each_label()

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "id2label" or not value:
            super().__setattr__(name, value)
            return
        before: dict[Any, str] | None = self.id2label
        after = {int(i): label for i, label in value.items()}
        stated = [field for field in OF_EACH_LABEL if getattr(self, field, None) is not None]
        if before and stated and after != {int(i): before[i] for i in before}:
            logger.warning(
                f"{', '.join(stated)} were chosen for the labels {', '.join(before.values())}: dropped for "
                f"{', '.join(after.values())}"
            )
            for field in stated:
                super().__setattr__(field, None)
        super().__setattr__("id2label", after)
        # Left alone, label2id would name other labels, or none.
        super().__setattr__("label2id", {label: i for i, label in after.items()})

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> "EcgEncoderConfig":
        """
        Returns the configuration of a published encoder of this kind.

        Args:
            name (`str`): One of `presets`.
            kwargs: Fields that differ.

        Raises:
            `ValueError`: for an unknown name.
        """
        if name not in cls.presets:
            raise ValueError(f"unknown encoder preset {name!r}: expected one of {', '.join(cls.presets)}")
        return cls(**{**cls.presets[name], **kwargs})

    @property
    def n_leads(self) -> int:
        """Size of the input's second axis."""
        return len(self.lead_names)

    @property
    def pad_to_multiple_of(self) -> int:
        """What must divide the samples of the network's input."""
        return 1

    @property
    def signal(self) -> SignalSpec:
        """The signal that the model reads, before padding."""
        return SignalSpec(tuple(self.lead_names), self.sampling_rate, self.n_samples)

    def _check_of_each_label(self) -> None:
        """Refuses what has not one value for each label, and a calibration of outputs that no sigmoid follows."""
        values = {"thresholds": self.thresholds, "threshold_prevalence": self.threshold_prevalence}
        for field, parts in (("calibration", ("scale", "shift")), ("abstention", ("low", "high"))):
            of_parts = getattr(self, field)
            if of_parts is not None:
                values |= {f"{field}.{part}": of_parts.get(part, ()) for part in parts}
        for name, of_labels in values.items():
            if of_labels is not None and len(of_labels) != self.num_labels:
                raise ValueError(
                    f"{name} needs one value for each of {self.num_labels} labels: found {len(of_labels)}"
                )
        if self.calibration is not None and self.problem_type != "multi_label_classification":
            raise ValueError(
                "calibration is for labels side by side (multi_label_classification): found problem_type "
                f"{self.problem_type}"
            )

    def _check_signal(self) -> None:
        """Refuses impossible signals, and states the padded length."""
        spec = self.signal  # refuses by itself
        multiple = self.pad_to_multiple_of
        needed = -(-spec.n_samples // multiple) * multiple
        if self.input_samples is None:
            self.input_samples = needed
        elif self.input_samples < spec.n_samples or self.input_samples % multiple:
            raise ValueError(
                f"input_samples must be at least n_samples ({spec.n_samples}) and divisible by the product of all "
                f"strides ({multiple}): found {self.input_samples}; left out, it is {needed}"
            )


@strict
class EcgResNetConfig(EcgEncoderConfig):
    r"""
    Configuration of the residual 1D encoder ([`EcgResNetModel`]) and of its classifier.

    The defaults are the encoder of Fernandes et al.; [`encoder_config`] states the other published ones by name.

    Args:
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
        kwargs: Those of [`EcgEncoderConfig`]: the signal and the labels.

    Raises:
        `ValueError`: for a shape that no convolution stack can have; the message gives the numbers.

    Source: the papers named beside `RESNET_PRESETS`; the sizes are tabulated in `docs/architecture.md`.
    """

    model_type = "ecg_resnet"
    presets = RESNET_PRESETS

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

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_shapes()
        super().__post_init__(**kwargs)

    @property
    def pad_to_multiple_of(self) -> int:
        """The product of all strides: the two streams of a block would else differ in length."""
        return self.stem_stride * math.prod(self.block_strides)

    @property
    def final_samples(self) -> int:
        """Samples of the last feature map."""
        return (self.input_samples or 0) // self.pad_to_multiple_of

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
        sizes = {"kernel_size": self.kernel_size, "stem_channels": self.stem_channels}
        sizes |= {"stem_stride": self.stem_stride, "stem_convs": self.stem_convs}
        sizes |= {"smallest of block_channels": min(self.block_channels)}
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
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1): found {self.dropout}")


__all__ = ["RESNET_PRESETS", "EcgEncoderConfig", "EcgResNetConfig"]
