from dataclasses import replace

import pytest

from modeling_ecgclip import EcgRecord
from space import page


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, None, "<script>.npy"), ["a & b"])


def test_names_and_reports_are_escaped(analysis):
    hostile = replace(analysis, nearest=[{"report": "<img src=x>", "similarity": 0.5}], reports_source="<b>")
    hostile = replace(hostile, words=[{"label": "<i>", "score": 1.0}])
    for html in (page.facts(hostile), page.nearest(hostile), page.words(hostile), page.paper(hostile, b"", 0.5)):
        assert not any(tag in html for tag in ("<script>.npy", "<img src=x>", "<b>)", "<i></th>"))
    assert "&lt;script&gt;" in page.facts(hostile)
    assert "a &amp; b" in page.facts(hostile)


def test_findings_state_number_threshold_and_decision(analysis):
    html = page.probabilities(analysis)
    for one in analysis.probabilities:
        assert f'data-label="{one["label"]}" data-score="{one["score"]:.9f}"' in html
    decisions = [one["positive"] for one in analysis.probabilities]
    assert html.count("positive <span") == sum(decisions)
    assert html.count("negative <span") == len(decisions) - sum(decisions)


def test_findings_of_a_model_without_thresholds(analysis):
    plain = [{"label": one["label"], "score": one["score"]} for one in analysis.probabilities]
    html = page.probabilities(replace(analysis, probabilities=plain))
    assert "decision" not in html
    assert "threshold" not in html


def test_drawing_has_words_for_those_who_cannot_see_it(analysis, analyser):
    assert 'aria-label="12-lead ECG' in page.paper(analysis, b"x", 0.5)
    marked = analyser.explain(analysis, "SB")
    assert "marked where it drove SB" in page.paper(marked, b"x", 0.5)
    assert "integrated gradients" in page.saliency(marked)
    assert page.saliency(analysis) == ""


def test_page_says_what_it_is_and_what_becomes_of_uploads():
    assert "not a medical device" in page.head()
    assert "deleted after at most 25 minutes" in page.limits(20, 25)
