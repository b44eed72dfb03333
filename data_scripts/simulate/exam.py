"""One simulated exam, whole: signal, truth, reading, labels and report."""

from dataclasses import dataclass, replace

import numpy as np

from data_scripts.simulate.findings import DEFAULT_SHARES, FindingShares, names_of
from data_scripts.simulate.marks import Marks, marks_of
from data_scripts.simulate.morphology import Heart, draw_gains, draw_heart, render
from data_scripts.simulate.noise import Recording, draw_recording, lose_contact, record
from data_scripts.simulate.physiology import Condition, Patient, check_prevalence_scale, draw_condition
from data_scripts.simulate.projection import twelve_leads
from data_scripts.simulate.reader import ReadExam, read_exam
from data_scripts.simulate.report import write_report
from data_scripts.simulate.rhythm import Beats, draw_beats
from data_scripts.simulate.streams import Purpose, stream
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES
from modeling_ecgclip.signal_ecgclip import SAMPLING_RATE


ID_STRIDE = 10_000_000  # ids of cohorts with different seeds never meet
# Who reads the exam for the report: the one whose reading is the label, or another who knows nothing of that reading.
REPORT_READERS = ("shared", "independent")
REPORT_LANGUAGES = ("pt", "en", "both")  # both: every other exam's in English


@dataclass(frozen=True)
class Measurements:
    """
    What is true of one exam, before any reader's error.

    Args:
        heart_rate (`float`): 60 over the mean RR interval of the recorded beats, beats per minute.
        rr_variation (`float`): root mean square of successive RR differences over the mean RR.
        pr_ms (`float`, *optional*): from P onset to QRS onset; None without a conducting P wave.
        qrs_ms (`float`): where the dipole exceeds 5 % of its maximum.
        qtc_ms (`float`): corrected by Bazett.
        axis_deg (`float`): electrical axis of the QRS.
        rhythm, block, repolarisation, ectopics (`str`): as in `physiology.Condition`.
        n_beats (`int`): beats recorded.
        other_findings (`str`): names of `findings.KINDS` that the exam has, with a space between them.
    """

    heart_rate: float
    rr_variation: float
    pr_ms: float | None
    qrs_ms: float
    qtc_ms: float
    axis_deg: float
    rhythm: str
    block: str
    repolarisation: str
    ectopics: str
    n_beats: int
    other_findings: str = ""


@dataclass(frozen=True)
class SimulatedExam:
    """
    One exam.

    Args:
        exam_id, patient_id (`int`): unique over cohorts of different seeds; several exams may share a patient.
        visit (`int`): 0 for the patient's first exam.
        age (`float`): years.
        is_male (`bool`)
        signal (`np.ndarray` of shape `(12, n_samples)`, float32): mV at 400 Hz, leads in the order of `LEAD_NAMES`.
        labels (`dict[str, int]`): 0 or 1 for each of `LABEL_NAMES`, with the errors of reading.
        measurements (`Measurements`): the truth.
        reading (`ReadExam`): what the labels were made from.
        report_reading (`ReadExam`): what the report was written from: the same one, or one of its own.
        flaws (`tuple[str, ...]`): of the recording.
        report (`str`): description, conclusion and label line, in Portuguese or English.
        beat_times_s (`np.ndarray` of shape `(n_beats,)`): reference point of each recorded QRS, s.
        marks (`Marks`, *optional*): where P, QRS and T begin, peak and end; None unless asked for.
    """

    exam_id: int
    patient_id: int
    visit: int
    age: float
    is_male: bool
    signal: np.ndarray
    labels: dict[str, int]
    measurements: Measurements
    reading: ReadExam
    report_reading: ReadExam
    flaws: tuple[str, ...]
    report: str
    beat_times_s: np.ndarray
    marks: Marks | None = None


@dataclass(frozen=True)
class Draft:
    """An exam before its signal is computed: all that is decided."""

    patient: Patient
    condition: Condition
    recording: Recording
    beats: Beats
    heart: Heart
    reading: ReadExam
    report_reading: ReadExam
    morphology_rng: np.random.Generator
    noise_rng: np.random.Generator


def check_seed(seed: int) -> None:
    """
    Raises:
        `ValueError`: for a negative seed or one too large for 64-bit exam ids.
    """
    if not 0 <= seed < 2**63 // ID_STRIDE:
        raise ValueError(f"seed must lie in [0, {2**63 // ID_STRIDE}), found {seed}")


def check_report_reader(report_reader: str) -> None:
    """
    Raises:
        `ValueError`: for anything else than one of `REPORT_READERS`.
    """
    if report_reader not in REPORT_READERS:
        raise ValueError(f"report_reader must be one of {', '.join(REPORT_READERS)}, found {report_reader!r}")


def check_report_language(report_language: str) -> None:
    """
    Raises:
        `ValueError`: for anything else than one of `REPORT_LANGUAGES`.
    """
    if report_language not in REPORT_LANGUAGES:
        raise ValueError(f"report_language must be one of {', '.join(REPORT_LANGUAGES)}, found {report_language!r}")


def draft_exam(
    seed: int,
    index: int,
    prevalence_scale: float = 1.0,
    clean: bool = False,
    report_reader: str = "shared",
    shares: FindingShares = DEFAULT_SHARES,
) -> Draft:
    """
    Decide one exam, without computing its signal.

    Args:
        seed (`int`): of the cohort.
        index (`int`): of the exam.
        prevalence_scale (`float`, defaults to 1.0): multiplies CODE-15%'s prevalences.
        clean (`bool`, defaults to `False`): record without noise.
        report_reader (`str`, defaults to `"shared"`): one of `REPORT_READERS`.
        shares (`FindingShares`, *optional*): of findings beside the six labels.

    Returns:
        `Draft`
    """
    patient, condition = draw_condition(seed, index, prevalence_scale, shares)
    noise_rng = stream(seed, Purpose.NOISE, index)
    recording = draw_recording(noise_rng, clean)
    beats = draw_beats(stream(seed, Purpose.RHYTHM, index), condition, recording.n_samples / SAMPLING_RATE)
    morphology_rng = stream(seed, Purpose.MORPHOLOGY, index)
    heart = draw_heart(morphology_rng, patient, condition)
    seen = (patient, condition, recording, beats, heart)
    reading = report_reading = read_exam(stream(seed, Purpose.READER, index), *seen)
    if report_reader == "independent":
        # A report ends in the archive's labels, whoever wrote its words.
        report_reading = replace(read_exam(stream(seed, Purpose.REPORT_READER, index), *seen), labels=reading.labels)
    return Draft(*seen, reading, report_reading, morphology_rng, noise_rng)


def _true_measurements(draft: Draft, duration_s: float) -> Measurements:
    """What is true of the recorded beats."""
    condition, beats = draft.condition, draft.beats
    return Measurements(
        heart_rate=beats.heart_rate(duration_s),
        rr_variation=beats.rr_variation(duration_s),
        pr_ms=condition.pr_ms,
        qrs_ms=condition.qrs_ms,
        qtc_ms=condition.qtc_ms,
        axis_deg=draft.heart.axis_deg,
        rhythm=condition.rhythm,
        block=condition.block,
        repolarisation=condition.repolarisation,
        ectopics=condition.ectopics,
        n_beats=int(beats.inside(duration_s).sum()),
        other_findings=" ".join(names_of(condition.findings)),
    )


def simulate_exam(
    seed: int,
    index: int,
    prevalence_scale: float = 1.0,
    clean: bool = False,
    report_reader: str = "shared",
    with_marks: bool = False,
    report_language: str = "pt",
    shares: FindingShares = DEFAULT_SHARES,
) -> SimulatedExam:
    """
    One exam of a cohort, the same whichever others are made, and in which process.

    Args:
        seed (`int`): of the cohort.
        index (`int`): of the exam, 0 or more.
        prevalence_scale (`float`, defaults to 1.0): multiplies CODE-15%'s prevalences.
        clean (`bool`, defaults to `False`): no noise, offset, loose or exchanged electrode: for measuring instruments.
        report_reader (`str`, defaults to `"shared"`): `"independent"` writes the report from a reading of its own, so
            that its words and the labels err apart; signal, truth and labels stay as they are.
        with_marks (`bool`, defaults to `False`): also say where each wave begins and ends, which changes nothing else.
        report_language (`str`, defaults to `"pt"`): one of `REPORT_LANGUAGES`; it changes the report alone.
        shares (`FindingShares`, *optional*): how often hearts have findings beside the six labels.

    Returns:
        `SimulatedExam`

    Raises:
        `ValueError`: for a seed, index or scale out of range, or an unknown reader.
    """
    check_seed(seed)
    check_prevalence_scale(prevalence_scale)
    check_report_reader(report_reader)
    check_report_language(report_language)
    if not 0 <= index < ID_STRIDE - 1:
        raise ValueError(f"index must lie in [0, {ID_STRIDE - 1}), found {index}")
    draft = draft_exam(seed, index, prevalence_scale, clean, report_reader, shares)
    patient, condition, recording, beats = draft.patient, draft.condition, draft.recording, draft.beats
    duration_s = recording.n_samples / SAMPLING_RATE
    gains = draw_gains(draft.morphology_rng, beats)
    eight = render(draft.morphology_rng, beats, draft.heart, condition, gains, recording.n_samples)
    eight = record(draft.noise_rng, eight, recording)
    lost_lead = lose_contact(draft.noise_rng, eight, recording)
    # Rounded before the limb leads are derived, so that III = II - I holds to the last bit.
    eight *= np.float32(1 / recording.resolution_mv)
    np.rint(eight, out=eight)
    eight *= np.float32(recording.resolution_mv)
    language = ("pt", "en")[index % 2] if report_language == "both" else report_language
    marks = None
    if with_marks:
        marks = marks_of(beats, draft.heart, condition, gains, duration_s, recording.exchanged, lost_lead)
    return SimulatedExam(
        exam_id=seed * ID_STRIDE + index + 1,
        patient_id=seed * ID_STRIDE + patient.index + 1,
        visit=condition.visit,
        age=condition.age,
        is_male=patient.is_male,
        signal=twelve_leads(eight),
        labels=dict(zip(LABEL_NAMES, draft.reading.labels, strict=True)),
        measurements=_true_measurements(draft, duration_s),
        reading=draft.reading,
        report_reading=draft.report_reading,
        flaws=recording.flaws,
        report=write_report(stream(seed, Purpose.TEXT, index), draft.report_reading, condition, language),
        beat_times_s=beats.times[beats.inside(duration_s)],
        marks=marks,
    )
