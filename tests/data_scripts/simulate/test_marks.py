"""Marks: where the noiseless waves leave and meet the baseline, in agreement with what was asked for, lead by lead."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from data_scripts.simulate.exam import draft_exam, simulate_exam
from data_scripts.simulate.marks import (
    MARKED_LEADS,
    MARKED_WAVES,
    MIN_WAVE_MV,
    QRS,
    T_EDGE,
    P,
    T,
    marks_of,
)
from data_scripts.simulate.marks_table import MARK_NAMES, MARKS_SCHEMA, marks_table
from data_scripts.simulate.morphology import EDGE, draw_gains, render
from data_scripts.simulate.projection import exchange_matrix, twelve_leads
from data_scripts.simulate.rhythm import NORMAL, SUPRAVENTRICULAR, VENTRICULAR
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES, SAMPLING_RATE


SEED = 71
SAMPLE_MS = 1000 / SAMPLING_RATE


def drawn(condition_holds, n, start=0):
    """Drafts of the first exams whose condition is as wanted, with gains."""
    found, index = [], start
    while len(found) < n:
        draft = draft_exam(SEED, index, 3.0, clean=True)
        if condition_holds(draft.condition):
            found.append((draft, draw_gains(draft.morphology_rng, draft.beats)))
        index += 1
    return found


@pytest.fixture(scope="module")
def drafts():
    """Exams of all kinds: plain, both blocks, both ectopic beats, slow and fast."""
    sinus = [
        lambda c: c.block == "rbbb",
        lambda c: c.block == "lbbb",
        lambda c: c.ectopics == "ventricular",
        lambda c: c.ectopics == "supraventricular",
        lambda c: c.heart_rate < 50,
        lambda c: 100 < c.heart_rate < 115,
        lambda c: c.block == "none",
    ]
    return [one for holds in sinus for one in drawn(lambda c, holds=holds: c.rhythm == "sinus" and holds(c), 2)]


def marks_in(draft, gains, **changes):
    duration_s = draft.recording.n_samples / SAMPLING_RATE
    return marks_of(draft.beats, draft.heart, draft.condition, gains, duration_s, **changes)


def alone(draft, gains, wave, exchanged=None):
    """The recording with one kind of wave in it and no other, (12, n) in mV: drawn by `render`, without marks."""
    heart, none = draft.heart, lambda waves: replace(waves, leads=0 * waves.leads)
    others = ("st_leads", "j_leads", "u_leads", "sag_leads", "pr_leads", "spike_leads")
    heart = replace(heart, **{name: np.zeros(8) for name in others})
    if wave != P:
        heart = replace(heart, p=none(heart.p), ectopic_p=none(heart.ectopic_p))
    kept = {P: [0, 0, 0, 0], QRS: [1, 1, 1, 0], T: [0, 0, 0, 1]}[wave]
    ventricular = replace(heart.ventricular, leads=heart.ventricular.leads * np.array(kept)[:, None])
    heart = replace(heart, ventricular=ventricular)
    if wave != QRS:
        heart = replace(heart, qrs=none(heart.qrs))
    if wave != T:
        heart = replace(heart, t_leads=0 * heart.t_leads)
    eight = render(np.random.default_rng(0), draft.beats, heart, draft.condition, gains, draft.recording.n_samples)
    return twelve_leads(eight if exchanged is None else exchange_matrix(*exchanged) @ eight)


@pytest.mark.parametrize("wave", [P, QRS, T], ids=MARKED_WAVES)
@pytest.mark.parametrize("exchanged", [None, ("RA", "LA"), ("LA", "RL")])
def test_edges_in_each_lead_are_where_the_wave_alone_crosses_its_level(drafts, wave, exchanged):
    inward = []  # from the marks to the first and last sample above the level, in samples
    for draft, gains in drafts:
        marks, leads = marks_in(draft, gains, exchanged=exchanged), alone(draft, gains, wave, exchanged)
        for times, kind in zip(marks.times_ms, marks.kinds, strict=True):
            share = EDGE if wave != T else np.exp(-2) if kind == VENTRICULAR else T_EDGE
            for lead in range(12):
                onset, peak, offset = times[1 + lead, wave] / SAMPLE_MS
                if np.isnan([onset, peak, offset]).any():
                    continue
                low, high = max(0, int(onset) - 25), int(offset) + 26
                size = np.abs(leads[lead, low:high])
                above = low + np.flatnonzero(size > share * size.max())
                inward += [above[0] - onset, offset - above[-1]]
                outside = np.concatenate([size[: int(onset) - low + 1], size[int(offset) + 1 - low :]])
                assert outside.max() < 1.12 * share * size.max()  # the true peak lies between two samples
                assert size[max(0, round(peak) - low)] > 0.93 * size.max() > 0.9 * MIN_WAVE_MV
    # Samples lie up to one step within the edges; where a wave all but fails to reach the level, it may be more.
    assert len(inward) > 2000 and np.mean((np.array(inward) > -0.2) & (np.array(inward) < 1.2)) > 0.985


def test_over_all_leads_the_distances_are_the_simulated_intervals(drafts):
    for draft, gains in drafts:
        marks, condition = marks_in(draft, gains), draft.condition
        whole = marks.times_ms[marks.kinds != VENTRICULAR, 0]
        np.testing.assert_allclose(np.diff(whole[:, QRS, ::2])[1:-1], condition.qrs_ms, atol=0.01)
        np.testing.assert_allclose((whole[:, QRS, 0] - whole[:, P, 0])[1:-1], condition.pr_ms, atol=0.01)
        beats = draft.beats
        rr_s = beats.rr_s[(beats.kinds != VENTRICULAR) & beats.inside(draft.recording.n_samples / SAMPLING_RATE)]
        qt = (whole[:, T, 2] - whole[:, QRS, 0])[np.isfinite(whole[:, QRS]).all(axis=1)]
        np.testing.assert_allclose(qt[1:-1], condition.qtc_ms * np.sqrt(rr_s[: len(qt)])[1:-1], atol=0.01)


def test_the_earliest_and_latest_lead_are_near_the_marks_over_all_leads(drafts):
    for draft, gains in drafts:
        marks = marks_in(draft, gains)
        times = marks.times_ms[1:-1]
        assert np.abs(np.nanmin(times[:, 1:, QRS, 0], axis=1) - times[:, 0, QRS, 0]).max() < 12
        assert np.abs(np.nanmax(times[:, 1:, QRS, 2], axis=1) - times[:, 0, QRS, 2]).max() < 20


def test_waves_follow_each_other(drafts):
    for draft, gains in drafts:
        marks = marks_in(draft, gains)
        for row in marks.times_ms[:, 0].reshape(-1, 9):
            assert (np.diff(row[np.isfinite(row)]) > 0).all()
        expected = {NORMAL, {"ventricular": VENTRICULAR, "supraventricular": SUPRAVENTRICULAR}.get(
            draft.condition.ectopics, NORMAL
        )}  # fmt: skip
        assert set(marks.kinds) <= expected
        assert np.isnan(marks.times_ms[marks.kinds == VENTRICULAR][:, :, P]).all()


def test_fibrillation_has_no_p():
    for draft, gains in drawn(lambda c: c.rhythm == "af", 3):
        times = marks_in(draft, gains).times_ms
        assert np.isnan(times[:, :, P]).all() and np.isfinite(times[:, 0, QRS]).any()


def test_nothing_is_marked_outside_the_recording(drafts):
    for draft, gains in drafts:
        times = marks_in(draft, gains).times_ms
        last_ms = (draft.recording.n_samples - 1) * SAMPLE_MS
        assert np.nanmin(times) >= 0 and np.nanmax(times) <= last_ms
        assert np.isfinite(times).any(axis=(1, 2, 3)).all()


def test_exchanged_arms_exchange_marks_and_a_lost_lead_has_none(drafts):
    draft, gains = drafts[0]
    plain, swapped = (marks_in(draft, gains, exchanged=pair).times_ms for pair in (None, ("RA", "LA")))
    for pair in (("II", "III"), ("aVR", "aVL"), ("I", "I"), ("aVF", "aVF"), ("V3", "V3")):
        here, there = map(MARKED_LEADS.index, pair)
        np.testing.assert_allclose(swapped[:, here], plain[:, there], atol=0.05)
    assert not np.allclose(swapped[:, 2], plain[:, 2], equal_nan=True)
    lost = marks_in(draft, gains, lost_lead=4).times_ms  # I, II, V1, V2, V3
    v3 = MARKED_LEADS.index("V3")
    assert np.isnan(lost[:, v3]).all() and np.isfinite(plain[:, v3]).any()
    np.testing.assert_array_equal(np.delete(lost, v3, axis=1), np.delete(plain, v3, axis=1))


def test_a_recording_with_flaws_is_marked_as_it_was_recorded():
    """The lead without contact, and the exchanged arms, of whole exams with noise."""
    seen, index = set(), 0
    while seen != {"loose", "reversal"}:
        draft = draft_exam(SEED, index)
        for flaw in {"loose", "reversal"} & set(draft.recording.flaws):
            exam = simulate_exam(SEED, index, with_marks=True)
            clean = simulate_exam(SEED, index, clean=True, with_marks=True)
            silent = [name for k, name in enumerate(LEAD_NAMES) if np.isnan(exam.marks.times_ms[:, 1 + k]).all()]
            if flaw == "loose":
                row = LEAD_NAMES.index(silent[0])
                assert len(silent) == 1
                assert abs(np.corrcoef(exam.signal[row], clean.signal[row])[0, 1]) < 0.5
            else:
                two, three = MARKED_LEADS.index("II"), MARKED_LEADS.index("III")
                np.testing.assert_allclose(exam.marks.times_ms[:, two], clean.marks.times_ms[:, three], atol=0.05)
            seen.add(flaw)
        index += 1


def test_marks_change_nothing_else():
    plain, marked = simulate_exam(SEED, 3), simulate_exam(SEED, 3, with_marks=True)
    np.testing.assert_array_equal(plain.signal, marked.signal)
    assert (plain.report, plain.measurements) == (marked.report, marked.measurements)
    assert plain.marks is None and marked.marks is not None


def test_the_table_holds_each_mark_once_in_ms_and_as_a_sample():
    exams = [simulate_exam(SEED, index, with_marks=True) for index in range(3)]
    firsts = [(4096 - exam.signal.shape[1]) // 2 for exam in exams]
    table = marks_table([(exam.exam_id, first, exam.marks) for exam, first in zip(exams, firsts, strict=True)])
    assert table.schema == MARKS_SCHEMA and table.schema.field("lead").type == pa.dictionary(pa.int8(), pa.string())
    frame = table.to_pandas()
    for exam, first in zip(exams, firsts, strict=True):
        for k, lead in enumerate(MARKED_LEADS):
            rows = frame[(frame.exam_id == exam.exam_id) & (frame.lead == lead)]
            assert list(rows.beat) == list(range(len(exam.marks.kinds)))
            expected = exam.marks.times_ms[:, k].reshape(len(rows), 9)
            np.testing.assert_array_equal(rows[[f"{name}_ms" for name in MARK_NAMES]].to_numpy(float), expected)
            samples = rows[[f"{name}_sample" for name in MARK_NAMES]].to_numpy(float)
            assert np.nanmax(np.abs(samples - first - expected / SAMPLE_MS), initial=0) <= 0.501
            np.testing.assert_array_equal(np.isnan(samples), np.isnan(expected))
    kinds = {NORMAL: "normal", VENTRICULAR: "ventricular", SUPRAVENTRICULAR: "supraventricular"}
    assert list(frame.kind[: len(exams[0].marks.kinds)]) == [kinds[kind] for kind in exams[0].marks.kinds]
