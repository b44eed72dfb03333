"""Headings in four languages and one's own: what heads a conclusion, and what only looks like it."""

import csv
import itertools
import time

import pytest

from data_scripts.text.folding import fold
from data_scripts.text.headings import check_headings, find_headings
from data_scripts.text.reports import ReportCutter, parse_report


DESCRIPTION = "Rate 70. QRS 140 ms, RSR in V1."
CONCLUSION = "1. RBBB 2. AF"
HEADINGS = (
    "CONCLUSION, Conclusions, In conclusion, Impression, Diagnostic impression, INTERPRETATION, ECG interpretation, "
    "Interpretation of this tracing, Diagnosis, Final diagnosis, Diagnoses, Summary, "
    "Conclusión, CONCLUSIONES, Impresión diagnóstica, Impresion, Interpretación del ECG, Juicio diagnóstico, "
    "Conclusión electrocardiográfica, Diagnóstico electrocardiográfico, Valoración, "
    "Beurteilung, EKG-Beurteilung, Zusammenfassende Beurteilung, Beurteilung des EKGs, Gesamtbeurteilung, "
    "Befund/Beurteilung, Befund / Beurteilung, Befund und Beurteilung, Zusammenfassung, Diagnose, DIAGNOSEN, "
    "Verdachtsdiagnose, Schlussfolgerung, Schlußfolgerung, Bewertung"
)
# As MIMIC-IV-ECG's electrocardiographs print them.
STATEMENTS = [
    *(
        "Sinus rhythm with PVC(s)",
        "Low QRS voltages in precordial leads",
        "Inferior ST elevation, CONSIDER ACUTE INFARCT",
    ),
    *(
        "Poor R wave progression - cannot rule out anteroseptal infarct",
        "- first degree A-V block",
        "Report not available",
    ),
    *("Inferior infarct - age undetermined", "*** CONSIDER ACUTE ST ELEVATION MI ***", "Normal ECG except for rate"),
    *(
        "--- Suspect limb lead reversal - only V1-V6 analyzed ---",
        "--- Possible measurement error ---",
        "Abnormal ECG",
    ),
    "Age not entered, assumed to be 50 years old for purpose of ECG interpretation",
    *("--- Warning: Data quality may affect interpretation ---", "Pacemaker rhythm - no further analysis"),
]


@pytest.mark.parametrize("heading", HEADINGS.split(", "))
@pytest.mark.parametrize(
    "written", ["{}: ", "{} :", "\n{}:\n", "\n{}\n", "{} - ", "{} \u2013 ", "{} ", "**{}:** ", "\r\n  2) {}\r\n"]
)
def test_headings_of_a_conclusion(heading, written):
    for one in (heading, heading.upper(), fold(heading)):
        parts = parse_report(f"{DESCRIPTION} {written.format(one)}{CONCLUSION}")
        assert (parts.description, parts.conclusion) == (DESCRIPTION, CONCLUSION), one
        assert parts.has_heading


@pytest.mark.parametrize(
    "text",
    [
        "In conclusion of the exam the rate rose. QRS narrow.",
        "In conclusion, the QRS is narrow.",
        "Tiny complexes. Interpretation is limited by artifact. Diagnosis-related T waves, non-diagnostic ST changes.",
        "T waves inverted. Findings are likely to be due to ischaemic heart disease.",
        "No firm diagnosis - repeat tracing. Impression 1.5 mm deep.",
        "Sin una conclusión definitiva sobre el ritmo. Impresiona bajo voltaje.",
        "Grenzbefund - pathologisch. Vorbefund: QRS breit. Zufallsbefund: keiner.",
        "Die Beurteilung der ST-Strecke ist nicht möglich. Keine sichere Diagnose.",
        "Nicht beurteilbar: V1. Diagnosekriterien: QRS über 120 ms.",
        "Befund: QRS breit.",
        "Conclusiveness: low. Impressionable: none. Summary of leads follows.",
    ],
)
def test_what_heads_nothing(text):
    parts = parse_report(text)
    assert parts.description == text and not parts.has_heading and parts.conclusion == ""


@pytest.mark.parametrize(
    ("heading", "conclusion"),
    [
        *itertools.product(("Description:", "FINDINGS:", "ECG findings -", "Findings\n", "Report:"), ("Impression:",)),
        *itertools.product(("Descripción:", "DESCRIPCION DEL ECG:", "Hallazgos:", "Informe:"), ("Conclusión:",)),
        *itertools.product(("Beschreibung:", "Befund:", "EKG-Befund:", "EKG-Beschreibung -"), ("Beurteilung:",)),
        *itertools.product(("Descrição:", "Laudo:", "Análise do ECG:", "Findings:"), ("Conclusão:",)),
        ("1. Description:", "\n2. Conclusion:"),
    ],
)
def test_headings_of_a_description(heading, conclusion):
    parts = parse_report(f"{heading} {DESCRIPTION} {conclusion} {CONCLUSION}")
    assert (parts.description, parts.conclusion) == (DESCRIPTION, CONCLUSION)


def test_a_description_may_follow_its_conclusion_unless_one_came_before():
    parts = parse_report(f"Impression: AF.\nFindings: {DESCRIPTION}")
    assert (parts.description, parts.conclusion) == (DESCRIPTION, "AF.")
    parts = parse_report(f"Clinical diagnosis: hypertension. Findings: {DESCRIPTION} Impression: AF.")
    assert (parts.description, parts.conclusion) == (DESCRIPTION, "hypertension. AF.")
    parts = parse_report(f"{DESCRIPTION} Impression: abnormal. Findings: AF.")
    assert (parts.description, parts.conclusion) == (DESCRIPTION, "abnormal. Findings: AF.")


def test_languages_may_mix_in_one_report():
    parts = parse_report(f"Befund: {DESCRIPTION}\nConclusão: FA.\nConclusion: AF.\nBeurteilung: VHF.")
    assert (parts.description, parts.conclusion) == (DESCRIPTION, "FA. AF. VHF.")
    assert parts.stated["AF"] == 1


def test_what_another_language_states_is_not_known():
    label_line = "label: {AF: 1, RBBB: 0}"
    for conclusion in ("Conclusion: atrial fibrillation.", "Beurteilung: Vorhofflimmern."):
        parts = parse_report(f"{DESCRIPTION} {conclusion} {label_line}")
        assert parts.labels == {"AF": 1, "RBBB": 0} and parts.stated == {} and parts.conflicts == ()
    assert parse_report(f"Conclusão: ECG normal. {label_line}").conflicts == ("AF",)


def test_headings_of_ones_own():
    swedish = f"{DESCRIPTION} BEDÖMNING: förmaksflimmer"
    assert not parse_report(swedish).has_heading
    for own in (["Bedömning"], ["bedomning:"], ["Slutsats", " Bedömning : "]):
        parts = parse_report(swedish, own)
        assert (parts.description, parts.conclusion) == (DESCRIPTION, "förmaksflimmer")
        assert parts.stated == {}
    text = "Bedömning av ekg ej möjlig. QRS smal."
    assert parse_report(text, ["Bedömning"]).description == text
    # Words with a mark of their own, and several words with any blanks between them.
    assert parse_report(f"{DESCRIPTION} Verdict ==AF", ["Verdict =="]).conclusion == "AF"
    assert parse_report(f"{DESCRIPTION} Final  Word:AF", ["final word"]).description == DESCRIPTION
    assert parse_report(f"{DESCRIPTION} A.B (x): AF", ["a.b (x)"]).conclusion == "AF"
    assert not parse_report(f"{DESCRIPTION} aXb (x): AF", ["a.b (x)"]).has_heading
    # The known ones hold beside them.
    assert parse_report(f"{DESCRIPTION} Conclusão: FA", ["Bedömning"]).stated["AF"] == 1


@pytest.mark.parametrize("heading", ["", " : ", "--", "12"])
def test_a_heading_needs_a_letter(heading):
    with pytest.raises(ValueError, match="--conclusion_headings: expected the words of a heading, found"):
        check_headings(["Parecer", heading])
    assert check_headings(None) == ()


def test_statements_of_a_machine_have_no_headings():
    for statement in STATEMENTS:
        assert find_headings(fold(statement)) == [], statement
    assert find_headings(fold(". ".join(STATEMENTS))) == []


def test_reports_without_sections_are_left_whole(sample_data):
    """All 21,799 reports of PTB-XL: two have a heading, and both times the assessment follows it."""
    path = sample_data / "ptbxl_reports.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with path.open(encoding="utf-8", newline="") as file:
        reports = {int(row["ecg_id"]): row["report"] for row in csv.DictReader(file)}
    assert len(reports) == 21_799
    assert [ecg_id for ecg_id, report in reports.items() if find_headings(fold(report))] == [6036, 17254]
    assert parse_report(reports[6036]).conclusion == "no definite pathology."
    assert parse_report(reports[17254]).description == "ruhe-ekg zum holter"


@pytest.mark.parametrize("piece", ["a-", "conclusion ", "conclusão: ", "(", "\n1. ", " ", "hemi- ", "befund/", "*"])
def test_long_reports_take_time_in_proportion(piece):
    start = time.process_time()
    ReportCutter(["Bedömning"]).cut(piece * (50_000 // len(piece)) + " impression findings beurteilung block")
    assert time.process_time() - start < 5
