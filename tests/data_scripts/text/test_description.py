"""The writer of descriptions: what was seen gets its words, what was not seen is left out, no diagnosis is named."""

import re

import numpy as np
import pytest

from data_scripts.text import phrases
from data_scripts.text.description import TABLES, Hand, Reading, sentences, write_description
from data_scripts.text.folding import fold
from data_scripts.text.reports import STATEMENTS


FULL = Reading(
    rate="slow",
    heart_rate=47,
    cycles="irregular",
    axis_deg=-60,
    p="usual",
    pr="long",
    pr_ms=231,
    qrs="lbbb",
    qrs_ms=148,
    voltage="high",
    fascicle=True,
    st="opposed",
    qtc="usual",
    qtc_ms=431,
    early_beats="ventricular",
)
N_HANDS = 300


def texts(reading):
    return [write_description(np.random.default_rng(seed), reading) for seed in range(N_HANDS)]


def says(text, options):
    """Whether one of the phrases stands in the text, however it is typed."""
    return any(fold(option) in fold(text) for option in options)


def test_the_same_draw_gives_the_same_words_and_others_vary():
    assert texts(FULL) == texts(FULL)
    assert len(set(texts(FULL))) > 0.3 * N_HANDS


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"rate", "cycles", "qtc"}))
def test_every_word_of_a_reading_is_said_by_every_hand(name):
    table = TABLES[name]
    for word in table:
        reading = Reading(qrs="usual", **{name: word}) if name == "voltage" else Reading(**{name: word})
        assert all(says(text, table[word]) for text in texts(reading)), word


@pytest.mark.parametrize(("name", "word"), [("rate", "fast"), ("cycles", "irregular"), ("qtc", "long")])
def test_what_some_hands_leave_out_is_said_by_most(name, word):
    said = [says(text, TABLES[name][word]) for text in texts(Reading(**{name: word}))]
    assert 0.7 < np.mean(said) <= 1


def test_what_was_not_seen_is_not_said():
    assert set(texts(Reading())) == {""}
    only_p = set(texts(Reading(p="none")))
    assert only_p and not any(re.search(r"\b(qrs|st|qt|qtc|pri?|fc|rr)\b", fold(text)) for text in only_p)
    assert sentences(Hand(np.random.default_rng(0)), Reading()) == []


def test_numbers_are_those_of_the_reading_or_none_at_all():
    known, seen = {"47", "231", "148", "431"}, set()
    fixed = {number for table in TABLES.values() for options in table.values() for o in options
             for number in re.findall(r"\d+", o)} | {"45"}  # fmt: skip
    for text in texts(FULL):
        seen |= set(re.findall(r"\d+", text)) - fixed
    assert seen == known
    unmeasured = Reading(rate="slow", pr="long", qrs="lbbb", qtc="usual")
    assert not any(set(re.findall(r"\d+", text)) - fixed for text in texts(unmeasured))


@pytest.mark.parametrize(
    ("degrees", "key"), [(-30, "normal"), (-31, "left"), (-45, "left"), (-46, "left_up"), (101, "right"),
                         (151, "right_up"), (-120, "right_up")],
)  # fmt: skip
def test_the_axis_is_named_by_its_quadrant(degrees, key):
    said = [text for text in texts(Reading(axis_deg=degrees)) if text]
    assert said and all(says(text, phrases.AXIS[key]) for text in said)


def test_no_diagnosis_is_named():
    for name, table in TABLES.items():
        for word in table:
            for text in texts(Reading(**{"qrs": "usual", name: word}))[:40]:
                assert not any(statement.search(fold(text)) for statement in STATEMENTS.values()), text


def test_a_word_that_no_table_has_is_refused():
    with pytest.raises(ValueError, match="qrs must be one of usual, narrow, .* or None; found 'broad'"):
        Reading(qrs="broad")
