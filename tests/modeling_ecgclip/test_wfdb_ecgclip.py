"""WFDB records."""

import numpy as np
import pytest
import wfdb

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from modeling_ecgclip.reading_ecgclip import read_ecg


@pytest.mark.parametrize("ending", ["", ".hea", ".dat"])
def test_path_with_and_without_ending(wfdb_record, ecg, ending):
    record = read_ecg(str(wfdb_record) + ending)
    np.testing.assert_allclose(record.signal, ecg / 1000, atol=1e-9)  # the last channel was in microvolts
    assert (record.sampling_rate, record.unit) == (500, "mV")
    assert record.lead_names == ("DI", *LEAD_NAMES[1:])
    assert record.name.endswith("rec1")


def test_missing_signal_file(wfdb_record):
    wfdb_record.with_name("rec1.dat").unlink()
    with pytest.raises(FileNotFoundError, match=r"rec1: the header names a signal file that is missing"):
        read_ecg(wfdb_record)


def test_truncated_signal_file(wfdb_record):
    data = wfdb_record.with_name("rec1.dat")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"rec1: not a readable WFDB record"):
        read_ecg(wfdb_record)


def test_channel_that_is_no_voltage(tmp_path):
    wfdb.wrsamp(
        "resp", 500, ["pm"], ["RESP"], np.ones((100, 1)) * 0.5, fmt=["16"], adc_gain=[1.0], baseline=[0],
        write_dir=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(ValueError, match="resp, channel 0: unknown unit 'pm'"):
        read_ecg(tmp_path / "resp")


def test_ptbxl(sample_data):
    record = read_ecg(sample_data / "ptbxl_sample/records500/00000/00001_hr")
    assert record.signal.shape == (12, 5000)
    assert record.signal[0, 0] == pytest.approx(-0.115)  # first value of the header
