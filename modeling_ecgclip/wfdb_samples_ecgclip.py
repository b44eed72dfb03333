"""Samples of WFDB signal files, in all formats of https://wfdb.io/spec/signal-files.html, verified where possible."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .limits_ecgclip import READ_ERRORS, TooLargeError, check_file, check_values, shorten, spend_unpacked
from .wfdb_header_ecgclip import NOTHING, Header, Signal


@dataclass(frozen=True)
class _Packing:
    """How a format keeps samples: how many in a block of how many bytes, the code of a lost one, and the way back."""

    samples: int
    n_bytes: int
    lost: int | None
    unpack: Callable[[np.ndarray], np.ndarray]


def _of_212(blocks: np.ndarray) -> np.ndarray:
    """Two samples of 12 bits in three bytes."""
    low, middle, high = blocks.reshape(-1, 3).astype(np.int16).T
    return _signed(np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1), 12)


def _of_310(blocks: np.ndarray) -> np.ndarray:
    """Three samples of 10 bits in two words: one in each, and one of the five bits that each has left."""
    first, second = blocks.view("<u2").reshape(-1, 2).astype(np.int16).T
    third = (first >> 11 & 0x1F) | (second >> 11 & 0x1F) << 5
    return _signed(np.stack([first >> 1 & 0x3FF, second >> 1 & 0x3FF, third], axis=1), 10)


def _of_311(blocks: np.ndarray) -> np.ndarray:
    """Three samples of 10 bits one behind the other in a word of 32."""
    word = blocks.view("<u4").astype(np.int32)
    return _signed(np.stack([word & 0x3FF, word >> 10 & 0x3FF, word >> 20 & 0x3FF], axis=1), 10)


def _of_24(blocks: np.ndarray) -> np.ndarray:
    """Three bytes, the lowest first: the upper three of a word of 32, moved down with their sign."""
    words = np.zeros((len(blocks) // 3, 4), np.uint8)
    words[:, 1:] = blocks.reshape(-1, 3)
    return words.view("<i4")[:, 0] >> 8


def _signed(samples: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of so many bits as numbers."""
    return (samples.ravel() ^ 1 << bits - 1) - (1 << bits - 1)


_PACKINGS = {
    8: _Packing(1, 1, None, lambda blocks: blocks.view(np.int8)),  # differences
    16: _Packing(1, 2, -(2**15), lambda blocks: blocks.view("<i2")),
    24: _Packing(1, 3, -(2**23), _of_24),
    32: _Packing(1, 4, -(2**31), lambda blocks: blocks.view("<i4")),
    61: _Packing(1, 2, -(2**15), lambda blocks: blocks.view(">i2")),
    80: _Packing(1, 1, -(2**7), lambda blocks: blocks.astype(np.int16) - 2**7),
    160: _Packing(1, 2, -(2**15), lambda blocks: blocks.view("<u2").astype(np.int32) - 2**15),
    212: _Packing(2, 3, -(2**11), _of_212),
    310: _Packing(3, 4, -(2**9), _of_310),
    311: _Packing(3, 4, -(2**9), _of_311),
}
_FLAC_BITS = {508: 8, 516: 16, 524: 24}
_BITS_OF_STREAM = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
FORMATS = (*_PACKINGS, *_FLAC_BITS)
_DIFFERENCES = 8


def read_samples(header: Header, folder: Path, where: str) -> list[np.ndarray]:
    """
    Returns the steps of each signal, as stored, before any skew is undone.

    Args:
        header ([`Header`]): Of one segment.
        folder (`Path`): In which it and its signal files lie.
        where (`str`): What errors call the record.

    Returns:
        `list` of `np.ndarray` of shape `(samples,)`, whole numbers; as many samples as frames times `per_frame`.

    Raises:
        `FileNotFoundError`: where a signal file is missing.
        `ValueError`: for a file that is truncated or damaged, or whose first samples or checksums are not those that
            the header states.
    """
    if any(signal.file_name == NOTHING for signal in header.signals):
        raise ValueError(f"{where}: expected a signal file for each signal: found {NOTHING!r}, which stands for none")
    samples: dict[int, np.ndarray] = {}
    lengths = {}
    for name in header.file_names:
        channels = [at for at, signal in enumerate(header.signals) if signal.file_name == name]
        signals = [header.signals[at] for at in channels]
        if not (folder / name).exists():
            raise FileNotFoundError(f"{where}: the header names a signal file that is missing: {folder / name}")
        check_file(folder / name)
        frames = _read_file(folder / name, signals, header.n_samples, where)
        lengths[name] = len(frames)
        ends = np.cumsum([signal.per_frame for signal in signals])
        for at, signal, end in zip(channels, signals, ends.tolist(), strict=True):
            samples[at] = _whole(frames[:, end - signal.per_frame : end].ravel(), signal, at, where)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{where}: expected signal files of one length: found {shorten(lengths)} samples")
    return [samples[at] for at in range(len(header.signals))]


def lost_code(fmt: int) -> int | None:
    """Returns the step that means "no sample" in a format."""
    return _PACKINGS[fmt].lost if fmt in _PACKINGS else -(2 ** (_FLAC_BITS[fmt] - 1))


def _read_file(path: Path, signals: Sequence[Signal], n_frames: int | None, where: str) -> np.ndarray:
    """The steps of one file's signals `(frames, samples of a frame)`."""
    per_frame = sum(signal.per_frame for signal in signals)
    fmt, offset = signals[0].fmt, signals[0].offset
    if fmt in _FLAC_BITS:
        return _read_flac(path, signals, n_frames, where)
    if fmt not in _PACKINGS:
        raise ValueError(f"{where}: expected a format of WFDB, such as 16: found {fmt} for {shorten(path.name)}")
    packing = _PACKINGS[fmt]
    n_bytes = max(path.stat().st_size - offset, 0)
    held = n_bytes // packing.n_bytes * packing.samples
    # The last block need not be whole.
    held += n_bytes % packing.n_bytes * packing.samples // packing.n_bytes
    if n_frames is None:
        n_frames = held // per_frame
        if packing.samples == 1 and (held % per_frame or n_bytes % packing.n_bytes):
            raise ValueError(f"{where}: {path.name} is truncated: it ends within the samples of one moment")
    check_values((n_frames, per_frame), where)
    wanted = n_frames * per_frame
    if held < wanted:
        raise ValueError(
            f"{where}: not a readable WFDB record: {path.name} is truncated: expected {n_frames:,} samples of each "
            f"signal: found {held // per_frame:,}"
        )
    n_blocks = -(-wanted // packing.samples)
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(n_blocks * packing.n_bytes)
    blocks = np.frombuffer(content.ljust(n_blocks * packing.n_bytes, b"\0"), np.uint8)
    frames = packing.unpack(blocks)[:wanted].reshape(n_frames, per_frame)
    return _summed(frames, signals) if fmt == _DIFFERENCES else frames


def _summed(differences: np.ndarray, signals: Sequence[Signal]) -> np.ndarray:
    """Steps of the format that keeps the differences between samples, from the first sample that the header states."""
    frames = np.empty(differences.shape, np.int64)
    start = 0
    for signal in signals:
        part = slice(start, start + signal.per_frame)
        frames[:, part] = differences[:, part].cumsum(dtype=np.int64).reshape(-1, signal.per_frame)
        frames[:, part] += signal.first or 0
        start += signal.per_frame
    return frames


def _read_flac(path: Path, signals: Sequence[Signal], n_frames: int | None, where: str) -> np.ndarray:
    """The steps of a file of the FLAC formats, whose channels are the signals."""
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(
            "reading compressed WFDB records needs the package soundfile: pip install soundfile"
        ) from error
    per_frame = signals[0].per_frame
    if any(signal.per_frame != per_frame for signal in signals):
        raise ValueError(f"{where}: expected one rate for all signals of {path.name}: found several")
    with path.open("rb") as file:
        if file.read(4) != b"fLaC":
            raise ValueError(f"{where}: expected a FLAC file: found other bytes in {path.name}")
        file.seek(0)
        try:
            with soundfile.SoundFile(file) as sound:
                bits = _BITS_OF_STREAM.get(sound.subtype, 32)
                if sound.channels != len(signals) or bits > _FLAC_BITS[signals[0].fmt]:
                    raise ValueError(f"expected {len(signals)} channels: found {sound.channels}, {sound.subtype}")
                n_frames = (sound.frames - signals[0].offset) // per_frame if n_frames is None else n_frames
                check_values((n_frames * per_frame, len(signals)), where)
                spend_unpacked(4 * n_frames * per_frame * len(signals), where)
                sound.seek(signals[0].offset)
                steps = sound.read(n_frames * per_frame, dtype="int32", always_2d=True) >> 32 - bits
        except TooLargeError:
            raise
        except READ_ERRORS as error:
            raise ValueError(f"{where}: not a readable WFDB record: {path.name}: {shorten(error)}") from error
    if len(steps) < n_frames * per_frame:
        raise ValueError(
            f"{where}: not a readable WFDB record: {path.name} is truncated: found {len(steps):,} samples"
        )
    # Of each frame the samples of a signal together, as in the other formats.
    return steps.reshape(n_frames, per_frame, len(signals)).transpose(0, 2, 1).reshape(n_frames, -1)


def _whole(steps: np.ndarray, signal: Signal, channel: int, where: str) -> np.ndarray:
    """The steps, where first sample and checksum are those that the header states."""
    title = f"lead {signal.name}" if signal.name else f"channel {channel}"
    found = int(steps.sum(dtype=np.int64)) if len(steps) else 0
    if signal.checksum is not None and (found - signal.checksum) % 2**16:
        stated = signal.checksum % 2**16
        raise ValueError(
            f"{where}: checksum of {title}: {stated} stated, {found % 2**16} found: the signal file is damaged or "
            "another one"
        )
    if signal.first is not None and signal.fmt != _DIFFERENCES and len(steps) and steps[0] != signal.first:
        raise ValueError(f"{where}: first sample of {title}: {signal.first} stated, {steps[0]} found")
    return steps


__all__ = ["FORMATS", "lost_code", "read_samples"]
