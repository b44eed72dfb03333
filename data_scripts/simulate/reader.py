"""How an exam is read: measurements with the reader's error, findings by the reader's own limits, and labels."""

from dataclasses import dataclass

import numpy as np

from data_scripts.simulate.findings import OTHER_RHYTHMS
from data_scripts.simulate.morphology import Heart
from data_scripts.simulate.noise import Recording
from data_scripts.simulate.physiology import Condition, Patient
from data_scripts.simulate.rhythm import Beats
from data_scripts.simulate.visible import AMPLITUDE_ERROR_MV, qrs_details, sokolow_lyon_mv, st_details
from data_scripts.text.description import Detail
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.morphology_ecgclip import SOKOLOW_LYON_MV
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


# Standard deviations of one reading: beats per minute and ms.
RATE_ERROR, PR_ERROR, QRS_ERROR, QTC_ERROR, AXIS_ERROR = 0.7, 5.0, 3.5, 10.0, 6.0
NOISY_FACTOR = 2.0  # of all of them where the recording is noisy or wanders
# Readers draw the line at about the same place, not at the same: (mean, standard deviation).
SLOW_LIMIT, FAST_LIMIT, PR_LIMIT, QRS_LIMIT = (50.0, 1.6), (100.0, 2.0), (200.0, 4.0), (120.0, 3.5)
QRS_SEEN_AS_WIDE = 110.0
SHORT_PR = 120.0
VOLTAGE_LIMIT = (SOKOLOW_LYON_MV, 0.15)
LONG_QTC = {True: 450.0, False: 470.0}  # male, female

OVERLOOKED = 0.05  # of findings that are there, in the reading
OTHER_RHYTHM_MISSED = 0.08
FINDING_SEEN = (0.6, 0.12)  # severity from which a finding is concluded: mean, standard deviation
LABEL_LOST = 0.03  # of diagnoses read, on the way from conclusion to label
LABEL_ADDED = 0.0004  # of labels, per exam, that nothing supports


@dataclass(frozen=True)
class ReadExam:
    """
    One reading of one exam. Rates in beats per minute, durations in ms, axis in degrees.

    Args:
        rhythm (`str`): one of `physiology.Rhythm` or `"unclear"`, as the reader sees it.
        heart_rate (`int`), qrs_ms (`int`), qtc_ms (`int`), axis_deg (`int`): measured.
        pr_ms (`int`, *optional*): None where the reader sees no P wave before the QRS.
        rate_class (`str`): `"slow"`, `"usual"` or `"fast"`.
        pr_class (`str`): `"long"`, `"usual"`, `"short"` or `"none"`.
        qrs_class (`str`): `"wide"`, `"borderline"` or `"usual"`.
        findings (`tuple[str, ...]`): what the conclusion names, keys of `conclusions.CONCLUSIONS`.
        qrs_details, st_details (`tuple[Detail]`): what is seen of a heart with findings beside the six labels.
        labels (`tuple[int, ...]`): 0 or 1 in the order of `LABEL_NAMES`; mostly, not always, what `findings` says.
    """

    rhythm: str
    heart_rate: int
    pr_ms: int | None
    qrs_ms: int
    qtc_ms: int
    axis_deg: int
    rate_class: str
    pr_class: str
    qrs_class: str
    findings: tuple[str, ...]
    labels: tuple[int, ...]
    qrs_details: tuple[Detail, ...] = ()
    st_details: tuple[Detail, ...] = ()


def _seen_rhythm(rng: np.random.Generator, condition: Condition, recording: Recording) -> str:
    """What the reader takes the rhythm for: irregular ones are mistaken for each other, noise hides P waves."""
    luck = rng.random()
    if condition.rhythm == "af":
        # A nearly regular fibrillation is easily overlooked.
        missed = 0.30 if condition.rr_variation < 0.11 else 0.05
        return "unclear" if luck < 0.5 * missed else "sinus" if luck < missed else "af"
    if condition.rhythm == "flutter":
        return "af" if luck < 0.25 else "flutter"
    if condition.rhythm in OTHER_RHYTHMS:
        return "unclear" if luck < OTHER_RHYTHM_MISSED else condition.rhythm
    doubtful = condition.ectopics == "supraventricular" and condition.ectopic_share > 0.1
    mistaken = 0.0004 + 0.02 * doubtful + 0.006 * condition.sinus_arrhythmia + 0.004 * ("noisy" in recording.flaws)
    return "af" if luck < mistaken else "unclear" if luck < 2 * mistaken else "sinus"


def _block_findings(rng: np.random.Generator, condition: Condition, qrs_ms: float) -> list[str]:
    """What the reader makes of the QRS: shape and duration together decide."""
    wide = qrs_ms > rng.normal(*QRS_LIMIT)
    luck = rng.random()
    if condition.block in ("rbbb", "incomplete_rbbb"):
        faint = condition.block_severity < 0.45
        if wide and not faint:
            return ["RBBB"]
        return [] if faint and luck < 0.6 else ["incomplete_rbbb"]
    if condition.block in ("lbbb", "incomplete_lbbb"):
        faint = condition.block_severity < 0.45
        if wide and not faint:
            return ["LBBB"]
        return [] if faint and luck < 0.6 else ["incomplete_lbbb"]
    if wide:
        # A broad QRS of no clear shape is put under one of the two now and then.
        return ["LBBB"] if luck < 0.08 else ["RBBB"] if luck < 0.16 else ["conduction_delay"]
    return ["conduction_delay"] if qrs_ms > QRS_SEEN_AS_WIDE + 3 and luck < 0.5 else []


def _other_findings(
    rng: np.random.Generator,
    patient: Patient,
    condition: Condition,
    axis_deg: float,
    blocked: bool,
) -> list[str]:
    """What is not among the six labels."""
    found = []
    if condition.ectopics != "none":
        found.append(f"{condition.ectopics}_ectopics")
    if condition.sinus_arrhythmia and rng.random() < 0.3:
        found.append("sinus_arrhythmia")
    if patient.low_voltage and rng.random() < 0.8:
        found.append("low_voltage")
    if axis_deg < -45 and not blocked and rng.random() < 0.8:
        found.append("left_fascicle")
    if condition.repolarisation in ("flat_t", "inverted_t", "strain") and not blocked:
        found.append("repolarisation")
    elif condition.repolarisation == "early" and rng.random() < 0.6:
        found.append("early_repolarisation")
    return found


def _shown_findings(
    rng: np.random.Generator, condition: Condition, heart: Heart, wide: bool
) -> tuple[list[str], tuple[Detail, ...], tuple[Detail, ...]]:
    """What is concluded from findings beside the six labels, and what is seen of them in the averaged beat."""
    if not condition.findings:
        return [], (), ()
    named = [
        finding.name
        for finding in condition.findings
        if finding.kind.group != "rhythm" and finding.severity > rng.normal(*FINDING_SEEN)
    ]
    error = AMPLITUDE_ERROR_MV * rng.standard_normal(2)
    if condition.wide_beats or wide:
        return ([] if condition.wide_beats else named), (), ()
    return named, qrs_details(heart, error[0]), st_details(heart, condition, error[1])


def _seen_voltage(rng: np.random.Generator, heart: Heart) -> bool:
    """Whether the left ventricle's voltage is found large: it is measured, so a slim chest may have it too."""
    return bool(sokolow_lyon_mv(heart) > rng.normal(*VOLTAGE_LIMIT) and rng.random() >= OVERLOOKED)


def _labels(rng: np.random.Generator, findings: list[str]) -> tuple[int, ...]:
    """Labels from findings, with what gets lost and added on the way."""
    lost, added = rng.random(len(LABEL_NAMES)) < LABEL_LOST, rng.random(len(LABEL_NAMES)) < LABEL_ADDED
    return tuple(
        int((name in findings and not lost[k]) or (name not in findings and added[k]))
        for k, name in enumerate(LABEL_NAMES)
    )


def read_exam(
    rng: np.random.Generator,
    patient: Patient,
    condition: Condition,
    recording: Recording,
    beats: Beats,
    heart: Heart,
) -> ReadExam:
    """
    One reading: all that is made from it, report or label or both, shares its errors.

    Args:
        rng (`np.random.Generator`): stream of this exam's reader; another stream is another reader.
        patient, condition, recording, beats, heart: what is true.

    Returns:
        `ReadExam`
    """
    factor = NOISY_FACTOR if {"noisy", "wander"} & set(recording.flaws) else 1.0
    rate_error, pr_error, qrs_error, qtc_error, axis_error = factor * rng.standard_normal(5)
    duration_s = recording.n_samples / SAMPLING_RATE
    rate = beats.heart_rate(duration_s) + RATE_ERROR * rate_error
    qrs_ms = condition.qrs_ms + QRS_ERROR * qrs_error
    axis = heart.axis_deg + AXIS_ERROR * axis_error
    qtc_ms = condition.qtc_ms + QTC_ERROR * qtc_error
    rhythm = _seen_rhythm(rng, condition, recording)
    slow, fast, long_pr = rng.normal(*SLOW_LIMIT), rng.normal(*FAST_LIMIT), rng.normal(*PR_LIMIT)
    rate_class = "slow" if rate < slow else "fast" if rate > fast else "usual"
    pr_ms, pr_class = None, "none"
    p_after_qrs_ms = condition.p_after_qrs_ms
    if rhythm in OTHER_RHYTHMS and p_after_qrs_ms is not None and p_after_qrs_ms < 0:
        pr_ms = -p_after_qrs_ms + PR_ERROR * pr_error
        pr_class = "long" if pr_ms > long_pr else "short" if pr_ms < SHORT_PR else "usual"
    elif rhythm == "sinus":
        # Where fibrillation was taken for sinus rhythm, some P-like wave was measured.
        true_pr = condition.pr_ms if condition.pr_ms is not None else 160.0
        pr_ms = true_pr + PR_ERROR * pr_error
        pr_class = "long" if pr_ms > long_pr else "short" if pr_ms < SHORT_PR else "usual"
    findings = [] if rhythm == "sinus" else [{"af": "AF"}.get(rhythm, rhythm)]
    if rhythm == "sinus":
        findings += {"slow": ["SB"], "fast": ["ST"]}.get(rate_class, [])
        findings += ["1dAVb"] if pr_class == "long" else []
    blocks = [] if condition.wide_beats else _block_findings(rng, condition, qrs_ms)
    if any(finding.kind.group == "delta" for finding in condition.findings):
        blocks = []  # what widens the QRS is its beginning
    blocked = bool({"RBBB", "LBBB"} & set(blocks))
    findings += blocks + _other_findings(rng, patient, condition, axis, blocked)
    if qtc_ms > LONG_QTC[patient.is_male] and not blocked:
        findings.append("long_qtc")
    shown, in_qrs, in_st = _shown_findings(rng, condition, heart, blocked)
    findings += shown
    kept = rng.random(len(findings)) >= OVERLOOKED
    findings = [name for name, keep in zip(findings, kept, strict=True) if keep]
    labels = _labels(rng, findings)
    if not (blocked or condition.wide_beats) and _seen_voltage(rng, heart):
        findings.append("hypertrophy")
    qrs_class = "wide" if blocked or condition.wide_beats else "borderline" if qrs_ms > QRS_SEEN_AS_WIDE else "usual"
    return ReadExam(
        rhythm=rhythm,
        heart_rate=round(rate),
        pr_ms=None if pr_ms is None else round(pr_ms),
        qrs_ms=round(qrs_ms),
        qtc_ms=round(qtc_ms),
        axis_deg=round((axis + 180) % 360 - 180),
        rate_class=rate_class,
        pr_class=pr_class,
        qrs_class=qrs_class,
        findings=tuple(findings),
        labels=labels,
        qrs_details=in_qrs,
        st_details=in_st,
    )
