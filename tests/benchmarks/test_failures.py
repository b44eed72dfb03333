"""Kinds of false calls: each rule by an exam made for it, and by a report of PTB-XL."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.real.exams import RealExam
from benchmarks.real.failures import (
    KINDS,
    Evidence,
    by_measurement,
    contradicted,
    defined_otherwise,
    judged,
    kind_of,
    sources_of,
)
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


PLAIN = Evidence("", frozenset(), False, False, 70.0, 160.0, 90.0)


@pytest.mark.parametrize(
    ("label", "truth", "changes", "kind"),
    [
        ("RBBB", 1, {"report": "sinusrhythmus unvollstÄndiger rechtsschenkelblock", "qrs_ms": 125.0}, "report"),
        ("LBBB", 1, {"report": "sinus rhythm. right bundle branch block.", "qrs_ms": 147.0}, "report"),
        ("ST", 0, {"report": "sinustachykardi eljest normalt ekg", "rate_bpm": 106.0}, "report"),
        ("SB", 1, {"rate_bpm": 57.0}, "definition"),
        ("SB", 0, {"rate_bpm": 48.0}, "definition"),
        ("1dAVb", 0, {"pr_ms": 230.0, "codes": frozenset({"LPR"})}, "definition"),
        ("RBBB", 1, {"qrs_ms": 90.0}, "definition"),
        ("AF", 0, {"paced": True, "pr_ms": None}, "paced"),
        ("AF", 0, {"codes": frozenset({"PAC", "SR"})}, "rhythm"),
        ("AF", 0, {"noisy": True}, "noise"),
        ("AF", 0, {"codes": frozenset({"CLBBB"}), "qrs_ms": 150.0}, "qrs"),
        ("AF", 1, {"rate_bpm": 120.0}, "fast"),
        ("LBBB", 1, {"codes": frozenset({"CLBBB"}), "qrs_ms": 150.0}, "other"),  # its own code explains nothing
    ],
)
def test_the_first_kind_that_fits(label, truth, changes, kind):
    assert kind_of(label, truth, replace(PLAIN, **changes)) == kind and kind in KINDS


def test_nothing_is_disputed_where_report_measurement_and_label_agree():
    slow = replace(PLAIN, report="sinus bradycardia. otherwise normal ecg.", rate_bpm=44.0)
    for label, truth, evidence in (("SB", 1, slow), ("SB", 0, PLAIN), ("1dAVb", 0, PLAIN), ("AF", 0, PLAIN)):
        assert not contradicted(label, truth, evidence) and not defined_otherwise(label, truth, evidence)
    assert not contradicted("RBBB", 0, replace(PLAIN, report="incomplete right bundle branch block."))


def test_labels_by_measurement():
    slow = replace(PLAIN, rate_bpm=49.0)
    assert by_measurement("SB", 0, slow) == 1 and by_measurement("SB", 1, replace(PLAIN, rate_bpm=57.0)) == 0
    assert by_measurement("SB", 0, replace(slow, codes=frozenset({"AFIB"}))) == 0  # not the sinus node
    assert by_measurement("1dAVb", 0, replace(PLAIN, pr_ms=None)) == -1
    assert by_measurement("LBBB", 1, PLAIN) == 1  # no limit of one number


def test_false_calls_are_counted_and_disputed_labels_left_out():
    exams = [
        RealExam("s", str(k), str(k), None, (0, 0, 0, stated, 0, 0), 50.0, None) for k, stated in ((0, 1), (1, 1))
    ]
    known = [replace(PLAIN, rate_bpm=57.0), replace(PLAIN, rate_bpm=44.0)]
    counts, labels = judged(exams, known, np.full((2, 6), 0.2), (0.5,) * 6, False)
    assert counts["SB"]["definition"] == [1, 0] and counts["SB"]["other"] == [1, 0]
    assert sum(sum(sum(pair) for pair in kinds.values()) for kinds in counts.values()) == 2
    column = LABEL_NAMES.index("SB")
    assert labels["undisputed labels"][:, column].tolist() == [-1, 1]
    assert labels["labels by measurement"][:, column].tolist() == [0, 1]


def test_sources_give_reports_codes_and_remarks(sample_data):
    sources = sources_of(sample_data)
    report, codes, _, paced = sources["ptbxl/190"]
    assert "pacemaker" in report and "PACE" in codes and paced
    # static_noise of exam 1 names its leads; of exam 2 every remark is empty.
    assert sources["ptbxl/1"][2:] == (True, False) and sources["ptbxl/2"][2:] == (False, False)
    assert "RBBB" in sources["cinc/A0001"][1] or "59118001" in sources["cinc/A0001"][1]
