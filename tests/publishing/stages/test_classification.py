import re

import pytest

from publishing.card import model_card


@pytest.fixture
def card_of(run_of):
    return lambda kind: model_card(run_of(kind), repo_id="clinic/model")


def test_labels_are_called_by_their_titles(card_of, run_of):
    text = str(card_of("superclasses"))
    assert "a probability for each of 5 labels: normal ECG (NORM), myocardial infarction (MI)," in text
    assert re.search(r"\| MI +\| myocardial infarction +\|", text)
    for name, threshold in run_of("superclasses").metrics["thresholds"].items():
        assert any(line.startswith(f"| {name}") and f"{threshold:.3f}" in line for line in text.splitlines())
    assert 'result["positive"]' in text and "AV block" not in text


def test_card_of_many_labels_stays_readable(card_of, run_of):
    card = card_of("many")
    text = str(card)
    assert "71 labels: statement number 0 (L00)," in text and "statement number 5 (L05) and 65 more." in text
    # Decisions, ranking, calibration, four metrics by age and sex, exams.
    assert text.count("<summary>The other 59</summary>") == 8
    assert all(text.count(f"\n| {name} ") == 8 for name in run_of("many").label_names)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) < 600
    assert [result.metric_name for result in card.data.eval_results] == [
        "F1, mean",
        "AUROC, mean",
        "average precision, mean",
    ]
    assert "fewer than 30 positives of 67 of 71 labels" in text


def test_one_label_of_several_has_no_thresholds(card_of):
    card = card_of("multi_class")
    text = str(card)
    assert "one of 5 labels, with probabilities that add up to 1" in text
    assert "Accuracy 0.610, balanced accuracy 0.520." in text
    assert "hreshold" not in text.replace("without a threshold", "") and '"positive"' not in text
    assert "| loss | cross-entropy |" in text
    assert {"accuracy", "F1, MI"} <= {result.metric_name for result in card.data.eval_results}


def test_other_signals_are_called_what_they_are(card_of):
    card = card_of("one_lead")
    text = str(card)
    assert "Gives single-lead ECGs a probability for 1 label: normal ECG (NORM)." in text
    assert "single-lead-ecg" in card.data.tags and "12-lead" not in text
    assert "| leads | I; any order, by name |" in text and "5,000 samples (10 s)" in text
    assert "(batch, 1, 5120): zeros on both sides of the 5,000 samples" in text
    assert 'leads = "I".split()' in text and "normal(0, 0.3, (len(leads), 5000))" in text
    assert "| missing leads | refused |" in text
    assert "\n| mean" not in text  # of one label
