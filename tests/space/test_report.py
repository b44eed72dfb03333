import json
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from modeling_ecgclip import EcgRecord
from space.report import NAME_MM, build_json, build_pdf, file_name
from space.sheets import fitting, width_mm
from space.words import MAX_WORDS


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "ecg $a$ [1].npy"))


def pages(pdf):
    return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ")


@pytest.mark.parametrize(("kind", "n_pages"), [("many", 2), ("one_of_six", 1), ("values", 1), ("one_lead", 1)])
def test_reports_of_other_outputs_and_signals(analysis_of, kind, n_pages):
    analyser, analysis = analysis_of(kind)
    assert pages(build_pdf(analysis)) == n_pages
    assert pages(build_pdf(analyser.explain(analysis, analysis.findings.entries[0].name))) == 2
    content = json.loads(build_json(analysis))
    if kind == "values":
        assert "probabilities" not in content
        assert [(one["label"], one["title"]) for one in content["values"]] == [
            ("k", "potassium"),
            ("age", "age in years"),
        ]
        assert all(one.keys() == {"label", "title", "value"} for one in content["values"])
    else:
        assert len(content["probabilities"]) == len(analyser.labels)
        assert ("threshold" in content["probabilities"][0]) == (kind != "one_of_six")


def test_pdf_grows_with_what_is_known(analysis, analyser):
    only = replace(analysis, nearest=None)
    assert build_pdf(only).startswith(b"%PDF-")
    assert pages(build_pdf(only)) == 1
    assert pages(build_pdf(analyser.explain(only, "AF"))) == 2
    whole = analyser.compare(analyser.explain(analysis, "AF"), "custa $5\nvale $6 e \\alpha", "Português")
    assert pages(build_pdf(whole)) == 2


def test_what_explains_is_one_page_however_much_it_is(analysis, analyser, analysis_of):
    phrases = "\n".join(f"{i} {'QRS alargado em V1 ' * 8}" for i in range(MAX_WORDS))
    reports = [{"similarity": 0.5, "report": "Ritmo regular, QRS estreito, onda P normal. " * 8}] * 5
    notes = ["what is doubtful about this recording, in a line or two " * 4] * 8
    full = analyser.compare(analyser.explain(replace(analysis, notes=notes), "AF"), phrases, "Português")
    full = replace(full, nearest=reports, reports_source="these tests")
    with matplotlib.rc_context({"pdf.compression": 0}):
        pdf = build_pdf(full)
    assert pages(pdf) == 2
    assert sum(len(one) == 6 and np.abs(np.diff(one, axis=0) - PULSE).max() < 0.01 for one in lines_of(pdf)) == 4
    many, found = analysis_of("many")
    found = replace(many.explain(found, "L44"), words=full.words, nearest=reports, reports_source="these tests")
    assert pages(build_pdf(found)) == 2


def sizes(pdf):
    """Width and height of each page, in mm."""
    boxes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    return {(round(float(width) / 72 * 25.4, 1), round(float(height) / 72 * 25.4, 1)) for width, height in boxes}


def lines_of(pdf):
    """Every path of an uncompressed PDF that moves once and then draws lines, as an array of points in mm."""
    for path in re.findall(rb"[\d.-]+ [\d.-]+ m\n(?:[\d.-]+ [\d.-]+ l\n)+", pdf):
        yield np.array(re.findall(rb"([\d.-]+) ([\d.-]+) [ml]", path), float) / 72 * 25.4


def text_of(pdf):
    """All that an uncompressed PDF writes, without the spaces that kerning puts between letters."""
    return b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\)", pdf))


# Of calibration, 1 mV and 200 ms, on paper at true size; one to each row.
PULSE = np.array([[2, 0], [0, 10], [5, 0], [0, -10], [2, 0]])


def test_pages_are_a4_at_true_scale_however_tall_the_ecg_and_long_the_notes(analysis, analyser):
    t = np.arange(analysis.signal.shape[1]) / analysis.sampling_rate
    tall = replace(analysis, signal=np.tile(5 * np.sign(np.sin(2 * np.pi * t)), (12, 1)).astype(np.float32))
    tall = analyser.explain(replace(tall, name="x" * 300 + ".csv", notes=["a note " * 60] * 12), "AF")
    with matplotlib.rc_context({"pdf.compression": 0}):
        pdf = build_pdf(tall)
    assert sizes(pdf) == {(297.0, 210.0)}
    assert pages(pdf) == 2
    # The second page says how much smaller its tracing is.
    scale = float(re.search(rb"(\d+) % of true size", text_of(pdf))[1]) / 100
    assert 0.5 <= scale < 1
    for pulse in (PULSE, scale * PULSE):
        assert sum(len(one) == 6 and np.abs(np.diff(one, axis=0) - pulse).max() < 0.01 for one in lines_of(pdf)) == 4


def test_names_are_cut_before_they_touch_a_bar():
    for name in ("W" * 60, "statement of a long kind " * 4):
        short = fitting(name, NAME_MM - 4, 8, "bold")
        assert width_mm(short, 8, "bold") <= NAME_MM - 4
        assert len(short) > 12 and short.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert fitting("short", 50, 8) == "short"


def test_json_is_the_analysis(analysis):
    content = json.loads(build_json(analysis))
    assert content["file"] == "ecg $a$ [1].npy"
    assert content["probabilities"] == analysis.findings.to_list()
    assert content["probabilities"][0].keys() == {"label", "title", "score", "positive", "threshold"}
    assert content["own_words"] is None
    assert content["measurements"] == analysis.measurements.to_dict()
    assert content["measurements"]["heart_rate_bpm"] == pytest.approx(60, abs=0.5)
    assert content["measurements_by_recorder"] == {}


def test_file_name(analysis):
    assert file_name(analysis, ".pdf") == "ecg__a___1_ecgclip.pdf"
    assert file_name(replace(analysis, name="..."), ".json") == "ecg_ecgclip.json"
    assert len(file_name(replace(analysis, name="x" * 500 + ".csv"), ".json")) < 80
