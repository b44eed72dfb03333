"""Reads ISHNE Holter recordings (`.ecg`; Badilini 1998).

Own reader: the header has one fixed layout, and ishneholterlib was last touched in 2020.
"""

import binascii
from pathlib import Path
from typing import Any

import numpy as np

from .binary_ecgclip import age_in_years, clean_text, make_metadata, read_whole, unpack
from .limits_ecgclip import check_values
from .record_ecgclip import EcgRecord


_MAGIC = b"ISHNE1.0"
_HEADER_BYTES = 522  # magic, checksum, and 512 bytes of fields
_LEADS = {2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF"}
_LEADS |= {**{code: f"V{code - 10}" for code in range(11, 17)}, 17: "ES", 18: "AS", 19: "AI"}
_MAX_LEADS = 12
_FAULT = -32768  # a sample without contact


def is_ishne(head: bytes) -> bool:
    """Whether a file that begins with `head` (8 bytes suffice) is an ISHNE Holter recording."""
    return head[:8] == _MAGIC


def read_ishne(path: str | Path) -> EcgRecord:
    """
    Returns an ISHNE Holter recording in microvolts; samples without contact are NaN.

    Returns:
        [`EcgRecord`] with `signal` float64 `(leads, samples)`; leads that the file does not name are `""`.

    Raises:
        `FileNotFoundError`: where there is no such file.
        `ValueError`: for a damaged or truncated file, or one whose lead states no resolution.
    """
    name = str(path)
    data = read_whole(path)
    if not is_ishne(data):
        raise ValueError(f"{name}: not an ISHNE Holter recording: expected {_MAGIC!r}: found {data[:8]!r}")
    checksum, comment_bytes, stated, _, start = unpack("<H4i", data, 8, name)
    if start != _HEADER_BYTES + comment_bytes or comment_bytes < 0 or start > len(data):
        raise ValueError(
            f"{name}: expected samples behind a header of {_HEADER_BYTES} bytes and {comment_bytes:,} bytes of text: "
            f"found byte {start:,} of {len(data):,}"
        )
    computed = binascii.crc_hqx(data[10:start], 0xFFFF)
    # The standard does not say which byte comes first; writers that compute none store 0.
    if checksum not in (0, computed, computed >> 8 | (computed & 0xFF) << 8):
        raise ValueError(
            f"{name}: the header is damaged: expected the checksum {checksum:#06x}: found {computed:#06x}"
        )
    n_leads, *fields = unpack("<h36h", data, 156, name)
    codes, resolutions = fields[:_MAX_LEADS], fields[2 * _MAX_LEADS :]
    (rate,) = unpack("<h", data, 272, name)
    if not 1 <= n_leads <= _MAX_LEADS or rate <= 0:
        raise ValueError(f"{name}: expected 1 to {_MAX_LEADS} leads at more than 0 Hz: found {n_leads} at {rate} Hz")
    if min(resolutions[:n_leads]) <= 0:
        raise ValueError(f"{name}: expected a resolution in nV of every lead: found {resolutions[:n_leads]}")
    signal = _signal(data, start, n_leads, stated, name)
    signal *= np.array(resolutions[:n_leads])[:, None] / 1000  # nV
    names = tuple(_LEADS.get(code, "") for code in codes[:n_leads])
    return EcgRecord(signal, float(rate), names if any(names) else None, "uV", name, _metadata(data, name))


def _signal(data: bytes, start: int, n_leads: int, stated: int, name: str) -> np.ndarray:
    """float64 (leads, samples) in units of the resolution."""
    held = len(data) - start
    n_samples = held // (2 * n_leads)
    # The standard counts samples of a lead; some writers count those of all leads together.
    if held == 0 or held % (2 * n_leads) or stated not in (n_samples, n_samples * n_leads):
        raise ValueError(
            f"{name}: truncated, or its sizes contradict each other: expected {stated:,} samples of {n_leads} leads: "
            f"found {held:,} bytes"
        )
    check_values((n_leads, n_samples), name)
    codes = np.frombuffer(data, "<i2", offset=start).reshape(n_samples, n_leads).T
    signal = codes.astype(np.float64)
    signal[codes == _FAULT] = np.nan
    return signal


def _metadata(data: bytes, name: str) -> dict[str, Any]:
    (sex,) = unpack("<h", data, 128, name)
    birth, recorded = unpack("<3h", data, 132, name)[::-1], unpack("<3h", data, 138, name)[::-1]
    identity = [clean_text(data[at : at + size]) for at, size in ((28, 40), (68, 40), (108, 20))]
    return make_metadata(
        "ISHNE",
        name,
        identity,
        device={"model": clean_text(data[232:272])},
        age_years=age_in_years((birth[0], birth[1], birth[2]), (recorded[0], recorded[1], recorded[2])),
        sex={1: "male", 2: "female"}.get(sex, ""),
    )


__all__ = ["is_ishne", "read_ishne"]
