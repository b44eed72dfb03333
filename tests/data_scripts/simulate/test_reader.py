"""Readings: errors shared by report and label, borderline cases on both sides, labels not quite what was read."""

import numpy as np
import pytest

from data_scripts.simulate.exam import draft_exam
from data_scripts.simulate.findings import OTHER_RHYTHMS
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


@pytest.fixture(scope="module")
def drafts():
    return [draft_exam(41, index, 4.0) for index in range(3000)]


def test_labels_mostly_repeat_the_findings_and_some_are_lost(drafts):
    named = np.array([[name in d.reading.findings for name in LABEL_NAMES] for d in drafts])
    labels = np.array([d.reading.labels for d in drafts], bool)
    lost = (named & ~labels).sum() / named.sum()
    assert 0.01 < lost < 0.06
    assert (labels & ~named).sum() < 0.01 * labels.sum() + 15


@pytest.mark.parametrize(
    ("name", "value", "limit", "spread"),
    [
        ("1dAVb", lambda c: c.pr_ms, 200, 25),
        ("SB", lambda c: -c.heart_rate, -50, 6),
        ("ST", lambda c: c.heart_rate, 100, 8),
    ],
)
def test_borderline_exams_are_read_either_way_and_clear_ones_are_not(drafts, name, value, limit, spread):
    k = LABEL_NAMES.index(name)
    sinus = [d for d in drafts if d.condition.rhythm == "sinus"]
    near = [d.reading.labels[k] for d in sinus if abs(value(d.condition) - limit) < spread / 4]
    above = [d.reading.labels[k] for d in sinus if value(d.condition) > limit + spread]
    below = [d.reading.labels[k] for d in sinus if value(d.condition) < limit - spread]
    assert 0.1 < np.mean(near) < 0.9
    assert np.mean(above) > 0.8
    assert np.mean(below) < 0.02


def test_rhythms_are_sometimes_mistaken(drafts):
    seen = [(d.condition.rhythm, d.reading.rhythm) for d in drafts]
    assert ("af", "sinus") in seen or ("af", "unclear") in seen
    assert 0.8 < np.mean([read == "af" for true, read in seen if true == "af"]) < 0.99


def test_reading_follows_the_truth_within_the_readers_error(drafts):
    sinus = [d for d in drafts if d.condition.rhythm == "sinus" and d.reading.rhythm == "sinus"]
    pr_error = np.array([d.reading.pr_ms - d.condition.pr_ms for d in sinus])
    qrs_error = np.array([d.reading.qrs_ms - d.condition.qrs_ms for d in sinus])
    assert abs(pr_error.mean()) < 0.6 and 4 < pr_error.std() < 9
    assert abs(qrs_error.mean()) < 0.5 and 3 < qrs_error.std() < 6.5


def test_no_pr_without_p(drafts):
    for d in drafts:
        assert (d.reading.pr_ms is None) == (d.reading.pr_class == "none")
        conducts = d.reading.rhythm in OTHER_RHYTHMS and d.condition.pr_ms is not None
        assert (d.reading.pr_ms is None) == (d.reading.rhythm != "sinus" and not conducts)
