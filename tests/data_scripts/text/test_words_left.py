"""Diagnosis words that cutting leaves in descriptions: found in four languages, counted, shown, and not removed."""

import pytest

from data_scripts.text.folding import fold
from data_scripts.text.languages import LANGUAGES, Words
from data_scripts.text.reports import ReportCutter
from data_scripts.text.words_left import WordsLeft, diagnoses_named, lines_of


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("atrial fibrillation, Vorhofflimmern, fibrilação atrial, fibrilación auricular", {"fibrillation"}),
        *((one, {"fibrillation"}) for one in ("Vorhof-Flimmern", "FIBRILACAO ATRIAL", "FA", "AF with RVR", "VHF")),
        *((one, {"flutter"}) for one in ("Flutter atrial", "Vorhofflattern", "aleteo auricular", "atrial flutter")),
        *(
            (one, {"bundle branch block"})
            for one in ("Alterações secundárias ao BRD.", "Rechtsschenkelblock", "iRBBB")
        ),
        *(
            (one, {"bundle branch block"})
            for one in ("bloqueio de ramo esquerdo", "Bloqueo incompleto de rama derecha")
        ),
        *((one, {"bundle branch block"}) for one in ("left bundle-branch block", "BRIHH", "Links-Schenkelblock")),
        *((one, {"AV block"}) for one in ("AV-Block I. Grades", "A-V block", "bloqueio atrioventricular", "BAV")),
        *((one, {"AV block"}) for one in ("Bloqueo auriculoventricular", "complete heart block")),
        *(
            (one, {"fascicular block"})
            for one in ("Hemiblock", "hemibloqueo anterior", "BDAS", "linksanteriorer Hemiblock")
        ),
        *((one, {"bradycardia"}) for one in ("Bradicardia sinusal", "sinus bradycardia", "Sinusbradykardie")),
        *((one, {"tachycardia"}) for one in ("taquicardia", "tachycardic", "tachykardes", "Sinustachykardie")),
        *((one, {"infarction"}) for one in ("Infarto", "old infarct", "Vorderwandinfarkt", "STEMI")),
        *((one, {"infarction"}) for one in ("necrosis inferior", "área eletricamente inativa")),
        *((one, {"ischaemia"}) for one in ("isquemia", "ischemic", "ischaemia", "Ischämie", "Myokardischaemie")),
        *(
            (one, {"hypertrophy"})
            for one in ("sobrecarga do VE", "LVH", "Linkshypertrophie", "hipertrofia ventricular")
        ),
        *((one, {"grade of the ECG"}) for one in ("sonst normales EKG", "ECG normal", "Normal ECG", "Grenzbefund")),
        ("Sinusrhythmus", {"sinus rhythm"}),
        ("no evidence of infarction", {"infarction"}),  # denied, and yet named
        # What a description is made of.
        ("Onda P: amplitude e duração normais. QRS alargado, RSR em V1. Eixo para a direita e para cima.", set()),
        ("Complexos QRS em faixa normal; afastado artefato. Baixa voltagem. Bradi.", set()),
        ("P waves upright, PR 160 ms, blocked beat after a pause, ST segments normal, T waves inverted", set()),
        ("Linkstyp, QRS breit, T-Negativierung in V1, kein U; Belastung bis 100 W", set()),
        ("Ondas P ausentes, RR irregular, QRS ancho con R empastada, eje normal", set()),
    ],
)
def test_diagnoses_that_a_text_names(text, named):
    for one in (text, text.upper(), fold(text)):
        assert set(diagnoses_named(one)) == named, one


def test_every_language_has_words_for_every_diagnosis():
    for language in LANGUAGES:
        assert set(language.diagnoses) == set(LANGUAGES[0].diagnoses), language.name


def test_counts_and_examples():
    left = WordsLeft()
    long = "QRS alargado em todas as derivações; alterações secundárias ao BRD observadas em V1 e V2 neste traçado."
    assert [left.look(text) for text in (long, long, "Com BRE. FA.", "Com BRD, FA, fibrilação.", "P normal.")] == [
        *(True, True, True, True, False)
    ]
    facts = left.facts()
    assert list(facts) == ["bundle branch block", "fibrillation"]
    example = "... alterações secundárias ao BRD observadas em V1 e V2 neste ..."
    assert facts["bundle branch block"] == {
        "reports": 4,
        "examples": [example, "Com BRE. FA.", "Com BRD, FA, fibrilação."],
    }
    assert facts["fibrillation"]["reports"] == 2
    lines = lines_of(facts)
    assert lines[1] == f'  bundle branch block: 4, such as "{example}"' and len(lines) == 3
    assert lines_of({}) == ["diagnosis words left in descriptions: none"]


def test_the_check_cuts_nothing_and_looks_at_descriptions_alone():
    cutter = ReportCutter()
    text = "Secundárias ao BRD. Conclusão: fibrilação atrial"
    assert cutter.cut(text).description == "Secundárias ao BRD."
    facts = cutter.facts()
    assert list(facts["diagnosis_words_left"]) == ["bundle branch block"] and facts["with_diagnosis_words"] == 1
    assert facts["free_of_conclusions"] is True


def test_how_words_are_written():
    def found(phrase, text):
        return [match[0] for match in Words.of([phrase]).find(fold(text))]

    assert found("[final] conclusión|fin [of] ECG", "Final conclusion of ECG, fin ECG, fin") == [
        *("final conclusion of ecg", "fin ecg")
    ]
    assert found("*flimmern|bradyk*", "Vorhofflimmern bradykard tabradyk flimmernd") == ["flimmern", "bradykard"]
    assert found("A-V block", "AV block, A V  block, a-v block, avblock") == ["av block", "a v  block", "a-v block"]
    assert found("a/b", "a / b, a/b, ab") == ["a / b", "a/b"]
    assert Words.of(["[of] left|right block", "blocks"]).letters == ("block",)
