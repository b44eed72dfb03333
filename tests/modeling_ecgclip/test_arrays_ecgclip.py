"""Arrays of callers: what counts as real numbers."""

import numpy as np
import pytest
import torch

from modeling_ecgclip.arrays_ecgclip import real_numbers
from modeling_ecgclip.reading_ecgclip import read_ecg


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"ecg": x}], ids=["array", "dictionary"])
def test_masked_samples_are_nan(dtype, wrap):
    values = np.arange(2, 26).reshape(2, 12).astype(dtype)
    masked = np.ma.array(values, mask=values % 5 == 0)
    signal = read_ecg(wrap(masked)).signal
    assert type(signal) is np.ndarray and signal.dtype.kind == "f"
    np.testing.assert_array_equal(signal, np.where(values % 5 == 0, np.nan, values.astype(float)))
    nothing_masked = read_ecg(wrap(np.ma.array(values))).signal
    assert nothing_masked.dtype == dtype and type(nothing_masked) is np.ndarray
    np.testing.assert_array_equal(nothing_masked, values)


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int64, torch.float16, torch.bfloat16, torch.float32],
)
def test_tensors_of_numbers(dtype):
    tensor = torch.arange(24).reshape(2, 12).to(dtype)
    np.testing.assert_array_equal(read_ecg(tensor).signal, np.arange(24).reshape(2, 12))


def test_tensors_that_need_gradients():
    assert read_ecg(torch.ones(2, 12, requires_grad=True)).signal.sum() == 24


@pytest.mark.parametrize(
    "ecg",
    [
        torch.zeros(12, 40, dtype=torch.bool),
        torch.zeros(12, 40, dtype=torch.complex64),
        torch.zeros(12, 40).to_sparse(),
        torch.zeros(12, 40, device="meta"),
        np.zeros((12, 40), dtype=bool),
        np.zeros((12, 40), dtype=complex),
        np.zeros((12, 40), dtype=object),
        np.full((12, 40), "0.1"),
        np.zeros((12, 40), dtype="M8[s]"),
        np.zeros((12, 40), dtype=[("a", "f4")]),
        np.ma.zeros((12, 40), dtype=bool),
    ],
    ids=lambda ecg: f"{type(ecg).__name__} of {ecg.dtype}",
)  # fmt: skip
def test_what_holds_no_real_numbers(ecg):
    for source in (ecg, {"ecg": ecg, "name": "ECG"}):
        with pytest.raises(TypeError, match="^ECG: an ECG must hold real numbers: found [^\n]*$"):
            read_ecg(source)


def test_lists_of_different_lengths():
    with pytest.raises(ValueError, match="bed 4: expected an array of numbers, all leads of one length"):
        real_numbers([[1, 2], [3]], "bed 4")
