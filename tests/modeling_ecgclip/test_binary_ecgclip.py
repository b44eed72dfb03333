"""What the readers of binary files share."""

import pytest

from modeling_ecgclip.binary_ecgclip import (
    age_in_years,
    clean_text,
    clean_texts,
    common_unit,
    cut,
    make_metadata,
    rate_of_interval,
    read_whole,
    standard_lead,
    unpack,
    voltage_unit,
)
from tests.modeling_ecgclip.recorder_files import metadata_of


@pytest.mark.parametrize(
    ("interval", "rate"),
    [(2000, 500.0), (3333, 300.0), (1666, 600.0), (3906, 256.0), (7813, 128.0), (1000, 1000.0), (250, 4000.0)],
)
def test_rates_of_rounded_intervals(interval, rate):
    assert rate_of_interval(interval) == rate


def test_units():
    assert [voltage_unit(text) for text in ("uV", " µV", "μv", "mV", "V", "nV")] == ["uv", "uv", "uv", "mv", "v", "nv"]
    assert [voltage_unit(text) for text in ("", "mmHg", "Vs", "%")] == [None] * 4
    assert common_unit(["mv", "mv"]) == ("mV", [1.0, 1.0])
    assert common_unit(["mv", "uv", "v", "nv"]) == ("uV", [1000.0, 1.0, 1_000_000.0, 0.001])
    assert common_unit(["nv"]) == ("uV", [0.001])


def test_leads():
    assert [standard_lead(text) for text in (" avr", "Lead V1", "DII", "V3R", "")] == ["aVR", "V1", "II", "V3R", ""]


def test_ages():
    assert age_in_years((1953, 5, 8), (2002, 5, 7)) == 48
    assert age_in_years((1953, 5, 8), (2002, 5, 8)) == 49
    assert age_in_years(None, (2002, 1, 1)) is None
    assert age_in_years((1953, 13, 8), (2002, 5, 8)) is None and age_in_years((0, 0, 0), (2002, 5, 8)) is None


def test_texts():
    assert clean_text(b" a\tb\x07 c\0secret") == "a b c" and clean_text(b"") == "" and clean_text(b"\0x") == ""
    assert clean_texts("ä\0\0b".encode("utf-16-le"), "utf-16-le") == ["ä", "b"]
    assert clean_text("ä\0b".encode("utf-16-le"), "utf-16-le") == "ä"


def test_bounds(tmp_path):
    assert unpack("<H", b"\1\2\3", 1, "x") == (0x302,) and cut(b"abc", 1, 2, "x", "y") == b"bc"
    for at in (-1, 2, 10**12):
        with pytest.raises(ValueError, match="x: truncated: expected 2 bytes"):
            unpack("<H", b"\1\2\3", at, "x")
    for at, size in ((0, 4), (-1, 1), (3, 1), (0, -1)):
        with pytest.raises(ValueError, match="x: truncated: expected a y"):
            cut(b"abc", at, size, "x", "a y")
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="at most 10 bytes: found a file of 11 bytes"):
        read_whole(tmp_path / "a", 10)


def test_texts_that_name_somebody_are_left_out():
    metadata = make_metadata(
        "X",
        "file",
        ["Quux-Baz^Zenobia", "SBJ-77", "X"],
        ["Ospedali Galliera"],
        ["Resp"],
        device={"model": "Recorder 9", "manufacturer": "QUUX"},
        measurements={"rr_interval_ms": 77.0},
        statements=[
            "Sinus rhythm, 77/min",
            "for Zenobia",
            "seen by Mrs. Baz",
            "id sbj-77.",
            "at Ospedali Galliera",
            "Ospedali",
            "Quuxian",
        ],
        sex="?",
    )
    assert metadata == metadata_of(
        "X",
        device={"model": "Recorder 9"},
        measurements={"rr_interval_ms": 77},
        statements=["Sinus rhythm, 77/min", "Ospedali", "Quuxian"],
        statements_withheld=4,
        channels_left_out=["Resp"],
    )
    assert len(make_metadata("X", "file", statements=["a" * 5000] * 900)["statements"]) == 200
