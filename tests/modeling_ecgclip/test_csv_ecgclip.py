"""Tables of one column per lead, as programs and people write them."""

import numpy as np
import pytest

from modeling_ecgclip.leads_ecgclip import canonical_lead_name
from modeling_ecgclip.reading_ecgclip import read_ecg
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


def write(path, header, rows, delimiter=",", decimal="."):
    lines = [delimiter.join(header)] if header else []
    lines += [delimiter.join(str(cell).replace(".", decimal) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_header_and_time(tmp_path, ecg):
    rows = [[i / 500, *row] for i, row in enumerate((ecg.T / 1000).tolist())]
    record = read_ecg(write(tmp_path / "a.csv", ["time_s", *LEAD_NAMES], rows))
    np.testing.assert_array_equal(record.signal, ecg / 1000)
    assert record.sampling_rate == 500
    assert record.lead_names == LEAD_NAMES


def test_semicolons_and_decimal_commas(tmp_path, ecg):
    path = write(tmp_path / "a.csv", LEAD_NAMES, (ecg.T / 1000).tolist(), ";", ",")
    np.testing.assert_array_equal(read_ecg(path).signal, ecg / 1000)


def test_without_header(tmp_path, ecg):
    record = read_ecg(write(tmp_path / "a.csv", None, ecg.T.tolist()), unit="uV", sampling_rate=500)
    assert record.lead_names is None
    np.testing.assert_array_equal(record.signal, ecg)


def test_empty_cell_is_nan(tmp_path):
    record = read_ecg(write(tmp_path / "a.csv", ["I", "II"], [[1, 2], ["", 3]]))
    assert np.isnan(record.signal[0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("I,II\n", "column names but no samples"),
        ("I,II\n1,2\n3\n", "row 3: expected 2 columns: found 1"),
        ("I,II\n1,x\n", "not a number: .*'x'"),
        ("I,II,III\n1,2\n", "3 column names for 2 columns"),
        ("time_s,I\n1,2\n1,2\n", "time column 'time_s' must rise"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"bad.csv.*{message}"):
        read_ecg(tmp_path / "bad.csv")


SEPARATORS = (",", ";", "\t", "|", " ")
N = 60


@pytest.fixture(scope="module")
def mv():
    """(12, 60) millivolts of three decimals, some beyond 1 mV and some not."""
    return np.round(np.random.default_rng(0).normal(size=(12, N)), 3)


def cells_of(mv, pattern="%.3f", decimal="."):
    return [[(pattern % value).replace(".", decimal) for value in row] for row in mv.T.tolist()]


def read(tmp_path, lines, encoding="utf-8", end="\n", **stated):
    (tmp_path / "ecg.csv").write_bytes(end.join([*lines, ""]).encode(encoding))
    return read_ecg(tmp_path / "ecg.csv", **stated)


def table(mv, names=LEAD_NAMES, before=lambda row: [], separator=","):
    """Lines of names and samples; `before` gives the cells in front of a row's."""
    rows = [separator.join([*before(row), *cells]) for row, cells in enumerate(cells_of(mv))]
    return ([separator.join(names)] if names else []) + rows


def assert_read(record, mv, names=LEAD_NAMES, rate=None, unit=None):
    np.testing.assert_array_equal(record.signal, mv)
    assert record.lead_names == (None if names is None else tuple(names))
    assert (record.sampling_rate, record.unit) == (rate, unit)


class TestDialects:
    @pytest.mark.parametrize("separator", SEPARATORS)
    @pytest.mark.parametrize("decimal", ".,")
    @pytest.mark.parametrize("with_names", [True, False])
    def test_separators_and_decimal_signs(self, tmp_path, mv, separator, decimal, with_names):
        if separator == decimal:
            return
        rows = [separator.join(row) for row in cells_of(mv, decimal=decimal)]
        record = read(tmp_path, [separator.join(LEAD_NAMES), *rows] if with_names else rows)
        assert_read(record, mv, LEAD_NAMES if with_names else None)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_ends_of_lines_and_encodings(self, tmp_path, mv, end, encoding):
        assert_read(read(tmp_path, [*table(mv), "", ""], encoding, end), mv)

    @pytest.mark.parametrize("quoted", [",", ";"])
    def test_quoted_cells(self, tmp_path, mv, quoted):
        rows = [LEAD_NAMES, *cells_of(mv, decimal="," if quoted == "," else ".")]
        assert_read(read(tmp_path, [quoted.join(f'"{cell}"' for cell in row) for row in rows]), mv)

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("in_names", [True, False])
    @pytest.mark.parametrize("in_rows", [True, False])
    def test_separators_at_the_end(self, tmp_path, mv, separator, in_names, in_rows):
        names, *rows = table(mv, separator=separator)
        lines = [names + separator * in_names, *(row + separator * in_rows for row in rows)]
        assert_read(read(tmp_path, lines), mv)

    def test_aligned_columns(self, tmp_path, mv):
        lines = ["".join(f"{cell:>9}" for cell in row) for row in [LEAD_NAMES, *cells_of(mv)]]
        assert_read(read(tmp_path, lines), mv)

    def test_excel_states_the_separator(self, tmp_path, mv):
        assert_read(read(tmp_path, ["sep=;", *table(mv, separator=";")]), mv)

    @pytest.mark.parametrize("form", ["{:.4e}", "{:g}", "{!r}", "{:+.3f}", " {:.3f} "])
    def test_forms_of_numbers(self, tmp_path, mv, form):
        lines = [",".join(form.format(value) for value in row) for row in mv.T.tolist()]
        assert_read(read(tmp_path, [",".join(LEAD_NAMES), *lines]), mv)

    @pytest.mark.parametrize("blank", ["", " ", "nan", "NaN", "NA", "N/A", "null", "None", "-"])
    def test_blank_cells(self, tmp_path, mv, blank):
        names, first, *rest = table(mv)
        record = read(tmp_path, [names, ",".join([blank, *first.split(",")[1:]]), *rest])
        assert np.isnan(record.signal[0, 0]) and np.isnan(record.signal).sum() == 1

    @pytest.mark.parametrize("at", [0, 1, N // 2, N])
    def test_a_row_of_blank_cells_is_a_sample(self, tmp_path, mv, at):
        names, *rows = table(mv)
        record = read(tmp_path, [names, *rows[:at], "," * 11, *rows[at:]])
        expected = np.insert(mv, at, np.nan, axis=1)
        np.testing.assert_array_equal(record.signal, expected)

    def test_a_blank_line_in_one_column_is_a_sample(self, tmp_path):
        record = read(tmp_path, ["I", "1.5", "", "2.5", "", ""])
        np.testing.assert_array_equal(record.signal, [[1.5, np.nan, 2.5]])

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("cell", ["", " ", '""', "nan"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
    @pytest.mark.parametrize("with_time", [False, True])
    def test_every_second_row_blank_does_not_double_the_rate(self, tmp_path, mv, separator, cell, end, with_time):
        names, *rows = table(mv, separator=separator)
        rows = [separator.join([cell] * 12) if at % 2 else row for at, row in enumerate(rows)]
        lines = [names, *rows]
        if with_time:
            lines = [f"time_s{separator}{names}"]
            lines += [f"{at / 500:.3f}{separator}{row}" for at, row in enumerate(rows)]
        path = tmp_path / "ecg.csv"
        path.write_bytes((end.join(lines) + 2 * end).encode())  # empty lines behind the last row are none
        record = read_ecg(path)
        expected = np.where(np.arange(mv.shape[1]) % 2, np.nan, mv)
        np.testing.assert_array_equal(record.signal, expected)
        assert record.sampling_rate == (500 if with_time else None)

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("n", [1, 30])
    def test_blank_rows_at_the_end_are_samples(self, tmp_path, mv, separator, n):
        record = read(tmp_path, [*table(mv, separator=separator), *[separator * 11] * n, "", "  "])
        np.testing.assert_array_equal(record.signal, np.pad(mv, ((0, 0), (0, n)), constant_values=np.nan))

    def test_tabs_at_the_end_that_part_no_such_row_are_none(self, tmp_path, mv):
        assert_read(read(tmp_path, [*table(mv, separator="\t"), "\t", "\t\t"]), mv)

    @pytest.mark.parametrize("separator", [",", "\t", " "])
    def test_every_second_line_empty_is_refused_by_its_row(self, tmp_path, mv, separator):
        names, *rows = table(mv, separator=separator)
        with pytest.raises(ValueError, match=r"ecg.csv, row 3: expected 12 columns: found an empty line"):
            read(tmp_path, [names, *(line for row in rows for line in (row, ""))])

    def test_leads_in_rows(self, tmp_path):
        mv = np.random.default_rng(1).normal(size=(12, 500)).round(3)
        np.testing.assert_array_equal(read(tmp_path, table(mv.T, None)).signal, mv.T)


class TestThousands:
    """Whole microvolts of up to four digits."""

    @pytest.mark.parametrize(
        ("mark", "separator", "quote"),
        [(",", ";", ""), (",", ",", '"'), ("\u202f", ";", ""), ("'", ";", ""), (" ", "|", ""), ("\u00a0", ",", "")],
    )
    def test_marks_between_groups(self, tmp_path, mv, mark, separator, quote):
        rows = [
            [f"{quote}{round(value * 1000):,}{quote}".replace(",", mark) for value in row] for row in mv.T.tolist()
        ]
        record = read(tmp_path, [separator.join(row) for row in [LEAD_NAMES, *rows]])
        assert_read(record, np.round(mv * 1000))

    @pytest.mark.parametrize("swap", ["", ".,"])
    def test_with_decimals(self, tmp_path, mv, swap):
        rows = [[f"{value * 1000:,.1f}" for value in row] for row in mv.T.tolist()]
        lines = [";".join(row) for row in rows]
        lines = [line.translate(str.maketrans(".,", ",.")) for line in lines] if swap else lines
        assert_read(read(tmp_path, lines, unit="uV"), np.round(mv * 1000, 1), None, unit="uV")

    @pytest.mark.parametrize("cells", [["1.234", "56", "2.345"], ["1,234", "2,345", "3,456"]])
    def test_refused_where_it_may_be_a_decimal_sign(self, tmp_path, cells):
        with pytest.raises(ValueError, match=r"ecg.csv: the sign in '1.234' may be a decimal sign or part thousands"):
            read(tmp_path, ["I;II;V1", *[";".join(cells)] * 9])

    def test_refused_where_signs_are_mixed(self, tmp_path):
        with pytest.raises(ValueError, match=r"row 4: a cell is not a number: found '0.5', where ',' is the decimal"):
            read(tmp_path, ["I;II", "0,5;1", "0,6;2", "0.5;3", "0,7;4"])


class TestNames:
    @pytest.mark.parametrize("form", ["{} (mV)", "{} [mV]", "{}_mV", "{}/mV", "{} mV", "ECG {} (mV)", "{}{{mV}}"])
    @pytest.mark.parametrize(("unit", "expected"), [("mV", "mV"), ("uV", "uV"), ("\u00b5V", "uV"), ("V", "V")])
    def test_units_in_names(self, tmp_path, mv, form, unit, expected):
        names = [form.format(name).replace("mV", unit) for name in LEAD_NAMES]
        record = read(tmp_path, table(mv, names), unit=expected)
        assert record.unit == expected
        assert [canonical_lead_name(name) for name in record.lead_names] == list(LEAD_NAMES)
        with pytest.raises(ValueError, match="the source is in"):
            read(tmp_path, table(mv, names), unit="mV" if expected != "mV" else "uV")

    def test_a_row_of_units(self, tmp_path, mv):
        names, *rows = table(mv, ["time", *LEAD_NAMES], lambda row: [f"{row / 500:.3f}"])
        record = read(tmp_path, [names, ",".join(["s", *["uV"] * 12]), *rows])
        assert_read(record, mv, rate=500, unit="uV")

    def test_as_physionet_exports(self, tmp_path, mv):
        lines = ["'Elapsed time'," + ",".join(f"'{name}'" for name in LEAD_NAMES), "'hh:mm:ss.mmm'" + ",'mV'" * 12]
        lines += [f"'0:00.{2 * row:03d}'," + ",".join(cells) for row, cells in enumerate(cells_of(mv))]
        assert_read(read(tmp_path, lines), mv, rate=500, unit="mV")

    @pytest.mark.parametrize("name", ["time", "timestamp", "Date Time", "DateTime", "time_s"])
    @pytest.mark.parametrize("stamp", ["2024-02-29 23:59:%s", "2024-12-31T23:59:%sZ", "1999-01-01T00:00:%s+01:00"])
    def test_a_column_of_dates_and_times(self, tmp_path, mv, name, stamp):
        assert_read(
            read(tmp_path, table(mv, [name, *LEAD_NAMES], lambda row: [stamp % f"59.{2 * row:03d}"])), mv, rate=500
        )

    def test_dates_in_another_order_are_refused_by_row(self, tmp_path, mv):
        lines = table(np.tile(mv, 5), ["time", *LEAD_NAMES], lambda row: [f"29/02/2024 23:59:59.{2 * row:03d}"])
        with pytest.raises(ValueError, match="row 2: a cell is not a number: found '29/02/2024 23:59:59.000'"):
            read(tmp_path, lines)

    @pytest.mark.parametrize("first", ["", "Unnamed: 0", "index", "sample", "Sample #", "idx"])
    @pytest.mark.parametrize("start", [0, 1, 5000])
    def test_a_column_that_counts_is_no_lead(self, tmp_path, mv, first, start):
        assert_read(read(tmp_path, table(mv, [first, *LEAD_NAMES], lambda row: [str(start + row)])), mv)

    @pytest.mark.parametrize("start", [0, 1])
    @pytest.mark.parametrize("index", [[], [""], ["time"]])
    @pytest.mark.parametrize("pattern", ["%d", "%.1f"])
    def test_names_that_only_count_are_none(self, tmp_path, mv, start, index, pattern):
        numbers = [pattern % (start + i) for i in range(12)]
        before = (lambda row: [f"{row / 500}" if index == ["time"] else str(row)]) if index else (lambda row: [])
        record = read(tmp_path, table(mv, [*index, *numbers], before))
        assert_read(record, mv, None, rate=500 if index == ["time"] else None)

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    def test_a_separator_at_the_end_of_numbers_for_names(self, tmp_path, mv, separator):
        lines = [f"{line},".replace(",", separator) for line in table(mv, [str(i) for i in range(12)])]
        assert_read(read(tmp_path, lines), mv, None)

    def test_few_whole_numbers_may_be_a_sample(self, tmp_path):
        with pytest.raises(ValueError, match="row 1: 0, 1, 2 may be a sample or the columns' numbers"):
            read(tmp_path, ["0,1,2", "5,6,7", "8,3,1"])
        with pytest.raises(ValueError, match="row 1: 0.0, 1.0 may be a sample or the columns' numbers"):
            read(tmp_path, ["0.0,1.0", "0.5,0.6", "0.8,0.3"])
        np.testing.assert_array_equal(read(tmp_path, ["0,2,1", "5,6,7", "8,3,1"]).signal[:, 0], [0, 2, 1])

    def test_a_comment_of_names(self, tmp_path, mv):
        names, *rows = table(mv)
        assert_read(read(tmp_path, [f"# {names}", *rows]), mv)
        assert_read(read(tmp_path, [f"# {names}", "# by hand", *rows]), mv, None)

    def test_other_columns_are_left_out_and_listed(self, tmp_path, mv):
        names, *rows = table(mv)
        record = read(tmp_path, [f"{names},vx,RESP (ohm)", *(f"{row},1,2" for row in rows)])
        assert_read(record, mv)
        assert record.metadata["channels_left_out"] == ("vx", "RESP (ohm)")


class TestLinesAbove:
    @pytest.mark.parametrize(
        "line",
        [
            "Sampling Rate (Hz): 400", "# fs = 400", "Sample Rate,400 hertz", "% sampling_frequency: 400 Hz",
            "SampleRate;400;;;", "// sfreq=400.0", '"Sampling rate","400"',
        ],
    )  # fmt: skip
    def test_a_rate(self, tmp_path, mv, line):
        assert_read(read(tmp_path, ["Recorder X", line, "", *table(mv)]), mv, rate=400)
        assert_read(read(tmp_path, [line, *table(mv, None)]), mv, None, rate=400)

    @pytest.mark.parametrize("line", ["Unit: uV", "# units=\u00b5V", "Unit,microvolts"])
    def test_a_unit(self, tmp_path, mv, line):
        assert read(tmp_path, [line, *table(mv)]).unit == "uV"

    def test_as_watches_export(self, tmp_path, mv):
        lines = [
            "Name,A Person",
            "Recorded Date,2020-01-01",
            "Sample Rate,512 hertz",
            "Lead,Lead I",
            "Unit,\u00b5V",
            "",
            "",
        ]
        record = read(tmp_path, lines + [row[0] for row in cells_of(mv)])
        assert_read(record, mv[:1], ["Lead I"], rate=512, unit="uV")
        assert "A Person" not in repr(record)

    def test_names_of_leads(self, tmp_path, mv):
        line = "Leads: " + ", ".join(LEAD_NAMES)
        assert_read(read(tmp_path, [line, "", *table(mv, None)]), mv)
        assert_read(read(tmp_path, [line, *table(mv)]), mv)
        assert_read(read(tmp_path, ["Leads: 12", *table(mv)]), mv)
        with pytest.raises(ValueError, match="expected a column for each of the leads I, II"):
            read(tmp_path, [line, *table(mv, [*LEAD_NAMES[::-1]])])

    def test_a_heart_rate_is_none(self, tmp_path, mv):
        assert read(tmp_path, ["Rate: 72", "Heart rate: 72", *table(mv)]).sampling_rate is None

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("Gain: 200", "row 1: expected samples in a unit: found Gain: 200, which is not applied here"),
            ("Resolution,4.88 uV/LSB", "row 1: .*which is not applied here"),
            ("Unit: pm", "row 1: unknown unit 'pm'"),
            ("Sampling rate: fast", "row 1: expected a sampling rate in Hz: found 'fast'"),
            ("Sampling rate: 0.5 kHz", "row 1: expected a sampling rate in Hz"),
        ],
    )
    def test_what_is_not_understood(self, tmp_path, mv, line, message):
        with pytest.raises(ValueError, match=f"ecg.csv, {message}"):
            read(tmp_path, [line, *table(mv)])

    def test_contradictions(self, tmp_path, mv):
        timed = table(mv, ["time_s", *LEAD_NAMES], lambda row: [f"{row / 500:.3f}"])
        assert read(tmp_path, ["fs: 500", *timed]).sampling_rate == 500
        with pytest.raises(ValueError, match="a line above states 400 Hz; the column 'time_s' gives 500 Hz"):
            read(tmp_path, ["fs: 400", *timed])
        with pytest.raises(ValueError, match="row 2: fs: 500 contradicts a line above"):
            read(tmp_path, ["fs: 400", "fs: 500", *table(mv)])
        with pytest.raises(ValueError, match="a line above states uV; the columns' names state mV"):
            read(tmp_path, ["unit: uV", *table(mv, [f"{name} (mV)" for name in LEAD_NAMES])])

    def test_paper_is_no_gain(self, tmp_path, mv):
        assert_read(read(tmp_path, ["Gain: 10 mm/mV", *table(mv)]), mv)


class TestTime:
    @pytest.mark.parametrize(
        ("name", "per_second"),
        [
            ("time_s", 1), ("time_ms", 1000), ("Time [s]", 1), ("Time (ms)", 1000), ("time", 1), ("t", 1), ("T", 1000),
            ("timestamp", 1), ("elapsed time", 1), ("Elapsed Time (sec)", 1), ("seconds", 1), ("ms", 1000), ("s", 1),
            ("time_us", 1_000_000), ("milliseconds", 1000), ("Zeit/s", 1),
        ],
    )  # fmt: skip
    def test_columns_of_time(self, tmp_path, mv, name, per_second):
        lines = table(mv, [name, *LEAD_NAMES], lambda row: [f"{row * per_second / 500:.3f}"])
        assert_read(read(tmp_path, lines), mv, rate=500)
        at_end = [",".join([*line.split(",")[1:], line.split(",")[0]]) for line in lines]
        assert_read(read(tmp_path, at_end), mv, rate=500)

    @pytest.mark.parametrize("rate", [360, 257, 400])
    def test_printed_to_a_millisecond_with_a_decimal_comma(self, tmp_path, mv, rate):
        mv = np.tile(mv, 20)
        lines = table(mv, ["time_s", *LEAD_NAMES], lambda row: [f"{row / rate:.3f}"], ";")
        lines = [line.replace(".", ",") for line in lines]
        assert_read(read(tmp_path, lines, sampling_rate=rate), mv, rate=rate)

    def test_lost_samples_are_nan(self, tmp_path, mv):
        kept = np.r_[0:20, 35:N]
        lines = table(mv[:, kept], ["time_s", *LEAD_NAMES], lambda row: [f"{kept[row] / 500:.3f}"])
        expected = mv.copy()
        expected[:, 20:35] = np.nan
        assert_read(read(tmp_path, lines), expected, rate=500)
        lines = table(mv[:, kept], ["sample", *LEAD_NAMES], lambda row: [f"{kept[row]}"])
        assert_read(read(tmp_path, lines), expected)

    def test_a_gap_beyond_all_measure(self, tmp_path, mv):
        lines = table(mv, ["sample", *LEAD_NAMES], lambda row: [str(row if row < 30 else row + 10**9)])
        with pytest.raises(ValueError, match="at most 6,000,000 values"):
            read(tmp_path, lines)

    def test_two_columns_that_agree(self, tmp_path, mv):
        lines = table(
            mv, ["n", "time_s", "time_ms", *LEAD_NAMES], lambda row: [f"{row}", f"{row / 500:.2f}", f"{2 * row}"]
        )
        assert_read(read(tmp_path, lines), mv, rate=500)

    @pytest.mark.parametrize("second", [lambda row: f"{4 * row}", lambda row: f"{2 * (row + 5 * (row > 30))}"])
    def test_two_columns_that_contradict_each_other(self, tmp_path, mv, second):
        lines = table(mv, ["time_s", "time_ms", *LEAD_NAMES], lambda row: [f"{row / 500:.3f}", second(row)])
        with pytest.raises(ValueError, match="ecg.csv: the columns 'time_s' and 'time_ms' contradict each other"):
            read(tmp_path, lines)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (None, "column 1 rises by the same step in every row, as no lead does: expected a row of names"),
            ("", "row 1: expected a name for column 1, which rises by the same step in every row"),
            ("time (min)", r"row 1: expected the time 'time' in s, ms, us, ns: found 'min'"),
            ("time_s (ms)", "row 1: expected the time 'time_s' in s"),
        ],
    )
    def test_a_time_that_is_not_named_is_refused(self, tmp_path, mv, name, message):
        names = None if name is None else [name, *LEAD_NAMES[:11]]
        with pytest.raises(ValueError, match=f"ecg.csv.*{message}"):
            read(tmp_path, table(mv[:11], names, lambda row: [f"{row / 360:.3f}"]))

    def test_rows_without_time(self, tmp_path, mv):
        names, *rows = table(mv, ["time_s", *LEAD_NAMES], lambda row: [f"{row / 500:.3f}"])
        rows[20] = "," * 12
        expected = mv.copy()
        expected[:, 20] = np.nan
        assert_read(read(tmp_path, [names, *rows]), expected, rate=500)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["I,II", *["1,2"] * 5, "", *["1,2"] * 5], "row 7: expected 2 columns: found an empty line"),
        (["I,II", "x,2", "1,2"], "row 2: a cell is not a number: found 'x' beside 2"),
        (["I,II", "1,2", "1,x", "1,2"], r"row 3: a cell is not a number: found 'x' in column 2 \(II\)"),
        (["I,II", "1,2", "1,1_0", "1,2"], "row 3: a cell is not a number: found '1_0'"),
        (["I,II", "1,2,3", "1,2,3"], "2 column names for 3 columns"),
        (["I (mV),II (uV)", "1,2", "1,2"], "expected one unit for all leads: found I in mV, II in uV"),
        (["I (mV),II", "1,2", "1,2"], "expected one unit for all leads: found I in mV, II in none"),
        (["I (au),II (au)", "1,2", "1,2"], "column I: unknown unit 'au'"),
        (["I,,II", "1,5,2", "1,4,2"], "row 1: expected a name for column 2"),
        (["time_s", "0.1", "0.2"], "expected one column per lead: found time_s"),
        (['"I,II', "1,2", "1,2"], "row 1: expected a quote to end in its line"),
        (["word"] * 300, "expected samples within the first 200 lines"),
        (["I", "0,12", "0,15", "-0,03"], "1 column names for 2 columns"),
        (["I,II", "1,2", "\x00,3"], "expected a table in text: found zero bytes"),
        (["I,II,annotation", "1,2,N", "1,2,V"], "row 2: a cell is not a number: found 'N'"),
        (["I,1,II", "1,2,3", "1,2,3"], "row 1: a cell is not a number: found 'I' beside 1"),
        ([",".join(["I"] * 300), ",".join(["1"] * 300)], "at most 64 columns: found 300"),
    ],
)
def test_refused_by_row(tmp_path, lines, message):
    with pytest.raises(ValueError, match=f"ecg.csv.*{message}"):
        read(tmp_path, lines)


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8", "utf-8-sig", "utf-16"])
    def test_names_of_a_german_table(self, tmp_path, mv, encoding):
        above = ["Gerät: Prüfstand 2, Größe 1,80 m", "Einheit;\u00b5V"]
        names = ";".join(f"{name} (\u00b5V)" for name in LEAD_NAMES)
        rows = [";".join(f"{value:.3f}".replace(".", ",") for value in row) for row in mv.T.tolist()]
        path = tmp_path / "ecg.csv"
        path.write_bytes("\r\n".join([*above, names, *rows]).encode(encoding))
        record = read_ecg(path)
        np.testing.assert_array_equal(record.signal, mv)
        assert (record.lead_names, record.unit) == (LEAD_NAMES, "uV")

    def test_bytes_of_no_text_say_what_to_do(self, tmp_path):
        path = tmp_path / "ecg.csv"
        path.write_bytes(b"I,II\n1,2\n\x81,\x9d\n")
        with pytest.raises(ValueError, match=r"ecg.csv: expected text in UTF-8.* or no text: .*; save it as UTF-8"):
            read_ecg(path)


class TestSizes:
    """Of tables as of all files: counted before they are looked at."""

    @pytest.mark.parametrize(
        ("lines", "found"),
        [
            (["1 2 " * 600] * 2000, "at most 2,000,000 cells: found 2,400,000"),
            ([",".join(["1"] * 100)] * 200, "at most 64 leads: found 200 rows of 100 columns"),
            (["1 " * 300_000], "at most 200,000 columns"),
            (["I," + ",".join(["time"] * 9), *[",".join(["1"] * 10)] * 9], "at most 8 columns of times"),
        ],
        ids=["cells", "leads", "columns", "times"],
    )
    def test_more_than_an_ecg_has(self, tmp_path, lines, found):
        with pytest.raises(ValueError, match=f"ecg.csv: expected .*{found}"):
            read(tmp_path, lines)
