"""Reports: the paper's example, variants of writing, statements and conflicts, tables."""

import unicodedata

import pandas as pd
import pytest

from data_scripts.text.reports import ReportCutter, fold, free_of_conclusions, parse_report, read_report_table


DESCRIPTION = (
    "Desvio do eixo do QRS para a direita e para cima. Onda P: amplitude e duração normais. PRI: duração normal. "
    "QRS: eixo e amplitudes normais. Duração aumentada e RSR em V1 e onda S empastada nas derivações à esquerda. "
    "ST e onda T: alterações secundárias ao BRD. QTC: prejudicado."
)
CONCLUSION = "1- Taquicardia sinusal 2- Bloqueio de ramo direito."
LABELS = "{1aAVb: 0, RBBB: 1, LBBB: 1, SB: 0, AF: 0, ST: 1}"
PAPER = f"{DESCRIPTION}\nConclusão: {CONCLUSION}\nlabel: {LABELS}"


def test_the_papers_example_and_its_contradiction():
    parts = parse_report(PAPER)
    assert parts.description == DESCRIPTION
    assert parts.conclusion == CONCLUSION
    assert parts.labels == {"1dAVb": 0, "RBBB": 1, "LBBB": 1, "SB": 0, "AF": 0, "ST": 1}
    assert parts.stated == {"1dAVb": 0, "RBBB": 1, "LBBB": 0, "SB": 0, "AF": 0, "ST": 1}
    assert parts.conflicts == ("LBBB",)
    assert parts.has_heading


@pytest.mark.parametrize(
    "report",
    [
        PAPER.upper(),
        unicodedata.normalize("NFD", PAPER),
        unicodedata.normalize("NFKD", PAPER).encode("ascii", "ignore").decode(),
        PAPER.replace("\n", " "),
        PAPER.replace("\n", "\r\n\r\n  "),
        PAPER.replace(" ", "  "),
        PAPER.replace("Conclusão:", "CONCLUSÃO  :"),
        PAPER.replace("Conclusão:", "Conclusões -"),
        PAPER.replace("Conclusão:", "Conclusão"),
        PAPER.replace("Conclusão: ", "Conclusão\n"),
        PAPER.replace("Conclusão:", "Impressão diagnóstica:"),
        PAPER.replace("label: ", "Labels:\n"),
        PAPER.replace("label: ", "label = "),
        PAPER.replace("label: ", ""),
        PAPER.replace("1aAVb", "1dAVb"),
        PAPER.replace("1aAVb: 0, RBBB: 1", "'1aAVb': 0.0, \"RBBB\": 1.0"),
        PAPER.replace("{", "").replace("}", ""),
        f"label: {LABELS}\n{DESCRIPTION}\nConclusão: {CONCLUSION}",
        f"Laudo: {PAPER}",
        f"Descrição do ECG: {PAPER}",
    ],
)
def test_other_writing_of_the_same_report(report):
    parts = parse_report(report)
    expected = fold(unicodedata.normalize("NFC", DESCRIPTION))
    assert fold(parts.description) == expected
    assert fold(parts.conclusion) == fold(CONCLUSION)
    assert parts.labels == parse_report(PAPER).labels
    assert parts.conflicts == ("LBBB",)


def test_missing_parts():
    assert parse_report("") == parse_report(" \n ")
    assert parse_report("").description == "" and not parse_report("").has_heading

    alone = parse_report(DESCRIPTION)
    assert alone.description == DESCRIPTION and not alone.has_heading
    assert alone.conclusion == "" and alone.labels == {} and alone.conflicts == ()

    no_description = parse_report(f"Conclusão: {CONCLUSION}")
    assert (
        no_description.description == "" and no_description.conclusion == CONCLUSION and no_description.conflicts == ()
    )

    no_conclusion = parse_report(f"{DESCRIPTION} label: {LABELS}")
    assert no_conclusion.description == DESCRIPTION
    assert no_conclusion.labels["RBBB"] == 1 and no_conclusion.stated == {} and no_conclusion.conflicts == ()


def test_the_word_within_a_sentence_is_no_heading():
    text = "Traçado com artefatos, sem conclusão definida quanto ao ritmo. Onda P: normal."
    assert parse_report(text).description == text
    assert parse_report(f"{text} Conclusão: ECG normal.").description == text


@pytest.mark.parametrize(
    ("conclusion", "label", "stated"),
    [
        ("Bloqueio atrioventricular de 1º grau", "1dAVb", 1),
        ("Bloqueio A-V do primeiro grau", "1dAVb", 1),
        ("BAV 1° grau", "1dAVb", 1),
        ("BAV de 2º grau Mobitz I", "1dAVb", 0),
        ("Bloqueio completo do ramo direito", "RBBB", 1),
        ("BCRD", "RBBB", 1),
        ("Bloqueio incompleto de ramo direito", "RBBB", 0),
        ("Bloqueio de ramo direito incompleto", "RBBB", 0),
        ("Bloqueio da divisão anterossuperior do ramo esquerdo", "LBBB", 0),
        ("Bloqueio de Ramo Esquerdo", "LBBB", 1),
        ("Ausência de bloqueio de ramo esquerdo", "LBBB", 0),
        ("Possível bloqueio de ramo esquerdo", "LBBB", -1),
        ("Sem isquemia. Bloqueio de ramo esquerdo", "LBBB", 1),
        ("Bradicardia sinusal", "SB", 1),
        ("Não há bradicardia sinusal", "SB", 0),
        ("Fibrilação atrial com alta resposta ventricular", "AF", 1),
        ("Flutter atrial", "AF", 0),
        ("FA?", "AF", -1),
        ("Taquicardia ventricular", "ST", 0),
        ("1) Taquicardia sinusal", "ST", 1),
    ],
)
def test_what_a_conclusion_states(conclusion, label, stated):
    assert parse_report(f"Conclusão: {conclusion}.").stated[label] == stated


def test_doubt_and_unknown_labels_are_no_conflict():
    doubt = "Conclusão: possível fibrilação atrial. label: {AF: %d}"
    assert parse_report(doubt % 0).conflicts == parse_report(doubt % 1).conflicts == ()
    assert parse_report("Conclusão: fibrilação atrial. label: {AF: 0}").conflicts == ("AF",)
    assert parse_report("Conclusão: fibrilação atrial. label: {AF: -1, PVC: 1}").conflicts == ()


def test_a_report_must_be_text():
    with pytest.raises(TypeError, match="found float nan"):
        parse_report(float("nan"))


def test_report_tables_that_cannot_be_read(tmp_path):
    def read(name, text, encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return list(read_report_table(tmp_path / name))

    with pytest.raises(FileNotFoundError, match="absent.csv: no such file"):
        list(read_report_table(tmp_path / "absent.csv"))
    with pytest.raises(ValueError, match=r"expected .csv or .parquet, found .txt"):
        read("reports.txt", "exam_id,report\n")
    with pytest.raises(ValueError, match="missing columns report; found exam_id, laudo"):
        read("columns.csv", "exam_id,laudo\n1,texto\n")
    with pytest.raises(ValueError, match="missing columns exam_id, report; found none"):
        read("empty.csv", "")
    with pytest.raises(ValueError, match="exam 7 has more than one report"):
        read("twice.csv", "exam_id,report\n7,a\n8,b\n7.0,c\n")
    with pytest.raises(ValueError, match="latin.csv: expected UTF-8 text, found 0xe3"):
        read("latin.csv", "exam_id,report\n1,Conclusão: normal\n", encoding="latin-1")
    with pytest.raises(ValueError, match="broken.parquet: cannot be read"):
        read("broken.parquet", "not parquet at all")


@pytest.mark.parametrize("nothing", ["", "NA", "nan", "NULL", "None", "-", " n/a ", "."])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells_that_stand_for_nothing_are_no_reports(tmp_path, nothing, suffix):
    table = pd.DataFrame({"exam_id": ["1", "2", "3"], "report": ["Onda P normal.", nothing, "NA onda P: nan"]})
    path = tmp_path / f"reports{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    assert pd.concat(read_report_table(path))["report"].tolist() == ["Onda P normal.", "", "NA onda P: nan"]


def test_missing_values_of_parquet_are_no_reports(tmp_path):
    pd.DataFrame({"exam_id": [1, 2], "report": ["P normal.", None]}).to_parquet(tmp_path / "some.parquet")
    pd.DataFrame({"exam_id": [1, 2], "report": [float("nan")] * 2}).to_parquet(tmp_path / "none.parquet")
    assert pd.concat(read_report_table(tmp_path / "some.parquet"))["report"].tolist() == ["P normal.", ""]
    assert pd.concat(read_report_table(tmp_path / "none.parquet"))["report"].tolist() == ["", ""]


# ---- what is to be known of all reports of a table

CUT = "Onda P normal. QRS estreito. Conclusão: fibrilação atrial"
HEADLESS = "QRS estreito, ondas P normais"


@pytest.mark.parametrize(
    ("reports", "free"),
    [
        ([CUT, CUT], True),
        ([CUT, "Fibrilação atrial com BRE. Conclusão: FA"], False),
        ([CUT, "Alterações secundárias ao BRD. Conclusão: BRD"], False),
        ([CUT, "QRS breit, RSB. Beurteilung: Schenkelblock"], False),
        ([CUT, "Atrial fibrillation. Impression: AF"], False),
        ([CUT, "Ondas P ausentes, FA. Conclusión: fibrilación"], False),
        ([CUT, "Ritmo sinusal, PR dentro dos limites da normalidade. Conclusão: ECG normal"], True),
        # One report without a heading decides by what it names, not for all.
        ([CUT, HEADLESS], True),
        ([CUT, CUT, f"{HEADLESS}, FA"], False),
        # Where most have none, the language may be one whose words are not known.
        ([CUT, HEADLESS, HEADLESS], False),
        (["Vänstersidigt grenblock"], False),
        ([CUT, "", "  "], True),
    ],
)
def test_free_of_conclusions_is_read_in_the_texts(reports, free):
    cutter = ReportCutter()
    for report in reports:
        cutter.cut(report)
    facts = cutter.facts()
    assert facts["free_of_conclusions"] is free
    assert free_of_conclusions(facts) is free
    assert facts["without_heading"] == sum(HEADLESS in one or "grenblock" in one for one in reports)
    assert facts["without_heading_with_diagnosis_words"] == sum(f"{HEADLESS}, FA" == one for one in reports)


def test_labels_that_descriptions_name_are_counted():
    cutter = ReportCutter()
    for report in ("FA com BRE. Conclusão: FA", "BRD. Conclusão: BRD", "BRD e FA, infarto", "P normal. Conclusão: FA"):
        cutter.cut(report)
    facts = cutter.facts()
    assert facts["labels_named"] == {"1dAVb": 0, "RBBB": 2, "LBBB": 1, "SB": 0, "AF": 2, "ST": 0}
    assert facts["with_diagnosis_words"] == facts["had_diagnosis_words"] == 3 and facts["masked"] == 0
    assert facts["diagnosis_words_left"]["infarction"]["reports"] == 1


def test_masking_makes_a_table_free():
    cutter = ReportCutter(masked=True)
    assert cutter.cut("QRS largo, secundário ao BRD. Conclusão: BRD").description == "QRS largo, secundário ao ___."
    assert cutter.cut(CUT).description == "Onda P normal. QRS estreito."
    assert cutter.cut("FA. Conclusão: FA").description == ""
    facts = cutter.facts()
    assert (facts["had_diagnosis_words"], facts["masked"], facts["with_diagnosis_words"]) == (2, 2, 0)
    assert facts["free_of_conclusions"] is True and facts["diagnosis_words_left"] == {}


@pytest.mark.parametrize(
    ("record", "free"),
    [
        # Release 0.1.0 said it of headings alone.
        ({"free_of_conclusions": True, "without_heading": 0}, None),
        ({"free_of_conclusions": False, "without_heading": 3}, False),
        ({"free_of_conclusions": True, "with_diagnosis_words": 2}, False),
        ({"free_of_conclusions": True, "with_diagnosis_words": 0}, True),
        ({"free_of_conclusions": False, "with_diagnosis_words": 0}, False),
        ({}, None),
    ],
)
def test_records_of_any_version_say_what_they_know(record, free):
    assert free_of_conclusions(record) is free
