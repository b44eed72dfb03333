"""The residual ECG encoder and its classifier.

Inside the encoder a signal is an image of height 1, (batch, channels, 1, samples), with the channels innermost in
memory: processors convolve, normalise and pool this layout faster than (batch, channels, samples); see
`benchmarks/training_speed`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_ecgclip import EcgResNetConfig
from .encoder_ecgclip import EcgEncoderOutput, EcgForSignalClassification, EcgPreTrainedModel, check_input_values


class EcgConv1d(nn.Conv1d):
    """
    `torch.nn.Conv1d` for (batch, channels, 1, samples), whose `padding` may be a pair, left and right.

    The constructor is torch's, so that adapters such as LoRA's can build further ones of it.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, 1, samples) -> (batch, out_channels, 1, samples / stride)."""
        padding = (0, *self.padding)
        if len(self.padding) == 2:
            hidden_states, padding = F.pad(hidden_states, self.padding), (0, 0)
        # One copy to the input's layout and precision; left to themselves, autocast and convolution make four.
        weight = self.weight[:, :, None].to(dtype=hidden_states.dtype, memory_format=torch.channels_last)
        return F.conv2d(hidden_states, weight, self.bias, stride=(1, *self.stride), padding=padding)

    def lay_out_(self) -> None:
        """Puts channels innermost once and for all: of a single ECG's time, laying out the weights is a good part."""
        self.weight.data = self.weight.transpose(1, 2).contiguous().transpose(1, 2)


def strided_conv(
    config: EcgResNetConfig,
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    bias: bool = False,
    kernel_size: int | None = None,
) -> EcgConv1d:
    """Returns a convolution that turns n samples into n / stride, zero-padded by either published rule."""
    kernel_size = config.kernel_size if kernel_size is None else kernel_size
    excess = kernel_size - stride
    padding: Any = (excess + 1) // 2
    if config.padding == "same" and excess % 2:
        # TensorFlow's "same" puts the odd zero on the right.
        padding = (excess // 2, excess - excess // 2)
    return EcgConv1d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)


class EcgDropout(nn.Dropout):
    """
    Dropout whose mask costs a processor a quarter of torch's, which draws 32 random bits for each value.

    Here a value takes 16, so that `p` is rounded to a multiple of 1/65536 (0.2 to 0.199997); what is kept is scaled by
    the rounded probability, so that the expected value does not change. Other devices use torch's own.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Any shape, without gaps in memory."""
        dropped = round(self.p * 2**16)
        if not self.training or dropped == 0 or hidden_states.device.type != "cpu":
            return super().forward(hidden_states)
        n_words = -(-hidden_states.numel() // 4)
        bits = torch.empty(n_words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        bits = bits.as_strided(hidden_states.shape, hidden_states.stride())
        scale = (bits >= dropped - 2**15).to(hidden_states.dtype).mul_(2**16 / (2**16 - dropped))
        return hidden_states * scale


class EcgBatchNorm1d(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` for (batch, channels, 1, samples)."""

    def __init__(self, config: EcgResNetConfig, channels: int):
        super().__init__(channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim != 4:
            raise ValueError(f"expected (batch, channels, 1, samples): found {tuple(input.shape)}")


@torch.no_grad()
def _fold(norm: EcgBatchNorm1d, conv: EcgConv1d) -> None:
    """Makes a convolution do what its batch normalisation does to its output in eval mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (channels,)
    bias = 0 if conv.bias is None else conv.bias
    conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
    conv.weight.mul_(scale[:, None, None])


class EcgResNetStem(nn.Module):
    """First convolutions: leads to channels, without a skip stream."""

    def __init__(self, config: EcgResNetConfig):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(config.stem_convs):
            first, last = i == 0, i == config.stem_convs - 1
            in_channels, stride = (config.n_leads, config.stem_stride) if first else (config.stem_channels, 1)
            layers.append(strided_conv(config, in_channels, config.stem_channels, stride, bias=not first))
            layers.append(EcgBatchNorm1d(config, config.stem_channels))
            if config.stem_activation and (first or not last):
                layers.append(nn.ReLU())
            if not first:
                layers.append(EcgDropout(config.dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, input_values: torch.Tensor) -> torch.Tensor:
        """(batch, leads, 1, n_samples) -> (batch, stem_channels, 1, n_samples / stem_stride)."""
        return self.layers(input_values)

    def fold_norms_(self) -> None:
        """Folds each batch normalisation into the convolution before it."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, EcgBatchNorm1d):
                _fold(layer, self.layers[i - 1])
                self.layers[i] = nn.Identity()


class EcgResNetBlock(nn.Module):
    """Residual block in two streams; Ribeiro et al. 2020, figure 3."""

    def __init__(self, config: EcgResNetConfig, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = strided_conv(config, in_channels, out_channels, bias=config.conv_bias)
        self.norm1 = EcgBatchNorm1d(config, out_channels)
        self.conv2 = strided_conv(config, out_channels, out_channels, stride, bias=config.conv_bias)
        self.norm2 = EcgBatchNorm1d(config, out_channels)
        self.dropout = EcgDropout(config.dropout)
        skip: list[nn.Module] = [nn.MaxPool2d((1, stride))] if stride > 1 else []
        if in_channels != out_channels:
            skip.append(strided_conv(config, in_channels, out_channels, bias=config.conv_bias, kernel_size=1))
        self.skip = nn.Sequential(*skip)

    def forward(self, lower: torch.Tensor, skip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two streams (batch, in_channels, 1, samples) -> two streams (batch, out_channels, 1, samples / stride)."""
        lower = self.dropout(F.relu(self.norm1(self.conv1(lower))))
        skip = self.conv2(lower) + self.skip(skip)
        return self.dropout(F.relu(self.norm2(skip))), skip

    def fold_norms_(self) -> None:
        """Folds the first batch normalisation; the second has the skip stream, which stays as it is, before it."""
        _fold(self.norm1, self.conv1)
        self.norm1 = nn.Identity()


_AUTO_CLASSES = {
    "AutoConfig": "configuration_ecgclip.EcgResNetConfig",
    "AutoModel": "modeling_ecgclip.EcgResNetModel",
    "AutoModelForAudioClassification": "modeling_ecgclip.EcgResNetForSignalClassification",
}


class EcgResNetModel(EcgPreTrainedModel):
    """
    The ECG encoder: a residual 1D network in two streams, whose last feature map is flattened into the embedding.

    Source: Ribeiro et al. 2020 (https://doi.org/10.1038/s41467-020-15432-4); the variants are in `RESNET_PRESETS`.
    """

    config_class = EcgResNetConfig
    auto_classes = _AUTO_CLASSES
    tasks = ("ecg-feature-extraction",)

    def __init__(self, config: EcgResNetConfig):
        super().__init__(config)
        self.stem = EcgResNetStem(config)
        in_channels = (config.stem_channels, *config.block_channels)
        self.blocks = nn.ModuleList(
            EcgResNetBlock(config, in_channels[i], out_channels, stride)
            for i, (out_channels, stride) in enumerate(zip(config.block_channels, config.block_strides, strict=True))
        )
        self.post_init()

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
            output_hidden_states (`bool`, *optional*): Return the skip streams as well.

        Raises:
            `ValueError`: where leads or samples differ from the configuration.
        """
        check_input_values(input_values, self.config)
        if ecg_attention_mask is not None:
            input_values = input_values * ecg_attention_mask
        image = input_values.to(self.dtype)[:, :, None]  # (batch, leads, 1, input_samples)
        lower = skip = self.stem(image.contiguous(memory_format=torch.channels_last))
        hidden_states = (skip[:, :, 0],)  # (batch, stem_channels, samples)
        for block in self.blocks:
            lower, skip = block(lower, skip)
            hidden_states += (skip[:, :, 0],)
        lower = lower[:, :, 0].contiguous()  # (batch, channels, final_samples)
        feature_map = lower if self.config.flatten == "channels_first" else lower.transpose(1, 2)
        return EcgEncoderOutput(
            last_hidden_state=lower,
            pooler_output=feature_map.flatten(1),  # (batch, hidden_size)
            hidden_states=hidden_states if output_hidden_states else None,
        )


class EcgResNetForSignalClassification(EcgForSignalClassification):
    """[`EcgResNetModel`] with a linear head; see [`EcgForSignalClassification`]."""

    config_class = EcgResNetConfig
    auto_classes = _AUTO_CLASSES
    tower_class = EcgResNetModel


__all__ = ["EcgResNetForSignalClassification", "EcgResNetModel"]
