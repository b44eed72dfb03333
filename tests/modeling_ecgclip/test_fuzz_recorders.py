"""Damaged files of recorders through their readers: each is refused by name, or read, in time."""

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
import scipy.io

from modeling_ecgclip.dicom_ecgclip import read_dicom
from modeling_ecgclip.edf_ecgclip import read_edf
from modeling_ecgclip.ishne_ecgclip import read_ishne
from modeling_ecgclip.limits_ecgclip import MAX_VALUES
from modeling_ecgclip.matlab_ecgclip import read_matlab
from modeling_ecgclip.mfer_ecgclip import read_mfer
from modeling_ecgclip.record_ecgclip import EcgRecord
from modeling_ecgclip.scp_ecgclip import read_scp
from tests.modeling_ecgclip.dicom_files import group, note, write_dicom
from tests.modeling_ecgclip.fuzzing import damage, time_limit
from tests.modeling_ecgclip.recorder_files import (
    differences,
    edf_simple,
    huffman,
    ishne_file,
    known_codes,
    matlab4,
    mfer_file,
    reseal_ishne,
    reseal_scp,
    scp_leads,
    scp_rhythm,
    scp_simple,
)


SEED = 20260502
VARIANTS = 40  # of each file here; once by hand, 1,000


def compressed_scp(codes):
    """Reference beat subtracted, and thinned to a half."""
    beats = b"".join(struct.pack("<HIII", 0, 80 + 200 * i, 100 + 200 * i, 139 + 200 * i) for i in range(4))
    beats += b"".join(struct.pack("<II", 80 + 200 * i, 139 + 200 * i) for i in range(4))
    streams = [huffman(differences(lead[: 60 * 4 + 380], 2)) for lead in codes]
    return scp_simple(
        codes,
        s3=scp_leads([(1, 1000)] * 12, range(1, 13), flags=5),
        s4=struct.pack("<HHH", 120, 20, 4) + beats,
        s5=scp_rhythm([huffman(differences(lead[:60], 2)) for lead in codes], 2500, 2000, 2),
        s6=scp_rhythm(streams, 2500, 4000, 2, thinned=1),
    )


def redeflate(data):
    """Damages a deflated data set within, and not its stream."""
    at = data.index(b"1.2.840.10008.1.2.1.99") + 22
    start = next(i for i in range(at, len(data)) if is_stream(data[i:]))
    return data[:start], zlib.decompress(data[start:], -15)


def is_stream(data):
    try:
        return len(zlib.decompressobj(-15).decompress(data, 1000)) == 1000
    except zlib.error:
        return False


def valid_files(folder):
    """Reader, bytes, and what makes a file of its damaged bytes, by name."""
    codes = known_codes()
    notes = [note("Sinus rhythm"), note(meaning="PR Interval", value=160)]
    beat = group(codes[:, :200], label="MEDIAN BEAT", originality="DERIVED")
    dicom = {
        syntax: write_dicom(folder / "a.dcm", [beat, group(codes)], syntax, notes, undefined=syntax == "explicit")
        .read_bytes()
        for syntax in ("implicit", "explicit", "deflated")
    }  # fmt: skip
    head, content = redeflate(dicom["deflated"])
    for name, compressed in (("plain", False), ("packed", True)):
        values = {"ECG": {"age": 50, "sex": "Male", "data": codes}, "fs": 500, "units": "uV"}
        scipy.io.savemat(folder / f"{name}.mat", values, do_compression=compressed)
    files = {
        "implicit.dcm": (read_dicom, dicom["implicit"], None),
        "explicit.dcm": (read_dicom, dicom["explicit"], None),
        "deflated.dcm": (read_dicom, content, lambda data: head + zlib.compress(data, 1, wbits=-15)),
        "huffman.scp": (read_scp, scp_simple(codes), reseal_scp),
        "plain.scp": (read_scp, scp_simple(codes, order=1, table=b""), reseal_scp),
        "compressed.scp": (read_scp, compressed_scp(codes), reseal_scp),
        "unsealed.scp": (read_scp, scp_simple(codes), None),
        "a.edf": (read_edf, edf_simple(codes), None),
        "gaps.edf": (read_edf, edf_simple(codes, kind="EDF+D", stamps=["+0", "+1", "+2", "+3"]), None),
        "a.ecg": (read_ishne, ishne_file(codes, comment=b"text"), reseal_ishne),
        "little.mwf": (read_mfer, mfer_file(codes, blocks=50, frames=2), None),
        "big.mwf": (read_mfer, mfer_file(codes, order=">"), None),
        "version4.mat": (read_matlab, matlab4({"val": codes}), None),
        "plain.mat": (read_matlab, (folder / "plain.mat").read_bytes(), None),
        "packed.mat": (read_matlab, (folder / "packed.mat").read_bytes(), None),
    }
    assert set(map(len, files.values())) == {3}
    return files


def outcomes(folder, variants, seed=SEED):
    """How many damaged files of each kind were read, and how many refused; anything else fails."""
    generator = np.random.default_rng(seed)
    found = Counter()
    for name, (read, content, finish) in valid_files(folder).items():
        path = folder / f"damaged-{name}"
        for i in range(variants + 1):
            data = content if i == 0 else damage(content, generator)
            path.write_bytes(finish(data) if finish else data)
            with time_limit(f"{name} {i}"), np.errstate(all="ignore"):
                try:
                    record = read(path)
                except ValueError as error:
                    assert i, (name, error)
                    assert f"damaged-{name}" in str(error) and len(str(error)) < 1000, (name, i, error)
                    found[name, "refused"] += 1
                    continue
            assert isinstance(record, EcgRecord) and record.signal.ndim == 2, (name, i)
            assert 0 < record.signal.size <= MAX_VALUES, (name, i)
            assert record.lead_names is None or len(record.lead_names) in record.signal.shape, (name, i)
            assert len(repr(record.metadata)) < 10_000, (name, i)
            found[name, "read"] += 1
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return outcomes(tmp_path_factory.mktemp("damaged"), VARIANTS)


def test_damaged_files_are_refused_or_read(counted):
    assert counted.total() == 15 * (VARIANTS + 1)
    refused = sum(count for (_, outcome), count in counted.items() if outcome == "refused")
    assert refused > 4 * VARIANTS and counted.total() - refused > 2 * VARIANTS


def test_a_file_with_a_checksum_is_refused_whatever_the_damage(counted):
    assert counted["unsealed.scp", "read"] == 1
