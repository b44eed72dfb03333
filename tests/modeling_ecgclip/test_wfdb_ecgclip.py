"""WFDB records."""

import numpy as np
import pytest
import wfdb

from modeling_ecgclip.leads_ecgclip import canonical_lead_name
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES
from modeling_ecgclip.wfdb_ecgclip import read_wfdb
from tests.modeling_ecgclip.wfdb_files import BITS, packed


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


NAMES = ["I", "II", "V1"]
N = 200


def steps_of(fmt, n_samples=N, seed=0):
    """(samples, 3) whole numbers over the whole range of a format; a few of them mean "lost"."""
    half = 2 ** (BITS[fmt] - 1)
    generator = np.random.default_rng(seed)
    if fmt == 8:  # differences have to fit into seven bits
        return generator.integers(-half, half, (n_samples, 3)).cumsum(axis=0)
    most = min(half, 2**23)  # what lies beyond is refused for its amplitude
    steps = generator.integers(-most, most, (n_samples, 3))
    steps[10:13, 1] = -half
    return steps


def line(steps, name, fmt=16, gain="200(5)/mV", file="r.dat", verified=True):
    """A header's line on a signal."""
    checksum = int(steps.sum() % 2**16) if verified else 0
    return f"{file} {fmt} {gain} 16 0 {int(steps[0]) if verified else 0} {checksum} 0 {name}"


def write(folder, steps, first="r 3 500 200", lines=None, fmt=16, content=None, **options):
    """Writes a record `r`; returns its path."""
    lines = lines or [line(one, name, fmt, **options) for one, name in zip(steps.T, NAMES, strict=True)]
    (folder / "r.hea").write_bytes("\n".join([first, *lines, ""]).encode())
    (folder / "r.dat").write_bytes(
        packed(steps, 16 if fmt in (508, 516, 524) else fmt) if content is None else content
    )
    return folder / "r"


def as_wfdb_reads(path, **options):
    """Millivolts (leads, samples) by other people's reader."""
    record = wfdb.rdrecord(str(path), **options)
    return record.p_signal.T if record.p_signal is not None else record.e_p_signal


class TestFormats:
    @pytest.mark.parametrize("fmt", [8, 16, 24, 32, 61, 80, 160, 212, 310, 311])
    @pytest.mark.parametrize("n_samples", [N, N + 1, N + 2])
    def test_all_that_are_not_compressed(self, tmp_path, fmt, n_samples):
        steps = steps_of(fmt, n_samples)
        path = write(tmp_path, steps, f"r 3 500 {n_samples}", fmt=fmt)
        record = read_ecg(path)
        expected = (steps.T - 5) / 200
        expected[steps.T == (None if fmt == 8 else -(2 ** (BITS[fmt] - 1)))] = np.nan
        np.testing.assert_array_equal(record.signal, expected)
        np.testing.assert_array_equal(record.signal, as_wfdb_reads(path))
        # Without the number of samples the file's size tells it, but for a last block of several.
        length = read_ecg(write(tmp_path, steps, "r 3 500", fmt=fmt, verified=False)).signal.shape[1]
        assert n_samples <= length <= n_samples + (fmt in (212, 310, 311))

    @pytest.mark.parametrize("fmt", [508, 516, 524])
    def test_compressed(self, tmp_path, fmt):
        steps = steps_of(fmt)
        wfdb.wrsamp(
            "r", 500, ["mV"] * 3, NAMES, d_signal=steps, fmt=[str(fmt)] * 3, adc_gain=[200.0] * 3, baseline=[5] * 3,
            write_dir=str(tmp_path),
        )  # fmt: skip
        np.testing.assert_array_equal(read_ecg(tmp_path / "r").signal, as_wfdb_reads(tmp_path / "r"))
        header = (tmp_path / "r.hea").read_text()
        (tmp_path / "r.hea").write_text(header.replace(f" 500 {N}", f" 500 {2 * N}"))
        with pytest.raises(ValueError, match="r: not a readable WFDB record: r.dat is truncated: found 200 samples"):
            read_ecg(tmp_path / "r")

    @pytest.mark.parametrize("fmt", [16, 24, 32, 61, 80, 160, 212, 310, 311])
    def test_every_flipped_bit_is_found(self, tmp_path, fmt):
        steps = steps_of(fmt)
        path = write(tmp_path, steps, fmt=fmt)
        content = (tmp_path / "r.dat").read_bytes()
        generator = np.random.default_rng(1)
        # Of a block: bits of no sample, and those that a sum in sixteen bits does not hold.
        spare = {310: [0, 16], 311: [30, 31], 24: range(16, 24), 32: range(16, 32)}.get(fmt, [])
        size = 24 if fmt == 24 else 32
        for bit in generator.integers(0, 8 * len(content), 60).tolist():
            if bit % size in spare:
                continue
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            (tmp_path / "r.dat").write_bytes(damaged)
            with pytest.raises(ValueError, match=r"r: checksum of lead (I|II|V1): \d+ stated, \d+ found"):
                read_ecg(path)

    def test_several_files_and_offsets(self, tmp_path):
        steps = np.random.default_rng(0).integers(-2000, 2000, (N, 3))
        (tmp_path / "a.mat").write_bytes(b"head" * 6 + packed(steps[:, [0, 2]], 16))
        (tmp_path / "b.x.dat").write_bytes(packed(steps[:, 1], 212))
        files = [("I", "16+24", "a.mat"), ("II", 212, "b.x.dat"), ("V1", "16+24", "a.mat")]
        lines = [line(one, name, fmt, file=file) for one, (name, fmt, file) in zip(steps.T, files, strict=True)]
        record = read_ecg(write(tmp_path, steps, lines=lines))
        np.testing.assert_array_equal(record.signal, (steps.T - 5) / 200)

    def test_samples_of_a_frame(self, tmp_path):
        """Leads at four times the rate of the record's frames, respiration at one."""
        generator = np.random.default_rng(3)
        frames = generator.integers(-900, 900, (N, 9)).astype(np.int64)
        lines = [
            line(frames[:, :4].ravel(), "I", "16x4"), line(frames[:, 4:8].ravel(), "II", "16x4"),
            line(frames[:, 8], "RESP", 16, "10/ohm"),
        ]  # fmt: skip
        path = write(tmp_path, frames, f"r 3 125 {N}", lines)
        record = read_ecg(path)
        assert (record.sampling_rate, record.lead_names) == (500, ("I", "II"))
        assert record.metadata["channels_left_out"] == ("RESP",)
        expected = as_wfdb_reads(path, smooth_frames=False)
        np.testing.assert_array_equal(record.signal, expected[:2])

    def test_skewed_signals(self, tmp_path):
        steps = steps_of(16)
        lines = [line(one, name, f"16:{skew}") for one, name, skew in zip(steps.T, NAMES, (0, 3, 7), strict=True)]
        record = read_ecg(write(tmp_path, steps, lines=lines))
        whole = read_ecg(write(tmp_path, steps)).signal
        for lead, expected, skew in zip(record.signal, whole, (0, 3, 7), strict=True):
            np.testing.assert_array_equal(lead, np.r_[expected[skew:], [np.nan] * skew])


class TestHeaders:
    @pytest.mark.parametrize(
        "first",
        [
            "r 3 500 200 05-May-2020 09:49:17", "r 3 500 200 2014-05-08 05:05:15", "r 3 500 200 2006",
            "r 3 500 200 00:00:00 00/00/0000", "r 3 500 200 99:99:99 45/45/4545", "r 3 500 200 14:30 yesterday",
            "E07835.mat 3 500 200", "\u00e4\u00f6.1 3 500 200", "r 3 500/500(0) 200", "r 3 5e2 200",
            "r\t3\t500.0\t200 ",
        ],
    )  # fmt: skip
    def test_dates_and_names_of_records_mean_nothing(self, tmp_path, first):
        steps = steps_of(16)
        record = read_ecg(write(tmp_path, steps, first))
        assert record.sampling_rate == 500 and record.signal.shape == (3, N)
        assert read_wfdb(tmp_path / "r.hea").name == record.name == str(tmp_path / "r")

    @pytest.mark.parametrize("unit", ["\u00b5V", "\u03bcV", "uV", "microvolt"])
    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_letters_beyond_ascii(self, tmp_path, unit, encoding):
        if unit == "\u03bcV" and encoding == "latin-1":
            return
        steps = steps_of(16)
        lines = [
            line(one, name, gain=f"2/{unit}") for one, name in zip(steps.T, ["I", "II", "\u00c9lectrode"], strict=True)
        ]
        path = write(tmp_path, steps, lines=lines)
        header = "\n".join(["r 3 500 200", *lines, "# g\u00e9n\u00e9rique"])
        (tmp_path / "r.hea").write_bytes(header.encode(encoding))
        record = read_ecg(path)
        assert record.unit == "uV"
        np.testing.assert_array_equal(record.signal[0], steps[:, 0] / 2)
        assert record.metadata["channels_left_out"] == ("\u00c9lectrode",)

    @pytest.mark.parametrize("gain", ["0", "", "0/mV", "0(5)/mV"])
    def test_no_gain_is_no_unit(self, tmp_path, gain):
        steps = steps_of(16)
        lines = [line(one, name, gain=gain or "") for one, name in zip(steps.T, NAMES, strict=True)]
        lines = ["r.dat 16"] * 3 if not gain else lines
        path = write(tmp_path, steps, lines=lines)
        record = read_ecg(path)
        assert record.unit is None and record.lead_names == (tuple(NAMES) if gain else None)
        np.testing.assert_array_equal(record.signal[0], steps[:, 0] - (5 if "(5)" in gain else 0))
        assert read_ecg(path, unit="uV").unit == "uV"

    def test_some_gains(self, tmp_path):
        steps = steps_of(16)
        lines = [
            line(one, name, gain=gain) for one, name, gain in zip(steps.T, NAMES, ("200", "0", "200"), strict=True)
        ]
        with pytest.raises(ValueError, match="r, channel 1: expected gains for all leads or for none"):
            read_ecg(write(tmp_path, steps, lines=lines))
        lines[1] = lines[1].removesuffix("II") + "vx"
        assert read_ecg(write(tmp_path, steps, lines=lines)).metadata["channels_left_out"] == ("vx",)

    def test_no_rate_is_stated_by_nobody(self, tmp_path):
        path = write(tmp_path, steps_of(16), "r 3")
        assert read_ecg(path).sampling_rate is None and read_ecg(path).signal.shape == (3, N)
        assert read_ecg(path, sampling_rate=400).sampling_rate == 400

    def test_a_gain_without_unit_is_of_millivolts(self, tmp_path):
        """As the format has it."""
        steps = steps_of(16)
        record = read_ecg(write(tmp_path, steps, gain="200"))
        assert record.unit == "mV"
        np.testing.assert_array_equal(record.signal[0], steps[:, 0] / 200)

    def test_a_negative_gain_turns_the_signal(self, tmp_path):
        steps = steps_of(16)
        path = write(tmp_path, steps, gain="-200(5)/mV")
        np.testing.assert_array_equal(read_ecg(path).signal[0], (steps[:, 0] - 5) / -200)
        np.testing.assert_array_equal(read_ecg(path).signal, as_wfdb_reads(path))

    def test_the_baseline_left_out_is_the_zero(self, tmp_path):
        steps = steps_of(16)
        lines = [
            line(one, name, gain="200/mV").replace(" 16 0 ", " 16 7 ")
            for one, name in zip(steps.T, NAMES, strict=True)
        ]
        path = write(tmp_path, steps, lines=lines)
        np.testing.assert_array_equal(read_ecg(path).signal[0], (steps[:, 0] - 7) / 200)
        np.testing.assert_array_equal(read_ecg(path).signal, as_wfdb_reads(path))

    def test_zeros_in_the_places_before_a_name_state_nothing(self, tmp_path):
        steps = steps_of(16)
        path = write(tmp_path, steps, verified=False)
        assert read_ecg(path).signal.shape == (3, N)

    def test_first_samples_are_verified(self, tmp_path):
        steps = steps_of(16)
        lines = [line(one, name, verified=False) for one, name in zip(steps.T, NAMES, strict=True)]
        lines[2] = lines[2].replace(" 16 0 0 0 0 ", f" 16 0 {steps[0, 2] + 1} 0 0 ")
        with pytest.raises(
            ValueError, match=f"r: first sample of lead V1: {steps[0, 2] + 1} stated, {steps[0, 2]} found"
        ):
            read_ecg(write(tmp_path, steps, lines=lines))

    @pytest.mark.parametrize("sign", [0, 2**16, -(2**16), 2**32])
    def test_checksums_are_of_sixteen_bits(self, tmp_path, sign):
        steps = steps_of(16)
        lines = [line(one, name) for one, name in zip(steps.T, NAMES, strict=True)]
        stated = int(steps[:, 0].sum() % 2**16)
        lines[0] = lines[0].replace(f" {stated} 0 I", f" {stated + sign} 0 I")
        assert read_ecg(write(tmp_path, steps, lines=lines)).signal.shape == (3, N)

    def test_half_of_a_copy(self, tmp_path):
        steps = steps_of(16)
        content = packed(steps, 16)
        with pytest.raises(ValueError, match="r: checksum of lead I: .* the signal file is damaged or another one"):
            read_ecg(write(tmp_path, steps, content=content[: len(content) // 2] + bytes(len(content) // 2)))
        with pytest.raises(ValueError, match="r.dat is truncated: expected 200 samples of each signal: found 100"):
            read_ecg(write(tmp_path, steps, content=content[: len(content) // 2]))
        with pytest.raises(ValueError, match="r.dat is truncated: it ends within the samples of one moment"):
            read_ecg(write(tmp_path, steps, "r 3 500", content=content[:-1]))

    def test_channels_that_are_no_leads(self, tmp_path):
        """Frank's leads, posterior and right ones, respiration: left out, whatever their unit."""
        steps = np.concatenate([steps_of(16, seed=seed) for seed in range(2)], axis=1)
        names = ["vx", "I", "V7", "II", "V1", "RESP"]
        gains = ["200/mV", "200/mV", "200/mV", "200/mV", "200/mV", "10/ohm"]
        lines = [line(*one) for one in zip(steps.T, names, [16] * 6, gains, strict=True)]
        record = read_ecg(write(tmp_path, steps, "r 6 500 200", lines))
        assert record.lead_names == ("I", "II", "V1")
        assert sorted(record.metadata["channels_left_out"]) == ["RESP", "V7", "vx"]
        np.testing.assert_array_equal(np.nan_to_num(record.signal, nan=0), np.nan_to_num(
            np.where(steps.T[[1, 3, 4]] == -(2**15), np.nan, steps.T[[1, 3, 4]]) / 200, nan=0
        ))  # fmt: skip

    @pytest.mark.parametrize(
        ("names", "leads"),
        [
            (["MDC_ECG_LEAD_I", "MDC_ECG_LEAD_II", "MDC_ECG_LEAD_V1"], ["I", "II", "V1"]),
            (["ECG I", "Lead II", "C1"], ["I", "II", "V1"]),
            (["I+", "II+", "V1-"], ["I", "II", "V1"]),
        ],
    )
    def test_names_of_leads(self, tmp_path, names, leads):
        steps = steps_of(16)
        lines = [line(one, name) for one, name in zip(steps.T, names, strict=True)]
        record = read_ecg(write(tmp_path, steps, lines=lines))
        assert [canonical_lead_name(name) for name in record.lead_names] == leads

    def test_an_inverted_lead_is_turned(self, tmp_path):
        steps = steps_of(16)
        plain = read_ecg(write(tmp_path, steps)).signal
        lines = [line(one, name) for one, name in zip(steps.T, ["I", "-aVR", "V1"], strict=True)]
        record = read_ecg(write(tmp_path, steps, lines=lines))
        assert record.lead_names == ("I", "aVR", "V1")
        np.testing.assert_array_equal(record.signal, plain * [[1], [-1], [1]])

    def test_a_header_in_capitals(self, tmp_path):
        write(tmp_path, steps_of(16))
        (tmp_path / "r.hea").rename(tmp_path / "R.HEA")
        assert read_ecg(tmp_path / "R.HEA").signal.shape == (3, N)


class TestSegments:
    """Records of several segments: one recording."""

    LENGTHS = (60, 50, 90)

    def write(self, folder, layout=None, gap=40, first="m/{} 3 500 {}"):
        """Three segments with a gap after the first; with a layout they hold some of the signals each."""
        held = [NAMES] * 3 if layout is None else [["I", "II"], ["V1", "I"], ["II"]]
        lines, steps = [], []
        for i, (length, names) in enumerate(zip(self.LENGTHS, held, strict=True)):
            part = np.random.default_rng(i).integers(-900, 900, (length, len(names)))
            file = f"m_{i}.dat"
            text = [line(one, name, file=file, gain=f"{200 + i}/mV") for one, name in zip(part.T, names, strict=True)]
            (folder / f"m_{i}.hea").write_text("\n".join([f"m_{i} {len(names)} 500 {length}", *text]))
            (folder / file).write_bytes(packed(part, 16))
            lines.append(f"m_{i} {length}")
            steps.append((names, part))
        if gap:
            lines.insert(1, f"~ {gap}")
        if layout is not None:
            text = [f"~ 0 200/mV 16 0 0 0 0 {name}" for name in NAMES]
            (folder / "m_layout.hea").write_text("\n".join(["m_layout 3 500 0", *text]))
            lines.insert(0, "m_layout 0")
        (folder / "m.hea").write_text(
            "\n".join([first.format(len(lines), sum(self.LENGTHS) + (gap or 0)), *lines, ""])
        )
        return folder / "m", steps

    @pytest.mark.parametrize("layout", [None, "variable"])
    def test_one_record(self, tmp_path, layout):
        path, steps = self.write(tmp_path, layout)
        record = read_ecg(path)
        assert record.lead_names == tuple(NAMES) and record.sampling_rate == 500 and record.unit == "mV"
        assert record.signal.shape == (3, 240)
        start = 0
        expected = np.full((3, 240), np.nan)
        for i, (names, part) in enumerate(steps):
            rows = [NAMES.index(name) for name in names]
            expected[rows, start : start + len(part)] = (part / (200 + i)).T
            start += len(part) + 40 * (i == 0)
        np.testing.assert_array_equal(record.signal, expected)
        if layout:  # in a fixed layout the other reader knows no gaps
            np.testing.assert_array_equal(record.signal, as_wfdb_reads(path))
        else:
            path, _ = self.write(tmp_path, layout, gap=None)
            np.testing.assert_array_equal(read_ecg(path).signal, as_wfdb_reads(path))

    def test_a_damaged_segment_is_named(self, tmp_path):
        path, _ = self.write(tmp_path)
        (tmp_path / "m_1.dat").write_bytes(bytes(300))
        with pytest.raises(ValueError, match="m_1: checksum of lead I"):
            read_ecg(path)
        (tmp_path / "m_1.hea").unlink()
        with pytest.raises(FileNotFoundError, match="m: the header names a segment that is missing: .*m_1.hea"):
            read_ecg(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("m_1 50", "../m_1 50", "expected segments' lines of the name of a record beside the header"),
            ("m_1 50", "/etc/m 50", "expected segments' lines"),
            ("m_1 50", "m 50", "expected segments of at most 3 signals: found another in m"),
            ("m_1 50", "m_1 51", "expected segments of 240 samples in all: found 241"),
            (" 500 240", " 500", "expected 50 samples in m_1|None"),
            (" 500 240", " 400 240", "expected segments at 400.0 Hz: found 500.0 Hz in m_0"),
            (" 3 500", " 2 500", "expected segments of at most 2 signals: found another in m_0"),
            ("m/4", "m/5", "expected 1 to 2,000 segments, each with a line: the header states 5 and has 4 lines"),
            ("~ 40", "~ 100000000", "at most 6,000,000 values"),
        ],
    )
    def test_the_wall(self, tmp_path, old, new, message):
        path, _ = self.write(tmp_path)
        header = (tmp_path / "m.hea").read_text()
        (tmp_path / "m.hea").write_text(header.replace(old, new, 1))
        if message.endswith("None"):
            assert read_ecg(path).signal.shape == (3, 240)
            return
        with pytest.raises(ValueError, match=f"m: .*{message}"):
            read_ecg(path)

    def test_segments_in_other_units(self, tmp_path):
        path, _ = self.write(tmp_path)
        expected = read_ecg(path).signal
        header = (tmp_path / "m_2.hea").read_text()
        (tmp_path / "m_2.hea").write_text(header.replace("202/mV", "0.202/uV"))
        np.testing.assert_allclose(read_ecg(path).signal, expected)
        assert read_ecg(path).unit == "mV"

    def test_segments_of_other_signals(self, tmp_path):
        path, _ = self.write(tmp_path)
        header = (tmp_path / "m_2.hea").read_text()
        (tmp_path / "m_2.hea").write_text(header.replace(" V1", " V2"))
        with pytest.raises(ValueError, match="m: expected the same signals in each segment: found others"):
            read_ecg(path)
        (tmp_path / "m_2.hea").write_text(header.replace("202/mV", "0/mV"))
        with pytest.raises(ValueError, match="m: expected segments alike in gains and rates"):
            read_ecg(path)

    def test_values_are_counted_over_all_segments(self, tmp_path):
        """Segments may name one file again and again, each with more samples in a frame than the record has."""
        (tmp_path / "big.dat").write_bytes(bytes(2 * 3000 * 1000))
        (tmp_path / "s.hea").write_text("s 1 500 1000\nbig.dat 16x3000 200/mV 16 0 0 0 0 I\n")
        (tmp_path / "m.hea").write_text("\n".join(["m/100 1 500 100000", *["s 1000"] * 100]))
        with pytest.raises(ValueError, match="m: expected one ECG of at most 6,000,000 values"):
            read_ecg(tmp_path / "m")
