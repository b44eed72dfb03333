"""ECGs of any source are measured as arrays are: at their own rate, in their own leads, together or alone."""

import numpy as np
import pytest

from modeling_ecgclip import LEAD_NAMES, EcgRecord, measure_ecg, measure_record
from modeling_ecgclip.measure_record_ecgclip import measure_ordered, order_record
from tests.simulated import simulated


def record(signal, rate=400.0, lead_names=LEAD_NAMES, unit="mV"):
    return EcgRecord(signal, rate, lead_names, unit, "bed 4")


def test_record_is_measured_at_its_own_rate():
    signal = simulated(0)
    measurements, standard = measure_record(record(signal * 1000, 512.0, unit="uV"))
    assert standard.sampling_rate == 512 and standard.flags == []
    np.testing.assert_allclose(standard.signal, signal)
    assert measurements.to_dict() == measure_ecg(signal, 512).to_dict()
    assert measurements.heart_rate_bpm == pytest.approx(measure_ecg(signal, 400).heart_rate_bpm * 512 / 400, rel=0.01)


def test_leads_are_ordered_and_derived_or_missing():
    signal = simulated(0)
    few = [7, 1, 0, 6]
    measurements, standard = measure_record(record(signal[few], lead_names=[LEAD_NAMES[i] for i in few]))
    assert measurements.lead_names == LEAD_NAMES
    assert [name for name, read in zip(LEAD_NAMES, measurements.lead_mask, strict=True) if read] == [
        *LEAD_NAMES[:6],
        "V1",
        "V2",
    ]
    assert "derived:aVF" in standard.flags and "missing:V6" in standard.flags
    assert np.isnan(measurements.marks_s[:, 8:]).all() and np.isfinite(measurements.marks_s[:, 0]).any()
    assert measurements.qrs_axis_deg == pytest.approx(measure_ecg(signal, 400).qrs_axis_deg, abs=5)


def test_several_of_any_length_and_rate_as_alone():
    records = [
        record(simulated(i, n), rate) for i, (n, rate) in enumerate([(4096, 400), (3000, 400), (4096, 500)] * 2)
    ]
    together = measure_ordered([order_record(one) for one in records])
    alone = [measure_record(one)[0] for one in records]
    assert [one.to_dict() for one in together] == [one.to_dict() for one in alone]
    assert len({one.heart_rate_bpm for one in alone}) == 6


def test_gaps_are_filled_where_that_is_wanted():
    signal = simulated(0).copy()
    signal[3, 100:120] = np.nan
    with pytest.raises(ValueError, match="bed 4: .*aVR: 20 of 4096"):
        measure_record(record(signal))
    measurements, standard = measure_record(record(signal), repair_nan=True)
    assert [one["code"] for one in standard.quality] == ["nan_repaired:aVR:0.5%"]
    assert measurements.lead_mask.all()
