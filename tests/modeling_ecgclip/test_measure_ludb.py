"""Against cardiologists' marks, on a dozen records whose numbers are odd: no constant was chosen on these."""

import numpy as np
import pytest

from benchmarks.measure.ludb import INTERVALS, WAVES, global_errors, rate_errors, read_ludb, score
from modeling_ecgclip import measure_ecgs
from modeling_ecgclip.waves_ecgclip import P


RECORDS = (1, 3, 5, 7, 9, 11, 13, 37, 51, 63, 77, 117)
FIBRILLATES = 51


@pytest.fixture(scope="module")
def records(sample_data):
    if not (sample_data / "ludb" / "reference_intervals.csv").is_file():
        pytest.skip(f"LUDB not found in {sample_data}")
    return [record for record in read_ludb(sample_data / "ludb") if record.number in RECORDS]


@pytest.fixture(scope="module")
def measured(records):
    results = measure_ecgs(np.stack([record.signal for record in records]), records[0].rate)
    return {record.number: one for record, one in zip(records, results, strict=True)}


def test_waves_are_found(records, measured):
    scores = score(records, {number: one.marks_s for number, one in measured.items()})
    for wave, least in zip(WAVES.values(), (0.97, 0.995, 0.97), strict=True):
        assert scores.rates(wave)[2] >= least, wave
    for key, most_ms in {("QRS", "onset"): 14, ("QRS", "offset"): 14, ("T", "offset"): 27, ("P", "onset"): 20}.items():
        assert abs(np.mean(scores.errors[key])) < 8 and np.std(scores.errors[key]) < most_ms, key


def test_intervals_are_near(records, measured):
    errors = global_errors(records, {number: vars(one) for number, one in measured.items()})
    for name, most_ms in zip(INTERVALS, (12, 12, 18), strict=True):
        of_records = np.array(list(errors[name].values()))
        assert len(of_records) == len(RECORDS) - (name == "pr_ms")
        assert abs(of_records.mean()) < 8 and of_records.std() < most_ms, name


def test_rates_agree(records, measured):
    assert np.abs(rate_errors(records, measured)).max() < 1


def test_fibrillation_has_no_p_wave(measured):
    found = measured[FIBRILLATES]
    assert found.pr_ms is None and found.reasons["pr_ms"]
    assert np.isnan(found.marks_s[:, :, P]).all()
    assert found.rhythm.irregularity > 0.1
