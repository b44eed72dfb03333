"""What cards say of the texts of an exam table: what was cut off, and which diagnoses they name all the same."""

from collections.abc import Mapping
from typing import Any

from data_scripts.text.languages import FINDINGS
from data_scripts.text.reports import free_of_conclusions
from data_scripts.text.words_left import DIAGNOSIS_OF_LABEL, MASK
from publishing.card_text import counted


def report_text(reports: Mapping[str, Any]) -> str:
    """
    Returns, in sentences, what texts hold of conclusions and diagnoses, by what the conversion counted.

    Args:
        reports (`Mapping`): Of a `conversion.json` of any version; empty where there is none.
    """
    free = free_of_conclusions(reports)
    if "with_diagnosis_words" not in reports:
        return _not_counted(reports, free)
    said = [reports["note"]] if "note" in reports else []
    headless = reports.get("without_heading")
    if headless is not None and reports.get("sections"):
        said.append("Conclusions and labels were cut off at their headings.")
    if headless:
        with_words = reports.get("without_heading_with_diagnosis_words")
        of_them = "" if with_words is None else f", of which {with_words:,} name a diagnosis"
        said.append(f"Left whole, for want of a heading: {counted(headless, 'report', 'reports')}{of_them}.")
    if reports.get("masked"):
        said.append(f"In {counted(reports['masked'], 'text', 'texts')} words that name a diagnosis became `{MASK}`.")
    said.append(f"{diagnoses_named(reports)}, by words of four languages that were looked for.")
    if reports["with_diagnosis_words"]:
        said.append("A model pre-trained on them has seen part of what labels say.")
    elif not free:
        said.append("That does not make them free of conclusions: whatever else the reports conclude is still there.")
    return " ".join(said)


def labels_in_texts(reports: Mapping[str, Any]) -> str:
    """
    Returns which reports pre-training saw, as the object of a sentence; `""` where none is known to state a diagnosis.

    Args:
        reports (`Mapping`): As for [`report_text`].
    """
    if free_of_conclusions(reports) is not False:
        return ""
    if reports.get("with_diagnosis_words") == 0:
        return "reports from which nothing was cut off, for want of headings that are known"
    return "reports that state diagnoses" + (
        f": {diagnoses_named(reports)}" if "with_diagnosis_words" in reports else ""
    )


def diagnoses_named(reports: Mapping[str, Any]) -> str:
    """Returns `3 of 1,200 texts name a diagnosis (RBBB 2, AF 1; infarction 1)`, or that none does."""
    named = reports["with_diagnosis_words"]
    total = reports.get("reports", reports.get("exams_with_report", 0)) - reports.get("empty", 0)
    if not named:
        return f"None of {total:,} texts names a diagnosis"
    of_labels = [f"{label} {n:,}" for label, n in reports.get("labels_named", {}).items() if n]
    left = reports.get("diagnosis_words_left", {}).items()
    passed_over = {*FINDINGS, *DIAGNOSIS_OF_LABEL.values()} if of_labels else FINDINGS
    others = [f"{name} {one['reports']:,}" for name, one in left if name not in passed_over]
    which = "; ".join(", ".join(names) for names in (of_labels, others) if names)
    verb = "names" if named == 1 else "name"
    return f"{named:,} of {total:,} texts {verb} a diagnosis" + (f" ({which})" if which else "")


def _not_counted(reports: Mapping[str, Any], free: bool | None) -> str:
    """What follows from a record of the time before descriptions were read."""
    if free is False:
        return (
            "They are not free of conclusions: the texts state diagnoses, so a model pre-trained on them has seen "
            "what the labels say."
        )
    if reports.get("free_of_conclusions"):
        return "Conclusions and labels were cut off; whether what is left names diagnoses was not looked at."
    return "Whether they are free of conclusions is not recorded."
