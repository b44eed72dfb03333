"""Convolutions with long kernels, by the Fourier transforms of short blocks: fewer multiplications than one by one.

Overlap-save (https://en.wikipedia.org/wiki/Overlap-save_method), with each transform written as a product of matrices,
at which processors are fastest. Of 17 taps and 64 channels it takes 0.30 of the multiplications. Float32, for
inference: errors are of the size of a direct convolution's.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch.overrides import wrap_torch_function


# Of a block, without those that it shares with the next. Larger blocks take fewer multiplications, and lose more by
# factors that no longer stay in the cache.
NEW_SAMPLES = 16
# With fewer a direct convolution takes no longer: `benchmarks/pieces/run.py blocks`.
MIN_SAMPLES, MIN_CHANNELS, MIN_TAPS = 64, 64, 9
ROWS = 64  # blocks that are multiplied at once: fewer wait for the weights, more leave the cache themselves


def convolves_in_blocks(in_channels: int, taps: int, stride: int, samples: int) -> bool:
    """Returns whether blocks are the faster way."""
    return stride == 1 and taps >= MIN_TAPS and in_channels >= MIN_CHANNELS and samples >= MIN_SAMPLES


@functools.cache
def _transforms(taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Matrices of blocks to products (products, block), of kernels to products (products, taps), and of products to new
    samples (new samples, products); float64.

    A block's transform times the conjugate of the kernel's is their correlation. Of a real signal half of the
    frequencies are enough, and a product of two complex numbers takes three of real ones (Gauss):
    (a + ib)(c + id) = [c(a + b) - b(c + d)] + i[c(a + b) + a(d - c)].
    """
    size = NEW_SAMPLES + taps - 1
    frequencies = np.arange(size // 2 + 1)
    block = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(size)) / size)
    kernel = block[:, :taps].conj()
    back = block[:, :NEW_SAMPLES].conj() / size
    real = (2 * frequencies) % size == 0  # there is no other frequency that would be its conjugate
    of_both = 2 * back[~real]
    a, b, c, d = block[~real].real, block[~real].imag, kernel[~real].real, kernel[~real].imag
    return (
        np.concatenate([block[real].real, a + b, a, b]),
        np.concatenate([kernel[real].real, c, d - c, c + d]),
        np.concatenate([back[real].real, of_both.real - of_both.imag, -of_both.imag, -of_both.real]).T,
    )


class BlockConvolution:
    """
    A convolution of stride 1, of weights that do not change any more.

    Args:
        weight (`torch.Tensor` of shape `(out_channels, in_channels, taps)`): float32.
        bias (`torch.Tensor` of shape `(out_channels,)`, *optional*): float32.
        padding (`tuple[int, int]`): Zeros on the left and on the right.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]):
        of_blocks, of_kernels, back = (torch.from_numpy(matrix) for matrix in _transforms(weight.shape[-1]))
        self.taps, self.padding = weight.shape[-1], padding
        self.bias = None if bias is None else bias.detach()
        self.of_blocks, self.back = of_blocks.float(), back.float().contiguous()
        self.weight = torch.einsum("pk,oik->pio", of_kernels, weight.double()).float().contiguous()

    def __call__(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, in_channels, 1, samples) -> (batch, out_channels, 1, samples), channels innermost in memory."""
        signal = hidden_states[:, :, 0].transpose(1, 2)  # (batch, samples, channels)
        batch, samples, _ = signal.shape
        samples += sum(self.padding) - self.taps + 1
        n_blocks = -(-samples // NEW_SAMPLES)
        output = signal.new_empty(batch, n_blocks, NEW_SAMPLES, self.weight.shape[-1])
        step = max(1, ROWS // n_blocks)
        for start in range(0, batch, step):
            self._convolve(signal[start : start + step], output[start : start + step])
        return output.flatten(1, 2)[:, :samples].transpose(1, 2)[:, :, None]

    def _convolve(self, signal: torch.Tensor, output: torch.Tensor) -> None:
        """(batch, samples, in_channels) into (batch, blocks, new samples, out_channels)."""
        batch, n_blocks, _, out_channels = output.shape
        (n_products, size), channels = self.of_blocks.shape, signal.shape[-1]
        length = n_blocks * NEW_SAMPLES + self.taps - 1
        padded = F.pad(signal, (0, 0, self.padding[0], length - signal.shape[1] - self.padding[0])).contiguous()
        factors = signal.new_empty(batch, n_blocks, n_products, channels)
        # Block by block, from where it lies in the signal: no copy is made of blocks that overlap.
        there = self.of_blocks.expand(n_blocks, -1, -1)
        for ecg, of_ecg in zip(padded, factors, strict=True):
            torch.bmm(there, ecg.unfold(0, size, NEW_SAMPLES).transpose(1, 2), out=of_ecg)
        products = torch.bmm(factors.flatten(0, 1).transpose(0, 1), self.weight).transpose(0, 1)
        back, new = self.back.expand(batch * n_blocks, -1, -1), output.flatten(0, 1)
        if self.bias is None:
            torch.bmm(back, products, out=new)
        else:
            torch.baddbmm(self.bias.expand_as(new), back, products, out=new)


@wrap_torch_function(lambda hidden_states, convolution: (hidden_states,))
def convolve_in_blocks(hidden_states: torch.Tensor, convolution: BlockConvolution) -> torch.Tensor:
    """What `convolution` makes of a signal; a function of its own, so that modes of torch see one call."""
    return convolution(hidden_states)


__all__ = ["BlockConvolution", "convolve_in_blocks", "convolves_in_blocks"]
