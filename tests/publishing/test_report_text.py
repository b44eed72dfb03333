"""What cards say of reports follows from what was counted in them."""

import pytest

from data_scripts.text.reports import ReportCutter
from publishing.report_text import diagnoses_named, labels_in_texts, report_text


CUT = "Onda P normal. Conclusão: fibrilação atrial"


def facts_of(*reports, masked=False):
    cutter = ReportCutter(masked=masked)
    for report in reports:
        cutter.cut(report)
    return cutter.facts()


def test_reports_that_name_nothing():
    text = report_text(facts_of(CUT, CUT, "", "QRS estreito"))
    assert text == (
        "Conclusions and labels were cut off at their headings. Left whole, for want of a heading: 1 report, of which "
        "0 name a diagnosis. None of 3 texts names a diagnosis, by words of four languages that were looked for."
    )


def test_diagnoses_that_are_left_are_counted_by_label():
    facts = facts_of(CUT, "FA com BRE. Conclusão: FA", "BRE, infarto. Conclusão: BRE", "FA sem título")
    assert diagnoses_named(facts) == "3 of 4 texts name a diagnosis (LBBB 2, AF 2; infarction 1)"
    text = report_text(facts)
    assert "Left whole, for want of a heading: 1 report, of which 1 name a diagnosis." in text
    assert text.endswith("A model pre-trained on them has seen part of what labels say.")
    # A run's record of the model that it started from has the counts without the examples.
    assert diagnoses_named({**facts, "diagnosis_words_left": {}}) == "3 of 4 texts name a diagnosis (LBBB 2, AF 2)"


def test_what_pre_training_saw_of_labels():
    assert (
        labels_in_texts(facts_of(CUT)) == "" == labels_in_texts({}) == labels_in_texts({"free_of_conclusions": True})
    )
    assert labels_in_texts({"free_of_conclusions": False}) == "reports that state diagnoses"
    seen = labels_in_texts(facts_of(CUT, "FA. Conclusão: FA"))
    assert seen == "reports that state diagnoses: 1 of 2 texts names a diagnosis (AF 1)"


def test_masked_words_are_said():
    text = report_text(facts_of(CUT, "Secundárias ao BRD. Conclusão: BRD", masked=True))
    assert "In 1 text words that name a diagnosis became `___`. None of 2 texts names a diagnosis" in text


def test_an_archive_without_headings_is_not_called_free():
    facts = facts_of("Vänstersidigt grenblock", "Normalt")
    assert labels_in_texts(facts).startswith("reports from which nothing was cut off")
    text = report_text(facts)
    assert "cut off" not in text
    assert text.endswith("whatever else the reports conclude is still there.")


def test_a_source_without_sections_says_its_note():
    record = {"note": "The whole report is the text.", "sections": False, "free_of_conclusions": False}
    record |= {"with_diagnosis_words": 2, "labels_named": {"AF": 1}, "exams_with_report": 3}
    assert report_text(record).startswith(
        "The whole report is the text. 2 of 3 texts name a diagnosis (AF 1), by words"
    )


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "Whether they are free of conclusions is not recorded."),
        ({"free_of_conclusions": True}, "whether what is left names diagnoses was not looked at"),
        ({"free_of_conclusions": False}, "They are not free of conclusions"),
        # Of the time when words were counted and did not decide.
        (
            {"free_of_conclusions": True, "with_diagnosis_words": 1, "reports": 2, "empty": 0, "sections": True},
            "1 of 2",
        ),
    ],
)
def test_earlier_records(record, said):
    assert said in report_text(record)
