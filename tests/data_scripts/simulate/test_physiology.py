"""Patients and conditions: who comes again, what stays, and how often each label appears."""

import math
from collections import Counter

import numpy as np
import pytest

from data_scripts.simulate.exam import draft_exam
from data_scripts.simulate.findings import FindingShares
from data_scripts.simulate.physiology import (
    TARGET_PREVALENCE,
    block_plan,
    check_prevalence_scale,
    draw_condition,
    patient_of,
)
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


def test_patients_have_as_many_exams_as_in_code15():
    exams = Counter(patient_of(5, index)[0] for index in range(12_800))
    assert 1.40 < 12_800 / len(exams) < 1.56  # 345,779 exams of 233,770 patients: 1.48
    assert max(exams.values()) >= 4


def test_visits_of_a_patient_are_numbered_without_gap():
    visits = {}
    for patient, visit in block_plan(5, 3):
        visits.setdefault(patient, []).append(visit)
    assert len(visits) > 1
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in visits.values())


def test_geometry_and_chronic_block_stay_with_the_patient():
    by_patient = {}
    for index in range(640):
        patient, condition = draw_condition(5, index, 4.0, FindingShares(0.0))
        by_patient.setdefault(patient.index, []).append((patient, condition))
    several = [exams for exams in by_patient.values() if len(exams) > 1]
    assert len(several) > 50
    for exams in several:
        assert len({condition.block for _, condition in exams}) == 1
        assert len({patient.frontal_deg for patient, _ in exams}) == 1
        assert np.ptp([condition.qrs_ms for _, condition in exams]) < 12
    assert len({exams[0][0].frontal_deg for exams in several}) == len(several)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_prevalences_are_those_asked_for(scale):
    n = 6000
    labels = np.array([draft_exam(77, index, scale).reading.labels for index in range(n)])
    for name, found in zip(LABEL_NAMES, labels.mean(axis=0), strict=True):
        target = TARGET_PREVALENCE[name] * scale
        # Exams of one patient resemble each other: 1.6 times the variance of independent ones.
        bound = 4 * math.sqrt(1.6 * target * (1 - target) / n)
        assert abs(found - target) < bound, (name, found, target)


def test_labels_overlap():
    labels = np.array([draft_exam(78, index, 6.0).reading.labels for index in range(1000)])
    assert (labels.sum(axis=1) >= 2).sum() > 20


@pytest.mark.parametrize("scale", [0.0, 0.3, 9.0, -1.0, math.nan])
def test_unreachable_prevalences_are_refused(scale):
    with pytest.raises(ValueError, match="prevalence_scale must lie in"):
        check_prevalence_scale(scale)
