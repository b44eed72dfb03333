"""Names of leads and units, and what is no lead."""

import numpy as np
import pytest

from modeling_ecgclip.leads_ecgclip import canonical_lead_name, canonical_unit, known_unit, parse_lead_name
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


@pytest.mark.parametrize(
    ("pattern", "sign"),
    [
        ("{}", 1), (" {} ", 1), ("Lead {}", 1), ("LEAD_{}", 1), ("ECG {}", 1), ("ECG_{}", 1), ("EKG-{}", 1),
        ("ECG Lead {}", 1), ("MDC_ECG_LEAD_{}", 1), ("{}+", 1), ("{}-", 1), ("+{}", 1), ("-{}", -1), ("- {}", -1),
        ("\u2212{}", -1), ("ecg.lead.{}", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lead", LEAD_NAMES)
def test_spellings_of_every_lead(pattern, sign, lead):
    for spelled in (lead, lead.upper(), lead.lower()):
        assert parse_lead_name(pattern.format(spelled)) == (lead, sign)


def test_other_names():
    others = {"DI": "I", "dii": "II", "D3": "III", "C1": "V1", "c6": "V6", "ECG C4": "V4"}
    assert {name: canonical_lead_name(name) for name in others} == others
    assert [known_unit(unit) for unit in ("mv", "\u00b5V", "\u03bcV", "Volts", "NU", "", None, 3)] == [
        "mV", "uV", "uV", "V", None, None, None, None,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="bed 4: unknown unit 'bpm'"):
        canonical_unit("bpm", "bed 4")


@pytest.mark.parametrize(
    "name",
    [
        "vx",
        "V7",
        "V3R",
        "RESP",
        "MLII",
        "ECG",
        "ECG1",
        "Lead",
        "",
        "-",
        "--I",
        "aVRR",
        "VI",
        "C7",
        "I II",
        "MDC_ECG_LEAD_V8",
    ],
)
def test_what_is_no_standard_lead(name):
    assert parse_lead_name(name) is None
    with pytest.raises(ValueError, match="unknown lead name"):
        canonical_lead_name(name)


def test_an_inverted_lead_is_turned_by_the_reader_only():
    with pytest.raises(ValueError, match="lead '-aVR' is aVR upside down"):
        canonical_lead_name("-aVR")
    whole = np.array([[1, 2, 3], [-(2**15), 5, 6]], np.int16)
    names = ["I", "-aVR"]
    record = read_ecg(whole, lead_names=names)
    np.testing.assert_array_equal(record.signal, [[1, 2, 3], [2**15, -5, -6]])
    assert record.lead_names == ("I", "aVR") and "channels_left_out" not in record.metadata
    again = read_ecg(whole.T.astype(np.float32), lead_names=names)
    assert again.signal.dtype == np.float32
    np.testing.assert_array_equal(again.signal, record.signal.T)


@pytest.mark.parametrize("transposed", [False, True])
def test_other_channels_are_left_out_and_listed(transposed):
    signal = np.arange(4 * 9.0).reshape(4, 9)
    record = read_ecg(signal.T if transposed else signal, lead_names=["vx", "I", "RESP", "V7"])
    np.testing.assert_array_equal(record.signal, signal[1:2].T if transposed else signal[1:2])
    assert record.lead_names == ("I",) and record.metadata == {"channels_left_out": ("vx", "RESP", "V7")}
    # Where nothing is a lead, nothing is known to be another.
    assert read_ecg(signal, lead_names=list("abcd")).lead_names == tuple("abcd")


class TestCallersNames:
    """Beside names that the source states."""

    signal = np.arange(4 * 9.0).reshape(4, 9)

    def read(self, tmp_path, stated, given):
        np.savez(tmp_path / "a.npz", ecg=self.signal, lead_names=stated)
        return read_ecg(tmp_path / "a.npz", lead_names=given)

    @pytest.mark.parametrize(
        ("stated", "given"),
        [
            (["I", "II", "V1", "V2"], ["II", "I", "V1", "V2"]),
            (["I", "II", "V1", "V2"], ["I", "II", "V1", "V3"]),
            (["I", "II", "V1", "V2"], ["I", "II", "V1"]),
            (["I", "II", "V1", "V2"], ["I", "II", "V1", "x"]),
            (["I", "II", "x", "y"], ["II", "I", "V1", "V2"]),
            (["I", "II", "V1", "-V2"], ["I", "II", "V1", "V2"]),
            (["I", "II", "x", "y"], ["II", "I"]),
        ],
    )
    def test_contradictions(self, tmp_path, stated, given):
        with pytest.raises(ValueError, match="a.npz: the source names its leads .*; lead_names=.* contradicts it"):
            self.read(tmp_path, stated, given)

    @pytest.mark.parametrize(
        ("stated", "given", "names"),
        [
            (["I", "II", "V1", "V2"], ["DI", "Lead II", "C1", "v2"], ["DI", "Lead II", "C1", "v2"]),
            (["a", "b", "c", "d"], ["I", "II", "V1", "V2"], ["I", "II", "V1", "V2"]),
            (["I", "b", "V1", "d"], ["I", "II", "V1", "V2"], ["I", "II", "V1", "V2"]),
            (["I", "II", "vx", "vy"], ["I", "II"], ["I", "II"]),
        ],
    )
    def test_names_that_agree(self, tmp_path, stated, given, names):
        record = self.read(tmp_path, stated, given)
        assert list(record.lead_names) == names
        np.testing.assert_array_equal(record.signal, self.signal[: len(names)])
