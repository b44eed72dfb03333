"""The XResNet of Strodthoff et al. 2021 for ECGs, its configuration and its classifier: a baseline of the field."""

from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import initialization as init
from transformers.utils import can_return_tuple

from .configuration_ecgclip import EcgEncoderConfig
from .encoder_ecgclip import (
    EcgEncoderOutput,
    EcgForSignalClassification,
    EcgPreTrainedModel,
    hidden_states_wanted,
    recorded_values,
)
from .layers_ecgclip import EcgBatchNorm1d, EcgConv1d, as_image, fold_norm_


# Published encoders of this kind. `xresnet1d50` is the default of every field.
XRESNET_PRESETS: dict[str, dict[str, Any]] = {
    "xresnet1d50": {},
    "xresnet1d101": {"depths": (3, 4, 23, 3)},
    # The published network with the embedding that linear probes of real ECGs read best: docs/real_ecgs.md.
    "xresnet1d50_ecgclip": {"pooled_stages": 2, "normalize_pooled": True},
    # For tests: the paper's shape, small enough for a laptop's processor.
    "xresnet1d_tiny": {"stem_channels": (8, 8, 16), "depths": (1, 1, 1), "widths": (8, 8, 12), "dropout": 0.1},
}


@strict
class EcgXResNetConfig(EcgEncoderConfig):
    r"""
    Configuration of [`EcgXResNetModel`] and of its classifier.

    Args:
        kernel_size, stem_kernel_size (`int`, defaults to 5):
            Of the middle convolution of each block, and of the stem's.
        stem_channels (`tuple[int]`, defaults to `(32, 32, 64)`):
            Output channels of each convolution of the stem; the first has stride 2.
        depths (`tuple[int]`, defaults to `(3, 4, 6, 3)`):
            Blocks of each stage; the first block of each stage but the first has stride 2.
        widths (`tuple[int]`, defaults to `(64, 64, 64, 64)`):
            Channels inside the blocks of each stage.
        expansion (`int`, defaults to 4):
            Output channels of a block for each of its inner ones.
        pooled_stages (`int`, defaults to 1):
            The embedding holds maximum and mean over time of the last so many stages, the last stage's last.
        normalize_pooled (`bool`, defaults to `False`):
            Standardise each number of the embedding by batch normalisation, and then scale the embedding to a root
            mean square of 1, so that an ECG unlike the others does not get an embedding longer than theirs.
        batch_norm_eps, batch_norm_momentum (`float`):
            As in `torch.nn.BatchNorm1d`.
        dropout (`float`, defaults to 0.25):
            Probability of dropping, of the pooled vector.
        kwargs: Those of [`EcgEncoderConfig`]: the signal and the labels.

    Raises:
        `ValueError`: for a shape that no convolution stack can have; the message gives the numbers.

    Source: Strodthoff et al., "Deep Learning for ECG Analysis: Benchmarks and Insights from PTB-XL", IEEE Journal of
    Biomedical and Health Informatics 25(5) (2021), https://github.com/helme/ecg_ptbxl_benchmarking; the sizes are
    tabulated in `docs/architecture.md`.
    """

    model_type = "ecg_xresnet"
    presets = XRESNET_PRESETS

    kernel_size: int = 5
    stem_kernel_size: int = 5
    stem_channels: tuple[int, ...] | list[int] = (32, 32, 64)
    depths: tuple[int, ...] | list[int] = (3, 4, 6, 3)
    widths: tuple[int, ...] | list[int] = (64, 64, 64, 64)
    expansion: int = 4
    pooled_stages: int = 1
    normalize_pooled: bool = False
    batch_norm_eps: float = 1e-5
    batch_norm_momentum: float = 0.1
    dropout: float | int = 0.25

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_shapes()
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of the pooled embedding (`pooler_output`): maximum and mean of each channel of the pooled stages."""
        return 2 * self.expansion * sum(self.widths[-self.pooled_stages :])

    def _check_shapes(self) -> None:
        """Refuses shapes whose two streams would not meet."""
        if len(self.depths) != len(self.widths):
            raise ValueError(
                "depths and widths need one entry for each stage: "
                f"found {len(self.depths)} depths and {len(self.widths)} widths"
            )
        for name in ("stem_channels", "depths", "widths"):
            sizes = list(getattr(self, name))
            if not sizes or min(sizes) < 1:
                raise ValueError(f"{name} needs at least one entry, and each at least 1: found {sizes}")
        if self.expansion < 1:
            raise ValueError(f"expansion must be at least 1: found {self.expansion}")
        if not 1 <= self.pooled_stages <= len(self.depths):
            raise ValueError(
                f"pooled_stages must lie between 1 and the number of stages, {len(self.depths)}: "
                f"found {self.pooled_stages}"
            )
        for name in ("kernel_size", "stem_kernel_size"):
            size = getattr(self, name)
            if size < 1 or size % 2 == 0:
                raise ValueError(f"{name} must be odd, so that stride 1 keeps the number of samples: found {size}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1): found {self.dropout}")


class EcgXResNetLastNorm(EcgBatchNorm1d):
    """The last normalisation of a block, whose weight starts at 0."""


class EcgXResNetLayer(nn.Module):
    """Convolution without bias, batch normalisation, and a ReLU where one follows."""

    def __init__(
        self,
        config: EcgXResNetConfig,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        activation: bool = True,
        norm_class: type[EcgBatchNorm1d] = EcgBatchNorm1d,
    ):
        super().__init__()
        padding = (kernel_size - 1) // 2
        self.conv = EcgConv1d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)
        self.norm: Any = norm_class(config, out_channels)  # until it is folded
        self.activation = activation

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, 1, samples) -> (batch, out_channels, 1, ceil(samples / stride))."""
        hidden_states = self.norm(self.conv(hidden_states))
        return F.relu(hidden_states) if self.activation else hidden_states

    def fold_norms_(self) -> None:
        """Folds the batch normalisation into the convolution before it."""
        fold_norm_(self.norm, self.conv)
        self.norm = nn.Identity()


class EcgXResNetBlock(nn.Module):
    """
    Residual bottleneck block; a skip stream that loses samples is averaged, not subsampled.

    He et al. 2019, "Bag of Tricks for Image Classification with Convolutional Neural Networks", figure 2, B and D.
    """

    def __init__(self, config: EcgXResNetConfig, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = width * config.expansion
        self.reduce = EcgXResNetLayer(config, in_channels, width, 1)
        self.middle = EcgXResNetLayer(config, width, width, config.kernel_size, stride)
        self.expand = EcgXResNetLayer(config, width, out_channels, 1, activation=False, norm_class=EcgXResNetLastNorm)
        # An odd number of samples leaves a last mean of one: as many samples as the convolution gives.
        skip: list[nn.Module] = [nn.AvgPool2d((1, stride), ceil_mode=True)] if stride > 1 else []
        if in_channels != out_channels:
            skip.append(EcgXResNetLayer(config, in_channels, out_channels, 1, activation=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, 1, samples) -> (batch, width * expansion, 1, ceil(samples / stride))."""
        return F.relu(self.expand(self.middle(self.reduce(hidden_states))) + self.skip(hidden_states))


class EcgXResNetPooler(nn.Module):
    """Maximum and mean over time of one or more feature maps, normalised where the configuration says so."""

    def __init__(self, config: EcgXResNetConfig):
        super().__init__()
        self.norm = EcgBatchNorm1d(config, config.hidden_size) if config.normalize_pooled else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, feature_maps: list[torch.Tensor]) -> torch.Tensor:
        """[(batch, channels, samples), ...] -> (batch, hidden_size)."""
        pooled = torch.cat([of_map for one in feature_maps for of_map in (one.amax(-1), one.mean(-1))], dim=1)
        if self.norm is not None:
            pooled = F.normalize(self.norm(pooled[..., None, None])[..., 0, 0], dim=1) * pooled.shape[1] ** 0.5
        return self.dropout(pooled)


_AUTO_CLASSES = {
    "AutoConfig": "xresnet_ecgclip.EcgXResNetConfig",
    "AutoModel": "xresnet_ecgclip.EcgXResNetModel",
    "AutoModelForAudioClassification": "xresnet_ecgclip.EcgXResNetForSignalClassification",
}


class EcgXResNetModel(EcgPreTrainedModel):
    """
    XResNet for ECGs: a stem of three convolutions, stages of bottleneck blocks, and global pooling, so that a window
    of any length goes through it.

    The embedding is the maximum and the mean of each channel over time, in the published order. What the publication
    has behind it (batch normalisation, dropout, a hidden layer of 128, batch normalisation, dropout, the outputs) is
    its classifier's head. It is left out: the classifiers of this package are linear, so that encoders compare by what
    they encode, and one encoder serves any labels and the joint space. The first dropout is kept, on the embedding.
    Pooling more than one stage and normalising the embedding are not published; the configuration can ask for them.

    Weights start as the published class has them: He et al. 2015, and 0 for the weight of the last normalisation of
    each block, which so begins as its skip stream alone. (The published training script sets all of them back to 1.)
    The published results are of windows of 2.5 s at 100 Hz, each label's largest probability over a recording's
    windows; here the configuration's window goes in whole.

    Source: Strodthoff et al. 2021 (https://doi.org/10.1109/JBHI.2020.3022989).
    """

    config_class = EcgXResNetConfig
    auto_classes = _AUTO_CLASSES
    tasks = ("ecg-feature-extraction",)

    def __init__(self, config: EcgXResNetConfig):
        super().__init__(config)
        stem = (config.n_leads, *config.stem_channels)
        self.stem = nn.Sequential(
            *(
                EcgXResNetLayer(config, stem[i], stem[i + 1], config.stem_kernel_size, stride=1 if i else 2)
                for i in range(len(config.stem_channels))
            ),
            nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1)),
        )
        blocks, channels = [], stem[-1]
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            for i in range(depth):
                blocks.append(EcgXResNetBlock(config, channels, width, stride=2 if stage and i == 0 else 1))
                channels = width * config.expansion
        self.blocks = nn.ModuleList(blocks)
        self.pooler = EcgXResNetPooler(config)
        ends = [sum(config.depths[: stage + 1]) for stage in range(len(config.depths))]
        self.pooled_after = frozenset(ends[-config.pooled_stages :])  # places of blocks, the stem's being 0
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EcgXResNetLastNorm):
            init.zeros_(module.weight)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        ecg_attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> EcgEncoderOutput:
        """
        Returns the feature map and the embedding of each ECG.

        Args:
            input_values (`torch.Tensor` of shape `(batch, leads, samples)`): Millivolts, from [`EcgFeatureExtractor`].
            ecg_attention_mask (`torch.Tensor` of shape `(batch, leads, samples)`, *optional*):
                1 where a sample was recorded; what is 0 (padding, missing leads) is set to 0 mV.
            output_hidden_states (`bool`, *optional*):
                Return the output of the stem and of each block as well; left out, the configuration decides.

        Raises:
            `ValueError`: where leads or samples differ from the configuration.
        """
        input_values = recorded_values(input_values, ecg_attention_mask, self.config)
        wanted = hidden_states_wanted(output_hidden_states, self.config)
        hidden_states: tuple[torch.Tensor, ...] = ()
        hidden = as_image(input_values.to(self.dtype))
        feature_maps = []  # of the pooled stages
        for place, layers in enumerate((self.stem, *self.blocks)):
            hidden = layers(hidden)
            if wanted:
                hidden_states += (hidden[:, :, 0],)  # (batch, channels, samples)
                hidden = hidden_states[-1][:, :, None]  # through what is returned, or no gradient would reach it
            if place in self.pooled_after:
                feature_maps.append(hidden[:, :, 0].contiguous())  # (batch, channels, samples)
        return EcgEncoderOutput(
            last_hidden_state=feature_maps[-1],
            pooler_output=self.pooler(feature_maps),
            hidden_states=hidden_states or None,
        )


class EcgXResNetForSignalClassification(EcgForSignalClassification):
    """[`EcgXResNetModel`] with a linear head; see [`EcgForSignalClassification`]."""

    config_class = EcgXResNetConfig
    auto_classes = _AUTO_CLASSES
    tower_class = EcgXResNetModel


__all__ = ["XRESNET_PRESETS", "EcgXResNetConfig", "EcgXResNetForSignalClassification", "EcgXResNetModel"]
