"""
The writer of descriptions: a `Reading`, that is what was seen in an ECG, in; sentences in Portuguese or English out.

Whoever reads ECGs, the simulator's readers or a program that measures real ones, makes a `Reading`; the words are the
same. They say what is seen and never name a diagnosis. What was not seen or could not be measured is left out.
"""

import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from data_scripts.text import phrases, phrases_english
from modeling_ecgclip.signal_ecgclip import LEAD_NAMES


WITH_NUMBERS, RUNNING_TEXT, ON_LINES = 0.25, 0.22, 0.3  # shares of hands that write so
NO_ACCENTS, CAPITALS, SMALL_LETTERS = 0.15, 0.08, 0.05
RATE_ONLY_IF_UNUSUAL = 0.3
LANGUAGES: dict[str, ModuleType] = {"pt": phrases, "en": phrases_english}
CHEST = LEAD_NAMES[6:]
HANDS, HABIT = 24, 0.95  # people who write, and how often they use the words that they always use


@dataclass(frozen=True)
class Detail:
    """
    One more thing that was seen, and where.

    Args:
        word (`str`): Key of `QRS_DETAILS` or `ST_DETAILS`.
        leads (`tuple[str]`, *optional*): Standard spellings, in the standard order.
    """

    word: str
    leads: tuple[str, ...] = ()


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
        qrs_details (`tuple[Detail]`, *optional*): of the QRS, beside the word, without which they are not said.
        st (`str`, *optional*): key of `ST`: ST segment and T wave.
        st_details (`tuple[Detail]`, *optional*): of ST segment and T wave, with or without the word.
        qtc (`str`, *optional*), qtc_ms (`int`, *optional*): key of `QTC`, and the number.
        early_beats (`str`, *optional*): key of `EARLY_BEATS`.
        spikes (`bool`, defaults to `False`): narrow spikes before the QRS complexes.

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
    spikes: bool = False
    qrs_details: tuple[Detail, ...] = ()
    st_details: tuple[Detail, ...] = ()

    def __post_init__(self) -> None:
        for name, table in TABLES.items():
            word = getattr(self, name)
            if word is not None and word not in table:
                raise ValueError(f"Reading: {name} must be one of {', '.join(table)}, or None; found {word!r}")
        for name, table in (("qrs_details", phrases.QRS_DETAILS), ("st_details", phrases.ST_DETAILS)):
            for detail in getattr(self, name):
                if detail.word not in table:
                    raise ValueError(f"Reading: {name} must be of {', '.join(table)}; found {detail.word!r}")


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
        language (`str`, defaults to `"pt"`): of `LANGUAGES`.
    """

    def __init__(self, rng: np.random.Generator, language: str = "pt") -> None:
        self.rng, self.phrases = rng, LANGUAGES[language]
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


class PlainHand(Hand):
    """
    One who says all that was seen, with numbers, always in the same words and in the same order.

    Args:
        language (`str`, defaults to `"pt"`): of `LANGUAGES`.
    """

    HABITS = {"usual rate": 1.0, "running": 1.0, "opening": 1.0, "lines": 1.0, "style": 1.0}

    def __init__(self, language: str = "pt") -> None:
        super().__init__(np.random.default_rng(0), language)

    def habit(self, name: str) -> float:
        """As in the base class."""
        return self.HABITS.get(name, 0.0)

    def chance(self, probability: float) -> bool:
        """Never."""
        return False

    def usual(self, options: Sequence[str]) -> str:
        """The first phrase."""
        return options[0]

    def pick(self, options: Sequence[str]) -> str:
        """The first phrase."""
        return options[0]


def _axis(hand: Hand, reading: Reading) -> str:
    """The quadrant in words; a normal one, -30 to 100 degrees, is left out by most hands."""
    degrees = reading.axis_deg
    if degrees is None:
        return ""
    if -30 <= degrees <= 100:
        return hand.pick(hand.phrases.AXIS["normal"]) if hand.habit("axis") < 0.3 else ""
    if -45 <= degrees < -30:
        return hand.pick(hand.phrases.AXIS["left"])
    if -90 <= degrees < -45:
        return hand.pick(hand.phrases.AXIS["left_up"])
    return hand.pick(hand.phrases.AXIS["right" if 100 < degrees <= 150 else "right_up"])


def _rate(hand: Hand, reading: Reading, numbers: bool) -> str:
    """The heart rate as a phrase; now and then left out, more often where it is usual."""
    if reading.rate is None:
        return ""
    if reading.rate == "usual" and hand.habit("usual rate") < RATE_ONLY_IF_UNUSUAL or hand.chance(0.04):
        return ""
    if numbers and reading.heart_rate is not None:
        return hand.pick(hand.phrases.RATE_WITH_NUMBER[reading.rate]).format(rate=reading.heart_rate)
    return hand.pick(hand.phrases.RATE[reading.rate])


def _cycles(hand: Hand, reading: Reading) -> str:
    """Regularity of the RR intervals."""
    if reading.cycles is None:
        return ""
    if reading.cycles == "irregular" and hand.chance(0.08):
        return ""
    if reading.cycles in ("regular", "even") and hand.habit("regular") >= 0.45:
        return ""
    return hand.pick(hand.phrases.CYCLES[reading.cycles])


def _p(hand: Hand, reading: Reading) -> str:
    return "" if reading.p is None else hand.pick(hand.phrases.P[reading.p])


def _pr(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.pr is None:
        return ""
    words = hand.pick(hand.phrases.PR[reading.pr])
    if numbers and reading.pr_ms is not None:
        return f"{reading.pr_ms} ms" if reading.pr == "usual" else f"{reading.pr_ms} ms, {words}"
    return words


def _qrs(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.qrs is None:
        return ""
    parts = [hand.pick(hand.phrases.QRS[reading.qrs])]
    if reading.voltage is not None:
        parts.append(hand.pick(hand.phrases.VOLTAGE[reading.voltage]))
    if reading.fascicle:
        parts.append(hand.pick(hand.phrases.FASCICLE))
    parts += _details(hand, hand.phrases.QRS_DETAILS, reading.qrs_details)
    if numbers and reading.qrs_ms is not None:
        parts.insert(0, f"{reading.qrs_ms} ms")
    return ", ".join(parts)


def _details(hand: Hand, table: Mapping[str, Sequence[str]], details: Sequence[Detail]) -> list[str]:
    """Phrases with their leads."""
    return [hand.pick(table[detail.word]).format(leads=listed_leads(hand.phrases, detail.leads)) for detail in details]


def listed_leads(words: ModuleType, leads: Sequence[str]) -> str:
    """
    Leads as they are listed in a language, three or more neighbouring chest leads as a range: "DI, aVL e V4 a V6".

    Args:
        words (`ModuleType`): One of `LANGUAGES`.
        leads (`Sequence[str]`): Standard spellings, in the standard order.
    """
    groups: list[list[str]] = []
    for lead in leads:
        follows = groups and lead in CHEST and groups[-1][-1] in CHEST[: CHEST.index(lead)][-1:]
        if follows:
            groups[-1].append(lead)
        else:
            groups.append([lead])
    names: list[str] = []
    for group in groups:
        written = [words.LEADS.get(lead, lead) for lead in group]
        names += [words.RANGE.format(first=written[0], last=written[-1])] if len(group) > 2 else written
    return words.AND.format(first=", ".join(names[:-1]), last=names[-1]) if len(names) > 1 else "".join(names)


def _st(hand: Hand, reading: Reading) -> str:
    parts = [] if reading.st is None else [hand.pick(hand.phrases.ST[reading.st])]
    return ", ".join(parts + _details(hand, hand.phrases.ST_DETAILS, reading.st_details))


def _qtc(hand: Hand, reading: Reading, numbers: bool) -> str:
    if reading.qtc is None:
        return ""
    words = hand.pick(hand.phrases.QTC[reading.qtc])
    return f"{reading.qtc_ms} ms, {words}" if numbers and reading.qtc_ms is not None else words


def _early_beats(hand: Hand, reading: Reading) -> str:
    return "" if reading.early_beats is None else hand.pick(hand.phrases.EARLY_BEATS[reading.early_beats])


@dataclass(frozen=True)
class Sentence:
    """
    One sentence of a description.

    Args:
        about (`str`): `"axis"`, `"rate"`, `"cycles"`, `"p"`, `"pr"`, `"qrs"`, `"st"`, `"qtc"`, `"early_beats"` or
            `"spikes"`.
        text (`str`): Without full stop.
    """

    about: str
    text: str


def written(hand: Hand, reading: Reading) -> list[Sentence]:
    """
    Returns the sentences of a description, in the order in which they are written; none where nothing was seen.

    Args:
        hand (`Hand`): who writes.
        reading (`Reading`): what was seen.
    """
    words = hand.phrases
    numbers = hand.habit("numbers") < WITH_NUMBERS
    running = hand.habit("running") < RUNNING_TEXT

    def section(titles: Sequence[str], text: str) -> str:
        return text and (f"{hand.usual(titles)} {text}" if running else f"{hand.usual(titles)}: {text}")

    opening = [
        Sentence("axis", _axis(hand, reading)),
        Sentence("rate", _rate(hand, reading, numbers)),
        Sentence("cycles", _cycles(hand, reading)),
    ]
    if hand.habit("opening") < 0.5:
        opening.reverse()
    waves = [
        Sentence("p", section(words.P_TITLES, _p(hand, reading))),
        Sentence("pr", section(words.PR_TITLES, _pr(hand, reading, numbers))),
        Sentence("qrs", section(words.QRS_TITLES, _qrs(hand, reading, numbers))),
        Sentence("st", section(words.ST_TITLES, _st(hand, reading))),
    ]
    if hand.habit("qtc") < 0.85:
        waves.append(Sentence("qtc", section(words.QTC_TITLES, _qtc(hand, reading, numbers))))
    early = [Sentence("early_beats", _early_beats(hand, reading))]
    if reading.spikes:
        early.append(Sentence("spikes", hand.pick(words.SPIKES)))
    body = waves + early if hand.habit("early") < 0.5 else early + waves
    # Some put rate and axis last.
    ordered = opening + body if hand.habit("order") < 0.8 else body + opening
    return [Sentence(one.about, one.text[0].upper() + one.text[1:]) for one in ordered if one.text]


def sentences(hand: Hand, reading: Reading) -> list[str]:
    """Returns the texts of what is [`written`]."""
    return [one.text for one in written(hand, reading)]


def joined(hand: Hand, texts: Sequence[str]) -> str:
    """The sentences as one text, on lines of their own or not."""
    gap = "\n" if hand.habit("lines") < ON_LINES else " "
    return gap.join(f"{sentence}." for sentence in texts)


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
    return write_by(Hand(rng), reading)


def write_by(hand: Hand, reading: Reading) -> str:
    """Returns a description as [`write_description`] does, by a given hand, in that one's language."""
    return styled(hand, joined(hand, sentences(hand, reading)))
