"""SCP-ECG: every way of storing a rhythm gives its samples back; what contradicts itself is refused."""

import struct

import numpy as np
import pytest

from modeling_ecgclip.scp_decoding_ecgclip import Zone, stored_length, undo_thinning
from modeling_ecgclip.scp_ecgclip import is_scp, read_scp
from tests.modeling_ecgclip.recorder_files import (
    LEADS,
    SECRETS,
    differences,
    huffman,
    known_codes,
    metadata_of,
    scp_file,
    scp_leads,
    scp_rhythm,
    scp_simple,
    thin,
)


DEFAULT = struct.pack("<H", 19_999)


@pytest.fixture(scope="module")
def codes():
    return known_codes()


def read(folder, data, name="a.scp"):
    path = folder / name
    path.write_bytes(data)
    return read_scp(path)


def custom_tables():
    """Two tables: the first has the numbers -1 to 1 and a switch to the second, of 8 and 16 bits, which goes back."""
    rows = [[(1, 1, 1, 0, "0"), (3, 3, 1, 1, "100"), (3, 3, 1, -1, "101"), (2, 2, 0, 2, "11")]]
    rows += [[(2, 10, 1, 0, "00"), (2, 18, 1, 100, "01"), (1, 1, 0, 1, "1")]]
    data = struct.pack("<H", 2)
    for table in rows:
        data += struct.pack("<H", len(table))
        for prefix_bits, total, mode, value, prefix in table:
            data += struct.pack("<BBBhI", prefix_bits, total, mode, value, int(prefix[::-1], 2))
    return data


def custom_stream(values):
    text = ""
    for value in map(int, values):
        if -1 <= value <= 1:
            text += {0: "0", 1: "100", -1: "101"}[value]
        elif -128 <= value < 128:
            text += "11" + "00" + f"{value & 0xFF:08b}" + "1"
        else:
            text += "11" + "01" + f"{value - 100 & 0xFFFF:016b}" + "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


@pytest.mark.parametrize("table", [DEFAULT, struct.pack("<H", 0), b""])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_samples_come_back(codes, tmp_path, table, order):
    if table == DEFAULT or not table:
        data = scp_simple(codes, order=order, table=table)
    else:
        data = scp_simple(codes, order=order, table=b"", s2=table)
    record = read(tmp_path, data)
    assert np.array_equal(record.signal, codes * 2.5)
    assert record.lead_names == LEADS
    assert (record.sampling_rate, record.unit, record.name) == (500.0, "uV", str(tmp_path / "a.scp"))


def test_differences_of_the_whole_range_wrap(tmp_path):
    codes = np.array([[32767, -32768, 32767, 0, -32768, 5, 5, 5]], np.int16)
    for order in (1, 2):
        assert np.array_equal(read(tmp_path, scp_simple(codes, order=order)).signal, codes * 2.5)


def test_custom_tables_and_their_switch(codes, tmp_path):
    streams = [custom_stream(differences(lead, 1)) for lead in codes]
    data = scp_simple(codes, s2=custom_tables(), s6=scp_rhythm(streams, 2500, 2000, 1))
    assert np.array_equal(read(tmp_path, data).signal, codes * 2.5)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_thinned_samples(codes, tmp_path, factor):
    """Even outside of the protected zones, a signal comes back; the zones come back whatever it is."""
    zones = [(100, 219), (403, 511)]
    codes = codes.copy()
    for first, end in ((0, 100), (220, 403), (512, codes.shape[1])):
        codes[:, first:end] = codes[:, first : first + 1]
    streams = [huffman(differences(thin(lead, zones, factor), 2)) for lead in codes]
    beats = b"".join(struct.pack("<HIII", 1, 0, 150 + 300 * i, 0) for i in range(2))
    beats += b"".join(struct.pack("<II", first + 1, last + 1) for first, last in zones)
    data = scp_simple(
        codes,
        s4=struct.pack("<HHH", 0, 0, 2) + beats,
        s5=scp_rhythm([b""] * 12, 2500, 2000, 2),
        s6=scp_rhythm(streams, 2500, 2000 * factor, 2, thinned=1),
    )
    record = read(tmp_path, data)
    assert np.array_equal(record.signal, codes * 2.5)
    assert record.sampling_rate == 500.0


def test_a_straight_line_lies_between_thinned_samples():
    assert undo_thinning(np.array([0, 8]), 8, [], 4).tolist() == [0, 0, 0, 2, 4, 6, 8, 8]
    zones = [Zone(0, 1), Zone(7, 7)]
    assert stored_length(10, zones, 4) == 2 + 1 + 1 + 1 + 2
    assert undo_thinning(np.array([1, 2, 9, 3, 4, 5, 6]), 10, zones, 4).tolist() == [1, 2, 9, 9, 9, 9, 3, 4, 5, 6]


def test_the_reference_beat_is_added_where_it_was_subtracted(codes, tmp_path):
    beat = known_codes(120, seed=3) // 4
    fiducial, rows, rest = 50, [], codes.astype(np.int64)
    # The last one is of another type: nothing was subtracted there. The first begins before the recording.
    for kind, middle in ((0, 20), (0, 300), (0, 700), (1, 850)):
        first, last = max(1, middle - 40), middle + 60
        rows.append(struct.pack("<HIII", kind, first, middle, last))
        if kind == 0:
            rest[:, first - 1 : last] -= 2 * beat[:, fiducial - middle + first - 1 :][:, : last - first + 1]
    streams = [huffman(differences(lead.astype(np.int16), 2)) for lead in rest]
    data = scp_simple(
        codes,
        s3=scp_leads([(1, codes.shape[1])] * 12, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), flags=0x05),
        s4=struct.pack("<HHH", 240, fiducial, 4) + b"".join(rows),
        s5=scp_rhythm([huffman(differences(lead, 1)) for lead in beat], 2000, 2000, 1),
        s6=scp_rhythm(streams, 1000, 2000, 2),
    )
    assert np.array_equal(read(tmp_path, data).signal, codes * 1.0)


def test_leads_of_other_times_are_missing_there(codes, tmp_path):
    ranges = [(1, 500)] * 6 + [(501, 1000)] * 6
    streams = [
        huffman(differences(lead[first - 1 : last], 2)) for lead, (first, last) in zip(codes, ranges, strict=True)
    ]
    data = scp_simple(
        codes, s3=scp_leads(ranges, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)), s6=scp_rhythm(streams, 2500, 2000, 2)
    )
    signal = read(tmp_path, data).signal
    assert np.isnan(signal[:6, 500:]).all() and np.isnan(signal[6:, :500]).all()
    assert np.array_equal(signal[:6, :500], codes[:6, :500] * 2.5)
    assert np.array_equal(signal[6:, 500:], codes[6:, 500:] * 2.5)


@pytest.mark.parametrize(
    ("interval", "rate"), [(2000, 500.0), (3333, 300.0), (1666, 600.0), (1667, 600.0), (1000, 1000.0)]
)
def test_rates_of_rounded_intervals(codes, tmp_path, interval, rate):
    assert read(tmp_path, scp_simple(codes, interval=interval)).sampling_rate == rate


def test_what_the_file_says_of_patient_and_device(codes, tmp_path):
    blocks = struct.pack("<BBHH", 1, 0, 900, 29_999) + struct.pack("<5H3h", 286, 388, 434, 554, 854, 44, -61, 999)
    statement = b"\0" + struct.pack("<HB", 2002, 11) + b"\x16\x09\x0a\0\x03"
    for i, text in enumerate((b"Sinus rhythm\0", b"Seen by Zenobia\0", b"At Ospedale Galliera\0")):
        statement += struct.pack("<BH", i, len(text)) + text
    record = read(tmp_path, scp_simple(codes, s7=blocks + b"\0\0" + struct.pack("<3H", 67, 0, 443), s8=statement))
    assert record.metadata == metadata_of(
        "SCP-ECG",
        device={"manufacturer": "Maker", "model": "ELI9"},
        measurements={
            "rr_interval_ms": 900.0,
            "p_duration_ms": 102.0,
            "pr_interval_ms": 148.0,
            "qrs_duration_ms": 120.0,
            "qt_interval_ms": 420.0,
            "p_axis_deg": 44.0,
            "qrs_axis_deg": -61.0,
            "heart_rate_bpm": 67.0,
            "qtc_interval_ms": 443.0,
        },
        statements=["Sinus rhythm"],
        statements_withheld=2,
        age_years=49,
        sex="female",
        filters={"highpass_hz": 0.05, "lowpass_hz": 150, "notch_hz": 50},
    )
    assert not [secret for secret in SECRETS if secret.lower() in repr(record.metadata).lower()]


def test_refusals_name_file_and_reason(codes, tmp_path):
    good = scp_simple(codes)
    leads = scp_leads([(1, 1000)] * 12, range(1, 13))
    cases = {
        "not an SCP-ECG file": b"no such thing" * 50,
        "damaged: expected the checksum": good[:500] + b"\x55" + good[501:],
        "truncated, or too long": good[:-2],
        "section 6, the rhythm": scp_file({3: leads}),
        "section 3, the leads": scp_file({6: b"\1" * 50}),
        "a resolution and an interval": scp_simple(codes, nanovolts=0),
        "expected 1,000 samples: found": scp_simple(codes, s6=scp_rhythm([b"\xff"] * 12, 2500, 2000, 2)),
        "1 to 64 leads": scp_simple(codes, s3=scp_leads([(1, 1)] * 65, range(65))),
        "samples of every lead": scp_simple(codes, s3=scp_leads([(2, 1)] * 12, range(12))),
        "at most 6,000,000 values": scp_simple(codes, s3=scp_leads([(1, 4_000_000_000)] * 12, range(12))),
        "at most 2,000,000 coded samples": scp_simple(codes, s3=scp_leads([(1, 400_000)] * 12, range(12))),
        "sections 4 and 5": scp_simple(codes, s3=scp_leads([(1, 1000)] * 12, range(12), flags=5)),
        "at most 8 Huffman tables": scp_simple(codes, s2=struct.pack("<H", 9)),
        "none begins another": scp_simple(
            codes,
            s2=struct.pack("<HH", 1, 2) + struct.pack("<BBBhI", 1, 1, 1, 0, 0) + struct.pack("<BBBhI", 2, 2, 1, 0, 0),
        ),
        "expected samples, first or second differences": scp_simple(codes, s6=scp_rhythm([b"\0" * 200] * 12, 1, 1, 3)),
    }
    for reason, data in cases.items():
        with pytest.raises(ValueError, match="refused.scp") as caught:
            read(tmp_path, data, "refused.scp")
        assert reason in str(caught.value)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_scp(tmp_path / "absent.scp")
    assert is_scp(good[:32]) and not is_scp(good[:31]) and not is_scp(bytes(64))


def test_real_file(sample_data):
    path = sample_data / "vendor" / "ecgtoolkit_Example.scp"
    if not path.is_file():
        pytest.skip(f"{path} not found")
    record = read_scp(path)
    leads = dict(zip(record.lead_names, record.signal, strict=True))
    assert record.signal.shape == (12, 5000) and record.sampling_rate == 500.0 and record.unit == "uV"
    assert np.abs(leads["I"] + leads["III"] - leads["II"]).max() <= 2.5  # one code
    assert np.abs(leads["aVR"] + leads["aVL"] + leads["aVF"]).max() <= 2.5
    assert record.metadata["measurements"]["qrs_duration_ms"] == 120
    assert record.metadata["age_years"] == 49.0 and record.metadata["sex"] == "male"
    for secret in ("Clark", "SBJ-123", "1953", "2002"):
        assert secret not in repr(record.metadata)
