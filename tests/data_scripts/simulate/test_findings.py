"""Findings beside the six labels: drawn by streams of their own, as often as asked for, and seen in the waves."""

from collections import Counter

import numpy as np
import pytest

from data_scripts.simulate.exam import draft_exam, simulate_exam
from data_scripts.simulate.findings import KINDS, FindingShares, draw_findings
from data_scripts.simulate.morphology import draw_heart
from data_scripts.simulate.physiology import draw_condition, patient_of
from data_scripts.simulate.visible import qrs_details, st_details
from data_scripts.text.reports import parse_report
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


NONE = FindingShares(0.0)


def only(kind):
    """Shares of cohorts in which every heart that has room for it has this finding, and none another."""
    return FindingShares(0.0, ((kind, 1.0),))


def drafts_with(kind, number=3):
    """The first exams that have it."""
    found, index = [], 0
    while len(found) < number:
        draft = draft_exam(8, index, clean=True, shares=only(kind))
        if [finding.name for finding in draft.condition.findings] == [kind]:
            found.append((index, draft))
        index += 1
    return found


def test_exams_without_findings_do_not_depend_on_them():
    for index in range(30):
        with_some = draft_exam(8, index)
        if not with_some.condition.findings:
            plain = draft_exam(8, index, shares=NONE)
            assert with_some.condition == plain.condition and with_some.reading == plain.reading
            np.testing.assert_array_equal(with_some.beats.times, plain.beats.times)


def test_lasting_findings_stay_with_the_patient():
    seen: dict[int, set] = {}
    for index in range(256):
        patient, condition = draw_condition(5, index, 1.0, FindingShares(4.0))
        assert patient.index == patient_of(5, index)[0]
        kept = tuple(f for f in condition.findings if f.kind.lasting and f.kind.group is None)
        seen.setdefault(patient.index, set()).add(kept)
    assert any(any(kept) for kept in seen.values()) and all(len(kept) == 1 for kept in seen.values())


def test_shares_are_those_asked_for():
    n, counts = 4000, Counter()
    for k in range(n):
        rng = np.random.default_rng(k)
        for lasting in (True, False):
            counts.update(finding.name for finding in draw_findings(rng, FindingShares(), 53.0, lasting))
    for name, kind in KINDS.items():
        expected = n * kind.share
        assert abs(counts[name] - expected) < 5 * np.sqrt(expected) + 1, name


@pytest.mark.parametrize(
    ("scale", "changes", "message"),
    [(-1.0, (), "finding_scale"), (1.0, (("gout", 0.1),), "unknown kind 'gout'"), (1.0, (("svt", 2.0),), "svt must")],
)
def test_impossible_shares_are_refused(scale, changes, message):
    with pytest.raises(ValueError, match=message):
        FindingShares(scale, changes)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_signal_and_its_words_alone(kind):
    (index, draft), *_ = drafts_with(kind, 1)
    exam, plain = (
        simulate_exam(8, index, clean=True, shares=only(kind)),
        simulate_exam(8, index, clean=True, shares=NONE),
    )
    assert exam.measurements.other_findings == kind and plain.measurements.other_findings == ""
    assert np.abs(exam.signal - plain.signal).max() > 0.05
    assert parse_report(exam.report).description and draft.reading == exam.reading
    assert exam.patient_id == plain.patient_id and np.isfinite(exam.signal).all()


def test_rhythms_do_not_take_the_place_of_the_six_labels():
    shares = FindingShares(0.0, tuple((name, 1.0) for name, kind in KINDS.items() if kind.group == "rhythm"))
    for index in range(300):
        draft, plain = draft_exam(8, index, 4.0, shares=shares), draft_exam(8, index, 4.0, shares=NONE)
        if any(plain.patient.cases.values()) or plain.condition.rate_group != "usual":
            assert draft.condition == plain.condition
        elif draft.condition.rhythm not in ("sinus", "af", "flutter"):
            labels = dict(zip(LABEL_NAMES, draft.reading.labels, strict=True))
            assert not {name for name in ("SB", "ST", "1dAVb") if labels[name]} or draft.reading.rhythm == "sinus"


def test_wenckebach_lengthens_pr_until_a_beat_is_left_out():
    for _, draft in drafts_with("wenckebach"):
        beats, rr = draft.beats, np.diff(draft.beats.times)
        assert len(beats.lone_p_s) > 1 and rr.max() > 1.3 * rr.min()
        for lone in beats.lone_p_s[(beats.lone_p_s > beats.times[1]) & (beats.lone_p_s < beats.times[-2])]:
            last, following = beats.late_s[beats.times < lone][-1], beats.late_s[beats.times > lone][0]
            assert last > 0.05 and following == 0


def test_in_complete_block_p_waves_and_beats_keep_their_own_time():
    for _, draft in drafts_with("complete_block"):
        assert draft.condition.pr_ms is None and draft.condition.heart_rate < 55
        assert np.diff(draft.beats.lone_p_s).max() < 60 / 60 and np.median(np.diff(draft.beats.times)) > 1.1


def test_bigeminy_alternates():
    for _, draft in drafts_with("bigeminy"):
        assert set(np.diff(draft.beats.kinds[2:-2] > 0).tolist()) == {True}


@pytest.mark.parametrize(
    ("kind", "word", "leads"),
    [
        ("inferior_scar", "q", {"II", "III", "aVF"}),
        ("lateral_scar", "q", {"I", "aVL"}),
        ("posterior_scar", "large_r", {"V1"}),
        ("anterior_scar", "small_r", {"V1", "V2", "V3"}),
        ("inferior_injury", "st_up", {"II", "III", "aVF"}),
        ("inferior_injury", "st_down", {"aVL", "I"}),
        ("ischaemia", "st_down", {"V4", "V5", "II"}),
        ("anterior_t", "t_negative", {"V2", "V3"}),
        ("high_potassium", "t_tall", {"V3", "V4"}),
        ("low_potassium", "u_wave", {"V2", "V3"}),
        ("pericarditis", "pr_down", {"II", "V5"}),
    ],
)
def test_severe_ones_are_seen_where_textbooks_look(kind, word, leads):
    seen = []
    for index, draft in drafts_with(kind, 12):
        finding = draft.condition.findings[0]
        if finding.severity < 1.0 or draft.condition.block != "none":
            continue
        patient, condition = draw_condition(8, index, 1.0, only(kind))
        heart = draw_heart(np.random.default_rng(0), patient, condition)
        details = qrs_details(heart, 0.0) + st_details(heart, condition, 0.0)
        seen.append({lead for detail in details if detail.word == word for lead in detail.leads})
    assert seen and sum(bool(leads & found) for found in seen) >= 0.7 * len(seen)
