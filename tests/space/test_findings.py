import pytest

from modeling_ecgclip import EcgResNetConfig, Label
from modeling_ecgclip.labels_ecgclip import decision
from space.findings import Finding, Findings


def found(scores, thresholds=None, problem_type="multi_label_classification"):
    """Of labels L0, L1, ..., as the pipeline gives them."""
    names = [f"L{i}" for i in range(len(scores))]
    config = EcgResNetConfig(id2label=dict(enumerate(names)), thresholds=thresholds, problem_type=problem_type)
    results = [{"label": name, "score": score} for name, score in zip(names, scores, strict=True)]
    if thresholds:
        for one, threshold in zip(results, thresholds, strict=True):
            one["positive"] = one["score"] >= threshold
    return Findings.of(sorted(results, key=lambda one: -one["score"]), config)


def abstaining(scores, thresholds, low, high):
    """Of a model that may abstain, as the pipeline gives them."""
    names = [f"L{i}" for i in range(len(scores))]
    abstention = {"error": 0.1, "low": low, "high": high}
    config = EcgResNetConfig(id2label=dict(enumerate(names)), thresholds=thresholds, abstention=abstention)
    results = [
        {"label": name, "score": score, "positive": score >= limit, "decision": decision(score, *bounds)}
        for name, score, limit, *bounds in zip(names, scores, thresholds, low, high, strict=True)
    ]
    return Findings.of(results, config)


def names(entries):
    return [one.name for one in entries]


def test_a_few_labels_are_shown_by_their_probability():
    findings = found([0.2, 0.9, 0.4], [0.1, 0.95, 0.5])
    assert names(findings.entries) == ["L1", "L2", "L0"]
    assert findings.first == findings.entries and findings.others == ()
    assert [one.positive for one in findings.entries] == [False, False, True]
    assert findings.decided and findings.chosen is None and findings.caption == "Findings"


def test_of_many_labels_no_positive_one_is_hidden():
    scores = [i / 100 for i in range(71)]
    thresholds = [0.999] * 71
    thresholds[3] = 0.01  # rare: a probability of 3 % is positive
    findings = found(scores, thresholds)
    assert names(findings.first) == ["L3", "L70", "L69", "L68", "L67", "L66", "L65", "L64"]
    assert len(findings.others) == 63 and not any(one.positive for one in findings.others)
    assert len(found(scores, [0.0] * 71).others) == 0


def test_a_model_that_may_abstain_decides_by_its_bounds():
    scores, thresholds = [0.5, 0.05, 0.3, 0.6], [0.4, 0.4, 0.4, 0.4]
    findings = abstaining(scores, thresholds, [0.1, 0.1, 0.1, None], [0.7, 0.7, 0.2, None])
    by_name = {one.name: one for one in findings.entries}
    assert [by_name[f"L{i}"].verdict for i in range(4)] == ["undecided", "negative", "positive", "positive"]
    assert [by_name[f"L{i}"].limit(0) for i in range(4)] == ["10 to 70 %", "< 10 %", "≥ 20 %", "≥ 40 %"]
    assert [one.is_called for one in findings.entries] == [one.verdict == "positive" for one in findings.entries]
    listed = {one["label"]: one for one in findings.to_list()}
    assert listed["L0"]["decision"] == "uncertain" and listed["L0"]["positive"] is True
    assert "decision" not in listed["L3"]  # nothing could be promised of it


def test_of_many_labels_no_undecided_one_is_hidden():
    n = 71
    scores = [i / 100 for i in range(n)]
    low, high = [0.9] * n, [0.95] * n
    low[3], high[3] = 0.01, 0.9
    findings = abstaining(scores, [0.999] * n, low, high)
    assert findings.entries[0].name == "L3" and findings.entries[0].verdict == "undecided"
    low, high = [0.0] * n, [0.95] * n
    assert len(abstaining(scores, [0.999] * n, low, high).others) == 0


def test_one_label_of_several_is_chosen():
    findings = found([0.2, 0.7, 0.1], problem_type="single_label_classification")
    assert findings.chosen.name == "L1" and not findings.decided
    assert findings.caption == "One of 3 findings: together they make 100 %"
    assert findings.to_list()[0] == {"label": "L1", "title": "L1", "score": 0.7}


def test_values_keep_the_model_s_order():
    findings = found([4.1, 63.25], problem_type="regression")
    assert names(findings.entries) == ["L0", "L1"]
    assert [findings.shown(one) for one in findings.entries] == ["4.1", "63.25"]
    assert findings.sides == ("raises", "lowers")
    assert findings.to_list()[1] == {"label": "L1", "title": "L1", "value": 63.25}


@pytest.mark.parametrize(
    ("label", "title"), [(Label("AF", "atrial fibrillation"), "Atrial fibrillation"), (Label("age"), "age")]
)
def test_titles_begin_a_line(label, title):
    assert Finding(label, 0.5).title == title
