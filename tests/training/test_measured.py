"""Measurements as training reads them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_scripts.measure import EXAM_TABLE_KEY, WAVES_SCHEMA, main
from tests.small_tables import write_small_table
from training.data import ExamTable
from training.measured import load_measurements, mean_and_spread


@pytest.fixture
def table(tmp_path):
    folder = write_small_table(tmp_path / "exams")
    record = json.loads((folder / "conversion.json").read_text())
    (folder / "conversion.json").write_text(json.dumps(record | {"digest": "this one"}))
    return ExamTable.load(str(folder), verify=False)


def write(path, rows, digest=None):
    """A file as `data_scripts.measure --waves` writes it."""
    schema = WAVES_SCHEMA if digest is None else WAVES_SCHEMA.with_metadata({EXAM_TABLE_KEY: digest})
    pq.write_table(pa.Table.from_pylist(rows, schema), path, write_page_checksum=True)
    return str(path)


def test_numbers_are_those_of_the_file_by_exam(table, tmp_path):
    rows = [
        {"exam_id": "b", "heart_rate_bpm": 71.5, "qrs_axis_deg": -179.0, "ectopic_beats": 2, "r_mv_V5": 1.25},
        {"exam_id": "a", "heart_rate_bpm": None, "qrs_axis_deg": 179.0, "ectopic_beats": 0, "r_mv_V5": None},
    ]
    found = load_measurements(write(tmp_path / "m.parquet", rows, "this one"), table)
    values = found.of(["a", "b", "never measured"])
    assert len(found.names) == 154  # as docs/training.md says
    assert (
        values.dtype == np.float32
        and values.shape == (3, len(found.names))
        and len(set(found.names)) == len(found.names)
    )

    def column(name):
        return values[:, found.names.index(name)]

    assert column("heart_rate_bpm") == pytest.approx([np.nan, 71.5, np.nan], nan_ok=True)
    assert column("ectopic_beats") == pytest.approx([0, 2, np.nan], nan_ok=True)
    assert column("r_mv_V5") == pytest.approx([np.nan, 1.25, np.nan], nan_ok=True)
    # Both sides of 180 degrees are neighbours.
    assert column("cos_qrs_axis_deg")[0] == pytest.approx(column("cos_qrs_axis_deg")[1], abs=1e-6)
    assert column("sin_qrs_axis_deg")[:2] == pytest.approx([0.01745, -0.01745], abs=1e-4)
    assert np.isnan(values[2]).all()


def test_what_the_command_writes_is_read(table, tmp_path):
    output = tmp_path / "m.parquet"
    main(["--dataset_name_or_path", table.name_or_path, "--output_file", str(output), "--waves"])
    ids = table.splits["train"]["exam_id"]
    assert np.isnan(load_measurements(str(output), table).of(ids)).any()  # two leads of noise: little is known of them


def test_mean_and_spread_pass_over_what_is_unknown():
    values = np.array([[1, np.nan, 5], [3, np.nan, 5], [np.nan, np.nan, 5]], np.float32)
    mean, spread = mean_and_spread(values)
    assert mean.tolist() == [2, 0, 5] and spread.tolist() == [1, 1, 1]


def test_files_that_are_not_its_measurements_are_refused(table, tmp_path):
    path = tmp_path / "m.parquet"
    with pytest.raises(FileNotFoundError, match=r"python -m data_scripts.measure .*exams --output_file .* --waves"):
        load_measurements(str(path), table)
    write(path, [{"exam_id": "a"}], "another one")
    with pytest.raises(ValueError, match="expected measurements of this exam table, found those of another"):
        load_measurements(str(path), table)
    pq.write_table(pq.read_table(path).drop_columns(["r_mv_V5"]), path)
    with pytest.raises(ValueError, match="expected a column r_mv_V5, found none"):
        load_measurements(str(path), table)
    path.write_text("exam_id,r_mv_V5\n")
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        load_measurements(str(path), table)


def test_a_flipped_bit_is_noticed(table, tmp_path):
    numbers = np.random.default_rng(0).normal(size=400)
    path = tmp_path / "m.parquet"
    write(path, [{"exam_id": str(i), "r_mv_V5": number} for i, number in enumerate(numbers)], "this one")
    load_measurements(str(path), table)
    place = pq.read_metadata(path).row_group(0).column(WAVES_SCHEMA.names.index("r_mv_V5")).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[place + 500] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        load_measurements(str(path), table)
