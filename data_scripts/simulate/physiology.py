"""Who is recorded and what is true of the heart: patients, and the condition of each exam before anyone reads it."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from data_scripts.simulate.findings import DEFAULT_SHARES, Finding, FindingShares, draw_findings, rhythm_of
from data_scripts.simulate.streams import Purpose, stream
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


Rhythm = Literal[
    "sinus", "af", "flutter", "paced", "atrial", "junctional", "ventricular", "svt", "wenckebach", "two_to_one",
    "complete_block",
]  # fmt: skip
Block = Literal["none", "rbbb", "incomplete_rbbb", "lbbb", "incomplete_lbbb", "delay"]
Repolarisation = Literal["normal", "flat_t", "inverted_t", "strain", "early"]
RateGroup = Literal["slow", "usual", "fast"]
Ectopics = Literal["none", "ventricular", "supraventricular"]

# Shares of exams with each label in CODE-15% (Zenodo record 4916206).
TARGET_PREVALENCE = {"1dAVb": 0.018, "RBBB": 0.030, "LBBB": 0.019, "SB": 0.017, "AF": 0.024, "ST": 0.022}
MIN_PREVALENCE_SCALE, MAX_PREVALENCE_SCALE = 0.5, 8.0

# Share of exams that end with the label, among those drawn as cases and among all others: what readers and borderline
# values make of the truth. Measured by `benchmarks/simulate/label_rates.py` on 300,000 exams; they turn a prevalence
# that is asked for into the share of cases to draw.
LABEL_RATES = {
    "1dAVb": (0.754, 0.0045),
    "RBBB": (0.852, 0.0053),
    "LBBB": (0.891, 0.0040),
    "SB": (0.566, 0.0008),
    "AF": (0.852, 0.0029),
    "ST": (0.773, 0.0011),
}

EXAMS_PER_BLOCK = 64
MORE_EXAMS_PROBABILITY = 0.325  # of a further exam; 345,779 exams of 233,770 patients in CODE-15%
CLOCK_SPREAD_YEARS = 1.6

AGE_MEAN, AGE_SD, AGE_MIN, AGE_MAX = 53.0, 17.0, 17.0, 98.0
# Years that multiply the risk by e. Rates have no risk from age: both are also found in the young.
RISK_YEARS = {"1dAVb": 28.0, "RBBB": 30.0, "LBBB": 26.0, "SB": math.inf, "AF": 20.0, "ST": math.inf}
RISK_RANGE = (0.25, 2.8)
# How much single waves differ between patients, standard deviation of the logarithm: seven of the normal QRS, five of
# left and two of right bundle branch block, two of P (`morphology.py`).
WAVE_SPREAD = np.repeat([0.16, 0.20, 0.28, 0.32], [7, 5, 2, 2])
P_LEFT = 15  # the left atrium's half of P


@dataclass(frozen=True)
class Patient:
    """
    What stays the same over all exams of a patient. Angles in degrees, durations in ms, gains without unit.

    `cases` maps each label to whether the patient is a chronic case of it (heart rates are drawn per exam instead).
    """

    index: int
    age: float
    is_male: bool
    cases: dict[str, bool]
    block: Block
    block_severity: float
    qrs_ms: float
    pr_ms: float
    qtc_ms: float
    resting_rate: float
    frontal_deg: float
    horizontal_deg: float
    sagittal_deg: float
    gain: float
    left_wall: float  # how much too thick the left ventricle's wall is: 0 in most, 1 the textbook's picture
    low_voltage: bool
    lead_gain: np.ndarray  # (8,), of I, II, V1 ... V6
    lead_mix: np.ndarray  # (8, 3), added to the projection
    wave_gain: np.ndarray  # (16,), of the single waves
    splinters: np.ndarray  # (6, 5), small sharp waves in the QRS: rows as in `morphology.NORMAL_QRS`
    t_gain: float
    t_shift: np.ndarray  # (3,), mV


@dataclass(frozen=True)
class Condition:
    """
    What is true of one exam before it is recorded. Durations in ms, rates in beats per minute.

    `pr_ms` is None where no P wave conducts. `rr_variation` is the standard deviation of RR over its mean
    beyond that of breathing. `rate_group` is the distribution that a sinus rate was drawn from, which need not be what
    a reader calls it. With `ectopic_order` n, every n-th beat is an ectopic one. With `wide_beats` all of them start
    in a ventricle. `atrial_rate` is that of P waves which the ventricles do not follow, or not one by one.
    `retrograde_ms` is where a P wave that runs from the node back into the atria begins, from the onset of its QRS.
    """

    rhythm: Rhythm
    heart_rate: float
    rate_group: RateGroup
    rr_variation: float
    sinus_arrhythmia: bool
    pr_ms: float | None
    qrs_ms: float
    qtc_ms: float
    block: Block
    block_severity: float
    repolarisation: Repolarisation
    ectopics: Ectopics
    ectopic_share: float
    age: float
    visit: int
    findings: tuple[Finding, ...] = ()
    ectopic_order: int = 0
    wide_beats: bool = False
    atrial_rate: float | None = None
    retrograde_ms: float | None = None

    @property
    def p_after_qrs_ms(self) -> float | None:
        """From the onset of a beat's QRS to that of its P wave, before it as a rule; None where no P belongs to it."""
        return self.retrograde_ms if self.pr_ms is None else -self.pr_ms


@lru_cache(maxsize=len(LABEL_NAMES))
def risk_norm(label: str) -> float:
    """Mean of the unnormalised risk over the ages of the cohort."""
    ages = np.clip(AGE_MEAN + AGE_SD * np.linspace(-4, 4, 801), AGE_MIN, AGE_MAX)
    weights = np.exp(-0.5 * np.linspace(-4, 4, 801) ** 2)
    return float(np.average(np.clip(np.exp((ages - AGE_MEAN) / RISK_YEARS[label]), *RISK_RANGE), weights=weights))


def case_probability(label: str, age: float, prevalence_scale: float) -> float:
    """
    Probability that a patient of this age is a case, such that the share of exams with the label is the target.

    Args:
        label (`str`): one of `LABEL_NAMES`.
        age (`float`): years.
        prevalence_scale (`float`): multiplies CODE-15%'s prevalences.

    Returns:
        `float`: 0 to 1.
    """
    found, false = LABEL_RATES[label]
    share = (TARGET_PREVALENCE[label] * prevalence_scale - false) / (found - false)
    risk = _clip(math.exp((age - AGE_MEAN) / RISK_YEARS[label]), *RISK_RANGE) / risk_norm(label)
    return min(1.0, share * risk)


def check_prevalence_scale(prevalence_scale: float) -> None:
    """
    Refuse a scale at which the prevalences could not be reached.

    Raises:
        `ValueError`: below what confounders alone give, or where the oldest would need more than certainty.
    """
    if not MIN_PREVALENCE_SCALE <= prevalence_scale <= MAX_PREVALENCE_SCALE:
        raise ValueError(
            f"prevalence_scale must lie in [{MIN_PREVALENCE_SCALE}, {MAX_PREVALENCE_SCALE}] (1 is CODE-15%'s own), "
            f"found {prevalence_scale}"
        )


@lru_cache(maxsize=64)
def block_plan(seed: int, block: int) -> tuple[tuple[int, int], ...]:
    """
    Patients of `EXAMS_PER_BLOCK` consecutive exams: an exam's patient is known without drawing those before it.

    Args:
        seed (`int`): of the cohort.
        block (`int`): exam index // `EXAMS_PER_BLOCK`.

    Returns:
        `tuple[tuple[int, int], ...]`: for each exam of the block its patient's index and the number of the visit.
    """
    rng = stream(seed, Purpose.PLAN, block)
    again = rng.random(EXAMS_PER_BLOCK) < MORE_EXAMS_PROBABILITY
    slots, patient, visit = [], 0, 0
    for position in range(EXAMS_PER_BLOCK):
        if position > 0:
            patient, visit = (patient, visit + 1) if again[position] else (position, 0)
        slots.append((block * EXAMS_PER_BLOCK + patient, visit))
    order = rng.permutation(EXAMS_PER_BLOCK)
    return tuple(slots[i] for i in order)


def patient_of(seed: int, index: int) -> tuple[int, int]:
    """Patient index and visit number (0 for the first) of exam `index`."""
    return block_plan(seed, index // EXAMS_PER_BLOCK)[index % EXAMS_PER_BLOCK]


def _clip(value: float, low: float, high: float) -> float:
    """As `np.clip`, which takes several times as long for a single number."""
    return float(min(high, max(low, value)))


def _draw_conduction(rng: np.random.Generator, cases: dict[str, bool]) -> tuple[Block, float, float]:
    """Block, its severity (1 is the textbook picture) and QRS duration in ms."""
    if cases["LBBB"]:
        return "lbbb", _clip(rng.normal(1.0, 0.12), 0.7, 1.3), 117 + rng.gamma(3.0, 8.5)
    if cases["RBBB"]:
        return "rbbb", _clip(rng.normal(1.0, 0.18), 0.6, 1.4), 113 + rng.gamma(3.0, 9.0)
    which = rng.random()
    if which < 0.060:
        return "incomplete_rbbb", _clip(rng.normal(0.55, 0.14), 0.25, 0.9), min(126.0, rng.normal(108, 6.5))
    if which < 0.085:
        return "incomplete_lbbb", _clip(rng.normal(0.55, 0.14), 0.25, 0.9), min(126.0, rng.normal(112, 5.5))
    if which < 0.140:
        return "delay", 1.0, min(135.0, rng.normal(114, 7.5))
    return "none", 0.0, _clip(rng.normal(86, 8), 66, 110)


def _draw_frontal_axis(rng: np.random.Generator, block: Block) -> float:
    """Rotation of the frontal plane in degrees; the axis is near 35 without it, and turns up to twice as far."""
    which = rng.random()
    if block in ("lbbb", "incomplete_lbbb"):
        return float(rng.normal(-22, 22))
    if which < 0.08:
        return float(rng.uniform(-90, -55))
    if which < 0.12:
        return float(rng.uniform(45, 85))
    return float(rng.normal(-2, 16))


def _draw_splinters(rng: np.random.Generator) -> np.ndarray:
    """Sharp irregularities of the QRS, (6, 5): without them its spectrum falls off ten times too early above 20 Hz."""
    timing = np.stack([rng.uniform(-26, 32, 6), rng.uniform(3.0, 6.5, 6)], axis=1)
    return np.concatenate([timing, rng.normal(0, 0.095, (6, 3))], axis=1)


@lru_cache(maxsize=256)
def draw_patient(seed: int, index: int, prevalence_scale: float) -> Patient:
    """
    Everything that a patient keeps from exam to exam.

    Args:
        seed (`int`): of the cohort.
        index (`int`): of the patient, from `patient_of`.
        prevalence_scale (`float`): multiplies CODE-15%'s prevalences.

    Returns:
        `Patient`
    """
    rng = stream(seed, Purpose.PATIENT, index)
    age = _clip(rng.normal(AGE_MEAN, AGE_SD), AGE_MIN, AGE_MAX)
    is_male = bool(rng.random() < 0.4)
    luck = dict(zip(LABEL_NAMES, rng.random(len(LABEL_NAMES)), strict=True))
    chance = {name: case_probability(name, age, prevalence_scale) for name in LABEL_NAMES}
    # Made up for: a long PR cannot be seen in fibrillation, and of two bundle branch blocks a patient keeps one.
    chance["1dAVb"] /= 1 - chance["AF"]
    chance["RBBB"], chance["LBBB"] = (
        chance["RBBB"] / (1 - chance["LBBB"] / 2),
        chance["LBBB"] / (1 - chance["RBBB"] / 2),
    )
    cases = {name: bool(luck[name] < chance[name]) for name in LABEL_NAMES}
    if cases["RBBB"] and cases["LBBB"]:
        cases["RBBB" if rng.random() < 0.5 else "LBBB"] = False
    block, severity, qrs_ms = _draw_conduction(rng, cases)
    hypertrophy = bool(rng.random() < 0.07)
    gain = math.exp(rng.normal(0, 0.17))
    low_voltage = bool(rng.random() < 0.04)
    if low_voltage:
        gain *= 0.45
    if cases["1dAVb"]:
        pr_ms = 191 + rng.gamma(1.5, 26)
    else:
        pr_ms = rng.normal(155 + 0.12 * (age - AGE_MEAN), 17)
        pr_ms = pr_ms if 112 <= pr_ms <= 194 else rng.uniform(120, 185)
    patient = Patient(
        index=index,
        age=age,
        is_male=is_male,
        cases=cases,
        block=block,
        block_severity=severity,
        qrs_ms=qrs_ms + (3.0 if is_male and block == "none" else 0.0),
        pr_ms=pr_ms,
        qtc_ms=rng.normal(408 if is_male else 418, 17),
        resting_rate=rng.normal(71, 8.5),
        frontal_deg=_draw_frontal_axis(rng, block),
        horizontal_deg=rng.normal(0, 9),
        sagittal_deg=rng.normal(0, 9),
        gain=gain,
        left_wall=0.0,
        low_voltage=low_voltage,
        lead_gain=np.exp(rng.normal(0, 0.10, 8)),
        lead_mix=rng.normal(0, 0.02, (8, 3)),
        wave_gain=np.exp(rng.normal(0, WAVE_SPREAD)),
        splinters=_draw_splinters(rng),
        t_gain=math.exp(rng.normal(-0.10 - 0.006 * (age - AGE_MEAN), 0.36)),
        t_shift=rng.normal(0, 0.035, 3),
    )
    return _with_thick_wall(rng, patient) if hypertrophy else patient


def _with_thick_wall(rng: np.random.Generator, patient: Patient) -> Patient:
    """
    A left ventricle that works against pressure: its wall takes longer to be crossed, turns the axis to the left, and
    loads the left atrium, whose half of P grows. What it does to QRS and T is in `morphology.py`.
    """
    wall = _clip(math.exp(rng.normal(0, 0.35)), 0.45, 1.9)
    wave_gain = patient.wave_gain.copy()
    wave_gain[P_LEFT] *= 1 + 0.2 * wall
    return replace(
        patient,
        left_wall=wall,
        qrs_ms=patient.qrs_ms + (6.0 * wall if patient.block == "none" else 0.0),
        frontal_deg=patient.frontal_deg - 8.0 * wall,
        wave_gain=wave_gain,
    )


def _draw_rate(
    rng: np.random.Generator, patient: Patient, prevalence_scale: float, sinus_share: float
) -> tuple[float, RateGroup]:
    """Sinus rate in beats per minute and its group: slow and fast ones reach across their thresholds, from beyond."""
    slow, fast = (case_probability(name, patient.age, prevalence_scale) / sinus_share for name in ("SB", "ST"))
    which = rng.random()
    if which < slow:
        return max(33.0, 53.5 - rng.gamma(1.7, 3.2)), "slow"
    if which < slow + fast:
        return min(165.0, 96.5 + rng.gamma(1.7, 7.0)), "fast"
    rate = rng.normal(patient.resting_rate, 6.5)
    return (rate if 53 <= rate <= 97 else rng.uniform(55, 95)), "usual"


def _draw_repolarisation(rng: np.random.Generator, patient: Patient) -> Repolarisation:
    """ST and T of one exam; those after a block are part of the block and not drawn here."""
    if patient.left_wall and rng.random() < 0.45 * min(patient.left_wall, 1.6):
        return "strain"
    which = rng.random()
    if which < 0.11:
        return "flat_t"
    if which < 0.17:
        return "inverted_t"
    if which < 0.20:
        return "strain"
    if which < 0.24 and patient.is_male:
        return "early"
    return "normal"


def _retrograde_ms(rng: np.random.Generator, qrs_ms: float) -> float | None:
    """
    Onset of the P wave of a beat from the node, from that of its QRS: atria and ventricles are reached at about the
    same time, so it comes shortly before, within or behind the QRS, or the atria are not reached at all.
    """
    before, behind = float(rng.uniform(-112, -75)), qrs_ms + float(rng.uniform(-25, 70))
    return (before, behind, None)[int(rng.choice(3, p=[0.25, 0.5, 0.25]))]


def _other_rhythm(rng: np.random.Generator, condition: Condition, rhythm: str) -> Condition:
    """An exam whose rhythm is none of sinus node, fibrillation or flutter, or whose ectopic beats come in order."""
    if rhythm in ("bigeminy", "trigeminy"):
        return replace(condition, ectopics="ventricular", ectopic_order=2 if rhythm == "bigeminy" else 3)
    usual = condition.heart_rate
    narrow = {"rhythm": rhythm, "pr_ms": None, "rr_variation": 0.006, "sinus_arrhythmia": False, "ectopics": "none"}
    wide = {**narrow, "wide_beats": True, "qrs_ms": float(rng.uniform(142, 188)), "repolarisation": "normal"}
    slow, middle, quick = (float(rng.uniform(*limits)) for limits in ((36, 54), (62, 96), (148, 212)))
    atrial, share, pr_ms = float(rng.uniform(68, 100)), rng.random(), float(rng.uniform(140, 190))
    retrograde_ms = _retrograde_ms(rng, condition.qrs_ms)
    changes: dict[str, dict[str, Any]] = {
        "paced": {
            **wide,
            "heart_rate": min(80.0, middle),
            "rr_variation": 0.002,
            "pr_ms": pr_ms if share < 0.5 else None,
        },
        "atrial": {**narrow, "heart_rate": middle, "pr_ms": pr_ms - 28},
        "junctional": {**narrow, "heart_rate": slow if share < 0.7 else middle, "retrograde_ms": retrograde_ms},
        "ventricular": {**wide, "heart_rate": 0.85 * slow if share < 0.5 else middle},
        "svt": {**narrow, "heart_rate": quick, "rr_variation": 0.003, "retrograde_ms": retrograde_ms},
        "wenckebach": {**narrow, "heart_rate": usual, "pr_ms": pr_ms + 20, "atrial_rate": usual},
        "two_to_one": {**narrow, "heart_rate": atrial / 2, "pr_ms": pr_ms + 10, "atrial_rate": atrial},
        "complete_block": {**(wide if share < 0.5 else narrow), "heart_rate": 0.9 * slow, "atrial_rate": atrial},
    }
    return replace(condition, **changes[rhythm])


def _with_findings(
    rng: np.random.Generator, patient: Patient, condition: Condition, found: tuple[Finding, ...]
) -> Condition:
    """The exam with its findings, but for those that what it has already leaves no room for."""
    conducts = condition.rhythm == "sinus" and not any(patient.cases.values())
    if not (conducts and condition.rate_group == "usual"):  # the six labels keep their shares
        found = tuple(finding for finding in found if finding.kind.group != "rhythm")
    if not (conducts and condition.block == "none"):
        found = tuple(finding for finding in found if finding.kind.group != "delta")
    if not found:
        return condition
    if any(finding.kind.group == "st" for finding in found):
        condition = replace(condition, repolarisation="normal")
    rhythm = rhythm_of(found)
    if rhythm is not None:
        found = tuple(finding for finding in found if finding.kind.group != "delta")
        condition = _other_rhythm(rng, condition, rhythm)

    def added(name: str) -> float:
        return sum(finding.severity * getattr(finding.kind, name) for finding in found)

    pr_ms = condition.pr_ms
    if pr_ms is not None and added("pr_ms"):
        most = 118.0 if any(finding.kind.group == "delta" for finding in found) else max(194.0, pr_ms)
        pr_ms = _clip(pr_ms + added("pr_ms"), 78.0, most)
    return replace(
        condition,
        findings=found,
        pr_ms=pr_ms,
        qrs_ms=condition.qrs_ms + added("qrs_ms"),
        qtc_ms=_clip(condition.qtc_ms + added("qtc_ms"), 330.0, 620.0),
    )


def draw_condition(
    seed: int, index: int, prevalence_scale: float, shares: FindingShares = DEFAULT_SHARES
) -> tuple[Patient, Condition]:
    """
    What is true of one exam, from its patient's traits and the day.

    Args:
        seed (`int`): of the cohort.
        index (`int`): of the exam.
        prevalence_scale (`float`): multiplies CODE-15%'s prevalences.
        shares (`FindingShares`): of findings beside the six labels. They have streams of their own: without them the
            exam is the same as if there were no such thing.

    Returns:
        `tuple[Patient, Condition]`
    """
    patient_index, visit = patient_of(seed, index)
    patient = draw_patient(seed, patient_index, prevalence_scale)
    rng = stream(seed, Purpose.EXAM, index)
    age = patient.age + visit * CLOCK_SPREAD_YEARS * rng.uniform(0.5, 1.0)
    sinus_arrhythmia, ectopics, ectopic_share, group = False, "none", 0.0, "usual"
    if patient.cases["AF"]:
        rhythm, rate = "af", _clip(rng.normal(94, 27), 45, 175)
        variation = rng.uniform(0.12, 0.28) if rng.random() > 0.12 else rng.uniform(0.06, 0.12)
    elif rng.random() < 0.005:
        rhythm, rate, variation = "flutter", float(rng.choice([75, 100, 150], p=[0.45, 0.3, 0.25])), 0.0
    else:
        rhythm, variation = "sinus", rng.uniform(0.004, 0.012)
        sinus_share = 1 - case_probability("AF", patient.age, prevalence_scale)
        rate, group = _draw_rate(rng, patient, prevalence_scale, sinus_share)
        sinus_arrhythmia = bool(rng.random() < (0.16 if patient.age < 40 else 0.05))
    if rng.random() < 0.09:
        ectopics = "ventricular" if rng.random() < 0.55 else "supraventricular"
        ectopic_share = float(rng.choice([0.07, 0.14, 0.28], p=[0.55, 0.3, 0.15]))
        if rhythm != "sinus":
            ectopics = "ventricular"
    pr_ms = None
    if rhythm == "sinus":
        # Conduction through the node slows a little at low rates; at high ones P would fall into the T wave before.
        pr_ms = min(patient.pr_ms + rng.normal(0, 5) - 0.15 * (rate - 71), 0.5 * 60_000 / rate)
        pr_ms = max(105.0, pr_ms)
    condition = Condition(
        rhythm=rhythm,
        heart_rate=float(rate),
        rate_group=group,
        rr_variation=float(variation),
        sinus_arrhythmia=sinus_arrhythmia,
        pr_ms=pr_ms,
        qrs_ms=float(patient.qrs_ms + rng.normal(0, 1.5)),
        qtc_ms=_clip(patient.qtc_ms + rng.normal(0, 9) + 0.35 * max(0.0, patient.qrs_ms - 100), 350, 540),
        block=patient.block,
        block_severity=patient.block_severity,
        repolarisation=_draw_repolarisation(rng, patient),
        ectopics=ectopics,
        ectopic_share=ectopic_share,
        age=age,
        visit=visit,
    )
    own = stream(seed, Purpose.EXAM_FINDINGS, index)
    lasting = stream(seed, Purpose.PATIENT_FINDINGS, patient_index)
    found = draw_findings(lasting, shares, patient.age, True) + draw_findings(own, shares, patient.age, False)
    return patient, _with_findings(own, patient, condition, found)
