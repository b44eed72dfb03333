"""Signal files of WFDB records: whole numbers in, bytes out."""

import numpy as np


BITS = {8: 7, 16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10, 508: 8, 516: 16, 524: 24}


def packed(steps, fmt):
    """Contents of a signal file, by the words of the format's description."""
    flat = steps.ravel().astype(np.int64)
    if fmt == 8:
        return np.diff(steps, axis=0, prepend=steps[:1]).astype(np.int8).tobytes()
    if fmt in (16, 32, 61):
        return flat.astype({16: "<i2", 32: "<i4", 61: ">i2"}[fmt]).tobytes()
    if fmt == 24:
        return flat.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if fmt in (80, 160):
        return (flat + 2 ** (BITS[fmt] - 1)).astype({80: "u1", 160: "<u2"}[fmt]).tobytes()
    per_block = {212: 2, 310: 3, 311: 3}[fmt]
    flat = np.concatenate([flat, np.zeros(-len(flat) % per_block, np.int64)]).reshape(-1, per_block) % 2 ** BITS[fmt]
    content = bytearray()
    for block in flat.tolist():
        if fmt == 212:
            first, second = block
            content += bytes([first & 255, first >> 8 | second >> 8 << 4, second & 255])
        elif fmt == 310:
            first, second, third = block
            for word in (first << 1 | (third & 31) << 11, second << 1 | third >> 5 << 11):
                content += word.to_bytes(2, "little")
        else:
            content += (block[0] | block[1] << 10 | block[2] << 20).to_bytes(4, "little")
    return bytes(content)
