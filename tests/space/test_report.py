import json
from dataclasses import replace

import pytest

from modeling_ecgclip import EcgRecord
from space.report import build_json, build_pdf, file_name, plain_text


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "ecg $a$ [1].npy"))


def pages(pdf):
    return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ")


@pytest.mark.parametrize(("kind", "n_pages"), [("many", 2), ("one_of_six", 1), ("values", 1), ("one_lead", 1)])
def test_reports_of_other_outputs_and_signals(analysis_of, kind, n_pages):
    analyser, analysis = analysis_of(kind)
    assert pages(build_pdf(analysis)) == n_pages
    assert pages(build_pdf(analyser.explain(analysis, analysis.findings.entries[0].name))) == n_pages + 1
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
    assert pages(build_pdf(whole)) == 3


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


def test_dollar_signs_are_no_formula():
    assert plain_text("$x$") == r"\$x\$"
