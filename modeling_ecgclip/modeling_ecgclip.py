"""The residual ECG encoder and its classifier."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_ecgclip import EcgResNetConfig
from .encoder_ecgclip import (
    EcgEncoderOutput,
    EcgForSignalClassification,
    EcgPreTrainedModel,
    hidden_states_wanted,
    recorded_values,
)
from .layers_ecgclip import (
    EcgBatchNorm1d,
    EcgConv1d,
    EcgDropout,
    as_image,
    fold_norm_,
    layer_output,
    removes_constants,
)


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
        hidden, last = input_values, len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            hidden = layer_output(layer, hidden, bias_cancels=i < last and removes_constants(self.layers[i + 1]))
        return hidden

    def fold_norms_(self) -> None:
        """Folds each batch normalisation into the convolution before it."""
        for i, layer in enumerate(self.layers):
            if isinstance(layer, EcgBatchNorm1d):
                fold_norm_(layer, cast(EcgConv1d, self.layers[i - 1]))
                self.layers[i] = nn.Identity()


class EcgResNetBlock(nn.Module):
    """Residual block in two streams; Ribeiro et al. 2020, figure 3."""

    def __init__(self, config: EcgResNetConfig, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = strided_conv(config, in_channels, out_channels, bias=config.conv_bias)
        self.norm1: Any = EcgBatchNorm1d(config, out_channels)  # until it is folded
        self.conv2 = strided_conv(config, out_channels, out_channels, stride, bias=config.conv_bias)
        self.norm2 = EcgBatchNorm1d(config, out_channels)
        self.dropout = EcgDropout(config.dropout)
        skip: list[nn.Module] = [nn.MaxPool2d((1, stride))] if stride > 1 else []
        if in_channels != out_channels:
            skip.append(strided_conv(config, in_channels, out_channels, bias=config.conv_bias, kernel_size=1))
        self.skip = nn.Sequential(*skip)

    def forward(
        self, lower: torch.Tensor, skip: torch.Tensor, sum_cancels: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Two streams (batch, in_channels, 1, samples) -> two streams (batch, out_channels, 1, samples / stride).

        Args:
            lower, skip (`torch.Tensor`): The streams.
            sum_cancels (`bool`, defaults to `False`): Whether a constant in the skip stream that is returned cancels.
        """
        lower = layer_output(self.conv1, lower, bias_cancels=removes_constants(self.norm1))
        lower = self.dropout(F.relu(self.norm1(lower)))
        for layer in self.skip:
            skip = layer_output(layer, skip, bias_cancels=sum_cancels)
        skip = layer_output(self.conv2, lower, bias_cancels=sum_cancels) + skip
        return self.dropout(F.relu(self.norm2(skip))), skip

    def fold_norms_(self) -> None:
        """Folds the first batch normalisation; the second has the skip stream, which stays as it is, before it."""
        fold_norm_(self.norm1, self.conv1)
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

    config: EcgResNetConfig

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
            output_hidden_states (`bool`, *optional*):
                Return the skip streams as well; left out, the configuration decides.

        Raises:
            `ValueError`: where leads or samples differ from the configuration.
        """
        input_values = recorded_values(input_values, ecg_attention_mask, self.config)
        wanted = hidden_states_wanted(output_hidden_states, self.config)
        lower = skip = self.stem(as_image(input_values.to(self.dtype)))
        hidden_states: tuple[torch.Tensor, ...] = ()
        if wanted:
            hidden_states = (skip[:, :, 0],)  # (batch, stem_channels, samples)
            lower = skip = hidden_states[0][:, :, None]  # through what is returned, or no gradient would reach it
        removed = [removes_constants(block.get_submodule("norm2")) for block in self.blocks]
        for i, block in enumerate(self.blocks):
            # Max-pooling and 1x1 convolutions hand a constant on to the normalisation of each later sum.
            lower, skip = block(lower, skip, sum_cancels=not wanted and all(removed[i:]))
            if wanted:
                hidden_states += (skip[:, :, 0],)
                skip = hidden_states[-1][:, :, None]
        lower = lower[:, :, 0].contiguous()  # (batch, channels, final_samples)
        feature_map = lower if self.config.flatten == "channels_first" else lower.transpose(1, 2)
        return EcgEncoderOutput(
            last_hidden_state=lower,
            pooler_output=feature_map.flatten(1),  # (batch, hidden_size)
            hidden_states=hidden_states or None,
        )


class EcgResNetForSignalClassification(EcgForSignalClassification):
    """[`EcgResNetModel`] with a linear head; see [`EcgForSignalClassification`]."""

    config_class = EcgResNetConfig
    auto_classes = _AUTO_CLASSES
    tower_class = EcgResNetModel

    config: EcgResNetConfig


__all__ = ["EcgResNetForSignalClassification", "EcgResNetModel"]
