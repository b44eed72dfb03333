"""Reports in Portuguese or English, as the Glasgow program writes: description of measurements, conclusion, labels."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from data_scripts.simulate import conclusions, conclusions_english
from data_scripts.simulate.findings import OTHER_RHYTHMS
from data_scripts.simulate.physiology import Condition
from data_scripts.simulate.reader import ReadExam
from data_scripts.text.description import Detail, Hand, Reading, joined, sentences, styled
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


NO_LABEL_LINE = 0.05
CONCLUSIONS: dict[str, ModuleType] = {"pt": conclusions, "en": conclusions_english}
LABEL_ALIASES = {"1dAVb": "1aAVb"}  # as in the paper's example
NUMBERINGS = ("{n}- {text}", "{n}- {text}", "{n}- {text}", "{n}) {text}", "{n}. {text}", "{text}")


EVERY_SECOND = 2
P_OF_RHYTHM = {
    "atrial": "negative",
    "wenckebach": "dropped",
    "two_to_one": "every_other",
    "complete_block": "unrelated",
}
RETROGRADE_P_PEAK_MS = 45.0  # behind its onset
P_OF_FINDING = {"left_atrium": "long_v1", "right_atrium": "tall"}


def _cycles(read: ReadExam, condition: Condition) -> str:
    regular = condition.rhythm in OTHER_RHYTHMS and condition.rhythm != "wenckebach"
    if read.rhythm == "af" or (read.rhythm == "unclear" and not regular):
        return "irregular"
    if read.rhythm == "flutter":
        return "stepped"
    if read.rhythm == "wenckebach":
        return "grouped"
    if regular:
        return "even"
    if condition.ectopic_order and "ventricular_ectopics" in read.findings:
        return "paired" if condition.ectopic_order == EVERY_SECOND else "uneven"
    return "breathing" if "sinus_arrhythmia" in read.findings else "regular"


def _qrs(read: ReadExam, condition: Condition) -> str:
    """Which picture the description paints: that of a block also where the conclusion overlooked it."""
    if condition.wide_beats:
        return "wide"
    if read.qrs_class == "wide":
        named = {"RBBB": "rbbb", "LBBB": "lbbb"}
        for finding, key in named.items():
            if finding in read.findings:
                return key
        return {"rbbb": "rbbb", "incomplete_rbbb": "rbbb", "delay": "delay"}.get(condition.block, "lbbb")
    for finding, key in (
        ("incomplete_rbbb", "incomplete_rbbb"),
        ("incomplete_lbbb", "incomplete_lbbb"),
        ("conduction_delay", "delay"),
    ):
        if finding in read.findings:
            return key
    odd = {"hypertrophy", "low_voltage", "left_fascicle"} & set(read.findings)
    if read.qrs_class == "usual" and (odd or read.qrs_details):
        return "narrow"  # amplitudes or axis are not normal
    return read.qrs_class


def _st(read: ReadExam, condition: Condition) -> str | None:
    if read.qrs_class == "wide":
        return "opposed"
    if read.st_details:
        return None
    if "repolarisation" in read.findings:
        return condition.repolarisation
    return "early" if "early_repolarisation" in read.findings else "normal"


def _p(read: ReadExam, condition: Condition) -> str:
    if read.rhythm in OTHER_RHYTHMS:
        if condition.retrograde_ms is not None:
            return _retrograde_p(condition.retrograde_ms, condition.qrs_ms)
        return P_OF_RHYTHM.get(read.rhythm, "absent" if condition.pr_ms is None else "usual")
    if read.rhythm == "sinus":
        return next((word for name, word in P_OF_FINDING.items() if name in read.findings), "usual")
    return {"af": "none", "flutter": "saw"}.get(read.rhythm, "unclear")


def _retrograde_p(begins_ms: float, qrs_ms: float) -> str:
    """Seen before the QRS or behind it; within, it is not seen."""
    if begins_ms < 0:
        return "negative"
    return "behind" if begins_ms + RETROGRADE_P_PEAK_MS > qrs_ms else "absent"


def _qrs_details(read: ReadExam) -> tuple[Detail, ...]:
    slow = {"delta_wave_left", "delta_wave_right"} & set(read.findings)
    return read.qrs_details + ((Detail("slow_start"),) if slow else ())


def _early_beats(read: ReadExam, condition: Condition) -> str | None:
    kinds = ("ventricular", "supraventricular")
    kind = next((kind for kind in kinds if f"{kind}_ectopics" in read.findings), None)
    if kind == "ventricular" and condition.ectopic_order:
        return "every_second" if condition.ectopic_order == EVERY_SECOND else "every_third"
    return kind


def _qtc(read: ReadExam) -> str:
    if read.rhythm not in ("sinus", "atrial", "junctional") or read.qrs_class == "wide":
        return "none"
    return "long" if "long_qtc" in read.findings else "usual"


def seen(read: ReadExam, condition: Condition) -> Reading:
    """
    What a reader saw, without what was concluded from it.

    Args:
        read (`ReadExam`): measured values and findings.
        condition (`Condition`): shape of what was found (which block, which change of ST and T).

    Returns:
        `Reading`: what the description is written from.
    """
    return Reading(
        rate=read.rate_class,
        heart_rate=read.heart_rate,
        cycles=_cycles(read, condition),
        axis_deg=read.axis_deg,
        p=_p(read, condition),
        pr="growing" if read.rhythm == "wenckebach" else read.pr_class,
        pr_ms=None if read.rhythm == "wenckebach" else read.pr_ms,
        qrs=_qrs(read, condition),
        qrs_ms=read.qrs_ms,
        voltage="high" if "hypertrophy" in read.findings else "low" if "low_voltage" in read.findings else None,
        fascicle="left_fascicle" in read.findings,
        st=_st(read, condition),
        qtc=_qtc(read),
        qtc_ms=None if _qtc(read) == "none" else read.qtc_ms,
        early_beats=_early_beats(read, condition),
        spikes=read.rhythm == "paced",
        qrs_details=_qrs_details(read),
        st_details=read.st_details,
    )


def _conclusion(hand: Hand, read: ReadExam, words: ModuleType) -> str:
    items = [hand.pick(words.CONCLUSIONS[name]) for name in read.findings]
    if read.rhythm == "sinus" and not {"SB", "ST"} & set(read.findings) and hand.habit("rhythm") < 0.6:
        items.insert(0, hand.pick(words.CONCLUSION_RHYTHM))
    if not read.findings:
        items.append(hand.pick(words.CONCLUSION_CLEAR))
    numbering = hand.usual(NUMBERINGS)
    glue = "; " if numbering == "{text}" else " "
    listed = glue.join(numbering.format(n=n, text=text) for n, text in enumerate(items, start=1))
    return f"{hand.pick(words.CONCLUSION_TITLES)} {listed}."


def label_line(labels: Sequence[int]) -> str:
    """
    The last line of a report, as in the paper's example.

    Args:
        labels (`Sequence[int]`): 0 or 1 in the order of `LABEL_NAMES`.

    Returns:
        `str`: such as `"label: {1aAVb: 0, RBBB: 1, LBBB: 0, SB: 0, AF: 0, ST: 1}"`.
    """
    pairs = ", ".join(f"{LABEL_ALIASES.get(n, n)}: {value}" for n, value in zip(LABEL_NAMES, labels, strict=True))
    return f"label: {{{pairs}}}"


def write_report(rng: np.random.Generator, read: ReadExam, condition: Condition, language: str = "pt") -> str:
    """
    One report: description from the measurements, never naming what the conclusion names; conclusion; label line.

    Args:
        rng (`np.random.Generator`): stream of this exam's text, which shares nothing with the signal's.
        read (`ReadExam`): measured values and findings.
        condition (`Condition`): shape of what was found (which block, which change of ST and T).
        language (`str`, defaults to `"pt"`): of description and conclusion, `"pt"` or `"en"`.

    Returns:
        `str`: three lines or more; the label line may be missing.
    """
    hand = Hand(rng, language)
    description = joined(hand, sentences(hand, seen(read, condition)))
    text = styled(hand, f"{description}\n{_conclusion(hand, read, CONCLUSIONS[language])}")
    return text if hand.chance(NO_LABEL_LINE) else f"{text}\n{label_line(read.labels)}"
