"""Whole exams: the same each time, true to what was asked, measured by instruments that are not ours."""

import warnings

import neurokit2 as nk
import numpy as np
import pytest
from wfdb.processing import xqrs_detect

from data_scripts.simulate import exam as exam_module
from data_scripts.simulate.exam import ID_STRIDE, draft_exam, simulate_exam
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


def test_an_exam_is_the_same_whichever_others_are_made():
    first = simulate_exam(9, 70)
    for index in (3, 71, 69):
        simulate_exam(9, index)
    again = simulate_exam(9, 70)
    np.testing.assert_array_equal(first.signal, again.signal)
    assert (first.report, first.labels, first.measurements) == (again.report, again.labels, again.measurements)
    assert not np.array_equal(first.signal[:, :2900], simulate_exam(10, 70).signal[:, :2900])


def test_shape_unit_and_ids():
    exam = simulate_exam(9, 12)
    assert exam.signal.dtype == np.float32 and exam.signal.shape in ((12, 2934), (12, 4096))
    assert 0.3 < np.ptp(exam.signal[1]) < 30  # mV
    assert exam.exam_id == 9 * ID_STRIDE + 13
    assert tuple(exam.labels) == LABEL_NAMES and set(exam.labels.values()) <= {0, 1}


@pytest.mark.parametrize("clean", [False, True])
def test_einthovens_law_holds_to_the_last_bit(clean):
    for index in range(5):
        leads = simulate_exam(9, index, clean=clean).signal
        np.testing.assert_array_equal(leads[0] + leads[2], leads[1])


def test_noise_changes_nothing_but_the_signal():
    clean, noisy = simulate_exam(9, 5, clean=True), simulate_exam(9, 5)
    np.testing.assert_array_equal(clean.beat_times_s, noisy.beat_times_s)
    assert clean.measurements == noisy.measurements
    assert clean.signal.shape == noisy.signal.shape and not np.array_equal(clean.signal, noisy.signal)


def test_text_and_signal_share_no_randomness(monkeypatch):
    before = simulate_exam(9, 8)

    def other_text(rng, reading, condition, language):
        rng.random(1000)
        return "another text"

    monkeypatch.setattr(exam_module, "write_report", other_text)
    after = simulate_exam(9, 8)
    assert after.report == "another text" != before.report
    np.testing.assert_array_equal(before.signal, after.signal)


def test_an_independent_reader_changes_the_report_alone():
    other_words = 0
    for index in range(30):
        shared, apart = simulate_exam(9, index), simulate_exam(9, index, report_reader="independent")
        np.testing.assert_array_equal(shared.signal, apart.signal)
        assert (shared.labels, shared.measurements) == (apart.labels, apart.measurements)
        assert shared.reading == shared.report_reading == apart.reading != apart.report_reading
        assert (
            tuple(apart.labels.values()) == apart.report_reading.labels
        )  # the last line of a report is the archive's
        other_words += shared.report != apart.report
    assert 0 < other_words < 30


def test_independent_readers_err_apart():
    """A rate just beyond the limit of the label's reader need not be beyond that of the report's."""
    agree = {}
    for report_reader in ("shared", "independent"):
        drafts = [draft_exam(9, index, 4.0, report_reader=report_reader) for index in range(3000)]
        slow = [d for d in drafts if d.reading.labels[LABEL_NAMES.index("SB")]]
        agree[report_reader] = np.mean([d.report_reading.rate_class == "slow" for d in slow])
    assert agree["shared"] > 0.97 and agree["independent"] < 0.93


def test_an_unknown_reader_is_refused():
    with pytest.raises(ValueError, match="report_reader must be one of shared, independent, found 'both'"):
        simulate_exam(9, 0, report_reader="both")


@pytest.fixture(scope="module")
def plain_exams():
    """Clean sinus exams without block or ectopic beats."""
    exams, index = [], 0
    while len(exams) < 16:
        condition = draft_exam(61, index).condition
        if condition.rhythm == "sinus" and condition.block == "none" and condition.ectopics == "none":
            exams.append(simulate_exam(61, index, clean=True))
        index += 1
    return exams


def test_heart_rate_by_wfdb(plain_exams):
    errors = []
    for exam in plain_exams:
        beats = xqrs_detect(exam.signal[1].astype(float), SAMPLING_RATE, verbose=False)
        if len(beats) >= 4:
            errors.append(60 * SAMPLING_RATE / np.mean(np.diff(beats)) - exam.measurements.heart_rate)
    assert len(errors) >= 13  # the detector itself fails on some
    assert np.mean(np.abs(errors) < 2) > 0.9


def test_pr_and_qrs_by_neurokit(plain_exams):
    warnings.filterwarnings("ignore", module="neurokit2")
    pr, qrs = [], []
    for exam in plain_exams:
        begins, ends, p_onset = [], [], np.nan
        peaks = nk.ecg_peaks(exam.signal[1].astype(float), sampling_rate=SAMPLING_RATE)[1]["ECG_R_Peaks"][1:-1]
        for name, row in (("II", 1), ("I", 0), ("V4", 9), ("V5", 10), ("V6", 11)):
            _, waves = nk.ecg_delineate(exam.signal[row].astype(float), peaks, SAMPLING_RATE, method="prominence")
            begins.append(np.nanmedian(np.array(waves["ECG_R_Onsets"], float) - peaks))
            ends.append(np.nanmedian(np.array(waves["ECG_R_Offsets"], float) - peaks))
            if name == "II":
                p_onset = np.nanmedian(np.array(waves["ECG_P_Onsets"], float) - peaks)
        to_ms = 1000 / SAMPLING_RATE
        pr.append((np.min(begins) - p_onset) * to_ms - exam.measurements.pr_ms)
        qrs.append((np.max(ends) - np.min(begins)) * to_ms - exam.measurements.qrs_ms)
    assert np.nanmedian(np.abs(pr)) < 20
    assert np.nanmedian(np.abs(qrs)) < 15


@pytest.mark.parametrize("arguments", [(-1, 0), (2**62, 0), (0, -1), (0, ID_STRIDE), (0, 0, 100.0)])
def test_impossible_requests_are_refused(arguments):
    with pytest.raises(ValueError, match="must lie in"):
        simulate_exam(*arguments)


def test_the_language_changes_the_report_alone():
    for index in (0, 1):
        exams = {language: simulate_exam(9, index, report_language=language) for language in ("pt", "en", "both")}
        assert len({exam.signal.tobytes() for exam in exams.values()}) == 1
        assert exams["both"].report == exams["en" if index else "pt"].report != exams["pt" if index else "en"].report
    with pytest.raises(ValueError, match="report_language must be one of pt, en, both, found 'de'"):
        simulate_exam(9, 0, report_language="de")
