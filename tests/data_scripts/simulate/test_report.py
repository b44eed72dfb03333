"""Reports: the description never says what the conclusion says, and the parser gets back what was written."""

import re
from collections import Counter

import pytest

from data_scripts.simulate import conclusions, conclusions_english
from data_scripts.simulate.exam import draft_exam
from data_scripts.simulate.report import label_line, write_report
from data_scripts.simulate.streams import Purpose, stream
from data_scripts.text import phrases, phrases_english
from data_scripts.text.reports import STATEMENTS, fold, parse_report
from data_scripts.text.words_left import WordsLeft
from modeling_ecgclip.labels_ecgclip import LABEL_NAMES


N_REPORTS = 5000
# Words that carry no meaning of their own.
STOP_WORDS = set("a ao as com da de do das dos e em na nas no nos o os ou para pelo por que sem".split())
DIAGNOSIS = re.compile(
    r"bradi|taqui|fibrila|flutter|bloque|sinusal|atrio|atrial|ventric|extrass|arritm|sobrecarga|ramo\b|grau\b"
    r"|infart|isquem|lesao|pericard|marca|excita|digital|potassem|juncion"
    r"|\b(?:fa|brd|bre|bav|bdas|sve|avb|rbbb|lbbb|davb|aavb|sb|af)\b"
)


@pytest.fixture(scope="module")
def reports():
    """`N_REPORTS` pairs of a reading and its parsed report."""
    made = []
    for index in range(N_REPORTS):
        draft = draft_exam(51, index, 3.0)
        text = write_report(stream(51, Purpose.TEXT, index), draft.reading, draft.condition)
        made.append((draft.reading, parse_report(text)))
    return made


def words(text):
    return set(re.findall(r"[a-z0-9]+", fold(text))) - STOP_WORDS


def test_descriptions_share_no_word_with_their_conclusion(reports):
    shared = Counter()
    for _, parts in reports:
        assert parts.description and parts.conclusion
        conclusion = {word for word in words(parts.conclusion) if not word.isdigit()}
        shared.update(words(parts.description) & conclusion)
    assert not shared


def test_descriptions_name_no_diagnosis(reports):
    for _, parts in reports:
        plain = fold(parts.description)
        assert not DIAGNOSIS.search(plain), parts.description
        assert not any(statement.search(plain) for statement in STATEMENTS.values()), parts.description


def test_the_check_of_converters_finds_none_left(reports):
    descriptions, conclusions = WordsLeft(), WordsLeft()
    for _, parts in reports:
        descriptions.look(parts.description)
        conclusions.look(parts.conclusion)
    assert descriptions.facts() == {} and len(conclusions.facts()) >= 9


def test_the_guard_would_notice_a_diagnosis():
    assert DIAGNOSIS.search(fold("Alterações secundárias ao BRD")) and DIAGNOSIS.search("ritmo sinusal")


def test_no_phrase_of_the_conclusion_shares_a_word_with_any_phrase_of_the_description():
    described = set()
    tables = (phrases.RATE, phrases.RATE_WITH_NUMBER, phrases.CYCLES, phrases.EARLY_BEATS, phrases.AXIS, phrases.P)
    tables += (phrases.PR, phrases.QRS, phrases.VOLTAGE, phrases.ST, phrases.QTC)
    for table in (*tables, phrases.QRS_DETAILS, phrases.ST_DETAILS):
        described |= {word for options in table.values() for phrase in options for word in words(phrase)}
    listed = [*conclusions.CONCLUSIONS.values(), conclusions.CONCLUSION_RHYTHM, conclusions.CONCLUSION_CLEAR]
    concluded = {word for options in listed for phrase in options for word in words(phrase)}
    assert len(described) > 150 and len(concluded) > 50
    assert not {word for word in described & concluded if not word.isdigit()}


def test_the_parser_reads_back_findings_and_labels(reports):
    labelled = 0
    for reading, parts in reports:
        assert parts.stated == {name: int(name in reading.findings) for name in LABEL_NAMES}
        if parts.labels:
            labelled += 1
            assert parts.labels == dict(zip(LABEL_NAMES, reading.labels, strict=True))
    assert 0.92 < labelled / N_REPORTS < 0.98


def test_label_line_is_the_papers():
    assert label_line((0, 1, 1, 0, 0, 1)) == "label: {1aAVb: 0, RBBB: 1, LBBB: 1, SB: 0, AF: 0, ST: 1}"


def test_rate_and_shape_can_be_read_from_the_description(reports):
    """What a text encoder is to learn from must be there, in words."""
    phrases_for = {
        "slow": r"abaixo|reduzida|longos|espacad|menor que a|inferior ao",
        "fast": r"acima|elevada|curtos|proximos|maior que a|superior ao",
    }
    for name, pattern in phrases_for.items():
        found = [bool(re.search(pattern, fold(p.description))) for r, p in reports if r.rate_class == name]
        assert len(found) > 100 and sum(found) / len(found) > 0.9
    absent = [p.description for r, p in reports if r.rhythm == "af"]
    assert len(absent) > 100
    assert all(
        re.search(r"\bp:? (ausente|nao|substituida)|ondas p:? (ausente|nao|substituida)", fold(d)) for d in absent
    )


def test_descriptions_vary_and_repeat(reports):
    counts = Counter(parts.description for _, parts in reports)
    assert len(counts) > 1500
    assert counts.most_common(1)[0][1] > 20  # one hand describes normal exams in the same words


def test_english_reports_describe_and_conclude_apart():
    looked, tables = WordsLeft(), phrases_english
    described = (
        tables.RATE,
        tables.CYCLES,
        tables.EARLY_BEATS,
        tables.P,
        tables.PR,
        tables.QRS,
        tables.ST,
        tables.QTC,
        tables.QRS_DETAILS,
        tables.ST_DETAILS,
    )
    said = {word for table in described for options in table.values() for phrase in options for word in words(phrase)}
    assert set(conclusions_english.CONCLUSIONS) == set(conclusions.CONCLUSIONS)
    concluded = {w for options in conclusions_english.CONCLUSIONS.values() for one in options for w in words(one)}
    assert said & concluded <= {"left", "right", "early", "low", "the", "of", "to"}
    for index in range(400):
        draft = draft_exam(51, index, 8.0)
        parts = parse_report(write_report(stream(51, Purpose.TEXT, index), draft.reading, draft.condition, "en"))
        assert parts.description and parts.conclusion and fold(parts.conclusion) not in fold(parts.description)
        looked.look(parts.description)
    assert looked.facts() == {}
