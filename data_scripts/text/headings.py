"""Where the headings of a report stand, in any of the known languages and by words of one's own."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from data_scripts.text.folding import fold
from data_scripts.text.languages import LANGUAGES, PORTUGUESE, Words
from modeling_ecgclip.limits_ecgclip import shorten


# All patterns meet folded text.
ON_ONE_LINE = r"[^\S\r\n]+"
COMPOUND = r"(?<!\w)(?:\w{1,20}-){0,3}"  # "EKG-Beurteilung", "Ruhe-EKG-Befund": all of it is the heading
# "2. Conclusion:" on a line, "**Conclusion:**", "[Conclusion]"
ORNAMENT = r"(?m:^[^\S\r\n]{0,9}\d{1,2}[.)][^\S\r\n]{0,9})?(?:(?<![#*\[(])[#*\[(]{1,4}[^\S\r\n]{0,9})?"
ORNAMENT_AFTER = r"[*\])]{0,4}"
COLON = re.compile(rf"{ORNAMENT_AFTER}\s*:{ORNAMENT_AFTER}")
DASH_OR_LIST = re.compile(r"\s*[\u2013\u2014]|\s+-\s|-\s|\s+(?=\d{1,2}\s*[-.)\u2013](?!\d))")
END_OF_LINE = re.compile(rf"{ORNAMENT_AFTER}[^\S\r\n]*(?:[\r\n]|$)")
# Portuguese headings as the archives of tele-ECG have them: the start of a sentence is mark enough.
LENIENT_MARK = re.compile(r"\s*[:\u2013\u2014-]|\s+(?=\d\s*[-.)\u2013])")


@dataclass(frozen=True)
class Heading:
    """
    A heading in a report.

    Args:
        start (`int`), end (`int`): Where it stands, its mark included.
        section (`str`): What it heads.
        language (`str`): `"Portuguese"`, ..., or `""` for a heading of one's own.
    """

    start: int
    end: int
    section: Literal["description", "conclusion"]
    language: str


def check_headings(words: Sequence[str] | None) -> tuple[str, ...]:
    """
    Returns headings of one's own, folded and without the colon that may follow them.

    Args:
        words (`Sequence[str]`, *optional*): For example `["Bedömning", "Slutsats:"]`.

    Raises:
        `ValueError`: for a heading without a letter.
    """
    folded = tuple(" ".join(fold(word).split()).rstrip(": ") for word in words or ())
    for word, given in zip(folded, words or (), strict=True):
        if not any(letter.isalpha() for letter in word):
            raise ValueError(f"--conclusion_headings: expected the words of a heading, found {shorten(given)}")
    return folded


def find_headings(plain: str, own: tuple[str, ...] = ()) -> list[Heading]:
    """
    Returns the headings of conclusions in folded text, in order, and that of a description before or after them.

    "In conclusion of the exam" heads nothing: a heading has a colon behind it, or starts a sentence and has a dash, a
    list or the end of its line behind it. Portuguese ones may start a sentence without any of these.

    Args:
        plain (`str`): From [`fold`].
        own (`tuple[str]`): From [`check_headings`].
    """
    found = sorted([*_conclusions(plain, own), *_descriptions(plain)], key=lambda one: (one.start, -one.end))
    headings: list[Heading] = []
    for heading in found:
        if headings and heading.start < headings[-1].end:
            continue  # "diagnóstica" in "impresión diagnóstica"
        if heading.section == "description" and not _may_describe(plain, heading, headings):
            continue
        headings.append(heading)
    return headings


def opening_heading(plain: str, concluded: bool) -> int:
    """
    Returns where the heading that opens a description ends, 0 where none does.

    Args:
        plain (`str`): The description, folded.
        concluded (`bool`): Whether a conclusion has been cut off: "Befund:" alone heads the whole report.
    """
    opening = _opening_pattern(concluded).match(plain)
    return opening.end() if opening else 0


def _conclusions(plain: str, own: tuple[str, ...]) -> Iterator[Heading]:
    for match in _lenient_words().find(plain):
        mark = LENIENT_MARK.match(plain, match.end())
        if mark or _starts_sentence(plain, match.start()):
            yield Heading(match.start(), mark.end() if mark else match.end(), "conclusion", PORTUGUESE.name)
    for language in LANGUAGES:
        if language.strict:
            yield from _strict_headings(plain, _strict_words(language.conclusions), "conclusion", language.name)
    if own:
        yield from _strict_headings(plain, _own_words(own), "conclusion", "")


def _descriptions(plain: str) -> Iterator[Heading]:
    """In Portuguese "laudo" may head the verdict: there only the start of a report has such headings."""
    for language in LANGUAGES:
        if language.strict:
            words = _strict_words(language.descriptions)
            for heading in _strict_headings(plain, words, "description", language.name):
                if _starts_sentence(plain, heading.start):
                    yield heading


def _strict_headings(
    plain: str, words: Words, section: Literal["description", "conclusion"], language: str
) -> Iterator[Heading]:
    for match in words.find(plain):
        mark = COLON.match(plain, match.end())
        if not mark and _starts_sentence(plain, match.start()):
            mark = DASH_OR_LIST.match(plain, match.end()) or _alone_on_its_line(plain, match)
        # A heading of one's own may bring its mark with it: "Parecer =".
        if mark or not (plain[match.end() - 1].isalnum()):
            yield Heading(match.start(), mark.end() if mark else match.end(), section, language)


def _starts_sentence(plain: str, start: int) -> bool:
    return _before(plain, start, " \t\r") in ("", *".;!}\n")


def _alone_on_its_line(plain: str, match: re.Match[str]) -> re.Match[str] | None:
    starts_line = _before(plain, match.start(), " \t") in ("", *"\r\n")
    return END_OF_LINE.match(plain, match.end()) if starts_line else None


def _before(plain: str, start: int, passed_over: str) -> str:
    """The last character before a place that is none of those passed over; `""` where there is none."""
    while start and plain[start - 1] in passed_over:
        start -= 1
    return plain[start - 1 : start]


def _may_describe(plain: str, heading: Heading, headings: list[Heading]) -> bool:
    """Whether no description came before: after one, in a conclusion, "Findings:" may head diagnoses."""
    first = headings[0].start if headings else heading.start
    return all(one.section == "conclusion" for one in headings) and not plain[:first].strip()


@functools.cache
def _lenient_words() -> Words:
    return Words.of(PORTUGUESE.conclusions)


@functools.cache
def _strict_words(phrases: tuple[str, ...]) -> Words:
    return Words.of(phrases, ON_ONE_LINE, ORNAMENT + COMPOUND)


@functools.lru_cache(maxsize=16)
def _own_words(own: tuple[str, ...]) -> Words:
    """Words as they were given, with any blanks between them."""
    patterns = []
    for heading in sorted(own, key=len, reverse=True):
        words = ON_ONE_LINE.join(re.escape(word) for word in heading.split())
        before, after = r"(?<!\w)" * heading[0].isalnum(), r"(?!\w)" * heading[-1].isalnum()
        patterns.append(f"{ORNAMENT}{before}{words}{after}")
    return Words(re.compile("|".join(patterns)), tuple(heading.split()[0] for heading in own))


@functools.cache
def _opening_pattern(concluded: bool) -> re.Pattern[str]:
    """Headings of a description at the start of a text, in any language."""
    patterns = []
    for language in LANGUAGES:
        phrases = language.descriptions + (language.whole_reports if concluded else ())
        words = Words.of(phrases, before=COMPOUND if language.strict else "")
        patterns.append(words.pattern.pattern)
    return re.compile(rf"\s*(?:{'|'.join(patterns)})\s*[:\-]\s*")
