"""Which diagnoses the descriptions still name after their reports have been cut: counted and shown, never removed."""

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from data_scripts.text.folding import fold
from data_scripts.text.languages import LANGUAGES, Words


MOST_EXAMPLES = 3  # of each diagnosis
CHARACTERS_AROUND = 30  # of an example


class WordsLeft:
    """Counts the descriptions that name a diagnosis, in any of the known languages, and keeps examples."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def look(self, description: str) -> bool:
        """Counts one description; returns whether it names a diagnosis."""
        found = diagnoses_named(description)
        for diagnosis, (start, end) in found.items():
            self.counts[diagnosis] += 1
            examples = self.examples.setdefault(diagnosis, [])
            if len(examples) < MOST_EXAMPLES:
                example = _example(description, start, end)
                examples += [example] if example not in examples else []
        return bool(found)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Returns, the most frequent diagnosis first, in how many `reports` it was left, and `examples`."""
        return {name: {"reports": n, "examples": self.examples[name]} for name, n in self.counts.most_common()}


@functools.lru_cache(maxsize=16384)  # a normal ECG's description comes thousands of times
def diagnoses_named(text: str) -> dict[str, tuple[int, int]]:
    """Returns where a text names each diagnosis, denied or not: `{"fibrillation": (3, 18)}`."""
    plain = fold(text)
    named: dict[str, tuple[int, int]] = {}
    for diagnosis, words in _words():
        match = None if diagnosis in named else next(words.find(plain), None)
        if match:
            named[diagnosis] = match.span()
    return named


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
