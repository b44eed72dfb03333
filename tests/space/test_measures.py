import numpy as np
import pytest

from modeling_ecgclip import EcgMeasurements
from space.measures import in_a_line, measures_of, reasons_of


@pytest.fixture
def measurements():
    return EcgMeasurements(
        ("I",),
        np.ones(1, bool),
        heart_rate_bpm=71.6,
        qrs_ms=88.4,
        qrs_axis_deg=-31.2,
        quality={"heart_rate_bpm": 1.0, "qrs_ms": 0.4, "qrs_axis_deg": 0.9},
        reasons={"pr_ms": "no P wave", "p_axis_deg": "no P wave", "qt_ms": "no T wave"},
    )


def test_values_reasons_and_the_recorders_own(measurements):
    stated = {"qrs_duration_ms": 90.0, "pr_interval_ms": 160.0, "qtc_interval_ms": 410.0, "atrial_rate_bpm": 300.0}
    measures = {measure.name: measure for measure in measures_of(measurements, stated)}
    assert (measures["heart_rate_bpm"].value, measures["heart_rate_bpm"].stated) == ("72 bpm", None)
    assert (measures["qrs_ms"].value, measures["qrs_ms"].stated) == ("88 ms", "90 ms")
    assert (measures["pr_ms"].value, measures["pr_ms"].reason, measures["pr_ms"].stated) == (
        None,
        "no P wave",
        "160 ms",
    )
    assert measures["qrs_axis_deg"].value == "-31\N{DEGREE SIGN}"
    assert measures["qtc_bazett_ms"].stated == "410 ms (formula not stated)"
    assert [name for name, measure in measures.items() if measure.uncertain] == ["qrs_ms"]


def test_a_stated_formula_comes_first(measurements):
    stated = {"qtc_interval_ms": 410.0, "qtc_bazett_ms": 420.0}
    measures = {measure.name: measure for measure in measures_of(measurements, stated)}
    assert measures["qtc_bazett_ms"].stated == "420 ms"


def test_sentences(measurements):
    measures = measures_of(measurements, {"qrs_duration_ms": 90.0})
    assert in_a_line(measures) == (
        "Measured: Heart rate 72 bpm, QRS 88 ms (uncertain) [recorder: 90 ms], QRS axis -31\N{DEGREE SIGN}."
    )
    reasons = reasons_of(measures)
    assert "PR, P axis: none, no P wave." in reasons and "QT: none, no T wave." in reasons
    nothing = measures_of(EcgMeasurements(("I",), np.ones(1, bool), reasons={"pr_ms": "x"}), {})
    assert in_a_line(nothing) == ""
