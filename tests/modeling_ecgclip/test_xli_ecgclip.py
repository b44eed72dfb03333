"""XLI: what recorders compress comes back exactly, and nothing comes back of damage and bombs."""

import struct

import numpy as np
import pytest

from modeling_ecgclip.xli_ecgclip import MAX_XLI_BYTES, unpack_xli
from tests.modeling_ecgclip.fuzzing import time_limit
from tests.modeling_ecgclip.xml_writers import lzw, xli_chunk


SIGNALS = {
    "noise": np.random.default_rng(0).integers(-4000, 4000, 5500),
    "walk": np.cumsum(np.random.default_rng(1).integers(-9, 10, 5500)),
    "zeros": np.zeros(5500, np.int64),
    "one value": np.full(5500, -700),
    "ramp": np.arange(5500) - 2000,
    "extremes": np.tile([-5000, 5000, 5000], 1833),
    "bounds": np.tile([-32768, -32768, -16384, 0, 16383, 32767, 32767, 16383, 0, -16384], 55),
    "two samples": np.array([3, -7]),
    "three samples": np.array([3, -7, 4]),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_samples_come_back_exactly(name):
    samples = SIGNALS[name]
    if len(samples) == 2:  # no second difference to pack
        packed = lzw(struct.pack(">2h", *samples)[::2] + struct.pack(">2h", *samples)[1::2])
        chunk = struct.pack("<iHh", len(packed), 1, 0) + packed
    else:
        chunk = xli_chunk(samples)
    channels = unpack_xli(chunk * 3, len(samples), "r")
    assert len(channels) == 3
    for channel in channels:
        np.testing.assert_array_equal(channel, samples)


def test_long_channels_fill_the_table_of_codes():
    samples = np.random.default_rng(2).integers(-300, 300, 40_000)
    np.testing.assert_array_equal(unpack_xli(xli_chunk(samples), 40_000, "r")[0], samples)


# 1,295 bytes that would unpack to 500,000.
BOMB = struct.pack("<iHh", 1295, 1, 0) + lzw(bytes(500_000))
GOOD = xli_chunk(SIGNALS["walk"])


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (GOOD + GOOD[:5], "r, XLI channel 2: truncated: found 5 of 8 bytes of its header"),
        (GOOD[:-1], r"r, XLI channel 1: expected [\d,]+ bytes, as stated: found"),
        (struct.pack("<iHh", 2**31 - 1, 1, 0), r"channel 1: expected 2,147,483,647 bytes, as stated: found 0"),
        (struct.pack("<iHh", -8, 1, 0) + GOOD, "channel 1: expected -8 bytes, as stated"),
        (struct.pack("<iHh", 0, 1, 0) + GOOD, "channel 1: expected 0 bytes, as stated"),
        (GOOD + xli_chunk(np.arange(5499)), "channel 2: expected 11,000 bytes unpacked: found 10,998"),
        (xli_chunk(np.arange(5501)), "channel 1: expected 11,000 bytes unpacked: found more"),
        (struct.pack("<iHh", 2, 1, 0) + b"\xff\xfe", "channel 1: expected 11,000 bytes unpacked: found 0"),
        (struct.pack("<iHh", 4, 1, 0) + b"\x00\x11\x12\xff", "found code 273, which nothing before it explains"),
        (struct.pack("<iHh", 4, 1, 0) + b"\x40\x00\x00\x00", "found code 256, which nothing before it explains"),
        (bytes(MAX_XLI_BYTES + 1), "r: expected XLI of at most 2,000,000 bytes: found 2,000,001"),
    ],
)
def test_damage_is_refused_by_name(packed, reason):
    with pytest.raises(ValueError, match=reason):
        unpack_xli(packed, 5500, "r")


def test_samples_beyond_sixteen_bits_are_damage():
    content = np.full(5500, 200, ">u2").tobytes()
    packed = lzw(content[::2] + content[1::2])
    with pytest.raises(ValueError, match="damaged: expected samples of 16 bits: found -"):
        unpack_xli(struct.pack("<iHh", len(packed), 1, 0) + packed, 5500, "r")


@pytest.mark.parametrize(
    ("packed", "n_samples", "reason"),
    [
        (BOMB, 5500, "expected 11,000 bytes unpacked: found more"),
        (b"".join([xli_chunk(np.zeros(5500, int))] * 7000), 5500, "expected at most 64 XLI channels: found more"),
        (b"".join([xli_chunk(np.zeros(3, int))] * 100_000), 3, "expected at most 64 XLI channels: found more"),
        (GOOD * 64, 5_000_000, "channel 1: expected 10,000,000 bytes unpacked: found 11,000"),
        (GOOD, 6_000_001, "expected one ECG of at most 6,000,000 values: found 6,000,001"),
        (GOOD, 10**15, "expected one ECG of at most 6,000,000 values"),
    ],
)  # fmt: skip
def test_bombs_are_refused_in_time(packed, n_samples, reason):
    with time_limit("a bomb"), pytest.raises(ValueError, match=reason):
        unpack_xli(packed, n_samples, "r")


def test_any_bytes_are_samples_or_a_named_error():
    generator = np.random.default_rng(3)
    answers = 0
    with time_limit("two thousand damaged streams"):
        for _ in range(2000):
            packed = bytearray(xli_chunk(SIGNALS["walk"][:100]) * 2)
            for at in generator.integers(0, len(packed), generator.integers(1, 4)):
                packed[at] ^= 1 << int(generator.integers(8))
            try:
                channels = unpack_xli(bytes(packed), 100, "r")
            except ValueError as error:
                assert str(error).startswith("r")
                continue
            answers += 1
            assert {channel.shape for channel in channels} == {(100,)}
            assert np.abs(channels).max() <= 32768
    assert answers < 1000
