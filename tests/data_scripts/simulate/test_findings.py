"""Findings beside the six labels: drawn by streams of their own, as often as asked for, and seen in the waves."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from data_scripts.simulate.exam import draft_exam, simulate_exam
from data_scripts.simulate.findings import KINDS, Finding, FindingShares, draw_findings
from data_scripts.simulate.morphology import draw_heart, render
from data_scripts.simulate.physiology import draw_condition, patient_of
from data_scripts.simulate.projection import twelve_leads
from data_scripts.simulate.rhythm import NORMAL, Beats
from data_scripts.simulate.visible import qrs_details, sokolow_lyon_mv, st_details
from data_scripts.text.reports import parse_report
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


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
    for index, draft in drafts_with(kind, 60):
        finding = draft.condition.findings[0]
        if finding.severity < 1.0 or draft.condition.block != "none":
            continue
        patient, condition = draw_condition(8, index, 1.0, only(kind))
        heart = draw_heart(np.random.default_rng(0), patient, condition)
        details = qrs_details(heart, 0.0) + st_details(heart, condition, 0.0)
        seen.append({lead for detail in details if detail.word == word for lead in detail.leads})
    assert len(seen) >= 15 and sum(bool(leads & found) for found in seen) >= 0.65 * len(seen)


BEAT_S = 1.2  # where the one beat of `beat` has its reference point


@pytest.fixture(scope="module")
def plain():
    """Patient and condition of a usual heart, without finding, block, splinters or change of ST and T."""
    for index in range(500):
        patient, condition = draw_condition(8, index, 1.0, NONE)
        usual = (condition.rhythm, condition.block, condition.repolarisation) == ("sinus", "none", "normal")
        if usual and patient.left_wall == 0 and not patient.low_voltage and abs(patient.frontal_deg) < 10:
            patient = replace(patient, splinters=patient.splinters * [1, 1, 0, 0, 0])
            return patient, replace(condition, heart_rate=60.0, qtc_ms=400.0, qrs_ms=90.0, pr_ms=160.0)
    raise AssertionError("no plain exam")


def beat(patient, condition):
    """One beat without noise: twelve leads by name, mV, and its heart."""
    heart = draw_heart(np.random.default_rng(0), patient, condition)
    one, none = np.array([BEAT_S]), np.zeros(1)
    beats = Beats(one, np.array([NORMAL]), np.array([1.0]), 0.3, 0.0, none, np.zeros(0))
    eight = render(np.random.default_rng(0), beats, heart, condition, np.ones((1, 8)), 1000)
    return dict(zip(LEAD_NAMES, twelve_leads(eight), strict=True)), heart


def at(seconds):
    """Sample at a time from the reference point."""
    return round((BEAT_S + seconds) * SAMPLING_RATE)


def with_finding(condition, name, **changes):
    return replace(condition, findings=(Finding(name),), **changes)


def test_high_potassium_narrows_t_before_its_end(plain):
    patient, condition = plain
    usual, heart = beat(patient, condition)
    peaked, _ = beat(patient, with_finding(condition, "high_potassium"))
    t = slice(at(heart.offset_s + 0.06), at(0.6))
    broad, narrow = ((lead["V4"][t] > 0.5 * lead["V4"][t].max()).sum() for lead in (usual, peaked))
    assert peaked["V4"][t].max() > 2 * usual["V4"][t].max() and narrow < 0.8 * broad
    assert np.argmax(peaked["V4"][t]) > np.argmax(usual["V4"][t])  # the beginning comes later, QT stays


def test_digitalis_hangs_st_between_qrs_and_t(plain):
    patient, condition = plain
    sagging, heart = beat(patient, with_finding(condition, "digitalis"))
    v5, j, end = sagging["V5"], at(heart.offset_s + 0.015), at(0.23)
    lowest = j + int(np.argmin(v5[j:end]))
    assert v5[lowest] < v5[j] - 0.05 and v5[lowest] < -0.08 and at(heart.offset_s + 0.05) < lowest < end - 8


@pytest.mark.parametrize(("kind", "lead"), [("inferior_injury", "III"), ("anterior_injury", "V2")])
def test_raised_st_runs_into_t_without_a_dip(plain, kind, lead):
    patient, condition = plain
    raised, heart = beat(patient, with_finding(condition, kind))
    part = raised[lead][at(heart.offset_s + 0.03) : at(0.4)]
    rising = part[: part.argmax() + 1]
    assert (np.maximum.accumulate(rising) - rising).max() < 0.05 * rising.max()


@pytest.mark.parametrize(("kind", "lead"), [("delta_wave_left", "V4"), ("delta_wave_right", "I")])
def test_a_delta_wave_runs_into_the_r_wave(plain, kind, lead):
    patient, condition = plain
    slurred, heart = beat(patient, with_finding(condition, kind, qrs_ms=118.0, pr_ms=108.0))
    rising = slurred[lead][at(heart.onset_s) : at(0.02)]
    rising = rising[: rising.argmax() + 1]
    assert (np.maximum.accumulate(rising) - rising).max() < 0.03 * rising.max()
    assert (rising > 0.05 * rising.max()).sum() > 0.04 * SAMPLING_RATE  # slowly


def test_p_from_the_node_is_negative_in_ii_and_where_it_was_drawn(plain):
    patient, condition = plain
    node = with_finding(condition, "junctional", rhythm="junctional", pr_ms=None)
    silent, heart = beat(patient, node)
    for begins_ms in (-95.0, condition.qrs_ms + 40.0):
        seen, _ = beat(patient, replace(node, retrograde_ms=begins_ms))
        p = {lead: seen[lead] - silent[lead] for lead in ("II", "aVF", "aVR", "V1")}
        lowest = (int(np.argmin(p["II"])) / SAMPLING_RATE - BEAT_S - heart.onset_s) * 1000
        assert begins_ms + 20 < lowest < begins_ms + 75
        assert p["II"].min() < -0.05 and p["aVF"].min() < -0.05 and p["aVR"].max() > 0.02


def test_rhythms_of_the_node_have_p_before_within_or_behind_the_qrs_and_say_so():
    words = {"negative": 0, "behind": 0, "absent": 0}
    for index, draft in drafts_with("junctional", 40):
        report = simulate_exam(8, index, clean=True, shares=only("junctional"), report_language="en").report
        begins_ms = draft.condition.retrograde_ms
        if draft.reading.rhythm != "junctional":
            continue
        place = "absent" if begins_ms is None else "negative" if begins_ms < 0 else "behind"
        hidden = place == "behind" and "behind the QRS" not in report and "just after the QRS" not in report
        words["absent" if hidden else place] += 1
        assert draft.condition.pr_ms is None and (place != "negative" or "II" in report)
    assert min(words.values()) > 2


def test_a_thick_left_wall_raises_voltage_and_turns_t_away_and_the_reader_measures_it(plain):
    patient, condition = plain
    usual, _ = beat(patient, condition)
    thick, heart = beat(replace(patient, left_wall=1.2), condition)
    for lead, sign in (("V5", 1), ("V1", -1), ("aVL", 1)):
        assert (sign * thick[lead]).max() > (sign * usual[lead]).max() + 0.1
    assert thick["V6"][at(0.2) : at(0.4)].max() < usual["V6"][at(0.2) : at(0.4)].max()
    measured = max(thick["V5"].max(), thick["V6"].max()) - thick["V1"].min()
    assert sokolow_lyon_mv(heart) == pytest.approx(measured, abs=0.05)
