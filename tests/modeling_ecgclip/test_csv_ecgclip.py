"""Tables of one column per lead."""

import numpy as np
import pytest

from modeling_ecgclip.configuration_ecgclip import LEAD_NAMES
from modeling_ecgclip.reading_ecgclip import read_ecg


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
        ("time_s,I\n1,2\n1,2\n", "time column must rise"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"bad.csv.*{message}"):
        read_ecg(tmp_path / "bad.csv")
