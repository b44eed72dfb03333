"""XLI, in which Philips recorders compress samples: second differences, packed by LZW in codes of ten bits.

The package `sierraecg` (MIT) decodes it as well, a byte at a time, whatever size comes out, and without a look at
whether a chunk is whole. Source of the layout: https://github.com/sixlettervariables/sierra-ecg-tools/wiki
"""

import struct

import numpy as np

from .limits_ecgclip import MAX_CHANNELS, check_values, spend_steps


MAX_XLI_BYTES = 2_000_000  # packed; twelve leads of 11 s have 30,000
_HEADER = struct.Struct("<iHh")  # bytes of the chunk, unknown, first second difference
_CODE_BITS = 10
_LAST_CODE = (1 << _CODE_BITS) - 2  # the one above ends a chunk
_ZERO = 64  # what stands for a second difference of 0


def unpack_xli(packed: bytes, n_samples: int, name: str) -> list[np.ndarray]:
    """
    Returns the channels of an XLI stream.

    Args:
        packed (`bytes`): One chunk after the other, one for each channel.
        n_samples (`int`): That each channel has, no more and no fewer.
        name (`str`): What errors call the record.

    Returns:
        `list` of `np.ndarray` of shape `(n_samples,)`, int64, within 16 bits.

    Raises:
        `ValueError`: naming record and channel, for chunks that are damaged or would unpack to another size.
    """
    if len(packed) > MAX_XLI_BYTES:
        raise ValueError(f"{name}: expected XLI of at most {MAX_XLI_BYTES:,} bytes: found {len(packed):,}")
    channels: list[np.ndarray] = []
    at = 0
    while at < len(packed):
        what = f"{name}, XLI channel {len(channels) + 1}"
        if len(channels) == MAX_CHANNELS:
            raise ValueError(f"{name}: expected at most {MAX_CHANNELS} XLI channels: found more")
        check_values((len(channels) + 1, n_samples), name)
        if len(packed) - at < _HEADER.size:
            raise ValueError(f"{what}: truncated: found {len(packed) - at} of {_HEADER.size} bytes of its header")
        size, _, start = _HEADER.unpack_from(packed, at)
        at += _HEADER.size
        if not 0 < size <= len(packed) - at:
            raise ValueError(f"{what}: expected {size:,} bytes, as stated: found {len(packed) - at:,}")
        unpacked = _unpack_lzw(packed[at : at + size], 2 * n_samples, what)
        channels.append(_samples(unpacked, start, what))
        at += size
    return channels


def _unpack_lzw(packed: bytes, n_bytes: int, name: str) -> bytes:
    """What LZW holds, which must be `n_bytes`."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    whole = bits[: len(bits) // _CODE_BITS * _CODE_BITS].reshape(-1, _CODE_BITS)
    codes = whole @ (1 << np.arange(_CODE_BITS - 1, -1, -1, dtype=np.uint16))
    spend_steps(len(codes), name)
    known = [bytes([byte]) for byte in range(256)]
    unpacked = bytearray()
    before = b""
    for code in codes.tolist():
        if code > _LAST_CODE:
            break
        if code < len(known):
            text = known[code]
        elif code == len(known) and before:
            text = before + before[:1]
        else:
            raise ValueError(f"{name}: damaged: found code {code}, which nothing before it explains")
        if before and len(known) <= _LAST_CODE:
            known.append(before + text[:1])
        unpacked += text
        before = text
        if len(unpacked) > n_bytes:
            raise ValueError(f"{name}: expected {n_bytes:,} bytes unpacked: found more")
    if len(unpacked) < n_bytes:
        raise ValueError(f"{name}: expected {n_bytes:,} bytes unpacked: found {len(unpacked):,}")
    return bytes(unpacked)


def _samples(unpacked: bytes, start: int, name: str) -> np.ndarray:
    """
    Samples from their first two values and second differences.

    All high bytes come before all low bytes. The difference that belongs to a sample is stored with the one before it;
    the first is in the chunk's header.
    """
    high_low = np.frombuffer(unpacked, np.uint8).reshape(2, -1)
    stored = (high_low[0].astype(np.uint16) << 8 | high_low[1]).view(np.int16).astype(np.int64)
    if len(stored) < 2:
        raise ValueError(f"{name}: expected two samples or more: found {len(stored)}")
    bends = np.concatenate(([start], stored[2:-1] - _ZERO))[: len(stored) - 2]
    steps = stored[1] - stored[0] - np.cumsum(bends)
    samples = np.concatenate((stored[:2], stored[1] + np.cumsum(steps)))
    # No wrap-around: a second difference of 16 bits is more than any electrode gives.
    limits = np.iinfo(np.int16)
    if samples.min() < limits.min or samples.max() > limits.max:
        raise ValueError(f"{name}: damaged: expected samples of 16 bits: found {samples.min()} to {samples.max()}")
    return samples


__all__ = ["MAX_XLI_BYTES", "unpack_xli"]
