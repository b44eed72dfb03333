"""What the live tracing is drawn from; `tests/test_tracing_page.py` tests the drawing in a browser."""

import base64
import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from modeling_ecgclip import LEAD_NAMES, EcgRecord
from space import compare
from space.tracing import CSS, ecg_of, layouts, script, tracing, views


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "<b>.npy"))


def samples_of(ecg):
    """Millivolts, (leads, samples)."""
    counts = np.frombuffer(base64.b64decode(ecg["samples"]), "<i2").reshape(len(ecg["leads"]), -1)
    return counts * ecg["step"]


def attribute(element, name):
    return html.unescape(re.search(rf'{name}="([^"]*)"', element)[1])


def test_samples_are_those_that_the_model_saw(analysis):
    ecg = json.loads(attribute(tracing(analysis), "data-ecg"))
    assert ecg == json.loads(json.dumps(ecg_of(analysis)))
    assert ecg["leads"] == list(LEAD_NAMES) and ecg["rate"] == 400
    expected = analysis.signal - np.median(analysis.signal, axis=1, keepdims=True)
    np.testing.assert_allclose(samples_of(ecg), expected, atol=0.00051)
    assert len(tracing(analysis)) < 160_000


def test_what_does_not_fit_16_bits_is_scaled(analysis):
    tall = analysis.signal * np.float32(100)
    ecg = ecg_of(replace(analysis, signal=tall))
    assert ecg["step"] > 0.001
    np.testing.assert_allclose(samples_of(ecg), tall - np.median(tall, axis=1, keepdims=True), atol=ecg["step"])


def test_leads_are_in_their_order_whatever_the_models(analysis):
    order = [7, 1, 0, 3]
    some = replace(analysis, signal=analysis.signal[order], lead_names=tuple(LEAD_NAMES[i] for i in order))
    ecg = ecg_of(some)
    assert ecg["leads"] == ["I", "II", "aVR", "V2"]
    np.testing.assert_allclose(samples_of(ecg), samples_of(ecg_of(analysis))[[0, 1, 3, 7]])
    other = replace(analysis, signal=analysis.signal[:2], lead_names=("X", "II"))
    assert ecg_of(other)["leads"] == ["II", "X"] and ecg_of(other)["marks"][1] == []


def test_marks_are_the_measurements_within_what_is_shown(analysis):
    measured = analysis.measurements.marks_s
    marks = ecg_of(analysis)["marks"]
    assert [sample for sample, *_ in marks[1]] == sorted(sample for sample, *_ in marks[1])
    onsets = [sample / 400 for sample, wave, point in marks[1] if (wave, point) == ("QRS", "onset")]
    np.testing.assert_allclose(onsets, measured[:, 1, 1, 0][np.isfinite(measured[:, 1, 1, 0])], atol=2e-5)
    later = replace(analysis, recording=analysis.recording | {"analysed_from_s": 3.0})
    fewer = [sample / 400 for sample, wave, point in ecg_of(later)["marks"][1] if (wave, point) == ("QRS", "onset")]
    np.testing.assert_allclose(fewer, [one - 3 for one in onsets if one >= 3], atol=2e-5)
    assert ecg_of(later)["start"] == 3.0


def test_layouts_of_twelve_leads_are_a_print_outs():
    standard = layouts(LEAD_NAMES, 4000, 400.0)
    assert [one["name"] for one in standard] == ["3x4 + rhythm strip", "6x2", "12x1"]
    *columns, strip = standard[0]["pieces"]
    place = {LEAD_NAMES[lead]: (row, first, last, at_s) for lead, row, first, last, at_s in columns}
    assert place["aVF"] == (2, 1000, 1999, 2.5) and place["V4"] == (0, 3000, 3999, 7.5)
    assert strip == [1, 3, 0, 3999, 0.0]
    assert standard[1]["pieces"][6] == [6, 0, 2000, 3999, 5.0]  # V1 beside I
    assert standard[2]["pieces"][11] == [11, 11, 0, 3999, 0.0]


@pytest.mark.parametrize("n_leads", [1, 2, 3, 8, 12])
@pytest.mark.parametrize("n_samples", [300, 1700, 4096, 12000])
def test_layouts_show_every_lead_of_any_window(n_leads, n_samples):
    leads = ("II", *("V1", "V2", "V3", "V4", "V5", "V6", "I", "aVR", "aVL", "aVF", "III"))[:n_leads]
    for layout in layouts(leads, n_samples, 400.0):
        assert {piece[0] for piece in layout["pieces"]} == set(range(n_leads))
        assert min(piece[2] for piece in layout["pieces"]) == 0
        assert max(piece[3] for piece in layout["pieces"]) == n_samples - 1
        assert all(first < last < n_samples for _, _, first, last, _ in layout["pieces"])
        edges = [(row, at_s) for _, row, _, _, at_s in layout["pieces"]]
        assert len(set(edges)) == len(edges)  # nothing lies on something else
    assert layout["name"] == f"{n_leads}x1"


def test_columns_of_a_short_recording_overlap_in_time():
    columns, _, rows = layouts(LEAD_NAMES, 2000, 400.0)
    assert columns["note"] == "5.0 s recorded: columns overlap in time" and rows["note"] == ""
    assert layouts(LEAD_NAMES, 4096, 400.0)[0]["note"] == ""
    pieces = columns["pieces"]
    assert pieces[0][2:] == [0, 999, 0.0] and pieces[3][2:] == [333, 1332, 2.5]


def forth_and_back(signal, sections, pad):
    """What the element does, with scipy."""
    sections = np.array(sections)
    sos = np.column_stack([sections[:, :3], np.ones(len(sections)), sections[:, 3:5]])
    return scipy.signal.sosfiltfilt(sos, signal, padlen=pad)


def test_views_pass_what_they_name():
    found = {view["name"]: view["sections"] for view in views(400.0)}
    assert list(found) == ["0.05 to 150 Hz", "0.5 to 40 Hz", "50 Hz notch", "60 Hz notch"]
    t = np.arange(4000) / 400

    def left(name, hz):
        shown = forth_and_back(np.sin(2 * np.pi * hz * t), found[name], 400)[800:-800]
        return float(np.sqrt(2 * np.mean(shown**2)))

    assert left("50 Hz notch", 50) < 0.01 and left("50 Hz notch", 40) > 0.95
    assert left("60 Hz notch", 60) < 0.01 and left("60 Hz notch", 50) > 0.95
    assert left("0.5 to 40 Hz", 10) > 0.98 and left("0.5 to 40 Hz", 100) < 0.05 and left("0.5 to 40 Hz", 0.1) < 0.05
    assert left("0.05 to 150 Hz", 100) > 0.9 and left("0.05 to 150 Hz", 0.5) > 0.95
    for sections in found.values():
        settled = scipy.signal.sosfilt_zi(np.insert(np.array(sections)[:, :5], 3, 1.0, axis=1))
        np.testing.assert_allclose(np.array(sections)[:, 5:], settled)


def test_views_of_slow_recordings_have_no_edge_that_they_cannot_hold():
    assert [view["name"] for view in views(100.0)] == ["from 0.05 Hz", "0.5 to 40 Hz"]


def test_saliency_follows_the_leads_order(analysis, analyser):
    assert attribute(tracing(analysis), "data-saliency") == ""
    explained = analyser.explain(analysis, "SB")
    element = tracing(explained)
    shown = np.frombuffer(base64.b64decode(attribute(element, "data-saliency")), np.int8).reshape(12, -1) / 127
    np.testing.assert_allclose(shown, explained.saliency.strength, atol=0.004)
    assert attribute(element, "aria-label") == "12-lead ECG <b>.npy, marked where it drove SB"


def test_whoever_cannot_see_it_hears_leads_and_measurements(analysis_of):
    analysis = analysis_of("one_lead")[1]
    element = tracing(analysis)
    assert 'aria-label="1-lead ECG ecg.npy"' in element
    about = re.search(r'<p class="ec-unseen">([^<]*)</p>', element)[1]
    assert about.startswith("Leads II, from 0.0 s to 10.0 s of the recording.") and "Heart rate 60 bpm" in about
    assert re.search("A filter changes this drawing only: the model and the\\s+measurements never see it", element)


def test_names_are_text(analysis):
    hostile = replace(analysis, lead_names=('<img src=x>"', *analysis.lead_names[1:]))
    element = tracing(hostile)
    assert "<b>.npy" not in element and "<img" not in element
    assert '<img src=x>"' in json.loads(attribute(element, "data-ecg"))["leads"]


def test_script_is_short_and_asks_for_nothing():
    code = script().decode()
    assert len(code.splitlines()) < 400
    for word in ("fetch(", "XMLHttpRequest", "import ", "innerHTML", "eval(", "://"):
        assert word not in code.replace("http://www.w3.org/2000/svg", ""), word
    for name in set(re.findall(r"\.(ec-[a-z]+)", code)):
        assert f".{name}" in CSS + compare.CSS
