"""Layers that the convolutional ECG encoders share.

Inside an encoder a signal is an image of height 1, (batch, channels, 1, samples), with the channels innermost in
memory: processors convolve, normalise and pool this layout faster than (batch, channels, samples); see
`benchmarks/training_speed`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # of torch's synchronised one too

from .block_convolution_ecgclip import BlockConvolution, convolve_in_blocks, convolves_in_blocks


# What torch's own compiler calls for a convolution whose weights lie as oneDNN wants them; None where it has none.
PACKED_CONVOLUTION: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)


def as_image(signal: torch.Tensor) -> torch.Tensor:
    """(batch, channels, samples) -> (batch, channels, 1, samples), channels innermost in memory."""
    return signal[:, :, None].contiguous(memory_format=torch.channels_last)


class _WithZeroGradient(torch.autograd.Function):
    """
    A convolution's output as it is, whose bias gets a gradient of zeros without a pass over the output.

    None instead of zeros would say that the bias has no part in the loss, for which DistributedDataParallel waits, and
    optimizers would keep other states than those of earlier checkpoints.
    """

    @staticmethod
    def forward(output: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradient, torch.zeros_like(ctx.saved_tensors[0])


class EcgConv1d(nn.Conv1d):
    """
    `torch.nn.Conv1d` for (batch, channels, 1, samples), whose `padding` may be a pair, left and right.

    The constructor is torch's, so that adapters such as LoRA's can build further ones of it.
    """

    padding: tuple[int, ...]
    _packs = False
    _packed: torch.Tensor | None = None
    _blocks: BlockConvolution | None = None

    def forward(self, hidden_states: torch.Tensor, bias_cancels: bool = False) -> torch.Tensor:
        """
        (batch, in_channels, 1, samples) -> (batch, out_channels, 1, samples / stride).

        Args:
            hidden_states (`torch.Tensor`): The signal.
            bias_cancels (`bool`, defaults to `False`):
                Whether [`removes_constants`] of all that the output goes to: the bias, which is added all the same,
                then has the gradient 0, and is given it.
        """
        bias = self.bias
        if bias_cancels and bias is not None and bias.requires_grad:
            return _WithZeroGradient.apply(self._convolved(hidden_states, bias.detach()), bias)
        return self._convolved(hidden_states, bias)

    def _convolved(self, hidden_states: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        laid_out = self._packs and _takes_laid_out_weights(hidden_states)
        shape = (self.in_channels, self.kernel_size[0], self.stride[0], hidden_states.shape[-1])
        if laid_out and convolves_in_blocks(*shape):
            return self._convolved_in_blocks(hidden_states, bias)
        padding = (0, *self.padding)
        if len(self.padding) == 2:
            hidden_states, padding = F.pad(hidden_states, self.padding), (0, 0)
        if laid_out and PACKED_CONVOLUTION is not None and torch.backends.mkldnn.is_available():
            return self._convolved_with_packed(hidden_states, bias, padding)
        # One copy to the input's layout and precision; left to themselves, autocast and convolution make four.
        weight = self.weight[:, :, None].to(dtype=hidden_states.dtype, memory_format=torch.channels_last)
        return F.conv2d(hidden_states, weight, bias, stride=(1, *self.stride), padding=padding)

    def lay_out_(self) -> None:
        """
        Lays the weights out once and for all, of a single ECG's time a good part: with channels innermost and, for
        float32 on a processor, when the first signal comes, as its kernels want them or as factors of blocks
        ([`BlockConvolution`]). They may not change any more.
        """
        self.weight.data = self.weight.transpose(1, 2).contiguous().transpose(1, 2)
        self._packs = self.weight.dtype == torch.float32

    def _convolved_in_blocks(self, hidden_states: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if self._blocks is None:
            self._blocks = BlockConvolution(self.weight.detach(), bias, (self.padding[0], self.padding[-1]))
        return convolve_in_blocks(hidden_states, self._blocks)

    def _convolved_with_packed(
        self, hidden_states: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, ...]
    ) -> torch.Tensor:
        stride, dilation = (1, *self.stride), (1, 1)
        if self._packed is None:
            weight = self.weight.detach()[:, :, None].contiguous().to_mkldnn()
            # Of one ECG, whoever comes first: how weights lie decides on the kernel, and that on the bits.
            shape = (1, *hidden_states.shape[1:])
            pack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its types lack the last argument
            self._packed = pack(weight, padding, stride, dilation, 1, shape)
        return PACKED_CONVOLUTION(hidden_states, self._packed, bias, padding, stride, dilation, 1, "none", [], "")

    def __getstate__(self) -> dict[str, Any]:
        """What copies take along; what is laid out anew by the first signal is not."""
        return {**self.__dict__, "_packed": None, "_blocks": None}


def _takes_laid_out_weights(hidden_states: torch.Tensor) -> bool:
    """Whether a signal can be convolved so: what is laid out for processors has no gradient."""
    on_cpu = hidden_states.device.type == "cpu" and hidden_states.dtype == torch.float32
    return on_cpu and not hidden_states.requires_grad


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
    """
    `torch.nn.BatchNorm1d` for (batch, channels, 1, samples).

    Args:
        config (`PreTrainedConfig`): States `batch_norm_eps` and `batch_norm_momentum`.
        channels (`int`): Size of the second axis.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, config: Any, channels: int):
        super().__init__(channels, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.ndim != 4:
            raise ValueError(f"expected (batch, channels, 1, samples): found {tuple(input.shape)}")


def removes_constants(norm: nn.Module) -> bool:
    """
    Whether a layer's output stays the same when a constant is added to a channel of its input.

    So it is where a batch normalisation subtracts the batch's own mean; with statistics that are frozen it is not.
    """
    return isinstance(norm, _BatchNorm) and norm.training


def layer_output(layer: nn.Module, hidden_states: torch.Tensor, bias_cancels: bool) -> torch.Tensor:
    """A layer's output, where only a convolution of this package (not an adapter around it) asks for its bias."""
    if bias_cancels and isinstance(layer, EcgConv1d):
        return layer(hidden_states, bias_cancels=True)
    return layer(hidden_states)


@torch.no_grad()
def fold_norm_(norm: EcgBatchNorm1d, conv: EcgConv1d) -> None:
    """Makes a convolution do what its batch normalisation does to its output in eval mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (channels,)
    bias = 0 if conv.bias is None else conv.bias
    conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
    conv.weight.mul_(scale[:, None, None])


__all__ = [
    "PACKED_CONVOLUTION",
    "EcgBatchNorm1d",
    "EcgConv1d",
    "EcgDropout",
    "as_image",
    "fold_norm_",
    "layer_output",
    "removes_constants",
]
