"""Budgets of one request: what a few kilobytes would unfold to is refused before, and in little memory."""

import gzip
import io
import mmap
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from modeling_ecgclip import limits_ecgclip
from modeling_ecgclip.limits_ecgclip import (
    MAX_REQUEST_ECGS,
    MAX_REQUEST_PRODUCTS,
    MAX_REQUEST_STEPS,
    MAX_REQUEST_UNPACKED_BYTES,
    MAX_REQUEST_VALUES,
    MAX_SAMPLE_MV,
    MAX_UNPACKED_BYTES,
    MAX_VALUES,
    TooLargeError,
    check_samples,
    check_values,
    one_request,
    spend_products,
    spend_steps,
    spend_unpacked,
)
from modeling_ecgclip.requests_ecgclip import RequestError, read_inputs, read_json
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from tests.modeling_ecgclip.fuzzing import in_little_memory


STATED = {"sampling_rate": 500, "unit": "mV"}
NAMES = ",".join(LEAD_NAMES).encode()
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


def test_the_documentation_states_them():
    page = (Path(__file__).parents[2] / "docs" / "endpoint.md").read_text(encoding="utf-8")
    section = page.partition("## Limits")[2]
    names = ("UNPACKED_BYTES", "REQUEST_UNPACKED_BYTES", "REQUEST_STEPS", "REQUEST_PRODUCTS", "REQUEST_LISTS")
    for name in (*names, "REQUEST_TEXTS", "REQUEST_DICTIONARIES"):
        assert f"{getattr(limits_ecgclip, f'MAX_{name}'):,}" in section, name


class TestSamples:
    @pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint8, np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("per_mv", [1.0, 1000.0, 0.001])
    def test_one_beyond_the_limit_is_refused(self, dtype, per_mv):
        limit = MAX_SAMPLE_MV * per_mv
        signal = np.zeros((12, 100), dtype=dtype)
        check_samples(signal, per_mv, "ECG")
        check_samples(signal[:, :0], per_mv, "ECG")
        highest = float(np.finfo(dtype).max if signal.dtype.kind == "f" else np.iinfo(dtype).max)
        for beyond in (2 * limit, *([-2 * limit] if signal.dtype.kind != "u" else [])):
            if abs(beyond) <= highest:
                signal[3, 50] = beyond
                with pytest.raises(ValueError, match="^ECG: expected samples below 1e\\+06 mV"):
                    check_samples(signal, per_mv, "ECG")

    def test_the_limit_itself_and_what_is_no_number_are_left(self):
        signal = np.array([[np.nan, MAX_SAMPLE_MV, 0.0], [np.inf, -np.inf, -MAX_SAMPLE_MV]])
        check_samples(signal, 1.0, "ECG")
        check_samples(signal[:, 1:], 1.0, "ECG")
        with pytest.raises(ValueError, match="larger"):
            check_samples(signal * 1.001, 1.0, "ECG")


class TestSpending:
    @pytest.mark.parametrize(
        ("spend", "limit"),
        [
            (spend_unpacked, MAX_REQUEST_UNPACKED_BYTES),
            (spend_steps, MAX_REQUEST_STEPS),
            (spend_products, MAX_REQUEST_PRODUCTS),
        ],
    )
    def test_all_of_a_request_counts(self, spend, limit):
        with one_request():
            for _ in range(4):
                spend(limit // 4, "a")
            spend(limit % 4, "a")
            with pytest.raises(TooLargeError, match=r"^bed 4: expected fewer .* found 1 more where 0 are left"):
                spend(1, "bed 4")
        with one_request():  # and begins anew
            spend(limit // 4, "a")

    def test_a_file_alone_has_only_its_own_limit(self):
        for _ in range(5):
            spend_unpacked(MAX_UNPACKED_BYTES, "a")
            spend_steps(MAX_REQUEST_STEPS, "a")
        with pytest.raises(TooLargeError, match=r"^a: expected at most 67,108,864 bytes unpacked: found 67,108,865"):
            spend_unpacked(MAX_UNPACKED_BYTES + 1, "a")

    def test_an_error_leaves_no_request_behind(self):
        with pytest.raises(TooLargeError), one_request():
            spend_steps(MAX_REQUEST_STEPS + 1, "a")
        spend_steps(MAX_REQUEST_STEPS + 1, "a")

    def test_a_request_of_the_allowed_values_fits(self):
        assert 8 * MAX_REQUEST_VALUES < MAX_UNPACKED_BYTES < MAX_REQUEST_UNPACKED_BYTES
        assert 8 * MAX_VALUES < MAX_UNPACKED_BYTES

    @pytest.mark.parametrize("shape", [(10**3000, 10**3000), (6_000_001,), (2**62, 4)])
    def test_sizes_beyond_measure_have_a_name(self, shape):
        with pytest.raises(ValueError, match=r"^a: expected one ECG of at most 6,000,000 values: found ") as caught:
            check_values(shape, "a")
        assert len(str(caught.value)) < 300


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def hdf5_of_many_ids():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        ids = np.arange(2_000_000)
        file.create_dataset(
            "exam_id", data=ids, compression="gzip", compression_opts=9, shuffle=True, chunks=(100_000,)
        )
        tracings = file.create_dataset(
            "tracings", (len(ids), 4096, 12), "f4", chunks=(1, 4096, 12), compression="gzip"
        )
        tracings[7] = 1
    return buffer.getvalue()


def wfdb_line(name, lead="I"):
    return f"{name} 16 200/mV 16 0 0 0 0 {lead}\n"


def wfdb_of_a_gap():
    """One lead and 63 other channels, ten samples of each and a gap of 90,000."""
    channels = ["I", *(f"X{i}" for i in range(63))]
    return zipped(
        {
            "m.hea": "m/3 64 500 90010\nl 0\ns 10\n~ 90000\n",
            "l.hea": "l 64 500 0\n" + "".join(wfdb_line("~", lead).replace("~ 16", "~ 0") for lead in channels),
            "s.hea": "s 64 500 10\n" + "".join(wfdb_line("s.dat", lead) for lead in channels),
            "s.dat": bytes(64 * 10 * 2),
        }
    )


def wfdb_of_many_segments():
    lines = "".join(f"s{i} 10\n" for i in range(400))
    headers = {f"s{i}.hea": f"s{i} 1 500 10\n{wfdb_line('d.dat')}" for i in range(400)}
    return zipped({"m.hea": f"m/400 1 500 4000\n{lines}", **headers, "d.dat": bytes(20)})


def dicom_deflated():
    head = bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", 22) + b"1.2.840.10008.1.2.1.99"
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sHI", 9, 1, b"OB", 0, 60_000_000)
    return head + packer.compress(element + bytes(60_000_000)) + packer.flush()


def rows(n_rows, row):
    return NAMES + b"\n" + b"1,2,1,1,1,1,1,1,1,1,1,1\n" + (row + b"\n") * n_rows


UNPACKED = r"TooLarge: inputs\[\d+\].*: expected fewer bytes unpacked in all ECGs"
STEPS = r"TooLarge: inputs\[\d+\].*: expected fewer steps .* in all ECGs"
# Content, how often, settings, how many megabytes may be taken until it is refused, and why it is.
ATTACKS = {
    "HDF5 of two million ids": (hdf5_of_many_ids, 16, {"exam_id": 7}, 60, UNPACKED),
    "npz of long names": (
        lambda: zipped({"ecg.npy": npy(np.ones((12, 9))), "leads.npy": npy(np.array(LEAD_NAMES, "U300000"))}),
        16,
        STATED,
        40,
        r"InvalidEcg: inputs\[0\].npz: leads.npy: expected a smaller array: found shape \(12,\) of dtype <U300000",
    ),
    "npz of channels that are no leads": (
        lambda: zipped({"ecg.npy": npy(np.zeros((4, 1_000_000))), "leads.npy": npy(np.array([*"IXYZ"]))}),
        16,
        STATED,
        200,
        UNPACKED,
    ),
    "WFDB of a gap": (wfdb_of_a_gap, MAX_REQUEST_ECGS, {}, 220, UNPACKED),
    "WFDB of many segments": (wfdb_of_many_segments, MAX_REQUEST_ECGS, {}, 60, STEPS),
    "table of blank cells": (lambda: rows(20_000, b"," * 11), 100, STATED, 120, STEPS),
    "XML in gzip": (
        lambda: gzip.compress(b"<RestingECG>" + b" " * 31_000_000 + b"</RestingECG>"),
        1,
        {},
        90,
        "InvalidEcg: .* expected one rhythm waveform",
    ),
    "XML in gzip, wide characters": (
        lambda: gzip.compress("\n<RestingECG>\U0001f600".encode() + b" " * 31_000_000 + b"</RestingECG>"),
        1,
        {},
        90,
        "InvalidEcg: .* expected one rhythm waveform",
    ),
    "DICOM deflated": (dicom_deflated, 1, {}, 150, "InvalidEcg: .* expected an ECG waveform"),
}


@needs_proc
@pytest.mark.parametrize("name", ATTACKS)
def test_a_few_kilobytes_take_little_memory(name, monkeypatch):
    make, times, settings, megabytes, reason = ATTACKS[name]
    monkeypatch.setattr(limits_ecgclip, "MAX_REQUEST_STEPS", MAX_REQUEST_STEPS // 10)  # so as to be there sooner
    content = make()
    assert len(content) < 300_000

    def work():
        try:
            read_inputs([content] * times, settings)
        except RequestError as error:
            return f"{error.error_type}: {error}"
        return "answered"

    assert re.match(reason, in_little_memory(work, megabytes * 1_000_000))


@needs_proc
def test_the_limit_of_memory_is_one():
    # Pages of their own: what this process has freed before could be taken again, and is no more than it has.
    assert in_little_memory(lambda: str(len(mmap.mmap(-1, 50_000_000))), 80_000_000) == "50000000"
    assert in_little_memory(lambda: str(len(mmap.mmap(-1, 90_000_000))), 80_000_000) == "OSError"


class TestRates:
    """What all ECGs take to be resampled is counted before any is."""

    def ecg(self, n, rate):
        return {"ecg": np.arange(n, dtype=np.int8).reshape(1, n) % 7, "lead_names": ["I"], "unit": "mV"} | {
            "sampling_rate": rate
        }

    def test_an_odd_rate_is_as_good_as_another(self):
        assert len(read_inputs([self.ecg(10_000, 997.001)] * MAX_REQUEST_ECGS, {})[0]) == MAX_REQUEST_ECGS

    def test_too_much_in_all(self):
        with pytest.raises(RequestError, match=r"^inputs\[\d+\]: expected fewer products for resampling") as caught:
            read_inputs([self.ecg(36_000, 10.0003)] * MAX_REQUEST_ECGS, {})
        assert caught.value.error_type == "TooLarge"
        # A model of that rate has nothing to do.
        assert len(read_inputs([self.ecg(36_000, 10.0003)] * 40, {}, target_rate=10.0003)[0]) == 40


class TestJson:
    def test_what_it_holds(self):
        body = '{"inputs": [[[1, 2.5, null]]], "parameters": {"unit": "mV \\" [[[{{{,,, \\\\"}}'
        expected = {"inputs": [[[1, 2.5, None]]], "parameters": {"unit": 'mV " [[[{{{,,, \\'}}
        assert read_json(body.encode()) == expected
        assert read_json(b"\xef\xbb\xbf" + body.encode()) == expected

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            (b"[" + b"[0]," * 1_000_000 + b"0]", "1,000,000 lists in JSON: found 1,000,001"),
            (b"[" * 1_000_001, "1,000,000 lists"),
            (b"[" + b"{}," * 1_001 + b"0]", "1,000 dictionaries in JSON: found 1,001"),
            (b"[" + b"0," * 9_000_001 + b"0]", "9,000,000 values in JSON: found 9,000,001"),
            (b"[" + b'"a",' * 100_001 + b"0]", "100,000 texts in JSON: found 100,001"),
            # A text that ends in a backslash does not hide its end, nor what follows.
            (b'["\\\\",' + b"{}," * 1_001 + b'"\\\\"]', "1,000 dictionaries in JSON: found 1,001"),
            (b"[" + b'"\\\\",' * 100_001 + b"0]", "100,000 texts in JSON: found 100,001"),
        ],
        ids=["lists", "open lists", "dictionaries", "values", "texts", "behind a backslash", "of a backslash"],
    )
    def test_more_than_a_request_has_is_refused_before_it_is_parsed(self, monkeypatch, body, what):
        monkeypatch.setattr("json.loads", lambda *_: pytest.fail("parsed"))
        with pytest.raises(RequestError, match=what) as caught:
            read_json(body)
        assert caught.value.error_type == "TooLarge"

    def test_signs_within_texts_are_no_lists(self):
        table = "[{," * 1_000_000
        assert read_json(f'["{table}"]'.encode()) == [table]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff\xfe[\x000\x00]\x00", b'"\xff"', b"[" * 200_000, b"1" * 5000, b'{"a" 1}']
    )
    def test_what_is_none(self, body):
        assert sys.getrecursionlimit() < 200_000
        with pytest.raises(RequestError) as caught:
            read_json(body)
        assert caught.value.error_type == "InvalidRequest"

    @needs_proc
    def test_a_body_of_lists_takes_no_more_than_a_few_times_its_size(self):
        body = b'{"inputs":[' + b"[0]," * 8_000_000 + b"[0]]}"

        def work():
            with pytest.raises(RequestError):
                read_json(body)
            return "refused"

        assert in_little_memory(work, 3 * len(body)) == "refused"
