"""
The writer of descriptions: a `Reading`, that is what was seen in an ECG, in; sentences in Portuguese out.

Whoever reads ECGs, the simulator's readers or a program that measures real ones, makes a `Reading`; the words are the
same. They say what is seen and never name a diagnosis. What was not seen or could not be measured is left out.
"""

import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_scripts.text import phrases


WITH_NUMBERS, RUNNING_TEXT, ON_LINES = 0.25, 0.22, 0.3  # shares of hands that write so
NO_ACCENTS, CAPITALS, SMALL_LETTERS = 0.15, 0.08, 0.05
RATE_ONLY_IF_UNUSUAL = 0.3
HANDS, HABIT = 24, 0.95  # people who write, and how often they use the words that they always use


@dataclass(frozen=True)
class Reading:
    """
    What was seen in one ECG. Rates in beats per minute, durations in ms, the axis in degrees.

    Words are keys of the tables in `phrases`; None leaves the sentence, or the number in it, out.

    Args:
        rate (`str`, *optional*), heart_rate (`int`, *optional*): key of `RATE`, and the number.
        cycles (`str`, *optional*): key of `CYCLES`.
        axis_deg (`int`, *optional*): electrical axis of the QRS.
        p (`str`, *optional*): key of `P`.
        pr (`str`, *optional*), pr_ms (`int`, *optional*): key of `PR`, and the number.
        qrs (`str`, *optional*), qrs_ms (`int`, *optional*): key of `QRS`, and the number.
        voltage (`str`, *optional*): key of `VOLTAGE`.
        fascicle (`bool`, defaults to `False`): S waves in the inferior leads as with a left axis beyond -45 degrees.
        st (`str`, *optional*): key of `ST`: ST segment and T wave.
        qtc (`str`, *optional*), qtc_ms (`int`, *optional*): key of `QTC`, and the number.
        early_beats (`str`, *optional*): key of `EARLY_BEATS`.

    Raises:
        `ValueError`: for a word that its table does not have.
    """

    rate: str | None = None
    heart_rate: int | None = None
    cycles: str | None = None
    axis_deg: int | None = None
    p: str | None = None
    pr: str | None = None
    pr_ms: int | None = None
    qrs: str | None = None
    qrs_ms: int | None = None
    voltage: str | None = None
    fascicle: bool = False
    st: str | None = None
    qtc: str | None = None
    qtc_ms: int | None = None
    early_beats: str | None = None

    def __post_init__(self) -> None:
        for name, table in TABLES.items():
            word = getattr(self, name)
            if word is not None and word not in table:
                raise ValueError(f"Reading: {name} must be one of {', '.join(table)}, or None; found {word!r}")


TABLES: dict[str, Mapping[str, Sequence[str]]] = {
    "rate": phrases.RATE,
    "cycles": phrases.CYCLES,
    "p": phrases.P,
    "pr": phrases.PR,
    "qrs": phrases.QRS,
    "voltage": phrases.VOLTAGE,
    "st": phrases.ST,
    "qtc": phrases.QTC,
    "early_beats": phrases.EARLY_BEATS,
}


class Hand:
    """
    One of the people who write reports, with habits: the same finding mostly gets the same words from the same hand.

    So some descriptions repeat, and yet no wording belongs to a diagnosis.

    Args:
        rng (`np.random.Generator`): draws the hand, and what it does differently now and then.
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


def _axis(hand: Hand, reading: Reading) -> str:
    """The quadrant in words; a normal one, -30 to 100 degrees, is left out by most hands."""
    degrees = reading.axis_deg
    if degrees is None:
        return ""
    if -30 <= degrees <= 100:
        return hand.pick(phrases.AXIS["normal"]) if hand.habit("axis") < 0.3 else ""
    if -45 <= degrees < -30:
        return hand.pick(phrases.AXIS["left"])
    if -90 <= degrees < -45:
        return hand.pick(phrases.AXIS["left_up"])
    return hand.pick(phrases.AXIS["right" if 100 < degrees <= 150 else "right_up"])


def _rate(hand: Hand, reading: Reading, numbers: bool) -> str:
    """The heart rate as a phrase; now and then left out, more often where it is usual."""
    if reading.rate is None:
        return ""
    if reading.rate == "usual" and hand.habit("usual rate") < RATE_ONLY_IF_UNUSUAL or hand.chance(0.04):
        return ""
    if numbers and reading.heart_rate is not None:
        return hand.pick(phrases.RATE_WITH_NUMBER[reading.rate]).format(rate=reading.heart_rate)
    return hand.pick(phrases.RATE[reading.rate])


def _cycles(hand: Hand, reading: Reading) -> str:
    """Regularity of the RR intervals."""
    if reading.cycles is None:
        return ""
    if reading.cycles == "irregular" and hand.chance(0.08):
        return ""
    if reading.cycles == "regular" and hand.habit("regular") >= 0.45:
        return ""
    return hand.pick(phrases.CYCLES[reading.cycles])


def _p(hand: Hand, reading: Reading) -> str:
    return "" if reading.p is None else hand.pick(phrases.P[reading.p])


def _pr(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.pr is None:
        return ""
    words = hand.pick(phrases.PR[reading.pr])
    if numbers and reading.pr_ms is not None:
        return f"{reading.pr_ms} ms" if reading.pr == "usual" else f"{reading.pr_ms} ms, {words}"
    return words


def _qrs(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.qrs is None:
        return ""
    parts = [hand.pick(phrases.QRS[reading.qrs])]
    if reading.voltage is not None:
        parts.append(hand.pick(phrases.VOLTAGE[reading.voltage]))
    if reading.fascicle:
        parts.append(hand.pick(phrases.FASCICLE))
    if numbers and reading.qrs_ms is not None:
        parts.insert(0, f"{reading.qrs_ms} ms")
    return ", ".join(parts)


def _st(hand: Hand, reading: Reading) -> str:
    return "" if reading.st is None else hand.pick(phrases.ST[reading.st])


def _qtc(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.qtc is None:
        return ""
    words = hand.pick(phrases.QTC[reading.qtc])
    return f"{reading.qtc_ms} ms, {words}" if numbers and reading.qtc_ms is not None else words


def _early_beats(hand: Hand, reading: Reading) -> str:
    return "" if reading.early_beats is None else hand.pick(phrases.EARLY_BEATS[reading.early_beats])


def sentences(hand: Hand, reading: Reading) -> list[str]:
    """
    Sentences of a description, in the order in which they are written, without full stops.

    Args:
        hand (`Hand`): who writes.
        reading (`Reading`): what was seen.

    Returns:
        `list[str]`: empty where nothing was seen.
    """
    numbers = hand.habit("numbers") < WITH_NUMBERS
    running = hand.habit("running") < RUNNING_TEXT

    def section(titles: Sequence[str], text: str) -> str:
        return text and (f"{hand.usual(titles)} {text}" if running else f"{hand.usual(titles)}: {text}")

    opening = [_axis(hand, reading), _rate(hand, reading, numbers), _cycles(hand, reading)]
    if hand.habit("opening") < 0.5:
        opening.reverse()
    waves = [section(phrases.P_TITLES, _p(hand, reading)), section(phrases.PR_TITLES, _pr(hand, reading, numbers))]
    waves.append(section(phrases.QRS_TITLES, _qrs(hand, reading, numbers)))
    waves.append(section(phrases.ST_TITLES, _st(hand, reading)))
    if hand.habit("qtc") < 0.85:
        waves.append(section(phrases.QTC_TITLES, _qtc(hand, reading, numbers)))
    early = _early_beats(hand, reading)
    body = waves + [early] if hand.habit("early") < 0.5 else [early] + waves
    # Some put rate and axis last.
    ordered = opening + body if hand.habit("order") < 0.8 else body + opening
    return [sentence[0].upper() + sentence[1:] for sentence in ordered if sentence]


def joined(hand: Hand, written: Sequence[str]) -> str:
    """The sentences as one text, on lines of their own or not."""
    gap = "\n" if hand.habit("lines") < ON_LINES else " "
    return gap.join(f"{sentence}." for sentence in written)


def styled(hand: Hand, text: str) -> str:
    """The text as this hand types: with or without accents, in capitals or small letters."""
    style = hand.habit("style")
    if style < NO_ACCENTS:
        return _without_accents(text)
    if style < NO_ACCENTS + CAPITALS:
        return text.upper()
    return text.lower() if style < NO_ACCENTS + CAPITALS + SMALL_LETTERS else text


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("º", "o"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def write_description(rng: np.random.Generator, reading: Reading) -> str:
    """
    A description in Portuguese, by one of `HANDS` hands.

    Args:
        rng (`np.random.Generator`): the same one gives the same words.
        reading (`Reading`): what was seen.

    Returns:
        `str`: empty where nothing was seen.
    """
    hand = Hand(rng)
    return styled(hand, joined(hand, sentences(hand, reading)))
