"""Which diagnoses the descriptions still name after their reports have been cut: counted, shown, masked on request."""

import functools
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from data_scripts.text.folding import fold
from data_scripts.text.languages import FINDINGS, LANGUAGES, Words


MOST_EXAMPLES = 3  # of each diagnosis
CHARACTERS_AROUND = 30  # of an example
MASK = "___"  # as de-identified reports have it where a word was taken out
# The diagnosis of each of CODE's labels; of any degree, kind and completeness.
DIAGNOSIS_OF_LABEL = {
    "1dAVb": "AV block",
    "RBBB": "right bundle branch block",
    "LBBB": "left bundle branch block",
    "SB": "bradycardia",
    "AF": "fibrillation",
    "ST": "tachycardia",
}
# What a word says of both is said by one of them, where its side is.
SIDES_OF = {"bundle branch block": {"right bundle branch block", "left bundle branch block"}}


class WordsLeft:
    """Counts the descriptions that name a diagnosis, in any of the known languages, and keeps examples."""

    def __init__(self) -> None:
        self.with_words = 0
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def look(self, description: str) -> None:
        """Counts one description."""
        self.with_words += names_diagnosis(description)
        for diagnosis, (start, end) in diagnoses_named(description).items():
            self.counts[diagnosis] += 1
            examples = self.examples.setdefault(diagnosis, [])
            if len(examples) < MOST_EXAMPLES:
                example = _example(description, start, end)
                examples += [example] if example not in examples else []

    def facts(self) -> dict[str, dict[str, Any]]:
        """Returns, the most frequent diagnosis first, in how many `reports` it was left, and `examples`."""
        return {name: {"reports": n, "examples": self.examples[name]} for name, n in self.counts.most_common()}

    def record(self) -> dict[str, Any]:
        """
        Returns what a conversion's record says of the words.

        Returns:
            `dict`: `with_diagnosis_words`, how many descriptions name a diagnosis, `labels_named`, how many name that
            of each label of CODE, and `diagnosis_words_left`, the [`facts`], those of findings among them.
        """
        return {
            "with_diagnosis_words": self.with_words,
            "labels_named": {label: self.counts[name] for label, name in DIAGNOSIS_OF_LABEL.items()},
            "diagnosis_words_left": self.facts(),
        }


@functools.lru_cache(maxsize=16384)  # a normal ECG's description comes thousands of times
def diagnoses_named(text: str) -> dict[str, tuple[int, int]]:
    """Returns where a text names each diagnosis or finding, denied or not: `{"fibrillation": (3, 18)}`."""
    plain = fold(text)
    named: dict[str, tuple[int, int]] = {}
    for diagnosis, words in _words():
        match = None if diagnosis in named else next(words.find(plain), None)
        if match:
            named[diagnosis] = match.span()
    for both, sides in SIDES_OF.items():
        if sides & named.keys():
            named.pop(both, None)
    return named


def names_diagnosis(text: str) -> bool:
    """Tells whether a text names a diagnosis; a finding, as in "sinus rhythm", is none."""
    return not diagnoses_named(text).keys() <= FINDINGS


@functools.lru_cache(maxsize=16384)
def mask_diagnoses(text: str) -> str:
    """
    Returns a text with [`MASK`] in place of each diagnosis, and of what says which one it is.

    Args:
        text (`str`): A description: "QRS largo, secundário a bloqueio de ramo direito." gives "QRS largo, secundário
            a ___."
    """
    if not names_diagnosis(text):
        return text
    kept, done = [], 0
    for match in _diagnosis_pattern().finditer(fold(text)):
        kept.append(text[done : match.start()])
        done = match.end()
    return MASK.join([*kept, text[done:]])


def lines_of(left: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns what is printed of [`WordsLeft.facts`]."""
    if not left:
        return ["diagnosis words left in descriptions: none"]
    shown = [f'  {name}: {one["reports"]}, such as "{one["examples"][0]}"' for name, one in left.items()]
    return ["diagnosis words left in descriptions, by reports:", *shown]


def _example(text: str, start: int, end: int) -> str:
    """The words around a place, whole ones."""
    first, last = max(0, start - CHARACTERS_AROUND), min(len(text), end + CHARACTERS_AROUND)
    before, after = text[first:start], text[end:last]
    if first:
        before = "... " + before.partition(" ")[2] if " " in before else f"...{before}"
    if last < len(text):
        after = after.rpartition(" ")[0] + " ..." if " " in after else f"{after}..."
    return f"{before}{text[start:end]}{after}"


@functools.cache
def _words() -> tuple[tuple[str, Words], ...]:
    """The words of all languages, phrase by phrase: so that a text is searched for few of them."""
    phrases = [of_name for language in LANGUAGES for of_name in language.diagnoses.items()]
    return tuple((name, Words.of([phrase])) for name, listed in phrases for phrase in listed)


@functools.cache
def _diagnosis_pattern() -> re.Pattern[str]:
    """A diagnosis with the whole of its word and the qualifiers around it: "inkompletter Rechtsschenkelblock"."""
    named = [
        phrase
        for language in LANGUAGES
        for name, phrases in language.diagnoses.items()
        if name not in FINDINGS
        for phrase in phrases
    ]
    diagnosis = Words.of(named).pattern.pattern
    qualifier = Words.of(phrase for language in LANGUAGES for phrase in language.qualifiers).pattern.pattern
    return re.compile(rf"(?:{qualifier}[\s-]+)*(?<!\w)[\w-]*(?:{diagnosis})[\w-]*(?:[\s-]+{qualifier})*")
