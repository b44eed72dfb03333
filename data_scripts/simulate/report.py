"""Reports in Portuguese in the manner of the Glasgow program: description of measurements, conclusion, labels."""

import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np

from data_scripts.simulate import phrases
from data_scripts.simulate.physiology import Condition
from data_scripts.simulate.reader import Reading
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


WITH_NUMBERS, RUNNING_TEXT, ON_LINES = 0.25, 0.22, 0.3  # shares of hands that write so
NO_ACCENTS, CAPITALS, SMALL_LETTERS = 0.15, 0.08, 0.05
RATE_ONLY_IF_UNUSUAL = 0.3
HANDS, HABIT = 24, 0.95  # people who write, and how often they use the words that they always use
NO_LABEL_LINE = 0.05
LABEL_ALIASES = {"1dAVb": "1aAVb"}  # as in the paper's example
NUMBERINGS = ("{n}- {text}", "{n}- {text}", "{n}- {text}", "{n}) {text}", "{n}. {text}", "{text}")


class _Hand:
    """
    One of the people who write reports, with habits: the same finding mostly gets the same words from the same hand.

    So some descriptions repeat, and yet no wording belongs to a diagnosis.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        # A few hands write most of the reports.
        self.number = int(HANDS * rng.random() ** 2)

    def habit(self, name: str) -> float:
        """A number in [0, 1) that this hand keeps for whatever is named."""
        return zlib.crc32(f"{self.number}:{name}".encode()) / 2**32

    def chance(self, probability: float) -> bool:
        """True with this probability, anew each time."""
        return bool(self.rng.random() < probability)

    def usual(self, options: Sequence[str]) -> str:
        """The phrase that this hand always uses."""
        return options[int(self.habit(options[0]) * len(options))]

    def pick(self, options: Sequence[str]) -> str:
        """The phrase that this hand prefers, or now and then any."""
        if self.chance(HABIT):
            return self.usual(options)
        return options[int(self.rng.integers(len(options)))]


def _axis_key(axis_deg: int) -> str:
    """Quadrant in words: normal is -30 to 100 degrees."""
    if -30 <= axis_deg <= 100:
        return "normal"
    if -45 <= axis_deg < -30:
        return "left"
    if -90 <= axis_deg < -45:
        return "left_up"
    return "right" if 100 < axis_deg <= 150 else "right_up"


def _rate(hand: _Hand, reading: Reading, numbers: bool) -> str:
    """The heart rate as a phrase; now and then left out, more often where it is usual."""
    if reading.rate_class == "usual" and hand.habit("usual rate") < RATE_ONLY_IF_UNUSUAL or hand.chance(0.04):
        return ""
    table = phrases.RATE_WITH_NUMBER if numbers else phrases.RATE
    return hand.pick(table[reading.rate_class]).format(rate=reading.heart_rate)


def _cycles(hand: _Hand, reading: Reading) -> str:
    """Regularity of the RR intervals."""
    if reading.rhythm in ("af", "unclear"):
        return "" if hand.chance(0.08) else hand.pick(phrases.CYCLES["irregular"])
    if reading.rhythm == "flutter":
        return hand.pick(phrases.CYCLES["stepped"])
    if "sinus_arrhythmia" in reading.findings:
        return hand.pick(phrases.CYCLES["breathing"])
    return hand.pick(phrases.CYCLES["regular"]) if hand.habit("regular") < 0.45 else ""


def _p(hand: _Hand, reading: Reading) -> str:
    key = {"sinus": "usual", "af": "none", "flutter": "saw"}.get(reading.rhythm, "unclear")
    return hand.pick(phrases.P[key])


def _pr(hand: _Hand, reading: Reading, numbers: bool) -> str:
    words = hand.pick(phrases.PR[reading.pr_class])
    if numbers and reading.pr_ms is not None:
        return f"{reading.pr_ms} ms" if reading.pr_class == "usual" else f"{reading.pr_ms} ms, {words}"
    return words


def qrs_shape(reading: Reading, condition: Condition) -> str:
    """
    Which picture of the QRS the description paints: that of a block also where the conclusion overlooked it.

    Args:
        reading (`Reading`): what was read.
        condition (`Condition`): its block says which picture a broad QRS without a finding has.

    Returns:
        `str`: a key of `phrases.QRS`.
    """
    if reading.qrs_class == "wide":
        named = {"RBBB": "rbbb", "LBBB": "lbbb"}
        for finding, key in named.items():
            if finding in reading.findings:
                return key
        return {"rbbb": "rbbb", "incomplete_rbbb": "rbbb", "delay": "delay"}.get(condition.block, "lbbb")
    for finding, key in (
        ("incomplete_rbbb", "incomplete_rbbb"),
        ("incomplete_lbbb", "incomplete_lbbb"),
        ("conduction_delay", "delay"),
    ):
        if finding in reading.findings:
            return key
    return reading.qrs_class


def _qrs(hand: _Hand, reading: Reading, condition: Condition, numbers: bool) -> str:
    shape = qrs_shape(reading, condition)
    if shape == "usual" and {"hypertrophy", "low_voltage", "left_fascicle"} & set(reading.findings):
        shape = "narrow"  # amplitudes or axis are not normal
    parts = [hand.pick(phrases.QRS[shape])]
    if "hypertrophy" in reading.findings:
        parts.append(hand.pick(phrases.VOLTAGE["high"]))
    if "low_voltage" in reading.findings:
        parts.append(hand.pick(phrases.VOLTAGE["low"]))
    if "left_fascicle" in reading.findings:
        parts.append(hand.pick(phrases.FASCICLE))
    if numbers:
        parts.insert(0, f"{reading.qrs_ms} ms")
    return ", ".join(parts)


def _st(hand: _Hand, reading: Reading, condition: Condition) -> str:
    if reading.qrs_class == "wide":
        return hand.pick(phrases.ST["opposed"])
    if "repolarisation" in reading.findings:
        key = condition.repolarisation
    elif "early_repolarisation" in reading.findings:
        key = "early"
    else:
        key = "normal"
    return hand.pick(phrases.ST[key])


def _qtc(hand: _Hand, reading: Reading, numbers: bool) -> str:
    if reading.rhythm != "sinus" or reading.qrs_class == "wide":
        return hand.pick(phrases.QTC["none"])
    words = hand.pick(phrases.QTC["long" if "long_qtc" in reading.findings else "usual"])
    return f"{reading.qtc_ms} ms, {words}" if numbers else words


def _early_beats(hand: _Hand, reading: Reading) -> str:
    for kind, options in phrases.EARLY_BEATS.items():
        if f"{kind}_ectopics" in reading.findings:
            return hand.pick(options)
    return ""


def _description(hand: _Hand, reading: Reading, condition: Condition) -> list[str]:
    """Sentences of the description, in the order in which they are written, without full stops."""
    numbers = hand.habit("numbers") < WITH_NUMBERS
    running = hand.habit("running") < RUNNING_TEXT

    def section(titles: Sequence[str], text: str) -> str:
        return f"{hand.usual(titles)} {text}" if running else f"{hand.usual(titles)}: {text}"

    axis_key = _axis_key(reading.axis_deg)
    axis = hand.pick(phrases.AXIS[axis_key]) if axis_key != "normal" or hand.habit("axis") < 0.3 else ""
    opening = [axis, _rate(hand, reading, numbers), _cycles(hand, reading)]
    if hand.habit("opening") < 0.5:
        opening.reverse()
    waves = [section(phrases.P_TITLES, _p(hand, reading)), section(phrases.PR_TITLES, _pr(hand, reading, numbers))]
    waves.append(section(phrases.QRS_TITLES, _qrs(hand, reading, condition, numbers)))
    waves.append(section(phrases.ST_TITLES, _st(hand, reading, condition)))
    if hand.habit("qtc") < 0.85:
        waves.append(section(phrases.QTC_TITLES, _qtc(hand, reading, numbers)))
    early = _early_beats(hand, reading)
    body = waves + [early] if hand.habit("early") < 0.5 else [early] + waves
    # Some put rate and axis last.
    sentences = opening + body if hand.habit("order") < 0.8 else body + opening
    return [sentence[0].upper() + sentence[1:] for sentence in sentences if sentence]


def _conclusion(hand: _Hand, reading: Reading) -> str:
    items = [hand.pick(phrases.CONCLUSIONS[name]) for name in reading.findings]
    if reading.rhythm == "sinus" and not {"SB", "ST"} & set(reading.findings) and hand.habit("rhythm") < 0.6:
        items.insert(0, hand.pick(phrases.CONCLUSION_RHYTHM))
    if not reading.findings:
        items.append(hand.pick(phrases.CONCLUSION_CLEAR))
    numbering = hand.usual(NUMBERINGS)
    glue = "; " if numbering == "{text}" else " "
    listed = glue.join(numbering.format(n=n, text=text) for n, text in enumerate(items, start=1))
    return f"{hand.pick(phrases.CONCLUSION_TITLES)} {listed}."


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


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("º", "o"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def write_report(rng: np.random.Generator, reading: Reading, condition: Condition) -> str:
    """
    One report: description from the measurements, never naming what the conclusion names; conclusion; label line.

    Args:
        rng (`np.random.Generator`): stream of this exam's text, which shares nothing with the signal's.
        reading (`Reading`): measured values and findings.
        condition (`Condition`): shape of what was found (which block, which change of ST and T).

    Returns:
        `str`: three lines or more; the label line may be missing.
    """
    hand = _Hand(rng)
    sentences = _description(hand, reading, condition)
    gap = "\n" if hand.habit("lines") < ON_LINES else " "
    text = gap.join(f"{sentence}." for sentence in sentences) + "\n" + _conclusion(hand, reading)
    style = hand.habit("style")
    if style < NO_ACCENTS:
        text = _without_accents(text)
    elif style < NO_ACCENTS + CAPITALS:
        text = text.upper()
    elif style < NO_ACCENTS + CAPITALS + SMALL_LETTERS:
        text = text.lower()
    return text if hand.chance(NO_LABEL_LINE) else f"{text}\n{label_line(reading.labels)}"
