import re

import pytest

from publishing.source_facts import SOURCES, source_facts


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_what_is_stated_is_well_formed(source):
    facts = source_facts(source)
    assert facts.simulated == (source == "simulated")
    assert facts.simulated or facts.url.startswith("https://")
    assert all(re.fullmatch(r"[a-z]{2}", language) for language in facts.report_languages)
    if facts.bibtex is not None:
        assert facts.bibtex.startswith("@") and facts.bibtex.count("{") == facts.bibtex.count("}")


def test_unknown_source_is_not_taken_for_a_known_one():
    facts = source_facts("our_hospital")
    assert (facts.title, facts.licence, facts.simulated, facts.bibtex) == ("our_hospital", "its own", False, None)
