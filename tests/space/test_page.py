import re
from dataclasses import replace

import pytest

from modeling_ecgclip import EcgRecord, Label
from space import page
from space.findings import Finding, Findings
from space.words import MIN_AHEAD, UNRELATED_REMARK, Fit


@pytest.fixture(scope="module")
def analysis(analyser, signal):
    return analyser.analyse(EcgRecord(signal, 400.0, None, "mV", "<script>.npy"), ["a & b"])


def test_names_and_reports_are_escaped(analysis):
    hostile = replace(analysis, nearest=[{"report": "<img src=x>", "similarity": 0.5}], reports_source="<b>")
    hostile = replace(hostile, words=[{"label": "<i>", "score": 1.0, **Fit(0.5, 0.1, 0.2).to_dict()}])
    for html in (page.facts(hostile), page.nearest(hostile), page.words(hostile)):
        assert not any(tag in html for tag in ("<script>.npy", "<img src=x>", "<b>)", "<i></th>"))
    assert "&lt;script&gt;" in page.facts(hostile)
    assert "a &amp; b" in page.facts(hostile)


def rows_of(html):
    return re.findall(r'data-label="([^"]*)"', html)


def test_findings_state_number_threshold_and_decision(analysis):
    html = page.findings(analysis)
    for one in analysis.findings.entries:
        assert f'data-label="{one.name}" data-score="{one.score:.9f}"' in html
    decisions = [one.positive for one in analysis.findings.entries]
    assert html.count("positive <span") == sum(decisions)
    assert html.count("negative <span") == len(decisions) - sum(decisions)
    assert 'First-degree AV block <span class="ec-muted">1dAVb</span>' in html
    assert "<details" not in html


def test_where_the_model_abstains_it_is_undecided(analysis):
    first, *others = analysis.findings.entries
    undecided = replace(first, decision="uncertain", bounds=(0.12, 0.99), positive=True)
    html = page.findings(replace(analysis, findings=replace(analysis.findings, entries=(undecided, *others))))
    assert 'undecided <span class="ec-muted">(12.0 to 99.0 %)</span>' in html
    assert f'<tr class="ec-undecided" data-label="{first.name}"' in html


def test_measurements_stand_beside_the_recorders_own(analysis):
    plain = page.measurements(analysis)
    assert re.findall(r'data-measure="(\w+)"', plain) == [one.name for one in analysis.measures]
    assert '<dd class="ec-value">60 bpm</dd>' in plain and "recorder" not in plain
    stated = {"heart_rate_bpm": 61.0}
    beside = page.measurements(replace(analysis, stated_measurements=stated))
    assert "recorder: 61 bpm" in beside and "as the file states it" in beside
    reasons = dict.fromkeys(analysis.measurements.reasons, "<i>no wave</i>") | {"pr_ms": "<i>no wave</i>"}
    without = replace(analysis.measurements, pr_ms=None, reasons=reasons)
    none = page.measurements(replace(analysis, measurements=without))
    assert '<dt>PR</dt><dd class="ec-value ec-none">none</dd>' in none
    assert "&lt;i&gt;no wave" in none and "<i>" not in none


def test_many_findings_are_folded_behind_the_first(analysis_of):
    _, analysis = analysis_of("many")
    shown, fold = page.findings(analysis).split("<details")
    assert rows_of(shown) == [one.name for one in analysis.findings.first]
    assert len(rows_of(shown)) + len(rows_of(fold)) == 71
    assert "Show all 71" in fold and "negative" in fold and "positive <span" not in fold
    assert "Statement number" in shown and "Statement number" in fold


def test_one_label_of_several_has_no_thresholds(analysis_of):
    html = page.findings(analysis_of("one_of_six")[1])
    assert "One of 6 findings: together they make 100 %" in html
    assert "decision" not in html and "ec-threshold" not in html
    assert html.count("ec-chosen") == 1 and html.count("ec-bar") == 6


def test_values_have_neither_bar_nor_percent(analysis_of):
    analyser, analysis = analysis_of("values")
    html = page.findings(analysis)
    assert rows_of(html) == ["k", "age"]  # as the model has them
    assert "%" not in html and "ec-bar" not in html and "finding" not in re.sub(r'class="[^"]*"', "", html)
    assert 'Potassium <span class="ec-muted">k</span>' in html
    marked = page.saliency(analyser.explain(analysis, "age"))
    assert "raises age" in marked and "lowers age" in marked


def test_titles_are_escaped(analysis):
    entries = (Finding(Label('<b "x">', "<i>&"), 0.5),)
    html = page.findings(replace(analysis, findings=Findings("multi_label_classification", entries)))
    assert "<i>&" not in html and "<b " not in html and "&lt;i&gt;&amp;" in html


def test_findings_of_a_model_without_thresholds(analysis):
    entries = tuple(Finding(one.label, one.score) for one in analysis.findings.entries)
    html = page.findings(replace(analysis, findings=replace(analysis.findings, entries=entries)))
    assert "decision" not in html
    assert "threshold" not in html


def test_own_words_say_what_their_similarity_means(analysis):
    fits = {"a true one": Fit(0.61, 0.12, 0.98), "banana": Fit(0.58, 0.2, MIN_AHEAD - 0.01)}
    words = [{"label": label, "score": 0.5, **fit.to_dict()} for label, fit in fits.items()]
    true, banana = page.words(replace(analysis, words=words)).split("<tr class=")[1:]
    assert "0.61 <small>(+0.12, ahead of 98 %)" in true and "banana" in banana
    assert UNRELATED_REMARK in banana and UNRELATED_REMARK not in true


def test_what_drove_a_label_has_a_key(analysis, analyser):
    assert "integrated gradients" in page.saliency(analyser.explain(analysis, "SB"))
    assert page.saliency(analysis) == ""


def test_page_says_what_it_is_and_what_becomes_of_uploads():
    assert "not a medical device" in page.head()
    origin = page.head("Of <b>no</b> patient.")
    assert "not a medical device" in origin and "&lt;b&gt;no" in origin
    assert "deleted as soon as it has been read, what it gave after 5 minutes" in page.limits(20, 5)
